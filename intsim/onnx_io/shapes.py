"""The walk through a file's nodes that infers every shape and computes whatever depends on no image."""

import math
from collections.abc import Sequence

import numpy as np
import onnx
from msgspec import Struct
from onnx import ModelProto, NodeProto, TypeProto, checker, helper, numpy_helper, shape_inference

from intsim.errors import IntsimError
from intsim.onnx_io.protobuf import first_line, has_graphs, operator, reads

# What is computed when all its operands are constants. Nothing random, nothing that quantizes: the integers of a
# weight that a file holds quantized are that file's message.
_COMPUTABLE = """
    Abs Add And Cast CastLike Ceil Clip Concat ConstantOfShape Div Equal Exp Expand Flatten Floor Gather GatherND
    Greater GreaterOrEqual Identity Less LessOrEqual Log MatMul Max Min Mod Mul Neg Not Or Pad Pow Range Reciprocal
    ReduceMax ReduceMin ReduceProd ReduceSum Relu Reshape Round Shape Sigmoid Sign Size Slice Split Sqrt Squeeze Sub
    Sum Tanh Tile Transpose Unsqueeze Where Xor
""".split()  # noqa: SIM905
_LARGEST = 2**26  # elements of a computed constant
_SMALL = 4096  # elements of a constant that shape inference is shown


def checked(nodes: Sequence[NodeProto], opsets: dict[str, int]) -> None:
    """Raises IntsimError for a node of ONNX's own that lacks an operand or attribute it must have, or has a wrong one.

    Operators that the opset does not have are let through, and so is control flow: nothing is computed with them.
    """
    context = checker.C.CheckerContext()
    context.ir_version, context.opset_imports = onnx.IR_VERSION, opsets
    for node in nodes:
        schema = _schema(node, opsets)
        if schema is None or has_graphs(node):
            continue
        try:
            checker.check_node(node, context)
        except checker.ValidationError as error:
            raise _invalid(node, first_line(error)) from error
        required = [i for i, formal in enumerate(schema.inputs) if formal.option == schema.FormalParameterOption.Single]
        if any(not node.input[index] for index in required) or not any(node.output):
            raise _invalid(node, "an operand or result has no name")


def _schema(node: NodeProto, opsets: dict[str, int]) -> onnx.defs.OpSchema | None:
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[""], "")
    except onnx.defs.SchemaError:
        return None
    return None if schema.deprecated or node.domain not in ("", "ai.onnx") else schema


def _torchs_ceil(node: NodeProto, opsets: dict[str, int]) -> dict[str, int]:
    """The opset by whose rules the node's output has its size.

    Before opset 22 ONNX counts windows of ceil_mode that begin beyond the map. torch, which writes such files, and
    onnxruntime, which runs them, never did, and since opset 22 ONNX does not either.
    """
    pools = node.op_type in ("MaxPool", "AveragePool")
    return {**opsets, "": max(22, opsets[""])} if pools else opsets


def _invalid(node: NodeProto, why: str) -> IntsimError:
    mend = "the file is damaged: export it again, or ask onnx.checker"
    return IntsimError(f"is no valid {operator(node)} ({why})", where=node.name, mend=mend)


class Walk(Struct, frozen=True, kw_only=True):
    """What a file's tensors are when the batch has one certain size: constants by value, the others by type."""

    constants: dict[str, np.ndarray]
    types: dict[str, TypeProto]

    def shape(self, name: str) -> tuple[int, ...] | None:
        """The tensor's shape with the batch, or None where it cannot be known before the network runs."""
        return _shape(self.types[name]) if name in self.types else None


