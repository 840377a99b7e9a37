"""Everything that multiplies and shifts channel by channel: found, composed, and folded into its neighbours.

BatchNormalization, and Mul, Div, Add, Sub, Neg with constants, are all y = a[c] x + s[c]. Between its recognition and
its end that is a node Scale(x, a, s) with float64 vectors a and s of one number per channel; none survives `normalise`.
"""

import math

import numpy as np

from intsim.graph import Graph, Node, Pixels, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, only_reader, without

_ARITHMETIC = ("Mul", "Div", "Add", "Sub", "Neg", "BatchNormalization")
_RAW_PIXELS = 0.1


def scale(site: Site, node: Node) -> Change | None:
    """BatchNormalization(x) = a x + s with a = gamma / sqrt(variance + epsilon), s = beta - a mean; and arithmetic.

    x k, x / k, x + k, k - x and -x are a x + s too, wherever k is one number, or one per channel.
    """
    if node.op not in _ARITHMETIC or scale_problem(site.graph, node):
        return None
    constants = site.graph.constants
    operands = [name for name in node.inputs if name not in constants]
    if len(operands) != 1:
        return None
    x = operands[0]
    shape = site.graph.shapes[x]
    factor, shift = np.ones(shape[0]), np.zeros(shape[0])
    if node.op == "BatchNormalization":
        gamma, beta, mean, variance = (constants[name].astype(np.float64) for name in node.inputs[1:5])
        factor = gamma / np.sqrt(variance + np.float64(node.attributes["epsilon"]))  # type: ignore[arg-type]
        shift = beta - factor * mean
    elif node.op == "Neg":
        factor = -factor
    else:
        constant_first = node.inputs[0] in constants
        k = _per_channel(constants[node.inputs[0 if constant_first else 1]], shape)
        assert k is not None
        if node.op == "Mul":
            factor = k
        elif node.op == "Div":
            factor = 1 / k
        else:
            shift = k if constant_first or node.op == "Add" else -k
            factor = -factor if constant_first and node.op == "Sub" else factor
    if not factor.any() and not shift.any():
        return None
    new, numbers = _scale(site, node, x, factor, shift)
    return in_place(node, new, constants=numbers)


def _scale(site: Site, node: Node, x: str, factor: np.ndarray, shift: np.ndarray) -> tuple[Node, dict[str, np.ndarray]]:
    a, s = fresh(site, f"{node.name}_factor"), fresh(site, f"{node.name}_shift")
    return Node(name=node.name, op="Scale", inputs=(x, a, s), outputs=node.outputs), {a: factor, s: shift}


def _per_channel(constant: np.ndarray, shape: Shape) -> np.ndarray | None:
    """The constant as float64[c], where it broadcasts against [n, c, ...] as one number per channel; else None."""
    rank = len(shape) + 1
    if constant.ndim > rank or constant.dtype.kind != "f" or rank < 2:
        return None
    full = (1,) * (rank - constant.ndim) + constant.shape
    if full[1] not in (1, shape[0]) or constant.size != full[1]:
        return None
    return np.broadcast_to(constant.ravel().astype(np.float64), (shape[0],))


