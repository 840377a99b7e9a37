"""One integer at a time: Add, Relu and Clip, and the moves between affines that borders and joins need."""

import math

import numpy as np

from intsim.arithmetic import add_numbers, added, requantized
from intsim.graph import Node, Shape
from intsim.ops.site import Site, rescale
from intsim.program import Add, Clip, Convert, Offset
from intsim.quantized import quantized


def lower_add(node: Node, site: Site) -> Add:
    """The sum of two activations of one shape."""
    shapes = [site.shape(name) for name in node.inputs]
    if shapes[0] != shapes[1]:
        raise site.error(f"adds {shapes[0]} and {shapes[1]}", "spell the broadcast out")
    a, b, y = *site.inputs, site.output
    try:
        numbers = add_numbers(site.target.add, (a.scale[0], a.zero), (b.scale[0], b.zero), (y.scale[0], y.zero))
    except ValueError as reason:
        raise site.error(str(reason), "quantize with power-of-two scales for this machine") from None
    return Add(
        rule=site.target.add,
        zero_points=(a.zero, b.zero),
        zero_point=y.zero,
        low=y.type.low,
        high=y.type.high,
        **numbers,
    )


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
    return Convert(
        axis=rank - 2 if axis == 1 else axis - 2,
        input_zero_points=tuple(affine.zero for affine in site.inputs),
        rescales=tuple(
            None if affine == site.output else rescale(site, site.target.convert, affine.scale[0])
            for affine in site.inputs
        ),
    )


# ---- meaning ---------------------------------------------------------------------------------------------------


def add_meaning(add: Add, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The sums (13)-(17)."""
    out = np.empty(a.shape, object)
    for index in np.ndindex(a.shape):
        out[index] = added(int(a[index]), int(b[index]), add)
    return out


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


def same_shape(compute: Add | Clip | Offset, shape: Shape, *others: Shape) -> Shape:
    """One sample's shape, unchanged."""
    return shape


def shape_of_convert(convert: Convert, *shapes: Shape) -> Shape:
    """One sample's shape, joined along the axis."""
    joined = sum(shape[convert.axis] for shape in shapes)
    return (*shapes[0][: convert.axis], joined, *shapes[0][convert.axis + 1 :])


def offset_meaning(offset: Offset, x: np.ndarray) -> np.ndarray:
    """q + offset."""
    return x + offset.offset
