"""Counted sums planned: one or two levels of at most 31 bits in int32; anything else is for the whole tree."""

import numpy as np

from intsim.engine.accumulator import CLAMPS, WRAPS, Counts, Site, Sums, centred, hull
from intsim.engine.codes import overflow_code
from intsim.engine.operands import INT16, INT32, centred_weights, free_products, grouped, within
from intsim.integers import Overflow
from intsim.target import Level

NOTHING = (*INT32, 0)


def counting(site: Site) -> Sums | None:
    """The sums with their overflows, where every register and every add to it stays within int32."""
    from intsim_kernels.counted import counted
    from intsim_kernels.overflow import hold

    dot, found = site.dot, site.found
    registers = _registers(site)
    w = centred_weights(dot) if not site.folded else dot.weight
    x = site.x if site.folded else centred(site)
    if registers is None or not (within(x, INT16) and within((int(w.min()), int(w.max())), INT16)):
        return None
    low, high = found.owed
    if (low != high).any():
        return None
    owed = low.astype(np.int64)
    ops = grouped(dot, site.shape, centred=not site.folded, dtype=np.int16)
    inner, outer = (np.array(numbers, np.int32) for numbers in registers)
    tile = (dot.mac.levels[0].size or 0) if len(dot.mac.levels) == 2 else 0
    init, level = dot.bias_rule.when == "init", dot.mac.levels[-1]
    bits, overflow = (level.bits, level.overflow) if init else site.register
    start = owed.copy() if init else np.zeros_like(owed)
    hold(start, (level.bits or 0) if init else 0, overflow_code(level.overflow))
    _, add_exact = free_products(dot, site.shape, centred(site), np.int64)

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, events = (np.empty((len(x) * site.places, len(owed)), np.int32) for _ in range(2))
        acc[:] = start
        events[:] = (start != owed) if init else 0
        lanes = ops.lanes(x)
        counted(
            lanes,
            ops.at.size,
            ops.at.base,
            ops.taps,
            ops.stride,
            ops.lane,
            ops.weights,
            tile,
            inner,
            outer,
            acc,
            events,
        )
        total = acc.astype(np.int64)
        if not init:
            total += owed
            last = total.copy()
            hold(last.reshape(-1), bits or 0, overflow_code(overflow))
            events += last != total
            total = last
        return total, (int((events > 0).sum()), int(events.sum()), _persistent(x))

    def _persistent(x: np.ndarray) -> int:
        if found.exact.all():
            return 0
        exact = np.empty((len(x) * site.places, len(owed)), np.int64)
        exact[:] = dot.bias
        add_exact(x, exact)
        limit = 1 << (level.bits or 64) - 1
        return int(((exact < -limit) | (exact >= limit)).sum())

    return Sums(kernel="counted", why="overflows are counted", run=run, value=hull(found.value))


def _registers(site: Site) -> tuple[tuple[int, int, int], tuple[int, int, int]] | None:
    """(low, high, spare bits) of a tile's register and of the outer one, as the kernel takes them."""
    found, levels = site.found, site.dot.mac.levels
    if not found.cast.all() or len(levels) > 2 or any(level.first_only for level in levels):
        return None
    numbers = []
    for level, fits, items, sums in zip(levels, found.fits, found.items, found.sums, strict=True):
        if level.bits is None or fits.all():
            if not within(hull(sums), INT32):
                return None
            numbers.append(NOTHING)
        else:
            kept = _register(level)
            if kept is None or (1 << level.bits - 1) + max(map(abs, hull(items))) > INT32[1]:
                return None
            numbers.append(kept)
    return (numbers[0], numbers[1]) if len(numbers) == 2 else (NOTHING, numbers[0])


def _register(level: Level) -> tuple[int, int, int] | None:
    assert level.bits is not None
    if level.bits > 31:
        return None
    high = (1 << level.bits - 1) - 1
    if level.overflow in WRAPS:
        return (*INT32, 32 - level.bits)
    if level.overflow in CLAMPS:
        return (-high - (level.overflow is not Overflow.SATURATE_SYM), high, 0)
    return None
