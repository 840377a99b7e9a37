"""Quantized networks of one layer, as arrays and JSON."""

import json
from dataclasses import dataclass

import numpy as np

from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.quantized import QuantizedGraph


@dataclass(frozen=True)
class Layer:
    """A network of one node, and the integers `x[i][n, *spatial, c]` of its inputs."""

    name: str
    source: QuantizedGraph
    x: tuple[np.ndarray, ...]

    @property
    def node(self) -> Node:
        return self.source.graph.nodes[0]


def layer(name: str, op: str, x: list[np.ndarray], affines: list[Affine], y: Affine, **parts: object) -> Layer:
    """A one-node network; `parts`: weight (channels first), its affine, bias, attributes, shape (of y, c first)."""
    names = [f"x{i}" for i in range(len(x))]
    constants: dict[str, np.ndarray] = {}
    table = dict(zip(names, affines, strict=True)) | {"y": y}
    if "weight" in parts:
        constants = {"w": parts["weight"], "b": parts["bias"]}
        table |= {"w": parts["weight_affine"], "b": affine(1.0, 0, "s32")}
    shapes = {n: (v.shape[-1], *v.shape[1:-1]) for n, v in zip(names, x, strict=True)} | {"y": parts["shape"]}
    node = Node(
        name=name, op=op, inputs=(*names, *constants), outputs=("y",), attributes=dict(parts.get("attributes", {}))
    )
    graph = Graph(name=name, inputs=tuple(names), outputs=("y",), nodes=(node,), constants=constants, shapes=shapes)
    return Layer(name, QuantizedGraph(graph=graph, affines=table), tuple(x))


# ---- kept as arrays and JSON -----------------------------------------------------------------------------------


def packed(one: Layer) -> dict[str, np.ndarray]:
    """The layer's arrays, and its description as a JSON string."""
    graph, affines = one.source.graph, one.source.affines
    about = {
        "op": one.node.op,
        "attributes": one.node.attributes,
        "shape": graph.shapes["y"],
        "affines": {k: [list(a.scale), list(a.zero_point), str(a.type), a.axis] for k, a in affines.items()},
    }
    arrays = {f"x{i}": x for i, x in enumerate(one.x)} | graph.constants
    return {"about": np.array(json.dumps(about)), **arrays}


def unpacked(name: str, arrays: dict[str, np.ndarray]) -> Layer:
    """The layer of `packed`."""
    about = json.loads(str(arrays["about"]))
    affines = {k: affine(*values) for k, values in about["affines"].items()}
    x = [arrays[f"x{i}"] for i in range(sum(k.startswith("x") for k in arrays))]
    parts = {} if "w" not in arrays else {"weight": arrays["w"], "bias": arrays["b"], "weight_affine": affines["w"]}
    attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in about["attributes"].items()}
    return layer(
        name, about["op"], x, [affines[f"x{i}"] for i in range(len(x))], affines["y"],
        shape=tuple(about["shape"]), attributes=attributes, **parts,
    )  # fmt: skip
