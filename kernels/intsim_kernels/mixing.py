"""Neighbours mixed, as a routine: every row of scratch is a weighted sum of runs of a tensor."""

from functools import cache
from typing import Any

import numpy as np
from numba import carray

from intsim_kernels.elements import FIRST, LENGTH, RUNS, X_SIZE, X
from intsim_kernels.memory import pointer, word
from intsim_kernels.native import routine

FROM: Any = np.int16
TO: Any = np.int32


def mixed(p, arena, begin, end):
    """scratch[row][i] = start + the sum over k of weight[run, k] * x[base[run, k] + i], in TO.

    Told as in `elements`; then how many k there are, the addresses of base (bytes from an image's start, int64) and of
    the weights (in TO), start, and the offset of scratch.
    """
    n, runs, count = word(p, LENGTH), word(p, RUNS), word(p, FIRST)
    bases, start = word(p, FIRST + 1), TO(word(p, FIRST + 3))
    weights = carray(pointer(word(p, FIRST + 2)), (runs * count,), TO)
    out = carray(pointer(arena + word(p, FIRST + 4)), (end - begin, n), TO)
    for row in range(begin, end):
        image = row // runs
        at = (row - image * runs) * count
        y = out[row - begin]
        for i in range(n):
            y[i] = start
        for k in range(at, at + count):
            x = carray(pointer(arena + word(p, X) + image * word(p, X_SIZE) + word(bases, k)), (n,), FROM)
            weight = weights[np.uintp(k)]
            for i in range(n):
                y[i] = TO(y[i] + weight * x[i])


@cache
def mixing(source: str, sums: str) -> Any:
    """The routine `mixed` for integers of one type and sums of another, by name."""
    return routine(mixed, f"{source}-{sums}", FROM=getattr(np, source), TO=getattr(np, sums))
