"""What a judge saw, set by set, and what two sets of images have in common."""

from collections.abc import Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.attack.catalogue import Attack
from intsim.evaluate.probe import Probe
from intsim.evaluate.records import CLEAN, Gate, Row
from intsim.statistics import wilson


class Seen(Struct, frozen=True, kw_only=True, eq=False):
    """What one judge made of one set of images: which are `right`, bool[n].

    `attack`: None for clean images. `own`: crafted on the judge itself (noise and clean images are nobody's: True).
    `blind`: crafted without a gradient, by asking the judge.
    """

    attack: Attack | None
    eps_steps: float
    own: bool
    right: np.ndarray
    blind: bool = False

    @property
    def name(self) -> str:
        """What the set is called."""
        return set_name(self.attack, self.eps_steps, own=self.own)

    @property
    def share(self) -> float:
        """The accuracy."""
        return float(self.right.mean())


class Case(Struct, frozen=True, kw_only=True, eq=False):
    """A judge before the gates: what it saw, what its float twin saw of images crafted on the twin, and its probe.

    `chance`: how often guessing is right.
    """

    network: str
    target: str
    chance: float
    seen: Sequence[Seen]
    twin: Sequence[Seen] = ()
    probe: Probe | None = None


def set_name(attack: Attack | None, eps_steps: float, *, own: bool) -> str:
    """What a set of images is called in gates, whose judge's `own` it is or not."""
    if attack is None:
        return CLEAN
    return f"{attack.name} at {eps_steps:g}/255" + ("" if own else ", transferred")


def is_own(row: Row, attack: Attack | None) -> bool:
    """Whether the row's images were crafted on its judge; clean ones and noise are nobody's."""
    return attack is None or is_noise(attack) or row.crafted_on == row.who


# ---- what sets have in common ---------------------------------------------------------------------------------------


def attack_of(one: Seen) -> Attack:
    """The attack of a set that is not clean."""
    assert one.attack is not None
    return one.attack


def crafted(seen: Sequence[Seen]) -> list[Seen]:
    """The sets that were crafted on the judge itself, along gradients, to make it wrong."""
    found = [one for one in seen if one.own and not one.blind and one.attack is not None]
    return [
        one for one in found if (attack_of(one).steps or attack_of(one).function) and attack_of(one).success == "wrong"
    ]


def is_noise(attack: Attack) -> bool:
    """Whether it takes no step at all."""
    return attack.steps == 0 and not attack.function


def ball_of(one: Seen) -> tuple[str, float]:
    """Its norm and radius."""
    return attack_of(one).norm, one.eps_steps


def loss_of(one: Seen) -> tuple[str, float, str]:
    """What it raises: the loss, its temperature, and towards which class."""
    attack = attack_of(one)
    return attack.loss if not attack.function else attack.name, attack.temperature, attack.towards


def shape_of(one: Seen) -> Attack:
    """The attack but for its loss."""
    return replace(attack_of(one), name="", loss="cross_entropy", temperature=1.0)


def is_doubled(less: Attack, more: Attack) -> bool:
    """Whether `more` is the same attack with at least twice the steps, or twice the starts, and steps no longer."""
    same = replace(less, name="", steps=more.steps, restarts=more.restarts, step_size=more.step_size)
    longer = more.steps >= 2 * less.steps > 2 and more.restarts >= less.restarts
    return same == replace(more, name="") and (
        longer or (more.steps == less.steps and more.restarts >= 2 * less.restarts)
    )


def affords(attack: Attack, other: Attack) -> bool:
    """Whether an attack spends at least as many gradients an image as another; what is not known is enough."""
    return attack.gradients is None or other.gradients is None or attack.gradients >= other.gradients


def by_chance(case: Case, one: Seen) -> bool:
    """Whether guessing may be right as often."""
    return wilson(int(one.right.sum()), len(one.right)).low <= case.chance


def names(seen: Sequence[Seen]) -> tuple[str, ...]:
    """What the sets are called, each once."""
    return tuple(dict.fromkeys(one.name for one in seen))


def unknown(case: Case, name: str, settle: str, rule: str, *, limit: float, masking: bool = True) -> Gate:
    """The gate of a check for which something was not run."""
    said = f"{rule}: not known here"
    return made(case, name, None, None, limit, said, spoils=(), settle=settle, masking=masking)


def made(
    case: Case,
    name: str,
    passed: bool | None,
    value: float | None,
    limit: float | None,
    said: str,
    *,
    spoils: tuple[str, ...],
    settle: str,
    masking: bool = True,
) -> Gate:
    """The gate of a check of the case."""
    return Gate(
        name=name,
        network=case.network,
        target=case.target,
        masking=masking,
        passed=passed,
        value=value,
        limit=limit,
        spoils=spoils,
        settle=settle,
        said=f"{said}.",
    )
