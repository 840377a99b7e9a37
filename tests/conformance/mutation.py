"""The suite tested: every field of a target changed to each alternative, and the golden cases must notice."""

import functools
import itertools
import os
import sys
import types
import typing
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from enum import Enum
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from conformance import golden, ours
from conformance.building import Case
from conformance.equivalent import proofs
from conformance.theorems import normal
from conformance.truths import TRUTHS
from conformance.unmet import UNMET
from intsim import TARGETS
from intsim.errors import IntsimError
from intsim.integers import Overflow, Rounding
from intsim.program import Program
from intsim.target import (
    AddInVectors,
    Bias,
    Cast,
    FixedPoint,
    Float32Scale,
    Float64Scale,
    InVectors,
    Level,
    Override,
    Repeated,
    RequantizedSum,
    RescaledSum,
    Table,
    Target,
    Thresholds,
)

NOT_ARITHMETIC = ("name", "description", "scheme", "source", "fidelity", "verified_with")
RESULTS = Path(__file__).with_name("mutation.json")
PARTS = 4
"""Into how many a target's mutants are split, for processes side by side."""


Outcome = Literal["killed", "equivalent", "refused", "not met", "survived", "failed"]


class Mutant(Struct, frozen=True, kw_only=True):
    """A target with one field changed: `path` as `intsim targets NAME` prints it, `value` what stands there now."""

    path: str
    value: str
    target: Target


class Verdict(Struct, frozen=True, kw_only=True):
    """What became of a mutant: "killed" by a case, "equivalent" for a reason, "survived".

    "not met": no case reaches the field, and `by` says why none can: nothing is claimed of it. "refused": no case that
    would have met it can be lowered for it. "failed": the engine could not run what it took, which is a bug of ours.
    `by`: the case, the proof, the reason, the error.
    """

    path: str
    value: str
    outcome: Outcome
    by: str = ""


# ---- what may be changed, found in the records themselves ------------------------------------------------------

_NUMBERS = (1, 2, 4, 7, 8, 12, 15, 16, 20, 22, 24, 31, 32, 34, 40, 48, 64)
_DOUBLE = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)
_RULES = (
    _DOUBLE,
    FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_UP),
    FixedPoint(),
    Float32Scale(),
    Float64Scale(),
)
_KINDS = (("Conv", "dense"), ("Conv", "single"), ("Conv", "grouped"), ("Conv", "depthwise"), ("Gemm", None))


def mutants(target: Target) -> Iterator[Mutant]:
    """Every change of one field to one alternative; none is the target itself, none comes twice."""
    seen = {target}
    hints = _hints(Target)
    for name, hint in hints.items():
        if name in NOT_ARITHMETIC:
            continue
        for path, value, changed in _changes(hint, getattr(target, name), name):
            found = _made(target, name, changed)
            if found is not None and found not in seen:
                seen.add(found)
                yield Mutant(path=path, value=value, target=found)
    for (op, grouping), rule in itertools.product(_KINDS, _RULES):
        extra = Override(op=op, grouping=grouping, requantize=rule)
        found = replace(target, overrides=(*target.overrides, extra))
        yield Mutant(path=f"overrides for {op} {grouping or ''}".strip(), value=_said(rule), target=found)


def _changes(hint: Any, value: Any, path: str) -> Iterator[tuple[str, str, Any]]:
    """(path, what stands there, the value) for every alternative of a value of that type."""
    for changed in _others(hint, value):
        yield path, _said(changed), changed
    if isinstance(value, Struct) and not isinstance(value, Table):
        for name, inner in _hints(type(value)).items():
            if isinstance(value, Bias) and name in ("type", "shifted"):
                continue  # what the quantizer must keep to; a sum that there is adds its bias as it is
            if (
                isinstance(value, Override)
                and name in ("places", "products", "outputs")
                and getattr(value, name) is None
            ):
                continue  # a size that nothing depends on
            for deeper, said, changed in _changes(inner, getattr(value, name), f"{path}.{name}"):
                found = _made(value, name, changed)
                if found is not None:
                    yield deeper, said, found
    if isinstance(value, tuple) and typing.get_origin(hint) is tuple:
        item = typing.get_args(hint)[0]
        for index, one in enumerate(value):
            rest = (value[:index], value[index + 1 :])
            yield f"{path}[{index}]", "left out", rest[0] + rest[1]
            for deeper, said, changed in _changes(item, one, f"{path}[{index}]"):
                yield deeper, said, (*rest[0], changed, *rest[1])


