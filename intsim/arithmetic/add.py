"""The sum of two activations, and the numbers that it takes."""

import math
from fractions import Fraction

import numpy as np

from intsim.arithmetic.requantize import F32, at, fixed_point, fixed_pointed, power_of_two, requantized
from intsim.arithmetic.rounding import cast, held, rounded, rounded_float, shifted
from intsim.integers import Overflow, Rounding
from intsim.program import Add
from intsim.target import (
    AddRule,
    AlignedAdd,
    ClippedAdd,
    DequantizedAdd,
    FixedPoint,
    Float32Add,
    RequantizedSum,
    ShiftedAdd,
    ThreeRescales,
    TwoMultipliers,
)


def add_rule(rule: AddRule, sa: float, sb: float, sy: float) -> AddRule:
    """The rule that holds for these scales: some machines have another one for powers of two, or for unlike ones."""
    if isinstance(rule, RequantizedSum):
        return rule if sa == sb else add_rule(rule.unlike, sa, sb, sy)
    if not isinstance(rule, ThreeRescales) or rule.powers_of_two is None:
        return rule
    try:
        exponents = [power_of_two(s) for s in (sa, sb, sy)]
    except ValueError:
        return rule
    return rule.powers_of_two if exponents[2] in exponents[:2] else rule


def three_rules(rule: ThreeRescales) -> tuple[FixedPoint, FixedPoint, FixedPoint]:
    """The rules of both operands and of their sum."""
    inputs = rule.requantize if rule.inputs is None else rule.inputs
    return inputs, inputs, rule.requantize


def operand_shifts(add: Add) -> list[tuple[int, int]]:
    """Of both operands, by how much they are shifted to the left, and the exponent that their rescale has left (13)."""
    rule = add.rule
    assert isinstance(rule, ThreeRescales)
    left = rule.left_shift
    return [(left + e, 0) if rule.early else (left, e) for e in (at(add.exponent, 0), at(add.exponent, 1))]


def add_numbers(
    rule: object, a: tuple[float, int], b: tuple[float, int], y: tuple[float, int], *, subtract: bool = False
) -> dict[str, np.ndarray]:
    """`multiplier` and `exponent` of an Add, from the (scale, zero point) of its operands and its output (13)-(17).

    None for a RequantizedSum, which has a Rescale instead.
    """
    (sa, za), (sb, zb), (sy, zy) = a, b, y
    match rule:
        case ThreeRescales():
            twice = 2 * max(float(sa), float(sb))
            ratios = (float(sa) / twice, float(sb) / twice, twice / ((1 << rule.left_shift) * float(sy)))
            pairs = [fixed_point(d, each) for d, each in zip(ratios, three_rules(rule), strict=True)]
            return {
                "multiplier": np.array([m for m, _ in pairs], np.int64),
                "exponent": np.array([e for _, e in pairs], np.int64),
            }
        case TwoMultipliers():
            ra, rb = F32(sa) / F32(sy), F32(sb) / F32(sy)
            right = rule.bits - math.frexp(float(max(ra, rb)))[1]
            both = [rounded_float(math.ldexp(float(r), right), Rounding.HALF_EVEN) for r in (ra, rb)]
            return {"multiplier": np.array(both, np.int64), "exponent": np.array([right], np.int64)}
        case Float32Add():
            ra, rb = F32(sa) / F32(sy), F32(sb) / F32(sy)
            early, late = (zb, -rb if subtract else rb), (za, ra)
            if rule.first == "a":
                early, late = late, early
            fixed = F32(zy) - multiply_add(*late, early[1] * F32(early[0]), rule.fused)
            return {"multiplier": np.array([ra, rb, fixed], F32)}
        case ShiftedAdd():
            ea, eb, ey = (power_of_two(s) for s in (sa, sb, sy))
            return {"exponent": np.array([ey - ea, ey - eb], np.int64)}
        case AlignedAdd():
            ea, eb, ey = (power_of_two(s) for s in (sa, sb, sy))
            fine = min(ea, eb)
            return {"exponent": np.array([ea - fine, eb - fine, fine - ey], np.int64)}
        case ClippedAdd():
            return {"multiplier": np.array([F32(sa) / F32(sy), F32(sb) / F32(sy)], F32)}
        case DequantizedAdd():
            return {"multiplier": np.array([sa, sb, sy], F32)}
        case RequantizedSum():
            return {}
    raise AssertionError(rule)


