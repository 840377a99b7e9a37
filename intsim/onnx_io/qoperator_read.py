"""A QuantizedGraph as QOperator: how it is read."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto

from intsim.graph import Graph, Node
from intsim.integers import Affine, IntType, affine
from intsim.onnx_io import spelling
from intsim.onnx_io.draft import affine_of
from intsim.onnx_io.qoperator import ISLAND, MAKE
from intsim.quantized import QuantizedGraph

_MADE = {name.rpartition(".")[2]: op for op, name in MAKE.items()}

# Where an operator's inputs hold its operands, and where its result's scale and zero point.
_PLACES: dict[str, tuple[slice | tuple[int, ...], tuple[int, int]]] = {
    "Add": ((0, 3), (6, 7)),
    "AveragePool": ((0,), (3, 4)),
    "Concat": (slice(2, None, 3), (0, 1)),
    "Conv": ((0, 3, 8), (6, 7)),
    "Gemm": ((0, 3, 6), (7, 8)),
    "GlobalAveragePool": ((0,), (3, 4)),
    "LeakyRelu": ((0,), (3, 4)),
    "MatMul": ((0, 3), (6, 7)),
    "Mul": ((0, 3), (6, 7)),
    "Sigmoid": ((0,), (3, 4)),
    "Softmax": ((0,), (3, 4)),
}


def quantized_of(model: ModelProto, folder: Path) -> QuantizedGraph:
    """The network of a model that `qoperator_model` made. KeyError or ValueError where it was changed since."""
    known, values = spelling.metadata(model), spelling.arrays(model, folder)
    names, islands = _names(model), _islands(model)
    affines = _door_affines(model, values, known.types)
    constants: dict[str, np.ndarray] = {}
    nodes: list[Node] = []
    for proto in model.graph.node:
        if proto.op_type in ("QuantizeLinear", "DequantizeLinear") or proto.doc_string == spelling.RANGE:
            continue
        op, operands, numbers = _operator(proto)
        made = proto.output[0]
        if made in islands:
            inside = [islands[name] for name in proto.input if name in islands]
            operands, (made, *numbers) = [name for name, *_ in inside], islands[made]
            for name, *of in inside:
                if name in values:
                    _constant(name, of, values, known.types, affines, constants)
        output = names.get(made, made)
        inputs = [names.get(name, name) for name in operands]
        node = spelling.unspell(proto, op, inputs, output, values)
        if op in ("Relu", "Clip", "Pad"):
            node = _with_floats(node, proto.doc_string)
        nodes.append(node)
        if not numbers:
            affines[output] = next(affines[name] for name in inputs if name in affines)
            for name in inputs:
                if name in values:
                    affines[name], constants[name] = affines[output], values[name].astype(known.types[name].dtype)
            continue
        scale, zero = (values[name] for name in numbers)
        affines[output] = affine_of(scale, zero, known.types[output], None)
        if op in ("Conv", "Gemm"):
            _constants(proto, inputs, values, known.types, affines, constants)
        elif op == "Mul":
            for place in (0, 3):
                if proto.input[place] in values:
                    of = proto.input[place + 1 : place + 3]
                    _constant(proto.input[place], of, values, known.types, affines, constants)
    shapes = {names.get(name, name): shape for name, shape in spelling.shapes(model).items()}
    return QuantizedGraph(
        graph=Graph(
            name=model.graph.name,
            inputs=tuple(part.name for part in model.graph.input),
            outputs=tuple(part.name for part in model.graph.output),
            nodes=tuple(nodes),
            constants=constants,
            shapes=shapes,
            pixels=known.pixels,
        ),
        affines=affines,
    )


def _operator(proto: NodeProto) -> tuple[str, list[str], list[str]]:
    """The operator's name in a Graph, its operands, and the initializers of its result's affine if it makes one."""
    if proto.op_type not in _MADE:
        operands = list(proto.input) if proto.op_type in ("Max", "Min") else [proto.input[0]]
        return proto.doc_string.partition(" ")[0] or proto.op_type, operands, []
    op = _MADE[proto.op_type]
    places, (scale, zero) = _PLACES[op]
    found = (
        list(proto.input[places])
        if isinstance(places, slice)
        else [proto.input[place] for place in places if place < len(proto.input)]
    )
    return op, [name for name in found if name], [proto.input[scale], proto.input[zero]]


def _islands(model: ModelProto) -> dict[str, list[str]]:
    """By float tensor, the integers that it comes from or goes to, their scale and zero point."""
    found = {}
    for proto in model.graph.node:
        if proto.doc_string == ISLAND:
            outward = proto.op_type == "DequantizeLinear"
            inside, outside = (proto.output[0], proto.input[0]) if outward else (proto.input[0], proto.output[0])
            found[inside] = [outside, *proto.input[1:3]]
    return found


def _names(model: ModelProto) -> dict[str, str]:
    """What integer tensors that have another name in the file are called in the Graph."""
    names: dict[str, str] = {}
    for proto in model.graph.node:
        if proto.doc_string == ISLAND:
            continue
        if proto.op_type == "QuantizeLinear" or (proto.doc_string == spelling.RANGE and proto.input[0] in names):
            names[proto.output[0]] = names.get(proto.input[0], proto.input[0])
        elif proto.op_type == "DequantizeLinear" or proto.doc_string == spelling.RANGE:
            names[proto.input[0]] = proto.output[0]
    return {name: names.get(called, called) for name, called in names.items()}


def _door_affines(
    model: ModelProto, values: Mapping[str, np.ndarray], types: Mapping[str, IntType]
) -> dict[str, Affine]:
    """The affines of the inputs: from their QuantizeLinear, or from their annotations."""
    made = [p for p in model.graph.node if p.op_type == "QuantizeLinear" and p.doc_string != ISLAND]
    numbers = {p.input[0]: (p.input[1], p.input[2]) for p in made}
    for annotation in model.graph.quantization_annotation:
        entries = {entry.key: entry.value for entry in annotation.quant_parameter_tensor_names}
        numbers[annotation.tensor_name] = (entries["SCALE_TENSOR"], entries["ZERO_POINT_TENSOR"])
    names = [part.name for part in model.graph.input]
    return {n: affine_of(values[numbers[n][0]], values[numbers[n][1]], types[n], None) for n in names}


def _constants(
    proto: NodeProto,
    inputs: list[str],
    values: Mapping[str, np.ndarray],
    types: Mapping[str, IntType],
    affines: dict[str, Affine],
    constants: dict[str, np.ndarray],
) -> None:
    """The weights and the bias, whose scale is that of the products."""
    x, weight, *bias = inputs
    _constant(weight, proto.input[4:6], values, types, affines, constants, axis=0)
    for name in bias:
        scale = np.float32(affines[x].scale[0]) * np.array(affines[weight].scale, np.float32)
        affines[name] = affine(scale, 0, types[name], affines[weight].axis)
        constants[name] = values[name].astype(types[name].dtype)


def _constant(
    name: str,
    of: Sequence[str],
    values: Mapping[str, np.ndarray],
    types: Mapping[str, IntType],
    affines: dict[str, Affine],
    constants: dict[str, np.ndarray],
    axis: int | None = None,
) -> None:
    """A constant operand, and its affine from the initializers `of`, one a channel where there is an `axis`."""
    affines[name] = affine_of(values[of[0]], values[of[1]], types[name], axis)
    constants[name] = values[name].astype(types[name].dtype)


def _with_floats(node: Node, text: str) -> Node:
    """The node with the floats that its doc_string kept."""
    floats = tuple(map(float, text.split()[1:]))
    fields = node.attributes
    if node.op == "Clip":
        fields = dict(zip(("min", "max"), floats, strict=True))
    elif node.op == "Pad":
        fields = fields | {"value": floats[0]}
    return Node(name=node.name, op=node.op, inputs=node.inputs, outputs=node.outputs, attributes=fields)
