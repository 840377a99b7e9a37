"""Files that other tools quantized, in one spelling: float operators between QuantizeLinear and DequantizeLinear.

QOperator files, QONNX's Quant and BipolarQuant, and Microsoft's own QuantizeLinear are put into it. Sources: the ONNX
operator pages, onnxruntime's ContribOperators.md, and the operator pages of qonnx.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from intsim.errors import IntsimError
from intsim.graph import Attribute, Graph
from intsim.integers import IntType
from intsim.onnx_io.protobuf import attributes, operator, parse, tensor
from intsim.onnx_io.read import graph_of

Three = tuple[str, str, str]
"""The names of integers, their scale and their zero point."""

QONNX = ("qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general")

_DYNAMIC = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLinear", "DynamicQuantizeMatMul", "MatMulIntegerToFloat")


def read_foreign(path: Path | str) -> tuple[Graph, dict[str, IntType]]:
    """The file's Graph in that spelling, as `read` gives a float file's; and types that it has no word for.

    Those are of constants of fewer than 8 bits, which stand in 8, by the name of what they are dequantized to. Raises
    IntsimError for a file that cannot be read, and for an operator that states no integers before the network runs.
    """
    path = Path(path)
    model, types = _spelled(parse(path), path.parent)
    return graph_of(model, path.parent, name=path.name), types


def _spelled(model: ModelProto, folder: Path) -> tuple[ModelProto, dict[str, IntType]]:
    new = ModelProto()
    new.CopyFrom(model)
    del new.graph.node[:]
    held = {each.name: tensor(each, folder) for each in model.graph.initializer}
    draft = _Draft(new, held, {each.name: each.data_type for each in model.graph.initializer})
    for proto in model.graph.node:
        domain, _, name = operator(proto).rpartition(".")
        if name in _DYNAMIC and domain in ("", "com.microsoft"):
            mend = "quantize statically: its scales depend on each image"
            raise IntsimError(f"{name} is dynamic", where=proto.name or proto.output[0], mend=mend)
        if domain in QONNX:
            _SAID.get(name, _unknown)(draft, proto)
        elif name in _OPERATORS and domain in ("", "com.microsoft"):
            _operator(draft, proto, *_OPERATORS[name])
        elif domain in ("", "com.microsoft") and name in ("QuantizeLinear", "DequantizeLinear"):
            _narrow(draft, proto, name)
        elif domain == "com.microsoft" and name.startswith("Q"):
            _unknown(draft, proto)
        else:
            new.graph.node.append(proto)
    return new, draft.types


class _Draft:
    """A model under construction, the values of its initializers, and ONNX's numbers for the file's types."""

    def __init__(self, model: ModelProto, values: dict[str, np.ndarray], kinds: dict[str, int]) -> None:
        self.model, self.values, self.kinds = model, values, kinds
        self.types: dict[str, IntType] = {}
        used = [name for node in model.graph.node for name in (*node.input, *node.output)]
        self.taken = {*values, *used, *(part.name for part in model.graph.input)}

    def name(self, base: str) -> str:
        while base in self.taken:
            base += "_"
        self.taken.add(base)
        return base

    def constant(self, base: str, values: np.ndarray) -> str:
        name = self.name(base)
        self.values[name] = values
        self.model.graph.initializer.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, op: str, inputs: Sequence[str], output: str, name: str, **fields: Attribute) -> str:
        proto = helper.make_node(op, list(inputs), [output], name)
        proto.attribute.extend(helper.make_attribute(key, value) for key, value in fields.items())
        self.model.graph.node.append(proto)
        return output

    def dequantized(self, three: Three, **fields: Attribute) -> str:
        made = self.name(f"{three[0]}_real")
        return self.node("DequantizeLinear", three, made, self.name(f"{three[0]}_dequantize"), **fields)


def _fields(proto: NodeProto) -> dict[str, Attribute]:
    return dict(attributes(proto))


_FEW = {
    TensorProto.INT4: IntType(4),
    TensorProto.UINT4: IntType(4, signed=False),
    TensorProto.DataType.Value("INT2"): IntType(2),
    TensorProto.DataType.Value("UINT2"): IntType(2, signed=False),
}


def _narrow(draft: _Draft, proto: NodeProto, op: str) -> None:
    """The node in ONNX's own domain, its constants of few bits in 8: onnx had these types only lately."""
    held, scale, *zero = proto.input
    few = _FEW.get(draft.kinds.get(held, 0))
    if few is not None:
        zero = [draft.constant(f"{name}_wide", draft.values[name].astype(few.dtype)) for name in zero if name]
        held = draft.constant(f"{held}_wide", draft.values[held].astype(few.dtype))
        draft.types[proto.output[0]] = few
    draft.node(op, [held, scale, *zero], proto.output[0], proto.name, **_fields(proto))


