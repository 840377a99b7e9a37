"""Sums of products whose order is free: nothing overflows, or everything wraps, so that they may be summed at will.

Here as everywhere in the kernels: an index counts from 0 into a slice. Were it `start + i`, it might be negative for
all that the compiler knows, and Python's rule for negative indices would keep the loop from becoming vectors.
"""

import numpy as np

from intsim_kernels.compiled import kernel


@kernel
def two_rows(patch, weights, sums):
    """sums[i, o] = sum over k of patch[i, k] * weights[o, k], i in 0, 1; int16 operands, int32 sums.

    Two rows by four outputs at a time: eight sums, whose products of pairs become one instruction where the CPU has it.
    This loop is a function of its own, and free of branches, because only then it becomes vectors.
    """
    for o in range(0, len(weights), 4):
        a0 = a1 = a2 = a3 = b0 = b1 = b2 = b3 = np.int32(0)
        for k in range(patch.shape[1]):
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
        sums[0, o], sums[0, o + 1], sums[0, o + 2], sums[0, o + 3] = a0, a1, a2, a3
        sums[1, o], sums[1, o + 1], sums[1, o + 2], sums[1, o + 3] = b0, b1, b2, b3


@kernel
def gather(x, start, segments, length, patch):
    """patch = the segments of `length` integers at start + segments[s] of x, one after the other."""
    if length == 1:
        for s in range(len(segments)):
            patch[s] = x[start + segments[s]]
        return
    for s in range(len(segments)):
        source = x[start + segments[s] : start + segments[s] + length]
        goal = patch[s * length : (s + 1) * length]
        for i in range(length):
            goal[i] = source[i]


@kernel
def dense(x, size, base, segments, length, weights, out):
    """out[r, o] += sum over k of patch(r)[k] * weights[k // block, o, k % block], every image's patches in turn.

    `x` int16, flat, `size` integers an image; the patch of place p starts at base[p] and consists of `segments`
    (offsets) of `length` integers each. `weights` int16 `[blocks, outputs + pad, block]`, the outputs padded with zeros
    to a multiple of 4, and k to blocks of a multiple of 16. `out` int32, which wraps, or int64 `[n * places, outputs]`:
    there, sums of one block must fit int32.
    """
    rows, outputs = out.shape
    places = len(base)
    blocks, padded, block = weights.shape
    patch = np.zeros((2, blocks * block), np.int16)
    part = np.empty((2, block), np.int16)
    sums = np.empty((2, padded), np.int32)
    for r in range(0, rows, 2):
        for half in range(2):
            row = min(r + half, rows - 1)
            gather(x, row // places * size + base[row % places], segments, length, patch[half])
        for b in range(blocks):
            if blocks > 1:
                for half in range(2):
                    source = patch[half, b * block : (b + 1) * block]
                    for k in range(block):
                        part[half, k] = source[k]
                two_rows(part, weights[b], sums)
            else:
                two_rows(patch, weights[0], sums)
            for half in range(min(2, rows - r)):
                for o in range(outputs):
                    out[r + half, o] += sums[half, o]


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
                    source = x[i : i + outputs]
                    for o in range(outputs):
                        sums[o] += sums.dtype.type(source[o]) * weights[g, k, o]
                else:
                    v = sums.dtype.type(x[i])
                    for o in range(outputs):
                        sums[o] += v * weights[g, k, o]
