"""Windows over channels, as routines: the largest; and what makes averages of sums."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.cpu import LANES
from intsim_kernels.memory import pointer, word
from intsim_kernels.native import routine
from intsim_kernels.rounding import shifted
from intsim_kernels.vectors import I8, I16, I32, I64

FROM: Any = np.int16
TO: Any = np.int16

TYPES = {"uint8": I8, "int16": I16, "int32": I32, "int64": I64}

# ---- the largest -----------------------------------------------------------------------------------------------


@cache
def peak(source: str, goal: str, lanes: int) -> Any:
    """The intrinsic f(x, taps, count, added, out): added + the largest of x + taps[t], in every lane of a vector."""

    @intrinsic
    def largest(typingctx: Any, x: Any, taps: Any, count: Any, added: Any, out: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            x, taps, count, added, out = args
            kind, to = v.vector(TYPES[source], lanes), v.vector(TYPES[goal], lanes)

            def at(t: Any) -> Any:
                return v.load(b, b.add(x, v.load(b, b.add(taps, b.mul(t, I64(8))), I64)), kind)

            def tap(t: Any, state: Sequence[Any]) -> list[Any]:
                name = f"llvm.{'u' if source == 'uint8' else 's'}max.v{lanes}i{kind.element.width}"
                return [v.intrinsic(b, name, kind, [state[0], at(b.add(t, I64(1)))])]

            found = v.loop(b, b.sub(count, I64(1)), [at(I64(0))], tap)[0]
            if kind.element.width < to.element.width:
                found = (b.zext if source == "uint8" else b.sext)(found, to)
            elif kind.element.width > to.element.width:
                found = b.trunc(found, to)
            more = added if to.element is I64 else b.trunc(added, to.element)
            v.store(b, b.add(found, v.splat(b, more, lanes)), out)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return largest


X, SIZE, BASE, PLACES, TAPS, COUNT, EACH, Y, Y_SIZE, Y_BASE, CHANNELS, SPARE, TOGETHER, ADDED = range(14)

PEAK: Any = None
VECTOR = 16
FROM_ITEM = 2
TO_ITEM = 2


def largest(p, arena, begin, end):
    """y[place] = added + the largest of x[base[place] + taps], for every channel.

    `TAPS` int64, `COUNT` of them, in bytes; `EACH`: bytes from one place's taps to the next's, 0: all have the same.
    `SPARE`: a vector of scratch; `TOGETHER`: places that lie without a gap in y, and may be written to too early.
    """
    size, base, places = word(p, SIZE), word(p, BASE), word(p, PLACES)
    taps, count, each, added = word(p, TAPS), word(p, COUNT), word(p, EACH), word(p, ADDED)
    y_size, y_base, together = word(p, Y_SIZE), word(p, Y_BASE), word(p, TOGETHER)
    channels = word(p, CHANNELS)
    whole = channels // VECTOR * VECTOR
    left = channels - whole
    spare = arena + word(p, SPARE)
    for row in range(begin, end):
        image = row // places
        place = row - image * places
        x = arena + word(p, X) + image * size + word(base, place)
        y = arena + word(p, Y) + image * y_size + word(y_base, place)
        here = taps + each * place
        for c in range(0, whole, VECTOR):
            PEAK(x + c * FROM_ITEM, here, count, added, y + c * TO_ITEM)
        if left > 0:
            if (together - place % together) * channels - whole >= VECTOR:  # the next places overwrite it
                PEAK(x + whole * FROM_ITEM, here, count, added, y + whole * TO_ITEM)
            elif whole > 0:
                c = channels - VECTOR
                PEAK(x + c * FROM_ITEM, here, count, added, y + c * TO_ITEM)
            else:
                PEAK(x, here, count, added, spare)
                some = carray(pointer(spare), (channels,), TO)
                out = carray(pointer(y), (channels,), TO)
                for i in range(channels):
                    out[i] = some[i]


@cache
def largest_routine(source: str, goal: str) -> Any:
    """The routine `largest` from integers of one type to another's, by name."""
    items = np.dtype(source).itemsize, np.dtype(goal).itemsize
    lanes = 4 * LANES // max(items)
    parts = {"TO": getattr(np, goal), "FROM_ITEM": items[0], "TO_ITEM": items[1], "VECTOR": lanes}
    return routine(largest, f"{source}-{goal}", PEAK=peak(source, goal, lanes), **parts)


# ---- averages of sums ------------------------------------------------------------------------------------------

