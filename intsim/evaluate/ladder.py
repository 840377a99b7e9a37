"""The ladder: from float to a target one change at a time, every step paired with the one before on the same images.

The images lie on the camera's grid before anybody sees them, float included: rounding the input is no step. The steps'
net effects add up to float against the target exactly; how they share it depends on their order, which is fixed.
"""

from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace

from intsim.attack.catalogue import Attack
from intsim.errors import IntsimError
from intsim.evaluate.records import CLEAN, FAKE, FLOAT, IDEAL, NULL, Primary, Row, Rung, bits, labels
from intsim.statistics import bootstrap_mean, holm, paired

YARDSTICKS = (FLOAT, NULL, FAKE)
"""The targets of judges that run no integers."""


Cell = tuple[str, str, str, float]
"""One set of images: attack, norm, what it was crafted on, radius in steps of 1/255."""


def rungs(rows: Sequence[Row], *, seed: int = 0) -> list[Rung]:
    """Every step of every ladder on every set of images.

    Float, fake-quant and ideal arithmetic are below every target of a network, so their steps are there once. Steps
    whose judges are missing are left out, and the next one bridges them. `seed`: of the bootstrap.
    """
    found: dict[tuple[str, str, Cell], Rung] = {}
    table = {(row.network, row.target, _cell(row)): row for row in rows if row.target != FLOAT}
    floats = {_cell(row): row for row in rows if row.target == FLOAT}
    for (network, target, cell), _ in table.items():
        if _is_yardstick(target) or cell not in floats:
            continue
        names = [name for name in (FAKE, IDEAL, target) if (network, name, cell) in table]
        path = [floats[cell], *(table[network, name, cell] for name in dict.fromkeys(names))]
        null = table.get((network, NULL, cell))
        for place in range(1, len(path)):
            key = (network, path[place].target, cell)
            if key not in found:
                found[key] = _rung(path[: place + 1], null, seed)
        net = sum(found[network, row.target, cell].paired.gained for row in path[1:])
        net -= sum(found[network, row.target, cell].paired.lost for row in path[1:])
        assert net == path[-1].correct - path[0].correct, "the steps do not add up to the whole"
    adjusted = holm([rung.paired.p for rung in found.values()])
    return [replace(rung, p_holm=p) for rung, p in zip(found.values(), adjusted, strict=True)]


def _is_yardstick(target: str) -> bool:
    """Whether no integers run there; "float, ..." is the float network behind something, such as a coarser input."""
    return target in YARDSTICKS or target.startswith(f"{FLOAT},")


def _cell(row: Row) -> Cell:
    return row.attack, row.norm, row.crafted_on, row.eps_steps


def _rung(path: Sequence[Row], null: Row | None, seed: int) -> Rung:
    """The last step of a path that begins at float."""
    start, before, after = path[0], path[-2], path[-1]
    step, shift, beyond = bits(after).astype(int) - bits(before), None, None
    if null is not None:
        shift = paired(bits(null), bits(start))
        beyond = bootstrap_mean(step - (bits(null).astype(int) - bits(start)), seed=seed)
    answers = [found for row in path if (found := labels(row)) is not None]
    changed = first = rescued = None
    if len(answers) == len(path):
        moved = answers[-1] != answers[-2]
        changed = int(moved.sum())
        first = int((moved & np.all([one == answers[0] for one in answers[:-1]], axis=0)).sum())
        rescued = int((moved & (answers[-1] == answers[0])).sum())
    return Rung(
        network=after.network,
        before=before.target,
        after=after.target,
        attack=after.attack,
        norm=after.norm,
        eps_steps=after.eps_steps,
        crafted_on=after.crafted_on,
        paired=paired(bits(after), bits(before)),
        changed=changed,
        first=first,
        rescued=rescued,
        null=shift,
        beyond=beyond,
        p_holm=1.0,
    )


def ladder(found: Sequence[Rung], network: str, target: str, attack: str, eps_steps: float) -> list[Rung]:
    """The steps from float to the target on the images of one attack crafted on float, lowest first."""
    own = {
        rung.after: rung
        for rung in found
        if (rung.network, rung.attack, rung.eps_steps, rung.crafted_on) == (network, attack, eps_steps, FLOAT)
    }
    steps = [own[target]] if target in own else []
    while steps and steps[0].before != FLOAT:
        steps.insert(0, own[steps[0].before])
    return steps


def primary(
    rows: Sequence[Row], attacks: Sequence[Attack], declared: tuple[str, str, float] | None = None
) -> Primary | None:
    """The primary comparison of the evaluation; None where no integers ran, or no attack.

    `declared`: target, attack, and radius in steps of 1/255. Else it is the first target, the attack on float that may
    spend the most gradients (of several such the first), and the middle one of its radii (the larger of two): nothing
    that depends on what was found. Raises IntsimError for a cell that was not judged.
    """
    if declared is None:
        targets = list(dict.fromkeys(row.target for row in rows if not _is_yardstick(row.target)))
        chosen = [attack for attack in attacks if attack.gradients and _on_float(rows, attack.name)]
        if not targets or not chosen:
            return None
        target = next((name for name in targets if name != IDEAL), IDEAL)
        attack = max(chosen, key=lambda attack: attack.gradients or 0).name
        strengths = sorted({row.eps_steps for row in _on_float(rows, attack)})
        declared = target, attack, strengths[len(strengths) // 2]
    for row in rows:
        if (row.target, row.attack, row.eps_steps, row.crafted_on) == (*declared, FLOAT) and FLOAT in row.paired:
            return Primary(
                network=row.network,
                target=row.target,
                attack=row.attack,
                eps_steps=row.eps_steps,
                paired=row.paired[FLOAT],
            )
    what = f"{declared[1]} at {declared[2]:g}/255 on {declared[0]} was not judged"
    raise IntsimError(what, where="the primary cell", mend="name a target, an attack and a radius of this evaluation")


def _on_float(rows: Sequence[Row], attack: str) -> list[Row]:
    return [row for row in rows if row.attack == attack != CLEAN and row.crafted_on == FLOAT]
