"""Nothing is written outside of the rooms of an arena, nor to a border: addresses are raw, and nobody checks them."""

import gc
import weakref
from collections.abc import Callable

import numpy as np
import pytest
from nets import every_op
from programs import any_input, dot_program, other_program

from intsim import TARGETS, engine
from intsim.doors import enter
from intsim.engine.arena import new_arena, put, run_parts
from intsim.engine.calls import COUNTED, COUNTS, SCRATCH
from intsim.engine.ready import scheduled
from intsim.engine.rooms import view
from intsim.lower import lower
from intsim.program import Program

MARK = 0xA5


def run_marked(program: Program, x: object) -> int:
    """Runs with every byte between rooms marked; the number of bytes that were watched."""
    schedule = scheduled(program, single=False).schedule
    arena = new_arena(schedule)
    between = np.ones(len(arena.memory), bool)
    between[:SCRATCH] = False
    between[COUNTS : COUNTS + COUNTED * schedule.counted] = False
    for room in schedule.rooms.values():
        between[room.offset : room.offset + room.size * schedule.images] = False
    arena.memory[between] = MARK
    values = enter(program, x)
    n = len(next(iter(values.values())))
    assert n <= schedule.images
    for name, integers in values.items():
        put(arena, schedule, program.inputs[name].tensor, integers)
    run_parts(arena, schedule, n)
    assert (arena.memory[between] == MARK).all(), "written between rooms"
    for name, room in schedule.rooms.items():
        whole = view(arena.memory, room, schedule.images, border=True).copy()
        top, left, _, _ = room.border
        whole[:, top : top + room.height, left : left + room.width] = room.fill
        if not room.bare:
            assert (whole == room.fill).all(), f"the border of {name} was written"
    return int(between.sum())


@pytest.mark.parametrize("make", [dot_program, other_program])
def test_random_steps_stay_in_their_rooms(make: Callable[[np.random.Generator], Program]) -> None:
    watched = 0
    for seed in range(150):
        rng = np.random.default_rng(seed)
        program = make(rng)
        x = any_input(rng, program, min(3, scheduled(program, single=False).schedule.images))
        watched += run_marked(program, x)
    assert watched > 0


@pytest.mark.parametrize("name", ["litert_ref", "ort_x86_avx2", "gemmini_ws"])
def test_whole_networks_stay_in_their_rooms(name: str) -> None:
    program = lower(every_op(TARGETS[name].scheme), TARGETS[name])
    shape = next(iter(program.inputs.values())).shape
    assert run_marked(program, np.random.default_rng(0).integers(0, 256, (2, *shape)).astype(np.uint8)) > 0


def test_a_second_run_finds_the_same_arena_and_gives_the_same() -> None:
    rng = np.random.default_rng(3)
    program = dot_program(rng)
    x = any_input(rng, program, 3)
    first = engine.run(program, x).integers
    again = engine.run(program, x).integers
    assert len(scheduled(program, single=False).idle) == 1
    for name, integers in first.items():
        np.testing.assert_array_equal(again[name], integers)


def test_what_planning_found_dies_with_its_program() -> None:
    rng = np.random.default_rng(4)
    program = dot_program(rng)
    engine.run(program, any_input(rng, program, 2))
    engine.run(program, any_input(rng, program, 2), count=True)
    alive = weakref.ref(program)
    del program
    gc.collect()
    assert alive() is None
