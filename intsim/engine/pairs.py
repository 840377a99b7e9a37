"""Two operands planned: Add, Multiply and Extreme, with shapes that broadcast and operands that are constant."""

import numpy as np

from intsim.engine.elementwise import plan_add
from intsim.engine.rescale import LIMIT, plan_rescale
from intsim.engine.step import Run, plain, requantizing
from intsim.graph import Shape
from intsim.ops.pairs import Pair, operands
from intsim.program import Add, Extreme, Multiply
from intsim.ranges import Interval, both_intervals


def plan_pair(pair: Pair, out: Shape, inputs: list[Interval], dtype: np.dtype) -> tuple[str, str, Run]:
    """The pair's step; `out` is one sample's output."""
    known = both_intervals(pair, inputs)
    match pair:
        case Add():
            kernel, why, run = plan_add(pair, out[-1], known, dtype)
        case Multiply():
            return _plan_multiply(pair, out[-1], known, dtype)
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


def _plan_multiply(multiply: Multiply, channels: int, known: list[Interval], dtype: np.dtype) -> tuple[str, str, Run]:
    reach = products(multiply, known)
    if max(map(abs, reach)) >= LIMIT or max(abs(end) for one in known for end in one) >= LIMIT:
        return plain(multiply, dtype, "products beyond 62 bits")
    requantizer = plan_rescale(multiply.rescale, channels, reach)
    settle, (za, zb) = requantizing(requantizer, dtype), multiply.zero_points

    def run(*given: np.ndarray) -> np.ndarray:
        a, b = operands(multiply, *given)
        product = (a.astype(np.int64) - za) * (b.astype(np.int64) - zb)
        return settle(product.reshape(-1, channels)).reshape(a.shape)

    return requantizer.kernel, requantizer.why, run
