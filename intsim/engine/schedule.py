"""A Program scheduled for this CPU: rooms in the arena, routines for the steps that have them."""

from collections.abc import Callable, Iterable

import numpy as np
from msgspec import Struct

from intsim.engine import native
from intsim.engine.calls import COUNTED, COUNTS, Native, Tables, tables
from intsim.engine.narrow import narrow_inputs
from intsim.engine.planning import Plan, Planned
from intsim.engine.rooms import SLACK, Room, bordered, laid_out, room
from intsim.engine.settling import settled, settles
from intsim.engine.wide import forms
from intsim.integers import IntType
from intsim.program import (
    Add,
    AveragePool,
    Compute,
    Convert,
    Dot,
    Interpolate,
    MaxPool,
    Multiply,
    Program,
    Rearrange,
    Take,
    Tensor,
    Window,
)
from intsim.ranges import Interval, intervals

ARENA = 1 << 20
"""Bytes that the rooms of all images of a chunk may take: what stays in a core's own cache, roughly."""


class Part(Struct, frozen=True, kw_only=True, eq=False):
    """Some steps in a row, with each one's kernel: native ones as tables, or one that runs by arrays."""

    steps: tuple[Planned, ...]
    kernels: tuple[str, ...]
    tables: Tables | None = None


class Schedule(Struct, frozen=True, kw_only=True, eq=False):
    """The parts in running order, the rooms by tensor, and how many images the arena of `size` bytes takes.

    `counted`: steps that may count in the arena, from `calls.COUNTS` on. `macs`: multiplications of one image.
    """

    parts: tuple[Part, ...]
    rooms: dict[str, Room]
    images: int
    size: int
    counted: int
    tensors: dict[str, Tensor]
    macs: int