def added(a: int, b: int, add: Add) -> int:
    """The sum, or the difference, of two activations in the output's integers (13)-(17)."""
    rule, (za, zb), sign = add.rule, add.zero_points, -1 if add.subtract else 1
    m, e = add.multiplier, add.exponent
    match rule:
        case ThreeRescales():
            lefts, exponents = zip(*operand_shifts(add), strict=True)
            taken = [shifted(v, -left, Rounding.FLOOR) for v, left in zip((a - za, b - zb), lefts, strict=True)]
            terms = [fixed_pointed(v, three_rules(rule)[i], at(m, i), exponents[i], 0) for i, v in enumerate(taken)]
            y = fixed_pointed(terms[0] + sign * terms[1], rule.requantize, at(m, 2), at(e, 2), 0) + add.zero_point
            y = held(y, rule.requantize.sum, Overflow.WRAP)
        case TwoMultipliers():
            y = shifted(at(m, 0) * (a - za) + sign * at(m, 1) * (b - zb), at(e, 0), rule.rounding)
            y = (y if rule.middle is None else cast(y, rule.middle)) + add.zero_point
        case Float32Add():
            assert m is not None
            y = rounded_float(_float_sum(a, sign * b, m, rule), Rounding.HALF_EVEN)
        case ShiftedAdd():
            u, v = shifted(a - za, at(e, 0), rule.rounding), shifted(b - zb, at(e, 1), rule.rounding)
            y = u + sign * v + add.zero_point
        case AlignedAdd():
            total = ((a - za) << at(e, 0)) + sign * ((b - zb) << at(e, 1))
            y = shifted(total, -at(e, 2), rule.rounding) + add.zero_point
        case ClippedAdd():
            assert m is not None
            u, v = (
                max(add.low, min(add.high, rounded_float(F32(v - z) * m[i], Rounding.HALF_EVEN)))
                for i, (v, z) in enumerate(((a, za), (b, zb)))
            )
            y = u + sign * v + add.zero_point
        case DequantizedAdd():
            assert m is not None
            total = F32(a - za) * m[0] + F32(sign * (b - zb)) * m[1]
            y = rounded_float(total / m[2], Rounding.HALF_EVEN) + add.zero_point
        case RequantizedSum():
            assert add.rescale is not None
            return requantized((a - za) + sign * (b - zb), add.rescale, 0)
    return max(add.low, min(add.high, y))


def _float_sum(a: int, b: int, m: np.ndarray, rule: Float32Add) -> np.float32:
    """a * ra + (b * rb + fixed), or b * rb + (a * ra + fixed)."""
    early, late = ((b, m[1]), (a, m[0])) if rule.first == "b" else ((a, m[0]), (b, m[1]))
    return multiply_add(*late, multiply_add(*early, m[2], rule.fused), rule.fused)


def multiply_add(x: int, m: np.float32, addend: np.float32, fused: bool) -> np.float32:
    """f32(x * m + addend): rounded once (`fused`), or after the product too."""
    if not fused:
        return F32(F32(x) * m) + addend
    exact = x * Fraction(float(m)) + Fraction(float(addend))
    return _nearest_float32(exact)


def _nearest_float32(value: Fraction) -> np.float32:
    """The float32 nearest to an exact value, ties to even."""
    if value == 0:
        return F32(0)
    e = max(math.frexp(float(value))[1] - 24, -149)
    unit = Fraction(2) ** e
    return F32(float(rounded(*(value / unit).as_integer_ratio(), Rounding.HALF_EVEN) * unit))
