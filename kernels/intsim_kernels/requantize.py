"""From accumulators `[n, c]` to output integers `[n, c]`: one loop for shifts and multipliers, one for float scales."""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.overflow import bounded, cast, held
from intsim_kernels.rounding import float_rounded, product, shifted, split, stepped

# The inner loops are functions of their own, free of branches, because only then they become vectors. They work on
# blocks of rows whose results stay in the nearest cache.
BLOCK = 64


@kernel
def once(acc, multiplier, add, last, y):
    """y = last(acc * multiplier + add)."""
    for r in range(acc.shape[0]):
        for c in range(acc.shape[1]):
            n = np.int64(acc[r, c]) * multiplier[c] + add[c]
            y[r, c] = shifted(n, last[0, c], last[1, c], last[2, c], last[3, c], last[4, c])


@kernel
def once_wrapped(acc, multiplier, wrapped, add, last, y):
    """y = last(wrapped(acc * multiplier) + add)."""
    spare = np.int64(64) - wrapped
    for r in range(acc.shape[0]):
        for c in range(acc.shape[1]):
            n = ((np.int64(acc[r, c]) * multiplier[c] << spare) >> spare) + add[c]
            y[r, c] = shifted(n, last[0, c], last[1, c], last[2, c], last[3, c], last[4, c])


@kernel
def twice(acc, multiplier, left, register, right, t, below, odd, down, add, last, y):
    """y = last(add + saturated(first(wrapped(acc * 2^left) * multiplier)))."""
    spare = np.int64(64) - register
    top = (np.int64(1) << (register - 1)) - 1
    for r in range(acc.shape[0]):
        for c in range(acc.shape[1]):
            a = (np.int64(acc[r, c]) << (left[c] + spare)) >> spare
            n = shifted(a * multiplier[c], right, t, below, odd, down)
            n = min(max(n, -top - 1), top) + add[c]
            y[r, c] = shifted(n, last[0, c], last[1, c], last[2, c], last[3, c], last[4, c])


@kernel
def saturated(y, after, low, high, out):
    """out = y + after, clamped to low..high."""
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            out[r, c] = min(max(y[r, c] + after[c], low), high)


@kernel
def fixed_point(acc, out, multiplier, left, register, wrapped, first, add, last, middle, after, low, high, overflow):
    """out = bounded(after + middle(last(add + saturated(first(wrapped(acc * 2^left) * multiplier))))).

    `multiplier`, `left`, `add`, `after` int64 `[c]`; `first` int64 `[5]` and `last` int64 `[5, c]` as `steps` gives
    them. `register`: bits of the register before and after the first shift; 0: there is no first shift, and out =
    bounded(after + middle(last(acc * multiplier + add))), the product wrapped to `wrapped` bits where those are not 0.
    `middle` as `overflow.cast` takes it. Every sum and product stays within 2^62, and left + 64 - register below 64.
    """
    rows, channels = acc.shape
    block = np.empty((BLOCK, channels), np.int64)
    right, t, below, odd, down = first[0], first[1], first[2], first[3], first[4]
    for begin in range(0, rows, BLOCK):
        end = min(begin + BLOCK, rows)
        sums, done, y = acc[begin:end], out[begin:end], block[: end - begin]
        if register > 0:
            twice(sums, multiplier, left, register, right, t, below, odd, down, add, last, y)
        elif wrapped > 0:
            once_wrapped(sums, multiplier, wrapped, add, last, y)
        else:
            once(sums, multiplier, add, last, y)
        if middle[0] > 0:
            for r in range(end - begin):
                for c in range(channels):
                    y[r, c] = cast(y[r, c], middle)
        if overflow == codes.SATURATE:
            saturated(y, after, low, high, done)
        else:
            for r in range(end - begin):
                for c in range(channels):
                    done[r, c] = bounded(y[r, c] + after[c], low, high, overflow)


@kernel
def high_half(acc, multiplier, left, high):
    """high = half_up(wrapped(acc * 2^left) * multiplier / 2^31), a register of 32 bits; 0 <= multiplier < 2^31.

    The factor being below 2^31, the result cannot leave int32, and nothing saturates.
    """
    for r in range(acc.shape[0]):
        for c in range(acc.shape[1]):
            a = np.int64(np.int32(acc[r, c] << (left[c] & 31)))
            high[r, c] = np.int32((a * np.int64(multiplier[c]) + (1 << 30)) >> 31)


