"""One step as the engine runs it: a function from integers to integers, the kernel's name and the reason for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.engine.rescale import Requantizer
from intsim.ops import meaning

Run = Callable[..., np.ndarray]  # inputs [n, ..., c] to the output's integers, n first, in any shape


def plain(compute: Any, dtype: np.dtype, why: str) -> tuple[str, str, Run]:
    """The step by its meaning in Python's integers: slow, and right for numbers of any size."""

    def run(*inputs: np.ndarray) -> np.ndarray:
        return meaning(compute, *(x.astype(object) for x in inputs)).astype(dtype)

    return "python", why, run


def requantizing(requantizer: Requantizer, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """The requantization as a function of accumulators `[rows, c]`."""

    def run(acc: np.ndarray) -> np.ndarray:
        out = np.empty(acc.shape, dtype)
        requantizer.run(acc, out)
        return out

    return run
