"""`intsim diff`: whether a run became worse than an earlier one, for machines that ask by exit status."""

import click
import msgspec

from intsim.cli import options
from intsim.cli.console import Out, finish, line, notice, table
from intsim.errors import IntsimError

COLUMNS = ("cell", "old", "new", "points", "95 % interval", "p", "images")
MOST = 50
"""Changes of each kind that are printed; --json has all."""


@click.command(epilog="Example: intsim diff main.sqlite branch.sqlite")
@click.argument("old", metavar="OLD.sqlite")
@click.argument("new", metavar="NEW.sqlite")
@click.option("--where", multiple=True, metavar="AXIS=VALUE", help="Only such cells.")
@click.option("--old-run", type=int, metavar="N", help="The run of the old store (default: its newest).")
@click.option("--new-run", type=int, metavar="N", help="The run of the new store (default: its newest).")
@options.spoken
def diff(old: str, new: str, where: tuple[str, ...], old_run: int | None, new_run: int | None, out: Out) -> int:
    """What became worse or better from OLD to NEW, cell by cell. Exit status 1: something became worse.

    Cells are matched by their axes. Worse is what lies beyond its interval, and beyond what so many comparisons find by
    chance (Holm).
    """
    from intsim.sweep.difference import difference
    from intsim.sweep.judged import chosen, conditions, load
    from intsim.sweep.store import opened

    wanted, sides, failed = conditions(where), [], []
    for store, run in ((old, old_run), (new, new_run)):
        with opened(store) as base:
            done, left = load(base, run)
        sides.append([one for one in done if chosen(one.cell, wanted)])
        failed.append(sum(bool(one.why) for one in left if chosen(one.cell, wanted)))
    found = difference(*sides)
    if not found.compared:
        raise IntsimError("have no finished cell in common", where=f"{old}, {new}", mend="see intsim status")
    for title, changes in (("worse", found.worse), ("better", found.better)):
        if changes:
            table(out, COLUMNS, map(_row, changes[:MOST]), title=title, right=COLUMNS[1:6])
        if len(changes) > MOST:
            line(out, f"and {len(changes) - MOST} more: --json has them")
    line(out, f"{found.compared} cells compared: {len(found.worse)} worse, {len(found.better)} better")
    line(out, f"{found.changed} have another outcome on the same images; {found.unlike} judged other images")
    if found.only_old or found.only_new:
        line(out, f"only in {old}: {found.only_old} cells; only in {new}: {found.only_new}")
    if failed[1]:
        notice(out, f"{failed[1]} cells failed in {new}: intsim status {new} says why")
    finish(out, "diff", {**msgspec.to_builtins(found), "failed_old": failed[0], "failed_new": failed[1]})
    return int(bool(found.worse))


def _row(one: object) -> tuple[str, ...]:
    from intsim.sweep.difference import Change
    from intsim.sweep.judged import said

    assert isinstance(one, Change)
    return (
        said(one.cell),
        f"{100 * one.old.value:.1f} %",
        f"{100 * one.new.value:.1f} %",
        f"{100 * one.difference:+.1f}",
        f"{100 * one.low:+.1f} to {100 * one.high:+.1f}",
        "<0.0001" if one.adjusted < 0.0001 else f"{one.adjusted:.4f}",
        f"same, {one.differ} differ" if one.same_images else "other",
    )
