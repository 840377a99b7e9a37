"""Integers moved, as routines: from scratch to where a tensor lies, from one tensor's memory to another's."""

from functools import cache
from typing import Any

import numpy as np
from numba import carray

from intsim_kernels.memory import pointer, word
from intsim_kernels.native import routine

FROM: Any = np.int16
TO: Any = np.int16

SOURCE, SOURCE_ROW, COUNT, GOAL, SIZE, BASE, PLACES, TOGETHER = range(8)


def place(p, arena, begin, end):
    """goal[image][base[place]..] = source[row][0..count], row = image * places + place.

    `SOURCE_ROW`: integers from row to row of scratch; `GOAL`: offset of the tensor, `SIZE`: bytes of an image, `BASE`:
    bytes from an image's start to each place; `TOGETHER` places lie without a gap, in scratch too.
    """
    size, base, places, count = word(p, SIZE), word(p, BASE), word(p, PLACES), word(p, COUNT)
    step, together = word(p, SOURCE_ROW), word(p, TOGETHER)
    image = begin // places
    at = begin - image * places
    r = begin
    while r < end:
        rows = min(together - at % together, end - r)
        source = carray(pointer(arena + word(p, SOURCE)), ((r - begin) * step + rows * count,), FROM)
        goal = carray(pointer(arena + word(p, GOAL) + image * size + word(base, at)), (rows * count,), TO)
        source = source[(r - begin) * step :]
        for i in range(rows * count):
            goal[i] = source[i]
        r += rows
        at += rows
        if at == places:
            at = 0
            image += 1


@cache
def placing(source: str, goal: str) -> Any:
    """The routine `place` from integers of one type to those of another, by name."""
    return routine(place, f"{source}-{goal}", FROM=getattr(np, source), TO=getattr(np, goal))


X, X_SIZE, X_PITCH, Y, Y_SIZE, Y_PITCH, HEIGHT, LENGTH, ADDED = range(9)


def copy(p, arena, begin, end):
    """y = x + added, rows of `LENGTH` integers, `HEIGHT` rows an image, whose rows and images lie apart as is said."""
    height, n, added = word(p, HEIGHT), word(p, LENGTH), word(p, ADDED)
    for row in range(begin, end):
        image = row // height
        h = row - image * height
        x = carray(pointer(arena + word(p, X) + image * word(p, X_SIZE) + h * word(p, X_PITCH)), (n,), FROM)
        y = carray(pointer(arena + word(p, Y) + image * word(p, Y_SIZE) + h * word(p, Y_PITCH)), (n,), TO)
        for i in range(n):
            y[i] = TO(np.int32(x[i]) + np.int32(added))


@cache
def copying(source: str, goal: str) -> Any:
    """The routine `copy` from integers of one type to those of another, by name."""
    return routine(copy, f"{source}-{goal}", FROM=getattr(np, source), TO=getattr(np, goal))
