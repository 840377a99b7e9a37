"""Operators that slide a window over a map, their geometry written out in numbers."""

from msgspec.structs import replace

from intsim.graph import Attribute, Graph, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, ints, number, without

POOLS = ("MaxPool", "AveragePool")


def convolution(site: Site, node: Node) -> Change | None:
    """Conv and ConvTranspose with kernel_shape, strides, dilations, pads (begins, then ends) and group in numbers."""
    if node.op not in ("Conv", "ConvTranspose") or "auto_pad" not in node.attributes:
        return None
    if convolution_problem(site.graph, node):
        return None
    spatial = site.graph.shapes[node.inputs[0]][1:]
    kernel = site.graph.constants[node.inputs[1]].shape[2:]
    attributes: dict[str, Attribute] = {
        **_geometry(node, spatial, site.graph.shapes[node.outputs[0]][1:], kernel),
        "group": node.attributes["group"],
    }
    if node.op == "ConvTranspose":
        attributes["output_padding"] = ints(node, "output_padding", (0,) * len(spatial))
    return in_place(node, replace(node, attributes=attributes))


def convolution_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no convolution of one or two dimensions with constant weights; None where it is one."""
    x, w = graph.shapes.get(node.inputs[0]), graph.constants.get(node.inputs[1])
    group = int(number(node, "group", 1))
    if w is None or any(name not in graph.constants for name in node.inputs[2:]):
        return "its weights or bias are computed, not constant"
    if x is None or len(x) not in (2, 3):
        return f"has {len(x) - 1 if x else 'unknown'} spatial dimensions, and 1 or 2 can be lowered"
    if w.ndim != len(x) + 1:
        return f"weights of the shape {list(w.shape)} do not fit maps of {list(x)}"
    if group < 1:
        return f"has {group} groups"
    deep, outputs = (w.shape[0], w.shape[1] * group) if node.op == "ConvTranspose" else (w.shape[1] * group, w.shape[0])
    if x[0] != deep or outputs % group or deep % group:
        return f"weights of the shape {list(w.shape)} in {group} groups do not fit {x[0]} channels"
    if len(node.inputs) > 2 and graph.constants[node.inputs[2]].shape != (outputs,):
        return f"its bias has the shape {list(graph.constants[node.inputs[2]].shape)}, not [{outputs}]"
    if ints(node, "kernel_shape", w.shape[2:]) != w.shape[2:]:
        return f"its kernel_shape is not that of its weights, {list(w.shape)}"
    automatic = node.attributes.get("auto_pad", "NOTSET") != "NOTSET"
    if node.op == "ConvTranspose" and (automatic or "output_shape" in node.attributes):
        return "its padding is given by the output shape: give pads"
    return _window_problem(graph, node)


def _window_problem(graph: Graph, node: Node) -> str | None:
    if min(ints(node, "pads", (0,))) < 0:
        return "its padding is negative"
    if graph.shapes.get(node.outputs[0]) is None:
        return "the shape of its output is not known"
    return None


def _geometry(node: Node, spatial: Shape, out: Shape, kernel: Shape) -> dict[str, Shape]:
    """kernel_shape, strides, dilations, pads: SAME_UPPER puts the odd pixel at the end, SAME_LOWER at the beginning."""
    rank = len(spatial)
    strides, dilations = ints(node, "strides", (1,) * rank), ints(node, "dilations", (1,) * rank)
    pads = ints(node, "pads", (0,) * 2 * rank)
    automatic = node.attributes.get("auto_pad", "NOTSET")
    if automatic == "VALID":
        pads = (0,) * 2 * rank
    elif automatic != "NOTSET":
        total = _missing(spatial, out, kernel, strides, dilations, (0,) * 2 * rank)
        small, large = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
        pads = small + large if automatic == "SAME_UPPER" else large + small
    return {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}


def _missing(spatial: Shape, out: Shape, kernel_shape: Shape, strides: Shape, dilations: Shape, pads: Shape) -> Shape:
    """How many cells the last windows reach beyond the padded map: (out - 1) s + d (k - 1) + 1 - (in + pads), or 0."""
    ends = [
        (count - 1) * stride + dilation * (size - 1) + 1
        for count, stride, dilation, size in zip(out, strides, dilations, kernel_shape, strict=True)
    ]
    rank = len(spatial)
    padded = [size + pads[i] + pads[rank + i] for i, size in enumerate(spatial)]
    return tuple(max(0, end - size) for end, size in zip(ends, padded, strict=True))


def pool(site: Site, node: Node) -> Change | None:
    """MaxPool and AveragePool with their geometry in numbers; ceil_mode as padding at the end.

    Padding of a MaxPool is -inf, so a window that reaches beyond the map keeps its maximum. An average leaves the
    cells beyond the padded map out of its count, so ceil_mode becomes padding that is not counted: where no other
    padding is counted. A window of one cell and stride 1 changes nothing.
    """
    if node.op not in POOLS or "auto_pad" not in node.attributes or pool_problem(site.graph, node):
        return None
    geometry, beyond = _pool_geometry(site.graph, node)
    ones = (1,) * len(geometry["kernel_shape"])
    if geometry["kernel_shape"] == geometry["strides"] == ones and not any(geometry["pads"]):
        return without(site, node)
    attributes: dict[str, Attribute] = dict(geometry)
    if node.op == "AveragePool":
        counted = node.attributes["count_include_pad"] and any(geometry["pads"]) and not any(beyond)
        attributes["count_include_pad"] = int(bool(counted))
    return in_place(node, replace(node, attributes=attributes))


def _pool_geometry(graph: Graph, node: Node) -> tuple[dict[str, Shape], Shape]:
    """The geometry, and how much of the padding at the end is there only because of ceil_mode."""
    spatial, out = graph.shapes[node.inputs[0]][1:], graph.shapes[node.outputs[0]][1:]
    geometry = _geometry(node, spatial, out, ints(node, "kernel_shape"))
    beyond = _missing(spatial, out, **geometry)
    pads, rank = geometry["pads"], len(spatial)
    ends = tuple(p + extra for p, extra in zip(pads[rank:], beyond, strict=True))
    return {**geometry, "pads": pads[:rank] + ends}, beyond


def pool_problem(graph: Graph, node: Node) -> str | None:
    """Why the node's windows cannot be written out in numbers; None where they can."""
    if "auto_pad" not in node.attributes:
        return None
    x, out = graph.shapes.get(node.inputs[0]), graph.shapes.get(node.outputs[0])
    if x is None or out is None or len(x) not in (2, 3):
        return "has not one or two spatial dimensions of known size"
    if len(node.outputs) > 1:
        return "the places of its maxima are read"
    if (problem := _window_problem(graph, node)) is not None:
        return problem
    geometry, beyond = _pool_geometry(graph, node)
    pads, rank = geometry["pads"], len(x) - 1
    for i, (size, count) in enumerate(zip(x[1:], out[1:], strict=True)):
        reach = geometry["dilations"][i] * (geometry["kernel_shape"][i] - 1) + 1
        begins_outside = (count - 1) * geometry["strides"][i] >= size + pads[i]
        if begins_outside or pads[i] >= reach or pads[rank + i] >= reach:
            return "one of its windows lies in the padding"
    own = pads[:rank] + tuple(p - extra for p, extra in zip(pads[rank:], beyond, strict=True))
    if node.op == "AveragePool" and node.attributes["count_include_pad"] and any(own) and any(beyond):
        return "counts padding and, by ceil_mode, windows that reach beyond it: no padding says both"
    return None


