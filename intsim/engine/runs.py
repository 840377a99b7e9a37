"""Runs: how the integers of several rooms that belong together lie without a gap, all at the same time."""

from math import gcd

import numpy as np
from msgspec import Struct

from intsim.engine.rooms import Room, places
from intsim.graph import Shape


class Runs(Struct, frozen=True, kw_only=True, eq=False):
    """Every image is `count` runs of `length` integers; `base[i]`: bytes to each from the image's start in room i."""

    length: int
    base: tuple[np.ndarray, ...]

    @property
    def count(self) -> int:
        """Of an image."""
        return len(self.base[0])


def offsets(at: Room, shape: Shape) -> np.ndarray:
    """int64 of the tensor's `shape`: bytes from an image's start to each of its integers."""
    return (places(at)[:, None] + np.arange(at.channels) * at.item).reshape(shape)


def runs(pairs: list[tuple[Room, np.ndarray]], most: int = 1 << 30) -> Runs:
    """The longest runs, of at most so many integers; the offsets of all rooms belong together one by one."""
    flat = [(at.item, where.ravel()) for at, where in pairs]
    breaks = np.logical_or.reduce([np.diff(where) != item for item, where in flat])
    length = gcd(len(flat[0][1]), *(np.flatnonzero(breaks) + 1).tolist())
    length = next(n for n in range(min(length, most), 0, -1) if length % n == 0)
    return Runs(length=length, base=tuple(np.ascontiguousarray(where[::length]) for _, where in flat))
