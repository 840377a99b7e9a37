"""Sums whose order is free, planned as routines: operands, windows as addresses, weights packed into panels."""

import numpy as np
from msgspec import Struct

from intsim.engine.accumulator import Free, Sums
from intsim.engine.calls import Call, fitting
from intsim.engine.codes import overflow_code
from intsim.engine.operands import INT16, INT32, centred_weights, within
from intsim.engine.packing import pack_columns, pack_pairs, pack_quads, straight
from intsim.engine.rooms import Room, windows
from intsim.program import Dot
from intsim.ranges import Interval

NEAR = 1 << 17
"""Bytes of inputs that a block of rows may take, since every panel of weights goes over all of them."""
BYTE, SIGNED_BYTE = (0, 255), (-128, 127)
SIGNED = ("quads on Arm", "signed quads written out")
"""Kinds of tiles whose inputs are signed bytes."""


class Form(Struct, frozen=True, kw_only=True, eq=False):
    """The operands of a Dot as a kind of tile wants them: inputs q + `shift` in `dtype`, weights `w[o, ...]`.

    `free`: what the sums of q * w start from and end with: the zero points have gone into its start. `joined`: the
    order of products counts, so that a window's rows must lie one after the other.
    """

    kind: str
    dtype: str
    w: np.ndarray
    free: Free
    shift: int = 0
    joined: bool = False

    @property
    def group(self) -> int:
        """Operands in a group of 4 bytes."""
        return 2 if self.dtype == "int16" else 4


def forms(dot: Dot, sums: Sums, x: Interval) -> tuple[Form, ...]:
    """The forms in which tiles can do the sums over inputs in x (its padding included), the fastest first."""
    from intsim_kernels import cpu

    if dot.mac.multiplier is not None or len(dot.window.kernel) > 2 or (dot.group > 1 and dot.weight.shape[-1] == 1):
        return ()
    found = []
    if sums.pairs is not None and cpu.PAIRS_OF_BYTES and dot.group == 1 and _bytes(x, dot.weight) == 0:
        found.append(Form(kind="saturating quads", dtype="uint8", w=dot.weight, free=sums.pairs, joined=True))
    if sums.free is not None:
        w = centred_weights(dot)
        shift = _bytes(x, w)
        if shift is not None and sums.free.dtype is np.int32:
            exact = cpu.PAIRS_OF_BYTES and _no_pair_saturates(w, x[1] + shift)
            kind = cpu.BYTES or ("saturating quads" if exact else "")
            dtype, moved = ("int8", shift - 128) if kind in SIGNED else ("uint8", shift)
            if kind:
                free = _raw(dot, w, sums.free, moved)
                found.append(Form(kind=kind, dtype=dtype, w=w, free=free, shift=moved))
        if within(x, INT16) and within((int(w.min()), int(w.max())), INT16):
            found.append(Form(kind="pairs", dtype="int16", w=w, free=_raw(dot, w, sums.free, 0)))
    return tuple(found)


def _bytes(x: Interval, w: np.ndarray) -> int | None:
    """By how much the inputs are to be shifted to be unsigned bytes; None where they or the weights are no bytes."""
    if not within((int(w.min()), int(w.max())), SIGNED_BYTE):
        return None
    return 0 if within(x, BYTE) else 128 if within(x, SIGNED_BYTE) else None


def _raw(dot: Dot, w: np.ndarray, free: Free, shift: int) -> Free:
    """From sums of (q - zx) * w to those of (q + shift) * w."""
    owed = (dot.input_zero_point + shift) * w.reshape(len(w), -1).sum(1)
    return Free(start=free.start - owed, dtype=free.dtype, ends=free.ends)


def _no_pair_saturates(w: np.ndarray, most: int) -> bool:
    """Whether the products of bytes 0..most and two weights that follow each other always fit 16 bits together.

    Two that follow each other over all taps: whatever is put beside a weight in a group of four is one of its two
    neighbours, or 0.
    """
    rows = w.reshape(len(w), -1)
    positive, negative = np.maximum(rows, 0), np.maximum(-rows, 0)
    pairs = [side[:, 1:] + side[:, :-1] for side in (positive, negative)]
    return max(int(pair.max(initial=0)) for pair in pairs) * most <= INT16[1]


# ---- calls -----------------------------------------------------------------------------------------------------


class Block(Struct, frozen=True, kw_only=True, eq=False):
    """Calls that leave the sums of a block of rows in scratch at `source`: `[rows][columns]` of `dtype`.

    The first columns are sums, the others 0. `rows`: of an image; `block`: at most; `used`: bytes of scratch.
    """

    calls: tuple[Call, ...]
    dtype: str
    source: int
    columns: int
    rows: int
    block: int
    used: int


class _Shape(Struct, frozen=True, kw_only=True):
    """How the outputs of a group lie in columns: `panels` of `tile`, each of `width` vectors."""

    each: int
    width: int
    tile: int
    panels: int
    columns: int


