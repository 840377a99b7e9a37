"""Wide sums that flag the rows whose register may have saturated: blocks of rows through `checked_tile`.

Three routines in turn, the first two with the same parameters: `sort` puts the rows of a block class by class, so that
a row with large operands spoils no other one's room; `checked` writes the sums and the list of what is to be done
again; `saturating.again` does that. The list, scratch: int64 `[1 + rows * panels]`, how many, and then panel << 32 |
row. Scratch from OUTS on: int64 `[4][rows + SPARE_ROWS]`, addresses of rows and of their sums in that order, which row
each is, a tile's flags; then `[max(classes, 2)]`, where each class stops.
"""

from functools import cache
from typing import Any

from intsim_kernels.checked_tile import CLASSES, COUNTS, EXTREMES, LIST, ROOM, checked_tile, extremes
from intsim_kernels.cpu import LANES, REGISTERS
from intsim_kernels.memory import put_word, word
from intsim_kernels.native import routine
from intsim_kernels.ordered_tile import ADDRESSES, OUT, OUTS, PANELS, STRIDE
from intsim_kernels.wide import SPARE_ROWS

# A tile's rows by its width in vectors: sums, weights and a broadcast fit the registers.
_ROWS = {2: 8} if REGISTERS == 32 else {2: 4}

ENDS: Any = None
FULL: Any = None
ONE: Any = None
TILE_ROWS = 0


def sort(p, arena, begin, end):
    """The rows class by class, and where each class stops."""
    rows, every = end - begin, arena + word(p, ADDRESSES)
    table, addresses = 8 * (rows + SPARE_ROWS), arena + word(p, OUTS)
    outs, order, own, stops = addresses + table, addresses + 2 * table, addresses + 3 * table, addresses + 4 * table
    out, stride = arena + word(p, OUT), word(p, STRIDE)
    classes, ends = word(p, CLASSES), word(p, EXTREMES)
    for r in range(rows):
        c = 0
        if classes > 1:
            ENDS(word(every, r), p, stops)
            low, high = word(stops, 0), word(stops, 1)
            while c < classes - 1 and (low < word(ends, 2 * c) or high > word(ends, 2 * c + 1)):
                c += 1
        put_word(own, r, c)
    q = 0
    for c in range(classes):
        for r in range(rows):
            if word(own, r) == c:
                put_word(addresses, q, word(every, r))
                put_word(outs, q, out + r * stride)
                put_word(order, q, r)
                q += 1
        put_word(stops, c, q)
    for q in range(rows, rows + SPARE_ROWS):
        put_word(addresses, q, word(addresses, rows - 1))
        put_word(outs, q, word(outs, rows - 1))


def checked(p, arena, begin, end):
    """out[r] = the wide sums of row begin + r, for every panel; the list of the (row, panel) that may be wrong."""
    rows = end - begin
    table, addresses = 8 * (rows + SPARE_ROWS), arena + word(p, OUTS)
    outs, order, flags, stops = addresses + table, addresses + 2 * table, addresses + 3 * table, addresses + 4 * table
    panels, room, flagged = word(p, PANELS), word(p, ROOM), arena + word(p, LIST)
    count = 0
    for panel in range(panels):
        q = 0
        for c in range(word(p, CLASSES)):
            stop, hopeless = word(stops, c), word(room, c * panels + panel) < 0
            while q < stop:
                full = stop - q > TILE_ROWS // 3
                if full and not hopeless:  # the rows of the next class that a tile may reach, are done again there
                    FULL(addresses + 8 * q, outs + 8 * q, p, panel, c, flags)
                elif not hopeless:
                    ONE(addresses + 8 * q, outs + 8 * q, p, panel, c, flags)
                for i in range(min(TILE_ROWS, stop - q) if full else 1):
                    if hopeless or word(flags, i):
                        count += 1
                        put_word(flagged, count, panel << 32 | word(order, q))
                    q += 1
    put_word(flagged, 0, count)
    counts = arena + word(p, COUNTS)
    put_word(counts, 0, word(counts, 0) + count)
    put_word(counts, 1, word(counts, 1) + rows * panels)


@cache
def sorting_routine(kind: str) -> Any:
    """`sort` for a kind of `tile`: "pairs" has int16 operands, quads have uint8."""
    unsigned = kind != "pairs"
    return routine(sort, "uint8" if unsigned else "int16", ENDS=extremes(unsigned))


@cache
def checked_routine(kind: str, width: int) -> Any:
    """`checked` for a kind of `tile`, panels of 2 vectors."""
    rows = _ROWS[width]
    return routine(
        checked,
        f"{kind.replace(' ', '-')}-{rows}x{width}",
        FULL=checked_tile(kind, rows, width, LANES),
        ONE=checked_tile(kind, 1, width, LANES),
        TILE_ROWS=rows,
    )
