"""Sums of products each of which is shifted before it is added; the sums' order is free, since all of them wrap or fit.

The arguments that name operands are those of `dot.grouped`: int16 operands, int32 sums, which wrap.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.compiled import kernel
from intsim_kernels.cpu import LANES
from intsim_kernels.memory import pointer, word
from intsim_kernels.native import routine
from intsim_kernels.vectors import I8, I16, I32, I64


@kernel
def floors(x, less, weights, more, right, sums):
    """sums[o] += ((x[o] - less) * weights[o] + more) >> right; x one integer for each sum."""
    for o in range(len(sums)):
        n = np.int32(np.int32(np.int32(x[o]) - less) * np.int32(weights[o]) + more)
        sums[o] = np.int32(sums[o] + np.int32(n >> (right & 31)))


@kernel
def floor(one, weights, more, right, sums):
    """sums[o] += (one * weights[o] + more) >> right."""
    for o in range(len(sums)):
        sums[o] = np.int32(sums[o] + np.int32(np.int32(one * np.int32(weights[o]) + more) >> (right & 31)))


@kernel
def nearer(one, weights, unseen, right, t, below, odd, down, sums):
    """sums[o] += (one * weights[o]) >> unseen, `rounding.shifted` by the five other numbers, in int32."""
    for o in range(len(sums)):
        n = np.int32(np.int32(one * np.int32(weights[o])) >> (unseen & 31))
        q = np.int32(n >> (right & 31))
        sign = np.int32(n >> 31)
        limit = np.int32(t + np.int32(below & sign) + np.int32(odd & np.int32(-(q & 1))))
        more = np.int32(np.int32(n - np.int32(q << (right & 31))) > limit)
        flip = np.int32(down & sign)
        sums[o] = np.int32(sums[o] + q + np.int32(np.int32(more ^ flip) - flip))


@kernel
def shifted_products(x, size, base, taps, stride, lane, weights, more, plain, cast, out):
    """out[r, g * m + o] += sum over k of moved(x[base + taps[k] + g * stride + o * lane] * weights[g, k, o]).

    `plain`: moved(n) is (n + more) >> right; otherwise `overflow.moved` by `cast`. n + more fits int32.
    """
    rows, places = len(out), len(base)
    groups, depth, outputs = weights.shape
    unseen, right, t = np.int32(cast[3] & 31), np.int32(cast[4] & 31), np.int32(cast[5])
    below, odd, down, more = np.int32(cast[6]), np.int32(cast[7]), np.int32(cast[8]), np.int32(more)
    for r in range(rows):
        start = r // places * size + base[r % places]
        for g in range(groups):
            sums = out[r, g * outputs : (g + 1) * outputs]
            for k in range(depth):
                i = start + taps[k] + g * stride
                w = weights[g, k]
                if plain and lane:
                    floors(x[i : i + outputs], np.int32(0), w, more, right, sums)
                elif plain:
                    floor(np.int32(x[i]), w, more, right, sums)
                elif lane:
                    for o in range(outputs):
                        one = np.int32(x[i + o])
                        nearer(one, w[o : o + 1], unseen, right, t, below, odd, down, sums[o : o + 1])
                else:
                    nearer(np.int32(x[i]), w, unseen, right, t, below, odd, down, sums)


# ---- the same as a routine -------------------------------------------------------------------------------------

X, SIZE, BASE, PLACES, TAPS, DEPTH, GROUPS, STRIDE, LESS = range(9)
"""A tensor and where its windows begin; its taps in bytes, `STRIDE` bytes from group to group; what x is less."""
WEIGHTS, OUTPUTS, MORE, PLAIN, LANE, CAST, START, COLUMNS, OUT = range(9, 18)
"""As `shifted_products` takes them; int32 `[COLUMNS]` that every row starts from; the sums in scratch."""

FROM: Any = np.int16


def products(p, arena, begin, end):
    """out[row] = start + `shifted_products` of the row's place."""
    base, places, taps, less = word(p, BASE), word(p, PLACES), word(p, TAPS), np.int32(word(p, LESS))
    depth, groups, outputs, columns = word(p, DEPTH), word(p, GROUPS), word(p, OUTPUTS), word(p, COLUMNS)
    weights = carray(pointer(word(p, WEIGHTS)), (groups, depth, outputs), np.int16)
    start, cast = carray(pointer(word(p, START)), (columns,), np.int32), carray(pointer(word(p, CAST)), (9,), np.int64)
    unseen, right, t = np.int32(cast[3] & 31), np.int32(cast[4] & 31), np.int32(cast[5])
    below, odd, down, more = np.int32(cast[6]), np.int32(cast[7]), np.int32(cast[8]), np.int32(word(p, MORE))
    plain, lane = word(p, PLAIN), word(p, LANE)
    for row in range(begin, end):
        image = row // places
        x = arena + word(p, X) + image * word(p, SIZE) + word(base, row - image * places)
        out = carray(pointer(arena + word(p, OUT) + (row - begin) * columns * 4), (columns,), np.int32)
        for o in range(columns):
            out[o] = start[o]
        for g in range(groups):
            sums = out[g * outputs : (g + 1) * outputs]
            for k in range(depth):
                at = x + word(taps, k) + g * word(p, STRIDE)
                if lane:
                    floors(carray(pointer(at), (outputs,), FROM), less, weights[g, k], more, right, sums)
                    continue
                one = np.int32(np.int32(carray(pointer(at), (1,), FROM)[0]) - less)
                if plain:
                    floor(one, weights[g, k], more, right, sums)
                else:
                    nearer(one, weights[g, k], unseen, right, t, below, odd, down, sums)


