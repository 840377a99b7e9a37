"""Bounds, steps and matrices drawn: intervals between two bounds, one step beside another, shares as shaded cells."""

from collections.abc import Sequence

from msgspec import Struct

from intsim.report.chart import INK, NULL, QUIET, figure, svg

WIDTH = 385.0


class Bounds(Struct, frozen=True, kw_only=True):
    """One judge between its bounds, in percent at each `x`: `upper` with its interval, `lower` (None: not tried)."""

    name: str
    x: Sequence[float]
    upper: Sequence[tuple[float, float, float]]
    lower: Sequence[float | None]
    transfer: Sequence[float]
    colour: str


def bracket(one: Bounds, *, name: str, alt: str) -> str:
    """The SVG of one judge's bracket: upper bound and what is certified, the room between them shaded."""
    with figure(WIDTH, 235) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(one.name, fontsize=10.5)
        plot.set_ylim(0, 100)
        plot.set_xlim(0, 1.05 * max(one.x))
        low, high = [value[1] for value in one.upper], [value[2] for value in one.upper]
        plot.fill_between(one.x, low, high, color=one.colour, alpha=0.15, linewidth=0)
        floor = [value or 0.0 for value in one.lower]
        plot.vlines(one.x, floor, [value[0] for value in one.upper], color=one.colour, alpha=0.25, linewidth=6)
        plot.plot(one.x, one.transfer, color=NULL, linestyle="--", marker=".", label="transfer alone")
        plot.plot(one.x, [v[0] for v in one.upper], color=one.colour, marker="v", label="upper: all attacks run")
        tried = [(x, value) for x, value in zip(one.x, one.lower, strict=True) if value is not None]
        if tried:
            plot.plot(*zip(*tried, strict=True), color=INK, marker="^", label="lower: certified", clip_on=False)
        plot.set_xlabel("radius, steps of 1/255")
        plot.set_ylabel("right, %")
        plot.legend(loc="upper right", frameon=False, fontsize=8.5)
        return svg(made, name, alt)


class Stair(Struct, frozen=True, kw_only=True):
    """One step of the ladder: (value, low, high) in points, and the null's own, where there is one."""

    name: str
    value: tuple[float, float, float]
    null: tuple[float, float, float] | None


def stairs(steps: Sequence[Stair], *, name: str, title: str, alt: str, colour: str) -> str:
    """The SVG of the steps of a ladder, one below the other, each beside the float null's step."""
    with figure(WIDTH, 84 + 40 * len(steps)) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(title, fontsize=10.5)
        plot.axvline(0, color=INK, linewidth=1.2)
        for i, step in enumerate(steps):
            plot.plot(step.value[1:], (i - 0.15, i - 0.15), color=colour, linewidth=2.4)
            plot.plot(step.value[0], i - 0.15, "o", color=colour, markersize=6)
            if step.null is not None:
                plot.plot(step.null[1:], (i + 0.2, i + 0.2), color=NULL, linewidth=1.2)
                plot.plot(step.null[0], i + 0.2, "o", color=NULL, markerfacecolor="white", markersize=4)
        plot.set_yticks(range(len(steps)), [step.name for step in steps], color=INK)
        plot.set_ylim(len(steps) - 0.4, -0.6)
        plot.tick_params(axis="y", length=0)
        plot.grid(axis="y", visible=False)
        plot.set_xlabel("points gained or lost by the step", color=QUIET)
        return svg(made, name, alt)


def heat(
    cells: Sequence[Sequence[float | None]],
    rows: Sequence[str],
    columns: Sequence[str],
    *,
    name: str,
    title: str,
    alt: str,
    axes_names: tuple[str, str],
) -> str:
    """The SVG of percentages as shaded cells[rows][columns], each with its number; None: an empty cell."""
    with figure(WIDTH + 34 * max(0, len(columns) - 8), 92 + 27 * len(rows)) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(title, fontsize=10.5)
        values = [[float("nan") if value is None else value for value in line] for line in cells]
        grid = plot.pcolormesh(values, cmap="cividis", vmin=0, vmax=100, edgecolors="white", linewidth=1)
        grid.set_rasterized(False)
        for i, line in enumerate(cells):
            for j, value in enumerate(line):
                if value is not None:
                    ink = "white" if value < 50 else INK
                    plot.text(j + 0.5, i + 0.5, f"{value:.0f}", color=ink, ha="center", va="center", fontsize=9.5)
        plot.set_xticks([j + 0.5 for j in range(len(columns))], columns)
        plot.set_yticks([i + 0.5 for i in range(len(rows))], rows)
        if max(len(column) for column in columns) > 8:
            plot.tick_params(axis="x", rotation=40)
            for label in plot.get_xticklabels():
                label.set_ha("right")
        plot.set_ylim(len(rows), 0)
        plot.tick_params(length=0)
        plot.grid(visible=False)
        plot.set_xlabel(axes_names[1])
        plot.set_ylabel(axes_names[0])
        return svg(made, name, alt)


def profile(
    layers: Sequence[str],
    lines: Sequence[tuple[str, str, str, Sequence[float | None]]],
    *,
    name: str,
    title: str,
    alt: str,
) -> str:
    """The SVG of decibels layer by layer, the first layer on top: (what, colour, style, decibels) a line."""
    with figure(WIDTH, 110 + 26 * len(layers)) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(title, fontsize=10.5)
        for what, colour, style, values in lines:
            at = [(value, i) for i, value in enumerate(values) if value is not None]
            plot.plot([x for x, _ in at], [y for _, y in at], style, color=colour, marker="o", label=what)
        plot.set_yticks(range(len(layers)), layers, color=INK)
        plot.set_ylim(len(layers) - 0.5, -0.5)
        plot.tick_params(axis="y", length=0)
        plot.set_xlabel("signal-to-noise ratio, dB: left is worse")
        made.legend(loc="outside lower left", ncols=2, frameon=False, fontsize=9)
        return svg(made, name, alt)
