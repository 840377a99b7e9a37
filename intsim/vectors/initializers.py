"""The rules' numbers as C initializers, and what of the rules the C formulas know."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from intsim.graph import Shape
from intsim.integers import Overflow, Rounding
from intsim.program import (
    Program,
    Rescale,
    Window,
)
from intsim.target import (
    AlignedAdd,
    Bias,
    Cast,
    ClippedAdd,
    Divide,
    Factors,
    FixedPoint,
    Float32Add,
    Float32Average,
    Float32Requantize,
    Float32Scale,
    Float64Scale,
    Lanes,
    Level,
    Mac,
    PowerOfTwo,
    Reciprocal,
    RequantizedSum,
    RescaledSum,
    ShiftedAdd,
    ThreeRescales,
    Thresholds,
    TwoMultipliers,
)
from intsim.vectors.layers import Layer
from intsim.vectors.text import ctype

RULES = {
    FixedPoint: "FIXED_POINT",
    PowerOfTwo: "POWER_OF_TWO",
    Float32Scale: "FLOAT32_SCALE",
    Float64Scale: "FLOAT64_SCALE",
    Float32Requantize: "FLOAT32_REQUANTIZE",
    Thresholds: "THRESHOLDS",
    ThreeRescales: "THREE_RESCALES",
    TwoMultipliers: "TWO_MULTIPLIERS",
    Float32Add: "FLOAT32_ADD",
    ShiftedAdd: "SHIFTED_ADD",
    AlignedAdd: "ALIGNED_ADD",
    ClippedAdd: "CLIPPED_ADD",
    Divide: "DIVIDE",
    Reciprocal: "FACTORS",
    Factors: "FACTORS",
    Float32Average: "FLOAT32_AVERAGE",
    RescaledSum: "RESCALED_SUM",
}


# What formulas.h knows of each rule; a field beyond these, that does not have its default, is not written in C.
_FIELDS: dict[type, str] = {
    Cast: "bits signed shift rounding overflow fraction_bits",
    Lanes: "size tail",
    Level: "size bits overflow first_only",
    Mac: "levels multiplier product write_back zero_point order",
    Bias: "type shifted when bits overflow",
    FixedPoint: (
        "bits encoding first rounding register middle zero_point keep shared normalized product doubled "
        "float32_product float32_quotient lanes sum"
    ),
    PowerOfTwo: "rounding middle zero_point",
    Float32Scale: "rounding zero_point",
    Float64Scale: "rounding zero_point sum",
    Float32Requantize: "",
    Thresholds: "",
    ThreeRescales: "left_shift requantize inputs early powers_of_two",
    ShiftedAdd: "rounding",
    TwoMultipliers: "bits rounding middle",
    Float32Add: "fused first repeated_first",
    AlignedAdd: "rounding",
    ClippedAdd: "",
    RequantizedSum: "requantize unlike",
    Divide: "rounding centred",
    Reciprocal: "bits rounding stages centred normalized",
    Factors: "factors reach rounding",
    Float32Average: "",
    RescaledSum: "requantize encoding",
}


class UnwrittenError(Exception):
    """A layer whose formula is not written in C, and why."""


def check_fields(record: Any) -> None:
    """Raises UnwrittenError where a rule, however deep, has a field that formulas.h does not know."""
    if isinstance(record, tuple):
        for item in record:
            check_fields(item)
    if not isinstance(record, msgspec.Struct):
        return
    known = _FIELDS.get(type(record))
    for field in msgspec.structs.fields(record):
        value = getattr(record, field.name)
        if known is not None and field.name not in known.split() and value != field.default:
            raise UnwrittenError(f"{type(record).__name__}.{field.name} has no formula in C")
        check_fields(value)


def enum(value: Rounding | Overflow) -> str:
    """The name of a mode, as formulas.h has it."""
    return value.name


def cast_of(cast: Cast | None) -> str:
    """A struct cast; all zeros where there is no register."""
    if cast is None:
        return "{0, 0, 0, 0, 0, 0}"
    modes = (cast.shift, enum(cast.rounding), enum(cast.overflow), cast.fraction_bits or 0)
    return listed([cast.bits, int(cast.signed), *modes])


def rescale_of(layer: Layer, rescale: Rescale | None, suffix: str = "") -> str:
    """A struct rescale, its arrays those of the layer's header; UnwrittenError for a rule without a formula."""
    if rescale is None:
        return "{0}"
    if rescale.addend is not None:
        raise UnwrittenError("a float that is added before the rounding has no formula in C")
    rule, n = rescale.rule, layer.index
    if type(rule) not in RULES:
        raise UnwrittenError(f"{type(rule).__name__} has no formula in C")
    fields = {
        "rule": RULES[type(rule)],
        "bits": getattr(rule, "keep", None) or getattr(rule, "bits", 0),
        "product": getattr(rule, "product", None) or 0,
        "doubled": getattr(rule, "doubled", None) or 0,
        "sum": getattr(rule, "sum", None) or 0,
        "first": "-1" if not isinstance(rule, FixedPoint) or rule.first is None else enum(rule.first),
        "rounding": enum(getattr(rule, "rounding", Rounding.HALF_EVEN)),
        "width": getattr(rule, "register", 0),
        "middle": cast_of(getattr(rule, "middle", None)),
        "before": int(getattr(rule, "zero_point", "after") == "before"),
        "zero_point": rescale.zero_point,
        "low": rescale.low,
        "high": rescale.high,
        "overflow": enum(rescale.overflow),
    }
    if isinstance(rule, FixedPoint) and rule.lanes is not None:
        fields |= {"lanes": rule.lanes.size, "tail": rescale.tail, "tail_rounding": enum(rule.lanes.tail)}
    arrays = (("exponent", rescale.exponent), ("thresholds", rescale.thresholds))
    given = [(name, value) for name, value in arrays if value is not None]
    if rescale.multiplier is not None:
        given.append(({"i": "multiplier", "f4": "f32", "f8": "f64"}[kind(rescale.multiplier)], rescale.multiplier))
    sources = {"f32": "multiplier", "f64": "multiplier"}
    widths = [1]
    for name, value in given:
        fields[name] = f"layer_{n}_{sources.get(name, name)}{suffix}"
        widths.append(len(value))
    if rescale.thresholds is not None:
        fields["levels"] = rescale.thresholds.shape[1]
    if not isinstance(rule, Float32Requantize):
        fields["channels"] = max(widths)
    return struct(fields)


