"""Gates: checks that an honest accuracy under attack passes, and what a failed one spoils.

Rules: Athalye, Carlini, Wagner, ICML 2018, arXiv 1802.00420; Carlini et al., arXiv 1902.06705; the flags of AutoAttack,
Croce, Hein, ICML 2020, arXiv 2003.01690. Limits: `docs/gates.md` shows how often they are wrong on networks whose
gradients are known to be masked or not.
"""

from collections.abc import Iterable, Sequence

from intsim.attack.catalogue import Attack
from intsim.evaluate.limits import LIMITS, collapse
from intsim.evaluate.orders import ORDERS
from intsim.evaluate.probe import Probe
from intsim.evaluate.records import CLEAN, FLOAT, Gate, Row, bits
from intsim.evaluate.sight import Case, Seen, is_noise, is_own


def gates(
    rows: Sequence[Row], attacks: Sequence[Attack], probe: Probe | None = None, chance: float | None = None
) -> list[Gate]:
    """The gates of every judge of an evaluation; `probe` is that of the float network, which is everybody's twin.

    `chance`: how often guessing is right; None: once in as many times as there are classes.
    """
    found: list[Gate] = []
    known = {attack.name: attack for attack in attacks}
    floats = _seen([row for row in rows if row.target == FLOAT], known)
    for network, target in dict.fromkeys((row.network, row.target) for row in rows):
        own = [row for row in rows if (row.network, row.target) == (network, target)]
        case = Case(
            network=network,
            target=target,
            chance=1 / max(len(own[0].predicted), 2) if chance is None else chance,
            seen=_seen(own, known),
            twin=() if target == FLOAT else [one for one in floats if one.own],
            probe=probe if target == FLOAT else None,
        )
        found += [*judge_gates(case), collapse(case, own[0])]
    return found


def judge_gates(case: Case) -> list[Gate]:
    """Every gate of one judge but its collapse, which asks for its answers."""
    return [check(case) for check in (*ORDERS, *LIMITS)]


def masked(found: Iterable[Gate], network: str, target: str) -> list[Gate]:
    """The gates whose failure says that the judge's gradients are masked."""
    own = [gate for gate in found if (gate.network, gate.target) == (network, target)]
    return [gate for gate in own if gate.masking and gate.passed is False]


def _seen(rows: Sequence[Row], attacks: dict[str, Attack]) -> list[Seen]:
    found = []
    for row in rows:
        attack = attacks.get(row.attack)
        if row.attack != CLEAN and attack is None:
            continue
        blind = attack is not None and not is_noise(attack) and attack.gradients == 0
        own = is_own(row, attack)
        found.append(Seen(attack=attack, eps_steps=row.eps_steps, own=own, right=bits(row), blind=blind))
    return found
