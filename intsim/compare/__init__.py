"""A Program against a reference, layer by layer on the same images: with errors accumulated, and each layer alone."""

import math
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.compare.sources import Images, Integers, Run, Source, source
from intsim.compare.steps import network_name, one_step
from intsim.doors import enter
from intsim.errors import IntsimError
from intsim.program import Program, Step, outside
from intsim.reference import Reference

__all__ = ["Comparison", "Layer", "compare"]

_BUDGET = 1 << 25  # integers of all tensors of one batch of images


class Layer(Struct, frozen=True, kw_only=True):
    """One layer's integers against the reference's, over all images.

    `mismatches` and `max_difference` (in steps of the output) are counted with both sides run from the images;
    `single_mismatches` and `single_max_difference` with this layer fed from the reference's tensors, None where the
    reference has not all of its inputs. `explained_by`: the rule in which the two machines differ, where one is known.
    """

    name: str
    op: str
    tensor: str
    elements: int
    mismatches: int
    max_difference: int
    single_mismatches: int | None
    single_max_difference: int | None
    explained_by: str | None = None


class Comparison(Struct, frozen=True, kw_only=True):
    """What differs between a Program and a reference.

    `mismatches` of `elements` integers over all compared layers; `single_mismatches` likewise with each layer fed from
    the reference. `argmax_agreement`: the share of images on which every output's first largest value stands in the
    same place, None where no output was compared. `not_compared`: layers that the reference does not have.
    """

    network: str
    target: str
    images: int
    elements: int
    mismatches: int
    single_mismatches: int | None
    argmax_agreement: float | None
    reference: Reference
    layers: tuple[Layer, ...]
    not_compared: tuple[str, ...] = ()


def compare(
    program: Program,
    reference: Any,
    x: Images,
    *,
    threads: int = 1,
    single: bool = True,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """The Program's integers against those of `reference`, on images `x[n, ...]` (uint8 pixels, or floats).

    `reference`: "onnxruntime", the name of a target, DUMP.npz (integers by tensor, channels first, one for each
    image), "module:function" (from images to such integers), or a Program, Target, Path or function itself. Integers
    are compared as multiples of the scale, so that the two signs of a type are equal. `single`: each layer alone, too.
    `run` runs a Program: `intsim.engine.run`, unless `intsim.oracle.run` is wanted. `progress(done, of)` is called
    after every batch. Raises IntsimError where x or the reference do not fit the Program.
    """
    execute = _engine(threads) if run is None else run
    images = _length(program, x)
    theirs = source(reference, program, images, execute, threads)
    layers = [step for step in program.steps if step.outputs[0] in program.source.graph.shapes]
    alone = {step.name: one_step(program, step) for step in layers} if single else {}
    together, apart = _Tally(), _Tally()
    agreed: list[np.ndarray] = []
    for first, batch in _batches(program, x, images):
        zeros = {name: tensor.affine.zero for name, tensor in program.tensors.items()}
        entered = {n: Integers(outside(q), zeros[n]) for n, q in enter(program, batch).items()}
        given = theirs.tensors(batch, entered, first)
        ours = {n: Integers(q, zeros[n]) for n, q in execute(program, batch, trace=("*",)).traced.items()}
        for step in layers:
            name = step.outputs[0]
            if name in given:
                _count(together, step, ours[name], given[name])
                if single and (fed := _fed(program, step, {**entered, **given})) is not None:
                    result = execute(alone[step.name], fed, trace=(name,)).traced[name]
                    _count(apart, step, Integers(result, zeros[name]), given[name])
        if all(name in given for name in program.outputs):
            agreed.append(_agreement(program, ours, given))
        if progress is not None:
            progress(min(images, first + _batch_size(program)), images)
    return _comparison(program, theirs, layers, images, together, apart, agreed)


def _engine(threads: int) -> Run:
    from intsim.engine import run

    return partial(run, threads=threads)


class _Tally(Struct, kw_only=True):
    """Counts by step."""

    elements: dict[str, int] = {}
    mismatches: dict[str, int] = {}
    difference: dict[str, int] = {}


def _count(tally: _Tally, step: Step, ours: Integers, given: Integers) -> None:
    found = difference = 0
    if ours.zero != given.zero or ours.q.dtype != given.q.dtype or not np.array_equal(ours.q, given.q):
        steps = np.abs(ours.with_zero(0, np.dtype(np.int32)) - given.with_zero(0, np.dtype(np.int32)))
        found, difference = int(np.count_nonzero(steps)), int(steps.max(initial=0))
    tally.elements[step.name] = tally.elements.get(step.name, 0) + ours.q.size
    tally.mismatches[step.name] = tally.mismatches.get(step.name, 0) + found
    tally.difference[step.name] = max(tally.difference.get(step.name, 0), difference)


def _fed(program: Program, step: Step, given: Mapping[str, Integers]) -> dict[str, np.ndarray] | None:
    """The step's inputs as the reference has them, in the machine's own integers; None where one is missing."""
    fed = {}
    for name in step.inputs:
        tensor = network_name(program, name)
        if tensor not in given:
            return None
        affine = program.tensors[name].affine
        fed[name] = given[tensor].with_zero(affine.zero, affine.type.dtype)
    return fed


def _agreement(program: Program, ours: Mapping[str, Integers], given: Mapping[str, Integers]) -> np.ndarray:
    """Which images have the first largest value of every output in the same place."""
    return np.logical_and.reduce([_largest(ours[name]) == _largest(given[name]) for name in program.outputs])


def _largest(integers: Integers) -> np.ndarray:
    return integers.q.reshape(len(integers.q), -1).argmax(1)


def _comparison(
    program: Program,
    theirs: Source,
    steps: list[Step],
    images: int,
    together: _Tally,
    apart: _Tally,
    agreed: list[np.ndarray],
) -> Comparison:
    layers = tuple(
        Layer(
            name=step.name,
            op=step.op,
            tensor=step.outputs[0],
            elements=together.elements[step.name],
            mismatches=together.mismatches[step.name],
            max_difference=together.difference[step.name],
            single_mismatches=apart.mismatches.get(step.name),
            single_max_difference=apart.difference.get(step.name),
        )
        for step in steps
        if step.name in together.elements
    )
    return Comparison(
        network=program.name,
        target=" + ".join(program.targets),
        images=images,
        elements=sum(together.elements.values()),
        mismatches=sum(together.mismatches.values()),
        single_mismatches=sum(apart.mismatches.values()) if apart.mismatches else None,
        argmax_agreement=float(np.concatenate(agreed).mean()) if agreed else None,
        reference=theirs.reference,
        layers=layers,
        not_compared=tuple(step.name for step in steps if step.name not in together.elements),
    )


# ---- batches -------------------------------------------------------------------------------------------------


def _length(program: Program, x: Images) -> int:
    arrays = list(x.values()) if isinstance(x, Mapping) else [x]
    images = len(np.atleast_1d(np.asarray(arrays[0]))) if arrays else 0
    if images == 0:
        raise IntsimError("holds no image", where="input", mend=f"give {', '.join(program.inputs)}")
    return images


def _batch_size(program: Program) -> int:
    """As many images as keep all tensors of a batch within the budget."""
    return max(1, _BUDGET // sum(math.prod(tensor.shape) for tensor in program.tensors.values()))


def _batches(program: Program, x: Images, images: int) -> Iterator[tuple[int, Images]]:
    size = _batch_size(program)
    for first in range(0, images, size):
        part = slice(first, first + size)
        yield first, {name: a[part] for name, a in x.items()} if isinstance(x, Mapping) else np.asarray(x)[part]
