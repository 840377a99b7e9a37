"""Calls of routines: what a step does natively, and the tables of numbers that the kernels' loop runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

SCRATCH = 1 << 18
"""Bytes at an arena's start for what a block of rows needs only while it is worked on."""


class Call(Struct, frozen=True, kw_only=True, eq=False):
    """A routine with its parameters: numbers, or constant arrays, whose address is meant."""

    routine: Any
    words: tuple[int | np.ndarray, ...]


class Native(Struct, frozen=True, kw_only=True, eq=False):
    """A step, or a part of one, as calls in turn on blocks of its rows. `rows`: of one image; `block`: at most."""

    calls: tuple[Call, ...]
    rows: int
    block: int = 1 << 40


class Tables(Struct, frozen=True, kw_only=True, eq=False):
    """Native parts as `intsim_kernels.native.run` takes them; `kept`: arrays and routines whose addresses they hold."""

    steps: np.ndarray
    calls: np.ndarray
    kept: tuple[object, ...]


def tables(parts: Sequence[Native]) -> Tables:
    """The parts as tables; compiles their routines, or loads them from disk."""
    from intsim_kernels.native import address

    steps, calls = list[tuple[int, ...]](), list[tuple[int, int]]()
    kept: list[object] = []
    for part in parts:
        steps.append((len(calls), len(part.calls), part.rows, part.block))
        for call in part.calls:
            arrays = [np.ascontiguousarray(word) for word in call.words if isinstance(word, np.ndarray)]
            kept += arrays
            found = iter(arrays)
            words = [next(found).ctypes.data if isinstance(word, np.ndarray) else int(word) for word in call.words]
            parameters = np.array(words, np.int64)
            kept += (parameters, call.routine)
            calls.append((address(call.routine), parameters.ctypes.data))
    return Tables(
        steps=np.array(steps, np.int64).reshape(-1, 4), calls=np.array(calls, np.int64).reshape(-1, 2), kept=tuple(kept)
    )


def fitting(bytes_per_row: int, once: int = 0) -> int:
    """Rows a block, so that its scratch of so many bytes a row, and `once`, is at hand; 0: not even one row fits."""
    return min(512, (SCRATCH - once) // bytes_per_row)
