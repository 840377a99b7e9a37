"""Registers that saturate, run by routines: the oracle's integers, whichever way they go and whenever they switch."""

from collections import Counter

import numpy as np
import pytest
from nets import every_op, images
from programs import any_input, dot_program, one_of
from test_arena import run_marked
from test_engine import agree, embedded, fashion

from intsim import TARGETS, engine, oracle
from intsim.doors import enter
from intsim.engine import arena as arenas
from intsim.engine import narrow
from intsim.engine import schedule as schedules
from intsim.engine import threads as threading
from intsim.engine.arena import Arena, get, new_arena, put, run_parts
from intsim.engine.calls import COUNTED, COUNTS
from intsim.engine.ready import scheduled
from intsim.engine.schedule import Schedule
from intsim.integers import IntType, Overflow
from intsim.lower import lower
from intsim.program import Program
from intsim.target import Level, Mac
from intsim.targets import with_accumulator

SATURATES = (Overflow.SATURATE, Overflow.SATURATE, Overflow.SATURATE_SYM)
BYTES = (None, IntType(8, signed=False), IntType(8))


def saturating(rng: np.random.Generator, bits: int) -> Mac:
    """A register of so many bits that saturates, alone or after tiles of products that may saturate too."""
    inner = one_of(rng, Level(size=2, bits=16, overflow=one_of(rng, *SATURATES)), None, None)
    if not rng.integers(3):
        size, width = (
            int(one_of(rng, 1, 2, 4, 8, rng.integers(3, 12))),
            one_of(rng, None, None, int(rng.integers(6, 20))),
        )
        inner = Level(size=size, bits=width, overflow=one_of(rng, *SATURATES))
    outer = one_of(rng, *SATURATES, *((Overflow.WRAP,) if inner else ()))
    levels = (Level(bits=bits, overflow=outer),)
    return Mac(
        levels=levels if inner is None else (inner, *levels),
        zero_point=one_of(rng, "in_operand", "folded"),
        order=one_of(rng, "hwc", "hwc", "chw"),
    )


def program_of(seed: int, bits: int) -> tuple[np.random.Generator, Program]:
    rng = np.random.default_rng([bits, seed])
    return rng, dot_program(rng, mac=saturating(rng, bits), x=one_of(rng, *BYTES))


def kernel_of(program: Program) -> str:
    ((_, kernel, _),) = engine.describe(program)
    return kernel.split(";")[0]


Checking = list[tuple[Program, dict[str, np.ndarray]]]

EAGER = -9
"""A `narrow.WORTH` with which sums are checked wherever a check can pass."""


