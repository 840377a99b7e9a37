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

from collections.abc import Sequence
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
from intsim_kernels.vectors import I8, I16, I32, I64

# Beyond the parameters of `ordered_tile`: the list of flagged rows (scratch, see `checked`), int64 [2] that count the
# flagged and all (row, panel), in the arena too, ...
LIST, COUNTS = range(20, 22)
# ... and the classes: how many, the least and largest operand of each (int64 [classes][2]), their tables, and where a
# row's operands lie, as few pieces as may be (int64 [spans][2]), and how many.
CLASSES, EXTREMES, OFF, ROOM, SPANS, SPAN_COUNT = range(22, 28)


_WIDTH = 64
"""Bytes of operands that `extremes` takes at once, where a span has as many."""


@cache
def extremes(unsigned: bool) -> Any:
    """The intrinsic f(address, p, out): the least and the largest operand of a row, int64 [2]: uint8, or int16."""

    @intrinsic
    def ends(typingctx: Any, row: Any, p: Any, out: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _extremes(b, unsigned, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 3), codegen

    return ends


def _extremes(b: Any, unsigned: bool, row: Any, p: Any, out: Any) -> None:
    item = I8 if unsigned else I16
    count = 8 * _WIDTH // item.width
    operands, sign = v.vector(item, count), "u" if unsigned else "s"

    def taken(state: Sequence[Any], x: Any) -> Values:
        return [
            v.intrinsic(b, f"llvm.{sign}{end}.v{count}i{item.width}", operands, [so_far, x])
            for end, so_far in zip(("min", "max"), state, strict=True)
        ]

    def span(n: Any, state: Sequence[Any]) -> Values:
        at = b.add(spans, b.shl(n, I64(4)))
        begin, size = b.add(row, v.load(b, at, I64)), b.shl(v.load(b, b.add(at, I64(8)), I64), I64(2))
        large = b.icmp_signed(">=", size, I64(_WIDTH))

        def vector(i: Any, state: Sequence[Any]) -> Values:  # the last one ends where the span does
            here, last = b.mul(i, I64(_WIDTH)), b.sub(size, I64(_WIDTH))
            here = b.select(b.icmp_signed("<", here, last), here, last)
            return taken(state, v.load(b, b.add(begin, here), operands))

        def word(i: Any, state: Sequence[Any]) -> Values:
            x = v.splat(b, v.load(b, b.add(begin, b.shl(i, I64(2))), I32), _WIDTH // 4)
            return taken(state, b.bitcast(x, operands))

        vectors = b.sdiv(b.add(size, I64(_WIDTH - 1)), I64(_WIDTH))
        state = v.loop(b, b.select(large, vectors, I64(0)), state, vector)
        return v.loop(b, b.select(large, I64(0), b.ashr(size, I64(2))), state, word)

    spans = number(b, p, SPANS)
    first = v.splat(b, v.load(b, b.add(row, v.load(b, spans, I64)), item), count)
    done = v.loop(b, number(b, p, SPAN_COUNT), [first, first], span)
    for i, end in enumerate(("min", "max")):
        found = v.intrinsic(b, f"llvm.vector.reduce.{sign}{end}.v{count}i{item.width}", item, [done[i]])
        v.store(b, b.zext(found, I64) if unsigned else b.sext(found, I64), b.add(out, I64(8 * i)))


@cache
def checked_tile(kind: str, rows: int, width: int, lanes: int) -> Any:
    """The intrinsic f(rows, outs, p, panel, class, flags): wide sums, and for each row whether one may be wrong.

    `rows`, `outs`: addresses of the rows' addresses, and of the addresses of their sums; `p`: of the parameters;
    `flags`: of int64, one a row, 0 or 1.
    """

    @intrinsic
    def sums(typingctx: Any, row: Any, outs: Any, p: Any, panel: Any, grade: Any, flags: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _checked(b, kind, rows, width, lanes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 6), codegen

    return sums


def _checked(
    b: Any,
    kind: str,
    rows: int,
    width: int,
    lanes: int,
    row: Any,
    outs: Any,
    p: Any,
    panel: Any,
    c: Any,
    flags: Any,
) -> None:
    registers, size = v.vector(I32, lanes), 4 * lanes
    start = panel_at(b, p, START, panel, size * width)
    first = [v.load(b, b.add(start, I64(size * j)), registers) for j in range(width)]
    places = [v.load(b, b.add(row, I64(8 * i)), I64) for i in range(rows)]
    weights = b.add(number(b, p, WEIGHTS), b.mul(panel, number(b, p, PANEL_BYTES)))
    table = b.add(b.mul(c, number(b, p, PANELS)), panel)
    off = b.add(number(b, p, OFF), b.mul(b.mul(table, number(b, p, COUNT)), I64(size * width)))
    room = v.splat(b, b.trunc(v.load(b, b.add(number(b, p, ROOM), b.shl(table, I64(3))), I64), I32), lanes)
    largest = f"llvm.umax.v{lanes}i32"

    def group(sums: Values, here: Values, w: Any) -> Values:
        words = [v.load(b, at, I32) for at in here]
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
    worst, done = walk(b, p, places, weights, size * width, [zero] * rows, first * rows, group, close)
    bits = ir.IntType(lanes)
    for i in range(rows):
        beyond = b.bitcast(b.icmp_unsigned(">", worst[i], room), bits)
        v.store(b, b.zext(b.icmp_unsigned("!=", beyond, bits(0)), I64), b.add(flags, I64(8 * i)))
    store_sums(b, p, panel, outs, [done[i * width : (i + 1) * width] for i in range(rows)])