ACC, COLUMNS, AT, NUMBERS = range(4)
"""Sums int32 `[rows][columns]` in scratch, in place; `AT`: places an image; `NUMBERS` int64, one row a place."""


def divided(p, arena, begin, end):
    """acc = rounded((acc + n[1]) / n[0]) - n[2]; n[3..6] are t, below, odd, down, as in `rounding.steps`.

    |acc + n[1]| below 2^31: its quotient in float64 lies on the right side of every integer.
    """
    columns, places = word(p, COLUMNS), word(p, AT)
    acc = carray(pointer(arena + word(p, ACC)), (end - begin, columns), np.int32)
    numbers = carray(pointer(word(p, NUMBERS)), (places, 7), np.int64)
    for r in range(end - begin):
        n = numbers[(begin + r) % places]
        d, more, less, t = np.int32(n[0]), np.int32(n[1]), np.int32(n[2]), np.int32(n[3])
        below, odd, down = np.int32(n[4]), np.int32(n[5]), np.int32(n[6])
        real = np.float64(d)
        sums = acc[r]
        for c in range(columns):
            s = np.int32(sums[c] + more)
            q = np.int32(np.floor(np.float64(s) / real))
            rest = np.int32(s - np.int32(q * d))
            end_ = np.int32(t + (below if s < 0 else np.int32(0)) + (odd if q & 1 else np.int32(0)))
            step = np.int32(1) | (down if s < 0 else np.int32(0))
            sums[c] = np.int32(q + (step if rest > end_ else np.int32(0)) - less)


def scaled(p, arena, begin, end):
    """acc = rounded((acc + n[1]) * n[0] / 2^n[3]) - n[2]; n[4..7] are t, below, odd, down, as in `rounding.steps`."""
    columns, places = word(p, COLUMNS), word(p, AT)
    acc = carray(pointer(arena + word(p, ACC)), (end - begin, columns), np.int32)
    numbers = carray(pointer(word(p, NUMBERS)), (places, 8), np.int64)
    for r in range(end - begin):
        n = numbers[(begin + r) % places]
        m, more, less, right, t, below, odd, down = n[0], n[1], n[2], n[3], n[4], n[5], n[6], n[7]
        sums = acc[r]
        for c in range(columns):
            s = np.int64(sums[c]) + more
            sums[c] = np.int32(shifted(s * m, right, t, below, odd, down) - less)


divided_routine = routine(divided)
scaled_routine = routine(scaled)

# ---- averages in float32 ---------------------------------------------------------------------------------------

REALS, ZERO, LOW, HIGH, SHIFT, MEMBERS = range(13, 19)
"""After those of `largest`, without its last."""


def float_average(p, arena, begin, end):
    """y = clamp(half_even(s / count / sy + zero)) + shift, s the sum of sx * (x - ZERO) in the order of the taps.

    All in float32; told as `largest`, and: `REALS` sx, sy, zero; `MEMBERS`: count by place, int64. `SPARE`: a float32
    of scratch for every channel.
    """
    size, base, places, channels = word(p, SIZE), word(p, BASE), word(p, PLACES), word(p, CHANNELS)
    reals = carray(pointer(word(p, REALS)), (3,), np.float32)
    sx, sy, zero = reals[0], reals[1], reals[2]
    low, high, shift = np.float32(word(p, LOW)), np.float32(word(p, HIGH)), np.int32(word(p, SHIFT))
    less = np.int32(word(p, ZERO))
    s = carray(pointer(arena + word(p, SPARE)), (channels,), np.float32)
    for row in range(begin, end):
        image = row // places
        place = row - image * places
        s[:] = 0
        for t in range(word(p, COUNT)):
            at = arena + word(p, X) + image * size + word(base, place) + word(word(p, TAPS), t)
            x = carray(pointer(at), (channels,), FROM)
            for c in range(channels):
                s[c] += sx * np.float32(np.int32(x[c] - less))
        y = carray(
            pointer(arena + word(p, Y) + image * word(p, Y_SIZE) + word(word(p, Y_BASE), place)), (channels,), TO
        )
        count = np.float32(word(word(p, MEMBERS), place))
        for c in range(channels):
            v = np.rint(s[c] / count / sy + zero)
            v = v if v > low else low
            v = v if v < high else high
            y[c] = TO(np.int32(np.int32(v) + shift))


@cache
def float_averaging(source: str, goal: str) -> Any:
    """The routine `float_average` for integers of these types, by name."""
    return routine(float_average, f"{source}-{goal}", FROM=getattr(np, source), TO=getattr(np, goal))
