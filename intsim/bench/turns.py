"""One contest: the same integers first, then everybody in turns, as ratios of each round."""

import contextlib
import gc
import hashlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing.connection import Connection

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.bench.equality import against_oracle, require_equal
from intsim.bench.records import RIVALS, Factory, Peer, Row, Work
from intsim.engine import bind
from intsim.errors import IntsimError
from intsim.program import Program, inside, outside

OURS = "intsim"
ROUNDS = 11
LEAST = 0.02
"""Seconds that one measurement takes at least: short calls are repeated."""
REST = 0.03
"""Seconds before somebody in another process is measured: workers that spin have gone to sleep."""

Seconds = dict[str, list[float]]


class Contest(Struct, frozen=True, kw_only=True):
    """The rows of one work, and why somebody is not among them."""

    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()


def ours(work: Work) -> Peer:
    """Our engine bound to the work's input, as its peers are to theirs."""
    return Peer(name=OURS, function=bound_to(work.program, work.x, work.threads), equal=False)


def bound_to(program: Program, x: np.ndarray, threads: int) -> Callable[[], np.ndarray]:
    """The Program on integers `x[n, c, ...]`, from arrays that lie where they are wanted; `[n, c, ...]`, a view."""
    bound = bind(program, len(x), threads=threads)
    (goal,), ((name, result),) = bound.inputs.values(), bound.outputs.items()
    goal[...] = inside(x).reshape(goal.shape)
    shape = program.tensors[program.outputs[name].tensor].shape

    def function() -> np.ndarray:
        bound.run()
        return outside(result.reshape(len(x), *shape))

    return function


def contest(work: Work, peers: Mapping[str, Factory], *, rounds: int = ROUNDS) -> Contest:
    """Our engine against every peer that does this work.

    With one thread all take turns in one process, timed by its CPU time; with more, each has a process of its own and
    the wall clock counts. Raises IntsimError, with the first value that differs, where a peer's integers or the
    oracle's are not ours: then nothing is timed.
    """
    ready, notes = _gathered(work, peers)
    if not ready:
        return Contest(rows=(), notes=tuple(notes))
    mine = ours(work)
    result = mine.function()
    against_oracle(work, result)
    for peer in ready:
        if peer.equal:
            require_equal(f"{work.name}, {peer.name}", peer.function(), result[: peer.samples])
    facts = [replace(peer, function=_gone) for peer in (mine, *ready)]
    if work.threads == 1 and not work.environment:
        seconds = _in_turns([mine, *ready], rounds)
    else:
        del mine, ready, peer  # their threads would spin beside those that are measured
        seconds = _in_processes(work, facts, {OURS: ours, **peers}, result, rounds)
    for peer in facts:
        if peer.samples is not None:
            seconds[peer.name] = [s * len(work.x) / peer.samples for s in seconds[peer.name]]
    return Contest(rows=rows(work, facts[1:], seconds), notes=tuple(notes))


def _gone() -> np.ndarray:
    raise AssertionError("this peer runs elsewhere")


def _gathered(work: Work, peers: Mapping[str, Factory]) -> tuple[list[Peer], list[str]]:
    ready, notes = [], []
    for name, factory in peers.items():
        try:
            peer = factory(work)
        except (IntsimError, ImportError) as reason:
            notes.append(f"{name} is left out: {reason}")
            continue
        if peer is not None:
            ready.append(peer)
    return ready, notes


# ---- time ------------------------------------------------------------------------------------------------------


def _in_turns(all_of_them: Sequence[Peer], rounds: int) -> Seconds:
    """The seconds of everybody in every round; who is first changes."""
    repeats = {peer.name: _repeats(peer.function, time.process_time) for peer in all_of_them}
    seconds: Seconds = {peer.name: [] for peer in all_of_them}
    order = list(all_of_them)
    gc.collect()
    gc.disable()
    try:
        for number in range(rounds):
            turn = number % len(order)
            for peer in order[turn:] + order[:turn]:
                seconds[peer.name].append(_timed(peer.function, repeats[peer.name], time.process_time))
    finally:
        gc.enable()
    return seconds


