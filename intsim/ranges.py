"""What cannot overflow: exact bounds of every partial sum, per output channel and per register of the accumulator.

All bounds are Python integers (object arrays `[o]`) and hold for every input inside the given interval.
"""

import numpy as np
from msgspec import Struct

from intsim.arithmetic import cast
from intsim.integers import Overflow
from intsim.program import Add, AveragePool, Clip, Compute, Convert, Dot, Offset, Pad, Program, Rescale
from intsim.target import Cast, Level

Interval = tuple[int, int]
Pair = tuple[np.ndarray, np.ndarray]

# Clamping moves a sum towards 0, so that it stays inside the bounds that it had; wrapping may put it anywhere.
_CLAMPS = (Overflow.SATURATE, Overflow.SATURATE_SYM, Overflow.SATURATE_ZERO)


class Bounds(Struct, frozen=True, kw_only=True, eq=False):
    """The least and the largest value `[o]` of every sum on the way, and the smallest width `bits[o]` that holds them.

    Every partial sum in every order of the products counts, with the bias where the machine puts it.
    """

    low: np.ndarray
    high: np.ndarray
    bits: np.ndarray


class Registers(Struct, frozen=True, kw_only=True, eq=False):
    """What is proven of an accumulator's registers, per output channel.

    `fits`: bool `[o]` for each level, inner to outer: no add overflows it (nor the bias that it starts from). `cast`:
    no product is changed by its register. `end`: the bias added at the end cannot overflow. `exact`: the outermost
    register holds the exact sum, bias included. `items`, `sums`: bounds of what each level adds, and of its sums
    before their overflow. `owed`: of what is added for the bias and the folded zero points. `outer`: of what the
    outermost level gives. `value`: of the accumulator.
    """

    fits: tuple[np.ndarray, ...]
    cast: np.ndarray
    end: np.ndarray
    exact: np.ndarray
    items: tuple[Pair, ...]
    sums: tuple[Pair, ...]
    owed: Pair
    outer: Pair
    value: Pair


def accumulator_bounds(program: Program) -> dict[str, Bounds]:
    """The bounds of every sum of products, by step name, from the types and clips before it."""
    known = intervals(program)
    return {
        step.name: bounds(step.compute, *known[step.inputs[0]])
        for step in program.steps
        if isinstance(step.compute, Dot)
    }


def bounds(dot: Dot, low_x: int, high_x: int) -> Bounds:
    """The bounds of one sum of products for inputs in low_x..high_x.

    S- = sum of min(0, product), S+ = sum of max(0, product); a bias at the start shifts both, one at the end shifts the
    final value only. A machine that folds its zero points sums raw integers.
    """
    low, high = _products(dot, low_x, high_x, centred=dot.mac.zero_point == "in_operand")
    below, above = _exact(np.minimum(low, 0).sum(1)), _exact(np.maximum(high, 0).sum(1))
    if dot.bias_rule.when == "init":
        first, last = _owed(dot, low_x, high_x)
        least, most = first + below, last + above
    else:
        first, last = _exact_sum(dot, low_x, high_x)
        least, most = np.minimum(below, first), np.maximum(above, last)
    return Bounds(low=least, high=most, bits=width(least, most))


def cannot_overflow(dot: Dot, low_x: int, high_x: int) -> np.ndarray:
    """Whether no register of the accumulator can overflow for inputs in low_x..high_x: bool `[o]`."""
    found = registers(dot, low_x, high_x)
    return np.logical_and.reduce([*found.fits, found.cast, found.end])


def width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The smallest two's complement width that holds both low[i] and high[i]."""
    needed = [1 + max((v if v >= 0 else ~v).bit_length() for v in pair) for pair in zip(low, high, strict=True)]
    return np.array(needed, np.int64)


# ---- every register --------------------------------------------------------------------------------------------


