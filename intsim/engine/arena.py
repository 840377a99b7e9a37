"""A chunk of images run in a thread's arena: native parts by the kernels' loop, the others by arrays."""

from collections.abc import Callable, Mapping

import numpy as np
from msgspec import Struct

from intsim.engine.arrays import step_by_arrays
from intsim.engine.calls import COUNTED, COUNTS, Choice
from intsim.engine.planning import Planned
from intsim.engine.rooms import view
from intsim.engine.schedule import Schedule

ALIGNMENT = 64


ENOUGH = 256
"""Of what a step checks, so many tell whether to check goes on being worth it."""

PATIENCE = 64
"""Chunks after which a step that has stopped to check tries it again."""


class Arena(Struct, frozen=True, kw_only=True, eq=False):
    """Memory for one thread, with every tensor's integers in it as a view `[images, h, w, c]`.

    `steps`: of every part that has tables, a copy of its own, in which steps are switched between their two ways to
    give the same. `counts` `[step, 2]`: what they checked, a view; `known`: as it was when that was last looked at.
    `rest`: by place in `counts`, the chunks that a step which does not check will still go without.
    """

    memory: np.ndarray
    address: int
    views: dict[str, np.ndarray]
    steps: tuple[np.ndarray | None, ...]
    counts: np.ndarray
    known: np.ndarray
    rest: np.ndarray


def new_arena(schedule: Schedule) -> Arena:
    """An arena with the borders of its rooms filled in, once for all."""
    raw = np.zeros(schedule.size + ALIGNMENT, np.uint8)
    begin = -raw.ctypes.data % ALIGNMENT
    memory = raw[begin : begin + schedule.size]
    for room in schedule.rooms.values():
        if not room.bare:
            view(memory, room, schedule.images, border=True)[...] = room.fill
    views = {name: view(memory, room, schedule.images) for name, room in schedule.rooms.items()}
    counts = memory[COUNTS : COUNTS + COUNTED * schedule.counted].view(np.int64).reshape(-1, 2)
    return Arena(
        memory=memory,
        address=memory.ctypes.data,
        views=views,
        steps=tuple(None if one.tables is None else one.tables.steps.copy() for one in schedule.parts),
        counts=counts,
        known=counts.copy(),
        rest=np.zeros(len(counts), np.int64),
    )


def run_in(
    arena: Arena,
    schedule: Schedule,
    values: Mapping[str, np.ndarray],
    kept: Mapping[str, np.ndarray],
    part: slice,
) -> None:
    """The images of `part` through the schedule, from their integers to `kept`, arrays over all images."""
    n = part.stop - part.start
    for name, array in values.items():
        put(arena, schedule, name, array)
        if name in kept:
            kept[name][part] = array
    run_parts(arena, schedule, n, lambda name: _keep(arena, schedule, kept, name, part) if name in kept else None)


def run_parts(arena: Arena, schedule: Schedule, n: int, made: Callable[[str], None] | None = None) -> None:
    """The first n images of the arena through every part; `made(tensor)` is called when a tensor is there."""
    from intsim_kernels.native import run

    for one, steps in zip(schedule.parts, arena.steps, strict=True):
        if one.tables is None or steps is None:
            _by_arrays(one.steps[0], arena, schedule, n)
        else:
            run(steps, one.tables.calls, arena.address, n)
            for choice in one.tables.choices:
                _choose(arena, choice, steps)
        if made is not None:
            for step in one.steps:
                made(step.step.outputs[0])


def _choose(arena: Arena, choice: Choice, steps: np.ndarray) -> None:
    """Which of a step's two ways the next chunk goes, by how many of its checks failed; the integers are the same."""
    which = (choice.counts - COUNTS) // COUNTED
    if arena.rest[which]:
        arena.rest[which] -= 1
        if not arena.rest[which]:
            steps[choice.step] = choice.first
        return
    failed, seen = arena.counts[which] - arena.known[which]
    if seen >= ENOUGH:
        arena.known[which] = arena.counts[which]
        if failed > choice.share * seen:
            steps[choice.step] = choice.other
            arena.rest[which] = PATIENCE


def put(arena: Arena, schedule: Schedule, name: str, array: np.ndarray) -> None:
    """Writes a tensor's integers `[n, ..., c]`."""
    view, shift = arena.views[name], schedule.rooms[name].shift
    array = array.reshape(-1, *view.shape[1:])
    if shift:
        np.add(array, shift, out=view[: len(array)], dtype=np.int16, casting="unsafe")  # bytes only are shifted
    else:
        view[: len(array)] = array


def get(arena: Arena, schedule: Schedule, name: str, n: int) -> np.ndarray:
    """A tensor's first n integers, as they lie in memory where they are not shifted there."""
    view, shift = arena.views[name][:n], schedule.rooms[name].shift
    return view.astype(np.int64) - shift if shift else view


def _keep(arena: Arena, schedule: Schedule, kept: Mapping[str, np.ndarray], name: str, part: slice) -> None:
    goal = kept[name][part]
    goal[...] = get(arena, schedule, name, len(goal)).reshape(goal.shape)


def _by_arrays(planned: Planned, arena: Arena, schedule: Schedule, n: int) -> None:
    inputs = []
    for name in planned.step.inputs:
        tensor = schedule.tensors[name]
        inputs.append(get(arena, schedule, name, n).astype(tensor.affine.type.dtype).reshape(n, *tensor.shape))
    put(arena, schedule, planned.step.outputs[0], step_by_arrays(planned, inputs))
