"""What planning found, kept for as long as its Program lives: the second run does not plan again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import numpy as np
from msgspec import Struct

from intsim.engine.arena import Arena, get, new_arena, put, run_parts
from intsim.engine.fusing import fused
from intsim.engine.planning import Plan, plan
from intsim.engine.schedule import Schedule, schedule
from intsim.program import Program


class Ready(Struct, frozen=True, kw_only=True, eq=False):
    """A schedule with the arenas that nobody is using."""

    schedule: Schedule
    idle: list[Arena]


_plans: WeakKeyDictionary[Program, dict[bool, Plan]] = WeakKeyDictionary()
_ready: WeakKeyDictionary[Program, dict[bool, Ready]] = WeakKeyDictionary()


def planned(program: Program, *, count: bool) -> Plan:
    """`plan(program)`, made once."""
    plans = _plans.setdefault(program, {})
    if count not in plans:
        plans[count] = plan(program, count=count)
    return plans[count]


def scheduled(program: Program, *, single: bool) -> Ready:
    """`schedule(program)`, made once; `single`: with every tensor to be seen, else with as few steps as possible."""
    found = _ready.setdefault(program, {})
    if single not in found:
        whole = program if single else fused(program)
        plans = planned(program, count=False) if whole is program else plan(whole)
        found[single] = Ready(schedule=schedule(whole, plans, single=single), idle=[])
    return found[single]


@contextmanager
def borrowed(ready: Ready) -> Iterator[Arena]:
    """An arena that nobody else uses in here."""
    try:
        arena = ready.idle.pop()
    except IndexError:
        arena = new_arena(ready.schedule)
    yield arena
    ready.idle.append(arena)


class Bound(Struct, frozen=True, kw_only=True, eq=False):
    """A Program with memory of its own for `images` images: integers in, run, integers out, and nothing else.

    `put(name, q[n, h, w, c])` sets an input, `run(n)` runs the first n images, `get(name, n)` gives an output.
    """

    images: int
    put: Callable[[str, np.ndarray], None]
    run: Callable[[int], None]
    get: Callable[[str, int], np.ndarray]


def bind(program: Program) -> Bound:
    """The Program bound to memory, for who runs it often on few images, or measures it."""
    ready = scheduled(program, single=False)
    arena = new_arena(ready.schedule)
    doors = {name: door.tensor for name, door in (*program.inputs.items(), *program.outputs.items())}
    return Bound(
        images=ready.schedule.images,
        put=lambda name, q: put(arena, ready.schedule, doors[name], q),
        run=lambda n: run_parts(arena, ready.schedule, n),
        get=lambda name, n: get(arena, ready.schedule, doors[name], n),
    )
