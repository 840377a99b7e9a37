"""Mistakes that are no machine's rule: a clamp, a bias left out, a multiplier made in the wrong precision."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import encoded
from intsim.compare.records import Change
from intsim.program import Clip, Dot, Program, Step
from intsim.quantized import QuantizedGraph
from intsim.target import FixedPoint


def edits(program: Program, alone: QuantizedGraph) -> Iterator[tuple[Change, Program]]:
    """The Program of one layer with one thing left out or done otherwise, and what that is."""
    for index, step in enumerate(program.steps):
        if isinstance(step.compute, Clip):
            bounds = program.tensors[step.outputs[0]].affine.type
            free = Clip(low=bounds.low, high=bounds.high)
            if free != step.compute:
                yield (
                    Change(field="", rule="activation's clamp", reference="missing", ours="there"),
                    _with(program, index, free),
                )
        if isinstance(step.compute, Dot):
            dot = step.compute
            if dot.bias.any():
                change = Change(field="", rule="bias", reference="missing", ours="there")
                yield change, _with(program, index, replace(dot, bias=np.zeros_like(dot.bias)))
            if isinstance(dot.rescale.rule, FixedPoint):
                yield (
                    Change(field="", rule="real multiplier", reference="a float32 quotient", ours="a float64 quotient"),
                    _with(program, index, _in_float32(dot, step, program, alone)),
                )


def _in_float32(dot: Dot, step: Step, program: Program, alone: QuantizedGraph) -> Dot:
    """The multiplier taken from f32(f32(sx * sw) / sy) instead of the float64 quotient."""
    node = next(node for node in alone.graph.nodes if node.name == step.name)
    x, y = (program.tensors[name].affine for name in (step.inputs[0], step.outputs[0]))
    weights = np.array(alone.affines[node.inputs[1]].scale, np.float32)
    real = np.float32(x.scale[0]) * weights / np.float32(y.scale[0])
    rescale = dot.rescale
    made = encoded(
        rescale.rule,
        1.0,
        tuple(float(s) for s in real),
        1.0,
        zero_point=rescale.zero_point,
        low=rescale.low,
        high=rescale.high,
        overflow=rescale.overflow,
    )
    return replace(dot, rescale=made)


def _with(program: Program, index: int, compute: Any) -> Program:
    steps = list(program.steps)
    steps[index] = replace(steps[index], compute=compute)
    return replace(program, steps=tuple(steps))
