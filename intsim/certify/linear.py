"""The interval certificate made tighter: sums and differences of outputs traced back to the image by lines."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.certify.backward import Rows, least, rows_of, through_dot
from intsim.certify.carried import Carried, carried, tail
from intsim.certify.dots import Sums, settled
from intsim.certify.lines import Curve, Lines, curve, level, lines, only
from intsim.certify.rescales import rescaled
from intsim.certify.spans import Span, span
from intsim.certify.steps import Ends, averages, counted, window_sums
from intsim.errors import IntsimError
from intsim.program import AveragePool, Clip, Dot, Program, Step
from intsim.target import Float32Average

AT_ONCE = 1 << 22
"""Coefficients of the widest tensor that are held at a time."""

WORK = 1 << 33
"""Products that tracing one layer's sums back may take an image; of larger layers the intervals stay."""

LARGEST = 1 << 16
"""Integers of a tensor; of more the slack of `lines` would not cover what a sum of floats may lose."""


class Tightened(Struct, frozen=True, kw_only=True, eq=False):
    """The output's ends `[n, ...]`, whether no accumulator of a step overflows, and the label that is proven or -1."""

    ends: Ends
    free: dict[str, np.ndarray]
    label: np.ndarray


def tightened(program: Program, first: Carried, label: np.ndarray) -> Tightened:
    """What linear bounds add to the boxes' intervals, image by image; `label` is what those have proven.

    Raises IntsimError for a Program with a tensor of more than 65,536 integers.
    """
    widest = max(int(np.prod(tensor.shape)) for tensor in program.tensors.values())
    if widest > LARGEST:
        raise IntsimError(f"a tensor has {widest} integers", where=program.name, mend='use the method "interval"')
    curves = {step.name: _curve(step, first) for step in program.steps}
    output = next(iter(program.outputs.values())).tensor
    inputs = [door.tensor for door in program.inputs.values()]
    ends, free, labels = [], list[dict[str, np.ndarray]](), label.copy()
    for i in range(len(label)):
        drawn = dict[str, Lines]()
        boxes = {name: (first.known[name][0][i : i + 1], first.known[name][1][i : i + 1]) for name in inputs}

        def tighten(step: Step, sums: Sums, known: dict[str, Ends], drawn: dict[str, Lines] = drawn) -> Sums:
            return _tighter(program, step, sums, known, drawn)

        def told(step: Step, sums: Sums | None, known: dict[str, Ends], drawn: dict[str, Lines] = drawn) -> None:
            line = _lines(step, sums, known, curves[step.name])
            if line is not None:
                drawn[step.outputs[0]] = line

        found = carried(program, boxes, tighten=tighten, told=told)
        ends.append(found.known[output])
        free.append(found.free)
        if labels[i] < 0:
            labels[i] = _label(program, output, found.known, drawn)
    return Tightened(
        ends=(np.concatenate([low for low, _ in ends]), np.concatenate([high for _, high in ends])),
        free={name: np.concatenate([one[name] for one in free]) for name in first.free},
        label=labels,
    )


# ---- lines of a step -------------------------------------------------------------------------------------------


def _curve(step: Step, first: Carried) -> Curve | None:
    """The curve of a step's rounding over all sums of the batch."""
    compute = step.compute
    if isinstance(compute, Clip):
        none = np.zeros(1)
        ends = float(compute.low), float(compute.high)
        return Curve(slope=none + 1, offset=none, low=ends[0], high=ends[1], under=none, over=none)
    if isinstance(compute, AveragePool) and not isinstance(compute.rule, Float32Average):
        n, _, along = counted(compute, first.known[step.inputs[0]][0].shape[1:])
        if (n != n.flat[0]).any() or any((one != one.flat[0]).any() for one in along):
            return None
        one, sides = n.reshape(-1)[:1], [side.reshape(-1)[:1] for side in along]
        sums = window_sums(compute, *first.known[step.inputs[0]])

        def average(s: Span) -> Span:
            return averages(compute, s, one, sides)

        return curve(average, *_range(sums), *_limits(first, step))
    if not isinstance(compute, Dot) or first.sums[step.name].exactly.low.dtype == object:
        return None
    rescale, sums = compute.rescale, first.sums[step.name].exactly
    behind, found = tail(rescale, sums.low.shape), []
    for tailed in (False, True)[: 1 + bool(behind.any())]:

        def rounded(s: Span, tailed: bool = tailed) -> Span:
            return rescaled(rescale, s, tail=tailed)

        found.append(curve(rounded, *_range(sums), rescale.low, rescale.high))
    if len(found) == 1 or found[0] is None or found[1] is None:
        return found[0] if len(found) == 1 else None
    fields = ("slope", "offset", "under", "over")
    return replace(found[0], **{f: np.where(behind, getattr(found[1], f), getattr(found[0], f)) for f in fields})


