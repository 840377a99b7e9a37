"""Sums whose order counts, planned as routines: registers that saturate on the way, or wide sums checked for it."""

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.engine.accumulator import Ordered
from intsim.engine.lanes import Lane, lane
from intsim.engine.margins import AGAIN, ENOUGH, LENGTHS, Watch, expected, first_guess, watch
from intsim.engine.operands import INT16, INT32, within
from intsim.engine.ordering import (
    CLASSES,
    Site,
    Words,
    block_of,
    call,
    common,
    copies,
    own,
    packed,
    rows_call,
    runs,
    scratch_of,
    site_of,
    walked,
)
from intsim.engine.packing import Walk, checks, pack_columns, pack_pairs, pack_single, straight
from intsim.engine.rooms import Room
from intsim.engine.two_levels import two_levels
from intsim.engine.wide import Block
from intsim.program import Dot
from intsim.ranges import Interval

AGAIN_IN_16_BITS = 1.5
"""How long sums take that saturate after every product in lanes of 16 bits, wide sums being 1; see `margins.AGAIN`."""

SORTED, LOOKED_AT = 8, 0.35
"""What a checked row takes beyond its sums, in products; and the search for its extremes, in sums of a panel."""

WORTH = 0.2
"""The least share of rows that may fail before checks are slower: else they are not worth a try."""


class Narrow(Struct, frozen=True, kw_only=True, eq=False):
    """The fastest block of sums as far as one can tell before anything is seen.

    `other`: saturates after every product, while `block` does so only for rows whose check fails; it is the faster one
    where more than `share` of them fail.
    """

    block: Block
    kernel: str
    other: Block | None = None
    share: float = 1.0


def narrow_inputs(dot: Dot, order: Ordered) -> tuple[str, int] | None:
    """The type and the shift of inputs that are the fastest; None where no routine does these sums.

    Centred ones need no copies of rows, which count where sums are fast; checks, which take raw ones, seldom pay there.
    """
    if len(dot.window.kernel) > 2 or (dot.group > 1 and dot.weight.shape[-1] == 1):
        return None
    fast = order.tile > 1 or order.inner != INT32 or within(order.outer, INT16)
    return "int16", -dot.input_zero_point if fast and not order.folded else 0


def narrow_sums(dot: Dot, order: Ordered, x: Interval, at: Room, settled: int, counts: int) -> Narrow | None:
    """The sums of a Dot on the room `at` of integers in x (its padding included), in the machine's order.

    `settled`: bytes of scratch that each result will take; `counts`: offset of the step's counts. None: no routine
    does these, or a block of one row does not fit the scratch.
    """
    if narrow_inputs(dot, order) is None or at.dtype not in ("int16", "int8", "uint8"):
        return None
    site = site_of(dot, order, x, at, settled)
    if order.tile > 1 or order.inner != INT32:
        found = two_levels(site)
        return None if found is None else Narrow(block=found[0], kernel=found[1])
    return None if order.outer == INT32 else _one_level(site, counts)


# ---- one register ------------------------------------------------------------------------------------------------


def _one_level(site: Site, counts: int) -> Narrow | None:
    """A register that saturates after every product: checked sums, where that pays, or lanes that saturate."""
    always = _saturating(site)
    if always is None:
        return None
    block, held = always
    again = AGAIN_IN_16_BITS if held.bits == 16 else AGAIN
    guess = _guess(site)
    if guess is not None:
        share = 1 - _cost(site, guess) / again
        checked = _checked(site, guess, counts) if share > WORTH else None
        if checked is not None:
            kernel = f"checked tiles, flagged rows again in {held.bits}-bit lanes"
            return Narrow(block=checked, kernel=kernel, other=block, share=share)
    return Narrow(block=block, kernel=f"{held.bits}-bit lanes that saturate")


def _lane(site: Site, *, scaled: bool) -> Lane | None:
    from intsim_kernels import cpu

    w = int(site.w.min()), int(site.w.max())
    return lane(site.order.outer, site.x, w, scaled=scaled, native=cpu.VNNI)


def _registers(site: Site, found: Lane, g: int, walk: Walk, tile: int) -> Words:
    """The parameters of registers that saturate after every product."""
    from intsim_kernels import ordered_tile as o

    start = found.held(pack_columns(own(site, g, site.order.start), tile, np.int64))  # columns beyond come to 0
    return {
        **walked(walk),
        **packed(pack_single(site.w[g] << found.shift_w, walk, tile, found.bits)),
        o.START: start,
        o.SHIFT: found.shift,
        o.OFFSET: found.offset,
        o.LOW: found.low,
        o.HIGH: found.high,
    }


