"""A float ONNX file becomes a Graph: constants computed, the batch taken out, every shape known."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, TypeProto

from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Pixels, Shape
from intsim.onnx_io.batch import REPEATS, batch_first, repeated, sized
from intsim.onnx_io.order import named, ordered
from intsim.onnx_io.protobuf import attributes, defaults, inlined, operator, opsets, parse, reads, tensor
from intsim.onnx_io.shapes import Walk, checked, walk

# Two sizes that no dimension of a network has by chance: what differs between a walk at one and a walk at the other
# depends on the batch, and nothing else does.
_BATCHES = (5749, 7853)
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE)


def read(path: Path | str) -> Graph:
    """The Graph of the ONNX file, with ONNX's operators and the file's own names for tensors.

    Attributes that the file leaves out and ONNX has a default for are there with that default.
    Constants are computed (Constant nodes, what only shapes decide), the first axis of every input is the batch and
    stands in no shape, and a Reshape that keeps the batch in front has the target (-1, rest). Operators outside
    ONNX's own domain are called `domain.Operator`. An operator that is not known, or that moves the batch away from
    the front, leaves the tensors after it without a shape: `normalise.unsupported` lists them all.

    Raises IntsimError for a file that is damaged, unsafe, or has a dynamic rank or dimension besides the batch.
    """
    path = Path(path)
    return graph_of(parse(path), path.parent, name=path.name)


def graph_of(model: ModelProto, folder: Path, *, name: str = "model") -> Graph:
    """The Graph of a parsed model whose external data lies in `folder`; `name` is said in errors."""
    model = inlined(model)
    versions = opsets(model)
    nodes = named(model.graph.node)
    constants = _initializers(model, folder, name)
    nodes, constants = _constant_nodes(nodes, constants, folder)
    inputs = _inputs(model, constants)
    nodes = ordered(nodes, {*constants, *inputs})
    checked(nodes, versions)
    own_batch = _own_batch(inputs)
    walks = [
        walk(nodes, constants, inputs, versions, batch=batch, own_batch=own_batch)
        for batch in ((own_batch,) if own_batch else ()) + _BATCHES
    ]
    return _assemble(model, nodes, inputs, walks[-2], walks[-1])


def _initializers(model: ModelProto, folder: Path, where: str) -> dict[str, np.ndarray]:
    if model.graph.sparse_initializer:
        raise IntsimError("has sparse weights", where=where, mend="store them as plain tensors")
    constants: dict[str, np.ndarray] = {}
    for proto in model.graph.initializer:
        if not proto.name or proto.name in constants:
            raise IntsimError(f'has two weights called "{proto.name}", or one without a name', where=where)
        constants[proto.name] = tensor(proto, folder)
    return constants


def _constant_nodes(
    nodes: list[NodeProto], constants: dict[str, np.ndarray], folder: Path
) -> tuple[list[NodeProto], dict[str, np.ndarray]]:
    """The nodes without the Constant ones, whose values join the constants."""
    rest, values = [], dict(constants)
    for node in nodes:
        if operator(node) != "Constant":
            for a in node.attribute:
                for proto in (a.t, *a.tensors):
                    if proto.data_location == TensorProto.EXTERNAL:
                        raise IntsimError(f'its attribute "{a.name}" lies in another file', where=node.name)
            rest.append(node)
            continue
        if len(node.attribute) != 1 or len(node.output) != 1 or node.output[0] in values:
            raise IntsimError("is no valid Constant, or its name is taken", where=node.name)
        a = node.attribute[0]
        if a.name == "value":
            values[node.output[0]] = tensor(a.t, folder, node.name)
        elif a.name in ("value_float", "value_floats"):
            values[node.output[0]] = np.asarray(a.f if a.name == "value_float" else a.floats, np.float32)
        elif a.name in ("value_int", "value_ints"):
            values[node.output[0]] = np.asarray(a.i if a.name == "value_int" else a.ints, np.int64)
        else:
            raise IntsimError(f'holds a "{a.name}", which is no tensor of numbers', where=node.name)
    return rest, values


def _inputs(model: ModelProto, constants: dict[str, np.ndarray]) -> dict[str, TypeProto]:
    """The types of the inputs that a user feeds: known rank, every dimension but the batch fixed."""
    found: dict[str, TypeProto] = {}
    for value in model.graph.input:
        where = f'input "{value.name}"'
        if value.name in constants:
            continue
        if value.name in found or not value.name:
            raise IntsimError("stands twice, or has no name", where=where)
        if not value.type.HasField("tensor_type"):
            raise IntsimError("is no tensor", where=where)
        if value.type.tensor_type.elem_type not in (*_FLOATS, TensorProto.UINT8):
            kind = value.type.tensor_type.elem_type
            text = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else str(kind)
            raise IntsimError(f"takes {text}", where=where, mend="export it for float32 or uint8 images")
        dims = value.type.tensor_type.shape.dim
        if not value.type.tensor_type.HasField("shape") or not dims:
            raise IntsimError("has a dynamic rank, or none", where=where, mend="export it with a fixed shape")
        for axis, dim in enumerate(dims[1:], start=1):
            if not dim.HasField("dim_value") or dim.dim_value < 1:
                called = f'"{dim.dim_param}" (axis {axis})' if dim.dim_param else f"axis {axis}"
                raise IntsimError(
                    f"the dimension {called} is dynamic", where=where, mend="only the batch may be: fix the others"
                )
        found[value.name] = value.type
    if not found:
        raise IntsimError("the network has no input")
    return found


def _own_batch(inputs: dict[str, TypeProto]) -> int | None:
    """The batch that a static file was exported with; None where any input leaves it open."""
    first = [type_.tensor_type.shape.dim[0] for type_ in inputs.values()]
    sizes = {dim.dim_value for dim in first if dim.HasField("dim_value")}
    if len(sizes) > 1 or any(size < 1 for size in sizes):
        raise IntsimError(
            f"the first axes of the inputs are {sorted(sizes)}", mend="they are the batch, and must be one number"
        )
    return sizes.pop() if len(sizes) == 1 and all(dim.HasField("dim_value") for dim in first) else None


def _assemble(
    model: ModelProto, nodes: Sequence[NodeProto], inputs: dict[str, TypeProto], one: Walk, other: Walk
) -> Graph:
    """The Graph of what two walks at different batches agree on."""
    versions = opsets(model)
    constants = {n: a for n, a in one.constants.items() if n in other.constants and _same(a, other.constants[n])}
    constants |= _repeated(nodes, constants, one, other)
    shapes = _shapes(one, other)
    outputs = tuple(dict.fromkeys(value.name for value in model.graph.output))
    for output in outputs:
        if output in constants or not any(output in node.output for node in nodes):
            raise IntsimError("does not depend on any image", where=f'output "{output}"')
    made: list[Node] = []
    needed = set(outputs)
    for proto in reversed(nodes):
        results = _results(proto, needed, constants)
        if not results:
            continue
        node = Node(
            name=proto.name,
            op=operator(proto),
            inputs=_operands(proto),
            outputs=results,
            attributes={**defaults(proto, versions), **attributes(proto)},
        )
        if node.op == "Reshape" and results[0] in shapes and node.inputs[0] in shapes:
            target = f"{node.name}_target"
            while target in constants or target in shapes or target in one.types:
                target += "_"
            constants[target] = np.array([-1, *shapes[results[0]]], np.int64)
            node = Node(name=node.name, op=node.op, inputs=(node.inputs[0], target), outputs=results)
        made.append(node)
        needed.update(name for name in node.inputs if name not in constants)
    made = batch_first(made[::-1], shapes, constants, _sizes(one, other, shapes), outputs)
    used = {name for node in made for name in node.inputs}
    live = {*inputs, *(name for node in made for name in node.outputs)}
    return Graph(
        name=model.graph.name or "model",
        inputs=tuple(inputs),
        outputs=outputs,
        nodes=tuple(made),
        constants={name: _single(array) for name, array in constants.items() if name in used},
        shapes={name: shape for name, shape in shapes.items() if name in live},
        pixels={n: Pixels(divisor=1.0) for n, t in inputs.items() if t.tensor_type.elem_type == TensorProto.UINT8},
    )


def _operands(proto: NodeProto) -> tuple[str, ...]:
    """What the node reads, by position, and then what graphs inside it take from outside; no empty ones at the end."""
    names = [*proto.input, *(name for name in dict.fromkeys(reads(proto)) if name not in proto.input)]
    while names and not names[-1]:
        names.pop()
    return tuple(names)


def _results(proto: NodeProto, needed: set[str], constants: dict[str, np.ndarray]) -> tuple[str, ...]:
    """The node's outputs up to the last that is needed; none where nothing needs it."""
    wanted = [index for index, name in enumerate(proto.output) if name in needed and name not in constants]
    names = proto.output[: wanted[-1] + 1] if wanted else ()
    return tuple(name or f"{proto.name}_output_{index}" for index, name in enumerate(names))


