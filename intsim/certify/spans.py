"""Intervals of integers through roundings and registers: where a function turns round, all that it can give."""

from typing import Any

import numpy as np
from msgspec import Struct

from intsim.integers import Overflow, Rounding
from intsim.target import Cast

WRAPS = (Overflow.WRAP, Overflow.FORBID)


class Span(Struct, frozen=True, eq=False):
    """Integers from `low` to `high`, arrays of one shape, int64 or Python's own.

    `steady`: bool, what was done to get here never falls while its input goes from its low to its high end.
    """

    low: np.ndarray
    high: np.ndarray
    steady: np.ndarray

    @property
    def reach(self) -> int:
        """The largest magnitude, in Python's own integers."""
        return max(
            (abs(int(v)) for side in (self.low, self.high) if side.size for v in (side.min(), side.max())), default=0
        )


def span(low: np.ndarray, high: np.ndarray) -> Span:
    """The integers low..high before anything was done to them."""
    return Span(low, high, np.ones(low.shape, bool))


def unbounded(one: Span) -> Span:
    """The same in Python's own integers."""
    return Span(one.low.astype(object), one.high.astype(object), one.steady)


def plus(one: Span, n: Any) -> Span:
    """one + n, n a number or an array."""
    return Span(one.low + n, one.high + n, one.steady)


def times(one: Span, factor: Any) -> Span:
    """one * factor: a negative factor turns the ends round."""
    a, b = one.low * factor, one.high * factor
    return Span(np.minimum(a, b), np.maximum(a, b), one.steady & ((factor >= 0) | (one.low == one.high)))


def joined(a: Span, b: Span, *, subtract: bool = False) -> Span:
    """a + b, or a - b, of two independent numbers; only a sum can be steady (in both)."""
    if subtract:
        return Span(a.low - b.high, a.high - b.low, np.zeros(a.low.shape, bool))
    return Span(a.low + b.low, a.high + b.high, a.steady & b.steady)


def chosen(where: Any, a: Span, b: Span) -> Span:
    """a where `where`, else b."""
    return Span(np.where(where, a.low, b.low), np.where(where, a.high, b.high), np.where(where, a.steady, b.steady))


# ---- roundings -------------------------------------------------------------------------------------------------


