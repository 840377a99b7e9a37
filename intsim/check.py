"""Whether a Program can be run: every name known, every shape and range as its steps need them."""

import numpy as np

from intsim.errors import IntsimError
from intsim.graph import Shape
from intsim.integers import Affine
from intsim.ops import output_shape
from intsim.ops.dot import misfit
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Door,
    Dot,
    MaxPool,
    Offset,
    Pad,
    Program,
    Rearrange,
    Rescale,
    Step,
    Tensor,
    inside_shape,
)
from intsim.target import (
    AlignedAdd,
    ClippedAdd,
    FixedPoint,
    Float32Add,
    Float32Requantize,
    Float32Scale,
    Float64Scale,
    PowerOfTwo,
    ThreeRescales,
    Thresholds,
    TwoMultipliers,
)

_SHIFT = 128  # bits: no scale of a network needs more, and Python's integers would fill the memory
_MOST = 1 << 31


def check(program: Program) -> Program:
    """The Program, if it can be run: a damaged or hostile file ends here, with an IntsimError, not in a kernel."""
    known: dict[str, Tensor] = {}
    for name in program.inputs:
        _one_scale(name, program)
        known[name] = program.tensors[name]
    for name, door in (*program.inputs.items(), *program.outputs.items()):
        _check_door(name, door, program)
    for step in program.steps:
        try:
            _check_step(step, known, program)
        except (IndexError, ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as reason:
            raise IntsimError(f"its numbers do not fit together ({reason})", where=step.name) from None
        for name in step.outputs:
            _require(name not in known, "is computed twice", name)
            known[name] = program.tensors[name]
    for name, door in program.outputs.items():
        _require(door.tensor in known, "no step computes this output", name)
    return program


def _check_door(name: str, door: Door, program: Program) -> None:
    _require(door.tensor in program.tensors, "leads to no tensor", name)
    tensor = program.tensors[door.tensor]
    _require(inside_shape(door.shape) == tensor.shape, f"has shape {door.shape}, its tensor {tensor.shape}", name)
    _require(door.affine == tensor.affine, "has another affine than its tensor", name)
    if door.table is not None:
        table, type_ = door.table, tensor.affine.type
        _require(table.ndim == 2 and table.shape[0] == 256, f"has a table {table.shape}", name)
        _require(table.shape[1] in (1, door.shape[0]), f"has a table {table.shape}", name)
        _require(table.dtype == type_.dtype, f"has a table of {table.dtype}", name)
        _require(type_.low <= int(table.min()) and int(table.max()) <= type_.high, "has a table beyond its type", name)


def _check_step(step: Step, known: dict[str, Tensor], program: Program) -> None:
    _require(step.target in program.targets, f'runs on "{step.target}", which is not in the file', step.name)
    _require(len(step.outputs) == 1, "has not one output", step.name)
    for name in step.inputs:
        _require(name in known, f'reads "{name}" before it is computed', step.name)
    _one_scale(step.outputs[0], program)
    output = program.tensors[step.outputs[0]]
    shapes = [known[name].shape for name in step.inputs]
    _require(all(size > 0 for size in output.shape), f"has an empty output {output.shape}", step.name)
    _check_compute(step.compute, shapes, step.name)
    if isinstance(step.compute, Dot):
        wrong = misfit(step.compute, known[step.inputs[0]].affine.type)
        _require(not wrong, wrong, step.name)
    found = output_shape(step.compute, *shapes)
    _require(found == output.shape, f"computes {found}, its output has {output.shape}", step.name)
    channels = output.shape[-1] if isinstance(step.compute, Dot) else 1
    for rescale in _rescales(step.compute):
        _check_rescale(rescale, output.affine, channels, step.name)
    _check_range(step.compute, [known[name].affine for name in step.inputs], output.affine, step.name)
    if isinstance(step.compute, Add):
        _check_add(step.compute, step.name)


def _check_compute(compute: Compute, shapes: list[Shape], where: str) -> None:
    if isinstance(compute, Dot | MaxPool | AveragePool):
        window = compute.window
        lengths = {len(v) for v in (window.kernel, window.strides, window.dilations, window.begin, window.end)}
        _require(lengths == {len(shapes[0]) - 1}, "slides over another number of axes than it has", where)
        positive = (*window.kernel, *window.strides, *window.dilations)
        _require(all(v > 0 for v in positive), "has a window of no size", where)
        _require(min((0, *window.begin, *window.end)) == 0, "has negative padding", where)
        if not isinstance(compute, Dot):
            reach = [d * (k - 1) for d, k in zip(window.dilations, window.kernel, strict=True)]
            pads = (*zip(window.begin, reach, strict=True), *zip(window.end, reach, strict=True))
            _require(all(pad <= most for pad, most in pads), "has a window that sees only padding", where)
    if isinstance(compute, Dot):
        weight, channels = compute.weight, shapes[0][-1]
        _require(compute.group > 0 and weight.dtype.kind in "iu", "has no integer weights", where)
        expected = (len(weight), *compute.window.kernel, channels // compute.group)
        _require(weight.shape == expected, f"has weights {weight.shape}, not {expected}", where)
        _require(channels % compute.group == len(weight) % compute.group == 0, "has uneven groups", where)
        _require(compute.bias.shape == (len(weight),), f"has a bias {compute.bias.shape}", where)
        _require(compute.weight_zero_point.shape in ((1,), (len(weight),)), "has odd zero points", where)
    if isinstance(compute, Rearrange):
        rank = len(compute.shape)
        _require(sorted(compute.before) == list(range(len(shapes[0]))), "is no permutation", where)
        _require(sorted(compute.after) == list(range(rank)), "is no permutation", where)
        _require(_size(compute.shape) == _size(shapes[0]), "loses or makes integers", where)
    if isinstance(compute, Convert):
        _require(len(compute.rescales) == len(shapes) == len(compute.input_zero_points), "misses an input", where)
        rests = {shape[: compute.axis] + shape[compute.axis + 1 :] for shape in shapes}
        _require(len(rests) == 1 and 0 <= compute.axis < len(shapes[0]), "joins unequal shapes", where)
    elif len(shapes) > 1:
        _require(len(set(shapes)) == 1, f"adds unequal shapes {shapes}", where)


def _rescales(compute: Compute) -> list[Rescale]:
    match compute:
        case Dot():
            return [compute.rescale]
        case AveragePool():
            return [] if compute.rescale is None else [compute.rescale]
        case Convert():
            return [rescale for rescale in compute.rescales if rescale is not None]
    return []


def _check_rescale(rescale: Rescale, affine: Affine, channels: int, where: str) -> None:
    low, high = affine.type.low, affine.type.high
    _require(low <= rescale.low <= rescale.high <= high, "clamps outside its output's type", where)
    _require(abs(rescale.zero_point) <= _MOST, f"has zero point {rescale.zero_point}", where)
    rule = rescale.rule
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


def _check_add(add: Add, where: str) -> None:
    numbers, exponents = {
        ThreeRescales: (("i8", (3,)), (3,)),
        TwoMultipliers: (("i8", (2,)), (1,)),
        Float32Add: (("f4", (3,)), None),
        AlignedAdd: (None, (3,)),
        ClippedAdd: (("f4", (2,)), None),
    }[type(add.rule)]
    if numbers is not None:
        _check_numbers(add.multiplier, numbers[0], numbers[1], where)
    if exponents is not None:
        _check_numbers(add.exponent, "i8", exponents, where, most=_SHIFT)


def _check_numbers(
    array: np.ndarray | None, kind: str, shapes: Shape | tuple[Shape, ...], where: str, most: int | None = None
) -> None:
    _require(array is not None, "misses numbers of its rule", where)
    assert array is not None
    allowed = shapes if isinstance(shapes[0], tuple) else (shapes,)
    _require(array.dtype == np.dtype(kind), f"has numbers of {array.dtype}, not {np.dtype(kind)}", where)
    _require(array.shape in allowed, f"has numbers of shape {array.shape}, another number than it needs", where)
    _require(bool(np.isfinite(array).all()), "has numbers that are not finite", where)
    _require(most is None or int(np.abs(array).max()) <= most, f"shifts by more than {most}", where)


def _check_range(compute: Compute, inputs: list[Affine], output: Affine, where: str) -> None:
    """What a step makes lies in its output's type."""
    low, high = output.type.low, output.type.high
    match compute:
        case Clip() | Add() | AveragePool():
            _require(low <= compute.low <= compute.high <= high, "clamps outside its output's type", where)
        case Pad():
            _require(low <= compute.value <= high, "pads with what its type does not hold", where)
        case Offset():
            source = inputs[0].type
            inside = low <= source.low + compute.offset and source.high + compute.offset <= high
            _require(inside, "leaves its output's type", where)
        case MaxPool() | Rearrange():
            _require(inputs[0] == output, "changes the affine of integers that it keeps", where)


def _one_scale(name: str, program: Program) -> None:
    _require(name in program.tensors, "has no shape and no affine", name)
    _require(program.tensors[name].affine.axis is None, "has several scales", name)


def _size(shape: Shape) -> int:
    total = 1
    for size in shape:
        total *= size
    return total


def _require(condition: bool, what: str, where: str) -> None:
    if not condition:
        raise IntsimError(what, where=where, mend="the Program is damaged: build it again")
