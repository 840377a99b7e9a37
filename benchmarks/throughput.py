"""How a sweep grows with its workers, and what one process can write: the figures of docs/sweep.md on many workers.

python benchmarks/throughput.py [IMAGES] [--rounds N]

The same grid from nothing (attacked images, calibration and programs included) on 1 and 2 processes and on 1 and 2
Dask workers, one after the other in every round, medians of the rounds. `seconds`: the whole call, start of the workers
included; `steady`: cells a second from the first task that was written to the last; `grown`: of two workers to one,
round by round; `slower`: the same of the seconds that all workers spent on cells. Then what the submitting process
can take by itself: 1,000 tasks under way of 32 cells of 10,000 images each, which nobody computes. The record is a file
for each CPU in benchmarks/results/sweep.
"""

import argparse
import json
import pickle
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, Future
from contextlib import closing, contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.bench.machine import machine_of, results_name
from intsim.sweep import running, store, sweep
from intsim.sweep.cells import cells
from intsim.sweep.plan import Axes, Plan
from intsim.sweep.work import Done, Found, Task

FOLDER = Path("benchmarks/results/sweep")
IN_FLIGHT, EXAMPLES, TASKS = 1_000, 10_000, 2_000


def main() -> None:
    """Measures, prints and writes the record."""
    words = argparse.ArgumentParser()
    words.add_argument("images", type=int, nargs="?", default=1000)
    words.add_argument("--rounds", type=int, default=3)
    said = words.parse_args()
    plan = grid(said.images)
    ways: dict[str, Callable[[Path], float]] = {"process 1": _processes(plan, 1), "process 2": _processes(plan, 2)}
    rows: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        ways |= {f"dask {workers}": _dask(plan, workers, Path(folder)) for workers in (1, 2)}
        for turn in range(said.rounds):
            for name, way in ways.items():
                path = Path(folder) / f"{name.replace(' ', '-')}-{turn}.sqlite"
                seconds = way(path)
                rows.setdefault(name, []).append({"seconds": seconds, **read(path)})
                print(turn, name, rows[name][-1], flush=True)
        same = {tuple(outcomes(path)) for path in Path(folder).glob("*.sqlite")}
        assert len(same) == 1, "the outcomes depend on where they were computed"
        found = {
            name: {key: median(row[key] for row in several) for key in several[0]} for name, several in rows.items()
        }
        alone = submitting(plan, Path(folder) / "alone.sqlite")
    record: dict[str, Any] = {"machine": machine_of(), "images": said.images, "rounds": said.rounds, "ways": found}
    record["grown"] = {kind: grown(rows, kind, "steady") for kind in ("process", "dask")}
    record["slower"] = {kind: grown(rows, kind, "judging_seconds") for kind in ("process", "dask")}
    record["alone"] = alone
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{'' if said.images >= 1000 else 'small-'}throughput-{results_name(machine_of())}"
    path.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


def grown(rows: dict[str, list[dict[str, float]]], kind: str, key: str) -> list[float]:
    """What two workers have of something to what one has, round by round."""
    return [two[key] / one[key] for one, two in zip(rows[f"{kind} 1"], rows[f"{kind} 2"], strict=True)]


def grid(limit: int) -> Plan:
    """Two machines with nine accumulators each on twenty sets of attacked images, their noise, and the clean ones."""
    axes = Axes(
        networks=("cnn",),
        targets=("cmsis_nn_s8", "litert_ref"),
        accumulators=(0, 12, 14, 16, 18),
        overflows=("wrap", "saturate"),
        attacks=("fgsm", "pgd"),
        eps=tuple(f"{i}/255" for i in range(1, 11)),
    )
    return Plan(name="throughput", data="fashion", calibration="fashion", limit=limit, axes=axes)


# ---- workers ------------------------------------------------------------------------------------------------------


def _processes(plan: Plan, workers: int) -> Callable[[Path], float]:
    return lambda path: timed(lambda: sweep(plan, path, workers=workers))


def _dask(plan: Plan, workers: int, folder: Path) -> Callable[[Path], float]:
    """A cluster that is there only meanwhile: idle ones take time from others."""

    def swept(path: Path) -> float:
        with dask(workers, folder / path.stem) as address:
            return timed(lambda: sweep(plan, path, scheduler=address))

    return swept


