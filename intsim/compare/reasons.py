"""Why a layer differs: the search for a cause, fed with what both sides gave."""

from collections.abc import Mapping
from functools import partial

import numpy as np

from intsim.compare import trials
from intsim.compare.counting import Counts, Work, batches, given_tensors, images_of
from intsim.compare.explain import explanation, shortlist, unequal
from intsim.compare.integers import Integers
from intsim.compare.records import Explanation
from intsim.compare.sources import Images, Run
from intsim.compare.steps import read_from, some_nodes, some_steps
from intsim.compare.vocabulary import plain
from intsim.program import Program, Step
from intsim.target import Target

_SIEVE = 1 << 17  # integers of a layer that candidates are tried on first


def reasons_of(work: Work, x: Images, counts: Counts, threads: int) -> dict[str, Explanation]:
    """By step: why it differs, for those that differ when they are fed from the reference."""
    run = engine(threads)  # the oracle's integers, and hundreds of trials faster
    wanted = [step for step in work.layers if step.name in counts.apart and counts.apart[step.name].mismatches]
    layers = {step.name: _layer(work, counts.fed_by[step.name]) for step in wanted}
    tried: dict[str, list[trials.Trial]] = {}
    for step in wanted:
        found = shortlist(layers[step.name], _first_evidence(work, x, step, counts), run)
        tried[step.name] = [*found.complete, *found.nearest]
    left = {step.name: [0] * len(tried[step.name]) for step in wanted}
    for first, batch in batches(work.program, x, work.images) if any(tried.values()) else ():
        given = given_tensors(work, batch, first)
        for step in wanted:
            evidence = _evidence(given, step, layers[step.name])
            for index, trial in enumerate(tried[step.name]):
                left[step.name][index] += unequal(trial, layers[step.name], evidence, run)
    return {
        step.name: explanation(
            layers[step.name],
            counts.apart[step.name].elements,
            counts.apart[step.name].mismatches,
            counts.apart[step.name].largest,
            list(zip(tried[step.name], left[step.name], strict=True)),
        )
        for step in wanted
    }


def engine(threads: int) -> Run:
    """The engine's run."""
    from intsim.engine import run

    return partial(run, threads=threads)


def _layer(work: Work, steps: tuple[Step, ...]) -> trials.Layer:
    program = work.program
    return trials.Layer(
        alone=some_nodes(program.source, [step.name for step in steps]),
        ours=some_steps(program, steps),
        target=program.targets[steps[-1].target],
        runtime=work.theirs.reference.name,
        computed=work.theirs.computed.get(steps[-1].outputs[0], ""),
        known=_known(work.theirs.program, steps[0].name),
    )


def _known(reference: Program | None, name: str) -> Target | None:
    """The rules of the step, where the reference is a machine of ours."""
    step = next((step for step in reference.steps if step.name == name), None) if reference is not None else None
    return None if step is None or reference is None else plain(step, reference.targets[step.target])


def _evidence(given: Mapping[str, Integers], step: Step, layer: trials.Layer) -> trials.Evidence:
    fed = {name: given[name] for name in layer.alone.graph.inputs}
    return trials.Evidence(
        fed={**fed, **{name: given[tensor] for name, tensor in read_from(layer.ours).items()}},
        want=given[step.outputs[0]].multiples(),
    )


def _first_evidence(work: Work, x: Images, step: Step, counts: Counts) -> trials.Evidence:
    """The images in which the layer differs most, a few."""
    seen = counts.apart[step.name]
    most = max(1, min(8, _SIEVE * work.images // seen.elements))
    by_image = np.concatenate(seen.by_image)
    chosen = np.argsort(-by_image, kind="stable")[:most]
    layer = _layer(work, counts.fed_by[step.name])
    parts = [
        _evidence(given_tensors(work, images_of(x, slice(i, i + 1)), int(i)), step, layer)
        for i in sorted(chosen)
        if by_image[i]
    ]
    return trials.Evidence(
        fed={
            name: Integers(np.concatenate([part.fed[name].q for part in parts]), parts[0].fed[name].zero)
            for name in parts[0].fed
        },
        want=np.concatenate([part.want for part in parts]),
    )
