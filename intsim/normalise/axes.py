"""Operators that pick, reorder or sum along axes, in terms of those that every machine has."""

import math

import numpy as np
from msgspec.structs import replace

from intsim.graph import Attribute, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, without
from intsim.normalise.windows import reduced

_Step = tuple[str, dict[str, Attribute], Shape]
"""An op, its attributes, and one sample's shape after it."""


def _chain(site: Site, node: Node, steps: list[_Step]) -> Change:
    """The steps in turn in place of the node, each on what the one before gives."""
    shapes, nodes, x = {}, [], node.inputs[0]
    for index, (op, attributes, shape) in enumerate(steps):
        last = index == len(steps) - 1
        out = node.outputs[0] if last else fresh(site, f"{node.outputs[0]}_{index}")
        name = node.name if last else fresh(site, f"{node.name}_{index}")
        nodes.append(Node(name=name, op=op, inputs=(x,), outputs=(out,), attributes=attributes))
        x, shapes[out] = out, shape
    return in_place(node, *nodes, shapes=shapes)


def _reshaped(shape: Shape) -> _Step:
    return "Reshape", {"shape": shape}, shape


def _moved(before: Shape, perm: Shape) -> _Step:
    return "Transpose", {"perm": perm}, tuple(before[axis - 1] for axis in perm[1:])


