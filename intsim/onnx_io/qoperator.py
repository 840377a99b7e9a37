"""A QuantizedGraph as QOperator: onnxruntime's integer operators in 8-bit containers; how it is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import numpy as np
from onnx import ModelProto, TensorProto

from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.graph import Attribute, Node
from intsim.integers import Affine, IntType
from intsim.onnx_io import spelling
from intsim.onnx_io.draft import Draft, affine_tensors, element, word
from intsim.onnx_io.spelling import ints, number
from intsim.quantized import QuantizedGraph
from intsim.quantized import quantized as integers_of

DIALECT = "qoperator"
_OPSET = 13
ISLAND = "island"  # the doc_string of what stands around an operator on floats

# Operators that make integers of a new affine: their name here, and in ONNX.
MAKE = {
    "Add": "com.microsoft.QLinearAdd",
    "AveragePool": "com.microsoft.QLinearAveragePool",
    "Concat": "com.microsoft.QLinearConcat",
    "Conv": "QLinearConv",
    "Gemm": "com.microsoft.QGemm",
    "GlobalAveragePool": "com.microsoft.QLinearGlobalAveragePool",
    "LeakyRelu": "com.microsoft.QLinearLeakyRelu",
    "MatMul": "QLinearMatMul",
    "Mul": "com.microsoft.QLinearMul",
    "Sigmoid": "com.microsoft.QLinearSigmoid",
    "Softmax": "com.microsoft.QLinearSoftmax",
}

ISLANDS = ("HardSwish", "PRelu", "Requantize", "Sub", "Tanh")
"""Operators without an integer kernel: dequantized, computed on floats, quantized, which is what onnxruntime runs."""

LACKS = ("ConvTranspose", "Elu", "Gelu", "HardSigmoid", "Mish", "Rsqrt", "Softplus")
"""Operators without an integer kernel whose floats are not known bit for bit: the order of sums, a library's exp."""

_OPSETS = {"HardSwish": 14, "Resize": 18}


def write_qoperator(quantized: QuantizedGraph, path: str | Path, *, io: Literal["float", "integer"] = "float") -> None:
    """Writes the quantized network with integer operators; `read_quantized` gives back an equal one.

    `io`: "float" takes and gives what the float network does, "integer" the integers themselves, their scales as
    quantization annotations. Raises IntsimError for what this format lacks: more than 8 bits, activations of both
    signs in one operator, a dilated average; or where `path` is not writable.
    """
    write_atomically(path, qoperator_model(quantized, io=io).SerializeToString(deterministic=True))


def qoperator_model(quantized: QuantizedGraph, *, io: Literal["float", "integer"] = "float") -> ModelProto:
    """The QOperator model. Integers have the network's names; those of a float input or output T are T:quantized."""
    graph, affines, draft = quantized.graph, quantized.affines, Draft()
    own = {
        name: f"{name}:quantized" if io == "float" and name in (*graph.inputs, *graph.outputs) else name
        for name in (*spelling.shapes_of(quantized), *graph.constants)
    }
    held = {name: _container(quantized, name) for name in own}
    for name, values in graph.constants.items():
        draft.tensor(name, values, held[name])
    for name in graph.inputs if io == "float" else ():
        result = _unbounded(name, affines[name], held[name], own[name])
        draft.node("QuantizeLinear", [name, *_numbers(draft, quantized, name)], result, f"{name}:quantize")
        _bound(draft, name, affines[name], held[name], own[name])
    for node in graph.nodes:
        _spell(draft, quantized, node, own, held)
    for name in graph.outputs if io == "float" else ():
        inputs = [own[name], *_numbers(draft, quantized, name)]
        draft.node("DequantizeLinear", inputs, name, f"{name}:dequantize")
    return _model(draft, quantized, own, held, io)


def _container(quantized: QuantizedGraph, name: str) -> IntType:
    type_ = quantized.affines[name].type
    bias = any(name in node.inputs[2:] for node in quantized.graph.nodes if node.op in ("Conv", "Gemm"))
    if bias:
        return word(quantized.graph.constants[name], name)
    if type_.bits > 8:
        raise IntsimError(f"is {type_}, and this format holds 8 bits", where=name, mend="write QDQ instead")
    return IntType(8, type_.signed)


