"""Windows over one channel: MaxPool, AveragePool, GlobalAveragePool."""

import itertools
import math

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import (
    bounded,
    encoded_mean,
    factors,
    requantized,
    rounded,
    rounded_float,
    shifted,
)
from intsim.graph import Node, Shape
from intsim.integers import Overflow, Rounding
from intsim.ops.site import Site, positions, rescale, window
from intsim.ops.vectors import without_rest
from intsim.program import AveragePool, MaxPool, Rescale, Window
from intsim.quantized import is_older
from intsim.target import Average, Divide, Factors, Float32Average, Reciprocal, RescaledSum


def lower_max_pool(node: Node, site: Site) -> MaxPool:
    """The largest integer: the affine must be shared."""
    if site.inputs[0] != site.output:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")
    return MaxPool(window=window(node))


def lower_average_pool(node: Node, site: Site) -> AveragePool:
    """An average over a sliding window, by the machine's own pooling."""
    win = window(node)
    whole = win.kernel == site.shape(node.inputs[0])[:-1] and not any(win.begin + win.end)
    if whole and isinstance(site.target.average_pool, Float32Average):
        return lower_global_average_pool(node, site)
    include_pad = bool(node.attributes["count_include_pad"])
    return _lower(site, win, include_pad, _of_raw(site.target.average_pool, site))


def lower_global_average_pool(node: Node, site: Site) -> AveragePool:
    """An average over the whole map, by the machine's own mean."""
    spatial = site.shape(node.inputs[0])[:-1]
    none, ones = (0,) * len(spatial), (1,) * len(spatial)
    win = Window(kernel=spatial, strides=ones, dilations=ones, begin=none, end=none)
    return _lower(site, win, False, site.target.mean)


UNSIGNED = {
    Rounding.HALF_AWAY: Rounding.HALF_UP,
    Rounding.HALF_TO_ZERO: Rounding.HALF_DOWN,
    Rounding.TO_ZERO: Rounding.FLOOR,
    Rounding.AWAY: Rounding.CEIL,
    Rounding.CARRY_SHIFT: Rounding.HALF_EVEN,
}
"""What a rounding of integers that are never negative does to those 2^(bits - 1) less; the others do not see it."""


def _of_raw(rule: Average, site: Site) -> Average:
    """The rule for the machine's own integers, where it is meant for the unsigned ones of the network (18)."""
    if not isinstance(rule, Divide) or not rule.older:
        return rule
    given, own = site.source.affines[site.node.inputs[0]].type, site.inputs[0].type
    unsigned = is_older(site.source) and not given.signed and own.signed and not rule.centred
    rounding = UNSIGNED.get(rule.rounding, rule.rounding) if unsigned else rule.rounding
    return replace(rule, rounding=rounding, older=False)


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
        case Factors() if len(win.kernel) > 2:
            raise site.error(f"averages over {len(win.kernel)} axes", "choose another average_pool rule")
        case _:
            further = None if x == y else rescale(site, without_rest(site.target.convert), x.scale[0])
    return AveragePool(
        window=win,
        include_pad=include_pad,
        rule=rule,
        input_zero_point=0 if further is not None and further.addend is not None else x.zero,
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
        return encoded_mean(rule, (x.scale[0], x.zero), y.scale[0], n, **limits)
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
        case Reciprocal() | Factors():
            zero = zx if is_centred(rule) else 0
            mean = sum(v - zero for v in values)
            for factor, right in factors(rule, counts):
                mean = shifted(mean * factor, right, rule.rounding)
            mean -= zx - zero
    if pool.rescale is not None:
        return requantized(mean, pool.rescale, 0)
    return bounded(mean + zx, pool.low, pool.high, Overflow.SATURATE)


def is_centred(rule: Divide | Reciprocal | Factors) -> bool:
    """Whether the rule averages q - zero point, not q."""
    return isinstance(rule, Factors) or rule.centred


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
