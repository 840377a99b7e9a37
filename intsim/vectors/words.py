"""A layer's rules in words, and the limits that a header gives as macros."""

from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Dot,
    MaxPool,
    Offset,
    Pad,
    Program,
    Rearrange,
    Rescale,
    Step,
)
from intsim.target import Cast, FixedPoint, Float32Requantize, Float32Scale, Float64Scale, Level, PowerOfTwo, Thresholds


def rules(step: Step) -> list[str]:
    """What the step computes, one sentence a line; numbers in brackets are those of docs/arithmetic.md."""
    compute = step.compute
    match compute:
        case Dot():
            return [*_sums(compute), requantization(compute.rescale)]
        case MaxPool():
            return ["the largest integer of each window; padding is never the largest"]
        case AveragePool():
            said = f"the average of each window by {_fields(compute.rule)} (18)-(21)"
            counted = "padding counts, as the input's zero point" if compute.include_pad else "padding does not count"
            return [said, counted, *([] if compute.rescale is None else [requantization(compute.rescale)])]
        case Add() if compute.rescale is not None:
            value = f"acc = (a - za) {'-' if compute.subtract else '+'} (b - zb), of one scale (17b)"
            return [value, requantization(compute.rescale)]
        case Add():
            return [f"the sum of two tensors by {_fields(compute.rule)} (13)-(17)"]
        case Clip():
            return [f"y = min(max(q, {compute.low}), {compute.high})"]
        case Offset():
            return [f"y = q + ({compute.offset}): the same real numbers in integers of the other sign"]
        case Convert():
            return [f"joined along axis {compute.axis} of h, w, c", *_converted(compute)]
        case Rearrange():
            return [f"axes in the order {compute.before}, reshaped to {compute.shape}, axes in {compute.after}"]
        case Pad():
            return [f"{compute.begin} integers of {compute.value} before each axis, {compute.end} after it"]
    return [f"{type(compute).__name__}: its fields are in the manifest"]


def _sums(dot: Dot) -> list[str]:
    mac, centred = dot.mac, dot.mac.zero_point == "in_operand"
    operands = "(x - zx) * (w - zw)" if centred else "x * w of the raw integers"
    if mac.multiplier is not None:
        operands += ", by the table of products (22)"
    order = "kernel row, kernel column, channel" if mac.order == "hwc" else "channel, kernel row, kernel column"
    lines = [f"products {operands}, in the order {order}; padding is x = zx (4)"]
    if mac.product is not None:
        lines.append(f"each product passes a register: {_cast(mac.product)}")
    lines.append("sums, from the inner to the outer level: " + "; then ".join(map(_level, mac.levels)))
    if mac.write_back is not None:
        lines.append(f"the finished sum passes a register: {_cast(mac.write_back)}")
    owed = "the bias" if centred else "the bias and what the zero points owe, sum (x - zx)(w - zw) - sum x w,"
    if dot.bias_rule.when == "init":
        return [*lines, f"{owed} is what the outermost level starts from"]
    bits, overflow = dot.bias_rule.bits, dot.bias_rule.overflow
    register = "the outermost level's register" if bits is None else f"a {bits}-bit register ({overflow.value})"
    return [*lines, f"{owed} is added last, in {register}"]


def _level(level: Level) -> str:
    count = "all" if level.size is None else f"{'the first ' if level.first_only else ''}{level.size} at a time"
    held = "exactly" if level.bits is None else f"{level.bits} bits, {level.overflow.value} after each add"
    return f"{count}, {held}"


def _cast(cast: Cast) -> str:
    shift = f"shifted right by {cast.shift} ({cast.rounding.value}), " if cast.shift else ""
    return f"{shift}{cast.bits} bits, {'signed' if cast.signed else 'unsigned'}, {cast.overflow.value}"


def requantization(rescale: Rescale) -> str:
    """The requantization's formula, with the names of its arrays."""
    rule = rescale.rule
    end = f", plus {rescale.zero_point}, into {rescale.low}..{rescale.high} ({rescale.overflow.value})"
    match rule:
        case FixedPoint() if rule.first is None:
            said = f"y = {rule.rounding.value}(acc * multiplier / 2^({rule.bits} - exponent)) (5)"
        case FixedPoint():
            first = "" if rule.first is None else rule.first.value
            said = (
                f"h = {first}((acc << max(exponent, 0)) * multiplier / 2^{rule.bits}), saturated to "
                f"{rule.register} bits; y = {rule.rounding.value}(h / 2^max(-exponent, 0)) (5)"
            )
        case PowerOfTwo():
            said = f"y = {rule.rounding.value}(acc * 2^exponent) (6)"
        case Float32Scale():
            said = f"y = {rule.rounding.value}(f32(f32(acc) * multiplier)) (7)"
        case Float64Scale():
            said = f"y = {rule.rounding.value}(f64(f64(acc) * multiplier)) (8)"
        case Float32Requantize():
            said = "y = half_even(f32(f32(acc * multiplier[0]) / multiplier[1])) (9)"
        case Thresholds():
            return f"y = {rescale.low} + the number of thresholds that are <= acc (9)"
        case _:
            said = f"y by {_fields(rule)}"
    if (middle := getattr(rule, "middle", None)) is not None:
        said += f", then a register: {_cast(middle)}"
    if getattr(rule, "zero_point", "after") == "before":
        said += "; the zero point is added before the rounding"
    return said + end


def _fields(rule: object) -> str:
    return repr(rule)


def _converted(convert: Convert) -> list[str]:
    pairs = zip(convert.input_zero_points, convert.rescales, strict=True)
    return [
        f"input {i}: " + ("as it is" if rescale is None else f"acc = q - ({zero}); {requantization(rescale)}")
        for i, (zero, rescale) in enumerate(pairs)
    ]


def limits(program: Program, step: Step) -> dict[str, int]:
    """The integers that a kernel needs, by the macro's name: zero points and the ends of the output."""
    found = {f"input_{i}_zero_point": program.tensors[name].affine.zero for i, name in enumerate(step.inputs)}
    affine = program.tensors[step.outputs[0]].affine
    low, high = _ends(step.compute, affine.type.low, affine.type.high)
    return {**found, "output_zero_point": affine.zero, "output_low": low, "output_high": high}


def _ends(compute: Compute, low: int, high: int) -> tuple[int, int]:
    match compute:
        case Dot():
            return compute.rescale.low, compute.rescale.high
        case Clip():
            return max(low, compute.low), min(high, compute.high)
        case Add() | AveragePool():
            return compute.low, compute.high
    return low, high
