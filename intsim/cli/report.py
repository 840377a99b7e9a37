"""`intsim report`: a page from a sweep's store, whenever it is asked for."""

import shlex
from typing import Any

import click
from msgspec.structs import replace

from intsim.cli import options
from intsim.cli.console import Out, finish, line
from intsim.errors import IntsimError
from intsim.files import write_atomically


@click.command(epilog="Example: intsim report runs.sqlite -o page.html --where targets=cmsis_nn_s8 --columns eps")
@click.argument("store", metavar="FILE")
@click.option("--rows", metavar="AXIS", help="Down the heatmaps (default: the axis with the most values).")
@click.option("--columns", metavar="AXIS", help="Across the heatmaps (default: the one with the next most).")
@click.option("--over", metavar="AXIS", help="What curves follow: eps, accumulators, weight_bits, activation_bits.")
@click.option("--where", multiple=True, metavar="AXIS=VALUE", help="Only such cells; twice for one axis: either.")
@click.option("--network", metavar="NAME", help="The page of `intsim attack`, on that network, instead of the grid's.")
@click.option("--seed", type=int, default=0, metavar="S", help="With --network: of that seed (default: 0).")
@click.option("--run", "number", type=int, metavar="N", help="The run (default: the newest).")
@options.output(required=True, help="The page, one .html file with everything in it.")
@options.spoken
@click.pass_obj
def report(
    settings: dict[str, Any],
    store: str,
    rows: str | None,
    columns: str | None,
    over: str | None,
    where: tuple[str, ...],
    network: str | None,
    seed: int,
    number: int | None,
    path: str,
    out: Out,
) -> None:
    """A page with what a sweep has found so far, one axis against another."""
    if network is not None:
        if rows or columns or over or where:
            what = "leaves no axis to choose"
            raise IntsimError(what, where="--network", mend="leave out --rows, --columns, --over, --where")
        _evaluation(store, number, network, seed, path, shlex.join(settings["command"]), out)
        return
    from intsim.report import swept
    from intsim.sweep import reading
    from intsim.sweep.judged import load, newest
    from intsim.sweep.store import opened

    with opened(store) as base:
        run = newest(base, number)
        done, left = load(base, run)
        (name,) = base.execute("SELECT name FROM runs WHERE id = ?", (run,)).fetchone()
        versions = reading.versions(base, run)
    found = swept.Swept(
        run=run, name=name, done=done, left=left, versions=versions, command=shlex.join(settings["command"])
    )
    text = swept.page(found, where=where, rows=rows, columns=columns, over=over)
    write_atomically(path, text.encode())
    finished, every, failed = swept.progress(done, left)
    line(out, f"written: {path}, {finished} of {every} cells, {len(text.encode()) / 1e6:.1f} MB")
    numbers = {"path": path, "run": run, "cells": every, "done": finished, "failed": failed}
    finish(out, "report", numbers)


def _evaluation(store: str, number: int | None, network: str, seed: int, path: str, command: str, out: Out) -> None:
    """Writes the page of the evaluation that the run's cells of one network and seed amount to."""
    from intsim import report
    from intsim.errors import unknown
    from intsim.evaluate.records import FLOAT
    from intsim.sweep import evaluations

    found = evaluations(store, number)
    names = {(next(row.network for row in one.rows if row.target == FLOAT), one.seed): one for one in found}
    if (network, seed) not in names:
        raise unknown("network and seed", f"{network}, seed {seed}", [f"{n}, seed {s}" for n, s in names])
    record = replace(
        report.results(names[network, seed]), of=f"{network}, seed {seed}, of the sweep {store}", command=command
    )
    write_atomically(path, report.render(record).encode())
    line(out, f"written: {path}, {len(record.rows)} judged sets of {record.n} images")
    finish(out, "report", {"path": path, "network": network, "seed": seed, "rows": len(record.rows)})
