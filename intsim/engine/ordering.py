"""What sums in the machine's order have in common: operands, scratch, and the parameters of their routines."""

import numpy as np
from msgspec import Struct

from intsim.engine.accumulator import CLAMPS, Free, Ordered
from intsim.engine.calls import Call, fitting
from intsim.engine.operands import INT32, centred_weights
from intsim.engine.packing import Walk, pack_columns
from intsim.engine.rooms import Room, windows
from intsim.engine.wide import Block, ends
from intsim.integers import Overflow
from intsim.program import Dot
from intsim.ranges import Interval
from intsim.ranges import limits as register_limits

CLASSES = 4
"""Of rows, by how large their operands are, that a check tells apart at most."""

Words = dict[int, int | np.ndarray]
"""Parameters of a routine, by their place."""


class Site(Struct, frozen=True, kw_only=True, eq=False):
    """The operands of a Dot: weights `w[group][output, k]`, k in the machine's order, and inputs, in bounds `x`.

    An input is what the room `at` holds less `zero`. Its window's integers are runs of `length` at `offsets` (bytes).
    """

    dot: Dot
    order: Ordered
    at: Room
    base: np.ndarray
    w: np.ndarray
    x: Interval
    zero: int
    offsets: np.ndarray
    length: int
    settled: int

    @property
    def bare(self) -> bool:
        """Whether the room holds the inputs as the kernels want them."""
        return self.at.dtype == "int16" and not self.zero

    @property
    def copied_before_checks(self) -> bool:
        """Whether checks want copies: those of a room of int16 take inputs as they lie, but for the order."""
        return self.at.dtype != "int16" or self.spread

    @property
    def copied_after_checks(self) -> bool:
        """Whether only what is done again wants copies."""
        return not self.copied_before_checks and not self.bare

    @property
    def spread(self) -> bool:
        """Whether the runs are too short to be walked one by one."""
        return self.length == 1 and len(self.offsets) > 1


class Scratch(Struct, frozen=True, kw_only=True):
    """Where what a block of `rows` needs lies in scratch: sums come first, rows of `columns`."""

    rows: int
    columns: int
    addresses: int
    others: int
    copies: int
    copy_row: int
    outs: int
    listed: int
    used: int