def _shapes(one: Walk, other: Walk) -> dict[str, Shape]:
    """The per-sample shapes of the tensors whose first axis, and no other, is the batch."""
    shapes: dict[str, Shape] = {}
    for name in one.types:
        a, b = one.shape(name), other.shape(name)
        if a and b and (a[0], b[0]) == _BATCHES and a[1:] == b[1:] and all(a[1:]):
            shapes[name] = a[1:]
    return shapes


def _sizes(one: Walk, other: Walk, shapes: dict[str, Shape]) -> dict[str, tuple[Shape, int, int]]:
    """Where the batch is in every tensor that has it in one axis."""
    found = {name: ((0, *shape), 0, 1) for name, shape in shapes.items()}
    for name in one.types:
        a, b = one.shape(name), other.shape(name)
        if name not in found and a and b and (size := sized(a, b, _BATCHES)) is not None:
            found[name] = size
    return found


def _repeated(
    nodes: Sequence[NodeProto], constants: dict[str, np.ndarray], one: Walk, other: Walk
) -> dict[str, np.ndarray]:
    """The constants that the file repeats for every sample, where all that read them take them with one entry there."""
    readers: dict[str, set[str]] = {}
    for node in nodes:
        for name in reads(node):
            readers.setdefault(name, set()).add(operator(node))
    found = dict[str, np.ndarray]()
    for name, ops in readers.items():
        if name not in constants and ops <= {*REPEATS} and name in one.constants and name in other.constants:
            value = repeated(one.constants[name], other.constants[name], _BATCHES)
            found |= {} if value is None else {name: value}
    return found


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a is b or (a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes())


def _single(array: np.ndarray) -> np.ndarray:
    """Floats of any width as float32; other types as they are."""
    return array.astype(np.float32) if array.dtype.name in ("float16", "bfloat16", "float64") else array
