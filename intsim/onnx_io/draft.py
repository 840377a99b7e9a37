"""A quantized ONNX file in the making: nodes, integer tensors in the containers that ONNX has, affines."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import onnx
from msgspec import Struct
from onnx import NodeProto, TensorProto, helper, numpy_helper

from intsim.errors import IntsimError
from intsim.graph import Attribute
from intsim.integers import Affine, IntType

MICROSOFT = "com.microsoft"

Reader = Literal["onnxruntime", "onnx"]
"""Who is to read the file. "onnx": ONNX's own type wherever it has one. "onnxruntime": without those that its
optimizer mistreats, which are activations below 8 bits (1.32.0 drops their Relu, and does not load their MaxPool)
and constants of 2 bits (not loaded)."""

# Widths of ONNX's integer types and the opset that brought them to QuantizeLinear, as far as the installed onnx goes.
_OPSETS = {
    bits: opset
    for bits, opset in {2: 25, 4: 21, 8: 13, 16: 21}.items()
    if opset <= onnx.defs.onnx_opset_version() and f"INT{bits}" in TensorProto.DataType.keys()  # noqa: SIM118
}


class Draft(Struct, kw_only=True):
    """A file's nodes and initializers while they are gathered."""

    nodes: list[NodeProto] = []
    initializers: dict[str, TensorProto] = {}

    def node(
        self,
        op: str,
        inputs: Sequence[str],
        output: str,
        name: str,
        fields: Mapping[str, Attribute] | None = None,
        note: str = "",
    ) -> NodeProto:
        """A further node; an operator of another domain is called `domain.Operator`; `note` is its doc_string."""
        domain, _, op = op.rpartition(".")
        proto = helper.make_node(op, list(inputs), [output], name=name, domain=domain, doc_string=note)
        proto.attribute.extend(helper.make_attribute(key, field) for key, field in sorted((fields or {}).items()))
        self.nodes.append(proto)
        return proto

    def tensor(self, name: str, values: object, type_: IntType | None = None) -> str:
        """A further initializer, float32 where no integer type is given; its name."""
        if name not in self.initializers:
            self.initializers[name] = _tensor(name, np.asarray(values), type_)
        return name


def _tensor(name: str, values: np.ndarray, type_: IntType | None) -> TensorProto:
    if type_ is None:
        return numpy_helper.from_array(np.asarray(values, np.float32), name)
    if type_.bits >= 8:
        return numpy_helper.from_array(np.asarray(values, type_.dtype, order="C"), name)
    proto = TensorProto(name=name, data_type=element(type_), dims=values.shape)
    proto.raw_data = _packed(values.ravel().astype(np.int64), type_.bits)
    return proto


def _packed(values: np.ndarray, bits: int) -> bytes:
    """Integers of 2 or 4 bits, the first one in the lowest bits of a byte."""
    per_byte = 8 // bits
    padded = np.concatenate([values, np.zeros(-len(values) % per_byte, np.int64)]) & (1 << bits) - 1
    return (padded.reshape(-1, per_byte) << np.arange(0, 8, bits)).sum(1).astype(np.uint8).tobytes()


# ---- integer types -------------------------------------------------------------------------------------------


def element(type_: IntType) -> int:
    """ONNX's number for an integer type of a width that ONNX has."""
    return int(TensorProto.DataType.Value(f"{'' if type_.signed else 'U'}INT{type_.bits}"))


def container(type_: IntType, where: str, *, constant: np.ndarray | None = None, reader: Reader = "onnx") -> IntType:
    """ONNX's type for integers of `type_`: the type itself, or the next of at least 8 bits.

    The values of a `constant` are in their range as they are, so it may lie in a type of its own width even if its
    range is narrow, and, wider than 16 bits, in 32. Raises IntsimError where no type is wide enough.
    """
    shortest = {"onnx": 1, "onnxruntime": 8 if constant is None else 4}[reader]
    widths = [bits for bits in _OPSETS if bits >= shortest]
    if type_.bits in widths and (constant is not None or not type_.narrow_range):
        return IntType(type_.bits, type_.signed)
    if constant is not None and type_.bits > 16:
        return word(constant, where)
    wide = [bits for bits in widths if bits >= max(type_.bits, 8)]
    if not wide:
        raise IntsimError(f"is {type_}", where=where, mend=f"this format holds {max(widths)} bits")
    return IntType(min(wide), type_.signed)


def word(values: np.ndarray, where: str) -> IntType:
    """Signed 32 bits, ONNX's type of a bias. Raises IntsimError where they are too few."""
    reach = int(np.abs(values.astype(np.int64)).max(initial=0))
    if reach >= 1 << 31:
        raise IntsimError(f"reaches {reach}", where=where, mend="this format holds a bias of 32 bits")
    return IntType(32)


def opset(containers: Sequence[IntType]) -> int:
    """The lowest opset in which all these types can be quantized."""
    return max(_OPSETS.get(type_.bits, 13) for type_ in containers)


def affine_tensors(draft: Draft, name: str, affine: Affine, held: IntType) -> tuple[str, str]:
    """The names of the initializers with the scale and the zero point of a tensor that is stored as `held`."""
    scale, zero = np.array(affine.scale, np.float32), np.array(affine.zero_point, np.int64)
    if affine.axis is None:
        scale, zero = scale.reshape(()), zero.reshape(())
    return (
        draft.tensor(f"{name}:scale", scale),
        draft.tensor(f"{name}:zero_point", np.broadcast_to(zero, scale.shape), held),
    )


def affine_of(scale: np.ndarray, zero: np.ndarray | None, type_: IntType, axis: int | None) -> Affine:
    """The affine that two initializers state; a zero point that all channels share is stated once."""
    zeros = (0,) if zero is None else tuple(int(z) for z in np.ravel(zero))
    return Affine(
        scale=tuple(float(s) for s in np.ravel(scale)),
        zero_point=zeros[:1] if len(set(zeros)) == 1 else zeros,
        type=type_,
        axis=axis if scale.ndim else None,
    )
