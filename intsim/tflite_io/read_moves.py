"""Operators that move or average integers, read: pools, MEAN, pads, joins, shapes, RESIZE."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from intsim.tflite_io import layout
from intsim.tflite_io.constants import numbers, values
from intsim.tflite_io.read_reshape import reshaped
from intsim.tflite_io.read_slices import graph_axis
from intsim.tflite_io.reading import (
    Site,
    activation,
    activation_affine,
    add,
    arithmetic,
    between,
    rank_of,
    same_affine,
    stated,
)

Read = Callable[[Site], None]


def _pool(op: str, site: Site) -> None:
    _, height, width, c = rank_of(site, 0, 4)
    x = activation(site, 0)
    same_affine(site, x)
    kernel = (int(site.options["FilterHeight"]), int(site.options["FilterWidth"]))
    strides = (int(site.options["StrideH"]), int(site.options["StrideW"]))
    if min(*kernel, *strides) < 1:
        raise site.error(f"has a window {kernel} with strides {strides}", "the file is damaged: convert it again")
    sizes, ones = (height, width), (1, 1)
    pads = layout.pads_of(site.options["Padding"], sizes, kernel, strides, ones)
    about: dict[str, Any] = {"kernel_shape": kernel, "strides": strides, "dilations": ones, "pads": pads}
    if op == "AveragePool":
        about["count_include_pad"] = 0
    shape = (site.tensor(0).shape[0], *layout.places(sizes, pads, kernel, strides, ones), c)
    arithmetic(site, op, [x], shape=shape, **about)


def _mean(site: Site) -> None:
    """Over all spatial axes; without them where the file does not keep them."""
    shape = rank_of(site, 0, 3, 4)
    spatial, x = len(shape) - 2, activation(site, 0)
    axes = sorted({int(axis) % len(shape) for axis in numbers(site, 1).reshape(-1)} if _fits(site, len(shape)) else ())
    if axes != list(range(1, spatial + 1)):
        raise site.error(f"averages over the axes {axes} of {list(shape)}", "average over all of a map, no more")
    kept = (shape[0], *(1,) * spatial, shape[-1])
    if site.options["KeepDims"]:
        stated(site, kept)
        add(site, "GlobalAveragePool", [x])
        return
    stated(site, (shape[0], shape[-1]))
    means = between(site, "mean", layout.graph_shape(kept), activation_affine(site.result))
    add(site, "GlobalAveragePool", [x], means)
    add(site, "Flatten", [means])


def _fits(site: Site, rank: int) -> bool:
    return all(-rank <= axis < rank for axis in numbers(site, 1).reshape(-1))


def _concatenation(site: Site) -> None:
    names = [activation(site, place) for place in range(len(site.operator.inputs))]
    shapes = [site.tensor(place).shape for place in range(len(names))]
    rank = len(site.result.shape)
    axis = int(site.options["Axis"])
    along = graph_axis(site, axis, rank)
    rests = {(*shape[: axis % rank], *shape[axis % rank + 1 :]) for shape in shapes if len(shape) == rank}
    if len(rests) != 1 or any(len(shape) != rank for shape in shapes):
        raise site.error(f"joins {[list(shape) for shape in shapes]}", "the file is damaged: convert it again")
    joined = list(shapes[0])
    joined[axis % rank] = sum(shape[axis % rank] for shape in shapes)
    arithmetic(site, "Concat", names, shape=tuple(joined), axis=along)


def _pad(site: Site) -> None:
    """With the zero point, or with a constant's integer (PADV2)."""
    x, shape, y = activation(site, 0), site.tensor(0).shape, activation_affine(site.result)
    same_affine(site, x)
    around = numbers(site, 1)
    if around.shape != (len(shape), 2) or around.min(initial=0) < 0:
        raise site.error(f"pads by {around.tolist()}", "the file is damaged: convert it again")
    if around[0].any():
        raise site.error("pads the batch", "keep the batch as it is")
    value = y.zero
    if site.has(2):
        if activation_affine(site.tensor(2)) != y:
            raise site.error("pads with a constant of another scale", "quantize it with the input's")
        value = int(values(site.reading, site.tensor(2)).reshape(-1)[0])
    stated(site, tuple(int(size) + int(b) + int(e) for size, (b, e) in zip(shape, around, strict=True)))
    begin, end = (layout.graph_shape(tuple(int(v) for v in around[:, side])) for side in (0, 1))
    add(site, "Pad", [x], pads=(*begin, *end), value=layout.real_bound(value, y))


def _reshape(site: Site) -> None:
    """RESHAPE, SQUEEZE, EXPAND_DIMS: the shape is the output's."""
    x, shape, wanted = activation(site, 0), site.result.shape, activation_affine(site.result)
    if site.reading.affines[x] != wanted:
        same_affine(site, x)
    before = site.tensor(0).shape
    if np.prod(before, dtype=object) != np.prod(shape, dtype=object) or len(shape) < 2 or shape[0] != before[0]:
        raise site.error(f"makes {list(shape)} of {list(before)}", "keep the batch the first axis of every tensor")
    if site.operator.op == "RESHAPE" and site.has(1):
        asked = tuple(int(size) for size in numbers(site, 1).reshape(-1))
        fits = len(asked) == len(shape) and all(a in (-1, b) for a, b in zip(asked, shape, strict=True))
        if not fits or asked.count(-1) > 1:
            raise site.error(f"is asked for {list(asked)}, the file says {list(shape)}", "convert it again")
    reshaped(site, x, shape, own=True)


def _transpose(site: Site) -> None:
    x, shape = activation(site, 0), site.tensor(0).shape
    same_affine(site, x)
    perm = tuple(int(axis) for axis in numbers(site, 1).reshape(-1))
    if sorted(perm) != list(range(len(shape))):
        raise site.error(f"puts the axes into the order {list(perm)}", "the file is damaged: convert it again")
    if perm[0]:
        raise site.error("moves the batch", "keep the batch the first axis of every tensor")
    stated(site, tuple(shape[axis] for axis in perm))
    add(site, "Transpose", [x], perm=layout.graph_perm(perm))


def _resize(mode: str, site: Site) -> None:
    batch, _, _, c = rank_of(site, 0, 4)
    x = activation(site, 0)
    same_affine(site, x)
    sizes = tuple(int(size) for size in numbers(site, 1).reshape(-1))
    corners, half = bool(site.options["AlignCorners"]), bool(site.options["HalfPixelCenters"])
    if len(sizes) != 2 or min(sizes) < 1 or (corners and half):
        raise site.error(f"resizes to {list(sizes)}", "the file is damaged: convert it again")
    stated(site, (batch, *sizes, c))
    coordinate = "align_corners" if corners else "half_pixel" if half else "asymmetric"
    nearest = "round_prefer_ceil" if corners or half else "floor"
    add(site, "Resize", [x], mode=mode, coordinate=coordinate, nearest=nearest)


MOVES: dict[str, Read] = {
    "AVERAGE_POOL_2D": partial(_pool, "AveragePool"),
    "CONCATENATION": _concatenation,
    "EXPAND_DIMS": _reshape,
    "MAX_POOL_2D": partial(_pool, "MaxPool"),
    "MEAN": _mean,
    "PAD": _pad,
    "PADV2": _pad,
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": partial(_resize, "linear"),
    "RESIZE_NEAREST_NEIGHBOR": partial(_resize, "nearest"),
    "SQUEEZE": _reshape,
    "TRANSPOSE": _transpose,
}
