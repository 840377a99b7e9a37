"""From values to affines: scales that reach a range, or that have the least mean-square error."""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from intsim.calibrate import Observed
from intsim.errors import IntsimError
from intsim.integers import Affine, IntType, affine
from intsim.quantize.options import Choice
from intsim.quantized import dequantized, quantized

FRACTIONS = np.arange(100, 0, -1) / 100
"""The parts of a range that a search for the least error tries, the whole one first."""

FINEST, COARSEST = 2.0**-40, 2.0**40
"""No scale is finer, so that products of two remain normal float32 numbers, nor coarser."""


def reaching(
    low: np.ndarray,
    high: np.ndarray,
    type_: IntType,
    *,
    symmetric: bool,
    power_of_two: bool,
    finest: np.ndarray | float = FINEST,
    axis: int | None = None,
) -> Affine:
    """The affine whose integers reach from `low[c]` to `high[c]`, and zero, within half a step.

    scale = (high - low) / (2^B - 1), or max(-low, high) / (type's high - zero point) where `symmetric`; it is at
    least `finest`, and where `power_of_two` the next 2^k. A range that holds nothing but zero counts as 0..1.
    """
    low, high = np.minimum(low, 0.0), np.maximum(high, 0.0)
    high = np.where((low == 0) & (high == 0), 1.0, high)
    if symmetric:
        zero = np.where((low < 0) & (not type_.signed), 1 << (type_.bits - 1), 0)
        levels = type_.high - zero
        scale = np.maximum(-low, high) / (levels + 0.5 if power_of_two else levels)
    else:
        scale = (high - low) / (type_.high - type_.low)
    scale = np.maximum(scale, finest)
    if power_of_two:
        mantissa, exponent = np.frexp(scale)
        scale = np.ldexp(1.0, exponent - (mantissa == 0.5))
    if not (scale <= COARSEST).all():
        raise IntsimError(f"a range of {float((high - low).max()):g} is too wide", mend="check the network's values")
    scale = scale.astype(np.float32).astype(np.float64)
    if not symmetric:
        zero = np.clip(np.rint(type_.low - low / scale), type_.low, type_.high).astype(np.int64)
    if (zero == zero.flat[0]).all():
        zero = zero.flat[0]
    return affine(scale, zero, type_, axis)


# ---- activations -------------------------------------------------------------------------------------------


def activation_affine(seen: Sequence[Observed], choice: Choice, where: str) -> Affine:
    """The affine that activations share, from what was observed of those that decide; or the machine's only one."""
    low, high = min(s.low for s in seen), max(s.high for s in seen)
    try:
        if choice.activation_scale is not None:
            return affine(choice.activation_scale, 0, _type_for(low, choice))
        return _activation_affine(seen, choice, low, high)
    except IntsimError as error:
        raise IntsimError(error.what, where=where, mend=error.mend) from None


def _activation_affine(seen: Sequence[Observed], choice: Choice, low: float, high: float) -> Affine:
    type_ = _type_for(low, choice)
    known = any(s.histogram is None and (s.low, s.high) != (0, 0) for s in seen)
    if known or choice.asked.method == "minmax":
        return _reaching(low, high, type_, choice)
    if choice.asked.method == "percentile":
        tails = [_without_tails(s, choice.asked.percentile) for s in seen]
        return _reaching(min(t[0] for t in tails), max(t[1] for t in tails), type_, choice)
    return _least_error(low, high, lambda a, b: _reaching(a, b, type_, choice), lambda a: _error(seen, a))


def _reaching(low: float, high: float, type_: IntType, choice: Choice) -> Affine:
    return reaching(
        np.array([low]),
        np.array([high]),
        type_,
        symmetric=choice.symmetric,
        power_of_two=choice.power_of_two,
    )


def _type_for(low: float, choice: Choice) -> IntType:
    if choice.zero_points or low >= 0:
        return choice.types[0]
    for type_ in choice.types:
        if type_.signed:
            return type_
    raise IntsimError(
        f"reaches {low:g}, the machine has neither signed activations nor zero points", mend="choose another target"
    )


