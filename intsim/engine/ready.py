"""What planning found, kept for as long as its Program lives: the second run does not plan again."""

from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from msgspec import Struct

from intsim.engine.arena import Arena, new_arena
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
