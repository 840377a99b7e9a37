"""What is known of every tensor's integers: the interval that they stay in."""

from intsim.integers import Overflow
from intsim.ops.vectors import rest_of
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Dot,
    Extreme,
    Interpolate,
    Lookup,
    MatMul,
    Multiply,
    Offset,
    Pad,
    Program,
    Rescale,
    Softmax,
)

Interval = tuple[int, int]


def intervals(program: Program) -> dict[str, Interval]:
    """Bounds of every tensor's integers, from its type and the clips and output limits before it."""
    known: dict[str, Interval] = {}
    for name, tensor in program.tensors.items():
        known[name] = (tensor.affine.type.low, tensor.affine.type.high)
    for step in program.steps:
        inputs, rest = [known[name] for name in step.inputs], rest_of(step.compute)
        ends = [_interval(one, inputs) for one in (step.compute, *([] if rest is None else [rest.compute]))]
        known[step.outputs[0]] = min(low for low, _ in ends), max(high for _, high in ends)
    return known


def _output(rescale: Rescale) -> Interval:
    if rescale.thresholds is not None:
        return rescale.low, rescale.low + rescale.thresholds.shape[1]
    if rescale.overflow is Overflow.SATURATE_ZERO:
        return min(rescale.low, 0), max(rescale.high, 0)
    return rescale.low, rescale.high


def both_intervals(pair: Add | Multiply | Extreme, inputs: list[Interval]) -> list[Interval]:
    """The bounds of both operands, a constant's too."""
    both = [*inputs]
    if pair.constant is not None:
        both.insert(0 if pair.constant_first else 1, (int(pair.constant.min()), int(pair.constant.max())))
    return both


def _interval(compute: Compute, inputs: list[Interval]) -> Interval:
    first = inputs[0]
    match compute:
        case Dot() | MatMul():
            return _output(compute.rescale)
        case Clip():
            return (
                min(max(first[0], compute.low), compute.high),
                min(max(first[1], compute.low), compute.high),
            )
        case Offset():
            return first[0] + compute.offset, first[1] + compute.offset
        case Pad():
            return min(first[0], compute.value), max(first[1], compute.value)
        case AveragePool() if compute.rescale is not None:
            return _output(compute.rescale)
        case Add() if compute.rescale is not None:
            return _output(compute.rescale)
        case Add() | AveragePool() | Softmax():
            return compute.low, compute.high
        case Multiply():
            return _output(compute.rescale)
        case Interpolate() if compute.weights:  # in float32 it may come out nearer to zero than all neighbours
            return first[0] - (first[0] > 0), first[1] + (first[1] < 0)
        case Extreme():
            (a, b), pick = both_intervals(compute, inputs), max if compute.largest else min
            return pick(a[0], b[0]), pick(a[1], b[1])
        case Lookup():
            seen = compute.table[first[0] - compute.low : first[1] - compute.low + 1]
            return int(seen.min()), int(seen.max())
        case Convert():
            ends = [
                known if rescale is None else _output(rescale)
                for known, rescale in zip(inputs, compute.rescales, strict=True)
            ]
            return min(low for low, _ in ends), max(high for _, high in ends)
        case _:
            return first
