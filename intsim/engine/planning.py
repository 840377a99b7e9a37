"""A Program scheduled for this CPU: every step's kernel, packed weights, and how many images go together."""

from math import prod

from msgspec import Struct

from intsim.engine.accumulator import Sums
from intsim.engine.elementwise import plan_clip, plan_convert, plan_offset
from intsim.engine.functions import plan_lookup, plan_softmax
from intsim.engine.matrices import plan_matmul
from intsim.engine.moving import plan_interpolate, plan_pad, plan_rearrange, plan_take
from intsim.engine.pairs import plan_pair
from intsim.engine.pools import plan_average_pool, plan_max_pool
from intsim.engine.rests import with_rest
from intsim.engine.step import Run, requantizing_places
from intsim.engine.sums import plan_sums
from intsim.ops.dot import shape_of_dot
from intsim.ops.vectors import beyond, rest_of
from intsim.program import (
    Add,
    AveragePool,
    Clip,
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
    Program,
    Rearrange,
    Softmax,
    Step,
    Take,
)
from intsim.ranges import intervals

# What one thread works on at a time: enough for Python's part to be small, little enough to stay in the caches.
CHUNK_BYTES = 1 << 21


class Planned(Struct, frozen=True, kw_only=True, eq=False):
    """A step's kernel. `run(*inputs)`, or for `sums` what they accumulate and then `run(accumulators)`.

    `shape`: one sample's output; `last`: the tensors that nothing after this step reads.
    """

    step: Step
    kernel: str
    why: str
    run: Run
    shape: tuple[int, ...]
    sums: Sums | None = None
    last: tuple[str, ...] = ()


class Plan(Struct, frozen=True, kw_only=True, eq=False):
    """The steps in running order, how many images go through them together, and the multiplications of one."""

    steps: tuple[Planned, ...]
    chunk: int
    macs: int


def plan(program: Program, *, count: bool = False) -> Plan:
    """The Program's plan. `count`: overflows are to be counted, which takes the machine's own order."""
    known = intervals(program)
    shapes = {name: tensor.shape for name, tensor in program.tensors.items()}
    steps = []
    for index, step in enumerate(program.steps):
        later = {name for s in program.steps[index + 1 :] for name in s.inputs}
        done = tuple(name for name in {*step.inputs, *step.outputs} if name not in later)
        steps.append(_planned(program, step, shapes, known, count, done))
    largest = max(map(_bytes, program.steps, [shapes] * len(program.steps)), default=1)
    chunk = max(1, min(4096, CHUNK_BYTES // max(1, largest)))
    return Plan(steps=tuple(steps), chunk=chunk, macs=sum(_macs(step, shapes) for step in program.steps))


def _macs(step: Step, shapes: dict[str, tuple[int, ...]]) -> int:
    if isinstance(step.compute, MatMul):
        return prod(shapes[step.outputs[0]]) * shapes[step.inputs[0]][-2]
    if not isinstance(step.compute, Dot):
        return 0
    return prod(shapes[step.outputs[0]]) * prod(step.compute.weight.shape[1:])


def _bytes(step: Step, shapes: dict[str, tuple[int, ...]]) -> int:
    """Bytes that one sample takes in a step: lanes of 2, accumulators of 4, tensors of 1."""
    inputs, output = sum(prod(shapes[name]) for name in step.inputs), prod(shapes[step.outputs[0]])
    return 3 * inputs + (5 if isinstance(step.compute, Dot | MatMul) else 1) * output


def _planned(
    program: Program,
    step: Step,
    shapes: dict[str, tuple[int, ...]],
    known: dict[str, tuple[int, int]],
    count: bool,
    last: tuple[str, ...],
) -> Planned:
    compute, shape = step.compute, shapes[step.inputs[0]]
    dtype = program.tensors[step.outputs[0]].affine.type.dtype
    inside, out = known[step.inputs[0]], shapes[step.outputs[0]]
    several = [known[name] for name in step.inputs]
    channels = [shapes[name][-1] for name in step.inputs]
    match compute:
        case Dot():
            sums = plan_sums(compute, shape, inside, count)
            *at, channels_out = shape_of_dot(compute, shape)
            kernel, run = requantizing_places(compute.rescale, prod(at), channels_out, sums.value, dtype)
            return Planned(
                step=step,
                kernel=f"{sums.kernel}; {kernel}",
                why=sums.why,
                run=run,
                shape=shape_of_dot(compute, shape),
                sums=sums,
                last=last,
            )
        case MatMul():
            sums, run = plan_matmul(compute, [shapes[name] for name in step.inputs], several, count, dtype)
            return Planned(step=step, kernel=sums.kernel, why=sums.why, run=run, shape=out, sums=sums, last=last)
        case MaxPool():
            found = plan_max_pool(compute, shape, dtype)
        case AveragePool():
            found = plan_average_pool(compute, shape, inside, dtype)
        case Add() | Multiply() | Extreme():
            found = plan_pair(compute, out, several, dtype)
        case Lookup():
            found = plan_lookup(compute, dtype)
        case Softmax():
            found = plan_softmax(compute, shape, dtype)
        case Clip():
            found = plan_clip(compute, dtype)
        case Convert():
            found = plan_convert(compute, channels, several, dtype)
        case Offset():
            found = plan_offset(compute, dtype)
        case Rearrange():
            found = plan_rearrange(compute, dtype)
        case Pad():
            found = plan_pad(compute, dtype)
        case Take():
            found = plan_take(compute, dtype)
        case Interpolate():
            found = plan_interpolate(compute, channels[0], inside, dtype)
    rest = rest_of(compute)
    if rest is not None:
        if isinstance(rest.compute, Convert):
            other = plan_convert(rest.compute, channels, several, dtype)
        else:
            other = plan_pair(rest.compute, out, several, dtype)
        found = with_rest(found, other, beyond(rest, out, [shapes[name] for name in step.inputs], compute))
    kernel, why, run = found
    return Planned(step=step, kernel=kernel, why=why, run=run, shape=out, last=last)
