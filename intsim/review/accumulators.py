"""The same network on narrower and narrower accumulators: who is still right, and which sums overflow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product

import numpy as np
from msgspec.structs import asdict, replace

from intsim.evaluate import Images, Judge
from intsim.evaluate.judged import judged
from intsim.evaluate.judges import program_judge
from intsim.evaluate.records import FLOAT, NULL
from intsim.integers import Overflow
from intsim.lower import lower
from intsim.program import Program, Result
from intsim.quantized import QuantizedGraph
from intsim.report import Accumulator, Counted, Results
from intsim.target import Target
from intsim.targets import with_accumulator
from intsim.tasks import Right, top1

MODES = (Overflow.WRAP, Overflow.SATURATE)

Run = Callable[..., Result]
"""intsim.engine.run: a program, images, and whether to count."""

Tick = Callable[[str, int, int], None]
"""Told what comes next, and how much of how much is done."""

Narrowed = Mapping[Accumulator, Program]
"""A network on every accumulator that is tried."""


def narrowed(source: QuantizedGraph, target: Target, network: str, widths: Sequence[int]) -> dict[Accumulator, Program]:
    """The network, called `network`, on the machine with accumulators of these widths that wrap, and that saturate.

    Raises IntsimError for a width that no accumulator has.
    """
    programs = {(bits, mode): lower(source, with_accumulator(target, bits, mode)) for mode in MODES for bits in widths}
    return {
        Accumulator(bits=bits, overflow=mode.value, network=network, target=next(iter(program.targets))): program
        for (bits, mode), program in programs.items()
    }


def with_accumulators(
    found: Results,
    programs: Narrowed,
    panel: Sequence[Judge],
    sets: Sequence[Images],
    more: Sequence[Images],
    y: np.ndarray,
    run: Run,
    *,
    counted: int,
    right: Right = top1,
    tick: Tick = lambda what, done, of: None,
) -> Results:
    """The results with narrower accumulators judged on all sets of images, clean ones first, beside the panel's float.

    Overflows are counted on the first `counted` images of `sets`, and not on `more`.
    """
    network = next(iter(programs)).network
    climbing = [
        program_judge(program, run, network=network, target=one.target, real=right is not top1)
        for one, program in programs.items()
    ]
    beside = [judge for judge in panel if judge.target == FLOAT or (judge.network, judge.target) == (network, NULL)]
    total = (len(sets) + len(more)) * len(climbing + beside) + len(programs) * len(sets)
    done = iter(range(total))
    rows = judged(
        [*beside, *climbing],
        [*sets, *more],
        y,
        right=right,
        seed=found.seed,
        progress=lambda judge, images: tick(f"{judge}: {images}", next(done), total),
    )
    overflows = _counts(programs, sets, counted, run, lambda what: tick(what, next(done), total))
    return replace(
        found,
        rows=(*found.rows, *(row for row in rows if row.target not in (FLOAT, NULL))),
        ladder=tuple(programs),
        overflows=tuple(overflows),
    )


def _counts(
    programs: Narrowed, sets: Sequence[Images], images: int, run: Run, tick: Callable[[str], None]
) -> Iterator[Counted]:
    """The overflows of every program, layer by layer, on the first `images` of every set."""
    for (accumulator, program), one in product(programs.items(), sets):
        tick(f"{accumulator.target}: counting overflows")
        x = one.x[:images]
        for layer, count in run(program, x, count=True).overflows.items():
            yield Counted(
                network=accumulator.network,
                target=accumulator.target,
                attack=one.name,
                eps_steps=one.eps_steps,
                images=len(x),
                layer=layer,
                **asdict(count),
            )
