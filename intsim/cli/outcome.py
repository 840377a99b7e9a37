"""What an evaluation found, as tables for a terminal: accuracy and transfer by strength, accumulators, overflows."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from intsim.cli.console import Out, line, table

if TYPE_CHECKING:
    from intsim.evaluate import Row
    from intsim.report import Results

Judge = tuple[str, str]
"""(network, target)."""

Images = tuple[str, float]
"""(attack, strength in steps of 1/255)."""

CLEAN_IMAGES: Images = ("clean", 0.0)
"""Those that nobody attacked."""


def show(out: Out, found: "Results") -> None:
    """The tables of an evaluation and what may be said of it."""
    from intsim.evaluate.verdict import broken
    from intsim.report import headlines, results, searching

    if out.silent:
        return
    crafted = [row for row in found.rows if row.crafted_on == "float"]
    found_rows = {((row.network, row.target), (row.attack, row.eps_steps)): row for row in crafted}
    unusable = {judge for (judge, images), row in found_rows.items() if images == CLEAN_IMAGES and broken(row)}
    rungs = {(rung.network, rung.target): f"{rung.bits}-bit {rung.overflow}" for rung in found.ladder}
    judges = [judge for judge in dict.fromkeys(judge for judge, _ in found_rows) if judge not in rungs]
    sets = list(dict.fromkeys(images for _, images in found_rows))
    for attack in dict.fromkeys(attack for attack, eps in sets if eps):
        chosen = [CLEAN_IMAGES, *sorted(images for images in sets if images[0] == attack)]
        _accuracy(out, attack, judges, chosen, found_rows, unusable)
    for attack in searching(found):
        chosen = sorted(images for images in sets if images[0] == attack)
        _transfer(out, attack, judges, chosen, found_rows, unusable)
    known = [row for row in found.rows if row.crafted_on != "float"]
    for attack, eps in dict.fromkeys((row.attack, row.eps_steps) for row in known):
        _matrix(out, [row for row in known if (row.attack, row.eps_steps) == (attack, eps)], unusable)
    _steps(out, found)
    _brackets(out, found)
    if rungs:
        _ladder(out, rungs, sets, found_rows, unusable)
    if found.overflows:
        _overflows(out, found)
    widest = max((row.high - row.low) / 2 for row in found.rows)
    line(out, f"accuracy in percent of {found.n} images, 95 % intervals up to ±{100 * widest:.1f} points; * collapsed")
    for gate in found.gates:
        if gate.passed is False and (gate.network, gate.target) not in unusable:
            spoils = f" (spoils {', '.join(gate.spoils)})" if gate.spoils else ""
            line(out, f"check failed, {gate.network} on {gate.target}: {gate.said}{spoils} Next: {gate.settle}")
    line(out)
    for sentence in headlines(results(found)):
        line(out, f"- {sentence}")


Rows = dict[tuple[Judge, Images], "Row"]


def _accuracy(
    out: Out, attack: str, judges: Sequence[Judge], sets: Sequence[Images], rows: Rows, unusable: set[Judge]
) -> None:
    columns = ("network", "target", *map(_name, sets))
    cells = [(*judge, *(_percent(rows.get((judge, x)), judge in unusable) for x in sets)) for judge in judges]
    table(out, columns, cells, title=f"{attack}: right, %", right=columns[2:])


def _brackets(out: Out, found: "Results") -> None:
    """Between what is proven and what no attack has taken, where anything was to be proven."""
    tried = [one for one in found.brackets if one.lower is not None]
    if tried:
        columns = ("network", "target", "radius", "proven right", "not taken")
        rows = [
            (b.network, b.target, f"{b.eps_steps:g}/255", f"{b.lower.value:.1%}", f"{b.upper.value:.1%}")
            for b in tried
            if b.lower is not None
        ]
        table(out, columns, rows, title="robust accuracy lies between", right=columns[2:])


def _transfer(
    out: Out, attack: str, judges: Sequence[Judge], sets: Sequence[Images], rows: Rows, unusable: set[Judge]
) -> None:
    """Of the images that fool float, the share that fools the others; nothing of a network that had collapsed."""
    columns = ("network", "target", *map(_name, sets))
    cells = [
        (*judge, *(None if judge in unusable else _rate(rows.get((judge, images))) for images in sets))
        for judge in judges
        if judge[1] != "float"
    ]
    table(out, columns, cells, title=f"{attack}: of what fools float, fooled here, %", right=columns[2:])


def _matrix(out: Out, rows: Sequence["Row"], unusable: set[Judge]) -> None:
    """One attack that knows the chip: judged on each row, crafted on each column."""
    crafted = list(dict.fromkeys(row.crafted_on for row in rows))
    found = {((row.network, row.target), row.crafted_on): row for row in rows}
    judges = list(dict.fromkeys(judge for judge, _ in found))
    cells = [(*judge, *(_percent(found[judge, on], judge in unusable) for on in crafted)) for judge in judges]
    title = f"{_name((rows[0].attack, rows[0].eps_steps), full=True)}, crafted on the column: right, %"
    table(out, ("network", "target", *crafted), cells, title=title, right=tuple(crafted))


def _steps(out: Out, found: "Results") -> None:
    """The steps from float to every machine, on the images of the primary comparison."""
    if found.primary is None:
        return
    cell = (found.primary.attack, found.primary.eps_steps, "float")
    columns = ("network", "step", "gained", "lost", "net", "95 %", "p (Holm)", "null", "beyond it, 95 %")
    cells = []
    for step in found.rungs:
        if (step.attack, step.eps_steps, step.crafted_on) != cell:
            continue
        one, null, beyond = step.paired, step.null, step.beyond
        cells.append(
            (
                step.network,
                f"{step.before} -> {step.after}",
                one.gained,
                one.lost,
                f"{100 * one.difference:+.1f}",
                f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
                f"{step.p_holm:.2g}",
                f"{100 * null.difference:+.1f}" if null else None,
                f"{100 * beyond.low:+.1f} to {100 * beyond.high:+.1f}" if beyond else None,
            )
        )
    title = f"{_name(cell[:2], full=True)}: from float to the machines, points (null: float null against float)"
    table(out, columns, cells, title=title, right=columns[2:])


def _ladder(out: Out, rungs: dict[Judge, str], sets: Sequence[Images], rows: Rows, unusable: set[Judge]) -> None:
    chosen = [images for images in sets if any((judge, images) in rows for judge in rungs)]
    columns = ("accumulator", *(_name(images, full=True) for images in chosen))
    cells = [
        (name, *(_percent(rows.get((judge, images)), judge in unusable) for images in chosen))
        for judge, name in rungs.items()
    ]
    table(out, columns, cells, title="accumulators: right, %", right=columns[1:])


def _overflows(out: Out, found: "Results") -> None:
    """The share of sums that overflow, layer by layer; accumulators in which none does are left out."""
    names = {(rung.network, rung.target): f"{rung.bits}-bit {rung.overflow}" for rung in found.ladder}
    layers = list(dict.fromkeys(count.layer for count in found.overflows))
    shares: dict[tuple[Judge, Images], dict[str, float]] = {}
    for c in found.overflows:
        if c.of_outputs:
            shares.setdefault(((c.network, c.target), (c.attack, c.eps_steps)), {})[c.layer] = c.outputs / c.of_outputs
    cells = [
        (names.get(judge, judge[1]), _name(images, full=True), *(f"{100 * share.get(x, 0.0):.2f}" for x in layers))
        for (judge, images), share in shares.items()
        if any(share.values())
    ]
    columns = ("accumulator", "images", *layers)
    table(out, columns, cells, title="sums that overflow, %", right=columns[2:])


def _name(images: Images, *, full: bool = False) -> str:
    attack, eps = images
    return f"{attack + ' ' if full else ''}{eps:g}/255" if eps else attack


def _percent(row: "Row | None", unusable: bool) -> str | None:
    return None if row is None else f"{100 * row.accuracy:.1f}{'*' if unusable else ''}"


def _rate(row: "Row | None") -> str | None:
    rate = row.transferred if row else None
    return f"{100 * rate.value:.0f}" if rate and rate.n else None
