"""Wide sums of products: blocks of rows through tiles, in int32, which wraps.

Layout: see `tile`. The addresses of a block's rows and its sums, int32 `[rows][columns]`, go to scratch; the routines
after it read the sums while they are in the nearest cache.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import carray, types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.cpu import LANES, REGISTERS
from intsim_kernels.memory import pointer, put_word, word
from intsim_kernels.native import routine
from intsim_kernels.tile import tile
from intsim_kernels.vectors import I8

# A tile's rows by its width in vectors: sums, weights and a broadcast fit the registers.
ROWS = {4: 6, 2: 12, 1: 8} if REGISTERS == 32 else {2: 6, 1: 12}
SPARE_ROWS = max(ROWS.values())
"""Rows of addresses and sums, beyond those of a block, that scratch must have."""


# ---- addresses -------------------------------------------------------------------------------------------------

X, SIZE, BASE, PLACES, ADDRESSES = range(5)


def rows(p, arena, begin, end):
    """The addresses of rows begin..end: windows at `BASE` (bytes in an image of `SIZE` bytes) of the tensor at X."""
    x, size, base, places = arena + word(p, X), word(p, SIZE), word(p, BASE), word(p, PLACES)
    addresses = arena + word(p, ADDRESSES)
    image = begin // places
    place = begin - image * places
    r, n = 0, end - begin
    while r < n:
        run, at = min(places - place, n - r), x + image * size
        for i in range(run):
            put_word(addresses, r + i, at + word(base, place + i))
        r, place, image = r + run, 0, image + 1
    last = word(addresses, n - 1)
    for i in range(SPARE_ROWS):  # a tile that is not full does its last row again
        put_word(addresses, n + i, last)


SEGMENTS, COUNT, LENGTH, GOAL, GOAL_ROW = range(5, 10)
COPIED = 16
"""Bytes copied at once; so many may be read and written too many."""


@intrinsic
def copy16(typingctx: Any, source: Any, goal: Any) -> Any:
    """16 bytes from one address to another."""

    def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
        v.store(b, v.load(b, args[0], v.vector(I8, COPIED)), args[1])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


def gather(p, arena, begin, end):
    """As `rows`, of copies in scratch: a row's `COUNT` segments of `LENGTH` bytes, one after the other."""
    rows_of(p, arena, begin, end)
    addresses, segments, n = arena + word(p, ADDRESSES), word(p, SEGMENTS), end - begin
    length, goal, step = word(p, LENGTH), arena + word(p, GOAL), word(p, GOAL_ROW)
    for s in range(word(p, COUNT)):  # what a copy writes too much, the next segment's copy mends
        for i in range(0, length, COPIED):
            source, at = word(segments, s) + i, goal + s * length + i
            for r in range(n):
                copy16(word(addresses, r) + source, at + r * step)
    for r in range(n + SPARE_ROWS):
        put_word(addresses, r, goal + min(r, n - 1) * step)


# ---- sums ------------------------------------------------------------------------------------------------------

# The rows' addresses, their segments, packed weights, what each sum starts from, and where the sums go.
ROW_ADDRESSES, PIECES, PIECE_COUNT, GROUPS, WEIGHTS, PANELS, PANEL_BYTES, START, OUT, STRIDE = range(10)

FULL: Any = None
ONE: Any = None
TILE_ROWS = 0
TILE_COLUMNS = 0


def dot(p, arena, begin, end):
    """out[r] = start + the sums of row begin + r, for every panel of columns."""
    pieces, count, groups = word(p, PIECES), word(p, PIECE_COUNT), word(p, GROUPS)
    stride, addresses = word(p, STRIDE), arena + word(p, ROW_ADDRESSES)
    rows = end - begin
    for panel in range(word(p, PANELS)):
        weights = word(p, WEIGHTS) + panel * word(p, PANEL_BYTES)
        start = word(p, START) + panel * TILE_COLUMNS * 4
        out = arena + word(p, OUT) + panel * TILE_COLUMNS * 4
        r = 0
        while rows - r > TILE_ROWS // 3:
            FULL(addresses + 8 * r, pieces, count, groups, weights, start, out + r * stride, stride)
            r += TILE_ROWS
        while r < rows:
            ONE(addresses + 8 * r, pieces, count, groups, weights, start, out + r * stride, stride)
            r += 1


rows_of = routine(rows)
gathering = routine(gather)


@cache
def dot_routine(kind: str, width: int) -> Any:
    """The routine for a kind of `tile`, and panels of `width` vectors."""
    rows = ROWS[width]
    return routine(
        dot,
        f"{kind}-{rows}x{width}".replace(" ", "_"),
        FULL=tile(kind, rows, width, LANES),
        ONE=tile(kind, 1, width, LANES),
        TILE_ROWS=rows,
        TILE_COLUMNS=width * LANES,
    )


# ---- sums in 64 bits -------------------------------------------------------------------------------------------

PART, TOTAL, COLUMNS, AFRESH, BEGIN = range(5)


def widen(p, arena, begin, end):
    """total[r] (int64) = part[r] (int32) + what it was, or, where it begins afresh, + BEGIN[c]."""
    n, c = end - begin, word(p, COLUMNS)
    part = carray(pointer(arena + word(p, PART)), (n, c), np.int32)
    total = carray(pointer(arena + word(p, TOTAL)), (n, c), np.int64)
    if word(p, AFRESH):
        first = carray(pointer(word(p, BEGIN)), (c,), np.int64)
        for r in range(n):
            for i in range(c):
                total[r, i] = first[i] + part[r, i]
    else:
        for r in range(n):
            for i in range(c):
                total[r, i] += part[r, i]


widening = routine(widen)
