"""The options that verbs share, and the keyword arguments that they become, one to one."""

import functools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import click

from intsim.cli.console import Out
from intsim.errors import IntsimError
from intsim.graph import Pixels

Verb = Callable[..., Any]


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


def with_options(verb: Verb, *options: Callable[[Verb], Verb]) -> Verb:
    """The verb with options that --help shows in this order."""
    for option in reversed(options):
        verb = option(verb)
    return verb


def spoken(verb: Verb) -> Verb:
    """--json, --quiet; the verb gets `out`."""

    @functools.wraps(verb)
    def wrapped(json_file: str | None, quiet: bool, **rest: Any) -> Any:
        return verb(out=Out(quiet=quiet, json=json_file or ""), **rest)

    return with_options(
        wrapped,
        click.option(
            "--json", "json_file", metavar="FILE", callback=destination, help="Write the numbers as JSON; - for stdout."
        ),
        click.option("--quiet", is_flag=True, help="Say nothing; errors still stand on stderr."),
    )


def output(required: bool = False, *, help: str) -> Callable[[Verb], Verb]:
    """-o FILE."""
    return click.option("-o", "--output", "path", metavar="FILE", required=required, callback=destination, help=help)


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

    return with_options(
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

    return with_options(
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
