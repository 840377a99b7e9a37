"""Functions of one integer, as tables of what a machine makes of every integer of a type (23)-(29)."""

import math
from fractions import Fraction
from functools import cache, lru_cache

import numpy as np

from intsim.arithmetic import fdlibm, gemmlowp, mlas, real
from intsim.arithmetic.requantize import F32, fixed_point, fixed_pointed
from intsim.arithmetic.rounding import bounded, held, rounded, rounded_float, shifted
from intsim.integers import Affine, Overflow, Rounding
from intsim.target import (
    Curve,
    ExactFunction,
    FixedPoint,
    FloatFunction,
    Gemmlowp,
    Interpolated,
    Mlas,
    Sampled,
    ShortHardSwish,
    ShortSlopes,
    Slopes,
    Swish,
    TwoSlopes,
)

EVEN = Rounding.HALF_EVEN
QUARTERS = FixedPoint()
"""Q31 multipliers; only their encoding is used."""

NEARLY = 1e-3
"""How far the logarithm of a scale may lie from an integer, for the scale to pass for a power of two."""


def table(
    rule: Curve | Slopes | Swish,
    name: str,
    x: Affine,
    y: Affine,
    overflow: Overflow,
    alpha: float = 0.0,
) -> np.ndarray:
    """What becomes of every integer of x's type, in y's integers: `[entries]` of y's natural type.

    `alpha`: the function's parameter, a float32 value. ValueError where the rule does not give such an output.
    """
    return _table(rule, name, x, y, overflow, float(alpha))


@cache
def _table(
    rule: Curve | Slopes | Swish, name: str, x: Affine, y: Affine, overflow: Overflow, alpha: float
) -> np.ndarray:
    centred = range(x.type.low - x.zero, x.type.high - x.zero + 1)
    low, high, zero = y.type.low, y.type.high, y.zero
    values = _values(rule, name, centred, x, y, alpha)
    found = np.array([bounded(q + zero, low, high, overflow) for q in values], y.type.dtype)
    found.flags.writeable = False
    return found


def _values(rule: Curve | Slopes | Swish, name: str, centred: range, x: Affine, y: Affine, alpha: float) -> list[int]:
    sx, sy = x.scale[0], y.scale[0]
    match rule:
        case ExactFunction():
            return _exactly(rule, name, centred, sx, sy, alpha)
        case FloatFunction():
            return [_in_floats(rule, name, q, (sx, sy), y.zero, F32(alpha)) for q in centred]
        case Mlas():
            return [rounded_float(mlas.function(name, F32(sx) * F32(q), rule.fused) / F32(sy), EVEN) for q in centred]
        case Gemmlowp():
            return _in_fixed_point(rule, name, centred, sx, y)
        case Interpolated():
            return _interpolated(rule, name, centred, x, y)
        case Sampled():
            return _sampled(rule, name, centred, sx, sy)
        case TwoSlopes() | ShortSlopes():
            return _slopes(rule, centred, F32(sx), F32(sy), F32(alpha))
        case ShortHardSwish():
            return [short_hard_swish(q, F32(sx), F32(sy)) for q in centred]
    raise AssertionError(rule)


def _exactly(rule: ExactFunction, name: str, centred: range, sx: float, sy: float, alpha: float) -> list[int]:
    """The real numbers rounded; where float64 is far enough from a half and from an integer, that decides."""
    near = np.array([real.approximation(name, sx * q, alpha) for q in centred]) / sy
    unclear = np.abs(2 * near - np.rint(2 * near)) < 1e-9 * (1 + np.abs(near))
    found = [rounded_float(v, rule.rounding) for v in near.tolist()]
    step, unit, slope = Fraction(sx), Fraction(sy), Fraction(alpha)
    for i in np.flatnonzero(unclear).tolist():
        exact = real.function(name, step * centred[i], slope) / unit
        found[i] = rounded(*exact.as_integer_ratio(), rule.rounding)
    return found


# ---- in floats -------------------------------------------------------------------------------------------------


def _in_floats(
    rule: FloatFunction, name: str, q: int, scales: tuple[float, float], zero: int, alpha: np.float32
) -> int:
    """(24), less the zero point."""
    sx, sy = scales
    x = F32(sx) * F32(q)
    early = zero if rule.zero_point == "before" else 0
    if rule.precision == "float32" and rule.library == "fdlibm" and name == "Tanh":
        f = fdlibm.tanh(x)
    elif rule.precision == "float32":
        f = _float32(name, x, alpha)
    else:
        exact = real.function(name, Fraction(float(x)), Fraction(float(alpha)))
        if rule.precision == "float64":
            v = float(exact)
            return (
                rounded_float((v / sy if rule.quotient else v * float(F32(1) / F32(sy))) + early, rule.rounding) - early
            )
        f = real.nearest32(exact)
    scaled = f / F32(sy) if rule.quotient else f * (F32(1) / F32(sy))
    return rounded_float(scaled + F32(early), rule.rounding) - early


