"""Micro-kernels that add their products in the machine's own order: a tile of rows by vectors, sums in registers.

Layout. A row's operands, int16, are walked in pieces: (offset in bytes, groups), int64 `[pieces][2]`; a group is 4
bytes, two operands, and what a piece reads beyond its end is multiplied by 0. Pieces form blocks, int64 `[blocks]`:
how many pieces each has. Weights are packed in the order of that walk, for one product a lane at a time

    32-bit lanes   [group][2][column][2] int16: first the group's first operand, its second times 0; then vice versa,
    16-bit lanes   [group][2][column]    int16,

(two products at once: see `two_level_tile`).
Bound: rows * width sums, `width` weights, a broadcast and two limits fit the registers. Per vector of products, wide
sums take 2 instructions for 2 * lanes of them; one product a 32-bit lane takes 1 (vpdpwssds) to 4 for `lanes` of them,
one a 16-bit lane 2 to 3 for 2 * lanes.

Kinds of registers, and why they are exact. Let the machine's register be q in low..high after every add.
"limits 32": the lane is q; add, max, min. |limit| + |product| stays within int32.
"ceiling 32", "ceiling 16": the lane is q + offset, offset = its own largest value - high: the lane saturates where q
does, and a max with low + offset does the rest (what saturates below is below that).
"lane 32", "lane 16": the lane is q * 2^s + r, s = lane bits - register bits, r in {0, 2^s - 1}: the products come
times 2^s. Adding p * 2^s overflows above where (q + p) * 2^s + r > high * 2^s + 2^s - 1, that is q + p > high, since
0 <= r < 2^s; and below where q + p < low. Saturation above leaves q = high, r = 2^s - 1, below q = low, r = 0. An
arithmetic shift gives q. A symmetric register is a "ceiling" of LOW = -high * 2^s, which leaves r = 0.
"""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic

from intsim_kernels import cpu
from intsim_kernels import vectors as v
from intsim_kernels.vectors import I16, I32, I64

# The parameters of all that is here: the rows' addresses (`wide.rows`), how they are walked, ...
ADDRESSES, PIECES, BLOCKS, COUNT = range(4)
# ... packed weights and what each register starts from, as its lane holds it (int16 or int32), ...
WEIGHTS, PANELS, PANEL_BYTES, START = range(4, 8)
# ... scratch: the sums, how far their rows lie apart, and their addresses, ...
OUT, STRIDE, OUTS = range(8, 11)
# ... from a lane to a sum, (lane >> SHIFT) - OFFSET; what is added to it (int32, one a column) and the limits then, ...
SHIFT, OFFSET, END, END_LOW, END_HIGH = range(11, 16)
# ... a register's limits, as its lane holds them, and those of the level inside.
LOW, HIGH, INNER_LOW, INNER_HIGH = range(16, 20)

Values = list[Any]


def number(b: Any, p: Any, index: int) -> Any:
    """The int64 parameter."""
    return v.load(b, b.add(p, I64(8 * index)), I64)


def everywhere(b: Any, p: Any, index: int, kind: Any, lanes: int) -> Any:
    """The parameter in every lane."""
    return v.splat(b, b.trunc(number(b, p, index), kind), lanes)


def panel_at(b: Any, p: Any, index: int, panel: Any, size: int) -> Any:
    """The address of a panel's part of a table with `size` bytes a panel."""
    return b.add(number(b, p, index), b.mul(panel, I64(size)))


def walk(
    b: Any,
    p: Any,
    places: Values,
    weights: Any,
    size: int,
    kept: Values,
    sums: Values,
    group: Callable[[Values, Values, Any], Values],
    close: Callable[[Any, Values, Values], tuple[Values, Values]],
    step: int = 4,
) -> tuple[Values, Values]:
    """The state after all blocks: sums = group(sums, addresses of operands, of weights), `size` bytes each, for groups.

    A group is `step` bytes of a row. After every block, (kept, sums) = close(block, kept, sums).
    """
    blocks, n = number(b, p, BLOCKS), len(kept)

    def over_groups(state: Sequence[Any]) -> Values:
        piece, w, sums = state[0], state[1], state[2:]
        offset, groups = v.load(b, piece, I64), v.load(b, b.add(piece, I64(8)), I64)
        starts = [b.add(place, offset) for place in places]

        def one(_: Any, state: Sequence[Any]) -> Values:
            at, w = state[0], state[1]
            here = [b.add(start, at) for start in starts]
            return [b.add(at, I64(step)), b.add(w, I64(size)), *group(list(state[2:]), here, w)]

        return [b.add(piece, I64(16)), *v.loop(b, groups, [I64(0), w, *sums], one)[1:]]

    def over_pieces(k: Any, state: Sequence[Any]) -> Values:
        piece, w, kept, sums = state[0], state[1], list(state[2 : 2 + n]), state[2 + n :]
        pieces = v.load(b, b.add(blocks, b.shl(k, I64(3))), I64)
        done = v.loop(b, pieces, [piece, w, *sums], lambda _, state: over_groups(state))
        kept, sums = close(k, kept, done[2:])
        return [*done[:2], *kept, *sums]

    done = v.loop(b, number(b, p, COUNT), [number(b, p, PIECES), weights, *kept, *sums], over_pieces)
    return done[2 : 2 + n], done[2 + n :]


