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


def along(affine: Affine, ndim: int) -> Shape:
    """The shape in which the affine's numbers broadcast against its tensor."""
    return tuple(-1 if axis == affine.axis else 1 for axis in range(ndim))


def dequantized(values: np.ndarray, affine: Affine) -> np.ndarray:
    """scale * (q - zero_point) in float32: what DequantizeLinear gives."""
    scale = np.asarray(affine.scale, np.float32).reshape(along(affine, values.ndim))
    zero = np.asarray(affine.zero_point, np.int64).reshape(
        along(affine, values.ndim) if len(affine.zero_point) > 1 else (1,) * values.ndim
    )
    return scale * (values.astype(np.int64) - zero).astype(np.float32)


def quantized(values: np.ndarray | np.float32, affine: Affine) -> np.ndarray:
    """round_half_even(x / scale) + zero_point, saturated, in float32 as QuantizeLinear does it."""
    scale = np.asarray(affine.scale, np.float32).reshape(along(affine, np.ndim(values)))
    zero = np.asarray(affine.zero_point, np.float32).reshape(
        along(affine, np.ndim(values)) if len(affine.zero_point) > 1 else (1,) * np.ndim(values)
    )
    low, high = affine.type.low, affine.type.high
    q = np.rint(np.asarray(values, np.float32) / scale).astype(np.float64) + zero
    return np.clip(q, low, high).astype(affine.type.dtype)
