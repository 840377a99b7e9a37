"""`intsim sweep`, `intsim status`, `intsim export`: grids of runs, how far they are, and what came out."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from intsim.cli import options
from intsim.cli.console import Out, finish, line, notice, progress, table
from intsim.errors import IntsimError

if TYPE_CHECKING:
    from intsim.sweep.estimate import Estimate

STORE = "runs.sqlite"


@click.command(epilog="Example: intsim sweep benchmarks/example_sweep.toml --dry-run")
@click.argument("plan", metavar="PLAN.toml")
@click.option("--store", default=STORE, metavar="FILE", callback=options.destination, help=f"(default: {STORE})")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes (default: one a processor).")
@click.option("--scheduler", metavar="ADDRESS", help="Run on this Dask cluster (tcp://HOST:PORT) instead.")
@click.option("--dry-run", is_flag=True, help="Check the plan, say what it would cost, and run nothing.")
@options.spoken
def sweep(plan: str, store: str, workers: int | None, scheduler: str | None, dry_run: bool, out: Out) -> int:
    """Do every cell of PLAN.toml that the store does not hold yet.

    Killed at any moment, the same command goes on where it was. Ctrl-C stops after the running cells, twice at once.
    """
    from intsim.sweep import read, sweep
    from intsim.sweep.cells import checked

    wanted = checked(read(plan))
    if dry_run:
        return _dry(wanted, store, workers, out)
    with progress(out, "sweeping") as advance:
        found = sweep(wanted, store, workers=workers, scheduler=scheduler, progress=_watched(out, advance))
    said = f"{found.done} cells done, {found.before} were done before, {found.failed} failed, of {found.cells}"
    line(out, f"run {found.run}: {said}" + ("; stopped, the same command goes on" if found.stopped else ""))
    if found.failed:
        notice(out, f"intsim status {store} says why")
    finish(out, "sweep", msgspec.structs.asdict(found))
    return int(bool(found.failed))


def _dry(plan: object, store: str, workers: int | None, out: Out) -> int:
    from intsim.engine.threads import processors
    from intsim.sweep.estimate import estimate
    from intsim.sweep.plan import Plan
    from intsim.sweep.store import finished, opened

    assert isinstance(plan, Plan)
    done: frozenset[str] = frozenset()
    if Path(store).is_file():
        with opened(store) as base:
            done = frozenset(finished(base))
    found = estimate(plan, done)
    for text in told(found, workers or processors()):
        line(out, text)
    finish(out, "sweep", msgspec.structs.asdict(found))
    return 0


def told(found: "Estimate", workers: int) -> list[str]:
    """An estimate in lines."""
    return [
        f"cells: {found.named} named, {found.cells} different, {found.left} to do, on {found.n} images each",
        f"shared: {found.networks} calibrations, {found.quantizations} quantized networks, {found.sets} sets of "
        f"attacked images; {found.steps} of {found.of_steps} layer evaluations for a set of images",
        f"time: about {found.seconds / workers:.0f} s on {workers} workers, {found.crafting / workers:.0f} s of it "
        "crafting",
        f"disk: about {found.disk / 1e6:.1f} MB in the store, {found.cache / 1e6:.1f} MB of images beside it",
    ]


def _watched(out: Out, advance: Callable[..., None]) -> Callable[[int, int, str], None]:
    """A bar with rate and time left on a terminal, a line for each cell elsewhere."""
    began, first = time.monotonic(), list[int]()

    def tell(done: int, of: int, outcome: str) -> None:
        first.append(done)
        rate = (done - first[0]) / max(time.monotonic() - began, 1e-9)
        left = f", {(of - done) / rate:.0f} s left" if rate else ""
        advance(done, f"{done}/{of} cells, {rate:.1f}/s{left}", of)
        if not sys.stderr.isatty():
            notice(out, f"{done}/{of} {outcome}")

    return tell


@click.command(epilog="Example: intsim status runs.sqlite --by target,eps_steps --where attack=fgsm")
@click.argument("store", metavar="FILE")
@click.option("--by", metavar="AXIS,AXIS", help="Accuracies over two axes (network, target, accumulator, ...).")
@click.option("--where", multiple=True, metavar="AXIS=VALUE", help="Only such cells.")
@click.option("--run", "number", type=int, metavar="N", help="The run (default: the newest).")
@options.spoken
def status(store: str, by: str | None, where: tuple[str, ...], number: int | None, out: Out) -> None:
    """How far the runs of a store are, and what has come out so far."""
    from intsim.sweep import reading
    from intsim.sweep.store import opened

    with opened(store) as base:
        runs = reading.runs(base)
        shown = reading.table(base, by.split(","), where, number) if by and runs else None
    columns = ("run", "name", "cells", "done", "failed", "last session")
    rows = [(run.id, run.name, run.cells, run.done, run.failed, _ending(run.ending, run.process)) for run in runs]
    table(out, columns, rows, right=("run", "cells", "done", "failed"))
    for run in runs:
        if run.why:
            line(out, f"run {run.id}: {run.why}")
    if shown is not None and by:
        cells = [
            (row, *("" if one is None else f"{100 * one.value:.1f} %" for one in means))
            for row, means in zip(shown.rows, shown.means, strict=True)
        ]
        table(out, (by, *shown.columns), cells, title=f"accuracy, {shown.cells} cells", right=shown.columns)
    finish(out, "status", {"runs": [msgspec.structs.asdict(run) for run in runs], "table": shown})


def _ending(ending: str | None, process: int) -> str:
    return ending or f"running, or killed (process {process})"


@click.command(epilog="Example: intsim export runs.sqlite -o runs.csv")
@click.argument("store", metavar="FILE")
@click.option("--run", "number", type=int, metavar="N", help="Only this run (default: all).")
@options.output(required=True, help="A .csv, or a .parquet (which takes pyarrow).")
@options.spoken
def export(store: str, number: int | None, path: str, out: Out) -> None:
    """One row for every finished cell of a store, for other tools."""
    from intsim.sweep import reading
    from intsim.sweep.store import opened

    with opened(store) as base:
        count = reading.export(base, path, number)
    if not count:
        raise IntsimError("holds no finished cell", where=store, mend="see intsim status")
    line(out, f"written: {path}, {count} cells")
    finish(out, "export", {"path": path, "cells": count})
