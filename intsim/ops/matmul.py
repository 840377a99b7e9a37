"""Sums of products of two activations: MatMul."""

import math

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import requantized
from intsim.graph import Node, Shape
from intsim.integers import IntType
from intsim.ops.dot import accumulators, adds_per_output, misfit
from intsim.ops.site import Site, rescale
from intsim.program import Dot, MatMul, Overflows, Window
from intsim.target import Extent, FixedPoint, Requantize, rules

_POINT = Window(kernel=(), strides=(), dilations=(), begin=(), end=())


def lower_matmul(node: Node, site: Site) -> MatMul:
    """The machine's rules for dense sums, the second operand in the place of the weights; d = alpha sa sb / sy (40).

    Lanes of channels are a matter of how weights lie, which an activation does not: the rule of whole vectors holds.
    """
    if len(node.inputs) != 2 or any(name in site.source.graph.constants for name in node.inputs):
        raise site.error("multiplies a matrix that is constant", "spell it as Gemm or Conv")
    a, b = site.inputs
    shapes = [site.shape(name) for name in node.inputs]
    try:
        *places, outputs = _first(shape_of_two(*shapes))
    except ValueError as reason:
        raise site.error(str(reason)) from None
    extent = Extent(places=math.prod(places), products=_first(shapes[0])[-1], outputs=outputs)
    rule = rules(site.target, node.op, "dense", a.type.signed, b.type.signed, extent)
    to, cast = rule.mac.write_back, rule.mac.product
    coarser = (0 if to is None else to.shift) + (0 if cast is None else cast.shift)
    made = MatMul(
        zero_points=(a.zero, b.zero),
        mac=rule.mac,
        bias_rule=rule.bias,
        rescale=rescale(site, _whole(rule.requantize), math.ldexp(a.scale[0], coarser), (b.scale[0] * _alpha(node),)),
    )
    if wrong := unfit(made, a.type, b.type):
        raise site.error(wrong, "quantize symmetric or to fewer bits, or choose another multiplier")
    return made


def _alpha(node: Node) -> float:
    return float(str(node.attributes.get("alpha", 1.0)))


def _whole(rule: Requantize) -> Requantize:
    return replace(rule, lanes=None) if isinstance(rule, FixedPoint) and rule.lanes is not None else rule


def unfit(matmul: MatMul, a: IntType, b: IntType) -> str:
    """Why the machine does not take operands of these types; "" where it does."""
    return misfit(dot_of(matmul, np.array([[b.low, b.high]])), a)


def dot_of(matmul: MatMul, b: np.ndarray) -> Dot:
    """The Dot that multiplies rows `[k]` with the integers `b[k, j]`."""
    return Dot(
        window=_POINT,
        group=1,
        weight=np.ascontiguousarray(b.T),
        weight_zero_point=np.array(matmul.zero_points[1:], np.int64),
        bias=np.zeros(b.shape[1], np.int64),
        input_zero_point=matmul.zero_points[0],
        mac=matmul.mac,
        bias_rule=matmul.bias_rule,
        rescale=matmul.rescale,
    )


def _first(shape: Shape) -> Shape:
    """One sample's shape as ONNX counts its axes, from that in the inside layout."""
    return (shape[-1], *shape[:-1])


def shape_of_two(a: Shape, b: Shape) -> Shape:
    """One sample's output shape, all in the inside layout. ValueError where the shapes do not go together."""
    if len(a) != len(b) or len(a) < 2:
        raise ValueError(f"{a} and {b} are no matrices with equally many axes")
    (*outer, rows, k), (*others, inner, columns) = _first(a), _first(b)
    if k != inner:
        raise ValueError(f"{k} columns do not meet {inner} rows")
    whole = (*np.broadcast_shapes(tuple(outer), tuple(others)), rows, columns)
    return (*whole[1:], whole[0])


def shape_of_matmul(matmul: MatMul, a: Shape, b: Shape) -> Shape:
    """One sample's output shape in the inside layout."""
    return shape_of_two(a, b)


# ---- meaning ---------------------------------------------------------------------------------------------------


def matrices(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both operands `[n, ..., i, k]` and `[n, ..., k, j]`, the axes before the last two broadcast."""
    a, b = np.moveaxis(a, -1, 1), np.moveaxis(b, -1, 1)
    outer = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    return np.broadcast_to(a, (*outer, *a.shape[-2:])), np.broadcast_to(b, (*outer, *b.shape[-2:]))


def sums_of_two(matmul: MatMul, a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, Overflows]:
    """The raw accumulators `[n, ...]` in the inside layout, and their overflows (4)."""
    left, right = matrices(a, b)
    acc = np.zeros((*left.shape[:-1], right.shape[-1]), object)
    outputs = adds = persistent = 0
    for index in np.ndindex(left.shape[:-2]):
        acc[index], seen = accumulators(dot_of(matmul, right[index]), left[index])
        outputs, adds, persistent = outputs + seen.outputs, adds + seen.adds, persistent + seen.persistent
    each = adds_per_output(matmul.mac, left.shape[-1])
    found = Overflows(outputs=outputs, of_outputs=acc.size, adds=adds, of_adds=acc.size * each, persistent=persistent)
    return np.moveaxis(acc, 1, -1), found


def matmul_meaning(matmul: MatMul, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The output's integers."""
    return requantized_sums(matmul, sums_of_two(matmul, a, b)[0])


def requantized_sums(matmul: MatMul, acc: np.ndarray) -> np.ndarray:
    """The output's integers from the raw accumulators."""
    out = np.empty(acc.shape, object)
    for index in np.ndindex(acc.shape):
        out[index] = requantized(int(acc[index]), matmul.rescale, 0)
    return out
