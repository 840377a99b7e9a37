"""What each register of an accumulator meets, and what is proven of it."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.arithmetic import moved
from intsim.integers import Overflow, Rounding
from intsim.program import Dot, MatMul
from intsim.ranges.products import Pair, exact_sum, exactly, products, products_of_two
from intsim.ranges.products import owed as owed_to
from intsim.ranges.tensors import Interval
from intsim.target import Bias, Cast, Level, Mac

# Clamping moves a sum towards 0, so that it stays inside the bounds that it had, if they hold from 0 too: zeroing loses
# what a sum started from. Wrapping may put it anywhere.
_CLAMPS = (Overflow.SATURATE, Overflow.SATURATE_SYM, Overflow.SATURATE_ZERO)


class Registers(Struct, frozen=True, kw_only=True, eq=False):
    """What is proven of an accumulator's registers, per output channel.

    `fits`: bool `[o]` for each level, inner to outer: no add overflows it (nor the bias that it starts from). `held`:
    no product is changed by its register; `cast`: nor by that register's shift. `back`: no sum is changed by being
    written back. `end`: the bias added at the end cannot overflow. `exact`: the outermost register holds the exact sum,
    bias included. `items`, `sums`: bounds of what each level adds, and of its sums before their overflow. `owed`: of
    what is added for the bias and the folded zero points. `outer`: of what the outermost level gives, written back.
    `value`: of the accumulator.
    """

    fits: tuple[np.ndarray, ...]
    held: np.ndarray
    cast: np.ndarray
    back: np.ndarray
    end: np.ndarray
    exact: np.ndarray
    items: tuple[Pair, ...]
    sums: tuple[Pair, ...]
    owed: Pair
    outer: Pair
    value: Pair


def registers(dot: Dot, low_x: int, high_x: int) -> Registers:
    """What each register of the accumulator meets for inputs in low_x..high_x, and what is proven."""
    items = products(dot, low_x, high_x, centred=dot.mac.zero_point == "in_operand")
    owed, exact = owed_to(dot, low_x, high_x), exact_sum(dot, low_x, high_x)
    return _registers(dot.mac, dot.bias_rule, items, owed, exact)


def registers_of_two(matmul: MatMul, a: Interval, b: Interval, count: int) -> Registers:
    """The same of `count` products of two activations in these intervals: bounds `[1]`, for all outputs alike."""
    return _registers(matmul.mac, matmul.bias_rule, *products_of_two(matmul, a, b, count))


def _registers(mac: Mac, bias_rule: Bias, items: Pair, owed: Pair, whole: Pair) -> Registers:
    """The registers that bounds of products `[o, k]`, of what is owed and of the exact sum `[o]` meet."""
    inside = np.ones(len(items[0]), bool)
    if mac.product is not None:
        items, inside = _cast(items, mac.product)
    start = owed if bias_rule.when == "init" else None
    fits, added, sums = [], [], []
    for level in mac.levels:
        added.append((items[0].min(1), items[1].max(1)))
        items, met, proven = _level(items, level, start if level.size is None else None)
        fits.append(proven)
        sums.append(met)
    value = (items[0][:, 0], items[1][:, 0])
    kept = np.ones(len(inside), bool)
    if mac.write_back is not None:
        (low, high), kept = _cast(items, mac.write_back)
        kept = kept & (mac.write_back.shift == 0)
        value = (low[:, 0], high[:, 0])
    given, outer = value, mac.levels[-1]
    end = np.ones(len(inside), bool)
    if start is None:
        bits, overflow = outer.bits, outer.overflow
        if bias_rule.bits is not None:
            bits, overflow = bias_rule.bits, bias_rule.overflow
        final = (value[0] + owed[0], value[1] + owed[1])
        end = _inside(final, bits, overflow)
        value = _after(final, final, end, bits, overflow)
    exact = _inside(whole, outer.bits, Overflow.WRAP)
    return Registers(
        fits=tuple(fits),
        held=inside,
        cast=inside & (mac.product is None or mac.product.shift == 0),
        back=kept,
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
        below, above, total = exactly(below), exactly(above), (exactly(total[0]), exactly(total[1]))
    if start is not None:
        first = _after(start, start, _inside(start, level.bits, level.overflow), level.bits, level.overflow)
        least, most = first
        if level.overflow is Overflow.SATURATE_ZERO:
            least, most = np.minimum(least, 0), np.maximum(most, 0)
        below, above = below + least[:, None], above + most[:, None]
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


def limits(bits: int, overflow: Overflow) -> Interval:
    """The least and the largest value that a signed register of `bits` bits holds."""
    high = (1 << (bits - 1)) - 1
    return -high - (overflow is not Overflow.SATURATE_SYM), high


def _inside(sums: Pair, bits: int | None, overflow: Overflow) -> np.ndarray:
    if bits is None:
        return np.ones(sums[0].shape, bool)
    low, high = limits(bits, overflow)
    return np.asarray((sums[0] >= low) & (sums[1] <= high), bool)


def _after(total: Pair, sums: Pair, fits: np.ndarray, bits: int | None, overflow: Overflow) -> Pair:
    """Bounds of a register's last value: the exact total where it fits, else what clamping or wrapping leaves."""
    if bits is None or fits.all():
        return total
    low, high = limits(bits, overflow)
    if overflow in _CLAMPS:
        least, most = np.minimum(np.maximum(sums[0], low), high), np.minimum(np.maximum(sums[1], low), high)
        if overflow is Overflow.SATURATE_ZERO:
            least, most = np.minimum(least, 0), np.maximum(most, 0)
    else:
        least, most = np.full_like(sums[0], low), np.full_like(sums[1], high)
    return np.where(fits, total[0], least), np.where(fits, total[1], most)


def _cast(items: Pair, to: Cast) -> tuple[Pair, np.ndarray]:
    """The numbers in their register, and whether that holds all of them, once shifted: bool `[o]`."""
    exact = [_mapped(side, to) for side in items]
    if to.rounding is Rounding.CARRY_SHIFT and to.shift > 0:  # the only one that is not monotone: from floor - 1 to + 1
        floor = replace(to, rounding=Rounding.FLOOR)
        exact = [_mapped(items[0], floor) - 1, _mapped(items[1], floor) + 1]
    top = (1 << (to.bits - to.signed)) - 1
    bottom = -top - (to.overflow is not Overflow.SATURATE_SYM) if to.signed else 0
    kept = top >> 1 if to.overflow is Overflow.WRAP_SM and not to.signed else top  # above, it turns bits round
    inside = (exact[0] >= bottom) & (exact[1] <= kept)
    least, most = np.full_like(exact[0], bottom), np.full_like(exact[1], top)
    if to.overflow in _CLAMPS:
        least, most = (np.minimum(np.maximum(side, bottom), top) for side in exact)
        if to.overflow is Overflow.SATURATE_ZERO:
            least, most = np.minimum(least, 0), np.maximum(most, 0)
    pair = np.where(inside, exact[0], least), np.where(inside, exact[1], most)
    return pair, np.asarray(inside.all(1), bool)


def _mapped(side: np.ndarray, to: Cast) -> np.ndarray:
    """Every number after the cast's shift; there are few different ones."""
    values, where = np.unique(side, return_inverse=True)
    return np.array([moved(int(v), to) for v in values], object)[where.reshape(side.shape)]
