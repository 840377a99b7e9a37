"""Functions of one number that a file spells in several nodes, recognized by what they compute."""

import math
from collections.abc import Callable, Mapping

import numpy as np
from msgspec.structs import replace

from intsim.graph import Attribute, Node
from intsim.normalise.rewriting import Change, Site, in_place, number

_ENDS = ("Add", "Clip", "Div", "Log", "Max", "Min", "Mul", "Where")
_MOST = 16
"""Nodes of the longest expression that is looked at."""
_PROBES = np.arange(-24, 24 + 1 / 32, 1 / 32)
_CLOSE = 1e-5
"""How far an expression may lie from its function: constants in files are rounded; the two GELUs differ by 4e-4."""

_erf = np.vectorize(math.erf, otypes=[float])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return np.asarray(1 / (1 + np.exp(-x)))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(x, 0))


def _clip(node: Node, x: np.ndarray, low: object = None, high: object = None) -> np.ndarray:
    low, high = node.attributes.get("min", low), node.attributes.get("max", high)
    return np.clip(x, -math.inf if low is None else low, math.inf if high is None else high)  # type: ignore[call-overload]


def _elu(node: Node, x: np.ndarray) -> np.ndarray:
    return np.where(x >= 0, x, number(node, "alpha", 1.0) * np.expm1(np.minimum(x, 0)))


def _where(node: Node, c: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.where(c, a, b)


_COMPUTE: dict[str, Callable[..., np.ndarray]] = {
    "Add": lambda node, a, b: a + b,
    "Clip": _clip,
    "Div": lambda node, a, b: a / b,
    "Elu": _elu,
    "Erf": lambda node, x: _erf(x),
    "Exp": lambda node, x: np.exp(x),
    "Greater": lambda node, a, b: a > b,
    "GreaterOrEqual": lambda node, a, b: a >= b,
    "HardSigmoid": lambda node, x: np.clip(number(node, "alpha", 0.2) * x + number(node, "beta", 0.5), 0, 1),
    "Less": lambda node, a, b: a < b,
    "LessOrEqual": lambda node, a, b: a <= b,
    "Log": lambda node, x: np.log(x),
    "Max": lambda node, a, b: np.maximum(a, b),
    "Min": lambda node, a, b: np.minimum(a, b),
    "Mul": lambda node, a, b: a * b,
    "Neg": lambda node, x: -x,
    "Pow": lambda node, a, b: np.power(a, b),
    "Relu": lambda node, x: np.maximum(x, 0),
    "Sigmoid": lambda node, x: _sigmoid(x),
    "Softplus": lambda node, x: _softplus(x),
    "Sub": lambda node, a, b: a - b,
    "Tanh": lambda node, x: np.tanh(x),
    "Where": _where,
}


def function(site: Site, node: Node) -> Change | None:
    """x (1 + erf(x / sqrt 2)) / 2 = Gelu(x), and so on: the longest expression of one activation that is such.

    However it is spelled: it is computed at numbers from -24 to 24, and the function that gives the same is it. Known
    are both Gelu, HardSwish, HardSigmoid, Mish, Softplus, Elu and LeakyRelu. x Sigmoid(x) stays, as chips compute it.
    """
    if node.op == "HardSigmoid" and node.attributes.get("beta") == 0.5:
        return in_place(node, replace(node, attributes={"alpha": number(node, "alpha")}))
    if node.op not in _ENDS:
        return None
    place = {each.name: index for index, each in enumerate(site.graph.nodes)}
    inside, open_, longest = [node], _activations(site, node), None
    while open_ and len(inside) <= _MOST:
        if len(open_) == 1 and len(inside) > 1:
            longest = _recognized(site, inside, *open_) or longest
        makers = [site.producers[name] for name in open_ if name in site.producers]
        maker = max(makers, key=lambda each: place[each.name], default=None)
        if maker is None or maker.op not in _COMPUTE or len(maker.outputs) > 1:
            break
        inside.append(maker)
        open_ = (open_ - {*maker.outputs}) | _activations(site, maker)
    return longest


def _activations(site: Site, node: Node) -> set[str]:
    return {name for name in node.inputs if name and name not in site.graph.constants}


def _recognized(site: Site, inside: list[Node], x: str) -> Change | None:
    """The one node for those `inside`, the last of them first, all of them read only there."""
    (end, *others), shapes = inside, site.graph.shapes
    names = {each.name for each in inside}
    if x not in shapes or shapes[x] != shapes.get(end.outputs[0]):
        return None
    for each in others:
        (out,) = each.outputs
        if out in site.graph.outputs or any(reader.name not in names for reader in site.readers.get(out, ())):
            return None
    found = _computed(site, inside, x)
    if found is None:
        return None
    for op, attributes, wanted in _candidates(found):
        if np.allclose(found, wanted, rtol=_CLOSE, atol=_CLOSE):
            new = replace(end, op=op, inputs=(x,), attributes=attributes)
            return Change(nodes={**{each.name: () for each in others}, end.name: (new,)})
    return None


def _computed(site: Site, inside: list[Node], x: str) -> np.ndarray | None:
    """The expression at all probes; None where it is not finite, or has constants of several numbers."""
    values: dict[str, object] = {x: _PROBES, "": None}
    for node in reversed(inside):
        for name in node.inputs:
            constant = site.graph.constants.get(name)
            if constant is not None:
                if constant.size != 1:
                    return None
                values[name] = float(constant.item())
        try:
            values[node.outputs[0]] = _COMPUTE[node.op](node, *(values[name] for name in node.inputs))
        except (TypeError, KeyError):
            return None
    found = np.asarray(values[inside[0].outputs[0]], float)
    return found if found.shape == _PROBES.shape and np.isfinite(found).all() else None


def _candidates(f: np.ndarray) -> list[tuple[str, Mapping[str, Attribute], np.ndarray]]:
    """The functions it may be, a parameter read off f near zero or at -1."""
    x, half = _PROBES, len(_PROBES) // 2
    slope = float(np.float32((f[half + 1] - f[half - 1]) * 16))
    at_minus_one = f[half - 32]
    leak, elu = float(np.float32(-at_minus_one)), float(np.float32(at_minus_one / math.expm1(-1)))
    tanh = 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
    found: list[tuple[str, Mapping[str, Attribute], np.ndarray]] = [
        ("Gelu", {"approximate": "none"}, 0.5 * x * (1 + _erf(x / math.sqrt(2)))),
        ("Gelu", {"approximate": "tanh"}, tanh),
        ("HardSwish", {}, x * np.clip(x + 3, 0, 6) / 6),
        ("Mish", {}, x * np.tanh(_softplus(x))),
        ("Softplus", {}, _softplus(x)),
    ]
    if slope > 0:
        found.append(("HardSigmoid", {"alpha": slope}, np.clip(slope * x + 0.5, 0, 1)))
    if 0 < leak < 1:
        found.append(("LeakyRelu", {"alpha": leak}, np.where(x >= 0, x, leak * x)))
    if elu > 0:
        found.append(("Elu", {"alpha": elu}, np.where(x >= 0, x, elu * np.expm1(np.minimum(x, 0)))))
    return found
