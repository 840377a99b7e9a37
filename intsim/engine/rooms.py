"""Where tensors lie in a thread's arena: padded images in the kernels' types, so that windows need no copies."""

from collections.abc import Iterable
from math import prod

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.engine.geometry import lifted
from intsim.graph import Shape
from intsim.program import Window

SLACK = 64
"""Bytes after a room: kernels read whole groups and vectors, and may look beyond the last integer."""


class Room(Struct, frozen=True, kw_only=True, eq=False):
    """Images `[height, width, channels]` with a border of `fill`, one after the other from `offset` bytes on.

    A room holds q + `shift` in `dtype`. `border`: top, left, bottom, right.
    """

    height: int
    width: int
    channels: int
    dtype: str
    shift: int = 0
    border: tuple[int, int, int, int] = (0, 0, 0, 0)
    fill: int = 0
    offset: int = 0

    @property
    def item(self) -> int:
        """Bytes of an integer."""
        return np.dtype(self.dtype).itemsize

    @property
    def pitch(self) -> int:
        """Bytes of a row, its border included."""
        return (self.border[1] + self.width + self.border[3]) * self.channels * self.item

    @property
    def size(self) -> int:
        """Bytes of an image, its border included."""
        return (self.border[0] + self.height + self.border[2]) * self.pitch

    @property
    def origin(self) -> int:
        """Bytes from an image's start to its first integer that is not border."""
        return self.border[0] * self.pitch + self.border[1] * self.channels * self.item

    @property
    def bare(self) -> bool:
        """Whether all images lie without any gap."""
        return not any(self.border)


def room(shape: Shape, dtype: str, shift: int = 0) -> Room:
    """A room for samples `shape[..., c]`; more than two spatial axes become one."""
    *space, channels = shape
    height, width = (1, prod(space)) if len(space) != 2 else space
    return Room(height=height, width=width, channels=channels, dtype=dtype, shift=shift)


def bordered(bare: Room, windows: Iterable[Window], fill: int) -> Room:
    """The room with the largest border that the windows (of one or two axes) ask for."""
    border = np.zeros(4, int)
    for window in windows:
        top_left, bottom_right = ((0,) * (2 - len(pad)) + pad for pad in (window.begin, window.end))
        border = np.maximum(border, (*top_left, *bottom_right))
    top, left, bottom, right = border.tolist()
    return replace(bare, border=(top, left, bottom, right), fill=fill + bare.shift)


def laid_out(rooms: dict[str, Room], begin: int, images: int) -> tuple[dict[str, Room], int]:
    """The rooms with their offsets from `begin` on, for so many images, and the end of the last."""
    placed, at = {}, begin
    for name, one in rooms.items():
        placed[name] = replace(one, offset=at)
        at += -(-(one.size * images + SLACK) // SLACK) * SLACK
    return placed, at


def view(arena: np.ndarray, at: Room, images: int, *, border: bool = False) -> np.ndarray:
    """The room's integers `[images, h, w, c]` in the arena (uint8, flat), with or without the border."""
    height, width = at.height, at.width
    if border:
        height, width = at.border[0] + height + at.border[2], at.border[1] + width + at.border[3]
    begin = at.offset + (0 if border else at.origin)
    shape, strides = (images, height, width, at.channels), (at.size, at.pitch, at.channels * at.item, at.item)
    return np.ndarray(shape, at.dtype, arena.data, begin, strides)


def places(at: Room) -> np.ndarray:
    """int64: bytes from an image's start to each of its places, row by row."""
    down = np.arange(at.height)[:, None] * at.pitch
    across = np.arange(at.width) * at.channels * at.item
    return (at.origin + down + across).ravel().astype(np.int64)


class Windows(Struct, frozen=True, kw_only=True, eq=False):
    """A window's places in a room, in bytes: where each starts in its image, and its taps, `[kh, kw]`, from there."""

    base: np.ndarray
    taps: np.ndarray


def windows(at: Room, window: Window) -> Windows:
    """The places of a window with at most two axes; its padding lies inside the room's border."""
    found = lifted(window, at.height, at.width)
    step = at.channels * at.item
    down, across = found.down + at.border[0] - found.begin[0], found.across + at.border[1] - found.begin[1]
    base = down[:, None] * at.pitch + across * step
    taps = found.rows[:, None] * at.pitch + found.columns * step
    return Windows(base=base.ravel().astype(np.int64), taps=taps.astype(np.int64))
