"""Two runs side by side: the cells that both have, and what became worse or better than chance explains."""

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from intsim.statistics import Rate, holm, paired, unpaired
from intsim.sweep.cells import Cell
from intsim.sweep.judged import Judged

LEVEL = 0.05


class Change(Struct, frozen=True, kw_only=True):
    """One cell in both runs: new less old, with its interval and p-value, `adjusted` after Holm over all cells.

    `same_images`: both judged the same images (exact McNemar, paired interval); else Fisher's test and the interval of
    two samples. `differ`: the images on which one is right and the other wrong; None where they are not the same.
    """

    cell: Cell
    old: Rate
    new: Rate
    same_images: bool
    differ: int | None
    difference: float
    low: float
    high: float
    p: float
    adjusted: float = 1.0

    @property
    def worse(self) -> bool:
        """A regression beyond its interval and beyond the chance of so many cells."""
        return self.adjusted < LEVEL and self.high < 0

    @property
    def better(self) -> bool:
        """The opposite of one."""
        return self.adjusted < LEVEL and self.low > 0


class Difference(Struct, frozen=True, kw_only=True):
    """What two runs have in common, `compared` cells by their axes, each change once; and what only one has.

    `unlike`: compared cells that judged other images. `changed`: those of the same images with any other outcome.
    `looked`: how many comparisons the p-values are adjusted for, those which differ anywhere.
    """

    compared: int
    unlike: int
    changed: int
    looked: int
    worse: tuple[Change, ...]
    better: tuple[Change, ...]
    only_old: int
    only_new: int


def difference(old: Iterable[Judged], new: Iterable[Judged]) -> Difference:
    """`Difference` of two runs' finished cells, matched by the values of their axes and not by their digests."""
    before, after = ({one.cell: one for one in several} for several in (old, new))
    both = [(one, after[cell]) for cell, one in before.items() if cell in after]
    once: dict[tuple[str, str], tuple[Judged, Judged]] = {}
    for a, b in both:
        once.setdefault((a.digest, b.digest), (a, b))  # seeds that nothing depends on are one cell
    changes = [_change(a, b) for a, b in once.values()]
    looked = [one for one in changes if one.differ != 0]
    adjusted = holm([one.p for one in looked])
    judged = [replace(one, adjusted=p) for one, p in zip(looked, adjusted, strict=True)]
    return Difference(
        compared=len(both),
        unlike=sum(not _alike(a, b) for a, b in both),
        changed=sum(_alike(a, b) and a.right != b.right for a, b in both),
        looked=len(looked),
        worse=tuple(sorted((one for one in judged if one.worse), key=lambda one: one.difference)),
        better=tuple(sorted((one for one in judged if one.better), key=lambda one: -one.difference)),
        only_old=len(before) - len(both),
        only_new=len(after) - len(both),
    )


def _alike(a: Judged, b: Judged) -> bool:
    return (a.images, a.n) == (b.images, b.n)


def _change(old: Judged, new: Judged) -> Change:
    if _alike(old, new):
        one = paired(new.bits, old.bits)
        differ, found = one.gained + one.lost, (one.difference, one.low, one.high, one.p)
    else:
        two = unpaired(new.rate, old.rate)
        differ, found = None, (two.difference, two.low, two.high, two.p)
    return Change(
        cell=old.cell, old=old.rate, new=new.rate, same_images=_alike(old, new), differ=differ,
        difference=found[0], low=found[1], high=found[2], p=found[3],
    )  # fmt: skip