def _others(hint: Any, value: Any) -> Iterator[Any]:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        for member in typing.get_args(hint):
            if member is type(None):
                if value is not None:
                    yield None
            elif isinstance(member, type) and issubclass(member, Struct):
                if type(value) is not member:
                    yield from _typical(member)
            else:
                yield from _others(member, value)
    elif origin is Literal:
        yield from (choice for choice in typing.get_args(hint) if choice != value)
    elif origin is tuple:
        item = typing.get_args(hint)[0]
        if item is Level:
            yield from ((inner, *value) for inner in _INNER)
    elif hint is bool:
        yield not value
    elif isinstance(hint, type) and issubclass(hint, Enum):
        yield from (member for member in hint if member is not value)
    elif hint is int:
        near = () if value is None else (value - 1, value + 1)
        yield from (number for number in (*near, *_NUMBERS) if number != value)


_INNER = (
    Level(size=2, bits=16, overflow=Overflow.SATURATE),
    Level(size=4),
    Level(size=16, bits=20),
    Level(size=8, bits=24, overflow=Overflow.SATURATE),
)


def _typical(kind: type) -> Iterator[Any]:
    """A value of a record that another one, or nothing, stands for."""
    if kind is Table:
        patterns = np.arange(256).astype(np.int8).astype(np.int32)
        yield Table(entries=np.outer(patterns, patterns) & ~1)
    elif kind is Cast:
        yield from (Cast(bits=b, overflow=o) for b in (8, 16, 32) for o in (Overflow.WRAP, Overflow.SATURATE))
        yield from (Cast(bits=64, shift=1, rounding=r) for r in (Rounding.FLOOR, Rounding.HALF_EVEN))
    elif kind is RescaledSum:
        yield from (RescaledSum(requantize=rule) for rule in (_DOUBLE, Float32Scale()))
    elif kind is RequantizedSum:
        yield from (RequantizedSum(requantize=rule) for rule in (_DOUBLE, Thresholds()))
    elif kind not in (InVectors, AddInVectors, Repeated):  # which say where other rules hold: these are changed inside
        yield kind()


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _made(record: Any, name: str, value: Any) -> Any:
    """The record with another field; None where no such record may be."""
    try:
        return replace(record, **{name: value})
    except ValueError:
        return None


def _said(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, Table):
        return "a table without lowest bits"
    if isinstance(value, Struct):
        fields = {n: getattr(value, n) for n in value.__struct_fields__}
        told = value.__struct_fields__[len(value.__struct_fields__) - len(value.__struct_defaults__) :]
        default = dict(zip(told, value.__struct_defaults__, strict=True))
        text = ", ".join(f"{n}={_said(v)}" for n, v in fields.items() if n not in default or default[n] != v)
        return f"{type(value).__name__}({text})"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(_said, value)) + ")"
    return str(value)


# ---- who notices -----------------------------------------------------------------------------------------------


class Held(Struct, kw_only=True, eq=False):
    """A golden case, its answer, and the target's own step for it."""

    case: Case
    answer: np.ndarray
    own: Any


def judged(name: str, every: Sequence[Mutant] | None = None) -> list[Verdict]:
    """What became of the target's mutants, all of them unless `every` says which; what is proven is not run."""
    cases, every = _held(name), list(mutants(TARGETS[name])) if every is None else every
    equal = {(v.path, v.value): v for v in proven(name, every)}
    return [equal.get((mutant.path, mutant.value)) or _judged(name, mutant, cases) for mutant in every]


def proven(name: str, every: Sequence[Mutant]) -> list[Verdict]:
    """Those of the mutants that are the target itself, each with its proof."""
    own, found = normal(TARGETS[name]), []
    for mutant in every:
        why = next(proofs(name, mutant.path, mutant.value, functools.partial(_alike, own, mutant)), None)
        if why is not None:
            found.append(Verdict(path=mutant.path, value=mutant.value, outcome="equivalent", by=why))
    return found


def noticed(name: str, every: Sequence[Mutant]) -> list[Verdict]:
    """What the cases alone say of mutants, proven or not."""
    cases = _held(name)
    return [_judged(name, mutant, cases) for mutant in every]


def _held(name: str) -> list[Held]:
    """The cases that tell: one that is open already would kill everything."""
    found = []
    for case, answer in golden.held(name):
        try:
            program = ours.program(case, TARGETS[name])
        except IntsimError:
            continue
        if np.array_equal(ours.run(case, program), answer):
            found.append(Held(case=case, answer=answer, own=_computes(program)))
    return found


