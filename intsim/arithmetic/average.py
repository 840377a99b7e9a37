"""The numbers of an average."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from intsim.arithmetic.requantize import F32, encoded, kept, normal
from intsim.arithmetic.rounding import rounded
from intsim.graph import Shape
from intsim.integers import Rounding
from intsim.program import Rescale
from intsim.target import Factors, FixedPoint, Float32Scale, Reciprocal, RescaledSum


def encoded_mean(
    rule: RescaledSum, x: tuple[float, int], sy: float, n: int, *, zero_point: int, low: int, high: int
) -> Rescale:
    """The rescale from sums of n integers of (scale, zero point) `x` to their mean in integers of scale sy (12)."""
    sx, input_zero_point = x
    inner = rule.requantize
    limits: dict[str, Any] = {"zero_point": zero_point, "low": low, "high": high}
    match rule.encoding, inner:
        case "tflite", FixedPoint():
            m, e = normal(float(sx) / float(sy), inner)
            shift = min(n.bit_length() - 1, 32, 31 + e)
            return Rescale(
                rule=inner,
                multiplier=np.array([kept((m << shift) // n, inner)], np.int64),
                exponent=np.array([e - shift], np.int64),
                **limits,
            )
        case "f32_quotient", Float32Scale():
            scale = (F32(sx) / F32(sy)) / F32(n)
        case "f32_product", Float32Scale():
            scale = F32(sx) / (F32(sy) * F32(n))
        case "f32_reciprocal", Float32Scale(zero_point="before"):
            scale = (F32(sx) / F32(sy)) * (F32(1) / F32(n))
            addend = F32(zero_point) - F32(n * input_zero_point) * scale
            return Rescale(rule=inner, multiplier=np.array([scale], F32), addend=np.array([addend], F32), **limits)
        case "exact", _:
            return encoded(inner, sx, [1.0], float(sy) * n, **limits)
        case _:
            raise ValueError(f'a mean encoded as "{rule.encoding}" does not go with the rule {inner}')
    return Rescale(rule=inner, multiplier=np.array([scale], F32), **limits)


def factors(rule: Reciprocal | Factors, counts: Shape) -> list[tuple[int, int]]:
    """(F, s) of every stage in turn: the sum of a window with `counts` values along its axes is scaled by F / 2^s (18).

    ValueError where a table of factors is asked for a window of more than two axes.
    """
    if isinstance(rule, Factors):
        return [_factor(rule, counts)]
    parts = list(reversed(counts)) if rule.stages == 2 else [math.prod(counts)]
    return [reciprocal(n, rule) for n in parts]


def reciprocal(n: int, rule: Reciprocal) -> tuple[int, int]:
    """(R, s): R / 2^s stands for 1 / n (18)."""
    if not rule.normalized:
        return ((1 << rule.bits) + n // 2) // n, rule.bits
    k = (n - 1).bit_length()
    return (((1 << rule.bits) + 1) << k) // n, rule.bits + k


def _factor(rule: Factors, counts: Shape) -> tuple[int, int]:
    if len(counts) > 2:
        raise ValueError(f"factors are of windows with up to two axes, not of {counts}")
    height, width = (1,) * (2 - len(counts)) + tuple(counts)
    for h, w, f, s in rule.factors:
        if (h, w) == (height, width):
            return f, s
    n = height * width
    return min(_candidates(n, (rule.reach * n - 1).bit_length()), key=lambda c: abs(Fraction(c[0], 1 << c[1]) * n - 1))


def _candidates(n: int, shifts: int) -> list[tuple[int, int]]:
    """2^s / n as an integer for every s; `min` takes the first of the nearest."""
    return [(rounded(1 << s, n, Rounding.HALF_EVEN), s) for s in range(shifts)]
