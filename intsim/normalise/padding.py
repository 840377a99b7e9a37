"""Padding: written out for every axis but the batch, and merged into the window after it."""

import math

import numpy as np
from msgspec.structs import replace

from intsim.graph import Attribute, Graph, Node, Shape
from intsim.normalise.rewriting import Change, Site, in_place, ints, without
from intsim.normalise.windows import POOLS

_LOWEST = float(np.finfo(np.float32).min)


def pad(site: Site, node: Node) -> Change | None:
    """Pad with constants: pads of every axis but the batch (begins, then ends) and the value; none: nothing."""
    if node.op != "Pad" or "mode" not in node.attributes or pad_problem(site.graph, node):
        return None
    begins, ends, value = _pads(site.graph, node)
    if not any(begins + ends):
        return without(site, node)
    attributes: dict[str, Attribute] = {"pads": begins[1:] + ends[1:], "value": value}
    return in_place(node, replace(node, op="Pad", inputs=node.inputs[:1], attributes=attributes))


def pad_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no padding with one constant; None where it is one."""
    if "mode" not in node.attributes:
        return None
    if node.attributes["mode"] != "constant":
        return f"pads by mode {node.attributes['mode']}, and constant can be lowered"
    if any(name and name not in graph.constants for name in node.inputs[1:]):
        return "its padding is computed, not constant"
    if graph.shapes.get(node.inputs[0]) is None:
        return "the shape of its input is not known"
    arrays = [graph.constants[name] for name in node.inputs[1:] if name]
    count = arrays[-1].size if len(node.inputs) > 3 else len(graph.shapes[node.inputs[0]]) + 1
    if not arrays or arrays[0].size != 2 * count or (len(node.inputs) > 2 and node.inputs[2] and arrays[1].size != 1):
        return "its padding is not two numbers for each axis and one value"
    begins, ends, value = _pads(graph, node)
    if begins[0] or ends[0] or min(begins + ends) < 0 or math.isnan(value):
        return "cuts, or pads the batch"
    return None


def _pads(graph: Graph, node: Node) -> tuple[Shape, Shape, float]:
    rank = len(graph.shapes[node.inputs[0]]) + 1
    arrays = [graph.constants[name] if name else None for name in (*node.inputs[1:], "", "", "")[:3]]
    given = [int(p) for p in arrays[0].ravel()] if arrays[0] is not None else []
    axes = [int(a) % rank for a in arrays[2].ravel()] if arrays[2] is not None else list(range(rank))
    pads = np.zeros((2, rank), int)
    pads[:, axes] = np.reshape(given, (2, len(axes)))
    value = float(arrays[1].item()) if arrays[1] is not None else 0.0
    return tuple(map(int, pads[0])), tuple(map(int, pads[1])), value


def pad_into_window(site: Site, node: Node) -> Change | None:
    """Window(Pad(x)) = Window(x) with the pads added: where the Pad writes what the window's own padding means.

    Zero for a Conv; zero for an average that counts its padding; -inf for a maximum, or zero where the map has
    nothing below zero and every window holds a cell of the map.
    """
    maker = site.producers.get(node.inputs[0]) if node.inputs else None
    if maker is None or maker.op != "Pad" or "mode" in maker.attributes or "auto_pad" in node.attributes:
        return None
    if node.op not in ("Conv", *POOLS):
        return None
    x, own, value = site.graph.shapes[maker.inputs[0]], ints(node, "pads", ()), maker.attributes["value"]
    rank, outer = len(x) - 1, ints(maker, "pads", ())
    begins, ends = outer[1 : rank + 1], outer[rank + 2 :]
    if outer[0] or outer[rank + 1] or not isinstance(value, float):
        return None
    pads = tuple(p + q for p, q in zip(begins + ends, own, strict=True))
    attributes = {**node.attributes, "pads": pads}
    if node.op == "AveragePool":
        if any(own) and not node.attributes["count_include_pad"]:
            return None
        attributes["count_include_pad"] = 1
    kernel, dilations = ints(node, "kernel_shape", ()), ints(node, "dilations", ())
    reach = [d * (k - 1) + 1 for d, k in zip(dilations, kernel, strict=True)]
    if node.op in POOLS and (max(dilations) > 1 or any(p >= r for p, r in zip(pads, reach * 2, strict=True))):
        return None
    if node.op == "MaxPool":
        if not (value <= _LOWEST or (value == 0 and not_negative(site, maker.inputs[0]))):
            return None
    elif value != 0:
        return None
    return in_place(
        node,
        replace(node, inputs=(*maker.inputs, *node.inputs[1:]), attributes=attributes),
    )


def not_negative(site: Site, name: str, far: int = 8) -> bool:
    """Whether the tensor is proved, by the `far` nodes before it, to hold nothing below zero."""
    maker = site.producers.get(name)
    if maker is None or not far:
        return False
    if maker.op == "Clip":
        low = maker.attributes.get("min")
        return isinstance(low, float) and low >= 0
    keeps = ("MaxPool", "AveragePool", "GlobalAveragePool", "Flatten", "Reshape", "Add", "Concat")
    return maker.op == "Relu" or (maker.op in keeps and all(not_negative(site, n, far - 1) for n in maker.inputs))
