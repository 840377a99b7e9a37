"""Requantization planned: the plain kernel where its bound holds, the exact wide one, or Python's own integers."""

from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.arithmetic import requantized
from intsim.engine.codes import cast_code, cast_takes, overflow_code, rounding_code
from intsim.integers import Overflow, Rounding
from intsim.program import Rescale
from intsim.ranges import Interval
from intsim.target import FixedPoint, Float32Requantize, Float32Scale, Float64Scale, PowerOfTwo, Thresholds

LIMIT = 1 << 62


class Requantizer(Struct, frozen=True, kw_only=True, eq=False):
    """A kernel of `intsim_kernels.requantize` and its numbers; None where Python's own integers are needed.

    `narrow`: the interval it was planned for lies within int32; `largest`: its largest magnitude.
    """

    kernel: str
    why: str
    numbers: tuple[Any, ...] | None
    rescale: Rescale
    narrow: bool = False
    largest: int = 0


def settle(requantizer: Requantizer, acc: np.ndarray, out: np.ndarray) -> None:
    """Fills `out[rows, c]` from `acc[rows, c]`: int32 or int64, inside the interval that was planned for."""
    from intsim_kernels import requantize

    if requantizer.numbers is None:
        _plain(requantizer.rescale, acc, out)
    else:
        getattr(requantize, requantizer.kernel)(acc, out, *requantizer.numbers)


def plan_rescale(rescale: Rescale, channels: int, acc: Interval) -> Requantizer:
    """The requantization of accumulators `[rows, channels]` that lie in `acc`."""
    planned = None
    if rescale.overflow is Overflow.SATURATE:  # ends that no kernel's result reaches
        rescale = replace(rescale, low=max(rescale.low, 1 - LIMIT), high=min(rescale.high, LIMIT - 1))
    match rescale.rule if max(map(abs, acc)) < LIMIT else None:
        case FixedPoint() | PowerOfTwo():
            planned = _fixed(rescale, channels, acc)
        case Float32Scale() | Float64Scale() | Float32Requantize():
            planned = _float(rescale, channels, acc)
        case Thresholds():
            planned = _thresholds(rescale, channels)
    if planned is not None:
        return replace(planned, narrow=max(-acc[0] - 1, acc[1]) < 1 << 31, largest=max(-acc[0], acc[1]))
    return Requantizer(kernel="python", why="numbers beyond 64 bits", numbers=None, rescale=rescale)


def _plain(rescale: Rescale, acc: np.ndarray, out: np.ndarray) -> None:
    for index in np.ndindex(acc.shape):
        out[index] = requantized(int(acc[index]), rescale, index[1])


def _spread(values: np.ndarray | list | int, channels: int, dtype: type = np.int64) -> np.ndarray:
    """One number a channel, `[channels]`; a copy, since to numba a read-only array is another type."""
    return np.array(np.broadcast_to(np.asarray(values, dtype), channels))


# ---- multipliers and shifts ------------------------------------------------------------------------------------


class _Numbers(Struct, frozen=True, kw_only=True):
    """One channel's numbers, as Python integers: see the kernel `fixed_point`."""

    multiplier: int
    left: int
    right: int
    add: int
    after: int


def _numbers(rescale: Rescale) -> list[_Numbers]:
    rule, zero = rescale.rule, rescale.zero_point
    assert isinstance(rule, FixedPoint | PowerOfTwo)
    assert rescale.exponent is not None
    ones = np.ones_like(rescale.exponent)
    pairs = np.broadcast_arrays(ones if rescale.multiplier is None else rescale.multiplier, rescale.exponent)
    found = []
    for m, e in zip(*(side.tolist() for side in pairs), strict=True):
        left, right = 0, -e
        if isinstance(rule, FixedPoint):
            left, right = (0, rule.bits - e) if rule.first is None else (max(e, 0), max(-e, 0))
        before = rule.zero_point == "before" and right > 0
        found.append(
            _Numbers(
                multiplier=m << max(-right, 0),
                left=left,
                right=max(right, 0),
                add=zero if before else 0,
                after=0 if before else zero,
            )
        )
    return found