def whole_map(site: Site, node: Node) -> Change | None:
    """The mean over all of a map is GlobalAveragePool, its maximum a MaxPool with the map as its window.

    ReduceMean and ReduceMax over all spatial axes (with keepdims 0: and a Flatten), an AveragePool without padding
    whose one window is the map, GlobalMaxPool. Over a map of one cell they change nothing.
    """
    x = site.graph.shapes.get(node.inputs[0]) if node.inputs else None
    out = site.graph.shapes.get(node.outputs[0])
    if x is None or out is None or len(x) not in (2, 3):
        return None
    spatial = tuple(x[1:])
    ones = (1,) * len(spatial)
    if node.op in ("ReduceMean", "ReduceMax"):
        if reduced(site.graph, node) != tuple(range(2, len(x) + 1)):
            return None
    elif node.op == "AveragePool" and "auto_pad" not in node.attributes:
        if node.attributes["kernel_shape"] != spatial or any(ints(node, "pads", ())) or out[1:] != ones:
            return None
    elif node.op not in ("GlobalMaxPool", "GlobalAveragePool"):
        return None
    mean = node.op in ("ReduceMean", "AveragePool", "GlobalAveragePool")
    attributes: dict[str, Attribute] = (
        {} if mean else {"kernel_shape": spatial, "strides": ones, "dilations": ones, "pads": (0, 0) * len(spatial)}
    )
    kept = len(out) == len(x)
    if spatial == ones and kept:
        return without(site, node)
    if node.op == "GlobalAveragePool":
        return None
    op, middle = ("GlobalAveragePool" if mean else "MaxPool"), (*x[:1], *ones)
    if kept:
        return in_place(node, replace(node, op=op, inputs=node.inputs[:1], attributes=attributes))
    between = fresh(site, f"{node.outputs[0]}_map")
    first = Node(name=node.name, op=op, inputs=node.inputs[:1], outputs=(between,), attributes=attributes)
    last = Node(name=fresh(site, f"{node.name}_flatten"), op="Flatten", inputs=(between,), outputs=node.outputs)
    return in_place(node, first, last, shapes={between: middle})


def reduced(graph: Graph, node: Node) -> Shape | None:
    """The axes a reduction runs over, counted from the front with the batch as 0; None for all, or unknown."""
    axes = node.attributes.get("axes")
    if axes is None and len(node.inputs) > 1 and node.inputs[1] in graph.constants:
        axes = tuple(int(axis) for axis in graph.constants[node.inputs[1]].ravel())
    rank = len(graph.shapes[node.inputs[0]]) + 1
    return tuple(sorted(int(axis) % rank for axis in axes)) if isinstance(axes, tuple) and axes else None