@cache
def products_routine(source: str) -> Any:
    """The routine `products` for inputs of a type, by name."""
    return routine(products, source, FROM=getattr(np, source))


# ---- shifts that round down, in vectors whose sums stay in registers -------------------------------------------

PANELS, MOST = 9, 4
"""`panels` is told as `products`, but from here on: panels, of at most `MOST` vectors of outputs; weights int16 ..."""
PACKED, EACH, ADDED, RIGHT, FROM_START, ACROSS, SUMS = range(10, 17)
"""... `[group][panel][depth][lanes]`; outputs of a group; what is added, the shift; as `START`, `COLUMNS`, `OUT`."""


@cache
def panel(source: str, width: int) -> Any:
    """The intrinsic f(x, taps, depth, less, weights, more, right, start, out) for one panel of `width` vectors.

    out = start + the sum over k of ((x[taps[k]] - less) * weights[k] + more) >> right; all arguments int64.
    """
    item = {"int16": I16, "int8": I8, "uint8": I8}[source]

    @intrinsic
    def sums(
        typingctx: Any, x: Any, taps: Any, depth: Any, less: Any, w: Any, more: Any, right: Any, start: Any, out: Any
    ) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            x, taps, depth, less, w, more, right, start, out = args
            words, step = v.vector(I32, LANES), 4 * LANES
            less, added, shift = b.trunc(less, I32), *(v.splat(b, b.trunc(n, I32), LANES) for n in (more, right))

            def one(k: Any, state: Sequence[Any]) -> list[Any]:
                w, *acc = state
                q = v.load(b, b.add(x, v.load(b, b.add(taps, b.mul(k, I64(8))), I64)), item)
                q = v.splat(b, b.sub((b.zext if source == "uint8" else b.sext)(q, I32), less), LANES)
                done = []
                for i, total in enumerate(acc):
                    weights = b.sext(v.load(b, b.add(w, I64(i * step // 2)), v.vector(I16, LANES)), words)
                    done.append(b.add(total, b.ashr(b.add(b.mul(weights, q), added), shift)))
                return [b.add(w, I64(width * step // 2)), *done]

            first = [v.load(b, b.add(start, I64(i * step)), words) for i in range(width)]
            _, *found = v.loop(b, depth, [w, *first], one)
            for i, total in enumerate(found):
                v.store(b, total, b.add(out, I64(i * step)))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 9), codegen

    return sums


PANEL: Any = None
WIDTH = 1


def panels(p, arena, begin, end):
    """As `products`, for shifts that round down; what a group's last panel has too many, the next group overwrites."""
    base, places, count, each = word(p, BASE), word(p, PLACES), word(p, PANELS), word(p, EACH)
    depth, taps, less, columns = word(p, DEPTH), word(p, TAPS), word(p, LESS), word(p, ACROSS)
    more, right = word(p, ADDED), word(p, RIGHT)
    for row in range(begin, end):
        image = row // places
        x = arena + word(p, X) + image * word(p, SIZE) + word(base, row - image * places)
        out = arena + word(p, SUMS) + (row - begin) * columns * 4
        w = word(p, PACKED)
        for g in range(word(p, GROUPS)):
            at = 4 * g * each
            for _ in range(count):
                PANEL(x, taps, depth, less, w, more, right, word(p, FROM_START) + at, out + at)
                at += 4 * WIDTH * LANES
                w += 2 * depth * WIDTH * LANES
            x += word(p, STRIDE)


@cache
def panels_routine(source: str, width: int) -> Any:
    """The routine `panels` for inputs of a type, by name, and panels of so many vectors."""
    return routine(panels, f"{source}-{width}", PANEL=panel(source, width), WIDTH=width)
