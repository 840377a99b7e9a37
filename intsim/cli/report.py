"""`intsim report`: a page from a sweep's store, whenever it is asked for."""

import shlex
from typing import Any

import click

from intsim.cli import options
from intsim.cli.console import Out, finish, line
from intsim.files import write_atomically


@click.command(epilog="Example: intsim report runs.sqlite -o page.html --where targets=cmsis_nn_s8 --columns eps")
@click.argument("store", metavar="FILE")
@click.option("--rows", metavar="AXIS", help="Down the heatmaps (default: the axis with the most values).")
@click.option("--columns", metavar="AXIS", help="Across the heatmaps (default: the one with the next most).")
@click.option("--over", metavar="AXIS", help="What curves follow: eps, accumulators, weight_bits, activation_bits.")
@click.option("--where", multiple=True, metavar="AXIS=VALUE", help="Only such cells; twice for one axis: either.")
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
    number: int | None,
    path: str,
    out: Out,
) -> None:
    """A page with what a sweep has found so far, one axis against another."""
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