def walk(
    nodes: Sequence[NodeProto],
    constants: dict[str, np.ndarray],
    inputs: dict[str, TypeProto],
    opsets: dict[str, int],
    *,
    batch: int,
    own_batch: int | None,
) -> Walk:
    """Shapes and constants when the first axis of every input is `batch`; `nodes` stand in running order.

    `own_batch` is the batch a static file was exported with: at any other `batch`, a Reshape target that begins
    with it means the batch, and a node that cannot take another batch gets no shape instead of an error. What comes
    after an operator that is not known has no shape either. Raises IntsimError where a node breaks ONNX's rules.
    """
    known = dict(constants)
    types = {name: helper.make_tensor_type_proto(*_signature(array)) for name, array in constants.items()}
    types |= {name: _with_batch(type_, batch) for name, type_ in inputs.items()}
    lenient = own_batch is not None and own_batch != batch
    for node in nodes:
        schema = _schema(node, _torchs_ceil(node, opsets))
        if schema is None or any(name not in types for name in reads(node)):
            continue
        own = {name: known[name] for name in node.input if name in known}
        if lenient:
            own |= _generalised(node, own, types, batch, own_batch)
        wider = _widened(node, own, types, batch, own_batch) if lenient else {}
        try:
            found = _infer(node, schema, types | wider, {} if wider else own, opsets)
        except IntsimError:
            if lenient:
                continue
            raise
        types |= found
        known |= _computed(node, own, found, types, opsets)
        types |= {n: helper.make_tensor_type_proto(*_signature(known[n])) for n in node.output if n in known}
    return Walk(constants=known, types=types)


def _shape(type_: TypeProto) -> tuple[int, ...] | None:
    if not type_.tensor_type.HasField("shape"):
        return None
    dims = type_.tensor_type.shape.dim
    return tuple(d.dim_value for d in dims) if all(d.HasField("dim_value") for d in dims) else None


def _signature(array: np.ndarray) -> tuple[int, tuple[int, ...]]:
    return helper.np_dtype_to_tensor_dtype(array.dtype), array.shape


def _with_batch(type_: TypeProto, batch: int) -> TypeProto:
    changed = TypeProto()
    changed.CopyFrom(type_)
    changed.tensor_type.shape.dim[0].dim_value = batch
    return changed


def _generalised(
    node: NodeProto, own: dict[str, np.ndarray], types: dict[str, TypeProto], batch: int, own_batch: int | None
) -> dict[str, np.ndarray]:
    """The target of a Reshape that keeps the batch of a static file in its place, with `batch` there.

    Its place is the axis before which as many numbers stand as before the batch's axis of the input; where that is
    several times the batch long, an axis of the batch alone that parts it. The last axis is no place: it has features.
    """
    if node.op_type != "Reshape" or node.input[0] in own or node.input[1] not in own:
        return {}
    shape, target = _shape(types[node.input[0]]), own[node.input[1]]
    if not shape or target.ndim != 1 or not target.size or not own_batch:
        return {}
    axes = [axis for axis, size in enumerate(shape) if size and size % batch == 0]
    if len(axes) != 1 or any(size > 0 and size % batch == 0 for size in target.tolist()):
        return {}
    outer, times, sizes = math.prod(shape[: axes[0]]), shape[axes[0]] // batch, target.tolist()
    before = [math.prod(sizes[:axis]) for axis in range(len(sizes))]
    fits = [axis for axis, size in enumerate(sizes[:-1]) if size > 0 and size % own_batch == 0 and before[axis] > 0]
    alone = [
        axis for axis in fits if sizes[axis] == own_batch and outer * times % before[axis] == before[axis] % outer == 0
    ]
    first = [axis for axis in fits if before[axis] == outer]
    behind = [axis for axis in fits if outer % before[axis] == before[axis] * sizes[axis] % outer == 0]
    found = (alone if times > 1 else []) + first + behind
    if not found:
        return {}
    changed = np.array(target)
    changed[found[0]] = target[found[0]] // own_batch * batch
    return {node.input[1]: changed}


