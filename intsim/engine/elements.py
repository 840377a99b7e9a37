"""One integer at a time, planned as routines: Clip, Offset, Convert, Add."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import operand_shifts, three_rules
from intsim.engine.calls import Call, Native, fitting
from intsim.engine.rescale import Requantizer, plan_rescale, settle
from intsim.engine.rooms import Room
from intsim.engine.runs import Runs, offsets, runs
from intsim.engine.settling import settle_call, settles
from intsim.integers import IntType, Overflow, Rounding
from intsim.program import Add, Clip, Convert, Offset, Rescale, Tensor
from intsim.ranges import Interval
from intsim.target import (
    AlignedAdd,
    Cast,
    ClippedAdd,
    DequantizedAdd,
    Float32Add,
    PowerOfTwo,
    RequantizedSum,
    ShiftedAdd,
    ThreeRescales,
    TwoMultipliers,
)

LARGEST = 1 << 16
"""Integers that are looked up have so many values at most."""

SUMMED = 1 << 10
"""Integers of a run whose sums go to scratch, at most."""

FAR = 1 << 58
"""What an operand adds to a sum is nearer to 0."""

Tables = Callable[[np.ndarray], np.ndarray]  # from all integers of a type, int64, to what a step makes of each


def moved(x: Tensor, at: Room, out: Room, added: int, ends: Interval) -> tuple[Native, ...]:
    """min(max(q + added, low), high), integer by integer."""
    found = runs([(at, offsets(at, x.shape)), (out, offsets(out, x.shape))])
    return (clamped(found, at, out, added, ends),)


def clip(compute: Clip, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """min(max(q, low), high)."""
    return moved(x, at, out, 0, (compute.low, compute.high))


def offset(compute: Offset, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """q + offset."""
    return moved(x, at, out, compute.offset, anything(out))


def convert(
    compute: Convert, xs: list[Tensor], y: Tensor, rooms: list[Room], out: Room, only: np.ndarray | None = None
) -> tuple[Native, ...] | None:
    """Each input in the output's affine, at its place along the axis; of some integers `only`: bool of y's shape."""
    goal, done, begin = offsets(out, y.shape), list[Native](), 0
    for x, at, zero, rule in zip(xs, rooms, compute.input_zero_points, compute.rescales, strict=True):
        end = begin + x.shape[compute.axis]
        where = (slice(None),) * compute.axis + (slice(begin, end),)
        begin = end
        if only is not None and not only[where].any():
            continue
        chosen = ... if only is None else only[where]
        found = runs([(at, offsets(at, x.shape)[chosen]), (out, goal[where][chosen])])
        if rule is None:
            done.append(clamped(found, at, out, 0, anything(out)))
        elif values_of(x) <= LARGEST:
            done.append(looked_up(found, at, out, x.affine.type, _rescaled(rule, zero, out.dtype)))
        else:
            return None
    return tuple(done)


def values_of(x: Tensor) -> int:
    """How many integers the tensor's type has."""
    return x.affine.type.high - x.affine.type.low + 1


def _rescaled(rule: Rescale, zero: int, dtype: str = "int64") -> Tables:
    def table(q: np.ndarray) -> np.ndarray:
        acc, out = (q - zero).reshape(-1, 1), np.empty((len(q), 1), np.int64)
        planned = plan_rescale(rule, 1, (int(acc.min()), int(acc.max())))
        settle(planned, acc.astype(np.int32) if planned.narrow else acc, out)
        return out[:, 0]

    return table


def looked_up(found: Runs, at: Room, out: Room, kind: IntType, rule: Tables) -> Native:
    """What the rule makes of each integer."""
    from intsim_kernels.elements import element

    table = (rule(np.arange(kind.low, kind.high + 1)) + out.shift).astype(out.dtype)
    words = (*words_of(found, at, out), table, len(table), kind.low + at.shift)
    return Native(calls=(Call(routine=element("looked_up", at.dtype, out.dtype), words=words),), rows=found.count)


def clamped(found: Runs, at: Room, out: Room, added: int, ends: Interval) -> Native:
    """min(max(q + added, low), high), along runs."""
    from intsim_kernels.elements import element

    kind = np.iinfo(at.dtype)
    least, most = int(kind.min), int(kind.max)
    low, high = (end - added + at.shift for end in ends)  # of what lies in the room
    beyond = max(low - most, 0) + min(high - least, 0)  # ends that no integer of the room reaches: all become one
    low, high = (min(max(end, least), most) for end in (low, high))
    words = (*words_of(found, at, out), added + out.shift - at.shift + beyond, low, high)
    return Native(calls=(Call(routine=element("clamped", at.dtype, out.dtype), words=words),), rows=found.count)


