"""Sums of products in the machine's own order: what saturates, depends on it.

The arguments that name operands are those of `dot.grouped`; k runs in the machine's order, and the loops over the
outputs of a group are the ones that become vectors.
"""

import numpy as np

from intsim_kernels.compiled import kernel
from intsim_kernels.dot import gather


@kernel
def clip32(v, low, high):
    """v clamped to low..high, for int32 that stays int32."""
    return np.int32(min(max(np.int32(v), low), high))


@kernel
def clamped(x, size, base, taps, stride, lane, weights, tile, inner_low, inner_high, low, high, out):
    """out[r, g * m + o] after clamp(out + t) for every tile t = clamp(clamp(p1) + p2) ... of `tile` products.

    Operands int16, `out` int32; the limits are int32, and those of int32 itself clamp nothing: there int32 wraps.
    Bound: where limits clamp, |limit| + |item| stays within int32.
    """
    rows, places = len(out), len(base)
    groups, depth, outputs = weights.shape
    part = np.empty(outputs, np.int32)
    each = tile == 1 and inner_low == -(1 << 31) and inner_high == (1 << 31) - 1
    for r in range(rows):
        start = r // places * size + base[r % places]
        for g in range(groups):
            sums, w, i = out[r, g * outputs : (g + 1) * outputs], weights[g], start + g * stride
            k = 0
            if each and not lane:
                while k + 4 <= depth:
                    a, b = np.int32(x[i + taps[k]]), np.int32(x[i + taps[k + 1]])
                    c, d = np.int32(x[i + taps[k + 2]]), np.int32(x[i + taps[k + 3]])
                    for o in range(outputs):
                        s = clip32(sums[o] + np.int32(a * w[k, o]), low, high)
                        s = clip32(s + np.int32(b * w[k + 1, o]), low, high)
                        s = clip32(s + np.int32(c * w[k + 2, o]), low, high)
                        sums[o] = clip32(s + np.int32(d * w[k + 3, o]), low, high)
                    k += 4
            elif tile == 2 and not lane:
                while k + 4 <= depth:
                    a, b = np.int32(x[i + taps[k]]), np.int32(x[i + taps[k + 1]])
                    c, d = np.int32(x[i + taps[k + 2]]), np.int32(x[i + taps[k + 3]])
                    for o in range(outputs):
                        p = clip32(np.int32(a * w[k, o]), inner_low, inner_high)
                        p = clip32(p + np.int32(b * w[k + 1, o]), inner_low, inner_high)
                        q = clip32(np.int32(c * w[k + 2, o]), inner_low, inner_high)
                        q = clip32(q + np.int32(d * w[k + 3, o]), inner_low, inner_high)
                        sums[o] = clip32(clip32(sums[o] + p, low, high) + q, low, high)
                    k += 4
            while k < depth:
                end = min(k + tile, depth)
                part[:] = 0
                while k < end:
                    j = i + taps[k]
                    if lane:
                        source = x[j : j + outputs]
                        for o in range(outputs):
                            part[o] = clip32(part[o] + np.int32(source[o] * w[k, o]), inner_low, inner_high)
                    else:
                        v = np.int32(x[j])
                        for o in range(outputs):
                            part[o] = clip32(part[o] + np.int32(v * w[k, o]), inner_low, inner_high)
                    k += 1
                for o in range(outputs):
                    sums[o] = clip32(sums[o] + part[o], low, high)


# ---- pairs that saturate ---------------------------------------------------------------------------------------


@kernel
def two_rows_of_pairs(patch, weights, sums):
    """sums[i, o] = sum over k of clamp16(patch[i, 0, k] * weights[o, 0, k] + patch[i, 1, k] * weights[o, 1, k]).

    int16 operands whose single products fit int16; int32 sums, which wrap. As in `dot.two_rows`, nothing but the loop
    that becomes vectors stands here.
    """
    low, high = np.int32(-(1 << 15)), np.int32((1 << 15) - 1)
    for o in range(0, len(weights), 2):
        a0 = a1 = b0 = b1 = np.int32(0)
        for k in range(patch.shape[2]):
            u, v = patch[0, 0, k], patch[0, 1, k]
            x, y = patch[1, 0, k], patch[1, 1, k]
            p, q = weights[o, 0, k], weights[o, 1, k]
            r, s = weights[o + 1, 0, k], weights[o + 1, 1, k]
            a0 = np.int32(a0 + clip32(np.int32(np.int16(u * p)) + np.int32(np.int16(v * q)), low, high))
            a1 = np.int32(a1 + clip32(np.int32(np.int16(u * r)) + np.int32(np.int16(v * s)), low, high))
            b0 = np.int32(b0 + clip32(np.int32(np.int16(x * p)) + np.int32(np.int16(y * q)), low, high))
            b1 = np.int32(b1 + clip32(np.int32(np.int16(x * r)) + np.int32(np.int16(y * s)), low, high))
        sums[0, o], sums[0, o + 1] = a0, a1
        sums[1, o], sums[1, o + 1] = b0, b1


@kernel
def pairs(x, size, base, segments, length, weights, out):
    """out[r, o] += sum over pairs of products, each pair clamped to 16 bits; int32, which wraps.

    As `dot.dense`, with `weights` int16 `[outputs + pad, 2, k]`, the outputs padded with zeros to an even number: first
    and second of every pair, in the machine's order, which is also that of the segments.
    """
    rows, outputs = out.shape
    places = len(base)
    padded, _, half = weights.shape
    row = np.zeros(2 * half, np.int16)
    patch = np.empty((2, 2, half), np.int16)
    sums = np.empty((2, padded), np.int32)
    for r in range(0, rows, 2):
        for i in range(2):
            at = min(r + i, rows - 1)
            gather(x, at // places * size + base[at % places], segments, length, row)
            for k in range(half):
                patch[i, 0, k] = row[2 * k]
                patch[i, 1, k] = row[2 * k + 1]
        two_rows_of_pairs(patch, weights, sums)
        for i in range(min(2, rows - r)):
            for o in range(outputs):
                out[r + i, o] += sums[i, o]
