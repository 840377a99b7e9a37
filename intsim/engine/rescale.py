"""Requantization planned: the plain kernel where its bound holds, the exact wide one, or Python's own integers."""

from fractions import Fraction
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.arithmetic import multiplier_bits, requantized, tail_rule
from intsim.engine.codes import cast_code, cast_takes, overflow_code, rounding_code
from intsim.integers import Overflow, Rounding
from intsim.program import Rescale
from intsim.ranges import Interval
from intsim.target import Cast, FixedPoint, Float32Requantize, Float32Scale, Float64Scale, PowerOfTwo, Thresholds

LIMIT = 1 << 62


class Requantizer(Struct, frozen=True, kw_only=True, eq=False):
    """A kernel of `intsim_kernels.requantize` and its numbers; None where Python's own integers are needed.

    `narrow`: the interval it was planned for lies within int32; `largest`: its largest magnitude.
    """

    kernel: str
    why: str
    numbers: tuple[Any, ...] | None
    rescale: Rescale
    narrow: bool = False
    largest: int = 0


def settle(requantizer: Requantizer, acc: np.ndarray, out: np.ndarray) -> None:
    """Fills `out[rows, c]` from `acc[rows, c]`: int32 or int64, inside the interval that was planned for."""
    from intsim_kernels import requantize

    if requantizer.numbers is None:
        _plain(requantizer.rescale, acc, out)
    else:
        getattr(requantize, requantizer.kernel)(acc, out, *requantizer.numbers)


def plan_rescale(rescale: Rescale, channels: int, acc: Interval) -> Requantizer:
    """The requantization of accumulators `[rows, channels]` that lie in `acc`."""
    planned = None
    rescale = _without_left(_without_sum(rescale, max(map(abs, acc))), max(map(abs, acc)))
    if by_place(rescale):
        return Requantizer(kernel="python", why="places round in two ways", numbers=None, rescale=rescale)
    if rescale.overflow is Overflow.SATURATE:  # ends that no kernel's result reaches
        rescale = replace(rescale, low=max(rescale.low, 1 - LIMIT), high=min(rescale.high, LIMIT - 1))
    match rescale.rule if max(map(abs, acc)) < LIMIT else None:
        case FixedPoint() as rule if rule.sum is not None:
            return Requantizer(kernel="python", why="a zero point whose sum wraps", numbers=None, rescale=rescale)
        case FixedPoint() | PowerOfTwo():
            planned = _fixed(rescale, channels, acc)
        case Float32Scale() | Float64Scale() | Float32Requantize():
            planned = _float(rescale, channels, acc)
        case Thresholds():
            planned = _thresholds(rescale, channels)
    if planned is not None:
        return replace(planned, narrow=max(-acc[0] - 1, acc[1]) < 1 << 31, largest=max(-acc[0], acc[1]))
    why = "numbers beyond 64 bits, or a register of the rule"
    return Requantizer(kernel="python", why=why, numbers=None, rescale=rescale)


def _without_sum(rescale: Rescale, largest: int) -> Rescale:
    """Without the registers after the rounding, where no accumulator up to `largest` fills the one of the sum."""
    rule = rescale.rule
    if not isinstance(rule, FixedPoint) or rule.sum is None:
        return rescale
    assert rescale.multiplier is not None
    assert rescale.exponent is not None
    pairs = np.broadcast_arrays(rescale.multiplier, rescale.exponent)
    bits = multiplier_bits(rule)
    most = max(Fraction(2) ** (e - bits) * abs(m) for m, e in zip(*(side.tolist() for side in pairs), strict=True))
    middle, reach = rule.middle, largest * most
    if middle is not None and (not middle.signed or middle.shift < 0):  # below zero it is far up, or moved to the left
        reach = Fraction(1 << middle.bits)
    if reach + abs(rescale.zero_point) + 3 >= 1 << rule.sum - 1:
        return rescale
    if middle is not None and middle.signed and not middle.shift and middle.bits >= rule.sum:
        middle = None
    return replace(rescale, rule=replace(rule, sum=None, middle=middle))


