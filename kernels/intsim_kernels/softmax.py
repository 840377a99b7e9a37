"""Softmax row by row: exact quotients, gemmlowp's fixed point, reciprocals from a table, float32."""

import numpy as np

from intsim_kernels.compiled import kernel
from intsim_kernels.rounding import divided, float_rounded


@kernel
def largest(x, row):
    """max(x[row])."""
    top = x[row, 0]
    for i in range(1, x.shape[1]):
        top = max(top, x[row, i])
    return top


@kernel
def quotients(x, out, table, inverse, right, mode, zero, low, high):
    """out = clamp(rounded(t * inverse / (2^right * sum of t)) + zero), t = table[max - x]; products below 2^62."""
    for row in range(x.shape[0]):
        top, total = largest(x, row), np.int64(0)
        for i in range(x.shape[1]):
            total += table[top - x[row, i]]
        total <<= right
        for i in range(x.shape[1]):
            y = divided(table[top - x[row, i]] * inverse, total, mode) + zero
            out[row, i] = min(max(y, low), high)


@kernel
def saturated(a):
    """a clamped to int32."""
    return min(max(a, -(np.int64(1) << 31)), (np.int64(1) << 31) - 1)


@kernel
def high_half(a, b):
    """half_up(a * b / 2^31), saturated to int32; |a|, |b| <= 2^31."""
    return saturated((a * b + (np.int64(1) << 30)) >> 31)


@kernel
def away(a, right):
    """a / 2^right, half away from zero; 0 <= right <= 62."""
    if right == 0:
        return a
    half = np.int64(1) << (right - 1)
    return (a + half) >> right if a >= 0 else -((half - a) >> right)


@kernel
def one_over_one_plus(x):
    """1 / (1 + x) in Q0.31, of x in [0, 1] in Q0.31: see `intsim.arithmetic.gemmlowp`."""
    d = away(x + (np.int64(1) << 31) - 1, 1)
    y = np.int64(1515870810) + high_half(d, np.int64(-1010580540))
    for _ in range(3):
        rest = high_half(y, (np.int64(1) << 29) - high_half(d, y))
        y = saturated(y + saturated(rest << 2))
    return saturated(y << 1)


@kernel
def fixed_quotients(x, out, table, bits, zero, low, high):
    """gemmlowp's softmax to `bits` bits; table[max - x] in Q0.31, -1 for what does not count; rows of 4096 at most."""
    for row in range(x.shape[0]):
        top, total = largest(x, row), np.int64(0)
        for i in range(x.shape[1]):
            t = table[top - x[row, i]]
            if t >= 0:
                total += away(t, 12)
        zeros = 0
        while (total << zeros) < (np.int64(1) << 31):
            zeros += 1
        inverse = one_over_one_plus((total << zeros) - (np.int64(1) << 31))
        right = 12 - zeros + 31 - bits
        for i in range(x.shape[1]):
            t = table[top - x[row, i]]
            y = zero if t < 0 else away(high_half(inverse, t), right) + zero
            out[row, i] = min(max(y, low), high)


@kernel
def float_quotients(x, out, table, factor, inverse_first, mode, zero, low, high):
    """float32 t = table[max - x], summed in order: t * (1 / (sum * factor)) (`inverse_first`), or t * factor / sum.

    The quotient is one of float64.
    """
    for row in range(x.shape[0]):
        top, total = largest(x, row), np.float32(0)
        for i in range(x.shape[1]):
            total = np.float32(total + table[top - x[row, i]])
        inverse = np.float32(np.float32(1) / np.float32(total * factor))
        for i in range(x.shape[1]):
            t = table[top - x[row, i]]
            quotient = np.float64(t) * np.float64(factor) / np.float64(total)
            v = np.float64(np.float32(t * inverse)) if inverse_first else quotient
            out[row, i] = min(max(float_rounded(v, mode) + zero, low), high)


@kernel
def interpolated_quotients(x, out, table, samples, zero, low, high):
    """table[max - x] times the reciprocal of the row's sum, which lies on lines through 513 samples, to 15 bits."""
    for row in range(x.shape[0]):
        top, total = largest(x, row), np.int64(0)
        for i in range(x.shape[1]):
            total += table[top - x[row, i]]
        right = 0
        while (total >> right) > 1:
            right += 1
        place = min(max(((total << (30 - right)) + (1 << 13) >> 14) - (1 << 16), 0), (1 << 16) - 1)
        here = samples[place >> 7]
        inverse = here + ((samples[(place >> 7) + 1] - here) * (place & 127) + 64 >> 7)
        for i in range(x.shape[1]):
            y = max((table[top - x[row, i]] * inverse + (np.int64(1) << (right - 1))) >> right, 0) + zero
            out[row, i] = min(max(y, low), high)
