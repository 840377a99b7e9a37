"""The golden cases of functions.npz.xz and ort_functions.npz.xz as quantized networks of one node."""

import numpy as np
from msgspec import Struct

from golden.files import kept
from intsim.graph import Graph, Node
from intsim.integers import IntType, affine
from intsim.program import outside
from intsim.quantized import QuantizedGraph, dequantized

OPS = {
    "sigmoid": "Sigmoid",
    "logistic": "Sigmoid",
    "logistic16": "Sigmoid",
    "tanh": "Tanh",
    "tanh16": "Tanh",
    "hard_swish": "HardSwish",
    "leaky_relu": "LeakyRelu",
    "prelu": "PRelu",
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "softmax": "Softmax",
    "softmax16": "Softmax",
}


class Case(Struct, frozen=True, eq=False):
    """A network, its float inputs in the outside layout by name, and the answers in the inside layout by runtime."""

    kind: str
    source: QuantizedGraph
    x: dict[str, np.ndarray]
    answers: dict[str, np.ndarray]


def cases(file: str) -> dict[str, Case]:
    """The file's cases by name."""
    parts = kept(file)
    return {name: _case(name.rpartition("_")[0], found) for name, found in parts.items()}


def _case(kind: str, parts: dict[str, np.ndarray]) -> Case:
    dtype = parts["x0"].dtype
    type_ = IntType(8 * dtype.itemsize, dtype.kind == "i")
    integers = {key: parts[key] for key in ("x0", "x1") if key in parts}
    names, constants, attributes = [*integers], {}, {}
    affines = [affine(scale, int(zero), type_) for scale, zero in parts["affines"]]
    known = dict(zip([*integers, "y"], affines, strict=False))
    if kind == "prelu":
        names, constants, known["slope"] = ["x0", "slope"], {"slope": np.moveaxis(parts["slope"], -1, 0)}, affines[2]
    for key in ("alpha", "beta"):
        if key in parts:
            attributes[key] = float(parts[key])
    if kind.startswith("softmax"):
        attributes["axis"] = 1
    answers = {key.removeprefix("answer "): value for key, value in parts.items() if key.startswith("answer")}
    shapes = {key: outside(value).shape[1:] for key, value in integers.items()}
    shapes["y"] = outside(next(iter(answers.values())).reshape(integers["x0"].shape)).shape[1:]
    node = Node(name=kind, op=OPS[kind], inputs=tuple(names), outputs=("y",), attributes=attributes)
    graph = Graph(name=kind, inputs=tuple(integers), outputs=("y",), nodes=(node,), constants=constants, shapes=shapes)
    x = {key: outside(dequantized(value, known[key])) for key, value in integers.items()}
    return Case(kind, QuantizedGraph(graph=graph, affines=known), x, answers)
