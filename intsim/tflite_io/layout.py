"""From TFLite's tensors (n, *spatial, c) to a Graph's (n, c, *spatial) and back; padding; bounds of activations.

"File axes" count as TFLite does, "graph axes" as ONNX does; both count the batch.
"""

import math
from collections.abc import Sequence

import numpy as np

from intsim.integers import Affine
from intsim.tflite_io.schema import SAME

Shape = tuple[int, ...]


def graph_shape(shape: Sequence[int]) -> Shape:
    """One sample's shape in a Graph, of the file's shape with the batch."""
    return (*shape[-1:], *shape[1:-1]) if len(shape) > 1 else ()


def file_shape(shape: Sequence[int], batch: int) -> Shape:
    """The file's shape with the batch, of one sample's in a Graph."""
    return (batch, *shape[1:], *shape[:1])


def graph_axis(axis: int, rank: int) -> int:
    """The graph axis of a file axis, both of `rank` with the batch."""
    return axis if axis == 0 or rank < 3 else (1 if axis == rank - 1 else axis + 1)


def file_axis(axis: int, rank: int) -> int:
    """The file axis of a graph axis, both of `rank` with the batch."""
    return axis if axis == 0 or rank < 3 else (rank - 1 if axis == 1 else axis - 1)


def graph_perm(perm: Sequence[int]) -> Shape:
    """The graph's permutation that does what the file's does."""
    rank = len(perm)
    return tuple(graph_axis(perm[file_axis(axis, rank)], rank) for axis in range(rank))


def file_perm(perm: Sequence[int]) -> Shape:
    """The file's permutation that does what the graph's does."""
    rank = len(perm)
    return tuple(file_axis(perm[graph_axis(axis, rank)], rank) for axis in range(rank))


def channels_first(array: np.ndarray, rank: int) -> np.ndarray:
    """A constant that broadcasts against a sample of `rank` axes with the batch: without the batch, channels first.

    A number alone, and what has the rank of a vector or less, stays as it is. ValueError where its batch is not 1.
    """
    if array.ndim == rank:
        if array.shape[0] != 1:
            raise ValueError(f"a constant has a batch of {array.shape[0]}")
        array = array[0]
    if rank < 3 or array.ndim == 0:
        return array
    array = array.reshape((1,) * (rank - 1 - array.ndim) + array.shape)
    return np.moveaxis(array, -1, 0)


def channels_last(array: np.ndarray, rank: int) -> np.ndarray:
    """A constant that broadcasts against `rank` axes with the batch: as a file has it, without the batch."""
    if rank < 3 or array.ndim == 0:
        return array
    if array.ndim == rank:
        if array.shape[0] != 1:
            raise ValueError(f"a constant has a batch of {array.shape[0]}")
        array = array[0]
    array = array.reshape((1,) * (rank - 1 - array.ndim) + array.shape)
    return np.moveaxis(array, 0, -1)


# ---- windows ---------------------------------------------------------------------------------------------------


def same_pads(sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]) -> Shape:
    """The pads, all beginnings and then all ends, of TFLite's SAME: the odd one stands at the end."""
    needed = [
        max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        for size, k, s, d in zip(sizes, kernel, strides, dilations, strict=True)
    ]
    return (*(n // 2 for n in needed), *(n - n // 2 for n in needed))


def pads_of(
    padding: int, sizes: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Shape:
    """The pads of one of TFLite's two kinds of padding. ValueError for a third."""
    if padding not in (0, 1):
        raise ValueError(f"padding {padding}")
    return same_pads(sizes, kernel, strides, dilations) if padding == SAME else (0,) * (2 * len(kernel))


def places(
    sizes: Sequence[int], pads: Sequence[int], kernel: Sequence[int], strides: Sequence[int], dilations: Sequence[int]
) -> Shape:
    """How many places a window takes along each spatial axis."""
    half = len(kernel)
    return tuple(
        (size + begin + end - d * (k - 1) - 1) // s + 1
        for size, begin, end, k, s, d in zip(sizes, pads[:half], pads[half:], kernel, strides, dilations, strict=True)
    )


# ---- bounds ----------------------------------------------------------------------------------------------------

_REAL = {"RELU": (0.0, None), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}


def activation_range(name: str, affine: Affine) -> tuple[int, int]:
    """The integers to which a fused activation clips.

    round_half_away(f32(bound / scale)) + zero point, inside the type. KeyError for an activation that is no clip.
    Source: LiteRT, tflite/kernels/kernel_util.cc CalculateActivationRangeQuantized.
    """
    low, high = affine.type.low, affine.type.high
    if name == "NONE":
        return low, high
    real_low, real_high = _REAL[name]
    top = high if real_high is None else min(high, _encoded(real_high, affine))
    return max(low, _encoded(real_low, affine)), top


def _encoded(bound: float, affine: Affine) -> int:
    steps = float(np.float32(bound) / np.float32(affine.scale[0]))
    return affine.zero + int(math.copysign(math.floor(abs(steps) + 0.5), steps))


def real_bound(q: int, affine: Affine) -> float:
    """A real number that is quantized to q, whatever the rule for ties."""
    return float(np.float32(affine.scale[0]) * np.float32(q - affine.zero))
