"""`intsim targets`: the machines, their arithmetic, where each fact comes from and how sure it is."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, get_args

import click

from intsim.cli import options
from intsim.cli.console import Out, Row, finish, line, table
from intsim.cli.machines import Change, named, with_changes
from intsim.errors import IntsimError
from intsim.target import (
    Cast,
    Fidelity,
    FixedPoint,
    Float32Requantize,
    Float32Scale,
    Float64Scale,
    Level,
    Mac,
    Override,
    PowerOfTwo,
    Requantize,
    Target,
    Thresholds,
)
from intsim.targets import FAMILIES, toml, write_toml
from intsim.targets.multiplier import plain


@click.command(epilog="Example: intsim targets cmsis_nn_s8")
@click.argument("names", nargs=-1, metavar="[NAME | export NAME]")
@click.option(
    "--fidelity", type=click.Choice(get_args(Fidelity)), help="List only machines whose bits are known that surely."
)
@with_changes
@options.output(help="Write the TOML there (with export).")
@options.spoken
def targets(names: tuple[str, ...], fidelity: str | None, change: Change, path: str | None, out: Out) -> None:
    """The machines, or one in full, or one as TOML to edit.

    The paths that `intsim targets NAME` prints are those that --set takes.
    """
    if names and fidelity is not None:
        raise click.UsageError("--fidelity is for the list")
    if names[:1] == ("export",):
        if len(names) != 2:
            raise click.UsageError("export takes one NAME")
        _export(named(names[1], change).target, path, out)
    elif len(names) > 1:
        raise click.UsageError("one NAME, or export NAME")
    elif names:
        _show(named(names[0], change).target, out)
    else:
        families = {
            family: [named(machine.name, change).target for machine in machines if fidelity in (None, machine.fidelity)]
            for family, machines in FAMILIES.items()
        }
        _list({family: machines for family, machines in families.items() if machines}, out)


def _export(machine: Target, path: str | None, out: Out) -> None:
    text = toml(machine)
    if path is None or path == "-":
        if not out.silent:
            sys.stdout.write(text)
    else:
        beside = "".join(f", its multiplier in {file}" for file in write_toml(machine, path))
        line(out, f"{machine.name} is in {path}{beside}: edit it, and name it with --target {path}")
    finish(out, "targets", {"target": plain(machine)})


def _list(families: Mapping[str, Sequence[Target]], out: Out) -> None:
    rows: list[Row] = []
    for family, machines in families.items():
        rows += [
            (family, "", ""),
            *((f"  {m.name}", m.description, m.fidelity) for m in machines),
            ("", "", ""),
        ]
    table(out, ("name", "what it is", "fidelity"), rows)
    line(out, 'fidelity: "verified" against the real thing by a test, "source" read in its source or RTL,')
    line(out, '"documented", "assumed". One in full: intsim targets NAME. Your own: intsim targets export NAME')
    listed = [{"family": family, **plain(machine)} for family, machines in families.items() for machine in machines]
    finish(out, "targets", {"targets": listed})


def _show(machine: Target, out: Out) -> None:
    line(out, f"{machine.name}: {machine.description}")
    line(out)
    for number, text in enumerate(accumulators(machine)):
        line(out, f"{'' if number else 'accumulator':16}{text}")
    line(out, f"requantization  {requantization(machine.requantize)}")
    line(out, f"fidelity        {machine.fidelity}{f': {machine.verified_with}' if machine.verified_with else ''}")
    line(out, f"source          {machine.source or '-'}")
    said = {"name", "description", "fidelity", "source", "verified_with"}
    rows = [(path, value) for path, value in _leaves(plain(machine)) if path not in said]
    table(out, ("field (as --set takes it)", "value"), rows)
    finish(out, "targets", {"target": plain(machine)})


def accumulators(machine: Target) -> list[str]:
    """The accumulator in words, and below it those of the sums that have another."""
    others = [(_when(o), accumulator(o.mac)) for o in machine.overrides if o.mac not in (None, machine.mac)]
    return [accumulator(machine.mac), *(f"{when}: {text}" for when, text in others)]


def _when(override: Override) -> str:
    """The sums that an override is for: op, grouping, signs of activations and weights."""
    signs = [
        None if signed is None else f"{'signed' if signed else 'unsigned'} {what}"
        for signed, what in ((override.signed_activations, "x"), (override.signed_weights, "w"))
    ]
    return " ".join(filter(None, (override.op, override.grouping, *signs))) or "always"


def accumulator(mac: Mac) -> str:
    """The levels of the reduction tree in words, from the inner to the outer one."""
    words = [] if mac.multiplier is None else [f"products by {mac.multiplier.file or 'a table'}"]
    words += [] if mac.product is None else [f"product {_cast(mac.product)}"]
    written = [] if mac.write_back is None else [f"written back {_cast(mac.write_back)}"]
    return ", ".join([*words, *map(_level, mac.levels), *written])


def _cast(cast: Cast) -> str:
    shift = f">> {cast.shift} {cast.rounding.value} " if cast.shift else ""
    return f"{shift}{cast.bits}-bit {cast.overflow.value}"


def _level(level: Level) -> str:
    count = "all" if level.size is None else f"{'first ' if level.first_only else ''}{level.size}"
    return f"{count}: exact" if level.bits is None else f"{count}: {level.bits}-bit {level.overflow.value}"


def requantization(rule: Requantize) -> str:
    """The rule and its roundings in words."""
    match rule:
        case FixedPoint():
            first = "" if rule.first is None else f"{rule.first.value} then "
            kept = f" kept to Q{rule.keep}" if rule.keep is not None else ""
            return f"Q{rule.bits}{kept}, {first}{rule.rounding.value}"
        case PowerOfTwo():
            return f"shift, {rule.rounding.value}"
        case Float32Scale():
            return f"float32, {rule.rounding.value}"
        case Float64Scale():
            return f"float64, {rule.rounding.value}"
        case Float32Requantize():
            return "float32, twice"
        case Thresholds():
            return "thresholds"
    raise IntsimError(f"no words for {type(rule).__name__}")


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, object]]:
    """Every field that is no table, with its path."""
    if isinstance(value, dict | list | tuple) and value:
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            yield from _leaves(item, f"{path}.{key}" if path else str(key))
    else:
        yield path, _toml_like(value)


def _toml_like(value: Any) -> object:
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None or value in ([], (), {}) else value
