"""What an evaluation says beyond transfer: brackets, the ladder's steps, failed gates, who fools whom."""

from collections.abc import Sequence

from intsim.evaluate.bracket import brackets as bracketed
from intsim.evaluate.gates import masked
from intsim.evaluate.records import CLEAN, FLOAT, IDEAL, Bracket, Row, Rung
from intsim.evaluate.sight import is_own, set_name
from intsim.evaluate.verdict import MASKED, broken
from intsim.report import plots, words
from intsim.report.chart import COLOURS
from intsim.report.figures import Figure
from intsim.report.record import Results, float_network, judges, row_of, searching
from intsim.report.tables import Cell, Table
from intsim.statistics import Paired, Rate

MOST = 5
"""The charts of a kind that stand on the page; tables hold all."""

COVERS = (
    "It covers these images, these attacks and this radius; not patches, physical noise, other cameras, flipped bits, "
    "timing, or another training run of the network."
)


def sentence(found: Results) -> str:
    """The verdict: the widest radius' bracket of the primary comparison's judge, else of the worst usable one."""
    one = _decisive(found)
    if one is None:
        return ""
    who = words.judge_name(one.network, one.target)
    proven = f"{_rate(one.lower)} are proven right" if one.lower is not None else "nothing is proven from below"
    only = " Images were crafted on float alone, which is the looser bound." if one.loose else ""
    spoilt = f" {MASKED[0].upper()}{MASKED[1:]}." if masked(found.gates, one.network, one.target) else ""
    return (
        f"Verdict: of {one.upper.n:,} images, at most {_rate(one.upper)} stay right on {who} within "
        f"{words.strength(one.eps_steps)} ({one.norm}), whichever of {len(one.over) - 1} attacks (noise counts as one) "
        f"there is; {proven}."
        f"{only}{spoilt} {COVERS}"
    )


def _decisive(found: Results) -> Bracket | None:
    own = [one for one in found.brackets if (one.network, one.target) in _usable(found)]
    declared = found.primary and (found.primary.network, found.primary.target)
    own = [one for one in own if one.target != IDEAL] or own
    own = [one for one in own if (one.network, one.target) == declared] or own
    if not own:
        return None
    return min(own, key=lambda one: (-one.eps_steps, one.upper.count))


def _usable(found: Results) -> list[tuple[str, str]]:
    clean = {pair: row_of(found, *pair, CLEAN, 0.0) for pair in judges(found)}
    return [pair for pair, row in clean.items() if row is not None and not broken(row)]


def _rate(one: Rate) -> str:
    return f"{words.percent(one)} [{words.interval(one)}]"


# ---- brackets --------------------------------------------------------------------------------------------------


def brackets(found: Results) -> list[Figure]:
    """One chart a judge and norm: float first, then the usable machines."""
    pairs = [(float_network(found), FLOAT), *_usable(found)]
    made: list[Figure] = []
    for norm in dict.fromkeys(one.norm for one in found.brackets):
        for pair, colour in zip(pairs, ("#1b1f24", *COLOURS * len(pairs)), strict=False):
            own = sorted(
                (one for one in found.brackets if (one.network, one.target, one.norm) == (*pair, norm)),
                key=lambda one: one.eps_steps,
            )
            if not own or len(made) >= MOST:
                continue
            name = "float" if pair[1] == FLOAT else words.judge_name(*pair)
            bounds = plots.Bounds(
                name=f"{name}, {norm}",
                x=[one.eps_steps for one in own],
                upper=[(100 * one.upper.value, 100 * one.upper.low, 100 * one.upper.high) for one in own],
                lower=[None if one.lower is None else 100 * one.lower.value for one in own],
                transfer=[100 * one.transfer.value for one in own],
                colour=colour,
            )
            svg = plots.bracket(bounds, name=f"bracket-{len(made)}", alt=f"{name}: robust accuracy between its bounds")
            spoilt = f"{MASKED}. " if masked(found.gates, *pair) else ""
            loose = "Transfer is all there is: the looser upper bound. " if any(one.loose for one in own) else ""
            none = "" if any(one.lower is not None for one in own) else "No certificate was tried: the bracket is open."
            made.append(Figure(svg=svg, caption=f"{spoilt}{loose}{none}"))
    return made


BRACKETS = ("judge", "ball", "upper", "ties wrong–right", "transfer alone", "certified", "over")


