"""The whole suite: every target against its runtime on every case, and what was found as records and a table."""

import itertools
import os
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct

from conformance import headers, ours
from conformance.asking import answers_for
from conformance.building import Case
from conformance.cases import cases
from conformance.storing import Answer
from conformance.truths import TRUTHS, Truth
from intsim import TARGETS
from intsim.errors import IntsimError
from intsim.reference import Reference

RESULTS = Path(__file__).with_name("results.json")
HEADERS = "hls4ml's headers"


class Row(Struct, frozen=True, kw_only=True):
    """One operator of a target on networks of one kind: `values` compared in `cases` cases, `mismatches` among them.

    `left_out`: cases that the runtime or the machine does not take, by the reason, and how many they are.
    """

    target: str
    op: str
    kind: str
    runtime: str
    version: str
    kernels: str
    instruction_set: str
    cases: int
    values: int
    mismatches: int
    left_out: dict[str, int] = {}


class Found(Struct, frozen=True, kw_only=True):
    """What a run of the suite found; `not_run`: targets whose runtime was not there, and why."""

    seeds: int
    rows: tuple[Row, ...]
    not_run: dict[str, str] = {}


def run(targets: Sequence[str], seeds: Sequence[int], say: Callable[[str], None]) -> Found:
    """Every target against its truth, a process for each CPU."""
    found: dict[str, list[Row]] = {}
    not_run: dict[str, str] = {}
    jobs: dict[str, Callable[[], list[Row]]] = {name: partial(_held, name, tuple(seeds)) for name in targets}
    if "hls4ml" in jobs:
        jobs[HEADERS] = _headers
    with ProcessPoolExecutor(os.cpu_count(), mp_context=get_context("spawn")) as pool:
        running = {pool.submit(_timed, job): name for name, job in reversed(jobs.items())}  # emulated ones take longest
        for done in as_completed(running):
            name = running[done]
            try:
                found[name], seconds = done.result()
                say(f"{table(found[name])}\n{name}: {seconds:.1f} s\n")
            except IntsimError as error:
                not_run[name] = str(error)
                say(f"{name}: not run: {error}")
    rows = tuple(row for name in jobs if name in found for row in found[name])
    return Found(seeds=len(seeds), rows=rows, not_run={name: not_run[name] for name in jobs if name in not_run})


def _timed(job: Callable[[], list[Row]]) -> tuple[list[Row], float]:
    begin = time.monotonic()
    return job(), time.monotonic() - begin


def _held(name: str, seeds: tuple[int, ...]) -> list[Row]:
    """One target; raises IntsimError where there is none of that name, or its runtime cannot be asked here."""
    if name not in TARGETS:
        raise IntsimError("no machine of this name", where=name)
    truth, rows = TRUTHS[name], []
    for runtime in (truth.runtime, *truth.also):
        counts: dict[tuple[str, str], _Count] = {}
        for seed, kind in itertools.product(seeds, truth.kinds):
            every = cases(kind, seed)
            reference, answers = answers_for(name, every, runtime)
            for case in every:
                _count(counts.setdefault((case.op, kind), _Count()), name, case, answers[case.name])
        rows += [_row(name, op, kind, reference, count) for (op, kind), count in counts.items()]
    return rows


def _headers() -> list[Row]:
    return [_of_headers(one) for one in headers.compared()]


def _of_headers(found: headers.Compared) -> Row:
    return Row(
        target="hls4ml", op=headers.OP, kind=found.family, runtime=headers.RUNTIME.format(found.family),
        version=found.version, kernels="", instruction_set="", cases=found.cases, values=found.values,
        mismatches=found.mismatches,
    )  # fmt: skip


class _Count(Struct):
    cases: int = 0
    values: int = 0
    mismatches: int = 0
    left_out: dict[str, int] = {}


def _count(count: _Count, target: str, case: Case, answer: Answer) -> None:
    reason = answer if isinstance(answer, str) else TRUTHS[target].left_out(case.name)
    if not reason:
        try:
            program = ours.program(case, TARGETS[target])
        except IntsimError as error:
            reason = f"{target}: {error}"
    if reason:
        count.left_out[reason] = count.left_out.get(reason, 0) + 1
        return
    assert isinstance(answer, np.ndarray)
    y = ours.run(case, program)
    assert y.shape == answer.shape, f"{case.name}: {y.shape}, not {answer.shape}"
    count.cases += 1
    count.values += y.size
    count.mismatches += int(np.count_nonzero(y != answer))


def _row(target: str, op: str, kind: str, reference: Reference, count: _Count) -> Row:
    return Row(
        target=target,
        op=op,
        kind=kind,
        runtime=reference.name,
        version=reference.version,
        kernels=reference.optimization_level,
        instruction_set=reference.instruction_set,
        cases=count.cases,
        values=count.values,
        mismatches=count.mismatches,
        left_out=count.left_out,
    )


# ---- as a table ------------------------------------------------------------------------------------------------


def table(rows: Iterable[Row]) -> str:
    """Target, operator, runtime, cases, values and mismatches, in Markdown; the kinds of networks together."""
    lines = ["| target | op | runtime | networks | cases | values | mismatches |", "|---|---|---|---|---:|---:|---:|"]
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        if row.values:
            about = ", ".join(filter(None, (f"{row.runtime} {row.version}", row.kernels, row.instruction_set)))
            groups.setdefault((row.target, row.op, about), []).append(row)
    for (target, op, about), group in groups.items():
        kinds = ", ".join(row.kind for row in group)
        cases, values, wrong = (sum(getattr(r, field) for r in group) for field in ("cases", "values", "mismatches"))
        lines.append(f"| `{target}` | {op} | {about} | {kinds} | {cases} | {values} | {wrong} |")
    return "\n".join(lines)


def read(path: Path = RESULTS) -> Found:
    """The last run's results."""
    return msgspec.json.decode(path.read_bytes(), type=Found)


def write(found: Found, path: Path = RESULTS) -> None:
    """Results, sorted so that two runs can be compared."""
    path.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")


def totals(rows: Iterable[Row]) -> Mapping[str, tuple[int, int]]:
    """(values, mismatches) of each target."""
    found: dict[str, tuple[int, int]] = {}
    for row in rows:
        values, mismatches = found.get(row.target, (0, 0))
        found[row.target] = (values + row.values, mismatches + row.mismatches)
    return found


def without_mismatch(rows: Iterable[Row], target: str) -> tuple[str, ...]:
    """The operators of the target that were compared, and never differed."""
    wrong: dict[str, int] = {}
    for row in rows:
        if row.target == target and row.values:
            wrong[row.op] = wrong.get(row.op, 0) + row.mismatches
    return tuple(op for op, count in wrong.items() if count == 0)


__all__ = ["RESULTS", "Found", "Row", "Truth", "read", "run", "table", "totals", "without_mismatch", "write"]
