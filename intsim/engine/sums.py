"""Sums of products planned: plain kernels where no order matters, the machine's own order where it does."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.engine.codes import cast_code, cast_takes, overflow_code
from intsim.engine.operands import INT16, INT32, centred_weights, free_products, grouped, within
from intsim.graph import Shape
from intsim.integers import Overflow
from intsim.ops.dot import accumulators, shape_of_dot
from intsim.program import Dot
from intsim.ranges import Interval, Pair, Registers, registers

LIMIT = 1 << 61
WRAPS = (Overflow.WRAP, Overflow.FORBID)
CLAMPS = (Overflow.SATURATE, Overflow.SATURATE_SYM)

Counts = tuple[int, int, int]  # outputs with events, events, persistent: see program.Overflows
NONE: Counts = (0, 0, 0)


class Sums(Struct, frozen=True, kw_only=True, eq=False):
    """`run(x[n, ..., c])` gives the accumulators `[n * places, o]`, which lie in `value`, and what overflowed."""

    kernel: str
    why: str
    run: Callable[[np.ndarray], tuple[np.ndarray, Counts]]
    value: Interval


class _Site(Struct, frozen=True, kw_only=True, eq=False):
    """A Dot on samples `shape[..., c]` of integers in x (its padding included), with what is proven of it.

    `folded`: its products are of raw integers. `places`: of the window on one sample. `register`: bits (None: exact) and overflow of the bias at the end.
    """

    dot: Dot
    shape: Shape
    x: Interval
    count: bool
    found: Registers
    folded: bool
    places: int
    register: tuple[int | None, Overflow]


def plan_sums(dot: Dot, shape: Shape, x: Interval, count: bool) -> Sums:
    """The accumulators of a Dot over samples `shape[..., c]` of integers in x; `count`: with what overflows."""
    if any(dot.window.begin + dot.window.end):
        x = min(x[0], dot.input_zero_point), max(x[1], dot.input_zero_point)
    if max(map(abs, x)) >= 1 << 30 or dot.weight.dtype.itemsize > 2 or np.abs(dot.bias).max() >= LIMIT:
        return _python(dot, "operands or a bias beyond 32 bits")
    if len(dot.window.kernel) > 2:
        return _python(dot, "a window of more than two axes")
    found = registers(dot, *x)
    if not cast_takes(dot.mac.product) or _reach([*found.sums, *found.items, found.owed, found.value]) >= LIMIT:
        return _python(dot, "sums beyond 64 bits")
    outer, rule = dot.mac.levels[-1], dot.bias_rule
    site = _Site(
        dot=dot,
        shape=shape,
        x=x,
        count=count,
        found=found,
        folded=dot.mac.zero_point == "folded",
        places=int(np.prod(shape_of_dot(dot, shape)[:-1])),
        register=(outer.bits, outer.overflow) if rule.bits is None else (rule.bits, rule.overflow),
    )
    return _chosen(site)


def _chosen(site: _Site) -> Sums:
    dot, found = site.dot, site.found
    proven = np.logical_and.reduce([*found.fits, found.cast, found.end])
    if site.count:
        proven &= found.exact
    if proven.all():
        return _exact(site)
    if not site.count and (planned := _wrapped(site)) is not None:
        return planned
    if dot.group == 1 and proven.any():
        return _divided(site, proven)
    if not site.count and (planned := _clamped(site)) is not None:
        return planned
    return _tree(site)


def _reach(pairs: list[Pair]) -> int:
    return max(max(-int(low.min()), int(high.max())) for low, high in pairs)


def _hull(pair: Pair) -> Interval:
    return int(pair[0].min()), int(pair[1].max())


def _centred(site: _Site) -> Interval:
    return site.x[0] - site.dot.input_zero_point, site.x[1] - site.dot.input_zero_point


def _python(dot: Dot, why: str) -> Sums:
    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, seen = accumulators(dot, x.astype(object))
        return acc.reshape(-1, len(dot.weight)), (seen.outputs, seen.adds, seen.persistent)

    return Sums(kernel="python", why=why, run=run, value=(-(1 << 200), 1 << 200))


# ---- any order -------------------------------------------------------------------------------------------------


def _exact(site: _Site) -> Sums:
    """Sums that no register can change."""
    value = _hull(site.found.value)
    dtype = np.int32 if within(value, INT32) else np.int64  # partial sums may wrap: they come back
    kernel, add = free_products(site.dot, site.shape, _centred(site), dtype)
    start = site.dot.bias.astype(dtype)

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc = np.empty((len(x) * site.places, len(start)), dtype)
        acc[:] = start
        add(x, acc)
        return acc, NONE

    return Sums(kernel=kernel, why="no register can overflow", run=run, value=value)


def _wrapped(site: _Site) -> Sums | None:
    """Sums whose every level wraps, the outer ones no wider: exact sums, wrapped once at the end.

    Z to Z/2^N is a ring homomorphism, and 2^N divides 2^M for N <= M, so wrapping on the way changes nothing.
    """
    dot, found = site.dot, site.found
    if not found.cast.all():
        return None
    narrowest: float = np.inf
    for level, fits in zip(dot.mac.levels, found.fits, strict=True):
        bits = np.inf if level.bits is None or fits.all() else level.bits
        if bits > narrowest or (bits < np.inf and level.overflow not in WRAPS):
            return None
        narrowest = bits
    finish = _finish(site, narrowest)
    if finish is None:
        return None
    owed, dtype, close = finish
    kernel, add = free_products(dot, site.shape, _centred(site), dtype)
    start = (dot.bias - owed).astype(dtype)  # from centred products to what the machine's register holds

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc: np.ndarray = np.empty((len(x) * site.places, len(start)), dtype)
        acc[:] = start
        add(x, acc)
        close(acc)
        return acc, NONE

    why = "every level wraps, the outer ones no wider: wrapped once at the end"
    return Sums(kernel=f"{kernel}, wrapped", why=why, run=run, value=_hull(found.value))


def _finish(site: _Site, wraps: float) -> tuple[np.ndarray, type, Callable[[np.ndarray], None]] | None:
    """What is owed at the end, the accumulators' type, and the end: the outermost wrap, the bias, its register.

    A bias at the start is not owed any more. None where what is owed differs from place to place.
    """
    from intsim_kernels.overflow import hold

    dot, found = site.dot, site.found
    final = _hull(found.value)
    first = 0 if wraps == np.inf else int(wraps)
    if dot.bias_rule.when == "init":
        dtype = np.int32 if within(final, INT32) else np.int64
        return np.zeros_like(dot.bias), dtype, lambda acc: hold(acc.reshape(-1), first, 0)
    low, high = found.owed
    if (low != high).any():
        return None
    bits, overflow = site.register
    outer = _hull(found.outer)
    total = _hull((found.outer[0] + low, found.outer[1] + high))
    modular = bits is not None and bits <= 32 and overflow in WRAPS
    dtype = np.int32 if within(outer, INT32) and (modular or within(total, INT32)) else np.int64
    owed = low.astype(np.int64)
    added, last, code = owed.astype(dtype), bits or 0, overflow_code(overflow)

    def close(acc: np.ndarray) -> None:
        hold(acc.reshape(-1), first, 0)
        acc += added
        hold(acc.reshape(-1), last, code)

    return owed, dtype, close


# ---- some channels proven, some not ----------------------------------------------------------------------------


def _divided(site: _Site, proven: np.ndarray) -> Sums:
    """The channels that cannot overflow by the plain kernel, the others in their order."""
    dot = site.dot
    parts = [np.flatnonzero(proven), np.flatnonzero(~proven)]

    def part(index: np.ndarray) -> Dot:
        zero = dot.weight_zero_point
        return replace(
            dot,
            weight=dot.weight[index],
            bias=dot.bias[index],
            weight_zero_point=zero[index] if len(zero) > 1 else zero,
        )

    plans = [plan_sums(part(index), site.shape, site.x, site.count) for index in parts]

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        (free, _), (bound, counts) = plans[0].run(x), plans[1].run(x)
        acc: np.ndarray = np.empty((len(free), len(proven)), np.result_type(free, bound))
        acc[:, parts[0]], acc[:, parts[1]] = free, bound
        return acc, counts

    return Sums(
        kernel=f"{plans[0].kernel} + {plans[1].kernel}",
        why=f"{len(parts[0])} of {len(proven)} channels cannot overflow; {plans[1].why}",
        run=run,
        value=(min(p.value[0] for p in plans), max(p.value[1] for p in plans)),
    )


# ---- the machine's order ---------------------------------------------------------------------------------------


def _clamped(site: _Site) -> Sums | None:
    """One or two saturating levels in int32: clamp(sum + clamp(tile)), where the bounds permit it."""
    from intsim_kernels.ordered import clamped

    dot, found = site.dot, site.found
    limits = _clamp_limits(site)
    w = centred_weights(dot) if not site.folded else dot.weight
    x = site.x if site.folded else _centred(site)
    if limits is None or not (within(x, INT16) and within((int(w.min()), int(w.max())), INT16)):
        return None
    tile, inner, outer, wraps = limits
    finish = _finish(site, wraps)
    if finish is None or finish[1] is not np.int32:
        return None
    close = finish[2]
    ops = grouped(dot, site.shape, centred=not site.folded, dtype=np.int16)
    start = np.zeros(len(dot.bias), np.int32)
    if dot.bias_rule.when == "init":
        if (found.owed[0] != found.owed[1]).any():
            return None
        held = found.owed[0] if outer == INT32 else np.clip(found.owed[0], *outer)
        start = held.astype(np.int64).astype(np.int32)
    ends = [np.int32(v) for v in (*inner, *outer)]

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc = np.empty((len(x) * site.places, len(start)), np.int32)
        acc[:] = start
        lanes = ops.lanes(x)
        clamped(lanes, ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, ops.weights, tile, *ends, acc)
        close(acc)
        return acc, NONE

    return Sums(kernel="clamped", why="it may saturate", run=run, value=_hull(found.value))


def _clamp_limits(site: _Site) -> tuple[int, Interval, Interval, float] | None:
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
            if not within(_hull(found.sums[0]), INT32):
                return None
        elif level.overflow in CLAMPS and level.bits <= 31:
            inner = _limits(level.bits, level.overflow)
        else:
            return None
    level, outer, wraps = levels[-1], INT32, np.inf
    if found.fits[-1].all() or level.bits is None:
        if not within(_hull(found.outer), INT32):
            return None
    elif level.overflow in WRAPS and level.bits <= 32:
        wraps = level.bits
    elif level.overflow in CLAMPS and level.bits <= 31:
        outer = _limits(level.bits, level.overflow)
    else:
        return None
    for limits, items in zip([inner, outer][2 - len(levels) :], found.items, strict=True):
        if limits != INT32 and max(map(abs, limits)) + max(map(abs, _hull(items))) > INT32[1]:
            return None
    return tile, inner, outer, wraps


def _limits(bits: int, overflow: Overflow) -> Interval:
    high = (1 << (bits - 1)) - 1
    return -high - (overflow is not Overflow.SATURATE_SYM), high


def _tree(site: _Site) -> Sums:
    """Every register that the machine has, in its order, in int64; the only kernel that counts."""
    from intsim_kernels.ordered import tree

    dot = site.dot
    ops = grouped(dot, site.shape, centred=not site.folded, dtype=np.int32)
    levels = np.array(
        [(v.size or 0, v.bits or 0, overflow_code(v.overflow), v.first_only) for v in dot.mac.levels], np.int64
    )
    owed, zeros = dot.bias, np.zeros(len(dot.bias), np.int64)
    if site.folded:
        zeros = np.ascontiguousarray(np.broadcast_to(dot.weight_zero_point, dot.bias.shape))
        k, zx = dot.weight[0].size, dot.input_zero_point
        owed = dot.bias - zx * dot.weight.astype(np.int64).reshape(len(owed), -1).sum(1) + k * zx * zeros
    bits, overflow = site.register
    ends = (
        cast_code(dot.mac.product),
        levels,
        np.ascontiguousarray(owed),
        zeros,
        int(dot.bias_rule.when == "init"),
        np.array([bits or 0, overflow_code(overflow)], np.int64),
        int(site.count),
    )

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, counts = np.empty((len(x) * site.places, len(owed)), np.int64), np.zeros(3, np.int64)
        lanes = ops.lanes(x)
        tree(lanes, ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane, ops.weights, *ends, acc, counts)
        return acc, (int(counts[0]), int(counts[1]), int(counts[2]))

    why = "overflows are counted" if site.count else "it may overflow, and the order decides"
    return Sums(kernel="tree", why=why, run=run, value=_hull(site.found.value))
