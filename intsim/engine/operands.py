"""The operands of product sums as the kernels want them: lanes of inputs, weights packed by kernel."""

from collections.abc import Callable
from functools import cache, partial

import numpy as np
from msgspec import Struct

from intsim.engine.geometry import Places, lanes, places
from intsim.graph import Shape
from intsim.program import Dot
from intsim.ranges import Interval

INT16, INT32 = (-(1 << 15), (1 << 15) - 1), (-(1 << 31), (1 << 31) - 1)

AddProducts = Callable[[np.ndarray, np.ndarray], None]  # x[n, ..., c] and acc[n * places, o], which grows


class Grouped(Struct, frozen=True, kw_only=True, eq=False):
    """Operands for the kernels that run over the outputs of a group: see the kernel `dot.grouped`."""

    at: Places
    taps: np.ndarray
    stride: int
    lane: int
    weights: np.ndarray
    zero: int
    border: int
    dtype: type

    def lanes(self, x: np.ndarray) -> np.ndarray:
        """The inputs, padded, in the kernel's type."""
        return lanes(x, self.at, self.zero, self.border, self.dtype)


def within(interval: Interval, limits: Interval) -> bool:
    """Whether the interval lies inside the limits."""
    return limits[0] <= interval[0] and interval[1] <= limits[1]


def centred_weights(dot: Dot) -> np.ndarray:
    """w - zw, int64."""
    return dot.weight.astype(np.int64) - dot.weight_zero_point.reshape(-1, *(1,) * (dot.weight.ndim - 1))


def grouped(dot: Dot, shape: Shape, *, centred: bool, dtype: type) -> Grouped:
    """The operands, less their zero points (`centred`) or raw, in the machine's order."""
    weight = centred_weights(dot) if centred else dot.weight
    outputs, depth = len(weight), weight.shape[-1]
    depthwise = depth == 1 and dot.group > 1
    groups = 1 if depthwise else dot.group
    at = places(shape, dot.window, outputs if depthwise else None)
    assert at is not None
    w = weight.reshape(outputs, -1, depth)
    taps = at.taps[:, None] + np.arange(depth)
    if dot.mac.order == "chw":
        w, taps = w.transpose(0, 2, 1), taps.T
    packed = w.reshape(groups, outputs // groups, -1).transpose(0, 2, 1)
    return Grouped(
        at=at,
        taps=np.ascontiguousarray(taps.ravel()),
        stride=depth,
        lane=int(depthwise),
        weights=np.array(packed, dtype, order="C"),
        zero=dot.input_zero_point if centred else 0,
        border=0 if centred else dot.input_zero_point,
        dtype=dtype,
    )


def later(make: Callable[[], AddProducts]) -> AddProducts:
    """The same kernel, whose weights are packed when it is first called: where routines run, it never is."""
    ready = cache(make)

    def add(x: np.ndarray, acc: np.ndarray) -> None:
        ready()(x, acc)

    return add


def free_products(dot: Dot, shape: Shape, x: Interval, dtype: type) -> tuple[str, AddProducts]:
    """The fastest kernel that adds (x - zx)(w - zw) to accumulators of `dtype`, in any order; int32 ones may wrap."""
    w = centred_weights(dot)
    reach = (int(w.min()), int(w.max()))
    narrow = within(x, INT16) and within(reach, INT16)
    block = 1 << 30
    if dtype is np.int64:
        largest = max(map(abs, x)) * max(map(abs, reach))
        block = INT32[1] // max(largest, 1) // 16 * 16
    if dot.group == 1 and narrow and block:
        return "dense", later(partial(_dense, dot, shape, block))
    return "grouped", later(
        partial(_grouped, dot, shape, np.int16 if narrow and dtype is np.int32 else np.int32, dtype)
    )


def _dense(dot: Dot, shape: Shape, block: int) -> AddProducts:
    from intsim_kernels.dot import dense

    at = places(shape, dot.window)
    assert at is not None
    segments, length = _runs(at, "hwc")
    flat = centred_weights(dot).reshape(len(dot.weight), -1)
    outputs, depth = len(flat), flat.shape[1]
    block = min(block, -(-depth // 16) * 16)
    packed = np.zeros((-(-outputs // 4) * 4, -(-depth // block), block), np.int16)
    packed.reshape(len(packed), -1)[:outputs, :depth] = flat
    weights = np.ascontiguousarray(packed.transpose(1, 0, 2))

    def add(x: np.ndarray, acc: np.ndarray) -> None:
        dense(lanes(x, at, dot.input_zero_point, 0, np.int16), at.size, at.base, segments, length, weights, acc)

    return add


def paired(dot: Dot, shape: Shape, folded: bool) -> AddProducts:
    """The kernel for pairs of products, in the machine's order."""
    from intsim_kernels.ordered import pairs

    w = dot.weight if folded else centred_weights(dot)
    at = places(shape, dot.window)
    assert at is not None
    segments, length = _runs(at, dot.mac.order)
    taps = w.reshape(len(w), -1, w.shape[-1])
    flat = (taps.transpose(0, 2, 1) if dot.mac.order == "chw" else taps).reshape(len(w), -1)
    outputs, depth = flat.shape
    packed = np.zeros((-(-outputs // 2) * 2, -(-depth // 32) * 16, 2), np.int16)
    packed.reshape(len(packed), -1)[:outputs, :depth] = flat
    weights = np.ascontiguousarray(packed.transpose(0, 2, 1))
    zero, border = (0, dot.input_zero_point) if folded else (dot.input_zero_point, 0)

    def add(x: np.ndarray, acc: np.ndarray) -> None:
        pairs(lanes(x, at, zero, border, np.int16), at.size, at.base, segments, length, weights, acc)

    return add


def _runs(at: Places, order: str) -> tuple[np.ndarray, int]:
    """A window's integers in the machine's order, as offsets of runs and their length.

    Runs shorter than 8 are gathered faster one by one.
    """
    if order == "chw":
        return (np.arange(at.channels)[:, None] + at.taps).ravel(), 1
    length = at.row_taps * at.channels
    return (at.rows, length) if length >= 8 else ((at.rows[:, None] + np.arange(length)).ravel(), 1)


def _grouped(dot: Dot, shape: Shape, operand: type, dtype: type) -> AddProducts:
    from intsim_kernels.dot import grouped as kernel

    ops = grouped(dot, shape, centred=True, dtype=operand)
    if dtype is np.int32 and operand is np.int32:  # sums of int32 operands are int64: the kernel's second form

        def add_wide(x: np.ndarray, acc: np.ndarray) -> None:
            wide = acc.astype(np.int64)
            kernel(ops.lanes(x), ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, ops.weights, wide)
            acc[:] = wide.astype(np.int32)

        return add_wide

    def add(x: np.ndarray, acc: np.ndarray) -> None:
        kernel(ops.lanes(x), ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, ops.weights, acc)

    return add
