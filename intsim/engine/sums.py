"""Sums of products planned: plain kernels where no order matters, the machine's own order where it does."""

from functools import partial

import numpy as np
from msgspec.structs import replace

from intsim.engine.accumulator import (
    NONE,
    Counts,
    Free,
    Site,
    Sums,
    centred,
    finish,
    hull,
    narrowest_wrap,
    running,
    shortened,
)
from intsim.engine.codes import cast_code, cast_takes, overflow_code
from intsim.engine.counting import counting
from intsim.engine.operands import INT32, AddProducts, free_products, later, within
from intsim.engine.ordered import clamping, ordered, pairs, tree
from intsim.engine.shifting import shifting
from intsim.engine.table import table_products
from intsim.graph import Shape
from intsim.ops.dot import accumulators, shape_of_dot
from intsim.program import Dot
from intsim.ranges import Interval, Pair, exact_sum, registers

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
    exact = exact_sum(dot, *x) if count else found.value
    met = [*found.sums, *found.items, found.owed, found.outer, found.value, exact]
    if not (cast_takes(dot.mac.product) and cast_takes(dot.mac.write_back)) or _reach(met) >= LIMIT:
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
    if not found.back.all():
        return _written(site, x)
    sums = _chosen(site)
    if sums.free is not None or count:
        return sums
    return replace(sums, pairs=pairs(site), ordered=ordered(site))


def _chosen(site: Site) -> Sums:
    dot, found = site.dot, site.found
    proven = np.logical_and.reduce([*found.fits, found.cast, found.back, found.end])
    if site.count:
        proven &= found.exact
    if proven.all():
        return _exact(site)
    if not site.count and (planned := _wrapped(site) or shifting(site)) is not None:
        return planned
    if dot.group == 1 and proven.any():
        return _divided(site, proven)
    planned = None
    if dot.mac.multiplier is None:
        planned = counting(site) if site.count else clamping(site)
    return tree(site) if planned is None else planned


def _reach(pairs: list[Pair]) -> int:
    return max(max(-int(low.min()), int(high.max())) for low, high in pairs)


def _python(dot: Dot, why: str) -> Sums:
    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        acc, seen = accumulators(dot, x.astype(object))
        return acc.reshape(-1, len(dot.weight)), (seen.outputs, seen.adds, seen.persistent)

    return Sums(kernel="python", why=why, run=run, value=(-(1 << 200), 1 << 200))


def _products(site: Site, dtype: type) -> tuple[str, AddProducts]:
    """The fastest kernel that adds products, and what the zero points owe, in any order; int32 sums may wrap."""
    if site.dot.mac.multiplier is not None:
        return "table", later(partial(table_products, site.dot, site.shape, site.x, dtype))
    return free_products(site.dot, site.shape, centred(site), dtype)


def _known(site: Site, free: Free) -> Free | None:
    """What `free` says, where the products are exact: a table's are for its own kernel only."""
    return free if site.dot.mac.multiplier is None else None


# ---- any order -------------------------------------------------------------------------------------------------


def _exact(site: Site) -> Sums:
    """Sums that no register can change."""
    value = hull(site.found.value)
    dtype = np.int32 if within(value, INT32) else np.int64  # partial sums may wrap: they come back
    kernel, add = _products(site, dtype)
    free = Free(start=site.dot.bias, dtype=dtype)
    run = running(site, free, add)
    return Sums(kernel=kernel, why="no register can overflow", run=run, value=value, free=_known(site, free))


def _wrapped(site: Site) -> Sums | None:
    """Sums whose every level wraps, the outer ones no wider: exact sums, wrapped once at the end."""
    dot, found = site.dot, site.found
    if not found.cast.all():
        return None
    narrowest = narrowest_wrap(site, np.inf)
    ending = None if narrowest is None else finish(site, narrowest)
    if ending is None:
        return None
    owed, ends = ending
    free = shortened(replace(ends, start=dot.bias - owed))  # from centred products to what the machine's register holds
    kernel, add = _products(site, free.dtype)
    why = "every level wraps, the outer ones no wider: wrapped once at the end"
    run = running(site, free, add)
    return Sums(kernel=f"{kernel}, wrapped", why=why, run=run, value=hull(found.value), free=_known(site, free))


# ---- sums that are written back to a register ------------------------------------------------------------------


def _written(site: Site, x: Interval) -> Sums:
    """The sums without what comes after them, then their register, then the bias in its own."""
    dot, found = site.dot, site.found
    at_end = dot.bias_rule.when == "end"
    owing = site.folded and bool(dot.input_zero_point or dot.weight_zero_point.any())
    if site.count or (at_end and owing):
        return tree(site)
    rule = replace(dot.bias_rule, bits=None) if at_end else dot.bias_rule
    bare = replace(
        dot,
        mac=replace(dot.mac, write_back=None),
        bias_rule=rule,
        bias=np.zeros_like(dot.bias) if at_end else dot.bias,
    )
    plan, to, bias = plan_sums(bare, site.shape, x, False), cast_code(dot.mac.write_back), dot.bias
    bits, overflow = site.register

    def run(x: np.ndarray) -> tuple[np.ndarray, Counts]:
        from intsim_kernels.overflow import cast_all, hold

        sums, _ = plan.run(x)
        acc: np.ndarray = np.empty(sums.shape, np.int64)
        cast_all(sums.reshape(-1), to, acc.reshape(-1))
        if at_end:
            acc += bias
            hold(acc.reshape(-1), bits or 0, overflow_code(overflow))
        return acc, NONE

    return Sums(kernel=f"{plan.kernel}, written back", why=plan.why, run=run, value=hull(found.value))


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