def blocks(site: Site, node: Node) -> Change | None:
    """DepthToSpace, SpaceToDepth = Reshape, Transpose, Reshape."""
    x = site.graph.shapes.get(node.inputs[0]) if node.inputs else None
    if node.op not in ("DepthToSpace", "SpaceToDepth") or x is None or len(x) != 3:
        return None
    out, b = site.graph.shapes.get(node.outputs[0]), int(str(node.attributes["blocksize"]))
    if out is None:
        return None
    (c, h, w), perm = x, (0, 1, 4, 2, 5, 3)
    if node.op == "SpaceToDepth":
        split, perm = (c, h // b, b, w // b, b), (0, 3, 5, 1, 2, 4)
    elif node.attributes.get("mode", "DCR") == "DCR":
        split, perm = (b, b, c // (b * b), h, w), (0, 3, 4, 1, 5, 2)
    else:
        split = (c // (b * b), b, b, h, w)
    return _chain(site, node, [_reshaped(split), _moved(split, perm), _reshaped(out)])


def gather(site: Site, node: Node) -> Change | None:
    """Gather(x, k) with constants k, one number or a list = the Slices of its runs of equal steps, joined."""
    if node.op != "Gather" or node.inputs[0] in site.graph.constants:
        return None
    x, out = site.graph.shapes.get(node.inputs[0]), site.graph.shapes.get(node.outputs[0])
    k, axis = site.graph.constants.get(node.inputs[1]), node.attributes.get("axis", 0)
    if x is None or out is None or k is None or k.ndim > 1 or not isinstance(axis, int):
        return None
    axis %= len(x) + 1
    if axis == 0:
        return None
    size = x[axis - 1]
    cuts = [_cut(axis, run, size) for run in _runs([int(i) % size for i in k.ravel()])]
    if len(cuts) == 1:
        between = (*x[: axis - 1], k.size, *x[axis:])
        steps: list[_Step] = [("Slice", cuts[0], between)]
        return _chain(site, node, steps if k.ndim else [*steps, _reshaped(out)])
    nodes, names, shapes = list[Node](), list[str](), dict[str, Shape]()
    for cut in cuts:
        name = fresh(site, f"{node.outputs[0]}_{len(nodes)}")
        nodes.append(
            Node(name=fresh(site, f"{node.name}_{len(nodes)}"), op="Slice", inputs=node.inputs[:1], outputs=(name,),
                 attributes=cut)
        )  # fmt: skip
        names.append(name)
    for name, run in zip(names, _runs([int(i) % size for i in k.ravel()]), strict=True):
        shapes[name] = (*x[: axis - 1], len(run), *x[axis:])
    joined = replace(node, op="Concat", inputs=tuple(names), attributes={"axis": axis})
    return in_place(node, *nodes, joined, shapes=shapes)


def _runs(indices: list[int]) -> list[list[int]]:
    """The indices, cut where the step from one to the next changes, or is 0."""
    runs = [[indices[0]]]
    for i in indices[1:]:
        run = runs[-1]
        if i != run[-1] and (len(run) == 1 or i - run[-1] == run[-1] - run[-2]):
            run.append(i)
        else:
            runs.append([i])
    return runs


def _cut(axis: int, run: list[int], size: int) -> dict[str, Attribute]:
    step = run[1] - run[0] if len(run) > 1 else 1
    end = run[-1] + (1 if step > 0 else -1)
    return {"axes": (axis,), "starts": (run[0],), "ends": (end if end >= 0 else -(size + 1),), "steps": (step,)}


def reduction(site: Site, node: Node) -> Change | None:
    """ReduceMean and ReduceMax over any axes of a sample: those last, as one map, and its mean or maximum.

    ReduceSum(x) = ReduceMean(x) times how many numbers each sum has.
    """
    if node.op not in ("ReduceMean", "ReduceMax", "ReduceSum"):
        return None
    x, out = site.graph.shapes.get(node.inputs[0]), site.graph.shapes.get(node.outputs[0])
    axes = reduced(site.graph, node) if x is not None else None
    if x is None or out is None or not axes or 0 in axes or not out:
        return None
    count = math.prod(x[axis - 1] for axis in axes)
    if node.op == "ReduceSum":
        between, factor = fresh(site, f"{node.outputs[0]}_mean"), fresh(site, f"{node.name}_count")
        mean = Node(
            name=fresh(site, f"{node.name}_mean"),
            op="ReduceMean",
            inputs=node.inputs[:1],
            outputs=(between,),
            attributes={"axes": axes},
        )
        times = replace(node, op="Mul", inputs=(between, factor), attributes={})
        number = np.array(count, np.float32)
        return in_place(node, mean, times, constants={factor: number}, shapes={between: out})
    if axes == tuple(range(2, len(x) + 1)) and len(x) in (2, 3):
        return None
    kept = [axis for axis in range(1, len(x) + 1) if axis not in axes]
    move = _moved(x, (0, *kept, *axes))
    rows = math.prod(x[axis - 1] for axis in kept)
    if node.op == "ReduceMean":
        whole: _Step = ("GlobalAveragePool", {}, (rows, 1))
    else:
        window: dict[str, Attribute] = {"kernel_shape": (count,), "strides": (1,), "dilations": (1,), "pads": (0, 0)}
        whole = ("MaxPool", window, (rows, 1))
    return _chain(site, node, [move, _reshaped((rows, count)), whole, _reshaped(out)])


def linear(site: Site, node: Node) -> Change | None:
    """MatMul(x[n, ..., k], w[k, o]) = a Conv of one cell on the map whose channels are k, its channels last again."""
    if node.op != "MatMul" or node.inputs[0] in site.graph.constants:
        return None
    x, w = site.graph.shapes.get(node.inputs[0]), site.graph.constants.get(node.inputs[1])
    out = site.graph.shapes.get(node.outputs[0])
    if x is None or out is None or w is None or w.ndim != 2 or len(x) not in (2, 3) or w.shape[0] != x[-1]:
        return None
    rank, name = len(x) - 1, fresh(site, f"{node.inputs[1]}_kernel")
    ones = (1,) * rank
    first, second = fresh(site, f"{node.outputs[0]}_channels"), fresh(site, f"{node.outputs[0]}_products")
    attributes: dict[str, Attribute] = {
        "kernel_shape": ones, "strides": ones, "dilations": ones, "pads": (0, 0) * rank, "group": 1,
    }  # fmt: skip
    there, back = (0, rank + 1, *range(1, rank + 1)), (0, *range(2, rank + 2), 1)
    nodes = (
        Node(name=fresh(site, f"{node.name}_there"), op="Transpose", inputs=node.inputs[:1], outputs=(first,),
             attributes={"perm": there}),
        replace(node, op="Conv", inputs=(first, name), outputs=(second,), attributes=attributes),
        Node(name=fresh(site, f"{node.name}_back"), op="Transpose", inputs=(second,), outputs=node.outputs,
             attributes={"perm": back}),
    )  # fmt: skip
    return in_place(
        node,
        *nodes,
        constants={name: np.ascontiguousarray(w.T).reshape(*w.T.shape, *ones)},
        shapes={first: (x[-1], *x[:-1]), second: (out[-1], *out[:-1])},
    )


def square(site: Site, node: Node) -> Change | None:
    """x ^ 2 = x x, and x ^ 1 = x."""
    k = site.graph.constants.get(node.inputs[1]) if node.op == "Pow" else None
    if k is None or k.size != 1 or k.item() not in (1, 2):
        return None
    if site.graph.shapes.get(node.inputs[0]) != site.graph.shapes.get(node.outputs[0]):
        return None
    if k.item() == 1:
        return without(site, node)
    return in_place(node, replace(node, op="Mul", inputs=(node.inputs[0],) * 2, attributes={}))


def expand(site: Site, node: Node) -> Change | None:
    """f(Expand(x), y) = f(x, y) for f of two operands that broadcast, where y has the whole shape."""
    out, x = site.graph.shapes.get(node.outputs[0]), node.inputs[0] if node.inputs else ""
    shape, readers = site.graph.shapes.get(x), site.readers.get(node.outputs[0], [])
    if node.op != "Expand" or out is None or shape is None or len(shape) != len(out):
        return None
    if shape == out:
        return without(site, node)
    for reader in readers:
        others = [name for name in reader.inputs if name != node.outputs[0]]
        if reader.op not in ("Add", "Sub", "Mul", "Div", "Max", "Min") or len(others) != 1:
            return None
        if site.graph.shapes.get(others[0]) != out:
            return None
    return without(site, node) if readers and node.outputs[0] not in site.graph.outputs else None


def argmax(site: Site, node: Node) -> Change | None:
    """The classes of x are those of argmax x: an ArgMax over the classes at an output goes, and x is the output."""
    shape = site.graph.shapes.get(node.inputs[0]) if node.op == "ArgMax" else None
    out = node.outputs[0]
    if shape is None or out not in site.graph.outputs or site.readers.get(out) or node.inputs[0] not in site.producers:
        return None
    axis = int(str(node.attributes.get("axis", 0))) % (len(shape) + 1)
    if axis != 1 or node.inputs[0] in site.graph.outputs or node.attributes.get("select_last_index", 0):
        return None
    return Change(
        nodes={node.name: ()},
        rename={out: node.inputs[0]},
        shapes={node.inputs[0]: shape},
        note=f"{node.name}: ArgMax dropped at the output, which holds the logits that it would choose from",
    )
