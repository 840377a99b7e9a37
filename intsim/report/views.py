"""How a run with many axes is laid out on a page: two axes a chart, the others as charts of their own, or averaged."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec import Struct

from intsim.attack.catalogue import NOISE
from intsim.errors import IntsimError
from intsim.evaluate.records import CLEAN
from intsim.sweep.cells import Cell
from intsim.sweep.judged import AXES, Judged, Value, axis, is_machine, varied

CHARTS = 24
"""Charts of a kind on a page."""

PARTING = (
    "attack", "eps_steps", "network", "target", "overflow", "rounding", "weight_bits", "activation_bits",
    "accumulator", "seed",
)  # fmt: skip
"""The axes that get charts of their own first, as long as there are not too many charts."""

WALKED = ("eps_steps", "accumulator", "weight_bits", "activation_bits")
"""The axes that a curve can follow."""

NAMES = {
    "network": "network",
    "target": "machine",
    "weight_bits": "bits of weights",
    "activation_bits": "bits of activations",
    "accumulator": "bits of the accumulator",
    "overflow": "overflow",
    "rounding": "rounding",
    "attack": "attack",
    "eps_steps": "strength",
    "seed": "seed",
}


Part = tuple[tuple[str, Value], ...]
"""What all cells of a chart have in common: values of axes."""


class View(Struct, frozen=True, kw_only=True):
    """Charts with the axes `shown`, one for each of `parts` (values of other axes); `averaged` over further axes.

    `parted`: whether there are more parts than charts.
    """

    shown: tuple[str, str]
    parts: tuple[Part, ...]
    averaged: tuple[str, ...]
    parted: int


def axes(those: Iterable[Judged], rows: str | None, columns: str | None) -> tuple[str, str]:
    """(rows, columns): those that are asked for, else the two axes with the most values, the longer one down.

    Clean images and noise do not count as attacks, nor a machine's own overflow as one.

    Raises IntsimError for an axis that there is not, or the same one twice.
    """
    given = [axis(name) if name else None for name in (rows, columns)]
    values = varied(_cells(those, machines="target" not in given))
    values["attack"] = [name for name in values["attack"] if name not in (CLEAN, *NOISE.values())]
    values["overflow"] = [name for name in values["overflow"] if name]
    ranked = sorted((at for at in AXES if at not in given), key=lambda at: -len(values[at]))
    down, across = (at or ranked.pop(0) for at in given)
    if down == across:
        raise IntsimError("is both rows and columns", where=down, mend="name two axes")
    return down, across


def over(those: Iterable[Judged], named: str | None) -> str | None:
    """The axis that curves follow: the one asked for, else the ordered one with the most values; None: none has two."""
    values = varied(_cells(those, machines=True))
    if named:
        found = axis(named)
        if found not in WALKED:
            raise IntsimError("has no order", where=named, mend=f"name one of {', '.join(WALKED)}")
        return found
    best = max(WALKED, key=lambda at: len(values[at]))
    return best if len(values[best]) > 1 else None


def view(those: Sequence[Judged], shown: tuple[str, str]) -> View:
    """How the cells are parted into charts that show two axes."""
    every = _cells(those, machines=True) or [one.cell for one in those]
    values = varied(every)
    apart = list[str]()
    parts: tuple[Part, ...] = ((),)
    for at in PARTING:
        if at not in shown and len(values[at]) > 1:
            tried = _parts(every, [*apart, at], shown)
            if len(tried) <= CHARTS or at == "attack":  # a mean over attacks says nothing
                apart, parts = [*apart, at], tried
    averaged = tuple(at for at in PARTING if at not in (*shown, *apart) and len(values[at]) > 1)
    return View(shown=shown, parts=parts[:CHARTS], averaged=averaged, parted=len(parts))


def _parts(every: Sequence[Cell], apart: Sequence[str], shown: tuple[str, str]) -> tuple[Part, ...]:
    """The combinations of values on these axes, noise last; what stands in every chart has none of its own."""
    found = dict.fromkeys(tuple((at, getattr(cell, at)) for at in apart) for cell in every)
    shared = [part for part in found if any(_everywhere(at, value, shown) for at, value in part)]
    own = [part for part in found if part not in shared]
    own.sort(key=lambda part: any(value in NOISE.values() for _, value in part))
    return tuple(own or shared)


def _everywhere(at: str, value: Value, shown: tuple[str, str]) -> bool:
    """Whether such cells stand in every chart: strength 0 of any attack, a machine's own accumulator."""
    return (at == "attack" and value == CLEAN and "eps_steps" in shown) or (
        at == "overflow" and not value and "accumulator" in shown
    )


def inside(cell: Cell, part: Part, shown: tuple[str, str]) -> bool:
    """Whether the cell stands in the chart of this part."""
    return all(getattr(cell, at) == value or _everywhere(at, getattr(cell, at), shown) for at, value in part)


def word(at: str, value: Value) -> str:
    """A value of an axis as it stands at a chart."""
    if at == "eps_steps":
        return f"{value:g}/255" if value else CLEAN
    if at == "network":
        return Path(str(value)).stem
    return str(value) if value else ("0" if at == "seed" else "own")


def heading(part: Part) -> str:
    """A part in words."""
    plain = ("attack", "target", "network", "overflow", "eps_steps")
    silent = ("eps_steps", "overflow")  # an attack says that there is none, an accumulator that it is the machine's own
    said = [(at, word(at, value)) for at, value in part if value or at not in silent]
    return ", ".join(text if at in plain else f"{NAMES[at]} {text}" for at, text in said)


def thinned(values: Sequence[Value], most: int) -> list[Value]:
    """At most so many of the values, the first and the last among them, evenly apart."""
    if len(values) <= most:
        return list(values)
    return [values[round(i * (len(values) - 1) / (most - 1))] for i in range(most)]


def _cells(those: Iterable[Judged], *, machines: bool) -> list[Cell]:
    return [one.cell for one in those if is_machine(one.cell) or not machines]
