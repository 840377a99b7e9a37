"""The arithmetic in unbounded Python integers: what every kernel must equal.

Written to be read, not to be fast. Numbers in parentheses are the equations of docs/arithmetic.md. Floats appear only
where the emulated machine itself multiplies by a float scale; such a product is done in numpy's IEEE float32 or
float64, one operation at a time, and rounded to an integer exactly, from its ratio of integers.
"""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from intsim.integers import Overflow, Rounding
from intsim.program import Add, Rescale
from intsim.target import (
    AlignedAdd,
    Cast,
    ClippedAdd,
    FixedPoint,
    Float32Add,
    Float32Requantize,
    Float32Scale,
    Float64Scale,
    Level,
    Mac,
    PowerOfTwo,
    Requantize,
    RescaledSum,
    Table,
    ThreeRescales,
    Thresholds,
    TwoMultipliers,
)

F32 = np.float32

# ---- rounding and overflow -------------------------------------------------------------------------------------


def rounded(n: int, d: int, mode: Rounding) -> int:
    """n / d as an integer, d > 0 (1)."""
    q, r = divmod(n, d)
    match mode:
        case Rounding.FLOOR:
            return q
        case Rounding.CEIL:
            return q + (r > 0)
        case Rounding.TO_ZERO:
            return q + (r > 0 and n < 0)
        case Rounding.AWAY:
            return q + (r > 0 and n > 0)
        case Rounding.TO_ODD:
            return q + (r > 0 and q % 2 == 0)
    if 2 * r != d:
        return q + (2 * r > d)
    match mode:
        case Rounding.HALF_UP:
            return q + 1
        case Rounding.HALF_DOWN:
            return q
        case Rounding.HALF_AWAY:
            return q + (n > 0)
        case Rounding.HALF_TO_ZERO:
            return q + (n < 0)
        case _:
            return q + q % 2


def rounded_float(v: float | np.floating, mode: Rounding) -> int:
    """The float as an integer, from the exact ratio that it is."""
    return rounded(*float(v).as_integer_ratio(), mode)


def shifted(x: int, right: int, mode: Rounding) -> int:
    """x / 2^right (2); a negative shift goes left and loses nothing."""
    return x << -right if right <= 0 else rounded(x, 1 << right, mode)


def held(x: int, bits: int | None, overflow: Overflow, signed: bool = True) -> int:
    """What a register of `bits` bits holds of x (3); None: everything."""
    if bits is None:
        return x
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    match overflow:
        case Overflow.WRAP | Overflow.FORBID:
            return low + (x - low) % (1 << bits)
        case Overflow.SATURATE:
            return max(low, min(high, x))
        case Overflow.SATURATE_SYM:
            return max(-high if signed else 0, min(high, x))
        case Overflow.SATURATE_ZERO:
            return x if low <= x <= high else 0
        case Overflow.WRAP_SM:
            folded = x if (x >> (bits - 1)) & 1 == (x >> bits) & 1 else ~x
            return low + (folded - low) % (1 << bits)


def cast(x: int, to: Cast) -> int:
    """x moved into a register."""
    return held(shifted(x, to.shift, to.rounding), to.bits, to.overflow, to.signed)


# ---- accumulation ----------------------------------------------------------------------------------------------


def product(x: int, w: int, multiplier: Table | None) -> int:
    """What the multiplier gives for an activation and a weight (22); None: their product."""
    return x * w if multiplier is None else int(multiplier.entries[x % 256, w % 256])


def accumulated(products: Sequence[int], mac: Mac, start: int | None = None) -> tuple[int, int]:
    """The sum of the products by the machine's tree of levels (4), and how many adds did not give their exact sum.

    `start`: what the outermost level starts from (a bias); it passes that level's register first.
    """
    items, events = list(products), 0
    if mac.product is not None:
        exact = [shifted(p, mac.product.shift, mac.product.rounding) for p in items]
        items = [cast(p, mac.product) for p in items]
        events += sum(a != b for a, b in zip(items, exact, strict=True))
    for level in mac.levels:
        sums = []
        for group in _groups(items, level):
            total = 0
            if level.size is None and start is not None:
                total = held(start, level.bits, level.overflow)
                events += total != start
            for item in group:
                exact_sum, total = total + item, held(total + item, level.bits, level.overflow)
                events += total != exact_sum
            sums.append(total)
        if level.first_only:
            sums += items[level.size :]
        items = sums
    return items[0], events


