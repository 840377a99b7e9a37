"""Operators on one integer at a time, written: sums, products, extremes, functions, clips, Softmax, Requantize."""

from collections.abc import Callable
from functools import partial

from intsim.tflite_io.operators import as_activation, bounds, finish, operator
from intsim.tflite_io.writing import Site, activation, extra, level, operand

Write = Callable[[Site], None]


def _sum(op: str, site: Site) -> None:
    """ADD, SUB; in 16 bits by the general rule, whatever the scales."""
    wide = {"PotScaleInt16": False} if site.result.type.bits == 16 else {}
    finish(site, op, [operand(site, 0), operand(site, 1)], **wide)


def _product(site: Site) -> None:
    finish(site, "MUL", [operand(site, 0), operand(site, 1)])


def _extreme(op: str, site: Site) -> None:
    """MAXIMUM, MINIMUM compare integers: what has another affine than the output is requantized in front."""
    inputs = []
    for place in (0, 1):
        x = operand(site, place)
        if site.affine(place) != site.result:
            if site.is_constant(place):
                raise site.error(f"has the constant {site.node.inputs[place]} at another scale", "let them share")
            own = extra(site, f"requantized{place}", site.writing.tensors[x].shape, site.result)
            operator(site.writing, "QUANTIZE", [x], own)
            x = own
        inputs.append(x)
    operator(site.writing, op, inputs, activation(site.writing, site.node.outputs[0]))


def _plain(op: str, site: Site, **options: float) -> None:
    x, y = (activation(site.writing, name) for name in (site.node.inputs[0], site.node.outputs[0]))
    operator(site.writing, op, [x], y, **options)


_FIXED = {
    "LOGISTIC": {8: (1 / 256, -128), 16: (1 / 32768, 0)},
    "SOFTMAX": {8: (1 / 256, -128), 16: (1 / 32768, 0)},
    "TANH": {8: (1 / 128, 0), 16: (1 / 32768, 0)},
}


def _bounded(op: str, site: Site, **options: float) -> None:
    """A function whose results TFLite has at one scale only."""
    scale, zero = _FIXED[op][site.result.type.bits]
    own = zero + (128 if not site.result.type.signed else 0)
    if (site.result.scale[0], site.result.zero) != (scale, own):
        stated = f"scale {site.result.scale[0]:g} and zero point {site.result.zero}"
        raise site.error(f"has {stated}, {op} gives scale {scale:g} and {own}", "quantize for a LiteRT target")
    _plain(op, site, **options)


def _softmax(site: Site) -> None:
    rank = len(site.result_shape) + 1
    if int(site.about["axis"]) % rank != 1:
        raise site.error("is not over the channels", "transpose first")
    _bounded("SOFTMAX", site, Beta=float(site.about.get("beta", 1.0)))


def _leaky_relu(site: Site) -> None:
    _plain("LEAKY_RELU", site, Alpha=float(site.about["alpha"]))


def _elu(site: Site) -> None:
    if (alpha := float(site.about["alpha"])) != 1.0:
        raise site.error(f"has alpha {alpha:g}, ELU has 1", "choose another activation")
    _plain("ELU", site)


def _prelu(site: Site) -> None:
    if (bits := site.affine(1).type.bits) != 8:
        raise site.error(f"has slopes of {bits} bits, which runtimes read as 8", "quantize the slopes to 8 bits")
    operator(
        site.writing,
        "PRELU",
        [activation(site.writing, site.node.inputs[0]), operand(site, 1)],
        activation(site.writing, site.node.outputs[0]),
    )


def _clip(site: Site) -> None:
    """One of TFLite's activations, or MAXIMUM and MINIMUM with a constant."""
    affine = site.result
    if site.affine(0) != affine:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")
    found = bounds(site.node, affine)
    if (name := as_activation(found, affine)) is not None:
        _plain(name, site)
        return
    x, y = (activation(site.writing, name) for name in (site.node.inputs[0], site.node.outputs[0]))
    low, high = found
    if high == affine.type.high:
        operator(site.writing, "MAXIMUM", [x, level(site, "low", low, affine)], y)
        return
    if low > affine.type.low:
        above = extra(site, "above", site.writing.tensors[x].shape, affine)
        operator(site.writing, "MAXIMUM", [x, level(site, "low", low, affine)], above)
        x = above
    operator(site.writing, "MINIMUM", [x, level(site, "high", high, affine)], y)


ELEMENTWISE: dict[str, Write] = {
    "Add": partial(_sum, "ADD"),
    "Clip": _clip,
    "Elu": _elu,
    "HardSwish": partial(_plain, "HARD_SWISH"),
    "LeakyRelu": _leaky_relu,
    "Max": partial(_extreme, "MAXIMUM"),
    "Min": partial(_extreme, "MINIMUM"),
    "Mul": _product,
    "PRelu": _prelu,
    "Relu": _clip,
    "Requantize": partial(_plain, "QUANTIZE"),
    "Sigmoid": partial(_bounded, "LOGISTIC"),
    "Softmax": _softmax,
    "Sub": partial(_sum, "SUB"),
    "Tanh": partial(_bounded, "TANH"),
}
