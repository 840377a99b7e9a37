"""Accumulators in the output's integers, and the numbers that it takes."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic.rounding import bounded, cast, held, rounded, rounded_float, shifted
from intsim.integers import Overflow, Rounding
from intsim.program import Rescale
from intsim.target import (
    FixedPoint,
    Float32Requantize,
    Float32Scale,
    Float64Scale,
    PowerOfTwo,
    Requantize,
    Thresholds,
)

F32 = np.float32


def requantized(acc: int, rescale: Rescale, channel: int, place: int = 0) -> int:
    """The accumulator in the output's integers (5)-(9); `place`: which one of its sample's."""
    rule, zero = rescale.rule, rescale.zero_point
    if isinstance(rule, Float32Requantize):
        assert rescale.multiplier is not None
        sx, sy = rescale.multiplier
        y = rounded_float(F32(acc) * sx / sy, Rounding.HALF_EVEN) + zero
        return bounded(y, rescale.low, rescale.high, rescale.overflow)
    c = channel if _width(rescale) > 1 else 0
    match rule:
        case Thresholds():
            assert rescale.thresholds is not None
            return rescale.low + sum(acc >= int(t) for t in rescale.thresholds[c])
        case FixedPoint():
            rule = tail_rule(rule) if in_tail(rescale, channel, place) else rule
            y = fixed_pointed(acc, rule, at(rescale.multiplier, c), at(rescale.exponent, c), zero)
        case PowerOfTwo():
            y = _last_rounding(acc, -at(rescale.exponent, c), rule, zero)
        case Float32Scale() | Float64Scale():
            assert rescale.multiplier is not None
            real = F32 if isinstance(rule, Float32Scale) else np.float64
            v = real(acc) * real(rescale.multiplier[c])
            before = rule.zero_point == "before"
            addend = real(zero) if rescale.addend is None else rescale.addend[0]
            y = rounded_float(v + addend if before else v, rule.rounding)
            if isinstance(rule, Float32Scale) and rule.converted is not None:
                half = 1 << rule.converted - 1
                y = y if -half <= y < half else -half
            y += 0 if before else zero
            y = held(y, rule.sum, Overflow.WRAP) if isinstance(rule, Float64Scale) else y
    return bounded(y, rescale.low, rescale.high, rescale.overflow)


def in_tail(rescale: Rescale, channel: int, place: int) -> bool:
    """Whether the rule's lanes do not hold the integer at this place and channel of its sample (5)."""
    rule = rescale.rule
    if rescale.tail is None or not isinstance(rule, FixedPoint) or rule.lanes is None:
        return False
    if rule.lanes.of == "flat":
        return (place, channel) >= (rescale.tail_place, rescale.tail)
    return place >= rescale.tail_place and channel >= rescale.tail


def tail_rule(rule: FixedPoint) -> FixedPoint:
    """The rule of the integers that its lanes do not hold."""
    return rule if rule.lanes is None else replace(rule, rounding=rule.lanes.tail, left=rule.lanes.left, lanes=None)


