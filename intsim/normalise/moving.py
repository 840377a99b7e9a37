"""Operators that move, pick or repeat numbers, in their one canonical spelling: Transpose, Slice, Split, Resize."""

from msgspec.structs import replace

from intsim.graph import Attribute, Graph, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, ints, without

_BEYOND = (1 << 31) - 1
_COORDINATES = {
    "half_pixel": "half_pixel",
    "half_pixel_symmetric": "half_pixel",  # the same where the scale is the ratio of the sizes
    "pytorch_half_pixel": "pytorch_half_pixel",
    "align_corners": "align_corners",
    "asymmetric": "asymmetric",
}


def transpose_problem(graph: Graph, node: Node) -> str | None:
    """Why the node's axes cannot be put in order; None where they can."""
    perm = ints(node, "perm")
    return "moves the batch" if perm[:1] != (0,) else None


# ---- Slice and Split -------------------------------------------------------------------------------------------


def slice_(site: Site, node: Node) -> Change | None:
    """Slice with starts, ends, axes and steps in numbers: starts from the front, ends so too, or -(n + 1) for none."""
    if node.op != "Slice" or "steps" in node.attributes or slice_problem(site.graph, node):
        return None
    shape, cuts = site.graph.shapes[node.inputs[0]], _cuts(site.graph, node)
    assert cuts is not None
    settled = [_settled(*cut, shape[cut[0] - 1]) for cut in cuts if cut[0]]
    parts = [part for part in settled if part[1:] != (0, shape[part[0] - 1], 1)]
    if not parts and (change := without(site, node)):
        return change
    columns = zip(*(parts or settled), strict=True)
    attributes: dict[str, Attribute] = dict(zip(("axes", "starts", "ends", "steps"), columns, strict=True))
    return in_place(node, replace(node, inputs=node.inputs[:1], attributes=attributes)) if attributes else None


def _settled(axis: int, begin: int, end: int, step: int, size: int) -> tuple[int, int, int, int]:
    first, last, step = slice(begin, end, step).indices(size)
    return axis, first, last if last >= 0 else -(size + 1), step


def slice_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no cut of known bounds; None where it is one."""
    if "steps" in node.attributes:
        return None
    shape, cuts = graph.shapes.get(node.inputs[0]), _cuts(graph, node)
    if cuts is None or shape is None:
        return "its bounds are computed, not constant"
    if any(cut[0] == 0 and (cut[1] != 0 or cut[2] < _BEYOND or cut[3] != 1) for cut in cuts):
        return "cuts the batch"
    if 0 in graph.shapes.get(node.outputs[0], (1,)):
        return "leaves nothing"
    return None


def _cuts(graph: Graph, node: Node) -> list[tuple[int, int, int, int]] | None:
    """(axis, start, end, step) of every cut."""
    names, given = ("starts", "ends", "axes", "steps"), dict[str, Shape]()
    for name, source in zip(names, node.inputs[1:], strict=False):
        if source and source not in graph.constants:
            return None
        if source:
            given[name] = tuple(int(v) for v in graph.constants[source].ravel())
    rank, count = len(graph.shapes.get(node.inputs[0], ())) + 1, len(given.get("starts", ()))
    axes = [axis % rank for axis in given.get("axes", tuple(range(count)))]
    parts = (axes, given.get("starts", ()), given.get("ends", ()), given.get("steps", (1,) * count))
    return list(zip(*parts, strict=True)) if len({len(part) for part in parts}) == 1 else None


def split(site: Site, node: Node) -> Change | None:
    """Split(x) to y0, y1 ... = a Slice for each."""
    if node.op != "Split" or split_problem(site.graph, node):
        return None
    shapes, axis = site.graph.shapes, _axis(site.graph, node)
    nodes, begin = [], 0
    for index, name in enumerate(node.outputs):
        size = shapes[name][axis - 1]
        attributes: dict[str, Attribute] = {
            "axes": (axis,), "starts": (begin,), "ends": (begin + size,), "steps": (1,),
        }  # fmt: skip
        own = node.name if index == 0 else fresh(site, f"{node.name}_{index}")
        nodes.append(Node(name=own, op="Slice", inputs=node.inputs[:1], outputs=(name,), attributes=attributes))
        begin += size
    return in_place(node, *nodes)


def split_problem(graph: Graph, node: Node) -> str | None:
    """Why the node does not part its input at known places; None where it does."""
    if graph.shapes.get(node.inputs[0]) is None or any(name not in graph.shapes for name in node.outputs):
        return "the sizes of its parts are not known"
    return "splits the batch" if _axis(graph, node) == 0 else None


def _axis(graph: Graph, node: Node) -> int:
    axis = node.attributes.get("axis", 0)
    assert isinstance(axis, int)
    return axis % (len(graph.shapes[node.inputs[0]]) + 1)


# ---- Resize ----------------------------------------------------------------------------------------------------


def resize(site: Site, node: Node) -> Change | None:
    """Resize by its output's shape: mode, coordinate and nearest; to the same shape it is nothing."""
    if node.op != "Resize" or "coordinate" in node.attributes or resize_problem(site.graph, node):
        return None
    shapes, given = site.graph.shapes, node.attributes
    if shapes[node.inputs[0]] == shapes[node.outputs[0]] and (change := without(site, node)):
        return change
    attributes: dict[str, Attribute] = {
        "mode": str(given["mode"]),
        "coordinate": _COORDINATES[str(given["coordinate_transformation_mode"])],
        "nearest": str(given["nearest_mode"]),
    }
    return in_place(node, replace(node, op="Resize", inputs=node.inputs[:1], attributes=attributes))


def resize_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no resizing by the ratio of its shapes; None where it is one."""
    if "coordinate" in node.attributes:
        return None
    before, after, given = graph.shapes.get(node.inputs[0]), graph.shapes.get(node.outputs[0]), node.attributes
    if before is None or after is None or len(before) < 2:
        return "the shape of its input or output is not known"
    if before[0] != after[0]:
        return "resizes the channels"
    if given.get("mode") not in ("nearest", "linear"):
        return f"interpolates by mode {given.get('mode')}, and nearest and linear can be lowered"
    coordinate = given.get("coordinate_transformation_mode")
    if coordinate not in _COORDINATES:
        return f"its coordinates are {coordinate}"
    if given.get("antialias", 0):
        return "blurs before it shrinks (antialias)"
    if given.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "chooses its own size, to keep the aspect ratio"
    return _scale_problem(graph, node, before, after)


def _scale_problem(graph: Graph, node: Node, before: Shape, after: Shape) -> str | None:
    """A scale that is not the ratio of the sizes looks elsewhere."""
    source = node.inputs[2] if len(node.inputs) > 2 else ""
    if source not in graph.constants:
        return None
    found = [float(s) for s in graph.constants[source].ravel()]
    axes = ints(node, "axes", tuple(range(len(before) + 1)))
    for axis, scale in zip((axis % (len(before) + 1) for axis in axes), found, strict=False):
        if axis and before[axis - 1] * scale != after[axis - 1]:
            return f"its scale {scale:g} is not the ratio of {before[axis - 1]} to {after[axis - 1]}"
    return None
