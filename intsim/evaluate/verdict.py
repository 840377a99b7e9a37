"""What may honestly be said of the rows: curves, where they cross, and one sentence for each thing that was found."""

from collections.abc import Sequence

import numpy as np

from intsim.attack.catalogue import NOISE
from intsim.evaluate.bracket import brackets
from intsim.evaluate.gates import masked
from intsim.evaluate.records import CLEAN, FAKE, FLOAT, NULL, Curve, Gate, Primary, Row, bits
from intsim.statistics import Crossing, Paired, bootstrap_crossing, holm, paired

LEVEL = 0.05
"""The chance of being wrong that a claim may have, after Holm's adjustment over all its cells."""

FAR = 0.10
"""How far below float a clean accuracy surely lies before a network counts as broken by its quantization."""

BOUND = (
    "Attacks were crafted on the float network and transferred: each accuracy under attack is an upper bound on what "
    "an attacker who knows the chip would leave. It is no measure of robustness."
)


KNOWN = (
    "Attacks that know the chip were crafted through its own integers, at the budget that the record says. What they "
    "leave is an upper bound too: a better attack leaves less."
)

MASKED = "masked gradients: not a measure"
"""What stands beside an accuracy under attack that a failed gate spoils."""


def broken(clean: Row) -> bool:
    """Whether a judge is no usable network on clean images already, given its row there.

    It collapsed (`Row.collapsed`), or the whole interval of its difference from float lies below -FAR.
    """
    return clean.collapsed or (FLOAT in clean.paired and clean.paired[FLOAT].high < -FAR)


def crossed(curve: Curve | None) -> Crossing | None:
    """The crossing of a curve with float's that may be claimed; None: there is none.

    `Curve.sure`, with an interval that ends between strengths that were tried. How often bootstrap draws cross does
    not count: the curves of two judges that differ by chance alone cross somewhere in nearly every draw.
    """
    at = curve.crossing if curve is not None and curve.sure else None
    return None if at is None or at.low is None or at.high is None else at


def curves(rows: Sequence[Row], *, seed: int = 0) -> list[Curve]:
    """One `Curve` for each judge and attack crafted on float, the clean rate first, strengths ascending."""
    found, rows = [], _transferred(rows)
    for network, target in dict.fromkeys((row.network, row.target) for row in rows):
        own = _of(rows, network, target)
        for attack in dict.fromkeys(row.attack for row in own if row.attack != CLEAN):
            points = _along(own, attack)
            crossing = None
            if target != FLOAT:
                a, b = (np.stack([bits(row) for row in line]) for line in (points, _along(_float(rows), attack)))
                crossing = bootstrap_crossing([row.eps for row in points], a, b, seed=seed)
            found.append(
                Curve(
                    network=network,
                    target=target,
                    attack=attack,
                    eps=tuple(row.eps for row in points),
                    accuracy=tuple(row.accuracy for row in points),
                    crossing=crossing,
                    sure=crossing is not None and _sure(points, crossing),
                )
            )
    return found


def _sure(points: Sequence[Row], crossing: Crossing) -> bool:
    """Whether the judge differs from float on both sides of the crossing, each its own way, by more than chance."""
    way = 1 if crossing.rising else -1
    adjusted = holm([row.paired[FLOAT].p for row in points])
    sides = [
        (row.eps < crossing.at, way * row.paired[FLOAT].difference > 0)
        for p, row in zip(adjusted, points, strict=True)
        if p < LEVEL
    ]
    return (True, False) in sides and (False, True) in sides


def verdict(
    rows: Sequence[Row], curves: Sequence[Curve], gates: Sequence[Gate] = (), primary: Primary | None = None
) -> list[str]:
    """The sentences: first what all numbers are, then float, then every machine, its null, and its crossings.

    A number that a failed masking gate spoils is said with `MASKED` beside it. The primary comparison comes last.
    """
    every, rows = rows, _transferred(rows)
    said = [BOUND, *([KNOWN] if len(every) > len(rows) else []), *_of_float(rows)]
    said += [f"{_float(rows)[0].network} in float: {sentence}" for sentence in _failed(gates, _float(rows)[0])]
    for network, target in dict.fromkeys((row.network, row.target) for row in rows):
        if target in (FLOAT, NULL, FAKE):
            continue
        own = _of(rows, network, target)
        name = f"{network} on {target}"
        if broken(own[0]):
            said.append(
                f"{name}: collapsed before any attack: {_percent(own[0])} right when clean "
                f"({_points(own[0].paired[FLOAT])} against float), its most frequent answers cover "
                f"{100 * own[0].top_share:.0f} %. What it does under attack means nothing."
            )
            continue
        hit = [row for row in own if row.attack not in (CLEAN, *NOISE.values())]
        said.append(f"{name}: {_percent(own[0])} right when clean{_hardest(hit, gates)}.")
        said += [f"{name}: {sentence}" for sentence in _failed(gates, own[0])]
        lines = [c for c in curves if (c.network, c.target) == (network, target)]
        crossings = [_crossing(c.attack, at) for c in lines if (at := crossed(c)) is not None]
        knowing = _knowing(_of(every, network, target))
        said += [f"{name}: {sentence}" for sentence in (knowing, _against_null(hit), *crossings) if sentence]
    return [*said, *_primary(primary)]


