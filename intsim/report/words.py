"""Numbers as they stand on the page, and the few sentences above everything else."""

from collections.abc import Sequence

from intsim.evaluate.records import CLEAN, FLOAT, NULL, Row
from intsim.report.record import (
    Counted,
    Results,
    curve_of,
    float_network,
    judges,
    row_of,
    rows_of,
    searching,
)
from intsim.statistics import Crossing, Paired, Rate, holm

FAR = 0.10
"""How far below float a clean accuracy surely lies before a network counts as broken by its quantization."""

LEVEL = 0.05

RULE = (
    "A network counts as collapsed when its few most frequent answers cover far more of the clean images than the most "
    "frequent labels do (of 10 balanced classes: 3 answers more than 60 %), when it is no better than the most frequent "
    f"label alone, or when it surely lies more than {100 * FAR:.0f} points below float on clean images (95 % interval). "
    "What it does under attack is then not compared with anything, and no crossing of its curve is marked."
)


def broken(rows: Sequence[Row]) -> bool:
    """Whether a judge was no usable network on clean images already: `RULE`."""
    clean = rows[0]
    return clean.collapsed or (FLOAT in clean.paired and clean.paired[FLOAT].high < -FAR)


def firm(crossing: Crossing) -> bool:
    """Whether 95 % of the bootstrap draws cross, at strengths between those tried."""
    return crossing.low is not None and crossing.high is not None and crossing.share >= 1 - LEVEL


# ---- numbers -----------------------------------------------------------------------------------------------


def percent(one: Row | Rate) -> str:
    """91.2 % of a row or rate."""
    share = one.value if isinstance(one, Rate) else one.accuracy
    return f"{100 * share:.1f} %" if one.n else "–"


def interval(one: Row | Rate | Paired) -> str:
    """Its interval in percent."""
    return f"{100 * one.low:.1f} to {100 * one.high:.1f}"


def points(one: Paired) -> str:
    """Its difference in points, with a sign."""
    return signed(100 * one.difference)


def points_interval(one: Paired) -> str:
    """The interval of its difference, in points."""
    return f"{signed(100 * one.low)} to {signed(100 * one.high)}"


def signed(value: float) -> str:
    """+1.2, or −1.2 with a real minus."""
    return f"{value:+.1f}".replace("-", "−")


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
    """How a judge is called: its target, and its network where the two do not say the same."""
    return target if not network or network in target else f"{target} · {network}"


# ---- sentences ---------------------------------------------------------------------------------------------


def telling(found: Results, attack: str) -> float:
    """The strength at which the attack leaves float nearest to half of its clean accuracy: where most can differ."""
    rows = rows_of(found, float_network(found), FLOAT, attack)
    half = rows[0].correct / 2
    return min(rows[1:], key=lambda row: (abs(row.correct - half), row.eps_steps)).eps_steps


def headlines(found: Results) -> list[str]:
    """What was found, in the order in which a reader needs it; every claim with what limits it."""
    attacks = searching(found)
    usable = [pair for pair in judges(found) if not broken(rows_of(found, *pair, CLEAN))]
    said = [_clean(found, usable)]
    if attacks and usable:
        said += [_under(found, usable, attacks[-1]), _against_null(found, usable, attacks)]
    said += _widths(found, attacks)
    said += _ladder(found)
    said += _overflowing(found)
    return [sentence for sentence in said if sentence]


def _clean(found: Results, usable: Sequence[tuple[str, str]]) -> str:
    own = row_of(found, float_network(found), FLOAT, CLEAN, 0.0)
    assert own is not None
    said = f"Of {own.n:,} clean images the float network gets {percent(own)} right"
    if not usable:
        return f"{said}; nothing that ran in integers is usable."
    return f"{said}, its integer versions {_range(found, usable, CLEAN, 0.0)}."


def _under(found: Results, usable: Sequence[tuple[str, str]], attack: str) -> str:
    eps = telling(found, attack)
    own = row_of(found, float_network(found), FLOAT, attack, eps)
    assert own is not None
    return (
        f"Images that {attack_name(found, attack)} crafted on the float network at {strength(eps)} leave float "
        f"{percent(own)} and the integer versions {_range(found, usable, attack, eps)}. These attacks were only "
        "transferred: the numbers are upper bounds on what an attacker who knows the chip would leave, and no measure "
        "of robustness."
    )


def _range(found: Results, pairs: Sequence[tuple[str, str]], attack: str, eps: float) -> str:
    rows = [row for pair in pairs if (row := row_of(found, *pair, attack, eps)) is not None]
    least, most = min(rows, key=lambda row: row.correct), max(rows, key=lambda row: row.correct)
    return percent(least) if least.correct == most.correct else f"{percent(least)} to {percent(most)}"