def timed(call: Callable[[], object]) -> float:
    """Seconds of the clock that the call took."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


@contextmanager
def dask(workers: int, folder: Path) -> Iterator[str]:
    """The address of a scheduler with so many workers of one thread, all processes of their own."""
    file = folder / f"scheduler-{workers}.json"
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    scheduler = [sys.executable, "-m", "dask", "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", file]
    worker = [sys.executable, "-m", "dask", "worker", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard"]
    started = [subprocess.Popen([str(word) for word in scheduler], **quiet)]
    try:
        started += [
            subprocess.Popen([*map(str, worker), "--local-directory", str(folder / f"worker-{workers}-{i}")], **quiet)
            for i in range(workers)
        ]
        until = time.monotonic() + 60
        while not file.exists() or not file.read_text(encoding="utf-8"):
            if time.monotonic() > until:
                raise RuntimeError("the Dask scheduler did not start")
            time.sleep(0.1)
        yield json.loads(file.read_text(encoding="utf-8"))["address"]
    finally:
        for one in reversed(started):
            one.terminate()
            one.wait(10)


# ---- what a store says --------------------------------------------------------------------------------------------


def read(path: Path) -> dict[str, float]:
    """Of a finished sweep: its cells, how many a second between the first task and the last, and bytes a cell."""
    with closing(sqlite3.connect(path)) as base:
        at = [finished for (finished,) in base.execute("SELECT finished FROM cells ORDER BY finished")]
        spent = sum(seconds for (seconds,) in base.execute("SELECT seconds FROM cells"))
        base.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    first = sum(one - at[0] < 0.05 for one in at)  # a task is written at once
    return {
        "cells": len(at),
        "steady": (len(at) - first) / (at[-1] - at[0]),
        "judging_seconds": spent,
        "bytes": path.stat().st_size,
    }


def outcomes(path: Path) -> list[tuple[Any, ...]]:
    """What every cell came to."""
    with closing(sqlite3.connect(path)) as base:
        return base.execute("SELECT digest, images, right, answers FROM cells ORDER BY digest").fetchall()


# ---- the submitting process alone ---------------------------------------------------------------------------------


class Instant(Executor):
    """Finishes the oldest task once `IN_FLIGHT` are under way: a thousand busy workers, one after the other."""

    def __init__(self, answer: Callable[[Task], Done]) -> None:
        self.answer, self.waiting, self.more = answer, deque[tuple[Future[Done], Task]](), threading.Condition()
        self.left = TASKS
        self.thread = threading.Thread(target=self._finish, daemon=True)
        self.thread.start()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """A future that is done when its turn comes."""
        future: Future[Done] = Future()
        future.set_running_or_notify_cancel()
        with self.more:
            self.waiting.append((future, args[0]))
            self.left -= 1
            self.more.notify()
        return future

    def _finish(self) -> None:
        while True:
            with self.more:
                self.more.wait_for(lambda: len(self.waiting) > IN_FLIGHT or (self.waiting and self.left <= 0))
                future, task = self.waiting.popleft()
            future.set_result(self.answer(task))


def submitting(plan: Plan, path: Path) -> dict[str, float]:
    """Tasks a second that one process hands out and writes, seconds of its CPU, and bytes of a task and its answer."""
    right = np.packbits(np.random.default_rng(0).integers(0, 2, EXAMPLES)).tobytes()
    answers = np.random.default_rng(1).integers(0, 10, EXAMPLES, dtype=np.uint8).tobytes()
    cell = next(iter(cells(plan).values()))[0]
    tasks = [
        Task(plan=plan, cells=tuple((f"{t:032x}{i:032x}", cell) for i in range(running.MOST)), cache=str(path))
        for t in range(TASKS)
    ]

    def answer(task: Task) -> Done:
        found = tuple(
            Found(
                digest=key,
                n=EXAMPLES,
                right=bytes(bytearray(right)),
                answers=bytes(bytearray(answers)),
                images=key,
                seconds=1.0,
            )
            for key, _ in task.cells
        )
        return Done(found=found, crafting=0.0, steps=0, of_steps=0, process=0)

    with store.opened(path, make=True) as base:
        _, session = store.enter(base, plan, {})
        written = 0

        def keep(done: Done | list[Found]) -> None:
            nonlocal written
            store.keep(base, session, done.found if isinstance(done, Done) else done)
            written += 1

        queues: Sequence[deque[Task]] = [deque([task]) for task in tasks]
        began, cpu = time.perf_counter(), time.process_time()
        running._run(queues, lambda: (Instant(answer), lambda: IN_FLIGHT), keep, threading.Event())
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    assert written == TASKS
    grown = path.stat().st_size + sum(one.stat().st_size for one in path.parent.glob(f"{path.name}-wal"))
    began = time.perf_counter()
    many = replace(plan, axes=replace(plan.axes, seeds=tuple(range(50))))
    digests = len(cells(many))
    return {
        "tasks": TASKS,
        "in_flight": IN_FLIGHT,
        "cells_a_task": running.MOST,
        "examples": EXAMPLES,
        "tasks_a_second": TASKS / seconds,
        "cpu_a_task": cpu / TASKS,
        "store_bytes_a_cell": grown / (TASKS * running.MOST),
        "task_bytes": len(pickle.dumps(tasks[0])),
        "answer_bytes": len(pickle.dumps(answer(tasks[0]))),
        "planned_cells_a_second": digests / (time.perf_counter() - began),
    }


if __name__ == "__main__":
    main()