def bracket_table(found: Results) -> Table | None:
    """Every bracket; None: there is none."""
    rows = tuple(
        (
            Cell(text=one.target, small=one.network),
            Cell(text=f"{words.strength(one.eps_steps)} {one.norm}"),
            Cell(text=words.percent(one.upper), small=_spoilt(found, one) or words.interval(one.upper)),
            Cell(text=f"{100 * one.ties_wrong.value:.1f}–{100 * one.ties_right.value:.1f}"),
            Cell(text=words.percent(one.transfer), small="all there is" if one.loose else ""),
            Cell(text="–")
            if one.lower is None
            else Cell(text=words.percent(one.lower), small=words.interval(one.lower)),
            Cell(text=str(len(one.over) - 1), small="attacks"),
        )
        for one in found.brackets
    )
    return Table(title=f"All {len(rows)} brackets", columns=BRACKETS, rows=rows) if rows else None


def _spoilt(found: Results, one: Bracket) -> str:
    """What spoils a bracket's number, with the attack that would settle it."""
    failed = masked(found.gates, one.network, one.target)
    return f"{MASKED}; to settle it: {failed[0].settle}" if failed else ""


# ---- the ladder ------------------------------------------------------------------------------------------------

STEPS = ("network", "step", "gained", "lost", "net", "p, Holm", "first changed", "rescued", "float null", "beyond it")


def _cell(found: Results) -> list[Rung]:
    """The ladder's steps on the images of the primary comparison, or on the first attack's telling ones."""
    if found.primary is not None:
        at = (found.primary.attack, found.primary.eps_steps)
    elif found.rungs and searching(found):
        at = (searching(found)[0], words.telling(found, searching(found)[0]))
    else:
        return []
    return [one for one in found.rungs if (one.attack, one.eps_steps, one.crafted_on) == (*at, FLOAT)]


def steps(found: Results) -> list[Figure]:
    """One chart a network: what each step from float to its machines gains or loses, beside the null's step."""
    made: list[Figure] = []
    own = _cell(found)
    for network, colour in zip(dict.fromkeys(one.network for one in own), COLOURS * 8, strict=False):
        lines = [
            plots.Stair(
                name=f"→ {one.after}", value=_whisker(one.paired), null=_whisker(one.null) if one.null else None
            )
            for one in own
            if one.network == network
        ]
        if len(made) < MOST:
            title = f"{network}, {words.set_name(found, own[0].attack, own[0].eps_steps)}"
            svg = plots.stairs(lines, name=f"steps-{len(made)}", title=title, alt=f"ladder of {title}", colour=colour)
            made.append(Figure(svg=svg, caption=""))
    return made


def step_table(found: Results) -> Table | None:
    """The steps of `steps` in numbers; None: there are none."""
    rows = tuple(
        (
            Cell(text=one.network),
            Cell(text=f"{one.before} → {one.after}"),
            Cell(text=str(one.paired.gained)),
            Cell(text=str(one.paired.lost)),
            Cell(text=words.points(one.paired), small=words.points_interval(one.paired)),
            Cell(text=words.p_value(one.p_holm)),
            Cell(text="–" if one.first is None else f"{one.first} of {one.changed}"),
            Cell(text="–" if one.rescued is None else str(one.rescued)),
            Cell(text=words.points(one.null), small=words.points_interval(one.null)) if one.null else Cell(text="–"),
            Cell(
                text=words.signed(100 * one.beyond.at),
                small=f"{words.signed(100 * one.beyond.low)} to {words.signed(100 * one.beyond.high)}",
            )
            if one.beyond
            else Cell(text="–"),
        )
        for one in _cell(found)
    )
    return Table(title="The ladder in numbers", columns=STEPS, rows=rows, open=True) if rows else None


def _whisker(one: Paired) -> tuple[float, float, float]:
    return 100 * one.difference, 100 * one.low, 100 * one.high


# ---- gates -----------------------------------------------------------------------------------------------------

GATES = ("check", "judge", "the number it spoils", "found", "to settle it")


def gate_table(found: Results) -> Table | None:
    """Every failed gate beside the numbers that it spoils, with the attack that would settle it; None: none ran."""
    if not found.gates:
        return None
    ran = [gate for gate in found.gates if gate.passed is not None]
    failed = [gate for gate in ran if not gate.passed]
    rows = tuple(
        (
            Cell(text=gate.name, small=MASKED if gate.masking else ""),
            Cell(text=gate.target, small=gate.network),
            Cell(text=", ".join(_spoils(found, gate.network, gate.target, gate.spoils)) or "–"),
            Cell(text=gate.said),
            Cell(text=gate.settle),
        )
        for gate in failed
    )
    left = len(found.gates) - len(ran)
    title = f"{len(failed)} of {len(ran)} checks failed; {left} were not run for lack of what they need"
    return Table(title=title, columns=GATES, rows=rows, open=bool(rows))


