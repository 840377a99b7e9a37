"""Two operands, integer by integer: Add, Sub, Mul, Max, Min; shapes broadcast, and one operand may be constant."""

from typing import Literal

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import add_numbers, add_rule, added, requantized
from intsim.graph import Node, Shape
from intsim.integers import Affine
from intsim.ops.site import Site, rescale
from intsim.ops.vectors import product_in_vectors, sum_in_vectors
from intsim.program import Add, Extreme, Multiply, inside
from intsim.target import AddRule, Float32Add, Requantize, RequantizedSum

Pair = Add | Multiply | Extreme


def lower_add(node: Node, site: Site) -> Add:
    """The sum or the difference of two activations, or of one and a constant."""
    a, b = affines(site)
    y, subtract = site.output, node.op == "Sub"
    given = site.target.subtract if subtract and site.target.subtract is not None else site.target.add
    constant, first = constant_of(site)
    shapes = _shapes(site, constant, first)
    sides = [(one.scale[0], one.zero) for one in (a, b, y)]

    def by(general: AddRule) -> Add:
        rule = add_rule(general, a.scale[0], b.scale[0], y.scale[0])
        if isinstance(rule, Float32Add) and rule.repeated_first:
            rule = replace(rule, first=_repeated(*shapes) or rule.first)
        try:
            numbers = add_numbers(rule, *sides, subtract=subtract)
        except ValueError as reason:
            raise site.error(str(reason), "quantize with power-of-two scales for this machine") from None
        return Add(
            rule=rule,
            zero_points=(a.zero, b.zero),
            zero_point=y.zero,
            low=y.type.low,
            high=y.type.high,
            multiplier=numbers.get("multiplier"),
            exponent=numbers.get("exponent"),
            rescale=rescale(site, rule.requantize, a.scale[0]) if isinstance(rule, RequantizedSum) else None,
            subtract=subtract,
            constant=constant,
            constant_first=first,
        )

    return sum_in_vectors(given, shapes, by)


def lower_multiply(node: Node, site: Site) -> Multiply:
    """The product, requantized with the real scale sa * sb / sy."""
    a, b = affines(site)
    constant, first = constant_of(site)

    def by(rule: Requantize) -> Multiply:
        return Multiply(
            zero_points=(a.zero, b.zero),
            rescale=rescale(site, rule, a.scale[0], (b.scale[0],)),
            constant=constant,
            constant_first=first,
        )

    return product_in_vectors(site.target.multiply, _shapes(site, constant, first), by)


def _shapes(site: Site, constant: np.ndarray | None, first: bool) -> list[Shape]:
    """One sample's shapes of both operands."""
    found = [site.shape(name) for name in site.node.inputs if name not in site.source.graph.constants]
    if constant is not None:
        found.insert(0 if first else 1, constant.shape)
    return found


def _repeated(a: Shape, b: Shape) -> Literal["a", "b"] | None:
    """The operand that has one integer where the other has several, along the innermost axis that has several at all.

    Channels are the outermost axis here.
    """
    axes = [*zip(a[-2::-1], b[-2::-1], strict=True), (a[-1], b[-1])]
    u, v = next((pair for pair in axes if max(pair) > 1), (1, 1))
    return None if u == v else "a" if u == 1 else "b"


def lower_extreme(node: Node, site: Site) -> Extreme:
    """The integers are compared, so all affines are the same."""
    if {*affines(site)} != {site.output}:
        raise site.error("compares integers, but its operands have different affines", "let them share")
    constant, first = constant_of(site)
    return Extreme(largest=node.op == "Max", constant=constant, constant_first=first)


def affines(site: Site) -> tuple[Affine, Affine]:
    """The affines of the two operands, a constant's its own."""
    if len(site.node.inputs) != 2:
        raise site.error(f"has {len(site.node.inputs)} operands, not two")
    if all(name in site.source.graph.constants for name in site.node.inputs):
        raise site.error("has two constants and no activation")
    found, given = [], iter(site.inputs)
    for index, name in enumerate(site.node.inputs):
        found.append(_own(site, index) if name in site.source.graph.constants else next(given))
        if found[-1].axis is not None:
            raise site.error("has a constant with a scale per channel", "quantize it per tensor")
    return found[0], found[1]


def _own(site: Site, index: int) -> Affine:
    """A constant's affine, with the sign that the machine's integers have here."""
    affine, kind = site.constant(index)[1], site.inputs[0].type
    return affine.shifted(kind) if (affine.type.bits, affine.type.signed) == (kind.bits, not kind.signed) else affine


def constant_of(site: Site) -> tuple[np.ndarray | None, bool]:
    """The operand that is constant, with as many axes as a sample, channels last; and whether it is the first."""
    shapes = []
    for name in site.node.inputs:
        if name not in site.source.graph.constants:
            shapes.append(site.shape(name))
    rank = len(site.shape(site.node.outputs[0]))
    if any(len(shape) != rank for shape in shapes):
        raise site.error(f"broadcasts {shapes}, which have not equally many axes", "reshape them")
    for index, name in enumerate(site.node.inputs):
        if name in site.source.graph.constants:
            whole, affine = site.constant(index)
            if (own := _own(site, index)) != affine:
                whole = (whole.astype(np.int64) + own.zero - affine.zero).astype(own.type.dtype)
            whole = whole.reshape((1,) * (rank + 1 - whole.ndim) + whole.shape)
            if whole.ndim != rank + 1 or len(whole) != 1:
                raise site.error(f"has a constant of the shape {list(whole.shape)}", "give one for every sample alike")
            return inside(whole)[0], index == 0
    return None, False


# ---- meaning ---------------------------------------------------------------------------------------------------


def operands(pair: Pair, *inputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both operands `[n, ...]`, the constant one put in its place, broadcast to one shape."""
    both = [*inputs]
    if pair.constant is not None:
        both.insert(0 if pair.constant_first else 1, pair.constant[None])
    a, b = np.broadcast_arrays(*both)
    return a, b


def add_meaning(add: Add, *inputs: np.ndarray) -> np.ndarray:
    """The sums (13)-(17b)."""
    a, b = operands(add, *inputs)
    return _each(lambda u, v: added(u, v, add), a, b)


def multiply_meaning(multiply: Multiply, *inputs: np.ndarray) -> np.ndarray:
    """(32)."""
    za, zb = multiply.zero_points
    a, b = operands(multiply, *inputs)
    return _each(lambda u, v: requantized((u - za) * (v - zb), multiply.rescale, 0), a, b)


def extreme_meaning(extreme: Extreme, *inputs: np.ndarray) -> np.ndarray:
    """max(a, b) or min(a, b)."""
    return (np.maximum if extreme.largest else np.minimum)(*operands(extreme, *inputs))


def _each(function: object, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    out = np.empty(a.shape, object)
    for index in np.ndindex(a.shape):
        out[index] = function(int(a[index]), int(b[index]))  # type: ignore[operator]
    return out


def shape_of_pair(pair: Pair, *shapes: Shape) -> Shape:
    """One sample's shape after broadcasting. ValueError where the shapes do not go together."""
    every = [*shapes] if pair.constant is None else [*shapes, pair.constant.shape]
    if len({len(shape) for shape in every}) != 1:
        raise ValueError(f"{every} have not equally many axes")
    return tuple(np.broadcast_shapes(*every))
