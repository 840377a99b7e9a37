"""Images in, rows out: who is right on what, against float and against the float null, on the same images."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.evaluate.camera import as_pixels
from intsim.evaluate.records import FLOAT, NULL, Images, Judge, Row
from intsim.statistics import paired, wilson
from intsim.tasks import Right, are_values, guessed, tie_extremes, tied, top1

FEW = 0.3
"""Of the classes, how many count as few: the 3 most frequent answers of 10."""
MUCH = 3 / 7
"""How far from what the most frequent labels cover towards everything a collapsed judge's few answers cover:
from 30 % to 60 % for 10 classes that are equally frequent."""


def judged(
    judges: Sequence[Judge],
    sets: Iterable[Images],
    y: np.ndarray,
    *,
    right: Right = top1,
    seed: int = 0,
    progress: Callable[[str, str], None] | None = None,
) -> list[Row]:
    """One `Row` for every judge on every set of images, set by set, in the order of both.

    The first set is the clean one. Exactly one judge is FLOAT; each network has at most one NULL. `right` is the
    predicate that decides; ties and predicted classes are counted where outputs are [n, classes]. One
    output is no class. Only `top1` leaves ties open, any other predicate decides them itself. `seed` is recorded.
    `progress` is told the judge and the set that come next. Raises IntsimError for an output that is not [n, ...] or
    holds NaN, and for a predicate that does not give bool[n].
    """
    reference, floor = _reference(judges), None
    clean: dict[int, np.ndarray] = {}
    collapsed: dict[int, bool] = {}
    rows: list[Row] = []
    for images in sets:
        pixels = as_pixels(images.x, images.grid)
        outputs = [_asked(judge, pixels, images, progress) for judge in judges]
        correct = [_decided(right, output, y) for output in outputs]
        if floor is None:
            floor = _floor(right, outputs[reference], y)
        if images.attack is None:
            clean = dict(enumerate(correct))
            collapsed = {i: _collapsed(outputs[i], correct[i], y, floor) for i in clean}
        assert clean, "the clean images come first"
        fooled = clean[reference] & ~correct[reference]
        for i, judge in enumerate(judges):
            others = {FLOAT: reference, NULL: _null_of(judges, judge)}
            against = {name: correct[j] for name, j in others.items() if j is not None and j != i}
            open_ties = right is top1 and _classified(outputs[i], y)
            worst, best = tie_extremes(outputs[i], y) if open_ties else (correct[i], correct[i])
            marks = {"correct": correct[i], "worst": worst, "best": best, "clean": clean[i], "fooled": fooled}
            how: dict[str, Any] = {"collapsed": collapsed[i], "floor": floor, "seed": seed}
            rows.append(_row(judge, images, outputs[i], marks, against, classified=_classified(outputs[i], y), **how))
    return rows


def _row(
    judge: Judge,
    images: Images,
    output: np.ndarray,
    marks: dict[str, np.ndarray],
    against: dict[str, np.ndarray],
    *,
    classified: bool,
    collapsed: bool,
    floor: float,
    seed: int,
) -> Row:
    """The row of one judge's output; `marks`: bool[n], "worst" and "best" at the extremes of ties."""
    correct, worst, best, clean, fooled = (marks[name] for name in ("correct", "worst", "best", "clean", "fooled"))
    n, count = len(correct), int(correct.sum())
    rate = wilson(count, n)
    conditional = images.attack is not None and not collapsed
    return Row(
        network=judge.network,
        target=judge.target,
        attack=images.name,
        norm="" if images.attack is None else images.attack.norm,
        eps=images.eps_steps / 255,
        eps_steps=images.eps_steps,
        n=n,
        correct=count,
        low=rate.low,
        high=rate.high,
        tied=int(tied(output).sum()) if classified else 0,
        correct_ties_wrong=int(worst.sum()),
        correct_ties_right=int(best.sum()),
        predicted=tuple(np.bincount(output.argmax(1), minlength=output.shape[1]).tolist()) if classified else (),
        top_share=top_share(output.argmax(1), output.shape[1]) if classified else 0.0,
        at_floor=rate.low <= floor,
        collapsed=collapsed,
        transferred=wilson(int((~correct & fooled).sum()), int(fooled.sum())) if conditional else None,
        fooled=wilson(int((~correct & clean).sum()), int(clean.sum())) if conditional else None,
        paired={name: paired(correct, other) for name, other in against.items()},
        images=images.digest,
        answers=_answered(output) if classified else b"",
        ties_wrong=b"" if (worst == correct).all() else np.packbits(worst).tobytes(),
        ties_right=b"" if (best == correct).all() else np.packbits(best).tobytes(),
        seed=seed,
        right=np.packbits(correct).tobytes(),
        crafted_on=images.crafted_on,
    )


