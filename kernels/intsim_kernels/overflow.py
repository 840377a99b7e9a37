"""Overflow, each rule once: what a register holds, and what an output type holds."""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.rounding import shifted


@kernel
def held(x, bits, overflow, signed):
    """What a register of `bits` bits holds of x; 0: everything.

    Domain: int64 x, bits 2..64 signed; |x| < 2^62 and bits 1..62 unsigned. With low..high the register's range:
    WRAP, FORBID: low + (x - low) mod 2^bits. SATURATE: the nearer end. SATURATE_SYM: likewise, the lowest value left
    out. SATURATE_ZERO: 0 outside. WRAP_SM: as WRAP, of ~x where the register's two topmost bits of x differ.
    """
    if bits == 0 or (bits == 64 and overflow != codes.SATURATE_SYM):
        return x
    if signed:
        high = np.int64((np.uint64(1) << np.uint64(bits - 1)) - np.uint64(1))
        low = -high - 1
    else:
        high = (np.int64(1) << np.int64(bits)) - 1
        low = np.int64(0)
    if overflow == codes.SATURATE_SYM and signed:
        low = -high
    # Inside a signed register the two topmost bits are equal; WRAP_SM of an unsigned one may find others.
    if low <= x <= high and (signed or overflow != codes.WRAP_SM):
        return x
    if overflow in (codes.SATURATE, codes.SATURATE_SYM):
        return low if x < low else high
    if overflow == codes.SATURATE_ZERO:
        return np.int64(0)
    if overflow == codes.WRAP_SM and ((x >> (bits - 1)) & 1) != ((x >> bits) & 1):
        x = ~x
    if signed:
        spare = np.int64(64 - bits)
        return (x << spare) >> spare
    return x & high


@kernel
def moved(x, to):
    """x shifted as a cast does: first by what its rounding does not see. `to`: see `cast`."""
    return shifted(x >> to[3], to[4], to[5], to[6], to[7], to[8])


@kernel
def cast(x, to):
    """x moved into a register, `to` int64 `[9]`: bits (0: none), signed, overflow, bits unseen, then as `steps`."""
    return x if to[0] == 0 else held(moved(x, to), to[0], to[2], to[1])


@kernel
def cast_all(values, to, out):
    """out[i] = cast(values[i]); int64 out."""
    for i in range(len(values)):
        out[i] = cast(np.int64(values[i]), to)


@kernel
def bounded(y, low, high, overflow):
    """y put into low..high: modulo their number (WRAP, FORBID, WRAP_SM), 0 (SATURATE_ZERO), or the nearer end.

    |y|, |low|, |high| < 2^62.
    """
    if low <= y <= high:
        return y
    if overflow in (codes.WRAP, codes.FORBID, codes.WRAP_SM):
        return low + (y - low) % (high - low + 1)
    if overflow == codes.SATURATE_ZERO:
        return np.int64(0)
    return low if y < low else high


@kernel
def clamp(values, low, high):
    """values[i] = min(max(values[i], low), high), in place."""
    for i in range(len(values)):
        values[i] = min(max(np.int64(values[i]), low), high)


@kernel
def wrap(values, spare):
    """values[i] = values[i] modulo 2^(64 - spare), signed, in place."""
    for i in range(len(values)):
        values[i] = (np.int64(values[i]) << (spare & 63)) >> (spare & 63)


@kernel
def hold(values, bits, overflow):
    """values[i] = held(values[i], bits, overflow, signed), in place; int32 values: bits 0 or 2..32."""
    if bits == 0:
        return
    top = np.int64((np.uint64(1) << np.uint64(bits - 1)) - np.uint64(1))
    if overflow == codes.SATURATE:
        clamp(values, -top - 1, top)
    elif overflow in (codes.WRAP, codes.FORBID):
        wrap(values, np.int64(64 - bits))
    else:
        for i in range(len(values)):
            values[i] = held(np.int64(values[i]), bits, overflow, 1)
