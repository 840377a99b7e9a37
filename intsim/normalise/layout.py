"""Operators that only move numbers: reshapes, and transposes that cancel, or that a door or a matrix can take in."""

import math

import numpy as np
from msgspec.structs import replace

from intsim.graph import Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, ints, only_reader, without

_EACH_BY_ITSELF = """
    Add Clip Div Elu Gelu HardSigmoid HardSwish LeakyRelu Mish Mul Neg Relu Sigmoid Softplus Sub Tanh
""".split()  # noqa: SIM905


def reshape(site: Site, node: Node) -> Change | None:
    """Reshape, Flatten, Squeeze, Unsqueeze, and a Transpose that moves only axes of size 1: one thing.

    They keep the order of the numbers. [...] to [n] is Flatten, [...] to [...] of the same shape is nothing, and the
    rest is Reshape with the target of one sample.
    """
    if node.op not in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"):
        return None
    before, after = (site.graph.shapes.get(name) for name in (node.inputs[0], node.outputs[0]))
    if before is None or after is None or math.prod(before) != math.prod(after):
        return None
    if node.op == "Transpose":
        order = ints(node, "perm")
        if order[:1] != (0,):
            return None
        moved = [axis for axis in order[1:] if before[axis - 1] != 1]
        if moved != sorted(moved):
            return None
    if before == after and (change := without(site, node)):
        return change
    op, attributes = ("Reshape", {"shape": after}) if len(after) != 1 or before == after else ("Flatten", {})
    new = replace(node, op=op, inputs=node.inputs[:1], attributes=attributes)
    return None if new == node else in_place(node, new)


def reshape_chain(site: Site, node: Node) -> Change | None:
    """Reshape(Reshape(x)) = Reshape(x) to the last shape: where nobody reads the one between."""
    maker = site.producers.get(node.inputs[0]) if node.inputs else None
    kinds = ("Reshape", "Flatten")
    if node.op not in kinds or maker is None or maker.op not in kinds or not only_reader(site, node.inputs[0]):
        return None
    if len(node.inputs) > 1 or len(maker.inputs) > 1:
        return None
    return Change(nodes={maker.name: (), node.name: (replace(node, inputs=maker.inputs),)})


def transpose_chain(site: Site, node: Node) -> Change | None:
    """Transpose_q(Transpose_p(x)) = Transpose_r(x) with r[i] = p[q[i]]; where r is 0, 1, 2 ... it is x."""
    if node.op != "Transpose" or not (order := ints(node, "perm")):
        return None
    if order == tuple(range(len(order))):
        return without(site, node)
    maker = site.producers.get(node.inputs[0])
    if maker is None or maker.op != "Transpose" or not (first := ints(maker, "perm")):
        return None
    both = tuple(first[axis] for axis in order)
    new = replace(node, inputs=maker.inputs, attributes={"perm": both})
    gone: dict[str, tuple[Node, ...]] = {maker.name: ()} if only_reader(site, node.inputs[0]) else {}
    return Change(nodes={**gone, node.name: (new,)})


def transpose_later(site: Site, node: Node) -> Change | None:
    """f(Transpose(x), k) = Transpose(f(x, k')), k = Transpose(k'): for an f of each number by itself, constants k.

    So a transpose meets the one that undoes it, or the matrix that takes it in.
    """
    x = _moved(site, node)
    t = site.producers.get(x) if x else None
    if t is None or t.op != "Transpose" or _enters(site, t, t.inputs[0]) or not only_reader(site, x):
        return None
    between, order = fresh(site, f"{node.outputs[0]}_before"), ints(t, "perm")
    if not order or (shape := site.graph.shapes.get(t.inputs[0])) is None:
        return None
    inputs, constants = _turned(site, node, x, t.inputs[0], tuple(int(i) for i in np.argsort(order)))
    first = replace(node, inputs=inputs, outputs=(between,))
    last = replace(t, inputs=(between,), outputs=node.outputs)
    return Change(nodes={t.name: (), node.name: (first, last)}, constants=constants, shapes={between: shape})


