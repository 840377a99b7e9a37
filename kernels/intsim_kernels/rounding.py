"""Rounding, each rule once: shifts to the right, quotients, exact products of 128 bits, floats."""

import math

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel

# ---- shifts ----------------------------------------------------------------------------------------------------


def steps(right: np.ndarray, mode: int) -> np.ndarray:
    """`[5, c]`: right and the numbers t, below, odd, down with which `shifted` rounds by `mode`; right[c] in 0..62.

    n / 2^right is q = floor, and one more where the remainder exceeds a threshold, which depends on the sign of n and
    on whether q is odd. With m = 2^right - 1 and h = 2^(right - 1): FLOOR m; CEIL 0; TO_ZERO m, or 0 if n < 0; AWAY 0,
    or m if n < 0; HALF_UP h - 1; HALF_DOWN h; HALF_AWAY h - 1, or h if n < 0; HALF_TO_ZERO h, or h - 1 if n < 0;
    HALF_EVEN h, or h - 1 if q is odd; TO_ODD 0, or m if q is odd; CARRY_SHIFT as HALF_EVEN, but one less if n < 0: its
    `down` is -1, all others' is 0. Without a shift there is no remainder: all are 0.
    """
    right = np.asarray(right, np.int64)
    return np.stack([right, *thresholds((np.int64(1) << right), mode)])


def thresholds(d: np.ndarray, mode: int) -> list[np.ndarray]:
    """t, below, odd, down for quotients n / d; d[c] >= 1: see `steps`."""
    m, up, half = d - 1, (d - 1) // 2, d // 2
    none = np.zeros_like(d)
    t, below, odd = {
        codes.FLOOR: (m, none, none),
        codes.CEIL: (none, none, none),
        codes.TO_ZERO: (m, -m, none),
        codes.AWAY: (none, m, none),
        codes.HALF_UP: (up, none, none),
        codes.HALF_DOWN: (half, none, none),
        codes.HALF_AWAY: (up, half - up, none),
        codes.HALF_TO_ZERO: (half, up - half, none),
        codes.HALF_EVEN: (half, none, up - half),
        codes.TO_ODD: (none, none, m),
        codes.CARRY_SHIFT: (half, none, up - half),
    }[mode]
    return [t, below, odd, none - (mode == codes.CARRY_SHIFT)]


@kernel
def shifted(n, right, t, below, odd, down):
    """q + [n - q * 2^right > t + [n < 0] below + [q odd] odd], q = floor(n / 2^right), or q - [...]: see `steps`."""
    q = n >> right
    more = n - (q << right) > t + (below if n < 0 else 0) + (odd if q & 1 else 0)
    return q + (1 | (down if n < 0 else 0) if more else 0)


# ---- from floor and remainder ----------------------------------------------------------------------------------


@kernel
def stepped(q, part, mode):
    """q, q + 1 or q - 1: the number q + r rounded, 0 <= r < 1; part tells: 0 r = 0, 1 r < 1/2, 2 r = 1/2, 3 r > 1/2."""
    if part == 0 or mode == codes.FLOOR:
        return q
    if mode == codes.CEIL:
        return q + 1
    if mode == codes.TO_ZERO:
        return q + (q < 0)
    if mode == codes.AWAY:
        return q + (q >= 0)
    if mode == codes.TO_ODD:
        return q | 1
    if mode == codes.CARRY_SHIFT:
        up = part == 3 or (part == 2 and q & 1 == 1)
        return q - up if q < 0 else q + up
    if part != 2:
        return q + (part == 3)
    if mode == codes.HALF_UP:
        return q + 1
    if mode == codes.HALF_DOWN:
        return q
    if mode == codes.HALF_AWAY:
        return q + (q >= 0)
    if mode == codes.HALF_TO_ZERO:
        return q + (q < 0)
    return q + (q & 1)


@kernel
def divided(n, d, mode):
    """n / d rounded, d > 0, |n| < 2^62 and d < 2^62."""
    q = n // d
    r = n - q * d
    part = 0
    if r > 0:
        part = 2 if 2 * r == d else 3 if 2 * r > d else 1
    return stepped(q, part, mode)


@kernel
def float_rounded(v, mode):
    """The float as an integer, |v| < 2^62; its distance to the integer towards zero is exact, as is 1/2."""
    towards_zero = math.trunc(v)
    rest = v - towards_zero
    if rest == 0:
        return np.int64(towards_zero)
    if rest > 0:
        part = 2 if rest == 0.5 else 3 if rest > 0.5 else 1
        return stepped(np.int64(towards_zero), part, mode)
    part = 2 if rest == -0.5 else 3 if rest > -0.5 else 1
    return stepped(np.int64(towards_zero) - 1, part, mode)


# ---- products that need 128 bits -------------------------------------------------------------------------------


@kernel
def product(a, b):
    """(high, low) with a * b = high * 2^64 + low, 0 <= low < 2^64, for int64 a and b."""
    mask = np.uint64(0xFFFFFFFF)
    half = np.uint64(32)
    ua, ub = np.uint64(a), np.uint64(b)
    a0, a1, b0, b1 = ua & mask, ua >> half, ub & mask, ub >> half
    low = a0 * b0
    middle = a1 * b0 + (low >> half)
    other = a0 * b1 + (middle & mask)
    high = np.int64(a1 * b1 + (middle >> half) + (other >> half))
    high -= (b if a < 0 else np.int64(0)) + (a if b < 0 else np.int64(0))  # from unsigned to signed factors
    return high, (other << half) | (low & mask)


@kernel
def split(high, low, right):
    """(q, part) of (high * 2^64 + low) / 2^right, 0 <= right <= 127, where q = floor fits int64: see `stepped`."""
    if right == 0:
        return np.int64(low), 0
    if right < 64:
        q = np.int64((np.uint64(high) << np.uint64(64 - right)) | (low >> np.uint64(right)))
        tie = (low >> np.uint64(right - 1)) & np.uint64(1)
        rest = (low & ((np.uint64(1) << np.uint64(right - 1)) - np.uint64(1))) != 0
    elif right == 64:
        q = np.int64(high)
        tie = low >> np.uint64(63)
        rest = (low << np.uint64(1)) != 0
    else:
        q = np.int64(high) >> np.int64(right - 64)
        tie = (np.uint64(high) >> np.uint64(right - 65)) & np.uint64(1)
        rest = low != 0 or (np.uint64(high) & ((np.uint64(1) << np.uint64(right - 65)) - np.uint64(1))) != 0
    if tie:
        return q, 3 if rest else 2
    return q, 1 if rest else 0
