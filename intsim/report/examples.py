"""Which images stand in the gallery: some of every kind of outcome, chosen by index alone."""

from collections.abc import Iterator, Sequence

import numpy as np

from intsim.evaluate.records import FLOAT, Images, Judge, bits
from intsim.evaluate.verdict import broken
from intsim.report.gallery import thumbnail
from intsim.report.record import Example, Results, judges, row_of

KINDS = {
    "fools float, not the chip": (False, True),
    "fools the chip, not float": (True, False),
    "fools both": (False, False),
    "fools neither": (True, True),
}
"""What an attack did to float and to the chip, of images that both get right when clean: (float right, chip right)."""


def examples(
    found: Results, panel: Sequence[Judge], y: np.ndarray, clean: Images, attacked: Images, *, each: int = 2
) -> list[Example]:
    """Up to `each` images of every kind, on as many judges as possible, among those that were usable when clean.

    `clean` and `attacked` are sets of uint8 images that all judges of the `panel` were asked about, or the first ones.
    """
    integer = judges(found)
    usable = [judge for judge in panel if (judge.network, judge.target) in integer and _usable(found, judge, clean)]
    reference = next(judge for judge in panel if judge.target == FLOAT)
    chosen = []
    taken: set[int] = set()
    for kind in KINDS:
        for index, judge in _of_kind(found, usable, reference, clean, attacked, kind, taken, each):
            taken.add(index)
            chosen.append(_example(index, int(y[index]), reference, judge, clean, attacked, kind))
    return chosen


def _usable(found: Results, judge: Judge, clean: Images) -> bool:
    row = row_of(found, judge.network, judge.target, clean.name, 0.0)
    return row is not None and not broken(row)


def _right(found: Results, judge: Judge, images: Images) -> np.ndarray:
    row = row_of(found, judge.network, judge.target, images.name, images.eps_steps)
    assert row is not None
    return bits(row)


def _of_kind(
    found: Results,
    usable: Sequence[Judge],
    reference: Judge,
    clean: Images,
    attacked: Images,
    kind: str,
    taken: set[int],
    each: int,
) -> Iterator[tuple[int, Judge]]:
    """The first images of a kind, `each` at most, one a judge; the judges that differ most from float come first."""
    float_right, chip_right = KINDS[kind]
    before, after = (_right(found, reference, images) for images in (clean, attacked))
    given = 0
    own: set[int] = set()
    for judge in sorted(usable, key=lambda one: -int((_right(found, one, attacked) != after).sum())):
        fits = before & _right(found, judge, clean) & (after == float_right)
        fits &= _right(found, judge, attacked) == chip_right
        here = np.flatnonzero(fits[: len(clean.x)])
        index = next((int(i) for i in here if int(i) not in taken | own), None)
        if index is not None and given < each:
            given += 1
            own.add(index)
            yield index, judge


def _example(
    index: int, label: int, reference: Judge, judge: Judge, clean: Images, attacked: Images, kind: str
) -> Example:
    pair = np.stack([clean.x[index], attacked.x[index]])
    answered = [one.answer(pair) for one in (reference, judge)]
    said = [[int(c) for c in output.argmax(1)] for output in answered]
    integers = answered[1] if answered[1].dtype.kind in "iu" else np.zeros((2, 0), int)
    small = [thumbnail(image) for image in pair]
    return Example(
        index=index,
        label=label,
        network=judge.network,
        target=judge.target,
        attack=attacked.name,
        eps_steps=attacked.eps_steps,
        shape=small[0].shape,
        clean=small[0].tobytes(),
        attacked=small[1].tobytes(),
        float_clean=said[0][0],
        float_attacked=said[0][1],
        chip_clean=said[1][0],
        chip_attacked=said[1][1],
        kind=kind,
        logits_clean=tuple(map(int, integers[0])),
        logits_attacked=tuple(map(int, integers[1])),
    )
