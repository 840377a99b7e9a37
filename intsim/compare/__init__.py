"""A Program against a reference, layer by layer on the same images: what differs, each layer alone, and why."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from intsim.compare import tally as tallies
from intsim.compare.counting import Counts, Work, batch_size, batches, count, work_of
from intsim.compare.reasons import engine, reasons_of
from intsim.compare.records import Cause, Change, Comparison, Explanation, Layer
from intsim.compare.sources import Images, Run
from intsim.graph import Graph
from intsim.program import Program, Step

__all__ = ["Cause", "Change", "Comparison", "Explanation", "Layer", "compare"]


def compare(
    program: Program,
    reference: Any,
    x: Images,
    *,
    threads: int = 1,
    single: bool = True,
    explain: bool = True,
    options: Mapping[str, str] | None = None,
    network: Graph | None = None,
    run: Run | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Comparison:
    """The Program's integers against those of `reference`, on images `x[n, ...]` (uint8 pixels, or floats).

    `reference`: "onnxruntime", the name of a target, DUMP.npz (integers by tensor, channels first, one for each
    image), "module:function" (from images to such integers), or a Program, Target, Path or function itself; `options`:
    what a runtime takes beside the network. Integers are compared as multiples of the scale, so that the two signs of
    a type are equal. `single`: each layer alone, too; `explain`: and for those that differ, the rule that explains it.
    `network`: the float network, for its signal-to-noise ratio. `run` runs a Program: `intsim.engine.run`, unless
    `intsim.oracle.run` is wanted. `progress(done, of)` is called after every batch. Raises IntsimError where x or the
    reference do not fit the Program.
    """
    work = work_of(program, reference, x, engine(threads) if run is None else run, threads, options or {})
    counts = Counts()
    for first, batch in batches(program, x, work.images):
        count(work, batch, first, single, network, counts)
        if progress is not None:
            progress(min(work.images, first + batch_size(program)), work.images)
    reasons = reasons_of(work, x, counts, threads) if explain and single else {}
    return _comparison(work, counts, reasons)


def _comparison(work: Work, counts: Counts, reasons: Mapping[str, Explanation]) -> Comparison:
    program, together, apart = work.program, counts.together, counts.apart
    compared = [step for step in work.layers if step.name in together]
    first = next((step.name for step in compared if together[step.name].mismatches), None)
    return Comparison(
        network=program.name,
        target=" + ".join(program.targets),
        images=work.images,
        elements=sum(one.elements for one in together.values()),
        mismatches=sum(one.mismatches for one in together.values()),
        single_mismatches=sum(one.mismatches for one in apart.values()) if apart else None,
        argmax_agreement=float(np.concatenate(counts.agreed).mean()) if counts.agreed else None,
        reference=work.theirs.reference,
        layers=tuple(_record(work, step, counts, reasons.get(step.name), step.name == first) for step in compared),
        not_compared=tuple(step.name for step in work.layers if step.name not in together),
    )


def _record(work: Work, step: Step, counts: Counts, reason: Explanation | None, first: bool) -> Layer:
    seen, alone, real = counts.together[step.name], counts.apart.get(step.name), counts.floats.get(step.name)
    return Layer(
        name=step.name,
        op=step.op,
        tensor=step.outputs[0],
        elements=seen.elements,
        mismatches=seen.mismatches,
        max_difference=seen.largest,
        single_mismatches=None if alone is None else alone.mismatches,
        single_max_difference=None if alone is None else alone.largest,
        differences=tallies.differences(seen),
        single_differences=() if alone is None else tallies.differences(alone),
        snr=tallies.decibels(seen.signal, seen.noise),
        single_snr=None if alone is None else tallies.decibels(alone.signal, alone.noise),
        float_snr=None if real is None else tallies.decibels(*real),
        first=first,
        reference_op=work.theirs.computed.get(step.outputs[0], ""),
        explained_by=reason.causes[0].says if reason is not None and reason.causes else None,
        explanation=reason,
        machine=step.target,
    )