def tail_of(rule: Requantize, places: int, channels: int) -> dict[str, int]:
    """`tail` and `tail_place` of an output `[places, channels]`; none where the rule has no lanes."""
    if not isinstance(rule, FixedPoint) or rule.lanes is None:
        return {}
    size = rule.lanes.size
    if rule.lanes.of == "flat":
        place, channel = divmod(places * channels // size * size, channels)
        return {"tail": channel, "tail_place": place}
    place = places - places % size if rule.lanes.of == "blocks" else 0
    return {"tail": channels - channels % size, "tail_place": place}


def fixed_pointed(acc: int, rule: FixedPoint, m: int, e: int, zero: int) -> int:
    """acc * M * 2^(e - B), B the bits of M, with the rule's registers and roundings, and the zero point (5)."""
    bits = multiplier_bits(rule)
    if rule.first is None:
        n, right = held(acc * m, rule.product, Overflow.WRAP), bits - e
    else:
        a = held(acc << max(e, 0), rule.register, rule.left)
        n = held(shifted(a * m, bits, rule.first), rule.register, Overflow.SATURATE)
        right = max(-e, 0)
    return _last_rounding(n, right, rule, zero)


def multiplier_bits(rule: FixedPoint) -> int:
    """How many bits the rule's multipliers have."""
    return rule.bits if rule.keep is None else rule.keep


def _last_rounding(n: int, right: int, rule: FixedPoint | PowerOfTwo, zero: int) -> int:
    before = rule.zero_point == "before" and right > 0
    n += zero << right if before else 0
    if isinstance(rule, FixedPoint) and rule.doubled is not None:
        twice = held(shifted(n, right - 1, Rounding.FLOOR), rule.doubled, Overflow.WRAP)
        y = rounded(twice, 2, rule.rounding)
    else:
        y = shifted(n, right, rule.rounding)
    y = y if rule.middle is None else cast(y, rule.middle)
    return y if before else held(y + zero, rule.sum if isinstance(rule, FixedPoint) else None, Overflow.WRAP)


def at(array: np.ndarray | None, index: int) -> int:
    """One of a rule's numbers."""
    assert array is not None
    return int(array[index])


def _width(rescale: Rescale) -> int:
    return max(len(a) for a in (rescale.multiplier, rescale.exponent, rescale.thresholds) if a is not None)


# ---- scales to numbers -----------------------------------------------------------------------------------------


def fixed_point(d: float, rule: FixedPoint) -> tuple[int, int]:
    """(M, e) with d ~ M * 2^(e - B), M of B = `multiplier_bits(rule)` bits (11); (0, 0) below 2^-32."""
    if not rule.normalized:
        return _fraction(F32(d), rule), 0
    m, e = normal(d, rule)
    return kept(m, rule), e


def kept(m: int, rule: FixedPoint) -> int:
    """The multiplier of `rule.bits` bits with as many as the machine keeps (11)."""
    if rule.keep is None:
        return m
    return min(rounded(m, 1 << (rule.bits - rule.keep), Rounding.HALF_UP), (1 << rule.keep) - 1)


def normal(d: float, rule: FixedPoint) -> tuple[int, int]:
    """(M, e) with d ~ M * 2^(e - bits), 2^(bits-1) <= M < 2^bits (11); (0, 0) below 2^-32."""
    if d == 0:
        return 0, 0
    mantissa, e = math.frexp(d)
    m = rounded(*(Fraction(mantissa) * (1 << rule.bits)).as_integer_ratio(), rule.encoding)
    if m == 1 << rule.bits:
        m, e = m >> 1, e + 1
    return (0, 0) if e < -31 else (m, e)


def _fraction(d: np.float32, rule: FixedPoint) -> int:
    """M with d ~ M * 2^-bits, of any size (11)."""
    return rounded(*(Fraction(float(d)) * (1 << rule.bits)).as_integer_ratio(), rule.encoding)


def _shared(ratios: list[float], rule: FixedPoint) -> list[tuple[int, int]]:
    """(M, e) of every channel, e that of the largest ratio (11)."""
    top, e = normal(max(ratios), rule)
    if top == 0:
        return [(0, 0)] * len(ratios)
    unit = Fraction(2) ** (e - rule.bits)
    return [(kept(rounded(*(Fraction(d) / unit).as_integer_ratio(), rule.encoding), rule), e) for d in ratios]


def power_of_two(d: float) -> int:
    """e with d = 2^e. ValueError where there is none."""
    mantissa, e = math.frexp(d)
    if mantissa != 0.5:
        raise ValueError(f"{d} is no power of two")
    return e - 1


def encoded(
    rule: Requantize,
    sx: float,
    sw: Sequence[float],
    sy: float,
    *,
    zero_point: int,
    low: int,
    high: int,
    overflow: Overflow = Overflow.SATURATE,
) -> Rescale:
    """The rescale from accumulators of scale sx * sw[c] to integers of scale sy.

    ValueError where the rule is a power of two and the scales' ratio is none.
    """
    ratios = [float(sx) * float(s) / float(sy) for s in sw]
    if isinstance(rule, FixedPoint) and rule.float32_product and len(sw) == 1:
        product = F32(sx) * F32(sw[0])
        ratios = [float(product / F32(sy)) if rule.float32_quotient else float(product) / float(sy)]
    numbers: dict[str, Any] = {}
    match rule:
        case FixedPoint():
            pairs = _shared(ratios, rule) if rule.shared else [fixed_point(d, rule) for d in ratios]
            if not rule.normalized:
                pairs = [(_fraction(F32(sx) * F32(s) / F32(sy), rule), 0) for s in sw]
            numbers = {
                "multiplier": np.array([m for m, _ in pairs], np.int64),
                "exponent": np.array([e for _, e in pairs], np.int64),
            }
        case PowerOfTwo():
            numbers = {"exponent": np.array([power_of_two(d) for d in ratios], np.int64)}
        case Float32Scale():
            numbers = {"multiplier": np.array([F32(sx) * F32(s) / F32(sy) for s in sw], F32)}
        case Float64Scale():
            numbers = {"multiplier": np.array(ratios, np.float64)}
        case Float32Requantize():
            if len(sw) > 1:
                raise ValueError("float32_requantize takes one scale, not one per channel")
            numbers = {"multiplier": np.array([F32(sx) * F32(sw[0]), sy], F32)}
        case Thresholds():
            steps = [Fraction(2 * (low - zero_point + i) + 1, 2) for i in range(high - low)]
            exact = [Fraction(float(sx)) * Fraction(float(s)) / Fraction(float(sy)) for s in sw]
            numbers = {"thresholds": np.array([[math.ceil(step / d) for step in steps] for d in exact], np.int64)}
    return Rescale(rule=rule, zero_point=zero_point, low=low, high=high, overflow=overflow, **numbers)
