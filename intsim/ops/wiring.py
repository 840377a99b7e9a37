"""Integers moved, none made: Flatten, Reshape, Pad."""

import numpy as np

from intsim.graph import Node, Shape
from intsim.ops.site import Site
from intsim.program import Pad, Rearrange, inside_shape
from intsim.quantized import quantized


def lower_reshape(node: Node, site: Site) -> Rearrange:
    """The order of the values is the file's: channels first."""
    before = site.source.graph.shapes[node.inputs[0]]
    after = site.source.graph.shapes[node.outputs[0]]
    _same_affine(site)
    return Rearrange(before=_channels_first(len(before)), shape=after, after=_channels_last(len(after)))


def lower_pad(node: Node, site: Site) -> Pad:
    """Padding with the integer of a constant."""
    pads, value = node.attributes["pads"], node.attributes["value"]
    assert isinstance(pads, tuple)
    assert isinstance(value, float)
    _same_affine(site)
    rank = len(pads) // 2
    return Pad(
        begin=inside_shape(tuple(int(p) for p in pads[:rank])),
        end=inside_shape(tuple(int(p) for p in pads[rank:])),
        value=int(quantized(np.float32(value), site.output)),
    )


def _same_affine(site: Site) -> None:
    if site.inputs[0] != site.output:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")


def _channels_first(rank: int) -> Shape:
    return (rank - 1, *range(rank - 1)) if rank > 1 else (0,)


def _channels_last(rank: int) -> Shape:
    return (*range(1, rank), 0) if rank > 1 else (0,)


def shape_of_rearrange(rearrange: Rearrange, shape: Shape) -> Shape:
    """One sample's shape in the inside layout."""
    return tuple(rearrange.shape[axis] for axis in rearrange.after)


def shape_of_pad(pad: Pad, shape: Shape) -> Shape:
    """One sample's shape in the inside layout."""
    return tuple(b + size + e for b, size, e in zip(pad.begin, shape, pad.end, strict=True))


# ---- meaning ---------------------------------------------------------------------------------------------------


def rearrange_meaning(rearrange: Rearrange, x: np.ndarray) -> np.ndarray:
    """Axes in order, reshaped, axes in order."""
    first = x.transpose(0, *(axis + 1 for axis in rearrange.before))
    shaped = first.reshape(len(x), *rearrange.shape)
    return shaped.transpose(0, *(axis + 1 for axis in rearrange.after))


def pad_meaning(pad: Pad, x: np.ndarray) -> np.ndarray:
    """The value around every axis."""
    width = [(0, 0), *zip(pad.begin, pad.end, strict=True)]
    return np.pad(x, width, constant_values=pad.value)
