"""One or two levels in int32, and at which adds they did not hold the exact sum: the usual accumulators, counted.

The arguments that name operands are those of `dot.grouped`.
"""

import numpy as np

from intsim_kernels.compiled import kernel


@kernel
def register(v, low, high, spare):
    """v clamped to low..high, then wrapped to 32 - spare bits; all int32."""
    return np.int32(np.int32(np.int32(min(max(v, low), high)) << (spare & 31)) >> (spare & 31))


@kernel
def each(a, weights, k, low, high, spare, sums, events):
    """sums = register(sums + a * weights[k]), and events grow where that is not the exact sum."""
    for o in range(len(sums)):
        v = np.int32(sums[o] + np.int32(a * weights[k, o]))
        h = register(v, low, high, spare)
        sums[o] = h
        events[o] += np.int32(h != v)


@kernel
def each_lane(x, weights, k, low, high, spare, sums, events):
    """As `each`, with an input of its own for every output."""
    for o in range(len(sums)):
        v = np.int32(sums[o] + np.int32(x[o] * weights[k, o]))
        h = register(v, low, high, spare)
        sums[o] = h
        events[o] += np.int32(h != v)


@kernel
def counted(x, size, base, taps, stride, lane, weights, tile, inner, outer, out, events):
    """out[r, g * m + o] after register(out + t) for every tile t of `tile` products, itself summed in a register.

    `tile` 0: there are no tiles, and every product is added to `out`.
    Operands int16; `inner`, `outer` int32 `[3]`: low, high, spare of the two registers (those of int32 itself and 0
    where nothing can overflow); `events` int32 `[rows, outputs]` grows by the adds that were not exact. Bound: what a
    register holds and an item together stay within int32.
    """
    rows, places = len(out), len(base)
    groups, depth, outputs = weights.shape
    part = np.zeros(outputs, np.int32)
    first = inner if tile else outer
    low, high, spare = first[0], first[1], first[2]
    for r in range(rows):
        for g in range(groups):
            sums, seen = out[r, g * outputs : (g + 1) * outputs], events[r, g * outputs : (g + 1) * outputs]
            w, start = weights[g], r // places * size + base[r % places] + g * stride
            goal = part if tile else sums
            for k in range(depth):
                i = start + taps[k]
                if lane:
                    each_lane(x[i : i + outputs], w, k, low, high, spare, goal, seen)
                else:
                    each(np.int32(x[i]), w, k, low, high, spare, goal, seen)
                if tile and ((k + 1) % tile == 0 or k + 1 == depth):
                    for o in range(outputs):
                        v = np.int32(sums[o] + part[o])
                        h = register(v, outer[0], outer[1], outer[2])
                        sums[o] = h
                        seen[o] += np.int32(h != v)
                        part[o] = 0
