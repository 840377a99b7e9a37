"""The page's charts, each from the results alone: (an SVG, what stands below it)."""

from collections.abc import Sequence

from msgspec import Struct

from intsim.attack.catalogue import NOISE
from intsim.evaluate.records import FLOAT, NULL, Row
from intsim.evaluate.verdict import broken, crossed
from intsim.report import curves, words
from intsim.report.chart import COLOURS, MARKERS, ORDERED, QUIET, colours
from intsim.report.chart import FLOAT as FLOAT_COLOUR
from intsim.report.chart import NULL as NULL_COLOUR
from intsim.report.curves import Curve, Dot, Mark
from intsim.report.record import (
    Results,
    Width,
    behind_of,
    curve_of,
    float_network,
    judges,
    row_of,
    rows_of,
    searching,
)
from intsim.statistics import Crossing


class Figure(Struct, frozen=True, kw_only=True):
    """A chart as an <svg> element, and its caption in plain text."""

    svg: str
    caption: str


MOST_LINES = 6


def strengths(found: Results) -> list[Figure]:
    """For every attack, accuracy against strength: the bit widths, or all judges where there are none."""
    made = []
    for i, attack in enumerate(searching(found)):
        lines, marks, told = attack_lines(found, attack)
        title = f"{words.attack_name(found, attack)}, crafted on the float network"
        picture = curves.strength(lines, marks, name=f"strength-{i}", title=title, alt=title)
        made.append(Figure(svg=picture, caption=" ".join([*told, "Bands: 95 % Wilson intervals."])))
    return made


def attack_lines(found: Results, attack: str) -> tuple[list[Curve], list[Mark], list[str]]:
    """(the curves, the crossings with float's, the crossings in words) of one attack."""
    network = float_network(found)
    plan = [(pair, name, colour) for pair, name, colour in _compared(found)]
    own = rows_of(found, network, FLOAT, attack)
    lines, marks, told = [], [], []
    noise = rows_of(found, network, FLOAT, NOISE.get(own[-1].norm, "noise"))
    noise = [row for row in noise if row.eps_steps <= own[-1].eps_steps]
    if len(noise) > 1:
        lines.append(row_curve("noise on float", noise, NULL_COLOUR, style=":", marker=""))
    lines.append(row_curve("float", own, FLOAT_COLOUR))
    for (pair, name, colour), marker in zip(plan, MARKERS[1:] * len(plan), strict=False):
        rows = rows_of(found, *pair, attack)
        if len(rows) < 2:
            continue
        gone = broken(rows[0])
        lines.append(
            row_curve(
                f"{name}, collapsed" if gone else name,
                rows,
                QUIET if gone else colour,
                style="--" if gone else "-",
                marker=marker,
            )
        )
        curve = curve_of(found, *pair, attack)
        if gone or curve is None or curve.crossing is None:
            continue
        if (crossing := crossed(curve)) is not None:
            marks.append(_mark(crossing, 100 * crossing.accuracy, colour))
            told.append(f"{name} crosses float at {words.crossing_text(crossing)}.")
        else:
            told.append(f"{name} passes float near {255 * curve.crossing.at:.1f}/255 no more surely than by chance.")
    return lines, marks, told


def _mark(crossing: Crossing, y: float, colour: str) -> Mark:
    at = 255 * crossing.at
    low, high = (None if end is None else 255 * end for end in (crossing.low, crossing.high))
    return Mark(at=at, y=y, low=low, high=high, colour=colour, text=f"{at:.1f}")


def _compared(found: Results) -> list[tuple[tuple[str, str], str, str]]:
    """((network, target), name, colour) of the lines of the charts against strength."""
    if found.widths:
        return [
            ((w.network, w.target), f"{w.bits} bits", colour) for w, colour in zip(found.widths, ORDERED, strict=False)
        ]
    pairs = judges(found)[:MOST_LINES]
    names = words.short_names(pairs)
    return [(pair, names[pair], colour) for pair, colour in zip(pairs, COLOURS, strict=False)]


