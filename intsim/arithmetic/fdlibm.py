"""tanh as fdlibm computes it, one float32 operation after the other, for machines whose library is fdlibm's."""

import numpy as np

F32 = np.float32


def _number(bits: int) -> np.float32:
    return F32(np.array(bits, np.uint32).view(F32))


LN2_HIGH, LN2_LOW, INVERSE_LN2 = (_number(bits) for bits in (0x3F317180, 0x3717F7D1, 0x3FB8AA3B))
"""ln 2 in two parts, the higher one so short that its multiples are exact; 1 / ln 2."""

TERMS = tuple(_number(bits) for bits in (0xBD088889, 0x3AD00D01, 0xB8A670CD, 0x36867E54, 0xB457EDBB))
"""Of the even function that expm1 is made from, in powers of x^2 / 2."""

ONE, TWO, HALF = F32(1), F32(2), F32(0.5)


def tanh(x: np.float32) -> np.float32:
    """1 - 2 / (expm1(2|x|) + 2) from 1 on, -t / (t + 2) with t = expm1(-2|x|) below, 1 from 22 on (24)."""
    a = abs(x)
    if a < F32(2.0**-55):
        return x
    if a >= F32(22):
        y = ONE
    elif a >= ONE:
        y = ONE - TWO / (expm1(TWO * a) + TWO)
    else:
        t = expm1(-TWO * a)
        y = -t / (t + TWO)
    return y if x >= 0 else -y


def expm1(x: np.float32) -> np.float32:
    """e^x - 1 of x = k ln 2 + r, |r| <= ln(2) / 2, by a rational function of r; |x| below 44."""
    if abs(x) < F32(2.0**-25):
        return x
    k, r, lost = _reduced(x)
    half = HALF * r
    square = r * half
    series = F32(0)
    for term in reversed(TERMS):
        series = square * (term + series)
    series = ONE + series
    t = F32(3) - series * half
    e = square * ((series - t) / (F32(6) - r * t))
    if k == 0:
        return r - (r * e - square)
    return _scaled(k, r, (r * (e - lost) - lost) - square)


def _reduced(x: np.float32) -> tuple[int, np.float32, np.float32]:
    """(k, r, what r lost in its rounding)."""
    if abs(x) <= _number(0x3EB17218):  # ln(2) / 2
        return 0, x, F32(0)
    sign = 1 if x > 0 else -1
    k = sign if abs(x) < _number(0x3F851592) else int(INVERSE_LN2 * x + F32(sign) * HALF)  # 3 ln(2) / 2
    high, low = x - F32(k) * LN2_HIGH, F32(k) * LN2_LOW
    r = high - low
    return k, r, (high - r) - low


def _scaled(k: int, r: np.float32, e: np.float32) -> np.float32:
    """2^k (1 + r - e) - 1, the last subtraction where it loses least."""
    factor, unit = F32(2.0**k), F32(2.0**-k)
    if k == -1:
        return HALF * (r - e) - HALF
    if k == 1:
        return -TWO * (e - (r + HALF)) if r < F32(-0.25) else ONE + TWO * (r - e)
    if k <= -2 or k > 56:
        return (ONE - (e - r)) * factor - ONE
    if k < 23:
        return ((ONE - unit) - (e - r)) * factor
    return ((r - (e + unit)) + ONE) * factor
