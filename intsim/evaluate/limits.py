"""The gates that hold one number of a judge against a limit."""

from msgspec.structs import replace

from intsim.evaluate.orders import LEVEL
from intsim.evaluate.records import Gate, Row
from intsim.evaluate.sight import Case, attack_of, ball_of, by_chance, crafted, loss_of, made, names, shape_of, unknown
from intsim.statistics import bootstrap_mean

GAP = 0.02
"""By how much more than the float twin's a gap between losses must be before the gate fires."""

LONE_GAP = 0.15
"""The same where no twin is known: sound networks have gaps of up to 5 points."""

LARGE = 96.0
"""The L-inf radius, in steps of 1/255, at which a gradient attack must have left no more than chance."""

ZEROS, SATURATED = 0.05, 0.15
"""The shares of the images whose gradient may be zero, and whose p_y may be 1 in float32."""


def _zero_radius(case: Case) -> Gate:
    """Radius 0 is clean, exactly."""
    clean = next((one for one in case.seen if one.attack is None), None)
    zero = [one for one in case.seen if one.attack is not None and one.eps_steps == 0]
    rule, settle = "Images of radius 0 are the clean ones", "an attack of radius 0"
    if clean is None or not zero:
        return unknown(case, "zero radius", settle, rule, limit=0.0, masking=False)
    differ = {one.name: int((one.right != clean.right).sum()) for one in zero}
    worst = max(differ.values())
    spoils = tuple(name for name, count in differ.items() if count)
    said = f"{rule}: {worst} of {len(clean.right)} differ at most"
    return made(case, "zero radius", not worst, float(worst), 0.0, said, spoils=spoils, settle=settle, masking=False)


def _chance(case: Case) -> Gate:
    """At a large radius a gradient attack leaves no more than chance."""
    far = [one for one in crafted(case.seen) if one.eps_steps >= LARGE and attack_of(one).norm == "linf"]
    rule, settle = f"From {LARGE:g}/255 on an attack leaves no more than chance", f"pgd at {LARGE:g}/255, crafted on it"
    if not far:
        return unknown(case, "chance", settle, rule, limit=case.chance)
    least = min(far, key=lambda one: one.share)
    said = f"{rule}: {least.name} leaves {100 * least.share:.1f} %"
    spoils = () if (passed := by_chance(case, least)) else (least.name,)
    return made(case, "chance", passed, least.share, case.chance, said, spoils=spoils, settle=settle)


def _loss_gap(case: Case) -> Gate:
    """The margin is not much stronger than cross entropy: not more than it is on the float twin."""
    own, twins = crafted(case.seen), crafted(case.twin)
    rule, settle = "The margin is not much stronger than cross entropy", "fgsm_margin beside fgsm, crafted on it"
    cells = [
        (a, b)
        for a in own
        for b in own
        if loss_of(a)[0].startswith("cross_entropy")
        and loss_of(b)[0] in ("margin", "dlr")
        and shape_of(a) == shape_of(b)
        and ball_of(a) == ball_of(b)
    ]
    if not cells:
        return unknown(case, "loss gap", settle, rule, limit=GAP)
    found = []
    for a, b in cells:
        like = [next((t for t in twins if (t.attack, ball_of(t)) == (s.attack, ball_of(s))), None) for s in (a, b)]
        gap, limit = a.right.astype(int) - b.right, LONE_GAP
        if like[0] is not None and like[1] is not None:
            gap, limit = gap - (like[0].right.astype(int) - like[1].right), GAP
        interval = bootstrap_mean(gap, confidence=1 - 2 * LEVEL / len(cells))
        found.append((interval.at - limit, interval.low > 0 and interval.at > limit, limit, interval.at, a, b))
    _, fires, limit, value, a, b = max(found, key=lambda one: (one[1], one[0]))
    beyond = " more than on the float twin" if limit == GAP else ""
    said = f"{rule}: {b.name} leaves {100 * value:.1f} points less than {a.name}{beyond}"
    spoils = tuple(one[4].name for one in found if one[1])
    return made(case, "loss gap", not fires, value, limit, said, spoils=spoils, settle=settle)


def _zero_gradients(case: Case) -> Gate:
    """Few images have no gradient at all."""
    rule, settle = "Few images have a gradient that is zero everywhere", "ste_pgd or square"
    if case.probe is None:
        return unknown(case, "zero gradients", settle, rule, limit=ZEROS)
    share = case.probe.zero
    said = f"{rule}: {100 * share:.1f} % have one"
    spoils = names(crafted(case.seen)) if share > ZEROS else ()
    return made(case, "zero gradients", share <= ZEROS, share, ZEROS, said, spoils=spoils, settle=settle)


def _saturated(case: Case) -> Gate:
    """Few images have a softmax of exactly 1: the textbook cross entropy says nothing there."""
    rule, settle = "Few images have p_y = 1 in float32", "a loss that does not saturate: cross_entropy, margin or dlr"
    if case.probe is None:
        return unknown(case, "saturation", settle, rule, limit=SATURATED)
    share = case.probe.saturated
    blunt = [one for one in crafted(case.seen) if loss_of(one)[0] in ("cross_entropy_float32", "cross_entropy_float64")]
    said = f"{rule}: {100 * share:.1f} % have it" + ("" if blunt else "; no attack here used a loss that saturates")
    fails = share > SATURATED
    spoils = names(blunt) if fails else ()
    gate = made(case, "saturation", not fails, share, SATURATED, said, spoils=spoils, settle=settle)
    return replace(gate, masking=bool(blunt))


def _repeats(case: Case) -> Gate:
    """The judge gives the same answer twice."""
    rule, settle = "Asked twice the network answers the same", "gradients averaged over many draws"
    if case.probe is None:
        return unknown(case, "repeats", settle, rule, limit=0.0)
    said = f"{rule}: {100 * case.probe.changing:.1f} % of the outputs differ"
    fails = case.probe.changing > 0
    spoils = names([one for one in case.seen if one.attack is not None]) if fails else ()
    return made(case, "repeats", not fails, case.probe.changing, 0.0, said, spoils=spoils, settle=settle)


def collapse(case: Case, clean: Row) -> Gate:
    """Clean answers are no few that are given too often (`Row.collapsed`)."""
    said = f"The most frequent answers to clean images cover {100 * clean.top_share:.0f} %"
    spoils = names([one for one in case.seen if one.attack is not None]) if clean.collapsed else ()
    passed, settle = not clean.collapsed, "a network that works"
    return made(case, "collapse", passed, clean.top_share, None, said, spoils=spoils, settle=settle, masking=False)


LIMITS = (_zero_radius, _chance, _loss_gap, _zero_gradients, _saturated, _repeats)
"""All gates of this file that ask for no answers."""
