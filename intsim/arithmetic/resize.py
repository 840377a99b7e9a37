"""Where a resized map looks: places in the input, and the weights of the neighbours there."""

import math
from fractions import Fraction

import numpy as np

from intsim.arithmetic.rounding import rounded
from intsim.integers import Rounding
from intsim.target import Resize

F32 = np.float32
HALF, TIE = Fraction(1, 2), Fraction(1, 10**6)


def nearest(n: int, m: int, coordinate: str, mode: str, rule: Resize) -> np.ndarray:
    """Which of n inputs each of m outputs takes along an axis (33), int64; coordinate and mode as ONNX names them."""
    product = _float_product if rule.nearest in ("float32", "step") else _exact_product
    found = []
    for i in range(m):
        halves = HALF if coordinate.endswith("half_pixel") else Fraction(0)
        place = product(i + halves, *ratio(n, m, coordinate)) - halves
        if rule.nearest == "quotient":
            place = _quotient(i, n, m, coordinate)
        if rule.nearest == "step" and coordinate == "asymmetric":
            place = Fraction(i * ((n << 16) // m + 1), 1 << 16)
        if coordinate == "pytorch_half_pixel" and m == 1:
            place = Fraction(0)
        if rule.nearest == "quotient" and mode.startswith("round") and abs(place % 1 - HALF) <= TIE:
            place = math.floor(place) + HALF
        index = {
            "floor": math.floor(place),
            "ceil": math.ceil(place),
            "round_prefer_floor": math.ceil(place - HALF),
            "round_prefer_ceil": math.floor(place + HALF),
        }[mode]
        found.append(min(max(index, 0), n - 1))
    return np.array(found, np.int64)


def between(n: int, m: int, coordinate: str, rule: Resize) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(lower, upper, fraction) of each of m outputs between n inputs along an axis (34): int64 `[m]` each."""
    if rule.linear == "step":
        return _by_steps(n, m, coordinate, rule.bits)
    lower, fraction = [], []
    for i in range(m):
        place = _float_place(i, n, m, coordinate) if rule.linear == "float32" else _exact_place(i, n, m, coordinate)
        place = min(max(place, Fraction(0)), Fraction(n - 1))
        low = math.floor(place)
        lower.append(low)
        fraction.append(rounded(*((place - low) * (1 << rule.bits)).as_integer_ratio(), Rounding.HALF_EVEN))
    return _neighbours(lower, [low + 1 for low in lower], fraction, n)


def between_floats(n: int, m: int, coordinate: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(lower, upper, weights) of each of m outputs (34): int64 `[m]` twice, and the neighbours' float32 `[2, m]`."""
    place = np.array([float(_quotient(i, n, m, coordinate)) for i in range(m)], F32)
    if coordinate == "pytorch_half_pixel" and m == 1:
        place = np.zeros(1, F32)
    place = np.clip(place, F32(0), F32(n - 1))
    lower = place.astype(np.int64)
    upper = np.minimum(lower + 1, n - 1)
    weights = np.stack([np.abs(place - upper.astype(F32)), np.abs(place - lower.astype(F32))])
    return lower, upper, np.where(lower == upper, F32(0.5), weights)


def mixed(corners: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """The sum of four neighbours' integers `corners[2, 2, ...]` by their weights `y[2, ...]`, `x[2, ...]` (34), int64.

    Every product and every sum is rounded to float32, in this order.
    """
    total = x[0] * y[0] * corners[0, 0].astype(F32)
    for i, j in ((0, 1), (1, 0), (1, 1)):
        total = total + x[j] * y[i] * corners[i, j].astype(F32)
    return np.trunc(total).astype(np.int64)


def ratio(n: int, m: int, coordinate: str) -> tuple[int, int]:
    """The step from output to output, as a ratio: of the distances of the ends, or of the sizes."""
    return (n - 1, m - 1) if coordinate == "align_corners" and m > 1 else (n, m)


def _exact_product(i: Fraction, n: int, m: int) -> Fraction:
    return i * n / m


def _float_product(i: Fraction, n: int, m: int) -> Fraction:
    return Fraction(float(F32(float(i)) * (F32(n) / F32(m))))


def _quotient(i: int, n: int, m: int, coordinate: str) -> Fraction:
    if coordinate == "align_corners":
        return Fraction(0) if m == 1 else Fraction(float(F32(i) * F32(n - 1) / F32(m - 1)))
    ratio, halves = F32(m) / F32(n), F32(0.5 if coordinate.endswith("half_pixel") else 0)
    return Fraction(float((F32(i) + halves) / ratio - halves))


def _exact_place(i: int, n: int, m: int, coordinate: str) -> Fraction:
    if coordinate == "pytorch_half_pixel" and m == 1:
        return Fraction(0)
    halves = HALF if coordinate.endswith("half_pixel") else Fraction(0)
    return _exact_product(i + halves, *ratio(n, m, coordinate)) - halves


def _float_place(i: int, n: int, m: int, coordinate: str) -> Fraction:
    """i s + (s / 2 - 1 / 2), s the ratio; every operation in float32."""
    if coordinate == "pytorch_half_pixel" and m == 1:
        return Fraction(0)
    over, under = ratio(n, m, coordinate)
    step = F32(over) / F32(under)
    offset = F32(0.5) * step - F32(0.5) if coordinate.endswith("half_pixel") else F32(0)
    return Fraction(float(F32(i) * step + offset))


def _by_steps(n: int, m: int, coordinate: str, bits: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    over, under = ratio(n, m, coordinate)
    step = ((over << bits) + under // 2) // under
    start = step // 2 - (1 << bits - 1) if coordinate.endswith("half_pixel") else 0
    if coordinate == "pytorch_half_pixel" and m == 1:
        start = 0
    places = [i * step + start for i in range(m)]
    lower = [min(max(place >> bits, 0), n - 1) for place in places]
    upper = [-(-place >> bits) for place in places]
    fraction = [place - (low << bits) for place, low in zip(places, lower, strict=True)]
    return _neighbours(lower, upper, fraction, n)


def _neighbours(
    lower: list[int], upper: list[int], fraction: list[int], n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The same with neighbours that there are; between one and itself there is no fraction."""
    low, high = np.array(lower, np.int64), np.clip(np.array(upper, np.int64), 0, n - 1)
    return low, high, np.where(low == high, 0, np.array(fraction, np.int64))
