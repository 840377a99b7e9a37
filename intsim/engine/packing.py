"""Weights packed for the micro-kernels, and how these walk over a row's operands."""

from itertools import pairwise

import numpy as np
from msgspec import Struct


class Walk(Struct, frozen=True, kw_only=True, eq=False):
    """A row's operands in the order in which a kernel takes them; `ordered_tile` says what the tables mean.

    `pieces` int64 `[p, 2]`: offset in bytes from the row's start, and groups. `blocks` int64 `[b]`: pieces of
    each. `index` `[groups, operands in a group]`: which product k of the machine's order each place of a group is, -1
    where there is none.
    """

    pieces: np.ndarray
    blocks: np.ndarray
    index: np.ndarray

    @property
    def groups(self) -> np.ndarray:
        """Groups of each block, `[b]`."""
        return np.add.reduceat(self.pieces[:, 1], np.cumsum(self.blocks) - self.blocks)


def tiles(offsets: np.ndarray, length: int, size: int, per_group: int = 2, item: int = 2) -> Walk:
    """The walk over segments of `length` operands, `offsets` in bytes, in blocks of exactly `size` products.

    `per_group`: operands of a group; `item`: bytes of an operand. A segment that ends inside a group, and a block that
    ends inside one, leave the rest of the group empty.
    """
    total = len(offsets) * length
    cuts = sorted({*range(0, total, length), *range(0, total, size), total})
    return _walk(offsets, length, cuts, [k for k in cuts if k % size == 0 or k == total], per_group, item)


def checks(offsets: np.ndarray, length: int, size: int, per_group: int = 2, item: int = 2) -> Walk:
    """The same in blocks of about `size` products that end where groups end: what cuts nothing in two."""
    whole = -(-length // per_group)
    parts = max(1, round(length / size))
    inside = [min(per_group * (whole * i // parts), length) for i in range(parts + 1)]
    cuts = sorted({s * length + k for s in range(len(offsets)) for k in inside})
    ends, last = [0], 0
    for k in cuts[1:]:
        if k - last > size - (per_group * whole // parts) // 2 or k == cuts[-1]:
            ends.append(k)
            last = k
    return _walk(offsets, length, cuts, ends, per_group, item)


def straight(offsets: np.ndarray, length: int, per_group: int = 2, item: int = 2) -> Walk:
    """The same in one block: where nothing happens but at the end."""
    return tiles(offsets, length, len(offsets) * length, per_group, item)


def _walk(offsets: np.ndarray, length: int, cuts: list[int], ends: list[int], per_group: int, item: int) -> Walk:
    pieces, index = [], []
    for begin, end in pairwise(cuts):
        groups = -(-(end - begin) // per_group)
        pieces.append((int(offsets[begin // length]) + begin % length * item, groups))
        k = np.full(groups * per_group, -1)
        k[: end - begin] = np.arange(begin, end)
        index.append(k.reshape(groups, per_group))
    closed = np.searchsorted(cuts, ends)
    return Walk(pieces=np.array(pieces, np.int64), blocks=np.diff(closed).astype(np.int64), index=np.concatenate(index))


# ---- weights `[outputs, k]` in the machine's order ---------------------------------------------------------------


def pack(weight: np.ndarray, walk: Walk, columns: int, dtype: type) -> np.ndarray:
    """`[panels][group][column][operands in a group]`, the outputs filled up with zeros to whole panels."""
    outputs = len(weight)
    panels = -(-outputs // columns)
    taken = np.where(walk.index >= 0, weight[:, walk.index], 0)
    packed = np.zeros((panels * columns, *walk.index.shape), dtype)
    packed[:outputs] = taken
    if (packed[:outputs] != taken).any():
        raise ValueError(f"weights from {weight.min()} to {weight.max()} do not fit {np.dtype(dtype)}")
    return np.ascontiguousarray(packed.reshape(panels, columns, *walk.index.shape).transpose(0, 2, 1, 3))


def pack_pairs(weight: np.ndarray, walk: Walk, columns: int) -> np.ndarray:
    """Both products of a group at once: int16 `[panels][group][column][2]`."""
    return pack(weight, walk, columns, np.int16)


def pack_quads(weight: np.ndarray, walk: Walk, columns: int) -> np.ndarray:
    """Four products of a group at once: int8 `[panels][group][column][4]`, of a walk with 4 in a group."""
    return pack(weight, walk, columns, np.int8)


def pack_single(weight: np.ndarray, walk: Walk, columns: int, bits: int) -> np.ndarray:
    """One product a lane of 16 or 32 bits at a time, int16: `[panels][group][2][column]`, `[..., column][2]`."""
    pairs = pack_pairs(weight, walk, columns)
    if bits == 16:
        return np.ascontiguousarray(pairs.transpose(0, 1, 3, 2))
    single = np.zeros((*pairs.shape[:2], 2, columns, 2), np.int16)
    for half in range(2):
        single[:, :, half, :, half] = pairs[..., half]
    return single


def pack_steps(weight: np.ndarray, walk: Walk, columns: int) -> np.ndarray:
    """All the pairs of a group: int16 `[panels][group][pair][column][2]`."""
    flat = pack_pairs(weight, walk, columns)
    pairs = flat.reshape(*flat.shape[:3], -1, 2)
    return np.ascontiguousarray(pairs.transpose(0, 1, 3, 2, 4))


def pack_columns(values: np.ndarray, columns: int, dtype: type) -> np.ndarray:
    """`[panels * columns]`: what stands once for each output, filled up with zeros."""
    packed: np.ndarray = np.zeros(-(-len(values) // columns) * columns, dtype)
    packed[: len(values)] = values
    return packed