def _clipped(draft: _Draft, name: str, ends: tuple[int, int], kind: np.dtype, where: str) -> str:
    bounds = [
        draft.constant(f"{name}_{word}", np.array(end, kind)) for word, end in zip(("low", "high"), ends, strict=True)
    ]
    return draft.node("Clip", [name, *bounds], draft.name(f"{name}_inside"), draft.name(f"{where or name}_clip"))


# ---- QOperator ----------------------------------------------------------------------------------------------------

_Parts = Callable[[list[str]], tuple[list[Three], tuple[str, str]]]


def _in_turn(inputs: list[str]) -> tuple[list[Three], tuple[str, str]]:
    """Operands by three, then the result's scale and zero point."""
    *operands, scale, zero = inputs[:5] if len(inputs) < 8 else inputs[:8]
    return [_three(operands, place) for place in range(0, len(operands) - 2, 3)], (scale, zero)


def _result_first(inputs: list[str]) -> tuple[list[Three], tuple[str, str]]:
    """The result's scale and zero point, then operands by three."""
    return [_three(inputs, place) for place in range(2, len(inputs), 3)], (inputs[0], inputs[1])


def _gemm(inputs: list[str]) -> tuple[list[Three], tuple[str, str]]:
    """a and b by three, the bias, and the result's scale and zero point."""
    scale, zero = [*inputs[7:9], "", ""][:2]
    return [_three(inputs, 0), _three(inputs, 3)], (scale, zero)


def _three(inputs: list[str], place: int) -> Three:
    a, b, c = inputs[place : place + 3]
    return a, b, c


_OPERATORS: dict[str, tuple[str, _Parts, int | None]] = {
    "QGemm": ("Gemm", _gemm, 6),
    "QLinearAdd": ("Add", _in_turn, None),
    "QLinearAveragePool": ("AveragePool", _in_turn, None),
    "QLinearConcat": ("Concat", _result_first, None),
    "QLinearConv": ("Conv", _in_turn, 8),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", _in_turn, None),
    "QLinearLeakyRelu": ("LeakyRelu", _in_turn, None),
    "QLinearMatMul": ("MatMul", _in_turn, None),
    "QLinearMul": ("Mul", _in_turn, None),
    "QLinearReduceMean": ("ReduceMean", _in_turn, None),
    "QLinearSigmoid": ("Sigmoid", _in_turn, None),
    "QLinearSoftmax": ("Softmax", _in_turn, None),
}
"""The float operator, where its operands and its result's affine stand, and where its bias."""


def _operator(draft: _Draft, proto: NodeProto, op: str, parts: _Parts, bias: int | None) -> None:
    fields, inputs, where = _fields(proto), list(proto.input), proto.name or proto.output[0]
    if fields.pop("channels_last", 0):
        raise IntsimError("has its channels last", where=where, mend="quantize before onnxruntime optimizes the file")
    fields.pop("opset", None)
    operands, (scale, zero) = parts(inputs)
    real = []
    for index, three in enumerate(operands):
        weight = index == 1 and op in ("Conv", "MatMul", "Gemm")
        real.append(draft.dequantized(three, **_axis(draft, op, three, fields) if weight else {}))
    if bias is not None and len(inputs) > bias and inputs[bias]:
        real.append(_bias(draft, inputs[bias], operands))
    if not scale:
        draft.node(op, real, proto.output[0], proto.name, **fields)
        return
    made = draft.node(op, real, draft.name(f"{proto.output[0]}_real"), proto.name, **fields)
    draft.node("QuantizeLinear", [made, scale, zero], proto.output[0], draft.name(f"{where}_quantize"))


