"""Sums in the machine's own order planned: what saturates depends on it."""

from functools import partial

import numpy as np
from msgspec.structs import replace

from intsim.engine.accumulator import (
    CLAMPS,
    NONE,
    WRAPS,
    Counts,
    Free,
    Ordered,
    Site,
    Sums,
    centred,
    close,
    finish,
    hull,
    shortened,
)
from intsim.engine.codes import cast_code, overflow_code
from intsim.engine.operands import INT16, INT32, AddProducts, centred_weights, grouped, later, paired, within
from intsim.integers import Overflow
from intsim.ranges import Interval
from intsim.ranges import limits as register_limits


def ordered(site: Site) -> Ordered | None:
    """One or two saturating levels in int32: clamp(sum + clamp(tile)), where the bounds permit it."""
    dot, found = site.dot, site.found
    if dot.mac.multiplier is not None:
        return None
    limits = _clamp_limits(site)
    w = centred_weights(dot) if not site.folded else dot.weight
    x = site.x if site.folded else centred(site)
    if limits is None or not (within(x, INT16) and within((int(w.min()), int(w.max())), INT16)):
        return None
    tile, inner, outer, wraps = limits
    ending = finish(site, wraps)
    if ending is None or ending[1].dtype is not np.int32 or not within(hull(found.owed), INT32):
        return None
    start = np.zeros(len(dot.bias), np.int64)
    if dot.bias_rule.when == "init":
        if (found.owed[0] != found.owed[1]).any():
            return None
        held = found.owed[0] if outer == INT32 else np.clip(found.owed[0], *outer)
        start = held.astype(np.int64)
    return Ordered(
        tile=tile,
        inner=inner,
        outer=outer,
        start=start,
        ends=ending[1].ends,
        folded=site.folded,
        order=dot.mac.order,
    )


def clamping(site: Site) -> Sums | None:
    """The same sums on arrays."""
    order = ordered(site)
    if order is None:
        return None
    kernel, add = _clamped(site, order)
    start = order.start.astype(np.int32)
    ends = Free(start=order.start, dtype=np.int32, ends=order.ends)

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc = np.empty((len(x) * site.places, len(start)), np.int32)
        acc[:] = start
        add(x, acc)
        close(ends, acc)
        return acc, NONE

    return Sums(kernel=kernel, why="it may saturate", run=run, value=hull(site.found.value))


def pairs(site: Site) -> Free | None:
    """The sums where two products of raw integers at a time saturate at 16 bits and the rest is free."""
    dot, found = site.dot, site.found
    levels = dot.mac.levels
    if len(levels) != 2 or site.count or not site.folded or dot.mac.order != "hwc" or not found.cast.all():
        return None
    inner, outer = levels
    if (inner.size, inner.bits, inner.overflow, inner.first_only) != (2, 16, Overflow.SATURATE, False):
        return None
    free = outer.bits is None or found.fits[-1].all()
    if free and not within(hull(found.outer), INT32):
        return None
    if not free and (outer.overflow not in WRAPS or (outer.bits or 64) > 32):
        return None
    ending = finish(site, np.inf if free else outer.bits or np.inf)
    if ending is None or ending[1].dtype is not np.int32 or (found.owed[0] != found.owed[1]).any():
        return None
    start = found.owed[0].astype(np.int64) if dot.bias_rule.when == "init" else np.zeros_like(dot.bias)
    return shortened(replace(ending[1], start=start))


