"""Calls of the routines that add in the machine's order, on arrays; and what they should give."""

from collections.abc import Iterable
from typing import Any

import numpy as np

from intsim.engine.lanes import Lane
from intsim.engine.packing import Walk, pack_columns, pack_single
from intsim_kernels import checked_tile as c
from intsim_kernels import ordered_tile as o
from intsim_kernels.compiled import kernel
from intsim_kernels.gathered import gathering_routine
from intsim_kernels.memory import call
from intsim_kernels.native import address
from intsim_kernels.wide import SPARE_ROWS, rows_of


@kernel
def run_one(routine, p, arena, begin, end):
    """Calls the routine at an address."""
    call(routine, p, arena, begin, end)


INT32 = (-(1 << 31), (1 << 31) - 1)


class Job:
    """Rows of operands in an arena, with room for whatever a routine writes; keeps alive what it points to."""

    def __init__(self, x: np.ndarray, outputs: int, columns: int, walk: Walk) -> None:
        """`x` `[rows, bytes of one, as integers]`."""
        self.x, self.walk, self.columns, self.outputs = x, walk, columns, outputs
        self.panels = -(-outputs // columns)
        rows, wide = len(x), self.panels * columns
        spare = rows + SPARE_ROWS
        self.copy_row = 2 * x.shape[1] + 64
        sizes = [x.nbytes + 64, spare * wide * 4, 8 * spare, 8 * spare, spare * self.copy_row, 40 * spare + 64]
        sizes += [8 * (1 + rows * self.panels), 64]
        ends = np.cumsum([-(-size // 64) * 64 for size in sizes]).tolist()
        self.sums, self.addresses, self.others, self.copies, self.outs, self.list, self.counted, end = ends
        self.arena = np.zeros(end, np.uint8)
        self.arena[: x.nbytes] = np.ascontiguousarray(x).view(np.uint8).ravel()
        self.out = self.arena[self.sums : self.sums + rows * wide * 4].view(np.int32).reshape(rows, wide)
        self.kept: list[Any] = []
        self.calls: list[tuple[int, int]] = []
        self.add(rows_of, (0, x.strides[0], np.zeros(1, np.int64), 1, self.addresses))

    def gather(self, offsets: np.ndarray, length: int, zero: int, shift: int = 0, *, listed: bool = False) -> None:
        """Adds a call that copies segments, to the addresses `others`; `listed`: of flagged rows only."""
        words = (self.addresses, offsets, len(offsets), length, zero, shift, self.copies, self.copy_row, self.others)
        self.add(gathering_routine(self.x.dtype.name, listed), (*words, self.list))

    def add(self, routine: Any, words: Iterable[Any]) -> None:
        """Adds a call."""
        table = np.array([self.word(word) for word in words], np.int64)
        self.kept.append(table)
        self.calls.append((address(routine), table.ctypes.data))

    def word(self, value: Any) -> int:
        """The number, or the array's address."""
        if isinstance(value, np.ndarray):
            self.kept.append(np.ascontiguousarray(value))
            return int(self.kept[-1].ctypes.data)
        return int(value)

    def call(self, routine: Any, words: dict[int, Any]) -> None:
        """Adds a call; `words` over those that every routine has."""
        wide = self.panels * self.columns * 4
        common = {
            o.ADDRESSES: self.addresses,
            **walked(self.walk),
            o.OUT: self.sums,
            o.STRIDE: wide,
            o.OUTS: self.outs,
            o.SHIFT: 0,
            o.OFFSET: 0,
            o.END: np.zeros(wide // 4, np.int32),
            o.END_LOW: INT32[0],
            o.END_HIGH: INT32[1],
            c.LIST: self.list,
            c.COUNTS: self.counted,
        }
        words = common | words
        self.add(routine, [words.get(index, 0) for index in range(max(words) + 1)])

    def run(self, block: int = 1 << 20) -> np.ndarray:
        """The sums of all rows, `block` at a time; only those of one block lie in the arena."""
        found, calls = [], np.array(self.calls, np.int64)
        for begin in range(0, len(self.x), block):
            end = min(begin + block, len(self.x))
            for routine, table in calls:
                run_one(routine, table, self.arena.ctypes.data, begin, end)
            found.append(self.out[: end - begin, : self.outputs].copy())
        return np.concatenate(found)

    @property
    def counts(self) -> tuple[int, int]:
        """Flagged and all (row, panel)."""
        flagged, seen = self.arena[self.counted :].view(np.int64)[:2].tolist()
        return flagged, seen


def packed(weight: np.ndarray, columns: int) -> dict[int, Any]:
    """The parameters of packed weights."""
    return {o.WEIGHTS: weight, o.PANELS: len(weight), o.PANEL_BYTES: weight[0].nbytes}


def ended(end: np.ndarray | None, limits: tuple[int, int], columns: int) -> dict[int, Any]:
    """The parameters of what is added at the end."""
    if end is None:
        return {}
    return {o.END: pack_columns(end, columns, np.int32), o.END_LOW: limits[0], o.END_HIGH: limits[1]}


def registers(found: Lane, weight: np.ndarray, walk: Walk, columns: int, start: np.ndarray) -> dict[int, Any]:
    """The parameters of registers that saturate after every product."""
    single = pack_single(weight.astype(np.int64) << found.shift_w, walk, columns, found.bits)
    lanes = pack_columns(found.held(start), columns, np.int16 if found.bits == 16 else np.int32)
    return {
        **packed(single, columns),
        o.START: lanes,
        o.SHIFT: found.shift,
        o.OFFSET: found.offset,
        o.LOW: found.low,
        o.HIGH: found.high,
    }


def walked(walk: Walk) -> dict[int, Any]:
    """The parameters of a walk."""
    return {o.PIECES: walk.pieces, o.BLOCKS: walk.blocks, o.COUNT: len(walk.blocks)}


def reference(
    x: np.ndarray,
    w: np.ndarray,
    start: np.ndarray,
    limits: tuple[int, int],
    end: np.ndarray | int = 0,
    last: tuple[int, int] = INT32,
) -> tuple[np.ndarray, np.ndarray]:
    """clamp(sum + product) for every product in turn, then clamp(sum + end); and which sums were ever clamped."""
    acc = np.tile(start.astype(np.int64), (len(x), 1))
    hit = np.zeros(acc.shape, bool)
    for k in range(x.shape[1]):
        exact = acc + x[:, k : k + 1].astype(np.int64) * w[:, k].astype(np.int64)
        acc = np.clip(exact, *limits)
        hit |= acc != exact
    return np.clip(acc + end, *last), hit


def two_levels(
    x: np.ndarray, w: np.ndarray, start: np.ndarray, size: int, inner: tuple[int, int], outer: tuple[int, int]
) -> tuple[np.ndarray, int]:
    """clamp(sum + t) for every block t of `size` products, clamped after each; and how many adds clamped."""
    acc, hits = np.tile(start.astype(np.int64), (len(x), 1)), 0
    for first in range(0, x.shape[1], size):
        part = np.zeros_like(acc)
        for k in range(first, min(first + size, x.shape[1])):
            exact = part + x[:, k : k + 1].astype(np.int64) * w[:, k].astype(np.int64)
            part = np.clip(exact, *inner)
            hits += int((part != exact).sum())
        exact = acc + part
        acc = np.clip(exact, *outer)
        hits += int((acc != exact).sum())
    return acc, hits
