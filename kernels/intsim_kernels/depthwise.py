"""Sums over windows where every output reads one input channel: depthwise convolutions, and the sums of pools.

Layout. A chunk is a vector of int16 (bytes are made wider as they are read): neighbouring input channels, each as often as outputs read it. Two taps of a chunk
are interleaved inside 128-bit lanes, so that one multiply-add of pairs does both; weights and starts are packed in the
order that this gives (`halves`), and the sums put back into the channels' own. Chunks may read beyond the last channel
and write beyond the last column: the next chunk writes there after them, and what is beyond the last one counts for 0.
Bound: per pair of taps and chunk two loads, two shuffles, two multiply-adds, two adds; weights serve ROWS places.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

import llvmlite.binding as llvm
from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.cpu import LANES
from intsim_kernels.memory import word
from intsim_kernels.native import routine
from intsim_kernels.vectors import I8, I16, I32, I64

ROWS = 4
"""Places that go together through a chunk's weights."""

UNROLLED = 5

X86 = llvm.get_default_triple().startswith(("x86_64", "i686"))
TYPES = {"int16": I16, "uint8": I8}
MULTIPLY_ADD = {4: "sse2.pmadd.wd", 8: "avx2.pmadd.wd", 16: "avx512.pmaddw.d.512"}


def halves(lanes: int) -> tuple[list[int], list[int]]:
    """The channels of a chunk whose pairs stand in the first and in the second vector."""
    parts = [range(8 * k + 4 * half, 8 * k + 4 * half + 4) for half in (0, 1) for k in range(lanes // 4)]
    order = [lane for part in parts for lane in part]
    return order[:lanes], order[lanes:]


def _pairs(b: Any, acc: Any, x: Any, w: Any) -> Any:
    """acc + the sums of pairs. By its name on x86: LLVM sees through the interleaving and would undo it."""
    if not X86:
        return v.dot_pairs(b, acc, x, w)
    return b.add(acc, v.intrinsic(b, f"llvm.x86.{MULTIPLY_ADD[acc.type.count]}", acc.type, [x, w]))


@cache
def chunk(dtype: str, rows: int, lanes: int, repeat: int, unrolled: int) -> Any:
    """The intrinsic f(rows, at, taps, pairs, weights, start, out, stride): one chunk of `rows` places.

    `rows`: address of the places' addresses, `at` bytes before the chunk; `taps`: of the pairs' offsets (bytes);
    `weights` int16 `[pairs][2][lanes][2]`, `start` int32 `[2][lanes]`; `out` int32, rows `stride` bytes apart.
    Lane i reads channel i // repeat. Inputs are int16 or uint8.
    """

    @intrinsic
    def sums(typingctx: Any, p: Any, at: Any, taps: Any, pairs: Any, w: Any, start: Any, out: Any, stride: Any):
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _emit(b, TYPES[dtype], rows, lanes, repeat, unrolled, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return sums


def _emit(
    b: Any,
    kind: Any,
    rows: int,
    lanes: int,
    repeat: int,
    unrolled: int,
    p: Any,
    at: Any,
    taps: Any,
    pairs: Any,
    w: Any,
    start: Any,
    out: Any,
    stride: Any,
) -> None:
    words, shorts, size = v.vector(I32, lanes), v.vector(I16, 2 * lanes), 4 * lanes
    order = halves(lanes)
    first = [b.add(v.load(b, b.add(p, I64(8 * i)), I64), at) for i in range(rows)]
    begin = [v.load(b, b.add(start, I64(size * half)), words) for half in (0, 1)]

    def tap(row: Any, offset: Any) -> Any:
        x = v.load(b, b.add(row, offset), v.vector(kind, 2 * lanes))
        x = x if kind is I16 else b.zext(x, shorts)
        return x if repeat == 1 else v.shuffle(b, x, x, [lane // repeat for lane in range(2 * lanes)])

    def pair(_: Any, state: Sequence[Any]) -> list[Any]:
        taps, w, acc = state[0], state[1], list(state[2:])
        offsets = [v.load(b, b.add(taps, I64(8 * i)), I64) for i in (0, 1)]
        weights = [v.load(b, b.add(w, I64(size * half)), shorts) for half in (0, 1)]
        for i in range(rows):
            x, y = (tap(first[i], offset) for offset in offsets)
            for half in (0, 1):
                both = v.shuffle(b, x, y, [n for lane in order[half] for n in (lane, lane + 2 * lanes)])
                acc[2 * i + half] = _pairs(b, acc[2 * i + half], both, weights[half])
        return [b.add(taps, I64(16)), b.add(w, I64(2 * size)), *acc]

    state = [taps, w, *(begin * rows)]
    for _ in range(unrolled):
        state = pair(None, state)
    done = state[2:] if unrolled else v.loop(b, pairs, state, pair)[2:]
    place = {channel: lane for lane, channel in enumerate([*order[0], *order[1]])}
    for i in range(rows):
        row = b.add(out, b.mul(stride, I64(i)))
        for half in (0, 1):
            lane = [place[channel] for channel in range(half * lanes, half * lanes + lanes)]
            v.store(b, v.shuffle(b, done[2 * i], done[2 * i + 1], lane), b.add(row, I64(size * half)))


# The places' addresses; taps; ...
ADDRESSES, TAPS, PAIRS = range(3)
# ... chunks, with two numbers each: bytes to its first channel, bytes to its first column; packed weights, starts, ...
CHUNKS, COUNT, WEIGHTS, START = range(3, 7)
# ... and the sums, in scratch, with how far their rows lie apart.
OUT, STRIDE = range(7, 9)

FULL: Any = None
ONE: Any = None
CHUNK_BYTES = 0


def depthwise(p, arena, begin, end):
    """out[r] = start + the sums of row begin + r, int32, for every chunk of columns."""
    addresses, stride, rows = arena + word(p, ADDRESSES), word(p, STRIDE), end - begin
    taps, pairs, chunks = word(p, TAPS), word(p, PAIRS), word(p, CHUNKS)
    weights, start, out, count = word(p, WEIGHTS), word(p, START), arena + word(p, OUT), word(p, COUNT)
    r = 0
    while r < rows:
        together = ROWS if rows - r >= ROWS else 1
        for c in range(count):
            at, goal = word(chunks, 2 * c), out + r * stride + word(chunks, 2 * c + 1)
            own, first = weights + c * pairs * 2 * CHUNK_BYTES, start + c * 2 * CHUNK_BYTES
            if together == ROWS:
                FULL(addresses + 8 * r, at, taps, pairs, own, first, goal, stride)
            else:
                ONE(addresses + 8 * r, at, taps, pairs, own, first, goal, stride)
        r += together


@cache
def depthwise_routine(dtype: str, repeat: int, pairs: int) -> Any:
    """The routine for inputs of a type, by name, that `repeat` neighbouring outputs read; at most 2 * LANES."""
    unrolled = pairs if pairs == UNROLLED else 0
    full, one = chunk(dtype, ROWS, LANES, repeat, unrolled), chunk(dtype, 1, LANES, repeat, unrolled)
    return routine(depthwise, f"{dtype}-by-{repeat}-{unrolled}", FULL=full, ONE=one, CHUNK_BYTES=4 * LANES)
