"""A review: an evaluation, and a closer look at a few of its images, layers and sums."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.attack.catalogue import NOISE
from intsim.attack.door import one_thread
from intsim.build import Model
from intsim.errors import IntsimError
from intsim.evaluate import Images, Judge, Prepared, concluded, prepared
from intsim.evaluate.records import CLEAN, FLOAT, IDEAL
from intsim.evaluate.whole import Progress
from intsim.partition import Mixed
from intsim.report import Results, examples, results, searching, telling
from intsim.review.accumulators import Narrowed, Run, narrowed, with_accumulators
from intsim.review.amplify import amplification
from intsim.target import Target
from intsim.tasks import top1

__all__ = ["amplification", "narrowed", "review", "sets_of", "with_accumulators"]

CLOSER = 100
"""Of how many images the sums and layers are looked at, and from which the gallery is chosen."""

Kept = Mapping[tuple[str, float], Images]
"""Sets of images that were crafted on float, by attack and radius."""


def review(
    model: str | Path | Model,
    targets: str | Target | Mixed | Sequence[str | Target | Mixed] = (),
    *,
    accumulators: Sequence[int] = (),
    run: Run | None = None,
    progress: Progress | None = None,
    **asked: Any,
) -> Results:
    """What `intsim.evaluate` finds, and on the first target how errors grow, single images, narrower accumulators.

    `accumulators`: their widths, each tried with sums that wrap and with sums that saturate; all attacked images are
    held at once then. `asked`: see `intsim.evaluate`. Sections that say nothing of a model are left out: single images
    where the input is no picture or the answer no class, all but the accumulators where nothing was crafted on float.
    Raises IntsimError for whatever does not fit, before anything is crafted.
    """
    from intsim.engine import run as execute

    engine = run or execute
    ready = prepared(model, targets, run=engine, **asked)
    judge = _looked_at(ready)
    programs = _narrowed(ready, judge, accumulators)
    kept: dict[tuple[str, float], Images] = {}

    def keep(images: Images) -> None:
        if images.crafted_on == FLOAT:
            part = images if programs else replace(images, x=images.x[:CLOSER].copy())
            kept[images.name, images.eps_steps] = part

    found = results(concluded(ready, progress=progress, keep=keep))
    if judge is None or ready.grid != 255:
        return found
    with one_thread():
        return _closer(found, ready, judge, programs, kept, engine, progress)


def sets_of(found: Results, kept: Kept) -> tuple[list[Images], list[Images]]:
    """(the clean images, of each attack those that tell most, and noise of the first one's radius; the other attacks').

    Only the clean images where nothing was crafted on float.
    """
    attacks = [(name, telling(found, name)) for name in searching(found)]
    norms = {one.name: one.norm for one in found.attacks}
    noise = [(NOISE[norms[name]], eps) for name, eps in attacks[:1] if norms[name] in NOISE]
    told = [kept[one] for one in [(CLEAN, 0.0), *attacks, *noise] if one in kept]
    others = [one for one in kept.values() if one.name not in NOISE.values()]
    return told, [one for one in others if all(one is not other for other in told)]


def _looked_at(ready: Prepared) -> Judge | None:
    """The first machine that was named, or ideal arithmetic; None where only float judges."""
    machines = [judge for judge in ready.panel if judge.program is not None]
    return next((judge for judge in machines if judge.target != IDEAL), machines[0] if machines else None)


def _narrowed(ready: Prepared, judge: Judge | None, widths: Sequence[int]) -> Narrowed:
    if not widths:
        return {}
    if judge is None or judge.program is None:
        raise IntsimError("narrows no machine", where="accumulators", mend="name one: --target NAME")
    if ready.grid != 255:
        raise IntsimError("takes images of 256 levels", where="accumulators", mend="leave out grid")
    if len(judge.program.targets) > 1:
        what = f"{judge.target} are several machines"
        raise IntsimError(what, where="accumulators", mend="name one machine first")
    target = next(iter(judge.program.targets.values()))
    return narrowed(judge.program.source, target, judge.network, list(dict.fromkeys(widths)))


def _closer(
    found: Results,
    ready: Prepared,
    judge: Judge,
    programs: Narrowed,
    kept: Kept,
    run: Run,
    progress: Progress | None,
) -> Results:
    """The results with what the machine's sums and layers, and single images, tell."""
    told, more = sets_of(found, kept)
    hit = next((one for one in told if one.name in searching(found)), None)
    if hit is not None:
        assert judge.program is not None
        at = (ready.graph, judge.program, judge.network, judge.target)
        found = replace(found, amplified=tuple(amplification(*at, told[0], hit, CLOSER, run)))
        if _drawn(ready, found, told[0].x):
            chosen = examples(found, ready.panel, ready.y, told[0], hit)
            found = replace(found, gallery=tuple(chosen))
    if programs:
        tick = progress or (lambda what, done, of: None)
        how: dict[str, Any] = {"counted": CLOSER, "right": ready.right, "tick": tick}
        found = with_accumulators(found, programs, ready.panel, told, more, ready.y, run, **how)
    return found


def _drawn(ready: Prepared, found: Results, x: np.ndarray) -> bool:
    """Whether single images say something: grey or coloured pictures, and classes as answers."""
    return ready.right is top1 and found.classes > 1 and x.ndim == 4 and x.shape[1] in (1, 3)
