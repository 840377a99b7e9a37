"""Intervals of accumulators through a requantization, by every rule."""

from typing import Any

import numpy as np

from intsim.arithmetic import multiplier_bits, rounded_float
from intsim.arithmetic.requantize import tail_rule
from intsim.certify.spans import (
    Span,
    bounded,
    cast,
    chosen,
    divided,
    floats_rounded,
    held,
    plus,
    shifted,
    times,
    unbounded,
)
from intsim.integers import Overflow, Rounding
from intsim.program import Rescale
from intsim.target import FixedPoint, Float32Requantize, Float32Scale, Float64Scale, PowerOfTwo, Thresholds

F32 = np.float32


def rescaled(rescale: Rescale, acc: Span, *, channels: bool = True, tail: Any = False) -> Span:
    """The output's integers (5)-(10) of accumulators `[..., c]`.

    `channels`: the last axis are the rescale's channels; otherwise all go by its first one. `tail`: bool, which ones
    the rule's lanes do not hold.
    """
    rule, zero = rescale.rule, rescale.zero_point
    numbers = [_some(one, channels) for one in (rescale.multiplier, rescale.exponent, rescale.thresholds)]
    m, e, thresholds = numbers
    match rule:
        case Thresholds():
            assert thresholds is not None
            low, high = (rescale.low + _reached(side, thresholds) for side in (acc.low, acc.high))
            return Span(low, high, acc.steady)
        case Float32Requantize():
            assert rescale.multiplier is not None
            sx, sy = rescale.multiplier
            y = plus(_floats(acc, lambda v: v.astype(F32) * sx / sy, Rounding.HALF_EVEN, sx >= 0), zero)
        case Float32Scale() | Float64Scale():
            assert m is not None
            y = _scaled(rescale, rule, acc, m)
        case PowerOfTwo():
            assert e is not None
            whole = _wide(acc, 1, int(-e.max()), int(-e.min()), zero, rule.middle)
            y = _last(unbounded(acc) if whole else acc, -e, rule, zero)
        case FixedPoint():
            assert m is not None
            assert e is not None
            y = fixed_pointed(acc, rule, m, e, zero)
            if np.any(tail):
                y = chosen(tail, fixed_pointed(acc, tail_rule(rule), m, e, zero), y)
    y = bounded(y, rescale.low, rescale.high, rescale.overflow)
    return Span(y.low.astype(np.int64), y.high.astype(np.int64), y.steady.astype(bool))


def fixed_pointed(acc: Span, rule: FixedPoint, m: np.ndarray, e: np.ndarray, zero: int) -> Span:
    """acc * M * 2^(e - B) with the rule's registers and roundings, and the zero point (5)."""
    bits = multiplier_bits(rule)
    most, up = int(np.abs(m).max()), max(int(e.max()), 0)
    if _wide(acc, most << up, bits - int(e.max()), max(bits, bits - int(e.min())), zero, rule.middle):
        acc, m, e = unbounded(acc), m.astype(object), e.astype(object)
    if rule.first is None:
        return _last(held(times(acc, m), rule.product, Overflow.WRAP), bits - e, rule, zero)
    a = held(shifted(acc, -np.maximum(e, 0), Rounding.FLOOR), rule.register, rule.left)
    if a.low.dtype != object and a.reach * most >= 1 << 61:
        a, m, e = unbounded(a), m.astype(object), e.astype(object)
    n = held(shifted(times(a, m), bits, rule.first), rule.register, Overflow.SATURATE)
    return _last(n, np.maximum(-e, 0), rule, zero)


