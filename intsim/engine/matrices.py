"""Sums of products of two activations planned: as floats where those are exact, else matrix by matrix as a Dot."""

import numpy as np

from intsim.engine.accumulator import NONE, WRAPS, Counts, Sums, hull
from intsim.engine.codes import overflow_code
from intsim.engine.rescale import plan_rescale
from intsim.engine.step import Run, requantizing
from intsim.engine.sums import LIMIT, plan_sums
from intsim.graph import Shape
from intsim.ops.matmul import dot_of, matrices, sums_of_two
from intsim.program import MatMul
from intsim.ranges import Interval, Registers, registers_of_two

_DENSE = ((np.float32, 1 << 24), (np.float64, 1 << 53), (np.int64, LIMIT))
"""What a matrix product may be computed in, and up to where all its integers, in any order of adds, are exact there."""


def plan_matmul(
    matmul: MatMul, shapes: list[Shape], known: list[Interval], count: bool, dtype: np.dtype
) -> tuple[Sums, Run]:
    """The accumulators of two operands of these shapes, the inside layout's, and their requantization."""
    sums, channels = _sums(matmul, shapes[0][-2], known, count), shapes[0][-1]
    if max(map(abs, sums.value)) >= LIMIT:
        return sums, _slow(matmul, dtype)
    settle = requantizing(plan_rescale(matmul.rescale, channels, sums.value), dtype)
    return sums, lambda acc: settle(np.ascontiguousarray(acc.reshape(-1, channels)))


def _slow(matmul: MatMul, dtype: np.dtype) -> Run:
    from intsim.ops.matmul import requantized_sums

    return lambda acc: requantized_sums(matmul, acc).astype(dtype)


def _sums(matmul: MatMul, k: int, known: list[Interval], count: bool) -> Sums:
    a, b = known
    found = registers_of_two(matmul, a, b, k)
    if max(map(abs, (*a, *b))) >= 1 << 30:
        return _python(matmul, "operands beyond 32 bits")
    za, zb = matmul.zero_points
    reach = k * max(abs(end - za) for end in a) * max(abs(end - zb) for end in b)
    kind = next((kind for kind, most in _DENSE if reach < most), None)
    if kind is None:
        return _python(matmul, "sums beyond 64 bits")
    wraps = _any_order(matmul, found, count)
    if wraps is None:
        return _in_order(matmul, known, count, found)

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, Counts]:
        from intsim_kernels.overflow import hold

        left, right = matrices(*inputs)
        exact = np.subtract(left, za, dtype=kind) @ np.subtract(right, zb, dtype=kind)
        acc = np.ascontiguousarray(np.moveaxis(exact, 1, -1).astype(np.int64))
        if wraps:
            hold(acc.reshape(-1), wraps, overflow_code(WRAPS[0]))
        return acc, NONE

    why = "every level wraps: wrapped once at the end" if wraps else "no register can overflow"
    return Sums(kernel=f"matrices in {np.dtype(kind).name}", why=why, run=run, value=hull(found.value))


def _any_order(matmul: MatMul, found: Registers, count: bool) -> int | None:
    """To how many bits the exact sum wraps at last, 0: to none; None where the order of the adds may matter."""
    if matmul.mac.multiplier is not None:
        return None
    if all(part.all() for part in (*found.fits, found.cast, found.back, found.end)):
        return None if count and not found.exact.all() else 0
    if count or not (found.cast.all() and found.back.all()):
        return None
    rule, bits = matmul.bias_rule, 64
    for level, fits in zip(matmul.mac.levels, found.fits, strict=True):
        own = 64 if level.bits is None or fits.all() else level.bits
        if own > bits or (own < 64 and level.overflow not in WRAPS):
            return None
        bits = own
    outer = matmul.mac.levels[-1]
    last, overflow = (outer.bits, outer.overflow) if rule.bits is None else (rule.bits, rule.overflow)
    if rule.when == "init":
        return bits
    return last if last is not None and last <= bits and overflow in WRAPS else None


def _in_order(matmul: MatMul, known: list[Interval], count: bool, found: Registers) -> Sums:
    """Every matrix of the second operand as the weights of a Dot of its own."""

    def run(*inputs: np.ndarray) -> tuple[np.ndarray, Counts]:
        left, right = matrices(*inputs)
        acc, counts = np.empty((*left.shape[:-1], right.shape[-1]), np.int64), np.zeros(3, np.int64)
        for index in np.ndindex(left.shape[:-2]):
            rows, columns = left[index], right[index]
            sums = plan_sums(dot_of(matmul, _short(columns)), rows.shape[-1:], known[0], count)
            part, seen = sums.run(np.ascontiguousarray(rows))
            acc[index], counts = part, counts + np.array(seen, np.int64)
        return np.ascontiguousarray(np.moveaxis(acc, 1, -1)), (int(counts[0]), int(counts[1]), int(counts[2]))

    why = "overflows are counted" if count else "it may overflow, and the order decides"
    return Sums(kernel="a Dot for each matrix", why=why, run=run, value=hull(found.value))


def _short(b: np.ndarray) -> np.ndarray:
    """The integers in the narrowest type that holds them, as weights lie."""
    kinds = (np.int8, np.uint8, np.int16, np.uint16)
    fits = (kind for kind in kinds if np.iinfo(kind).min <= b.min() and b.max() <= np.iinfo(kind).max)
    return b.astype(next(fits, b.dtype))


def _python(matmul: MatMul, why: str) -> Sums:
    def run(*inputs: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, seen = sums_of_two(matmul, *(x.astype(object) for x in inputs))
        return acc, (seen.outputs, seen.adds, seen.persistent)

    return Sums(kernel="python", why=why, run=run, value=(-(1 << 200), 1 << 200))
