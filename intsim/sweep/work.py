"""What a worker does: makes a set of images, or takes it from the cache, and lets some cells judge it."""

import io
import os
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from msgspec import Struct

from intsim.attack import door
from intsim.attack.catalogue import find
from intsim.attack.chip import Chip
from intsim.attack.craft import craft
from intsim.attack.twin import twin
from intsim.errors import IntsimError
from intsim.evaluate.camera import digest
from intsim.evaluate.judges import float_judge, null_judge
from intsim.evaluate.known import chip_of
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.files import DAMAGE, write_atomically
from intsim.program import Result
from intsim.sweep import prefixes, shared
from intsim.sweep.cells import Cell, images_digest, knows_chip
from intsim.sweep.plan import Plan
from intsim.tasks import tie_extremes, tied, top1


class Task(Struct, frozen=True, kw_only=True):
    """Cells by their digests that judge one set of images of one network. `cache`: the folder of attacked images."""

    plan: Plan
    cells: tuple[tuple[str, Cell], ...]
    cache: str
    threads: int = 1


class Found(Struct, frozen=True, kw_only=True):
    """What became of a cell; a column of the store each (docs/sweep.md). `failed`: why there is nothing else."""

    digest: str
    failed: str = ""
    n: int = 0
    correct: int = 0
    tied: int = 0
    correct_ties_wrong: int = 0
    correct_ties_right: int = 0
    right: bytes = b""
    answers: bytes | None = None
    logits: bytes | None = None
    images: str = ""
    seconds: float = 0.0


class Done(Struct, frozen=True, kw_only=True):
    """A task's outcome. `crafting`: seconds that its images took; `steps` of `of_steps` were run on each image."""

    found: tuple[Found, ...]
    crafting: float
    steps: int
    of_steps: int
    process: int


@door.one_thread()
def work(task: Task) -> Done:
    """The outcome of every cell of the task. A cell that cannot be built says so; the others are not touched by it.

    On one thread, whoever asks: float sums could depend on how many there are, and attacked images on them.
    """
    from intsim.engine import run

    first = task.cells[0][1]
    _, y = shared.examples(task.plan, first.network)
    began = time.perf_counter()
    x, name = images(task.plan, first, task.cache)
    crafting = time.perf_counter() - began
    machines, found = [], list[Found]()
    for key, cell in task.cells:
        began = time.perf_counter()
        try:
            if cell.target == FLOAT:
                output = float_judge(shared.graph(task.plan, cell.network)).answer(x)
            elif cell.target == NULL:
                graph, source = shared.graph(task.plan, cell.network), shared.quantized(task.plan, cell)
                output = null_judge(graph, source, network="", seed=cell.seed).answer(x)
            else:
                machines.append((key, shared.program(task.plan, cell)))
                continue
        except IntsimError as error:
            found.append(Found(digest=key, failed=str(error)))
            continue
        found.append(outcome(task.plan, key, output, y, name, time.perf_counter() - began))
    spent = prefixes.Work(steps=0, of=0)
    if machines:
        began = time.perf_counter()
        programs = [program for _, program in machines]
        answers, spent = prefixes.outputs(programs, x, lambda one, values: run(one, values, threads=task.threads))  # type: ignore[arg-type]
        each = (time.perf_counter() - began) / len(machines)
        found += [outcome(task.plan, key, q, y, name, each) for (key, _), q in zip(machines, answers, strict=True)]
    return Done(found=tuple(found), crafting=crafting, steps=spent.steps, of_steps=spent.of, process=os.getpid())


def outcome(plan: Plan, key: str, output: np.ndarray, y: np.ndarray, images: str, seconds: float) -> Found:
    """What a judge's output[n, classes] comes to. IntsimError for an output of another shape."""
    if output.ndim != 2:
        return Found(digest=key, failed=f"its output is {output.shape}, a sweep counts classes")
    right, (worst, best) = top1(output, y), tie_extremes(output, y)
    kind = "<u1" if output.shape[1] <= 256 else "<u2"
    return Found(
        digest=key,
        n=len(y),
        correct=int(right.sum()),
        tied=int(tied(output).sum()),
        correct_ties_wrong=int(worst.sum()),
        correct_ties_right=int(best.sum()),
        right=np.packbits(right).tobytes(),
        answers=output.argmax(1).astype(kind).tobytes() if plan.answers else None,
        logits=_npy(output) if plan.logits else None,
        images=images,
        seconds=seconds,
    )


def images(plan: Plan, cell: Cell, cache: str) -> tuple[np.ndarray, str]:
    """(x, digest): the cell's images, uint8 [n, c, h, w]; attacked ones are read from the cache once they are there.

    Their file is KEY-DIGEST.npy, so that a damaged one is noticed and made anew.
    """
    x, y = shared.examples(plan, cell.network)
    if cell.attack == CLEAN:
        return x, digest(x)
    key = images_digest(plan, cell)
    for path in Path(cache).glob(f"{key}-*.npy"):
        try:
            kept = np.load(path, allow_pickle=False)
        except (OSError, *DAMAGE):
            continue
        if (found := digest(kept)) == path.stem.partition("-")[2]:
            return kept, found
    network = twin(shared.graph(plan, cell.network))
    made = craft(find(cell.attack), network, x, y, cell.eps_steps, seed=cell.seed, chip=chip(plan, cell))
    found = digest(made)
    write_atomically(Path(cache) / f"{key}-{found}.npy", _npy(made))
    return made, found


def chip(plan: Plan, cell: Cell) -> Chip | None:
    """The cell's machine as an attacker knows it, for an attack that does."""
    from intsim.engine import run

    if not knows_chip(cell.attack):
        return None
    on: Callable[..., Result] = partial(run, threads=1)
    return chip_of(shared.program(plan, cell), on, shared.graph(plan, cell.network), cell.target)


def _npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, np.ascontiguousarray(array), allow_pickle=False)
    return file.getvalue()


# ---- a process of its own -----------------------------------------------------------------------------------------


def begin(paths: Sequence[str]) -> None:
    """Makes a fresh process a worker: one thread, deaf to Ctrl-C, gone when its parent is; `paths`: of its imports."""
    import signal
    import sys

    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.path += [path for path in paths if path not in sys.path]
    threading.Thread(target=_outlive_nobody, daemon=True).start()


def _outlive_nobody() -> None:
    """Ends this process when its parent has ended, however that was."""
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
