"""Attention and what surrounds it: products of two activations, softmax in its spellings, class tokens."""

import math

import numpy as np
from msgspec.structs import replace

from intsim.graph import Attribute, Graph, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, number, only_reader
from intsim.normalise.scaling import numbers
from intsim.normalise.windows import reduced


def matmul_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no product of two activations; None where it is one."""
    a, b = (graph.shapes.get(name, ()) for name in node.inputs[:2])
    if len(a) != len(b) or len(a) < 2 or a[-1] != b[-2]:
        return f"matrices of the shapes {list(a)} and {list(b)} do not go together"
    outer = zip(a[:-2], b[:-2], strict=True)
    return (
        None if all(1 in pair or pair[0] == pair[1] for pair in outer) else f"{list(a)} and {list(b)} do not broadcast"
    )


def attention(site: Site, node: Node) -> Change | None:
    """Attention(q, k, v) = Softmax(scale q k^T) v, head by head, in terms of Transpose, MatMul and Softmax."""
    if node.op != "Attention" or attention_problem(site.graph, node):
        return None
    nodes, shapes = list[Node](), dict[str, Shape]()

    def then(op: str, inputs: tuple[str, ...], shape: Shape, /, **attributes: Attribute) -> str:
        out, name = fresh(site, f"{node.outputs[0]}_{len(nodes)}"), fresh(site, f"{node.name}_{len(nodes)}")
        nodes.append(Node(name=name, op=op, inputs=inputs, outputs=(out,), attributes=attributes))
        shapes[out] = shape
        return out

    heads = int(number(node, "q_num_heads", 0)) if "q_num_heads" in node.attributes else 0
    parts = []
    for name in node.inputs[:3]:
        x, shape = name, site.graph.shapes[name]
        if len(shape) == 2:
            split = (shape[0], heads, shape[1] // heads)
            x = then("Reshape", (x,), split, shape=split)
            shape = (split[1], split[0], split[2])
            x = then("Transpose", (x,), shape, perm=(0, 2, 1, 3))
        parts.append((x, shape))
    (q, (h, n, d)), (k, (_, m, _)), (v, (_, _, e)) = parts
    turned = then("Transpose", (k,), (h, d, m), perm=(0, 1, 3, 2))
    scale = float(np.float32(number(node, "scale", 1 / math.sqrt(d))))
    scores = then("MatMul", (q, turned), (h, n, m), alpha=scale)
    weights = then("Softmax", (scores,), (h, n, m), axis=3)
    y = then("MatMul", (weights, v), (h, n, e))
    if len(site.graph.shapes[node.inputs[0]]) == 2:
        y = then("Transpose", (y,), (n, h, e), perm=(0, 2, 1, 3))
        y = then("Reshape", (y,), (n, h * e), shape=(n, h * e))
    nodes[-1] = replace(nodes[-1], name=node.name, outputs=node.outputs[:1])
    del shapes[y]
    return in_place(node, *nodes, shapes=shapes)


def attention_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no attention of every token to every other; None where it is one."""
    a, inputs = node.attributes, node.inputs
    if any(inputs[3:]) or a.get("is_causal", 0):
        return "masks tokens, or remembers earlier ones"
    if a.get("softcap", 0.0) or len(node.outputs) > 1:
        return "bounds its scores, or gives more than its sum"
    shapes = [graph.shapes.get(name) for name in inputs[:3]]
    if any(shape is None or len(shape) not in (2, 3) for shape in shapes):
        return "its operands are not [n, tokens, features] or [n, heads, tokens, features]"
    if not number(node, "scale", 1.0) > 0:
        return "its scale is not above 0"
    sizes = [shape or () for shape in shapes]
    if any(len(size) == 2 for size in sizes):
        heads = {int(number(node, name, 0)) for name in ("q_num_heads", "kv_num_heads")}
        count = next(iter(heads))
        even = count > 0 and all(len(size) == 2 and size[-1] % count == 0 for size in sizes)
        return None if len(heads) == 1 and even else "has more heads of queries than of keys"
    return None if len({size[0] for size in sizes}) == 1 else "has more heads of queries than of keys"


# ---- factors ---------------------------------------------------------------------------------------------------