def _answered(output: np.ndarray) -> bytes:
    return output.argmax(1).astype("<u1" if output.shape[1] <= 256 else "<u2").tobytes()


def top_share(classes: np.ndarray, of: int) -> float:
    """What share of classes[n], in 0..`of`-1, the most frequent FEW of them cover: 3 of 10, at least 1."""
    counts = np.sort(np.bincount(classes, minlength=of))[::-1]
    return float(counts[: max(1, math.floor(FEW * of + 0.5))].sum() / max(1, len(classes)))


def _collapsed(output: np.ndarray, correct: np.ndarray, y: np.ndarray, floor: float) -> bool:
    """Whether clean answers are no better than the best single answer, or few answers cover too much."""
    at_floor = wilson(int(correct.sum()), len(y)).low <= floor
    if not _classified(output, y):
        return at_floor
    labels, answered = top_share(y, output.shape[1]), top_share(output.argmax(1), output.shape[1])
    return at_floor or answered > labels + MUCH * (1 - labels)


def _classified(output: np.ndarray, y: np.ndarray) -> bool:
    return output.ndim == 2 and output.shape[1] > 1 and not are_values(y)


def _floor(right: Right, output: np.ndarray, y: np.ndarray) -> float:
    """How often the best single answer is right: under `top1` the most frequent label."""
    if not are_values(y) and (right is top1 or output.ndim != 2):
        return float(np.bincount(y).max() / len(y))
    return guessed(right, y, output.shape[1])


def _decided(right: Right, output: np.ndarray, y: np.ndarray) -> np.ndarray:
    found = np.asarray(right(output, y))
    if found.shape != (len(y),) or found.dtype != bool:
        what = f"gives {found.dtype} {found.shape} for {len(y)} examples"
        raise IntsimError(what, where="right", mend="give (output[n, ...], y[n]) -> bool[n]")
    return found


def _reference(judges: Sequence[Judge]) -> int:
    found = [i for i, judge in enumerate(judges) if judge.target == FLOAT]
    if len(found) != 1:
        raise IntsimError(f"{len(found)} judges are the float network", mend=f'give one judge the target "{FLOAT}"')
    names = [(judge.network, judge.target) for judge in judges]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise IntsimError("judges twice under one name", where=" on ".join(twice), mend="give each target its own name")
    return found[0]


def _null_of(judges: Sequence[Judge], judge: Judge) -> int | None:
    return next((i for i, j in enumerate(judges) if j.target == NULL and j.network == judge.network), None)


def _asked(judge: Judge, pixels: np.ndarray, images: Images, progress: Callable[[str, str], None] | None) -> np.ndarray:
    if progress is not None:
        progress(f"{judge.network} on {judge.target}", f"{images.name} {images.eps_steps:g}/255")
    output = np.asarray(judge.answer(pixels))
    if len(output) != len(pixels) or output.ndim < 2 or not np.isfinite(output).all():
        what = f"answers {output.dtype} {output.shape} to {len(pixels)} images, or NaN"
        raise IntsimError(what, where=f"{judge.network} on {judge.target}")
    return output
