"""Wide sums that flag the rows whose register may have saturated: blocks of rows through `checked_tile`.

`checked` writes all sums and the list of what is to be done again, which `saturating.again` does. The list, scratch:
int64 `[1 + rows * panels]`, how many, and then panel << 32 | row. Scratch for addresses, from ADDRESSES on: int64
`[4][rows + TILE_ROWS]`, the rows', those of their sums, their classes, their flags; `saturating.SLACK` is the largest
TILE_ROWS.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import carray

from intsim_kernels.checked_tile import CLASSES, COUNTS, EXTREMES, LIST, ROOM, checked_tile
from intsim_kernels.cpu import LANES, REGISTERS
from intsim_kernels.memory import pointer, put_word, word
from intsim_kernels.native import routine
from intsim_kernels.ordered_tile import ADDRESSES, BLOCKS, COUNT, PANELS, PIECES
from intsim_kernels.saturating import locate

# A tile's rows by its width in vectors: sums, weights and a broadcast fit the registers.
_ROWS = {2: 8} if REGISTERS == 32 else {2: 4}  # noqa: PLR2004

FULL: Any = None
ONE: Any = None
TILE_ROWS = 0
OPERAND: Any = None
IN_GROUP = 0


def checked(p, arena, begin, end):
    """out[r] = the wide sums of row begin + r, for every panel; the list of the (row, panel) that may be wrong."""
    rows = end - begin
    addresses, flagged = arena + word(p, ADDRESSES), arena + word(p, LIST)
    outs = addresses + 8 * (rows + TILE_ROWS)
    own, flags = outs + 8 * (rows + TILE_ROWS), outs + 16 * (rows + TILE_ROWS)
    locate(p, arena, begin, rows, addresses, outs, TILE_ROWS)
    classes, panels, room = word(p, CLASSES), word(p, PANELS), word(p, ROOM)
    for r in range(rows):
        low = high = OPERAND(0)
        piece = word(p, PIECES)
        for k in range(word(p, COUNT) if classes > 1 else 0):
            for _ in range(word(word(p, BLOCKS), k)):
                run = carray(pointer(word(addresses, r) + word(piece, 0)), word(piece, 1) * IN_GROUP, OPERAND)
                for i in range(len(run)):
                    low, high = min(low, run[i]), max(high, run[i])
                piece += 16
        c = 0
        while c < classes - 1 and (low < word(word(p, EXTREMES), 2 * c) or high > word(word(p, EXTREMES), 2 * c + 1)):
            c += 1
        put_word(own, r, c)
    count = 0
    for panel in range(panels):
        r = 0
        while r < rows:
            full = rows - r > TILE_ROWS // 3
            n = min(TILE_ROWS, rows - r) if full else 1
            widest = -1
            for i in range(r, r + n):
                c = word(own, i)
                if word(room, c * panels + panel) >= 0:
                    widest = max(widest, c)
            if widest >= 0:
                if full:
                    FULL(addresses + 8 * r, outs + 8 * r, p, panel, widest, flags)
                else:
                    ONE(addresses + 8 * r, outs + 8 * r, p, panel, widest, flags)
            for i in range(n):
                if word(room, word(own, r + i) * panels + panel) < 0 or word(flags, i):
                    count += 1
                    put_word(flagged, count, panel << 32 | (r + i))
            r += n
    put_word(flagged, 0, count)
    counts = arena + word(p, COUNTS)
    put_word(counts, 0, word(counts, 0) + count)
    put_word(counts, 1, word(counts, 1) + rows * panels)


@cache
def checked_routine(kind: str, width: int) -> Any:
    """The routine for "pairs" (int16 operands), or quads (uint8) of `tile`, panels of `width` vectors."""
    rows = _ROWS[width]
    return routine(
        checked,
        f"{kind.replace(' ', '-')}-{rows}x{width}",
        FULL=checked_tile(kind, rows, width, LANES),
        ONE=checked_tile(kind, 1, width, LANES),
        TILE_ROWS=rows,
        OPERAND=np.int16 if kind == "pairs" else np.uint8,
        IN_GROUP=2 if kind == "pairs" else 4,
    )