def _groups(items: list[int], level: Level) -> list[list[int]]:
    if level.size is None:
        return [items]
    if level.first_only:
        return [items[: level.size]]
    return [items[k : k + level.size] for k in range(0, len(items), level.size)] or [[]]


# ---- requantization --------------------------------------------------------------------------------------------


def requantized(acc: int, rescale: Rescale, channel: int) -> int:
    """The accumulator in the output's integers (5)-(9)."""
    rule, zero = rescale.rule, rescale.zero_point
    if isinstance(rule, Float32Requantize):
        assert rescale.multiplier is not None
        sx, sy = rescale.multiplier
        y = rounded_float(F32(acc) * sx / sy, Rounding.HALF_EVEN) + zero
        return bounded(y, rescale.low, rescale.high, rescale.overflow)
    c = channel if _width(rescale) > 1 else 0
    match rule:
        case Thresholds():
            assert rescale.thresholds is not None
            return rescale.low + sum(acc >= int(t) for t in rescale.thresholds[c])
        case FixedPoint():
            y = _fixed_point(acc, rule, _at(rescale.multiplier, c), _at(rescale.exponent, c), zero)
        case PowerOfTwo():
            y = _power_of_two(acc, rule, _at(rescale.exponent, c), zero)
        case Float32Scale() | Float64Scale():
            assert rescale.multiplier is not None
            real = F32 if isinstance(rule, Float32Scale) else np.float64
            v = real(acc) * real(rescale.multiplier[c])
            before = rule.zero_point == "before"
            y = rounded_float(v + real(zero) if before else v, rule.rounding) + (0 if before else zero)
    return bounded(y, rescale.low, rescale.high, rescale.overflow)


def bounded(y: int, low: int, high: int, overflow: Overflow) -> int:
    """y put into low..high (10): wrapping is modulo the number of values, zeroing gives zero, all else clamps."""
    match overflow:
        case Overflow.WRAP | Overflow.FORBID | Overflow.WRAP_SM:
            return low + (y - low) % (high - low + 1)
        case Overflow.SATURATE_ZERO:
            return y if low <= y <= high else 0
        case _:
            return max(low, min(high, y))


def _fixed_point(acc: int, rule: FixedPoint, m: int, e: int, zero: int) -> int:
    if rule.first is None:
        n, right = acc * m, rule.bits - e
    else:
        a = held(acc << max(e, 0), rule.register, Overflow.WRAP)
        n = held(shifted(a * m, rule.bits, rule.first), rule.register, Overflow.SATURATE)
        right = max(-e, 0)
    return _last_rounding(n, right, rule.rounding, rule.middle, zero, rule.zero_point == "before")


def _power_of_two(acc: int, rule: PowerOfTwo, e: int, zero: int) -> int:
    return _last_rounding(acc, -e, rule.rounding, rule.middle, zero, rule.zero_point == "before")


def _last_rounding(n: int, right: int, mode: Rounding, middle: Cast | None, zero: int, before: bool) -> int:
    if before:
        n += zero << right if right > 0 else 0
    y = shifted(n, right, mode)
    y = y if middle is None else cast(y, middle)
    return y if before and right > 0 else y + zero


def _at(array: np.ndarray | None, index: int) -> int:
    assert array is not None
    return int(array[index])


def _width(rescale: Rescale) -> int:
    return max(len(a) for a in (rescale.multiplier, rescale.exponent, rescale.thresholds) if a is not None)


# ---- scales to numbers -----------------------------------------------------------------------------------------


