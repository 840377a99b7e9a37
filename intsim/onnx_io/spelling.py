"""How a Graph's nodes are spelled in ONNX and read back, and what ONNX has no word for: a file's metadata."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from onnx import ModelProto, NodeProto, ValueInfoProto, helper

from intsim.errors import IntsimError
from intsim.graph import Attribute, Node, Pixels, Shape, activations
from intsim.integers import IntType, int_type
from intsim.onnx_io.draft import MICROSOFT, Draft
from intsim.onnx_io.protobuf import attributes, tensor
from intsim.quantized import QuantizedGraph

FORMAT = "1"
RANGE = "range"  # the doc_string of a Clip that narrows a container to the integer type that it holds

# The attributes that a node has here and in ONNX alike.
_KEPT = {
    "AveragePool": ("kernel_shape", "strides", "pads", "dilations", "count_include_pad"),
    "Concat": ("axis",),
    "Conv": ("kernel_shape", "strides", "pads", "dilations", "group"),
    "ConvTranspose": ("kernel_shape", "strides", "pads", "dilations", "group", "output_padding"),
    "Elu": ("alpha",),
    "Gelu": ("approximate",),
    "HardSigmoid": ("alpha",),
    "LeakyRelu": ("alpha",),
    "MaxPool": ("kernel_shape", "strides", "pads", "dilations"),
    "Softmax": ("axis",),
    "Transpose": ("perm",),
}
_CUTS = ("starts", "ends", "axes", "steps")
_RESIZE = {"mode": "mode", "coordinate": "coordinate_transformation_mode", "nearest": "nearest_mode"}


# ---- nodes ---------------------------------------------------------------------------------------------------


def check_factors(node: Node) -> None:
    """Raises IntsimError for a factor that ONNX's operator does not have."""
    for op, name in (("Softmax", "beta"), ("MatMul", "factor alpha")):
        if node.op == op and number(node.attributes.get(name.split()[-1], 1.0)) != 1:
            mend = "write QDQ without one: ONNX has no word for it"
            raise IntsimError(f"has a {name}", where=f"{node.name} ({node.op})", mend=mend)


def spell(
    draft: Draft, node: Node, inputs: Sequence[str], output: str, shape: Shape, held: IntType | None = None
) -> NodeProto:
    """The node as ONNX spells it, on floats, or on integers of type `held` whose bounds and padding are given too.

    `shape`: one sample's of its output. A Requantize is the identity on floats.
    """
    fields = {key: node.attributes[key] for key in _KEPT.get(node.op, ()) if key in node.attributes}
    extra: list[str] = []
    if node.op == "AveragePool" and set(ints(fields["dilations"])) <= {1}:
        del fields["dilations"]  # an attribute only since opset 19
    check_factors(node)
    if node.op == "Rsqrt":
        raise IntsimError("is 1 / sqrt of one number", where=node.name, mend="ONNX has no one word for it")
    if node.op == "Gemm":
        fields["transB"] = 1
    elif node.op == "Flatten":
        fields["axis"] = 1
    elif node.op == "Reshape":
        target = [0, *ints(node.attributes["shape"])]  # 0: the batch stays what it is
        extra = [draft.tensor(f"{node.name}:shape", target, IntType(64))]
    elif node.op == "Slice":
        extra = [draft.tensor(f"{node.name}:{key}", list(ints(node.attributes[key])), IntType(64)) for key in _CUTS]
    elif node.op == "Resize":
        fields = {name: node.attributes[key] for key, name in _RESIZE.items()}
        fields["axes"] = tuple(range(2, len(shape) + 1))
        extra = ["", "", draft.tensor(f"{node.name}:sizes", list(shape[1:]), IntType(64))]
    elif node.op == "Pad":
        pads = ints(node.attributes["pads"])
        half = len(pads) // 2
        extra = [
            draft.tensor(f"{node.name}:pads", [0, *pads[:half], 0, *pads[half:]], IntType(64)),
            draft.tensor(f"{node.name}:value", node.attributes["value"], held),
        ]
    elif node.op == "Clip":
        bounds = {key: node.attributes[key] for key in ("min", "max")}
        extra = ["" if math.isinf(number(v)) else draft.tensor(f"{node.name}:{k}", v, held) for k, v in bounds.items()]
        while extra and not extra[-1]:
            extra.pop()
    op = "Identity" if node.op == "Requantize" else node.op
    return draft.node(op, [*inputs, *extra], output, node.name, fields)


