"""Sums of two activations in float32, and averages by division or reciprocal; the rest is requantization."""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.rounding import divided, float_rounded, shifted


@kernel
def multiply_add(x, m, addend):
    """f32(x * m + addend), rounded once; |x| < 2^24, m and addend float32.

    In float64 the product is exact and the sum is s with the exact error e. Where e is not 0, s is moved to the
    neighbour with an odd last bit (rounding to odd); 53 bits being more than 24 + 2, the second rounding, to float32,
    then gives what one rounding gives (Boldo and Melquiond, Emulation of FMA and correctly rounded sums, 2008).
    """
    p, a = np.float64(x) * np.float64(m), np.float64(addend)
    s = p + a
    back = s - p
    e = (p - (s - back)) + (a - back)
    if e != 0:
        bits = np.float64(s).view(np.int64)
        if bits & 1 == 0:
            bits += 1 if (e > 0) == (s > 0) else -1
        s = np.int64(bits).view(np.float64)
    return np.float32(s)


@kernel
def float32_add(a, b, ra, rb, fixed, fused, low, high, out):
    """out = clamp(half_even(a * ra + (b * rb + fixed))) in float32, flat, each multiply-add rounded once if `fused`.

    Else clamp(half_even((a * ra + fixed) + b * rb)), where products are rounded too.
    """
    for i in range(len(out)):
        if fused:
            v = multiply_add(a[i], ra, multiply_add(b[i], rb, fixed))
        else:
            v = (np.float32(a[i]) * ra + fixed) + np.float32(b[i]) * rb
        out[i] = min(max(float_rounded(v, codes.HALF_EVEN), low), high)


@kernel
def clipped_add(a, b, za, zb, ra, rb, sign, zero, low, high, out):
    """out = clamp(clamp(half_even((a - za) * ra)) + sign * clamp(half_even((b - zb) * rb)) + zero); flat.

    The products are float32.
    """
    for i in range(len(out)):
        u = float_rounded(np.float32(a[i] - za) * ra, codes.HALF_EVEN)
        v = float_rounded(np.float32(b[i] - zb) * rb, codes.HALF_EVEN)
        y = min(max(u, low), high) + sign * min(max(v, low), high) + zero
        out[i] = min(max(y, low), high)


@kernel
def divide(sums, count, zero, mode):
    """sums[n, p, c] = rounded((sums + zero * count[p]) / count[p]) - zero, in place; int64 below 2^61."""
    images, places, channels = sums.shape
    for n in range(images):
        for p in range(places):
            for c in range(channels):
                sums[n, p, c] = divided(sums[n, p, c] + zero * count[p], count[p], mode) - zero


@kernel
def scale_places(sums, multiplier, how):
    """sums[n, p, c] = rounded(sums * multiplier[p] / 2^right[p]), in place; `how` `[5, places]` as `steps` gives it."""
    images, places, channels = sums.shape
    for n in range(images):
        for p in range(places):
            right, t, below, odd, down = how[0, p], how[1, p], how[2, p], how[3, p], how[4, p]
            for c in range(channels):
                sums[n, p, c] = shifted(sums[n, p, c] * multiplier[p], right, t, below, odd, down)