def site_of(dot: Dot, order: Ordered, x: Interval, at: Room, settled: int) -> Site:
    """The operands of a Dot on the room `at` of integers in x; `settled`: bytes of scratch of each result."""
    w = dot.weight.astype(np.int64) if order.folded else centred_weights(dot)
    depth, found = w.shape[-1], windows(at, dot.window)
    zero = 0 if order.folded else dot.input_zero_point
    w = w.reshape(len(w), -1, depth)
    if order.order == "chw":
        w = w.transpose(0, 2, 1)
        offsets, length = (np.arange(depth)[:, None] * at.item + found.taps.ravel()).ravel(), 1
    else:
        offsets, length = found.taps.ravel(), depth
    offsets, length = _joined(offsets, length, at.item)
    return Site(
        dot=dot,
        order=order,
        at=at,
        base=found.base,
        w=w.reshape(dot.group, len(w) // dot.group, -1),
        x=(x[0] - zero, x[1] - zero),
        zero=zero + at.shift,
        offsets=np.ascontiguousarray(offsets),
        length=length,
        settled=settled,
    )


def _joined(offsets: np.ndarray, length: int, item: int) -> tuple[np.ndarray, int]:
    """Runs that follow each other as one, where that makes runs of the same length again."""
    follows = np.append(np.diff(offsets) == length * item, False)
    together = 1 + int(np.argmin(follows))
    if len(offsets) % together or not follows.reshape(-1, together)[:, :-1].all():
        return offsets, length
    return offsets[::together], length * together


# ---- scratch and parameters --------------------------------------------------------------------------------------


def scratch_of(site: Site, tile: int, *, copied: bool) -> Scratch | None:
    """Scratch for as many rows as fit, None if not even one does. `tile`: columns of a panel; `copied`: rows are."""
    from intsim_kernels.cpu import LANES
    from intsim_kernels.wide import SPARE_ROWS

    groups, each, depth = site.w.shape
    panels = -(-each // tile)
    columns = -(-((groups - 1) * each + panels * tile) // LANES) * LANES
    copy_row = -(-(2 * depth + 32) // 64) * 64 if copied else 0
    per_row = columns * (4 + site.settled) + copy_row + 8 * (1 + 1 + 4 + panels)
    once = SPARE_ROWS * 8 * (1 + 1 + 4) + 8 * (1 + CLASSES) + 8 * 64
    rows = fitting(per_row, once=once)
    if rows < 1:
        return None
    table = 8 * (rows + SPARE_ROWS)
    sizes = (rows * columns * 4, table, table, rows * copy_row, 4 * table + 8 * CLASSES, 8 * (1 + rows * panels))
    begin = np.cumsum([0, *(-(-size // 64) * 64 for size in sizes)]).tolist()
    return Scratch(
        rows=rows,
        columns=columns,
        addresses=begin[1],
        others=begin[2],
        copies=begin[3],
        copy_row=copy_row,
        outs=begin[4],
        listed=begin[5],
        used=begin[6],
    )


def call(routine: object, *parts: Words) -> Call:
    """A call of a routine that takes the parameters of `ordered_tile`; those that are not given are 0."""
    words = {index: word for part in parts for index, word in part.items()}
    return Call(routine=routine, words=tuple(words.get(index, 0) for index in range(max(words) + 1)))


def rows_call(site: Site, scratch: Scratch) -> Call:
    """The rows' addresses in the room."""
    from intsim_kernels.wide import rows_of

    words = (site.at.offset, site.at.size, site.base, len(site.base), scratch.addresses)
    return Call(routine=rows_of, words=words)


def runs(site: Site, g: int, *, copied: bool) -> tuple[np.ndarray, int]:
    """Where the runs of a group's rows are, in bytes, and their length: in the room, or in copies."""
    if copied:
        return np.zeros(1, np.int64), site.w.shape[2]
    return site.offsets + g * site.dot.weight.shape[-1] * site.at.item, site.length


def copies(site: Site, scratch: Scratch, g: int, shift: int, *, listed: bool) -> Call:
    """Copies of the rows of a group, each one run of int16, at the addresses `others`."""
    from intsim_kernels.gathered import gathering_routine

    offsets, length = runs(site, g, copied=False)
    words = (
        scratch.addresses,
        offsets,
        len(offsets),
        length,
        site.zero,
        shift,
        scratch.copies,
        scratch.copy_row,
        scratch.others,
        scratch.listed,
    )
    return Call(routine=gathering_routine(site.at.dtype, listed), words=words)


def walked(walk: Walk) -> Words:
    """The parameters of a walk."""
    from intsim_kernels import ordered_tile as o

    return {o.PIECES: walk.pieces, o.BLOCKS: walk.blocks, o.COUNT: len(walk.blocks)}


def packed(weights: np.ndarray) -> Words:
    """The parameters of packed weights."""
    from intsim_kernels import ordered_tile as o

    return {o.WEIGHTS: weights, o.PANELS: len(weights), o.PANEL_BYTES: weights[0].nbytes}


def own(site: Site, g: int, values: np.ndarray) -> np.ndarray:
    """What stands once for each output, of a group."""
    each = site.w.shape[1]
    return values[g * each : (g + 1) * each]


def _closing(site: Site) -> tuple[np.ndarray, Interval, tuple[tuple[int, Overflow, np.ndarray | None], ...]]:
    """What the kernels add at the end (int64 `[o]`), the limits then, and the ends that are left after that."""
    none = np.zeros(len(site.dot.weight), np.int64)
    found = site.order.ends
    if len(found) == 2 and found[0][0] == 0 and found[0][2] is None:
        bits, overflow, added = found[1]
        if added is not None and (bits == 0 or overflow in CLAMPS):
            limits = register_limits(bits, overflow) if 0 < bits < 32 else INT32
            return added.astype(np.int64), limits, ()
    return none, INT32, found


def common(site: Site, scratch: Scratch, g: int, tile: int) -> Words:
    """The parameters that all routines of a group share; `tile`: columns of a panel."""
    from intsim_kernels import ordered_tile as o

    added, limits, _ = _closing(site)
    return {
        o.ADDRESSES: scratch.addresses,
        o.OUT: g * site.w.shape[1] * 4,
        o.STRIDE: scratch.columns * 4,
        o.OUTS: scratch.outs,
        o.END: pack_columns(own(site, g, added), tile, np.int32),
        o.END_LOW: limits[0],
        o.END_HIGH: limits[1],
    }


def block_of(site: Site, scratch: Scratch, calls: list[Call]) -> Block:
    """The calls, and what is left to be done at the end of the sums."""
    left = _closing(site)[2]
    calls = calls + ends(Free(start=site.order.start, dtype=np.int32, ends=left), scratch.columns, 0)
    return Block(
        calls=tuple(calls),
        dtype="int32",
        source=0,
        columns=scratch.columns,
        rows=len(site.base),
        block=scratch.rows,
        used=scratch.used,
    )
