"""A QuantizedGraph as QDQ: float operators between DequantizeLinear and QuantizeLinear; written and read."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto

from intsim.files import write_atomically
from intsim.graph import Attribute, Graph, Node
from intsim.integers import Affine, IntType
from intsim.onnx_io import draft as drafts
from intsim.onnx_io import spelling
from intsim.onnx_io.draft import Draft, Reader, affine_of, affine_tensors, container
from intsim.onnx_io.protobuf import attributes
from intsim.quantized import QuantizedGraph

DIALECT = "qdq"


def write_qdq(quantized: QuantizedGraph, path: str | Path, *, reader: Reader = "onnxruntime") -> None:
    """Writes the quantized network as QDQ; `read_quantized` gives back an equal one.

    The opset is the lowest that has all its integer types. A type that ONNX lacks, or that `reader` cannot read, lies
    in the next wider one with a Clip to its range. Raises IntsimError for more than 16 bits (32 for constants), or
    where `path` is not writable.
    """
    write_atomically(path, qdq_model(quantized, reader=reader).SerializeToString(deterministic=True))


def qdq_model(quantized: QuantizedGraph, *, reader: Reader = "onnxruntime") -> ModelProto:
    """The QDQ model. Float tensors have the network's names; the integers of tensor T are called T:quantized."""
    graph, affines = quantized.graph, quantized.affines
    held = {
        name: container(affine.type, name, constant=graph.constants.get(name), reader=reader)
        for name, affine in affines.items()
        if name in graph.constants or name in graph.shapes
    }
    draft, real = Draft(), {}
    for name in graph.inputs:
        real[name] = _through(draft, name, f"{name}:dequantized", name, affines[name], held[name])
    for name, values in graph.constants.items():
        real[name] = f"{name}:dequantized"
        _dequantize(draft, draft.tensor(name, values, held[name]), real[name], name, affines[name], held[name])
    for node in graph.nodes:
        (output,) = node.outputs
        inputs = [real.get(name, name) for name in node.inputs]
        spelling.spell(draft, node, inputs, f"{output}:float", graph.shapes[output])
        _through(draft, f"{output}:float", output, output, affines[output], held[output])
    shapes = spelling.shapes_of(quantized)
    declared = {name: spelling.value(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()}
    inner = [value for name, value in declared.items() if name not in (*graph.inputs, *graph.outputs)]
    version = drafts.opset([held[name] for name in (*shapes, *graph.constants)])
    if any("dilations" in {a.name for a in node.attribute} for node in draft.nodes if node.op_type == "AveragePool"):
        version = max(version, 19)
    if any(node.op == "HardSwish" for node in graph.nodes):
        version = max(version, 14)
    if any(node.op in ("Gelu", "Mish") for node in graph.nodes):
        version = max(version, 20)
    if any(node.op == "Resize" for node in graph.nodes):  # sizes of some axes only
        version = max(version, 18)
    return spelling.model(
        draft,
        quantized,
        DIALECT,
        version,
        ([declared[n] for n in graph.inputs], [declared[n] for n in graph.outputs], inner),
    )


def _through(draft: Draft, source: str, result: str, name: str, affine: Affine, held: IntType) -> str:
    """Quantize and dequantize, with a Clip to the type's range where its container is wider."""
    narrow = (affine.type.low, affine.type.high) != (held.low, held.high)
    if narrow and held.bits > 8:  # onnxruntime has no Clip of 16-bit integers, so the floats are clipped
        scale, zero = np.float32(affine.scale[0]), affine.zero
        bounds = [scale * np.float32(bound - zero) for bound in (affine.type.low, affine.type.high)]
        source = _narrow(draft, source, f"{name}:inside", name, bounds, None)
    scale_zero = affine_tensors(draft, name, affine, held)
    integers = f"{name}:quantized"
    draft.node("QuantizeLinear", [source, *scale_zero], integers, f"{name}:quantize")
    if narrow and held.bits == 8:
        integers = _narrow(draft, integers, f"{name}:narrow", name, [affine.type.low, affine.type.high], held)
    _dequantize(draft, integers, result, name, affine, held)
    return result


def _narrow(
    draft: Draft, source: str, result: str, name: str, bounds: list[np.float32] | list[int], held: IntType | None
) -> str:
    low, high = (draft.tensor(f"{name}:{k}", v, held) for k, v in zip(("low", "high"), bounds, strict=True))
    draft.node("Clip", [source, low, high], result, f"{name}:range", note=spelling.RANGE)
    return result


def _dequantize(draft: Draft, integers: str, result: str, name: str, affine: Affine, held: IntType) -> None:
    scale, zero = affine_tensors(draft, name, affine, held)
    fields: dict[str, Attribute] = {} if affine.axis is None else {"axis": affine.axis}
    draft.node("DequantizeLinear", [integers, scale, zero], result, f"{name}:dequantize", fields)


# ---- reading -------------------------------------------------------------------------------------------------


def quantized_of(model: ModelProto, folder: Path) -> QuantizedGraph:
    """The network of a model that `qdq_model` made. KeyError or ValueError where the model was changed since."""
    known, values = spelling.metadata(model), spelling.arrays(model, folder)
    inputs = tuple(part.name for part in model.graph.input)
    last = _last(model)
    names = {last(name): name for name in inputs}  # what a dequantized tensor is called in the Graph
    affines: dict[str, Affine] = {}
    constants: dict[str, np.ndarray] = {}
    nodes: list[Node] = []
    for proto in model.graph.node:
        if proto.op_type == "DequantizeLinear":
            source, result = proto.input[0], proto.output[0]
            name = names.setdefault(result, source if source in values else result)
            affines[name] = _affine(proto, values, known.types[name])
            if source in values:
                constants[name] = values[source].astype(known.types[name].dtype)
        elif not _is_quantization(proto):
            data = [names[name] for name in proto.input if name in names]
            nodes.append(spelling.unspell(proto, proto.op_type, data, last(proto.output[0]), values))
    return QuantizedGraph(
        graph=Graph(
            name=model.graph.name,
            inputs=inputs,
            outputs=tuple(part.name for part in model.graph.output),
            nodes=tuple(nodes),
            constants=constants,
            shapes=spelling.shapes(model),
            pixels=known.pixels,
        ),
        affines=affines,
    )


def _is_quantization(proto: NodeProto) -> bool:
    return proto.op_type in ("QuantizeLinear", "DequantizeLinear") or proto.doc_string == spelling.RANGE


def _last(model: ModelProto) -> Callable[[str], str]:
    """What a float tensor is called after it was quantized and dequantized."""
    follows = {proto.input[0]: proto.output[0] for proto in model.graph.node if _is_quantization(proto)}

    def last(name: str) -> str:
        while name in follows:
            name = follows[name]
        return name

    return last


def _affine(proto: NodeProto, values: Mapping[str, np.ndarray], type_: IntType) -> Affine:
    axis = attributes(proto).get("axis")
    scale, zero = (values[name] for name in proto.input[1:3])
    return affine_of(scale, zero, type_, axis if isinstance(axis, int) else None)