def fixed_point(d: float, rule: FixedPoint) -> tuple[int, int]:
    """(M, e) with d ~ M * 2^(e - bits), 2^(bits-1) <= M < 2^bits (11); (0, 0) below 2^-bits of everything."""
    if d == 0:
        return 0, 0
    mantissa, e = math.frexp(d)
    m = rounded(*(Fraction(mantissa) * (1 << rule.bits)).as_integer_ratio(), rule.encoding)
    if m == 1 << rule.bits:
        m, e = m >> 1, e + 1
    return (0, 0) if e < -rule.bits else (m, e)


def power_of_two(d: float) -> int:
    """e with d = 2^e. ValueError where there is none."""
    mantissa, e = math.frexp(d)
    if mantissa != 0.5:
        raise ValueError(f"{d} is no power of two")
    return e - 1


def encoded(
    rule: Requantize,
    sx: float,
    sw: Sequence[float],
    sy: float,
    *,
    zero_point: int,
    low: int,
    high: int,
    overflow: Overflow = Overflow.SATURATE,
) -> Rescale:
    """The rescale from accumulators of scale sx * sw[c] to integers of scale sy.

    ValueError where the rule is a power of two and the scales' ratio is none.
    """
    ratios = [float(sx) * float(s) / float(sy) for s in sw]
    numbers: dict[str, Any] = {}
    match rule:
        case FixedPoint():
            pairs = [fixed_point(d, rule) for d in ratios]
            numbers = {
                "multiplier": np.array([m for m, _ in pairs], np.int64),
                "exponent": np.array([e for _, e in pairs], np.int64),
            }
        case PowerOfTwo():
            numbers = {"exponent": np.array([power_of_two(d) for d in ratios], np.int64)}
        case Float32Scale():
            numbers = {"multiplier": np.array([F32(sx) * F32(s) / F32(sy) for s in sw], F32)}
        case Float64Scale():
            numbers = {"multiplier": np.array(ratios, np.float64)}
        case Float32Requantize():
            if len(sw) > 1:
                raise ValueError("float32_requantize takes one scale, not one per channel")
            numbers = {"multiplier": np.array([F32(sx) * F32(sw[0]), sy], F32)}
        case Thresholds():
            steps = [Fraction(2 * (low - zero_point + i) + 1, 2) for i in range(high - low)]
            numbers = {
                "thresholds": np.array([[math.ceil(step / Fraction(d)) for step in steps] for d in ratios], np.int64)
            }
    return Rescale(rule=rule, zero_point=zero_point, low=low, high=high, overflow=overflow, **numbers)


