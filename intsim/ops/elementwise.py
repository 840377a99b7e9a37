"""One integer at a time: Relu and Clip, and the moves between affines that borders and joins need."""

import math

import numpy as np

from intsim.arithmetic import requantized
from intsim.graph import Node, Shape
from intsim.ops.site import Site, rescale
from intsim.ops.vectors import conversion_in_vectors
from intsim.program import Clip, Convert, Offset
from intsim.quantized import quantized
from intsim.target import Requantize, conversion


def lower_relu(node: Node, site: Site) -> Clip:
    """max(q, zero point)."""
    return _clip(site, 0.0, math.inf)


def lower_clip(node: Node, site: Site) -> Clip:
    """The bounds in the output's integers."""
    low, high = node.attributes.get("min", -math.inf), node.attributes.get("max", math.inf)
    assert isinstance(low, float)
    assert isinstance(high, float)
    return _clip(site, low, high)


def _clip(site: Site, low: float, high: float) -> Clip:
    y = site.output
    if site.inputs[0] != y:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")
    return Clip(
        low=y.type.low if low == -math.inf else int(quantized(np.float32(low), y)),
        high=y.type.high if high == math.inf else int(quantized(np.float32(high), y)),
    )


def lower_concat(node: Node, site: Site) -> Convert:
    """Joined along an axis; an input with another affine is requantized first."""
    axis = node.attributes["axis"]
    assert isinstance(axis, int)
    rank = len(site.shape(node.inputs[0])) + 1
    if axis == 0:
        raise site.error("joins along the batch")

    def by(rule: Requantize) -> Convert:
        return Convert(
            axis=rank - 2 if axis == 1 else axis - 2,
            input_zero_points=tuple(affine.zero for affine in site.inputs),
            rescales=tuple(
                None if affine == site.output else rescale(site, rule, affine.scale[0]) for affine in site.inputs
            ),
        )

    return conversion_in_vectors(site.target.convert, [site.shape(name) for name in node.inputs], by)


def lower_requantize(node: Node, site: Site) -> Convert:
    """The same real numbers in another affine (35): by the rule for the types that the network gives its tensors."""
    source, goal = (site.source.affines[name].type for name in (node.inputs[0], node.outputs[0]))
    x = site.inputs[0]

    def by(rule: Requantize) -> Convert:
        return Convert(
            axis=0,
            input_zero_points=(x.zero,),
            rescales=(None if x == site.output else rescale(site, rule, x.scale[0]),),
        )

    return conversion_in_vectors(conversion(site.target, source, goal), [site.shape(node.inputs[0])], by)


# ---- meaning ---------------------------------------------------------------------------------------------------


def clip_meaning(clip: Clip, x: np.ndarray) -> np.ndarray:
    """min(max(q, low), high)."""
    return np.minimum(np.maximum(x, clip.low), clip.high)


def convert_meaning(convert: Convert, *inputs: np.ndarray) -> np.ndarray:
    """The inputs in the output's affine, joined."""
    parts = []
    for x, zero, rule in zip(inputs, convert.input_zero_points, convert.rescales, strict=True):
        part = x.astype(object)
        if rule is not None:
            for index in np.ndindex(x.shape):
                part[index] = requantized(int(x[index]) - zero, rule, 0)
        parts.append(part)
    return np.concatenate(parts, convert.axis + 1)


def same_shape(compute: Clip | Offset, shape: Shape, *others: Shape) -> Shape:
    """One sample's shape, unchanged."""
    return shape


def shape_of_convert(convert: Convert, *shapes: Shape) -> Shape:
    """One sample's shape, joined along the axis."""
    joined = sum(shape[convert.axis] for shape in shapes)
    return (*shapes[0][: convert.axis], joined, *shapes[0][convert.axis + 1 :])


def offset_meaning(offset: Offset, x: np.ndarray) -> np.ndarray:
    """q + offset."""
    return x + offset.offset
