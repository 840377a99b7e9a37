"""Boxes carried through a Program, step by step: the ends of every tensor, and which accumulators cannot overflow."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.certify.dots import Sums, dot_sums
from intsim.certify.rescales import rescaled
from intsim.certify.steps import Ends, stepped
from intsim.program import Dot, MatMul, Program, Rescale, Step
from intsim.ranges import intervals, registers_of_two
from intsim.target import FixedPoint


class Carried(Struct, frozen=True, kw_only=True, eq=False):
    """The ends `[n, ...]` of every tensor; by step, the accumulators `sums`, and bool `[n]`, whether none overflows."""

    known: dict[str, Ends]
    sums: dict[str, Sums]
    free: dict[str, np.ndarray]


def carried(
    program: Program,
    boxes: dict[str, Ends],
    *,
    tighten: Callable[[Step, Sums, dict[str, Ends]], Sums] = lambda step, sums, known: sums,
    told: Callable[[Step, Sums | None, dict[str, Ends]], None] = lambda step, sums, known: None,
) -> Carried:
    """What follows from the ends of the inputs' integers, int64 `[n, ...]` by tensor.

    `tighten` may say more of a step's accumulators; `told` hears of every step when its output is known.
    A step without an argument of its own gives all that its type and its clips leave.
    """
    everywhere, known = intervals(program), dict(boxes)
    n = len(next(iter(boxes.values()))[0])
    free, every = dict[str, np.ndarray](), dict[str, Sums]()
    for step in program.steps:
        name = step.outputs[0]
        least, most = everywhere[name]
        sums: Sums | None = None
        if isinstance(step.compute, Dot):
            sums = tighten(step, dot_sums(step.compute, *known[step.inputs[0]]), known)
            every[step.name] = sums
            free[step.name] = np.asarray(sums.free.reshape(n, -1).all(1))
        if isinstance(step.compute, MatMul):
            free[step.name] = np.array([_quiet(step.compute, *pair) for pair in _each(step, known, n)], bool)
        ends = _ends(step, sums, [known[one] for one in step.inputs])
        if ends is None:
            shape = (n, *program.tensors[name].shape)
            ends = np.full(shape, least, np.int64), np.full(shape, most, np.int64)
        known[name] = np.maximum(ends[0], least), np.minimum(ends[1], most)
        told(step, sums, known)
    return Carried(known=known, sums=every, free=free)


def _ends(step: Step, sums: Sums | None, inputs: list[Ends]) -> Ends | None:
    try:
        if isinstance(step.compute, Dot) and sums is not None:
            return dot_ends(step.compute, sums)
        return stepped(step.compute, inputs)
    except OverflowError:  # a float on the way may be infinite, of which nothing is proven
        return None


def _each(step: Step, known: dict[str, Ends], n: int) -> list[tuple[Ends, Ends]]:
    """The ends of both operands, image by image."""
    parts = [[(low[i], high[i]) for i in range(n)] for low, high in (known[name] for name in step.inputs)]
    return list(zip(*parts, strict=True))


def _quiet(matmul: MatMul, a: Ends, b: Ends) -> bool:
    """Whether no accumulator overflows, whatever the operands are between the least and the largest of their ends."""
    inside = [(int(low.min()), int(high.max())) for low, high in (a, b)]
    found = registers_of_two(matmul, inside[0], inside[1], a[0].shape[-2])
    return all(part.all() for part in (*found.fits, found.cast, found.back, found.end))


def dot_ends(dot: Dot, sums: Sums) -> Ends:
    """The ends of a sum of products' outputs."""
    found = rescaled(dot.rescale, sums.held, tail=tail(dot.rescale, sums.held.low.shape))
    return found.low, found.high


def tail(rescale: Rescale, shape: tuple[int, ...]) -> np.ndarray:
    """bool `[places, o]` in the output's axes: which integers the rule's lanes do not hold (5)."""
    rule, places, o = rescale.rule, int(np.prod(shape[1:-1])), shape[-1]
    if rescale.tail is None or not isinstance(rule, FixedPoint) or rule.lanes is None:
        return np.zeros((1,) * (len(shape) - 1), bool)
    place, channel = np.arange(places)[:, None], np.arange(o)
    if rule.lanes.of == "flat":
        behind = (place > rescale.tail_place) | ((place == rescale.tail_place) & (channel >= rescale.tail))
    else:
        behind = (place >= rescale.tail_place) & (channel >= rescale.tail)
    return behind.reshape(shape[1:])
