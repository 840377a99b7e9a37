"""Softmax along one axis, by the machine's rule."""

import numpy as np

from intsim.arithmetic import softmax_numbers, softmax_row
from intsim.graph import Node, Shape
from intsim.ops.site import Site
from intsim.program import Softmax


def lower_softmax(node: Node, site: Site) -> Softmax:
    """The exponentials of all distances from the largest integer, as a table."""
    axis, beta = node.attributes["axis"], node.attributes.get("beta", 1.0)
    assert isinstance(axis, int)
    assert isinstance(beta, float)
    shape = site.shape(node.inputs[0])
    if axis == 0:
        raise site.error("sums over the batch")
    inside = len(shape) - 1 if axis == 1 else axis - 2
    x, y, rule = site.inputs[0], site.output, site.target.functions.softmax
    if x.type.bits > 16:
        raise site.error(f"takes {x.type}, and tables have at most 2^16 entries", "quantize to 16 bits")
    try:
        numbers = softmax_numbers(rule, x, y, beta, shape[inside])
    except ValueError as reason:
        raise site.error(str(reason), "quantize its output so, shared with nothing else") from None
    return Softmax(axis=inside, rule=rule, zero_point=y.zero, low=y.type.low, high=y.type.high, **numbers)


def softmax_meaning(softmax: Softmax, x: np.ndarray) -> np.ndarray:
    """Row by row (31)."""
    rows = np.moveaxis(x, softmax.axis + 1, -1)
    out = np.empty(rows.shape, object)
    for index in np.ndindex(rows.shape[:-1]):
        out[index] = softmax_row([int(q) for q in rows[index]], softmax)
    return np.moveaxis(out, -1, softmax.axis + 1)


def shape_of_softmax(softmax: Softmax, shape: Shape) -> Shape:
    """One sample's shape, unchanged."""
    return shape