def _in_processes(
    work: Work, all_of_them: Sequence[Peer], factories: Mapping[str, Factory], result: np.ndarray, rounds: int
) -> Seconds:
    """As `_in_turns`, each in a process of its own, in which its integers are compared again."""
    context = multiprocessing.get_context("spawn")  # OpenMP's threads do not survive a fork
    pipes: dict[str, Connection] = {}
    processes = []
    order = [peer.name for peer in all_of_them]
    try:
        for name in order:
            pipes[name], far = context.Pipe()
            process = context.Process(target=_alone, args=(far, work, factories[name]), daemon=True)
            with environment(work.environment if name == OURS else {}):
                process.start()
            far.close()
            processes.append(process)
        for peer in all_of_them:
            found = pipes[peer.name].recv()
            if (peer.equal or peer.name == OURS) and found != digest(result[: peer.samples]):
                raise IntsimError("gives other integers in a process of its own", where=f"{work.name}, {peer.name}")
        seconds: Seconds = {name: [] for name in order}
        for number in range(rounds):
            turn = number % len(order)
            for name in order[turn:] + order[:turn]:
                time.sleep(REST)
                pipes[name].send(True)
                seconds[name].append(pipes[name].recv())
        for pipe in pipes.values():
            pipe.send(False)
        return seconds
    except EOFError:
        raise IntsimError("a process of the bench ended early", where=work.name) from None
    finally:
        for pipe in pipes.values():
            pipe.close()
        for process in processes:
            process.join(5)
            if process.is_alive():
                process.terminate()


def _alone(pipe: Connection, work: Work, factory: Factory) -> None:
    """A process that does one thing, whenever it is told to."""
    peer = factory(work)
    assert peer is not None
    pipe.send(digest(peer.function()))
    repeats = _repeats(peer.function, time.perf_counter)
    with contextlib.suppress(EOFError, OSError):  # the bench gave up
        while pipe.recv():
            pipe.send(_timed(peer.function, repeats, time.perf_counter))


@contextlib.contextmanager
def environment(variables: Mapping[str, str]) -> Iterator[None]:
    """These variables, for the processes that are started meanwhile."""
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def digest(array: np.ndarray) -> str:
    """What equal integers have in common, whatever their type and layout."""
    return hashlib.sha256(np.ascontiguousarray(array, np.int64).tobytes()).hexdigest()


def _repeats(function: Callable[[], object], clock: Callable[[], float]) -> int:
    """How many calls take LEAST seconds; the first one, which may compile, does not count, nor short ones before it."""
    function()
    if _timed(function, 1, clock) >= LEAST:
        return 1
    return max(1, int(LEAST / max(_timed(function, 1, clock), 1e-7)))


def _timed(function: Callable[[], object], repeats: int, clock: Callable[[], float]) -> float:
    start = clock()
    for _ in range(repeats):
        function()
    return (clock() - start) / repeats


# ---- ratios ----------------------------------------------------------------------------------------------------


def rows(work: Work, peers: Sequence[Peer], seconds: Mapping[str, Sequence[float]]) -> tuple[Row, ...]:
    """A row for every peer, the fastest of the rivals marked."""
    mine = seconds[OURS]
    rivals = {peer.name: statistics.median(seconds[peer.name]) for peer in peers if peer.name in RIVALS}
    best = min(rivals, key=lambda name: rivals[name], default="")
    found = []
    for peer in peers:
        ratios = [theirs / own for own, theirs in zip(mine, seconds[peer.name], strict=True)]
        low, _, high = statistics.quantiles(ratios, n=4, method="inclusive") if len(ratios) > 1 else ratios * 3
        goal, stretch = work.goals.get(peer.name, (None, None))
        found.append(
            Row(
                section=work.section,
                work=work.name,
                threads=work.threads,
                ours=next(iter(work.program.targets)),
                peer=peer.name,
                ratio=statistics.median(ratios),
                low=low,
                high=high,
                rounds=len(ratios),
                seconds=statistics.median(mine),
                equal=True if peer.equal else None,
                best=peer.name == best,
                goal=goal,
                stretch=stretch,
            )
        )
    return tuple(found)
