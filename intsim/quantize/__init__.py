"""A float network in integers: Graph to QuantizedGraph."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.calibrate import Calibration, ranges
from intsim.errors import IntsimError
from intsim.graph import Graph, Node
from intsim.integers import Affine, IntType, affine
from intsim.quantize.options import Choice, Options, meet, options, settled
from intsim.quantize.scales import FINEST, activation_affine, weight_affine, weight_integers
from intsim.quantize.sharing import Group, groups
from intsim.quantized import QuantizedGraph
from intsim.target import Scheme
from intsim.targets.ideal import IDEAL

__all__ = ["Group", "Options", "groups", "meet", "options", "quantize"]

HARMLESS = 1 / 64
"""What part of an output step the rounding of weights may move an output by, before a finer scale is in vain."""


def quantize(
    graph: Graph,
    data: Calibration | np.ndarray | Mapping[str, np.ndarray],
    scheme: Scheme = IDEAL.scheme,
    asked: Options | None = None,
    *,
    progress: Callable[[int, int], object] | None = None,
    **settings: Any,
) -> QuantizedGraph:
    """The normalised float network in integers, for machines of that scheme.

    `data`: what `calibrate.ranges` gave, or what it is to be given. `asked` and `settings`: `Options`, as a record
    or by name (weight_bits=4). Integers are round_half_even(x / scale) in float32; a bias is
    round_half_even(b / (sx * sw)) in float64. A weight scale is raised where the bias would not fit its type (half
    of it from 32 bits on, the rest is the products'), and where finer weights could not move an output by 1/64 of
    its step. Raises IntsimError where the options, the scheme and the network do not go together.
    """
    choice = settled(options(asked, **settings), scheme)
    _check_constants(graph)
    calibration = data
    if not isinstance(calibration, Calibration):
        calibration = ranges(graph, calibration, method=choice.asked.method, progress=progress)
    if calibration.method == "minmax" and choice.asked.method != "minmax":
        raise IntsimError(
            f'kept no histograms, which "{choice.asked.method}" needs',
            where="calibration",
            mend=f'calibrate.ranges(graph, x, method="{choice.asked.method}")',
        )
    affines = _activation_affines(graph, calibration, scheme, choice)
    constants = _quantize_weights(graph, affines, scheme, choice)
    nodes = tuple(_with_bias(node, graph, affines, constants, scheme.bias) for node in graph.nodes)
    return QuantizedGraph(
        graph=replace(graph, nodes=nodes, constants=constants),
        affines=affines,
    )


def _check_constants(graph: Graph) -> None:
    for node in graph.nodes:
        for index, name in enumerate(node.inputs):
            dot = node.op in ("Conv", "Gemm")
            if name in graph.constants and not (dot and index in (1, 2)):
                raise IntsimError(f'reads the constant "{name}"', where=node.name, mend="see intsim inspect")
            if name in graph.constants and not np.isfinite(graph.constants[name]).all():
                raise IntsimError(f'has NaN or infinity in "{name}"', where=node.name, mend="check the network")
            if dot and index > 0 and name and name not in graph.constants:
                raise IntsimError(f'multiplies by the activation "{name}"', where=node.name, mend="see intsim inspect")


def _activation_affines(graph: Graph, calibration: Calibration, scheme: Scheme, choice: Choice) -> dict[str, Affine]:
    affines: dict[str, Affine] = {}
    for group in groups(graph, scheme):
        for name in group.tensors:
            if name not in calibration.tensors:
                raise IntsimError("was not calibrated", where=name, mend="calibrate this very network")
        shared = activation_affine([calibration.tensors[name] for name in group.decisive], choice, group.tensors[0])
        affines |= dict.fromkeys(group.tensors, shared)
    return affines


# ---- constants ---------------------------------------------------------------------------------------------


def _quantize_weights(
    graph: Graph, affines: dict[str, Affine], scheme: Scheme, choice: Choice
) -> dict[str, np.ndarray]:
    """The weights' integers; their affines are added to `affines`."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op in ("Conv", "Gemm"):
            readers.setdefault(node.inputs[1], []).append(node)
    constants = {}
    for name, nodes in readers.items():
        w = graph.constants[name]
        finest = np.maximum.reduce([_finest(node, graph, affines, scheme.bias) for node in nodes])
        per_channel = all(node.op in choice.per_channel for node in nodes)
        affines[name] = weight_affine(w, choice, per_channel=per_channel, finest=finest)
        constants[name] = weight_integers(w, affines[name], choice)
    return constants


def _finest(node: Node, graph: Graph, affines: Mapping[str, Affine], bias: IntType) -> np.ndarray:
    """The finest sensible weight scale `[o]` of a node.

    With it, rounding all the weights moves an output by at most HARMLESS steps; and the bias fits.
    """
    w = graph.constants[node.inputs[1]]
    x, y = affines[node.inputs[0]], affines[node.outputs[0]]
    reach = max(x.type.high - x.zero, x.zero - x.type.low)
    finest = np.full(len(w), 2 * HARMLESS * y.scale[0] / (x.scale[0] * reach * math.prod(w.shape[1:])))
    if _has_bias(node):
        b = graph.constants[node.inputs[2]].astype(np.float64)
        most = bias.high if bias.bits < 32 else bias.high // 2
        finest = np.maximum(finest, np.abs(b) / (x.scale[0] * (most - 1)))
    return np.maximum(finest * (1 + 2.0**-20), FINEST)


def _with_bias(
    node: Node, graph: Graph, affines: dict[str, Affine], constants: dict[str, np.ndarray], type_: IntType
) -> Node:
    """The node with its bias in integers, added to `affines` and `constants`.

    Under a new name where the old one is taken by other integers.
    """
    if node.op not in ("Conv", "Gemm") or not _has_bias(node):
        return node
    name, x, w = node.inputs[2], affines[node.inputs[0]], affines[node.inputs[1]]
    products = x.scale[0] * np.array(w.scale, np.float64)
    values = np.rint(graph.constants[name].astype(np.float64) / products).astype(type_.dtype)
    own = affine(products, 0, type_, w.axis)
    if name in constants and not (affines[name] == own and np.array_equal(constants[name], values)):
        name = f"{name}.{node.name}"
    affines[name], constants[name] = own, values
    return replace(node, inputs=(*node.inputs[:2], name))


def _has_bias(node: Node) -> bool:
    return len(node.inputs) > 2 and node.inputs[2] != ""
