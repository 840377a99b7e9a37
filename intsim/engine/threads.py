"""Parts of a batch on several threads of this process."""

import itertools
import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

T = TypeVar("T")


MACS_PER_THREAD = 10_000_000
"""Multiplications below which another thread costs more than it brings."""


def shares(images: int, most: int, threads: int, macs: int) -> tuple[list[slice], int]:
    """Parts of at most `most` images, of nearly the same size, as many for each thread; and how many threads pay.

    `macs`: multiplications of one image.
    """
    threads = max(1, min(threads, images, 1 + images * macs // MACS_PER_THREAD))
    each = -(-images // threads)
    count = min(images, threads * -(-each // most))
    cuts = [images * i // count for i in range(count + 1)] if count else [0]
    return [slice(begin, end) for begin, end in itertools.pairwise(cuts)], threads


def in_threads(
    work: Callable[[slice], T],
    parts: Sequence[slice],
    threads: int,
    done: Callable[[int, T], None],
) -> None:
    """work(part) for every part; `done(images, result)` after each, never two at once.

    The calling thread works too. What a part raises stops the others after the part that they are at.
    """
    left, lock = list(reversed(parts)), threading.Lock()

    def take() -> None:
        while True:
            with lock:
                if not left:
                    return
                part = left.pop()
            try:
                result = work(part)
                with lock:
                    done(part.stop - part.start, result)
            except BaseException:
                with lock:
                    left.clear()
                raise

    others = min(threads, len(parts)) - 1
    if others < 1:
        for part in parts:
            done(part.stop - part.start, work(part))
        return
    jobs = [_pool(others, os.getpid()).submit(take) for _ in range(others)]
    try:
        take()
    finally:
        for job in jobs:
            job.exception()  # waits
    for job in jobs:
        job.result()


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that wait for work; a process that was forked has none of its parent's."""
    return ThreadPoolExecutor(threads, thread_name_prefix="intsim")


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