def registers(dot: Dot, low_x: int, high_x: int) -> Registers:
    """What each register of the accumulator meets for inputs in low_x..high_x, and what is proven."""
    items = _products(dot, low_x, high_x, centred=dot.mac.zero_point == "in_operand")
    unchanged = np.ones(len(dot.weight), bool)
    if dot.mac.product is not None:
        items, unchanged = _cast(items, dot.mac.product)
    owed = _owed(dot, low_x, high_x)
    start = owed if dot.bias_rule.when == "init" else None
    fits, added, sums = [], [], []
    for level in dot.mac.levels:
        added.append((items[0].min(1), items[1].max(1)))
        items, met, proven = _level(items, level, start if level.size is None else None)
        fits.append(proven)
        sums.append(met)
    value = given = (items[0][:, 0], items[1][:, 0])
    outer = dot.mac.levels[-1]
    end = np.ones(len(dot.weight), bool)
    if start is None:
        bits, overflow = outer.bits, outer.overflow
        if dot.bias_rule.bits is not None:
            bits, overflow = dot.bias_rule.bits, dot.bias_rule.overflow
        final = (value[0] + owed[0], value[1] + owed[1])
        end = _inside(final, bits, overflow)
        value = _after(final, final, end, bits, overflow)
    exact = _inside(_exact_sum(dot, low_x, high_x), outer.bits, Overflow.WRAP)
    return Registers(
        fits=tuple(fits),
        cast=unchanged,
        end=end,
        exact=exact,
        items=tuple(added),
        sums=tuple(sums),
        owed=owed,
        outer=given,
        value=value,
    )


def _level(items: Pair, level: Level, start: Pair | None) -> tuple[Pair, Pair, np.ndarray]:
    """A level's results `[o, groups]`, its least and largest sum `[o]`, and whether none overflows."""
    low, high = items
    rest = (low[:, :0], high[:, :0])
    if level.first_only and level.size is not None:
        rest = (low[:, level.size :], high[:, level.size :])
        low, high = low[:, : level.size], high[:, : level.size]
    low, high = (_grouped(side, level.size) for side in (low, high))
    below, above = np.minimum(low, 0).sum(2), np.maximum(high, 0).sum(2)
    total = (low.sum(2), high.sum(2))
    if level.size is None:
        below, above, total = _exact(below), _exact(above), (_exact(total[0]), _exact(total[1]))
    if start is not None:
        first = _after(start, start, _inside(start, level.bits, level.overflow), level.bits, level.overflow)
        below, above = below + first[0][:, None], above + first[1][:, None]
        total = (total[0] + first[0][:, None], total[1] + first[1][:, None])
    proven = _inside((below, above), level.bits, level.overflow)
    low, high = _after(total, (below, above), proven, level.bits, level.overflow)
    fits: np.ndarray = np.asarray(proven.all(1))
    if start is not None:
        fits = fits & _inside(start, level.bits, level.overflow)
    results = (np.concatenate([low, rest[0]], 1), np.concatenate([high, rest[1]], 1))
    return results, (below.min(1), above.max(1)), fits


def _grouped(side: np.ndarray, size: int | None) -> np.ndarray:
    """`[o, items]` as `[o, groups, size]`, filled up with zeros."""
    size = side.shape[1] if size is None else min(size, side.shape[1])
    missing = -side.shape[1] % size
    return np.pad(side, ((0, 0), (0, missing))).reshape(len(side), -1, size)


def _limits(bits: int, overflow: Overflow) -> Interval:
    high = (1 << (bits - 1)) - 1
    return -high - (overflow is not Overflow.SATURATE_SYM), high


def _inside(sums: Pair, bits: int | None, overflow: Overflow) -> np.ndarray:
    if bits is None:
        return np.ones(sums[0].shape, bool)
    low, high = _limits(bits, overflow)
    return np.asarray((sums[0] >= low) & (sums[1] <= high), bool)


def _after(total: Pair, sums: Pair, fits: np.ndarray, bits: int | None, overflow: Overflow) -> Pair:
    """Bounds of a register's last value: the exact total where it fits, else what clamping or wrapping leaves."""
    if bits is None or fits.all():
        return total
    low, high = _limits(bits, overflow)
    if overflow in _CLAMPS:
        least, most = np.minimum(np.maximum(sums[0], low), high), np.minimum(np.maximum(sums[1], low), high)
        if overflow is Overflow.SATURATE_ZERO:
            least, most = np.minimum(least, 0), np.maximum(most, 0)
    else:
        least, most = np.full_like(sums[0], low), np.full_like(sums[1], high)
    return np.where(fits, total[0], least), np.where(fits, total[1], most)


def _cast(items: Pair, to: Cast) -> tuple[Pair, np.ndarray]:
    """The products in their register, and whether that changes none but by the shift's rounding: bool `[o]`."""
    wide = Cast(bits=512, shift=to.shift, rounding=to.rounding)
    exact = [_mapped(side, wide) for side in items]
    low, high = (_mapped(side, to) for side in items)
    changed = (low != exact[0]) | (high != exact[1])
    if to.overflow in _CLAMPS and to.overflow is not Overflow.SATURATE_ZERO:
        bottom, top = low, high
    else:
        least, most = (0, (1 << to.bits) - 1) if not to.signed else _limits(to.bits, Overflow.WRAP)
        bottom, top = np.where(changed, least, low), np.where(changed, most, high)
    return (bottom, top), ~changed.any(1) & (to.shift == 0)