def _numbers(draft: Draft, quantized: QuantizedGraph, name: str) -> tuple[str, str]:
    return affine_tensors(draft, name, quantized.affines[name], _container(quantized, name))


def _unbounded(name: str, of: Affine, held: IntType, own: str) -> str:
    """What an operator's result is called before it is clipped to a range narrower than its container."""
    return own if (of.type.low, of.type.high) == (held.low, held.high) else f"{name}:wide"


def _bound(draft: Draft, name: str, of: Affine, held: IntType, own: str) -> None:
    source = _unbounded(name, of, held, own)
    if source != own:
        bounds = [draft.tensor(f"{name}:{k}", v, held) for k, v in (("low", of.type.low), ("high", of.type.high))]
        draft.node("Clip", [source, *bounds], own, f"{name}:range", note=spelling.RANGE)


def _spell(
    draft: Draft, quantized: QuantizedGraph, node: Node, own: Mapping[str, str], held: Mapping[str, IntType]
) -> None:
    (output,) = node.outputs
    of, constants = quantized.affines, quantized.graph.constants
    where = f"{node.name} ({node.op})"
    read = [name for name in node.inputs if name and name not in constants]
    if node.op in ISLANDS:
        _spell_island(draft, quantized, node, own, held)
        return
    read += [name for name in node.inputs if name in constants and node.op in ("Max", "Min", "Mul")]
    if {held[name].signed for name in read} != {held[output].signed}:
        kinds = ", ".join(f"{name} {of[name].type}" for name in (*read, output))
        raise IntsimError(f"mixes signs: {kinds}", where=where, mend="quantize activations with one sign")
    if held[output].signed and node.op in ("Conv", "Gemm") and not held[node.inputs[1]].signed:
        raise IntsimError(
            "has signed activations and unsigned weights", where=where, mend="quantize weights signed: --weights s8"
        )
    if node.op in LACKS:
        raise IntsimError("is no integer operator of onnxruntime", where=where, mend="write QDQ instead")
    if node.op not in MAKE:
        if any(of[name] != of[output] for name in read):
            raise IntsimError("keeps its integers, but its affines differ", where=where, mend="let them share")
        if node.op == "Resize" and node.attributes["mode"] != "nearest" and len(quantized.graph.shapes[output]) != 3:
            raise IntsimError("interpolates along other axes than two", where=where, mend="write QDQ instead")
        _spell_kept(draft, quantized, node, own, held[output])
        return
    spelling.check_factors(node)
    operands = [[own[name], *_numbers(draft, quantized, name)] for name in node.inputs[:2] if name]
    result = list(_numbers(draft, quantized, output))
    fields: dict[str, Attribute] = {}
    match node.op:
        case "Concat":
            operands = [[own[name], *_numbers(draft, quantized, name)] for name in node.inputs]
            inputs, fields = [result, *operands], {"axis": node.attributes["axis"]}
        case "Conv":
            keys = ("kernel_shape", "strides", "pads", "dilations", "group")
            inputs = [*operands, result, list(node.inputs[2:])]
            fields = {k: node.attributes[k] for k in keys}
        case "Gemm":
            inputs, fields = [*operands, list(node.inputs[2:]) or [""], result], {"transB": 1}
        case "AveragePool":
            if set(ints(node.attributes["dilations"])) != {1}:
                raise IntsimError("is dilated", where=where, mend="write QDQ instead")
            inputs = [*operands, result]
            fields = {k: node.attributes[k] for k in ("kernel_shape", "strides", "pads", "count_include_pad")}
        case "LeakyRelu":
            inputs, fields = [*operands, result], {"alpha": node.attributes["alpha"]}
        case "Softmax":
            inputs, fields = [*operands, result], {"axis": node.attributes["axis"], "opset": 13}
        case _:
            inputs = [*operands, result]
    wide = _unbounded(output, of[output], held[output], own[output])
    draft.node(MAKE[node.op], [name for part in inputs for name in part], wide, node.name, fields)
    _bound(draft, output, of[output], held[output], own[output])