def _shape(dot: Dot) -> _Shape:
    from intsim_kernels import wide
    from intsim_kernels.cpu import LANES

    each = len(dot.weight) // dot.group
    width = next(v for v in sorted(wide.ROWS) if v * LANES >= each or v == max(wide.ROWS))
    tile = width * LANES
    panels = -(-each // tile)
    columns = -(-((dot.group - 1) * each + panels * tile) // LANES) * LANES
    return _Shape(each=each, width=width, tile=tile, panels=panels, columns=columns)


def block_of_sums(dot: Dot, form: Form, at: Room, settled: int) -> Block | None:
    """The sums of a Dot on the room `at`, in the form's type; `settled`: bytes of scratch that each result will take.

    None where a block of one row does not fit the scratch.
    """
    from intsim_kernels import wide

    shape, found = _shape(dot), windows(at, dot.window)
    segments, length = _segments(dot, found.taps, at.item)
    total = len(segments) * length
    gathered = form.joined and len(segments) > 1 and length % 2 == 1
    row = -(-total * at.item // 64) * 64 + 64 if gathered else 0
    long = form.free.dtype is np.int64
    if long and _at_once(form) < form.group:
        return None
    spare = wide.SPARE_ROWS
    per_row = 8 + row + shape.columns * (4 + (8 if long else 0) + settled)
    block = fitting(per_row, once=spare * (8 + row + shape.columns * 4) + 4 * 64)
    if block < 1:
        return None
    block = min(block, max(48, NEAR * len(found.base) // at.size))
    addresses = -(-(block + spare) * shape.columns * 4 // 64) * 64
    copies = addresses + (block + spare) * 8
    totals = -(-(copies + (block + spare) * row) // 64) * 64
    used = totals + (block * shape.columns * 8 if long else 0)
    first = (at.offset, at.size, found.base, len(found.base), addresses)
    calls = [Call(routine=wide.rows_of, words=first)]
    w = form.w.reshape(dot.group, shape.each, len(segments), length)
    if gathered:
        more = (segments, len(segments), length * at.item, copies, row)
        calls = [Call(routine=wide.gathering, words=(*first, *more))]
        segments, length, w = np.zeros(1, np.int64), total, w.reshape(dot.group, shape.each, 1, total)
    if long:
        calls += _long(dot, form, shape, segments, w, addresses, totals)
    else:
        calls += _dots(dot, form, shape, segments, w, form.free.start, addresses)
    calls += ends(form.free, shape.columns, totals if long else 0)
    dtype, source = ("int64", totals) if long else ("int32", 0)
    return Block(
        calls=tuple(calls),
        dtype=dtype,
        source=source,
        columns=shape.columns,
        rows=len(found.base),
        block=block,
        used=used,
    )


def _long(
    dot: Dot, form: Form, shape: _Shape, segments: np.ndarray, w: np.ndarray, addresses: int, totals: int
) -> list[Call]:
    """Sums in int64, of as many products at a time as int32 surely holds."""
    from intsim_kernels.wide import widening

    length = w.shape[-1]
    item = np.dtype(form.dtype).itemsize
    start = np.pad(form.free.start, (0, shape.columns - len(form.free.start)))
    none = np.zeros_like(form.free.start)
    calls: list[Call] = []
    for part, begin, end in _parts(len(segments), length, _at_once(form)):
        here = np.ascontiguousarray(segments[part] + begin * item)
        calls += _dots(dot, form, shape, here, w[:, :, part, begin:end], none, addresses)
        calls.append(Call(routine=widening, words=(0, totals, shape.columns, int(len(calls) <= dot.group), start)))
    return calls


def _at_once(form: Form) -> int:
    """Products of int16 inputs and the form's weights whose sum int32 surely holds."""
    return INT32[1] // (max(map(abs, INT16)) * max(1, int(np.abs(form.w).max()))) // form.group * form.group


def _parts(segments: int, length: int, largest: int) -> list[tuple[slice, int, int]]:
    """Segments, whole or in pieces, of at most `largest` products together."""
    if length > largest:
        cuts = range(0, length, largest)
        return [(slice(s, s + 1), at, min(at + largest, length)) for s in range(segments) for at in cuts]
    together = largest // length
    return [(slice(s, min(s + together, segments)), 0, length) for s in range(0, segments, together)]


def _dots(
    dot: Dot, form: Form, shape: _Shape, segments: np.ndarray, w: np.ndarray, start: np.ndarray, addresses: int
) -> list[Call]:
    """A call for every group: its sums go to its own columns, the padding of its last panel to the next group's."""
    from intsim_kernels.wide import dot_routine

    item = np.dtype(form.dtype).itemsize
    walk = straight(segments, w.shape[-1], form.group, item)
    pack = pack_pairs if form.group == 2 else pack_quads
    step = dot.weight.shape[-1] * item
    calls = []
    for g, weight in enumerate(w):
        packed = pack(weight.reshape(shape.each, -1), walk, shape.tile)
        words = (
            addresses,
            segments + g * step,
            len(segments),
            len(walk.index) // len(segments),
            packed,
            shape.panels,
            packed[0].nbytes,
            pack_columns(start[g * shape.each : (g + 1) * shape.each], shape.tile, np.int32),
            g * shape.each * 4,
            shape.columns * 4,
        )
        calls.append(Call(routine=dot_routine(form.kind, shape.width), words=words))
    return calls


def _segments(dot: Dot, taps: np.ndarray, item: int) -> tuple[np.ndarray, int]:
    """Offsets of the runs of neighbouring integers in a window, and their length."""
    channels = dot.weight.shape[-1]
    if dot.group == 1 and (taps.shape[1] == 1 or taps[0, 1] - taps[0, 0] == channels * item):
        return np.ascontiguousarray(taps[:, 0]), taps.shape[1] * channels
    return taps.ravel(), channels


def ends(free: Free, columns: int, source: int) -> list[Call]:
    """The ends of sums `[rows][columns]` in scratch at `source`, in place: wraps, the bias, its register."""
    from intsim_kernels.settle import holding

    calls = []
    for bits, overflow, added in free.ends:
        more: int | np.ndarray = 0
        if added is not None:
            more = np.pad(added, (0, columns - len(added))).astype(free.dtype)
        if bits or added is not None:
            words = (source, columns, 0, 0, bits, overflow_code(overflow), more)
            calls.append(Call(routine=holding(np.dtype(free.dtype).name), words=words))
    return calls
