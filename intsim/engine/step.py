"""One step as the engine runs it: a function from integers to integers, the kernel's name and the reason for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.engine.rescale import Requantizer, settle
from intsim.ops import meaning

Run = Callable[..., np.ndarray]  # inputs [n, ..., c] to the output's integers, n first, in any shape


def plain(compute: Any, dtype: np.dtype, why: str) -> tuple[str, str, Run]:
    """The step by its meaning in Python's integers: slow, and right for numbers of any size."""

    def run(*inputs: np.ndarray) -> np.ndarray:
        return meaning(compute, *(x.astype(object) for x in inputs)).astype(dtype)

    return "python", why, run


def requantizing(requantizer: Requantizer, dtype: np.dtype) -> Callable[[np.ndarray], np.ndarray]:
    """The requantization as a function of accumulators `[rows, c]`.

    Every pair of types is a kernel to be compiled: accumulators are int32 where they fit, outputs of other types than
    int8 and uint8 take the way over int64.
    """
    direct = dtype if dtype.itemsize == 1 else np.dtype(np.int64)

    def run(acc: np.ndarray) -> np.ndarray:
        out = np.empty(acc.shape, direct)
        settle(requantizer, acc.astype(np.int32, copy=False) if requantizer.narrow else acc, out)
        return out.astype(dtype, copy=False)

    return run
