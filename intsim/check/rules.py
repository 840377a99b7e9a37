"""Whether the numbers of a step's rules are those that the rules read, and what it makes lies in its type."""

import numpy as np

from intsim.check.require import MOST, require
from intsim.graph import Shape
from intsim.integers import Affine
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Dot,
    Extreme,
    Interpolate,
    Lookup,
    MatMul,
    MaxPool,
    Multiply,
    Offset,
    Pad,
    Rearrange,
    Rescale,
    Softmax,
    Take,
    Tensor,
)
from intsim.target import (
    AlignedAdd,
    ClippedAdd,
    DequantizedAdd,
    FixedPoint,
    Float32Add,
    Float32Requantize,
    Float32Scale,
    Float32Softmax,
    Float64Scale,
    GemmlowpSoftmax,
    InterpolatedSoftmax,
    PowerOfTwo,
    RequantizedSum,
    ShiftedAdd,
    ThreeRescales,
    Thresholds,
    TwoMultipliers,
)

_SHIFT = 128  # bits: no scale of a network needs more, and Python's integers would fill the memory


def rescales(compute: Compute) -> list[Rescale]:
    """The requantizations of a step."""
    match compute:
        case Dot() | MatMul():
            return [compute.rescale]
        case AveragePool() | Add():
            return [] if compute.rescale is None else [compute.rescale]
        case Multiply():
            return [compute.rescale]
        case Convert():
            return [rescale for rescale in compute.rescales if rescale is not None]
    return []


def check_rescale(rescale: Rescale, affine: Affine, channels: int, places: int, where: str) -> None:
    """The numbers of a requantization are those of its rule."""
    low, high = affine.type.low, affine.type.high
    require(low <= rescale.low <= rescale.high <= high, "clamps outside its output's type", where)
    require(abs(rescale.zero_point) <= MOST, f"has zero point {rescale.zero_point}", where)
    rule = rescale.rule
    lanes = isinstance(rule, FixedPoint) and rule.lanes is not None
    require((rescale.tail is not None) == lanes, "says which channels fill no vector, or does not", where)
    require(0 <= (rescale.tail or 0) <= channels, f"has a tail from channel {rescale.tail} on", where)
    blocks = isinstance(rule, FixedPoint) and rule.lanes is not None and rule.lanes.of != "channels"
    most = places if blocks else 0
    require(0 <= rescale.tail_place <= most, f"has a tail from place {rescale.tail_place} on", where)
    if rescale.addend is not None:
        before = isinstance(rule, Float32Scale) and rule.zero_point == "before"
        require(before, "adds a float to a rule that takes none", where)
        _check_numbers(rescale.addend, "f4", (1,), where)
    if isinstance(rule, Float32Requantize):
        _check_numbers(rescale.multiplier, "f4", (2,), where)
    elif isinstance(rule, Thresholds):
        levels = (rescale.high - rescale.low,)
        _check_numbers(rescale.thresholds, "i8", ((1, *levels), (channels, *levels)), where)
    else:
        width = ((1,), (channels,))
        if not isinstance(rule, PowerOfTwo):
            kind = {FixedPoint: "i8", Float32Scale: "f4", Float64Scale: "f8"}[type(rule)]
            _check_numbers(rescale.multiplier, kind, width, where)
        if isinstance(rule, FixedPoint | PowerOfTwo):
            _check_numbers(rescale.exponent, "i8", width, where, most=_SHIFT)


def check_add(add: Add, where: str) -> None:
    """The numbers of a sum are those of its rule."""
    numbers, exponents = {
        ThreeRescales: (("i8", (3,)), (3,)),
        TwoMultipliers: (("i8", (2,)), (1,)),
        Float32Add: (("f4", (3,)), None),
        AlignedAdd: (None, (3,)),
        ShiftedAdd: (None, (2,)),
        ClippedAdd: (("f4", (2,)), None),
        DequantizedAdd: (("f4", (3,)), None),
        RequantizedSum: (None, None),
    }[type(add.rule)]
    wanted = add.rule.requantize if isinstance(add.rule, RequantizedSum) else None
    made = add.rescale
    require((None if made is None else made.rule) == wanted, "has a requantization that its rule has not", where)
    ends = made is None or (made.zero_point, made.low, made.high) == (add.zero_point, add.low, add.high)
    require(ends, "has ends, or a zero point, that its requantization has not", where)
    if numbers is not None:
        _check_numbers(add.multiplier, numbers[0], numbers[1], where)
    if exponents is not None:
        _check_numbers(add.exponent, "i8", exponents, where, most=_SHIFT)


