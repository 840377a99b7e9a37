"""A comparison as a page: bars for every layer, the cause in words, all in one file without a script."""

from typing import Any

from msgspec import Struct

from intsim.compare import Comparison, Layer
from intsim.report.templates import template

QUIET = 20.0
FULL = 80.0
"""dB: a bar of the signal-to-noise ratio is empty at the first and full at the second."""


class Bar(Struct, frozen=True, kw_only=True):
    """One bar: how much of its width is filled, in percent, what stands beside it, and whether there is anything."""

    width: float
    text: str
    kind: str


class Row(Struct, frozen=True, kw_only=True):
    """One layer on the page."""

    layer: Layer
    together: Bar
    alone: Bar
    ratio: Bar
    histogram: tuple[Bar, ...]
    equally: tuple[str, ...]


def page(found: Comparison, exceeded: list[str] | None = None) -> str:
    """The page as HTML. Raises IntsimError where jinja2 is not installed."""
    said = found.reference
    level = f"optimization {said.optimization_level}" if said.optimization_level else ""
    return template("comparison.html").render(
        found=found,
        reference=", ".join(filter(None, (said.version, level, said.instruction_set))),
        rows=[_row(layer) for layer in found.layers],
        shares=[_mark(_root(share), text) for share, text in ((0, "0"), (0.01, "1"), (0.1, "10"), (1, "100 %"))],
        ratios=[_mark(_decibels(snr), f"{snr:.0f}{unit}") for snr, unit in ((QUIET, ""), (50.0, ""), (FULL, " dB"))],
        told=[layer for layer in found.layers if layer.explanation is not None],
        exceeded=exceeded or [],
        real=any(layer.float_snr is not None for layer in found.layers),
    )


def _row(layer: Layer) -> Row:
    causes = () if layer.explanation is None else layer.explanation.causes
    alone = Bar(width=0, text="not run alone", kind="none")
    if layer.single_mismatches is not None:
        alone = _share(layer.single_mismatches, layer.elements, "alone")
    return Row(
        layer=layer,
        together=_share(layer.mismatches, layer.elements, "together"),
        alone=alone,
        ratio=_ratio(layer.snr),
        histogram=_histogram(layer.single_differences or layer.differences),
        equally=tuple(cause.says for cause in causes[1:]),
    )


def _mark(width: float, text: str) -> Bar:
    """A mark on a bar's scale."""
    return Bar(width=width, text=text, kind="mark")


def _root(share: float) -> float:
    """Percent of a bar, on a scale of square roots: one integer of ten thousand can be seen."""
    return round(100 * share**0.5, 2)


def _decibels(snr: float) -> float:
    """Percent of a bar from QUIET to FULL."""
    return round(min(max(100 * (snr - QUIET) / (FULL - QUIET), 0.0), 100.0), 2)


def _share(count: int, of: int, kind: str) -> Bar:
    share = count / of if of else 0.0
    return Bar(width=_root(share), text=f"{count:,} ({100 * share:.3g} %)" if count else "0", kind=kind)


def _ratio(snr: float | None) -> Bar:
    if snr is None:
        return Bar(width=100, text="no difference", kind="same")
    return Bar(width=_decibels(snr), text=f"{snr:.1f} dB", kind="ratio")


def _histogram(differences: tuple[tuple[int, int], ...]) -> tuple[Bar, ...]:
    most: Any = max((count for _, count in differences), default=1)
    return tuple(
        Bar(width=_root(count / most), text=f"{step:+d}: {count:,}", kind="step") for step, count in differences
    )
