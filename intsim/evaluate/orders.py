"""The gates that compare two rates on the same images: one may not be higher than the other by more than chance."""

from collections.abc import Sequence
from itertools import pairwise

from intsim.evaluate.records import Gate
from intsim.evaluate.sight import (
    Case,
    Seen,
    affords,
    attack_of,
    ball_of,
    by_chance,
    crafted,
    is_doubled,
    is_noise,
    loss_of,
    made,
    shape_of,
    unknown,
)
from intsim.statistics import holm, paired

LEVEL = 0.01
"""The chance that noise fires a gate, after Holm's adjustment over the pairs that it compares."""

SLACK = 0.01
"""By how much more than chance a rate must go the wrong way before a gate fires."""

Pair = tuple[Seen, Seen]


def _ordered(case: Case, name: str, pairs: Sequence[Pair], settle: str, rule: str, **other: bool) -> Gate:
    """A gate that fails where some first of a pair is right more often than its second, by more than chance.

    `other`: masking=False where a failure is no sign of it, second=True where it is the second that it spoils.
    """
    masking = other.get("masking", True)
    if not pairs:
        return unknown(case, name, settle, rule, limit=SLACK, masking=masking)
    tests = [paired(a.right, b.right) for a, b in pairs]
    wrong = [
        (test, pair)
        for test, p, pair in zip(tests, holm([test.p for test in tests]), pairs, strict=True)
        if p < LEVEL and test.difference > SLACK
    ]
    worst = max(test.difference for test in tests)
    said = f"{rule}: so it is in {len(pairs)} of {len(pairs)} pairs, as far as chance tells"
    if wrong:
        test, (a, b) = max(wrong, key=lambda found: found[0].difference)
        said = (
            f"{rule}: but {a.name} leaves {100 * a.share:.1f} % and {b.name} {100 * b.share:.1f} % "
            f"({100 * test.difference:+.1f} points, exact McNemar p = {test.p:.2g}; {len(wrong)} of {len(pairs)} pairs)"
        )
    spoils = tuple(dict.fromkeys(pair[int(other.get("second", False))].name for _, pair in wrong))
    return made(case, name, not wrong, worst, SLACK, said, spoils=spoils, settle=settle, masking=masking)


def _monotone(case: Case) -> Gate:
    """A larger radius leaves no more. What is right by chance is held against clean images: long steps miss there."""
    clean = [one for one in case.seen if one.attack is None]
    pairs = []
    for attack, own in dict.fromkeys((one.attack, one.own) for one in case.seen if one.attack is not None):
        line = [one for one in case.seen if one.attack == attack and one.own == own]
        ordered = [*clean, *sorted(line, key=lambda one: one.eps_steps)]
        pairs += [(b, clean[0] if clean and by_chance(case, b) else a) for a, b in pairwise(ordered)]
    rule = "A larger radius leaves no more images right"
    return _ordered(case, "monotone", [p for p in pairs if p[0].own], "pgd with more steps and restarts", rule)


def _iterated(case: Case) -> Gate:
    """Several steps are at least as strong as one, on the same loss."""
    own = crafted(case.seen)
    pairs = [
        (many, one)
        for one in own
        for many in own
        if attack_of(one).steps == 1 < attack_of(many).steps
        and loss_of(one) == loss_of(many)
        and ball_of(one) == ball_of(many)
    ]
    rule = "Several steps leave no more than one step on the same loss"
    return _ordered(case, "iterated", pairs, "fgsm and pgd crafted on it, at the same radii", rule)


def _self_attack(case: Case) -> Gate:
    """Images crafted on the judge, at no smaller a budget, are at least as strong as those crafted on another."""
    rule = "Images crafted on the judge itself leave no more right than images crafted on another network"
    own, pairs, poorer = crafted(case.seen), list[Pair](), list[Pair]()
    for other in (one for one in case.seen if not one.own):
        near = [one for one in own if ball_of(one) == ball_of(other)]
        rich = [one for one in near if affords(attack_of(one), attack_of(other))]
        if rich:
            same = [one for one in rich if one.attack == other.attack]
            pairs.append((min(same or rich, key=lambda one: one.share), other))
        elif near:
            poorer.append((max(near, key=lambda one: attack_of(one).gradients or 0), other))
    if poorer and not pairs:
        less, more = poorer[0]
        return unknown(
            case,
            "self-attack",
            f"an attack crafted on it with {attack_of(more).gradients} gradients an image or more",
            f"{rule}, at the same budget ({more.name} had {attack_of(more).gradients} gradients an image, "
            f"{less.name} {attack_of(less).gradients})",
            limit=SLACK,
        )
    return _ordered(case, "self-attack", pairs, "an attack crafted on it (ste_pgd on a chip)", rule)


def _black_box(case: Case) -> Gate:
    """A search without gradients is no stronger than gradients."""
    pairs = []
    for blind in (one for one in case.seen if one.blind and one.own):
        if near := [one for one in crafted(case.seen) if ball_of(one) == ball_of(blind)]:
            pairs.append((min(near, key=lambda one: one.share), blind))
    rule = "Gradients leave no more right than a search without them"
    return _ordered(case, "black-box", pairs, "square crafted on it", rule)


def _noise(case: Case) -> Gate:
    """An attack is stronger than noise."""
    noises = [one for one in case.seen if one.attack is not None and is_noise(one.attack)]
    pairs = [(one, noise) for one in crafted(case.seen) for noise in noises if ball_of(one) == ball_of(noise)]
    return _ordered(
        case, "noise", pairs, "an attack and noise at the same radii", "An attack leaves no more than noise"
    )


def _doubled(case: Case) -> Gate:
    """Twice the steps, or more starts, change nothing."""
    own = crafted(case.seen)
    pairs = [
        (less, more)
        for less in own
        for more in own
        if ball_of(less) == ball_of(more) and is_doubled(attack_of(less), attack_of(more))
    ]
    rule = "Twice the steps leave no fewer right"
    return _ordered(case, "converged", pairs, "the same attack with twice the steps", rule, masking=False)


def _precision(case: Case) -> Gate:
    """Cross entropy in float32 is as strong as in float64, and as the form that never saturates."""
    own = crafted(case.seen)
    rule, settle = "Cross entropy is as strong in float32 as it is without rounding", "fgsm_float32 and fgsm_float64"
    pairs = [
        (a, b)
        for a in own
        for b in own
        if loss_of(a)[0] == "cross_entropy_float32"
        and loss_of(b)[0] in ("cross_entropy_float64", "cross_entropy")
        and shape_of(a) == shape_of(b)
        and ball_of(a) == ball_of(b)
    ]
    gate = _ordered(case, "float64", pairs, settle, rule)
    return gate


ORDERS = (_monotone, _iterated, _self_attack, _black_box, _noise, _precision, _doubled)
"""All gates of this file."""
