"""What every other step gives for inputs between two ends: by its ends where it is monotone, or by all it may give."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from intsim.arithmetic import added, factors
from intsim.arithmetic.add import operand_shifts, three_rules
from intsim.certify.rescales import fixed_pointed, rescaled
from intsim.certify.spans import Span, bounded, cast, divided, held, joined, plus, shifted, span, times, unbounded
from intsim.certify.tables import extremes
from intsim.integers import Overflow, Rounding
from intsim.ops import meaning
from intsim.ops.pairs import operands
from intsim.ops.pool import is_centred, shape_of_pool
from intsim.ops.resize import floats_mixed
from intsim.ops.vectors import beyond, rest_of
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Extreme,
    Interpolate,
    Lookup,
    MaxPool,
    Multiply,
    Offset,
    Pad,
    Rearrange,
    Rescale,
    Take,
    Window,
)
from intsim.target import (
    AlignedAdd,
    ClippedAdd,
    DequantizedAdd,
    Divide,
    Factors,
    Float32Add,
    Float32Average,
    Reciprocal,
    RequantizedSum,
    RescaledSum,
    ShiftedAdd,
    ThreeRescales,
    TwoMultipliers,
)

Ends = tuple[np.ndarray, np.ndarray]

MOVES = (Clip, Offset, Pad, Rearrange, Take)
"""Each integer that these give is one of theirs, or one that never falls while that rises: the ends go to the ends."""


def stepped(compute: Compute, inputs: Sequence[Ends]) -> Ends | None:
    """The ends of what the step gives for inputs `[n, ...]` between theirs, int64; None: there is no argument here."""
    found = _of_kind(compute, inputs)
    rest = rest_of(compute)
    if found is None or rest is None:
        return found
    behind = _of_kind(rest.compute, inputs)
    if behind is None:
        return None
    places = beyond(rest, found[0].shape[1:], [low.shape[1:] for low, _ in inputs], compute)
    return np.where(places, behind[0], found[0]), np.where(places, behind[1], found[1])


def _of_kind(compute: Compute, inputs: Sequence[Ends]) -> Ends | None:
    low, high = inputs[0]
    match compute:
        case Clip() | Offset() | Pad() | Rearrange() | Take():
            return meaning(compute, low), meaning(compute, high)
        case MaxPool():
            return _largest(compute, low), _largest(compute, high)
        case AveragePool():
            return _averaged(compute, low, high)
        case Extreme():
            return meaning(compute, *(a for a, _ in inputs)), meaning(compute, *(b for _, b in inputs))
        case Lookup():
            table = compute.table.astype(np.int64)
            of = extremes(table if table.ndim == 2 else table[:, None])
            channel = np.broadcast_to(np.arange(low.shape[-1]) if table.ndim == 2 else 0, low.shape)
            return of(low - compute.low, high - compute.low, channel)
        case Convert():
            parts = [
                ends if rule is None else _requantized(rule, span(*(side - zero for side in ends)))
                for ends, zero, rule in zip(inputs, compute.input_zero_points, compute.rescales, strict=True)
            ]
            return tuple(np.concatenate(side, compute.axis + 1) for side in zip(*parts, strict=True))  # type: ignore[return-value]
        case Multiply():
            return _multiplied(compute, inputs)
        case Add():
            return _added(compute, inputs)
        case Interpolate():
            return _interpolated(compute, low, high)
    return None


def _requantized(rescale: Rescale, acc: Span) -> Ends:
    found = rescaled(rescale, acc, channels=False)
    return found.low, found.high


# ---- windows ---------------------------------------------------------------------------------------------------


def windows(win: Window, x: np.ndarray, places: tuple[int, ...], fill: int) -> list[np.ndarray]:
    """What lies under every tap of the window in running order, `[n, *places, c]` each; `fill` in the padding."""
    margins = [(0, 0), *zip(win.begin, win.end, strict=True), (0, 0)]
    padded = np.pad(x, margins, constant_values=fill)
    found = []
    for tap in np.ndindex(win.kernel):
        cut = (
            slice(t * d, t * d + (p - 1) * s + 1, s)
            for t, d, s, p in zip(tap, win.dilations, win.strides, places, strict=True)
        )
        found.append(padded[(slice(None), *cut)])
    return found


def _largest(pool: MaxPool, x: np.ndarray) -> np.ndarray:
    places = shape_of_pool(pool, x.shape[1:])[:-1]
    return np.maximum.reduce(windows(pool.window, x, places, int(x.min()) - 1))


def counted(pool: AveragePool, shape: tuple[int, ...]) -> tuple[np.ndarray, list[np.ndarray], list[np.ndarray]]:
    """How many integers each place averages, which of its taps count, and how many lie inside along each axis."""
    win, places = pool.window, shape_of_pool(pool, shape)[:-1]
    if pool.include_pad:
        whole = np.ones((*places, 1), np.int64)
        taps = [whole.astype(bool)] * int(np.prod(win.kernel))
        return whole * int(np.prod(win.kernel)), taps, [whole * k for k in win.kernel]
    inside = windows(win, np.ones((1, *shape[:-1], 1), np.int64), places, 0)
    taps = [one[0].astype(bool) for one in inside]
    along = []
    for axis, (k, s, d, b, size) in enumerate(
        zip(win.kernel, win.strides, win.dilations, win.begin, shape[:-1], strict=True)
    ):
        at = np.arange(places[axis])[:, None] * s - b + np.arange(k) * d
        counts = ((at >= 0) & (at < size)).sum(1)
        along.append(np.broadcast_to(counts.reshape(-1, *(1,) * (len(places) - axis)), (*places, 1)))
    return np.sum(taps, 0), taps, along


def _averaged(pool: AveragePool, low: np.ndarray, high: np.ndarray) -> Ends | None:
    rule, zx, shape = pool.rule, pool.input_zero_point, low.shape[1:]
    n, taps, along = counted(pool, shape)
    if isinstance(rule, Float32Average):
        seen = [windows(pool.window, side, n.shape[:-1], zx) for side in (low, high)]
        return _float_averaged(pool, seen, n, taps)
    found = averages(pool, window_sums(pool, low, high), n, along)
    return found.low, found.high


def window_sums(pool: AveragePool, low: np.ndarray, high: np.ndarray) -> Span:
    """The sums of the integers that each place averages, less `centre`."""
    n, taps, _ = counted(pool, low.shape[1:])
    zero, ends = centre(pool), []
    for side in (low, high):
        seen = windows(pool.window, side, n.shape[:-1], pool.input_zero_point)
        ends.append(np.sum([(v - zero) * tap for v, tap in zip(seen, taps, strict=True)], 0))
    return span(*ends)


def averages(pool: AveragePool, sums: Span, n: np.ndarray, along: Sequence[np.ndarray]) -> Span:
    """The averages of sums `[..., *places, c]` of n integers each (18), (19), (21)."""
    rule, zx, places = pool.rule, pool.input_zero_point, n.shape[:-1]
    match rule:
        case RescaledSum():
            assert pool.rescale is not None
            return rescaled(pool.rescale, sums, channels=False)
        case Divide():
            mean = divided(sums, n, rule.rounding)
        case Reciprocal() | Factors():
            mean = unbounded(sums)
            pairs = {counts: factors(rule, counts) for counts in set(_each(along))}
            for stage in range(len(next(iter(pairs.values())))):
                numbers = np.array([pairs[counts][stage] for counts in _each(along)], object).reshape(*places, 1, 2)
                mean = shifted(times(mean, numbers[..., 0]), numbers[..., 1], rule.rounding)
        case _:
            raise AssertionError(rule)
    mean = plus(mean, centre(pool) - zx)
    if pool.rescale is not None:
        return rescaled(pool.rescale, mean, channels=False)
    found = bounded(plus(mean, zx), pool.low, pool.high, Overflow.SATURATE)
    return Span(found.low.astype(np.int64), found.high.astype(np.int64), found.steady.astype(bool))


def centre(pool: AveragePool) -> int:
    """What is taken off every integer before they are summed."""
    rule = pool.rule
    centred = isinstance(rule, RescaledSum) or (not isinstance(rule, Float32Average) and is_centred(rule))
    return pool.input_zero_point if centred else 0


def _each(along: Sequence[np.ndarray]) -> list[tuple[int, ...]]:
    """The counts along the axes, place by place."""
    return [tuple(int(v) for v in counts) for counts in zip(*(one.ravel() for one in along), strict=True)]


def _float_averaged(
    pool: AveragePool, seen: Sequence[Sequence[np.ndarray]], n: np.ndarray, taps: Sequence[np.ndarray]
) -> Ends | None:
    """Every float32 operation of (20) is monotone, and done here as it is there."""
    assert pool.scales is not None
    sx, sy = pool.scales
    found = []
    for side in seen:
        total = np.zeros(side[0].shape, np.float32)
        for v, tap in zip(side, taps, strict=True):
            total = np.where(tap, total + sx * (v - pool.input_zero_point).astype(np.float32), total)
        y = total / n.astype(np.float32) / sy + np.float32(pool.output_zero_point)
        found.append(np.clip(np.rint(y.astype(np.float64)), pool.low, pool.high).astype(np.int64))
    return (found[0], found[1]) if sx >= 0 and sy > 0 else None


# ---- two operands ----------------------------------------------------------------------------------------------


def both(pair: Add | Multiply, inputs: Sequence[Ends]) -> tuple[Span, Span]:
    """The two operands, a constant's ends its own."""
    lows = operands(pair, *(low for low, _ in inputs))
    highs = operands(pair, *(high for _, high in inputs))
    a, b = (span(low.astype(np.int64), high.astype(np.int64)) for low, high in zip(lows, highs, strict=True))
    n = max(len(a.low), len(b.low))
    assert len(a.low) == len(b.low) == n
    return a, b


