"""Windows over one channel planned: MaxPool, AveragePool."""

from collections.abc import Callable

import numpy as np

from intsim.arithmetic import reciprocal
from intsim.engine.codes import rounding_code
from intsim.engine.geometry import Places, lanes, places
from intsim.engine.operands import INT16, within
from intsim.engine.rescale import plan_rescale
from intsim.engine.step import Run, plain, requantizing
from intsim.graph import Shape
from intsim.program import AveragePool, MaxPool
from intsim.ranges import Interval
from intsim.target import Divide, Float32Average, Reciprocal, RescaledSum

LIMIT = 1 << 60


def plan_max_pool(pool: MaxPool, shape: Shape, dtype: np.dtype) -> tuple[str, str, Run]:
    """The largest integer of each window."""
    from intsim_kernels.window import largest

    at = places(shape, pool.window)
    if at is None:
        return plain(pool, dtype, "a window of more than two axes")
    least = int(np.iinfo(dtype).min)
    inner = (slice(None), slice(at.top, at.top + at.height), slice(at.left, at.left + at.width))

    def run(x: np.ndarray) -> np.ndarray:
        image = x.reshape(len(x), at.height, at.width, at.channels)
        if at.padded != (at.height, at.width):  # padding with the type's least value is never the largest
            image = np.full((len(x), *at.padded, at.channels), least, dtype)
            image[inner] = x.reshape(len(x), at.height, at.width, at.channels)
        out = np.empty((len(x), len(at.base), at.channels), dtype)
        largest(np.ascontiguousarray(image).reshape(len(x), -1), at.base, at.taps, out)
        return out

    return "largest", "", run


def plan_average_pool(pool: AveragePool, shape: Shape, x: Interval, dtype: np.dtype) -> tuple[str, str, Run]:
    """The average of each window, by the machine's rule."""
    at = places(shape, pool.window)
    if at is None or max(map(abs, x)) >= 1 << 30:
        return plain(pool, dtype, "a window of more than two axes, or integers beyond 30 bits")
    lane = np.int16 if within((x[0] - pool.input_zero_point, x[1] - pool.input_zero_point), INT16) else np.int32
    down, across = counts_of(pool, at)
    if (down * across).min() < 1:
        return plain(pool, dtype, "a window without values")
    if isinstance(pool.rule, Float32Average):
        return "float32_average", "the machine averages in float32", _float32(pool, at, lane, down * across, dtype)
    return _integer(pool, at, lane, (down, across), x, dtype)


def counts_of(pool: AveragePool, at: Places) -> tuple[np.ndarray, np.ndarray]:
    """How many integers every place's window counts along each of its two axes."""
    counts = at.inside
    if pool.include_pad:
        full = np.array((1, 1, *pool.window.kernel))[-2:]
        counts = (np.full_like(counts[0], full[0]), np.full_like(counts[1], full[1]))
    return np.repeat(counts[0], len(counts[1])), np.tile(counts[1], len(counts[0]))


def _float32(pool: AveragePool, at: Places, lane: type, count: np.ndarray, dtype: np.dtype) -> Run:
    from intsim_kernels.window import float32_average

    assert pool.scales is not None
    sx, sy = (np.float32(v) for v in pool.scales)

    def run(x: np.ndarray) -> np.ndarray:
        out = np.empty((len(x), len(at.base), at.channels), dtype)
        flat = lanes(x, at, pool.input_zero_point, 0, lane).reshape(len(x), -1)
        zero = np.float32(pool.output_zero_point)
        float32_average(flat, at.base, at.taps, count, sx, sy, zero, pool.low, pool.high, out)
        return out

    return run


def _integer(
    pool: AveragePool, at: Places, lane: type, counts: tuple[np.ndarray, np.ndarray], x: Interval, dtype: np.dtype
) -> tuple[str, str, Run]:
    from intsim_kernels.window import total

    reach = max(map(abs, x)) + abs(pool.input_zero_point)
    sums = reach * len(at.taps)
    mean, value = _mean(pool, counts, sums)
    if mean is None:
        return plain(pool, dtype, "averages beyond 64 bits")
    settle: Run = _clamped(pool, dtype)
    if pool.rescale is not None:
        settle = requantizing(plan_rescale(pool.rescale, at.channels, (-value, value)), dtype)

    def run(x: np.ndarray) -> np.ndarray:
        acc = np.empty((len(x), len(at.base), at.channels), np.int64)
        flat = lanes(x, at, pool.input_zero_point, 0, lane).reshape(len(x), -1)
        total(flat, at.base, at.taps, acc)
        mean(acc)
        return settle(acc.reshape(-1, at.channels))

    return "total", "", run


def _clamped(pool: AveragePool, dtype: np.dtype) -> Run:
    return lambda acc: np.clip(acc + pool.input_zero_point, pool.low, pool.high).astype(dtype)


def _mean(
    pool: AveragePool, counts: tuple[np.ndarray, np.ndarray], sums: int
) -> tuple[Callable[[np.ndarray], None] | None, int]:
    """What turns sums of q - zx `[n, place, c]` into averages, in place, and the largest magnitude that gives."""
    from intsim_kernels import elementwise
    from intsim_kernels.rounding import steps

    rule, zero, count = pool.rule, pool.input_zero_point, counts[0] * counts[1]
    match rule:
        case RescaledSum():
            return lambda acc: None, sums
        case Divide():
            zero = 0 if rule.centred else zero
            mode = rounding_code(rule.rounding)
            return lambda acc: elementwise.divide(acc, count, zero, mode), sums + 1
        case Reciprocal():
            rule_mode, bits = rounding_code(rule.rounding), rule.bits
            stages = [counts[1], counts[0]] if rule.stages == 2 else [count]
            if rule.stages == 2 and len(pool.window.kernel) == 1:
                stages = [counts[1]]
            factors = [np.array([reciprocal(int(n), bits) for n in stage], object) for stage in stages]
            value = sums
            for factor in factors:
                if bits > 60 or value * max(factor) >= LIMIT:
                    return None, 0
                value = (value * max(factor) >> bits) + 1
            how = steps(np.array([bits]), rule_mode)
            multipliers = [factor.astype(np.int64) for factor in factors]

            def scale(acc: np.ndarray) -> None:
                for multiplier in multipliers:
                    elementwise.scale_places(acc, multiplier, how)

            return scale, value
        case _:
            raise AssertionError(rule)
