"""The few sentences above everything else: what was found, each with what limits it."""

from collections.abc import Sequence
from itertools import product

from intsim.evaluate.records import CLEAN, FLOAT, NULL, Row, bits
from intsim.evaluate.verdict import LEVEL, broken, crossed
from intsim.report.record import (
    Accumulator,
    Counted,
    Results,
    curve_of,
    float_network,
    judges,
    row_of,
    rows_of,
    searching,
)
from intsim.report.words import (
    attack_name,
    crossing_text,
    judge_name,
    percent,
    points,
    set_name,
    signed,
    strength,
    telling,
)
from intsim.statistics import holm, paired

WAYS = {True: "below float before and above it after", False: "above float before and below it after"}


def headlines(found: Results) -> list[str]:
    """What was found, in the order in which a reader needs it; every claim with what limits it."""
    attacks = searching(found)
    usable = [pair for pair in judges(found) if not broken(rows_of(found, *pair, CLEAN)[0])]
    said = [_clean(found, usable)]
    if attacks and usable:
        said += [_under(found, usable, attacks[-1]), _against_null(found, usable, attacks)]
    said += [*_widths(found, attacks), *_doors(found, usable, attacks)]
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
        for row in rows_of(found, network, NULL, attack)[1:]
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
        if broken(rows[0]):
            said.append(
                f"At {width.bits} bits plain post-training quantization has collapsed: {percent(rows[0])} right when "
                "clean. Whatever it seems to withstand is no merit."
            )
            continue
        crossings = {}
        for attack in attacks:
            if (crossing := crossed(curve_of(found, width.network, width.target, attack))) is not None:
                crossings[attack] = crossing
        if crossings:
            where = "; ".join(f"{crossing_text(c)} under {attack_name(found, a)}" for a, c in crossings.items())
            rising = {c.rising for c in crossings.values()}
            way = "in both directions" if len(rising) > 1 else WAYS[rising.pop()]
            said.append(
                f"At {width.bits} bits accuracy crosses float's (first at {where}), {way}. With transferred images "
                "that is a limit of the transfer, not a gain."
            )
    return said


def _doors(found: Results, usable: Sequence[tuple[str, str]], attacks: Sequence[str]) -> list[str]:
    """How much of what differs from float the rounding of the input alone brings about, under the first attack."""
    if not attacks:
        return []
    eps = telling(found, attacks[0])
    cells = []
    for behind, (network, target) in product(found.doors, usable):
        row, alone = (row_of(found, network, who, attacks[0], eps) for who in (target, behind.target))
        if behind.network == network and row is not None and alone is not None:
            cells.append((judge_name(network, target), behind.levels, row.paired[FLOAT], alone.paired[FLOAT]))
    # One family: what a network does and what its input does alone are both claimed.
    sure = [p < LEVEL for p in holm([one.p for *_, own, door in cells for one in (own, door)])]
    parts, most = [], []
    for (who, levels, own, door), own_sure, door_sure in zip(cells, sure[::2], sure[1::2], strict=True):
        if own_sure:
            parts.append(f"{who} {points(own)} (float behind an input of {levels} levels: {points(door)})")
            most.append(door_sure and door.difference * own.difference > 0.5 * own.difference**2)
    if not parts:
        return []
    how = "all of them" if all(most) else f"{sum(most)} of them"
    mostly = f" For {how} most of it happens where the input is rounded, before any arithmetic." if any(most) else ""
    return [f"Points more than float under {set_name(found, attacks[0], eps)}: {'; '.join(parts)}.{mostly}"]


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
    return [f"Of narrower accumulators, {'; '.join(said)}.", *_rising(found)] if said else []


def _rising(found: Results) -> list[str]:
    """The narrower accumulator that attacked images hurt least, if surely less than the widest."""
    cells = [
        (paired(bits(row), bits(widest)), rung, row, widest)
        for attack in searching(found)
        for mode in dict.fromkeys(rung.overflow for rung in found.ladder)
        for rung, row, widest in _against_widest(found, attack, mode)
    ]
    sure = [p < LEVEL for p in holm([one.p for one, *_ in cells])]
    gains = [cell for cell, certain in zip(cells, sure, strict=True) if certain and cell[0].difference > 0]
    if not gains:
        return []
    _, rung, row, widest = max(gains, key=lambda cell: cell[0].difference)
    clean = rows_of(found, rung.network, rung.target, CLEAN)[0]
    return [
        f"At {rung.bits} bits with {rung.overflow} {percent(row)} are right under "
        f"{set_name(found, row.attack, row.eps_steps)}, with the widest accumulator {percent(widest)}: what was "
        f"crafted on the float network transfers worse to a machine that has begun to err ({percent(clean)} when "
        "clean). No merit either."
    ]


def _against_widest(found: Results, attack: str, mode: str) -> list[tuple[Accumulator, Row, Row]]:
    """(rung, its row, the widest's row) of every narrower accumulator, at the attack's telling strength."""
    eps = telling(found, attack)
    rungs = sorted((rung for rung in found.ladder if rung.overflow == mode), key=lambda rung: -rung.bits)
    rows = [row_of(found, rung.network, rung.target, attack, eps) for rung in rungs]
    return [
        (rung, row, rows[0])
        for rung, row in zip(rungs[1:], rows[1:], strict=True)
        if row is not None and rows[0] is not None
    ]


def _overflowing(found: Results) -> list[str]:
    """Whether the ordinary attack makes accumulators overflow more than clean images do."""
    moved: dict[str, list[float]] = {}
    for target in dict.fromkeys(count.target for count in found.overflows):
        of = [count for count in found.overflows if count.target == target]
        shares = {attack: _overflow_share(of, attack) for attack in dict.fromkeys(count.attack for count in of)}
        clean = shares.pop(CLEAN, 0.0)
        if clean > 0 or any(shares.values()):
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


def _overflow_share(counts: Sequence[Counted], attack: str) -> float:
    """The share, in percent, of all layers' sums in which an addition overflowed."""
    own = [count for count in counts if count.attack == attack]
    return 100 * sum(count.outputs for count in own) / max(1, sum(count.of_outputs for count in own))
