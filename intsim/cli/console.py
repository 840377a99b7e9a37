"""What a verb says: tables and lines on stdout, progress on a terminal's stderr, JSON in a file."""

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from intsim.files import write_atomically

WIDE = 200
"""Columns of a table that goes to a file or a pipe."""

Row = Sequence[object]
Advance = Callable[..., None]
"""Told how many are done by now, and where they change: what is being done, and how many there are in all."""


class Out(msgspec.Struct, frozen=True, kw_only=True):
    """Where a verb's words go: nowhere if `quiet`; its numbers also to the file `json`, "-" for stdout."""

    quiet: bool = False
    json: str = ""

    @property
    def silent(self) -> bool:
        """Nothing but JSON may stand on stdout."""
        return self.quiet or self.json == "-"


def line(out: Out, text: str = "") -> None:
    """One line on stdout."""
    if not out.silent:
        _console().print(text, markup=False, highlight=False, soft_wrap=True)


def notice(out: Out, text: str) -> None:
    """One line on stderr: what takes a while, what was found on the way."""
    if not out.quiet:
        sys.stderr.write(f"intsim: {text}\n")
        sys.stderr.flush()


def table(out: Out, columns: Sequence[str], rows: Iterable[Row], *, title: str = "", right: Sequence[str] = ()) -> None:
    """A table on stdout; the columns named in `right` are aligned to the right."""
    if out.silent:
        return
    from rich import box
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=Text(title) if title else None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for column in columns:
        drawn.add_column(Text(column), justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        drawn.add_row(*(Text(cell(value)) for value in row))
    _console().print(drawn)


def cell(value: object) -> str:
    """The text of a value in a table."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    return str(value)


@contextlib.contextmanager
def progress(out: Out, what: str, total: int | None = None) -> Iterator[Advance]:
    """A progress bar on a terminal, and nothing elsewhere; gives the function that moves it."""
    if out.quiet or not sys.stderr.isatty():
        yield _unseen
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total)

        def advance(done: int, what: str | None = None, of: int | None = None) -> None:
            said: dict[str, Any] = {"description": what, "total": of}
            bars.update(task, completed=done, **{name: value for name, value in said.items() if value is not None})

        yield advance


def _unseen(done: int, what: str | None = None, of: int | None = None) -> None:
    pass


@contextlib.contextmanager
def compiling(out: Out) -> Iterator[None]:
    """Says once, on stderr, that kernels are being compiled, if they are."""
    from intsim_kernels.compiled import announced

    said: list[str] = []

    def say(kernel: str) -> None:
        if not said:
            notice(out, "compiling kernels for this CPU, once (intsim warmup does it beforehand) ...")
        said.append(kernel)

    with announced(say):
        yield


def finish(out: Out, verb: str, numbers: dict[str, Any]) -> None:
    """Writes the numbers of a verb where --json says."""
    if not out.json:
        return
    from intsim import __version__

    text = msgspec.json.encode({"intsim": __version__, "verb": verb, **numbers}, enc_hook=_plain)
    text = msgspec.json.format(text, indent=1) + b"\n"
    if out.json == "-":
        sys.stdout.write(text.decode())
    else:
        write_atomically(out.json, text)


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise NotImplementedError(type(value))


def _console() -> Any:
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=WIDE, color_system=None)
