"""Sums over windows where every output reads one input channel, planned as routines."""

import numpy as np

from intsim.engine.accumulator import Free, Sums
from intsim.engine.calls import Call, fitting
from intsim.engine.operands import INT16, centred_weights, within
from intsim.engine.rooms import Room, windows
from intsim.engine.wide import Block, ends
from intsim.program import Dot, Window
from intsim.ranges import Interval

TYPES = ("int16", "uint8")
"""Of the rooms that can be read."""

STRIPS = ((3, 3),)
"""Windows for which there is a kernel that shares taps between neighbouring places."""

CACHED = 1 << 15
"""Bytes of sums at a time: what stays in the nearest cache until they are requantized."""


def one_channel(dot: Dot, sums: Sums, x: Interval) -> bool:
    """Whether the routines do these sums: one input channel an output, int16 operands, free order, int32 sums."""
    if dot.group == 1 or dot.weight.shape[-1] > 1 or sums.free is None or sums.free.dtype is not np.int32:
        return False
    w = centred_weights(dot)
    narrow = within(x, INT16) and within((int(w.min()), int(w.max())), INT16)
    return dot.mac.multiplier is None and len(dot.window.kernel) <= 2 and narrow


def block_of_dot(dot: Dot, free: Free, at: Room, settled: int) -> Block | None:
    """The sums of a Dot for which `one_channel` holds, on the room `at`; None where a row does not fit the scratch."""
    w = centred_weights(dot).reshape(len(dot.weight), -1)
    start = free.start - (dot.input_zero_point + at.shift) * w.sum(1)
    return block_of_taps(w, dot.window, Free(start=start, dtype=free.dtype, ends=free.ends), at, settled)


def block_of_taps(w: np.ndarray, window: Window, free: Free, at: Room, settled: int) -> Block | None:
    """free.start + the sums of weights `w[outputs, taps]` and what lies in the room; outputs // channels read each.

    `settled`: bytes of scratch that each result will take.
    """
    from intsim_kernels import wide
    from intsim_kernels.cpu import LANES
    from intsim_kernels.depthwise import ROWS, depthwise_routine, pairing

    outputs, found = len(w), windows(at, window)
    across = at.width + window.begin[-1] + window.end[-1] - window.kernel[-1] + 1  # where places are neighbours
    repeat = outputs // at.channels
    chunks, valid = _chunks(at.channels, repeat, 2 * LANES)
    columns = -(-(int(chunks[-1, 1]) + 2 * LANES) // LANES) * LANES
    pairs = pairing(*found.taps.shape)
    weights, taps = _paired(w, pairs), found.taps.ravel()[[tap for pair in pairs for tap in pair[:2]]]
    packed = np.stack([_interleaved(weights[c : c + n]) for (_, c), n in zip(chunks, valid, strict=True)])
    start = np.stack([_interleaved(free.start[c : c + n, None]) for (_, c), n in zip(chunks, valid, strict=True)])
    per_row = columns * (4 + settled) + 8
    most = fitting(per_row, once=wide.SPARE_ROWS * per_row + 256)
    if most < 1:
        return None
    kernel, repeat = (1, 1, *window.kernel)[-2:], min(repeat, 2 * LANES)
    shared = kernel in STRIPS and (window.strides[-1], window.dilations[-1]) == (1, 1) and across >= ROWS
    block = _rows(most, CACHED // per_row, across if shared else ROWS, ROWS)
    addresses = -(-block * columns * 4 // 64) * 64
    used = -(-(addresses + (block + wide.SPARE_ROWS) * 8) // 64) * 64
    words = (
        taps,
        len(pairs),
        chunks * [at.item, 4],
        len(chunks),
        packed.astype(np.int16),
        start.astype(np.int32),
        0,
        columns * 4,
    )
    place = (at.offset, at.size, found.base, len(found.base))
    if shared:
        routine = depthwise_routine(at.dtype, repeat, kernel)
        calls = [Call(routine=routine, words=(*words, *place, across, at.channels * at.item))]
    else:
        rows = Call(routine=wide.rows_of, words=(*place, addresses))
        calls = [rows, Call(routine=depthwise_routine(at.dtype, repeat, None), words=(*words, addresses))]
    calls += ends(free, columns, 0)
    return Block(
        calls=tuple(calls), dtype="int32", source=0, columns=columns, rows=len(found.base), block=block, used=used
    )


def _rows(most: int, wanted: int, across: int, tile: int) -> int:
    """Rows of a block: about as many as are wanted; whole rows of the image, or else whole tiles, where they fit."""
    whole = max(across, wanted // across * across)
    return whole if whole <= min(most, 4 * wanted) else max(1, min(most, wanted // tile * tile))


def _chunks(channels: int, repeat: int, lanes: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 `[chunks, 2]`: first channel and first column of each vector of outputs, and how many of them count."""
    if repeat <= lanes:
        first = np.arange(0, channels, lanes // repeat)
        valid = np.minimum(lanes // repeat, channels - first) * repeat
        return np.stack([first, first * repeat], 1), valid
    column = np.arange(0, repeat, lanes)
    first, column = np.repeat(np.arange(channels), len(column)), np.tile(column, channels)
    return np.stack([first, first * repeat + column], 1), np.minimum(lanes, repeat - column)


def _paired(w: np.ndarray, pairs: list[tuple[int, int, int]]) -> np.ndarray:
    """Weights `[outputs, taps]` two by two, `[outputs, pairs * 2]`."""
    found = np.zeros((len(w), len(pairs), 2), np.int64)
    for k, (first, second, count) in enumerate(pairs):
        found[:, k, 1] = w[:, second]
        if count == 2:
            found[:, k, 0] = w[:, first]
    return found.reshape(len(w), -1)


def _interleaved(values: np.ndarray) -> np.ndarray:
    """`[outputs, pairs * 2]` of a chunk, or `[outputs, 1]`, as the kernel reads it: `[pairs][half][lane][2 or 1]`."""
    from intsim_kernels.cpu import LANES
    from intsim_kernels.depthwise import halves

    full = np.zeros((2 * LANES, values.shape[1]), np.int64)
    full[: len(values)] = values
    together = min(2, values.shape[1])
    by_half = np.stack([full[order] for order in halves(LANES)])
    return by_half.reshape(2, LANES, -1, together).transpose(2, 0, 1, 3)
