"""Linear functions of a tensor traced back to the image, step by step: what they are at least over the whole box.

A row is a function sum(coefficient q) + constant of the integers of one or more tensors. Each step replaces its
output's integers by the line that lies on the safe side, so the constant only loses; what the float operations on the
way may lose is added up in `lost` (`SLACK` of all that went into each of them) and taken off in the end.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.certify.dots import centred, cuts_of
from intsim.certify.lines import SLACK, Lines
from intsim.certify.steps import Ends, centre
from intsim.ops import meaning
from intsim.ops.dot import shape_of_dot
from intsim.ops.pool import shape_of_pool
from intsim.program import AveragePool, Clip, Convert, Dot, MaxPool, Offset, Pad, Rearrange, Step, Take

TINY = 1e-200
"""More than all underflows of a row together."""


class Rows(Struct, kw_only=True):
    """`of`: coefficients `[r, *shape]` by tensor; `constant`, `lost`: `[r]`."""

    of: dict[str, np.ndarray]
    constant: np.ndarray
    lost: np.ndarray


def rows_of(tensor: str, coefficients: np.ndarray) -> Rows:
    """The rows of one tensor's integers `[r, *shape]`."""
    none = np.zeros(len(coefficients))
    return Rows(of={tensor: coefficients}, constant=none, lost=none.copy())


def least(rows: Rows, steps: Sequence[Step], known: Mapping[str, Ends], drawn: Mapping[str, Lines]) -> np.ndarray:
    """Below every value of the rows for one image's box, `[r]`; `steps` are those before the tensors of the rows.

    `known`: every tensor's ends `[1, ...]`; `drawn`: the lines of the steps that have any.
    """
    for step in reversed(steps):
        name = step.outputs[0]
        if name in rows.of:
            here = rows.of.pop(name)
            if not _traced(rows, step, here, known, drawn.get(name)):
                _settled(rows, here, known[name])
    for name in list(rows.of):
        _settled(rows, rows.of.pop(name), known[name])
    return rows.constant - 2 * rows.lost - TINY - SLACK * np.abs(rows.constant)


def _traced(rows: Rows, step: Step, here: np.ndarray, known: Mapping[str, Ends], drawn: Lines | None) -> bool:
    """Whether the rows were taken from the step's output to its inputs."""
    compute, source = step.compute, step.inputs[0]
    ends = known[source]
    match compute:
        case Rearrange() | Take() | Pad():
            _along(rows, source, compute, here, ends)
        case Offset():
            _constant(rows, here, np.full(here.shape[1:], float(compute.offset)))
            _put(rows, source, here, ends)
        case MaxPool():
            _through_largest(rows, source, compute, here, ends)
        case Convert() if all(rule is None for rule in compute.rescales) and compute.rest is None:
            first = 0
            for name in step.inputs:
                size = known[name][0].shape[compute.axis + 1]
                _put(rows, name, here.take(range(first, first + size), compute.axis + 1), known[name])
                first += size
        case Dot() | AveragePool() | Clip() if drawn is not None:
            slopes = _on_lines(rows, here, drawn)
            if isinstance(compute, Dot):
                through_dot(rows, source, compute, slopes, ends)
            elif isinstance(compute, AveragePool):
                _through_sum(rows, source, compute, slopes, ends)
            else:
                far = np.maximum(np.abs(ends[0]), np.abs(ends[1])).reshape(-1, slopes.shape[-1]).max(0)
                _shared(rows, slopes, far.astype(np.float64), np.zeros(slopes.shape[-1]))
                _put(rows, source, slopes, ends)
        case _:
            return False
    return True


def _settled(rows: Rows, here: np.ndarray, ends: Ends) -> None:
    """The rows of a tensor at the worst of its ends."""
    flat = here.reshape(len(here), -1)
    low, high = (side.ravel().astype(np.float64) for side in ends)
    rows.constant += np.maximum(flat, 0) @ low + np.minimum(flat, 0) @ high
    rows.lost += SLACK * (np.abs(flat) @ np.maximum(np.abs(low), np.abs(high)))


