"""What a page is made from: an evaluation, and the sections that a demo adds to it."""

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Struct

from intsim.attack.catalogue import Attack
from intsim.errors import IntsimError
from intsim.evaluate.records import (
    CLEAN,
    FAKE,
    FLOAT,
    NULL,
    Bracket,
    Curve,
    Evaluation,
    Gate,
    Primary,
    Row,
    Rung,
)

FORMAT = 1


class Width(Struct, frozen=True, kw_only=True):
    """One bit width of the section on bit widths: weights and activations of `bits` on one target."""

    bits: int
    network: str
    target: str


class Behind(Struct, frozen=True, kw_only=True):
    """The float network behind the input of a quantized `network`, rounded to its `levels`: a judge called `target`."""

    network: str
    target: str
    levels: int


class Accumulator(Struct, frozen=True, kw_only=True):
    """One accumulator of the section on narrower ones: its width, and what an overflow does ("wrap", "saturate")."""

    bits: int
    overflow: str
    network: str
    target: str


class Counted(Struct, frozen=True, kw_only=True):
    """One layer's overflows on one set of images: see `intsim.program.Overflows`."""

    network: str
    target: str
    attack: str
    eps_steps: float
    images: int
    layer: str
    outputs: int
    of_outputs: int
    adds: int
    of_adds: int
    persistent: int


class Amplified(Struct, frozen=True, kw_only=True):
    """Signal-to-noise ratios of one layer's output over a few images, in decibels; None: there is no noise, or signal.

    `clean`, `attacked`: float against `network` on `target`, on clean and on attacked images. `attack_on_float`,
    `attack_on_chip`: clean against attacked images, in float and in those integers.
    """

    network: str
    target: str
    layer: str
    attack: str
    eps_steps: float
    images: int
    clean: float | None
    attacked: float | None
    attack_on_float: float | None
    attack_on_chip: float | None


class Example(Struct, frozen=True, kw_only=True):
    """One image of the gallery, `shape` [c, h, w], uint8, clean and attacked; the answers are classes.

    `logits_clean`, `logits_attacked`: the chip's integers out, class by class.
    """

    index: int
    label: int
    network: str
    target: str
    attack: str
    eps_steps: float
    shape: tuple[int, int, int]
    clean: bytes
    attacked: bytes
    float_clean: int
    float_attacked: int
    chip_clean: int
    chip_attacked: int
    kind: str
    logits_clean: tuple[int, ...] = ()
    logits_attacked: tuple[int, ...] = ()


class Results(Struct, frozen=True, kw_only=True):
    """The fields of an `Evaluation`, and the sections of a page that may be there or not.

    `of`: what was attacked, in a few words. `command`: what repeats it. `class_names`: of the labels, in order.
    `digests`: SHA-256 of the files and images that took part.
    """

    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    attacks: tuple[Attack, ...]
    n: int
    classes: int
    seed: int
    grid: int | None
    data: str
    versions: dict[str, str]
    verdict: tuple[str, ...]
    primary: Primary | None = None
    rungs: tuple[Rung, ...] = ()
    brackets: tuple[Bracket, ...] = ()
    gates: tuple[Gate, ...] = ()
    format: int = FORMAT
    of: str = ""
    command: str = ""
    class_names: tuple[str, ...] = ()
    widths: tuple[Width, ...] = ()
    doors: tuple[Behind, ...] = ()
    ladder: tuple[Accumulator, ...] = ()
    overflows: tuple[Counted, ...] = ()
    gallery: tuple[Example, ...] = ()
    amplified: tuple[Amplified, ...] = ()
    digests: dict[str, str] = {}


def results(found: Results | Evaluation | Mapping[str, Any]) -> Results:
    """The record of an evaluation, or of what was read from a results.json. Raises IntsimError where it is none."""
    if isinstance(found, Results):
        return found
    fields = msgspec.to_builtins(found) if isinstance(found, Evaluation) else found
    try:
        made = msgspec.convert(fields, Results)
    except msgspec.ValidationError as reason:
        raise IntsimError(str(reason), where="results", mend="intsim attack --json writes them") from None
    if made.format > FORMAT:
        raise IntsimError(f"has format {made.format}, newer than {FORMAT}", where="results", mend="update intsim")
    if not any(row.target == FLOAT for row in made.rows):
        raise IntsimError("has no row of the float network", where="results")
    return made


# ---- looking things up -------------------------------------------------------------------------------------


def rows_of(found: Results, network: str, target: str, attack: str) -> list[Row]:
    """The rows of one judge under one attack crafted on float, the clean images first, then by strength."""
    here = [row for row in found.rows if (row.network, row.target, row.crafted_on) == (network, target, FLOAT)]
    chosen = [row for row in here if row.attack in (CLEAN, attack)]
    return sorted(chosen, key=lambda row: row.eps_steps)


def row_of(found: Results, network: str, target: str, attack: str, eps_steps: float) -> Row | None:
    """The row of one judge on one set of images that was crafted on float, if there is one."""
    sought = (network, target, attack, eps_steps, FLOAT)
    for row in found.rows:
        if (row.network, row.target, row.attack, row.eps_steps, row.crafted_on) == sought:
            return row
    return None


def float_network(found: Results) -> str:
    """The name of the network that was attacked."""
    return next(row.network for row in found.rows if row.target == FLOAT)


def judges(found: Results) -> list[tuple[str, str]]:
    """(network, target) of everything that ran in integers, in order, the ladder's accumulators left out."""
    others = {(rung.network, rung.target) for rung in found.ladder}
    others |= {(behind.network, behind.target) for behind in found.doors}
    pairs = dict.fromkeys((row.network, row.target) for row in found.rows if row.target not in (FLOAT, NULL, FAKE))
    return [pair for pair in pairs if pair not in others]


def behind_of(found: Results, network: str, attack: str) -> list[Row]:
    """The rows of float behind the same coarse input as `network`; none where that is as fine as the camera's."""
    return next((rows_of(found, network, b.target, attack) for b in found.doors if b.network == network), [])


def curve_of(found: Results, network: str, target: str, attack: str) -> Curve | None:
    """The curve of one judge under one attack, if there is one."""
    for curve in found.curves:
        if (curve.network, curve.target, curve.attack) == (network, target, attack):
            return curve
    return None


def searching(found: Results) -> list[str]:
    """The names of the attacks crafted on float, in order: all but the noise, and those that know the chip."""
    return [one.name for one in found.attacks if one.knows == "float" and (one.steps > 0 or one.function)]
