"""Operators that move, pick or average integers, written: pools, pads, joins, slices, Resize."""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

from intsim.arithmetic import resize
from intsim.quantized import quantized
from intsim.target import Resize
from intsim.tflite_io import layout
from intsim.tflite_io.operators import finish, operator
from intsim.tflite_io.schema import SAME, VALID
from intsim.tflite_io.write_shapes import reshape
from intsim.tflite_io.writing import Site, activation, extra, level, numbers, same_affine

Write = Callable[[Site], None]


def padded(
    site: Site,
    sizes: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    value: int,
) -> tuple[int, int]:
    """What a sliding window reads and TFLite's padding: the node's own pads where they are SAME, a PAD otherwise."""
    writing, pads = site.writing, tuple(site.about["pads"])
    x = activation(writing, site.node.inputs[0])
    if not any(pads):
        return x, VALID
    if pads == layout.same_pads(sizes, kernel, strides, dilations):
        return x, SAME
    return _padded(site, x, (0, *pads[:2]), (0, *pads[2:]), value), VALID


def _padded(site: Site, x: int, begin: Sequence[int], end: Sequence[int], value: int, own: bool = False) -> int:
    """A PAD in front; `begin` and `end` channels first, without the batch. `own`: it computes the node's output."""
    writing, affine = site.writing, site.affine(0)
    around = [(0, 0), *zip(begin[1:], end[1:], strict=True), (begin[0], end[0])]
    if min(map(min, around)) < 0:
        raise site.error(f"pads by {around}", "slice instead")
    shape = [size + b + e for size, (b, e) in zip(writing.tensors[x].shape, around, strict=True)]
    output = activation(writing, site.node.outputs[0]) if own else extra(site, "padded", shape, affine)
    inputs = [x, numbers(site, "around", around)]
    if value == affine.zero:
        operator(writing, "PAD", inputs, output)
    else:
        operator(writing, "PADV2", [*inputs, level(site, "value", value, affine)], output)
    return output


def _pad(site: Site) -> None:
    same_affine(site)
    pads, value = site.about["pads"], int(quantized(np.float32(site.about["value"]), site.result))
    rank = len(pads) // 2
    _padded(site, activation(site.writing, site.node.inputs[0]), pads[:rank], pads[rank:], value, own=True)


# ---- pools -----------------------------------------------------------------------------------------------------


def _pool(op: str, site: Site) -> None:
    """Padding that is counted is padding in front; an average of another affine is requantized afterwards."""
    writing, x, y = site.writing, site.affine(0), site.result
    if len(site.shape(0)) != 3 or any(d != 1 for d in site.about.get("dilations", (1,))):
        raise site.error("has dilations, or not two spatial axes", "TFLite's pools have none, and two")
    if op == "MAX_POOL_2D":
        same_affine(site)
    sizes, (kernel, strides) = site.shape(0)[1:], (site.about[name] for name in ("kernel_shape", "strides"))
    same = layout.same_pads(sizes, kernel, strides, (1, 1))
    pads = tuple(site.about["pads"])
    if op == "AVERAGE_POOL_2D" and any(pads) and site.about["count_include_pad"]:
        source = activation(writing, site.node.inputs[0])
        source, padding = _padded(site, source, (0, *pads[:2]), (0, *pads[2:]), x.zero), VALID
    elif op == "AVERAGE_POOL_2D" and any(pads) and pads != same:
        raise site.error(f"pads by {pads} and does not count it", f"pad by {same}, as SAME does, or count it")
    else:
        source, padding = padded(site, sizes, kernel, strides, (1, 1), x.type.low)
    options = {"Padding": padding, "StrideH": strides[0], "StrideW": strides[1]}
    options |= {"FilterHeight": kernel[0], "FilterWidth": kernel[1]}
    if x == y:
        finish(site, op, [source], **options)
        return
    mean = extra(site, "mean", layout.file_shape(site.result_shape, writing.batch), x)
    operator(writing, op, [source], mean, **options)
    operator(writing, "QUANTIZE", [mean], activation(writing, site.node.outputs[0]))


def _mean(site: Site) -> None:
    """MEAN without the axes, which a RESHAPE puts back: where it keeps them, LiteRT's kernels round by another rule."""
    writing, (name,) = site.writing, site.node.outputs
    axes = numbers(site, "axes", list(range(1, len(site.shape(0)))))
    after = [node for node in writing.readers.get(name, []) if node.op in ("Flatten", "Reshape")]
    vector = (writing.batch, site.result_shape[0])
    x = activation(writing, site.node.inputs[0])
    if writing.keep_axes:
        operator(writing, "MEAN", [x, axes], activation(writing, name), KeepDims=True)
        return
    if len(writing.readers.get(name, [])) == len(after) == 1 and name not in writing.graph.outputs:
        (flat,) = after[0].outputs
        if writing.graph.shapes[flat] == vector[1:] and writing.source.affines[flat] == site.result:
            operator(writing, "MEAN", [x, axes], activation(writing, flat), KeepDims=False)
            writing.done.add(after[0].name)
            return
    means = extra(site, "vector", vector, site.result)
    operator(writing, "MEAN", [x, axes], means, KeepDims=False)
    reshape(site, means, activation(writing, name))


