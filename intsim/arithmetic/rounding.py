"""Rounding and registers: every integer that is rounded or held is one of these."""

import numpy as np

from intsim.integers import Overflow, Rounding
from intsim.target import Cast


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
        case Rounding.CARRY_SHIFT:
            up = 2 * r > d or (2 * r == d and q % 2 == 1)
            return q - up if n < 0 else q + up
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


def moved(x: int, to: Cast) -> int:
    """x after a cast's shift, before its register: of the bits shifted out the rounding sees the highest (2)."""
    unseen = 0 if to.fraction_bits is None else max(to.shift - to.fraction_bits, 0)
    return shifted(x >> unseen, to.shift - unseen, to.rounding)


def cast(x: int, to: Cast) -> int:
    """x moved into a register."""
    return held(moved(x, to), to.bits, to.overflow, to.signed)


def bounded(y: int, low: int, high: int, overflow: Overflow) -> int:
    """y put into low..high (10): wrapping is modulo the number of values, zeroing gives zero, all else clamps."""
    match overflow:
        case Overflow.WRAP | Overflow.FORBID | Overflow.WRAP_SM:
            return low + (y - low) % (high - low + 1)
        case Overflow.SATURATE_ZERO:
            return y if low <= y <= high else 0
        case _:
            return max(low, min(high, y))
