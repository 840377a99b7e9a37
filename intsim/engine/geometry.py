"""Windows as offsets: where each window starts in a padded image, and how far its taps are from there."""

import numpy as np
from msgspec import Struct

from intsim.graph import Shape
from intsim.program import Window


class Places(Struct, frozen=True, kw_only=True, eq=False):
    """A window's places on one sample `[h, w, c]`, lifted to two spatial axes and padded; offsets in integers.

    The window of place p has its tap t at `base[p] + taps[t]` of the flat padded image; `inside[axis]` counts the taps
    that are not padding, per place along that axis.
    """

    height: int
    width: int
    channels: int
    top: int
    left: int
    padded: tuple[int, int]
    base: np.ndarray
    taps: np.ndarray
    rows: np.ndarray
    row_taps: int
    inside: tuple[np.ndarray, np.ndarray]

    @property
    def size(self) -> int:
        """Integers in one padded image."""
        return self.padded[0] * self.padded[1] * self.channels


class Lifted(Struct, frozen=True, kw_only=True, eq=False):
    """A window of at most two axes as one of two, on an image.

    `begin`: top and left padding, `end`: bottom and right; `down`, `across`: where windows start along either axis of
    the padded image; `rows`, `columns`: how far their taps are from there.
    """

    begin: tuple[int, ...]
    end: tuple[int, ...]
    down: np.ndarray
    across: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def lifted(window: Window, height: int, width: int) -> Lifted:
    """The window on an image of that size; one of one axis lies along the width."""
    ones, zeros = (1,) * (2 - len(window.kernel)), (0,) * (2 - len(window.kernel))
    (kh, kw), (sh, sw), (dh, dw) = ones + window.kernel, ones + window.strides, ones + window.dilations
    begin, end = zeros + window.begin, zeros + window.end
    return Lifted(
        begin=begin,
        end=end,
        down=np.arange((height + begin[0] + end[0] - dh * (kh - 1) - 1) // sh + 1) * sh,
        across=np.arange((width + begin[1] + end[1] - dw * (kw - 1) - 1) // sw + 1) * sw,
        rows=np.arange(kh) * dh,
        columns=np.arange(kw) * dw,
    )


def places(shape: Shape, window: Window, channels: int | None = None) -> Places | None:
    """The places of a window with at most two axes on a sample `shape[..., c]`, or None where it has more.

    `channels` replaces c where the lanes hold another number of them. `rows`, `row_taps`: the same taps as runs of
    neighbours: offsets of the runs, and taps in a run.
    """
    axes = len(window.kernel)
    if axes > 2 or len(shape) != axes + 1:
        return None
    c = shape[-1] if channels is None else channels
    h, w = (1, 1, *shape[:-1])[-2:]
    found = lifted(window, h, w)
    (top, left), (bottom, right) = found.begin, found.end
    width = w + left + right
    taps = (found.rows[:, None] * width + found.columns).ravel() * c
    neighbours = (1, *window.dilations)[-1] == 1
    return Places(
        height=h,
        width=w,
        channels=c,
        top=top,
        left=left,
        padded=(h + top + bottom, width),
        base=(found.down[:, None] * width + found.across).ravel() * c,
        taps=taps,
        rows=found.rows * width * c if neighbours else taps,
        row_taps=len(found.columns) if neighbours else 1,
        inside=(_inside(found.down, found.rows, top, h), _inside(found.across, found.columns, left, w)),
    )


def _inside(start: np.ndarray, taps: np.ndarray, begin: int, size: int) -> np.ndarray:
    at = start[:, None] + taps - begin
    return ((at >= 0) & (at < size)).sum(1)


def lanes(x: np.ndarray, at: Places, zero: int, border: int, dtype: type) -> np.ndarray:
    """`x[n, ..., c] - zero` in padded images, flat `[n * size]`, with `border` around it."""
    from intsim_kernels import window

    channels = at.channels
    if x.shape[-1] != channels:
        x = np.repeat(x, channels // x.shape[-1], axis=-1)
    shape = (len(x), at.padded[0], at.padded[1] * channels)
    bare = at.padded == (at.height, at.width)
    out: np.ndarray = np.empty(shape, dtype) if bare else np.full(shape, border, dtype)
    flat = np.ascontiguousarray(x).reshape(len(x), at.height, at.width * channels)
    window.lanes(flat, zero, at.top, at.left * channels, out)
    return out.reshape(-1)
