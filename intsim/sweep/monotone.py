"""Where a machine with more bits, or a wider accumulator, is right less often than its narrower neighbour."""

from collections.abc import Iterable
from itertools import pairwise

import numpy as np
from msgspec import Struct

from intsim.attack.catalogue import ATTACKS
from intsim.statistics import Paired, holm, mcnemar, paired
from intsim.sweep.judged import AXES, Judged, is_machine

ORDERED = ("weight_bits", "activation_bits", "accumulator")
"""The axes along which one expects a machine to be right more often. 0, its own, has no place in the order."""

LEVEL = 0.05


class Turn(Struct, frozen=True, kw_only=True):
    """Neighbours on `axis` of which the narrower is right more often, on the same images: `found`, narrow less wide.

    `adjusted`: the exact McNemar p after Holm, over all neighbours that differ anywhere.
    """

    axis: str
    narrow: Judged
    wide: Judged
    found: Paired
    adjusted: float

    @property
    def sure(self) -> bool:
        """Beyond its interval and beyond the chance of so many looks."""
        return self.adjusted < LEVEL and self.found.low > 0


class Turns(Struct, frozen=True, kw_only=True):
    """`looked` pairs of neighbours judged the same images and differ on some; `against` of them go against the axis.

    `turns`: those, the surest first, at most as many as were asked for, and all that are sure. `apart`: neighbours
    that judged different images, which are not compared.
    """

    looked: int
    against: int
    apart: int
    turns: tuple[Turn, ...]


def turns(those: Iterable[Judged], most: int = 100) -> Turns:
    """The places where accuracy is not monotone in bits or accumulator width, everything else being equal.

    Each cell is compared with its next wider neighbour, image by image (under an attack that knows the chip: what was
    made of it for each of the two). Cells that agree on every image are one and the same here:
    given how many images tell two apart, the exact test of them could find nothing.
    """
    pairs, apart = _neighbours(those)
    counts = [_counts(narrow, wide) for _, narrow, wide in pairs]
    looked = [(pair, count) for pair, count in zip(pairs, counts, strict=True) if any(count)]
    adjusted = holm([mcnemar(*count) for _, count in looked])
    against = [(p, *pair) for (pair, (gained, lost)), p in zip(looked, adjusted, strict=True) if gained > lost]
    found = list[Turn]()
    for p, axis, narrow, wide in sorted(against, key=lambda one: (one[0], one[3].correct - one[2].correct)):
        if len(found) >= most and p >= LEVEL:
            break
        between = paired(narrow.bits, wide.bits)
        found.append(Turn(axis=axis, narrow=narrow, wide=wide, found=between, adjusted=p))
    return Turns(looked=len(looked), against=len(against), apart=apart, turns=tuple(found))


def _neighbours(those: Iterable[Judged]) -> tuple[list[tuple[str, Judged, Judged]], int]:
    """((axis, narrower, next wider) to compare, each pair once; how many neighbours judged different images)."""
    lines: dict[tuple[str, tuple[object, ...]], list[Judged]] = {}
    for one in those:
        if is_machine(one.cell):
            for axis in ORDERED:
                if getattr(one.cell, axis):
                    rest = tuple(getattr(one.cell, other) for other in AXES if other != axis)
                    lines.setdefault((axis, rest), []).append(one)
    found: dict[tuple[str, str], tuple[str, Judged, Judged]] = {}
    apart = set[tuple[str, str]]()
    for (axis, _), several in lines.items():
        ordered = sorted(several, key=lambda one: getattr(one.cell, axis))
        for narrow, wide in pairwise(ordered):
            key = narrow.digest, wide.digest
            if _comparable(narrow, wide):
                found.setdefault(key, (axis, narrow, wide))
            else:
                apart.add(key)
    return list(found.values()), len(apart)


def _comparable(a: Judged, b: Judged) -> bool:
    """Whether both judged the same images, or what an attack that knows each made of the same ones."""
    own = a.cell.attack in ATTACKS and ATTACKS[a.cell.attack].knows == "chip"
    return a.n == b.n and (own or a.images == b.images)


def _counts(a: Judged, b: Judged) -> tuple[int, int]:
    """(only a right, only b right)."""
    first, second = (np.frombuffer(one.right, np.uint8) for one in (a, b))
    return int(np.bitwise_count(first & ~second).sum()), int(np.bitwise_count(~first & second).sum())