def _multiplied(multiply: Multiply, inputs: Sequence[Ends]) -> Ends:
    """A product of two independent numbers has its ends at two of the four corners."""
    a, b = (plus(one, -zero) for one, zero in zip(both(multiply, inputs), multiply.zero_points, strict=True))
    corners = [u * v for u, v in product((a.low, a.high), (b.low, b.high))]
    return _requantized(multiply.rescale, span(np.minimum.reduce(corners), np.maximum.reduce(corners)))


def _added(add: Add, inputs: Sequence[Ends]) -> Ends | None:
    a, b = both(add, inputs)
    if isinstance(add.rule, Float32Add | ClippedAdd | DequantizedAdd):
        return _added_in_floats(add, a, b)
    if isinstance(add.rule, RequantizedSum):
        assert add.rescale is not None
        a, b = (plus(one, -zero) for one, zero in zip((a, b), add.zero_points, strict=True))
        return _requantized(add.rescale, joined(a, b, subtract=add.subtract))
    found = sums(add, a, b)
    return found.low.astype(np.int64), found.high.astype(np.int64)


def sums(add: Add, a: Span, b: Span) -> Span:
    """(13), (14), (16) and the shifted add in intervals of Python's integers."""
    rule, m, e = add.rule, add.multiplier, add.exponent
    a, b = (unbounded(plus(one, -zero)) for one, zero in zip((a, b), add.zero_points, strict=True))
    match rule:
        case ThreeRescales():
            assert m is not None
            assert e is not None
            lefts, exponents = zip(*operand_shifts(add), strict=True)
            taken = [shifted(v, -left, Rounding.FLOOR) for v, left in zip((a, b), lefts, strict=True)]
            kept, rules = np.array(exponents), three_rules(rule)
            terms = [fixed_pointed(v, rules[i], m[i : i + 1], kept[i : i + 1], 0) for i, v in enumerate(taken)]
            whole = joined(*terms, subtract=add.subtract)
            y = plus(fixed_pointed(whole, rule.requantize, m[2:], e[2:], 0), add.zero_point)
            y = held(unbounded(y), rule.requantize.sum, Overflow.WRAP)
        case TwoMultipliers():
            assert m is not None
            assert e is not None
            whole = joined(times(a, int(m[0])), times(b, int(m[1])), subtract=add.subtract)
            y = shifted(whole, int(e[0]), rule.rounding)
            y = plus(y if rule.middle is None else cast(y, rule.middle), add.zero_point)
        case ShiftedAdd():
            assert e is not None
            terms = [shifted(one, int(e[i]), rule.rounding) for i, one in enumerate((a, b))]
            y = plus(joined(*terms, subtract=add.subtract), add.zero_point)
        case AlignedAdd():
            assert e is not None
            terms = [shifted(one, -int(e[i]), Rounding.FLOOR) for i, one in enumerate((a, b))]
            y = shifted(joined(*terms, subtract=add.subtract), -int(e[2]), rule.rounding)
            y = plus(y, add.zero_point)
        case _:
            raise AssertionError(rule)
    return bounded(y, add.low, add.high, Overflow.SATURATE)


