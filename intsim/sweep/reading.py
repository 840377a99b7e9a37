"""What a store holds: how far its runs are, a table over any two axes, and files for other tools."""

import csv
import io
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import msgspec
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.sweep.judged import AXES, Mean, axis, chosen, conditions, grouped, load, mean, varied

COLUMNS = (*AXES, "n", "correct", "tied", "correct_ties_wrong", "correct_ties_right", "images", "seconds", "digest")
"""What stands in a row of an exported file."""


class Run(Struct, frozen=True, kw_only=True):
    """A run: `done` and `failed` of `cells` (digests), its last session, `why` one cell failed.

    `began`, `ended`: seconds since 1970. `ending`: None while it runs, and where it was killed.
    """

    id: int
    name: str
    cells: int
    done: int
    failed: int
    began: float
    ended: float | None
    ending: str | None
    process: int
    why: str


def runs(base: sqlite3.Connection) -> list[Run]:
    """All runs of a store."""
    found = []
    for id_, name in base.execute("SELECT id, name FROM runs ORDER BY id").fetchall():
        those = "SELECT DISTINCT digest FROM coordinates WHERE run = ?"
        (cells,) = base.execute(f"SELECT count(*) FROM ({those})", (id_,)).fetchone()
        (done,) = base.execute(f"SELECT count(*) FROM cells WHERE digest IN ({those})", (id_,)).fetchone()
        failed = base.execute(f"SELECT count(*), min(what) FROM failures WHERE digest IN ({those})", (id_,)).fetchone()
        last = "SELECT began, ended, ending, process FROM sessions WHERE run = ? ORDER BY id DESC LIMIT 1"
        began, ended, ending, process = base.execute(last, (id_,)).fetchone()
        found.append(
            Run(id=id_, name=name, cells=cells, done=done, failed=failed[0], why=failed[1] or "",
                began=began, ended=ended, ending=ending, process=process)
        )  # fmt: skip
    return found


def versions(base: sqlite3.Connection, run: int) -> str:
    """What the sessions of a run were made with, one after the other where they differ."""
    found = base.execute("SELECT DISTINCT environment FROM sessions WHERE run = ? ORDER BY id", (run,)).fetchall()
    each = [msgspec.json.decode(text, type=dict[str, str]) for (text,) in found]
    return "; then ".join(", ".join(f"{name} {version}" for name, version in one.items()) for one in each)


class Table(Struct, frozen=True, kw_only=True):
    """Mean accuracies over two axes: `means[row][column]`, None where nothing is done yet."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    means: tuple[tuple[Mean | None, ...], ...]
    cells: int


def table(base: sqlite3.Connection, by: Sequence[str], where: Sequence[str] = (), run: int | None = None) -> Table:
    """The accuracies of a run (the newest, unless given) over the two axes `by`.

    `where`: AXIS=VALUE, what all cells have. Raises IntsimError for an axis that there is not.
    """
    if len(by) != 2 or axis(by[0]) == axis(by[1]):
        raise IntsimError("a table has two axes", where=",".join(by), mend=f"name two of {', '.join(AXES)}")
    wanted = conditions(where)
    done = [one for one in load(base, run, bits=False)[0] if chosen(one.cell, wanted)]
    values = varied(one.cell for one in done)
    groups = grouped(done, axis(by[0]), axis(by[1]))
    firsts, seconds = values[axis(by[0])], values[axis(by[1])]
    means = tuple(tuple(mean(groups[a, b]) if (a, b) in groups else None for b in seconds) for a in firsts)
    return Table(rows=tuple(map(_word, firsts)), columns=tuple(map(_word, seconds)), means=means, cells=len(done))


def export(base: sqlite3.Connection, path: str | Path, run: int | None = None) -> int:
    """Writes a row for each finished cell of a run (None: of all) as .csv or .parquet; how many there are.

    Parquet has `right`, `answers` and `logits` too. Raises IntsimError for another ending, or without pyarrow.
    """
    suffix = Path(path).suffix
    if suffix not in (".csv", ".parquet"):
        raise IntsimError(f'cannot write "{suffix}"', where=str(path), mend="write .csv or .parquet")
    wanted = COLUMNS if suffix == ".csv" else (*COLUMNS, "right", "answers", "logits")
    rows = base.execute(
        f"SELECT run, {', '.join(wanted)} FROM coordinates JOIN cells USING (digest) "
        "WHERE ? IS NULL OR run = ? ORDER BY run, place",
        (run, run),
    ).fetchall()
    names = ("run", *wanted)
    write_atomically(path, _csv(names, rows) if suffix == ".csv" else _parquet(names, rows))
    return len(rows)


def _csv(names: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, lineterminator="\n").writerows([names, *rows])
    return file.getvalue().encode()


def _parquet(names: Sequence[str], rows: Sequence[Sequence[object]]) -> bytes:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError:
        mend = "pip install 'intsim[parquet]', or write .csv"
        raise IntsimError("pyarrow is not installed", where=".parquet", mend=mend) from None
    columns = dict(zip(names, map(list, zip(*rows, strict=True)) if rows else ([] for _ in names), strict=True))
    file = io.BytesIO()
    parquet.write_table(pyarrow.table(columns), file)
    return file.getvalue()


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