def _without_left(rescale: Rescale, largest: int) -> Rescale:
    """With shifts to the left that wrap, where they take no accumulator up to `largest` out of its register."""
    rule = rescale.rule
    if not isinstance(rule, FixedPoint) or rule.first is None:
        return rescale
    assert rescale.exponent is not None
    if largest << max(int(rescale.exponent.max()), 0) >= 1 << rule.register - 1:
        return rescale
    lanes = None if rule.lanes is None else replace(rule.lanes, left=Overflow.WRAP)
    if lanes is not None and lanes.tail is rule.rounding:
        return parted(replace(rescale, rule=replace(rule, left=Overflow.WRAP, lanes=lanes)))[0]
    return replace(rescale, rule=replace(rule, left=Overflow.WRAP, lanes=lanes))


def by_place(rescale: Rescale) -> bool:
    """Whether more than the last roundings of some channels differ from the others."""
    rule = rescale.rule
    if not isinstance(rule, FixedPoint) or rule.lanes is None:
        return False
    return rule.lanes.of != "channels" or rule.lanes.left is not rule.left


def parted(rescale: Rescale) -> tuple[Rescale, Rescale]:
    """The requantization of what fills the rule's lanes, and that of what does not."""
    assert isinstance(rescale.rule, FixedPoint)
    rules = replace(rescale.rule, lanes=None), tail_rule(rescale.rule)
    whole, rest = (replace(rescale, rule=rule, tail=None, tail_place=0) for rule in rules)
    return whole, rest


def _plain(rescale: Rescale, acc: np.ndarray, out: np.ndarray) -> None:
    for index in np.ndindex(acc.shape):
        out[index] = requantized(int(acc[index]), rescale, index[1])


def _spread(values: np.ndarray | list | int, channels: int, dtype: type = np.int64) -> np.ndarray:
    """One number a channel, `[channels]`; a copy, since to numba a read-only array is another type."""
    return np.array(np.broadcast_to(np.asarray(values, dtype), channels))


# ---- multipliers and shifts ------------------------------------------------------------------------------------


class _Numbers(Struct, frozen=True, kw_only=True):
    """One channel's numbers, as Python integers: see the kernel `fixed_point`. `moved`: its shift goes to the left."""

    multiplier: int
    left: int
    right: int
    add: int
    after: int
    moved: bool


def _numbers(rescale: Rescale) -> list[_Numbers]:
    rule, zero = rescale.rule, rescale.zero_point
    assert isinstance(rule, FixedPoint | PowerOfTwo)
    assert rescale.exponent is not None
    ones = np.ones_like(rescale.exponent)
    pairs = np.broadcast_arrays(ones if rescale.multiplier is None else rescale.multiplier, rescale.exponent)
    found = []
    for m, e in zip(*(side.tolist() for side in pairs), strict=True):
        left, right = 0, -e
        if isinstance(rule, FixedPoint):
            left, right = (0, multiplier_bits(rule) - e) if rule.first is None else (max(e, 0), max(-e, 0))
        before = rule.zero_point == "before" and right > 0
        found.append(
            _Numbers(
                multiplier=m << max(-right, 0),
                left=left,
                right=max(right, 0),
                add=zero if before else 0,
                after=0 if before else zero,
                moved=right < 0,
            )
        )
    return found


class _Stages(Struct, frozen=True, kw_only=True):
    """A rule's registers and shifts, 0 where there is none: see the kernels `fixed_point` and `fixed_point_wide`."""

    register: int = 0
    first: int = 0
    first_mode: int = 0
    wrapped: int = 0
    doubled: int = 0


def _stages(rule: FixedPoint | PowerOfTwo) -> _Stages:
    if isinstance(rule, PowerOfTwo):
        return _Stages()
    if rule.first is None:
        return _Stages(wrapped=rule.product or 0, doubled=rule.doubled or 0)
    return _Stages(register=rule.register, first=multiplier_bits(rule), first_mode=rounding_code(rule.first))


def _needed(stages: _Stages, rule: FixedPoint | PowerOfTwo, numbers: list[_Numbers], largest: int) -> _Stages:
    """Without the registers that hold whatever they meet; no less than half up sees what a doubled result has lost."""
    products = [largest * abs(n.multiplier) for n in numbers]
    if max(products) < 1 << max(stages.wrapped - 1, 0):
        stages = replace(stages, wrapped=0)
    reach = max(
        (p + (abs(n.add) << n.right) >> max(n.right - 1, 0)) + 1 for p, n in zip(products, numbers, strict=True)
    )
    roundings = {rule.rounding, *_tail(rule)}
    if roundings <= {Rounding.HALF_UP, Rounding.FLOOR} and 2 * reach < 1 << max(stages.doubled - 1, 0):
        stages = replace(stages, doubled=0)
    return stages


