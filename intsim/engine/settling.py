"""Requantization planned as routines: from sums in scratch to where the output tensor lies."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.engine.calls import Call
from intsim.engine.operands import INT32, within
from intsim.engine.rescale import Requantizer, plan_rescale
from intsim.engine.rooms import Room, places
from intsim.integers import Overflow, Rounding
from intsim.program import Rescale
from intsim.ranges import Interval
from intsim.target import FixedPoint, Float32Requantize


class Vectors(Struct, frozen=True, kw_only=True, eq=False):
    """A requantization in vectors: a rule of `intsim_kernels.epilogue`, its arrays, columns at once, and the ends."""

    rule: str
    arrays: dict[str, np.ndarray]
    lanes: int
    after: int
    low: int
    high: int


def settled(rescale: Rescale, channels: int, columns: int, acc: Interval) -> Requantizer:
    """The requantization of sums `[rows][columns]`, of which `channels` count; the others are 0 and come to nothing."""
    numbers = {name: getattr(rescale, name) for name in ("multiplier", "exponent", "thresholds")}
    if columns > channels > 1 and not isinstance(rescale.rule, Float32Requantize):
        for name, values in numbers.items():
            if values is not None and len(values) == channels:
                numbers[name] = np.concatenate([values, np.repeat(values[-1:], columns - channels, axis=0)])
    return plan_rescale(replace(rescale, **numbers), columns, acc)


def settle_calls(requantizer: Requantizer, sums: str, columns: int, source: int, scratch: int, out: Room) -> list[Call]:
    """Sums of type `sums` in scratch at `source` to the room `out`, by way of scratch where its rows have gaps."""
    from intsim_kernels.moves import placing

    straight = out.bare and columns == out.channels
    goal, advance = (out.offset, columns * out.item) if straight else (scratch, 0)
    calls = [settle_call(requantizer, sums, (source, columns, goal, advance), out)]
    if not straight:
        calls.append(Call(routine=placing(out.dtype, out.dtype), words=placed(scratch, columns, out)))
    return calls


def settle_call(requantizer: Requantizer, sums: str, first: tuple[int, int, int, int], out: Room) -> Call:
    """Sums to integers as the room `out` holds them; `first`: source, columns, goal, bytes that a row goes further."""
    found = in_vectors(requantizer, first[1]) if sums == "int32" and out.dtype != "int64" else None
    assert found is not None or not out.shift
    return _by_loops(requantizer, sums, first, out) if found is None else _by_vectors(found, first, out)


def _by_loops(requantizer: Requantizer, sums: str, first: tuple[int, ...], out: Room) -> Call:
    from intsim_kernels.settle import settling

    rule, numbers = requantizer.kernel, requantizer.numbers
    assert numbers is not None
    words = [*first, *(n if isinstance(n, np.ndarray) and n.ndim else int(n) for n in numbers)]
    if rule == "float_scale":
        rule = f"{numbers[0].dtype.name}_scale"
    if rule == "thresholds":
        words.insert(5, numbers[0].shape[1])
    return Call(routine=settling(rule, sums, out.dtype), words=tuple(words))


def _by_vectors(found: Vectors, first: tuple[int, ...], out: Room) -> Call:
    from intsim_kernels.epilogue import settling

    routine = settling(found.rule, out.dtype, tuple(found.arrays), found.lanes)
    ends = (found.after + out.shift, found.low + out.shift, found.high + out.shift)
    return Call(routine=routine, words=(*first, *ends, *found.arrays.values()))


def placed(scratch: int, columns: int, out: Room) -> tuple[int | np.ndarray, ...]:
    """The parameters of `moves.place`: rows of `columns` integers in scratch, of which the room's channels count."""
    base = places(out)
    together = 1
    if columns == out.channels:
        together = len(base) if out.bare else out.width
    return (scratch, columns * out.item, out.channels, out.offset, out.size, base, len(base), together)


def settles(requantizer: Requantizer, columns: int, shift: int) -> bool:
    """Whether a routine does the requantization of so many columns into a room with that shift."""
    return requantizer.numbers is not None and (shift == 0 or in_vectors(requantizer, columns) is not None)


# ---- rules that fit vectors ------------------------------------------------------------------------------------


def in_vectors(requantizer: Requantizer, columns: int) -> Vectors | None:
    """The requantization of int32 sums in vectors, where a rule for them does the same."""
    from intsim_kernels.cpu import LANES

    if columns % LANES or not requantizer.narrow or requantizer.rescale.overflow is not Overflow.SATURATE:
        return None
    if not within((requantizer.rescale.low, requantizer.rescale.high), INT32):
        return None
    match requantizer.kernel:
        case "doubled":
            return _doubled(requantizer, columns)
        case "fixed_point":
            return _single(requantizer, columns)
        case "float_scale":
            return _float32(requantizer, columns)
    return None


