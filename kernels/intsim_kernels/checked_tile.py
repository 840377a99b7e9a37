"""The micro-kernel of wide sums that watches whether a register could have saturated on the way.

Claim. P(0), P(1), ... are the exact sums of one output after each block of the walk, P(0) what the register starts
from, inside low..high. Within block b, after j of its products, let u(b, j) be the largest that the sum of those j can
be, for operands within their bounds, and v(b, j) the largest that minus the sum of the remaining ones can be. The sum
after j products is at most P(b) + u(b, j), and at most P(b + 1) + v(b, j). So it stays at or below `high` if P(b) and
P(b + 1) are at most high - m(b), m(b) the largest min(u(b, j), v(b, j)) over j; the mirror holds below. P(0) is known:
there, v(0, j) counts only for those j that u(0, j) does not excuse. If every block's end is that far inside, then no
sum left low..high, no add saturated, and the wide sum is the register's value: by induction over the adds.

What the lanes hold is P(b) plus a constant modulo 2^32 (raw operands of a unsigned byte kind lack the zero point, a
known sum). `OFF` [class][panel][block][column] int32 takes that constant and the lower end away; what is then, read
without a sign, at most ROOM [class][panel] (int64), lies inside. No lane wraps into the room: the first P(b + 1)
outside low..high lies beyond it by at most one block's sum, whose bound is below 2^32 - (high - low); and the largest
of all is kept, so that later wraps do not matter. A class of which the bounds allow no room has a ROOM below 0: its
rows are always flagged, without a sum. (A room of 0 would pass sums that are 0 at every end and overflow in between.)

Classes: rows whose operands are all small have larger rooms. They go from the narrowest operands to the widest.
Layout: as `ordered_tile`, weights [group][column][4 bytes] as in `tile`, whose kinds these are.
Bound: per block, an add and a maximum for each vector of sums; at 8 groups a block 1/8 more than wide sums.
"""

from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.ordered_tile import (
    COUNT,
    PANEL_BYTES,
    PANELS,
    START,
    WEIGHTS,
    Values,
    number,
    panel_at,
    store_sums,
    walk,
)
from intsim_kernels.tile import step
from intsim_kernels.vectors import I32, I64

# Beyond the parameters of `ordered_tile`: the list of flagged rows (scratch, see `checked`), int64 [2] that count the
# flagged and all (row, panel), in the arena too, ...
LIST, COUNTS = range(23, 25)
# ... and the classes: how many, the least and largest operand of each (int64 [classes][2]), their tables.
CLASSES, EXTREMES, OFF, ROOM = range(25, 29)


@cache
def checked_tile(kind: str, rows: int, width: int, lanes: int) -> Any:
    """The intrinsic f(rows, outs, p, panel, class, flags): wide sums, and for each row whether one may be wrong.

    `rows`, `outs`: addresses of the rows' addresses, and of the addresses of their sums; `p`: of the parameters;
    `flags`: of int64, one a row, 0 or 1.
    """

    @intrinsic
    def sums(typingctx: Any, row: Any, outs: Any, p: Any, panel: Any, group: Any, flags: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _checked(b, kind, rows, width, lanes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return sums


def _checked(
    b: Any, kind: str, rows: int, width: int, lanes: int, row: Any, outs: Any, p: Any, panel: Any, group: Any, flags: Any
) -> None:
    registers, size = v.vector(I32, lanes), 4 * lanes
    start = panel_at(b, p, START, panel, size * width)
    first = [v.load(b, b.add(start, I64(size * j)), registers) for j in range(width)]
    places = [v.load(b, b.add(row, I64(8 * i)), I64) for i in range(rows)]
    weights = b.add(number(b, p, WEIGHTS), b.mul(panel, number(b, p, PANEL_BYTES)))
    table = b.add(b.mul(group, number(b, p, PANELS)), panel)
    off = b.add(number(b, p, OFF), b.mul(b.mul(table, number(b, p, COUNT)), I64(size * width)))
    room = v.splat(b, b.trunc(v.load(b, b.add(number(b, p, ROOM), b.shl(table, I64(3))), I64), I32), lanes)
    largest = f"llvm.umax.v{lanes}i32"

    def one(sums: Values, words: Values, w: Any) -> Values:
        loaded = [v.load(b, b.add(w, I64(size * j)), registers) for j in range(width)]
        return [step(b, kind, sums[i * width + j], words[i], loaded[j]) for i in range(rows) for j in range(width)]

    def close(block: Any, kept: Values, sums: Values) -> tuple[Values, Values]:
        here, kept = b.add(off, b.mul(block, I64(size * width))), list(kept)
        for j in range(width):
            shift = v.load(b, b.add(here, I64(size * j)), registers)
            for i in range(rows):
                kept[i] = v.intrinsic(b, largest, registers, [kept[i], b.add(sums[i * width + j], shift)])
        return kept, sums

    zero = v.constant(I32, lanes, 0)
    worst, done = walk(b, p, places, weights, size * width, [zero] * rows, first * rows, one, close)
    bits = ir.IntType(lanes)
    for i in range(rows):
        beyond = b.bitcast(b.icmp_unsigned(">", worst[i], room), bits)
        v.store(b, b.zext(b.icmp_unsigned("!=", beyond, bits(0)), I64), b.add(flags, I64(8 * i)))
    store_sums(b, p, panel, outs, [done[i * width : (i + 1) * width] for i in range(rows)])
