"""Integers moved, planned by arrays: Rearrange, Pad, Take; and Interpolate, which mixes neighbours."""

import numpy as np

from intsim.engine.rescale import LIMIT, plan_rescale
from intsim.engine.step import Run, plain, requantizing
from intsim.integers import Overflow
from intsim.ops.resize import floats_mixed
from intsim.ops.wiring import pad_meaning, rearrange_meaning, take_meaning
from intsim.program import Interpolate, Pad, Rearrange, Rescale, Take
from intsim.ranges import Interval
from intsim.target import PowerOfTwo


def plan_rearrange(rearrange: Rearrange, dtype: np.dtype) -> tuple[str, str, Run]:
    """Axes and shapes."""
    return "numpy", "", lambda x: np.ascontiguousarray(rearrange_meaning(rearrange, x)).astype(dtype, copy=False)


def plan_pad(pad: Pad, dtype: np.dtype) -> tuple[str, str, Run]:
    """A border of one value, and gaps of it."""
    return "numpy", "", lambda x: pad_meaning(pad, x.astype(dtype, copy=False))


def plan_take(take: Take, dtype: np.dtype) -> tuple[str, str, Run]:
    """Some integers along each axis."""
    return "numpy", "", lambda x: np.ascontiguousarray(take_meaning(take, x)).astype(dtype, copy=False)


def plan_interpolate(mix: Interpolate, channels: int, known: Interval, dtype: np.dtype) -> tuple[str, str, Run]:
    """Neighbours mixed axis by axis in 64 bits, exactly; the sum is rounded once."""
    if mix.weights:
        return "interpolated", "", lambda x: floats_mixed(mix, x).astype(dtype)
    axes = len(mix.lower)
    ends = (known[0] << mix.bits * axes, known[1] << mix.bits * axes)
    if max(map(abs, ends)) >= LIMIT >> 1:
        return plain(mix, dtype, "sums beyond 62 bits")
    settle = requantizing(plan_rescale(as_rescale(mix, known), channels, ends), dtype)

    def run(x: np.ndarray) -> np.ndarray:
        acc = x.astype(np.int64)
        for axis in range(axes):
            f = mix.fraction[axis].reshape(-1, *(1,) * (axes - axis))
            low, high = acc.take(mix.lower[axis], axis + 1), acc.take(mix.upper[axis], axis + 1)
            acc = (low << mix.bits) + (high - low) * f
        return settle(acc.reshape(-1, channels)).reshape(acc.shape)

    return "interpolated", "", run


def as_rescale(mix: Interpolate, known: Interval) -> Rescale:
    """The rounding of the weighted sums, which lie between their integers."""
    return Rescale(
        rule=PowerOfTwo(rounding=mix.rounding),
        zero_point=0,
        low=known[0],
        high=known[1],
        overflow=Overflow.SATURATE,
        exponent=np.array([-mix.bits * len(mix.lower)], np.int64),
    )