@pytest.mark.parametrize("eager", [False, True])
@pytest.mark.parametrize("bits", range(4, 33))
def test_registers_of_every_width_saturate_as_the_oracle_says(
    bits: int, eager: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if eager:
        monkeypatch.setattr(narrow, "WORTH", EAGER)
    for seed in range(7 * eager, 7 + 7 * eager):
        rng, program = program_of(seed, bits)
        agree(program, any_input(rng, program, int(one_of(rng, 1, 3, 9))))


def test_these_programs_reach_every_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise the tests of this file would prove nothing of the ones that are missed."""
    found: Counter[str] = Counter()
    for eager in (False, True):
        monkeypatch.setattr(narrow, "WORTH", EAGER if eager else narrow.WORTH)
        seeds = range(7 * eager, 7 + 7 * eager)
        found.update(kernel_of(program_of(seed, bits)[1]) for bits in range(4, 33) for seed in seeds)
    tiles = [f"{inner} tiles in {how}" for inner in ("exact", "saturating") for how in ("steps", "blocks")]
    kernels = [f"{kind}, a register that saturates" for kind in tiles] + tiles[2:]
    for lane in (16, 32):
        kernels += [f"{lane}-bit lanes that saturate", f"checked tiles, flagged rows again in {lane}-bit lanes"]
    assert all(found[kernel] >= 2 for kernel in kernels), found


# ---- two ways to the same ----------------------------------------------------------------------------------------


@pytest.fixture
def checking(monkeypatch: pytest.MonkeyPatch) -> Checking:
    """Programs whose sums are checked, with inputs for a few images."""
    monkeypatch.setattr(narrow, "WORTH", EAGER)
    found = []
    for seed in range(200):
        rng = np.random.default_rng(seed)
        level = Level(bits=int(rng.integers(13, 22)), overflow=one_of(rng, *SATURATES))
        order = one_of(rng, "hwc", "hwc", "chw")
        mac = Mac(levels=(level,), zero_point=one_of(rng, "in_operand", "folded"), order=order)
        program = dot_program(rng, mac=mac, x=one_of(rng, *BYTES))
        if kernel_of(program).startswith("checked"):
            x = any_input(rng, program, min(5, scheduled(program, single=False).schedule.images))
            found.append((program, x))
    return found


def put_in(program: Program, x: dict[str, np.ndarray], arena: Arena, schedule: Schedule) -> int:
    values = enter(program, x)
    for name, integers in values.items():
        put(arena, schedule, program.inputs[name].tensor, integers)
    return len(next(iter(values.values())))


def test_both_ways_give_the_same_bits(checking: Checking) -> None:
    failed = seen = 0
    for program, x in checking:
        right = oracle.run(program, x, trace=["*"]).traced["y"]
        schedule = scheduled(program, single=False).schedule
        arena, (part,) = new_arena(schedule), schedule.parts
        assert part.tables is not None
        (choice,) = part.tables.choices
        n = put_in(program, x, arena, schedule)
        for way in (choice.first, choice.other):
            arena.views["y"][...] = 0
            arena.steps[0][choice.step] = way
            arena.rest[:] = 0
            run_parts(arena, schedule, n)
            np.testing.assert_array_equal(np.moveaxis(get(arena, schedule, "y", n), -1, 1).reshape(right.shape), right)
        failed, seen = failed + arena.counts[0, 0], seen + arena.counts[0, 1]
    assert len(checking) >= 30
    assert 0 < failed < seen, "all rows went the same way"


def test_steps_switch_when_checks_fail_and_try_again_later(checking: Checking, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arenas, "ENOUGH", 1)
    monkeypatch.setattr(arenas, "PATIENCE", 3)
    switched = stayed = 0
    for program, x in checking:
        schedule = scheduled(program, single=False).schedule
        arena, (part,) = new_arena(schedule), schedule.parts
        assert part.tables is not None
        (choice,) = part.tables.choices
        n, right, ways = put_in(program, x, arena, schedule), None, ""
        for _ in range(9):
            ways += "f" if (arena.steps[0][choice.step] == choice.first).all() else "o"
            run_parts(arena, schedule, n)
            found = get(arena, schedule, "y", n).copy()
            right = found if right is None else right
            np.testing.assert_array_equal(found, right)
        failed, seen = arena.counts[0]
        assert ways == ("fooofooof" if failed > choice.share * seen else "f" * 9)
        assert (part.tables.steps[choice.step] == choice.first).all(), "what arenas share was written"
        switched, stayed = switched + ("o" in ways), stayed + ("o" not in ways)
    assert switched
    assert stayed


def test_counts_are_kept_and_nothing_else_is_written_between_rooms(checking: Checking) -> None:
    for program, x in checking:
        assert run_marked(program, x) > 0


@pytest.mark.parametrize("bits", [14, 16, 18])
def test_threads_chunks_and_switches_change_nothing(bits: int, monkeypatch: pytest.MonkeyPatch) -> None:
    target = with_accumulator(TARGETS["litert_ref"], bits, Overflow.SATURATE)
    program, x = lower(every_op(target.scheme), target), images(40)
    right = engine.run(program, x, threads=1).integers["gemm_y"]
    np.testing.assert_array_equal(oracle.run(program, x[:3]).integers["gemm_y"], right[:3])
    monkeypatch.setattr(threading, "MACS_PER_THREAD", 1)
    monkeypatch.setattr(arenas, "ENOUGH", 1)
    for arena in (1, 1 << 15):
        monkeypatch.setattr(schedules, "ARENA", arena)
        again = lower(every_op(target.scheme), target)
        for threads in (1, 2, 3):
            np.testing.assert_array_equal(engine.run(again, x, threads=threads).integers["gemm_y"], right)


def test_a_network_switches_the_steps_whose_checks_fail_and_no_others() -> None:
    program = embedded("lenet5", with_accumulator(TARGETS["litert_ref"], 18, Overflow.SATURATE))
    x = fashion(300)
    whole = engine.run(program, x, threads=1).integers
    ready, (name,) = scheduled(program, single=False), program.outputs
    switched = set()
    for part, steps in zip(ready.schedule.parts, ready.idle[0].steps, strict=True):
        for choice in () if part.tables is None or steps is None else part.tables.choices:
            failed, seen = ready.idle[0].counts[(choice.counts - COUNTS) // COUNTED]
            assert not 0.4 * seen < failed < 0.8 * seen, "too near to where both are as fast"
            switched.add(bool(failed > choice.share * seen))
            assert (steps[choice.step] == (choice.other if failed > choice.share * seen else choice.first)).all()
    assert switched == {False, True}
    parts = [engine.run(program, x[i : i + 100], threads=1).integers[name] for i in range(0, 300, 100)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[name])
    np.testing.assert_array_equal(oracle.run(program, x[:1]).integers[name], whole[name][:1])


# ---- what is said of it ------------------------------------------------------------------------------------------


def test_every_step_says_what_runs_it() -> None:
    target = with_accumulator(TARGETS["litert_ref"], 16, Overflow.SATURATE)
    program = lower(every_op(target.scheme), target)
    lines = engine.describe(program)
    assert [name for name, _, _ in lines] == [step.name for step in program.steps]
    said = {name: (kernel, why) for name, kernel, why in lines}
    assert said["relu"] == ("none", "conv clamps to its ends at once")
    assert "saturate" in said["conv"][1]
