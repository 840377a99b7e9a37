"""What a bench says: tables of ratios, of their means, and of memory."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from intsim.cli.console import Out, line, notice, table

if TYPE_CHECKING:
    from intsim.bench import Bench, Row


def say_work(out: Out, rows: Sequence["Row"]) -> None:
    """One line as soon as a work is done, for those who wait."""
    if rows:
        ratios = ", ".join(f"{row.ratio:.2f} of {row.peer}" for row in rows)
        notice(out, f"{rows[0].work}: {ratios}")


def say(found: "Bench", out: Out) -> None:
    """The machine, every contest, the means, the memory and the notes."""
    from intsim.bench import met

    machine = found.machine
    line(out, f"{machine['cpu']} ({machine['instruction_set']}), {machine['cores']} cores, numba {machine['numba']}")
    columns = ("work", "threads", "peer", "peer's time / ours", "quartiles", "ours, ms", "same bits", "goal", "")
    rows = [
        (
            row.work,
            row.threads,
            row.peer + (" (best)" if row.best else ""),
            f"{row.ratio:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            f"{row.seconds * 1e3:.3g}",
            row.equal,
            _goal(row.goal, row.stretch),
            met(row),
        )
        for row in found.rows
    ]
    right = ("threads", "peer's time / ours", "ours, ms", "goal")
    table(out, columns, rows, right=right)
    if found.means:
        means = [
            (m.section, m.threads, m.peer, m.works, f"{m.ratio:.3f}", _goal(m.goal, m.stretch), met(m))
            for m in found.means
        ]
        titles = ("geometric mean of", "threads", "peer", "works", "peer's time / ours", "goal", "")
        table(out, titles, means, right=("threads", "works", "peer's time / ours", "goal"))
    if found.memory:
        memory = [
            tuple([m.work, m.threads, *(f"{n / 1024:,.0f}" for n in (m.peak, m.kept, m.weights, m.arenas, m.result))])
            for m in found.memory
        ]
        sizes = ("memory, KiB", "threads", "peak", "kept", "weights", "two arenas", "result")
        table(out, sizes, memory, right=sizes[1:])
    line(out, "more than 1: ours is faster; the median over rounds in which everybody takes turns")
    for note in found.notes:
        line(out, f"note: {note}")


def _goal(goal: float | None, stretch: float | None) -> str:
    return "-" if goal is None else f"{goal:g}" if stretch is None else f"{goal:g} / {stretch:g}"
