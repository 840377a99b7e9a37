"""Micro-kernels of two levels: tiles of products whose sums go into a register, `clamp(sum + clamp(tile))`.

Layout: as `ordered_tile`; weights of both products of a group at once are [group][column][2] int16. A tile is a block
of the walk, of any size; or, `stepped_tile`, a group of few pairs, which saves the loops around it.
Bound: for tiles that are exact inside, wide sums and, once a tile, an add and a clamp or two: two instructions each.
"""

from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.ordered_tile import (
    HIGH,
    INNER_HIGH,
    INNER_LOW,
    LOW,
    PANEL_BYTES,
    START,
    WEIGHTS,
    Values,
    everywhere,
    number,
    panel_at,
    spread,
    store_sums,
    walk,
)
from intsim_kernels.vectors import I16, I32, I64


@cache
def stepped_tile(unit: int, inner: bool, outer: bool, rows: int, width: int, lanes: int) -> Any:
    """The intrinsic f(rows, outs, p, panel): sums of `unit` pairs of products go into a register, group by group.

    A group is `unit` * 4 bytes here, weights [group][unit][column][2] int16. `inner`, `outer`: whether a group's sum,
    and the register after it, is clamped; else it is int32, which wraps.
    """

    @intrinsic
    def sums(typingctx: Any, row: Any, outs: Any, p: Any, panel: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _stepped(b, unit, inner, outer, rows, width, lanes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return sums


def _stepped(
    b: Any,
    unit: int,
    inner: bool,
    outer: bool,
    rows: int,
    width: int,
    lanes: int,
    row: Any,
    outs: Any,
    p: Any,
    panel: Any,
) -> None:
    registers, halves, size = v.vector(I32, lanes), v.vector(I16, 2 * lanes), 4 * lanes
    low, high, least, most = (everywhere(b, p, i, I32, lanes) for i in (LOW, HIGH, INNER_LOW, INNER_HIGH))
    start = panel_at(b, p, START, panel, size * width)
    first = [v.load(b, b.add(start, I64(size * j)), registers) for j in range(width)]
    places = [v.load(b, b.add(row, I64(8 * i)), I64) for i in range(rows)]
    weights = b.add(number(b, p, WEIGHTS), b.mul(panel, number(b, p, PANEL_BYTES)))

    def group(sums: Values, here: Values, w: Any) -> Values:
        items = [v.constant(I32, lanes, 0)] * (rows * width)
        for u in range(unit):
            loaded = [v.load(b, b.add(w, I64(size * (u * width + j))), halves) for j in range(width)]
            operands = [spread(b, b.add(at, I64(4 * u)), I32, lanes) for at in here]
            items = [
                v.dot_pairs(b, items[i * width + j], operands[i], loaded[j]) for i in range(rows) for j in range(width)
            ]
        if inner:
            items = [v.clamp(b, item, least, most) for item in items]
        sums = [b.add(acc, item) for acc, item in zip(sums, items, strict=True)]
        return [v.clamp(b, acc, low, high) for acc in sums] if outer else sums

    _, done = walk(
        b, p, places, weights, unit * size * width, [], first * rows, group, lambda _, *state: state, step=4 * unit
    )
    store_sums(b, p, panel, outs, [done[i * width : (i + 1) * width] for i in range(rows)])


@cache
def two_level_tile(inner: str, rows: int, width: int, lanes: int) -> Any:
    """The intrinsic f(rows, outs, p, panel): sums of blocks go into a register that saturates, `clamp(sum + block)`.

    `inner` "exact": a block's own sum does not saturate, and both products of a group are added at once; "pairs":
    the same, and every block is clamped to the inner limits, once; "limits": it is clamped after every product.
    """

    @intrinsic
    def sums(typingctx: Any, row: Any, outs: Any, p: Any, panel: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _two_levels(b, inner, rows, width, lanes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return sums


def _two_levels(b: Any, inner: str, rows: int, width: int, lanes: int, row: Any, outs: Any, p: Any, panel: Any) -> None:
    registers, halves, size = v.vector(I32, lanes), v.vector(I16, 2 * lanes), 4 * lanes
    low, high, least, most = (everywhere(b, p, i, I32, lanes) for i in (LOW, HIGH, INNER_LOW, INNER_HIGH))
    start = panel_at(b, p, START, panel, size * width)
    first = [v.load(b, b.add(start, I64(size * j)), registers) for j in range(width)]
    places = [v.load(b, b.add(row, I64(8 * i)), I64) for i in range(rows)]
    weights = b.add(number(b, p, WEIGHTS), b.mul(panel, number(b, p, PANEL_BYTES)))
    zeros = [v.constant(I32, lanes, 0)] * (rows * width)
    steps = 2 if inner == "limits" else 1

    def group(sums: Values, here: Values, w: Any) -> Values:
        operands = [spread(b, at, I32, lanes) for at in here]
        for half in range(steps):
            loaded = [v.load(b, b.add(w, I64(size * (half * width + j))), halves) for j in range(width)]
            sums = [
                v.dot_pairs(b, sums[i * width + j], operands[i], loaded[j]) for i in range(rows) for j in range(width)
            ]
            if inner == "limits":
                sums = [v.clamp(b, item, least, most) for item in sums]
        return sums

    def close(_: Any, kept: Values, sums: Values) -> tuple[Values, Values]:
        items = [v.clamp(b, item, least, most) for item in sums] if inner == "pairs" else sums
        return [v.clamp(b, b.add(acc, item), low, high) for acc, item in zip(kept, items, strict=True)], zeros

    done, _ = walk(b, p, places, weights, steps * size * width, first * rows, zeros, group, close)
    store_sums(b, p, panel, outs, [done[i * width : (i + 1) * width] for i in range(rows)])
