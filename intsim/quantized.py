"""The quantized network: a Graph whose constants are integers, and an Affine for every tensor."""

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.graph import Graph, Shape, activations
from intsim.integers import Affine


class QuantizedGraph(Struct, frozen=True, kw_only=True, eq=False):
    """Bit-identity starts here: from a QuantizedGraph on, every machine gives the same integers.

    `graph.constants` holds integers only. `affines` covers every activation and every constant. A bias has the scale
    sx * sw of the sums that it is added to (rounded to float32 for files) and zero point 0: its integers are added to
    the accumulator as they are.
    """

    graph: Graph
    affines: dict[str, Affine]

    def __post_init__(self) -> None:
        for name in activations(self.graph):
            if name not in self.affines:
                raise IntsimError("has no quantization", where=name, mend="calibrate it: --calibration X.npz")
            if self.affines[name].axis is not None:
                raise IntsimError("an activation has one scale, not one per channel", where=name)
        for name, array in self.graph.constants.items():
            if name not in self.affines or array.dtype.kind not in "iu":
                raise IntsimError("is a float island in a quantized network", where=name, mend="quantize it too")
            type_ = self.affines[name].type
            if array.size and not (type_.low <= int(array.min()) and int(array.max()) <= type_.high):
                raise IntsimError(f"holds {array.min()} to {array.max()}, outside {type_}", where=name)


def is_older(source: QuantizedGraph) -> bool:
    """Whether some weights have zero points or no sign: such a .tflite has unsigned 8-bit integers throughout."""
    weights = [node.inputs[1] for node in source.graph.nodes if node.op in ("Conv", "Gemm", "ConvTranspose")]
    found = [source.affines[name] for name in weights if name in source.graph.constants]
    return any(any(affine.zero_point) or not affine.type.signed for affine in found)


def along(affine: Affine, ndim: int) -> Shape:
    """The shape in which the affine's numbers broadcast against its tensor."""
    return tuple(-1 if axis == affine.axis else 1 for axis in range(ndim))


def _numbers(affine: Affine, ndim: int) -> tuple[np.ndarray, np.ndarray]:
    """Scale (float32) and zero point (int64), broadcasting against a tensor of so many axes."""
    if affine.axis is None:
        return np.float32(affine.scale[0]), np.int64(affine.zero_point[0])  # type: ignore[return-value]
    shape = along(affine, ndim)
    zero = np.asarray(affine.zero_point, np.int64)
    return np.asarray(affine.scale, np.float32).reshape(shape), zero.reshape(shape) if len(zero) > 1 else zero


def dequantized(values: np.ndarray, affine: Affine) -> np.ndarray:
    """scale * (q - zero_point) in float32: what DequantizeLinear gives."""
    scale, zero = _numbers(affine, values.ndim)
    return scale * (values.astype(np.int64) - zero).astype(np.float32)


def quantized(values: np.ndarray | np.float32, affine: Affine) -> np.ndarray:
    """round_half_even(x / scale) + zero_point, saturated, in float32 as QuantizeLinear does it."""
    scale, zero = _numbers(affine, np.ndim(values))
    low, high = affine.type.low, affine.type.high
    q = np.asarray(values, np.float32) / scale
    real = np.float32 if affine.type.bits <= 16 and np.abs(zero).max() < 1 << 20 else np.float64
    q = np.rint(q).astype(real, copy=False)  # what is clipped here is exact: integers that the float type holds
    return (np.clip(q, (low - zero).astype(real), (high - zero).astype(real)) + zero.astype(real)).astype(
        affine.type.dtype
    )