def _concat(site: Site) -> None:
    """Inputs of another affine than the output's are requantized in front."""
    writing, inputs = site.writing, []
    for place, name in enumerate(site.node.inputs):
        x = activation(writing, name)
        if site.affine(place) != site.result:
            own = extra(site, f"requantized{place}", writing.tensors[x].shape, site.result)
            operator(writing, "QUANTIZE", [x], own)
            x = own
        inputs.append(x)
    rank = len(site.result_shape) + 1
    axis = layout.file_axis(int(site.about["axis"]) % rank, rank)
    operator(writing, "CONCATENATION", inputs, activation(writing, site.node.outputs[0]), Axis=axis)


# ---- slices ----------------------------------------------------------------------------------------------------


def _slice(site: Site) -> None:
    same_affine(site)
    shape = layout.file_shape(site.shape(0), site.writing.batch)
    ranges = [range(size) for size in shape]
    about = [site.about[name] for name in ("starts", "ends", "axes", "steps")]
    for start, end, axis, step in zip(*about, strict=True):
        place = layout.file_axis(axis % len(shape), len(shape))
        ranges[place] = range(shape[place])[start:end:step]
    sliced(site, activation(site.writing, site.node.inputs[0]), ranges)


def sliced(site: Site, x: int, ranges: Sequence[range]) -> None:
    """STRIDED_SLICE of the file's axes into the node's output."""
    mask = sum(1 << axis for axis, r in enumerate(ranges) if r.stop < 0)  # down to the first: there is no such end
    parts = {
        "begin": [r.start for r in ranges],
        "end": [max(r.stop, 0) for r in ranges],
        "strides": [r.step for r in ranges],
    }
    inputs = [x, *(numbers(site, name, values) for name, values in parts.items())]
    operator(site.writing, "STRIDED_SLICE", inputs, activation(site.writing, site.node.outputs[0]), EndMask=mask)


def _resize(site: Site) -> None:
    same_affine(site)
    if len(site.shape(0)) != 3:
        raise site.error("has not two spatial axes", "TFLite resizes maps only")
    mode, sizes = site.about["mode"], list(zip(site.shape(0)[1:], site.result_shape[1:], strict=True))
    own = [_looks(mode, n, m, site.about["coordinate"], site.about.get("nearest", "")) for n, m in sizes]
    for coordinate, nearest, options in sorted(_RESIZES, key=lambda found: found[0] != site.about["coordinate"]):
        if [_looks(mode, n, m, coordinate, nearest) for n, m in sizes] == own:
            size = numbers(site, "size", site.result_shape[1:])
            x, y = (activation(site.writing, name) for name in (site.node.inputs[0], site.node.outputs[0]))
            op = "RESIZE_BILINEAR" if mode == "linear" else "RESIZE_NEAREST_NEIGHBOR"
            operator(site.writing, op, [x, size], y, **options)
            return
    said = f"{site.about['coordinate']} {site.about.get('nearest', '')}"
    raise site.error(f"resizes by {said}", "export it with half_pixel, align_corners or asymmetric coordinates")


def _looks(mode: str, n: int, m: int, coordinate: str, nearest: str) -> list[list[int]]:
    """Where an axis of m values looks among n, by arithmetic without a rounding."""
    if mode == "nearest":
        return [resize.nearest(n, m, coordinate, nearest, Resize()).tolist()]
    return [part.tolist() for part in resize.between(n, m, coordinate, Resize(bits=15))]


_RESIZES: tuple[tuple[str, str, dict[str, bool]], ...] = (
    ("half_pixel", "round_prefer_ceil", {"HalfPixelCenters": True}),
    ("asymmetric", "floor", {}),
    ("align_corners", "round_prefer_ceil", {"AlignCorners": True}),
)
"""What TFLite's two options say in ONNX's words."""


MOVES: dict[str, Write] = {
    "AveragePool": partial(_pool, "AVERAGE_POOL_2D"),
    "Concat": _concat,
    "GlobalAveragePool": _mean,
    "MaxPool": partial(_pool, "MAX_POOL_2D"),
    "Pad": _pad,
    "Resize": _resize,
    "Slice": _slice,
}