def _factor(site: Site, name: str, *, behind: bool = False) -> tuple[str, float] | None:
    """x and k where the tensor is k x, with one number k, and is read once, or its readers stand `behind`."""
    maker = site.producers.get(name)
    if maker is None or not (behind or only_reader(site, name)):
        return None
    if maker.op == "Scale":
        a, s = numbers(site, maker)
        return (maker.inputs[0], float(a[0])) if not s.any() and (a == a[0]).all() else None
    known = [site.graph.constants.get(each) for each in maker.inputs]
    if maker.op not in ("Mul", "Div") or len(known) != 2 or (known[0] is None) == (known[1] is None):
        return None
    k = known[0] if known[1] is None else known[1]
    if k is None or k.size != 1 or (maker.op == "Div" and known[1] is None) or k.dtype.kind != "f":
        return None
    x = maker.inputs[0] if known[0] is None else maker.inputs[1]
    value = float(k.item())
    if site.graph.shapes.get(x) is None or site.graph.shapes.get(x) != site.graph.shapes.get(name) or not value:
        return None
    return x, 1 / value if maker.op == "Div" else value


def factor_into_product(site: Site, node: Node) -> Change | None:
    """(k a) b = k (a b), for one number k > 0 and two activations: the product's factor alpha."""
    if node.op != "MatMul" or any(name in site.graph.constants for name in node.inputs):
        return None
    for index, name in enumerate(node.inputs):
        found = _factor(site, name)
        if found is not None and found[1] > 0:
            inputs = (found[0], node.inputs[1]) if index == 0 else (node.inputs[0], found[0])
            return _with_factor(replace(node, inputs=inputs), node, found[1], site.producers[name])
    return None


def factor_after_product(site: Site, node: Node) -> Change | None:
    """k (a b) = a b with the factor alpha k, for one number k > 0 and two activations."""
    found = _factor(site, node.outputs[0], behind=True)
    maker = site.producers.get(found[0]) if found is not None else None
    if found is None or maker is None or maker.op != "MatMul" or not only_reader(site, found[0]) or not found[1] > 0:
        return None
    if any(name in site.graph.constants for name in maker.inputs):
        return None
    return _with_factor(replace(maker, outputs=node.outputs), node, found[1], maker)


def _with_factor(product: Node, at: Node, k: float, gone: Node) -> Change:
    alpha = float(np.float32(number(product, "alpha", 1.0) * k))
    new = replace(product, attributes={**product.attributes, "alpha": alpha})
    return Change(nodes={gone.name: (), at.name: (new,)})


def spelled_softmax(site: Site, node: Node) -> Change | None:
    """e / sum(e) = Softmax(x), e = exp(x) or exp(x - max(x)), along one axis."""
    e = site.producers.get(node.inputs[0]) if node.op == "Div" else None
    total = site.producers.get(node.inputs[1]) if e is not None else None
    if e is None or total is None or e.op != "Exp" or total.op != "ReduceSum" or total.inputs[0] != e.outputs[0]:
        return None
    if len(site.readers[e.outputs[0]]) != 2 or not only_reader(site, total.outputs[0]):
        return None
    shape, gone = site.graph.shapes.get(e.inputs[0]), {e.name: (), total.name: ()}
    axes = reduced(site.graph, total) if shape is not None else None
    if axes is None or len(axes) != 1 or axes[0] == 0 or not total.attributes.get("keepdims", 1):
        return None
    x, less = e.inputs[0], site.producers.get(e.inputs[0])
    if less is not None and less.op == "Sub" and only_reader(site, x):
        most = site.producers.get(less.inputs[1])
        largest = most is not None and most.op == "ReduceMax" and most.inputs[0] == less.inputs[0]
        if most is not None and largest and reduced(site.graph, most) == axes and only_reader(site, most.outputs[0]):
            x, gone = less.inputs[0], {**gone, less.name: (), most.name: ()}
    new = replace(node, op="Softmax", inputs=(x,), attributes={"axis": axes[0]})
    return Change(nodes={**gone, node.name: (new,)})


# ---- constants beside activations ------------------------------------------------------------------------------


