"""Any tree of levels, through every register that the machine has, in its order; and what overflows, counted.

The arguments that name operands are those of `dot.grouped`.
"""

import numpy as np

from intsim_kernels import codes
from intsim_kernels.compiled import kernel
from intsim_kernels.overflow import held, moved


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
def store(values, to, hit):
    """values = what the register `to` holds of them, see `overflow.cast`, in place; how many it changed."""
    events = 0
    for o in range(len(values)):
        exact = moved(values[o], to)
        values[o] = held(exact, to[0], to[2], to[1])
        if values[o] != exact:
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
        for o in range(len(item)):
            item[o] = registers[level, o]
            registers[level, o] = 0
        fill[level] = 0
        done[level] = levels[level, 3]
        level += 1


@kernel
def tree(
    x,
    size,
    base,
    taps,
    stride,
    lane,
    weights,
    table,
    cast,
    levels,
    back,
    owed,
    zeros,
    init,
    bias,
    counting,
    out,
    counts,
):
    """out[r, g * m + o]: the whole accumulator, through every register that the machine has; int64.

    `table` int32 `[256, 256]`: the product of x and w is table[x & 255, w & 255]; `[0, 0]`: it is x * w.
    `cast`: the products' register, `back`: the one that the sum is written back to, as `overflow.cast` takes them.
    `levels` int64 `[l, 4]`, inner to outer: size (0: all), bits (0: exact), overflow, first_only. What is owed, owed[o]
    - zeros[o] * sum of x, is what the outermost level starts from (`init`), or is added at the end in the register
    `bias` (bits, overflow). `counts` int64 `[3]` grows, if counting, by: outputs with events, events, outputs whose
    exact sum the outermost register cannot hold. Every sum stays within 2^62.
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
                exact[o] = due[o] if init else due[o] << (back[3] + back[4])
            if init:
                for o in range(outputs):
                    item[o] = due[o]
                events += add(registers[last], item, levels[last, 1], levels[last, 2], counting, hit)
            for k in range(depth):
                j = i + taps[k]
                if len(table) == 0:
                    for o in range(outputs):
                        item[o] = np.int64(x[j + o * lane]) * weights[g, k, o]
                else:
                    for o in range(outputs):
                        item[o] = table[x[j + o * lane] & 255, weights[g, k, o] & 255]
                if counting:
                    for o in range(outputs):
                        exact[o] += item[o]
                if cast[0] > 0:
                    events += store(item, cast, hit)
                events += push(item, 0, levels, registers, fill, done, counting, hit)
            for level in range(last):
                if fill[level] > 0:
                    for o in range(outputs):
                        item[o] = registers[level, o]
                    events += push(item, level + 1, levels, registers, fill, done, counting, hit)
            if back[0] > 0:
                events += store(registers[last], back, hit)
            if not init:
                events += add(registers[last], due, bias[0], bias[1], counting, hit)
            for o in range(outputs):
                out[r, g * outputs + o] = registers[last, o]
            if counting:
                counts[1] += events
                for o in range(outputs):
                    counts[0] += hit[o]
                    counts[2] += held(exact[o], levels[last, 1], codes.WRAP, 1) != exact[o]
