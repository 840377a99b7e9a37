"""Operators that sum products, read: CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, TRANSPOSE_CONV."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from intsim.integers import Affine
from intsim.tflite_io import layout
from intsim.tflite_io.constants import bias, constant, numbers, weights
from intsim.tflite_io.read_reshape import reshaped
from intsim.tflite_io.reading import Site, activation, arithmetic, rank_of, stated


def _conv(site: Site) -> None:
    """Weights [o, kh, kw, c / group]."""
    _, height, width, c = rank_of(site, 0, 4)
    o, kh, kw, inner = rank_of(site, 1, 4)
    if not inner or c % inner or o % (c // inner):
        raise site.error(f"has weights for {inner} channels, its input has {c}", "convert it again")
    weight, affine = weights(site, 1, 0, o)
    _convolution(site, np.moveaxis(weight, -1, 1), affine, (height, width), (kh, kw), c // inner)


def _depthwise(site: Site) -> None:
    """Weights [1, kh, kw, c * multiplier]; output channel c * multiplier + m reads channel c."""
    _, height, width, c = rank_of(site, 0, 4)
    one, kh, kw, o = rank_of(site, 1, 4)
    if one != 1 or o % c:
        raise site.error(f"has weights {list(site.tensor(1).shape)}, its input has {c} channels", "convert it again")
    weight, affine = weights(site, 1, 3, o)
    turned = np.moveaxis(weight, -1, 0).transpose(0, 1, 2, 3)
    _convolution(site, turned, _along(affine, 0), (height, width), (kh, kw), c)


def _along(affine: Affine, axis: int) -> Affine:
    return affine if affine.axis is None else replace(affine, axis=axis)


def _convolution(
    site: Site, weight: np.ndarray, affine: Affine, sizes: tuple[int, int], kernel: tuple[int, int], group: int
) -> None:
    """A Conv whose weight[o, c / group, kh, kw] is in a Graph's layout."""
    strides, dilations = _sizes(site, "Stride{}"), _sizes(site, "Dilation{}Factor")
    pads = layout.pads_of(site.options["Padding"], sizes, kernel, strides, dilations)
    x = activation(site, 0)
    names = [x, constant(site, 1, np.ascontiguousarray(weight), affine), *_bias(site, 2, x, affine, len(weight))]
    shape = (site.tensor(0).shape[0], *layout.places(sizes, pads, kernel, strides, dilations), len(weight))
    about = {"kernel_shape": kernel, "strides": strides, "dilations": dilations, "pads": pads}
    arithmetic(site, "Conv", names, shape=shape, **about, group=group)


def _sizes(site: Site, name: str) -> tuple[int, int]:
    """Strides or dilations, height first. IntsimError for one that is not positive."""
    found = (int(site.options[name.format("H")]), int(site.options[name.format("W")]))
    if min(found) < 1:
        raise site.error(f"has {name.format('')} {found}", "the file is damaged: convert it again")
    return found


def _bias(site: Site, place: int, x: str, weight: Affine, outputs: int) -> list[str]:
    if not site.has(place):
        return []
    found, affine = bias(site, place, x, weight, outputs)
    return [constant(site, place, found, affine)]


def _fully_connected(site: Site) -> None:
    """Weights [o, k]; what it reads is flattened to rows of k, in the file's order."""
    outputs, k = rank_of(site, 1, 2)
    if site.options["WeightsFormat"]:
        raise site.error("has shuffled weights", "convert it again with default weights")
    shape = site.tensor(0).shape
    batch, size = shape[0], int(np.prod(shape[1:], dtype=object))
    if size != k:
        what = f"has weights for {k} values, a sample of its input has {size}"
        raise site.error(what, "convert it as a 1x1 convolution")
    x = activation(site, 0)
    x = reshaped(site, x, (batch, k)) if len(shape) != 2 else x
    weight, affine = weights(site, 1, 0, outputs)
    names = [x, constant(site, 1, weight, affine), *_bias(site, 2, x, affine, outputs)]
    wide = (*shape[:-1], outputs) if site.options["KeepNumDims"] else (batch, outputs)
    stated(site, wide)
    if len(wide) == 2:
        arithmetic(site, "Gemm", names)
    else:
        raise site.error(f"keeps {len(wide)} axes", "convert it without keep_num_dims")


def _transpose_conv(site: Site) -> None:
    """Weights [o, kh, kw, c]; its first input says how large the output is."""
    wanted = tuple(int(size) for size in numbers(site, 0))
    o, kh, kw, inner = rank_of(site, 1, 4)
    batch, height, width, c = rank_of(site, 2, 4)
    if inner != c or len(wanted) != 4:
        raise site.error(f"has weights for {inner} channels, its input has {c}", "convert it again")
    strides, sizes, kernel = _sizes(site, "Stride{}"), (height, width), (kh, kw)
    forward = layout.pads_of(site.options["Padding"], wanted[1:3], kernel, strides, (1, 1))
    full = [(n - 1) * s + k - size for n, s, k, size in zip(sizes, strides, kernel, wanted[1:3], strict=True)]
    begin = [max(pad, 0) for pad in forward[:2]]
    rest = [total - pad for total, pad in zip(full, begin, strict=True)]
    weight, affine = weights(site, 1, 0, o)
    x = activation(site, 2)
    turned = np.ascontiguousarray(weight.transpose(3, 0, 1, 2))
    names = [x, constant(site, 1, turned, _along(affine, 1)), *_bias(site, 3, x, affine, o)]
    arithmetic(
        site,
        "ConvTranspose",
        names,
        shape=(batch, *wanted[1:3], o),
        kernel_shape=kernel,
        strides=strides,
        dilations=(1, 1),
        pads=(*begin, *(max(pad, 0) for pad in rest)),
        output_padding=tuple(max(-pad, 0) for pad in rest),
        group=1,
    )


SUMS: dict[str, Callable[[Site], None]] = {
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "FULLY_CONNECTED": _fully_connected,
    "TRANSPOSE_CONV": _transpose_conv,
}