def schedule(program: Program, planned: Plan, *, single: bool = False, images: int = 0) -> Schedule:
    """The planned Program's schedule. `single`: every step is a part of its own, so that all tensors can be seen.

    `images`: how many the arena takes; as many as a core's cache holds, unless given.
    """
    known = intervals(program)
    wanted = _rooms(program, planned, known)
    each = sum(one.size for one in wanted.values())
    images = images or max(1, min(256, ARENA // max(each, 1)))
    counted = -(-COUNTED * len(planned.steps) // SLACK) * SLACK
    rooms, size = laid_out(wanted, COUNTS + counted + SLACK, images)
    parts: list[Part] = []
    run: list[tuple[Planned, tuple[Native, ...]]] = []
    for index, one in enumerate(planned.steps):
        found = native.native(program, one, rooms, known, COUNTS + COUNTED * index)
        if found is None:
            parts += [*_tabled(run), Part(steps=(one,), kernels=(f"by arrays: {one.kernel}",))]
            run = []
        else:
            run.append((one, found))
            if single:
                parts += _tabled(run)
                run = []
    parts += _tabled(run)
    return Schedule(
        parts=tuple(parts),
        rooms=rooms,
        images=images,
        size=size,
        counted=len(planned.steps),
        tensors=program.tensors,
        macs=planned.macs,
    )


def _tabled(run: list[tuple[Planned, tuple[Native, ...]]]) -> list[Part]:
    if not run:
        return []
    found = tables([part for _, parts in run for part in parts])
    kernels = tuple(_kernel(step, parts) for step, parts in run)
    return [Part(steps=tuple(step for step, _ in run), kernels=kernels, tables=found)]


def _kernel(planned: Planned, parts: tuple[Native, ...]) -> str:
    """What does the step: by the routines' own word, and what requantizes as on arrays."""
    own = next((part.kernel for part in parts if part.kernel), "")
    _, semicolon, after = planned.kernel.rpartition("; ")
    return f"{own}{semicolon}{after}" if own else planned.kernel


# ---- rooms -----------------------------------------------------------------------------------------------------


def _rooms(program: Program, planned: Plan, known: dict[str, Interval]) -> dict[str, Room]:
    """A room for every tensor, and one for every copy that a Dot wants of its input.

    From the last tensor to the first: what only moves integers wants its input as its output lies.
    """
    best = {one.step.name: _best(one, known) for one in planned.steps}
    makers = {one.step.outputs[0]: one for one in planned.steps}
    rooms: dict[str, Room] = {}
    for name in sorted(program.tensors, key=_position(program), reverse=True):
        tensor = program.tensors[name]
        readers = [step for step in program.steps if name in step.inputs]
        asked = [best[step.name] for step in readers]
        moved = [rooms[step.outputs[0]] for step in readers if isinstance(step.compute, Rearrange | Take | MaxPool)]
        one = _bare(tensor)
        wanted = {form for form in asked if form is not None} | {(at.dtype, at.shift) for at in moved if at.item == 1}
        first = wanted.pop() if len(wanted) == 1 else None
        if first is not None and _holds(first, known[name]) and name not in outputs(program):
            one = room(tensor.shape, *first) if _makes(makers.get(name), first[1]) else one
        rooms[name] = _with_border([step.compute for step in readers], one)
        for step, form in zip(readers, asked, strict=True):
            if form is not None and form != (one.dtype, one.shift):
                copy = room(tensor.shape, *form)
                rooms[native.lanes_of(step.name)] = _with_border([step.compute], copy)
    return rooms


def _position(program: Program) -> Callable[[str], int]:
    """When a tensor is made: the inputs before all others."""
    made = {step.outputs[0]: index for index, step in enumerate(program.steps)}
    return lambda name: made.get(name, -1)


def _holds(form: tuple[str, int], values: Interval) -> bool:
    """Whether these are bytes that hold the values."""
    dtype, shift = form
    limits = np.iinfo(dtype)
    return limits.bits == 8 and limits.min <= values[0] + shift and values[1] + shift <= limits.max


def outputs(program: Program) -> set[str]:
    """The tensors that leave the Program."""
    return {door.tensor for door in program.outputs.values()}


def _best(planned: Planned, known: dict[str, Interval]) -> tuple[str, int] | None:
    """The type and the shift of a Dot's inputs in which it is fastest."""
    dot, sums = planned.step.compute, planned.sums
    if not isinstance(dot, Dot) or sums is None:
        return None
    found = forms(dot, sums, native.padded(dot, known[planned.step.inputs[0]]))
    if found:
        return found[0].dtype, found[0].shift
    return narrow_inputs(dot, sums.ordered) if sums.ordered is not None else None


def _makes(maker: Planned | None, shift: int) -> bool:
    """Whether a step can write bytes with a shift: requantizations in vectors can, and moves."""
    from intsim_kernels.cpu import LANES

    compute = None if maker is None else maker.step.compute
    if not isinstance(compute, Dot) or maker is None:
        return shift == 0 or not isinstance(compute, Add | AveragePool | Convert | Interpolate | Multiply)
    if maker.sums is None:
        return False
    columns = -(-len(compute.weight) // LANES) * LANES
    requantizer = settled(compute.rescale, len(compute.weight), columns, maker.sums.value)
    return settles(requantizer, columns, shift)


def _bare(tensor: Tensor) -> Room:
    type_: IntType = tensor.affine.type
    narrow = type_.low >= -(1 << 15) and type_.high < 1 << 15
    return room(tensor.shape, "int16" if narrow else "int32" if type_.signed and type_.bits <= 32 else "int64")


def _with_border(readers: Iterable[Compute], bare: Room) -> Room:
    """The room with the border that the windows over it need, where all agree on what stands in it."""
    asked = [need for compute in readers if (need := _padding(compute)) is not None]
    fills = {fill for _, fill in asked}
    if len(fills) != 1:
        return bare
    return bordered(bare, [window for window, _ in asked], fills.pop())


def _padding(compute: Compute) -> tuple[Window, int] | None:
    """The window that needs a border, and the integer that stands there; the largest of a window needs none."""
    if not isinstance(compute, Dot | AveragePool) or len(compute.window.kernel) > 2:
        return None
    window = compute.window
    return (window, compute.input_zero_point) if any(window.begin + window.end) else None