def _alike(own: Any, mutant: Mutant) -> bool:
    return bool(normal(mutant.target) == own)


def _judged(name: str, mutant: Mutant, cases: list[Held]) -> Verdict:
    """The case that kills comes first next time: it is likely to kill again."""
    met = refused = 0
    for index, held in enumerate(cases):
        try:
            program = ours.program(held.case, mutant.target)
            if _same(_computes(program), held.own):
                continue
            y = ours.run(held.case, program)
            met += 1
        except IntsimError:
            refused += 1
            continue
        except Exception as reason:  # whatever it is, the table of mutants shows it
            return Verdict(
                path=mutant.path, value=mutant.value, outcome="failed", by=f"{type(reason).__name__}: {reason}"
            )
        if not np.array_equal(y, held.answer):
            cases.insert(0, cases.pop(index))
            return Verdict(
                path=mutant.path, value=mutant.value, outcome="killed", by=f"{held.case.kind} {held.case.name}"
            )
    outcome: Outcome = "survived" if met else "refused" if refused else "not met"
    why = unmet(name, mutant.path) if outcome == "not met" else ""
    return Verdict(path=mutant.path, value=mutant.value, outcome=outcome, by=why)


def unmet(target: str, path: str) -> str:
    """Why no case can reach the field; empty: nobody knows, and then it counts as unnoticed."""
    return next((why for (name, prefix), why in UNMET.items() if name == target and path.startswith(prefix)), "")


def _computes(program: Program) -> tuple[Any, ...]:
    return tuple(step.compute for step in program.steps)


def _same(a: Any, b: Any) -> bool:
    """Whether two steps are one and the same computation."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and np.array_equal(a, b)
    if isinstance(a, Struct) and not isinstance(a, Table):
        return all(_same(getattr(a, name), getattr(b, name)) for name in a.__struct_fields__)
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


class Summary(Struct, frozen=True, kw_only=True):
    """A target's mutants, counted.

    `unmet`: reasons why no case can reach a field, and of how many mutants each. `survived`: those that neither died
    nor are proven equivalent, those that no case meets for no known reason, and those that failed.
    """

    target: str
    mutants: int
    killed: int
    refused: int
    equivalent: int
    unmet: dict[str, int] = {}
    survived: tuple[str, ...] = ()


def summary(name: str, verdicts: Sequence[Verdict]) -> Summary:
    """The counts of the verdicts."""
    count = Counter(v.outcome for v in verdicts)
    return Summary(
        target=name,
        mutants=len(verdicts),
        killed=count["killed"],
        refused=count["refused"],
        equivalent=count["equivalent"],
        unmet=dict(Counter(v.by for v in verdicts if v.outcome == "not met" and v.by)),
        survived=tuple(
            f"{v.path} = {v.value} {v.by or f'({v.outcome})' * (v.outcome == 'not met')}".rstrip()
            for v in verdicts
            if v.outcome in ("survived", "failed") or (v.outcome == "not met" and not v.by)
        ),
    )


def _part(name: str, part: int) -> list[Verdict]:
    """The verdicts on every PARTS-th mutant; in a process of its own."""
    return judged(name, list(mutants(TARGETS[name]))[part::PARTS])


def main(names: Sequence[str]) -> int:
    """Judges the verified targets, or those that are named; exit status 1 where a mutant survives unproven.

    The results of targets that are not judged now stay in the file, if they are still in the catalogue.
    """
    known = {one.target: one for one in read()} if RESULTS.exists() else {}
    alive = 0
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        chosen = names or [n for n, t in TARGETS.items() if t.fidelity == "verified" and n in TRUTHS]
        running = {name: [pool.submit(_part, name, part) for part in range(PARTS)] for name in chosen}
        for name, parts in running.items():
            one = known[name] = summary(name, [verdict for part in parts for verdict in part.result()])
            alive += len(one.survived)
            sys.stdout.write(
                f"{name}: {one.mutants} mutants, {one.killed} killed, {one.refused} refused, {one.equivalent} "
                f"equivalent, {sum(one.unmet.values())} not met for a reason, {len(one.survived)} survived\n"
            )
            sys.stdout.writelines(f"    {text}\n" for text in sorted(one.survived))
            sys.stdout.flush()
            kept = [known[n] for n in TARGETS if n in known]
            RESULTS.write_bytes(msgspec.json.format(msgspec.json.encode(kept), indent=1) + b"\n")
    return int(alive > 0)


def read() -> list[Summary]:
    """The last results."""
    return msgspec.json.decode(RESULTS.read_bytes(), type=list[Summary])
