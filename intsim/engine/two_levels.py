"""Tiles of products that saturate or not, and a register that they go into, which saturates or not, as routines."""

from collections.abc import Callable

import numpy as np

from intsim.engine.operands import INT32, within
from intsim.engine.ordering import (
    Site,
    block_of,
    call,
    common,
    copies,
    own,
    packed,
    rows_call,
    runs,
    scratch_of,
    walked,
)
from intsim.engine.packing import Walk, pack_columns, pack_pairs, pack_single, pack_steps, straight, tiles
from intsim.engine.wide import Block


def two_levels(site: Site) -> tuple[Block, str] | None:
    """The sums of a Dot and what does them; None where a block of one row does not fit the scratch."""
    from intsim_kernels import ordered_tile as o
    from intsim_kernels.cpu import LANES
    from intsim_kernels.saturating import stepped_routine, two_level_routine

    order, width = site.order, 1 if site.w.shape[1] <= LANES else 2
    inner, outer, tile = order.inner != INT32, order.outer != INT32, width * LANES
    products = [a * b for a in site.x for b in (int(site.w.min()), int(site.w.max()))]
    once = order.tile == 1 or (order.tile == 2 and within((min(products), max(products)), order.inner))
    stepped = order.tile in (2, 4, 8) and (not inner or once)
    copied = not site.bare or site.spread or (stepped and len(site.offsets) > 1 and site.length % order.tile != 0)
    scratch = scratch_of(site, tile, copied=copied)
    if scratch is None:
        return None
    pack: Callable[[np.ndarray, Walk, int], np.ndarray] = pack_steps if stepped else pack_pairs
    if stepped:
        routine = stepped_routine(order.tile // 2, inner, outer, width)
    else:
        routine = two_level_routine("exact" if not inner else "pairs" if once else "limits", width)
    calls = [rows_call(site, scratch)]
    for g, w in enumerate(site.w):
        words = common(site, scratch, g, tile)
        if copied:
            calls.append(copies(site, scratch, g, 0, listed=False))
            words[o.ADDRESSES] = scratch.others
        where = runs(site, g, copied=copied)
        walk = straight(*where, order.tile) if stepped else tiles(*where, order.tile)
        single = not stepped and inner and not once
        here = {
            **walked(walk),
            **packed(pack_single(w, walk, tile, 32) if single else pack(w, walk, tile)),
            o.START: pack_columns(own(site, g, order.start), tile, np.int32),
            o.LOW: order.outer[0],
            o.HIGH: order.outer[1],
            o.INNER_LOW: order.inner[0],
            o.INNER_HIGH: order.inner[1],
        }
        calls.append(call(routine, words, here))
    kernel = f"{'saturating' if inner else 'exact'} tiles in {'steps' if stepped else 'blocks'}"
    if outer:
        kernel += ", a register that saturates"
    return block_of(site, scratch, calls), kernel