def _axis(draft: _Draft, op: str, three: Three, fields: dict[str, Attribute]) -> dict[str, Attribute]:
    """Along which axis a weight has its scales, where it has several."""
    if three[1] not in draft.values or draft.values[three[1]].size < 2:
        return {}
    rows = op == "Conv" or (op == "Gemm" and bool(fields.get("transB", 0)))
    return {"axis": 0 if rows else draft.values[three[0]].ndim - 1}


def _bias(draft: _Draft, name: str, operands: list[Three]) -> str:
    """The bias in float, whose scale is that of the products."""
    scales = [draft.values.get(three[1]) for three in operands]
    if scales[0] is None or scales[1] is None:
        raise IntsimError("has no scale before the network runs", where=name)
    products = (scales[0].astype(np.float32) * scales[1].astype(np.float32)).astype(np.float32)
    own = draft.constant(f"{name}_scale", products if products.size > 1 else products.reshape(()))
    zero = draft.constant(f"{name}_zero", np.zeros_like(draft.values[own], np.int32))
    return draft.dequantized((name, own, zero), **({"axis": 0} if products.size > 1 else {}))


# ---- QONNX --------------------------------------------------------------------------------------------------------


def _quant(draft: _Draft, proto: NodeProto) -> None:
    """Quant(x, scale, zero point, bits): integers of any width up to 8, in 8 bits and clipped to their own."""
    fields, where = _fields(proto), proto.name or proto.output[0]
    values = [draft.values.get(name) for name in proto.input[1:4]]
    if any(value is None for value in values):
        raise IntsimError("computes its scale", where=where, mend="its scales must stand in the file")
    scale, zero, bits = (np.asarray(value) for value in values)
    signed, narrow = bool(fields.get("signed", 1)), bool(fields.get("narrow", 0))
    mode = str(fields.get("rounding_mode", "ROUND")).upper()
    if mode not in ("ROUND", "HALF_EVEN"):
        raise IntsimError(f"rounds {mode}", where=where, mend="round to the nearest: a chip's own rule comes later")
    width = int(bits.item()) if bits.size == 1 else 0
    if not 2 <= width <= 8 or width != bits.item():
        raise IntsimError(f"has {bits.ravel()[0]:g} bits", where=where, mend="2 to 8 are read")
    if zero.size not in (1, scale.size):
        raise IntsimError(f"{zero.size} zero points for {scale.size} scales", where=where)
    low = -(1 << width - 1) + narrow if signed else 0
    high = (1 << width - 1) - 1 if signed else (1 << width) - 1 - narrow
    kind = np.int8 if signed else np.uint8
    axes = [axis for axis, size in enumerate(scale.shape) if size > 1]
    if len(axes) > 1:
        raise IntsimError("has scales along several axes", where=where)
    shape: tuple[int, ...] = (scale.size,) if axes else ()
    along: dict[str, Attribute] = {"axis": axes[0]} if axes else {}
    if not (np.rint(zero) == zero).all() or not (low <= zero.min() and zero.max() <= high):
        raise IntsimError("has a zero point that none of its integers is", where=where)
    own = draft.constant(f"{where}_scale", scale.astype(np.float32).reshape(shape))
    middle = draft.constant(f"{where}_zero", np.broadcast_to(zero.ravel(), scale.size).astype(kind).reshape(shape))
    made = draft.node(
        "QuantizeLinear", [proto.input[0], own, middle], draft.name(f"{where}_integers"), f"{where}_q", **along
    )
    if (low, high) != (np.iinfo(kind).min, np.iinfo(kind).max):
        made = _clipped(draft, made, (low, high), np.dtype(kind), where)
    draft.node("DequantizeLinear", [made, own, middle], proto.output[0], f"{where}_dq", **along)


def _unknown(draft: _Draft, proto: NodeProto) -> None:
    raise IntsimError(f"{operator(proto)} is not read yet", where=proto.name or proto.output[0])


_SAID: dict[str, Callable[[_Draft, NodeProto], None]] = {"Quant": _quant, "IntQuant": _quant}
