"""Sums of products that a table gives, whose order is free: any multiplier of 8 by 8 bits.

The arguments that name operands are those of `dot.grouped`, but for x and the weights: x uint8 counts from 0 to
`values - 1`, and `index` uint16 `[groups, depth, outputs]` says which column of the table a weight has. The table comes
twice: `rows[values, column]`, and `columns[column, values + pad]` with the values padded to a multiple of 8. Entries
are int16, or of the type of `out`, modulo which everything is added.

A lookup in a row of the table is one scalar load a product, at best. Where `out` has many rows, it pays to look up
first: for one tap and up to 32 outputs the weights are fixed, and the products for every x are a panel `[values,
outputs]`, made of columns of the table; then each row of `out` adds one contiguous run of the panel a tap. So many
panels are made at a time (BLOCK of the widest: 64 KiB of int16) as stay in the second cache.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.compiled import kernel
from intsim_kernels.vectors import I8, I64

LANES, MOST, BLOCK = 8, 4, 4  # outputs in a vector, vectors in the widest panel's row, such panels at a time


def addresses(context: Any, b: Any, kinds: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
    """Where the arrays begin."""
    return [
        b.ptrtoint(context.make_array(kind)(context, b, array).data, I64)
        for kind, array in zip(kinds, arrays, strict=True)
    ]


def forward(b: Any, address: Any, index: Any, size: int) -> Any:
    """address + index * size."""
    return b.add(address, b.mul(index, I64(size)))


def looking_up() -> Any:
    """The intrinsic that makes 8 outputs' part of a panel."""

    @intrinsic
    def look_up(
        typingctx: Any, columns: Any, padded: Any, index: Any, first: Any, panel: Any, begin: Any, stride: Any
    ) -> Any:
        """panel[begin + v * stride + i] = columns[index[first + i], v], i < 8, v < padded; flat arrays.

        8 values of 8 columns at a time: three rounds of zipping i with i + 4 turn rows into columns.
        """
        size = columns.dtype.bitwidth // 8

        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            kinds = [signature.args[i] for i in (0, 2, 4)]
            source, ids, goal = addresses(context, b, kinds, [args[i] for i in (0, 2, 4)])
            kind = v.vector(ir.IntType(8 * size), LANES)
            which = [v.load(b, forward(b, ids, b.add(args[3], I64(i)), 2), ir.IntType(16)) for i in range(LANES)]
            begins = [forward(b, source, b.mul(b.zext(w, I64), args[1]), size) for w in which]
            goal = forward(b, goal, args[5], size)
            low, high = ([j // 2 + half + LANES * (j % 2) for j in range(LANES)] for half in (0, LANES // 2))

            def turned(block: Any, _: Sequence[Any]) -> Sequence[Any]:
                r = [v.load(b, forward(b, begin, block, LANES * size), kind) for begin in begins]
                for _round in range(3):
                    r = [v.shuffle(b, r[j // 2], r[j // 2 + 4], high if j % 2 else low) for j in range(LANES)]
                for j in range(LANES):
                    place = b.add(b.mul(block, I64(LANES)), I64(j))
                    v.store(b, r[j], forward(b, goal, b.mul(place, args[6]), size))
                return []

            v.loop(b, b.sdiv(args[1], I64(LANES)), [], turned)
            return context.get_dummy_value()

        whole = types.int64
        return types.void(columns, whole, index, whole, panel, whole, whole), codegen

    return look_up


def adding(width: int) -> Any:
    """The intrinsic that adds one row of `count` panels, each `size` entries and `width` vectors wide, to sums."""

    @intrinsic
    def add(typingctx: Any, x: Any, start: Any, at: Any, count: Any, panel: Any, size: Any, sums: Any, row: Any) -> Any:
        entry, total = panel.dtype.bitwidth, sums.dtype.bitwidth

        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            kinds = [signature.args[i] for i in (0, 2, 4, 6)]
            seen, offsets, found, goal = addresses(context, b, kinds, [args[i] for i in (0, 2, 4, 6)])
            narrow, wide = (v.vector(ir.IntType(bits), LANES) for bits in (entry, total))
            seen = b.add(seen, args[1])
            goal = forward(b, goal, args[7], LANES * width * total // 8)
            parts = [b.add(goal, I64(i * LANES * total // 8)) for i in range(width)]

            def tap(j: Any, acc: Sequence[Any]) -> Sequence[Any]:
                value = b.zext(v.load(b, b.add(seen, v.load(b, forward(b, offsets, j, 8), I64)), I8), I64)
                run = forward(b, found, b.mul(j, args[5]), entry // 8)
                run = forward(b, run, value, LANES * width * entry // 8)
                items = [v.load(b, b.add(run, I64(i * LANES * entry // 8)), narrow) for i in range(width)]
                return [
                    b.add(a, b.sext(item, wide) if entry < total else item) for a, item in zip(acc, items, strict=True)
                ]

            for part, value in zip(parts, v.loop(b, args[3], [v.load(b, p, wide) for p in parts], tap), strict=True):
                v.store(b, value, part)
            return context.get_dummy_value()

        whole = types.int64
        return types.void(x, whole, at, whole, panel, whole, sums, whole), codegen

    return add


look_up = looking_up()
add_1, add_2, add_3, add_4 = (adding(width) for width in range(1, MOST + 1))


@kernel
def panels(x, size, base, taps, columns, index, out):
    """out[r, o] += sum over k of columns[index[k, o], x[base + taps[k]]], up to 32 outputs at a time."""
    rows, outputs = out.shape
    padded, places, depth = columns.shape[1], len(base), len(taps)
    start = np.empty(rows, np.int64)
    for r in range(rows):
        start[r] = r // places * size + base[r % places]
    found = np.empty(BLOCK * padded * LANES * MOST, columns.dtype)
    sums = np.empty(rows * LANES * MOST, out.dtype)
    which = np.zeros(LANES * MOST, index.dtype)
    for first in range(0, outputs, LANES * MOST):
        wide = min(LANES * MOST, outputs - first)
        width = -(-wide // LANES)
        stride = LANES * width
        block = BLOCK * MOST // width
        sums[: rows * stride] = 0
        for k in range(0, depth, block):
            count = min(block, depth - k)
            for j in range(count):
                for o in range(wide):
                    which[o] = index[k + j, first + o]
                for o in range(0, stride, LANES):
                    look_up(columns, padded, which, o, found, j * padded * stride + o, stride)
            at, whole = taps[k : k + count], padded * stride
            if width == 4:
                for r in range(rows):
                    add_4(x, start[r], at, count, found, whole, sums, r)
            elif width == 3:
                for r in range(rows):
                    add_3(x, start[r], at, count, found, whole, sums, r)
            elif width == 2:
                for r in range(rows):
                    add_2(x, start[r], at, count, found, whole, sums, r)
            else:
                for r in range(rows):
                    add_1(x, start[r], at, count, found, whole, sums, r)
        for r in range(rows):
            for o in range(wide):
                out[r, first + o] += sums[r * stride + o]


@kernel
def four_taps(a, b, c, d, index, k, sums):
    """sums[o] += a[index[k, o]] + b[index[k + 1, o]] + c[index[k + 2, o]] + d[index[k + 3, o]]."""
    p, q, r, s = index[k], index[k + 1], index[k + 2], index[k + 3]
    for o in range(len(sums)):
        first = sums.dtype.type(sums.dtype.type(a[p[o]]) + sums.dtype.type(b[q[o]]))
        second = sums.dtype.type(sums.dtype.type(c[r[o]]) + sums.dtype.type(d[s[o]]))
        sums[o] = sums.dtype.type(sums[o] + sums.dtype.type(first + second))


@kernel
def one_by_one(x, size, base, taps, stride, table, index, out):
    """out[r, g * m + o] += sum over k of table[x[base + taps[k] + g * stride], index[g, k, o]]."""
    rows, places = len(out), len(base)
    groups, depth, outputs = index.shape
    for r in range(rows):
        for g in range(groups):
            seen = x[r // places * size + base[r % places] + g * stride :]
            sums, k = out[r, g * outputs : (g + 1) * outputs], 0
            while k + 4 <= depth:
                a, b, c, d = seen[taps[k]], seen[taps[k + 1]], seen[taps[k + 2]], seen[taps[k + 3]]
                four_taps(table[a], table[b], table[c], table[d], index[g], k, sums)
                k += 4
            while k < depth:
                row, columns = table[seen[taps[k]]], index[g, k]
                for o in range(outputs):
                    sums[o] += sums.dtype.type(row[columns[o]])
                k += 1


@kernel
def lanes(x, size, base, taps, columns, index, out):
    """out[r, o] += sum over k of columns[index[k, o], x[base + taps[k] + o]]: an input of its own for every output."""
    rows, outputs = out.shape
    places, depth, padded = len(base), len(taps), columns.shape[1]
    flat = columns.reshape(-1)
    at = np.empty((depth, outputs), np.uint32)
    for k in range(depth):
        for o in range(outputs):
            at[k, o] = index[k, o] * padded
    for r in range(rows):
        seen = x[r // places * size + base[r % places] :]
        sums, k = out[r], 0
        while k + 3 <= depth:
            a, b, c = seen[taps[k] :], seen[taps[k + 1] :], seen[taps[k + 2] :]
            p, q, s = at[k], at[k + 1], at[k + 2]
            for o in range(outputs):
                part = sums.dtype.type(sums.dtype.type(flat[p[o] + a[o]]) + sums.dtype.type(flat[q[o] + b[o]]))
                part = sums.dtype.type(part + sums.dtype.type(flat[s[o] + c[o]]))
                sums[o] = sums.dtype.type(sums[o] + part)
            k += 3
        while k < depth:
            a, p = seen[taps[k] :], at[k]
            for o in range(outputs):
                sums[o] += sums.dtype.type(flat[p[o] + a[o]])
            k += 1


@kernel
def pays(rows, values, outputs):
    """Whether panels are faster than single lookups, which cost five times a panel's entry or an item taken of it."""
    return 5 * outputs * rows > -(-outputs // LANES) * LANES * (rows + values)


@kernel
def table(x, size, base, taps, stride, lane, rows, columns, index, out):
    """out[r, g * m + o] += the sum of the table's products, whichever way is the fastest."""
    groups, _, outputs = index.shape
    if lane:
        lanes(x, size, base, taps, columns, index[0], out)
        return
    if not pays(len(out), len(rows), outputs):
        one_by_one(x, size, base, taps, stride, rows, index, out)
        return
    for g in range(groups):
        panels(x[g * stride :], size, base, taps, columns, index[g], out[:, g * outputs : (g + 1) * outputs])
