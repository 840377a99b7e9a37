"""The micro-kernel of wide sums: a tile of rows by vectors whose sums stay in registers over all of K.

Layout. Rows are given by their addresses. A row's operands lie in segments (a kernel row of a convolution, a whole row
of a matrix), each a whole number of groups; a group is 4 bytes: two int16 ("pairs") or four uint8 ("quads"). Weights
are packed [segment][group][column][4 bytes], so that one vector holds a group of `lanes` columns. Where a segment ends
inside a group, its weights are 0: what is read beyond it does not count.
Bound: rows * vectors sums, `vectors` weights and a broadcast fit the registers; one multiply-add of vectors a cycle.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic

from intsim_kernels import cpu
from intsim_kernels import vectors as v
from intsim_kernels.vectors import I8, I16, I32, I64


def step(b: Any, kind: str, acc: Any, word: Any, weights: Any) -> Any:
    """One group of a row, given as a word, times a vector of weights."""
    lanes = acc.type.count
    x = v.splat(b, word, lanes)
    if kind == "pairs":
        halves = v.vector(I16, 2 * lanes)
        return v.dot_pairs(b, acc, b.bitcast(x, halves), b.bitcast(weights, halves))
    quarters = v.vector(I8, 4 * lanes)
    x, y = b.bitcast(x, quarters), b.bitcast(weights, quarters)
    if kind == "quads on Arm":
        return v.dot_quads_arm(b, acc, x, y)
    if kind == "saturating quads":
        return v.dot_saturating_quads(b, acc, x, y, native=cpu.has("ssse3"))
    return v.dot_quads(b, acc, x, y, native=kind == "quads", signed=kind.startswith("signed"))


@cache
def tile(kind: str, rows: int, width: int, lanes: int) -> Any:
    """The intrinsic f(rows, segments, count, groups, weights, start, out, stride) for tiles of width * lanes columns.

    `rows`: address of the rows' addresses; `segments`: of the `count` segments' offsets (bytes), each of `groups`;
    `weights`, `start` (int32, one a column), `out` (int32, rows `stride` bytes apart): addresses. out = start + sums.
    """

    @intrinsic
    def sums(typingctx: Any, p: Any, segments: Any, count: Any, groups: Any, w: Any, start: Any, out: Any, stride: Any):
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            emit(b, kind, rows, width, lanes, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return sums


def emit(
    b: Any,
    kind: str,
    rows: int,
    width: int,
    lanes: int,
    p: Any,
    segments: Any,
    count: Any,
    groups: Any,
    w: Any,
    start: Any,
    out: Any,
    stride: Any,
) -> None:
    """The body of `tile`, in any module and for any architecture."""
    words, size = v.vector(I32, lanes), 4 * lanes
    first = [v.load(b, b.add(p, I64(8 * i)), I64) for i in range(rows)]
    begin = [v.load(b, b.add(start, I64(size * j)), words) for j in range(width)]

    def segment(s: Any, state: Sequence[Any]) -> list[Any]:
        offset = v.load(b, b.add(segments, b.shl(s, I64(3))), I64)
        places = [b.add(row, offset) for row in first]

        def group(_: Any, state: Sequence[Any]) -> list[Any]:
            at, w, acc = state[0], state[1], state[2:]
            weights = [v.load(b, b.add(w, I64(size * j)), words) for j in range(width)]
            x = [v.load(b, b.add(place, at), I32) for place in places]
            acc = [step(b, kind, acc[i * width + j], x[i], weights[j]) for i in range(rows) for j in range(width)]
            return [b.add(at, I64(4)), b.add(w, I64(size * width)), *acc]

        return v.loop(b, groups, [I64(0), *state], group)[1:]

    done = v.loop(b, count, [w, *(begin * rows)], segment)
    for i in range(rows):
        row = b.add(out, b.mul(stride, I64(i)))
        for j in range(width):
            v.store(b, done[1 + i * width + j], b.add(row, I64(size * j)))
