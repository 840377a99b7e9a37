"""Counts of one layer over all images: how many integers differ, by how much, and against how much signal."""

import math

import numpy as np
from msgspec import Struct

from intsim.compare.integers import Integers

FARTHEST = 32
"""Steps; what differs by more is counted here."""


class Tally(Struct, kw_only=True, eq=False):
    """What was counted so far; `by_image`: how many integers differ in each image."""

    elements: int = 0
    mismatches: int = 0
    largest: int = 0
    histogram: np.ndarray
    signal: float = 0.0
    noise: float = 0.0
    by_image: list[np.ndarray]


def tally() -> Tally:
    """A Tally of nothing."""
    return Tally(histogram=np.zeros(2 * FARTHEST + 1, np.int64), by_image=[])


def count(into: Tally, ours: Integers, given: Integers, signal: float) -> None:
    """Counts our integers `[n, ...]` against those that are `given`, whose power is `signal`."""
    into.elements += ours.q.size
    into.signal += signal
    if ours.zero == given.zero and ours.q.dtype == given.q.dtype and np.array_equal(ours.q, given.q):
        into.by_image.append(np.zeros(len(ours.q), np.int64))
        return
    steps = ours.multiples() - given.multiples()
    into.by_image.append(np.count_nonzero(steps.reshape(len(steps), -1), axis=1))
    into.mismatches += int(np.count_nonzero(steps))
    into.largest = max(into.largest, int(np.abs(steps).max()))
    near = np.clip(steps, -FARTHEST, FARTHEST).ravel() + FARTHEST
    into.histogram += np.bincount(near, minlength=2 * FARTHEST + 1)
    into.noise += power(steps)


def differences(of: Tally) -> tuple[tuple[int, int], ...]:
    """[difference, how many] of those that are not 0."""
    return tuple(
        (int(place) - FARTHEST, int(of.histogram[place])) for place in np.flatnonzero(of.histogram) if place != FARTHEST
    )


def decibels(signal: float, noise: float) -> float | None:
    """10 log10(signal / noise), at least -999; None without noise."""
    if noise == 0:
        return None
    return round(10 * math.log10(signal / noise), 2) if signal > 0 else -999.0


def power(values: np.ndarray) -> float:
    """The sum of the squares: exact, where it stays below 2^53."""
    return sum(float(part @ part) for part in (part.astype(np.float64) for part in _parts(values.ravel())))


def _parts(flat: np.ndarray) -> list[np.ndarray]:
    """Pieces that a cache holds."""
    return [flat[first : first + 4096] for first in range(0, len(flat), 4096)]
