"""The graph that onnxruntime makes of a model before it runs it, and where our tensors are found in it.

To look at a tensor is to make it an output, and onnxruntime does not fuse what is an output: who looks, changes what
is computed. So the model is optimized first, with nothing on view; what comes out is run as it stands, all on view.
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.program import outside
from intsim.quantized import QuantizedGraph
from intsim.reference import FLOAT, TURNED

_TOKEN = re.compile(r"(_token_\d+)+$")
"""What onnxruntime puts behind a name that it gives a second time."""


class Place(Struct, frozen=True, kw_only=True):
    """Where the integers of a tensor of ours are: their name there, whether channels come last, what made them."""

    name: str
    channels_last: bool
    by: str


def places(graph: Any, quantized: QuantizedGraph) -> dict[str, Place]:
    """By tensor of ours, its integers in an optimized graph; without those that were fused away."""
    by_name = {_TOKEN.sub("", node.name): node for node in graph.node}
    makers = {name: node for node in graph.node for name in node.output}
    last = _channels_last(graph)
    found = {}
    for node in quantized.graph.nodes:
        (tensor,) = node.outputs
        names = (f"{tensor}:range", f"{tensor}:quantize", node.name)
        maker = next((by_name[name] for name in names if name in by_name), None)
        if maker is not None:
            name = maker.output[0]
            found[tensor] = Place(name=name, channels_last=name in last, by=_made(maker, makers))
    return found


def read(q: np.ndarray, place: Place, quantized: QuantizedGraph, tensor: str) -> np.ndarray | None:
    """The tensor's integers in the quantized network's own sign, channels first; None where they are floats there."""
    if q.dtype.kind not in "iu":
        return None
    own = quantized.affines[tensor].type
    if place.channels_last:
        q = outside(q)
    if q.dtype.kind == ("u" if own.signed else "i"):
        half = 1 << (8 * q.dtype.itemsize - 1)
        q = q.astype(np.int32) + (-half if own.signed else half)
    return q.astype(own.dtype)


def _made(node: Any, makers: Mapping[str, Any]) -> str:
    """The operator that computes a node's integers; a float one where they are quantized only then."""
    while node.op_type in ("Transpose", "Clip") and node.input[0] in makers:
        node = makers[node.input[0]]
    if node.op_type == "QuantizeLinear" and node.input[0] in makers:
        return f"{makers[node.input[0]].op_type}{FLOAT}"
    turned = any(name.startswith("qdq_s8_to_u8") for name in node.input)
    return f"{node.op_type}{TURNED * turned}"


def _channels_last(graph: Any) -> set[str]:
    """The tensors whose channels come last: from one Transpose on, until the other."""
    constants = {tensor.name for tensor in graph.initializer}
    last: set[str] = set()
    for node in graph.node:
        perm = next((tuple(a.ints) for a in node.attribute if a.name == "perm"), ())
        if node.op_type == "Transpose" and len(perm) > 2:
            turned = perm == (0, *range(2, len(perm)), 1)
        else:
            turned = any(name in last for name in node.input if name not in constants)
        last.update(node.output if turned else ())
    return last
