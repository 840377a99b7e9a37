"""Sums of products each of which is shifted before it is added, planned: in any order, where all wraps or fits."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from intsim.engine.accumulator import (
    WRAPS,
    Free,
    Site,
    Sums,
    centred,
    finish,
    hull,
    narrowest_wrap,
    running,
    shortened,
)
from intsim.engine.calls import Call, fitting
from intsim.engine.codes import cast_code
from intsim.engine.depthwise import CACHED
from intsim.engine.operands import INT16, INT32, AddProducts, centred_weights, grouped, later, within
from intsim.engine.rooms import Room, windows
from intsim.engine.wide import Block, ends
from intsim.integers import Rounding
from intsim.program import Dot
from intsim.target import Cast


def shifting(site: Site) -> Sums | None:
    """Products shifted one by one, as fixed-point types have them, and their sums in int32; None beyond its domain."""
    dot, found, to = site.dot, site.found, site.dot.mac.product
    if to is None or to.shift > 30 or dot.mac.multiplier is not None or (found.owed[0] != found.owed[1]).any():
        return None
    whole = found.held.all()
    narrowest = narrowest_wrap(site, np.inf if whole else to.bits) if whole or to.overflow in WRAPS else None
    ending = None if narrowest is None else finish(site, narrowest)
    w = dot.weight if site.folded else centred_weights(dot)
    x, ends = site.x if site.folded else centred(site), (int(w.min()), int(w.max()))
    largest = max(map(abs, x)) * max(map(abs, ends)) + (1 << to.shift)
    if ending is None or ending[1].dtype is not np.int32 or largest > INT32[1]:
        return None
    if not (within(x, INT16) and within(ends, INT16)):
        return None
    first = dot.bias_rule.when == "init"
    free = shortened(replace(ending[1], start=found.owed[0].astype(np.int64) if first else np.zeros_like(dot.bias)))
    run = running(site, free, later(_packed(site)))
    why = "every product is shifted, every level wraps, the outer ones no wider: wrapped once at the end"
    return Sums(kernel="shifted products", why=why, run=run, value=hull(found.value), shifting=free)


def _packed(site: Site) -> Callable[[], AddProducts]:
    def pack() -> AddProducts:
        from intsim_kernels.shifting import shifted_products

        to = site.dot.mac.product
        assert to is not None
        ops = grouped(site.dot, site.shape, centred=not site.folded, dtype=np.int16)
        numbers = (*_floors(to), cast_code(to))

        def add(x: np.ndarray, acc: np.ndarray) -> None:
            lanes = ops.lanes(x)
            where = (ops.at.size, ops.at.base, ops.taps, ops.stride, ops.lane)
            shifted_products(lanes, *where, ops.weights, *numbers, acc)

        return add

    return pack


def _floors(to: Cast) -> tuple[int, int]:
    """What is added before a shift that rounds down, and 1; or 0 and 0 where the rounding is no such thing."""
    plain = to.rounding in (Rounding.FLOOR, Rounding.HALF_UP)
    plain = plain and (to.fraction_bits is None or to.fraction_bits >= to.shift)
    return ((1 << to.shift) >> 1 if plain and to.rounding is Rounding.HALF_UP else 0), int(plain)


def block_of_products(dot: Dot, free: Free, at: Room, settled: int) -> Block | None:
    """The same sums on the room `at` as a routine; None where a row does not fit the scratch.

    `settled`: bytes of scratch that each result will take.
    """
    from intsim_kernels.cpu import LANES
    from intsim_kernels.shifting import MOST, panels_routine, products_routine

    to, outputs, depth = dot.mac.product, len(dot.weight), dot.weight.shape[-1]
    if to is None or at.dtype not in ("int16", "int8", "uint8"):
        return None
    folded = dot.mac.zero_point == "folded"
    w, found = dot.weight if folded else centred_weights(dot), windows(at, dot.window)
    more, plain = _floors(to)
    lane = int(plain and depth == 1 and outputs == dot.group > 1)  # every output has an input channel of its own
    groups = 1 if lane else dot.group
    each = outputs // groups
    width = min(MOST, -(-each // LANES))
    panels = -(-each // (width * LANES))
    vectors = plain and not lane
    columns = -(-((groups - 1) * each + panels * width * LANES if vectors else outputs) // LANES) * LANES
    block = min(fitting(columns * (4 + settled), once=256), max(1, CACHED // (columns * 4)))
    if block < 1:
        return None
    packed: np.ndarray = w.reshape(groups, each, -1).transpose(0, 2, 1).astype(np.int16)
    first = (
        *(at.offset, at.size, found.base, len(found.base)),
        (found.taps.ravel()[:, None] + np.arange(depth) * at.item).ravel(),
        w[0].size,
        groups,
        depth * at.item,
        at.shift + (0 if folded else dot.input_zero_point),
    )
    start = np.pad(free.start, (0, columns - outputs)).astype(np.int32)
    if vectors:
        packed = np.pad(packed, ((0, 0), (0, 0), (0, panels * width * LANES - each)))
        packed = packed.reshape(groups, -1, panels, width * LANES).transpose(0, 2, 1, 3)
        words: tuple[int | np.ndarray, ...] = (
            panels,
            np.ascontiguousarray(packed),
            each,
            more,
            to.shift,
            start,
            columns,
            0,
        )
        routine = panels_routine(at.dtype, width)
    else:
        words = (np.ascontiguousarray(packed), each, more, plain, lane, cast_code(to), start, columns, 0)
        routine = products_routine(at.dtype)
    calls = (Call(routine=routine, words=(*first, *words)), *ends(free, columns, 0))
    used = -(-block * columns * 4 // 64) * 64
    rows = len(found.base)
    return Block(calls=calls, dtype="int32", source=0, columns=columns, rows=rows, block=block, used=used)
