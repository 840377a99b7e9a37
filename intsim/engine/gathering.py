"""Integers moved, planned as routines: Rearrange, Take, Pad; and Interpolate, which mixes neighbours."""

import itertools

import numpy as np

from intsim.engine.calls import Call, Native
from intsim.engine.elements import anything, clamped, settled_sums, told, words_of
from intsim.engine.moving import as_rescale
from intsim.engine.rescale import plan_rescale
from intsim.engine.rooms import Room
from intsim.engine.runs import Runs, offsets, runs
from intsim.engine.settling import settles
from intsim.ops.wiring import rearrange_meaning, take_meaning, where
from intsim.program import Interpolate, Pad, Rearrange, Take, Tensor
from intsim.ranges import Interval

GATHERED = 4
"""Runs shorter than this are gathered integer by integer."""


def rearrange(compute: Rearrange, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """Axes and shapes: a copy where runs stay, else integer by integer."""
    return _from(rearrange_meaning(compute, offsets(at, x.shape)[None])[0], at, out)


def take(compute: Take, x: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """Some integers along each axis."""
    return _from(take_meaning(compute, offsets(at, x.shape)[None])[0], at, out)


def _from(source: np.ndarray, at: Room, out: Room) -> tuple[Native, ...]:
    """The integers at those places (bytes from an image's start), in that order."""
    goal = offsets(out, source.shape)
    found = runs([(at, source), (out, goal)])
    if found.length >= GATHERED or found.count == 1:
        return (clamped(found, at, out, 0, anything(out)),)
    return _gathered(source, goal, at, out)


def _gathered(source: np.ndarray, goal: np.ndarray, at: Room, out: Room) -> tuple[Native, ...]:
    from intsim_kernels.elements import element

    found = runs([(out, goal)])
    index = (source.reshape(found.count, -1) // at.item).astype(np.int32)
    begin = Runs(length=found.length, base=(np.zeros(found.count, np.int64), *found.base))
    words = (*words_of(begin, at, out), index, out.shift - at.shift)
    return (Native(calls=(Call(routine=element("gathered", at.dtype, out.dtype), words=words),), rows=found.count),)


def pad(compute: Pad, x: Tensor, y: Tensor, at: Room, out: Room) -> tuple[Native, ...]:
    """One value everywhere, then what it surrounds."""
    from intsim_kernels.elements import element

    goal = offsets(out, y.shape)
    whole = runs([(out, goal), (out, goal)])
    words = (*words_of(whole, out, out), compute.value + out.shift)
    fill = Call(routine=element("filled", out.dtype, out.dtype), words=words)
    found = runs([(at, offsets(at, x.shape)), (out, goal[where(compute, x.shape)])])
    return Native(calls=(fill,), rows=whole.count), clamped(found, at, out, 0, anything(out))


def interpolate(mix: Interpolate, x: Tensor, known: Interval, at: Room, out: Room) -> tuple[Native, ...] | None:
    """Each place of the result is a sum of the runs of channels around it, by their weights."""
    from intsim_kernels.mixing import mixing

    if mix.weights:
        return None
    axes, channels = len(mix.lower), x.shape[-1]
    unit = 1 << mix.bits * axes
    ends = (known[0] * unit, known[1] * unit)
    if max(map(abs, ends)) >= 1 << 60:
        return None
    requantizer = plan_rescale(as_rescale(mix, known), channels, ends)
    if not settles(requantizer, channels, out.shift):
        return None
    sums = "int32" if requantizer.narrow else "int64"
    places = offsets(at, x.shape)[..., 0]
    corners = list(itertools.product((0, 1), repeat=axes))
    base = np.stack([_corner(mix, places, corner) for corner in corners], -1).reshape(-1, len(corners))
    weights = np.stack([_weights(mix, corner) for corner in corners], -1).reshape(-1, len(corners))
    shape = (*map(len, mix.lower), channels)
    goal = np.ascontiguousarray(offsets(out, shape)[..., 0].ravel())
    found = Runs(length=channels, base=(base[:, 0], base[:, 0], goal))
    words = (found.count, channels, *told(at, np.zeros(1, np.int64)), *told(out, goal))
    more = (len(corners), np.ascontiguousarray(base), weights.astype(sums), -at.shift * unit, 0)
    return settled_sums(found, Call(routine=mixing(at.dtype, sums), words=(*words, *more)), requantizer, out)


def _corner(mix: Interpolate, places: np.ndarray, corner: tuple[int, ...]) -> np.ndarray:
    """Where the neighbours on these sides lie, for every place of the result."""
    return places[np.ix_(*(sides[up] for up, *sides in zip(corner, mix.lower, mix.upper, strict=True)))]


def _weights(mix: Interpolate, corner: tuple[int, ...]) -> np.ndarray:
    """What they are multiplied by."""
    whole = np.ones((1,) * len(corner), np.int64)
    for axis, (up, f) in enumerate(zip(corner, mix.fraction, strict=True)):
        along = (f if up else (1 << mix.bits) - f).reshape(-1, *(1,) * (len(corner) - axis - 1))
        whole = whole * along
    return whole
