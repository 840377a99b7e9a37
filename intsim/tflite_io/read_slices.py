"""Slices, read: STRIDED_SLICE, SLICE, SPLIT, SPLIT_V."""

from collections.abc import Callable

from intsim.tflite_io import layout
from intsim.tflite_io.constants import numbers
from intsim.tflite_io.read_reshape import reshaped
from intsim.tflite_io.reading import Site, activation, activation_affine, add, between, enter, same_affine, stated


def graph_axis(site: Site, axis: int, rank: int) -> int:
    """The graph axis of a file axis that may count from the end. IntsimError for the batch, or for none."""
    if not -rank <= axis < rank or axis % rank == 0:
        raise site.error(f"works along axis {axis} of {rank}", "keep the batch as it is")
    return layout.graph_axis(axis % rank, rank)


def _picked(site: Site, x: str, ranges: list[range], output: str | None) -> str:
    """A Slice that takes `ranges` of the file's axes, those that take less than all."""
    shape = site.tensor(_data_place(site)).shape
    if any(not 0 <= r[0] < size or not 0 <= r[-1] < size for r, size in zip(ranges, shape, strict=True) if len(r)):
        raise site.error("takes what its input does not have", "the file is damaged: convert it again")
    if any(not len(r) for r in ranges):
        raise site.error("takes nothing", "the file is damaged: convert it again")
    if ranges[0] != range(shape[0]):
        raise site.error("takes a part of the batch", "keep the batch as it is")
    cut = [
        (layout.graph_axis(axis, len(shape)), r)
        for axis, (r, size) in enumerate(zip(ranges, shape, strict=True))
        if r != range(size)
    ] or [(1, ranges[-1])]
    cut.sort(key=lambda entry: entry[0])
    return add(
        site,
        "Slice",
        [x],
        output,
        starts=tuple(r.start for _, r in cut),
        ends=tuple(r.stop if r.stop >= 0 else -(1 << 31) for _, r in cut),
        axes=tuple(axis for axis, _ in cut),
        steps=tuple(r.step for _, r in cut),
    )


def _data_place(site: Site) -> int:
    return 1 if site.operator.op == "SPLIT" else 0


def _strided_slice(site: Site) -> None:
    x, shape = activation(site, 0), site.tensor(0).shape
    same_affine(site, x)
    begin, end, steps = (numbers(site, place).reshape(-1) for place in (1, 2, 3))
    masks = site.options
    if masks["EllipsisMask"] or masks["NewAxisMask"]:
        raise site.error("makes new axes or has an ellipsis", "spell its begin and end out")
    if not len(begin) == len(end) == len(steps) <= len(shape) or 0 in steps:
        raise site.error("has begin, end and strides that do not fit", "the file is damaged: convert it again")
    ranges = [range(size) for size in shape]
    shrunk = [bool(masks["ShrinkAxisMask"] >> axis & 1) for axis in range(len(shape))]
    for axis, size in enumerate(shape[: len(begin)]):
        first = None if masks["BeginMask"] >> axis & 1 else int(begin[axis])
        last = None if masks["EndMask"] >> axis & 1 else int(end[axis])
        if masks["Offset"] and last is not None:
            last += int(begin[axis])
        if shrunk[axis]:
            place = int(begin[axis]) + (size if begin[axis] < 0 else 0)
            ranges[axis] = range(place, place + 1)
        else:
            ranges[axis] = range(size)[first : last : int(steps[axis])]
    made = [len(r) for r in ranges]
    kept = tuple(size for size, gone in zip(made, shrunk, strict=True) if not gone)
    stated(site, kept)
    if len(kept) == len(made):
        _picked(site, x, ranges, None)
    else:
        part = between(site, "slice", layout.graph_shape(made), site.reading.affines[x])
        reshaped(site, _picked(site, x, ranges, part), site.result.shape, own=True)


def _slice(site: Site) -> None:
    x, shape = activation(site, 0), site.tensor(0).shape
    same_affine(site, x)
    begin, size = (numbers(site, place).reshape(-1) for place in (1, 2))
    if not len(begin) == len(size) == len(shape):
        raise site.error("has begin and size that do not fit", "the file is damaged: convert it again")
    ends = [n if s == -1 else b + s for b, s, n in zip(begin.tolist(), size.tolist(), shape, strict=True)]
    ranges = [range(b, e) for b, e in zip(begin.tolist(), ends, strict=True)]
    stated(site, tuple(len(r) for r in ranges))
    _picked(site, x, ranges, None)


def _split(site: Site) -> None:
    """One Slice for each output: SPLIT into equal parts, SPLIT_V into parts of given sizes."""
    data, place = _data_place(site), 0 if site.operator.op == "SPLIT" else 2
    x, shape = activation(site, data), site.tensor(data).shape
    axis = int(numbers(site, place).reshape(-1)[0])
    graph_axis(site, axis, len(shape))
    axis, outputs = axis % len(shape), site.operator.outputs
    if site.operator.op == "SPLIT":
        sizes = [shape[axis] // len(outputs)] * len(outputs)
    else:
        sizes = [int(size) for size in numbers(site, 1).reshape(-1)]
        sizes = [shape[axis] - sum(s for s in sizes if s >= 0) if size == -1 else size for size in sizes]
    if sum(sizes) != shape[axis] or len(sizes) != len(outputs) or min(sizes) < 1:
        raise site.error(f"splits {shape[axis]} into {sizes}", "the file is damaged: convert it again")
    first = 0
    for index, size in zip(outputs, sizes, strict=True):
        tensor = site.reading.file.tensors[index]
        part = (*shape[:axis], size, *shape[axis + 1 :])
        if tensor.shape != part or activation_affine(tensor) != site.reading.affines[x]:
            raise site.error(f"has a part {list(tensor.shape)} of another shape or scale", "convert it again")
        ranges = [range(n) for n in shape]
        ranges[axis] = range(first, first + size)
        _picked(site, x, ranges, enter(site.reading, index))
        first += size


SLICES: dict[str, Callable[[Site], None]] = {
    "SLICE": _slice,
    "SPLIT": _split,
    "SPLIT_V": _split,
    "STRIDED_SLICE": _strided_slice,
}