def _mapped(side: np.ndarray, to: Cast) -> np.ndarray:
    """Every number moved into the register; there are few different ones."""
    values, where = np.unique(side, return_inverse=True)
    return np.array([cast(int(v), to) for v in values], object)[where.reshape(side.shape)]


# ---- operands --------------------------------------------------------------------------------------------------


def _exact(sums: np.ndarray) -> np.ndarray:
    return sums.astype(object)


def _products(dot: Dot, low_x: int, high_x: int, *, centred: bool) -> Pair:
    """Bounds of every product `[o, k]` in the machine's order, of the operands less their zero points or raw."""
    low_x, high_x = _seen(dot, low_x, high_x)
    taps = dot.weight.astype(np.int64).reshape(len(dot.weight), -1, dot.weight.shape[-1])
    w = (taps.transpose(0, 2, 1) if dot.mac.order == "chw" else taps).reshape(len(taps), -1)
    if centred:
        w = w - dot.weight_zero_point[:, None]
        low_x, high_x = low_x - dot.input_zero_point, high_x - dot.input_zero_point
    return np.minimum(w * low_x, w * high_x), np.maximum(w * low_x, w * high_x)


def _seen(dot: Dot, low_x: int, high_x: int) -> Interval:
    """The inputs and, where there is padding, their zero point."""
    if any(dot.window.begin + dot.window.end):
        return min(low_x, dot.input_zero_point), max(high_x, dot.input_zero_point)
    return low_x, high_x


def _exact_sum(dot: Dot, low_x: int, high_x: int) -> Pair:
    low, high = _products(dot, low_x, high_x, centred=True)
    return _exact(low.sum(1)) + _exact(dot.bias), _exact(high.sum(1)) + _exact(dot.bias)


def _owed(dot: Dot, low_x: int, high_x: int) -> Pair:
    """What is added to the sum of the products: the bias and, where they are folded, what the zero points owe."""
    bias = _exact(dot.bias)
    if dot.mac.zero_point == "in_operand":
        return bias, bias
    low_x, high_x = _seen(dot, low_x, high_x)
    k, zx = dot.weight[0].size, dot.input_zero_point
    zw = _exact(np.broadcast_to(dot.weight_zero_point, bias.shape))
    fixed = bias - zx * _exact(dot.weight.astype(np.int64).reshape(len(bias), -1).sum(1)) + k * zx * zw
    ends = (fixed - zw * (k * low_x), fixed - zw * (k * high_x))
    return np.minimum(*ends), np.maximum(*ends)


# ---- what is known of every tensor -----------------------------------------------------------------------------


def intervals(program: Program) -> dict[str, Interval]:
    """Bounds of every tensor's integers, from its type and the clips and output limits before it."""
    known: dict[str, Interval] = {}
    for name, tensor in program.tensors.items():
        known[name] = (tensor.affine.type.low, tensor.affine.type.high)
    for step in program.steps:
        known[step.outputs[0]] = _interval(step.compute, [known[name] for name in step.inputs])
    return known


def _output(rescale: Rescale) -> Interval:
    if rescale.thresholds is not None:
        return rescale.low, rescale.low + rescale.thresholds.shape[1]
    if rescale.overflow is Overflow.SATURATE_ZERO:
        return min(rescale.low, 0), max(rescale.high, 0)
    return rescale.low, rescale.high


def _interval(compute: Compute, inputs: list[Interval]) -> Interval:
    first = inputs[0]
    match compute:
        case Dot():
            return _output(compute.rescale)
        case Clip():
            return (
                min(max(first[0], compute.low), compute.high),
                min(max(first[1], compute.low), compute.high),
            )
        case Offset():
            return first[0] + compute.offset, first[1] + compute.offset
        case Pad():
            return min(first[0], compute.value), max(first[1], compute.value)
        case AveragePool() if compute.rescale is not None:
            return _output(compute.rescale)
        case Add() | AveragePool():
            return compute.low, compute.high
        case Convert():
            ends = [
                known if rescale is None else _output(rescale)
                for known, rescale in zip(inputs, compute.rescales, strict=True)
            ]
            return min(low for low, _ in ends), max(high for _, high in ends)
        case _:
            return first
