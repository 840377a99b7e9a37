"""A Scale, y = a[c] x + s[c], folded into the door of the network, or into the product before or after it."""

import numpy as np
from msgspec.structs import replace

from intsim.graph import Attribute, Node, Pixels
from intsim.normalise.rewriting import Change, Site, fresh, in_place, ints, number, only_reader
from intsim.normalise.scaling import numbers

_RAW_PIXELS = 0.1

GUESSED = "since the network itself takes pixels from 0 to 255"
"""How the note ends that says so; nobody said it, it is read off the network's weights."""


def scale_into_pixels(site: Site, node: Node) -> Change | None:
    """a ((x - m) / t) + s = (x - (m - s t / a)) / (t / a): on an input x, it is the network's own normalization.

    Where nobody has said what the input's pixels are, a network whose own |a| is below 0.1 takes pixels 0 to 255 as
    they are: d = 1. (On inputs 0 to 1 such a network would see a picture of almost one color.)
    """
    x = node.inputs[0] if node.inputs else ""
    if node.op != "Scale" or x not in site.graph.inputs or not only_reader(site, x):
        return None
    a, s = numbers(site, node)
    if not a.all() or node.outputs[0] in site.graph.outputs:
        return None
    raw = x not in site.graph.pixels and float(np.abs(a).max()) < _RAW_PIXELS
    before = site.graph.pixels.get(x, Pixels(divisor=1.0) if raw else Pixels())
    own_mean = np.asarray(before.own_mean) - s * np.asarray(before.own_std) / a
    after = replace(before, own_mean=_short(own_mean), own_std=_short(np.asarray(before.own_std) / a))
    mean_text, std_text = (" ".join(f"{v:.4g}" for v in values[:4]) for values in (after.own_mean, after.own_std))
    note = f"{node.name}: folded into how {x} is read: ({x} - [{mean_text}]) / [{std_text}]"
    if raw:
        note += f", {GUESSED}"
    return Change(nodes={node.name: ()}, rename={node.outputs[0]: x}, pixels={x: after}, note=note)


def _short(values: np.ndarray) -> tuple[float, ...]:
    return tuple(float(v) for v in (values[:1] if len(set(values)) == 1 else values))


def scale_into_producer(site: Site, node: Node) -> Change | None:
    """a (w x + b) + s = (a w) x + (a b + s), a along the outputs: into the Conv, ConvTranspose or Gemm before it."""
    maker = site.producers.get(node.inputs[0]) if node.inputs else None
    if node.op != "Scale" or maker is None or _why_not_producer(site, node, maker):
        return None
    a, s = numbers(site, node)
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
    a, s = numbers(site, node)
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
    return int(number(node, "group", 1))


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
    if numbers(site, node)[1].any() and (any(ints(reader, "pads")) or reader.op == "ConvTranspose"):
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
    x, (a, s) = site.graph.shapes[node.inputs[0]], numbers(site, node)
    maker, readers = site.producers.get(node.inputs[0]), site.readers.get(node.outputs[0], [])
    reasons = [_why_not_producer(site, node, maker)] if maker is not None and _is_product(maker) else []
    reasons += [_why_not_reader(site, node, reader) for reader in readers if _is_product(reader)]
    why = next(filter(None, reasons), "no Conv, ConvTranspose or Gemm stands beside it")
    rank = max(len(x) - 1, 1) if len(x) > 1 else 2
    weight, bias = fresh(site, f"{node.name}_weight"), fresh(site, f"{node.name}_bias")
    constants = {weight: a.reshape(-1, 1, *(1,) * rank)} | ({bias: s} if s.any() else {})
    attributes: dict[str, Attribute] = {
        "kernel_shape": (1,) * rank,
        "strides": (1,) * rank,
        "dilations": (1,) * rank,
        "pads": (0,) * 2 * rank,
        "group": len(a),
    }
    new = replace(node, op="Conv", inputs=(node.inputs[0], *constants), attributes=attributes)
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
        Node(name=node.name, op="Conv", inputs=(wide, *constants), outputs=(scaled,), attributes=attributes),
        Node(name=fresh(site, f"{node.name}_flat"), op="Flatten", inputs=(scaled,), outputs=node.outputs),
    )
    return in_place(node, *nodes, constants=constants, shapes={wide: shape, scaled: shape}, note=note)
