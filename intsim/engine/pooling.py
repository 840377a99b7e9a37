"""Windows over one channel planned as routines: MaxPool; AveragePool as sums with weights of 1, and what follows."""

import numpy as np

from intsim.engine.accumulator import Free
from intsim.engine.calls import Call, Native
from intsim.engine.codes import rounding_code
from intsim.engine.depthwise import TYPES, block_of_taps
from intsim.engine.geometry import Places
from intsim.engine.geometry import places as places_of
from intsim.engine.operands import INT16, INT32, within
from intsim.engine.pools import counts_of, scales_of
from intsim.engine.rooms import Room, Windows, places, windows
from intsim.engine.settling import settle_calls, settled, settles
from intsim.graph import Shape
from intsim.integers import Overflow, Rounding
from intsim.program import AveragePool, MaxPool, Rescale
from intsim.ranges import Interval
from intsim.target import Divide, Factors, Float32Average, PowerOfTwo, Reciprocal, RescaledSum


def max_pool(pool: MaxPool, shape: Shape, at: Room, out: Room) -> tuple[Native, ...] | None:
    """The largest integer of each window. Taps that are padding are replaced by others of the same window."""
    from intsim_kernels.pooling import largest_routine

    geometry = places_of(shape, pool.window)
    if geometry is None:
        return None
    found = windows(at, pool.window)
    taps, each = found.taps.ravel(), 0
    if any(pool.window.begin + pool.window.end):
        taps = _inside(geometry, taps)
        each = taps.shape[-1] * 8
    together = 1 << 40 if out.bare else out.width
    words = (*_places(found, at), taps, taps.shape[-1], each, *_goal(out), 0, together, out.shift - at.shift)
    return (Native(calls=(Call(routine=largest_routine(at.dtype, out.dtype), words=words),), rows=len(found.base)),)


def _places(found: Windows, at: Room) -> tuple[int | np.ndarray, ...]:
    return (at.offset, at.size, found.base, len(found.base))


def _goal(out: Room) -> tuple[int | np.ndarray, ...]:
    return (out.offset, out.size, places(out), out.channels)


def _inside(at: Places, taps: np.ndarray) -> np.ndarray:
    """Every place's taps `[places, taps]`, those in the padding replaced by the first that is not."""
    where = (at.base[:, None] + at.taps) // at.channels
    row, column = where // at.padded[1] - at.top, where % at.padded[1] - at.left
    inside = (row >= 0) & (row < at.height) & (column >= 0) & (column < at.width)
    return np.ascontiguousarray(np.where(inside, taps, taps[inside.argmax(1)][:, None]))


# ---- averages --------------------------------------------------------------------------------------------------


def average_pool(pool: AveragePool, shape: Shape, x: Interval, at: Room, out: Room) -> tuple[Native, ...] | None:
    """The average of each window; what surrounds the input in its room is its zero point, and counts for 0."""
    geometry = places_of(shape, pool.window)
    if geometry is None:
        return None
    counts = counts_of(pool, geometry)
    if (counts[0] * counts[1]).min() < 1:
        return None
    if isinstance(pool.rule, Float32Average):
        return _float_average(pool, counts[0] * counts[1], at, out)
    zero, taps = pool.input_zero_point, len(geometry.taps)
    sums = taps * (max(map(abs, x)) + abs(zero))
    if at.dtype not in TYPES or not within((-sums, sums), (INT32[0] // 4, INT32[1] // 4)) or not within(x, INT16):
        return None
    start = np.full(at.channels, -(zero + at.shift) * taps, np.int64)
    free = Free(start=start, dtype=np.int32)
    block = block_of_taps(np.ones((at.channels, taps), np.int64), pool.window, free, at, out.item)
    mean = _mean(pool, counts, sums)
    if block is None or mean is None:
        return None
    means, value = mean
    rescale = pool.rescale if pool.rescale is not None else _clamp(pool)
    requantizer = settled(rescale, at.channels, block.columns, (-value, value))
    if not settles(requantizer, block.columns, out.shift):
        return None
    ends = settle_calls(requantizer, block.dtype, block.columns, block.source, block.used, out)
    after = [Call(routine=call.routine, words=(block.source, block.columns, *call.words)) for call in means]
    return (Native(calls=(*block.calls, *after, *ends), rows=block.rows, block=block.block),)


def _clamp(pool: AveragePool) -> Rescale:
    """clamp(mean + zero point)."""
    return Rescale(
        rule=PowerOfTwo(rounding=Rounding.FLOOR),
        zero_point=pool.input_zero_point,
        low=pool.low,
        high=pool.high,
        overflow=Overflow.SATURATE,
        exponent=np.zeros(1, np.int64),
    )


def _mean(pool: AveragePool, counts: tuple[np.ndarray, np.ndarray], sums: int) -> tuple[list[Call], int] | None:
    """What turns sums of q - zx into averages, and the largest magnitude that gives; None beyond int32."""
    match pool.rule:
        case RescaledSum():
            return [], sums
        case Divide():
            return _divided(pool, pool.rule, counts[0] * counts[1], sums)
        case Reciprocal() | Factors():
            return _scaled(pool, pool.rule, counts, sums)
        case _:
            raise AssertionError(pool.rule)


def _divided(pool: AveragePool, rule: Divide, count: np.ndarray, sums: int) -> tuple[list[Call], int] | None:
    from intsim_kernels.pooling import divided_routine
    from intsim_kernels.rounding import thresholds

    zero = 0 if rule.centred else pool.input_zero_point
    if sums + abs(zero) * int(count.max()) >= INT32[1] // 2:
        return None
    rounding = thresholds(count.astype(np.int64), rounding_code(rule.rounding))
    columns = (count, zero * count, np.full_like(count, zero), *rounding)
    numbers = np.ascontiguousarray(np.stack(columns, 1).astype(np.int64))
    return [Call(routine=divided_routine, words=(len(count), numbers))], sums + 2


def _scaled(
    pool: AveragePool, rule: Reciprocal | Factors, counts: tuple[np.ndarray, np.ndarray], sums: int
) -> tuple[list[Call], int] | None:
    from intsim_kernels.pooling import scaled_routine
    from intsim_kernels.rounding import steps

    value, calls = sums, list[Call]()
    stages = scales_of(pool, rule, counts)
    if stages is None:
        return None
    for stage in stages:
        product = (value + stage.reach) * int(stage.multiplier.max())
        value = (product >> int(stage.right.min())) + 2 + abs(stage.less)
        if stage.right.max() > 60 or product >= 1 << 60 or value >= INT32[1]:
            return None
        how = steps(stage.right, rounding_code(rule.rounding))
        columns = (stage.multiplier, stage.more, np.full_like(stage.right, stage.less), *how)
        numbers = np.ascontiguousarray(np.stack(columns, 1).astype(np.int64))
        calls.append(Call(routine=scaled_routine, words=(len(numbers), numbers)))
    return calls, value


def _float_average(pool: AveragePool, count: np.ndarray, at: Room, out: Room) -> tuple[Native, ...]:
    from intsim_kernels.pooling import float_averaging

    assert pool.scales is not None
    found = windows(at, pool.window)
    taps = found.taps.ravel()
    reals = np.array([*pool.scales, pool.output_zero_point], np.float32)
    words = (*_places(found, at), taps, len(taps), 0, *_goal(out), 0, out.width)
    more = (reals, pool.input_zero_point + at.shift, pool.low, pool.high, out.shift, count.astype(np.int64))
    call = Call(routine=float_averaging(at.dtype, out.dtype), words=(*words, *more))
    return (Native(calls=(call,), rows=len(found.base)),)
