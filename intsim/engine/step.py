"""One step as the engine runs it: a function from integers to integers, the kernel's name and the reason for it."""

from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.arithmetic import in_tail
from intsim.engine.rescale import Requantizer, by_place, parted, plan_rescale, settle
from intsim.ops import meaning
from intsim.program import Rescale
from intsim.ranges import Interval

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


def requantizing_places(
    rescale: Rescale, places: int, channels: int, acc: Interval, dtype: np.dtype
) -> tuple[str, Callable[[np.ndarray], np.ndarray]]:
    """The kernel's name, and the requantization of accumulators `[n * places, c]` that lie in `acc`, whole samples."""
    planned = plan_rescale(rescale, channels, acc)
    if not by_place(planned.rescale):
        return planned.kernel, requantizing(planned, dtype)
    plans = [plan_rescale(part, channels, acc) for part in parted(rescale)]
    whole, rest = (requantizing(part, dtype) for part in plans)
    tail = np.array([[in_tail(rescale, c, place) for c in range(channels)] for place in range(places)])
    first = places - int(tail.any(1).sum())
    tail = tail[first:]

    def run(acc: np.ndarray) -> np.ndarray:
        out = whole(acc)
        if len(tail):
            rows = np.ascontiguousarray(acc.reshape(-1, places, channels)[:, first:]).reshape(-1, channels)
            last = out.reshape(-1, places, channels)[:, first:]
            last[:, tail] = rest(rows).reshape(last.shape)[:, tail]
        return out

    return f"{plans[0].kernel}, {plans[1].kernel} where no vector is full", run
