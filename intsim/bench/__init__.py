"""Our engine and its peers side by side: equal bits first, then ratios of interleaved rounds."""

import math
from collections.abc import Callable, Mapping, Sequence

from intsim.bench.machine import cores, machine_of, memory, results_name
from intsim.bench.narrow import decides
from intsim.bench.networks import host_machine
from intsim.bench.peers import PEERS
from intsim.bench.records import ORT, Bench, Factory, Mean, Memory, Peer, Row, Work, met
from intsim.bench.suite import MEANS, SECTIONS, Maker
from intsim.bench.turns import ROUNDS, contest
from intsim.errors import IntsimError

__all__ = [
    "BEST",
    "PEERS",
    "ROUNDS",
    "SECTIONS",
    "Bench",
    "Factory",
    "Maker",
    "Mean",
    "Memory",
    "Peer",
    "Row",
    "Work",
    "bench",
    "contest",
    "cores",
    "machine_of",
    "memory",
    "met",
    "results_name",
]

BEST = "the best of each"


def bench(
    makers: Sequence[Maker],
    *,
    rounds: int = ROUNDS,
    peers: Mapping[str, Factory] = PEERS,
    progress: Callable[[int, str], None] | None = None,
    on_work: Callable[[Sequence[Row]], None] | None = None,
) -> Bench:
    """Every work's contest, the means of its sections, the memory that whole networks take.

    A work that cannot be done here becomes a note. `progress(done, work)` is called before each, `on_work` with the
    rows of each. Raises IntsimError where integers that must be equal are not.
    """
    rows: list[Row] = []
    taken: list[Memory] = []
    notes: list[str] = []
    for done, make in enumerate(makers):
        try:
            work = make()
        except (IntsimError, ImportError) as reason:
            notes.append(f"left out: {reason}")
            continue
        if progress is not None:
            progress(done, work.name)
        found = contest(work, peers, rounds=rounds)
        rows += found.rows
        notes += found.notes
        if len(work.program.steps) > 1:
            taken.append(memory(work))
            if work.wide is not None:
                notes += decides(work)
        if on_work is not None:
            on_work(found.rows)
    return Bench(
        machine=machine_of(),
        rows=tuple(rows),
        means=(*section_means(rows), *overall(rows)),
        memory=tuple(taken),
        notes=(*_about_pairs(), *dict.fromkeys(notes)),
    )


def _about_pairs() -> tuple[str, ...]:
    """What must be known of onnxruntime's kernels on this CPU."""
    if host_machine().name != "ort_x86_avx2":
        return ()
    return (
        "without VNNI onnxruntime's u8s8 kernels add pairs of products in 16 bits, which saturate (target "
        "ort_x86_avx2): twice as many in an instruction as exact sums of 32 bits can have on AVX2. Weights here have "
        "7 bits, with which no pair saturates and everybody agrees",
    )


# ---- means -----------------------------------------------------------------------------------------------------


def section_means(rows: Sequence[Row]) -> tuple[Mean, ...]:
    """The geometric mean of every section of several works, against every peer that stands beside all of them."""
    found = []
    for section in dict.fromkeys(row.section for row in rows):
        members = [row for row in rows if row.section == section]
        works = {row.work for row in members}
        for peer in dict.fromkeys(row.peer for row in members):
            ratios = [row.ratio for row in members if row.peer == peer]
            if section and len(works) > 1 and len(ratios) == len(works):
                goal, stretch = MEANS.get(section, (None, None)) if peer == ORT else (None, None)
                found.append(_mean(section, members[0].threads, peer, ratios, goal, stretch))
    return tuple(found)


def overall(rows: Sequence[Row]) -> tuple[Mean, ...]:
    """The geometric mean of ours against the best peer of each work, for every number of threads."""
    found = []
    for threads in sorted({row.threads for row in rows}):
        ratios = [row.ratio for row in rows if row.best and row.threads == threads]
        if ratios:
            found.append(_mean("all works", threads, BEST, ratios, None, None))
    return tuple(found)


def _mean(
    section: str, threads: int, peer: str, ratios: Sequence[float], goal: float | None, stretch: float | None
) -> Mean:
    return Mean(
        section=section,
        threads=threads,
        peer=peer,
        ratio=math.exp(sum(map(math.log, ratios)) / len(ratios)),
        works=len(ratios),
        goal=goal,
        stretch=stretch,
    )