def _fixed(rescale: Rescale, channels: int, acc: Interval) -> Requantizer | None:
    from intsim_kernels.rounding import steps

    rule, numbers = rescale.rule, _numbers(rescale)
    assert isinstance(rule, FixedPoint | PowerOfTwo)
    if not cast_takes(rule.middle) or max(abs(rescale.low), abs(rescale.high)) >= LIMIT:
        return None
    twice = isinstance(rule, FixedPoint) and rule.first is not None
    register = rule.register if isinstance(rule, FixedPoint) and rule.first is not None else 0
    first = rule.bits if twice and isinstance(rule, FixedPoint) else 0
    first_mode = rounding_code(rule.first) if isinstance(rule, FixedPoint) and rule.first else 0
    largest = max(abs(acc[0]), abs(acc[1]))
    bounds = [_bounds(n, largest, register, first) for n in numbers]
    if any(wide >= LIMIT or n.multiplier >= LIMIT or n.left > 62 for n, (_, wide) in zip(numbers, bounds, strict=True)):
        return None
    last_mode = rounding_code(rule.rounding)
    multiplier = _spread([n.multiplier for n in numbers], channels)
    left = _spread([n.left for n in numbers], channels)
    after = _spread([n.after for n in numbers], channels)
    ends = (cast_code(rule.middle), after, rescale.low, rescale.high, overflow_code(rescale.overflow))
    if _is_gemmlowp(rescale, numbers):
        last = steps(_spread([n.right for n in numbers], channels), last_mode).astype(np.int32)
        factors, lefts, offsets = (v.astype(np.int32) for v in (multiplier, left, after))
        low, high = np.int32(rescale.low), np.int32(rescale.high)
        return Requantizer(
            kernel="doubled",
            why="gemmlowp's rule, in 32-bit lanes",
            numbers=(factors, lefts, last, offsets, low, high),
            rescale=rescale,
        )
    if all(plain < LIMIT for plain, _ in bounds):
        shifts = steps(np.array(first), first_mode)
        add = _spread([n.add << n.right for n in numbers], channels)
        last = steps(_spread([n.right for n in numbers], channels), last_mode)
        return Requantizer(
            kernel="fixed_point",
            why="every product fits 62 bits",
            numbers=(multiplier, left, register, shifts, add, last, *ends),
            rescale=rescale,
        )
    right = _spread([min(n.right, 127) for n in numbers], channels)
    firsts, add = _spread(first, channels), _spread([n.add for n in numbers], channels)
    return Requantizer(
        kernel="fixed_point_wide",
        why="products of up to 128 bits",
        numbers=(multiplier, left, register, firsts, first_mode, add, right, last_mode, *ends),
        rescale=rescale,
    )


def _is_gemmlowp(rescale: Rescale, numbers: list[_Numbers]) -> bool:
    """A doubling high multiplication in 32 bits, a shift, a clamp; every number within int32."""
    rule = rescale.rule
    return (
        isinstance(rule, FixedPoint)
        and (rule.bits, rule.first, rule.register, rule.middle) == (31, Rounding.HALF_UP, 32, None)
        and rescale.overflow is Overflow.SATURATE
        and max(abs(rescale.low), abs(rescale.high), abs(rescale.zero_point)) < 1 << 30
        and all(n.add == 0 and 0 <= n.multiplier < 1 << 31 and n.left <= 31 and n.right <= 30 for n in numbers)
    )


def _bounds(n: _Numbers, largest: int, register: int, first: int) -> tuple[int, int]:
    """What the plain kernel and what the wide kernel must hold, in magnitude; LIMIT where a shift is out of reach."""
    a = largest
    plain = 0
    if register:
        a = min(a << n.left, 1 << (register - 1))
        plain = a * n.multiplier + (1 << first) if n.left < register and first <= 62 else LIMIT
        a = min((a * n.multiplier >> first) + 1, 1 << (register - 1))
        product = a
    else:
        product = a * n.multiplier
    plain = max(plain, product + (abs(n.add) << n.right) + (1 << n.right) if n.right <= 62 else LIMIT)
    wide = (product >> n.right) + abs(n.add) + abs(n.after) + 1
    if first > 127 or product >= 1 << 126:
        wide = LIMIT
    return plain, wide


# ---- floats and thresholds -------------------------------------------------------------------------------------


def _float(rescale: Rescale, channels: int, acc: Interval) -> Requantizer | None:
    rule, zero = rescale.rule, rescale.zero_point
    assert rescale.multiplier is not None
    real = np.float64 if isinstance(rule, Float64Scale) else np.float32
    divisor, multiplier, mode, before = np.ones(1, real), rescale.multiplier, Rounding.HALF_EVEN, False
    if isinstance(rule, Float32Requantize):
        multiplier, divisor = rescale.multiplier[:1], rescale.multiplier[1:]
    else:
        assert isinstance(rule, Float32Scale | Float64Scale)
        mode, before = rule.rounding, rule.zero_point == "before"
    largest = max(abs(acc[0]), abs(acc[1]))
    reach = largest * float(np.abs(multiplier).max()) / float(np.abs(divisor).min()) * 1.001
    if largest > 1 << 53 or reach >= 2.0**61 or max(abs(rescale.low), abs(rescale.high), abs(zero)) > 1 << 22:
        return None
    after = 0 if before else zero
    numbers = (
        _spread(multiplier, channels, real),
        _spread(divisor, channels, real),
        _spread([zero if before else 0], channels, real),
        rounding_code(mode),
    )
    ends = (after, rescale.low, rescale.high, overflow_code(rescale.overflow))
    return Requantizer(
        kernel="float_scale",
        why="the machine multiplies by a float scale",
        numbers=(*numbers, *ends),
        rescale=rescale,
    )


def _thresholds(rescale: Rescale, channels: int) -> Requantizer:
    assert rescale.thresholds is not None
    table = np.array(np.broadcast_to(rescale.thresholds, (channels, rescale.thresholds.shape[1])))
    return Requantizer(
        kernel="thresholds",
        why="the machine compares",
        numbers=(table, rescale.low),
        rescale=rescale,
    )
