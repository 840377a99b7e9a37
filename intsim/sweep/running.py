"""A sweep: what is not yet done is handed to workers, and every outcome is written as it comes."""

import multiprocessing
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from intsim.errors import IntsimError
from intsim.evaluate.records import CLEAN
from intsim.sweep import cluster, store
from intsim.sweep.cells import Cell, cells, checked, images_digest, knows_chip
from intsim.sweep.judged import said
from intsim.sweep.plan import Plan
from intsim.sweep.work import Done, Found, Task, begin, work

MOST = 32
"""Cells of a task: enough to share steps, few enough that little is lost with it."""

TRIES = 3
"""How often a task is begun whose worker dies."""


class Outcome(Struct, frozen=True, kw_only=True):
    """What a sweep did: of `cells`, `before` were done before, `done` now, `failed` could not be done.

    `stopped`: it was asked to stop. `steps` of `of_steps`: steps that were run, of those of all programs one by one.
    """

    run: int
    cells: int
    before: int
    done: int
    failed: int
    stopped: bool
    steps: int
    of_steps: int


Pool = tuple[Executor, Callable[[], int]]
"""What runs tasks, and how many workers it has by now."""

Progress = Callable[[int, int, str], None]
"""Told of every cell: how many of how many are done, and what came of this one."""


def sweep(
    plan: Plan,
    path: str | Path,
    *,
    workers: int | None = None,
    executor: Callable[[], Executor] | None = None,
    scheduler: str | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Does every cell of the plan that the store at `path` does not hold, and writes them there one task at a time.

    `executor` makes what runs tasks, a pool of `workers` processes unless given (as many as there are processors, with
    one thread each); one that breaks is made anew. `scheduler`: the address of a Dask cluster, whose workers, as many
    as there are by then, do it instead. Attacked images are kept in the folder PATH.images. Raises IntsimError for a
    plan that does not fit, before anything runs; KeyboardInterrupt at the second Ctrl-C.
    """
    from intsim.engine.threads import processors

    every = cells(checked(plan))
    cache = Path(f"{path}.images").absolute()
    cache.mkdir(parents=True, exist_ok=True)

    def make() -> Pool:
        if scheduler is not None:
            pool, room = cluster.join(scheduler, plan)
            return pool, (lambda: workers) if workers else room
        most = workers or processors()
        return executor() if executor else processes(most), lambda: most

    with store.opened(path, make=True) as base:
        run, session = store.enter(base, plan, every)
        known = store.finished(base)
        left = {digest: several[0] for digest, several in every.items() if digest not in known}
        counts = {"done": 0, "failed": 0, "steps": 0, "of_steps": 0}
        ending = "killed"

        def keep(done: Done | list[Found]) -> None:
            found = done.found if isinstance(done, Done) else done
            store.keep(base, session, found)
            if isinstance(done, Done):
                counts["steps"] += done.steps
                counts["of_steps"] += done.of_steps
            for one in found:
                counts["failed" if one.failed else "done"] += 1
                outcome = one.failed or f"{100 * one.correct / one.n:.1f} % of {one.n}"
                if progress is not None:
                    text = f"{said(left[one.digest])}: {outcome}"
                    progress(len(every) - len(left) + counts["done"] + counts["failed"], len(every), text)

        try:
            with asked_to_stop() as stop:
                if left:
                    _run(_queues(plan, left, str(cache)), make, keep, stop)
                ending = "stopped" if stop.is_set() else "done"
        except BaseException as error:
            ending = f"{type(error).__name__}: {error}"
            raise
        finally:
            store.leave(base, session, ending)
    before = len(every) - len(left)
    return Outcome(run=run, cells=len(every), before=before, stopped=stop.is_set(), **counts)


def processes(workers: int) -> ProcessPoolExecutor:
    """A pool of fresh processes: nothing is inherited that threads of this one may hold."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(workers, mp_context=context, initializer=begin, initargs=(tuple(sys.path),))


def _queues(plan: Plan, left: Mapping[str, Cell], cache: str) -> list[deque[Task]]:
    """The tasks, those of the same images in a queue: the first makes the images that the others read."""
    groups: dict[tuple[str, str], list[tuple[str, Cell]]] = {}
    names: dict[tuple[object, ...], str] = {}
    for digest, cell in left.items():
        own = cell if knows_chip(cell.attack) else None
        at = (cell.network, cell.attack, cell.eps_steps, cell.seed, own)
        if at not in names:
            names[at] = CLEAN if cell.attack == CLEAN else images_digest(plan, cell)
        groups.setdefault((cell.network, names[at]), []).append((digest, cell))
    return [
        deque(
            Task(plan=plan, cells=tuple(group[first : first + MOST]), cache=cache)
            for first in range(0, len(group), MOST)
        )
        for group in groups.values()
    ]


def _run(
    queues: Sequence[deque[Task]],
    make: Callable[[], Pool],
    keep: Callable[[Done | list[Found]], None],
    stop: threading.Event,
) -> None:
    """Every task on an executor, at most one more than there are workers at a time, until it is asked to stop."""
    waiting, running = deque(queues), dict[Future[Done], tuple[Task, deque[Task]]]()
    tries: dict[str, int] = {}
    pool, room = make()
    try:
        while running or (waiting and not stop.is_set()):
            broken, most = False, room() + 1
            while waiting and len(running) < most and not stop.is_set() and not broken:
                suspect = waiting[0][0].cells[-1][0] in tries or any(
                    t.cells[-1][0] in tries for t, _ in running.values()
                )
                if suspect and running:  # whoever was there when a worker died runs alone: then it is known whose fault
                    break
                queue = waiting.popleft()
                task = queue.popleft()
                try:
                    running[pool.submit(work, task)] = task, queue
                except BrokenExecutor:
                    queue.appendleft(task)
                    waiting.appendleft(queue)
                    broken = True
            if stop.is_set():
                for future in [future for future in running if future.cancel()]:
                    del running[future]
            for future in wait(running, timeout=0.2, return_when=FIRST_COMPLETED).done:
                task, queue = running.pop(future)
                key, _ = task.cells[-1]
                try:
                    keep(future.result())
                except BrokenExecutor:
                    broken = True
                    tries[key] = tries.get(key, 0) + 1
                    if tries[key] < TRIES:
                        queue.appendleft(task)
                        waiting.appendleft(queue)
                        continue
                    what = f"its worker died {TRIES} times"
                    keep([Found(digest=digest, failed=what) for digest, _ in task.cells])
                except IntsimError as error:
                    keep([Found(digest=digest, failed=str(error)) for digest, _ in task.cells])
                if queue:
                    waiting.append(queue)
            if broken and not running:
                pool.shutdown(wait=False, cancel_futures=True)
                pool, room = make()
    except BaseException:
        _end(pool)
        raise
    pool.shutdown()


def _end(pool: Executor) -> None:
    """Ends a pool at once, with what it is at."""
    for process in list((getattr(pool, "_processes", None) or {}).values()):
        process.terminate()
    pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """Set by the first Ctrl-C in here; the second raises KeyboardInterrupt."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return

    def interrupted(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    before = signal.signal(signal.SIGINT, interrupted)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)