def class_token(site: Site, node: Node) -> Change | None:
    """Concat(k, x, m) = Pad(x) + [k, 0, m], for constants k and m: a class token in front of the patches."""
    given = [(name, site.graph.constants.get(name)) for name in node.inputs] if node.op == "Concat" else []
    x = [name for name, k in given if k is None]
    shape, axis = site.graph.shapes.get(node.outputs[0]), node.attributes.get("axis")
    if len(x) != 1 or len(given) < 2 or shape is None or not isinstance(axis, int) or x[0] not in site.graph.shapes:
        return None
    axis %= len(shape) + 1
    whole, at, before = np.zeros((1, *shape)), 0, 0
    for name, k in given:
        if k is None:
            before, at = at, at + site.graph.shapes[name][axis - 1]
            continue
        if k.ndim != whole.ndim or len(k) != 1 or k.dtype.kind != "f":
            return None
        whole[(slice(None),) * axis + (slice(at, at + k.shape[axis]),)] = k
        at += k.shape[axis]
    if axis == 0 or at != shape[axis - 1]:
        return None
    size, between, added = site.graph.shapes[x[0]][axis - 1], fresh(site, f"{node.outputs[0]}_padded"), node.name
    pads = [0] * 2 * len(shape)
    pads[axis - 1], pads[len(shape) + axis - 1] = before, shape[axis - 1] - before - size
    added = fresh(site, f"{node.name}_constants")
    first = Node(
        name=fresh(site, f"{node.name}_padded"),
        op="Pad",
        inputs=(x[0],),
        outputs=(between,),
        attributes={"pads": tuple(pads), "value": 0.0},
    )
    last = replace(node, op="Add", inputs=(between, added), attributes={})
    return in_place(node, first, last, constants={added: whole}, shapes={between: shape})


def added_constants(site: Site, node: Node) -> Change | None:
    """(x + k) + m = x + (k + m), for constants k and m that broadcast to x."""
    found = [_added(site, node)]
    maker = site.producers.get(found[0][0]) if found[0] is not None else None
    found.append(_added(site, maker) if maker is not None else None)
    if found[0] is None or found[1] is None or maker is None or not only_reader(site, found[0][0]):
        return None
    name = fresh(site, f"{node.name}_sum")
    total = found[0][1].astype(np.float64) + found[1][1].astype(np.float64)
    new = replace(node, inputs=(found[1][0], name))
    return Change(nodes={maker.name: (), node.name: (new,)}, constants={name: total})


def _added(site: Site, node: Node) -> tuple[str, np.ndarray] | None:
    """x and k of x + k, for a k that leaves x its shape."""
    constants, shapes = site.graph.constants, site.graph.shapes
    if node.op != "Add" or len(node.inputs) != 2:
        return None
    x = [name for name in node.inputs if name not in constants]
    if len(x) != 1 or shapes.get(x[0]) is None or shapes[x[0]] != shapes.get(node.outputs[0]):
        return None
    k = next(constants[name] for name in node.inputs if name in constants)
    return (x[0], k) if k.dtype.kind == "f" else None


def weights_first(site: Site, node: Node) -> Change | None:
    """w x = (x^T w^T)^T, for a constant matrix w."""
    w, x = (site.graph.constants.get(node.inputs[0]), node.inputs[1]) if node.op == "MatMul" else (None, "")
    shape, out = site.graph.shapes.get(x), site.graph.shapes.get(node.outputs[0])
    if w is None or shape is None or out is None or len(shape) < 2 or w.ndim != 2 or w.shape[1] != shape[-2]:
        return None
    rank = len(shape)
    turn = (*range(rank - 1), rank, rank - 1)
    first, second = fresh(site, f"{node.outputs[0]}_turned"), fresh(site, f"{node.outputs[0]}_products")
    name = fresh(site, f"{node.inputs[0]}_columns")
    nodes = (
        Node(name=fresh(site, f"{node.name}_there"), op="Transpose", inputs=(x,), outputs=(first,),
             attributes={"perm": turn}),
        replace(node, inputs=(first, name), outputs=(second,)),
        Node(name=fresh(site, f"{node.name}_back"), op="Transpose", inputs=(second,), outputs=node.outputs,
             attributes={"perm": turn}),
    )  # fmt: skip
    shapes = {first: (*shape[:-2], shape[-1], shape[-2]), second: (*out[:-2], out[-1], out[-2])}
    return in_place(node, *nodes, constants={name: np.ascontiguousarray(w.T)}, shapes=shapes)
