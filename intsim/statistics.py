"""Rates, paired comparisons and crossings of curves, each with its interval: the one door to scipy."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError

CONFIDENCE = 0.95


class Rate(Struct, frozen=True):
    """`count` of `n`, and the Wilson interval `low..high` of the proportion."""

    count: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The proportion, count / n; NaN where n is 0."""
        return self.count / self.n if self.n else math.nan


class Paired(Struct, frozen=True, kw_only=True):
    """A against B on the same n examples.

    `gained`: A right and B wrong; `lost`: A wrong and B right. `difference` = (gained - lost) / n with
    its interval `low..high` (Newcombe's method 10). `p`: exact McNemar, two-sided.
    """

    n: int
    gained: int
    lost: int
    difference: float
    low: float
    high: float
    p: float


class Unpaired(Struct, frozen=True, kw_only=True):
    """The difference of two rates of different examples, its interval `low..high` (Newcombe), `p`: Fisher's exact."""

    difference: float
    low: float
    high: float
    p: float


class Interval(Struct, frozen=True, kw_only=True):
    """An estimate `at` with its bootstrap interval `low..high`."""

    at: float
    low: float
    high: float


class Equivalence(Struct, frozen=True, kw_only=True):
    """Two one-sided tests of |A - B| < `margin` for paired proportions.

    `difference` with its score interval `low..high`, of twice the tests' level: `equivalent` where it lies within
    the margin. `p`: the larger of the two one-sided p-values.
    """

    margin: float
    difference: float
    low: float
    high: float
    p: float
    equivalent: bool


class Crossing(Struct, frozen=True, kw_only=True):
    """Where the accuracy curve of A passes that of B: at strength `at`, both at `accuracy`.

    `low..high`: bootstrap interval over the examples; None is "beyond the strengths tried". `share`: of
    the bootstrap draws, in how many the curves cross at all. `rising`: A is below B before the crossing
    and above it after.
    """

    at: float
    accuracy: float
    rising: bool
    low: float | None
    high: float | None
    share: float