def _tail(rule: FixedPoint | PowerOfTwo) -> tuple[Rounding, ...]:
    """The rounding of the channels after the last whole group, where the rule has groups."""
    lanes = rule.lanes if isinstance(rule, FixedPoint) else None
    return () if lanes is None else (lanes.tail,)


def _lasts(rescale: Rescale, right: np.ndarray) -> np.ndarray:
    """`[5, c]`: the last shift of every channel, see `intsim_kernels.rounding.steps`."""
    from intsim_kernels.rounding import steps

    rule = rescale.rule
    assert isinstance(rule, FixedPoint | PowerOfTwo)
    found = steps(right, rounding_code(rule.rounding))
    for rounding in _tail(rule):
        found[:, rescale.tail :] = steps(right[rescale.tail :], rounding_code(rounding))
    return found


def _idle(middle: Cast, stages: _Stages, numbers: list[_Numbers], acc: Interval) -> bool:
    """Whether the middle register holds all that a single rounding of accumulators in `acc` gives it."""
    if stages != _Stages() or middle.shift or not middle.signed:
        return False
    ends = [end * n.multiplier + (n.add << n.right) >> n.right for n in numbers for end in acc]
    spare = max(n.right for n in numbers) > 0  # a rounding ends at most one off the floor
    top = 1 << (middle.bits - 1)
    return -top < min(ends) - spare + (middle.overflow is not Overflow.SATURATE_SYM) and max(ends) + spare < top


def _fixed(rescale: Rescale, channels: int, acc: Interval) -> Requantizer | None:
    from intsim_kernels.rounding import steps

    rule, numbers = rescale.rule, _numbers(rescale)
    assert isinstance(rule, FixedPoint | PowerOfTwo)
    if isinstance(rule, FixedPoint) and rule.left is not Overflow.WRAP:
        return None
    if not cast_takes(rule.middle) or max(abs(rescale.low), abs(rescale.high)) >= LIMIT:
        return None
    largest = max(abs(acc[0]), abs(acc[1]))
    if any(n.left > 62 for n in numbers):
        return None
    stages = _needed(_stages(rule), rule, numbers, largest)
    if (stages.wrapped or stages.doubled) and any(n.moved for n in numbers):
        return None
    bounds = [_bounds(n, largest, stages) for n in numbers]
    if any(wide >= LIMIT or abs(n.multiplier) >= LIMIT for n, (_, wide) in zip(numbers, bounds, strict=True)):
        return None
    if rule.middle is not None and _idle(rule.middle, stages, numbers, acc):
        rule = replace(rule, middle=None)
        rescale = replace(rescale, rule=rule)
    last_mode = rounding_code(rule.rounding)
    multiplier = _spread([n.multiplier for n in numbers], channels)
    left = _spread([n.left for n in numbers], channels)
    after = _spread([n.after for n in numbers], channels)
    ends = (cast_code(rule.middle), after, rescale.low, rescale.high, overflow_code(rescale.overflow))
    if _is_gemmlowp(rescale, numbers) and max(wide for _, wide in bounds) < (1 << 31) - (1 << 16):
        last = _lasts(rescale, _spread([n.right for n in numbers], channels)).astype(np.int32)
        factors, lefts, offsets = (v.astype(np.int32) for v in (multiplier, left, after))
        low, high = np.int32(rescale.low), np.int32(rescale.high)
        return Requantizer(
            kernel="doubled",
            why="gemmlowp's rule, in 32-bit lanes",  # which no result leaves, whatever is then added to it
            numbers=(factors, lefts, last, offsets, low, high),
            rescale=rescale,
        )
    if all(plain < LIMIT for plain, _ in bounds):
        shifts = steps(np.array(stages.first), stages.first_mode)
        add = _spread([n.add << n.right for n in numbers], channels)
        last = _lasts(rescale, _spread([n.right for n in numbers], channels))
        return Requantizer(
            kernel="fixed_point",
            why="every product fits 62 bits",
            numbers=(multiplier, left, stages.register, stages.wrapped, shifts, add, last, *ends),
            rescale=rescale,
        )
    if _tail(rule):
        return None
    right, firsts = _spread([min(n.right, 127) for n in numbers], channels), _spread(stages.first, channels)
    add = _spread([n.add for n in numbers], channels)
    before = (multiplier, left, stages.register, stages.wrapped, firsts, stages.first_mode, add, right, last_mode)
    return Requantizer(
        kernel="fixed_point_wide",
        why="products of up to 128 bits, or a result that wraps before its last rounding",
        numbers=(*before, stages.doubled, *ends),
        rescale=rescale,
    )


