"""One page from a run of a sweep, finished or not: charts over its axes, best and worst cells, and what stands out."""

from collections.abc import Sequence

from msgspec import Struct

from intsim.errors import IntsimError
from intsim.evaluate.records import CLEAN, FLOAT
from intsim.report import grids, views, words
from intsim.report.tables import Cell as Text
from intsim.report.tables import Table
from intsim.report.templates import template
from intsim.report.views import NAMES, word
from intsim.sweep.cells import Cell
from intsim.sweep.judged import AXES, Judged, Unfinished, chosen, conditions, grouped, is_machine, said, varied
from intsim.sweep.monotone import Turn, Turns, turns

SETS = 60
"""Sets of images whose best and worst machines are listed."""

PAGE = 500
"""Rows of a folded table."""

ROWS = 20_000
"""Rows of all folded tables together."""


class Swept(Struct, frozen=True, kw_only=True):
    """A run that is told of: its `name` and number, its cells, what made it and what repeats the page."""

    run: int
    name: str
    done: tuple[Judged, ...]
    left: tuple[Unfinished, ...]
    versions: str
    command: str = ""


class Extremes(Struct, frozen=True, kw_only=True):
    """The machines that were right most and least often on one set of images, of `of`, beside float there."""

    best: Judged
    worst: Judged
    of: int
    ideal: Judged | None


def page(
    found: Swept,
    *,
    where: Sequence[str] = (),
    rows: str | None = None,
    columns: str | None = None,
    over: str | None = None,
) -> str:
    """The page as HTML. `rows`, `columns`: the axes of the heatmaps; `over`: what the curves follow.

    Raises IntsimError for axes and conditions that there are not, where no cell is left, and without jinja2.
    """
    wanted = conditions(where)
    done = [one for one in found.done if chosen(one.cell, wanted)]
    left = [one for one in found.left if chosen(one.cell, wanted)]
    if not done:
        raise IntsimError("there is no finished cell", where=" ".join(where) or found.name, mend="see intsim status")
    shown = views.axes(done, rows, columns)
    along = views.over(done, over)
    grid = views.view(done, shown)
    among = shown[0] if shown[0] != along else shown[1]
    walk = views.view(done, (among, along)) if along else None
    return template("swept.html", trim_blocks=True, lstrip_blocks=True).render(
        found=found,
        where=where,
        progress=progress(done, left),
        images=sorted({one.n for one in done}),
        names=NAMES,
        grid=grid,
        heatmaps=grids.heatmaps(done, grid),
        walk=walk,
        curves=grids.lines(done, walk, found.done) if walk else (),
        extremes=_extremes(done, found.done),
        turns=(turned := turns(done)),
        turn_table=_turns(turned),
        failures=_failures(left),
        everything=_everything(done),
        rows=ROWS,
    )


def progress(done: Sequence[Judged], left: Sequence[Unfinished]) -> tuple[int, int, int]:
    """(finished, all, failed) different cells."""
    finished, others = {one.digest for one in done}, {one.digest for one in left}
    return len(finished), len(finished | others), len({one.digest for one in left if one.why})


# ---- best and worst -----------------------------------------------------------------------------------------------


def extremes(those: Sequence[Judged], everybody: Sequence[Judged]) -> list[Extremes]:
    """The best and the worst machine on every set of images that two or more machines judged."""
    ideal = {one.images: one for one in everybody if one.cell.target == FLOAT}
    found = []
    for several in grouped((one for one in those if is_machine(one.cell)), "network", *IMAGES).values():
        ranked = sorted(several, key=lambda one: -one.correct / one.n)
        best, worst = ranked[0], ranked[-1]
        if best.digest != worst.digest:
            found.append(Extremes(best=best, worst=worst, of=len(several), ideal=ideal.get(best.images)))
    return found


IMAGES = ("attack", "eps_steps", "seed")
EXTREMES = ("images", "float", "machines", "most often right", "right", "least often right", "right")


