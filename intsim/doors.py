"""What goes in and out of a Program: arrays checked against its doors, pixels and floats to integers and back."""

from collections.abc import Mapping, Sequence

import numpy as np

from intsim.errors import IntsimError, unknown
from intsim.program import Door, Dot, MatMul, Program, inside
from intsim.quantized import dequantized, quantized


def enter(program: Program, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each input's integers `[n, h, w, c]`, from uint8 pixels or from float32 in the network's input range.

    Raises IntsimError where shape, type or range do not fit, or inputs are missing or of different lengths.
    """
    return {name: entered(program.inputs[name], array) for name, array in admitted(program, x).items()}


def admitted(program: Program, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Each input as it is, `[n, c, ...]`, if it fits its door; raises IntsimError as `enter`."""
    arrays = x if isinstance(x, Mapping) else dict.fromkeys(program.inputs, x)
    if not isinstance(x, Mapping) and len(program.inputs) != 1:
        raise IntsimError(
            f"the network has {len(program.inputs)} inputs",
            mend=f"give each by name: {', '.join(program.inputs)}",
        )
    for name in arrays:
        if name not in program.inputs:
            raise unknown("input", name, program.inputs)
    if missing := [name for name in program.inputs if name not in arrays]:
        raise IntsimError("is not given", where=f"input {missing[0]}")
    found = {name: _fitting(name, door, np.asarray(arrays[name])) for name, door in program.inputs.items()}
    lengths = {name: len(array) for name, array in found.items()}
    if len(set(lengths.values())) > 1:
        raise IntsimError(f"the inputs have different lengths: {lengths}")
    return found


def entered(door: Door, x: np.ndarray) -> np.ndarray:
    """An admitted input's integers `[n, h, w, c]`."""
    if x.dtype == np.uint8 and door.table is not None:
        if door.table.shape[1] == 1:
            return inside(door.table[:, 0].take(x))
        return inside(door.table[x, np.arange(door.table.shape[1]).reshape(1, -1, *(1,) * (x.ndim - 2))])
    if door.pixels is None and door.table is None and x.dtype.kind in "iu":
        return inside(x.astype(door.affine.type.dtype))
    return inside(quantized(x if door.pixels is None else door.pixels.enter(x), door.affine))


def _fitting(name: str, door: Door, x: np.ndarray) -> np.ndarray:
    where = f"input {name}"
    if x.shape[1:] != door.shape or x.ndim != len(door.shape) + 1:
        raise IntsimError(
            f"has shape {x.shape}",
            where=where,
            mend=f"the network takes (n, {', '.join(map(str, door.shape))})",
        )
    if x.dtype == np.uint8 and door.table is not None:
        return x
    if door.pixels is None and door.table is None and x.dtype.kind in "iu":
        type_ = door.affine.type
        if x.size and not (type_.low <= int(x.min()) and int(x.max()) <= type_.high):
            raise IntsimError(f"holds {x.min()} to {x.max()}, outside {type_}", where=where)
        return x
    if x.dtype.kind != "f":
        raise IntsimError(f"holds {x.dtype}", where=where, mend="give uint8 pixels, or float32 in the input range")
    if not np.isfinite(x).all():
        bad = int(np.argmin(np.isfinite(x.reshape(len(x), -1)).all(1)))
        raise IntsimError(f"holds NaN or infinity, first in sample {bad}", where=where)
    return x


def dequantize_outputs(program: Program, integers: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The outputs' real numbers in float32."""
    return {name: dequantized(q, program.outputs[name].affine) for name, q in integers.items()}


def wanted(program: Program, trace: Sequence[str]) -> list[str]:
    """The tensors and accumulators that are asked for, by tensor name; steps may be named instead.

    Raises IntsimError for a name that is neither.
    """
    tensor_of = {step.name: step.outputs[0] for step in program.steps}
    sums = {step.outputs[0] for step in program.steps if isinstance(step.compute, Dot | MatMul)}
    found: list[str] = []
    for entry in trace:
        if entry == "*":
            found += program.tensors
            continue
        name, _, _ = entry.partition(":accumulator") if entry.endswith(":accumulator") else (entry, "", "")
        name = name if name in program.tensors else tensor_of.get(name, name)
        if name not in program.tensors:
            raise unknown("tensor or step", name, [*program.tensors, *tensor_of])
        if entry.endswith(":accumulator"):
            if name not in sums:
                raise IntsimError("has no accumulator", where=name, mend="only Conv, Gemm and MatMul have one")
            name += ":accumulator"
        found.append(name)
    return list(dict.fromkeys(found))
