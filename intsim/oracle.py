"""A Program run obviously right: one integer at a time, by the meanings of its steps."""

from collections.abc import Mapping, Sequence

import numpy as np

from intsim.doors import dequantize_outputs, enter, wanted
from intsim.ops import meaning
from intsim.ops.dot import accumulators, requantized_array
from intsim.ops.matmul import requantized_sums, sums_of_two
from intsim.program import Dot, MatMul, Program, Result, outside


def run(
    program: Program,
    x: np.ndarray | Mapping[str, np.ndarray],
    *,
    trace: Sequence[str] = (),
    count: bool = False,
) -> Result:
    """The Program's result on `x[n, c, ...]`: uint8 pixels, or float32 in the network's input range.

    `trace`: tensors by name, raw accumulators as NAME:accumulator, "*" for every tensor. `count`: overflows per step.
    Raises IntsimError for input that does not fit the Program's doors.
    """
    keep = wanted(program, trace)
    values = {name: v.astype(object) for name, v in enter(program, x).items()}
    traced, overflows = {}, {}
    for step in program.steps:
        inputs = [values[name] for name in step.inputs]
        if isinstance(step.compute, Dot | MatMul):
            if isinstance(step.compute, Dot):
                acc, overflow = accumulators(step.compute, inputs[0])
                output = requantized_array(step.compute, acc)
            else:
                acc, overflow = sums_of_two(step.compute, *inputs)
                output = requantized_sums(step.compute, acc)
            if f"{step.outputs[0]}:accumulator" in keep:
                traced[f"{step.outputs[0]}:accumulator"] = outside(acc).astype(np.int64)
            if count:
                overflows[step.name] = overflow
        else:
            output = meaning(step.compute, *inputs)
        values[step.outputs[0]] = output
    typed = {
        name: outside(values[name]).astype(tensor.affine.type.dtype)
        for name, tensor in program.tensors.items()
        if name in keep or name in program.outputs
    }
    return Result(
        integers={name: typed[name] for name in program.outputs},
        logits=dequantize_outputs(program, {name: typed[name] for name in program.outputs}),
        traced={name: typed[name] for name in keep if name in typed} | traced,
        overflows=overflows,
    )
