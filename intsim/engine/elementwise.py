"""One integer at a time planned: Add, Clip, Convert, Offset."""

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import multiplier_bits, operand_shifts, three_rules
from intsim.engine.codes import rounding_code
from intsim.engine.rescale import LIMIT, plan_rescale
from intsim.engine.step import Run, plain, requantizing
from intsim.integers import Overflow
from intsim.program import Add, Clip, Convert, Offset, Rescale
from intsim.ranges import Interval
from intsim.target import (
    AlignedAdd,
    ClippedAdd,
    DequantizedAdd,
    Float32Add,
    PowerOfTwo,
    ShiftedAdd,
    ThreeRescales,
    TwoMultipliers,
)


def plan_clip(clip: Clip, dtype: np.dtype) -> tuple[str, str, Run]:
    """min(max(q, low), high)."""
    ends = np.iinfo(dtype)
    low, high = (min(max(v, int(ends.min)), int(ends.max)) for v in (clip.low, clip.high))
    least, most = dtype.type(low), dtype.type(high)

    def run(x: np.ndarray) -> np.ndarray:
        x = np.maximum(x, least, dtype=dtype) if low > ends.min else x.astype(dtype, copy=False)
        return np.minimum(x, most, dtype=dtype) if high < ends.max else x

    return "numpy", "", run


def plan_offset(offset: Offset, dtype: np.dtype) -> tuple[str, str, Run]:
    """q + offset."""
    return "numpy", "", lambda x: (x.astype(np.int64) + offset.offset).astype(dtype)


def plan_convert(convert: Convert, channels: list[int], known: list[Interval], dtype: np.dtype) -> tuple[str, str, Run]:
    """Each input in the output's affine, joined."""
    parts = []
    for zero, rule, c, (low, high) in zip(convert.input_zero_points, convert.rescales, channels, known, strict=True):
        if max(abs(low), abs(high)) >= 1 << 30:
            return plain(convert, dtype, "integers beyond 30 bits")
        parts.append(_identity(dtype) if rule is None else _converted(rule, zero, c, (low - zero, high - zero), dtype))

    def run(*inputs: np.ndarray) -> np.ndarray:
        done = [part(x) for part, x in zip(parts, inputs, strict=True)]
        return done[0] if len(done) == 1 else np.concatenate(done, convert.axis + 1)

    return "fixed_point or float_scale", "", run


def _identity(dtype: np.dtype) -> Run:
    return lambda x: x.astype(dtype, copy=False)


def _converted(rule: Rescale, zero: int, channels: int, acc: Interval, dtype: np.dtype) -> Run:
    settle = requantizing(plan_rescale(rule, channels, acc), dtype)
    return lambda x: settle((x.astype(np.int32) - np.int32(zero)).reshape(-1, channels)).reshape(x.shape)


# ---- sums of two activations -----------------------------------------------------------------------------------


def plan_add(add: Add, channels: int, known: list[Interval], dtype: np.dtype) -> tuple[str, str, Run]:
    """The sum of two activations, by the machine's rule."""
    centred = [max(abs(low - z), abs(high - z)) for (low, high), z in zip(known, add.zero_points, strict=True)]
    if max(centred) >= 1 << 23:
        return plain(add, dtype, "integers beyond 23 bits")
    planned = None
    match add.rule:
        case ThreeRescales():
            planned = _three(add, channels, centred, dtype)
        case ShiftedAdd():
            planned = _shifted(add, add.rule, channels, dtype)
        case TwoMultipliers() | AlignedAdd():
            planned = _one_sum(add, channels, centred, dtype)
        case Float32Add() | ClippedAdd():
            planned = _float(add, dtype)
        case DequantizedAdd():
            planned = _dequantized(add, dtype)
    return planned or plain(add, dtype, "numbers beyond 64 bits")


def _three(add: Add, channels: int, centred: list[int], dtype: np.dtype) -> tuple[str, str, Run] | None:
    rule = add.rule
    assert isinstance(rule, ThreeRescales)
    assert add.multiplier is not None
    assert add.exponent is not None
    each = [replace(one, zero_point="after") for one in three_rules(rule)]  # with zero point 0 both are the same
    lefts, exponents = zip(*operand_shifts(add), strict=True)
    exponents = (*exponents, int(add.exponent[2]))
    steps = [
        Rescale(
            rule=each[i],
            zero_point=add.zero_point if i == 2 else 0,
            low=add.low if i == 2 else -(LIMIT >> 2),
            high=add.high if i == 2 else LIMIT >> 2,
            overflow=Overflow.SATURATE,
            multiplier=add.multiplier[i : i + 1],
            exponent=np.array(exponents[i : i + 1], np.int64),
        )
        for i in range(3)
    ]
    reach = [c << max(left, 0) for c, left in zip(centred, lefts, strict=True)]
    terms = [requantizing(plan_rescale(steps[i], channels, (-reach[i], reach[i])), np.dtype(np.int64)) for i in (0, 1)]
    scaled = [_term(add, i, reach[i], exponents[i]) for i in (0, 1)]
    if max(*reach, *scaled) >= LIMIT >> 3:
        return None
    last = requantizing(plan_rescale(steps[2], channels, (-sum(scaled), sum(scaled))), dtype)
    sign = -1 if add.subtract else 1

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        taken = [v.astype(np.int64).reshape(-1, channels) - z for v, z in zip((a, b), add.zero_points, strict=True)]
        pair = [v << left if left > 0 else v >> min(-left, 62) for v, left in zip(taken, lefts, strict=True)]
        return last(terms[0](pair[0]) + sign * terms[1](pair[1])).reshape(a.shape)

    return "fixed_point, three times", "", run


