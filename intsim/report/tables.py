"""The page's tables and the gallery, as plain text cells ready for the template."""

from collections.abc import Container, Sequence
from functools import partial

from msgspec import Struct

from intsim.evaluate.records import CLEAN, FLOAT, NULL, Row
from intsim.evaluate.verdict import broken
from intsim.report import gallery, words
from intsim.report.record import Example, Results, behind_of, float_network, judges, row_of, searching


class Cell(Struct, frozen=True, kw_only=True):
    """What a cell says, and what it says in small below."""

    text: str
    small: str = ""


class Table(Struct, frozen=True, kw_only=True):
    """A table: its title, its columns, its rows of cells; `open`: whether it is unfolded; `strong` marks rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    open: bool = False


TRANSFER = (
    "who",
    "right",
    "its null",
    "same input",
    "transferred",
    "difference",
    "only here right",
    "only float right",
    "McNemar p",
    "p to its null",
    "tied",
)


def transfer(found: Results) -> list[Table]:
    """For every attack and strength: each judge against float on the same images; the telling strength unfolded."""
    made = []
    for attack in searching(found):
        shown = words.telling(found, attack)
        strengths = sorted({row.eps_steps for row in found.rows if row.attack == attack})
        for eps in strengths:
            title = words.set_name(found, attack, eps)
            own = row_of(found, float_network(found), FLOAT, attack, eps)
            rows = [row for pair in judges(found) if (row := row_of(found, *pair, attack, eps)) is not None]
            cells = [] if own is None else [_float_line(own)]
            cells += [_line(found, row) for row in rows]
            made.append(Table(title=title, columns=TRANSFER, rows=tuple(cells), open=eps == shown))
    return made


def _float_line(row: Row) -> tuple[Cell, ...]:
    dash = Cell(text="–")
    return (
        Cell(text="float", small="crafted here"),
        Cell(text=words.percent(row), small=words.interval(row)),
        *[dash] * 8,
        _tied(row),
    )


def _line(found: Results, row: Row) -> tuple[Cell, ...]:
    null = row_of(found, row.network, NULL, row.attack, row.eps_steps)
    clean = row_of(found, row.network, row.target, CLEAN, 0.0)
    gone = clean is not None and broken(clean)
    one, rate = row.paired[FLOAT], row.transferred
    return (
        Cell(text=row.target, small=row.network + (", collapsed" if gone else "")),
        Cell(text=words.percent(row), small=words.interval(row)),
        _rate(null),
        _rate(next((one for one in behind_of(found, row.network, row.attack) if one.eps_steps == row.eps_steps), None)),
        Cell(text="–")
        if rate is None or gone
        else Cell(text=words.percent(rate), small=f"{words.interval(rate)} of {rate.n}"),
        Cell(text=words.points(one), small=words.points_interval(one)),
        Cell(text=str(one.gained)),
        Cell(text=str(one.lost)),
        Cell(text=words.p_value(one.p)),
        Cell(text=words.p_value(row.paired[NULL].p) if NULL in row.paired else "–"),
        _tied(row),
    )


def _rate(row: Row | None) -> Cell:
    return Cell(text="–") if row is None else Cell(text=words.percent(row), small=words.interval(row))


def _tied(row: Row) -> Cell:
    if not row.tied:
        return Cell(text="0")
    low, high = 100 * row.correct_ties_wrong / row.n, 100 * row.correct_ties_right / row.n
    return Cell(text=str(row.tied), small=f"{low:.1f}–{high:.1f}")


EVERY = (
    "network",
    "target",
    "attack",
    "strength",
    "right",
    "of",
    "%",
    "95 % interval",
    "transferred",
    "fooled",
    "against float",
    "McNemar p",
    "tied",
    "top answers",
)


def everything(found: Results) -> Table:
    """Every row of the results."""
    gone = {(row.network, row.target) for row in found.rows if row.attack == CLEAN and broken(row)}
    return Table(
        title=f"All {len(found.rows)} rows",
        columns=EVERY,
        rows=tuple(tuple(Cell(text=text) for text in _all_of(row, gone)) for row in found.rows),
    )


def _all_of(row: Row, gone: Container[tuple[str, str]]) -> tuple[str, ...]:
    """The cells of a row; `gone`: the (network, target) that collapsed."""
    one, lost = row.paired.get(FLOAT), (row.network, row.target) in gone
    return (
        row.network,
        row.target,
        row.attack if row.crafted_on == FLOAT else f"{row.attack}, crafted on {row.crafted_on}",
        words.strength(row.eps_steps) if row.eps_steps else "",
        str(row.correct),
        str(row.n),
        words.percent(row),
        words.interval(row),
        words.percent(row.transferred) if row.transferred and not lost else "",
        words.percent(row.fooled) if row.fooled and not lost else "",
        f"{words.points(one)} ({words.points_interval(one)})" if one else "",
        words.p_value(one.p) if one else "",
        str(row.tied),
        f"{100 * row.top_share:.0f} %" + (" collapsed" if lost else ""),
    )


COUNTS = ("machine", "layer", "images", "sums that overflow", "of", "additions that overflow", "sums that do not fit")


def counts(found: Results) -> Table | None:
    """Overflows on every accumulator that was counted, layer by layer, on each set of images; None: none counted."""
    rows = [
        (
            Cell(text=count.target),
            Cell(text=count.layer),
            Cell(text=words.set_name(found, count.attack, count.eps_steps)),
            Cell(text=f"{count.outputs:,}", small=_share(count.outputs, count.of_outputs)),
            Cell(text=f"{count.of_outputs:,}"),
            Cell(text=f"{count.adds:,}", small=_share(count.adds, count.of_adds)),
            Cell(text=f"{count.persistent:,}", small=_share(count.persistent, count.of_outputs)),
        )
        for count in found.overflows
    ]
    return Table(title=f"All {len(rows)} counts", columns=COUNTS, rows=tuple(rows)) if rows else None


def _share(count: int, of: int) -> str:
    return f"{100 * count / of:.2f} %" if of else ""


class Shown(Struct, frozen=True, kw_only=True):
    """One entry of the gallery: three images as data: addresses, and what is said about them."""

    clean: str
    added: str
    attacked: str
    title: str
    about: str
    says: tuple[tuple[str, str, str, bool, bool], ...]
    logits: tuple[tuple[str, int, int], ...]


def shown(found: Results) -> list[Shown]:
    """The gallery: images, and (who, answer to the clean one, to the attacked one, right, right) twice."""
    return [_shown(found, example) for example in found.gallery]


def _shown(found: Results, example: Example) -> Shown:
    clean, attacked = (gallery.unpacked(b, example.shape) for b in (example.clean, example.attacked))
    name = partial(_class, found.class_names)
    return Shown(
        clean=gallery.data_uri(clean),
        added=gallery.data_uri(gallery.added(clean, attacked, example.eps_steps)),
        attacked=gallery.data_uri(attacked),
        title=f"{name(example.label)}: {example.kind}",
        about=f"image {example.index}, {words.set_name(found, example.attack, example.eps_steps)}",
        says=tuple(
            (who, name(before), name(after), before == example.label, after == example.label)
            for who, before, after in (
                ("float", example.float_clean, example.float_attacked),
                (words.judge_name(example.network, example.target), example.chip_clean, example.chip_attacked),
            )
        ),
        logits=tuple(
            (name(i), before, after)
            for i, (before, after) in enumerate(zip(example.logits_clean, example.logits_attacked, strict=True))
        ),
    )


def _class(names: Sequence[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else str(label)
