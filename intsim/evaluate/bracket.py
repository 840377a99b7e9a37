"""The bracket: what no attack that was run has taken, and what is proven that none can take."""

from collections.abc import Callable, Sequence

import numpy as np

from intsim.errors import IntsimError
from intsim.evaluate.records import CLEAN, FLOAT, Bracket, Row, bits, tie_bits
from intsim.statistics import Rate, wilson

Certified = Callable[[str, str, str, float], np.ndarray | None]
"""(network, target, norm, radius in steps of 1/255) -> bool[n]: which clean images are right in all of the ball around
them, as was proven; None: nothing was tried there."""


def brackets(rows: Sequence[Row], certified: Certified | None = None) -> list[Bracket]:
    """One `Bracket` for each judge, norm and radius that was tried.

    Raises IntsimError where an image is both proven right and fooled: one of the two is wrong.
    """
    found = []
    for network, target in dict.fromkeys((row.network, row.target) for row in rows):
        own = [row for row in rows if (row.network, row.target) == (network, target)]
        for norm, eps in sorted({(row.norm, row.eps_steps) for row in own if row.attack != CLEAN}):
            within = [row for row in own if row.attack == CLEAN or (row.norm == norm and row.eps_steps <= eps)]
            proven = certified(network, target, norm, eps) if certified is not None else None
            found.append(_bracket(within, norm, eps, proven))
    return found


def _bracket(within: Sequence[Row], norm: str, eps: float, proven: np.ndarray | None) -> Bracket:
    """Of all rows of one judge in the ball; proven[n] or None."""
    first = within[0]
    survived = np.all([bits(row) for row in within], axis=0)
    extremes = [tie_bits(row) for row in within]
    on_float = [bits(row) for row in within if row.crafted_on == FLOAT]
    if proven is not None and (wrong := np.flatnonzero(np.asarray(proven, bool) & ~survived)).size:
        what = f"image {wrong[0]} is proven right within {eps:g}/255 ({norm}), and was fooled there"
        raise IntsimError(what, where=first.who, mend="report this: a certificate or an attack is wrong")
    return Bracket(
        network=first.network,
        target=first.target,
        norm=norm,
        eps_steps=eps,
        upper=_rate(survived),
        ties_wrong=_rate(np.all([worst for worst, _ in extremes], axis=0)),
        ties_right=_rate(np.all([best for _, best in extremes], axis=0)),
        transfer=_rate(np.all(on_float, axis=0)),
        loose=first.target != FLOAT and len(on_float) == len(within),
        lower=None if proven is None else _rate(np.asarray(proven, bool)),
        over=tuple(dict.fromkeys(_name(row) for row in within)),
    )


def _name(row: Row) -> str:
    return row.attack if row.crafted_on == FLOAT else f"{row.attack} crafted on {row.crafted_on}"


def _rate(right: np.ndarray) -> Rate:
    return wilson(int(right.sum()), len(right))
