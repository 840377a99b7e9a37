"""Operators on one integer at a time, read: sums, products, extremes, functions, clips, SOFTMAX, QUANTIZE."""

from collections.abc import Callable
from functools import partial

import numpy as np

from intsim.tflite_io import layout
from intsim.tflite_io.constants import constant, is_constant, operand, values
from intsim.tflite_io.reading import FULL, Site, activation, activation_affine, add, arithmetic, between, clip, stated

Read = Callable[[Site], None]


def _two(op: str, site: Site) -> None:
    """Two operands that broadcast; one of them may be a constant."""
    shapes = [site.tensor(place).shape for place in (0, 1)]
    rank = len(site.result.shape)
    if is_constant(site, 0) and is_constant(site, 1):
        raise site.error("computes from constants only", "fold it before you convert")
    if op in ("Max", "Min") and is_constant(site, 1) and values(site.reading, site.tensor(1)).size == 1:
        _bounded(op, site)
        return
    names = [operand(site, place, rank) for place in (0, 1)]
    if op in ("Max", "Min"):
        y = activation_affine(site.result)
        if any(site.reading.affines[name] != y for name in names):
            raise site.error("compares integers of different scales", "put a QUANTIZE in front of it")
    arithmetic(site, op, names, shape=np.broadcast_shapes(*shapes))


def _bounded(op: str, site: Site) -> None:
    """The larger or smaller of an activation and one number: a Clip."""
    x, y, bound = activation(site, 0), activation_affine(site.result), site.tensor(1)
    stated(site, np.broadcast_shapes(site.tensor(0).shape, bound.shape))
    if not site.reading.affines[x] == y == activation_affine(bound):
        raise site.error("compares integers of different scales", "put a QUANTIZE in front of it")
    q = int(values(site.reading, bound).reshape(-1)[0])
    if op == "Max" and q == y.zero:
        add(site, "Relu", [x])
        return
    real = layout.real_bound(q, y)
    add(site, "Clip", [x], min=real if op == "Max" else -np.inf, max=real if op == "Min" else np.inf)


def _function(op: str, site: Site) -> None:
    x = activation(site, 0)
    stated(site, site.tensor(0).shape)
    add(site, op, [x])


def _elu(site: Site) -> None:
    x = activation(site, 0)
    stated(site, site.tensor(0).shape)
    add(site, "Elu", [x], alpha=1.0)


def _leaky_relu(site: Site) -> None:
    x, alpha = activation(site, 0), float(site.options["Alpha"])
    if not np.isfinite(alpha):
        raise site.error(f"has alpha {alpha}", "the file is damaged: convert it again")
    stated(site, site.tensor(0).shape)
    add(site, "LeakyRelu", [x], alpha=alpha)


def _prelu(site: Site) -> None:
    x, rank = activation(site, 0), len(site.tensor(0).shape)
    if not is_constant(site, 1):
        raise site.error("has a slope that is computed", "train it with a constant slope")
    slope = site.tensor(1)
    turned = layout.channels_first(values(site.reading, slope), rank)
    name = constant(site, 1, np.ascontiguousarray(turned), activation_affine(slope))
    stated(site, np.broadcast_shapes(site.tensor(0).shape, slope.shape))
    add(site, "PRelu", [x, name])


def _clip(name: str, site: Site) -> None:
    """Where its output has another affine than its input, it requantizes first."""
    x, y = activation(site, 0), activation_affine(site.result)
    stated(site, site.tensor(0).shape)
    if site.reading.affines[x] != y:
        _require_type(site, x)
        wide = between(site, "requantized", site.reading.shapes[x], y)
        x = add(site, "Requantize", [x], wide)
    clip(site, name, x, y)


def _require_type(site: Site, x: str) -> None:
    if site.reading.affines[x].type != activation_affine(site.result).type:
        raise site.error("reads and computes different types", FULL)


def _softmax(site: Site) -> None:
    x, beta = activation(site, 0), float(site.options["Beta"])
    if not (np.isfinite(beta) and beta > 0):
        raise site.error(f"has beta {beta}", "the file is damaged: convert it again")
    stated(site, site.tensor(0).shape)
    add(site, "Softmax", [x], axis=1, beta=beta)


def _quantize(site: Site) -> None:
    """Between two integer affines; floats enter at the network's doors only."""
    stated(site, site.tensor(0).shape)
    add(site, "Requantize", [activation(site, 0)])


def _dequantize(site: Site) -> None:
    raise site.error("makes floats in the middle of the network", FULL)


ELEMENTWISE: dict[str, Read] = {
    "ADD": partial(_two, "Add"),
    "DEQUANTIZE": _dequantize,
    "ELU": _elu,
    "HARD_SWISH": partial(_function, "HardSwish"),
    "LEAKY_RELU": _leaky_relu,
    "LOGISTIC": partial(_function, "Sigmoid"),
    "MAXIMUM": partial(_two, "Max"),
    "MINIMUM": partial(_two, "Min"),
    "MUL": partial(_two, "Mul"),
    "PRELU": _prelu,
    "QUANTIZE": _quantize,
    "RELU": partial(_clip, "RELU"),
    "RELU6": partial(_clip, "RELU6"),
    "RELU_N1_TO_1": partial(_clip, "RELU_N1_TO_1"),
    "SOFTMAX": _softmax,
    "SUB": partial(_two, "Sub"),
    "TANH": partial(_function, "Tanh"),
}
