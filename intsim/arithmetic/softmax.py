"""Softmax over one row of integers, and the numbers that it takes (31)."""

import math
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np

from intsim.arithmetic import gemmlowp, real
from intsim.arithmetic.requantize import F32, fixed_point, fixed_pointed
from intsim.arithmetic.rounding import bounded, rounded, rounded_float
from intsim.integers import Affine, IntType, Overflow, Rounding
from intsim.program import Softmax
from intsim.target import (
    FixedPoint,
    Float32Softmax,
    GemmlowpSoftmax,
    InterpolatedSoftmax,
    QuotientSoftmax,
    SoftmaxRule,
)

INVERSE = 12
"""Fraction bits of 1 / sy under QuotientSoftmax."""


def softmax_numbers(rule: SoftmaxRule, x: Affine, y: Affine, beta: float, channels: int) -> dict[str, np.ndarray]:
    """`table[k]`, k = 0..levels - 1 the distance to the largest of a row, and `multiplier`, of a Softmax.

    ValueError where the rule does not give such an output.
    """
    levels, sx, sy = x.type.high - x.type.low + 1, x.scale[0], y.scale[0]
    match rule:
        case QuotientSoftmax():
            step = Fraction(sx) * Fraction(float(F32(beta)))
            inverse = rounded(*((1 << INVERSE) / Fraction(sy)).as_integer_ratio(), Rounding.HALF_EVEN)
            return {
                "table": np.array([_scaled_exponential(step * k, rule.bits) for k in range(levels)], np.int64),
                "multiplier": np.array([inverse], np.int64),
            }
        case GemmlowpSoftmax():
            return {"table": _fixed_exponentials(levels, sx, beta, y)}
        case Float32Softmax():
            return _float_exponentials(rule, levels, F32(sx), F32(sy), F32(beta), channels)
        case InterpolatedSoftmax():
            if (y.scale[0], y.zero, y.type) != (2.0**-15, 0, IntType(16)):
                raise ValueError("Softmax here gives scale 2^-15 and zero point 0 of s16 only")
            return {
                "table": _interpolated_exponentials(rule, levels, F32(sx), F32(beta)),
                "multiplier": _samples("1 / (1 + x)", rule.precision),
            }
    raise AssertionError(rule)


def _scaled_exponential(x: Fraction, bits: int) -> int:
    """half_even(2^bits e^-x); where float64 is far enough from a half, that decides."""
    v = math.ldexp(math.exp(-min(float(x), 700.0)), bits)
    if abs(v - math.floor(v) - 0.5) > 1e-4:
        return math.floor(v + 0.5)
    return rounded(*(real.exp(-x) * (1 << bits)).as_integer_ratio(), Rounding.HALF_EVEN)


def _fixed_exponentials(levels: int, sx: float, beta: float, y: Affine) -> np.ndarray:
    """exp(-k beta sx) in Q0.31; -1 where k is beyond what the machine looks at."""
    if (y.scale[0], y.zero) != (2.0**-y.type.bits, y.type.low):
        raise ValueError(f"Softmax here gives scale 2^-{y.type.bits} and zero point {y.type.low} only")
    m, e = fixed_point(min(float(F32(beta)) * sx * 2.0**26, 2.0**31 - 1), FixedPoint())
    reach = math.floor(31 * 2.0**26 / 2.0**e)
    values = [gemmlowp.exp_of_negative(gemmlowp.high(-k << e, m), 5) if k <= reach else -1 for k in range(levels)]
    return np.array(values, np.int64)


def _float_exponentials(
    rule: Float32Softmax, levels: int, sx: np.float32, sy: np.float32, beta: np.float32, channels: int
) -> dict[str, np.ndarray]:
    if rule.division == "inverse":
        step = -sx * beta
        values = [real.nearest32(real.exp(Fraction(float(step * F32(k))))) for k in range(levels)]
        return {"table": np.array(values, F32), "multiplier": np.array([sy], F32)}
    if beta != 1:
        raise ValueError("Softmax here takes no beta")
    top = float(F32(math.log(float(np.finfo(F32).max / F32(channels))))) - 5
    shift = max(0.0, top) / float(sx)
    values = [real.nearest32(real.exp(Fraction((shift - k) * float(sx)))) for k in range(levels)]
    return {"table": np.array(values, F32), "multiplier": np.array([np.floor(F32(1) / sy)], F32)}


# ---- tables of 513 ----------------------------------------------------------------------------------------------


