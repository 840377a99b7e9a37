"""An accumulator to be planned: its Dot, its input, what is proven of it, and how its sums end."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.engine.codes import overflow_code
from intsim.engine.operands import INT32, AddProducts, within
from intsim.graph import Shape
from intsim.integers import Overflow
from intsim.program import Dot
from intsim.ranges import Interval, Pair, Registers

WRAPS = (Overflow.WRAP, Overflow.FORBID)
CLAMPS = (Overflow.SATURATE, Overflow.SATURATE_SYM)

Counts = tuple[int, int, int]  # outputs with events, events, persistent: see program.Overflows
NONE: Counts = (0, 0, 0)


class Free(Struct, frozen=True, kw_only=True, eq=False):
    """Sums whose order is free: `start` (int64 `[o]`) and centred products, summed in `dtype`; then the ends in turn.

    An end is (bits, overflow, added `[o]` or None): the register of sum + added.
    """

    start: np.ndarray
    dtype: type
    ends: tuple[tuple[int, Overflow, np.ndarray | None], ...] = ()


class Ordered(Struct, frozen=True, kw_only=True, eq=False):
    """Sums in the machine's own order, in int32: sum = clamp(sum + t) for every tile t = clamp(clamp(p1) + p2) ...

    `tile`: products of one. `inner`, `outer`: the limits of a tile's sums and of the sum; those of int32 clamp nothing,
    there int32 wraps. `start` (int64 `[o]`): inside `outer`. `ends`: as those of `Free`. `folded`: products are of raw
    integers, else of centred ones. `order`: of the products, "hwc" or "chw".
    """

    tile: int
    inner: Interval
    outer: Interval
    start: np.ndarray
    ends: tuple[tuple[int, Overflow, np.ndarray | None], ...]
    folded: bool
    order: str


class Sums(Struct, frozen=True, kw_only=True, eq=False):
    """`run(x[n, ..., c])` gives the accumulators `[n * places, o]`, which lie in `value`, and what overflowed.

    `free`: the same sums in any order, where that is allowed; `pairs`: the same of raw integers, where two products
    at a time saturate at 16 bits, k running over kernel row, kernel column and channel; `ordered`: the same in the
    machine's order; `shifting`: those of products that are shifted one by one.
    """

    kernel: str
    why: str
    run: Callable[[np.ndarray], tuple[np.ndarray, Counts]]
    value: Interval
    free: Free | None = None
    pairs: Free | None = None
    ordered: Ordered | None = None
    shifting: Free | None = None


class Site(Struct, frozen=True, kw_only=True, eq=False):
    """A Dot on samples `shape[..., c]` of integers in x (its padding included), with what is proven of it.

    `folded`: its products are of raw integers. `places`: of the window on one sample. `register`: bits
    (None: exact) and overflow of the bias at the end.
    """

    dot: Dot
    shape: Shape
    x: Interval
    count: bool
    found: Registers
    folded: bool
    places: int
    register: tuple[int | None, Overflow]


def hull(pair: Pair) -> Interval:
    """The least and the largest over all channels."""
    return int(pair[0].min()), int(pair[1].max())


def centred(site: Site) -> Interval:
    """The inputs less their zero point."""
    return site.x[0] - site.dot.input_zero_point, site.x[1] - site.dot.input_zero_point


def finish(site: Site, wraps: float) -> tuple[np.ndarray, Free] | None:
    """What is owed at the end, and how the sums end: the outermost wrap, the bias, its register.

    The start is left 0. A bias at the start is not owed any more. None where what is owed differs from place to place.
    """
    dot, found = site.dot, site.found
    final = hull(found.value)
    first = (0 if wraps == np.inf else int(wraps), Overflow.WRAP, None)
    none = np.zeros_like(dot.bias)
    if dot.bias_rule.when == "init":
        return none, Free(start=none, dtype=np.int32 if within(final, INT32) else np.int64, ends=(first,))
    low, high = found.owed
    if (low != high).any():
        return None
    bits, overflow = site.register
    outer = hull(found.outer)
    total = hull((found.outer[0] + low, found.outer[1] + high))
    modular = bits is not None and bits <= 32 and overflow in WRAPS
    dtype = np.int32 if within(outer, INT32) and (modular or within(total, INT32)) else np.int64
    owed = low.astype(np.int64)
    return owed, Free(start=none, dtype=dtype, ends=(first, (bits or 0, overflow, owed.astype(dtype))))


def narrowest_wrap(site: Site, bits: float) -> float | None:
    """The bits to which the sums wrap, where every level fits or wraps to no more bits than all before it, else None.

    `bits`: of the items. Z to Z/2^N is a ring homomorphism, and 2^N divides 2^M for N <= M: wrapping once will do.
    """
    for level, fits in zip(site.dot.mac.levels, site.found.fits, strict=True):
        wraps = np.inf if level.bits is None or fits.all() else level.bits
        if wraps > bits or (wraps < np.inf and level.overflow not in WRAPS):
            return None
        bits = wraps
    return bits


def close(free: Free, acc: np.ndarray) -> None:
    """The ends, in place."""
    from intsim_kernels.overflow import hold

    for bits, overflow, added in free.ends:
        if added is not None:
            acc += added
        hold(acc.reshape(-1), bits, overflow_code(overflow))


def running(site: Site, free: Free, add: AddProducts) -> Callable[[np.ndarray], tuple[np.ndarray, Counts]]:
    """`Sums.run` of sums whose order is free: `add` puts the products onto what they start from, then the ends."""
    start: np.ndarray = free.start.astype(free.dtype)

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc: np.ndarray = np.empty((len(x) * site.places, len(start)), free.dtype)
        acc[:] = start
        add(x, acc)
        close(free, acc)
        return acc, NONE

    return run


def shortened(free: Free) -> Free:
    """The same sums with fewer ends: where all wrap, and the last is no wider than the others, only the last counts."""
    whole = 8 * np.dtype(free.dtype).itemsize
    bits = [min(bits or whole, whole) for bits, _, _ in free.ends]
    wrap = all(not bits or overflow in WRAPS for bits, overflow, _ in free.ends)
    if not bits or not wrap or min(bits) < bits[-1]:
        return free
    start = free.start + sum(added.astype(np.int64) for _, _, added in free.ends if added is not None)
    last = ((bits[-1], Overflow.WRAP, None),) if bits[-1] < whole else ()
    return replace(free, start=start, ends=last)