def _added_in_floats(add: Add, a: Span, b: Span) -> Ends | None:
    """(15), (17), (17a): monotone in both operands, falling in one that is subtracted, unless a factor is negative."""
    m = add.multiplier
    assert m is not None
    if (m[:2] < 0).any() or (isinstance(add.rule, DequantizedAdd) and m[2] <= 0):
        return None
    b_low, b_high = (b.high, b.low) if add.subtract else (b.low, b.high)
    return _of_pairs(add, a.low, b_low), _of_pairs(add, a.high, b_high)


def _of_pairs(add: Add, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Each different pair added once."""
    least, size = int(b.min()), int(b.max()) - int(b.min()) + 1
    keys, where = np.unique(a * size + (b - least), return_inverse=True)
    values = [added(int(key) // size, int(key) % size + least, add) for key in keys]
    return np.array(values, np.int64)[where.reshape(a.shape)]


# ---- maps of another size --------------------------------------------------------------------------------------


def _interpolated(mix: Interpolate, low: np.ndarray, high: np.ndarray) -> Ends | None:
    """Weights are not negative: the ends go to the ends, as far as the rounding is monotone."""
    if mix.weights:
        if any((side < 0).any() for side in mix.weights):
            return None
        return floats_mixed(mix, low), floats_mixed(mix, high)
    whole = 1 << mix.bits
    if any((f < 0).any() or (f > whole).any() for f in mix.fraction):
        return None
    totals = []
    for side in (low, high):
        total = side
        for axis, (lower, upper) in enumerate(zip(mix.lower, mix.upper, strict=True), start=1):
            f = mix.fraction[axis - 1].reshape(-1, *(1,) * (side.ndim - axis - 1))
            total = total.take(lower, axis) * (whole - f) + total.take(upper, axis) * f
        totals.append(total)
    found = shifted(span(*totals), mix.bits * len(mix.lower), mix.rounding)
    return found.low, found.high
