"""Sums over windows where every output reads one input channel: depthwise convolutions, and the sums of pools.

Layout. A chunk is a vector of int16 (bytes are made wider as they are read): neighbouring input channels, each as often
as outputs read it. Two taps of a chunk are interleaved inside 128-bit lanes, so that one multiply-add of pairs does
both; weights and starts are packed in the order that this gives (`halves`), and the sums put back into the channels'
own. Chunks may read beyond the last channel and write beyond the last column: the next chunk writes there after them,
and what is beyond the last one counts for 0.
Bound: per pair of taps and chunk two shuffles, two multiply-adds, two adds, of which a strip of neighbouring places
shares the shuffles: 104 instructions for 4 places of a 3x3 window.
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
def chunk(dtype: str, rows: int, lanes: int, repeat: int) -> Any:
    """The intrinsic f(rows, at, taps, pairs, weights, start, out, stride): one chunk of `rows` places.

    `rows`: address of the places' addresses, `at` bytes before the chunk; `taps`: of the pairs' offsets (bytes);
    `weights` int16 `[pairs][2][lanes][2]`, `start` int32 `[2][lanes]`; `out` int32, rows `stride` bytes apart.
    Lane i reads channel i // repeat. Inputs are int16 or uint8.
    """

    @intrinsic
    def sums(typingctx: Any, p: Any, at: Any, taps: Any, pairs: Any, w: Any, start: Any, out: Any, stride: Any):
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            _emit(b, TYPES[dtype], rows, lanes, repeat, *args)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return sums


def _emit(
    b: Any,
    kind: Any,
    rows: int,
    lanes: int,
    repeat: int,
    p: Any,
    at: Any,
    taps: Any,
    pairs: Any,
    w: Any,
    start: Any,
    out: Any,
    stride: Any,
) -> None:
    first = [b.add(v.load(b, b.add(p, I64(8 * i)), I64), at) for i in range(rows)]

    def pair(_: Any, state: Sequence[Any]) -> list[Any]:
        taps, w, acc = state[0], state[1], list(state[2:])
        offsets = [v.load(b, b.add(taps, I64(8 * i)), I64) for i in (0, 1)]
        weights = _two(b, w, v.vector(I16, 2 * lanes))
        for i in range(rows):
            x, y = (_tap(b, kind, lanes, repeat, b.add(first[i], offset)) for offset in offsets)
            for half, both in enumerate(_interleaved(b, x, y)):
                acc[2 * i + half] = _pairs(b, acc[2 * i + half], both, weights[half])
        return [b.add(taps, I64(16)), b.add(w, I64(8 * lanes)), *acc]

    begin = _two(b, start, v.vector(I32, lanes))
    _put(b, lanes, v.loop(b, pairs, [taps, w, *(begin * rows)], pair)[2:], out, stride)


def _two(b: Any, address: Any, kind: Any) -> list[Any]:
    """Two vectors, one after the other."""
    size = kind.count * kind.element.width // 8
    return [v.load(b, b.add(address, I64(size * half)), kind) for half in (0, 1)]


def _tap(b: Any, kind: Any, lanes: int, repeat: int, address: Any) -> Any:
    """A chunk's inputs as int16."""
    x = v.load(b, address, v.vector(kind, 2 * lanes))
    x = x if kind is I16 else b.zext(x, v.vector(I16, 2 * lanes))
    return x if repeat == 1 else v.shuffle(b, x, x, [lane // repeat for lane in range(2 * lanes)])


def _interleaved(b: Any, x: Any, y: Any) -> list[Any]:
    """The pairs of two taps, in the order of `halves`."""
    count = x.type.count
    return [v.shuffle(b, x, y, [n for lane in order for n in (lane, lane + count)]) for order in halves(count // 2)]


def _put(b: Any, lanes: int, acc: Sequence[Any], out: Any, stride: Any) -> None:
    """The sums, two vectors a place, in the channels' own order."""
    first, second = halves(lanes)
    place = {channel: lane for lane, channel in enumerate([*first, *second])}
    for i in range(len(acc) // 2):
        row = b.add(out, b.mul(stride, I64(i)))
        for half in (0, 1):
            lane = [place[channel] for channel in range(half * lanes, half * lanes + lanes)]
            v.store(b, v.shuffle(b, acc[2 * i], acc[2 * i + 1], lane), b.add(row, I64(4 * lanes * half)))


# ---- neighbours ------------------------------------------------------------------------------------------------


def pairing(height: int, width: int) -> list[tuple[int, int, int]]:
    """The taps of a window two by two, (first, second, weights that count), so that neighbouring places share pairs.

    Rows two by two, one above the other; taps of a last row side by side. What is left over comes second in a pair
    whose first weight is 0: 1 weight counts.
    """
    found = [(r * width + t, (r + 1) * width + t, 2) for r in range(0, height - 1, 2) for t in range(width)]
    if height % 2:
        last = (height - 1) * width
        found += [(last + t, last + t + 1, 2) for t in range(0, width - 1, 2)]
        if width % 2:
            found.append((last + max(width - 2, 0), last + width - 1, 1))
    return found


@cache
def strip(dtype: str, rows: int, lanes: int, repeat: int, height: int, width: int) -> Any:
    """The intrinsic f(x, taps, step, weights, start, out, stride): as `chunk`, for places that are neighbours.

    `x`: address of the first one's chunk, `step` bytes from place to place and from tap to tap. Of `taps`, the offsets
    in the order of `pairing`, only those of a row's first tap are looked at.
    """

    @intrinsic
    def sums(typingctx: Any, x: Any, taps: Any, step: Any, w: Any, start: Any, out: Any, stride: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            x, taps, step, w, start, out, stride = args
            pairs = pairing(height, width)
            order = [tap for first, second, _ in pairs for tap in (first, second)]
            places = [b.add(x, v.load(b, b.add(taps, I64(8 * order.index(r * width))), I64)) for r in range(height)]

            @cache
            def tap(row: int, column: int) -> Any:
                return _tap(b, TYPES[dtype], lanes, repeat, b.add(places[row], b.mul(step, I64(column))))

            uses: dict[tuple[tuple[int, int], tuple[int, int]], list[tuple[int, int]]] = {}
            for k, (first, second, _) in enumerate(pairs):
                for i in range(rows):
                    ends = [(tap // width, tap % width + i) for tap in (first, second)]
                    uses.setdefault((ends[0], ends[1]), []).append((k, i))
            acc = _two(b, start, v.vector(I32, lanes)) * rows
            for (upper, lower), wanted in sorted(uses.items()):
                both = _interleaved(b, tap(*upper), tap(*lower))
                for k, i in wanted:
                    weights = _two(b, b.add(w, I64(8 * lanes * k)), v.vector(I16, 2 * lanes))
                    for half in (0, 1):
                        acc[2 * i + half] = _pairs(b, acc[2 * i + half], both[half], weights[half])
            _put(b, lanes, acc, out, stride)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 7), codegen

    return sums


# ---- routines --------------------------------------------------------------------------------------------------

# Taps; chunks, with two numbers each, bytes to its first channel and to its first column; packed weights; starts; ...
TAPS, PAIRS, CHUNKS, COUNT, WEIGHTS, START = range(6)
# ... the sums, in scratch, with how far their rows lie apart; ...
OUT, STRIDE = range(6, 8)
# ... the places' addresses; or the windows themselves, places a row of the image, and bytes from place to place.
ADDRESSES = 8
X, SIZE, BASE, PLACES, WIDTH, STEP = range(8, 14)

FULL: Any = None
ONE: Any = None
CHUNK_BYTES = 0


def scattered(p, arena, begin, end):
    """out[r] = start + the sums of row begin + r, int32, for every chunk of columns; places anywhere."""
    addresses, stride, rows = arena + word(p, ADDRESSES), word(p, STRIDE), end - begin
    taps, pairs, chunks, count = word(p, TAPS), word(p, PAIRS), word(p, CHUNKS), word(p, COUNT)
    weights, start, out = word(p, WEIGHTS), word(p, START), arena + word(p, OUT)
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


def neighbours(p, arena, begin, end):
    """As `scattered`, in strips of neighbouring places; where a strip does not fit, it does some places again."""
    x, size, base, places = arena + word(p, X), word(p, SIZE), word(p, BASE), word(p, PLACES)
    width, step, stride, rows = word(p, WIDTH), word(p, STEP), word(p, STRIDE), end - begin
    taps, pairs, chunks, count = word(p, TAPS), word(p, PAIRS), word(p, CHUNKS), word(p, COUNT)
    weights, start, out = word(p, WEIGHTS), word(p, START), arena + word(p, OUT)
    image = begin // places
    place = begin - image * places
    column, r = place % width, 0
    while r < rows:
        back, together = max(ROWS - min(width - column, rows - r), 0), ROWS
        if back > min(column, r):
            back, together = 0, 1
        r, place, column = r - back, place - back, column - back
        source = x + image * size + word(base, place)
        for c in range(count):
            at, goal = source + word(chunks, 2 * c), out + r * stride + word(chunks, 2 * c + 1)
            own, first = weights + c * pairs * 2 * CHUNK_BYTES, start + c * 2 * CHUNK_BYTES
            if together == ROWS:
                FULL(at, taps, step, own, first, goal, stride)
            else:
                ONE(at, taps, step, own, first, goal, stride)
        r, place, column = r + together, place + together, column + together
        if column == width:
            column = 0
        if place == places:
            place = 0
            image += 1


@cache
def depthwise_routine(dtype: str, repeat: int, kernel: tuple[int, int] | None) -> Any:
    """The routine for inputs of a type, by name, that `repeat` neighbouring outputs read; at most 2 * LANES.

    `kernel`: the window's size, for strips; None for places anywhere.
    """
    name = f"{dtype}-by-{repeat}"
    if kernel is None:
        full, one = chunk(dtype, ROWS, LANES, repeat), chunk(dtype, 1, LANES, repeat)
        return routine(scattered, name, FULL=full, ONE=one, CHUNK_BYTES=4 * LANES)
    full, one = (strip(dtype, rows, LANES, repeat, *kernel) for rows in (ROWS, 1))
    return routine(neighbours, f"{name}-{kernel[0]}x{kernel[1]}", FULL=full, ONE=one, CHUNK_BYTES=4 * LANES)
