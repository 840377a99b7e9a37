"""`intsim targets`: the machines, their arithmetic, where each fact comes from and how sure it is."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import click
import msgspec

from intsim.cli import options
from intsim.cli.console import Out, finish, line, table
from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.target import (
    FixedPoint,
    Float32Requantize,
    Float32Scale,
    Float64Scale,
    Level,
    Mac,
    PowerOfTwo,
    Requantize,
    Target,
    Thresholds,
)
from intsim.targets import TARGETS, toml


@click.command(epilog="Example: intsim targets cmsis_nn_s8")
@click.argument("names", nargs=-1, metavar="[NAME | export NAME]")
@options.changes
@options.output(help="Write the TOML there (with export).")
@options.spoken
def targets(names: tuple[str, ...], change: options.Change, path: str | None, out: Out) -> None:
    """The machines, or one in full, or one as TOML to edit.

    The paths that `intsim targets NAME` prints are those that --set takes.
    """
    if names[:1] == ("export",):
        if len(names) != 2:
            raise click.UsageError("export takes one NAME")
        _export(options.machine(names[1], change).target, path, out)
    elif len(names) > 1:
        raise click.UsageError("one NAME, or export NAME")
    elif names:
        _show(options.machine(names[0], change).target, out)
    else:
        _list([options.machine(name, change).target for name in TARGETS], out)


def _export(machine: Target, path: str | None, out: Out) -> None:
    text = toml(machine)
    if path is None or path == "-":
        if not out.silent:
            sys.stdout.write(text)
    else:
        write_atomically(path, text.encode())
        line(out, f"{machine.name} is in {path}: edit it, and name it with --target {path}")
    finish(out, "targets", {"target": machine})


def _list(machines: Sequence[Target], out: Out) -> None:
    columns = ("name", "what it is", "accumulator", "requantization", "fidelity")
    table(out, columns, [_summary(machine) for machine in machines])
    line(out, 'fidelity: "verified" against the real thing by a test, "source" read in its source or RTL,')
    line(out, '"documented", "assumed". One in full: intsim targets NAME. Your own: intsim targets export NAME')
    finish(out, "targets", {"targets": machines})


def _show(machine: Target, out: Out) -> None:
    line(out, f"{machine.name}: {machine.description}")
    line(out)
    line(out, f"accumulator     {accumulator(machine.mac)}")
    line(out, f"requantization  {requantization(machine.requantize)}")
    line(out, f"fidelity        {_fidelity(machine)}")
    line(out, f"source          {machine.source or '-'}")
    said = {"name", "description", "fidelity", "source", "verified_with"}
    rows = [(path, value) for path, value in _leaves(msgspec.to_builtins(machine)) if path not in said]
    table(out, ("field (as --set takes it)", "value"), rows)
    finish(out, "targets", {"target": machine})


def _summary(machine: Target) -> tuple[str, ...]:
    rule = requantization(machine.requantize)
    return machine.name, machine.description, accumulator(machine.mac), rule, _fidelity(machine)


def _fidelity(machine: Target) -> str:
    return machine.fidelity + (f" ({machine.verified_with})" if machine.verified_with else "")


def accumulator(mac: Mac) -> str:
    """The levels of the reduction tree in words, from the inner to the outer one."""
    words = [] if mac.product is None else [f"product {mac.product.bits}-bit {mac.product.overflow.value}"]
    return ", ".join([*words, *map(_level, mac.levels)])


def _level(level: Level) -> str:
    count = "all" if level.size is None else f"{'first ' if level.first_only else ''}{level.size}"
    return f"{count}: exact" if level.bits is None else f"{count}: {level.bits}-bit {level.overflow.value}"


def requantization(rule: Requantize) -> str:
    """The rule and its roundings in words."""
    match rule:
        case FixedPoint(first=None):
            return f"Q{rule.bits}, {rule.rounding.value}"
        case FixedPoint():
            return f"Q{rule.bits}, {rule.first.value} then {rule.rounding.value}"
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
        yield path, "-" if value in (None, [], (), {}) else value
