"""One integer at a time, planned as routines: Clip, Offset, Convert, Add; and the moves, Rearrange and Pad."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from intsim.engine.calls import Call, Native, fitting
from intsim.engine.rescale import plan_rescale, settle
from intsim.engine.rooms import Room
from intsim.engine.runs import Runs, offsets, runs
from intsim.engine.settling import settle_call, settles
from intsim.integers import IntType, Overflow, Rounding
from intsim.program import Add, Clip, Convert, Offset, Pad, Rearrange, Rescale, Tensor
from intsim.ranges import Interval
from intsim.target import AlignedAdd, ClippedAdd, Float32Add, PowerOfTwo, ThreeRescales, TwoMultipliers

LARGEST = 1 << 16
"""Integers that are looked up have so many values at most."""

SUMMED = 1 << 10
"""Integers of a run whose sums go to scratch, at most."""

GATHERED = 4
"""Runs shorter than this are gathered integer by integer."""

FAR = 1 << 58
"""What an operand adds to a sum is nearer to 0."""

Tables = Callable[[np.ndarray], np.ndarray]  # from all integers of a type, int64, to what a step makes of each


def moved(x: Tensor, at: Room, out: Room, added: int, ends: Interval) -> tuple[Native, ...]:
    """min(max(q + added, low), high), integer by integer."""
    found = runs([(at, offsets(at, x.shape)), (out, offsets(out, x.shape))])
    return (_clamped(found, at, out, added, ends),)


def clip(compute: Clip, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """min(max(q, low), high)."""
    return moved(x, at, out, 0, (compute.low, compute.high))


def offset(compute: Offset, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """q + offset."""
    return moved(x, at, out, compute.offset, _any(out))


def rearrange(compute: Rearrange, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """Axes and shapes: a copy where runs stay, else integer by integer."""
    source = offsets(at, x.shape).transpose(compute.before).reshape(compute.shape).transpose(compute.after)
    goal = offsets(out, source.shape)
    found = runs([(at, source), (out, goal)])
    if found.length >= GATHERED or found.count == 1:
        return (_clamped(found, at, out, 0, _any(out)),)
    return _gathered(source, goal, at, out)


def _gathered(source: np.ndarray, goal: np.ndarray, at: Room, out: Room) -> tuple[Native, ...]:
    from intsim_kernels.elements import element

    found = runs([(out, goal)])
    index = (source.reshape(found.count, -1) // at.item).astype(np.int32)
    begin = Runs(length=found.length, base=(np.zeros(found.count, np.int64), *found.base))
    words = (*_words(begin, at, out), index, out.shift - at.shift)
    return (Native(calls=(Call(routine=element("gathered", at.dtype, out.dtype), words=words),), rows=found.count),)


def pad(compute: Pad, x: Tensor, y: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """A border of one value, then what it surrounds."""
    from intsim_kernels.elements import element

    goal = offsets(out, y.shape)
    whole = runs([(out, goal), (out, goal)])
    words = (*_words(whole, out, out), compute.value + out.shift)
    fill = Call(routine=element("filled", out.dtype, out.dtype), words=words)
    inner = tuple(slice(b, b + size) for b, size in zip(compute.begin, x.shape, strict=True))
    found = runs([(at, offsets(at, x.shape)), (out, goal[inner])])
    return Native(calls=(fill,), rows=whole.count), _clamped(found, at, out, 0, _any(out))


def convert(compute: Convert, xs: list[Tensor], y: Tensor, rooms: list[Room], out: Room) -> tuple[Native, ...] | None:
    """Each input in the output's affine, at its place along the axis."""
    goal, done, begin = offsets(out, y.shape), list[Native](), 0
    for x, at, zero, rule in zip(xs, rooms, compute.input_zero_points, compute.rescales, strict=True):
        end = begin + x.shape[compute.axis]
        part = goal[(slice(None),) * compute.axis + (slice(begin, end),)]
        found = runs([(at, offsets(at, x.shape)), (out, part)])
        if rule is None:
            done.append(_clamped(found, at, out, 0, _any(out)))
        elif _values(x) <= LARGEST:
            done.append(_looked_up(found, at, out, x.affine.type, _rescaled(rule, zero, out.dtype)))
        else:
            return None
        begin = end
    return tuple(done)


def _values(x: Tensor) -> int:
    return x.affine.type.high - x.affine.type.low + 1


def _rescaled(rule: Rescale, zero: int, dtype: str = "int64") -> Tables:
    def table(q: np.ndarray) -> np.ndarray:
        acc, out = (q - zero).reshape(-1, 1), np.empty((len(q), 1), np.int64)
        planned = plan_rescale(rule, 1, (int(acc.min()), int(acc.max())))
        settle(planned, acc.astype(np.int32) if planned.narrow else acc, out)
        return out[:, 0]

    return table


def _looked_up(found: Runs, at: Room, out: Room, kind: IntType, rule: Tables) -> Native:
    from intsim_kernels.elements import element

    table = (rule(np.arange(kind.low, kind.high + 1)) + out.shift).astype(out.dtype)
    words = (*_words(found, at, out), table, len(table), kind.low + at.shift)
    return Native(calls=(Call(routine=element("looked_up", at.dtype, out.dtype), words=words),), rows=found.count)


def _clamped(found: Runs, at: Room, out: Room, added: int, ends: Interval) -> Native:
    from intsim_kernels.elements import element

    kind = np.iinfo(out.dtype)
    low, high = (min(max(end + out.shift, int(kind.min)), int(kind.max)) for end in ends)
    words = (*_words(found, at, out), added + out.shift - at.shift, low, high)
    return Native(calls=(Call(routine=element("clamped", at.dtype, out.dtype), words=words),), rows=found.count)


