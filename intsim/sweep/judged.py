"""The cells of a run as records, finished ones with the images that were right; chosen by the values of their axes."""

import math
import sqlite3
from collections.abc import Iterable, Sequence
from fractions import Fraction

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError, unknown
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.statistics import Rate, wilson
from intsim.sweep.cells import Cell

AXES = Cell.__struct_fields__
SPELT = {
    "networks": "network",
    "targets": "target",
    "accumulators": "accumulator",
    "overflows": "overflow",
    "roundings": "rounding",
    "attacks": "attack",
    "eps": "eps_steps",
    "seeds": "seed",
}
"""How a plan spells the axes where the store spells them otherwise."""

Value = str | int | float


class Judged(Struct, frozen=True, kw_only=True):
    """A finished cell: `correct` of the `n` images that `images` is the digest of; `right`: which, a bit each."""

    cell: Cell
    digest: str
    n: int
    correct: int
    images: str
    right: bytes = b""

    @property
    def rate(self) -> Rate:
        """Its accuracy with the Wilson interval."""
        return wilson(self.correct, self.n)

    @property
    def bits(self) -> np.ndarray:
        """Which images were right, bool [n]."""
        return np.unpackbits(np.frombuffer(self.right, np.uint8), count=self.n).astype(bool)


class Unfinished(Struct, frozen=True, kw_only=True):
    """A cell without an outcome; `why`: it failed, and this is said of it."""

    cell: Cell
    digest: str
    why: str = ""


class Mean(Struct, frozen=True, kw_only=True):
    """The mean accuracy of `cells` cells with the Wilson interval of one of them.

    Cells judge the same images, so that many of them know no more about other images than one does.
    """

    value: float
    low: float
    high: float
    cells: int


def newest(base: sqlite3.Connection, run: int | None = None) -> int:
    """The run of that number, the newest unless given. Raises IntsimError where there is none."""
    wanted = "SELECT max(id) FROM runs WHERE ? IS NULL OR id = ?"
    (found,) = base.execute(wanted, (run, run)).fetchone()
    if found is None:
        raise IntsimError("no such run" if run else "holds no run", where=f"run {run}" if run else "store")
    return int(found)


def load(
    base: sqlite3.Connection, run: int | None = None, *, bits: bool = True
) -> tuple[tuple[Judged, ...], tuple[Unfinished, ...]]:
    """The cells of a run (the newest, unless given), in the plan's order. `bits`: with the images that were right."""
    right = "right" if bits else "X''"
    rows = base.execute(
        f"SELECT {', '.join(AXES)}, digest, n, correct, images, {right}, what FROM coordinates "
        "LEFT JOIN cells USING (digest) LEFT JOIN failures USING (digest) WHERE run = ? ORDER BY place",
        (newest(base, run),),
    )
    done, left = list[Judged](), list[Unfinished]()
    for *axes, digest, n, correct, images, packed, what in rows:
        cell = Cell(**dict(zip(AXES, axes, strict=True)))
        if n is None:
            left.append(Unfinished(cell=cell, digest=digest, why=what or ""))
        else:
            done.append(Judged(cell=cell, digest=digest, n=n, correct=correct, images=images, right=packed))
    return tuple(done), tuple(left)


# ---- axes ---------------------------------------------------------------------------------------------------------


def axis(name: str) -> str:
    """The axis called `name`, as the store or as a plan spells it. Raises IntsimError for another."""
    found = SPELT.get(name, name)
    if found not in AXES:
        raise unknown("axis", name, (*AXES, *SPELT))
    return found


def conditions(where: Iterable[str]) -> dict[str, tuple[Value, ...]]:
    """The values that each axis may have by AXIS=VALUE texts; an axis that is named twice may have either value."""
    found: dict[str, tuple[Value, ...]] = {}
    for text in where:
        name, equals, value = text.partition("=")
        if not equals:
            raise IntsimError("is no condition", where=text, mend="write AXIS=VALUE, as in targets=cmsis_nn_s8")
        at = axis(name.strip())
        found[at] = (*found.get(at, ()), _value(name.strip(), at, value.strip()))
    return found


def chosen(cell: Cell, wanted: dict[str, tuple[Value, ...]]) -> bool:
    """Whether the cell has one of the wanted values on every axis that is named."""
    return all(any(_same(getattr(cell, at), value) for value in values) for at, values in wanted.items())


def varied(those: Iterable[Cell]) -> dict[str, list[Value]]:
    """The values of every axis, in order."""
    every = list(those)
    return {at: _ordered({getattr(cell, at) for cell in every}) for at in AXES}


def is_machine(cell: Cell) -> bool:
    """Whether integers judged, and not a float network."""
    return cell.target not in (FLOAT, NULL)


def mean(those: Sequence[Judged]) -> Mean:
    """`Mean` of some cells, at least one."""
    value, n = sum(one.correct / one.n for one in those) / len(those), min(one.n for one in those)
    around = wilson(round(value * n), n)
    return Mean(value=value, low=min(around.low, value), high=max(around.high, value), cells=len(those))


def grouped(those: Iterable[Judged], *axes: str) -> dict[tuple[Value, ...], list[Judged]]:
    """The cells by their values on some axes."""
    found: dict[tuple[Value, ...], list[Judged]] = {}
    for one in those:
        found.setdefault(tuple(getattr(one.cell, at) for at in axes), []).append(one)
    return found


def said(cell: Cell) -> str:
    """A cell in words, what is the machine's own left out."""
    bits = "".join(f" {kind}{n}" for kind, n in (("w", cell.weight_bits), ("a", cell.activation_bits)) if n)
    accumulator = f" acc{cell.accumulator} {cell.overflow}" if cell.accumulator else ""
    rounding = f" {cell.rounding}" if cell.rounding else ""
    images = CLEAN if cell.attack == CLEAN else f"{cell.attack} {cell.eps_steps:g}/255"
    return f"{cell.network}{bits} on {cell.target}{accumulator}{rounding}: {images}, seed {cell.seed}"


def _value(name: str, at: str, text: str) -> Value:
    kind = Cell.__annotations__[at]
    try:
        if kind is str:
            return text
        return int(text) if kind is int else float(Fraction(text) * (255 if name == "eps" else 1))
    except (ValueError, ZeroDivisionError):
        raise IntsimError(f'"{text}" is no value of {name}', where="where", mend="write a number") from None


def _same(one: Value, other: Value) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9)
    return one == other


def _ordered(values: Iterable[Value]) -> list[Value]:
    return sorted(values, key=lambda value: (isinstance(value, str), value))
