"""Windows over one channel: MaxPool, AveragePool, GlobalAveragePool."""

import itertools
import math

import numpy as np

from intsim.arithmetic import (
    bounded,
    encoded_mean,
    reciprocal,
    requantized,
    rounded,
    rounded_float,
    shifted,
)
from intsim.graph import Node, Shape
from intsim.integers import Overflow, Rounding
from intsim.ops.site import Site, positions, rescale, window
from intsim.program import AveragePool, MaxPool, Rescale, Window
from intsim.target import Average, Divide, Float32Average, Reciprocal, RescaledSum


def lower_max_pool(node: Node, site: Site) -> MaxPool:
    """The largest integer: the affine must be shared."""
    if site.inputs[0] != site.output:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")
    return MaxPool(window=window(node))


def lower_average_pool(node: Node, site: Site) -> AveragePool:
    """An average over a sliding window, by the machine's own pooling."""
    win = window(node)
    include_pad = bool(node.attributes["count_include_pad"])
    return _lower(site, win, include_pad, site.target.average_pool)


def lower_global_average_pool(node: Node, site: Site) -> AveragePool:
    """An average over the whole map, by the machine's own mean."""
    spatial = site.shape(node.inputs[0])[:-1]
    none, ones = (0,) * len(spatial), (1,) * len(spatial)
    win = Window(kernel=spatial, strides=ones, dilations=ones, begin=none, end=none)
    return _lower(site, win, False, site.target.mean)


def _lower(site: Site, win: Window, include_pad: bool, rule: Average) -> AveragePool:
    x, y = site.inputs[0], site.output
    scales, further = None, None
    match rule:
        case Float32Average():
            scales = np.array([x.scale[0], y.scale[0]], np.float32)
        case RescaledSum():
            if not include_pad and any(win.begin + win.end):
                raise site.error("averages over a varying number of values", "choose another average_pool rule")
            further = _mean(site, rule, math.prod(win.kernel))
        case _:
            further = None if x == y else rescale(site, site.target.convert, x.scale[0])
    return AveragePool(
        window=win,
        include_pad=include_pad,
        rule=rule,
        input_zero_point=x.zero,
        output_zero_point=y.zero,
        low=y.type.low,
        high=y.type.high,
        scales=scales,
        rescale=further,
    )


def _mean(site: Site, rule: RescaledSum, n: int) -> Rescale:
    x, y = site.inputs[0], site.output
    limits = {"zero_point": y.zero, "low": y.type.low, "high": y.type.high}
    try:
        return encoded_mean(rule, x.scale[0], y.scale[0], n, **limits)
    except ValueError as reason:
        raise site.error(str(reason), "choose another mean rule") from None


def shape_of_pool(pool: MaxPool | AveragePool, shape: Shape) -> Shape:
    """One sample's output shape in the inside layout."""
    return (*positions(shape, pool.window), shape[-1])


# ---- meaning ---------------------------------------------------------------------------------------------------


def max_pool_meaning(pool: MaxPool, x: np.ndarray) -> np.ndarray:
    """The largest integer in each window."""
    out = np.empty((len(x), *shape_of_pool(pool, x.shape[1:])), object)
    for n, *place, c in itertools.product(*map(range, out.shape)):
        values, _ = _values(pool.window, x[n, ..., c], tuple(place))
        out[(n, *place, c)] = max(v for v in values if v is not None)
    return out


def average_pool_meaning(pool: AveragePool, x: np.ndarray) -> np.ndarray:
    """The average over each window (18)-(21)."""
    out = np.empty((len(x), *shape_of_pool(pool, x.shape[1:])), object)
    for n, *place, c in itertools.product(*map(range, out.shape)):
        values, counts = _values(pool.window, x[n, ..., c], tuple(place))
        if pool.include_pad:
            filled = [pool.input_zero_point if v is None else v for v in values]
            out[(n, *place, c)] = average(pool, filled, pool.window.kernel)
        else:
            out[(n, *place, c)] = average(pool, [v for v in values if v is not None], counts)
    return out


def average(pool: AveragePool, values: list[int], counts: Shape) -> int:
    """The average of one window's values, `counts` of them along each spatial axis."""
    rule, zx, n = pool.rule, pool.input_zero_point, len(values)
    match rule:
        case RescaledSum():
            assert pool.rescale is not None
            return requantized(sum(v - zx for v in values), pool.rescale, 0)
        case Float32Average():
            assert pool.scales is not None
            sx, sy = pool.scales
            total = np.float32(0)
            for v in values:
                total = total + sx * np.float32(v - zx)
            y = total / np.float32(n) / sy + np.float32(pool.output_zero_point)
            return bounded(rounded_float(y, Rounding.HALF_EVEN), pool.low, pool.high, Overflow.SATURATE)
        case Divide():
            mean = (
                rounded(sum(v - zx for v in values), n, rule.rounding)
                if rule.centred
                else rounded(sum(values), n, rule.rounding) - zx
            )
        case Reciprocal():
            mean = sum(v - zx for v in values)
            for count in reversed(counts) if rule.stages == 2 else (n,):
                mean = shifted(mean * reciprocal(count, rule.bits), rule.bits, rule.rounding)
    if pool.rescale is not None:
        return requantized(mean, pool.rescale, 0)
    return bounded(mean + zx, pool.low, pool.high, Overflow.SATURATE)


def _values(win: Window, channel: np.ndarray, place: Shape) -> tuple[list[int | None], Shape]:
    """The window's values in running order, None for padding, and how many are inside along each axis."""
    axes = [
        [p * s - b + t * d for t in range(k)]
        for p, s, b, d, k in zip(place, win.strides, win.begin, win.dilations, win.kernel, strict=True)
    ]
    inside = [[0 <= i < size for i in axis] for axis, size in zip(axes, channel.shape, strict=True)]
    values = [
        int(channel[where]) if all(ok) else None
        for where, ok in zip(itertools.product(*axes), itertools.product(*inside), strict=True)
    ]
    return values, tuple(sum(ok) for ok in inside)
