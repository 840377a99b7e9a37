"""Straight lines below and above what a step gives, as functions of the sum that it rounds: slopes and rounding slack.

Every bound here holds in exact arithmetic: floats are moved outwards by `SLACK` of all that went into them, which is
more than 2^15 float64 operations can lose.
"""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.certify.spans import Span, span

SLACK = 2.0**-36
MOST = 1024
"""Levels of an output that are looked at one by one; of more no line is drawn."""


class Curve(Struct, frozen=True, kw_only=True, eq=False):
    """clamp(slope s + offset) - under <= g(s) <= clamp(slope s + offset) + over, clamped into low..high; `[c]` each."""

    slope: np.ndarray
    offset: np.ndarray
    low: float
    high: float
    under: np.ndarray
    over: np.ndarray


class Lines(Struct, frozen=True, kw_only=True, eq=False):
    """below_slope s + below <= y <= above_slope s + above, elementwise."""

    below_slope: np.ndarray
    below: np.ndarray
    above_slope: np.ndarray
    above: np.ndarray


def curve(g: Callable[[Span], Span], least: np.ndarray, most: np.ndarray, low: int, high: int) -> Curve | None:
    """The `Curve` of g, a staircase from least[c] to most[c]; None where it is not sure to rise, or has too many steps.

    Between two steps g stands still and the clamped line rises, so both distances are largest at a step's ends.
    """
    whole = g(span(least, most))
    bottom, top = whole.low, whole.high
    levels = int((top - bottom).max(initial=0))
    if not whole.steady.all() or levels > MOST:
        return None
    wanted = bottom + np.arange(1, levels + 1)[:, None]
    first, last = np.broadcast_to(least, wanted.shape), np.broadcast_to(most, wanted.shape)
    while (first < last).any():  # the first integer at which g reaches each level, or the last one
        middle = first + (last - first) // 2
        there = g(span(middle, middle)).low >= wanted
        first, last = np.where(there, first, middle + 1), np.where(there, middle, last)
        first = np.minimum(first, most)
    slope, offset = _fitted(first, bottom, top, least, most)
    places = np.concatenate([first, np.maximum(first - 1, least), least[None], most[None]])
    values = g(span(places, places)).low.astype(np.float64)
    line = np.clip(slope * places + offset, low, high)
    lost = SLACK * (np.abs(slope) * np.abs(places).max(0) + np.abs(offset) + abs(low) + abs(high) + 1)
    return Curve(
        slope=slope,
        offset=offset,
        low=float(low),
        high=float(high),
        under=(line - values).max(0) + lost,
        over=(values - line).max(0) + lost,
    )


def _fitted(
    first: np.ndarray, bottom: np.ndarray, top: np.ndarray, least: np.ndarray, most: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A rising line through the middles of the lowest and the highest step of each channel."""
    channel, steps = np.arange(len(bottom)), (top - bottom).astype(np.int64)
    one = np.zeros(len(bottom)) if not len(first) else first[0] - 0.5
    other = one if not len(first) else first[np.maximum(steps - 1, 0), channel] - 0.5
    apart = other > one
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.where(apart, (steps - 1) / (other - one), steps / np.maximum(most - least, 1).astype(np.float64))
    middle = np.where(steps > 0, (one + other) / 2, least.astype(np.float64))
    height = np.where(steps > 0, bottom + steps / 2, bottom.astype(np.float64))
    slope = np.where(steps > 0, slope, 0.0)
    return slope, height - slope * middle


def lines(of: Curve, low: np.ndarray, high: np.ndarray, ends: tuple[np.ndarray, np.ndarray]) -> Lines:
    """The `Lines` for s in low..high `[..., c]`, whose outputs lie in `ends`: a clamp's two corners cut or met.

    The slopes are a choice; what is added to them is the least and the largest of clamp(line) - slope s at the ends and
    corners, where a piecewise straight function has them.
    """
    a, b = low.astype(np.float64), high.astype(np.float64)
    h, k = of.slope * a + of.offset, of.slope * b + of.offset
    below_slope, above_slope = (of.slope * part for part in _slopes(h, k, of.low, of.high))
    with np.errstate(divide="ignore", invalid="ignore"):
        corners = [np.nan_to_num((edge - of.offset) / of.slope) for edge in (of.low, of.high)]
    places = np.stack([a, b, *(np.minimum(np.maximum(corner, a), b) for corner in corners)])
    heights = np.clip(of.slope * places + of.offset, of.low, of.high)
    far = np.maximum(np.abs(a), np.abs(b)) * (of.slope + np.maximum(below_slope, above_slope))
    lost = SLACK * (far + np.abs(of.offset) + abs(of.low) + abs(of.high) + 1)
    flat = (low == high) | (ends[0] == ends[1]) | ~np.isfinite(far)
    return Lines(
        below_slope=np.where(flat, 0.0, below_slope),
        below=np.where(flat, ends[0], (heights - below_slope * places).min(0) - of.under - lost),
        above_slope=np.where(flat, 0.0, above_slope),
        above=np.where(flat, ends[1], (heights - above_slope * places).max(0) + of.over + lost),
    )


def level(ends: tuple[np.ndarray, np.ndarray]) -> Lines:
    """No slope at all: what is known of the output."""
    none = np.zeros(ends[0].shape)
    return Lines(below_slope=none, below=ends[0] * 1.0, above_slope=none, above=ends[1] * 1.0)


def only(where: np.ndarray, these: Lines, ends: tuple[np.ndarray, np.ndarray]) -> Lines:
    """The lines where `where`, and elsewhere the ends."""
    return Lines(
        below_slope=np.where(where, these.below_slope, 0.0),
        below=np.where(where, these.below, ends[0]),
        above_slope=np.where(where, these.above_slope, 0.0),
        above=np.where(where, these.above, ends[1]),
    )


def _slopes(h: np.ndarray, k: np.ndarray, low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """What part of the line's slope is below, and above, a line that is clamped into low..high, from h to k."""
    under, over = h < low, k > high
    with np.errstate(divide="ignore", invalid="ignore"):
        chord_above = np.where(over, (high - low) / (high - h), (k - low) / (k - h))
        chord_below = np.where(under, (high - low) / (k - low), (high - h) / (k - h))
    below = np.where(under, k - low > low - h, True).astype(np.float64)
    below = np.where(over, chord_below, below)
    above = np.where(over, high - h > k - high, True).astype(np.float64)
    above = np.where(under, chord_above, above)
    still = (k <= low) | (h >= high)
    return np.where(still, 0.0, np.nan_to_num(below)), np.where(still, 0.0, np.nan_to_num(above))
