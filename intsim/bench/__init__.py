"""Our engine and its peers on one network, side by side: bit-equality first, then ratios of interleaved rounds."""

import itertools
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim import onnx_io
from intsim.build import build
from intsim.engine import run
from intsim.errors import IntsimError
from intsim.program import Program
from intsim.quantized import QuantizedGraph
from intsim.reference import ort
from intsim.targets import TARGETS

PLAIN = "litert_ref"
"""A machine with a plain 32-bit accumulator, timed besides the one that onnxruntime is."""

FLOAT_GOAL = 0.1
"""Portable kernels on PLAIN, many images at a time: at least a tenth of onnxruntime's float32 speed."""

Session = Callable[[np.ndarray], dict[str, np.ndarray]]
Work = Callable[[], object]


class Row(Struct, frozen=True, kw_only=True):
    """One contest: `ratio` is the peer's time over ours, the median over the rounds, `low` and `high` their quartiles.

    More than 1 is faster than the peer. `equal`: the two gave the same integers; None where they need not.
    `goal`: the ratio that is wanted, None where none is set.
    """

    work: str
    threads: int
    ours: str
    peer: str
    ratio: float
    low: float
    high: float
    rounds: int
    equal: bool | None = None
    goal: float | None = None


class Bench(Struct, frozen=True, kw_only=True):
    """The contests, and the machine that they were held on."""

    machine: dict[str, str]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def bench(
    quantized: QuantizedGraph,
    x: np.ndarray,
    *,
    name: str,
    float_model: Path | None = None,
    target: str = "",
    threads: int = 1,
    rounds: int = 9,
    batches: Sequence[int] = (),
    progress: Callable[[int, int], None] | None = None,
) -> Bench:
    """Our engine against onnxruntime's int8 kernels, and its float32 ones where `float_model` is given.

    `x[n, c, ...]`: the network's float32 input. `target`: the machine that ours emulates, onnxruntime's own on this CPU
    unless given; then all outputs must be equal before anything is timed. `batches`: images at a time; all, if none.
    Raises IntsimError where the integers of equal machines differ.
    """
    host = ort.host_profile()
    machine = target or (host if host in TARGETS else "ort_x86_vnni")
    programs = {name: build(quantized, name) for name in dict.fromkeys((machine, PLAIN))}
    model = onnx_io.qoperator_model(quantized).SerializeToString()
    door = quantized.graph.inputs[0]
    peers = {"onnxruntime int8": _session(model, door, threads)}
    notes = []
    if float_model is not None:
        try:
            peers["onnxruntime float32"] = _session(float_model.read_bytes(), door, threads)
            peers["onnxruntime float32"](x[:1])
        except IntsimError as error:
            del peers["onnxruntime float32"]
            notes.append(f"float32 is left out: {error}")
    equal = _equal(programs[machine], peers["onnxruntime int8"], x, threads) if machine == host else None
    if equal is None:
        notes.append(f"{machine} is not what onnxruntime does on this CPU ({host}): equality is not asked for")
    rows: list[Row] = []
    sizes = [size for size in batches or (len(x),) if size <= len(x)]
    for done, size in enumerate(sizes):
        seconds = _contest(programs, peers, x[:size], threads, rounds)
        for ours, peer in itertools.product(programs, peers):
            plain = ours == PLAIN and size == max(sizes) and peer.endswith("float32")
            row = _row(f"{name}, batch {size}", threads, ours, peer, seconds)
            same = equal if ours == machine and peer.endswith("int8") else None
            rows.append(replace(row, equal=same, goal=FLOAT_GOAL if plain else None))
        if progress is not None:
            progress(done + 1, len(sizes))
    return Bench(machine=machine_of(), rows=tuple(rows), notes=tuple(notes))


def _session(model: bytes, door: str, threads: int) -> Session:
    """onnxruntime at its best level, from the one input to its outputs."""
    session = ort.runner(model, threads=threads, optimization="all", expose=False)
    return lambda x: session({door: x})


def _equal(program: Program, session: Session, x: np.ndarray, threads: int) -> bool:
    theirs, ours = session(x), run(program, x, threads=threads).logits
    for name, array in ours.items():
        different = int(np.count_nonzero(array != theirs[name]))
        if different:
            raise IntsimError(
                f"{different} of {array.size} outputs differ from onnxruntime's: nothing was timed",
                where=name,
                mend="intsim compare --with onnxruntime shows where it starts",
            )
    return True


def _contest(
    programs: dict[str, Program], peers: dict[str, Session], x: np.ndarray, threads: int, rounds: int
) -> dict[str, list[float]]:
    """The seconds of everybody in every round: all in turn, the first of a round changes."""
    works: dict[str, Work] = {name: partial(run, program, x, threads=threads) for name, program in programs.items()}
    works |= {peer: partial(session, x) for peer, session in peers.items()}
    repeats = {who: _repeats(work) for who, work in works.items()}
    seconds: dict[str, list[float]] = {who: [] for who in works}
    order = list(works)
    for number in range(rounds):
        for who in order[number % len(order) :] + order[: number % len(order)]:
            seconds[who].append(_timed(works[who], repeats[who]))
    return seconds


def _row(work: str, threads: int, ours: str, peer: str, seconds: dict[str, list[float]]) -> Row:
    ratios = [theirs / own for own, theirs in zip(seconds[ours], seconds[peer], strict=True)]
    low, _, high = statistics.quantiles(ratios, n=4) if len(ratios) > 1 else ratios * 3
    return Row(
        work=work,
        threads=threads,
        ours=ours,
        peer=peer,
        ratio=statistics.median(ratios),
        low=low,
        high=high,
        rounds=len(ratios),
    )


def _repeats(work: Work) -> int:
    """Calls that take about 30 ms together; the first call, which may compile, does not count."""
    work()
    return max(1, int(0.03 / max(_timed(work, 1), 1e-7)))


def _timed(work: Work, repeats: int) -> float:
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def machine_of() -> dict[str, str]:
    """The machine at hand, and the versions that decide its speed."""
    from importlib.metadata import version

    packages = {name: version(name) for name in ("numba", "numpy", "onnxruntime")}
    return {
        "cpu": _cpu(),
        "instruction_set": ort.instruction_set(),
        "onnxruntime_as": ort.host_profile(),
        "cores": str(os.cpu_count()),
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
