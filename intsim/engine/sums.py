"""Sums of products planned: plain kernels where no order matters, the machine's own order where it does."""

import numpy as np
from msgspec.structs import replace

from intsim.engine.accumulator import NONE, WRAPS, Counts, Site, Sums, centred, finish, hull
from intsim.engine.codes import cast_takes
from intsim.engine.counting import counting
from intsim.engine.operands import INT32, free_products, within
from intsim.engine.ordered import clamping, tree
from intsim.graph import Shape
from intsim.ops.dot import accumulators, shape_of_dot
from intsim.program import Dot
from intsim.ranges import Interval, Pair, registers

LIMIT = 1 << 61


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
    site = Site(
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


def _chosen(site: Site) -> Sums:
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
    planned = counting(site) if site.count else clamping(site)
    if planned is not None:
        return planned
    return tree(site)


def _reach(pairs: list[Pair]) -> int:
    return max(max(-int(low.min()), int(high.max())) for low, high in pairs)


def _python(dot: Dot, why: str) -> Sums:
    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, seen = accumulators(dot, x.astype(object))
        return acc.reshape(-1, len(dot.weight)), (seen.outputs, seen.adds, seen.persistent)

    return Sums(kernel="python", why=why, run=run, value=(-(1 << 200), 1 << 200))


# ---- any order -------------------------------------------------------------------------------------------------


def _exact(site: Site) -> Sums:
    """Sums that no register can change."""
    value = hull(site.found.value)
    dtype = np.int32 if within(value, INT32) else np.int64  # partial sums may wrap: they come back
    kernel, add = free_products(site.dot, site.shape, centred(site), dtype)
    start = site.dot.bias.astype(dtype)

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc = np.empty((len(x) * site.places, len(start)), dtype)
        acc[:] = start
        add(x, acc)
        return acc, NONE

    return Sums(kernel=kernel, why="no register can overflow", run=run, value=value)


def _wrapped(site: Site) -> Sums | None:
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
    ending = finish(site, narrowest)
    if ending is None:
        return None
    owed, dtype, close = ending
    kernel, add = free_products(dot, site.shape, centred(site), dtype)
    start = (dot.bias - owed).astype(dtype)  # from centred products to what the machine's register holds

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc: np.ndarray = np.empty((len(x) * site.places, len(start)), dtype)
        acc[:] = start
        add(x, acc)
        close(acc)
        return acc, NONE

    why = "every level wraps, the outer ones no wider: wrapped once at the end"
    return Sums(kernel=f"{kernel}, wrapped", why=why, run=run, value=hull(found.value))


# ---- some channels proven, some not ----------------------------------------------------------------------------


def _divided(site: Site, proven: np.ndarray) -> Sums:
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
