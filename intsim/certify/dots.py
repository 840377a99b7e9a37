"""Sums of products over a box: which accumulators no input of it overflows, and what they may hold."""

import itertools
from collections.abc import Iterator

import numpy as np
from msgspec import Struct

from intsim.certify.spans import WRAPS, Span, chosen, fits, held, joined, moved, plus, span, times
from intsim.certify.tables import Extremes, extremes
from intsim.integers import Overflow
from intsim.ops.dot import shape_of_dot
from intsim.program import Dot
from intsim.ranges import cannot_overflow
from intsim.target import Cast, Level


class Sums(Struct, frozen=True, kw_only=True, eq=False):
    """What is known of accumulators `[n, *places, o]`.

    `free`: none of its adds overflows. `exact`: so that it holds the exact sum. `exactly`: the ends of that sum.
    `held`: what the accumulator may hold.
    """

    free: np.ndarray
    exact: np.ndarray
    exactly: Span
    held: Span


def dot_sums(dot: Dot, low: np.ndarray, high: np.ndarray) -> Sums:
    """What the accumulators may hold for inputs `[n, *spatial, c]` in low..high, int64."""
    exactly = exact_sums(dot, low, high)
    if dot.mac.multiplier is None and cannot_overflow(dot, int(low.min()), int(high.max())).all():
        everywhere = np.ones(exactly.low.shape, bool)
        return Sums(free=everywhere, exact=everywhere, exactly=exactly, held=exactly)
    return settled(dot, exactly, *_in_order(dot, low, high))


def settled(dot: Dot, exactly: Span, found: Span, free: np.ndarray) -> Sums:
    """The accumulators, whose order of adds gives `found` and `free`, with all that is known of the exact sum."""
    mac = dot.mac
    plain = mac.multiplier is None and not any(to is not None and to.shift for to in (mac.product, mac.write_back))
    exact = free & plain
    if _ring(dot):  # wrapping commutes with adding: the accumulator is the wrapped exact sum, whatever overflowed
        found = held(exactly, mac.levels[-1].bits, Overflow.WRAP)
    return Sums(free=free, exact=exact, exactly=exactly, held=chosen(exact, exactly, found))


def _ring(dot: Dot) -> bool:
    mac = dot.mac
    casts = mac.multiplier is not None or mac.product is not None or mac.write_back is not None
    if casts or dot.bias_rule.bits is not None or any(level.overflow not in WRAPS for level in mac.levels):
        return False
    widths = [1 << 20 if level.bits is None else level.bits for level in mac.levels]
    return all(inner >= outer for inner, outer in itertools.pairwise(widths))


# ---- the exact sum ---------------------------------------------------------------------------------------------


