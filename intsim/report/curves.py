"""Accuracy drawn against attack strength and against accumulator width, with intervals and crossings."""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from intsim.report.chart import GRID, INK, QUIET, figure, label_ends, svg

WIDTH, HEIGHT = 385.0, 290.0


class Curve(Struct, frozen=True, kw_only=True):
    """One line: `y` in percent at each `x`, the interval `low..high` around it, and how it is drawn."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]
    colour: str
    style: str = "-"
    marker: str = "o"


class Mark(Struct, frozen=True, kw_only=True):
    """A crossing: at strength `at` (interval `low..high`, None: beyond the chart) and height `y`."""

    at: float
    y: float
    low: float | None
    high: float | None
    colour: str
    text: str


def strength(curves: Sequence[Curve], marks: Sequence[Mark], *, name: str, title: str, alt: str) -> str:
    """The SVG of accuracy against attack strength, the crossings ringed."""
    with figure(WIDTH, HEIGHT) as (made, axes):
        draw_strength(axes[0, 0], curves, marks, title=title)
        return svg(made, name, alt)


def draw_strength(axes: Any, curves: Sequence[Curve], marks: Sequence[Mark], *, title: str) -> None:
    """`strength`, into axes of a larger figure."""
    top = max(max(curve.x) for curve in curves)
    axes.set_title(title)
    axes.set_ylim(0, 100)
    axes.set_xlim(0, top)
    for curve in curves:
        axes.fill_between(curve.x, curve.low, curve.high, color=curve.colour, alpha=0.12, linewidth=0)
    for curve in curves:
        _line(axes, curve)
    _rings(axes, marks)
    label_ends(axes, [(top * 1.02, c.y[-1], c.name, c.colour) for c in curves], 7.5)
    _strength_axis(axes)
    axes.set_ylabel("right, %")


def difference(curves: Sequence[Curve], marks: Sequence[Mark], *, name: str, title: str, alt: str) -> str:
    """The SVG of differences from float, in points, the float null among them; zero is the float network."""
    with figure(WIDTH, 230) as (made, axes):
        (plot,) = axes[0]
        top = max(max(curve.x) for curve in curves)
        low = min(-5.0, 1.08 * min(min(curve.low) for curve in curves))
        high = max(5.0, 1.08 * max(max(curve.high) for curve in curves))
        plot.set_title(title)
        plot.set_ylim(low, high)
        plot.set_xlim(0, top)
        plot.axhline(0, color=INK, linewidth=1.2)
        for curve in curves:
            plot.fill_between(curve.x, curve.low, curve.high, color=curve.colour, alpha=0.16, linewidth=0)
        for curve in curves:
            _line(plot, curve)
        _rings(plot, marks)
        label_ends(plot, [(top * 1.02, c.y[-1], c.name, c.colour) for c in curves], (high - low) * 0.085)
        _strength_axis(plot)
        plot.set_ylabel("points more than float")
        return svg(made, name, alt)


def ladder(
    curves: Sequence[Curve],
    widths: Sequence[object],
    *,
    name: str,
    title: str,
    alt: str,
    label: str = "bits of the accumulator",
) -> str:
    """The SVG of accuracy against accumulator width or another `label`, in order; `x` counts along `widths`."""
    with figure(WIDTH, HEIGHT) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(title)
        plot.set_ylim(0, 100)
        plot.set_xlim(-0.15, len(widths) - 0.85)
        for curve in curves:
            plot.fill_between(curve.x, curve.low, curve.high, color=curve.colour, alpha=0.12, linewidth=0)
        for curve in curves:
            _line(plot, curve)
        label_ends(plot, [(len(widths) - 0.8, c.y[-1], c.name, c.colour) for c in curves], 7.5)
        plot.set_xticks(range(len(widths)), [str(width) for width in widths])
        plot.set_xlabel(label)
        plot.set_ylabel("right, %")
        return svg(made, name, alt)


def _strength_axis(axes: Any) -> None:
    axes.set_xlabel("strength of the attack, steps of 1/255")
    axes.locator_params(axis="x", integer=True, steps=[1, 2, 4, 10], nbins=8)


def _line(axes: Any, curve: Curve) -> None:
    axes.plot(
        curve.x,
        curve.y,
        color=curve.colour,
        linestyle=curve.style,
        marker=curve.marker,
        markerfacecolor=curve.colour if curve.style == "-" else "white",
        clip_on=False,
        zorder=3,
    )


def _rings(axes: Any, marks: Sequence[Mark]) -> None:
    """A ring at each crossing, its interval as a bar along the strength, its text beside it."""
    left, right = axes.get_xlim()
    for i, mark in enumerate(marks):
        ends = (left if mark.low is None else mark.low, right if mark.high is None else mark.high)
        axes.plot(ends, (mark.y, mark.y), color=mark.colour, linewidth=1.2, alpha=0.8, zorder=4)
        axes.plot(
            mark.at,
            mark.y,
            marker="o",
            markersize=10,
            markerfacecolor="none",
            markeredgecolor=mark.colour,
            markeredgewidth=1.8,
            zorder=5,
            gid=f"crossing-{i}",
        )
        axes.annotate(
            mark.text,
            (mark.at, mark.y),
            xytext=(8, 8),
            textcoords="offset points",
            color=mark.colour,
            fontsize=9.5,
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.75, "pad": 1},
        )


# ---- dots with intervals -----------------------------------------------------------------------------------


class Dot(Struct, frozen=True, kw_only=True):
    """One line of a dot chart: `value` = (value, low, high), and `beside` it others, each with its colour."""

    name: str
    value: tuple[float, float, float]
    colour: str
    beside: tuple[tuple[str, tuple[float, float, float]], ...] = ()


def dots(lines: Sequence[Dot], *, name: str, title: str, alt: str, x_label: str) -> str:
    """The SVG of dots with their intervals as lines, one line of dots below the other."""
    with figure(WIDTH, 70 + 38 * len(lines)) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(title)
        plot.axvline(0, color=INK, linewidth=1.2)
        for i, dot in enumerate(lines):
            _whisker(plot, i - 0.24, dot.value, dot.colour)
            for k, (colour, value) in enumerate(dot.beside):
                _whisker(plot, i + 0.24 * k, value, colour, small=True)
        plot.set_yticks(range(len(lines)), [dot.name for dot in lines], color=INK)
        plot.set_ylim(len(lines) - 0.4, -0.6)
        plot.tick_params(axis="y", length=0)
        plot.grid(axis="y", visible=False)
        plot.set_xlabel(x_label, color=QUIET)
        return svg(made, name, alt)


def _whisker(axes: Any, place: float, value: tuple[float, float, float], colour: str, *, small: bool = False) -> None:
    """A dot at `value` = (value, low, high), its interval a line; a small one is hollow."""
    axes.plot(value[1:], (place, place), color=colour, linewidth=1.2 if small else 2.4)
    axes.plot(
        value[0], place, "o", color=colour, markerfacecolor="white" if small else colour, markersize=4 if small else 6
    )


def layers(
    names: Sequence[str], shares: Sequence[tuple[str, str, Sequence[float]]], *, name: str, title: str, alt: str
) -> str:
    """The SVG of the share of overflowed sums (percent) a layer: one row of dots a layer, (what, colour, shares)."""
    with figure(WIDTH, 84 + 26 * len(names)) as (made, axes):
        (plot,) = axes[0]
        plot.set_title(title)
        for i in range(len(names)):
            row = [values[i] for _, _, values in shares]
            plot.plot((min(row), max(row)), (i, i), color=GRID, linewidth=4, solid_capstyle="round", zorder=1)
        for (what, colour, values), marker in zip(shares, "osD^", strict=False):
            plot.plot(values, range(len(names)), marker, color=colour, label=what, markersize=6, alpha=0.9, zorder=3)
        plot.set_yticks(range(len(names)), names, color=INK)
        plot.set_ylim(len(names) - 0.5, -0.5)
        plot.set_xlim(left=0)
        plot.tick_params(axis="y", length=0)
        plot.set_xlabel("sums with an overflow, %")
        made.legend(loc="outside lower left", ncols=len(shares), frameon=False, fontsize=9.5, handletextpad=0.2)
        return svg(made, name, alt)
