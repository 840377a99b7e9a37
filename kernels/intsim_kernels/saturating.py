"""Sums in the machine's own order: blocks of rows through the tiles of `ordered_tile`.

The sums of a block go to scratch, int32 `[rows][panels * columns]`. Scratch for addresses, from ADDRESSES on: int64
`[2][rows + TILE_ROWS]`, the rows' and those of their sums; `SLACK` is the largest TILE_ROWS.
"""

from functools import cache
from typing import Any

from intsim_kernels.checked_tile import LIST
from intsim_kernels.compiled import kernel
from intsim_kernels.cpu import AVX512, LANES, REGISTERS
from intsim_kernels.memory import put_word, word
from intsim_kernels.native import routine
from intsim_kernels.ordered_tile import (
    ADDRESSES,
    BASE,
    OUT,
    PANELS,
    PLACES,
    SIZE,
    STRIDE,
    X,
    ordered_tile,
    two_level_tile,
)

SLACK = 16

# A tile's rows by its kind and its width in vectors: the sums, `width` weights, two limits and a broadcast fit.
_ROWS = {True: {1: 12, 2: 8}, False: {1: 6, 2: 4}}[REGISTERS == 32]  # noqa: PLR2004
# Two levels have twice the sums, and four limits.
_ROWS_OF_TWO = {True: {1: 8, 2: 4}, False: {1: 4, 2: 2}}[REGISTERS == 32]  # noqa: PLR2004

FULL: Any = None
ONE: Any = None
TILE_ROWS = 0
PARTS = 1


@kernel
def locate(p, arena, begin, rows, addresses, outs, spare):
    """The addresses of rows begin.. and of their sums; the last one `spare` times more: a tile may not be full."""
    x, size, base, places = arena + word(p, X), word(p, SIZE), word(p, BASE), word(p, PLACES)
    out, stride = arena + word(p, OUT), word(p, STRIDE)
    image = begin // places
    place = begin - image * places
    for r in range(rows):
        put_word(addresses, r, x + image * size + word(base, place))
        put_word(outs, r, out + r * stride)
        place += 1
        if place == places:
            place = 0
            image += 1
    for r in range(rows, rows + spare):
        put_word(addresses, r, word(addresses, rows - 1))
        put_word(outs, r, word(outs, rows - 1))


def sums(p, arena, begin, end):
    """out[r] = the registers of row begin + r, for every panel of columns."""
    rows = end - begin
    addresses = arena + word(p, ADDRESSES)
    outs = addresses + 8 * (rows + TILE_ROWS)
    locate(p, arena, begin, rows, addresses, outs, TILE_ROWS)
    for panel in range(word(p, PANELS)):
        r = 0
        while rows - r > TILE_ROWS // 3:
            FULL(addresses + 8 * r, outs + 8 * r, p, panel)
            r += TILE_ROWS
        while r < rows:
            ONE(addresses + 8 * r, outs + 8 * r, p, panel)
            r += 1


def again(p, arena, begin, end):
    """As `sums`, for the rows and panels in the list of `checked` only; PARTS panels here are one of the list."""
    x, size, base, places = arena + word(p, X), word(p, SIZE), word(p, BASE), word(p, PLACES)
    out, stride = arena + word(p, OUT), word(p, STRIDE)
    rows = end - begin
    addresses, flagged = arena + word(p, ADDRESSES), arena + word(p, LIST)
    outs = addresses + 8 * (rows + TILE_ROWS)
    count = word(flagged, 0)
    first = 0
    while first < count:
        panel = word(flagged, 1 + first) >> 32
        n = 0
        while first + n < count and word(flagged, 1 + first + n) >> 32 == panel:
            r = word(flagged, 1 + first + n) & 0xFFFFFFFF
            image = (begin + r) // places
            put_word(addresses, n, x + image * size + word(base, begin + r - image * places))
            put_word(outs, n, out + r * stride)
            n += 1
        for r in range(n, n + TILE_ROWS):
            put_word(addresses, r, word(addresses, n - 1))
            put_word(outs, r, word(outs, n - 1))
        for part in range(panel * PARTS, min((panel + 1) * PARTS, word(p, PANELS))):
            r = 0
            while n - r > TILE_ROWS // 3:
                FULL(addresses + 8 * r, outs + 8 * r, p, part)
                r += TILE_ROWS
            while r < n:
                ONE(addresses + 8 * r, outs + 8 * r, p, part)
                r += 1
        first += n


def columns(kind: str, width: int) -> int:
    """Columns of a panel of `width` vectors."""
    return width * LANES * (2 if kind.endswith("16") else 1)


@cache
def saturating_routine(kind: str, width: int) -> Any:
    """`sums` for a kind of `ordered_tile`, panels of 1 or 2 vectors."""
    rows = _ROWS[width]
    return routine(
        sums,
        f"{kind.replace(' ', '-')}-{rows}x{width}",
        FULL=ordered_tile(kind, rows, width, LANES),
        ONE=ordered_tile(kind, 1, width, LANES),
        TILE_ROWS=rows,
    )


@cache
def again_routine(kind: str, width: int, parts: int) -> Any:
    """`again` for a kind of `ordered_tile`: a panel of `checked` is `parts` panels of 1 or 2 vectors."""
    rows = _ROWS[width]
    return routine(
        again,
        f"{kind.replace(' ', '-')}-{rows}x{width}-{parts}",
        FULL=ordered_tile(kind, rows, width, LANES),
        ONE=ordered_tile(kind, 1, width, LANES),
        TILE_ROWS=rows,
        PARTS=parts,
    )


@cache
def two_level_routine(inner: str, width: int) -> Any:
    """`sums` for two levels: see `ordered_tile.two_level_tile` for `inner`; panels of 1 or 2 vectors."""
    rows = _ROWS_OF_TWO[width]
    return routine(
        sums,
        f"two-levels-{inner}-{rows}x{width}",
        FULL=two_level_tile(inner, rows, width, LANES),
        ONE=two_level_tile(inner, 1, width, LANES),
        TILE_ROWS=rows,
    )