def _term(add: Add, i: int, reach: int, e: int) -> int:
    """A bound of the i-th operand after its requantization."""
    assert isinstance(add.rule, ThreeRescales)
    assert add.multiplier is not None
    m, rule = int(add.multiplier[i]), three_rules(add.rule)[i]
    bound = ((reach << max(e, 0)) * m >> (multiplier_bits(rule) + max(-e, 0))) + 3
    return bound if rule.middle is None else max(bound, 1 << rule.middle.bits)


def _shifted(add: Add, rule: ShiftedAdd, channels: int, dtype: np.dtype) -> tuple[str, str, Run] | None:
    from intsim_kernels.elementwise import scale_places
    from intsim_kernels.rounding import steps

    assert add.exponent is not None
    rights = add.exponent.tolist()
    if max(rights) > 60 or min(rights) < -30:
        return None
    factors = [np.array([1 << max(-right, 0)]) for right in rights]
    hows = [steps(np.array([max(right, 0)]), rounding_code(rule.rounding)) for right in rights]
    (za, zb), sign = add.zero_points, -1 if add.subtract else 1

    def term(x: np.ndarray, zero: int, i: int) -> np.ndarray:
        found = (x.astype(np.int64) - zero).reshape(-1, 1, channels)
        scale_places(found, factors[i], hows[i])
        return found.reshape(x.shape)

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        y = term(a, za, 0) + sign * term(b, zb, 1) + add.zero_point
        return np.clip(y, add.low, add.high).astype(dtype)

    return "scale_places, twice", "", run


def _one_sum(add: Add, channels: int, centred: list[int], dtype: np.dtype) -> tuple[str, str, Run] | None:
    rule = add.rule
    assert isinstance(rule, TwoMultipliers | AlignedAdd)
    assert add.exponent is not None
    if isinstance(rule, TwoMultipliers):
        assert add.multiplier is not None
        factors, exponent = add.multiplier.tolist(), -int(add.exponent[0])
    else:
        if int(add.exponent[:2].max()) > 38:
            return None
        factors, exponent = [1 << int(e) for e in add.exponent[:2]], int(add.exponent[2])
    reach = sum(abs(f) * c for f, c in zip(factors, centred, strict=True))
    if reach >= LIMIT:
        return None
    rescale = Rescale(
        rule=PowerOfTwo(rounding=rule.rounding, middle=None if isinstance(rule, AlignedAdd) else rule.middle),
        zero_point=add.zero_point,
        low=add.low,
        high=add.high,
        overflow=Overflow.SATURATE,
        exponent=np.array([exponent], np.int64),
    )
    settle = requantizing(plan_rescale(rescale, channels, (-reach, reach)), dtype)
    (za, zb), (fa, fb) = add.zero_points, (factors[0], -factors[1] if add.subtract else factors[1])

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        acc = fa * (a.astype(np.int64) - za) + fb * (b.astype(np.int64) - zb)
        return settle(acc.reshape(-1, channels)).reshape(a.shape)

    return "fixed_point", "", run


def _float(add: Add, dtype: np.dtype) -> tuple[str, str, Run] | None:
    from intsim_kernels.elementwise import clipped_add, float32_add

    assert add.multiplier is not None
    if float(np.abs(add.multiplier).max()) > 2.0**36:
        return None
    numbers = [np.float32(v) for v in add.multiplier]
    ends, (za, zb), sign = (add.low, add.high), add.zero_points, -1 if add.subtract else 1
    fused = isinstance(add.rule, Float32Add) and add.rule.fused
    turned = isinstance(add.rule, Float32Add) and (add.rule.first == "b") != fused  # fused, the kernel begins with b

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        out = np.empty(a.size, dtype)
        flat = a.reshape(-1).astype(np.int32), b.reshape(-1).astype(np.int32)
        if isinstance(add.rule, Float32Add):
            both, (ra, rb, fixed) = (flat[0], sign * flat[1]), numbers
            if turned:
                both, (ra, rb) = both[::-1], (rb, ra)
            float32_add(*both, ra, rb, fixed, int(fused), *ends, out)
        else:
            clipped_add(*flat, za, zb, *numbers, sign, add.zero_point, *ends, out)
        return out.reshape(a.shape)

    return "float32_add" if isinstance(add.rule, Float32Add) else "clipped_add", "the machine adds in float32", run


def _dequantized(add: Add, dtype: np.dtype) -> tuple[str, str, Run]:
    assert add.multiplier is not None
    (sa, sb, sy), (za, zb) = add.multiplier, add.zero_points
    ends, sign = (add.low - add.zero_point, add.high - add.zero_point), np.float32(-1 if add.subtract else 1)

    def run(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        reals = [(v.astype(np.int32) - z).astype(np.float32) * s for v, z, s in ((a, za, sa), (b, zb, sb))]
        y = np.clip(np.rint((reals[0] + sign * reals[1]) / sy), *ends)
        return (y.astype(np.int64) + add.zero_point).astype(dtype)

    return "numpy", "the machine adds real numbers", run
