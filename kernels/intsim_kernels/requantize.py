"""From accumulators `[n, c]` to output integers `[n, c]`: one loop for shifts and multipliers, one for float scales."""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.overflow import bounded, held
from intsim_kernels.rounding import float_rounded, product, shifted, split, stepped


@kernel
def fixed_point(acc, out, multiplier, left, register, first, add, last, middle, after, low, high, overflow):
    """out = bounded(after + middle(last(add + saturated(first(wrapped(acc * 2^left) * multiplier))))).

    `multiplier`, `left`, `add`, `after` int64 `[c]`; `first`, `last` int64 `[4, c]`, rows as `addends` gives them.
    `register`: bits of the register before and after the first shift; 0: there is no first shift, and out =
    bounded(after + middle(last(acc * multiplier + add))). `middle` int64 `[7]`: bits (0: none), signed, overflow,
    right, base, negative, odd. Every sum and product stays within 2^62, and left + 64 - register below 64.
    """
    rows, channels = acc.shape
    spare = np.int64(64) - register
    top = (np.int64(1) << (register - 1)) - 1 if register > 0 else np.int64(0)
    y = np.empty(channels, np.int64)
    narrow = True
    for c in range(channels):
        narrow = narrow and -(1 << 31) <= multiplier[c] < 1 << 31
    for r in range(rows):
        if register == 32 and narrow:
            # Both factors are seen to be of 32 bits, which makes one instruction of their product.
            for c in range(channels):
                a = (np.int64(acc[r, c]) << (left[c] + 32)) >> 32
                n = a * np.int64(np.int32(multiplier[c]))
                n = shifted(n, first[0, c], first[1, c], first[2, c], first[3, c])
                n = min(max(n, -top - 1), top) + add[c]
                y[c] = shifted(n, last[0, c], last[1, c], last[2, c], last[3, c])
        elif register > 0:
            for c in range(channels):
                a = (np.int64(acc[r, c]) << (left[c] + spare)) >> spare
                n = shifted(a * multiplier[c], first[0, c], first[1, c], first[2, c], first[3, c])
                n = min(max(n, -top - 1), top) + add[c]
                y[c] = shifted(n, last[0, c], last[1, c], last[2, c], last[3, c])
        else:
            for c in range(channels):
                n = np.int64(acc[r, c]) * multiplier[c] + add[c]
                y[c] = shifted(n, last[0, c], last[1, c], last[2, c], last[3, c])
        if middle[0] > 0:
            for c in range(channels):
                n = shifted(y[c], middle[3], middle[4], middle[5], middle[6])
                y[c] = held(n, middle[0], middle[2], middle[1])
        if overflow == codes.SATURATE:
            for c in range(channels):
                out[r, c] = min(max(y[c] + after[c], low), high)
        else:
            for c in range(channels):
                out[r, c] = bounded(y[c] + after[c], low, high, overflow)


@kernel
def fixed_point_wide(
    acc, out, multiplier, left, register, first, first_mode, add, last, last_mode, middle, after, low, high, overflow
):
    """As `fixed_point`, with products of 128 bits: `first`, `last` int64 `[c]` are the shifts to the right, 0..127.

    `add` int64 `[c]` is added after the last shift and before its rounding.
    """
    rows, channels = acc.shape
    for r in range(rows):
        for c in range(channels):
            a = np.int64(acc[r, c])
            factor = multiplier[c]
            if register > 0:
                upper, lower = product(held(a << left[c], register, codes.WRAP, 1), factor)
                q, part = split(upper, lower, first[c])
                a = held(stepped(q, part, first_mode), register, codes.SATURATE, 1)
                factor = np.int64(1)
            upper, lower = product(a, factor)
            q, part = split(upper, lower, last[c])
            y = stepped(q + add[c], part, last_mode)
            if middle[0] > 0:
                y = held(shifted(y, middle[3], middle[4], middle[5], middle[6]), middle[0], middle[2], middle[1])
            out[r, c] = bounded(y + after[c], low, high, overflow)


@kernel
def float_scale(acc, out, multiplier, divisor, before, mode, after, low, high, overflow):
    """out = bounded(rounded(float(acc) * multiplier / divisor + before) + after), low <= after <= high.

    `multiplier`, `divisor`, `before` `[c]`, all float32 or all float64: every operation is one of that type; a divisor
    of 1 and a `before` of 0 change nothing. Domain: the float lies within 2^62, low and high within 2^22.
    """
    rows, channels = acc.shape
    if mode == codes.HALF_EVEN and overflow == codes.SATURATE:
        # The ends are integers that the type holds exactly, so clamping before the conversion changes nothing.
        least, most = before.dtype.type(low - after), before.dtype.type(high - after)
        for r in range(rows):
            for c in range(channels):
                v = np.rint(before.dtype.type(acc[r, c]) * multiplier[c] / divisor[c] + before[c])
                out[r, c] = np.int32(min(max(v, least), most)) + after
    else:
        for r in range(rows):
            for c in range(channels):
                v = before.dtype.type(acc[r, c]) * multiplier[c] / divisor[c] + before[c]
                out[r, c] = bounded(float_rounded(v, mode) + after, low, high, overflow)


@kernel
def thresholds(acc, out, table, low):
    """out = low + #{i: acc >= table[c, i]}; each row of the table ascends."""
    rows, channels = acc.shape
    for r in range(rows):
        for c in range(channels):
            begin, end = 0, table.shape[1]
            while begin < end:
                middle = (begin + end) // 2
                if acc[r, c] >= table[c, middle]:
                    begin = middle + 1
                else:
                    end = middle
            out[r, c] = low + begin