def scale_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no scaling and shifting by channel, nor an Add of two activations; None where it is one."""
    operands = [name for name in node.inputs if name not in graph.constants]
    x, out = graph.shapes.get(operands[0]) if operands else None, graph.shapes.get(node.outputs[0])
    if x is None or out is None:
        return "the shape of its input or output is not known"
    if node.op == "BatchNormalization":
        values = [graph.constants.get(name) for name in node.inputs[1:5]]
        if node.attributes.get("training_mode") or len(node.outputs) > 1:
            return "is in training mode"
        if operands != list(node.inputs[:1]) or any(v is None or v.shape != x[:1] for v in values):
            return "its statistics are not one constant number per channel"
        variance = values[3]
        if variance is not None and not (variance.astype(np.float64) + node.attributes["epsilon"] > 0).all():
            return "has a variance below zero"
        return _dimensions(x)
    if len(operands) > 1 or node.op == "Neg":
        if node.op in ("Mul", "Div", "Sub"):
            return "both operands are computed"
        shapes = [list(graph.shapes.get(name, ())) for name in operands]
        return None if all(s == list(out) for s in shapes) else f"its operands have the shapes {shapes}"
    constant = next(graph.constants[name] for name in node.inputs if name in graph.constants)
    k = _per_channel(constant, x)
    if k is None or out != x:
        return f"a constant of the shape {list(constant.shape)} is not one number per channel of {list(x)}"
    if node.op == "Div" and (node.inputs[0] in graph.constants or not k.all()):
        return "divides a constant, or by zero"
    return _dimensions(x)


def _dimensions(x: Shape) -> str | None:
    return None if 1 <= len(x) <= 3 else f"has {len(x) - 1} spatial dimensions, and 1 or 2 can be lowered"


def _numbers(site: Site, node: Node) -> tuple[np.ndarray, np.ndarray]:
    return site.graph.constants[node.inputs[1]], site.graph.constants[node.inputs[2]]


def scale_chain(site: Site, node: Node) -> Change | None:
    """a2 (a1 x + s1) + s2 = (a2 a1) x + (a2 s1 + s2); and 1 x + 0 = x."""
    if node.op != "Scale":
        return None
    a2, s2 = _numbers(site, node)
    if (a2 == 1).all() and not s2.any() and (change := without(site, node)):
        return change
    maker = site.producers.get(node.inputs[0])
    if maker is None or maker.op != "Scale" or not only_reader(site, node.inputs[0]):
        return None
    a1, s1 = _numbers(site, maker)
    new, constants = _scale(site, node, maker.inputs[0], a2 * a1, a2 * s1 + s2)
    return Change(nodes={maker.name: (), node.name: (new,)}, constants=constants)


def scale_into_pixels(site: Site, node: Node) -> Change | None:
    """a ((p / d - m) / t) + s = (p / d - (m - s t / a)) / (t / a): on an input, it is how pixels become the input.

    Where nobody has said what the input's pixels are, a network whose own |a| is below 0.1 takes pixels 0 to 255 as
    they are: d = 1. (On inputs 0 to 1 such a network would see a picture of almost one color.)
    """
    x = node.inputs[0] if node.inputs else ""
    if node.op != "Scale" or x not in site.graph.inputs or not only_reader(site, x):
        return None
    a, s = _numbers(site, node)
    if not a.all() or node.outputs[0] in site.graph.outputs:
        return None
    raw = x not in site.graph.pixels and float(np.abs(a).max()) < _RAW_PIXELS
    before = site.graph.pixels.get(x, Pixels(divisor=1.0) if raw else Pixels())
    mean, std = np.asarray(before.mean) - s * np.asarray(before.std) / a, np.asarray(before.std) / a
    divisor = before.divisor
    if not mean.any() and len(set(std)) == 1:
        divisor, std = divisor * std[0], np.ones(1)
    after = Pixels(divisor=float(divisor), mean=_short(mean), std=_short(std))
    note = f"{node.name}: folded into how pixels become {x}: (pixel / {after.divisor:g} - mean) / std"
    if raw:
        note += ", since the network itself takes pixels from 0 to 255"
    return Change(nodes={node.name: ()}, rename={node.outputs[0]: x}, pixels={x: after}, note=note)


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in (values[:1] if len(set(values)) == 1 else values))


def scale_into_producer(site: Site, node: Node) -> Change | None:
    """a (w x + b) + s = (a w) x + (a b + s), a along the outputs: into the Conv, ConvTranspose or Gemm before it."""
    maker = site.producers.get(node.inputs[0]) if node.inputs else None
    if node.op != "Scale" or maker is None or _why_not_producer(site, node, maker):
        return None
    a, s = _numbers(site, node)
    w = site.graph.constants[maker.inputs[1]].astype(np.float64)
    if maker.op == "ConvTranspose":
        w = _grouped(w, maker) * a.reshape(_groups(maker), 1, -1, *(1,) * (w.ndim - 2))
    else:
        w = w * a.reshape(-1, *(1,) * (w.ndim - 1))
    return _folded(site, node, maker, w, a * _bias(site, maker, len(a)) + s)


def _folded(site: Site, node: Node, product: Node, w: np.ndarray, b: np.ndarray) -> Change:
    """The product with other weights and bias, in the place of the one before the Scale or the one after it."""
    shape = site.graph.constants[product.inputs[1]].shape
    names = {product.inputs[1]: w.reshape(shape)}
    bias = product.inputs[2] if len(product.inputs) > 2 else fresh(site, f"{product.name}_bias")
    if len(site.readers.get(bias, ())) > 1:
        bias = fresh(site, f"{product.name}_bias")
    has_bias = len(product.inputs) > 2 or b.any()
    names |= {bias: b} if has_bias else {}
    after = product.inputs[0] in node.outputs
    x, outputs = (node.inputs[0], product.outputs) if after else (product.inputs[0], node.outputs)
    new = Node(
        name=product.name,
        op=product.op,
        inputs=(x, product.inputs[1], bias) if has_bias else (x, product.inputs[1]),
        outputs=outputs,
        attributes=product.attributes,
    )
    places = {product.name: (new,), node.name: ()} if after else {product.name: (), node.name: (new,)}
    return Change(nodes=places, constants=names)


def scale_into_reader(site: Site, node: Node) -> Change | None:
    """w (a x + s) + b = (w a) x + (w s + b), a along the inputs: into the Conv, ConvTranspose or Gemm after it.

    A shift meets the zeros of a padding as zero, not as s, and so cannot be moved behind it: only s = 0 goes there.
    """
    reader = site.readers[node.outputs[0]][0] if only_reader(site, node.outputs[0]) else None
    if node.op != "Scale" or reader is None or _why_not_reader(site, node, reader):
        return None
    a, s = _numbers(site, node)
    w = site.graph.constants[reader.inputs[1]].astype(np.float64)
    space = (1,) * (w.ndim - 2)
    if reader.op == "ConvTranspose":
        w, shift = w * a.reshape(-1, 1, *space), np.zeros(w.shape[1] * _groups(reader))
    else:
        parts = _grouped(w, reader)
        inputs = (_groups(reader), 1, -1, *space)
        shift = (parts * s.reshape(inputs)).sum(axis=tuple(range(2, parts.ndim))).ravel()
        w = parts * a.reshape(inputs)
    return _folded(site, node, reader, w, _bias(site, reader, len(shift)) + shift)


def _groups(node: Node) -> int:
    group = node.attributes.get("group", 1)
    assert isinstance(group, int)
    return group


def _grouped(w: np.ndarray, node: Node) -> np.ndarray:
    return w.reshape(_groups(node), -1, *w.shape[1:])


def _bias(site: Site, node: Node, count: int) -> np.ndarray:
    return site.graph.constants[node.inputs[2]].astype(np.float64) if len(node.inputs) > 2 else np.zeros(count)


def _why_not_producer(site: Site, node: Node, maker: Node) -> str | None:
    if not _is_product(maker):
        return "no Conv, ConvTranspose or Gemm stands before it"
    if not only_reader(site, node.inputs[0]):
        return f"others read {maker.name} too"
    return _shared(site, maker)


def _why_not_reader(site: Site, node: Node, reader: Node) -> str | None:
    if not _is_product(reader) or reader.inputs[0] != node.outputs[0]:
        return "no Conv, ConvTranspose or Gemm stands after it"
    pads = reader.attributes.get("pads", ())
    moves = isinstance(pads, tuple) and any(pads)
    if _numbers(site, node)[1].any() and (moves or reader.op == "ConvTranspose"):
        return f"its shift cannot pass the zero padding of {reader.name}"
    return _shared(site, reader)


def _is_product(node: Node) -> bool:
    """Whether the node stands in the canonical spelling of a product with constant weights."""
    return node.op in ("Conv", "ConvTranspose", "Gemm") and not {"auto_pad", "transB"} & node.attributes.keys()


def _shared(site: Site, product: Node) -> str | None:
    others = [n.name for n in site.readers[product.inputs[1]] if n.name != product.name]
    return f'the weight "{product.inputs[1]}" is shared by {product.name} and {others[0]}' if others else None


def scale_alone(site: Site, node: Node) -> Change | None:
    """a x + s as a Conv of one cell and one channel a group: what is left when it folds into no neighbour.

    A matrix [n, k] passes through [n, k, 1, 1]. The note says why it stands alone.
    """
    if node.op != "Scale":
        return None
    x, (a, s) = site.graph.shapes[node.inputs[0]], _numbers(site, node)
    maker, readers = site.producers.get(node.inputs[0]), site.readers.get(node.outputs[0], [])
    reasons = [_why_not_producer(site, node, maker)] if maker is not None and _is_product(maker) else []
    reasons += [_why_not_reader(site, node, reader) for reader in readers if _is_product(reader)]
    why = next(filter(None, reasons), "no Conv, ConvTranspose or Gemm stands beside it")
    rank = max(len(x) - 1, 1) if len(x) > 1 else 2
    weight, bias = fresh(site, f"{node.name}_weight"), fresh(site, f"{node.name}_bias")
    constants = {weight: a.reshape(-1, 1, *(1,) * rank)} | ({bias: s} if s.any() else {})
    attributes = {
        "kernel_shape": (1,) * rank,
        "strides": (1,) * rank,
        "dilations": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "group": math.prod(a.shape),
    }
    new = Node(
        name=node.name, op="Conv", inputs=(node.inputs[0], *constants), outputs=node.outputs, attributes=attributes
    )  # type: ignore[arg-type]
    note = f"{node.name}: kept as a step of its own: {why}"
    if len(x) > 1:
        return in_place(node, new, constants=constants, note=note)
    wide, scaled = fresh(site, f"{node.outputs[0]}_wide"), fresh(site, f"{node.outputs[0]}_scaled")
    shape = (x[0], 1, 1)
    nodes = (
        Node(
            name=fresh(site, f"{node.name}_wide"),
            op="Reshape",
            inputs=node.inputs[:1],
            outputs=(wide,),
            attributes={"shape": shape},
        ),
        Node(name=node.name, op="Conv", inputs=(wide, *constants), outputs=(scaled,), attributes=attributes),  # type: ignore[arg-type]
        Node(name=fresh(site, f"{node.name}_flat"), op="Flatten", inputs=(scaled,), outputs=node.outputs),
    )
    return in_place(node, *nodes, constants=constants, shapes={wide: shape, scaled: shape}, note=note)
