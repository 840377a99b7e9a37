"""What all charts have in common: size, colours that colour-blind eyes tell apart, labels at the lines, tidy SVG."""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from intsim.errors import IntsimError

INK, QUIET, GRID = "#1b1f24", "#6a737d", "#e4e7eb"
FLOAT = INK
NULL = "#9aa3ad"

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#8a6d00", "#56b4e9", "#7b3294", "#666666")
"""For things without an order. Source: M. Okabe, K. Ito, "Color universal design" (2008), the yellow darkened."""

ORDERED = ("#0072b2", "#009e73", "#c77c00", "#7b3294", "#d55e00", "#8a6d00")
"""For bit widths, from the widest to the narrowest."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")


def colours(names: Sequence[str], palette: Sequence[str] = COLOURS) -> dict[str, str]:
    """A colour for every name, in order, the palette repeated where it is too short."""
    return {name: palette[i % len(palette)] for i, name in enumerate(names)}


@contextmanager
def figure(width: float, height: float, rows: int = 1, columns: int = 1) -> Iterator[tuple[Any, Any]]:
    """(figure, axes[rows, columns]) of width x height in CSS pixels, in the page's style.

    Raises IntsimError where matplotlib is not installed.
    """
    try:
        import matplotlib
        from matplotlib.figure import Figure
    except ImportError:
        raise IntsimError("matplotlib is not installed", mend="pip install intsim[report]") from None
    style: Any = {
        "svg.fonttype": "none",
        "text.parse_math": False,  # a dollar sign in a name is a dollar sign
        "svg.hashsalt": "intsim",
        "font.family": "sans-serif",
        "font.size": 11,
        "axes.edgecolor": QUIET,
        "axes.labelcolor": QUIET,
        "axes.labelsize": 10.5,
        "axes.linewidth": 0.8,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 11.5,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": QUIET,
        "ytick.color": QUIET,
        "text.color": INK,
        "lines.linewidth": 1.8,
        "lines.markersize": 4.5,
    }
    with matplotlib.rc_context(style):
        made = Figure(figsize=(width / 72, height / 72), layout="constrained")
        yield made, made.subplots(rows, columns, squeeze=False)


def svg(made: Any, name: str, title: str) -> str:
    """The figure as an <svg> element for the inside of a page: no outside references, no id that another has.

    `name`, unique in the page, is put before every id; `title` is what a screen reader says.
    """
    element = _element(made)
    element = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", element).replace("xlink:href", "href")
    element = re.sub(r'\bid="([^"]+)"', rf'id="{name}-\1"', element)
    element = re.sub(r"url\(#([^)]+)\)", rf"url(#{name}-\1)", element)
    element = re.sub(r'href="#([^"]+)"', rf'href="#{name}-\1"', element)
    return re.sub(r"<svg ", f'<svg role="img" aria-label="{_escaped(title)}" ', element, count=1)


def picture(made: Any, kind: str) -> bytes:
    """The figure as a file's bytes: "svg", that stands alone, or "png" at twice the pixels."""
    if kind == "svg":
        return _element(made, transparent=False).encode()
    if kind != "png":
        raise IntsimError(f'no picture is of kind "{kind}"', mend="choose svg or png")
    buffer = io.BytesIO()
    made.savefig(buffer, format="png", dpi=144, metadata={"Software": None})
    return buffer.getvalue()


def _element(made: Any, *, transparent: bool = True) -> str:
    """matplotlib's SVG without what depends on the day, and with sizes that follow the page's width."""
    buffer = io.StringIO()
    made.savefig(buffer, format="svg", transparent=transparent, metadata={"Date": None, "Creator": None})
    whole = buffer.getvalue()
    element = whole[whole.index("<svg") :]
    element = re.sub(r"<metadata>.*?</metadata>\s*", "", element, flags=re.DOTALL)
    element = re.sub(r"<!--.*?-->\s*", "", element, flags=re.DOTALL)
    element = re.sub(r'(<svg [^>]*?)width="[\d.]+pt" height="[\d.]+pt"', r"\1", element, count=1)
    element = re.sub(r"'DejaVu Sans'[^;\"]*", "system-ui, sans-serif", element)
    return re.sub(r"<[^>]*>", lambda tag: re.sub(r"\d+\.\d{4,}", _rounded, tag[0]), element)


def _rounded(coordinate: re.Match[str]) -> str:
    return f"{float(coordinate[0]):.3f}".rstrip("0").rstrip(".")


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")


# ---- labels at the lines -----------------------------------------------------------------------------------


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places, moved apart as little as needed so that no two are nearer than `gap`, inside low..high.

    Neighbours that are too near form a block around the mean of where they wanted to be.
    """

    def centre(members: list[int]) -> float:
        half = gap * (len(members) - 1) / 2
        return max(low + half, min(sum(places[i] for i in members) / len(members), high - half))

    blocks: list[list[int]] = []
    for i in sorted(range(len(places)), key=lambda i: places[i]):
        members = [i]
        while blocks and centre(members) - centre(blocks[-1]) < gap * (len(members) + len(blocks[-1])) / 2:
            members = blocks.pop() + members
        blocks.append(members)
    moved = [0.0] * len(places)
    for members in blocks:
        for rank, i in enumerate(members):
            moved[i] = centre(members) + gap * (rank - (len(members) - 1) / 2)
    return moved


def label_ends(axes: Any, ends: Sequence[tuple[float, float, str, str]], gap: float) -> None:
    """A label right of each line's end (x, y, text, colour), in the line's colour, none over another."""
    low, high = axes.get_ylim()
    for (x, y, text, colour), place in zip(ends, spread([y for _, y, _, _ in ends], gap, low, high), strict=True):
        axes.annotate(
            text,
            (x, y),
            xytext=(x, place),
            textcoords="data",
            color=colour,
            fontsize=10,
            va="center",
            ha="left",
            annotation_clip=False,
        )