def _put(rows: Rows, tensor: str, here: np.ndarray, ends: Ends) -> None:
    """More rows on a tensor's integers: where there are some already, the coefficients are added up, and rounded."""
    before = rows.of.get(tensor)
    rows.of[tensor] = here if before is None else before + here
    if before is not None:
        flat = (np.abs(before) + np.abs(here)).reshape(len(here), -1)
        rows.lost += SLACK * (flat @ np.maximum(np.abs(ends[0]), np.abs(ends[1])).ravel().astype(np.float64))


def _constant(rows: Rows, here: np.ndarray, values: np.ndarray) -> None:
    """The rows' integers have these values."""
    flat, v = here.reshape(len(here), -1), values.ravel()
    rows.constant += flat @ v
    rows.lost += SLACK * (np.abs(flat) @ np.abs(v))


def _on_lines(rows: Rows, here: np.ndarray, drawn: Lines) -> np.ndarray:
    """The output on the line below it where a coefficient is positive, above it elsewhere: coefficients of the sums."""
    up, down = np.maximum(here, 0), np.minimum(here, 0)
    _constant(rows, up, drawn.below)
    _constant(rows, down, drawn.above)
    return np.asarray(up * drawn.below_slope + down * drawn.above_slope)


def through_dot(rows: Rows, source: str, dot: Dot, here: np.ndarray, ends: Ends) -> None:
    """The rows of accumulators sum (x - zx)(w - zw) + b: the coefficients of x, as a transposed convolution."""
    win, shape, outputs, depth = dot.window, ends[0].shape[1:], len(dot.weight), dot.weight.shape[-1]
    weight, each = centred(dot).astype(np.float64), outputs // dot.group
    padded = tuple(b + size + e for b, size, e in zip(win.begin, shape[:-1], win.end, strict=True))
    found = np.zeros((len(here), *padded, shape[-1]))
    for tap, cut in zip(np.ndindex(win.kernel), cuts_of(dot, shape_of_dot(dot, shape)[:-1]), strict=True):
        for g in range(dot.group):
            own = weight[(slice(g * each, (g + 1) * each), *tap)]
            part = found[(slice(None), *cut, slice(g * depth, (g + 1) * depth))]
            part += here[..., g * each : (g + 1) * each] @ own
    inner = tuple(slice(b, b + size) for b, size in zip(win.begin, shape[:-1], strict=True))
    _shared(rows, here, _far(dot, ends), dot.bias.astype(np.float64))
    found = found[(slice(None), *inner)]
    _constant(rows, found, np.full(shape, -float(dot.input_zero_point)))
    _put(rows, source, found, ends)


def _far(dot: Dot, ends: Ends) -> np.ndarray:
    """No less than sum |w - zw| (|x| + |zx|) can be, `[o]`."""
    x = max(abs(int(ends[0].min())), abs(int(ends[1].max()))) + abs(dot.input_zero_point)
    return np.abs(centred(dot)).reshape(len(dot.weight), -1).sum(1) * float(x)


def _shared(rows: Rows, here: np.ndarray, far: np.ndarray, constants: np.ndarray) -> None:
    """What sums of magnitude `far` and their constants, `[c]` each, add to the rows, and what their floats may lose."""
    summed = here.reshape(len(here), -1, here.shape[-1]).sum(1)
    sizes = np.abs(here).reshape(len(here), -1, here.shape[-1]).sum(1)
    rows.constant += summed @ constants
    rows.lost += SLACK * (sizes @ (2 * far + 2 * np.abs(constants)))