def kind(values: np.ndarray) -> str:
    """The kind of their numbers: "i", "f4" or "f8"."""
    return "i" if values.dtype.kind in "iu" else f"f{values.dtype.itemsize}"


def struct(fields: dict[str, Any]) -> str:
    """An initializer by field names."""
    return "{" + ", ".join(f".{name} = {value}" for name, value in fields.items()) + "}"


def listed(values: Sequence[Any]) -> str:
    """An initializer by position."""
    return "{" + ", ".join(map(str, values)) + "}"


def spatial(values: Shape, fill: int) -> list[int]:
    """The values of three axes; those that are not there come first."""
    if len(values) > 3:
        raise UnwrittenError(f"{len(values)} spatial axes have no formula in C")
    return [fill] * (3 - len(values)) + list(values)


def window_of(window: Window, source: Shape, output: Shape) -> str:
    """A struct window, the shapes of one sample in it."""
    return struct(
        {
            "input": listed([*spatial(source[:-1], 1), source[-1]]),
            "output": listed([*spatial(output[:-1], 1), output[-1]]),
            "kernel": listed(spatial(window.kernel, 1)),
            "stride": listed(spatial(window.strides, 1)),
            "dilation": listed(spatial(window.dilations, 1)),
            "begin": listed(spatial(window.begin, 0)),
        }
    )


def shapes(program: Program, layer: Layer) -> tuple[list[Shape], Shape]:
    """One sample's shapes: of the inputs, and of the output."""
    inputs = [program.tensors[name].shape for name in layer.step.inputs]
    return inputs, program.tensors[layer.step.outputs[0]].shape


def types(layer: Layer) -> tuple[str, str]:
    """The C types of the first input and of the output."""
    return ctype(layer.array("input_0")), ctype(layer.array("output"))