def anything(out: Room) -> Interval:
    """No clamp: the ends of the room's type."""
    kind = np.iinfo(out.dtype)
    return int(kind.min) - out.shift, int(kind.max) - out.shift


def words_of(found: Runs, at: Room, out: Room) -> tuple[int | np.ndarray, ...]:
    """The first parameters of every routine that goes along runs from one room to another."""
    return (found.count, found.length, *told(at, found.base[0]), *told(out, found.base[-1]))


def told(at: Room, base: np.ndarray) -> tuple[int | np.ndarray, ...]:
    """How a routine is told of a tensor: its offset, the bytes of an image, and where its runs begin."""
    return (at.offset, at.size, base)


# ---- sums of two activations -----------------------------------------------------------------------------------


def add(
    compute: Add, xs: list[Tensor], y: Tensor, rooms: list[Room], out: Room, only: np.ndarray | None = None
) -> tuple[Native, ...] | None:
    """The sum of two activations: what each one adds is looked up, the sum is requantized; `only` as in `convert`."""
    if max(map(values_of, xs)) > LARGEST:
        return None
    if isinstance(compute.rule, Float32Add):
        if (compute.rule.first == "b") != compute.rule.fused:  # fused, the routine begins with b
            xs, rooms = xs[::-1], rooms[::-1]
        return _float_add(compute, spread([*xs, y], [*rooms, out], only=only), rooms, out)
    if isinstance(compute.rule, DequantizedAdd):
        return None
    rules = _terms(compute)
    if rules is None:
        return None
    *terms, last = rules
    tables = []
    for x, term in zip(xs, terms, strict=True):
        tables.append(term(np.arange(x.affine.type.low, x.affine.type.high + 1)))
    if compute.subtract:
        tables[1] = -tables[1]
    if max(int(np.abs(table).max()) for table in tables) >= FAR:
        return None
    ends = sum(int(t.min()) for t in tables), sum(int(t.max()) for t in tables)
    found = spread([*xs, y], [*rooms, out], SUMMED, only)
    return _summed(found, tables, xs, rooms, out, last, ends)


def spread(tensors: list[Tensor], rooms: list[Room], most: int = 1 << 30, only: np.ndarray | None = None) -> Runs:
    """The runs of several tensors whose shapes broadcast to that of the last; of some integers `only`."""
    shape, chosen = tensors[-1].shape, ... if only is None else only
    where = [np.broadcast_to(offsets(at, x.shape), shape)[chosen] for x, at in zip(tensors, rooms, strict=True)]
    return runs([*zip(rooms, where, strict=True)], most)


def _summed(
    found: Runs,
    tables: list[np.ndarray],
    xs: list[Tensor],
    rooms: list[Room],
    out: Room,
    last: Rescale,
    ends: Interval,
) -> tuple[Native, ...] | None:
    from intsim_kernels.elements import adding

    requantizer = plan_rescale(last, found.length, ends)
    if not settles(requantizer, found.length, out.shift):
        return None
    sums = "int32" if requantizer.narrow else "int64"
    a, b = rooms
    words = [found.count, found.length, *told(a, found.base[0]), *told(out, found.base[2]), *told(b, found.base[1])]
    for table, x, at in zip(tables, xs, rooms, strict=True):
        words += [table.astype(sums), len(table), x.affine.type.low + at.shift]
    first = Call(routine=adding(a.dtype, b.dtype, sums), words=(*words, 0))
    return settled_sums(found, first, requantizer, out)


