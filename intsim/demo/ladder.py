"""The same network on narrower and narrower accumulators: who is still right, and which sums overflow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
from msgspec.structs import asdict, replace

from intsim import report
from intsim.attack.catalogue import NOISE
from intsim.demo.size import LADDER, MODES, Progress, Size, network_name, part
from intsim.evaluate import Images, Judge
from intsim.evaluate.judged import judged
from intsim.evaluate.judges import program_judge
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.lower import lower
from intsim.program import Program, Result
from intsim.quantized import QuantizedGraph
from intsim.report import Accumulator, Counted, Results
from intsim.targets import TARGETS, with_accumulator

Run = Callable[..., Result]
"""intsim.engine.run: a program, images, and whether to count."""


def telling_sets(found: Results, kept: Mapping[tuple[str, float], Images]) -> tuple[Images, list[Images]]:
    """The clean images; and of each attack those that tell most, then noise of the first one's radius."""
    attacks = [(name, report.telling(found, name)) for name in report.searching(found)]
    return kept[CLEAN, 0.0], [kept[one] for one in (*attacks, (NOISE["linf"], attacks[0][1]))]


def with_ladder(
    found: Results,
    quantized: QuantizedGraph,
    panel: Sequence[Judge],
    sets: Sequence[Images],
    more: Sequence[Images],
    y: np.ndarray,
    size: Size,
    run: Run,
    progress: Progress,
) -> Results:
    """The results with the accumulators of the ladder judged and their overflows counted, on a few sets of images.

    On `more` sets the accumulators are judged, and no overflow is counted.
    """
    network = network_name(size.bits[0])
    rungs = {
        (bits, mode): lower(quantized, with_accumulator(TARGETS[LADDER], bits, mode))
        for mode in MODES
        for bits in size.ladder
    }
    names = {rung: next(iter(program.targets)) for rung, program in rungs.items()}
    climbing = [program_judge(rungs[rung], run, network=network, target=names[rung]) for rung in rungs]
    beside = [judge for judge in panel if judge.target == FLOAT or (judge.network, judge.target) == (network, NULL)]
    total = (len(sets) + len(more)) * len(climbing + beside)
    done = iter(range(total))
    tick = part(progress, 75, 85)
    rows = judged(
        [*beside, *climbing],
        [*sets, *more],
        y,
        seed=found.seed,
        progress=lambda judge, images: tick(f"{judge}: {images}", next(done), total),
    )
    counted = _counts(
        network, {names[rung]: program for rung, program in rungs.items()}, sets, size.counted, run, progress
    )
    return replace(
        found,
        rows=(*found.rows, *(row for row in rows if row.target not in (FLOAT, NULL))),
        ladder=tuple(
            Accumulator(bits=bits, overflow=mode.value, network=network, target=name)
            for (bits, mode), name in names.items()
        ),
        overflows=tuple(counted),
    )


def _counts(
    network: str, programs: Mapping[str, Program], sets: Sequence[Images], images: int, run: Run, progress: Progress
) -> Iterator[Counted]:
    """The overflows of every program, layer by layer, on the first `images` of every set."""
    tick = part(progress, 85, 97)
    for place, ((name, program), one) in enumerate(product(programs.items(), sets)):
        tick(f"{name}: counting overflows", place, len(programs) * len(sets))
        x = one.x[:images]
        for layer, count in run(program, x, count=True).overflows.items():
            yield Counted(
                network=network,
                target=name,
                attack=one.name,
                eps_steps=one.eps_steps,
                images=len(x),
                layer=layer,
                **asdict(count),
            )
