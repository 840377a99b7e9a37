"""One integer at a time, as routines: clamped, looked up, added, gathered, on runs that lie without a gap everywhere.

A row is a run: `LENGTH` integers of an image, one after the other in every tensor that is touched; the i-th of the
`RUNS` of an image begins base[i] bytes after the image's start. Integers of 16 bits at most are looked up: what a table
holds was worked out before, by any rule.
"""

from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, types
from numba.extending import intrinsic

from intsim_kernels import elementwise
from intsim_kernels.compiled import kernel
from intsim_kernels.cpu import ARM, has
from intsim_kernels.memory import pointer, word
from intsim_kernels.native import routine

RUNS, LENGTH, X, X_SIZE, X_BASE, Y, Y_SIZE, Y_BASE = range(8)
"""A tensor is told by its offset, the bytes of an image, and where the runs begin."""

FIRST = 8
"""Where a routine's own numbers begin; for a second operand with its three numbers."""

FROM: Any = np.int16
OTHER: Any = np.int16
TO: Any = np.int16


@kernel
def run_of(p, tensor, arena, row):
    """Where the row begins in the tensor told from p[tensor] on."""
    runs = word(p, RUNS)
    image = row // runs
    return arena + word(p, tensor) + image * word(p, tensor + 1) + word(word(p, tensor + 2), row - image * runs)


def clamped(p, arena, begin, end):
    """y = min(max(x, low), high) + added, clamped in the type of x; added, low, high."""
    n, added = word(p, LENGTH), word(p, FIRST)
    low, high = FROM(word(p, FIRST + 1)), FROM(word(p, FIRST + 2))
    for row in range(begin, end):
        x = carray(pointer(run_of(p, X, arena, row)), (n,), FROM)
        y = carray(pointer(run_of(p, Y, arena, row)), (n,), TO)
        for i in range(n):
            v = x[i]
            v = v if v > low else low
            v = v if v < high else high
            y[i] = TO(v + added)


def filled(p, arena, begin, end):
    """y = value; X is not looked at."""
    n, value = word(p, LENGTH), TO(word(p, FIRST))
    for row in range(begin, end):
        y = carray(pointer(run_of(p, Y, arena, row)), (n,), TO)
        for i in range(n):
            y[i] = value


def gathered(p, arena, begin, end):
    """y[i] of a run = x[index[run, i]] + added, counted in integers from where X's runs begin; index int32, added."""
    n, runs, added = word(p, LENGTH), word(p, RUNS), TO(word(p, FIRST + 1))
    for row in range(begin, end):
        index = carray(pointer(word(p, FIRST) + (row % runs) * n * 4), (n,), np.int32)
        x = carray(pointer(run_of(p, X, arena, row)), (1 << 30,), FROM)
        y = carray(pointer(run_of(p, Y, arena, row)), (n,), TO)
        for i in range(n):
            y[i] = TO(x[np.uintp(index[i])] + added)  # no index from the end


def looked_up(p, arena, begin, end):
    """y = table[x - low]; table of the type of y, its size, low."""
    n, low = word(p, LENGTH), word(p, FIRST + 2)
    table = carray(pointer(word(p, FIRST)), (word(p, FIRST + 1),), TO)
    for row in range(begin, end):
        x = carray(pointer(run_of(p, X, arena, row)), (n,), FROM)
        y = carray(pointer(run_of(p, Y, arena, row)), (n,), TO)
        for i in range(n):
            y[i] = table[np.uintp(x[i] - low)]  # no index from the end


def looked_up_each(p, arena, begin, end):
    """y = table[c * entries + x - low] in channel c, runs being whole pixels or parts of one.

    Numbers: table of the type of y, its size, low, entries, channels.
    """
    n, runs, low, entries = word(p, LENGTH), word(p, RUNS), word(p, FIRST + 2), word(p, FIRST + 3)
    table = carray(pointer(word(p, FIRST)), (word(p, FIRST + 1),), TO)
    for row in range(begin, end):
        begins = (row % runs) * n % word(p, FIRST + 4)
        x = carray(pointer(run_of(p, X, arena, row)), (n,), FROM)
        y = carray(pointer(run_of(p, Y, arena, row)), (n,), TO)
        for i in range(n):
            y[i] = table[np.uintp((begins + i) * entries + x[i] - low)]  # no index from the end


def multiplied(p, arena, begin, end):
    """scratch[row][i] = (a - za) * (b - zb), in TO; b is told in X's manner.

    Numbers: b's three, za, zb, and the offset of scratch.
    """
    n, za, zb = word(p, LENGTH), TO(word(p, FIRST + 3)), TO(word(p, FIRST + 4))
    out = carray(pointer(arena + word(p, FIRST + 5)), (end - begin, n), TO)
    for row in range(begin, end):
        a = carray(pointer(run_of(p, X, arena, row)), (n,), FROM)
        b = carray(pointer(run_of(p, FIRST, arena, row)), (n,), OTHER)
        y = out[row - begin]
        for i in range(n):
            y[i] = TO((TO(a[i]) - za) * (TO(b[i]) - zb))