@cache
def _samples(name: str, precision: str) -> np.ndarray:
    """The function at 513 places from -10 to 0 (exp) or from 0 to 1 (1 / (1 + x)), in integers of 2^-15.

    Each but the last is moved by half of what the straight line to the next is off in its middle.
    """
    number = F32 if precision == "float32" else np.float64
    low, span = (-10, 10) if name == "exp" else (0, 1)
    step = number(span) / number(512)

    def at(place: int) -> Any:
        x = number(low) + number(place) * (step / number(2))
        if name != "exp":
            return number(1) / (number(1) + x) * number(1 << 15)
        exact = real.exp(Fraction(float(x)))
        return (real.nearest32(exact) if number is F32 else float(exact)) * number(1 << 15)

    found = []
    for i in range(512):
        here = rounded_float(at(2 * i), Rounding.HALF_AWAY)
        line = rounded_float((at(2 * i + 2) + number(here)) / number(2), Rounding.HALF_AWAY)
        middle = rounded_float(at(2 * i + 1), Rounding.HALF_AWAY)
        found.append(here - rounded_float((line - middle) / 2, Rounding.HALF_AWAY))
    found.append(rounded_float(at(1024), Rounding.HALF_AWAY))
    samples = np.array([min(value, 32767) for value in found], np.int64)
    samples.flags.writeable = False
    return samples


def _on_line(samples: np.ndarray, place: int) -> int:
    """The line through the samples at a place -32768..32767, 128 of them from one to the next."""
    index, rest = divmod(place + (1 << 15), 128)
    here, following = int(samples[index]), int(samples[index + 1])
    return here + ((following - here) * rest + 64 >> 7)


@cache
def _interpolated_exponentials(rule: InterpolatedSoftmax, levels: int, sx: np.float32, beta: np.float32) -> np.ndarray:
    """exp(-k beta sx) in Q0.15: k is requantized to 65535 places over -10..0."""
    step = float(sx * beta) if rule.requantize.float32_product else float(sx) * float(beta)
    m, e = fixed_point(step / (10.0 / 65535.0), rule.requantize)
    leaves = f"Softmax of integers of scale {float(sx):g} leaves its register here"
    if (levels - 1) << max(e, 0) >= 1 << rule.requantize.register - 1:
        raise ValueError(leaves)
    samples = _samples("exp", rule.precision)
    found = np.full(levels, _on_line(samples, -(1 << 15)), np.int64)
    for k in range(levels):
        place = fixed_pointed(-k, rule.requantize, m, e, 0) + 32767
        if place < -(1 << 15):
            break
        if place >= 1 << 15:  # of a register behind the rounding that wraps
            raise ValueError(leaves)
        found[k] = _on_line(samples, place)
    found.flags.writeable = False
    return found


# ---- rows ------------------------------------------------------------------------------------------------------


def softmax_row(row: list[int], softmax: Softmax) -> list[int]:
    """The row's softmax in the output's integers (31)."""
    rule, largest = softmax.rule, max(row)
    terms: list[Any] = [softmax.table[largest - q] for q in row]
    match rule:
        case QuotientSoftmax():
            found = _quotients([int(t) for t in terms], softmax, rule.rounding)
        case GemmlowpSoftmax():
            found = _fixed_quotients([int(t) for t in terms], softmax)
        case Float32Softmax():
            found = _float_quotients(terms, softmax, rule)
        case InterpolatedSoftmax():
            found = _interpolated_quotients([int(t) for t in terms], softmax)
    return [max(softmax.low, min(softmax.high, y + softmax.zero_point)) for y in found]


def _quotients(terms: list[int], softmax: Softmax, rounding: Rounding) -> list[int]:
    assert softmax.multiplier is not None
    total, inverse = sum(terms) << INVERSE, int(softmax.multiplier[0])
    return [rounded(t * inverse, total, rounding) for t in terms]


def _fixed_quotients(terms: list[int], softmax: Softmax) -> list[int]:
    """The sum in Q12.19, its reciprocal with the leading zeros taken away."""
    total = sum(gemmlowp.away(t, 12) for t in terms if t >= 0)
    zeros = 32 - total.bit_length()
    inverse = gemmlowp.one_over_one_plus((total << zeros) - (1 << 31))
    bits = (softmax.high - softmax.low + 1).bit_length() - 1
    right = 12 - zeros + 31 - bits
    return [0 if t < 0 else gemmlowp.away(gemmlowp.high(inverse, t), right) for t in terms]


def _float_quotients(terms: list[np.float32], softmax: Softmax, rule: Float32Softmax) -> list[int]:
    assert softmax.multiplier is not None
    total, factor = F32(0), softmax.multiplier[0]
    for t in terms:
        total = total + t
    if rule.division == "inverse":
        inverse = F32(1) / (total * factor)
        return [rounded_float(t * inverse, rule.rounding) for t in terms]
    return [rounded_float(float(t) * float(factor) / float(total), rule.rounding) for t in terms]


def _interpolated_quotients(terms: list[int], softmax: Softmax) -> list[int]:
    """The sum with its leading zeros taken away is 1 + x; its reciprocal lies on the second table's lines."""
    assert softmax.multiplier is not None
    total = sum(terms)
    zeros = 32 - total.bit_length()
    place = rounded(total << (zeros - 1), 1 << 14, Rounding.HALF_UP) - (1 << 16) - (1 << 15)
    inverse = _on_line(softmax.multiplier, bounded(place, -(1 << 15), (1 << 15) - 1, Overflow.SATURATE))
    return [max(0, rounded(t * inverse, 1 << (31 - zeros), Rounding.HALF_UP)) for t in terms]
