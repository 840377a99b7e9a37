"""Functions of one integer and products of two, planned as routines: Lookup, Multiply, pairs with a constant."""

import numpy as np

from intsim.engine.calls import Call, Native
from intsim.engine.elements import FAR, LARGEST, SUMMED, looked_up, settled_sums, spread, told, values_of, words_of
from intsim.engine.pairs import products
from intsim.engine.rescale import plan_rescale
from intsim.engine.rooms import Room
from intsim.engine.runs import offsets, runs
from intsim.engine.settling import settles
from intsim.engine.step import Run
from intsim.program import Add, Extreme, Lookup, Multiply, Tensor
from intsim.ranges import Interval


def lookup(compute: Lookup, x: Tensor, at: Room, out: Room) -> tuple[Native, ...] | None:
    """Any function of one integer."""
    return tabled(compute.table.astype(np.int64), x, at, out)


def tabled(table: np.ndarray, x: Tensor, at: Room, out: Room) -> tuple[Native, ...] | None:
    """`table[entries]`, or `[entries, c]`, for the integers of x's type."""
    from intsim_kernels.elements import element

    if table.ndim == 1:
        found = runs([(at, offsets(at, x.shape)), (out, offsets(out, x.shape))])
        return (looked_up(found, at, out, x.affine.type, lambda _: table),)
    channels = table.shape[1]
    found = runs([(at, offsets(at, x.shape)), (out, offsets(out, x.shape))], channels)
    if channels % found.length:
        return None
    flat = np.ascontiguousarray(table.T + out.shift).astype(out.dtype).ravel()
    words = (*words_of(found, at, out), flat, len(flat), x.affine.type.low + at.shift, len(table), channels)
    return (
        Native(calls=(Call(routine=element("looked_up_each", at.dtype, out.dtype), words=words),), rows=found.count),
    )


def by_channel(
    pair: Add | Multiply | Extreme, run: Run, x: Tensor, y: Tensor, at: Room, out: Room
) -> tuple[Native, ...] | None:
    """A pair whose constant is one integer for all or one per channel: a table of what `run` makes of every integer."""
    constant = pair.constant
    if constant is None or x.shape != y.shape or values_of(x) > LARGEST or constant.size not in (1, constant.shape[-1]):
        return None
    channels = y.shape[-1]
    integers = np.arange(x.affine.type.low, x.affine.type.high + 1).astype(x.affine.type.dtype)
    ramp = integers.reshape(-1, *(1 for _ in x.shape))
    table = run(np.broadcast_to(ramp, (*ramp.shape[:-1], channels))).reshape(-1, channels).astype(np.int64)
    return tabled(table if constant.size > 1 else table[:, 0], x, at, out)


def multiply(
    compute: Multiply,
    known: list[Interval],
    xs: list[Tensor],
    y: Tensor,
    rooms: list[Room],
    out: Room,
    only: np.ndarray | None = None,
) -> tuple[Native, ...] | None:
    """Products of two activations, requantized; of some integers `only`: bool of y's shape."""
    from intsim_kernels.elements import multiplying

    found = spread([*xs, y], [*rooms, out], SUMMED, only)
    ends = products(compute, known)
    if max(abs(end) for end in ends) >= FAR:
        return None
    requantizer = plan_rescale(compute.rescale, found.length, ends)
    if not settles(requantizer, found.length, out.shift):
        return None
    (za, zb), (a, b) = compute.zero_points, rooms
    words = [found.count, found.length, *told(a, found.base[0]), *told(out, found.base[2]), *told(b, found.base[1])]
    routine = multiplying(a.dtype, b.dtype, "int32" if requantizer.narrow else "int64")
    first = Call(routine=routine, words=(*words, za + a.shift, zb + b.shift, 0))
    return settled_sums(found, first, requantizer, out)
