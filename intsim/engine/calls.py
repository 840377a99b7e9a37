"""Calls of routines: what a step does natively, and the tables of numbers that the kernels' loop runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

SCRATCH = 1 << 18
"""Bytes at an arena's start for what a block of rows needs only while it is worked on."""

COUNTS = SCRATCH + 64
"""Where the steps' counts begin, which last as long as the arena: see `Other`."""

COUNTED = 16
"""Bytes of the counts of a step."""


class Call(Struct, frozen=True, kw_only=True, eq=False):
    """A routine with its parameters: numbers, or constant arrays, whose address is meant."""

    routine: Any
    words: tuple[int | np.ndarray, ...]


class Other(Struct, frozen=True, kw_only=True, eq=False):
    """Other calls that give the same: faster where more than `share` of what the first ones check has to be done again.

    `counts`: where the first ones count that, an offset into the arena: int64, done again and all.
    """

    calls: tuple[Call, ...]
    block: int
    counts: int
    share: float


class Native(Struct, frozen=True, kw_only=True, eq=False):
    """A step, or a part of one, as calls in turn on blocks of its rows. `rows`: of one image; `block`: at most.

    `kernel`: what does it, where that is not the same as on arrays.
    """

    calls: tuple[Call, ...]
    rows: int
    block: int = 1 << 40
    kernel: str = ""
    other: Other | None = None


class Choice(Struct, frozen=True, kw_only=True, eq=False):
    """A step of the tables that can be run in two ways: its row with the first calls and with the `Other` ones."""

    step: int
    first: np.ndarray
    other: np.ndarray
    counts: int
    share: float


class Tables(Struct, frozen=True, kw_only=True, eq=False):
    """Native parts as `intsim_kernels.native.run` takes them; `kept`: arrays and routines whose addresses they hold."""

    steps: np.ndarray
    calls: np.ndarray
    kept: tuple[object, ...]
    choices: tuple[Choice, ...] = ()


def tables(parts: Sequence[Native]) -> Tables:
    """The parts as tables; compiles their routines, or loads them from disk."""
    steps, choices = list[tuple[int, ...]](), list[Choice]()
    calls, kept = list[tuple[int, int]](), list[object]()
    for index, part in enumerate(parts):
        steps.append((*_entered(part.calls, calls, kept), part.rows, part.block))
        if (other := part.other) is not None:
            rows = steps[-1], (*_entered(other.calls, calls, kept), part.rows, other.block)
            first, second = (np.array(row, np.int64) for row in rows)
            choices.append(Choice(step=index, first=first, other=second, counts=other.counts, share=other.share))
    return Tables(
        steps=np.array(steps, np.int64).reshape(-1, 4),
        calls=np.array(calls, np.int64).reshape(-1, 2),
        kept=tuple(kept),
        choices=tuple(choices),
    )


def _entered(some: Sequence[Call], calls: list[tuple[int, int]], kept: list[object]) -> tuple[int, int]:
    """Adds calls to the table `calls`: the first one's place there, and their number."""
    from intsim_kernels.native import address

    first = len(calls)
    for call in some:
        arrays = [np.ascontiguousarray(word) for word in call.words if isinstance(word, np.ndarray)]
        kept += arrays
        found = iter(arrays)
        words = [next(found).ctypes.data if isinstance(word, np.ndarray) else int(word) for word in call.words]
        parameters = np.array(words, np.int64)
        kept += (parameters, call.routine)
        calls.append((address(call.routine), parameters.ctypes.data))
    return first, len(some)


def fitting(bytes_per_row: int, once: int = 0) -> int:
    """Rows a block, so that its scratch of so many bytes a row, and `once`, is at hand; 0: not even one row fits."""
    return min(512, (SCRATCH - once) // bytes_per_row)