def _spoils(found: Results, network: str, target: str, spoils: Sequence[str]) -> list[str]:
    """Each spoilt set of images, with the accuracy that stands for it; of sets of one name, the lowest."""
    known = {attack.name: attack for attack in found.attacks}
    numbers: dict[str, Row] = {}
    for row in found.rows:
        if (row.network, row.target) == (network, target):
            attack = known.get(row.attack)
            name = set_name(attack, row.eps_steps, own=is_own(row, attack))
            numbers[name] = min(row, numbers.get(name, row), key=lambda one: one.correct)
    return [f"{name}: {words.percent(numbers[name])}" if name in numbers else name for name in spoils]


# ---- who fools whom --------------------------------------------------------------------------------------------


def matrices(found: Results) -> list[Figure]:
    """One chart an attack that knows the chip, at its largest radius: crafted on the row, judged on the column."""
    known = [row for row in found.rows if row.crafted_on != FLOAT]
    made: list[Figure] = []
    for attack in dict.fromkeys(row.attack for row in known):
        eps = max(row.eps_steps for row in known if row.attack == attack)
        own = [row for row in known if (row.attack, row.eps_steps) == (attack, eps)]
        made.append(_matrix(found, own, len(made)))
    return made


def _matrix(found: Results, own: Sequence[Row], place: int) -> Figure:
    """Float's best transferred images of that norm and radius stand in the first row, for comparison."""
    first = own[0]
    asked = list(dict.fromkeys((row.network, row.target) for row in own))
    crafted = list(dict.fromkeys(row.crafted_on for row in own))
    at = {(row.crafted_on, row.network, row.target): 100 * row.accuracy for row in own}
    cells: list[list[float | None]] = [[at.get((on, *pair)) for pair in asked] for on in crafted]
    names = list(crafted)
    transfer = _transfer(found, asked, first)
    if transfer:
        cells, names = [transfer, *cells], ["float (transfer)", *names]
    title = words.set_name(found, first.attack, first.eps_steps)
    short = words.short_names(asked)
    svg = plots.heat(
        cells,
        names,
        [short[pair] for pair in asked],
        name=f"matrix-{place}",
        title=f"{title}: right, %",
        alt=f"{title}, crafted on the row, judged on the column: percent right",
        axes_names=("crafted on", "judged on"),
    )
    return Figure(
        svg=svg, caption="Dark: few are right. Where a machine is crafted on and judged, it is the self-attack."
    )


def _transfer(found: Results, asked: Sequence[tuple[str, str]], like: Row) -> list[float | None]:
    """What all attacks crafted on float together leave of each judge in the same ball; empty: none was run there."""
    rows = [row for row in found.rows if row.crafted_on == FLOAT]
    bounds = {
        (one.network, one.target): 100 * one.transfer.value
        for one in bracketed(rows)
        if (one.norm, one.eps_steps) == (like.norm, like.eps_steps)
    }
    return [bounds.get(pair) for pair in asked] if bounds else []


# ---- layer by layer --------------------------------------------------------------------------------------------


def amplified(found: Results) -> list[Figure]:
    """One chart a network: how loud the integers' error and the attack are in every layer."""
    made: list[Figure] = []
    for who in dict.fromkeys((one.network, one.target) for one in found.amplified):
        own = [one for one in found.amplified if (one.network, one.target) == who]
        lines = [
            ("integers, clean", COLOURS[0], "--", [one.clean for one in own]),
            ("integers, attacked", COLOURS[0], "-", [one.attacked for one in own]),
            ("attack, on float", COLOURS[1], "--", [one.attack_on_float for one in own]),
            ("attack, on the chip", COLOURS[1], "-", [one.attack_on_chip for one in own]),
        ]
        title = f"{words.judge_name(*who)}, {words.set_name(found, own[0].attack, own[0].eps_steps)}"
        alt = f"{title}: signal-to-noise ratio layer by layer"
        names = [one.layer for one in own]
        svg = plots.profile(names, lines, name=f"layers-{len(made)}", title=title, alt=alt)
        made.append(Figure(svg=svg, caption=f"{own[0].images} images."))
    return made
