"""Sums of a table's products planned: the table as its kernel wants it, what the zero points owe in its entries."""

import numpy as np
from msgspec.structs import replace

from intsim.engine.geometry import lanes
from intsim.engine.operands import INT16, AddProducts, grouped, within
from intsim.graph import Shape
from intsim.program import Dot
from intsim.ranges import Interval

_FEW = np.int64(1) << 16  # weights and zero points are told apart by weight * _FEW + zero point


def table_products(dot: Dot, shape: Shape, x: Interval, dtype: type) -> AddProducts:
    """The kernel that adds the table's products, and what the zero points owe, to accumulators of `dtype`, which wrap.

    `x`: the raw inputs, padding included; 256 different ones at most. Any order.
    """
    from intsim_kernels.table import table

    assert x[1] - x[0] < 256, x
    columns, ids = _columns(dot, x)
    middle = (columns.min(0) + columns.max(0) + 1) // 2  # column by column nearest to 0, so that 16 bits often do
    columns = columns - middle
    small = within((int(columns.min()), int(columns.max())), INT16)
    rows = np.ascontiguousarray(columns.astype(np.int16 if small else dtype))
    turned = np.ascontiguousarray(np.pad(rows.T, ((0, 0), (0, -len(rows) % 8))))
    moved = middle[ids].reshape(len(ids), -1).sum(1).astype(dtype)
    ops = grouped(replace(dot, weight=ids), shape, centred=False, dtype=np.uint16)
    zero, border = x[0], dot.input_zero_point - x[0]

    def add(x: np.ndarray, acc: np.ndarray) -> None:
        acc += moved
        seen = lanes(x, ops.at, zero, border, np.uint8)
        table(seen, ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, rows, turned, ops.weights, acc)

    return add


def _columns(dot: Dot, x: Interval) -> tuple[np.ndarray, np.ndarray]:
    """Every different column `[x, column]` that the weights need, for all inputs in x, and which one each weight has.

    Where zero points are folded, a product x * w owes (x - zx)(w - zw) - x w: x and the column decide that, so it
    stands in the entry.
    """
    assert dot.mac.multiplier is not None
    folded, zx = dot.mac.zero_point == "folded", dot.input_zero_point
    w = dot.weight.astype(np.int64)
    zw = np.broadcast_to(dot.weight_zero_point.reshape(-1, *(1,) * (w.ndim - 1)), w.shape)
    different, ids = np.unique(w * _FEW + zw if folded else w - zw, return_inverse=True)
    values = np.arange(x[0], x[1] + 1)[:, None]
    ids = ids.reshape(w.shape)
    if not folded:
        return dot.mac.multiplier.entries[(values - zx) & 255, different & 255].astype(np.int64), ids
    of_zw = (different + _FEW // 2) % _FEW - _FEW // 2
    of_w = (different - of_zw) // _FEW
    owed = (values - zx) * (of_w - of_zw) - values * of_w
    return dot.mac.multiplier.entries[values & 255, of_w & 255] + owed, ids
