"""Everything that multiplies and shifts channel by channel: found, composed, and folded into its neighbours.

BatchNormalization, and Mul, Div, Add, Sub, Neg with constants, are all y = a[c] x + s[c]. Between its recognition and
its end that is a node Scale(x, a, s) with float64 vectors a and s of one number per channel; none survives `normalise`.
"""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from intsim.graph import Graph, Node, Shape
from intsim.normalise.rewriting import Change, Site, fresh, in_place, number, only_reader, without

_ARITHMETIC = ("Mul", "Div", "Add", "Sub", "Neg", "BatchNormalization")


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
        factor = gamma / np.sqrt(variance + number(node, "epsilon"))
        shift = beta - factor * mean
    elif node.op == "Neg":
        factor = -factor
    else:
        constant_first = node.inputs[0] in constants
        k = _per_channel(constants[node.inputs[0 if constant_first else 1]], shape)
        if k is None:
            return None
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
    return replace(node, op="Scale", inputs=(x, a, s)), {a: factor, s: shift}


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
        if variance is not None and not (variance.astype(np.float64) + number(node, "epsilon") > 0).all():
            return "has a variance below zero"
        return _dimensions(x)
    if len(operands) > 1 or node.op == "Neg":
        if node.op == "Div":
            return "both operands are computed"
        return _together([graph.shapes.get(name) for name in operands], out)
    constant = next(graph.constants[name] for name in node.inputs if name in graph.constants)
    k = _per_channel(constant, x)
    if k is None and node.op != "Div" and constant.dtype.kind == "f" and _broadcasts(constant, x, out):
        return _dimensions(x)
    if k is None or out != x:
        return f"a constant of the shape {list(constant.shape)} is not one number per channel of {list(x)}"
    if node.op == "Div" and (node.inputs[0] in graph.constants or not k.all()):
        return "divides a constant, or by zero"
    return _dimensions(x)


def _together(shapes: Sequence[Shape | None], out: Shape) -> str | None:
    """Why activations of these shapes do not broadcast to that of the output, each axis being the output's or 1."""
    fit = (
        shape is not None
        and len(shape) == len(out)
        and all(size in (1, whole) for size, whole in zip(shape, out, strict=True))
        for shape in shapes
    )
    return None if all(fit) else f"its operands have the shapes {[list(shape or ()) for shape in shapes]}"


def _broadcasts(constant: np.ndarray, x: Shape, out: Shape) -> bool:
    """Whether a constant, the same for every sample, goes with x to the shape of the output."""
    full = (1,) * (len(x) + 1 - constant.ndim) + constant.shape
    return len(full) == len(x) + 1 and full[0] == 1 and _together([x, full[1:]], out) is None


def pair_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no Max or Min of two activations, or of one and a constant; None where it is one."""
    out = graph.shapes.get(node.outputs[0])
    if len(node.inputs) != 2 or out is None:
        return "only with two operands"
    constants = [graph.constants[name] for name in node.inputs if name in graph.constants]
    shapes = [graph.shapes.get(name) for name in node.inputs if name not in graph.constants]
    if not constants:
        return _together(shapes, out)
    x = shapes[0]
    fits = x is not None and constants[0].dtype.kind == "f" and _broadcasts(constants[0], x, out)
    return None if fits else f"a constant of the shape {list(constants[0].shape)} does not go with its input"


def _dimensions(x: Shape) -> str | None:
    return None if 1 <= len(x) <= 3 else f"has {len(x) - 1} spatial dimensions, and 1 or 2 can be lowered"


def numbers(site: Site, node: Node) -> tuple[np.ndarray, np.ndarray]:
    """The factor and the shift of a Scale."""
    return site.graph.constants[node.inputs[1]], site.graph.constants[node.inputs[2]]


def scale_chain(site: Site, node: Node) -> Change | None:
    """a2 (a1 x + s1) + s2 = (a2 a1) x + (a2 s1 + s2); and 1 x + 0 = x."""
    if node.op != "Scale":
        return None
    a2, s2 = numbers(site, node)
    if (a2 == 1).all() and not s2.any() and (change := without(site, node)):
        return change
    maker = site.producers.get(node.inputs[0])
    if maker is None or maker.op != "Scale" or not only_reader(site, node.inputs[0]):
        return None
    a1, s1 = numbers(site, maker)
    new, constants = _scale(site, node, maker.inputs[0], a2 * a1, a2 * s1 + s2)
    return Change(nodes={maker.name: (), node.name: (new,)}, constants=constants)
