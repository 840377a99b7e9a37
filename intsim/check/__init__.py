"""Whether a Program can be run: every name known, every shape and range as its steps need them."""

from math import prod

from msgspec.structs import replace

from intsim.check.require import require
from intsim.check.rules import check_add, check_lookup, check_range, check_rescale, check_softmax, rescales
from intsim.check.shapes import check_rest, check_shapes
from intsim.errors import IntsimError
from intsim.ops import output_shape
from intsim.ops.dot import misfit
from intsim.ops.matmul import unfit
from intsim.ops.vectors import rest_of
from intsim.program import Add, Door, Dot, Lookup, MatMul, Program, Softmax, Step, Tensor, inside_shape


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
            require(name not in known, "is computed twice", name)
            known[name] = program.tensors[name]
    for name, door in program.outputs.items():
        require(door.tensor in known, "no step computes this output", name)
    return program


def _check_door(name: str, door: Door, program: Program) -> None:
    require(door.tensor in program.tensors, "leads to no tensor", name)
    tensor = program.tensors[door.tensor]
    require(inside_shape(door.shape) == tensor.shape, f"has shape {door.shape}, its tensor {tensor.shape}", name)
    require(door.affine == tensor.affine, "has another affine than its tensor", name)
    if door.table is not None:
        table, type_ = door.table, tensor.affine.type
        require(table.ndim == 2 and table.shape[0] == 256, f"has a table {table.shape}", name)
        require(table.shape[1] in (1, door.shape[0]), f"has a table {table.shape}", name)
        require(table.dtype == type_.dtype, f"has a table of {table.dtype}", name)
        require(type_.low <= int(table.min()) and int(table.max()) <= type_.high, "has a table beyond its type", name)


def _check_step(step: Step, known: dict[str, Tensor], program: Program) -> None:
    require(step.target in program.targets, f'runs on "{step.target}", which is not in the file', step.name)
    require(len(step.outputs) == 1, "has not one output", step.name)
    for name in step.inputs:
        require(name in known, f'reads "{name}" before it is computed', step.name)
    _one_scale(step.outputs[0], program)
    output = program.tensors[step.outputs[0]]
    require(all(size > 0 for size in output.shape), f"has an empty output {output.shape}", step.name)
    rest = rest_of(step.compute)
    if rest is not None:
        check_rest(step.compute, rest, output.shape, step.name)
        _check_compute(replace(step, compute=rest.compute), known, program)
    _check_compute(step, known, program)


def _check_compute(step: Step, known: dict[str, Tensor], program: Program) -> None:
    output = program.tensors[step.outputs[0]]
    shapes = [known[name].shape for name in step.inputs]
    check_shapes(step.compute, shapes, step.name)
    if isinstance(step.compute, Dot):
        wrong = misfit(step.compute, known[step.inputs[0]].affine.type)
        require(not wrong, wrong, step.name)
    if isinstance(step.compute, MatMul):
        wrong = unfit(step.compute, *(known[name].affine.type for name in step.inputs))
        require(not wrong, wrong, step.name)
    found = output_shape(step.compute, *shapes)
    require(found == output.shape, f"computes {found}, its output has {output.shape}", step.name)
    *places, channels = output.shape if isinstance(step.compute, Dot) else (1, 1)
    for rescale in rescales(step.compute):
        check_rescale(rescale, output.affine, channels, prod(places), step.name)
    check_range(step.compute, [known[name].affine for name in step.inputs], output.affine, step.name)
    if isinstance(step.compute, Add):
        check_add(step.compute, step.name)
    if isinstance(step.compute, Lookup):
        check_lookup(step.compute, known[step.inputs[0]], output.affine, step.name)
    if isinstance(step.compute, Softmax):
        check_softmax(step.compute, known[step.inputs[0]], step.name)


def _one_scale(name: str, program: Program) -> None:
    require(name in program.tensors, "has no shape and no affine", name)
    require(program.tensors[name].affine.axis is None, "has several scales", name)