def _any(out: Room) -> Interval:
    """No clamp: the ends of the room's type."""
    kind = np.iinfo(out.dtype)
    return int(kind.min) - out.shift, int(kind.max) - out.shift


def _words(found: Runs, at: Room, out: Room) -> tuple[int | np.ndarray, ...]:
    return (found.count, found.length, *_told(at, found.base[0]), *_told(out, found.base[-1]))


def _told(at: Room, base: np.ndarray) -> tuple[int | np.ndarray, ...]:
    return (at.offset, at.size, base)


# ---- sums of two activations -----------------------------------------------------------------------------------


def add(compute: Add, xs: list[Tensor], rooms: list[Room], out: Room) -> tuple[Native, ...] | None:
    """The sum of two activations: what each one adds is looked up, the sum is requantized."""
    if max(map(_values, xs)) > LARGEST:
        return None
    if isinstance(compute.rule, Float32Add):
        return _float_add(compute, xs, rooms, out)
    rules = _terms(compute)
    if rules is None:
        return None
    *terms, last = rules
    tables = []
    for x, term in zip(xs, terms, strict=True):
        tables.append(term(np.arange(x.affine.type.low, x.affine.type.high + 1)))
    if max(int(np.abs(table).max()) for table in tables) >= FAR:
        return None
    ends = sum(int(t.min()) for t in tables), sum(int(t.max()) for t in tables)
    found = runs([(at, offsets(at, x.shape)) for x, at in zip([*xs, xs[0]], [*rooms, out], strict=True)], SUMMED)
    return _summed(found, tables, xs, rooms, out, last, ends)


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
    from intsim_kernels.moves import placing

    requantizer = plan_rescale(last, found.length, ends)
    if not settles(requantizer, found.length, out.shift):
        return None
    sums = "int32" if requantizer.narrow else "int64"
    item = np.dtype(sums).itemsize
    a, b = rooms
    words = [found.count, found.length, *_told(a, found.base[0]), *_told(out, found.base[2]), *_told(b, found.base[1])]
    for table, x, at in zip(tables, xs, rooms, strict=True):
        words += [table.astype(sums), len(table), x.affine.type.low + at.shift]
    first = Call(routine=adding(a.dtype, b.dtype, sums), words=(*words, 0))
    block = max(1, min(fitting(found.length * (item + out.item)), (1 << 14) // (found.length * item)))
    done = block * found.length * item
    goal, advance = (out.offset, found.length * out.item) if out.bare else (done, 0)
    calls = [first, settle_call(requantizer, sums, (0, found.length, goal, advance), out)]
    if not out.bare:
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
            first, second = (
                (_shifted(_rescaled(s, 0), z, rule.left_shift)) for s, z in zip(steps, (za, zb), strict=False)
            )
            return first, second, steps[2]
        case TwoMultipliers():
            assert compute.multiplier is not None
            assert compute.exponent is not None
            fa, fb = (int(f) for f in compute.multiplier)
            return _times(za, fa), _times(zb, fb), _power(compute, rule.rounding, -int(compute.exponent[0]))
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
        case _:
            raise AssertionError(rule)


def _steps(compute: Add, rule: ThreeRescales) -> list[Rescale]:
    """The three requantizations; the terms' own ends are beyond everything."""
    assert compute.multiplier is not None
    assert compute.exponent is not None
    each = replace(rule.requantize, zero_point="after")  # with zero point 0 both are the same
    return [
        Rescale(
            rule=each,
            zero_point=compute.zero_point if i == 2 else 0,
            low=compute.low if i == 2 else -FAR,
            high=compute.high if i == 2 else FAR,
            overflow=Overflow.SATURATE,
            multiplier=compute.multiplier[i : i + 1],
            exponent=compute.exponent[i : i + 1],
        )
        for i in range(3)
    ]


def _shifted(table: Tables, zero: int, left: int) -> Tables:
    return lambda q: table((q - zero) << left)


def _times(zero: int, factor: int) -> Tables:
    return lambda q: (q - zero) * factor


def _clipped(compute: Add, zero: int, ratio: np.float32) -> Tables:
    def table(q: np.ndarray) -> np.ndarray:
        v = np.rint((q - zero).astype(np.float32) * ratio)
        return np.clip(v, compute.low, compute.high).astype(np.int64)

    return table


def _power(compute: Add, rounding: Rounding, exponent: int) -> Rescale:
    """clamp(rounded(sum * 2^exponent) + zero point)."""
    return Rescale(
        rule=PowerOfTwo(rounding=rounding),
        zero_point=compute.zero_point,
        low=compute.low,
        high=compute.high,
        overflow=Overflow.SATURATE,
        exponent=np.array([exponent], np.int64),
    )


def _float_add(compute: Add, xs: list[Tensor], rooms: list[Room], out: Room) -> tuple[Native, ...] | None:
    from intsim_kernels.elements import float_adding

    assert isinstance(compute.rule, Float32Add)
    assert compute.multiplier is not None
    if float(np.abs(compute.multiplier).max()) > 2.0**36:
        return None
    found = runs([(at, offsets(at, x.shape)) for x, at in zip([*xs, xs[0]], [*rooms, out], strict=True)])
    a, b = rooms
    words = (found.count, found.length, *_told(a, found.base[0]), *_told(out, found.base[2]))
    more = (*_told(b, found.base[1]), compute.multiplier, compute.low, compute.high, out.shift, a.shift, b.shift)
    call = Call(routine=float_adding(a.dtype, b.dtype, out.dtype, compute.rule.fused), words=(*words, *more))
    return (Native(calls=(call,), rows=found.count),)
