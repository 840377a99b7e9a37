"""Windows over channels: integers moved into padded lanes, the largest, the sum, the float32 average."""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.rounding import float_rounded


@kernel
def lanes(x, zero, top, left, out):
    """out[n, top + h, left + i] = x[n, h, i] - zero, in the lanes' own type, which holds it; the border stays."""
    images, height, width = x.shape
    for n in range(images):
        for h in range(height):
            goal = out[n, top + h, left : left + width]
            for i in range(width):
                goal[i] = x[n, h, i] - zero


@kernel
def largest(x, base, taps, out):
    """out[n, p, c] = max over t of x[n, base[p] + taps[t] + c], for flat images x[n, :]."""
    images, places, channels = out.shape
    for n in range(images):
        for p in range(places):
            i = base[p] + taps[0]
            source = x[n, i : i + channels]
            for c in range(channels):
                out[n, p, c] = source[c]
            for t in range(1, len(taps)):
                i = base[p] + taps[t]
                source = x[n, i : i + channels]
                for c in range(channels):
                    out[n, p, c] = max(out[n, p, c], source[c])


@kernel
def total(x, base, taps, out):
    """out[n, p, c] = sum over t of x[n, base[p] + taps[t] + c]; int64."""
    images, places, channels = out.shape
    for n in range(images):
        for p in range(places):
            out[n, p, :] = 0
            for t in range(len(taps)):
                i = base[p] + taps[t]
                source = x[n, i : i + channels]
                for c in range(channels):
                    out[n, p, c] += source[c]


@kernel
def float32_average(x, base, taps, count, sx, sy, zero, low, high, out):
    """out = clamp(half_even(s / count[p] / sy + zero)), s = the sum of sx * x in the order of the taps, all float32.

    x holds q - zero point, so padding adds 0, which changes no float32 sum.
    """
    images, places, channels = out.shape
    s = np.empty(channels, np.float32)
    for n in range(images):
        for p in range(places):
            s[:] = 0
            for t in range(len(taps)):
                i = base[p] + taps[t]
                source = x[n, i : i + channels]
                for c in range(channels):
                    s[c] += sx * np.float32(source[c])
            for c in range(channels):
                y = float_rounded(s[c] / np.float32(count[p]) / sy + zero, codes.HALF_EVEN)
                out[n, p, c] = min(max(y, low), high)