def _range(sums: Span) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest sum of every channel."""
    channels = sums.low.shape[-1]
    return sums.low.reshape(-1, channels).min(0), sums.high.reshape(-1, channels).max(0)


def _limits(first: Carried, step: Step) -> tuple[int, int]:
    low, high = first.known[step.outputs[0]]
    return int(low.min()), int(high.max())


def _lines(step: Step, sums: Sums | None, known: Mapping[str, Ends], of: Curve | None) -> Lines | None:
    """The lines of one image's step; None where its rows go on without, or end there."""
    ends, compute = known[step.outputs[0]], step.compute
    here = ends[0][0], ends[1][0]
    if of is None:
        return None
    if isinstance(compute, Clip):
        low, high = known[step.inputs[0]]
        return lines(of, low[0], high[0], here)
    if isinstance(compute, AveragePool):
        found = window_sums(compute, *known[step.inputs[0]])
        return lines(of, found.low[0], found.high[0], here)
    assert sums is not None
    if not sums.exact.any():
        return level(here)
    return only(sums.exact[0], lines(of, sums.exactly.low[0], sums.exactly.high[0], here), here)


# ---- rows ------------------------------------------------------------------------------------------------------


def _tighter(program: Program, step: Step, sums: Sums, known: Mapping[str, Ends], drawn: Mapping[str, Lines]) -> Sums:
    """The exact sums' ends where rows that are traced back to the image say more."""
    dot, before = step.compute, _before(program, step)
    assert isinstance(dot, Dot)
    exact, low, high = sums.exact[0], sums.exactly.low, sums.exactly.high
    if not any(isinstance(one.compute, Dot) for one in before) or low.dtype == object:
        return sums
    places = np.flatnonzero(exact & (low[0] < high[0]))
    shapes = [known[one.inputs[0]][0][0].size for one in (*before, step)]
    macs = [
        one.compute.weight[0].size * known[one.outputs[0]][0].size for one in before if isinstance(one.compute, Dot)
    ]
    if len(places) == 0 or 2 * len(places) * (sum(macs) + low.size * dot.weight[0].size) > WORK:
        return sums
    least_, most = low.copy().reshape(-1), high.copy().reshape(-1)
    at_once = max(1, AT_ONCE // max(*shapes, low.size))
    for first in range(0, len(places), at_once):
        some = places[first : first + at_once]
        for sign, side in ((1, least_), (-1, most)):
            here = np.zeros((len(some), low.size))
            here[np.arange(len(some)), some] = sign
            rows = Rows(of={}, constant=np.zeros(len(some)), lost=np.zeros(len(some)))
            through_dot(rows, step.inputs[0], dot, here.reshape(len(some), *low.shape[1:]), known[step.inputs[0]])
            found = np.ceil(np.nan_to_num(least(rows, before, known, drawn), nan=-1e18, neginf=-1e18, posinf=-1e18))
            found = np.clip(found, -1e18, 1e18).astype(np.int64)
            side[some] = np.maximum(side[some], found) if sign == 1 else np.minimum(side[some], -found)
    exactly = span(least_.reshape(low.shape), most.reshape(high.shape))
    return settled(dot, exactly, sums.held, sums.free)


def _before(program: Program, step: Step) -> tuple[Step, ...]:
    return program.steps[: next(i for i, one in enumerate(program.steps) if one is step)]


def _label(program: Program, output: str, known: Mapping[str, Ends], drawn: Mapping[str, Lines]) -> int:
    """The class ahead of every other, or tied with later ones, on the whole box; -1 where that is not proven."""
    low, high = (side[0] for side in known[output])
    classes = low.size
    if low.shape[-1] != classes:  # classes in several axes are not in this order outside
        return -1
    best = int((low + high).reshape(-1).argmax())
    others = [c for c in range(classes) if c != best]
    here = np.zeros((len(others), classes))
    here[:, best] = 1
    here[np.arange(len(others)), others] = -1
    ahead = least(rows_of(output, here.reshape(-1, *low.shape)), program.steps, known, drawn)
    lead = np.where(np.array(others) < best, 0, -1)  # integers: more than -1 is at least 0
    return best if bool((ahead > lead).all()) else -1