def added(p, arena, begin, end):
    """scratch[row][i] = tables[0][a - lows[0]] + tables[1][b - lows[1]], in TO; b is told in X's manner.

    Numbers: b's three, then twice: table, its size, low; and the offset of scratch.
    """
    n, low, other = word(p, LENGTH), word(p, FIRST + 5), word(p, FIRST + 8)
    table = carray(pointer(word(p, FIRST + 3)), (word(p, FIRST + 4),), TO)
    second = carray(pointer(word(p, FIRST + 6)), (word(p, FIRST + 7),), TO)
    out = carray(pointer(arena + word(p, FIRST + 9)), (end - begin, n), TO)
    for row in range(begin, end):
        a = carray(pointer(run_of(p, X, arena, row)), (n,), FROM)
        b = carray(pointer(run_of(p, FIRST, arena, row)), (n,), OTHER)
        y = out[row - begin]
        for i in range(n):
            y[i] = TO(table[np.uintp(a[i] - low)] + second[np.uintp(b[i] - other)])  # no index from the end


@intrinsic
def fused(typingctx: Any, x: Any, m: Any, addend: Any) -> Any:
    """f32(x * m + addend), rounded once, by the CPU's own instruction."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.FloatType(), [ir.FloatType()] * 3)
        return b.call(b.module.declare_intrinsic("llvm.fma", [ir.FloatType()], kind), args)

    return types.float32(types.float32, types.float32, types.float32), codegen


@kernel
def by_fma(a, ra, b, rb, fixed):
    """a * ra + (b * rb + fixed), two fused operations of this CPU."""
    return fused(a, ra, fused(b, rb, fixed))


@kernel
def by_float64(a, ra, b, rb, fixed):
    """As `by_fma`, on a CPU that has none."""
    return elementwise.multiply_add(a, ra, elementwise.multiply_add(b, rb, fixed))


@kernel
def apart(a, ra, b, rb, fixed):
    """(a * ra + fixed) + b * rb, four operations."""
    return (a * ra + fixed) + b * rb


TOTAL: Any = apart


def float_sum(p, arena, begin, end):
    """y = clamp(half_even(total of a * ra, b * rb, fixed)) + shift in float32, see `elementwise.float32_add`.

    Numbers: b's three, the address of ra, rb, fixed; low, high, shift, and the shifts of a and b.
    """
    n, numbers = word(p, LENGTH), carray(pointer(word(p, FIRST + 3)), (3,), np.float32)
    ra, rb, fixed = numbers[0], numbers[1], numbers[2]
    low, high, shift = np.float32(word(p, FIRST + 4)), np.float32(word(p, FIRST + 5)), np.int32(word(p, FIRST + 6))
    za, zb = np.int32(word(p, FIRST + 7)), np.int32(word(p, FIRST + 8))
    for row in range(begin, end):
        a = carray(pointer(run_of(p, X, arena, row)), (n,), FROM)
        b = carray(pointer(run_of(p, FIRST, arena, row)), (n,), OTHER)
        y = carray(pointer(run_of(p, Y, arena, row)), (n,), TO)
        for i in range(n):
            v = np.rint(TOTAL(np.float32(np.int32(a[i] - za)), ra, np.float32(np.int32(b[i] - zb)), rb, fixed))
            v = v if v > low else low
            v = v if v < high else high
            y[i] = TO(np.int32(np.int32(v) + shift))


MADE = {f.__name__: f for f in (clamped, filled, gathered, looked_up, looked_up_each)}


@cache
def element(name: str, source: str, goal: str) -> Any:
    """A routine of `MADE` from integers of one type to another's, by name."""
    return routine(MADE[name], f"{source}-{goal}", FROM=getattr(np, source), TO=getattr(np, goal))


@cache
def adding(source: str, other: str, sums: str) -> Any:
    """The routine `added` for operands and sums of these types, by name."""
    kinds = {"FROM": getattr(np, source), "OTHER": getattr(np, other), "TO": getattr(np, sums)}
    return routine(added, f"{source}-{other}-{sums}", **kinds)


@cache
def multiplying(source: str, other: str, products: str) -> Any:
    """The routine `multiplied` for operands and products of these types, by name."""
    kinds = {"FROM": getattr(np, source), "OTHER": getattr(np, other), "TO": getattr(np, products)}
    return routine(multiplied, f"{source}-{other}-{products}", **kinds)


@cache
def float_adding(source: str, other: str, goal: str, rounds_once: bool) -> Any:
    """The routine `float_sum` for operands and results of these types, by name."""
    once = by_fma if ARM or has("fma") else by_float64
    kinds = {"FROM": getattr(np, source), "OTHER": getattr(np, other), "TO": getattr(np, goal)}
    how = once if rounds_once else apart
    return routine(float_sum, f"{source}-{other}-{goal}-{rounds_once}", TOTAL=how, **kinds)
