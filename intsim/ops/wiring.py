"""Integers moved, none made: Flatten, Reshape, Transpose, Slice, Pad."""

import numpy as np

from intsim.graph import Node, Shape
from intsim.ops.site import Site
from intsim.ops.site import ints as ints_of
from intsim.program import Pad, Rearrange, Take, inside_shape
from intsim.quantized import quantized


def lower_reshape(node: Node, site: Site) -> Rearrange:
    """The order of the values is the file's: channels first."""
    before = site.source.graph.shapes[node.inputs[0]]
    after = site.source.graph.shapes[node.outputs[0]]
    _same_affine(site)
    return Rearrange(before=_channels_first(len(before)), shape=after, after=_channels_last(len(after)))


def lower_transpose(node: Node, site: Site) -> Rearrange:
    """Axes in the order `perm`, which counts the batch and has it first."""
    perm = ints_of(node, "perm")
    if perm[:1] != (0,):
        raise site.error("moves the batch")
    _same_affine(site)
    shape = site.source.graph.shapes[node.outputs[0]]
    first = _channels_first(len(shape))
    before = tuple(first[axis - 1] for axis in perm[1:])
    return Rearrange(before=before, shape=shape, after=_channels_last(len(shape)))


def lower_slice(node: Node, site: Site) -> Take:
    """Every `steps`-th integer from `starts` to before `ends`, along the named axes; as numpy counts."""
    shape = site.source.graph.shapes[node.inputs[0]]
    parts = (ints_of(node, name) for name in ("axes", "starts", "ends", "steps"))
    indices: list[np.ndarray | None] = [None] * len(shape)
    for axis, start, end, step in zip(*parts, strict=True):
        if axis == 0:
            raise site.error("cuts the batch")
        whole = np.arange(shape[axis - 1], dtype=np.int64)
        end_of = None if step < 0 and end < -len(whole) else end
        indices[axis - 1] = np.ascontiguousarray(whole[start:end_of:step])
    _same_affine(site)
    return Take(indices=tuple(indices[axis] for axis in _channels_last(len(shape))))


def lower_pad(node: Node, site: Site) -> Pad:
    """Padding with the integer of a constant."""
    pads, value = ints_of(node, "pads"), node.attributes["value"]
    assert isinstance(value, float)
    _same_affine(site)
    rank = len(pads) // 2
    return Pad(
        begin=inside_shape(pads[:rank]),
        end=inside_shape(pads[rank:]),
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
    spread = tuple(size + b * (size - 1) for size, b in zip(shape, gaps(pad, len(shape)), strict=True))
    return tuple(b + size + e for b, size, e in zip(pad.begin, spread, pad.end, strict=True))


def shape_of_take(take: Take, shape: Shape) -> Shape:
    """One sample's shape in the inside layout."""
    pairs = zip(shape, take.indices, strict=True)
    return tuple(size if index is None else len(index) for size, index in pairs)


def gaps(pad: Pad, rank: int) -> Shape:
    """How many integers come between neighbours, along each axis."""
    return pad.between or (0,) * rank


# ---- meaning ---------------------------------------------------------------------------------------------------


def rearrange_meaning(rearrange: Rearrange, x: np.ndarray) -> np.ndarray:
    """Axes in order, reshaped, axes in order."""
    first = x.transpose(0, *(axis + 1 for axis in rearrange.before))
    shaped = first.reshape(len(x), *rearrange.shape)
    return shaped.transpose(0, *(axis + 1 for axis in rearrange.after))


def pad_meaning(pad: Pad, x: np.ndarray) -> np.ndarray:
    """The value around every axis, and between neighbours."""
    shape = x.shape[1:]
    out = np.full((len(x), *shape_of_pad(pad, shape)), pad.value, x.dtype)
    out[(slice(None), *where(pad, shape))] = x
    return out


def where(pad: Pad, shape: Shape) -> tuple[slice, ...]:
    """Where the integers of a sample of that shape lie in the padded one."""
    apart = [b + 1 for b in gaps(pad, len(shape))]
    return tuple(
        slice(begin, begin + (size - 1) * step + 1, step)
        for begin, size, step in zip(pad.begin, shape, apart, strict=True)
    )


def take_meaning(take: Take, x: np.ndarray) -> np.ndarray:
    """The integers at the indices, axis by axis."""
    for axis, index in enumerate(take.indices, start=1):
        x = x if index is None else x.take(index, axis)
    return x