def _failed(gates: Sequence[Gate], judge: Row) -> list[str]:
    """What each failed gate of the judge says, with what would settle it."""
    own = [gate for gate in gates if (gate.network, gate.target) == (judge.network, judge.target)]
    return [
        f"{MASKED if gate.masking else 'a check failed'}. {gate.said} To settle it: {gate.settle}."
        for gate in own
        if gate.passed is False and gate.name != "collapse"
    ]


def _primary(one: Primary | None) -> list[str]:
    if one is None:
        return []
    return [
        f"The one comparison that was fixed beforehand: {one.network} on {one.target} against float under {one.attack} "
        f"at {one.eps_steps:g}/255: {_points(one.paired)}, exact McNemar p = {one.paired.p:.2g}. All others are "
        f"exploratory."
    ]


def _knowing(own: Sequence[Row]) -> str:
    """What is left by an attacker who knows the chip, and by all attackers together, image by image."""
    known = [row for row in own if row.crafted_on == row.who]
    if not known:
        return ""
    row = min(known, key=lambda row: (row.correct, row.eps))
    most = max(known, key=lambda row: row.eps)
    at = (most.norm, most.eps_steps)
    left = next(one.upper for one in brackets(own) if (one.norm, one.eps_steps) == at)
    count = len({(row.attack, row.crafted_on) for row in own if row.norm == most.norm})
    return (
        f"an attacker who knows it leaves {_percent(row)} with {row.attack} at {_eps(row)}; {100 * left.value:.1f} % "
        f"[{100 * left.low:.1f}, {100 * left.high:.1f}] of the images are right whichever of {count} attacks up to "
        f"{_eps(most)} there is: an upper bound on its robust accuracy."
    )


def _transferred(rows: Sequence[Row]) -> list[Row]:
    """The rows on clean images and on those crafted on float."""
    return [row for row in rows if row.crafted_on == FLOAT]


def _of_float(rows: Sequence[Row]) -> list[str]:
    own = _float(rows)
    said = [f"{own[0].network} in float: {_percent(own[0])} right when clean."]
    if own[0].at_floor:
        said.append(f"{own[0].network} in float: no better than its most frequent label: the data do not fit it.")
    unsure: dict[str, list[str]] = {}
    for row in own:
        noise = next((r for r in own if (r.attack, r.eps) == (NOISE.get(row.norm), row.eps)), None)
        if noise is None or row.attack == noise.attack:
            continue
        versus = paired(bits(row), bits(noise))
        if versus.p >= LEVEL:
            unsure.setdefault(row.attack, []).append(_eps(row))
        elif versus.difference > 0:
            said.append(
                f"{row.attack} at {_eps(row)} is weaker on float than noise of that radius "
                f"({_points(versus)}, exact McNemar p = {versus.p:.2g}): no attack at all."
            )
    said += [
        f"{attack} at {', '.join(strengths)} is on float no stronger than noise of that radius by more than chance."
        for attack, strengths in unsure.items()
    ]
    return said


def _hardest(hit: Sequence[Row], gates: Sequence[Gate]) -> str:
    """What the strongest attack leaves: the row with the fewest right answers, the weakest of several such."""
    if not hit:
        return ""
    row = min(hit, key=lambda row: (row.correct, row.eps))
    versus = row.paired[FLOAT]
    floor = ", no better than its most frequent label" if row.at_floor else ""
    spoilt = f" [{MASKED}]" if masked(gates, row.network, row.target) else ""
    left = f", {_percent(row)} are left under {row.attack} at {_eps(row)}"
    return f"{left} ({_points(versus)} against float{floor}){spoilt}"


def _against_null(hit: Sequence[Row]) -> str:
    """The machine against a float network whose weights are as far from float: what the integers themselves do."""
    with_null = [row for row in hit if NULL in row.paired]
    if not with_null:
        return ""
    adjusted = holm([row.paired[NULL].p for row in with_null])
    p, row = min(zip(adjusted, with_null, strict=True), key=lambda cell: cell[0])
    count = sum(other < LEVEL for other in adjusted)
    found = f", most surely {_points(row.paired[NULL])} under {row.attack} at {_eps(row)}, Holm p = {p:.2g}"
    return (
        f"beside its float null (weights moved as far, but at random; activations float) it differs by more than "
        f"chance in {count} of {len(with_null)} cells{found if count else ''}."
    )


def _crossing(attack: str, at: Crossing) -> str:
    low, high = (f"{255 * end:.1f}" if end is not None else "beyond" for end in (at.low, at.high))
    way, share = ("rises above", "fewer") if at.rising else ("falls below", "more")
    return (
        f"its {attack} curve {way} float's at {255 * at.at:.1f}/255 [{low}, {high}]: there {share} of the images "
        f"that were made for float transfer, which is no robustness."
    )


def _of(rows: Sequence[Row], network: str, target: str) -> list[Row]:
    return [row for row in rows if (row.network, row.target) == (network, target)]


def _float(rows: Sequence[Row]) -> list[Row]:
    return [row for row in rows if row.target == FLOAT]


def _along(rows: Sequence[Row], attack: str) -> list[Row]:
    """The clean row, then those of the attack, weakest first."""
    return [rows[0], *sorted((row for row in rows if row.attack == attack), key=lambda row: row.eps)]


def _percent(row: Row) -> str:
    return f"{100 * row.accuracy:.1f} % [{100 * row.low:.1f}, {100 * row.high:.1f}]"


def _points(one: Paired) -> str:
    return f"{100 * one.difference:+.1f} points [{100 * one.low:+.1f}, {100 * one.high:+.1f}]"


def _eps(row: Row) -> str:
    return f"{row.eps_steps:g}/255"
