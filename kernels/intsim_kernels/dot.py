"""Sums of products whose order is free: nothing overflows, or everything wraps, so that they may be summed at will."""

import numpy as np

from intsim_kernels.compiled import kernel


@kernel
def dense(x, size, base, segments, length, weights, block, out):
    """out[r, o] += sum over k of patch(r)[k] * weights[o, k], every image's patches in turn.

    `x` int16, flat, `size` integers an image; the patch of place p starts at base[p] and consists of `segments`
    (offsets) of `length` integers each. `weights` int16 `[outputs + pad, k]`: k is padded with zeros to a multiple of
    16, and the outputs to a multiple of 4. `out` int32 or int64 `[n * places, outputs]`. Sums of `block` products
    must fit int32; int32 `out` wraps.
    """
    rows, outputs = out.shape
    places, depth = len(base), weights.shape[1]
    patch = np.zeros((2, depth), np.int16)
    for r in range(0, rows, 2):
        for half in range(2):
            row = min(r + half, rows - 1)
            start = row // places * size + base[row % places]
            for s in range(len(segments)):
                for i in range(length):
                    patch[half, s * length + i] = x[start + segments[s] + i]
        for k0 in range(0, depth, block):
            k1 = min(k0 + block, depth)
            for o in range(0, outputs, 4):
                # Two rows by four outputs: eight sums, whose products of int16 pairs become one instruction.
                a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.int32(0)
                for k in range(k0, k1):
                    a, b = np.int32(patch[0, k]), np.int32(patch[1, k])
                    w0, w1 = np.int32(weights[o, k]), np.int32(weights[o + 1, k])
                    w2, w3 = np.int32(weights[o + 2, k]), np.int32(weights[o + 3, k])
                    a0 = np.int32(a0 + np.int32(a * w0))
                    a1 = np.int32(a1 + np.int32(a * w1))
                    a2 = np.int32(a2 + np.int32(a * w2))
                    a3 = np.int32(a3 + np.int32(a * w3))
                    b0 = np.int32(b0 + np.int32(b * w0))
                    b1 = np.int32(b1 + np.int32(b * w1))
                    b2 = np.int32(b2 + np.int32(b * w2))
                    b3 = np.int32(b3 + np.int32(b * w3))
                for half in range(min(2, rows - r)):
                    out[r + half, o] += b0 if half else a0
                    if o + 1 < outputs:
                        out[r + half, o + 1] += b1 if half else a1
                    if o + 2 < outputs:
                        out[r + half, o + 2] += b2 if half else a2
                    if o + 3 < outputs:
                        out[r + half, o + 3] += b3 if half else a3


@kernel
def grouped(x, size, base, taps, stride, lane, weights, out):
    """out[r, g * m + o] += sum over k of x[base + taps[k] + g * stride + o * lane] * weights[g, k, o].

    m outputs in each of `len(weights)` groups; a group's input channels lie `stride` integers apart; `lane` is 1 where
    every output has an input channel of its own (depthwise), else 0. Operands int16 and `out` int32, which wraps, or
    operands int32 and `out` int64.
    """
    rows, places = len(out), len(base)
    groups, depth, outputs = weights.shape
    for r in range(rows):
        start = r // places * size + base[r % places]
        for g in range(groups):
            sums = out[r, g * outputs : (g + 1) * outputs]
            for k in range(depth):
                i = start + taps[k] + g * stride
                if lane:
                    for o in range(outputs):
                        sums[o] += sums.dtype.type(x[i + o]) * weights[g, k, o]
                else:
                    v = sums.dtype.type(x[i])
                    for o in range(outputs):
                        sums[o] += v * weights[g, k, o]
