"""Sums in the machine's own order: blocks of rows through the tiles of `ordered_tile`, whose parameters these are.

The sums of a block go to scratch, int32 `[rows][panels * columns]`. Scratch for their addresses, OUTS: int64
`[rows + SPARE_ROWS]`; for `again` twice that, the addresses of the rows too.
"""

from functools import cache
from typing import Any

from intsim_kernels.checked_tile import LIST
from intsim_kernels.cpu import LANES, REGISTERS
from intsim_kernels.memory import put_word, word
from intsim_kernels.native import routine
from intsim_kernels.ordered_tile import (
    ADDRESSES,
    OUT,
    OUTS,
    PANELS,
    STRIDE,
    ordered_tile,
)
from intsim_kernels.two_level_tile import stepped_tile, two_level_tile
from intsim_kernels.wide import SPARE_ROWS

# A tile's rows, by its kind and its width in vectors: sums, weights, limits and a broadcast fit the registers.
_ROWS = {
    "limits 32": {1: 6, 2: 3},
    "ceiling 32": {1: 6, 2: 4},
    "lane 32": {1: 6, 2: 4},
    "ceiling 16": {1: 6, 2: 5},
    "lane 16": {1: 6, 2: 6},
}
_ROWS_OF_TWO = {"exact": {1: 6, 2: 4}, "pairs": {1: 6, 2: 3}, "limits": {1: 6, 2: 3}}
_ROWS_OF_STEPS = {True: {1: 6, 2: 3}, False: {1: 6, 2: 4}}
if REGISTERS == 32:
    _ROWS = {kind: {1: 12, 2: 8} for kind in _ROWS}
    _ROWS_OF_TWO = {inner: {1: 8, 2: 4} for inner in _ROWS_OF_TWO}
    _ROWS_OF_STEPS = {True: {1: 12, 2: 6}, False: {1: 12, 2: 8}}

FULL: Any = None
ONE: Any = None
TILE_ROWS = 0
PARTS = 1


def sums(p, arena, begin, end):
    """out[r] = the registers of row begin + r, for every panel of columns."""
    rows, addresses, outs = end - begin, arena + word(p, ADDRESSES), arena + word(p, OUTS)
    out, stride = arena + word(p, OUT), word(p, STRIDE)
    for r in range(rows + SPARE_ROWS):
        put_word(outs, r, out + min(r, rows - 1) * stride)
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
    flagged, every, outs = arena + word(p, LIST), arena + word(p, ADDRESSES), arena + word(p, OUTS)
    addresses = outs + 8 * (end - begin + SPARE_ROWS)
    out, stride = arena + word(p, OUT), word(p, STRIDE)
    count = word(flagged, 0)
    first = 0
    while first < count:
        panel = word(flagged, 1 + first) >> 32
        n = 0
        while first + n < count and word(flagged, 1 + first + n) >> 32 == panel:
            r = word(flagged, 1 + first + n) & 0xFFFFFFFF
            put_word(addresses, n, word(every, r))
            put_word(outs, n, out + r * stride)
            n += 1
        for r in range(n, n + SPARE_ROWS):
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
    rows = _ROWS[kind][width]
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
    rows = _ROWS[kind][width]
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
    """`sums` for two levels: see `two_level_tile` for `inner`; panels of 1 or 2 vectors."""
    rows = _ROWS_OF_TWO[inner][width]
    return routine(
        sums,
        f"two-levels-{inner}-{rows}x{width}",
        FULL=two_level_tile(inner, rows, width, LANES),
        ONE=two_level_tile(inner, 1, width, LANES),
        TILE_ROWS=rows,
    )


@cache
def stepped_routine(unit: int, inner: bool, outer: bool, width: int) -> Any:
    """`sums` for two levels, the inner one `unit` pairs of products: see `two_level_tile`."""
    rows = _ROWS_OF_STEPS[inner][width]
    return routine(
        sums,
        f"steps-{unit}-{inner}-{outer}-{rows}x{width}",
        FULL=stepped_tile(unit, inner, outer, rows, width, LANES),
        ONE=stepped_tile(unit, inner, outer, 1, width, LANES),
        TILE_ROWS=rows,
    )
