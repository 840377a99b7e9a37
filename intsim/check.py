"""Whether a Program can be run: every name known, every shape and range as its steps need them."""

from intsim.errors import IntsimError
from intsim.graph import Shape
from intsim.integers import Affine
from intsim.ops import output_shape
from intsim.program import (
    AveragePool,
    Compute,
    Convert,
    Dot,
    MaxPool,
    Program,
    Rearrange,
    Rescale,
    Step,
    Tensor,
)


def check(program: Program) -> Program:
    """The Program, if it can be run: a damaged or hostile file ends here, with an IntsimError, not in a kernel."""
    known: dict[str, Tensor] = {}
    for name in program.inputs:
        _one_scale(name, program)
        known[name] = program.tensors[name]
    for step in program.steps:
        try:
            _check_step(step, known, program)
        except (IndexError, ValueError, TypeError, AttributeError, ZeroDivisionError) as reason:
            raise IntsimError(f"its numbers do not fit together ({reason})", where=step.name) from None
        for name in step.outputs:
            known[name] = program.tensors[name]
    for name in program.outputs:
        _require(name in known, "no step computes this output", name)
    return program


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
    found = output_shape(step.compute, *shapes)
    _require(found == output.shape, f"computes {found}, its output has {output.shape}", step.name)
    for rescale in _rescales(step.compute):
        _check_rescale(rescale, output.affine, output.shape[-1], step.name)


def _check_compute(compute: Compute, shapes: list[Shape], where: str) -> None:
    if isinstance(compute, Dot | MaxPool | AveragePool):
        window = compute.window
        lengths = {len(v) for v in (window.kernel, window.strides, window.dilations, window.begin, window.end)}
        _require(lengths == {len(shapes[0]) - 1}, "slides over another number of axes than it has", where)
        positive = (*window.kernel, *window.strides, *window.dilations)
        _require(all(v > 0 for v in positive), "has a window of no size", where)
        _require(min((0, *window.begin, *window.end)) == 0, "has negative padding", where)
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
    for array in (rescale.multiplier, rescale.exponent, rescale.thresholds):
        if array is not None and type(rescale.rule).__name__ != "Float32Requantize":
            _require(len(array) in (1, channels), "has another number of scales than channels", where)


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
