"""Several programs on the same images, every step that they have in common computed once."""

from collections.abc import Callable, Sequence
from weakref import WeakKeyDictionary

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim import archive
from intsim.check import check
from intsim.program import Door, Dot, Program, Result
from intsim.ranges import cannot_overflow, intervals
from intsim.target import Level

CHUNK = 500
"""Images that go through all programs together, so that what they share need not be kept for all images."""

Arrays = dict[str, np.ndarray]


class Work(Struct, frozen=True, kw_only=True):
    """How many steps were run, of how many that one program after the other would have run."""

    steps: int
    of: int


def outputs(
    programs: Sequence[Program], x: np.ndarray, run: Callable[[Program, object], Result]
) -> tuple[list[np.ndarray], Work]:
    """The integers of each program's first output for pixels x[n, c, h, w], and how many steps that took.

    The same integers as run(program, x): programs that begin with the same steps are run to where they part, and each
    goes on from there. A sum that overflows no register on any input is the same step whatever the register.
    """
    same = [settled(one) for one in programs]
    ran = [0]
    parts = []
    for first in range(0, len(x), CHUNK):
        ran[0] = 0
        found: dict[int, np.ndarray] = {}
        _branch(list(range(len(same))), same, 0, x[first : first + CHUNK], run, found, ran)
        parts.append([found[index] for index in range(len(same))])
    joined = [np.concatenate([part[index] for part in parts]) for index in range(len(same))]
    return joined, Work(steps=ran[0], of=sum(len(one.steps) for one in same))


def settled(program: Program) -> Program:
    """The program with sums that no register of theirs changes written without registers: the same integers."""
    if program not in _settled:
        known = intervals(program)
        steps = []
        for one in program.steps:
            step, dot = one, one.compute
            plain = isinstance(dot, Dot) and not (dot.mac.product or dot.mac.write_back or dot.mac.multiplier)
            if isinstance(dot, Dot) and plain and cannot_overflow(dot, *known[step.inputs[0]]).all():
                mac = replace(dot.mac, levels=(Level(),))
                step = replace(step, compute=replace(dot, mac=mac, bias_rule=replace(dot.bias_rule, bits=None)))
            steps.append(step)
        _settled[program] = replace(program, steps=tuple(steps))
    return _settled[program]


_settled: WeakKeyDictionary[Program, Program] = WeakKeyDictionary()
_marks: WeakKeyDictionary[Program, tuple[str, ...]] = WeakKeyDictionary()


def marks(program: Program) -> tuple[str, ...]:
    """One digest for the doors, and one for each step with the tensors around it, whatever machine it is of."""
    if program not in _marks:
        doors = archive.digest((program.inputs, list(program.outputs)))
        found = [doors]
        for step in program.steps:
            around = [program.tensors[name] for name in (*step.inputs, *step.outputs)]
            found.append(archive.digest((step.inputs, step.outputs, step.compute, around)))
        _marks[program] = tuple(found)
    return _marks[program]


def _branch(
    those: list[int],
    programs: Sequence[Program],
    begin: int,
    values: np.ndarray | Arrays,
    run: Callable[[Program, object], Result],
    found: dict[int, np.ndarray],
    ran: list[int],
) -> None:
    """Runs programs from step `begin` on, all of which are equal before it; `values`: what is known there."""
    groups: dict[tuple[str, ...], list[int]] = {}
    for index in those:
        key = marks(programs[index])[begin + 1 : begin + 2]
        groups.setdefault((marks(programs[index])[0], *key), []).append(index)
    for group in groups.values():
        first = programs[group[0]]
        end = _common([marks(programs[index]) for index in group], begin)
        live = segment(first, begin, end)
        result = run(live, values)
        ran[0] += end - begin
        if end == len(first.steps):
            output = result.integers[next(iter(live.outputs))]
            found.update(dict.fromkeys(group, output))
        else:
            _branch(group, programs, end, result.integers, run, found, ran)


def _common(several: Sequence[tuple[str, ...]], begin: int) -> int:
    """The first step from `begin` on in which some differ; all that there are where none does."""
    end = begin
    while end + 1 < min(map(len, several)) and len({one[end + 1] for one in several}) == 1:
        end += 1
    return end


_segments: WeakKeyDictionary[Program, dict[tuple[int, int], Program]] = WeakKeyDictionary()


def segment(program: Program, begin: int, end: int) -> Program:
    """Steps `begin` to `end` of a program as a Program; tensors that come from before enter as integers."""
    cuts = _segments.setdefault(program, {})
    if (begin, end) not in cuts:
        cuts[begin, end] = _segment(program, begin, end)
    return cuts[begin, end]


def _segment(program: Program, begin: int, end: int) -> Program:
    if (begin, end) == (0, len(program.steps)):
        return program
    last, before = end == len(program.steps), _alive(program, begin)
    after = [door.tensor for door in program.outputs.values()] if last else _alive(program, end)
    steps = program.steps[begin:end]
    used = {*before, *after, *(name for step in steps for name in (*step.inputs, *step.outputs))}
    return check(
        replace(
            program,
            inputs=program.inputs if begin == 0 else {name: _door(program, name) for name in before},
            outputs=program.outputs if last else {name: _door(program, name) for name in after},
            tensors={name: tensor for name, tensor in program.tensors.items() if name in used},
            steps=steps,
        )
    )


def _alive(program: Program, at: int) -> list[str]:
    """The tensors that are made before step `at` and used from it on."""
    made = {door.tensor for door in program.inputs.values()}
    made |= {name for step in program.steps[:at] for name in step.outputs}
    read = {name for step in program.steps[at:] for name in step.inputs}
    read |= {door.tensor for door in program.outputs.values()}
    return sorted(made & read)


def _door(program: Program, name: str) -> Door:
    tensor = program.tensors[name]
    shape = (tensor.shape[-1], *tensor.shape[:-1]) if len(tensor.shape) > 1 else tensor.shape
    return Door(tensor=name, shape=shape, affine=tensor.affine)
