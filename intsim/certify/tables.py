"""The least and the largest entry of a table between any two places, whatever shape its curve has."""

from collections.abc import Callable

import numpy as np

Extremes = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
"""(first, last, column) -> the least and the largest entry of that column from place `first` to place `last`."""


def extremes(table: np.ndarray) -> Extremes:
    """The `Extremes` of `table[entries, columns]`: of all runs of 2^k places from every place on."""
    least, most = [table], [table]
    for k in range(1, len(table).bit_length()):
        half = 1 << (k - 1)
        for runs, pick in ((least, np.minimum), (most, np.maximum)):
            before = runs[-1]
            runs.append(pick(before, before[np.minimum(np.arange(len(table)) + half, len(table) - 1)]))
    lows, highs = np.stack(least), np.stack(most)

    def found(first: np.ndarray, last: np.ndarray, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        k = np.frexp(last - first + 1)[1] - 1  # 2^k <= length, and two such runs cover it
        second = last - (np.int64(1) << k.astype(np.int64)) + 1
        return (
            np.minimum(lows[k, first, column], lows[k, second, column]),
            np.maximum(highs[k, first, column], highs[k, second, column]),
        )

    return found
