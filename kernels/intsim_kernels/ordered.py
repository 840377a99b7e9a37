"""Sums of products in the machine's own order: what saturates, depends on it.

The arguments that name operands are those of `dot.grouped`; k runs in the machine's order, and the loops over the
outputs of a group are the ones that become vectors.
"""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.overflow import held
from intsim_kernels.rounding import shifted


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


# ---- any tree of levels ----------------------------------------------------------------------------------------


@kernel
def add(register, item, bits, overflow, counting, hit):
    """register = held(register + item), in place; the number of adds that were not exact, if counting."""
    if bits == 0 or (bits == 64 and overflow != codes.SATURATE_SYM):
        for o in range(len(register)):
            register[o] += item[o]
        return 0
    top = np.int64((np.uint64(1) << np.uint64(bits - 1)) - np.uint64(1))
    spare = np.int64(64 - bits)
    events = 0
    if not counting and overflow == codes.SATURATE:
        for o in range(len(register)):
            register[o] = min(max(register[o] + item[o], -top - 1), top)
    elif not counting and overflow in (codes.WRAP, codes.FORBID):
        for o in range(len(register)):
            register[o] = ((register[o] + item[o]) << spare) >> spare
    else:
        for o in range(len(register)):
            exact = register[o] + item[o]
            register[o] = held(exact, bits, overflow, 1)
            if register[o] != exact:
                events += 1
                hit[o] = 1
    return events


@kernel
def push(item, level, levels, registers, fill, done, counting, hit):
    """Adds the items to a level's registers, and a group that is complete to the next level's; destroys `item`."""
    events = 0
    while True:
        if done[level]:
            level += 1
            continue
        events += add(registers[level], item, levels[level, 1], levels[level, 2], counting, hit)
        fill[level] += 1
        if fill[level] != levels[level, 0]:
            return events
        item[:] = registers[level]
        registers[level, :] = 0
        fill[level] = 0
        done[level] = levels[level, 3]
        level += 1


@kernel
def tree(x, size, base, taps, stride, lane, weights, cast, levels, owed, zeros, init, bias, counting, out, counts):
    """out[r, g * m + o]: the whole accumulator, through every register that the machine has; int64.

    `cast` int64 `[7]`: the products' register: bits (0: none), signed, overflow, right, base, negative, odd. `levels`
    int64 `[l, 4]`, inner to outer: size (0: all), bits (0: exact), overflow, first_only. What is owed, owed[o] -
    zeros[o] * sum of x, is what the outermost level starts from (`init`), or is added at the end in the register `bias`
    (bits, overflow). `counts` int64 `[3]` grows, if counting, by: outputs with events, events, outputs whose exact sum
    the outermost register cannot hold. Every sum stays within 2^62.
    """
    rows, places = len(out), len(base)
    groups, depth, outputs = weights.shape
    last = len(levels) - 1
    registers = np.empty((last + 1, outputs), np.int64)
    fill, done = np.empty(last + 1, np.int64), np.empty(last + 1, np.int64)
    item, exact, due, hit = (
        np.empty(outputs, np.int64),
        np.empty(outputs, np.int64),
        np.empty(outputs, np.int64),
        np.empty(outputs, np.int64),
    )
    for r in range(rows):
        start = r // places * size + base[r % places]
        for g in range(groups):
            i = start + g * stride
            registers[:] = 0
            fill[:] = 0
            done[:] = 0
            hit[:] = 0
            events = 0
            for o in range(outputs):
                due[o] = owed[g * outputs + o]
                if zeros[g * outputs + o] != 0:
                    for k in range(depth):
                        due[o] -= zeros[g * outputs + o] * x[i + taps[k] + o * lane]
                exact[o] = due[o]
            if init:
                item[:] = due
                events += add(registers[last], item, levels[last, 1], levels[last, 2], counting, hit)
            for k in range(depth):
                j = i + taps[k]
                for o in range(outputs):
                    item[o] = np.int64(x[j + o * lane]) * weights[g, k, o]
                if counting:
                    for o in range(outputs):
                        exact[o] += item[o]
                if cast[0] > 0:
                    for o in range(outputs):
                        p = shifted(item[o], cast[3], cast[4], cast[5], cast[6])
                        item[o] = held(p, cast[0], cast[2], cast[1])
                        if item[o] != p:
                            events += 1
                            hit[o] = 1
                events += push(item, 0, levels, registers, fill, done, counting, hit)
            for level in range(last):
                if fill[level] > 0:
                    item[:] = registers[level]
                    events += push(item, level + 1, levels, registers, fill, done, counting, hit)
            if not init:
                events += add(registers[last], due, bias[0], bias[1], counting, hit)
            for o in range(outputs):
                out[r, g * outputs + o] = registers[last, o]
            if counting:
                counts[1] += events
                for o in range(outputs):
                    counts[0] += hit[o]
                    counts[2] += held(exact[o], levels[last, 1], codes.WRAP, 1) != exact[o]
