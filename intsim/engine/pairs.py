"""Two operands planned: Add, Multiply and Extreme, with shapes that broadcast and operands that are constant."""

import numpy as np

from intsim.engine.elementwise import plan_add
from intsim.engine.rescale import LIMIT, plan_rescale
from intsim.engine.step import Run, plain, requantizing
from intsim.graph import Shape
from intsim.ops.pairs import Pair, operands
from intsim.program import Add, Extreme, Multiply, Rescale
from intsim.ranges import Interval, both_intervals


def plan_pair(pair: Pair, out: Shape, inputs: list[Interval], dtype: np.dtype) -> tuple[str, str, Run]:
    """The pair's step; `out` is one sample's output."""
    known = both_intervals(pair, inputs)
    match pair:
        case Add() if pair.rescale is not None:
            return _plan_requantized(pair, pair.rescale, out[-1], known, dtype)
        case Add():
            kernel, why, run = plan_add(pair, out[-1], known, dtype)
        case Multiply():
            return _plan_requantized(pair, pair.rescale, out[-1], known, dtype)
        case Extreme():
            kernel, why, run = "numpy", "", _extreme(pair, dtype)
    if kernel == "python":
        return kernel, why, run

    def spread(*given: np.ndarray) -> np.ndarray:
        a, b = operands(pair, *given)
        return run(np.ascontiguousarray(a), np.ascontiguousarray(b))

    return kernel, why, spread


def _extreme(extreme: Extreme, dtype: np.dtype) -> Run:
    pick = np.maximum if extreme.largest else np.minimum
    return lambda a, b: pick(a.astype(dtype, copy=False), b.astype(dtype, copy=False))


def products(multiply: Multiply, known: list[Interval]) -> Interval:
    """Bounds of (a - za) * (b - zb)."""
    (a, b), (za, zb) = known, multiply.zero_points
    corners = [(u - za) * (v - zb) for u in a for v in b]
    return min(corners), max(corners)


def _sums(add: Add, known: list[Interval]) -> Interval:
    """Bounds of (a - za) + (b - zb), or of the difference."""
    (a, b), (za, zb) = known, add.zero_points
    low, high = (-b[1] + zb, -b[0] + zb) if add.subtract else (b[0] - zb, b[1] - zb)
    return a[0] - za + low, a[1] - za + high


def _plan_requantized(
    pair: Add | Multiply, rescale: Rescale, channels: int, known: list[Interval], dtype: np.dtype
) -> tuple[str, str, Run]:
    """The product of two operands, or the sum of two of one scale, requantized."""
    reach = products(pair, known) if isinstance(pair, Multiply) else _sums(pair, known)
    if max(map(abs, reach)) >= LIMIT or max(abs(end) for one in known for end in one) >= LIMIT:
        return plain(pair, dtype, "numbers beyond 62 bits")
    requantizer = plan_rescale(rescale, channels, reach)
    settle, (za, zb) = requantizing(requantizer, dtype), pair.zero_points

    def run(*given: np.ndarray) -> np.ndarray:
        a, b = operands(pair, *given)
        u, v = a.astype(np.int64) - za, b.astype(np.int64) - zb
        acc = u * v if isinstance(pair, Multiply) else u - v if pair.subtract else u + v
        return settle(acc.reshape(-1, channels)).reshape(a.shape)

    return requantizer.kernel, requantizer.why, run
