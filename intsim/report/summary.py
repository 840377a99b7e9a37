"""The one picture that says what was found: for the README, for a slide."""

from collections.abc import Mapping
from typing import Any

from intsim.evaluate.records import Evaluation
from intsim.report import chart, figures, words
from intsim.report.curves import draw_strength
from intsim.report.record import Results, results, searching


def picture(found: Results | Evaluation | Mapping[str, Any], kind: str = "svg") -> bytes:
    """Accuracy against strength under the first and the last attack, side by side: the bytes of an "svg" or "png"."""
    record = results(found)
    attacks = list(dict.fromkeys([*searching(record)[:1], *searching(record)[-1:]]))
    with chart.figure(420 * len(attacks), 300, 1, len(attacks)) as (made, axes):
        for plot, attack in zip(axes[0], attacks, strict=True):
            lines, marks, _ = figures.attack_lines(record, attack)
            draw_strength(
                plot, lines, marks, title=f"{words.attack_name(record, attack)}, crafted on the float network"
            )
        return chart.picture(made, kind)
