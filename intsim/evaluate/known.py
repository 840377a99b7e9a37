"""A program as a chip that an attacker knows: its answers, its exact sums, and the float network beside them."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from intsim.attack.chip import Chip
from intsim.attack.twin import traced
from intsim.graph import Graph
from intsim.program import Dot, MatMul, Program, Result, Step
from intsim.target import Level

Summed = TypeVar("Summed", bound=Dot | MatMul)

EXACT = ":exact"
"""What the name of a step beside another ends with that forms the same sums, in no register."""


def chip_of(
    program: Program, run: Callable[..., Result], graph: Graph, name: str, *, output: str = "", real: bool = False
) -> Chip:
    """The `Chip` of a program, whose images are pixels as a judge takes them; `run`: intsim.run.

    `graph`: the float network that was quantized, its gradients stand for the chip's. `output`: of the program, the
    first where it is "". `real`: answers are the integers' real values, not the integers.
    """
    out = output or next(iter(program.outputs))
    pixels = next(iter(program.inputs.values())).pixels
    beside, registers = _beside(program, graph)

    def entered(images: np.ndarray) -> np.ndarray:
        return images if images.dtype == np.uint8 or pixels is None else pixels.to_input(images)

    def answer(images: np.ndarray) -> np.ndarray:
        found = run(program, entered(images))
        return (found.logits if real else found.integers)[out]

    def sums(images: np.ndarray) -> dict[str, np.ndarray]:
        traces = {layer: f"{_step(program, layer).outputs[0]}{EXACT}:accumulator" for layer in registers}
        if not traces:
            return {}
        found = run(beside, entered(images), trace=tuple(traces.values())).traced
        return {layer: found[trace] for layer, trace in traces.items()}

    return Chip(
        name=name,
        answer=answer,
        scale=1.0 if real else program.outputs[out].affine.scale[0],
        sums=sums,
        registers=registers,
        inner=traced(graph, list(registers)),
        units={layer: _units(program, layer) for layer in registers},
    )


def widened(program: Program) -> Program:
    """The program with registers that nothing overflows, everything else as it is."""
    steps = tuple(
        replace(step, compute=_wide(step.compute)) if isinstance(step.compute, Dot | MatMul) else step
        for step in program.steps
    )
    return replace(program, steps=steps)


def _wide(dot: Summed) -> Summed:
    levels = tuple(replace(level, bits=None) for level in dot.mac.levels)
    return replace(dot, mac=replace(dot.mac, levels=levels), bias_rule=replace(dot.bias_rule, bits=None))


def _beside(program: Program, graph: Graph) -> tuple[Program, dict[str, tuple[int, int]]]:
    """The program with a step of exact sums beside every one whose register may overflow, and those registers.

    Left out are layers that the float network has in another shape, whose products or finished sums are cast, or whose
    products are no products (`Mac.multiplier`): the float network's gradient does not stand for those.
    """
    shapes = {node.name: graph.shapes[node.outputs[0]] for node in graph.nodes}
    steps, tensors, registers = list[Step](), dict(program.tensors), dict[str, tuple[int, int]]()
    for step in program.steps:
        steps.append(step)
        dot = step.compute
        if not isinstance(dot, Dot) or dot.mac.product or dot.mac.write_back or dot.mac.multiplier:
            continue
        bits, shape = dot.mac.levels[-1].bits, tensors[step.outputs[0]].shape
        if bits is None or shapes.get(step.name) != (shape[-1], *shape[:-1]):
            continue
        exact = replace(_wide(dot), mac=replace(dot.mac, levels=(Level(),)))
        tensor = step.outputs[0] + EXACT
        steps.append(replace(step, name=step.name + EXACT, outputs=(tensor,), compute=exact))
        tensors[tensor] = tensors[step.outputs[0]]
        registers[step.name] = (-(1 << bits - 1), (1 << bits - 1) - 1)
    return replace(program, steps=tuple(steps), tensors=tensors), registers


def _step(program: Program, name: str) -> Step:
    return next(step for step in program.steps if step.name == name)


def _units(program: Program, layer: str) -> np.ndarray:
    """What one step of the layer's sum stands for in float, for each channel or for all, to broadcast against sums."""
    source, rank = program.source, len(program.tensors[_step(program, layer).outputs[0]].shape)
    node = next(node for node in source.graph.nodes if node.name == layer)
    x, w = (np.array(source.affines[name].scale) for name in node.inputs[:2])
    return (x * w).reshape(-1, *(1,) * (rank - 1))