@kernel
def last_shift(high, last, after, low, top, out):
    """out = clamp(last(high) + after): `shifted` in int32, where a shift known to be below 32 is one instruction."""
    for r in range(out.shape[0]):
        for c in range(out.shape[1]):
            n, right = high[r, c], last[0, c] & 31
            q = np.int32(n >> right)
            t = np.int32(last[1, c] + (last[2, c] if n < 0 else np.int32(0)))
            t = np.int32(t + (last[3, c] if q & 1 else np.int32(0)))
            more = np.int32(n - np.int32(q << right)) > t
            y = np.int32(q + (np.int32(1 | (last[4, c] if n < 0 else np.int32(0))) if more else np.int32(0)))
            out[r, c] = min(max(np.int32(y + after[c]), low), top)


@kernel
def doubled(acc, out, multiplier, left, last, after, low, high):
    """out = clamp(last(half_up(wrapped(acc * 2^left) * multiplier / 2^31)) + after): gemmlowp's, in 32-bit lanes.

    All int32: `multiplier` (0..2^31 - 1), `left` (0..31), `after` `[c]`, `last` `[5, c]` as `steps` gives it, with
    shifts of 0..30, low, high; |after| below 2^30.
    """
    block = np.empty((BLOCK, acc.shape[1]), np.int32)
    for begin in range(0, len(acc), BLOCK):
        end = min(begin + BLOCK, len(acc))
        high_half(acc[begin:end], multiplier, left, block[: end - begin])
        last_shift(block[: end - begin], last, after, low, high, out[begin:end])


@kernel
def fixed_point_wide(
    acc,
    out,
    multiplier,
    left,
    register,
    wrapped,
    first,
    first_mode,
    add,
    last,
    last_mode,
    doubled,
    middle,
    after,
    low,
    high,
    overflow,
):
    """As `fixed_point`, with products of 128 bits: `first`, `last` int64 `[c]` are the shifts to the right, 0..127.

    `add` int64 `[c]` is added after the last shift and before its rounding. `doubled`: twice the result wraps to so
    many bits, before its last bit is rounded off; 0: it does not.
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
            if wrapped > 0:
                a = held(np.int64(lower), wrapped, codes.WRAP, 1)
                upper, lower = a >> 63, np.uint64(a)
            if doubled > 0:
                q = np.int64(lower) << 1
                if last[c] > 0:
                    q, part = split(upper, lower, last[c] - 1)
                q = held(q + 2 * add[c], doubled, codes.WRAP, 1)
                y = stepped(q >> 1, 2 * (q & 1), last_mode)
            else:
                q, part = split(upper, lower, last[c])
                y = stepped(q + add[c], part, last_mode)
            out[r, c] = bounded(cast(y, middle) + after[c], low, high, overflow)


@kernel
def half_even(acc, multiplier, divisor, before, least, most, after, out):
    """out = clamp(rint(acc * multiplier / divisor + before)) + after, clamped to least..most; all in one float type.

    The ends are integers that the type holds, so clamping before the conversion changes nothing.
    """
    for r in range(len(acc)):
        for c in range(len(multiplier)):
            v = np.rint(before.dtype.type(acc[r, c]) * multiplier[c] / divisor[c] + before[c])
            out[r, c] = np.int32(min(max(v, least), most)) + after


@kernel
def float_scale(acc, out, multiplier, divisor, before, mode, after, low, high, overflow):
    """out = bounded(rounded(float(acc) * multiplier / divisor + before) + after), low <= after <= high.

    `multiplier`, `divisor`, `before` `[c]`, all float32 or all float64: every operation is one of that type; a divisor
    of 1 and a `before` of 0 change nothing. Domain: the float lies within 2^62, low and high within 2^22.
    """
    if mode == codes.HALF_EVEN and overflow == codes.SATURATE:
        least, most = before.dtype.type(low - after), before.dtype.type(high - after)
        half_even(acc, multiplier, divisor, before, least, most, after, out)
        return
    rows, channels = acc.shape
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