def exact_sums(dot: Dot, low: np.ndarray, high: np.ndarray) -> Span:
    """sum (x - zx)(w - zw) + b, attained at both ends: int64, or Python's integers where that may not hold them."""
    zx, weight = dot.input_zero_point, centred(dot)
    total = weight_reach(dot) * 2 * max(abs(int(low.min()) - zx), abs(int(high.max()) - zx), abs(int(low.min())), 1)
    kind = np.float64 if total < 1 << 52 else object
    both = np.stack([low + high - 2 * zx, high - low]).reshape(-1, *low.shape[1:])
    seen = gathered(dot, both.astype(kind))
    middle, width = seen[: len(low)], seen[len(low) :]
    middle, width = products(dot, middle, weight.astype(kind)), products(dot, width, np.abs(weight).astype(kind))
    twice = [(middle - width), (middle + width)]
    if kind is object:
        return span(*(side // 2 + dot.bias.astype(object) for side in twice))
    return span(*((side / 2).astype(np.int64) + dot.bias for side in twice))


def centred(dot: Dot) -> np.ndarray:
    """The weights less their zero points, int64 `[o, *kernel, c / group]`."""
    zero = dot.weight_zero_point.reshape(-1, *(1,) * (dot.weight.ndim - 1))
    return dot.weight.astype(np.int64) - zero


def weight_reach(dot: Dot) -> int:
    """The largest sum of a channel's weights' magnitudes."""
    return max(1, int(np.abs(centred(dot)).reshape(len(dot.weight), -1).sum(1).max()))


def gathered(dot: Dot, x: np.ndarray) -> np.ndarray:
    """The inputs that each place sees, less their zero point, `[n, *places, taps, c]`; padding is 0."""
    win, places = dot.window, shape_of_dot(dot, x.shape[1:])[:-1]
    padded = np.pad(x, [(0, 0), *zip(win.begin, win.end, strict=True), (0, 0)])
    cuts = [padded[(slice(None), *cut)] for cut in cuts_of(dot, places)]
    return np.stack(cuts, -2) if cuts else padded


def cuts_of(dot: Dot, places: tuple[int, ...]) -> list[tuple[slice, ...]]:
    """Where the padded input lies under each tap, for all places at once."""
    win = dot.window
    return [
        tuple(
            slice(t * d, t * d + (p - 1) * s + 1, s)
            for t, d, s, p in zip(tap, win.dilations, win.strides, places, strict=True)
        )
        for tap in np.ndindex(win.kernel)
    ]


def products(dot: Dot, seen: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """sum w x over what each place sees, `[n, *places, o]`."""
    group, depth, outputs = dot.group, dot.weight.shape[-1], len(weight)
    places = seen.shape[:-2]
    parts = []
    for g in range(group):
        own = weight[g * outputs // group : (g + 1) * outputs // group]
        flat = seen[..., g * depth : (g + 1) * depth].reshape(-1, own[0].size)
        parts.append((flat @ own.reshape(len(own), -1).T).reshape(*places, len(own)))
    return np.concatenate(parts, -1)


# ---- the machine's order ---------------------------------------------------------------------------------------


def _in_order(dot: Dot, low: np.ndarray, high: np.ndarray) -> tuple[Span, np.ndarray]:
    """Every add of (4) done with intervals: what the accumulators hold in the end, and which never overflow."""
    shape = (len(low), *shape_of_dot(dot, low.shape[1:]))
    wide = _reach(dot, low, high) >= 1 << 61
    if wide:
        low, high = low.astype(object), high.astype(object)
    free = np.ones(shape, bool)
    owed = _owed(dot, low, high, shape)
    start = owed if dot.bias_rule.when == "init" else None
    items = _products(dot, low, high, shape)
    if dot.mac.product is not None:
        items = _all_cast(items, dot.mac.product, free)
    for level in dot.mac.levels:
        items = _level(items, level, start if level.size is None else None, free)
    total = next(iter(items))
    if dot.mac.write_back is not None:
        total = _cast(total, dot.mac.write_back, free)
    if start is not None:
        return total, free
    outer = dot.mac.levels[-1]
    bits, overflow = outer.bits, outer.overflow
    if dot.bias_rule.bits is not None:
        bits, overflow = dot.bias_rule.bits, dot.bias_rule.overflow
    final = joined(total, owed)
    return _kept(final, bits, overflow, free), free


def _reach(dot: Dot, low: np.ndarray, high: np.ndarray) -> int:
    """More than any number on the way can be, in Python's own integers."""
    x = max(abs(int(low.min())), abs(int(high.max()))) + abs(dot.input_zero_point)
    w = max(abs(int(dot.weight.min())), abs(int(dot.weight.max()))) + int(np.abs(dot.weight_zero_point).max())
    most = max(x * w, 0 if dot.mac.multiplier is None else 1 << 31)
    for to in (dot.mac.product, dot.mac.write_back):
        if to is not None:
            most = max(most, most << max(-to.shift, 0), 1 << min(to.bits, 63), (to.shift > 60) << 62)
    return 4 * dot.weight[0].size * most + int(np.abs(dot.bias).max(initial=0))


def _products(dot: Dot, low: np.ndarray, high: np.ndarray, shape: tuple[int, ...]) -> Iterator[Span]:
    """The products of (4) one after the other, each of every accumulator `[n, *places, o]`."""
    inside, zx = dot.mac.zero_point == "in_operand", dot.input_zero_point
    outputs, depth, win = len(dot.weight), dot.weight.shape[-1], dot.window
    margins = [(0, 0), *zip(win.begin, win.end, strict=True), (0, 0)]
    x = [np.pad(side, margins, constant_values=zx) - (zx if inside else 0) for side in (low, high)]
    weight = centred(dot) if inside else dot.weight.astype(np.int64)
    table = None if dot.mac.multiplier is None else _of_patterns(dot)
    taps, cuts = list(np.ndindex(win.kernel)), cuts_of(dot, shape[1:-1])
    steps = [(t, c) for t in range(len(taps)) for c in range(depth)]
    if dot.mac.order == "chw":
        steps.sort(key=lambda step: step[1])
    for t, c in steps:
        seen = np.arange(outputs) // (outputs // dot.group) * depth + c
        a, b = (side[(slice(None), *cuts[t])][..., seen] for side in x)
        w = weight[(slice(None), *taps[t], c)]
        yield times(span(a, b), w) if table is None else _looked_up(dot, table, a, b, w)


def _of_patterns(dot: Dot) -> Extremes:
    """The multiplier's rows in the order of the activations that they stand for."""
    assert dot.mac.multiplier is not None
    least = -128 if dot.mac.multiplier.signed_activations else 0
    return extremes(dot.mac.multiplier.entries[np.arange(least, least + 256) & 255].astype(np.int64))


def _looked_up(dot: Dot, table: Extremes, a: np.ndarray, b: np.ndarray, w: np.ndarray) -> Span:
    assert dot.mac.multiplier is not None
    least = -128 if dot.mac.multiplier.signed_activations else 0
    a, b = (side.astype(np.int64) - least for side in (a, b))
    return span(*table(a, b, np.broadcast_to(w & 255, a.shape)))


def _owed(dot: Dot, low: np.ndarray, high: np.ndarray, shape: tuple[int, ...]) -> Span:
    """What is added for the bias and, where they are folded, for the zero points."""
    zx, zw = dot.input_zero_point, np.broadcast_to(dot.weight_zero_point, dot.bias.shape)
    fixed = np.broadcast_to(dot.bias, shape)
    if dot.mac.zero_point == "in_operand":
        return span(fixed, fixed)
    weights, k = dot.weight.astype(np.int64).reshape(len(zw), -1).sum(1), dot.weight[0].size
    fixed = fixed - zx * weights + k * zx * zw
    if not zw.any():
        return span(fixed, fixed)
    ones = np.ones(dot.weight.shape, low.dtype)
    sums = span(*(products(dot, gathered(dot, side - zx), ones) + k * zx for side in (low, high)))
    return plus(times(sums, -zw), fixed)


def _level(items: Iterator[Span], level: Level, start: Span | None, free: np.ndarray) -> Iterator[Span]:
    """The sums of a level's groups; `free` loses the accumulators in one of whose adds the register may overflow.

    Wrapping after every add is wrapping once in the end, so those sums are kept exact until then; all other registers
    are gone through add by add.
    """
    wraps, total, count, passing = level.overflow in WRAPS, start, 0, False
    if total is not None:
        inside = _kept(total, level.bits, level.overflow, free)
        total = total if wraps else inside
    for item in items:
        if passing:
            yield item
            continue
        added = item if total is None else joined(total, item)
        inside = _kept(added, level.bits, level.overflow, free, after=not wraps)
        total, count = inside, count + 1
        if count == level.size:
            yield held(total, level.bits, level.overflow)
            total, count, passing = None, 0, level.first_only
    if total is not None:
        yield held(total, level.bits, level.overflow)


def _kept(one: Span, bits: int | None, overflow: Overflow, free: np.ndarray, *, after: bool = True) -> Span:
    """What the register holds (not `after`: what it is given); noted in `free` where that may differ."""
    if bits is None:
        return one
    free &= fits(one, bits, overflow)
    return held(one, bits, overflow) if after else one


def _cast(one: Span, to: Cast, free: np.ndarray) -> Span:
    """What a cast gives; noted in `free` where its register may change a number."""
    shifted = moved(one, to)
    free &= fits(shifted, to.bits, to.overflow, to.signed)
    return held(shifted, to.bits, to.overflow, to.signed)


def _all_cast(items: Iterator[Span], to: Cast, free: np.ndarray) -> Iterator[Span]:
    return (_cast(item, to, free) for item in items)