def _against_null(found: Results, usable: Sequence[tuple[str, str]], attacks: Sequence[str]) -> str:
    """How much of what was seen any change of weights of that size would do too."""
    cells = [row for pair in usable for attack in attacks for row in rows_of(found, *pair, attack)[1:]]
    cells = [row for row in cells if NULL in row.paired]
    if not cells:
        return ""
    sure = [p < LEVEL for p in holm([row.paired[NULL].p for row in cells])]
    nulls = [
        row
        for network in dict.fromkeys(network for network, _ in usable)
        for attack in attacks
        for row in rows_of(found, network, NULL, attack)
    ]
    reach = max((abs(row.paired[FLOAT].difference) for row in nulls), default=0.0)
    own = max(abs(row.paired[FLOAT].difference) for row in cells)
    told = f"{sum(sure)} of {len(cells)}" if any(sure) else f"none of {len(cells)}"
    return (
        f"The integer versions differ from float by up to {100 * own:.1f} points under attack. Their float nulls "
        f"(weights moved as far, in no particular direction, everything else in float) differ by up to "
        f"{100 * reach:.1f} points: that much needs no integers. Against their own null, {told} comparisons tell "
        "integers from such a harmless change (exact McNemar, Holm)."
    )


def _widths(found: Results, attacks: Sequence[str]) -> list[str]:
    """One sentence a bit width that collapsed, or whose curves cross float's."""
    said = []
    for width in found.widths:
        rows = rows_of(found, width.network, width.target, CLEAN)
        if broken(rows):
            said.append(
                f"At {width.bits} bits plain post-training quantization has collapsed: {percent(rows[0])} right when "
                "clean. Whatever it seems to withstand is no merit."
            )
            continue
        crossings = {
            attack: curve.crossing
            for attack in attacks
            if (curve := curve_of(found, width.network, width.target, attack)) is not None
            and curve.crossing is not None
            and firm(curve.crossing)
        }
        if crossings:
            where = ", ".join(f"{attack_name(found, a)} at {crossing_text(c)}" for a, c in crossings.items())
            ways = {c.rising for c in crossings.values()}
            way = {
                (True,): "below float before and above it after",
                (False,): "above float before and below it after",
            }.get(tuple(ways), "in both directions")
            said.append(
                f"At {width.bits} bits accuracy crosses float's: {where}; {way}. With transferred images that is a "
                "limit of the transfer, not a gain."
            )
    return said


def crossing_text(crossing: Crossing) -> str:
    """5.3/255, interval 3.9 to 7.2."""
    low, high = (f"{255 * end:.1f}" if end is not None else "beyond" for end in (crossing.low, crossing.high))
    return f"{255 * crossing.at:.1f}/255 (95 % interval {low} to {high})"


def _ladder(found: Results) -> list[str]:
    """Down to which width each mode keeps within one point of its widest."""
    said = []
    for mode in dict.fromkeys(rung.overflow for rung in found.ladder):
        rungs = sorted((r for r in found.ladder if r.overflow == mode), key=lambda r: -r.bits)
        rates = [rows_of(found, r.network, r.target, CLEAN)[0] for r in rungs]
        keeping = 0
        while keeping + 1 < len(rungs) and rates[0].correct - rates[keeping + 1].correct <= 0.01 * rates[0].n:
            keeping += 1
        verb = {"wrap": "wraps", "saturate": "saturates at every addition"}.get(mode, mode)
        text = f"one that {verb} keeps clean accuracy within one point down to {rungs[keeping].bits} bits"
        if keeping + 1 < len(rungs):
            text += f" (at {rungs[keeping + 1].bits}: {percent(rates[keeping + 1])})"
        said.append(text)
    return [f"Of narrower accumulators, {'; '.join(said)}."] if said else []


def _overflowing(found: Results) -> list[str]:
    """Whether the ordinary attack makes accumulators overflow more than clean images do."""
    moved: dict[str, list[float]] = {}
    for target in dict.fromkeys(count.target for count in found.overflows):
        of = [count for count in found.overflows if count.target == target]
        shares = {attack: overflow_share(of, attack) for attack in dict.fromkeys(count.attack for count in of)}
        clean = shares.pop(CLEAN, 0.0)
        if clean > 0:
            for attack, share in shares.items():
                moved.setdefault(attack, []).append(share - clean)
    said = []
    for attack in searching(found):
        if attack in moved:
            low, high = signed(min(moved[attack])), signed(max(moved[attack]))
            span = low if low == high else f"{low} to {high}"
            said.append(f"{span} points under {attack_name(found, attack)}")
    if not said:
        return []
    return [f"Where sums overflow at all, their share differs from that on clean images by {', '.join(said)}."]


def overflow_share(counts: Sequence[Counted], attack: str) -> float:
    """The share, in percent, of all layers' sums in which an addition overflowed."""
    own = [count for count in counts if count.attack == attack]
    return 100 * sum(count.outputs for count in own) / max(1, sum(count.of_outputs for count in own))
