"""Products and their sums, by the machine's tree of levels."""

from collections.abc import Sequence

from intsim.arithmetic.rounding import cast, held, moved
from intsim.target import Level, Mac, Table


def product(x: int, w: int, multiplier: Table | None) -> int:
    """What the multiplier gives for an activation and a weight (22); None: their product."""
    return x * w if multiplier is None else int(multiplier.entries[x % 256, w % 256])


def accumulated(products: Sequence[int], mac: Mac, start: int | None = None) -> tuple[int, int]:
    """The sum of the products by the machine's tree of levels, written back (4), and how many adds were not exact.

    `start`: what the outermost level starts from (a bias); it passes that level's register first. A register that
    changes a product or the sum counts as an add.
    """
    items, events = list(products), 0
    if mac.product is not None:
        exact = [moved(p, mac.product) for p in items]
        items = [cast(p, mac.product) for p in items]
        events += sum(a != b for a, b in zip(items, exact, strict=True))
    for level in mac.levels:
        sums = []
        for group in _groups(items, level):
            total = 0
            if level.size is None and start is not None:
                total = held(start, level.bits, level.overflow)
                events += total != start
            for item in group:
                exact_sum, total = total + item, held(total + item, level.bits, level.overflow)
                events += total != exact_sum
            sums.append(total)
        if level.first_only:
            sums += items[level.size :]
        items = sums
    if mac.write_back is None:
        return items[0], events
    written = cast(items[0], mac.write_back)
    return written, events + (written != moved(items[0], mac.write_back))


def _groups(items: list[int], level: Level) -> list[list[int]]:
    if level.size is None:
        return [items]
    if level.first_only:
        return [items[: level.size]]
    return [items[k : k + level.size] for k in range(0, len(items), level.size)] or [[]]