def _last(n: Span, right: np.ndarray, rule: FixedPoint | PowerOfTwo, zero: int) -> Span:
    before = (right > 0) & (rule.zero_point == "before")
    one = np.array(1, object) if n.low.dtype == object else np.int64(1)
    if before.any():
        n = plus(n, np.where(before, zero * (one << np.maximum(right, 0)), 0))
    if isinstance(rule, FixedPoint) and rule.doubled is not None:
        twice = held(shifted(n, right - 1, Rounding.FLOOR), rule.doubled, Overflow.WRAP)
        y = divided(twice, 2, rule.rounding)
    else:
        y = shifted(n, right, rule.rounding)
    y = y if rule.middle is None else cast(y, rule.middle)
    y = plus(y, np.where(before, 0, zero))
    return held(y, rule.sum, Overflow.WRAP) if isinstance(rule, FixedPoint) else y


def _wide(acc: Span, factor: int, least: int, most: int, zero: int, middle: Any) -> bool:
    """Whether a number on the way, shifted by least..most to the right in the end, may not fit int64."""
    widest = acc.reach * factor * (2 << max(-least, 0)) + (abs(zero) << max(most, 0))
    if middle is not None:
        widest <<= max(-middle.shift, 0)
    return widest >= 1 << 61 or most > 60 or (middle is not None and middle.shift > 60)


def _scaled(rescale: Rescale, rule: Float32Scale | Float64Scale, acc: Span, m: np.ndarray) -> Span:
    real, zero = (F32 if isinstance(rule, Float32Scale) else np.float64), rescale.zero_point
    before = rule.zero_point == "before"
    addend = real(zero) if rescale.addend is None else rescale.addend[0]

    def value(v: np.ndarray) -> np.ndarray:
        product = v.astype(real) * m.astype(real)
        return product + addend if before else product

    y = _floats(acc, value, rule.rounding, m >= 0)
    if isinstance(rule, Float32Scale) and rule.converted is not None:
        half = 1 << rule.converted - 1
        out = (y.low < -half) | (y.high >= half)
        inside = np.minimum(y.high, half - 1)
        high = np.where(out & ((inside < y.low) | (inside < -half)), -half, inside)
        y = Span(np.where(out, -half, y.low), high, y.steady & ~out)
    y = y if before else plus(y, zero)
    return held(y, rule.sum, Overflow.WRAP) if isinstance(rule, Float64Scale) else y


def _floats(acc: Span, value: Any, mode: Rounding, rises: Any) -> Span:
    """The rounded floats of the ends: each float operation is monotone, and each rounding but CARRY_SHIFT (38)."""
    with np.errstate(over="ignore", invalid="ignore"):
        ends = [value(side.astype(np.float64)) for side in (acc.low, acc.high)]
    least, most = np.minimum(*ends), np.maximum(*ends)
    if not (np.isfinite(least).all() and np.isfinite(most).all()):
        raise OverflowError("a float on the way is infinite")
    low, high = (_rounded(v, mode) for v in (least, most))
    steady = acc.steady & (rises | (acc.low == acc.high))
    if mode is not Rounding.CARRY_SHIFT:
        return Span(low, high, steady)
    point = least == most
    floors = [_rounded(v, Rounding.FLOOR) for v in (least, most)]
    low = np.where((least >= 0) | point, low, floors[0] - 1)
    high = np.where((most >= 0) | point, high, floors[1])
    return Span(low, high, steady & ((least >= 0) | point))


def _rounded(v: np.ndarray, mode: Rounding) -> np.ndarray:
    """The floats as integers: int64, or Python's own where they are large."""
    if float(np.abs(v).max(initial=0)) < 2**51:
        return floats_rounded(v, mode)
    out = np.empty(v.shape, object)
    for index in np.ndindex(v.shape):
        out[index] = rounded_float(float(v[index]), mode)
    return out


def _reached(acc: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """How many thresholds of its channel each accumulator has reached."""
    out = np.empty(acc.shape, np.int64)
    for c in range(acc.shape[-1]):
        own = thresholds[c if len(thresholds) > 1 else 0]
        out[..., c] = np.searchsorted(own, acc[..., c].astype(np.int64), side="right")
    return out


def _some(array: np.ndarray | None, channels: bool) -> np.ndarray | None:
    return array if array is None or channels else array[:1]