def settled_sums(found: Runs, first: Call, requantizer: Requantizer, out: Room) -> tuple[Native, ...]:
    """What `first` puts into scratch, run by run, requantized to where it belongs."""
    from intsim_kernels.moves import placing

    sums = "int32" if requantizer.narrow else "int64"
    item = np.dtype(sums).itemsize
    block = max(1, min(fitting(found.length * (item + out.item)), (1 << 14) // (found.length * item)))
    done = block * found.length * item
    straight = out.bare and found.count * found.length * out.item == out.size  # every integer, and no gap
    goal, advance = (out.offset, found.length * out.item) if straight else (done, 0)
    calls = [first, settle_call(requantizer, sums, (0, found.length, goal, advance), out)]
    if not straight:
        n = found.length
        place = (done, n * out.item, n, out.offset, out.size, found.base[2], found.count, 1)
        calls.append(Call(routine=placing(out.dtype, out.dtype), words=place))
    return (Native(calls=tuple(calls), rows=found.count, block=block),)


def _terms(compute: Add) -> tuple[Tables, Tables, Rescale] | None:
    """What each operand adds, and the requantization of the sum."""
    (za, zb), rule = compute.zero_points, compute.rule
    match rule:
        case ThreeRescales():
            steps = _steps(compute, rule)
            if max(left for left, _ in operand_shifts(compute)) > 40:
                return None
            first, second = (
                _shifted(_rescaled(steps[i], 0), z, left)
                for i, (z, (left, _)) in enumerate(zip((za, zb), operand_shifts(compute), strict=True))
            )
            return first, second, steps[2]
        case TwoMultipliers():
            assert compute.multiplier is not None
            assert compute.exponent is not None
            fa, fb = (int(f) for f in compute.multiplier)
            last = _power(compute, rule.rounding, -int(compute.exponent[0]), middle=rule.middle)
            return _times(za, fa), _times(zb, fb), last
        case ShiftedAdd():
            assert compute.exponent is not None
            one = _power(compute, Rounding.FLOOR, 0)
            first, second = (
                _rescaled(replace(_power(compute, rule.rounding, -int(e)), zero_point=0, low=-FAR, high=FAR), z)
                for e, z in zip(compute.exponent, (za, zb), strict=True)
            )
            return first, second, one
        case AlignedAdd():
            assert compute.exponent is not None
            left_a, left_b, e = (int(n) for n in compute.exponent)
            if max(left_a, left_b) > 38:
                return None
            return _times(za, 1 << left_a), _times(zb, 1 << left_b), _power(compute, rule.rounding, e)
        case ClippedAdd():
            assert compute.multiplier is not None
            ra, rb = (np.float32(m) for m in compute.multiplier)
            return _clipped(compute, za, ra), _clipped(compute, zb, rb), _power(compute, Rounding.FLOOR, 0)
        case RequantizedSum():
            assert compute.rescale is not None
            return _times(za, 1), _times(zb, 1), compute.rescale
        case _:
            raise AssertionError(rule)


def _steps(compute: Add, rule: ThreeRescales) -> list[Rescale]:
    """The three requantizations; the terms' own ends are beyond everything."""
    assert compute.multiplier is not None
    assert compute.exponent is not None
    each = [replace(one, zero_point="after") for one in three_rules(rule)]  # with zero point 0 both are the same
    exponents = [*(e for _, e in operand_shifts(compute)), int(compute.exponent[2])]
    return [
        Rescale(
            rule=each[i],
            zero_point=compute.zero_point if i == 2 else 0,
            low=compute.low if i == 2 else -FAR,
            high=compute.high if i == 2 else FAR,
            overflow=Overflow.SATURATE,
            multiplier=compute.multiplier[i : i + 1],
            exponent=np.array(exponents[i : i + 1], np.int64),
        )
        for i in range(3)
    ]


def _shifted(table: Tables, zero: int, left: int) -> Tables:
    return lambda q: table((q - zero) << left if left > 0 else (q - zero) >> min(-left, 62))


def _times(zero: int, factor: int) -> Tables:
    return lambda q: (q - zero) * factor


def _clipped(compute: Add, zero: int, ratio: np.float32) -> Tables:
    def table(q: np.ndarray) -> np.ndarray:
        v = np.rint((q - zero).astype(np.float32) * ratio)
        return np.clip(v, compute.low, compute.high).astype(np.int64)

    return table


def _power(compute: Add, rounding: Rounding, exponent: int, middle: Cast | None = None) -> Rescale:
    """clamp(rounded(sum * 2^exponent) + zero point)."""
    return Rescale(
        rule=PowerOfTwo(rounding=rounding, middle=middle),
        zero_point=compute.zero_point,
        low=compute.low,
        high=compute.high,
        overflow=Overflow.SATURATE,
        exponent=np.array([exponent], np.int64),
    )


def _float_add(compute: Add, found: Runs, rooms: list[Room], out: Room) -> tuple[Native, ...] | None:
    from intsim_kernels.elements import float_adding

    assert isinstance(compute.rule, Float32Add)
    assert compute.multiplier is not None
    if float(np.abs(compute.multiplier).max()) > 2.0**36:
        return None
    numbers = compute.multiplier * np.array([1, -1 if compute.subtract else 1, 1], np.float32)
    if (compute.rule.first == "b") != compute.rule.fused:
        numbers = numbers[[1, 0, 2]]
    a, b = rooms
    words = (found.count, found.length, *told(a, found.base[0]), *told(out, found.base[2]))
    more = (*told(b, found.base[1]), numbers, compute.low, compute.high, out.shift, a.shift, b.shift)
    call = Call(routine=float_adding(a.dtype, b.dtype, out.dtype, compute.rule.fused), words=(*words, *more))
    return (Native(calls=(call,), rows=found.count),)
