"""Numbers as they stand on the page, and the few sentences above everything else."""

from collections.abc import Sequence

from intsim.evaluate.records import CLEAN, FLOAT, Row
from intsim.evaluate.verdict import FAR
from intsim.report.record import Results, float_network, rows_of
from intsim.statistics import Crossing, Paired, Rate

RULE = (
    "A network counts as collapsed when its few most frequent answers cover far more of the clean images than the "
    "most frequent labels do (of 10 balanced classes: 3 answers more than 60 %), when it is not surely better than the "
    f"most frequent label alone, or when it surely lies more than {100 * FAR:.0f} points below float on clean images "
    "(95 % intervals). What it does under attack then means nothing: it has no transfer rates, no crossing of its "
    "curve is marked, and no sentence above counts it in its favour."
).replace(" %", "\u00a0%")


# ---- numbers -----------------------------------------------------------------------------------------------


def percent(one: Row | Rate) -> str:
    """91.2 % of a row or rate."""
    share = one.value if isinstance(one, Rate) else one.accuracy
    return f"{100 * share:.1f}\u00a0%" if one.n else "–"


def interval(one: Row | Rate | Paired) -> str:
    """Its interval in percent."""
    return f"{100 * one.low:.1f}–{100 * one.high:.1f}"


def points(one: Paired) -> str:
    """Its difference in points, with a sign."""
    return signed(100 * one.difference)


def points_interval(one: Paired) -> str:
    """The interval of its difference, in points."""
    return f"{signed(100 * one.low)} to {signed(100 * one.high)}"


def signed(value: float) -> str:
    """+1.2, or −1.2 with a real minus."""
    return f"{round(value, 1) + 0.0:+.1f}".replace("-", "−")


def p_value(p: float) -> str:
    """A p-value with two digits that mean something."""
    return "<0.0001" if p < 0.0001 else f"{p:.4f}" if p < 0.01 else f"{p:.2f}"


def strength(eps_steps: float) -> str:
    """8/255."""
    return f"{eps_steps:g}/255"


def attack_name(found: Results, name: str) -> str:
    """How an attack is called: PGD-10 for 10 steps of "pgd", FGSM, noise."""
    attack = next((one for one in found.attacks if one.name == name), None)
    if attack is None or attack.function or attack.steps == 0:
        return name.replace("_", " ")
    spelt = name.upper().replace("_MARGIN", " margin").replace("_L2", " L2")
    first, *rest = spelt.split(" ")
    return " ".join([f"{first}-{attack.steps}" if attack.steps > 1 else first, *rest])


def set_name(found: Results, attack: str, eps_steps: float) -> str:
    """How a set of images is called: clean, or FGSM 8/255."""
    return CLEAN if attack == CLEAN else f"{attack_name(found, attack)} {strength(eps_steps)}"


def judge_name(network: str, target: str) -> str:
    """How a judge is called: its network on its target, said once."""
    return network if network.endswith(f" {target}") else f"{network} on {target}"


def short_names(pairs: Sequence[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """Names for (network, target) pairs: the targets, where those are enough to tell them apart."""
    targets = [target for _, target in pairs]
    return {pair: pair[1] if targets.count(pair[1]) == 1 else judge_name(*pair) for pair in pairs}


# ---- strengths and crossings -----------------------------------------------------------------------------------


def telling(found: Results, attack: str) -> float:
    """The strength at which the attack leaves float nearest to half of its clean accuracy: where most can differ."""
    rows = rows_of(found, float_network(found), FLOAT, attack)
    half = rows[0].correct / 2
    return min(rows[1:], key=lambda row: (abs(row.correct - half), row.eps_steps)).eps_steps


def crossing_text(crossing: Crossing) -> str:
    """5.3/255, 95 % interval 3.9–7.2."""
    low, high = (f"{255 * end:.1f}" if end is not None else "beyond" for end in (crossing.low, crossing.high))
    return f"{255 * crossing.at:.1f}/255, 95\u00a0% interval {low}–{high}"
