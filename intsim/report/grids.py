"""The charts of a run: heatmaps of two axes, and curves that follow one, with the tables of their intervals."""

from collections.abc import Sequence

from msgspec import Struct

from intsim.evaluate.records import FLOAT
from intsim.report import curves, plots, views
from intsim.report.chart import COLOURS, MARKERS
from intsim.report.chart import FLOAT as FLOAT_COLOUR
from intsim.report.tables import Cell as Text
from intsim.report.tables import Table
from intsim.report.views import NAMES, Part, View, word
from intsim.sweep.cells import Cell
from intsim.sweep.judged import Judged, Mean, Value, grouped, is_machine, mean, varied

ROWS, COLUMNS = 60, 20
"""Values along the sides of a heatmap."""

SHADED = 1500
"""Shaded cells of all heatmaps together."""

LINES = 7


class Chart(Struct, frozen=True, kw_only=True):
    """A chart as an <svg> element, what stands below it, and its numbers with their intervals."""

    svg: str
    caption: str
    numbers: Table


def heatmaps(those: Sequence[Judged], view: View) -> tuple[Chart, ...]:
    """A heatmap of mean accuracy for each part of the view; machines alone unless they are one of the axes."""
    down, across = view.shown
    made, shaded = list[Chart](), 0
    for part in view.parts:
        own = _inside(those, part, view, machines="target" not in view.shown)
        values = varied(one.cell for one in own)
        rows, columns = views.thinned(values[down], ROWS), views.thinned(values[across], COLUMNS)
        shaded += len(rows) * len(columns)
        if not own or (made and shaded > SHADED):
            continue
        groups = grouped(own, down, across)
        means = [[mean(groups[a, b]) if (a, b) in groups else None for b in columns] for a in rows]
        title = views.heading(part) or "all cells"
        names = [word(down, a) for a in rows], [word(across, b) for b in columns]
        picture = plots.heat(
            [[None if one is None else 100 * one.value for one in line] for line in means],
            *names,
            name=f"heat-{len(made)}",
            title=f"{title}: right, %",
            alt=f"{title}: percent right by {NAMES[down]} and {NAMES[across]}",
            axes_names=(NAMES[down], NAMES[across]),
        )
        said = _left_out(len(rows), len(values[down]), down) + _left_out(len(columns), len(values[across]), across)
        made.append(Chart(svg=picture, caption=said, numbers=_table(names, means, (down, across))))
    return tuple(made)


def lines(those: Sequence[Judged], view: View, everybody: Sequence[Judged]) -> tuple[Chart, ...]:
    """For each part of the view, accuracy along the second axis shown, a line for each value of the first.

    Float on the same images, if `everybody` has it, is drawn beside the machines.
    """
    among, along = view.shown
    made = list[Chart]()
    for part in view.parts:
        own = _inside(those, part, view, machines=True)
        values = varied(one.cell for one in own)
        steps, chosen = values[along], views.thinned(values[among], LINES)
        if len(steps) < 2:
            continue
        if along != "eps_steps":
            steps = sorted(steps, key=lambda bits: (bits != 0, -float(bits)))  # its own first, then the widest
        groups = grouped(own, among, along)
        rows = [(word(among, a), [mean(groups[a, x]) if (a, x) in groups else None for x in steps]) for a in chosen]
        if (ideal := _float(everybody, own, along, steps)) is not None:
            rows.insert(0, (FLOAT, ideal))
        title = views.heading(part) or "all cells"
        drawn = [
            _curve(name, steps, means, along, FLOAT_COLOUR if name == FLOAT else COLOURS[(i - 1) % len(COLOURS)], i)
            for i, (name, means) in enumerate(rows, 0 if ideal is not None else 1)
        ]
        about = {"name": f"line-{len(made)}", "title": title, "alt": f"{title}: percent right by {NAMES[along]}"}
        if along == "eps_steps":
            picture = curves.strength(drawn, (), **about)
        else:
            picture = curves.ladder(drawn, [word(along, x) for x in steps], **about, label=NAMES[along])
        caption = f"A line for each {NAMES[among]}. {_left_out(len(chosen), len(values[among]), among)}"
        names = [name for name, _ in rows], [word(along, x) for x in steps]
        made.append(
            Chart(svg=picture, caption=caption, numbers=_table(names, [line for _, line in rows], (among, along)))
        )
    return tuple(made)


def _inside(those: Sequence[Judged], part: Part, view: View, *, machines: bool) -> list[Judged]:
    own = [one for one in those if views.inside(one.cell, _said_of(part, one.cell), view.shown)]
    return [one for one in own if is_machine(one.cell)] if machines else own


def _said_of(part: Part, cell: Cell) -> Part:
    """What of a part can be said of a cell: a float network has no bits, its null no accumulator."""
    lacks = [] if is_machine(cell) else ["target", "accumulator", "overflow", "rounding"]
    lacks += ["weight_bits", "activation_bits"] if cell.target == FLOAT else []
    return tuple((at, value) for at, value in part if at not in lacks)


def _float(
    those: Sequence[Judged], own: Sequence[Judged], along: str, steps: Sequence[Value]
) -> list[Mean | None] | None:
    """Float on the images of these cells; None where it is not among them."""
    sets: dict[Value, set[str]] = {}
    for one in own:
        sets.setdefault(getattr(one.cell, along), set()).add(one.images)
    ideal = {one.images: one for one in those if one.cell.target == FLOAT}
    found = [[ideal[images] for images in sorted(sets[x]) if images in ideal] for x in steps]
    return [mean(several) if several else None for several in found] if any(found) else None


def _curve(
    name: str, steps: Sequence[Value], means: Sequence[Mean | None], along: str, colour: str, number: int
) -> curves.Curve:
    known = [(i, x, one) for i, (x, one) in enumerate(zip(steps, means, strict=True)) if one is not None]
    return curves.Curve(
        name=name,
        x=[float(x) if along == "eps_steps" else i for i, x, _ in known],
        y=[100 * one.value for _, _, one in known],
        low=[100 * one.low for _, _, one in known],
        high=[100 * one.high for _, _, one in known],
        colour=colour,
        marker=MARKERS[number % len(MARKERS)],
    )


def _table(names: tuple[list[str], list[str]], means: Sequence[Sequence[Mean | None]], shown: tuple[str, str]) -> Table:
    """The numbers of a chart with their intervals."""
    rows = [(Text(text=name), *map(_text, line)) for name, line in zip(names[0], means, strict=True)]
    return Table(title="numbers and intervals", columns=(NAMES[shown[0]], *names[1]), rows=tuple(rows))


def _text(one: Mean | None) -> Text:
    if one is None:
        return Text(text="")
    several = f", {one.cells} cells" if one.cells > 1 else ""
    return Text(text=f"{100 * one.value:.1f}", small=f"{100 * one.low:.1f}–{100 * one.high:.1f}{several}")


def _left_out(shown: int, of: int, at: str) -> str:
    return f"{shown} of {of} values of {NAMES[at]} are drawn; --where chooses others. " if shown < of else ""