def _extremes(those: Sequence[Judged], everybody: Sequence[Judged]) -> Table | None:
    found = extremes(those, everybody)
    clean = {_judge(one.cell): one for one in everybody if one.cell.attack == CLEAN}
    networks = len({one.best.cell.network for one in found}) > 1
    rows = []
    for one in found[:SETS]:
        cell = one.best.cell
        images = " ".join(filter(None, [word("network", cell.network) if networks else "", *_set(cell)]))
        both = []
        for judged in (one.best, one.worst):
            own = clean.get(_judge(judged.cell)) if cell.attack != CLEAN else None
            small = f"clean: {words.percent(own.rate)}" if own else ""
            both += [Text(text=machine(judged.cell), small=small), _rate(judged)]
        rows.append(
            (Text(text=images), _rate(one.ideal) if one.ideal else Text(text="–"), Text(text=str(one.of)), *both)
        )
    left = f", the first {SETS} of {len(found)} sets of images" if len(found) > SETS else ""
    return Table(title=f"Best and worst{left}", columns=EXTREMES, rows=tuple(rows)) if rows else None


def _judge(cell: Cell) -> tuple[object, ...]:
    return tuple(getattr(cell, at) for at in AXES if at not in ("attack", "eps_steps"))


def _set(cell: Cell) -> list[str]:
    seed = f"seed {cell.seed}" if cell.seed else ""
    return [cell.attack, "" if cell.attack == CLEAN else word("eps_steps", cell.eps_steps), seed]


def machine(cell: Cell) -> str:
    """A cell's machine in words."""
    bits = (("weights", cell.weight_bits), ("activations", cell.activation_bits))
    said = [cell.target, *(f"{n}-bit {what}" for what, n in bits if n)]
    said += [f"{cell.accumulator}-bit accumulator, {cell.overflow}"] if cell.accumulator else []
    return ", ".join([*said, cell.rounding] if cell.rounding else said)


def _rate(one: Judged) -> Text:
    return Text(text=words.percent(one.rate), small=words.interval(one.rate))


# ---- what stands out ----------------------------------------------------------------------------------------------

TURNS = ("where", "along", "narrower", "wider", "narrower less wider", "only narrower right", "only wider right", "p")


def _turns(found: Turns) -> tuple[Table | None, Table | None]:
    """(those beyond chance, others) as tables."""
    sure = [_turn(one) for one in found.turns if one.sure]
    others = [_turn(one) for one in found.turns if not one.sure]
    titles = f"{len(sure)} beyond chance", f"{len(others)} that may be chance, the likeliest first"
    first, second = (
        Table(title=title, columns=TURNS, rows=tuple(rows)) if rows else None
        for title, rows in zip(titles, (sure, others), strict=True)
    )
    return first, second


def _turn(one: Turn) -> tuple[Text, ...]:
    low, high = (getattr(judged.cell, one.axis) for judged in (one.narrow, one.wide))
    return (
        Text(text=said(one.narrow.cell)),
        Text(text=NAMES[one.axis]),
        Text(text=f"{low}: {words.percent(one.narrow.rate)}", small=words.interval(one.narrow.rate)),
        Text(text=f"{high}: {words.percent(one.wide.rate)}", small=words.interval(one.wide.rate)),
        Text(text=words.points(one.found), small=words.points_interval(one.found)),
        Text(text=str(one.found.gained)),
        Text(text=str(one.found.lost)),
        Text(text=words.p_value(one.adjusted)),
    )


def _failures(left: Sequence[Unfinished]) -> list[tuple[str, int, str]]:
    """(why, how many cells, one of them), the commonest first."""
    found: dict[str, list[Unfinished]] = {}
    for one in left:
        if one.why:
            found.setdefault(one.why, []).append(one)
    return sorted(((why, len(those), said(those[0].cell)) for why, those in found.items()), key=lambda one: -one[1])[
        :50
    ]


def _everything(done: Sequence[Judged]) -> list[Table]:
    """All cells in folded tables of PAGE rows, only axes on which they differ, up to ROWS rows."""
    values = varied(one.cell for one in done)
    axes = [at for at in AXES if len(values[at]) > 1] or ["target"]
    columns, made = (*(NAMES[at] for at in axes), "right", "of", "%", "95 % interval"), []
    for first in range(0, min(len(done), ROWS), PAGE):
        several = done[first : first + PAGE]
        cells = [(*(word(at, getattr(one.cell, at)) for at in axes), *_numbers(one)) for one in several]
        rows = tuple(tuple(Text(text=text) for text in line) for line in cells)
        title = f"Cells {first + 1} to {first + len(several)} of {len(done)}"
        made.append(Table(title=title, columns=columns, rows=rows))
    return made


def _numbers(one: Judged) -> tuple[str, ...]:
    return str(one.correct), str(one.n), f"{100 * one.rate.value:.1f}", words.interval(one.rate)