def unspell(proto: NodeProto, op: str, inputs: Sequence[str], output: str, values: Mapping[str, np.ndarray]) -> Node:
    """The node that `spell` wrote; `inputs` and `output` are the names that its tensors have in the Graph."""
    found = attributes(proto)
    fields = {key: found[key] for key in _KEPT.get(op, ()) if key in found}
    if op == "AveragePool":
        fields.setdefault("dilations", (1,) * len(ints(fields["kernel_shape"])))
    elif op == "Reshape":
        fields = {"shape": tuple(int(size) for size in values[proto.input[1]][1:])}
    elif op == "Slice":
        cuts = zip(_CUTS, proto.input[1:], strict=True)
        fields = {key: tuple(int(v) for v in values[name]) for key, name in cuts}
    elif op == "Resize":
        fields = {key: found[name] for key, name in _RESIZE.items()}
    elif op == "Identity":
        op = "Requantize"
    elif op == "Pad":
        pads = values[proto.input[1]]
        begin, end = np.split(pads, 2)
        fields = {"pads": tuple(int(p) for p in (*begin[1:], *end[1:])), "value": float(values[proto.input[2]])}
    elif op == "Clip":
        low, high = (values[name] if name else None for name in [*proto.input[1:], "", ""][:2])
        fields = {
            "min": -math.inf if low is None else float(low),
            "max": math.inf if high is None else float(high),
        }
    return Node(name=proto.name, op=op, inputs=tuple(inputs), outputs=(output,), attributes=fields)


def ints(value: Attribute) -> tuple[int, ...]:
    """An attribute that is a tuple of integers."""
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def number(value: Attribute) -> float:
    """An attribute that is a number."""
    assert isinstance(value, int | float)
    return float(value)


# ---- whole files ---------------------------------------------------------------------------------------------


def value(name: str, kind: int, shape: Shape) -> ValueInfoProto:
    """A tensor's declaration; its first axis is the batch."""
    return helper.make_tensor_value_info(name, kind, ["N", *shape])


def model(
    draft: Draft,
    quantized: QuantizedGraph,
    dialect: str,
    version: int,
    values: tuple[list[ValueInfoProto], list[ValueInfoProto], list[ValueInfoProto]],
) -> ModelProto:
    """The whole file, from its inputs, outputs and inner tensors; types and pixels go into its metadata."""
    inputs, outputs, inner = values
    imports = [helper.make_opsetid("", version)]
    if any(node.domain == MICROSOFT for node in draft.nodes):
        imports.append(helper.make_opsetid(MICROSOFT, 1))
    graph = helper.make_graph(
        draft.nodes,
        quantized.graph.name or "quantized",
        inputs,
        outputs,
        initializer=list(draft.initializers.values()),
        value_info=inner,
    )
    proto = helper.make_model(
        graph,
        opset_imports=imports,
        ir_version=helper.find_min_ir_version_for([imports[0]]),
        producer_name="intsim",
    )
    types = {name: str(affine.type) for name, affine in quantized.affines.items()}
    helper.set_model_props(
        proto,
        {
            "intsim.format": f"{dialect} {FORMAT}",
            "intsim.types": json.dumps(types),
            "intsim.pixels": msgspec.json.encode(_composed(quantized.graph.pixels)).decode(),
        },
    )
    return proto


def _composed(pixels: dict[str, Pixels]) -> dict[str, Pixels]:
    """The way from a pixel to the file's input, which is what the first node reads: no normalization is left inside.

    ((p / d - m) / t - m') / t' = (p / d - (m + t m')) / (t t').
    """
    found = {}
    for name, each in pixels.items():
        mean, std, own_mean, own_std = (np.asarray(v) for v in (each.mean, each.std, each.own_mean, each.own_std))
        own = each.own_mean != (0.0,) or each.own_std != (1.0,)
        composed = Pixels(
            divisor=each.divisor,
            mean=tuple(np.atleast_1d(mean + std * own_mean).tolist()),
            std=tuple(np.atleast_1d(std * own_std).tolist()),
        )
        found[name] = composed if own else each
    return found


class Metadata(Struct, frozen=True, kw_only=True):
    """What the file says beyond ONNX."""

    types: dict[str, IntType]
    pixels: dict[str, Pixels]


def metadata(proto: ModelProto) -> Metadata:
    """The metadata that `model` wrote. ValueError where it is damaged."""
    props = {entry.key: entry.value for entry in proto.metadata_props}
    try:
        types = msgspec.json.decode(props["intsim.types"], type=dict[str, str])
        return Metadata(
            types={name: int_type(text) for name, text in types.items()},
            pixels=msgspec.json.decode(props["intsim.pixels"], type=dict[str, Pixels]),
        )
    except (KeyError, msgspec.DecodeError) as reason:
        raise ValueError(f"its metadata is damaged: {reason}") from None


def arrays(proto: ModelProto, folder: Path) -> dict[str, np.ndarray]:
    """The initializers' values."""
    return {part.name: tensor(part, folder) for part in proto.graph.initializer}


def shapes(proto: ModelProto) -> dict[str, Shape]:
    """One sample's shape of every tensor that the file declares."""
    graph = proto.graph
    return {
        part.name: tuple(dim.dim_value for dim in part.type.tensor_type.shape.dim[1:])
        for part in (*graph.input, *graph.value_info, *graph.output)
    }


def shapes_of(quantized: QuantizedGraph) -> dict[str, Shape]:
    """One sample's shape of every activation."""
    return {name: quantized.graph.shapes[name] for name in activations(quantized.graph)}
