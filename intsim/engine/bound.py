"""A Program bound to arrays: nothing but the engine itself between the integers that go in and those that come out."""

from collections.abc import Callable, Sequence

import numpy as np
from msgspec import Struct

from intsim.engine.arena import get, new_arena, put, run_parts
from intsim.engine.fusing import fused
from intsim.engine.planning import plan
from intsim.engine.ready import Ready, borrowed, scheduled
from intsim.engine.rooms import Room
from intsim.engine.schedule import schedule
from intsim.engine.threads import in_threads, shares
from intsim.program import Program


class Bound(Struct, frozen=True, kw_only=True, eq=False):
    """`run()` reads `inputs[name][n, h, w, c]` and writes `outputs[name][n, h, w, c]`, in types that hold the integers.

    Every array has two spatial axes: a vector's are 1.
    """

    inputs: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    run: Callable[[], None]


def bind(program: Program, images: int, *, threads: int = 1) -> Bound:
    """The Program bound to arrays of so many images, for who runs it often, or measures it.

    The arrays lie in the engine's own memory where all images fit it at once, or where there is only one step.
    """
    ready = scheduled(program, single=False)
    parts, threads = shares(images, ready.schedule.images, threads, ready.schedule.macs)
    if threads == 1 and (images <= ready.schedule.images or len(program.steps) == 1):
        found = _resident(program, images)
        if found is not None:
            return found
    return _copying(program, ready, images, parts, threads)


def _resident(program: Program, images: int) -> Bound | None:
    whole = fused(program)
    own = schedule(whole, plan(whole), images=images)
    doors = {**program.inputs, **program.outputs}
    if any(own.rooms[door.tensor].shift for door in doors.values()):
        return None
    arena = new_arena(own)
    inputs, outputs = (
        {name: arena.views[door.tensor] for name, door in doors.items()} for doors in (program.inputs, program.outputs)
    )
    return Bound(inputs=inputs, outputs=outputs, run=lambda: run_parts(arena, own, images))


def _copying(program: Program, ready: Ready, images: int, parts: Sequence[slice], threads: int) -> Bound:
    own, doors = ready.schedule, (program.inputs, program.outputs)
    inputs, outputs = (
        {name: _space(images, own.rooms[door.tensor], door.affine.type.dtype) for name, door in side.items()}
        for side in doors
    )

    def work(part: slice) -> None:
        with borrowed(ready) as arena:
            for name, array in inputs.items():
                put(arena, own, program.inputs[name].tensor, array[part])
            run_parts(arena, own, part.stop - part.start)
            for name, array in outputs.items():
                array[part] = get(arena, own, program.outputs[name].tensor, part.stop - part.start)

    return Bound(inputs=inputs, outputs=outputs, run=lambda: in_threads(work, parts, threads, lambda n, _: None))


def _space(images: int, at: Room, dtype: np.dtype) -> np.ndarray:
    return np.zeros((images, at.height, at.width, at.channels), dtype)
