"""Requantization as routines: blocks of sums in scratch become integers, by the loops of `requantize`.

Every routine takes sums `[rows][columns]` and writes integers `[rows][columns]`: into scratch, or, `ADVANCE` bytes a
row further for every row of the step, right to where the tensor lies.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import carray

from intsim_kernels import overflow, requantize
from intsim_kernels.compiled import kernel
from intsim_kernels.memory import pointer, word
from intsim_kernels.native import routine

ACC, COLUMNS, OUT, ADVANCE = range(4)
FIRST = 4
"""Where a rule's own numbers begin: constant arrays by address, single numbers as they are."""

SUM: Any = np.int32
INTEGER: Any = np.int16


@kernel
def longs(p, index, n):
    """The parameter as an array of n int64."""
    return carray(pointer(word(p, FIRST + index)), (n,), np.int64)


@kernel
def ints(p, index, n):
    """The parameter as an array of n int32."""
    return carray(pointer(word(p, FIRST + index)), (n,), np.int32)


def doubled(p, arena, begin, end):
    """See `requantize.doubled`."""
    n, c = end - begin, word(p, COLUMNS)
    acc = carray(pointer(arena + word(p, ACC)), (n, c), SUM)
    out = carray(pointer(arena + word(p, OUT) + begin * word(p, ADVANCE)), (n, c), INTEGER)
    last = carray(pointer(word(p, FIRST + 2)), (5, c), np.int32)
    low, high = np.int32(word(p, FIRST + 4)), np.int32(word(p, FIRST + 5))
    requantize.doubled(acc, out, ints(p, 0, c), ints(p, 1, c), last, ints(p, 3, c), low, high)


def fixed_point(p, arena, begin, end):
    """See `requantize.fixed_point`."""
    n, c = end - begin, word(p, COLUMNS)
    acc = carray(pointer(arena + word(p, ACC)), (n, c), SUM)
    out = carray(pointer(arena + word(p, OUT) + begin * word(p, ADVANCE)), (n, c), INTEGER)
    last = carray(pointer(word(p, FIRST + 6)), (5, c), np.int64)
    requantize.fixed_point(
        acc,
        out,
        longs(p, 0, c),
        longs(p, 1, c),
        word(p, FIRST + 2),
        word(p, FIRST + 3),
        longs(p, 4, 5),
        longs(p, 5, c),
        last,
        longs(p, 7, 9),
        longs(p, 8, c),
        word(p, FIRST + 9),
        word(p, FIRST + 10),
        word(p, FIRST + 11),
    )


def fixed_point_wide(p, arena, begin, end):
    """See `requantize.fixed_point_wide`."""
    n, c = end - begin, word(p, COLUMNS)
    acc = carray(pointer(arena + word(p, ACC)), (n, c), SUM)
    out = carray(pointer(arena + word(p, OUT) + begin * word(p, ADVANCE)), (n, c), INTEGER)
    requantize.fixed_point_wide(
        acc,
        out,
        longs(p, 0, c),
        longs(p, 1, c),
        word(p, FIRST + 2),
        word(p, FIRST + 3),
        longs(p, 4, c),
        word(p, FIRST + 5),
        longs(p, 6, c),
        longs(p, 7, c),
        word(p, FIRST + 8),
        word(p, FIRST + 9),
        longs(p, 10, 9),
        longs(p, 11, c),
        word(p, FIRST + 12),
        word(p, FIRST + 13),
        word(p, FIRST + 14),
    )


def float_scale(p, arena, begin, end):
    """See `requantize.float_scale`, in the type REAL."""
    n, c = end - begin, word(p, COLUMNS)
    acc = carray(pointer(arena + word(p, ACC)), (n, c), SUM)
    out = carray(pointer(arena + word(p, OUT) + begin * word(p, ADVANCE)), (n, c), INTEGER)
    multiplier = carray(pointer(word(p, FIRST)), (c,), REAL)
    divisor = carray(pointer(word(p, FIRST + 1)), (c,), REAL)
    before = carray(pointer(word(p, FIRST + 2)), (c,), REAL)
    mode, after, low, high = word(p, FIRST + 3), word(p, FIRST + 4), word(p, FIRST + 5), word(p, FIRST + 6)
    requantize.float_scale(acc, out, multiplier, divisor, before, mode, after, low, high, word(p, FIRST + 7))


def thresholds(p, arena, begin, end):
    """See `requantize.thresholds`."""
    n, c = end - begin, word(p, COLUMNS)
    acc = carray(pointer(arena + word(p, ACC)), (n, c), SUM)
    out = carray(pointer(arena + word(p, OUT) + begin * word(p, ADVANCE)), (n, c), INTEGER)
    table = carray(pointer(word(p, FIRST)), (c, word(p, FIRST + 1)), np.int64)
    requantize.thresholds(acc, out, table, word(p, FIRST + 2))


def hold(p, arena, begin, end):
    """The sums, in place: what a register holds of sum + added; bits, overflow, added[c] (see `overflow.hold`)."""
    n, c = end - begin, word(p, COLUMNS)
    acc = carray(pointer(arena + word(p, ACC)), (n, c), SUM)
    if word(p, FIRST + 2) != 0:
        added = carray(pointer(word(p, FIRST + 2)), (c,), SUM)
        for r in range(n):
            for i in range(c):
                acc[r, i] += added[i]
    overflow.hold(acc.reshape(n * c), word(p, FIRST), word(p, FIRST + 1))


REAL: Any = np.float32
RULES = {f.__name__: f for f in (doubled, fixed_point, fixed_point_wide, thresholds)}


@cache
def settling(rule: str, acc: str, integer: str) -> Any:
    """The routine of a rule ("float32_scale", "float64_scale", or a function's name here) for two types, by name."""
    types = {"SUM": getattr(np, acc), "INTEGER": getattr(np, integer)}
    if rule in ("float32_scale", "float64_scale"):
        return routine(float_scale, f"{rule}-{acc}-{integer}", REAL=getattr(np, rule.removesuffix("_scale")), **types)
    return routine(RULES[rule], f"{acc}-{integer}", **types)


@cache
def holding(acc: str) -> Any:
    """The routine `hold` for sums of a type."""
    return routine(hold, acc, SUM=getattr(np, acc))
