"""The page's charts, each from the results alone: (an SVG, what stands below it)."""

from collections.abc import Sequence

from msgspec import Struct

from intsim.attack.catalogue import NOISE
from intsim.evaluate.records import CLEAN, FLOAT, NULL, Row
from intsim.report import curves, words
from intsim.report.chart import COLOURS, MARKERS, ORDERED, QUIET, colours
from intsim.report.chart import FLOAT as FLOAT_COLOUR
from intsim.report.chart import NULL as NULL_COLOUR
from intsim.report.curves import Curve, Dot, Mark
from intsim.report.record import (
    Counted,
    Results,
    Width,
    curve_of,
    float_network,
    judges,
    row_of,
    rows_of,
    searching,
)


class Figure(Struct, frozen=True, kw_only=True):
    """A chart as an <svg> element, and its caption in plain text."""

    svg: str
    caption: str


MOST_LINES = 6
MODES = {"wrap": "an overflow wraps", "saturate": "an overflow saturates"}


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
        lines.append(_curve("noise on float", noise, NULL_COLOUR, style=":", marker=""))
    lines.append(_curve("float", own, FLOAT_COLOUR))
    for (pair, name, colour), marker in zip(plan, MARKERS[1:] * len(plan), strict=False):
        rows = rows_of(found, *pair, attack)
        if len(rows) < 2:
            continue
        gone = words.broken(rows)
        lines.append(
            _curve(
                f"{name}, collapsed" if gone else name,
                rows,
                QUIET if gone else colour,
                style="--" if gone else "-",
                marker=marker,
            )
        )
        crossing = None if gone else getattr(curve_of(found, *pair, attack), "crossing", None)
        if crossing is not None and words.firm(crossing):
            at = 255 * crossing.at
            marks.append(
                Mark(
                    at=at,
                    y=100 * crossing.accuracy,
                    low=255 * crossing.low,
                    high=255 * crossing.high,
                    colour=colour,
                    text=f"{at:.1f}",
                )
            )
            told.append(f"{name} crosses float at {words.crossing_text(crossing)}.")
        elif crossing is not None:
            told.append(f"{name} passes float near {255 * crossing.at:.1f}/255 no more surely than by chance.")
    return lines, marks, told


def _compared(found: Results) -> list[tuple[tuple[str, str], str, str]]:
    """((network, target), name, colour) of the lines of the charts against strength."""
    if found.widths:
        return [
            ((w.network, w.target), f"{w.bits} bits", colour) for w, colour in zip(found.widths, ORDERED, strict=False)
        ]
    pairs = judges(found)[:MOST_LINES]
    names = words.short_names(pairs)
    return [(pair, names[pair], colour) for pair, colour in zip(pairs, COLOURS, strict=False)]


def _curve(name: str, rows: Sequence[Row], colour: str, *, style: str = "-", marker: str = "o") -> Curve:
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
    gone = words.broken(rows)
    lines = [_apart("float null", nulls, NULL_COLOUR)] if nulls else []
    if behind := rows_of(found, width.network, width.door, attack) if width.door else []:
        lines.append(_apart("float, same input", behind, FLOAT_COLOUR, style=":"))
    lines.append(_apart(f"{width.bits} bits", rows, QUIET if gone else colour, style="--" if gone else "-"))
    crossing = getattr(curve_of(found, width.network, width.target, attack), "crossing", None)
    marks = []
    if crossing is not None and not gone and words.firm(crossing):
        at = 255 * crossing.at
        marks = [Mark(at=at, y=0, low=255 * crossing.low, high=255 * crossing.high, colour=colour, text=f"{at:.1f}")]
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
    made = []
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
                beside="its float null",
            )
            made.append(Figure(svg=picture, caption=""))
    return made


def _dot(found: Results, pair: tuple[str, str], attack: str, eps: float, name: str, hues: dict[str, str]) -> Dot | None:
    row, null = row_of(found, *pair, attack, eps), row_of(found, pair[0], NULL, attack, eps)
    if row is None:
        return None
    own, beside = row.paired[FLOAT], None if null is None else null.paired[FLOAT]
    return Dot(
        name=name,
        value=100 * own.difference,
        low=100 * own.low,
        high=100 * own.high,
        colour=hues[name],
        beside=None if beside is None else (100 * beside.difference, 100 * beside.low, 100 * beside.high),
    )


def ladder(found: Results) -> list[Figure]:
    """Accuracy against accumulator width for each mode: clean, and under each attack at its telling strength."""
    if not found.ladder:
        return []
    widths = sorted({rung.bits for rung in found.ladder}, reverse=True)
    made: list[Figure] = []
    for mode in dict.fromkeys(rung.overflow for rung in found.ladder):
        rungs = sorted((r for r in found.ladder if r.overflow == mode), key=lambda r: -r.bits)
        lines = []
        sets = [(CLEAN, 0.0), *((attack, words.telling(found, attack)) for attack in searching(found))]
        for (attack, eps), colour in zip(sets, COLOURS, strict=False):
            rows = [row for r in rungs if (row := row_of(found, r.network, r.target, attack, eps)) is not None]
            places = [widths.index(r.bits) for r in rungs][: len(rows)]
            if rows:
                name = words.set_name(found, attack, eps)
                line = _curve(name, rows, colour)
                lines.append(Curve(**{**{f: getattr(line, f) for f in line.__struct_fields__}, "x": places}))
        picture = curves.ladder(
            lines,
            widths,
            name=f"ladder-{len(made)}",
            title=MODES.get(mode, mode),
            alt=f"accuracy against accumulator width, {mode}",
        )
        made.append(Figure(svg=picture, caption=""))
    return made


def overflows(found: Results) -> list[Figure]:
    """For every accumulator that was counted and overflowed: the share of overflowing sums, layer by layer."""
    made: list[Figure] = []
    for target in dict.fromkeys(count.target for count in found.overflows):
        of = [count for count in found.overflows if count.target == target]
        if not any(count.outputs for count in of):
            continue
        names = list(dict.fromkeys(count.layer for count in of))
        sets = list(dict.fromkeys((count.attack, count.eps_steps) for count in of))
        shares = [
            (
                words.set_name(found, attack, eps),
                colour,
                [_share(of, n, attack, eps) for n in names],
            )
            for (attack, eps), colour in zip(sets, COLOURS, strict=False)
        ]
        picture = curves.layers(
            names, shares, name=f"overflow-{len(made)}", title=target, alt=f"{target}: sums that overflow, by layer"
        )
        made.append(Figure(svg=picture, caption=""))
    return made


def _share(of: Sequence[Counted], layer: str, attack: str, eps: float) -> float:
    for count in of:
        if (count.layer, count.attack, count.eps_steps) == (layer, attack, eps):
            return 100 * count.outputs / max(1, count.of_outputs)
    return 0.0