def _float32(name: str, x: np.float32, alpha: np.float32) -> np.float32:
    """The function by float32 operations; exp, tanh, ln to the nearest float32."""
    one = F32(1)
    exact = Fraction(float(x))
    match name:
        case "Sigmoid":
            return one / (one + real.nearest32(real.exp(-exact)))
        case "HardSwish":
            return x * min(max(x + F32(3), F32(0)), F32(6)) / F32(6)
        case "LeakyRelu":
            return x if x >= 0 else x * alpha
        case "Elu":
            return x if x >= 0 else alpha * real.nearest32(real.exp(exact) - 1)
        case "HardSigmoid":
            return min(max(alpha * x + F32(0.5), F32(0)), one)
        case "Rsqrt":
            return one / np.sqrt(max(x, F32(0)) + alpha)
        case "Gelu" | "GeluTanh" | "Mish":
            return real.single(name, exact, Fraction(0))
        case _:
            return real.nearest32(real.function(name, exact, Fraction(0)))


# ---- in fixed point --------------------------------------------------------------------------------------------


def _in_fixed_point(rule: Gemmlowp, name: str, centred: range, sx: float, y: Affine) -> list[int]:
    """(26)."""
    bits = y.type.bits
    wanted = (
        (2.0**-bits, y.type.low) if name == "Sigmoid" else (2.0 ** (1 - bits), 0 if y.type.signed else 1 << (bits - 1))
    )
    if (y.scale[0], y.zero) != wanted:
        raise ValueError(f"{name} here gives scale 2^{int(math.log2(wanted[0]))} and zero point {wanted[1]} only")
    m, e = fixed_point(sx * 2.0**27, QUARTERS)
    radius = math.floor(rule.radius * 2.0**27 / 2.0**e)
    out = []
    for q in centred:
        if abs(q) >= radius:
            ends = (0, (1 << bits) - 1) if name == "Sigmoid" else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
            out.append(ends[q > 0])
            continue
        a = fixed_pointed(q, TwoSlopes().requantize, m, e, 0)
        if name == "Sigmoid":
            out.append(gemmlowp.away(gemmlowp.logistic(a, 4), 31 - bits))
        else:
            out.append(gemmlowp.away(gemmlowp.tanh(a, 4), 32 - bits))
    return out


@cache
def _sigmoid_samples() -> tuple[int, ...]:
    """The sigmoid at i / 24, i = 0..255, in integers of 2^-16, the last one 65535.

    Each is raised by half of what the straight line to the next lacks in its middle.
    """
    f = [real.sigmoid(Fraction(i, 48)) for i in range(513)]
    values = [f[2 * i] + (f[2 * i + 1] - (f[2 * i] + f[2 * i + 2]) / 2) / 2 for i in range(255)]
    return (*(rounded(*(v * 65536).as_integer_ratio(), Rounding.HALF_UP) for v in values), 65535)


def _interpolated(rule: Interpolated, name: str, centred: range, x: Affine, y: Affine) -> list[int]:
    """(27)."""
    if x.zero or y.zero or y.scale[0] != 2.0**-15:
        raise ValueError(f"{name} here takes no zero points, and gives scale 2^-15 only")
    power = math.log2(x.scale[0])
    left = round(power) + 12
    nearly = abs(power - round(power)) < NEARLY and left in ((0,) if name == "Sigmoid" else (0, 1))
    if nearly and rule.powers_of_two:
        return _in_short_registers(name, [held(q << left, 16, Overflow.SATURATE) for q in centred])
    left, multiplier = 0, (2.0 ** round(power) if nearly else x.scale[0]) * 3 * 4096
    while multiplier <= 32767 / 2 and left <= 30:
        left, multiplier = left + 1, multiplier * 2
    factor = int(multiplier)
    return [_between(shifted(q * factor, left, Rounding.HALF_UP), name) for q in centred]


def _in_short_registers(name: str, raw: list[int]) -> list[int]:
    """(25) of Q3.12 in Q0.15; of a and -a at once, whose functions are each other's complement."""
    function, whole = (gemmlowp.logistic, 32767) if name == "Sigmoid" else (gemmlowp.tanh, 0)
    found = {a: function(a, 3, 16) for a in {abs(a) for a in raw}}
    return [found[a] if a >= 0 else whole - found[-a] for a in raw]


def _between(a: int, name: str) -> int:
    """The sigmoid of a / (24 * 512), or the tanh of a / (24 * 512), in integers of 2^-15."""
    samples = _sigmoid_samples()
    bits = 9 if name == "Sigmoid" else 8
    place, rest = divmod(abs(a), 1 << bits)
    if place >= 255:
        line = (0x7FFF << 10) if name == "Sigmoid" else (0xFFFF << 8)
    else:
        line = (samples[place] << bits) + rest * (samples[place + 1] - samples[place])
    if name == "Sigmoid":
        line = line + (1 << 9) if a >= 0 else (1 << 25) - line + (1 << 9) - 1
        return line >> 10
    line = line - (1 << 23) + (1 << 7) if a >= 0 else -line + (1 << 23) + (1 << 7) - 1
    return line >> 8


