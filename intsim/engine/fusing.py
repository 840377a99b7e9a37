"""Clips taken into the steps before them: the same integers in fewer steps, where nobody looks in between."""

from collections import Counter

from msgspec.structs import replace

from intsim.integers import Overflow
from intsim.program import Add, Clip, Compute, Dot, Program, Rescale, Step
from intsim.target import ClippedAdd


def fused(program: Program) -> Program:
    """The Program without the Clips whose input is a saturated result that nothing else reads."""
    readers = Counter(name for step in program.steps for name in step.inputs)
    readers.update(door.tensor for door in program.outputs.values())
    steps: dict[str, Step] = {}  # by output
    for step in program.steps:
        source = steps.get(step.inputs[0])
        compute = None
        if isinstance(step.compute, Clip) and source is not None and readers[step.inputs[0]] == 1:
            compute = _clipped(source.compute, step.compute)
        if source is None or compute is None:
            steps[step.outputs[0]] = step
        else:
            del steps[step.inputs[0]]
            steps[step.outputs[0]] = replace(source, outputs=step.outputs, compute=compute)
    used = {name for step in steps.values() for name in (*step.inputs, *step.outputs)}
    used |= {door.tensor for door in (*program.inputs.values(), *program.outputs.values())}
    tensors = {name: tensor for name, tensor in program.tensors.items() if name in used}
    return replace(program, steps=tuple(steps.values()), tensors=tensors)


def _clipped(compute: Compute, clip: Clip) -> Compute | None:
    """The computation with its clamp drawn closer, where it ends with one that the clip's ends lie in."""
    match compute:
        case Dot() if (rescale := _drawn(compute.rescale, clip)) is not None:
            return replace(compute, rescale=rescale)
        case Add() if compute.rescale is not None:
            rescale = _drawn(compute.rescale, clip)
            return None if rescale is None else replace(compute, rescale=rescale, low=rescale.low, high=rescale.high)
        case Add() if not isinstance(compute.rule, ClippedAdd):  # which clamps its terms too
            low, high = _inside(compute.low, compute.high, clip)
            return replace(compute, low=low, high=high)
    return None


def _drawn(rescale: Rescale, clip: Clip) -> Rescale | None:
    """A requantization that clamps, with its clamp drawn closer."""
    if rescale.overflow is not Overflow.SATURATE or rescale.thresholds is not None:
        return None
    low, high = _inside(rescale.low, rescale.high, clip)
    return replace(rescale, low=low, high=high)


def _inside(low: int, high: int, clip: Clip) -> tuple[int, int]:
    """clamp(clamp(x, low, high), clip) as one clamp."""
    return min(max(low, clip.low), clip.high), max(min(high, clip.high), clip.low)
