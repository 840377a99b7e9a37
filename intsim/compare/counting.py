"""What differs, counted: every batch of images run on both sides, together and each layer alone."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.calibrate.forward import forward
from intsim.compare import tally as tallies
from intsim.compare import trials
from intsim.compare.integers import Integers
from intsim.compare.sources import Images, Run, Source, source
from intsim.compare.steps import reaching_back, read_from, some_steps
from intsim.compare.tally import Tally, tally
from intsim.doors import enter
from intsim.errors import IntsimError
from intsim.graph import Graph, Pixels
from intsim.program import Program, Step, outside

_BUDGET = 1 << 25  # integers of all tensors of one batch of images


class Work(Struct, frozen=True, kw_only=True, eq=False):
    """What is compared, and how it is run."""

    program: Program
    theirs: Source
    layers: tuple[Step, ...]
    zeros: Mapping[str, int]
    images: int
    run: Run


def work_of(program: Program, reference: Any, x: Images, run: Run, threads: int, options: Mapping[str, str]) -> Work:
    """What is compared: the Program, the reference, the layers that both have."""
    images = _length(program, x)
    return Work(
        program=program,
        theirs=source(reference, program, images, run, threads, options),
        layers=tuple(step for step in program.steps if step.outputs[0] in program.source.graph.shapes),
        zeros={name: tensor.affine.zero for name, tensor in program.tensors.items()},
        images=images,
        run=run,
    )


class Counts(Struct, kw_only=True, eq=False):
    """By step: with errors accumulated, each layer alone, our integers' noise against the float network."""

    together: dict[str, Tally] = {}
    apart: dict[str, Tally] = {}
    floats: dict[str, tuple[float, float]] = {}
    fed_by: dict[str, tuple[Step, ...]] = {}
    agreed: list[np.ndarray] = []


def given_tensors(work: Work, batch: Images, first: int) -> dict[str, Integers]:
    """The reference's tensors, and the integers in which the images enter."""
    entered = {n: Integers(outside(q), work.zeros[n]) for n, q in enter(work.program, batch).items()}
    return {**entered, **work.theirs.tensors(batch, entered, first)}


def count(work: Work, batch: Images, first: int, single: bool, network: Graph | None, counts: Counts) -> None:
    """Counts one batch of images into `counts`."""
    program = work.program
    given = given_tensors(work, batch, first)
    traced = work.run(program, batch, trace=("*",)).traced
    ours = {n: Integers(q, work.zeros[n]) for n, q in traced.items()}
    for step in work.layers:
        name = step.outputs[0]
        if name not in given:
            continue
        signal = tallies.power(given[name].multiples())
        tallies.count(counts.together.setdefault(step.name, tally()), ours[name], given[name], signal)
        if not single:
            continue
        steps = counts.fed_by.setdefault(step.name, reaching_back(program, step, tuple(given)))
        alone = some_steps(program, steps)
        if (fed := _fed(alone, given)) is not None:
            found = trials.integers(alone, fed, work.run)
            tallies.count(counts.apart.setdefault(step.name, tally()), found, given[name], signal)
    if network is not None:
        _count_floats(work, batch, network, ours, counts)
    if all(name in given for name in program.outputs):
        counts.agreed.append(_agreement(program, ours, given))


def _fed(alone: Program, given: Mapping[str, Integers]) -> dict[str, Integers] | None:
    """The inputs of a Program of some steps as the reference has them; None where one is missing."""
    names = read_from(alone)
    return {name: given[tensor] for name, tensor in names.items()} if set(names.values()) <= given.keys() else None


def _count_floats(work: Work, batch: Images, network: Graph, ours: Mapping[str, Integers], counts: Counts) -> None:
    """The noise of our integers, as reals, against the float network's activations."""
    arrays = batch if isinstance(batch, Mapping) else {network.inputs[0]: batch}
    pixels = {name: network.pixels.get(name, Pixels()) for name in arrays}
    floats = {n: pixels[n].enter(pixels[n].to_input(x) if x.dtype == np.uint8 else x) for n, x in arrays.items()}
    makers = {step.outputs[0]: step.name for step in work.layers}
    for name, real in forward(network, floats):
        if name in makers and name in ours and ours[name].q.shape == real.shape:
            exact = real.astype(np.float64).ravel()
            error = work.program.tensors[name].affine.scale[0] * ours[name].multiples().ravel() - exact
            signal, noise = counts.floats.get(makers[name], (0.0, 0.0))
            counts.floats[makers[name]] = (signal + float(exact @ exact), noise + float(error @ error))


def _agreement(program: Program, ours: Mapping[str, Integers], given: Mapping[str, Integers]) -> np.ndarray:
    """Which images have the first largest value of every output in the same place."""
    return np.logical_and.reduce([_largest(ours[name]) == _largest(given[name]) for name in program.outputs])


def _largest(integers: Integers) -> np.ndarray:
    return integers.q.reshape(len(integers.q), -1).argmax(1)


def _length(program: Program, x: Images) -> int:
    arrays = list(x.values()) if isinstance(x, Mapping) else [x]
    images = len(np.atleast_1d(np.asarray(arrays[0]))) if arrays else 0
    if images == 0:
        raise IntsimError("holds no image", where="input", mend=f"give {', '.join(program.inputs)}")
    return images


def batch_size(program: Program) -> int:
    """As many images as keep all tensors of a batch within the budget."""
    return max(1, _BUDGET // sum(math.prod(tensor.shape) for tensor in program.tensors.values()))


def images_of(x: Images, part: slice) -> Images:
    """Some of the images."""
    return {name: a[part] for name, a in x.items()} if isinstance(x, Mapping) else np.asarray(x)[part]


def batches(program: Program, x: Images, images: int) -> Iterator[tuple[int, Images]]:
    """The images in batches, each with the place of its first."""
    size = batch_size(program)
    for first in range(0, images, size):
        yield first, images_of(x, slice(first, first + size))
