"""Operands copied to scratch as the kernels of the machine's order want them: int16, less the zero point, in order.

A row's copy is its segments one after the other, `(x - zero) * 2^shift`; 32 bytes are written too many. It costs a row
about as much as one output does, and then any tensor, order and scale suits every kernel.
"""

from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.memory import put_word, word
from intsim_kernels.native import routine
from intsim_kernels.vectors import I8, I16, I64
from intsim_kernels.wide import SPARE_ROWS

# The rows' addresses; their segments: offsets in bytes, how many, integers of each; what operands are less, and the
# power of two; the copies in scratch, how far they lie apart, and the table of their addresses; the list of `checked`.
SOURCES, SEGMENTS, COUNT, LENGTH, ZERO, SHIFT, GOAL, GOAL_ROW, ADDRESSES, LIST = range(10)
_AT_ONCE = 16

COPY: Any = None


@cache
def copy(name: str) -> Any:
    """The intrinsic f(source, goal, length, zero, shift) for integers of the type: whole vectors, so up to 15 more."""
    item = {"int16": I16, "int8": I8, "uint8": I8}[name]

    @intrinsic
    def copied(typingctx: Any, source: Any, goal: Any, length: Any, zero: Any, shift: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            source, goal, length = args[:3]
            zero, shift = (v.splat(b, b.trunc(arg, I16), _AT_ONCE) for arg in args[3:])
            words = v.vector(I16, _AT_ONCE)

            def part(i: Any, _: Any) -> list[Any]:
                k = b.mul(i, I64(_AT_ONCE))
                x = v.load(b, b.add(source, b.mul(k, I64(item.width // 8))), v.vector(item, _AT_ONCE))
                if item is I8:
                    x = b.zext(x, words) if name == "uint8" else b.sext(x, words)
                v.store(b, b.shl(b.sub(x, zero), shift), b.add(goal, b.mul(k, I64(2))))
                return []

            v.loop(b, b.sdiv(b.add(length, I64(_AT_ONCE - 1)), I64(_AT_ONCE)), [], part)
            return context.get_dummy_value()

        return types.void(*[types.int64] * 5), codegen

    return copied


def gather(p, arena, begin, end):
    """Copies of all rows."""
    rows, sources, addresses = end - begin, arena + word(p, SOURCES), arena + word(p, ADDRESSES)
    segments, count, length = word(p, SEGMENTS), word(p, COUNT), word(p, LENGTH)
    goal, step = arena + word(p, GOAL), word(p, GOAL_ROW)
    for r in range(rows + SPARE_ROWS):
        at = goal + min(r, rows - 1) * step
        put_word(addresses, r, at)
        if r < rows:
            for s in range(count):
                source = word(sources, r) + word(segments, s)
                COPY(source, at + 2 * s * length, length, word(p, ZERO), word(p, SHIFT))


def gather_listed(p, arena, begin, end):
    """Copies of the rows in the list of `checked`, each once; the addresses of the others are 0."""
    sources, addresses, flagged = arena + word(p, SOURCES), arena + word(p, ADDRESSES), arena + word(p, LIST)
    segments, count, length = word(p, SEGMENTS), word(p, COUNT), word(p, LENGTH)
    goal, step = arena + word(p, GOAL), word(p, GOAL_ROW)
    for r in range(end - begin):
        put_word(addresses, r, 0)
    for i in range(1, word(flagged, 0) + 1):
        r = word(flagged, i) & 0xFFFFFFFF
        if word(addresses, r) == 0:
            at = goal + r * step
            put_word(addresses, r, at)
            for s in range(count):
                source = word(sources, r) + word(segments, s)
                COPY(source, at + 2 * s * length, length, word(p, ZERO), word(p, SHIFT))


@cache
def gathering_routine(name: str, listed: bool) -> Any:
    """`gather`, or `gather_listed`, of a tensor of "int16", "int8" or "uint8"."""
    return routine(gather_listed if listed else gather, name, COPY=copy(name))