def _clamped(site: Site, order: Ordered) -> tuple[str, AddProducts]:
    """The kernel that adds tiles to accumulators: a faster one for pairs of small products clamped to 16 bits."""
    from intsim_kernels.ordered import clamped

    dot, x = site.dot, site.x if site.folded else centred(site)
    w = dot.weight if site.folded else centred_weights(dot)
    tile, inner, outer = order.tile, order.inner, order.outer
    products = [a * b for a in x for b in (int(w.min()), int(w.max()))]
    if dot.group == 1 and (tile, inner, outer) == (2, INT16, INT32) and within((min(products), max(products)), INT16):
        return "pairs", later(partial(paired, dot, site.shape, site.folded))
    ends = [np.int32(v) for v in (*inner, *outer)]

    def packed() -> AddProducts:
        ops = grouped(dot, site.shape, centred=not site.folded, dtype=np.int16)

        def add(x: np.ndarray, acc: np.ndarray) -> None:
            lanes = ops.lanes(x)
            clamped(lanes, ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, ops.weights, tile, *ends, acc)

        return add

    return "clamped", later(packed)


def _clamp_limits(site: Site) -> tuple[int, Interval, Interval, float] | None:
    """Tile size, limits of a tile's sums and of the outer sum, and the bits to which the outer sum wraps; or None.

    Where a level cannot overflow, or wraps within int32, its limits are those of int32 and clamp nothing.
    """
    dot, found = site.dot, site.found
    levels = dot.mac.levels
    if not found.cast.all() or len(levels) > 2 or any(level.first_only for level in levels):
        return None
    inner, tile = INT32, 1
    if len(levels) == 2:
        level, tile = levels[0], levels[0].size or 1
        if found.fits[0].all() or level.bits is None:
            if not within(hull(found.sums[0]), INT32):
                return None
        elif level.overflow in CLAMPS and level.bits <= 31:
            inner = register_limits(level.bits, level.overflow)
        else:
            return None
    level, outer, wraps = levels[-1], INT32, np.inf
    if found.fits[-1].all() or level.bits is None:
        if not within(hull(found.outer), INT32):
            return None
    elif level.overflow in WRAPS and level.bits <= 32:
        wraps = level.bits
    elif level.overflow in CLAMPS and level.bits <= 31:
        outer = register_limits(level.bits, level.overflow)
    else:
        return None
    for limits, items in zip([inner, outer][2 - len(levels) :], found.items, strict=True):
        if limits != INT32 and max(map(abs, limits)) + max(map(abs, hull(items))) > INT32[1]:
            return None
    return tile, inner, outer, wraps


def tree(site: Site) -> Sums:
    """Every register that the machine has, in its order, in int64; the only kernel that counts."""
    from intsim_kernels.tree import tree as kernel

    dot = site.dot
    ops = grouped(dot, site.shape, centred=not site.folded, dtype=np.int32)
    levels = np.array(
        [(v.size or 0, v.bits or 0, overflow_code(v.overflow), v.first_only) for v in dot.mac.levels], np.int64
    )
    owed, zeros = dot.bias, np.zeros(len(dot.bias), np.int64)
    if site.folded:
        zeros = np.array(np.broadcast_to(dot.weight_zero_point, dot.bias.shape))
        k, zx = dot.weight[0].size, dot.input_zero_point
        owed = dot.bias - zx * dot.weight.astype(np.int64).reshape(len(owed), -1).sum(1) + k * zx * zeros
    bits, overflow = site.register
    table = dot.mac.multiplier
    ends = (
        np.zeros((0, 0), np.int32) if table is None else np.array(table.entries),
        cast_code(dot.mac.product),
        levels,
        cast_code(dot.mac.write_back),
        np.array(owed),
        zeros,
        int(dot.bias_rule.when == "init"),
        np.array([bits or 0, overflow_code(overflow)], np.int64),
        int(site.count),
    )

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, counts = np.empty((len(x) * site.places, len(owed)), np.int64), np.zeros(3, np.int64)
        lanes = ops.lanes(x)
        kernel(lanes, ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, ops.weights, *ends, acc, counts)
        return acc, (int(counts[0]), int(counts[1]), int(counts[2]))

    why = "overflows are counted" if site.count else "it may overflow, and the order decides"
    return Sums(kernel="tree", why=why, run=run, value=hull(site.found.value))