def store_sums(b: Any, p: Any, panel: Any, outs: Any, done: list[Values]) -> None:
    """Lanes to sums, what is added at the end, its limits: int32 to the addresses of `outs`, at the panel's columns."""
    count, width = done[0][0].type.count, len(done[0])
    words, first = v.vector(I32, count), b.mul(panel, I64(4 * count * width))
    shift, offset, low, high = (everywhere(b, p, i, I32, count) for i in (SHIFT, OFFSET, END_LOW, END_HIGH))
    ends = b.add(number(b, p, END), first)
    added = [v.load(b, b.add(ends, I64(4 * count * j)), words) for j in range(width)]
    for i, row in enumerate(done):
        out = b.add(v.load(b, b.add(outs, I64(8 * i)), I64), first)
        for j, lane in enumerate(row):
            value = lane if lane.type == words else b.sext(lane, words)
            value = v.saturating_add(b, b.sub(b.ashr(value, shift), offset), added[j])
            v.store(b, v.clamp(b, value, low, high), b.add(out, I64(4 * count * j)))


@cache
def ordered_tile(kind: str, rows: int, width: int, lanes: int) -> Any:
    """The intrinsic f(rows, outs, p, panel): registers that saturate after every product, of one kind.

    `rows`, `outs`: addresses of the rows' addresses, and of the addresses of their sums; `p`: of the parameters.
    """

    @intrinsic
    def sums(typingctx: Any, row: Any, outs: Any, p: Any, panel: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _ordered(b, kind, rows, width, lanes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return sums


def _ordered(b: Any, kind: str, rows: int, width: int, lanes: int, row: Any, outs: Any, p: Any, panel: Any) -> None:
    lane = I16 if kind.endswith("16") else I32
    count = 2 * lanes if lane is I16 else lanes
    registers, size = v.vector(lane, count), 4 * lanes
    limits = [everywhere(b, p, i, lane, count) for i in (LOW, HIGH)]
    start = panel_at(b, p, START, panel, size * width)
    first = [v.load(b, b.add(start, I64(size * j)), registers) for j in range(width)]
    places = [v.load(b, b.add(row, I64(8 * i)), I64) for i in range(rows)]
    weights = b.add(number(b, p, WEIGHTS), b.mul(panel, number(b, p, PANEL_BYTES)))

    def group(sums: Values, here: Values, w: Any) -> Values:
        if lane is I32:  # both operands of the group: a weight of 0 takes one away
            operands = [[spread(b, at, I32, lanes)] * 2 for at in here]
        else:
            operands = [[spread(b, b.add(at, I64(half)), I16, count) for half in (0, 2)] for at in here]
        for half in range(2):
            loaded = [v.load(b, b.add(w, I64(size * (half * width + j))), registers) for j in range(width)]
            sums = [
                add_product(b, kind, sums[i * width + j], operands[i][half], loaded[j], *limits)
                for i in range(rows)
                for j in range(width)
            ]
        return sums

    _, done = walk(b, p, places, weights, 2 * size * width, [], first * rows, group, lambda _, *state: state)
    store_sums(b, p, panel, outs, [done[i * width : (i + 1) * width] for i in range(rows)])


def spread(b: Any, at: Any, kind: Any, lanes: int) -> Any:
    """The int16, or pair of them, at the address in every lane, as int16."""
    return b.bitcast(v.splat(b, v.load(b, at, kind), lanes), v.vector(I16, lanes * kind.width // 16))


def add_product(b: Any, kind: str, acc: Any, x: Any, w: Any, low: Any, high: Any) -> Any:
    """The register after one more product."""
    if acc.type.element == I16:
        total = v.saturating_add(b, acc, b.mul(x, w))
    else:
        w = b.bitcast(w, x.type)
        if kind == "limits 32":
            return v.clamp(b, v.dot_pairs(b, acc, x, w), low, high)
        total = v.saturating_dot_pairs(b, acc, x, w, native=cpu.VNNI)
    return v.at_least(b, total, low) if kind.startswith("ceiling") else total