def _ends(requantizer: Requantizer, after: np.ndarray) -> dict[str, int] | None:
    """The clamp, where all columns add the same integer to what they rounded."""
    if (after != after[0]).any():
        return None
    rescale = requantizer.rescale
    return {"after": int(after[0]), "low": rescale.low, "high": rescale.high}


def _last(requantizer: Requantizer, last: np.ndarray, largest: int, dtype: type) -> dict[str, np.ndarray]:
    """The last shift of numbers up to `largest`: what is added before it, or thresholds for the rest.

    Half up is rounding down after adding a half; half away from zero, too, with 1 less for negative numbers.
    """
    roundings = _roundings(requantizer.rescale, last.shape[1])
    right, half = last[0].astype(dtype), ((np.int64(1) << last[0].astype(np.int64)) >> 1).astype(dtype)
    away = np.array([rounding is Rounding.HALF_AWAY for rounding in roundings])
    halves = {*roundings} <= {Rounding.HALF_UP, Rounding.HALF_AWAY}
    if halves and largest + int(half.max()) < 1 << (half.itemsize * 8 - 1):
        less = {"away": -((half > 0) & away).astype(dtype)} if away.any() else {}
        return {"right": right, "half": half, **less}
    found = dict(zip(("right", "t", "below", "odd", "down"), last.astype(dtype), strict=True))
    return {name: array for name, array in found.items() if name in ("right", "t") or array.any()}


def _roundings(rescale: Rescale, columns: int) -> list[Rounding | None]:
    """The last rounding of each column."""
    rule = rescale.rule
    found = [getattr(rule, "rounding", None)] * columns
    if isinstance(rule, FixedPoint) and rule.lanes is not None:
        found[rescale.tail :] = [rule.lanes.tail] * len(found[rescale.tail :])
    return found


def _doubled(requantizer: Requantizer, columns: int) -> Vectors | None:
    from intsim_kernels.epilogue import lanes_of

    assert requantizer.numbers is not None
    multiplier, left, last, after, _, _ = requantizer.numbers
    ends = _ends(requantizer, after)
    if ends is None:
        return None
    reach = requantizer.largest << int(left.max())
    high = min(1 << 31, (reach * int(multiplier.max()) >> 31) + 1) if reach < 1 << 31 else 1 << 31
    arrays = {"multiplier": multiplier} | ({"left": left} if left.any() else {})
    arrays |= _last(requantizer, last, high, np.int32)
    return Vectors(rule="doubled", arrays=arrays, lanes=lanes_of("doubled", columns), **ends)


def _single(requantizer: Requantizer, columns: int) -> Vectors | None:
    """One rounding: of an int32 sum itself, or of its product with a multiplier of 31 bits."""
    from intsim_kernels.epilogue import lanes_of

    assert requantizer.numbers is not None
    multiplier, _, register, wrapped, _, add, last, middle, after, *_ = requantizer.numbers
    right, ends, largest = last[0], _ends(requantizer, after), requantizer.largest
    if register or wrapped or middle[0] or ends is None or multiplier.min() < 0 or multiplier.max() >= 1 << 31:
        return None
    if (((largest * multiplier.astype(object) + abs(add)) >> right) + abs(after) + 2 >= 1 << 31).any():
        return None
    if (multiplier == 1).all() and not add.any() and right.max() <= 30:
        arrays = _last(requantizer, last, largest, np.int32)
        return Vectors(rule="shift", arrays=arrays, lanes=lanes_of("shift", columns), **ends)
    reach = largest * int(multiplier.max()) + int(np.abs(add).max())
    arrays = {"multiplier": multiplier} | ({"add": add} if add.any() else {})
    arrays |= _last(requantizer, last, reach, np.int64)
    rule = "product"
    if arrays.keys() == {"multiplier", "right", "half"} and right.min() >= 32:
        shift = (arrays.pop("right") - 32).astype(np.int32)
        rule, arrays = "high", {**arrays, "right32": shift}
    lanes = lanes_of(rule, columns)
    arrays = {name: v if v.dtype == np.int32 else _parted(v.astype(np.int64), lanes) for name, v in arrays.items()}
    return Vectors(rule=rule, arrays=arrays, lanes=lanes, **ends)


def _parted(array: np.ndarray, lanes: int) -> np.ndarray:
    """In every so many columns the even ones before the odd ones."""
    return np.ascontiguousarray(array.reshape(-1, lanes // 2, 2).transpose(0, 2, 1)).reshape(-1)


def _float32(requantizer: Requantizer, columns: int) -> Vectors | None:
    from intsim_kernels import codes
    from intsim_kernels.epilogue import lanes_of

    assert requantizer.numbers is not None
    multiplier, divisor, before, mode, after, low, high, _ = requantizer.numbers
    if multiplier.dtype != np.float32 or mode != codes.HALF_EVEN or (divisor != 1).any():
        return None
    arrays = {"multiplier": multiplier} | ({"before": before} if before.any() else {})
    lanes = lanes_of("float32", columns)
    return Vectors(rule="float32", arrays=arrays, lanes=lanes, after=after, low=low, high=high)