def row_curve(name: str, rows: Sequence[Row], colour: str, *, style: str = "-", marker: str = "o") -> Curve:
    """The line of rows: accuracy in percent against strength, with its Wilson intervals."""
    return Curve(
        name=name,
        x=[row.eps_steps for row in rows],
        y=[100 * row.accuracy for row in rows],
        low=[100 * row.low for row in rows],
        high=[100 * row.high for row in rows],
        colour=colour,
        style=style,
        marker=marker,
    )


def differences(found: Results) -> list[Figure]:
    """For every bit width, how far it lies from float under the first attack, beside its float null."""
    attacks = searching(found)
    if not attacks:
        return []
    return [
        figure
        for width, colour in zip(found.widths, ORDERED, strict=False)
        if (figure := _difference(found, width, colour, attacks[0]))
    ]


def _difference(found: Results, width: Width, colour: str, attack: str) -> Figure | None:
    rows = rows_of(found, width.network, width.target, attack)
    nulls = rows_of(found, width.network, NULL, attack)
    gone = broken(rows[0])
    lines = [_apart("float null", nulls, NULL_COLOUR)] if nulls else []
    if behind := behind_of(found, width.network, attack):
        lines.append(_apart("float, same input", behind, FLOAT_COLOUR, style=":"))
    lines.append(_apart(f"{width.bits} bits", rows, QUIET if gone else colour, style="--" if gone else "-"))
    crossing = None if gone else crossed(curve_of(found, width.network, width.target, attack))
    marks = [] if crossing is None else [_mark(crossing, 0, colour)]
    title = f"{width.bits} bits" + (" (collapsed)" if gone else "")
    picture = curves.difference(
        lines,
        marks,
        name=f"apart-{width.bits}",
        title=title,
        alt=f"{title}: difference from float under {words.attack_name(found, attack)}",
    )
    return Figure(svg=picture, caption="")


def _apart(name: str, rows: Sequence[Row], colour: str, *, style: str = "-") -> Curve:
    pairs = [row.paired[FLOAT] for row in rows]
    return Curve(
        name=name,
        x=[row.eps_steps for row in rows],
        y=[100 * one.difference for one in pairs],
        low=[100 * one.low for one in pairs],
        high=[100 * one.high for one in pairs],
        colour=colour,
        style=style,
    )


def machines(found: Results) -> list[Figure]:
    """For every attack, each judge's difference from float at the telling strength, its null beside it."""
    pairs = judges(found)
    shown = {(width.network, width.target) for width in found.widths[1:]}
    pairs = [pair for pair in pairs if pair not in shown]
    names = words.short_names(pairs)
    hues = colours(list(names.values()))
    made: list[Figure] = []
    for attack in searching(found):
        eps = words.telling(found, attack)
        lines = [dot for pair in pairs if (dot := _dot(found, pair, attack, eps, names[pair], hues)) is not None]
        if lines:
            title = words.set_name(found, attack, eps)
            picture = curves.dots(
                lines,
                name=f"machines-{len(made)}",
                title=title,
                alt=f"{title}: each machine's difference from float",
                x_label="points more than float",
            )
            made.append(Figure(svg=picture, caption=""))
    return made


def _dot(found: Results, pair: tuple[str, str], attack: str, eps: float, name: str, hues: dict[str, str]) -> Dot | None:
    row = row_of(found, *pair, attack, eps)
    if row is None:
        return None
    null = row_of(found, pair[0], NULL, attack, eps)
    behind = next((one for one in behind_of(found, pair[0], attack) if one.eps_steps == eps), None)
    beside = tuple(
        (colour, _whisker(one)) for colour, one in ((NULL_COLOUR, null), (FLOAT_COLOUR, behind)) if one is not None
    )
    return Dot(name=name, value=_whisker(row), colour=hues[name], beside=beside)


def _whisker(row: Row) -> tuple[float, float, float]:
    """(value, low, high) of a row's difference from float, in points."""
    own = row.paired[FLOAT]
    return 100 * own.difference, 100 * own.low, 100 * own.high
