"""gemmlowp's fixed-point exp, reciprocal, logistic and tanh (25), (26).

A raw integer a of `bits` bits in Qm.f, f = bits - 1 - m, is the number a / 2^f.
Source: google/gemmlowp 16e8662c fixedpoint/fixedpoint.h.
"""

from functools import cache

from intsim.arithmetic.rounding import held, shifted
from intsim.integers import Overflow, Rounding

_FACTORS = (
    (-2, 1672461947),
    (-1, 1302514674),
    (0, 790015084),
    (1, 290630308),
    (2, 39332535),
    (3, 720401),
    (4, 242),
)
"""(k, exp(-2^k) in Q0.31)."""


def high(a: int, b: int, bits: int = 32) -> int:
    """half_up(a * b / 2^(bits - 1)) in a register: the product of two numbers without integer bits."""
    return _register(shifted(a * b, bits - 1, Rounding.HALF_UP), bits)


def away(a: int, right: int) -> int:
    """a / 2^right, half away from zero."""
    return shifted(a, right, Rounding.HALF_AWAY)


def _register(a: int, bits: int) -> int:
    return held(a, bits, Overflow.SATURATE)


def _one(bits: int) -> int:
    """The largest number without integer bits, which stands for 1."""
    return (1 << (bits - 1)) - 1


@cache
def _constant(of_32: int, bits: int) -> int:
    """A constant of 32 bits in a register of fewer."""
    return away(of_32, 32 - bits)


def exp_of_negative(a: int, m: int, bits: int = 32) -> int:
    """exp(a) without integer bits, of a <= 0 with m of them."""
    if a == 0:
        return _one(bits)
    f = bits - 1 - m
    quarter = 1 << (f - 2)
    near = (a & (quarter - 1)) - quarter
    rest = near - a
    y = _exp_near_zero(near << m, bits)
    for k, factor in _FACTORS:
        if m > k and rest & (1 << (f + k)):
            y = high(y, _constant(factor, bits), bits)
    return 0 if m > 5 and a < -(1 << (f + 5)) else y


def _exp_near_zero(a: int, bits: int) -> int:
    """exp(a) of a in [-1/4, 0), both without integer bits: the Taylor series of degree 4 around -1/8."""
    third, start = _constant(715827883, bits), _constant(1895147668, bits)  # 1/3, exp(-1/8)
    x = a + (1 << (bits - 4))
    x2 = high(x, x, bits)
    x3, x4 = high(x2, x, bits), high(x2, x2, bits)
    tail = away(high(away(x4, 2) + x3, third, bits) + x2, 1)
    return _register(start + high(start, x + tail, bits), bits)


def _two_over(x: int, bits: int) -> int:
    """2 / (1 + x) with two integer bits, of x in [0, 1] without.

    Three steps of Newton's from 48/17 - 32/17 d, d = (1 + x) / 2.
    """
    d = away(x + _one(bits), 1)
    y = _constant(1515870810, bits) + high(d, _constant(-1010580540, bits), bits)
    for _ in range(3):
        rest = (1 << (bits - 3)) - high(d, y, bits)
        y = _register(y + _register(high(y, rest, bits) << 2, bits), bits)
    return y


def one_over_one_plus(x: int, bits: int = 32) -> int:
    """1 / (1 + x) of x in [0, 1], both without integer bits."""
    return _register(_two_over(x, bits) << 1, bits)


def logistic(a: int, m: int, bits: int = 32) -> int:
    """The sigmoid without integer bits, of a with m of them."""
    if a == 0:
        return 1 << (bits - 2)
    p = one_over_one_plus(exp_of_negative(-abs(a), m, bits), bits)
    return p if a > 0 else _one(bits) - p


def tanh(a: int, m: int, bits: int = 32) -> int:
    """tanh without integer bits, of a with m of them."""
    if a == 0:
        return 0
    t = _register((_two_over(exp_of_negative(-abs(a), m + 1, bits), bits) - (1 << (bits - 3))) << 2, bits)
    return t if a > 0 else -t
