"""Integers moved, as routines: from scratch to where a tensor lies, from one tensor's memory to another's."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.cpu import LANES
from intsim_kernels.memory import word
from intsim_kernels.native import routine
from intsim_kernels.vectors import I64

MOVE: Any = None


@cache
def moving(source: str, goal: str) -> Any:
    """The intrinsic f(source, goal, count, added): goal[i] = source[i] + added, integers of two types, by name."""
    kinds = {"uint8": v.I8, "int8": v.I8, "int16": v.I16, "int32": v.I32, "int64": I64}
    here, there = kinds[source], kinds[goal]
    wide = here if here.width > there.width else there

    def converted(b: Any, x: Any, added: Any, lanes: int) -> Any:
        kind = v.vector(wide, lanes)
        if here.width < wide.width:
            x = b.zext(x, kind) if source == "uint8" else b.sext(x, kind)
        y = b.add(x, v.splat(b, b.trunc(added, wide) if wide.width < 64 else added, lanes))
        return b.trunc(y, v.vector(there, lanes)) if there.width < wide.width else y

    @intrinsic
    def move(typingctx: Any, x: Any, y: Any, count: Any, added: Any) -> Any:
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            x, y, count, added = args
            lanes = 2 * LANES

            def some(n: int) -> Any:
                def body(_: Any, state: Sequence[Any]) -> list[Any]:
                    x, y = state
                    v.store(b, converted(b, v.load(b, x, v.vector(here, n)), added, n), y)
                    return [b.add(x, I64(here.width // 8 * n)), b.add(y, I64(there.width // 8 * n))]

                return body

            state = v.loop(b, b.sdiv(count, I64(lanes)), [x, y], some(lanes))
            v.loop(b, b.srem(count, I64(lanes)), state, some(1))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 4), codegen

    return move


SOURCE, SOURCE_ROW, COUNT, GOAL, SIZE, BASE, PLACES, TOGETHER = range(8)


def place(p, arena, begin, end):
    """goal[image][base[place]..] = source[row][0..count], row = image * places + place.

    `SOURCE_ROW`: bytes from row to row of scratch; `GOAL`: offset of the tensor, `SIZE`: bytes of an image, `BASE`:
    bytes from an image's start to each place; `TOGETHER` places lie without a gap, in scratch too.
    """
    size, base, places, count = word(p, SIZE), word(p, BASE), word(p, PLACES), word(p, COUNT)
    step, together = word(p, SOURCE_ROW), word(p, TOGETHER)
    source, goal = arena + word(p, SOURCE), arena + word(p, GOAL)
    image = begin // places
    at = begin - image * places
    r = begin
    while r < end:
        rows = min(together - at % together, end - r) if together > 1 else 1
        MOVE(source + (r - begin) * step, goal + image * size + word(base, at), rows * count, 0)
        r += rows
        at += rows
        if at == places:
            at = 0
            image += 1


@cache
def placing(source: str, goal: str) -> Any:
    """The routine `place` from integers of one type to those of another, by name."""
    return routine(place, f"{source}-{goal}", MOVE=moving(source, goal))


X, X_SIZE, X_PITCH, Y, Y_SIZE, Y_PITCH, HEIGHT, LENGTH, ADDED = range(9)


def copy(p, arena, begin, end):
    """y = x + added, rows of `LENGTH` integers, `HEIGHT` rows an image, whose rows and images lie apart as is said."""
    height, n, added = word(p, HEIGHT), word(p, LENGTH), word(p, ADDED)
    x, x_size, x_pitch = arena + word(p, X), word(p, X_SIZE), word(p, X_PITCH)
    y, y_size, y_pitch = arena + word(p, Y), word(p, Y_SIZE), word(p, Y_PITCH)
    for row in range(begin, end):
        image = row // height
        h = row - image * height
        MOVE(x + image * x_size + h * x_pitch, y + image * y_size + h * y_pitch, n, added)


@cache
def copying(source: str, goal: str) -> Any:
    """The routine `copy` from integers of one type to those of another, by name."""
    return routine(copy, f"{source}-{goal}", MOVE=moving(source, goal))
