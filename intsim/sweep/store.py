"""The store: one SQLite file with runs, cells and outcomes; what was committed stays, whatever happens next."""

import os
import platform
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import msgspec

from intsim import __version__
from intsim.errors import IntsimError
from intsim.sweep.cells import Cell
from intsim.sweep.plan import Plan
from intsim.sweep.work import Found

MIGRATIONS = (
    """
    CREATE TABLE runs (id INTEGER PRIMARY KEY, plan TEXT NOT NULL UNIQUE, name TEXT NOT NULL, created REAL NOT NULL);
    CREATE TABLE sessions (id INTEGER PRIMARY KEY, run INTEGER NOT NULL REFERENCES runs, began REAL NOT NULL,
        ended REAL, ending TEXT, process INTEGER NOT NULL, environment TEXT NOT NULL);
    CREATE TABLE cells (digest TEXT PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions, finished REAL NOT NULL,
        seconds REAL NOT NULL, n INTEGER NOT NULL, correct INTEGER NOT NULL, tied INTEGER NOT NULL,
        correct_ties_wrong INTEGER NOT NULL, correct_ties_right INTEGER NOT NULL, images TEXT NOT NULL,
        right BLOB NOT NULL, answers BLOB, logits BLOB) WITHOUT ROWID;
    CREATE TABLE failures (digest TEXT PRIMARY KEY, session INTEGER NOT NULL REFERENCES sessions, what TEXT NOT NULL);
    CREATE TABLE coordinates (run INTEGER NOT NULL REFERENCES runs, place INTEGER NOT NULL, digest TEXT NOT NULL,
        network TEXT NOT NULL, target TEXT NOT NULL, weight_bits INTEGER NOT NULL, activation_bits INTEGER NOT NULL,
        accumulator INTEGER NOT NULL, overflow TEXT NOT NULL, rounding TEXT NOT NULL, attack TEXT NOT NULL,
        eps_steps REAL NOT NULL, seed INTEGER NOT NULL, PRIMARY KEY (run, place)) WITHOUT ROWID;
    CREATE INDEX coordinates_by_digest ON coordinates (digest);
    """,
)
"""What each version of the schema adds to the one before; `PRAGMA user_version` says how many were applied."""

AXES = Cell.__struct_fields__
PACKAGES = ("intsim", "numpy", "numba", "torch")


def connect(path: str | Path, *, make: bool = False) -> sqlite3.Connection:
    """The store, of the newest schema. IntsimError where it is none, is newer, or (unless `make`) is not there."""
    if not make and not Path(path).is_file():
        raise IntsimError("no such store", where=str(path), mend="intsim sweep PLAN.toml --store FILE makes one")
    with said(path):
        base = sqlite3.connect(path, timeout=60, isolation_level=None)
        try:
            base.execute("PRAGMA journal_mode = WAL")
            base.execute("PRAGMA synchronous = FULL")
            _migrate(base, str(path))
        except BaseException:
            base.close()
            raise
        return base


def _migrate(base: sqlite3.Connection, where: str) -> None:
    with transaction(base):  # which keeps out others that would do the same
        (known,) = base.execute("PRAGMA user_version").fetchone()
        if known > len(MIGRATIONS):
            what = f"has schema {known}, this version knows {len(MIGRATIONS)}"
            raise IntsimError(what, where=where, mend="upgrade intsim")
        if not known and base.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            raise IntsimError("is a database of something else", where=where, mend="choose another file")
        for script in MIGRATIONS[known:]:
            for statement in filter(str.strip, script.split(";")):
                base.execute(statement)
        base.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")


@contextmanager
def transaction(base: sqlite3.Connection) -> Iterator[None]:
    """All of what is written inside, or nothing."""
    base.execute("BEGIN IMMEDIATE")
    try:
        yield
        base.execute("COMMIT")
    except BaseException:
        if base.in_transaction:  # a full disk has undone it already
            base.execute("ROLLBACK")
        raise


@contextmanager
def said(path: str | Path) -> Iterator[None]:
    """What SQLite has to say as an IntsimError."""
    try:
        yield
    except sqlite3.Error as error:
        mend = "make room and run it again: it goes on where it was" if "full" in str(error) else ""
        raise IntsimError(f"{error}", where=str(path), mend=mend) from None


def enter(base: sqlite3.Connection, plan: Plan, cells: Mapping[str, Sequence[Cell]]) -> tuple[int, int]:
    """(run, session): the plan's run, the same one for the same plan, and a new session of it."""
    text = msgspec.json.encode(plan).decode()
    environment = msgspec.json.encode(_environment()).decode()
    with transaction(base):
        base.execute(
            "INSERT OR IGNORE INTO runs (plan, name, created) VALUES (?, ?, ?)", (text, plan.name, time.time())
        )
        (run,) = base.execute("SELECT id FROM runs WHERE plan = ?", (text,)).fetchone()
        base.execute("DELETE FROM coordinates WHERE run = ?", (run,))  # a file that it names may have changed
        flat = [(digest, cell) for digest, several in cells.items() for cell in several]
        rows = [
            (run, place, digest, *(getattr(cell, axis) for axis in AXES)) for place, (digest, cell) in enumerate(flat)
        ]
        base.executemany(f"INSERT INTO coordinates VALUES (?, ?, ?{', ?' * len(AXES)})", rows)
        values = (run, time.time(), os.getpid(), environment)
        found = base.execute("INSERT INTO sessions (run, began, process, environment) VALUES (?, ?, ?, ?)", values)
        return run, found.lastrowid or 0


def leave(base: sqlite3.Connection, session: int, ending: str) -> None:
    """Says when and how a session ended; one that was killed says nothing."""
    with suppress(sqlite3.Error):  # a full disk has been said already
        base.execute("UPDATE sessions SET ended = ?, ending = ? WHERE id = ?", (time.time(), ending, session))


def finished(base: sqlite3.Connection) -> set[str]:
    """The digests of all cells that are done, of whatever run."""
    return {digest for (digest,) in base.execute("SELECT digest FROM cells")}


def keep(base: sqlite3.Connection, session: int, found: Iterable[Found]) -> None:
    """Writes outcomes, all or none; a cell that is there already stays as it is."""
    with transaction(base):
        for one in found:
            if one.failed:
                base.execute("INSERT OR REPLACE INTO failures VALUES (?, ?, ?)", (one.digest, session, one.failed))
                continue
            fields = {**msgspec.structs.asdict(one), "session": session, "finished": time.time()}
            del fields["failed"]
            base.execute(
                f"INSERT OR IGNORE INTO cells ({', '.join(fields)}) VALUES ({', '.join('?' * len(fields))})",
                tuple(fields.values()),
            )
            base.execute("DELETE FROM failures WHERE digest = ?", (one.digest,))


def _environment() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.platform(), "intsim": __version__}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@contextmanager
def opened(path: str | Path, *, make: bool = False) -> Iterator[sqlite3.Connection]:
    """The store, closed at the end, its errors as IntsimErrors."""
    with closing(connect(path, make=make)) as base, said(path):
        yield base