def _sampled(rule: Sampled, name: str, centred: range, sx: float, sy: float) -> list[int]:
    """(28)."""
    step = Fraction(2 * rule.reach, rule.entries)
    places, unit = (Fraction(sx) / step).as_integer_ratio()

    @cache
    def sample(at: int) -> int:
        v = real.function(name, -rule.reach + at * step, Fraction(0)) * (1 << rule.fraction_bits)
        y = Fraction(rounded(*v.as_integer_ratio(), rule.rounding), 1 << rule.fraction_bits) / Fraction(sy)
        return rounded(*y.as_integer_ratio(), rule.rounding)

    middle = rule.entries // 2
    found = (rounded(q * places, unit, Rounding.TO_ZERO) + middle for q in centred)
    return [sample(max(0, min(rule.entries - 1, place))) for place in found]


# ---- slopes and gates ------------------------------------------------------------------------------------------


def _slopes(
    rule: TwoSlopes | ShortSlopes, centred: range, sx: np.float32, sy: np.float32, slope: np.float32
) -> list[int]:
    """(29)."""
    if isinstance(rule, TwoSlopes):
        pairs = [_multiplier(rule.requantize, sx, sw, sy) for sw in (slope, F32(1))]
        return [fixed_pointed(q, rule.requantize, *pairs[q >= 0], 0) for q in centred]
    most, least = 2.0 ** (15 - rule.bits), 2.0**-rule.bits
    same = sx / sy
    other = same * slope
    if not (least <= same < most and -most < other <= most and abs(other) >= least):
        return _slopes(rule.otherwise, centred, sx, sy, slope)
    factors = [rounded_float(f * F32(1 << rule.bits), Rounding.HALF_EVEN) for f in (other, same)]
    return [shifted(q * factors[q >= 0], rule.bits, Rounding.HALF_UP) for q in centred]


def _multiplier(rule: FixedPoint, sx: np.float32, sw: np.float32, sy: np.float32) -> tuple[int, int]:
    """(M, e) of the real scale sx * sw / sy (11); sw may be negative."""
    product = sx * sw if rule.float32_product else float(sx) * float(sw)
    return fixed_point(float(product / sy) if rule.float32_quotient else float(product) / float(sy), rule)


def slopes_by_channel(
    rule: Slopes, x: Affine, slope: np.ndarray, of: Affine, y: Affine, overflow: Overflow
) -> np.ndarray:
    """What becomes of every integer of x's type where channel c has the slope `slope[c]`, integers of the affine `of`.

    `[entries, c]` of y's natural type (29).
    """
    columns = [_column(rule, x, int(s) - of.zero, of.scale[0], y, overflow) for s in slope]
    return np.array(columns, y.type.dtype).T.copy()


@lru_cache(maxsize=64)
def _column(rule: Slopes, x: Affine, integer: int, scale: float, y: Affine, overflow: Overflow) -> np.ndarray:
    """One channel's table, read-only: a slope of `integer` and that scale."""
    if not isinstance(rule, TwoSlopes):
        return table(rule, "LeakyRelu", x, y, overflow, float(F32(scale) * F32(integer)))
    sx, sa, sy = (F32(s) for s in (x.scale[0], scale, y.scale[0]))
    same, other = (_multiplier(rule.requantize, sx, sw, sy) for sw in (F32(1), sa))
    values = [
        fixed_pointed(q, rule.requantize, *same, 0)
        if q >= 0
        else fixed_pointed(q * integer, rule.requantize, *other, 0)
        for q in range(x.type.low - x.zero, x.type.high - x.zero + 1)
    ]
    found = np.array([bounded(v + y.zero, y.type.low, y.type.high, overflow) for v in values], y.type.dtype)
    found.flags.writeable = False
    return found


def short_hard_swish(q: int, sx: np.float32, sy: np.float32) -> int:
    """(30)."""
    fine = sx * F32(1 / 128)
    (out_m, out_e), (gate_m, gate_e) = (_short(float(d)) for d in (fine / sy, fine / (F32(3) / F32(32768))))
    x = held(q << 7, 16, Overflow.WRAP)
    y = _high16(x, out_m)
    gate = held(x << (gate_e - 1), 16, Overflow.SATURATE) if gate_e > 0 else x
    gate = _high16(gate, gate_m)
    if gate_e > 0:
        gate = held(gate << 1, 16, Overflow.SATURATE)
    gate = shifted(gate, max(-gate_e, 0), Rounding.HALF_AWAY)
    gate = (gate + (1 << 15)) >> 1
    product = held(shifted(gate * y, 15, Rounding.TO_ZERO), 16, Overflow.SATURATE)
    return shifted(product, -out_e, Rounding.HALF_AWAY)


@cache
def _short(d: float) -> tuple[int, int]:
    """A multiplier of 15 bits and its exponent, from one of 31."""
    m, e = fixed_point(d, QUARTERS)
    return min(shifted(m, 16, Rounding.HALF_UP), 32767), e


def _high16(a: int, b: int) -> int:
    """half_away(a * b / 2^15) in a register of 16 bits."""
    return held(shifted(a * b, 15, Rounding.HALF_AWAY), 16, Overflow.SATURATE)
