"""Calls of the routines that add in the machine's order, on arrays; and what they should give."""

from typing import Any

import numpy as np

from intsim.engine.lanes import Lane
from intsim.engine.margins import Watch
from intsim.engine.packing import Walk, pack_columns, pack_pairs, pack_single
from intsim_kernels import checked_tile as C
from intsim_kernels import ordered_tile as O
from intsim_kernels.compiled import kernel
from intsim_kernels.memory import call
from intsim_kernels.native import address
from intsim_kernels.saturating import SLACK


@kernel
def run_one(routine, p, arena, begin, end):
    """Calls the routine at an address."""
    call(routine, p, arena, begin, end)


INT32 = (-(1 << 31), (1 << 31) - 1)


class Job:
    """Rows of operands in an arena, with room for whatever a routine writes; keeps alive what it points to."""

    def __init__(self, x: np.ndarray, outputs: int, columns: int, walk: Walk) -> None:
        """`x` [images, bytes of an image as integers]: one row starts at each image's start."""
        self.x, self.walk, self.columns, self.outputs = x, walk, columns, outputs
        self.panels = -(-outputs // columns)
        rows, wide = len(x), self.panels * columns
        sizes = [x.nbytes + 64, rows * wide * 4, 8 * 4 * (rows + SLACK), 8 * (1 + rows * self.panels), 16]
        self.at = np.cumsum([0, *(-(-size // 64) * 64 for size in sizes)]).tolist()
        self.arena = np.zeros(self.at[-1], np.uint8)
        self.arena[: x.nbytes] = np.ascontiguousarray(x).view(np.uint8).ravel()
        self.out = self.arena[self.at[1] : self.at[2]].view(np.int32)[: rows * wide].reshape(rows, wide)
        self.kept: list[Any] = []
        self.calls: list[tuple[int, int]] = []

    def word(self, value: Any) -> int:
        """The number, or the array's address."""
        if isinstance(value, np.ndarray):
            self.kept.append(np.ascontiguousarray(value))
            return int(self.kept[-1].ctypes.data)
        return int(value)

    def call(self, routine: Any, words: dict[int, Any]) -> None:
        """Adds a call; `words` over those that every routine has."""
        walk, wide = self.walk, self.panels * self.columns * 4
        common = {
            O.X: 0,
            O.SIZE: self.x.strides[0],
            O.BASE: np.zeros(1, np.int64),
            O.PLACES: 1,
            O.PIECES: walk.pieces,
            O.BLOCKS: walk.blocks,
            O.COUNT: len(walk.blocks),
            O.OUT: self.at[1],
            O.STRIDE: wide,
            O.ADDRESSES: self.at[2],
            O.SHIFT: 0,
            O.OFFSET: 0,
            O.END: np.zeros(wide // 4, np.int32),
            O.END_LOW: INT32[0],
            O.END_HIGH: INT32[1],
            C.LIST: self.at[3],
            C.COUNTS: self.at[4],
        }
        table = np.zeros(30, np.int64)
        for index, value in (common | words).items():
            table[index] = self.word(value)
        self.kept.append(table)
        self.calls.append((address(routine), table.ctypes.data))

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
        flagged, seen = self.arena[self.at[4] :].view(np.int64)[:2].tolist()
        return flagged, seen


def packed(weight: np.ndarray, columns: int) -> dict[int, Any]:
    """The parameters of packed weights."""
    return {O.WEIGHTS: weight, O.PANELS: len(weight), O.PANEL_BYTES: weight[0].nbytes}


def ended(end: np.ndarray | None, limits: tuple[int, int], columns: int) -> dict[int, Any]:
    """The parameters of what is added at the end."""
    if end is None:
        return {}
    return {O.END: pack_columns(end, columns, np.int32), O.END_LOW: limits[0], O.END_HIGH: limits[1]}


def registers(found: Lane, weight: np.ndarray, walk: Walk, columns: int, start: np.ndarray) -> dict[int, Any]:
    """The parameters of registers that saturate after every product."""
    single = pack_single(weight.astype(np.int64) << found.shift_w, walk, columns, found.bits)
    lanes = pack_columns(found.held(start), columns, np.int16 if found.bits == 16 else np.int32)
    return {
        **packed(single, columns),
        O.START: lanes,
        O.SHIFT: found.shift,
        O.OFFSET: found.offset,
        O.LOW: found.low,
        O.HIGH: found.high,
    }


def watched(found: Watch, weight: np.ndarray, walk: Walk, columns: int, start: np.ndarray) -> dict[int, Any]:
    """The parameters of wide sums of pairs that are checked."""
    return {
        **packed(pack_pairs(weight, walk, columns), columns),
        O.START: pack_columns(start, columns, np.int32),
        C.CLASSES: len(found.extremes),
        C.EXTREMES: found.extremes,
        C.OFF: found.off,
        C.ROOM: found.room,
    }


def reference(
    x: np.ndarray, w: np.ndarray, start: np.ndarray, limits: tuple[int, int], end: np.ndarray | int = 0, last: Any = INT32
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
