"""Windows over one channel planned: MaxPool, AveragePool."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.arithmetic import factors
from intsim.engine.codes import rounding_code
from intsim.engine.geometry import Places, lanes, places
from intsim.engine.operands import INT16, within
from intsim.engine.rescale import plan_rescale
from intsim.engine.step import Run, plain, requantizing
from intsim.graph import Shape
from intsim.ops.pool import is_centred
from intsim.program import AveragePool, MaxPool
from intsim.ranges import Interval
from intsim.target import Divide, Factors, Float32Average, Reciprocal, RescaledSum

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

    rule, zero, count = pool.rule, pool.input_zero_point, counts[0] * counts[1]
    match rule:
        case RescaledSum():
            return lambda acc: None, sums
        case Divide():
            zero = 0 if rule.centred else zero
            mode = rounding_code(rule.rounding)
            return lambda acc: elementwise.divide(acc, count, zero, mode), sums + 2
        case Reciprocal() | Factors():
            return _scaled(pool, rule, counts, sums)
        case _:
            raise AssertionError(rule)


def _scaled(
    pool: AveragePool, rule: Reciprocal | Factors, counts: tuple[np.ndarray, np.ndarray], value: int
) -> tuple[Callable[[np.ndarray], None] | None, int]:
    from intsim_kernels.elementwise import scale_places
    from intsim_kernels.rounding import steps

    stages = scales_of(pool, rule, counts)
    if stages is None:
        return None, 0
    for stage in stages:
        product = (value + stage.reach) * int(stage.multiplier.max())
        if stage.right.max() > 60 or product >= LIMIT:
            return None, 0
        value = (product >> int(stage.right.min())) + 2 + abs(stage.less)
    hows = [steps(stage.right, rounding_code(rule.rounding)) for stage in stages]

    def scale(acc: np.ndarray) -> None:
        for stage, how in zip(stages, hows, strict=True):
            acc += stage.more[:, None]
            scale_places(acc, stage.multiplier, how)
            acc -= stage.less

    return scale, value


class Stage(Struct, frozen=True, kw_only=True, eq=False):
    """sum = rounded((sum + more) * multiplier / 2^right) - less, one number a place; `reach`: of |more|."""

    multiplier: np.ndarray
    right: np.ndarray
    more: np.ndarray
    less: int
    reach: int


def scales_of(
    pool: AveragePool, rule: Reciprocal | Factors, counts: tuple[np.ndarray, np.ndarray]
) -> list[Stage] | None:
    """The stages that turn sums of q - zx into averages less zx; None beyond 64 bits."""
    axes, zero = len(pool.window.kernel), 0 if is_centred(rule) else pool.input_zero_point
    known: dict[tuple[int, ...], list[tuple[int, int]]] = {}
    for window in set(zip(*(side.tolist() for side in counts), strict=True)):
        known[window] = factors(rule, window[2 - axes :])
    numbers = [known[window] for window in zip(*(side.tolist() for side in counts), strict=True)]
    if any(factor >= 1 << 62 for pairs in numbers for factor, _ in pairs):
        return None
    stages = []
    for i, pairs in enumerate(zip(*numbers, strict=True)):
        multiplier, right = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
        more = (zero if i == 0 else 0) * counts[0] * counts[1]
        less = zero if i == len(numbers[0]) - 1 else 0
        reach = int(np.abs(more).max())
        stages.append(Stage(multiplier=multiplier, right=right, more=more.astype(np.int64), less=less, reach=reach))
    return stages