def transpose_earlier(site: Site, node: Node) -> Change | None:
    """Transpose(f(x, k)) = f(Transpose(x), Transpose(k)): for an f as above, where only such ones stand before it.

    So a transpose meets the input.
    """
    f = site.producers.get(node.inputs[0]) if node.op == "Transpose" else None
    x = _moved(site, f) if f is not None else ""
    shape = site.graph.shapes.get(node.outputs[0])
    if f is None or not x or shape is None or not only_reader(site, f.outputs[0]):
        return None
    start = x
    while start in site.producers and only_reader(site, start):
        start = _moved(site, site.producers[start])
    if not _enters(site, node, start):
        return None
    between = fresh(site, f"{node.outputs[0]}_before")
    inputs, constants = _turned(site, f, x, between, ints(node, "perm"))
    first = replace(node, inputs=(x,), outputs=(between,))
    last = replace(f, inputs=inputs, outputs=node.outputs)
    return Change(nodes={f.name: (first, last), node.name: ()}, constants=constants, shapes={between: shape})


def _enters(site: Site, node: Node, x: str) -> bool:
    """Whether the node puts the last axis of x first, x being an input that nothing else reads."""
    order = ints(node, "perm")
    last_first = (0, len(order) - 1, *range(1, len(order) - 1))
    return node.op == "Transpose" and x in site.graph.inputs and only_reader(site, x) and order == last_first


def _moved(site: Site, node: Node) -> str:
    """The one activation of a node that looks at each number by itself; "" for every other node."""
    names = [name for name in node.inputs if name not in site.graph.constants]
    if node.op not in _EACH_BY_ITSELF or len(names) != 1:
        return ""
    before, after = (site.graph.shapes.get(name) for name in (names[0], node.outputs[0]))
    return names[0] if before is not None and before == after else ""


def _turned(site: Site, node: Node, old: str, new: str, order: Shape) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """The node's inputs with `new` for `old`, and its constants in the order of the new axes."""
    constants, inputs = {}, []
    for name in node.inputs:
        inputs.append(new if name == old else name)
        if name in site.graph.constants and site.graph.constants[name].size > 1:
            k = site.graph.constants[name]
            inputs[-1] = fresh(site, f"{node.name}_constant")
            constants[inputs[-1]] = k.reshape((1,) * (len(order) - k.ndim) + k.shape).transpose(order)
    return tuple(inputs), constants


def transpose_at_input(site: Site, node: Node) -> Change | None:
    """Transpose(x[n, h, w, c]) = x'[n, c, h, w]: a network that takes channels last is given them first.

    Where nothing else reads the input. Everything outside a Graph has channels first.
    """
    x, shape = node.inputs[0] if node.inputs else "", site.graph.shapes.get(node.outputs[0])
    if not _enters(site, node, x) or shape is None or node.outputs[0] in site.graph.outputs:
        return None
    return Change(
        nodes={node.name: ()},
        rename={node.outputs[0]: x},
        shapes={x: shape},
        note=f"{node.name}: the file takes {x} with channels last; here it takes [n, {', '.join(map(str, shape))}]",
    )


def transpose_into_gemm(site: Site, node: Node) -> Change | None:
    """w flatten(transpose(x)) = w' flatten(x), the columns of w' being those of w in the order of x."""
    flat = site.producers.get(node.inputs[0]) if node.op == "Gemm" and "transB" not in node.attributes else None
    moved = site.producers.get(flat.inputs[0]) if flat is not None and flat.op == "Flatten" else None
    if flat is None or moved is None or moved.op != "Transpose" or not only_reader(site, node.inputs[0]):
        return None
    order, shape = ints(moved, "perm"), site.graph.shapes.get(moved.outputs[0])
    if shape is None or order[:1] != (0,) or len(site.readers[node.inputs[1]]) > 1:
        return None
    w = site.graph.constants[node.inputs[1]]
    columns = w.reshape(len(w), *shape).transpose(np.argsort(order)).reshape(w.shape)
    again = replace(flat, inputs=moved.inputs)
    return Change(nodes={flat.name: (again,)}, constants={node.inputs[1]: columns})
