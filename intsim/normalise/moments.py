"""Normalizations by the moments of the image itself, in terms of means, products and 1 / sqrt."""

import numpy as np
from msgspec.structs import replace

from intsim.graph import Attribute, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, number


def root(site: Site, node: Node) -> Change | None:
    """a / sqrt(v + e) = a Rsqrt(v; e), and 1 / sqrt(v + e) = Rsqrt(v; e): with a constant e above 0."""
    if node.op not in ("Div", "Reciprocal") or not node.inputs:
        return None
    constants, sqrt = site.graph.constants, site.producers.get(node.inputs[-1])
    inner = site.producers.get(sqrt.inputs[0]) if sqrt is not None and sqrt.op == "Sqrt" else None
    if inner is None or inner.op != "Add":
        return None
    epsilon = next((constants[name] for name in inner.inputs if name in constants), None)
    v = next((name for name in inner.inputs if name not in constants), "")
    shape = site.graph.shapes.get(v)
    if epsilon is None or epsilon.size != 1 or not epsilon.item() > 0 or shape is None:
        return None
    attributes: dict[str, Attribute] = {"alpha": float(np.float32(epsilon.item()))}
    numerator = constants.get(node.inputs[0])
    if node.op == "Reciprocal" or (numerator is not None and numerator.size == 1 and numerator.item() == 1):
        if site.graph.shapes.get(node.outputs[0]) != shape:
            return None
        return in_place(node, replace(node, op="Rsqrt", inputs=(v,), attributes=attributes))
    between = fresh(site, f"{node.outputs[0]}_root")
    first = Node(name=fresh(site, f"{node.name}_root"), op="Rsqrt", inputs=(v,), outputs=(between,),
                 attributes=attributes)  # fmt: skip
    last = replace(node, op="Mul", inputs=(node.inputs[0], between), attributes={})
    return in_place(node, first, last, shapes={between: shape})


def normalization(site: Site, node: Node) -> Change | None:
    """LayerNormalization(x) = d Rsqrt(mean(d d); epsilon) gamma + beta with d = x - mean(x).

    InstanceNormalization over the map of each channel; RMSNormalization with d = x.
    """
    kinds = ("LayerNormalization", "InstanceNormalization", "RMSNormalization")
    x = site.graph.shapes.get(node.inputs[0]) if node.op in kinds else None
    if x is None or len(node.outputs) > 1 or site.graph.shapes.get(node.outputs[0]) != x:
        return None
    rank = len(x) + 1
    begin = 2 if node.op == "InstanceNormalization" else int(str(node.attributes.get("axis", -1))) % rank
    epsilon = float(np.float32(number(node, "epsilon", 1e-5)))
    if begin == 0 or begin >= rank or not epsilon > 0:
        return None
    axes = tuple(range(begin, rank))
    parts = _weights(site, node, x)
    if parts is None:
        return None
    nodes, shapes, constants = list[Node](), dict[str, Shape](), dict[str, np.ndarray]()

    def then(op: str, inputs: tuple[str, ...], shape: Shape, /, **attributes: Attribute) -> str:
        out = fresh(site, f"{node.outputs[0]}_{len(nodes)}")
        name = fresh(site, f"{node.name}_{len(nodes)}")
        nodes.append(Node(name=name, op=op, inputs=inputs, outputs=(out,), attributes=attributes))
        shapes[out] = shape
        return out

    mean = tuple(1 if axis in axes else size for axis, size in enumerate(x, start=1))
    d = node.inputs[0]
    if node.op != "RMSNormalization":
        d = then("Sub", (d, then("ReduceMean", (d,), mean, axes=axes)), x)
    variance = then("ReduceMean", (then("Mul", (d, d), x),), mean, axes=axes)
    y = then("Mul", (d, then("Rsqrt", (variance,), mean, alpha=epsilon)), x)
    for op, values in parts:
        name = fresh(site, f"{node.name}_{op}")
        constants[name] = values
        y = then(op, (y, name), x)
    nodes[-1] = replace(nodes[-1], name=node.name, outputs=node.outputs)
    del shapes[y]
    return in_place(node, *nodes, constants=constants, shapes=shapes)


def _weights(site: Site, node: Node, x: Shape) -> list[tuple[str, np.ndarray]] | None:
    """The factor of the normalized numbers and what is added, where not 1, or 0; None where one is computed."""
    found = []
    for op, nothing, name in zip(("Mul", "Add"), (1, 0), node.inputs[1:], strict=False):
        values = site.graph.constants.get(name)
        if name and values is None:
            return None
        if values is not None and (values != nothing).any():
            one_per_channel = node.op == "InstanceNormalization"
            found.append((op, values.reshape(-1, *(1,) * (len(x) - 1)) if one_per_channel else values))
    return found
