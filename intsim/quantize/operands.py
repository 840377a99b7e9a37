"""Operands and results whose integers are not calibrated: constants beside activations, functions of known range."""

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from intsim.calibrate import Observed
from intsim.graph import Graph, Node, producers
from intsim.integers import Affine, affine
from intsim.quantize.options import Choice
from intsim.quantize.scales import FINEST, activation_affine, weight_affine, weight_integers
from intsim.quantize.sharing import Group, keeps_scale
from intsim.quantized import quantized
from intsim.target import Scheme

ENDS = {"Sigmoid": 0, "Softmax": 0, "Tanh": -1}
"""Functions that reach from here to 1."""

PAIRS = ("Add", "Sub", "Mul", "Max", "Min", "PRelu")
"""Ops that may read a constant beside an activation."""


def known_affine(group: Group, graph: Graph, scheme: Scheme, choice: Choice) -> Affine | None:
    """The affine of a group that only sigmoids and softmaxes make, or only tanhs: the one that kernels of tables give.

    0..1 has the scale 2^-bits and the type's lowest integer as zero point, -1..1 half the integers; None elsewhere.
    """
    makers = producers(graph)
    made = [makers.get(name) for name in group.tensors]
    ends = {ENDS.get(node.op) if node else None for node in made if not (node and keeps_scale(node.op, scheme))}
    if len(ends) != 1 or None in ends or choice.activation_scale is not None:
        return None
    (low,) = ends
    type_ = choice.types[0]
    if not choice.zero_points and low:
        signed = [t for t in choice.types if t.signed]
        if not signed:
            return None
        type_ = signed[0]
    middle = 0 if type_.signed else 1 << (type_.bits - 1)
    if low or (choice.symmetric and type_.signed):
        return affine(2.0 ** (1 - type_.bits), middle, type_)
    return affine(2.0**-type_.bits, 0 if choice.symmetric else type_.low, type_)


def with_operands(
    node: Node, graph: Graph, affines: dict[str, Affine], constants: dict[str, np.ndarray], choice: Choice
) -> Node:
    """The node with its constant operand in integers, added to `affines` and `constants`.

    Under a new name where the old one is taken by other integers.
    """
    if node.op not in PAIRS:
        return node
    names = [*node.inputs]
    for index, name in enumerate(names):
        if name not in graph.constants:
            continue
        own, values = _operand(node, graph.constants[name], affines, choice)
        if name in constants and not (affines[name] == own and np.array_equal(constants[name], values)):
            names[index] = f"{name}.{node.name}"
        affines[names[index]], constants[names[index]] = own, values
    return replace(node, inputs=tuple(names))


def _operand(
    node: Node, values: np.ndarray, affines: Mapping[str, Affine], choice: Choice
) -> tuple[Affine, np.ndarray]:
    """A slope is a weight; what is compared has the others' affine; the rest is as an activation that never varies."""
    if node.op == "PRelu":
        own = weight_affine(values.reshape(1, -1), choice, per_channel=False, finest=np.full(1, FINEST))
        return own, weight_integers(values.reshape(1, -1), own, choice).reshape(values.shape)
    if node.op in ("Max", "Min"):
        own = affines[node.outputs[0]]
    else:
        seen = Observed(low=float(values.min()), high=float(values.max()), count=values.size)
        own = activation_affine([seen], choice, node.name)
    return own, quantized(values, own)