def _is_gemmlowp(rescale: Rescale, numbers: list[_Numbers]) -> bool:
    """A doubling high multiplication in 32 bits, a shift, a clamp; every number of the rule within int32."""
    rule = rescale.rule
    return (
        isinstance(rule, FixedPoint)
        and (multiplier_bits(rule), rule.first, rule.register, rule.middle) == (31, Rounding.HALF_UP, 32, None)
        and rescale.overflow is Overflow.SATURATE
        and max(abs(rescale.low), abs(rescale.high), abs(rescale.zero_point)) < 1 << 30
        and all(n.add == 0 and 0 <= n.multiplier < 1 << 31 and n.left <= 31 and n.right <= 30 for n in numbers)
    )


def _bounds(n: _Numbers, largest: int, stages: _Stages) -> tuple[int, int]:
    """What the plain kernel and what the wide kernel must hold, in magnitude; LIMIT where a shift is out of reach."""
    a, first, register = largest, stages.first, stages.register
    plain = 0
    if register:
        a = min(a << n.left, 1 << (register - 1))
        plain = a * abs(n.multiplier) + (1 << first) if n.left < register and first <= 62 else LIMIT
        a = min((a * abs(n.multiplier) >> first) + 2, 1 << (register - 1))
        product = a
    else:
        product = a * abs(n.multiplier)
        plain = product
        product = min(product, 1 << stages.wrapped - 1) if stages.wrapped else product
    plain = max(plain, product + (abs(n.add) << n.right) + (1 << n.right) if n.right <= 62 else LIMIT)
    result = min(product >> n.right, 1 << stages.doubled - 1) if stages.doubled else product >> n.right
    wide = result + abs(n.add) + abs(n.after) + 2
    if first > 127 or a * abs(n.multiplier) >= 1 << 126:
        wide = LIMIT
    return LIMIT if stages.doubled else plain, wide


# ---- floats and thresholds -------------------------------------------------------------------------------------


def _float(rescale: Rescale, channels: int, acc: Interval) -> Requantizer | None:
    rule, zero = rescale.rule, rescale.zero_point
    assert rescale.multiplier is not None
    real = np.float64 if isinstance(rule, Float64Scale) else np.float32
    divisor, multiplier, mode, before = np.ones(1, real), rescale.multiplier, Rounding.HALF_EVEN, False
    if isinstance(rule, Float32Requantize):
        multiplier, divisor = rescale.multiplier[:1], rescale.multiplier[1:]
    else:
        assert isinstance(rule, Float32Scale | Float64Scale)
        mode, before = rule.rounding, rule.zero_point == "before"
    largest = max(abs(acc[0]), abs(acc[1]))
    reach = largest * float(np.abs(multiplier).max()) / float(np.abs(divisor).min()) * 1.001
    if largest > 1 << 53 or reach >= 2.0**61 or max(abs(rescale.low), abs(rescale.high), abs(zero)) > 1 << 22:
        return None
    held = rule.converted if isinstance(rule, Float32Scale) else rule.sum if isinstance(rule, Float64Scale) else None
    if held is not None and reach + abs(zero) + 1 >= 2.0 ** (held - 1):
        return None
    after = 0 if before else zero
    numbers = (
        _spread(multiplier, channels, real),
        _spread(divisor, channels, real),
        _spread([(zero if rescale.addend is None else rescale.addend[0]) if before else 0], channels, real),
        rounding_code(mode),
    )
    ends = (after, rescale.low, rescale.high, overflow_code(rescale.overflow))
    return Requantizer(
        kernel="float_scale",
        why="the machine multiplies by a float scale",
        numbers=(*numbers, *ends),
        rescale=rescale,
    )


def _thresholds(rescale: Rescale, channels: int) -> Requantizer:
    assert rescale.thresholds is not None
    table = np.array(np.broadcast_to(rescale.thresholds, (channels, rescale.thresholds.shape[1])))
    return Requantizer(
        kernel="thresholds",
        why="the machine compares",
        numbers=(table, rescale.low),
        rescale=rescale,
    )