def wilson(count: int, n: int, confidence: float = CONFIDENCE) -> Rate:
    """`Rate` of `count` successes in n trials with the Wilson interval; of no trials at all, 0..1.

    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927) 209-212.
    """
    if n == 0:
        return Rate(0, 0, 0.0, 1.0)
    z, p = float(_special().ndtri((1 + confidence) / 2)), count / n
    middle = (p + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z * math.sqrt(p * (1 - p) / n + z**2 / (4 * n**2)) / (1 + z**2 / n)
    # At the ends the interval ends there exactly; the formula is a last bit off.
    low = 0.0 if count == 0 else max(middle - half, 0.0)
    return Rate(int(count), int(n), low, 1.0 if count == n else min(middle + half, 1.0))


def mcnemar(gained: int, lost: int) -> float:
    """Two-sided p of the exact McNemar test: the binomial test of `gained` in gained + lost coin flips."""
    less = min(gained, lost)
    return 1.0 if gained == lost else float(min(1.0, 2 * _special().bdtr(less, gained + lost, 0.5)))


def paired(a: np.ndarray, b: np.ndarray, confidence: float = CONFIDENCE) -> Paired:
    """`Paired` of the correctness bits a[n] and b[n], bool, of the same examples in the same order."""
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    assert a.shape == b.shape == (len(a),)
    n, gained, lost = len(a), int(np.sum(a & ~b)), int(np.sum(~a & b))
    low, high = newcombe(int(np.sum(a & b)), gained, lost, int(np.sum(~a & ~b)), confidence)
    difference = (gained - lost) / n if n else 0.0
    return Paired(n=n, gained=gained, lost=lost, difference=difference, low=low, high=high, p=mcnemar(gained, lost))


def newcombe(both: int, gained: int, lost: int, neither: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Interval of the difference of two paired proportions, (both + gained) / n - (both + lost) / n.

    Wilson limits of the two proportions, squared and added with their correlation phi, whose numerator is
    corrected for continuity where it is positive.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 2635-2650, method 10.
    """
    n = both + gained + lost + neither
    if n == 0:
        return -1.0, 1.0
    first, second = wilson(both + gained, n, confidence), wilson(both + lost, n, confidence)
    numerator = both * neither - gained * lost
    corrected = numerator if numerator < 0 else max(numerator - n / 2, 0.0)
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    phi = corrected / math.sqrt(margins) if margins else 0.0

    def spread(below: float, above: float) -> float:
        return math.sqrt(max(below**2 - 2 * phi * below * above + above**2, 0.0))

    difference = (gained - lost) / n
    low = difference - spread(first.value - first.low, second.high - second.value)
    high = difference + spread(second.value - second.low, first.high - first.value)
    return max(low, -1.0), min(high, 1.0)


def unpaired(a: Rate, b: Rate) -> Unpaired:
    """`Unpaired` of a less b, rates of examples that are not the same; the interval is of their own confidence.

    Source: R. G. Newcombe, Statistics in Medicine 17 (1998) 873-890, method 10; R. A. Fisher, "The design of
    experiments" (1935): two-sided, all tables with these margins that are no likelier than this one.
    """
    difference = a.value - b.value
    low = difference - math.hypot(a.value - a.low, b.high - b.value)
    high = difference + math.hypot(a.high - a.value, b.value - b.low)
    right, gamma = a.count + b.count, _special().gammaln
    k = np.arange(max(0, right - b.n), min(a.n, right) + 1)
    logs = -(gamma(k + 1) + gamma(a.n - k + 1) + gamma(right - k + 1) + gamma(b.n - right + k + 1))
    shares = np.exp(logs - logs.max())
    p = shares[shares <= shares[a.count - k[0]] * (1 + 1e-7)].sum() / shares.sum()
    return Unpaired(difference=difference, low=max(low, -1.0), high=min(high, 1.0), p=min(float(p), 1.0))


def tango(both_or_neither: int, gained: int, lost: int, shift: float) -> float:
    """The score statistic z of the hypothesis that paired proportions differ by `shift`; 0 shift: McNemar's z.

    Source: T. Tango, Statistics in Medicine 17 (1998) 891-908, equation 9.
    """
    n = both_or_neither + gained + lost
    a, b, c = 2 * n, -gained - lost + (2 * n - gained + lost) * shift, -lost * shift * (1 - shift)
    least = max((math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a), 0.0)  # lost / n, given the shift
    variance = n * (2 * least + shift * (1 - shift))
    above = gained - lost - n * shift
    return above / math.sqrt(variance) if variance > 1e-12 * n else math.copysign(math.inf, above) if above else 0.0


def equivalence(a: np.ndarray, b: np.ndarray, margin: float, level: float = 0.05) -> Equivalence:
    """`Equivalence` of the correctness bits a[n] and b[n] of the same examples.

    Two one-sided score tests (`tango`), each at `level`. Raises IntsimError for a margin that is none.
    """
    if not 0 < margin < 1:
        raise IntsimError(f"{margin} is no margin", where="equivalence", mend="give a share between 0 and 1")
    a, b = np.asarray(a, bool), np.asarray(b, bool)
    gained, lost, n = int(np.sum(a & ~b)), int(np.sum(~a & b)), len(a)
    special, same = _special(), n - gained - lost
    above = float(special.ndtr(-tango(same, gained, lost, -margin)))
    below = float(special.ndtr(tango(same, gained, lost, margin)))
    z = -float(special.ndtri(level))
    difference = (gained - lost) / n
    low = _root(lambda shift: tango(same, gained, lost, shift) <= z, -1.0, difference)
    high = _root(lambda shift: tango(same, gained, lost, shift) < -z, difference, 1.0)
    p = max(above, below)
    return Equivalence(margin=margin, difference=difference, low=low, high=high, p=p, equivalent=p < level)


def _root(beyond: Callable[[float], bool], low: float, high: float) -> float:
    """Where `beyond` turns from false to true on low..high."""
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if beyond(middle) else (middle, high)
    return (low + high) / 2


def holm(p: Sequence[float]) -> list[float]:
    """The p-values adjusted for their number, in their own order.

    The k-th smallest of m times m - k + 1, made non-decreasing, at most 1.

    Source: S. Holm, Scandinavian Journal of Statistics 6 (1979) 65-70.
    """
    adjusted, running = [0.0] * len(p), 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda i: p[i])):
        running = max(running, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = running
    return adjusted


# ---- where two curves cross ----------------------------------------------------------------------


def crossing(strengths: Sequence[float], a: Sequence[float], b: Sequence[float]) -> float | None:
    """The first strength at which the curves (strengths, a) and (strengths, b) cross; None where they do not.

    Linear between the strengths, which ascend. Curves that touch and part again on the same side do not
    cross; where they coincide for a while in crossing, the middle of that while counts.
    """
    at = float(_crossings(np.asarray(strengths, float), np.subtract(a, b, dtype=float)[None])[0])
    return None if math.isnan(at) else at


def _crossings(strengths: np.ndarray, gap: np.ndarray) -> np.ndarray:
    """The first crossing in each row of gap[draws, strengths], NaN where there is none."""
    at = np.full(len(gap), np.nan)
    last = np.where(gap[:, 0] != 0, 0, -1)  # the last strength at which the gap was not zero; -1: none yet
    rows = np.arange(len(gap))
    for i in range(1, len(strengths)):
        before = gap[rows, last]
        flips = (last >= 0) & (before * gap[:, i] < 0) & np.isnan(at)
        straight = strengths[i - 1] + (strengths[i] - strengths[i - 1]) * _share(before, gap[:, i])
        middle = (strengths[np.minimum(last + 1, i)] + strengths[i - 1]) / 2
        at = np.where(flips, np.where(last == i - 1, straight, middle), at)
        last = np.where(gap[:, i] != 0, i, last)
    return at


def _share(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """How far along the way from `before` to `after`, of opposite signs, zero is passed."""
    return before / np.where(before == after, 1.0, before - after)


def bootstrap_crossing(
    strengths: Sequence[float], a: np.ndarray, b: np.ndarray, *, seed: int = 0, draws: int = 1000
) -> Crossing | None:
    """`Crossing` of two judges' accuracy curves, from their correctness bits a and b, [strengths, n] each.

    The examples are drawn anew `draws` times, seeded, the same for both judges and all strengths. A draw
    without a crossing counts as beyond the last strength. None where the curves themselves do not cross.
    """
    x = np.asarray(strengths, float)
    a, b = np.asarray(a, float), np.asarray(b, float)
    at = crossing(x.tolist(), a.mean(axis=1).tolist(), b.mean(axis=1).tolist())
    if at is None:
        return None
    n = a.shape[1]
    counts = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws)
    found = _crossings(x, counts @ (a - b).T)
    low, high = np.quantile(np.where(np.isnan(found), np.inf, found), [0.025, 0.975], method="inverted_cdf")
    gap = (a - b).mean(axis=1)
    return Crossing(
        at=at,
        accuracy=float(np.interp(at, x, b.mean(axis=1))),
        rising=bool(gap[np.flatnonzero(gap)[0]] < 0),
        low=float(low) if np.isfinite(low) else None,
        high=float(high) if np.isfinite(high) else None,
        share=float(np.mean(~np.isnan(found))),
    )


# ---- the bootstrap of means ----------------------------------------------------------------------


def bootstrap_mean(values: np.ndarray, *, seed: int = 0, draws: int = 2000, confidence: float = CONFIDENCE) -> Interval:
    """The mean of values[n] with its percentile interval; of bits a - b it is that of a paired difference.

    Equal values are drawn together, from the multinomial distribution: the same as drawing examples, and faster.
    """
    values = np.asarray(values)
    kinds, counts = np.unique(values, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(values), counts / len(values), size=draws)
    return _percentile(float(values.mean()), drawn @ kinds / len(values), confidence)


def bootstrap_clustered(
    values: np.ndarray, *, seed: int = 0, draws: int = 2000, confidence: float = CONFIDENCE
) -> Interval:
    """The mean of values[clusters, n] with its percentile interval, clusters and examples drawn anew in each draw.

    The clusters are training seeds that were tried on the same n examples: both are drawn, independently, and every
    drawn cluster is asked about the same drawn examples. For a difference of two, give a - b.
    """
    values = np.asarray(values, float)
    clusters, n = values.shape
    rng = np.random.default_rng(seed)
    which = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=draws) / clusters
    weight = rng.multinomial(n, np.full(n, 1 / n), size=draws) / n
    return _percentile(float(values.mean()), np.einsum("dn,dn->d", which @ values, weight), confidence)


def _percentile(at: float, found: np.ndarray, confidence: float) -> Interval:
    low, high = np.quantile(found, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(at=at, low=float(low), high=float(high))


def _special() -> Any:
    try:
        from scipy import special
    except ImportError:
        raise IntsimError("scipy is not installed", mend="pip install intsim[attack]") from None
    return special