def divided(one: Span, d: Any, mode: Rounding) -> Span:
    """rnd(one / d), d > 0 (1), all modes but one monotone (38)."""
    low, high = (_rounded(side, d, mode) for side in (one.low, one.high))
    if mode is not Rounding.CARRY_SHIFT:
        return Span(low, high, one.steady)
    even, point = (one.low >= 0), one.low == one.high
    low = np.where(even | point, low, one.low // d - 1)
    high = np.where(point | (one.high >= 0), high, one.high // d)
    return Span(low, high, one.steady & (even | point))


def shifted(one: Span, right: Any, mode: Rounding) -> Span:
    """one / 2^right (2); a negative shift goes left."""
    right = np.asarray(right)
    unit = np.array(1, object) if one.low.dtype == object else np.int64(1)
    left = times(one, unit << np.maximum(-right, 0).astype(unit.dtype))
    return divided(left, unit << np.maximum(right, 0).astype(unit.dtype), mode)


def _rounded(n: np.ndarray, d: Any, mode: Rounding) -> np.ndarray:
    q = n // d
    r = n - q * d
    odd, negative = q % 2 == 1, n < 0
    match mode:
        case Rounding.FLOOR:
            return q
        case Rounding.CEIL:
            return q + (r > 0)
        case Rounding.TO_ZERO:
            return q + ((r > 0) & negative)
        case Rounding.AWAY:
            return q + ((r > 0) & ~negative)
        case Rounding.TO_ODD:
            return q + ((r > 0) & ~odd)
    tied = 2 * r == d
    match mode:
        case Rounding.CARRY_SHIFT:
            up = (2 * r > d) | (tied & odd)
            return q + np.where(negative, -1, 1) * up
        case Rounding.HALF_UP:
            ties = tied
        case Rounding.HALF_DOWN:
            ties = np.zeros_like(tied)
        case Rounding.HALF_AWAY:
            ties = tied & ~negative
        case Rounding.HALF_TO_ZERO:
            ties = tied & negative
        case _:
            ties = tied & odd
    return q + ((2 * r > d) | ties)


def floats_rounded(v: np.ndarray, mode: Rounding) -> np.ndarray:
    """Floats below 2^51 as integers, int64: in float64 the integer below and the middle behind it are exact."""
    v = v.astype(np.float64)
    q = np.floor(v)
    middle = q + 0.5
    quarters = np.where(v > middle, 3, np.where(v == middle, 2, np.where(v > q, 1, 0)))  # of the way to q + 1
    return _rounded(q.astype(np.int64) * 4 + quarters, 4, mode)


# ---- registers -------------------------------------------------------------------------------------------------


def ends(bits: int, overflow: Overflow, signed: bool = True) -> tuple[int, int]:
    """What a register holds at most."""
    high = (1 << (bits - signed)) - 1
    return (-high - (overflow is not Overflow.SATURATE_SYM) if signed else 0), high


def fits(one: Span, bits: int, overflow: Overflow, signed: bool = True) -> np.ndarray:
    """bool: the register keeps every one of these integers as it is."""
    low, high = ends(bits, overflow, signed)
    if overflow is Overflow.WRAP_SM and not signed:
        high >>= 1  # above, it turns bits round
    inside = np.ones(one.low.shape, bool)
    if one.low.dtype == object or low >= -(1 << 62):
        inside = (one.low >= low).astype(bool)
    if one.low.dtype == object or high < 1 << 62:
        inside &= (one.high <= high).astype(bool)
    return inside


def held(one: Span, bits: int | None, overflow: Overflow, signed: bool = True) -> Span:
    """What a register of `bits` bits holds of it (3), (38); None: everything."""
    if bits is None:
        return one
    if bits > 62 and one.low.dtype != object:
        if one.reach < 1 << 62 and (signed or not (one.low < 0).any()):
            return one
        return held(unbounded(one), bits, overflow, signed)
    low, high = ends(bits, overflow, signed)
    if overflow is Overflow.WRAP_SM:
        return _turned(one, bits, low, high, signed)
    return bounded(one, low, high, overflow)


def bounded(one: Span, low: int, high: int, overflow: Overflow) -> Span:
    """Put into low..high as (10) does: wrapping is modulo the number of values."""
    match overflow:
        case Overflow.WRAP | Overflow.FORBID | Overflow.WRAP_SM:
            size = high - low + 1
            first, last = (one.low - low) // size, (one.high - low) // size
            same = first == last
            moved = (one.low - first * size, one.high - first * size)
            return Span(np.where(same, moved[0], low), np.where(same, moved[1], high), one.steady & same)
        case Overflow.SATURATE_ZERO:
            kept = (np.maximum(one.low, low), np.minimum(one.high, high))
            some, out = kept[0] <= kept[1], (one.low < low) | (one.high > high)
            least = np.where(some, np.where(out, np.minimum(kept[0], 0), kept[0]), 0)
            most = np.where(some, np.where(out, np.maximum(kept[1], 0), kept[1]), 0)
            return Span(least, most, one.steady & (~out | (one.low == one.high)))
        case _:
            least, most = (np.minimum(np.maximum(side, low), high) for side in (one.low, one.high))
            return Span(least, most, one.steady)


def _turned(one: Span, bits: int, low: int, high: int, signed: bool) -> Span:
    """WRAP_SM: what fits stays, of a single number it is known; of all others, anything. Unsigned, half of it fits."""
    inside = fits(one, bits, Overflow.WRAP_SM, signed)
    point = one.low == one.high
    turned = (one.low >> (bits - 1)) & 1 != (one.low >> bits) & 1
    folded = np.where(turned, ~one.low, one.low)
    there = low + (folded - low) % (1 << bits)
    least = np.where(inside, one.low, np.where(point, there, low))
    most = np.where(inside, one.high, np.where(point, there, high))
    return Span(least, most, one.steady & (inside | point))


def cast(one: Span, to: Cast) -> Span:
    """Moved into a register (2)."""
    return held(moved(one, to), to.bits, to.overflow, to.signed)


def moved(one: Span, to: Cast) -> Span:
    """After a cast's shift, before its register."""
    unseen = 0 if to.fraction_bits is None else max(to.shift - to.fraction_bits, 0)
    first = shifted(one, unseen, Rounding.FLOOR) if unseen else one
    return shifted(first, to.shift - unseen, to.rounding)
