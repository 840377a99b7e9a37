"""A float network in integers: Graph to QuantizedGraph."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.calibrate import Calibration, ranges
from intsim.errors import IntsimError
from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.quantize.apart import set_apart
from intsim.quantize.biases import bias_integers, most
from intsim.quantize.operands import PAIRS, known_affine, with_operands
from intsim.quantize.options import Options, meet, options, settled
from intsim.quantize.saturation import Saturated, saturated
from intsim.quantize.scales import FINEST, activation_affine, weight_affine, weight_integers
from intsim.quantize.schemes import Schemes, of_node, together, touching
from intsim.quantize.sharing import Group, groups
from intsim.quantized import QuantizedGraph
from intsim.target import Scheme
from intsim.targets.ideal import IDEAL

__all__ = ["Group", "Options", "Saturated", "groups", "meet", "options", "quantize", "saturated"]

DOTS = ("Conv", "ConvTranspose", "Gemm")
"""Ops with weights and a bias."""

HARMLESS = 1 / 64
"""What part of an output step the rounding of weights may move an output by, before a finer scale is in vain."""


def quantize(
    graph: Graph,
    data: Calibration | np.ndarray | Mapping[str, np.ndarray],
    scheme: Scheme = IDEAL.scheme,
    asked: Options | None = None,
    *,
    nodes: Mapping[str, Scheme] | None = None,
    progress: Callable[[int, int], object] | None = None,
    **settings: Any,
) -> QuantizedGraph:
    """The normalised float network in integers, for machines of that scheme; `nodes`: of others, by the node's name.

    `data`: what `calibrate.ranges` gave, or what it is to be given. `asked` and `settings`: `Options`, as a record
    or by name (weight_bits=4). Integers are round_half_even(x / scale) in float32; a bias is
    round_half_even(b / (sx * sw)) in float64. A weight scale is raised where the bias would not fit its type (half
    of it from 32 bits on, the rest is the products'), and where finer weights could not move an output by 1/64 of
    its step. A tensor that nodes of several machines make and read is as all of them take it.
    A function whose output has one affine on its machine is followed by a Requantize where others share that output's
    affine. Where the machine's scales are given, what they do not reach saturates (`saturated` counts it).
    Raises IntsimError where the options, the scheme and the network do not go together.
    """
    schemes = Schemes(asked=options(asked, **settings), scheme=scheme, nodes=nodes or {})
    choice = settled(schemes.asked, scheme)
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
    graph, calibration = set_apart(graph, calibration, schemes)
    affines = _activation_affines(graph, calibration, schemes)
    constants = _quantize_weights(graph, affines, schemes)
    done = tuple(_with_bias(node, graph, affines, constants, of_node(schemes, node)) for node in graph.nodes)
    done = tuple(with_operands(node, graph, affines, constants, together(schemes, [node])[1]) for node in done)
    return QuantizedGraph(
        graph=replace(graph, nodes=done, constants=constants),
        affines=affines,
    )


def _check_constants(graph: Graph) -> None:
    for node in graph.nodes:
        for index, name in enumerate(node.inputs):
            dot = node.op in DOTS
            if name in graph.constants and not (dot and index in (1, 2)) and node.op not in PAIRS:
                raise IntsimError(f'reads the constant "{name}"', where=node.name, mend="see intsim inspect")
            if name in graph.constants and not np.isfinite(graph.constants[name]).all():
                raise IntsimError(f'has NaN or infinity in "{name}"', where=node.name, mend="check the network")
            if dot and index > 0 and name and name not in graph.constants:
                raise IntsimError(f'multiplies by the activation "{name}"', where=node.name, mend="see intsim inspect")


def _activation_affines(graph: Graph, calibration: Calibration, schemes: Schemes) -> dict[str, Affine]:
    affines: dict[str, Affine] = {}
    for group in groups(graph, schemes.scheme, schemes.nodes):
        scheme, choice = together(schemes, touching(graph, group.tensors))
        for name in group.tensors:
            if name not in calibration.tensors:
                raise IntsimError("was not calibrated", where=name, mend="calibrate this very network")
        seen = [calibration.tensors[name] for name in group.decisive]
        shared = known_affine(group, graph, scheme, choice) or activation_affine(seen, choice, group.tensors[0])
        affines |= dict.fromkeys(group.tensors, shared)
    return affines


# ---- constants ---------------------------------------------------------------------------------------------


def _quantize_weights(graph: Graph, affines: dict[str, Affine], schemes: Schemes) -> dict[str, np.ndarray]:
    """The weights' integers; their affines are added to `affines`."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if node.op in DOTS:
            readers.setdefault(node.inputs[1], []).append(node)
    constants = {}
    for name, nodes in readers.items():
        scheme, choice = together(schemes, nodes)
        axis, *others = {_output_axis(node) for node in nodes}
        w = np.moveaxis(graph.constants[name], axis, 0)
        per_channel = all(node.op in choice.per_channel for node in nodes) and not others
        found = [_finest(node, graph, affines, scheme) for node in nodes]
        finest = np.maximum.reduce(found if per_channel else [each.max(keepdims=True) for each in found])
        own = weight_affine(w, choice, per_channel=per_channel, finest=finest)
        if per_channel and scheme.spread is not None:
            finest = np.maximum(finest, max(own.scale) / scheme.spread)
            own = weight_affine(w, choice, per_channel=True, finest=finest)
        constants[name] = np.ascontiguousarray(np.moveaxis(weight_integers(w, own, choice), 0, axis))
        affines[name] = own if own.axis is None else replace(own, axis=axis)
    return constants


def _output_axis(node: Node) -> int:
    """The axis of a node's weights along which its outputs lie, those of each group for a ConvTranspose."""
    return 1 if node.op == "ConvTranspose" else 0


def _groups(node: Node) -> int:
    """How many outputs each slice of the weights along that axis has."""
    return int(str(node.attributes["group"])) if node.op == "ConvTranspose" else 1


def _finest(node: Node, graph: Graph, affines: Mapping[str, Affine], scheme: Scheme) -> np.ndarray:
    """The finest sensible weight scale of a node, one for each slice of the weights along the outputs.

    With it, rounding all the weights moves an output by at most HARMLESS steps; and the bias fits.
    """
    w = np.moveaxis(graph.constants[node.inputs[1]], _output_axis(node), 0)
    x, y = affines[node.inputs[0]], affines[node.outputs[0]]
    reach = max(x.type.high - x.zero, x.zero - x.type.low)
    finest = np.full(len(w), 2 * HARMLESS * y.scale[0] / (x.scale[0] * reach * math.prod(w.shape[1:])))
    if _has_bias(node):
        b = np.abs(graph.constants[node.inputs[2]].astype(np.float64)).reshape(_groups(node), -1).max(0)
        finest = np.maximum(finest, b / (x.scale[0] * (most(scheme) - 1)))
    return np.maximum(finest * (1 + 2.0**-20), FINEST)


def _with_bias(
    node: Node, graph: Graph, affines: dict[str, Affine], constants: dict[str, np.ndarray], scheme: Scheme
) -> Node:
    """The node with its bias in integers, added to `affines` and `constants`.

    Under a new name where the old one is taken by other integers.
    """
    if node.op not in DOTS or not _has_bias(node):
        return node
    name, x, w = node.inputs[2], affines[node.inputs[0]], affines[node.inputs[1]]
    products = x.scale[0] * np.array(w.scale if w.axis is None else w.scale * _groups(node), np.float64)
    values, type_ = bias_integers(graph.constants[name].astype(np.float64) / products, scheme)
    own = affine(products, 0, type_, None if w.axis is None else 0)
    if name in constants and not (affines[name] == own and np.array_equal(constants[name], values)):
        name = f"{name}.{node.name}"
    affines[name], constants[name] = own, values
    return replace(node, inputs=(*node.inputs[:2], name))


def _has_bias(node: Node) -> bool:
    return len(node.inputs) > 2 and node.inputs[2] != ""
