"""Operators that sum products, written: Conv, Gemm, ConvTranspose."""

from collections.abc import Callable

import numpy as np

from intsim.integers import Affine, IntType
from intsim.tflite_io import layout
from intsim.tflite_io.operators import finish, operator
from intsim.tflite_io.schema import SAME, VALID
from intsim.tflite_io.write_moves import padded, sliced
from intsim.tflite_io.writing import Site, activation, constant_name, extra, free, tensor


def _conv(site: Site) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D where each group reads one of several channels."""
    if len(site.shape(0)) != 3:
        raise site.error(f"has {len(site.shape(0)) - 1} spatial axes", "TFLite's convolutions have two")
    weight, group = site.writing.graph.constants[site.node.inputs[1]], int(site.about["group"])
    c, *sizes = site.shape(0)
    kernel, strides, dilations = (site.about[name] for name in ("kernel_shape", "strides", "dilations"))
    x, padding = padded(site, sizes, kernel, strides, dilations, site.affine(0).zero)
    options = {"Padding": padding, "StrideH": strides[0], "StrideW": strides[1]}
    options |= {"DilationHFactor": dilations[0], "DilationWFactor": dilations[1]}
    if group == c > 1:
        turned = np.moveaxis(weight[:, 0], 0, -1)[None]
        constants = _constants(site, turned, 3)
        finish(site, "DEPTHWISE_CONV_2D", [x, *constants], **options, DepthMultiplier=len(weight) // group)
    else:
        constants = _constants(site, np.moveaxis(weight, 1, -1), 0)
        finish(site, "CONV_2D", [x, *constants], **options)


def _gemm(site: Site) -> None:
    """FULLY_CONNECTED; the columns in the order in which the file has what was flattened."""
    weight, x = site.writing.graph.constants[site.node.inputs[1]], site.node.inputs[0]
    if x in site.writing.order:
        weight = weight[:, site.writing.order[x]]
    finish(site, "FULLY_CONNECTED", [activation(site.writing, x), *_constants(site, weight, 0)])


def _conv_transpose(site: Site) -> None:
    """TRANSPOSE_CONV; where TFLite's padding begins elsewhere, the whole is computed and the part sliced out."""
    about, writing = site.about, site.writing
    if len(site.shape(0)) != 3 or about["group"] != 1 or any(d != 1 for d in about["dilations"]):
        raise site.error("has groups, dilations, or not two spatial axes", "TFLite's TRANSPOSE_CONV has none")
    weight = writing.graph.constants[site.node.inputs[1]]
    kernel, strides, begin = about["kernel_shape"], about["strides"], about["pads"][:2]
    o, *sizes = site.result_shape
    options = {"StrideH": strides[0], "StrideW": strides[1]}
    x = activation(writing, site.node.inputs[0])
    constants = _constants(site, weight.transpose(1, 2, 3, 0), 0)

    def transposed(wanted: list[int], output: int, padding: int) -> None:
        shape = np.array((writing.batch, *wanted, o), np.int32)
        size = tensor(writing, constant_name(writing, f"{site.node.outputs[0]}/size"), (4,), "INT32", None, shape)
        inputs = [size, constants[0], x, *constants[1:]]
        operator(writing, "TRANSPOSE_CONV", inputs, output, Padding=padding, **options)

    for padding in (VALID, SAME):
        pads = layout.pads_of(padding, sizes, kernel, strides, (1, 1))
        back = layout.places(sizes, pads, kernel, strides, (1, 1))
        if tuple(begin) == pads[:2] and back == site.shape(0)[1:]:
            transposed(list(sizes), activation(writing, site.node.outputs[0]), padding)
            return
    ends = [b + size for b, size in zip(begin, sizes, strict=True)]
    full = [(n - 1) * s + k for n, s, k in zip(site.shape(0)[1:], strides, kernel, strict=True)]
    whole = [max(end, most) for end, most in zip(ends, full, strict=True)]
    part = extra(site, "whole", (writing.batch, *whole, o), site.result)
    transposed(whole, part, VALID)
    sliced(site, part, [range(writing.batch), *(range(b, e) for b, e in zip(begin, ends, strict=True)), range(o)])


def _constants(site: Site, weight: np.ndarray, axis: int) -> list[int]:
    """The weights, with their scales along `axis`, and the bias: runtimes crash on some sums that have none."""
    writing, affine, x = site.writing, site.affine(1), site.affine(0)
    own = _weight_affine(site, affine, axis)
    q = (weight.astype(np.int64) + own.zero_point[0] - affine.zero_point[0]).astype(own.type.dtype)
    name = constant_name(writing, site.node.inputs[1])
    found = [tensor(writing, name, q.shape, "INT8" if own.type.signed else "UINT8", own, q)]
    bias = np.zeros(site.result_shape[0], np.int64)
    if site.has(2):
        bias = writing.graph.constants[site.node.inputs[2]].astype(np.int64)
    type_ = IntType(64 if x.type.bits == 16 else 32)
    if bias.size and not type_.low <= int(bias.min()) <= int(bias.max()) <= type_.high:
        raise site.error(f"its bias reaches {np.abs(bias).max()}, beyond {type_}", "quantize with larger scales")
    products = np.float32(x.scale[0]) * np.asarray(affine.scale, np.float32)
    scale = Affine(scale=tuple(map(float, products)), type=type_, axis=None if len(products) == 1 else 0)
    name = constant_name(writing, site.node.inputs[2] if site.has(2) else free(site, "bias"))
    found.append(tensor(writing, name, bias.shape, f"INT{type_.bits}", scale, bias.astype(type_.dtype)))
    return found


def _weight_affine(site: Site, affine: Affine, axis: int) -> Affine:
    """The weights' affine in the file: s8 without a zero point, or in the older files u8 with one."""
    along = None if affine.axis is None else axis
    if affine.type.bits > 8:
        raise site.error(f"weights are {affine.type}", "quantize weights to 8 bits or fewer")
    if not site.writing.old:
        return Affine(scale=affine.scale, type=IntType(8), axis=along)
    if affine.axis is not None:
        raise site.error("weights have a zero point and a scale per channel", "quantize weights symmetric")
    if site.affine(0).type.bits != 8:
        raise site.error("weights have a zero point and activations 16 bits", "quantize weights symmetric")
    zero = affine.zero + (128 if affine.type.signed else 0)
    return Affine(scale=affine.scale, type=IntType(8, False), zero_point=(zero,))


SUMS: dict[str, Callable[[Site], None]] = {"Conv": _conv, "ConvTranspose": _conv_transpose, "Gemm": _gemm}
