"""How near a register's limits a wide sum may come at the ends of blocks: the tables of `intsim_kernels.checked_tile`.

The proof stands there.
"""

import numpy as np
from msgspec import Struct

from intsim.engine.packing import Walk, pack_columns
from intsim.ranges import Interval

_WRAP = 1 << 32
ENOUGH = 0.55
"""Of the register, as room: where few rows fail."""


class Watch(Struct, frozen=True, kw_only=True, eq=False):
    """For c classes of operands, the narrowest first: what the check adds, and what it then allows.

    `extremes` int64 `[c, 2]`: of the operands, as the kernel's tensor holds them. `off` int32 `[c][panel][block]
    [column]`. `room` int64 `[c][panel]`, below 0 where no sum could prove anything.
    """

    extremes: np.ndarray
    off: np.ndarray
    room: np.ndarray


def watch(
    weight: np.ndarray,
    walk: Walk,
    columns: int,
    x: Interval,
    start: np.ndarray,
    limits: Interval,
    *,
    zero: int = 0,
    classes: int = 1,
    worth: float = 0.3,
) -> Watch:
    """The check of sums of `(operand - zero) * weight` in a register `limits` that starts from `start`.

    `weight` `[outputs, k]` in the machine's order, `x`: bounds of the operands as held, padding included. The lanes
    start from start - zero * sum of the weights, so that they end with what is meant. Each narrower class halves the
    bounds of operand - zero. A room of less than `worth` of the register is not worth a try: it becomes -1.
    ValueError where `start` is outside the limits: it passes the register first.
    """
    low, high = limits
    if (start < low).any() or (start > high).any():
        raise ValueError(f"the register starts from {start.min()}..{start.max()}, outside {low}..{high}")
    w = weight.astype(np.int64)
    ends = np.cumsum(walk.groups)
    taken = np.where(walk.index >= 0, w[:, walk.index], 0).reshape(len(w), len(walk.index), -1)
    blocks = [part.reshape(len(w), -1) for part in np.split(taken, ends[:-1], axis=1)]
    before = np.cumsum([part.sum(1) for part in blocks], axis=0)
    lane = zero * (before - before[-1])  # what a lane has more than the sum, after each block
    true = (min(x[0] - zero, 0), max(x[1] - zero, 0))
    extremes, off, room = [], [], []
    for c in reversed(range(classes)):
        bounds = -(-true[0] >> c), true[1] >> c
        least, most, wide = _ends(blocks, bounds, start, low, high)
        free = np.where(wide, -1, most - least)
        each = _panels(free, columns, _WRAP).min((0, 2))
        begin = _placed(least, free, np.repeat(each, columns)[: len(w)])
        held = np.stack([pack_columns(row, columns, np.int64) for row in -begin - lane])
        off.append(_wrapped(held).reshape(len(blocks), -1, columns).transpose(1, 0, 2))
        room.append(np.where(each < worth * (high - low), -1, each))
        extremes.append((bounds[0] + zero, bounds[1] + zero))
    return Watch(
        extremes=np.array(extremes, np.int64), off=np.ascontiguousarray(np.stack(off)), room=np.array(room, np.int64)
    )


# Products of a block, and how long wide sums checked at their ends take, wide sums being 1.
LENGTHS = {64: 1.09, 32: 1.15, 16: 1.25, 8: 1.45}
AGAIN = 3.6
"""How long sums take that saturate after every product; 1.5 in lanes of 16 bits."""


def expected(size: int, flagged: float, again: float = AGAIN) -> float:
    """How long checked sums take in blocks of `size` products, where so many of the rows are done again."""
    return LENGTHS[size] + flagged * again


def first_guess(rooms: dict[int, Watch], limits: Interval) -> int | None:
    """Which length of blocks, before anything is seen: the longest that leaves most of the register as room, or 16.

    None: no length leaves any class of rows any room.
    """
    usable = [size for size in LENGTHS if (rooms[size].room >= 0).any()]
    enough = [size for size in usable if np.median(rooms[size].room[-1]) >= ENOUGH * (limits[1] - limits[0])]
    if enough:
        return enough[0]
    return None if not usable else 16 if 16 in usable else usable[-1]


def _ends(
    blocks: list[np.ndarray], x: Interval, start: np.ndarray, low: int, high: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The least and the largest allowed sum at the end of each block `[b, o]`, and where a lane might wrap."""
    up, down, wide = [], [], []
    for b, w in enumerate(blocks):
        products = np.minimum(w * x[0], w * x[1]), np.maximum(w * x[0], w * x[1])
        at_least, at_most = (np.cumsum(p, axis=1) for p in products)
        left_least, left_most = (side[:, -1:] - side for side in (at_least, at_most))
        # After j products: at most u above the block's start, at most v above its end; the mirror below.
        above, below = np.minimum(at_most, -left_least), np.minimum(-at_least, left_most)
        if b == 0:
            above = np.where(start[:, None] + at_most > high, -left_least, 0)
            below = np.where(start[:, None] + at_least < low, left_most, 0)
        up.append(np.maximum(above.max(1), 0))
        down.append(np.maximum(below.max(1), 0))
        reach = np.maximum(np.abs(at_least[:, -1]), np.abs(at_most[:, -1]))
        wide.append(reach >= _WRAP - (high - low))
    # An end is also the next block's start. The first block's start is known.
    up, down = (np.maximum(np.stack(side), np.stack([*side[1:], 0 * side[0]])) for side in (up, down))
    return low + down, high - up, np.stack(wide)


def _placed(least: np.ndarray, free: np.ndarray, room: np.ndarray) -> np.ndarray:
    """Where a room begins at the end of each block `[b, o]`: as much as it may where it does at the tightest one."""
    tightest, outputs = free.argmin(0), np.arange(free.shape[1])
    target = least[tightest, outputs] + (free[tightest, outputs] - room) // 2
    return np.minimum(np.maximum(target, least), least + free - room)


def _panels(values: np.ndarray, columns: int, fill: int) -> np.ndarray:
    """`[b, o]` as `[b, panels, columns]`."""
    missing = -values.shape[1] % columns
    return np.pad(values, ((0, 0), (0, missing)), constant_values=fill).reshape(len(values), -1, columns)


def _wrapped(values: np.ndarray) -> np.ndarray:
    """Modulo 2^32, as int32."""
    return (values & (_WRAP - 1)).astype(np.uint32).view(np.int32)