def _spell_kept(draft: Draft, quantized: QuantizedGraph, node: Node, own: Mapping[str, str], held: IntType) -> None:
    """An operator that moves, picks or clips integers. What its floats were stands in its doc_string."""
    (source, *rest), (output,) = node.inputs, node.outputs
    of = quantized.affines[output]
    floats: tuple[float, ...] = ()
    if node.op in ("Relu", "Clip"):
        floats = _bounds(node)
        bounds = [
            draft.tensor(f"{node.name}:{key}", end if np.isinf(v) else integers_of(np.float32(v), of), held)
            for key, v, end in zip(("low", "high"), floats, (of.type.low, of.type.high), strict=True)
        ]
        proto = draft.node("Clip", [own[source], *bounds], own[output], node.name)
    elif node.op == "Pad":
        floats = (number(node.attributes["value"]),)
        integer = integers_of(np.float32(floats[0]), of)
        moved = Node(
            name=node.name,
            op="Pad",
            inputs=node.inputs,
            outputs=node.outputs,
            attributes=node.attributes | {"value": int(integer)},
        )
        proto = spelling.spell(draft, moved, [own[source]], own[output], quantized.graph.shapes[output], held)
    else:
        inputs = [own[name] for name in (source, *rest)]
        proto = spelling.spell(draft, node, inputs, own[output], quantized.graph.shapes[output])
    if floats:
        proto.doc_string = " ".join([node.op, *map(repr, floats)])


def _spell_island(
    draft: Draft, quantized: QuantizedGraph, node: Node, own: Mapping[str, str], held: Mapping[str, IntType]
) -> None:
    """The operator on floats, between quantizations that have the note ISLAND."""
    (output,) = node.outputs
    real, result = [], f"{node.name}:float"
    for index, name in enumerate(node.inputs):
        inputs, floats = [own[name], *_numbers(draft, quantized, name)], f"{node.name}:float_{index}"
        axis = quantized.affines[name].axis
        fields: dict[str, Attribute] = {} if axis is None else {"axis": axis}
        draft.node("DequantizeLinear", inputs, floats, f"{floats}:dequantize", fields, note=ISLAND)
        real.append(floats)
    spelling.spell(draft, node, real, result, quantized.graph.shapes[output])
    wide = _unbounded(output, quantized.affines[output], held[output], own[output])
    inputs = [result, *_numbers(draft, quantized, output)]
    draft.node("QuantizeLinear", inputs, wide, f"{output}:quantize", note=ISLAND)
    _bound(draft, output, quantized.affines[output], held[output], own[output])


def _bounds(node: Node) -> tuple[float, float]:
    low, high = (0.0, np.inf) if node.op == "Relu" else (node.attributes["min"], node.attributes["max"])
    return number(low), number(high)


def _model(
    draft: Draft, quantized: QuantizedGraph, own: Mapping[str, str], held: Mapping[str, IntType], io: str
) -> ModelProto:
    graph, shapes = quantized.graph, spelling.shapes_of(quantized)
    doors = (*graph.inputs, *graph.outputs)
    kinds = {name: TensorProto.FLOAT if io == "float" else element(held[name]) for name in doors}
    inner = [
        spelling.value(own[name], element(held[name]), shape)
        for name, shape in shapes.items()
        if io == "float" or name not in doors
    ]
    ends = (
        [spelling.value(name, kinds[name], shapes[name]) for name in side] for side in (graph.inputs, graph.outputs)
    )
    inputs, outputs = ends
    version = max([_OPSET, *(_OPSETS.get(node.op, _OPSET) for node in graph.nodes)])
    proto = spelling.model(draft, quantized, DIALECT, version, (inputs, outputs, inner))
    for name in doors if io == "integer" else ():
        scale, zero = _numbers(draft, quantized, name)
        known = {part.name for part in proto.graph.initializer}
        proto.graph.initializer.extend(draft.initializers[part] for part in (scale, zero) if part not in known)
        annotation = proto.graph.quantization_annotation.add(tensor_name=name)
        for key, value in (("SCALE_TENSOR", scale), ("ZERO_POINT_TENSOR", zero)):
            annotation.quant_parameter_tensor_names.add(key=key, value=value)
    return proto