def _through_sum(rows: Rows, source: str, pool: AveragePool, here: np.ndarray, ends: Ends) -> None:
    """sum (x - z) over the window; padding, where it counts, is the zero point."""
    shape, win, zero = ends[0].shape[1:], pool.window, centre(pool)
    places, padded, inner = _margins(pool, shape)
    found = np.zeros((len(here), *padded, shape[-1]))
    for tap in np.ndindex(win.kernel):
        found[(slice(None), *_cut(pool, tap, places))] += here
    taps = float(np.prod(win.kernel))
    x = max(abs(int(ends[0].min())), abs(int(ends[1].max())), abs(pool.input_zero_point)) + abs(zero)
    outer = found.copy()
    outer[(slice(None), *inner)] = 0
    _constant(rows, outer, np.full(outer.shape[1:], float(pool.input_zero_point)))
    _constant(rows, found, np.full(found.shape[1:], -float(zero)))
    _shared(rows, here, np.full(shape[-1], taps * x), np.zeros(shape[-1]))
    _put(rows, source, found[(slice(None), *inner)], ends)


def _margins(
    pool: MaxPool | AveragePool, shape: tuple[int, ...]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[slice, ...]]:
    """The places, the padded sizes, and where the input lies in them."""
    win = pool.window
    padded = tuple(b + size + e for b, size, e in zip(win.begin, shape[:-1], win.end, strict=True))
    inner = tuple(slice(b, b + size) for b, size in zip(win.begin, shape[:-1], strict=True))
    return shape_of_pool(pool, shape)[:-1], padded, inner


def _cut(pool: MaxPool | AveragePool, tap: tuple[int, ...], places: tuple[int, ...]) -> tuple[slice, ...]:
    win = pool.window
    return tuple(
        slice(t * d, t * d + (p - 1) * s + 1, s)
        for t, d, s, p in zip(tap, win.dilations, win.strides, places, strict=True)
    )


def _through_largest(rows: Rows, source: str, pool: MaxPool, here: np.ndarray, ends: Ends) -> None:
    """The largest is no less than any; it is no more than the largest end, or it is the one that is always largest."""
    shape = ends[0].shape[1:]
    places, padded, inner = _margins(pool, shape)
    margins = [*zip(pool.window.begin, pool.window.end, strict=True), (0, 0)]
    taps = list(np.ndindex(pool.window.kernel))
    lowest = int(ends[0].min()) - 1
    low, high = (
        np.stack([np.pad(side[0], margins, constant_values=lowest)[_cut(pool, tap, places)] for tap in taps])
        for side in ends
    )
    best = low.argmax(0)
    mine = np.arange(len(taps)).reshape(-1, *(1,) * best.ndim) == best
    sure = (np.where(mine, lowest, high) <= low.max(0)).all(0)
    down = np.where(sure, 0.0, np.minimum(here, 0))
    _constant(rows, down, high.max(0).astype(np.float64))
    kept, found = here - down, np.zeros((len(here), *padded, shape[-1]))
    for tap, own in zip(taps, mine, strict=True):
        found[(slice(None), *_cut(pool, tap, places))] += kept * own
    rows.lost += SLACK * (np.abs(kept).reshape(len(here), -1) @ np.abs([low, high]).max((0, 1)).ravel().astype(float))
    _put(rows, source, found[(slice(None), *inner)], ends)


def _along(rows: Rows, source: str, wires: Rearrange | Take | Pad, here: np.ndarray, ends: Ends) -> None:
    """Back to where each integer came from; those that came from nowhere have the padding's value."""
    shape = ends[0].shape[1:]
    size = int(np.prod(shape))
    marked = replace(wires, value=-1) if isinstance(wires, Pad) else wires
    at = meaning(marked, np.arange(size).reshape(1, *shape)).ravel()
    flat, found = here.reshape(len(here), -1), np.zeros((len(here), size))
    from_there = at >= 0
    if isinstance(wires, Pad) and not from_there.all():
        _constant(rows, flat[:, ~from_there], np.full(int((~from_there).sum()), float(wires.value)))
    if isinstance(wires, Take):
        np.add.at(found.T, at, flat.T)
        rows.lost += SLACK * np.abs(flat).sum(1) * float(max(np.abs(ends[0]).max(), np.abs(ends[1]).max()))
    else:
        found[:, at[from_there]] = flat[:, from_there]
    _put(rows, source, found.reshape(len(here), *shape), ends)
