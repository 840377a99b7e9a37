"""A plan: axes, what is left out of their product, and data; read from TOML and checked whole before anything runs."""

from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from intsim import files
from intsim.errors import IntsimError

Bits = Annotated[int, Meta(ge=0, le=16)]
Width = Annotated[int, Meta(ge=0, le=64)]
Seed = Annotated[int, Meta(ge=0)]
Some = Meta(min_length=1)

EXAMPLE = "docs/sweep.md shows a whole one"


class Axes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is varied; the cells are all combinations.

    `networks`: names that ship, or paths. `targets`: as `--target` takes them. `weight_bits`, `activation_bits`,
    `accumulators`: 0 is the machine's own. `overflows` go with the accumulators that are not 0. `roundings`: of the
    machine's requantization ("": its own). `eps`: "8/255", or numbers in 0..1.
    """

    networks: Annotated[tuple[str, ...], Some]
    targets: Annotated[tuple[str, ...], Some]
    weight_bits: Annotated[tuple[Bits, ...], Some] = (0,)
    activation_bits: Annotated[tuple[Bits, ...], Some] = (0,)
    accumulators: Annotated[tuple[Width, ...], Some] = (0,)
    overflows: Annotated[tuple[str, ...], Some] = ("wrap",)
    roundings: Annotated[tuple[str, ...], Some] = ("",)
    attacks: tuple[str, ...] = ()
    eps: tuple[str | float, ...] = ()
    seeds: Annotated[tuple[Seed, ...], Some] = (0,)


class Skip(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Cells to leave out: those whose values are among the given ones on every axis that is named here."""

    networks: tuple[str, ...] | None = None
    targets: tuple[str, ...] | None = None
    weight_bits: tuple[int, ...] | None = None
    activation_bits: tuple[int, ...] | None = None
    accumulators: tuple[int, ...] | None = None
    overflows: tuple[str, ...] | None = None
    roundings: tuple[str, ...] | None = None
    attacks: tuple[str, ...] | None = None
    eps: tuple[str | float, ...] | None = None
    seeds: tuple[int, ...] | None = None


class Plan(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A sweep. Files are named relative to the folder of the plan.

    `data`, `calibration`: an .npz, or "fashion", what ships. `limit`: the first so many images. `null`: whether the
    float null is judged too. `logits`, `answers`: whether outputs and answered classes are kept for every image.
    `quantization`: further options of `intsim.quantize`, for all cells.
    """

    name: str = ""
    data: str
    calibration: str
    limit: Annotated[int, Meta(ge=1)] | None = None
    null: bool = True
    answers: bool = True
    logits: bool = False
    axes: Axes
    skip: tuple[Skip, ...] = ()
    granularity: str | None = None
    method: str = "minmax"
    symmetric: bool | None = None
    power_of_two: bool | None = None

    @property
    def quantization(self) -> dict[str, Any]:
        """The options of `intsim.quantize` that hold for all cells."""
        given = {name: getattr(self, name) for name in ("granularity", "symmetric", "power_of_two")}
        return {"method": self.method, **{name: value for name, value in given.items() if value is not None}}


def read(path: str | Path) -> Plan:
    """The plan of a TOML file. IntsimError names the field that is wrong, by its path; see also `cells.checked`."""
    where = Path(path)
    try:
        plan = msgspec.convert(files.read_toml(where), Plan)
    except msgspec.ValidationError as reason:
        raise IntsimError(str(reason), where=str(path), mend=EXAMPLE) from None
    return _found(plan, where.parent)


def _found(plan: Plan, folder: Path) -> Plan:
    """The plan with paths that lead from the current folder where its own led from the plan's."""

    def led(name: str) -> str:
        return str(folder / name) if (folder / name).is_file() else name

    axes = msgspec.structs.replace(
        plan.axes,
        networks=tuple(map(led, plan.axes.networks)),
        targets=tuple(led(name) if name.endswith(".toml") else name for name in plan.axes.targets),
    )
    return msgspec.structs.replace(plan, data=led(plan.data), calibration=led(plan.calibration), axes=axes)
