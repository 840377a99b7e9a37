"""Crossings, differences and tests over seeds and images: seeds are clusters, networks of one seed are pairs."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from scipy import stats

from intsim.statistics import crossing, holm, paired


def percent(bits: np.ndarray) -> list[float]:
    """Mean accuracy in % at each strength of bits[seeds, strengths, n]."""
    return [round(100 * float(v), 2) for v in bits.mean(axis=(0, 2))]


def spread(bits: np.ndarray) -> list[float]:
    """Standard deviation over seeds of the accuracy in %, at each strength; 0 of one seed."""
    if len(bits) < 2:
        return [0.0] * bits.shape[1]
    return [round(100 * float(v), 2) for v in bits.mean(axis=2).std(axis=0, ddof=1)]


@lru_cache(maxsize=4)
def _draws(n: int, draws: int, seed: int) -> np.ndarray:
    """float32[draws, n]: how often each of n images is in a draw, over n."""
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws).astype(np.float32) / np.float32(n)


def crossed(strengths: Sequence[float], a: np.ndarray, b: np.ndarray, draws: int, seed: int = 0) -> dict[str, Any]:
    """Where the pooled curve of a passes that of b, both bool[seeds, strengths, n], with its seed-clustered interval.

    A draw takes seeds with replacement, and images with replacement, the same for both curves and, as all seeds judge
    the same images, for all seeds. A draw without a crossing counts as beyond the last strength. `rising`: a is below b
    before and above it after.
    """
    gap = (a.mean(axis=2) - b.mean(axis=2)).mean(axis=0)
    at = crossing(strengths, gap.tolist(), [0.0] * len(gap))
    if at is None:
        return {"at": None, "sign": int(np.sign(gap[np.abs(gap).argmax()]))}
    curves = _draws(a.shape[2], draws, seed) @ (a.astype(np.float32) - b.astype(np.float32)).transpose(0, 2, 1)
    rng, found = np.random.default_rng([seed, 1]), []
    for draw in range(draws):
        chosen = rng.integers(0, len(a), len(a))
        one = crossing(strengths, curves[chosen, draw].mean(axis=0).tolist(), [0.0] * len(gap))
        found.append(np.inf if one is None else one)
    low, high = np.quantile(found, [0.025, 0.975], method="inverted_cdf")
    return {
        "at": round(float(at), 4),
        "low": round(float(low), 4) if np.isfinite(low) else None,
        "high": round(float(high), 4) if np.isfinite(high) else None,
        "share": round(float(np.isfinite(found).mean()), 3),
        "rising": bool(gap[np.flatnonzero(gap)[0]] < 0),
    }


def difference(a: np.ndarray, b: np.ndarray, delta: float) -> dict[str, Any]:
    """a against b, bool[seeds, n] at one strength, in points: mean over seeds, a 90 % t interval, and the verdict.

    "above" and "below": the interval lies wholly beyond delta points (a one-sided 5 % test each); "within": wholly
    inside +-delta (TOST); else "open".
    """
    each = 100 * (a.mean(axis=1) - b.mean(axis=1))
    mean = float(each.mean())
    if len(each) > 1 and each.std(ddof=1) > 0:
        half = float(stats.t.ppf(0.95, len(each) - 1) * each.std(ddof=1) / np.sqrt(len(each)))
    else:
        half = 0.0 if len(each) > 1 else float("inf")
    low, high = mean - half, mean + half
    verdict = (
        "above" if low > delta else "below" if high < -delta else "within" if -delta < low and high < delta else "open"
    )
    ends = {"low": round(low, 2), "high": round(high, 2)} if np.isfinite(half) else {"low": None, "high": None}
    return {"mean": round(mean, 2), **ends, "delta": round(delta, 2), "verdict": verdict, "seeds": len(each)}


def family(pairs: Sequence[tuple[str, np.ndarray, np.ndarray]]) -> list[dict[str, Any]]:
    """Exact McNemar of each (name, a[n], b[n]), and its p-value adjusted by Holm within all of them."""
    found = [(name, paired(a, b)) for name, a, b in pairs]
    adjusted = holm([each.p for _, each in found])
    return [
        {"name": name, "gained": each.gained, "lost": each.lost, "p": each.p, "holm": p}
        for (name, each), p in zip(found, adjusted, strict=True)
    ]