def check_lookup(lookup: Lookup, x: Tensor, output: Affine, where: str) -> None:
    """The table has an entry for each integer, all in the output's type."""
    table, type_ = lookup.table, x.affine.type
    require(lookup.low == type_.low, "has a table that begins elsewhere than its input's type", where)
    require(table.dtype.kind in "iu" and table.ndim in (1, 2), "has no table of integers", where)
    entries = (type_.high - type_.low + 1,)
    require(table.shape in (entries, (*entries, x.shape[-1])), f"has a table {table.shape}, not {entries}", where)
    inside = output.type.low <= int(table.min()) and int(table.max()) <= output.type.high
    require(inside, "has a table beyond its output's type", where)


def check_softmax(softmax: Softmax, x: Tensor, where: str) -> None:
    """The table's numbers are those for which sums and quotients are defined."""
    require(0 <= softmax.axis < len(x.shape), "sums along an axis that it has not", where)
    require(abs(softmax.zero_point) <= MOST, f"has zero point {softmax.zero_point}", where)
    entries, terms = (x.affine.type.high - x.affine.type.low + 1,), x.shape[softmax.axis]
    table, rule = softmax.table, softmax.rule
    _check_numbers(table, "f4" if isinstance(rule, Float32Softmax) else "i8", entries, where)
    least, most = table.min(), table.max()
    require(table[0] == most > 0, "has a table whose largest entry is not the first", where)
    if isinstance(rule, GemmlowpSoftmax):
        require(least >= -1 and most < MOST and table[0] >> 12 > 0, "has exponentials beyond 0 to 1", where)
        require(terms <= 4096, f"sums {terms} exponentials, and its register holds 4096", where)
        return
    require(least >= 0, "has exponentials below 0", where)
    if isinstance(rule, InterpolatedSoftmax):
        _check_numbers(softmax.multiplier, "i8", (513,), where, most=1 << 15)
        require(1 << 14 <= most < 1 << 15, "has exponentials beyond 0 to 1", where)
        require(terms <= 1 << 16, f"sums {terms} exponentials, and its register holds 65536", where)
        return
    _check_numbers(softmax.multiplier, "f4" if isinstance(rule, Float32Softmax) else "i8", (1,), where)
    assert softmax.multiplier is not None
    factor = float(softmax.multiplier[0])
    require(0 < factor < 2.0**60, "has an output scale that is none", where)
    if isinstance(rule, Float32Softmax):
        inverse = rule.division == "inverse"
        reach = float(most) * terms * (max(1.0, factor) if inverse else 1.0) * 1.01
        require(reach < float(np.finfo(np.float32).max), "has exponentials whose sum is not finite", where)
        require(not inverse or (factor > 2.0**-60 and float(most) >= 1), "has an output scale that is none", where)


def _check_numbers(
    array: np.ndarray | None, kind: str, shapes: Shape | tuple[Shape, ...], where: str, most: int | None = None
) -> None:
    require(array is not None, "misses numbers of its rule", where)
    assert array is not None
    allowed = shapes if isinstance(shapes[0], tuple) else (shapes,)
    require(array.dtype == np.dtype(kind), f"has numbers of {array.dtype}, not {np.dtype(kind)}", where)
    require(array.shape in allowed, f"has numbers of shape {array.shape}, another number than it needs", where)
    require(bool(np.isfinite(array).all()), "has numbers that are not finite", where)
    require(most is None or int(np.abs(array).max()) <= most, f"has numbers beyond {most}", where)


def check_range(compute: Compute, inputs: list[Affine], output: Affine, where: str) -> None:
    """What a step makes lies in its output's type."""
    low, high = output.type.low, output.type.high
    match compute:
        case Clip() | Add() | AveragePool() | Softmax():
            require(low <= compute.low <= compute.high <= high, "clamps outside its output's type", where)
        case Pad():
            require(low <= compute.value <= high, "pads with what its type does not hold", where)
        case Offset():
            source = inputs[0].type
            inside = low <= source.low + compute.offset and source.high + compute.offset <= high
            require(inside, "leaves its output's type", where)
        case Extreme():
            require({*inputs} == {output}, "changes the affine of integers that it keeps", where)
            constant = compute.constant
            held = constant is None or (low <= int(constant.min()) and int(constant.max()) <= high)
            require(held, "has a constant beyond its output's type", where)
        case MaxPool() | Rearrange() | Take() | Interpolate():
            require(inputs[0] == output, "changes the affine of integers that it keeps", where)
