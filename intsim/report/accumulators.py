"""The charts of narrower accumulators: who is still right, and which layers' sums overflow."""

from collections.abc import Sequence

from msgspec.structs import replace

from intsim.evaluate.records import CLEAN, FLOAT
from intsim.report import curves, plots, words
from intsim.report.chart import COLOURS
from intsim.report.figures import Figure, row_curve
from intsim.report.record import Accumulator, Counted, Results, row_of, searching

WORTH = 0.001
"""The share of overflowing sums from which on a layer is drawn."""

MODES = {"wrap": "an overflow wraps", "saturate": "an overflow saturates"}


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
                lines.append(replace(row_curve(name, rows, colour), x=places))
        picture = curves.ladder(
            lines,
            widths,
            name=f"ladder-{len(made)}",
            title=MODES.get(mode, mode),
            alt=f"accuracy against accumulator width, {mode}",
        )
        made.append(Figure(svg=picture, caption=""))
    return made


def heat(found: Results) -> list[Figure]:
    """For each mode and attack judged at two strengths or more: accuracy by accumulator width and strength."""
    made: list[Figure] = []
    own = {(one.network, one.target): one for one in found.ladder}
    rows = [row for row in found.rows if (row.network, row.target) in own and row.crafted_on == FLOAT]
    for attack in searching(found):
        strengths = sorted({row.eps_steps for row in rows if row.attack == attack})
        for mode in dict.fromkeys(one.overflow for one in found.ladder) if len(strengths) > 1 else ():
            climbed = sorted((one for one in found.ladder if one.overflow == mode), key=lambda one: -one.bits)
            cells = [[_right(found, one, attack, eps) for eps in (0.0, *strengths)] for one in climbed]
            title = f"{words.attack_name(found, attack)}: {MODES.get(mode, mode)}"
            picture = plots.heat(
                cells,
                [str(one.bits) for one in climbed],
                ["clean", *(f"{eps:g}" for eps in strengths)],
                name=f"heat-{len(made)}",
                title=f"{title}, right, %",
                alt=f"{title}: percent right by accumulator width and strength",
                axes_names=("bits of the accumulator", "strength, steps of 1/255"),
            )
            made.append(Figure(svg=picture, caption=""))
    return made


def _right(found: Results, one: Accumulator, attack: str, eps: float) -> float | None:
    row = row_of(found, one.network, one.target, attack if eps else CLEAN, eps)
    return None if row is None else 100 * row.accuracy


def overflows(found: Results) -> list[Figure]:
    """For every accumulator with overflows worth a chart: the share of overflowing sums, layer by layer."""
    made: list[Figure] = []
    for target in dict.fromkeys(count.target for count in found.overflows):
        of = [count for count in found.overflows if count.target == target]
        if not any(count.outputs > WORTH * count.of_outputs for count in of):
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
