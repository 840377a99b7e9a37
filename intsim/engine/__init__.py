"""A Program run fast: the same integers as the oracle's, in chunks of images, on several threads."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from math import prod

import numpy as np

from intsim.doors import admitted, dequantize_outputs, entered, wanted
from intsim.engine.arena import run_in
from intsim.engine.arrays import Counted, run_by_arrays
from intsim.engine.bound import Bound, bind
from intsim.engine.ready import borrowed, planned, scheduled
from intsim.engine.threads import in_threads, processors, shares
from intsim.errors import IntsimError
from intsim.ops.dot import adds_per_output
from intsim.program import Dot, MatMul, Overflows, Program, Result, outside

__all__ = ["Bound", "bind", "describe", "run"]

Arrays = dict[str, np.ndarray]


def run(
    program: Program,
    x: np.ndarray | Mapping[str, np.ndarray],
    *,
    trace: Sequence[str] = (),
    count: bool = False,
    threads: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    on_compile: Callable[[str], None] | None = None,
) -> Result:
    """The Program's result on `x[n, c, ...]`: uint8 pixels, or float32 in the network's input range.

    `trace`: tensors by name, raw accumulators as NAME:accumulator, "*" for every tensor. `count`: overflows per step,
    which takes longer where they are possible. `threads`: all that this process may use, unless given; the integers
    do not depend on it. `progress(done, of)` is called as images are done, `on_compile(kernel)` whenever a kernel is
    compiled, which happens on the first use after an installation.
    Raises IntsimError for input that does not fit the Program's doors.
    """
    if threads is not None and threads < 1:
        raise IntsimError(f"{threads} threads", where="threads", mend="give 1 or more")
    keep = wanted(program, trace)
    values = admitted(program, x)
    total = len(next(iter(values.values())))
    kept = _space(program, {*keep, *(door.tensor for door in program.outputs.values())}, total)
    by_arrays = count or any(name.endswith(":accumulator") for name in keep)
    counts: Counted = {
        step.name: np.zeros(3, np.int64) for step in program.steps if isinstance(step.compute, Dot | MatMul)
    }
    images = 0

    def done(some: int, seen: Counted) -> None:
        nonlocal images
        images += some
        for name, found in seen.items():
            counts[name] += found
        if progress is not None:
            progress(images, total)

    with _announced(on_compile):
        work, most, macs = _by_arrays(program, count) if by_arrays else _in_arenas(program, bool(keep))
        parts, threads = shares(total, most, threads or processors(), macs)
        in_threads(partial(_part, program, work, values, kept), parts, threads, done)
    arrays = {name: np.ascontiguousarray(outside(array)) for name, array in kept.items()}
    integers = {name: arrays[door.tensor] for name, door in program.outputs.items()}
    return Result(
        integers=integers,
        logits=dequantize_outputs(program, integers),
        traced={name: arrays[name] for name in keep},
        overflows=_overflows(program, counts, total) if count else {},
    )


def describe(program: Program, *, count: bool = False) -> tuple[tuple[str, str, str], ...]:
    """(step, kernel, why that one) for every step of the Program, as it runs where only the outputs are asked for.

    `count`: as it runs where overflows are counted.
    """
    if count:
        return tuple((one.step.name, one.kernel, one.why) for one in planned(program, count=True).steps)
    parts = scheduled(program, single=False).schedule.parts
    found = {
        one.step.name: (one.step.name, kernel, one.why)
        for part in parts
        for one, kernel in zip(part.steps, part.kernels, strict=True)
    }
    lines, makers = list[tuple[str, str, str]](), dict[str, str]()
    for step in program.steps:
        maker = step.name if step.name in found else makers[step.inputs[0]]
        makers[step.outputs[0]] = maker
        lines.append(found.get(step.name, (step.name, "none", f"{maker} clamps to its ends at once")))
    return tuple(lines)


# ---- chunks ----------------------------------------------------------------------------------------------------


Work = Callable[[Arrays, Arrays, slice], Counted]


def _by_arrays(program: Program, count: bool) -> tuple[Work, int, int]:
    plan = planned(program, count=count)
    return partial(run_by_arrays, plan), plan.chunk, plan.macs


def _in_arenas(program: Program, traced: bool) -> tuple[Work, int, int]:
    ready = scheduled(program, single=traced)

    def work(values: Arrays, kept: Arrays, part: slice) -> Counted:
        with borrowed(ready) as arena:
            run_in(arena, ready.schedule, values, kept, part)
        return {}

    return work, ready.schedule.images, ready.schedule.macs


def _part(program: Program, work: Work, values: Arrays, kept: Arrays, part: slice) -> Counted:
    """The images of `part` from the doors on."""
    doors = program.inputs
    return work({doors[name].tensor: entered(doors[name], array[part]) for name, array in values.items()}, kept, part)


def _space(program: Program, names: set[str], total: int) -> Arrays:
    """Room for the tensors and accumulators that are asked for, in the inside layout."""
    room = {}
    for name in names:
        tensor = program.tensors[name.removesuffix(":accumulator")]
        dtype = np.dtype(np.int64) if name.endswith(":accumulator") else tensor.affine.type.dtype
        room[name] = np.empty((total, *tensor.shape), dtype)
    return room


def _overflows(program: Program, counts: Counted, total: int) -> dict[str, Overflows]:
    found = {}
    for step in program.steps:
        if isinstance(step.compute, Dot | MatMul):
            x = program.tensors[step.inputs[0]].shape
            items = x[-2] if isinstance(step.compute, MatMul) else prod(step.compute.weight.shape[1:])
            outputs = total * int(np.prod(program.tensors[step.outputs[0]].shape))
            hit, events, persistent = counts[step.name].tolist()
            found[step.name] = Overflows(
                outputs=hit,
                of_outputs=outputs,
                adds=events,
                of_adds=outputs * adds_per_output(step.compute.mac, items),
                persistent=persistent,
            )
    return found


def _announced(say: Callable[[str], None] | None) -> AbstractContextManager[None]:
    if say is None:
        return nullcontext()
    from intsim_kernels.compiled import announced

    return announced(say)
