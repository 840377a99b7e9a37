"""Bounds of products, of their exact sum, and of what is added for bias and zero points, per output channel."""

import numpy as np

from intsim.arithmetic import shifted
from intsim.integers import Rounding
from intsim.program import Dot, MatMul
from intsim.ranges.tensors import Interval

Pair = tuple[np.ndarray, np.ndarray]


def exactly(sums: np.ndarray) -> np.ndarray:
    """The same numbers as Python's own integers."""
    return sums.astype(object)


def products(dot: Dot, low_x: int, high_x: int, *, centred: bool) -> Pair:
    """Bounds of every product `[o, k]` in the machine's order, of the operands less their zero points or raw.

    A table's products are those of its entries in the weight's column, over the rows of the inputs.
    """
    low_x, high_x = _seen(dot, low_x, high_x)
    taps = dot.weight.astype(np.int64).reshape(len(dot.weight), -1, dot.weight.shape[-1])
    w = (taps.transpose(0, 2, 1) if dot.mac.order == "chw" else taps).reshape(len(taps), -1)
    if centred:
        w = w - dot.weight_zero_point[:, None]
        low_x, high_x = low_x - dot.input_zero_point, high_x - dot.input_zero_point
    if dot.mac.multiplier is not None:
        rows = dot.mac.multiplier.entries[np.arange(low_x, high_x + 1) & 255]
        return rows.min(0).astype(np.int64)[w & 255], rows.max(0).astype(np.int64)[w & 255]
    return np.minimum(w * low_x, w * high_x), np.maximum(w * low_x, w * high_x)


def products_of_two(matmul: MatMul, a: Interval, b: Interval, count: int) -> tuple[Pair, Pair, Pair]:
    """Bounds `[1, count]` of every product of two activations, `[1]` of what is owed, and of the exact sum.

    They hold for all integers of both operands, each independent of the others.
    """
    za, zb = matmul.zero_points
    centred = (a[0] - za, a[1] - za), (b[0] - zb, b[1] - zb)
    folded = matmul.mac.zero_point == "folded"
    (low, high), table = _corners(*((a, b) if folded else centred)), matmul.mac.multiplier
    if table is not None:
        (least_a, most_a), (least_b, most_b) = (a, b) if folded else centred
        rows, columns = np.arange(least_a, most_a + 1) & 255, np.arange(least_b, most_b + 1) & 255
        seen = table.entries[rows][:, columns]
        low, high = int(seen.min()), int(seen.max())
    corners = [za * zb - zb * u - za * v for u in a for v in b] if folded else [0]
    debt = exactly(np.array([min(corners)])) * count, exactly(np.array([max(corners)])) * count
    if table is not None and folded:
        exact = debt[0] + low * count, debt[1] + high * count
    else:
        ends = (low, high) if not folded else _corners(*centred)
        exact = exactly(np.array([ends[0]])) * count, exactly(np.array([ends[1]])) * count
    return (np.full((1, count), low, object), np.full((1, count), high, object)), debt, exact


def _corners(a: Interval, b: Interval) -> Interval:
    corners = [u * v for u in a for v in b]
    return min(corners), max(corners)


def _seen(dot: Dot, low_x: int, high_x: int) -> Interval:
    """The inputs and, where there is padding, their zero point."""
    if any(dot.window.begin + dot.window.end):
        return min(low_x, dot.input_zero_point), max(high_x, dot.input_zero_point)
    return low_x, high_x


def exact_sum(dot: Dot, low_x: int, high_x: int) -> Pair:
    """Bounds of the sum without any register, the bias in, at the scale of the products."""
    if dot.mac.multiplier is not None and dot.mac.zero_point == "folded":
        low, high = products(dot, low_x, high_x, centred=False)
        least, most = owed(dot, low_x, high_x)
        return exactly(low.sum(1)) + least, exactly(high.sum(1)) + most
    low, high = products(dot, low_x, high_x, centred=True)
    bias = _unshifted(dot)
    return exactly(low.sum(1)) + bias, exactly(high.sum(1)) + bias


def _unshifted(dot: Dot) -> np.ndarray:
    """The bias at the scale of the products, where it is added to a sum that was shifted."""
    bias, back = exactly(dot.bias), dot.mac.write_back
    if back is None or not back.shift or dot.bias_rule.when == "init":
        return bias
    return np.array([shifted(v, -back.shift, Rounding.HALF_AWAY) for v in bias], object)


def owed(dot: Dot, low_x: int, high_x: int) -> Pair:
    """What is added to the sum of the products: the bias and, where they are folded, what the zero points owe."""
    bias = exactly(dot.bias)
    if dot.mac.zero_point == "in_operand":
        return bias, bias
    low_x, high_x = _seen(dot, low_x, high_x)
    k, zx = dot.weight[0].size, dot.input_zero_point
    zw = exactly(np.broadcast_to(dot.weight_zero_point, bias.shape))
    fixed = bias - zx * exactly(dot.weight.astype(np.int64).reshape(len(bias), -1).sum(1)) + k * zx * zw
    ends = (fixed - zw * (k * low_x), fixed - zw * (k * high_x))
    return np.minimum(*ends), np.maximum(*ends)