def _without_tails(seen: Observed, percentile: float) -> tuple[float, float]:
    """The bin edges beyond which at most 100 - percentile per cent of the values lie, on either side."""
    if seen.histogram is None:
        return seen.low, seen.high
    most = seen.count * (100 - percentile) / 100
    edges = np.linspace(seen.low, seen.high, len(seen.histogram) + 1)
    below = np.concatenate(([0], np.cumsum(seen.histogram)))
    above = below[-1] - below
    return float(edges[below <= most].max()), float(edges[above <= most].min())


def _least_error(
    low: float, high: float, make: Callable[[float, float], Affine], error: Callable[[Affine], float]
) -> Affine:
    """The best affine for a part of low..high: of all tenths of both sides, then of the hundredths of each."""
    best, ends, least = make(low, high), (low, high), np.inf
    tried = set[Affine]()

    def attempt(a: float, b: float) -> None:
        nonlocal best, ends, least
        candidate = make(a, b)
        if candidate not in tried:
            tried.add(candidate)
            if (found := error(candidate)) < least:
                best, ends, least = candidate, (a, b), found

    if low < 0 < high:
        for f, g in itertools.product(FRACTIONS[::10], repeat=2):
            attempt(f * low, g * high)
        for f in FRACTIONS:
            attempt(f * low, ends[1])
    for f in FRACTIONS:
        attempt(ends[0] if high > 0 else f * low, f * high)
    return best


def _error(seen: Sequence[Observed], affine_: Affine) -> float:
    """The sum of (x - its quantization)^2 over the histograms, whose bins are filled evenly; zeros have none.

    In steps, u = x / scale, and r the level that u takes: the antiderivative of (u - r)^2 is r / 12 + (u - r)^3 / 3.
    """
    scale, zero = affine_.scale[0], affine_.zero
    total = 0.0
    for s in seen:
        if s.histogram is None:
            continue
        u = np.linspace(s.low, s.high, len(s.histogram) + 1) / scale
        r = np.clip(np.rint(u), affine_.type.low - zero, affine_.type.high - zero)
        area = np.diff(r / 12 + (u - r) ** 3 / 3)
        total += float(s.histogram @ area) / (u[1] - u[0])
    return total * scale * scale


# ---- weights -----------------------------------------------------------------------------------------------


def weight_affine(w: np.ndarray, choice: Choice, *, per_channel: bool, finest: np.ndarray) -> Affine:
    """The affine of weights `w[o, ...]`; their scales are at least `finest[o]`.

    A channel of zeros takes the largest scale of the others: its bias then has integers of their size. Where the
    machine's weights have one scale, that is it, and what it does not reach saturates.
    """
    if choice.weight_scale is not None:
        return affine(choice.weight_scale, 0, choice.weight_type)
    rows = w.astype(np.float64).reshape(len(w) if per_channel else 1, -1)
    finest = finest if per_channel else finest.max(keepdims=True)
    low, high = rows.min(1), rows.max(1)
    zero_level = choice.asked.levels == "zero"
    dead = (low == 0) & (high == 0)
    if zero_level:
        low, high = (np.where(dead, end, own) for end, own in ((low.min(), low), (high.max(), high)))
    else:
        high = np.where(dead, FINEST, high)

    def make(fraction: np.ndarray | float) -> Affine:
        return reaching(
            low * fraction,
            high * fraction,
            choice.weight_type,
            symmetric=bool(choice.asked.weight_symmetric),
            power_of_two=choice.power_of_two,
            finest=finest,
            axis=0 if per_channel else None,
        )

    if choice.asked.weight_method == "minmax":
        return make(1.0)
    best, least = np.ones(len(rows)), np.full(len(rows), np.inf)
    for fraction in FRACTIONS:
        candidate = make(fraction)
        found = np.sum((dequantized(weight_integers(rows, candidate, choice), candidate) - rows) ** 2, axis=1)
        best, least = np.where(found < least, fraction, best), np.minimum(found, least)
    return make(best)


def weight_integers(w: np.ndarray, affine_: Affine, choice: Choice) -> np.ndarray:
    """The weights' integers: the nearest ones, or the nearest odd ones."""
    if choice.asked.levels == "zero":
        return quantized(w, affine_)
    scale = np.asarray(affine_.scale, np.float32).reshape(-1 if affine_.axis == 0 else 1, *(1,) * (w.ndim - 1))
    odd = 2 * np.floor(np.asarray(w, np.float32) / (2 * scale)) + 1
    return np.clip(odd, affine_.type.low, affine_.type.high).astype(affine_.type.dtype)