def _widened(
    node: NodeProto, own: dict[str, np.ndarray], types: dict[str, TypeProto], batch: int, own_batch: int | None
) -> dict[str, TypeProto]:
    """The types of constants that a static file, its own batch in front, joins to activations: with `batch` there."""
    joined = [_shape(types[name]) for name in node.input if name not in own] if node.op_type == "Concat" else []
    if not joined or any(not shape or shape[0] != batch for shape in joined):
        return {}
    constants = {name: a for name, a in own.items() if a.ndim and len(a) == own_batch}
    kind = helper.np_dtype_to_tensor_dtype
    return {n: helper.make_tensor_type_proto(kind(a.dtype), (batch, *a.shape[1:])) for n, a in constants.items()}


def _infer(
    node: NodeProto,
    schema: onnx.defs.OpSchema,
    types: dict[str, TypeProto],
    own: dict[str, np.ndarray],
    opsets: dict[str, int],
) -> dict[str, TypeProto]:
    """The types of the node's outputs."""
    small = {name: numpy_helper.from_array(a, name) for name, a in own.items() if a.size <= _SMALL}
    try:
        found = shape_inference.infer_node_outputs(
            schema,
            node,
            {name: types[name] for name in reads(node)},
            small,
            opset_imports=[helper.make_opsetid(*item) for item in opsets.items()],
            ir_version=onnx.IR_VERSION,
        )
    except (checker.ValidationError, shape_inference.InferenceError, KeyError) as error:
        raise _invalid(node, first_line(error)) from error
    shapes = {name: shape for name, type_ in found.items() if (shape := _shape(type_)) is not None}
    for shape in shapes.values():
        if any(size < 0 for size in shape):
            raise _invalid(node, f"its output would have the shape {list(shape)}")
    if node.op_type == "Reshape" and node.output[0] in shapes:
        before, after = _shape(types[node.input[0]]), shapes[node.output[0]]
        if before is not None and math.prod(before) != math.prod(after):
            raise _invalid(node, f"it cannot turn {list(before)} into {list(after)}")
    return {name: type_ for name, type_ in found.items() if name}


def _computed(
    node: NodeProto,
    own: dict[str, np.ndarray],
    found: dict[str, TypeProto],
    types: dict[str, TypeProto],
    opsets: dict[str, int],
) -> dict[str, np.ndarray]:
    """The node's outputs where they depend on no image: on constants, or on shapes alone."""
    if node.op_type not in _COMPUTABLE or has_graphs(node):
        return {}
    feeds = dict(own)
    if node.op_type in ("Shape", "Size") and node.input[0] not in own:
        shape = _shape(types[node.input[0]])
        if shape is None:
            return {}
        feeds[node.input[0]] = np.broadcast_to(np.int8(0), shape)  # only its shape is looked at
    shapes = [_shape(found[name]) if name in found else None for name in node.output if name]
    if any(name and name not in feeds for name in node.input):
        return {}
    if any(shape is None or math.prod(shape) > _LARGEST for shape in shapes):
        return {}
    return _evaluate(node, feeds, opsets)


def _evaluate(node: NodeProto, feeds: dict[str, np.ndarray], opsets: dict[str, int]) -> dict[str, np.ndarray]:
    """The node's outputs, computed by ONNX's own reference implementation."""
    from onnx.reference import ReferenceEvaluator

    outputs = [name for name in node.output if name]
    graph = helper.make_graph(
        [node],
        "constants",
        [helper.make_tensor_value_info(n, *_signature(a)) for n, a in feeds.items()],
        [onnx.ValueInfoProto(name=name) for name in outputs],
    )
    imports = [helper.make_opsetid("", opsets[""])]
    model: ModelProto = helper.make_model(graph, opset_imports=imports)
    try:
        with np.errstate(all="ignore"):
            values = ReferenceEvaluator(model).run(None, feeds)
    except Exception as error:  # the evaluator raises whatever numpy raises
        raise IntsimError(f"cannot be computed ({first_line(error)})", where=node.name) from error
    return {name: np.asarray(value) for name, value in zip(outputs, values, strict=True)}