def encoded_mean(rule: RescaledSum, sx: float, sy: float, n: int, *, zero_point: int, low: int, high: int) -> Rescale:
    """The rescale from sums of n integers of scale sx to their mean in integers of scale sy (12)."""
    inner = rule.requantize
    limits: dict[str, Any] = {"zero_point": zero_point, "low": low, "high": high}
    match rule.encoding, inner:
        case "tflite", FixedPoint():
            m, e = fixed_point(float(sx) / float(sy), inner)
            shift = min(n.bit_length() - 1, 32, 31 + e)
            return Rescale(
                rule=inner,
                multiplier=np.array([(m << shift) // n], np.int64),
                exponent=np.array([e - shift], np.int64),
                **limits,
            )
        case "f32_quotient", Float32Scale():
            scale = (F32(sx) / F32(sy)) / F32(n)
        case "f32_product", Float32Scale():
            scale = F32(sx) / (F32(sy) * F32(n))
        case "exact", _:
            return encoded(inner, sx, [1.0], float(sy) * n, **limits)
        case _:
            raise ValueError(f'a mean encoded as "{rule.encoding}" does not go with the rule {inner}')
    return Rescale(rule=inner, multiplier=np.array([scale], F32), **limits)


def add_numbers(
    rule: object, a: tuple[float, int], b: tuple[float, int], y: tuple[float, int]
) -> dict[str, np.ndarray]:
    """`multiplier` and `exponent` of an Add, from the (scale, zero point) of its operands and its output (13)-(17)."""
    (sa, za), (sb, zb), (sy, zy) = a, b, y
    match rule:
        case ThreeRescales():
            twice = 2 * max(float(sa), float(sb))
            ratios = (float(sa) / twice, float(sb) / twice, twice / ((1 << rule.left_shift) * float(sy)))
            pairs = [fixed_point(d, rule.requantize) for d in ratios]
            return {
                "multiplier": np.array([m for m, _ in pairs], np.int64),
                "exponent": np.array([e for _, e in pairs], np.int64),
            }
        case TwoMultipliers():
            ra, rb = F32(sa) / F32(sy), F32(sb) / F32(sy)
            right = rule.bits - math.frexp(float(max(ra, rb)))[1]
            both = [rounded_float(math.ldexp(float(r), right), Rounding.HALF_EVEN) for r in (ra, rb)]
            return {"multiplier": np.array(both, np.int64), "exponent": np.array([right], np.int64)}
        case Float32Add():
            ra, rb = F32(sa) / F32(sy), F32(sb) / F32(sy)
            fixed = F32(zy) - multiply_add(za, ra, rb * F32(zb), rule.fused)
            return {"multiplier": np.array([ra, rb, fixed], F32)}
        case AlignedAdd():
            ea, eb, ey = (power_of_two(s) for s in (sa, sb, sy))
            fine = min(ea, eb)
            return {"exponent": np.array([ea - fine, eb - fine, fine - ey], np.int64)}
        case ClippedAdd():
            return {"multiplier": np.array([F32(sa) / F32(sy), F32(sb) / F32(sy)], F32)}
    raise AssertionError(rule)


def added(a: int, b: int, add: Add) -> int:
    """The sum of two activations in the output's integers (13)-(17)."""
    rule, (za, zb) = add.rule, add.zero_points
    m, e = add.multiplier, add.exponent
    match rule:
        case ThreeRescales():
            terms = [
                _fixed_point((v - z) << rule.left_shift, rule.requantize, _at(m, i), _at(e, i), 0)
                for i, (v, z) in enumerate(((a, za), (b, zb)))
            ]
            y = _fixed_point(sum(terms), rule.requantize, _at(m, 2), _at(e, 2), 0) + add.zero_point
        case TwoMultipliers():
            y = shifted(_at(m, 0) * (a - za) + _at(m, 1) * (b - zb), _at(e, 0), rule.rounding) + add.zero_point
        case Float32Add():
            assert m is not None
            inner = multiply_add(b, m[1], m[2], rule.fused)
            y = rounded_float(multiply_add(a, m[0], inner, rule.fused), Rounding.HALF_EVEN)
        case AlignedAdd():
            total = ((a - za) << _at(e, 0)) + ((b - zb) << _at(e, 1))
            y = shifted(total, -_at(e, 2), rule.rounding) + add.zero_point
        case ClippedAdd():
            assert m is not None
            y = sum(
                max(add.low, min(add.high, rounded_float(F32(v - z) * m[i], Rounding.HALF_EVEN)))
                for i, (v, z) in enumerate(((a, za), (b, zb)))
            )
            y += add.zero_point
    return max(add.low, min(add.high, y))


def multiply_add(x: int, m: np.float32, addend: np.float32, fused: bool) -> np.float32:
    """f32(x * m + addend): rounded once (`fused`), or after the product too."""
    if not fused:
        return F32(F32(x) * m) + addend
    exact = x * Fraction(float(m)) + Fraction(float(addend))
    return _nearest_float32(exact)


def _nearest_float32(value: Fraction) -> np.float32:
    """The float32 nearest to an exact value, ties to even."""
    if value == 0:
        return F32(0)
    e = max(math.frexp(float(value))[1] - 24, -149)
    unit = Fraction(2) ** e
    return F32(float(rounded(*(value / unit).as_integer_ratio(), Rounding.HALF_EVEN) * unit))


def reciprocal(n: int, bits: int) -> int:
    """floor((2^bits + n/2) / n): the multiplier that stands for 1/n (18)."""
    return ((1 << bits) + n // 2) // n
