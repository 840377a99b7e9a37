"""Two operands, place by place, in C: sums, products, larger and smaller ones."""

from typing import Any

import msgspec
import numpy as np

from intsim.integers import Rounding
from intsim.program import Add, Extreme, Multiply, Program, Rescale
from intsim.target import Cast
from intsim.vectors.formulas.frame import each, table_of
from intsim.vectors.initializers import RULES, UnwrittenError, cast_of, enum, listed, rescale_of, shapes, struct
from intsim.vectors.layers import Layer
from intsim.vectors.text import literal


def write_add(program: Program, layer: Layer, add: Add) -> str:
    """The sum or difference of two tensors, by the machine's rule."""
    n, rule = layer.index, add.rule
    if add.rescale is not None:
        sign, (za, zb) = "-" if add.subtract else "+", add.zero_points
        return _requantized(program, layer, add, add.rescale, f"((wide){{}} - ({za})) {sign} ((wide){{}} - ({zb}))")
    if type(rule) not in RULES:
        raise UnwrittenError(f"{type(rule).__name__} has no formula in C")
    requantize = getattr(rule, "requantize", None)
    terms = {} if requantize is None else msgspec.structs.asdict(requantize)
    given = getattr(rule, "inputs", None)
    inputs = terms if given is None else msgspec.structs.asdict(given)
    floating = add.multiplier is not None and add.multiplier.dtype.kind == "f"
    multiplier = () if add.multiplier is None else tuple(literal(v) for v in add.multiplier)
    fields = {
        "rule": RULES[type(rule)],
        "rounding": enum(getattr(rule, "rounding", Rounding.HALF_EVEN)),
        "left_shift": getattr(rule, "left_shift", 0),
        "early": int(getattr(rule, "early", False)),
        "fused": int(getattr(rule, "fused", False)),
        "subtract": int(add.subtract),
        "inputs": _terms(inputs, None),
        "terms": _terms(terms, getattr(rule, "middle", None)),
        "zero_point_a": add.zero_points[0],
        "zero_point_b": add.zero_points[1],
        "zero_point": add.zero_point,
        "low": add.low,
        "high": add.high,
        "multiplier": listed(multiplier if multiplier and not floating else (0,)),
        "exponent": listed([0] if add.exponent is None else [literal(v) for v in add.exponent]),
        "f32": listed(multiplier if floating else (0,)),
    }
    lines, a, b = _operands(program, layer, add)
    lines.append(f"static const struct add add_{n} = {struct(fields)};")
    return "\n".join([*lines, "", each(layer, f"added({a}, {b}, &add_{n})")])


def _terms(terms: dict[str, Any], middle: Cast | None) -> str:
    """The roundings of a sum's terms."""
    return struct(
        {
            "rule": "FIXED_POINT",
            "bits": terms.get("keep") or terms.get("bits", 0),
            "product": terms.get("product") or 0,
            "doubled": terms.get("doubled") or 0,
            "first": -1 if terms.get("first") is None else enum(terms["first"]),
            "rounding": enum(terms.get("rounding", Rounding.HALF_EVEN)),
            "width": terms.get("register", 0),
            "middle": cast_of(middle or terms.get("middle")),
            "before": int(terms.get("zero_point") == "before"),
        }
    )


def write_multiply(program: Program, layer: Layer, multiply: Multiply) -> str:
    """The requantized product of two tensors."""
    za, zb = multiply.zero_points
    return _requantized(program, layer, multiply, multiply.rescale, f"((wide){{}} - ({za})) * ((wide){{}} - ({zb}))")


def _requantized(program: Program, layer: Layer, pair: Add | Multiply, rescale: Rescale, value: str) -> str:
    """A value of two operands, which stand in its two {}, requantized."""
    n, (lines, a, b) = layer.index, _operands(program, layer, pair)
    lines.append(f"static const struct rescale rescale_{n} = {rescale_of(layer, rescale)};")
    return "\n".join([*lines, "", each(layer, f"requantized({value.format(a, b)}, &rescale_{n}, 0)")])


def write_extreme(program: Program, layer: Layer, extreme: Extreme) -> str:
    """The larger, or the smaller, of two integers."""
    lines, a, b = _operands(program, layer, extreme)
    sign = ">" if extreme.largest else "<"
    return "\n".join([*lines, "", each(layer, f"{a} {sign} {b} ? {a} : {b}")])


def _operands(program: Program, layer: Layer, pair: Add | Multiply | Extreme) -> tuple[list[str], str, str]:
    """What has to be declared, and the two operands of output i."""
    n = layer.index
    inputs, output = shapes(program, layer)
    sides = [(f"in_{i}", shape) for i, shape in enumerate(inputs)]
    if pair.constant is not None:
        sides.insert(0 if pair.constant_first else 1, (f"layer_{n}_constant", pair.constant.shape))
    lines, words = [], []
    for side, (name, shape) in zip("ab", sides, strict=True):
        places = np.arange(int(np.prod(shape))).reshape(shape)
        spread = np.broadcast_to(places, output).reshape(-1)
        if spread.size == places.size:
            words.append(f"{name}[i]")
        else:
            lines += table_of(f"from_{side}_{n}", spread)
            words.append(f"{name}[from_{side}_{n}[i]]")
    return lines, words[0], words[1]
