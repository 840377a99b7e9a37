"""The options that verbs share, and the keyword arguments that they become, one to one."""

import functools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import click
import msgspec

from intsim.cli.console import Out
from intsim.errors import IntsimError
from intsim.graph import Pixels
from intsim.integers import Overflow
from intsim.target import Target
from intsim.targets import set_fields, target, with_accumulator

Verb = Callable[..., Any]


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """A target, and the nodes that run on machines of their own: `build(target=, nodes=)`."""

    target: Target
    nodes: dict[str, Target] = {}


class Numbers(click.ParamType):
    """Numbers with commas between them; 1/255 is one of them."""

    name = "numbers"

    def convert(self, value: Any, param: Any, ctx: Any) -> tuple[float, ...]:
        """The numbers of a text."""
        if isinstance(value, tuple):
            return value
        try:
            return tuple(float(Fraction(part.strip())) for part in value.split(","))
        except (ValueError, ZeroDivisionError):
            self.fail(f'"{value}": write numbers with commas between them', param, ctx)


NUMBERS = Numbers()


def destination(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    """The output's path, if its folder is there: better said before the work than after."""
    if value and value != "-":
        path = Path(value)
        if path.is_dir():
            raise IntsimError("is a folder", where=value, mend="name a file")
        if not path.parent.is_dir():
            raise IntsimError(f"there is no folder {path.parent}", where=value, mend="make it, or choose another place")
    return value


def _with(verb: Verb, *options: Callable[[Verb], Verb]) -> Verb:
    """The verb with options that --help shows in this order."""
    for option in reversed(options):
        verb = option(verb)
    return verb


def spoken(verb: Verb) -> Verb:
    """--json, --quiet; the verb gets `out`."""

    @functools.wraps(verb)
    def wrapped(json_file: str | None, quiet: bool, **rest: Any) -> Any:
        return verb(out=Out(quiet=quiet, json=json_file or ""), **rest)

    return _with(
        wrapped,
        click.option(
            "--json", "json_file", metavar="FILE", callback=destination, help="Write the numbers as JSON; - for stdout."
        ),
        click.option("--quiet", is_flag=True, help="Say nothing; errors still stand on stderr."),
    )


def output(required: bool = False, *, help: str) -> Callable[[Verb], Verb]:
    """-o FILE."""
    return click.option("-o", "--output", "path", metavar="FILE", required=required, callback=destination, help=help)


# ---- machines --------------------------------------------------------------------------------------------------

OVERFLOWS = [mode.value for mode in Overflow]


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about every target that it names; `settings`: (node or "", field, value)."""

    accumulator: int | None = None
    overflow: str | None = None
    tile: int | None = None
    settings: tuple[tuple[str, str, str], ...] = ()


def changes(verb: Verb) -> Verb:
    """--accumulator, --overflow, --tile, --set; the verb gets `change`."""

    @functools.wraps(verb)
    def wrapped(
        accumulator: int | None, overflow: str | None, tile: int | None, settings: Sequence[str], **rest: Any
    ) -> Any:
        if accumulator is None and (overflow or tile):
            raise IntsimError("says nothing without a width", where="--overflow, --tile", mend="add --accumulator N")
        parsed = tuple(setting(text) for text in settings)
        change = Change(accumulator=accumulator, overflow=overflow, tile=tile, settings=parsed)
        return verb(change=change, **rest)

    return _with(
        wrapped,
        click.option("--accumulator", type=int, metavar="N", help="An accumulator of N bits, at every MAC."),
        click.option("--overflow", type=click.Choice(OVERFLOWS), help="What that accumulator does (default: wrap)."),
        click.option("--tile", type=int, metavar="K", help="Exact sums of K products before each add."),
        click.option(
            "--set",
            "settings",
            metavar="[NODE:]FIELD=VALUE",
            multiple=True,
            help="Change a field of the target, or of one node's own (NODE:target=NAME gives it another).",
        ),
    )


def machines(verb: Verb) -> Verb:
    """--target and everything that changes it; the verb gets `machines`, one a --target, and `strict`."""

    @functools.wraps(verb)
    def wrapped(targets: Sequence[str], change: Change, **rest: Any) -> Any:
        return verb(machines=tuple(machine(name, change) for name in targets), **rest)

    return _with(
        changes(wrapped),
        click.option(
            "--target",
            "targets",
            metavar="NAME|FILE.toml|MODULE:NAME",
            multiple=True,
            help="The machine (see `intsim targets`).",
        ),
        click.option("--strict", is_flag=True, help="An overflow where the machine forbids one is an error."),
    )


def one(machines: Sequence[Machine]) -> Machine | None:
    """The only machine that was named; None where none was."""
    if len(machines) > 1:
        raise IntsimError(f"{len(machines)} targets, this verb takes one", where="--target")
    return machines[0] if machines else None


def setting(text: str) -> tuple[str, str, str]:
    """(node, field, value) of [NODE:]FIELD=VALUE; no node is ""."""
    left, equals, value = text.partition("=")
    node, _, field = left.rpartition(":")
    if not equals or not field or not value:
        raise IntsimError("is no change", where=f"--set {text}", mend="write FIELD=VALUE or NODE:FIELD=VALUE")
    return node, field, value


def machine(name: str, change: Change) -> Machine:
    """The machine called `name`, changed. A node's own starts from it, or from the target that the node is given."""
    whole = {field: value for node, field, value in change.settings if not node}
    if "target" in whole:
        raise IntsimError("names no node", where=f"--set target={whole['target']}", mend="write NODE:target=NAME")
    base = target(name)
    if change.accumulator is not None:
        base = with_accumulator(base, change.accumulator, Overflow(change.overflow or "wrap"), change.tile)
    base = set_fields(base, whole)
    own: dict[str, dict[str, str]] = {}
    for node, field, value in change.settings:
        if node:
            own.setdefault(node, {})[field] = value
    return Machine(target=base, nodes={node: _own(base, fields) for node, fields in own.items()})


def _own(base: Target, fields: Mapping[str, str]) -> Target:
    start = target(fields["target"]) if "target" in fields else base
    return set_fields(start, {field: value for field, value in fields.items() if field != "target"})


# ---- images ----------------------------------------------------------------------------------------------------


def images(verb: Verb) -> Verb:
    """--input-scale, --mean, --std; the verb gets `pixels`, None where nothing is said."""

    @functools.wraps(verb)
    def wrapped(
        input_scale: tuple[float, ...] | None,
        mean: tuple[float, ...] | None,
        std: tuple[float, ...] | None,
        **rest: Any,
    ) -> Any:
        return verb(pixels=pixels(input_scale, mean, std), **rest)

    return _with(
        wrapped,
        click.option(
            "--input-scale",
            type=NUMBERS,
            metavar="S",
            help="One pixel step in the network's input (default: 1/255, or what the model says).",
        ),
        click.option("--mean", type=NUMBERS, metavar="M[,M...]", help="What is then subtracted (default: 0)."),
        click.option("--std", type=NUMBERS, metavar="S[,S...]", help="What is then divided by (default: 1)."),
    )


def pixels(
    scale: tuple[float, ...] | None, mean: tuple[float, ...] | None, std: tuple[float, ...] | None
) -> Pixels | None:
    """`Pixels` of the three options; None where none is given."""
    if scale is None and mean is None and std is None:
        return None
    if scale is not None and (len(scale) != 1 or not scale[0] > 0):
        raise IntsimError("is one positive number", where="--input-scale", mend="write 1/255, or 1")
    if std is not None and not all(value > 0 for value in std):
        raise IntsimError("is positive", where="--std")
    if len({len(values) for values in (mean, std) if values is not None and len(values) > 1}) > 1:
        raise IntsimError("have different lengths", where="--mean, --std", mend="one number, or one a channel")
    divisor = 255.0 if scale is None else float(1 / Fraction(scale[0]).limit_denominator(1 << 24))
    return Pixels(divisor=divisor, mean=mean or (0.0,), std=std or (1.0,))


# ---- quantization ----------------------------------------------------------------------------------------------


def quantization(verb: Verb) -> Verb:
    """--calibration and how to quantize; the verb gets `calibration` and `quantization`, only what was said."""

    @functools.wraps(verb)
    def wrapped(bits: int | None, **rest: Any) -> Any:
        said = {name: rest.pop(name) for name in QUANTIZATION}
        if bits is not None:
            said = {**said, **{name: said[name] or bits for name in ("weight_bits", "activation_bits")}}
        return verb(quantization={name: value for name, value in said.items() if value is not None}, **rest)

    return _with(
        wrapped,
        click.option("--calibration", metavar="X.npz", help="Images to quantize a float model with."),
        click.option("--bits", type=int, metavar="B", help="Of weights and of activations, 1 to 16."),
        click.option("--weight-bits", type=int, metavar="B", help="Of weights (default: 8)."),
        click.option("--activation-bits", type=int, metavar="B", help="Of activations (default: 8)."),
        click.option("--granularity", metavar="channel|tensor", help="A weight scale per channel, or one."),
        click.option("--method", metavar="minmax|percentile|mse", help="How activations' ranges are chosen."),
        click.option("--percentile", type=float, metavar="P", help="How much of each side percentile keeps."),
        click.option("--weight-method", metavar="minmax|mse", help="How weights' scales are chosen."),
        click.option("--levels", metavar="zero|no_zero", help="Whether zero is one of the weights' levels."),
        click.option("--symmetric/--asymmetric", "symmetric", default=None, help="Activations without zero points."),
        click.option("--weight-symmetric/--weight-asymmetric", default=None, help="Weights without zero points."),
        click.option("--power-of-two/--any-scale", "power_of_two", default=None, help="Scales that are powers of two."),
    )


QUANTIZATION = (
    "weight_bits",
    "activation_bits",
    "granularity",
    "method",
    "percentile",
    "weight_method",
    "levels",
    "symmetric",
    "weight_symmetric",
    "power_of_two",
)
"""The options that `intsim.quantize` takes under the same names."""