def _saturating(site: Site) -> tuple[Block, Lane] | None:
    """All rows in lanes that saturate after every product."""
    from intsim_kernels import ordered_tile as o
    from intsim_kernels.saturating import columns, saturating_routine

    copied = not site.bare or site.spread
    found = _lane(site, scaled=copied)
    if found is None:
        return None
    width = 1 if site.w.shape[1] <= columns(found.kind, 1) else 2
    tile = columns(found.kind, width)
    scratch = scratch_of(site, tile, copied=copied)
    if scratch is None:
        return None
    calls = [rows_call(site, scratch)]
    for g in range(len(site.w)):
        words = common(site, scratch, g, tile)
        walk = straight(*runs(site, g, copied=copied))
        if copied:
            calls.append(copies(site, scratch, g, found.shift_x, listed=False))
            words[o.ADDRESSES] = scratch.others
        calls.append(call(saturating_routine(found.kind, width), words, _registers(site, found, g, walk, tile)))
    return block_of(site, scratch, calls), found


class _Guess(Struct, frozen=True, kw_only=True, eq=False):
    """Checks after every `size` products, a walk and a watch for each group, of rows in so many classes."""

    size: int
    classes: int
    walks: tuple[Walk, ...]
    watches: tuple[Watch, ...]


def _checked(site: Site, guess: _Guess, counts: int) -> Block | None:
    """Wide sums, checked every so many products, and the rows whose check failed again.

    The check takes inputs that are not centred as they lie, and only what is done again is copied.
    """
    from intsim_kernels import checked_tile as c
    from intsim_kernels import ordered_tile as o
    from intsim_kernels.checked import checked_routine, sorting_routine
    from intsim_kernels.cpu import LANES
    from intsim_kernels.saturating import again_routine

    before, later = site.copied_before_checks, site.copied_after_checks
    found = _lane(site, scaled=later)
    scratch = scratch_of(site, 2 * LANES, copied=before or later)
    if found is None or scratch is None:
        return None
    tile, width, zero = 2 * LANES, 1 if found.bits == 16 else 2, site.zero if later else 0
    calls = [rows_call(site, scratch)]
    for g, (walk, seen) in enumerate(zip(guess.walks, guess.watches, strict=True)):
        words = common(site, scratch, g, tile)
        whole = straight(*runs(site, g, copied=before))
        if before:
            calls.append(copies(site, scratch, g, 0, listed=False))
            words[o.ADDRESSES] = scratch.others
        start = own(site, g, site.order.start) - zero * site.w[g].sum(1)
        check = {
            **walked(walk),
            **packed(pack_pairs(site.w[g], walk, tile)),
            o.START: pack_columns(start, tile, np.int32),
            c.LIST: scratch.listed,
            c.COUNTS: counts,
            c.CLASSES: guess.classes,
            c.EXTREMES: seen.extremes,
            c.OFF: seen.off,
            c.ROOM: seen.room,
            c.SPANS: whole.pieces,
            c.SPAN_COUNT: len(whole.pieces),
        }
        calls += [call(routine, words, check) for routine in (sorting_routine("pairs"), checked_routine("pairs", 2))]
        if later:
            calls.append(copies(site, scratch, g, found.shift_x, listed=True))
            words[o.ADDRESSES] = scratch.others
            whole = straight(*runs(site, g, copied=True))
        words[c.LIST] = scratch.listed
        calls.append(call(again_routine(found.kind, width, 1), words, _registers(site, found, g, whole, tile)))
    return block_of(site, scratch, calls)


def _guess(site: Site) -> _Guess | None:
    """The checks that are likely the fastest, before anything is seen; None where none would ever pass.

    Rows of one class where that leaves enough room: to tell rows apart takes time.
    """
    for classes in (1, CLASSES):
        found = {size: _watched(site, size, classes) for size in LENGTHS}
        rooms = {
            size: replace(one.watches[0], room=np.concatenate([watch.room for watch in one.watches], 1))
            for size, one in found.items()
        }
        low, high = site.order.outer
        best = first_guess(rooms, (low, high))
        if best is not None and (classes > 1 or np.median(rooms[best].room) >= ENOUGH * (high - low)):
            return found[best]
    return None


def _watched(site: Site, size: int, classes: int) -> _Guess:
    from intsim_kernels.cpu import LANES

    zero = 0 if site.copied_before_checks else site.zero
    held = site.x[0] + zero, site.x[1] + zero
    walks, watches = list[Walk](), list[Watch]()
    for g, w in enumerate(site.w):
        walks.append(checks(*runs(site, g, copied=site.copied_before_checks), size))
        start = own(site, g, site.order.start)
        watches.append(watch(w, walks[-1], 2 * LANES, held, start, site.order.outer, zero=zero, classes=classes))
    return _Guess(size=size, classes=classes, walks=tuple(walks), watches=tuple(watches))


def _cost(site: Site, guess: _Guess) -> float:
    """How long sums take whose checks all pass, wide sums being 1, and sorted."""
    from intsim_kernels.cpu import LANES

    _, each, depth = site.w.shape
    row = SORTED / depth if guess.classes == 1 else 3 * SORTED / depth + LOOKED_AT
    return expected(guess.size, 0) + row / -(-each // (2 * LANES))
