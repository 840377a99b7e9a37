"""The options that name machines and change them, and the targets that they become."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import click
import msgspec

from intsim.cli.options import Verb, with_options
from intsim.errors import IntsimError
from intsim.integers import Overflow
from intsim.partition import Mixed, read
from intsim.target import Target
from intsim.targets import set_fields, target, with_accumulator, with_multiplier

OVERFLOWS = [mode.value for mode in Overflow]


Machine = Mixed
"""What the command line names: a target, and which nodes run on other machines."""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """What the command line says about every target that it names; `settings`: (node or "", field, value)."""

    accumulator: int | None = None
    overflow: str | None = None
    tile: int | None = None
    multiplier: str | None = None
    settings: tuple[tuple[str, str, str], ...] = ()


def with_changes(verb: Verb) -> Verb:
    """--accumulator, --overflow, --tile, --multiplier, --set; the verb gets `change`."""

    @functools.wraps(verb)
    def wrapped(
        accumulator: int | None,
        overflow: str | None,
        tile: int | None,
        multiplier: str | None,
        settings: Sequence[str],
        **rest: Any,
    ) -> Any:
        if accumulator is None and (overflow is not None or tile is not None):
            raise IntsimError("says nothing without a width", where="--overflow, --tile", mend="add --accumulator N")
        parsed = tuple(setting(text) for text in settings)
        change = Change(accumulator=accumulator, overflow=overflow, tile=tile, multiplier=multiplier, settings=parsed)
        return verb(change=change, **rest)

    return with_options(
        wrapped,
        click.option("--accumulator", type=int, metavar="N", help="An accumulator of N bits, at every MAC."),
        click.option("--overflow", type=click.Choice(OVERFLOWS), help="What that accumulator does (default: wrap)."),
        click.option("--tile", type=int, metavar="K", help="Exact sums of K products before each add."),
        click.option(
            "--multiplier",
            metavar="FILE.npy",
            help="Products from a table [256, 256] of integers: row = activation, column = weight.",
        ),
        click.option(
            "--set",
            "settings",
            metavar="[NODE:]FIELD=VALUE",
            multiple=True,
            help="Change a field of the target, or of one node's own (NODE:target=NAME gives it another).",
        ),
    )


def on_machines(verb: Verb) -> Verb:
    """--target and everything that changes it; the verb gets `machines`, one a --target."""

    @functools.wraps(verb)
    def wrapped(
        targets: Sequence[str], partition: str | None, fallback: str | None, change: Change, **rest: Any
    ) -> Any:
        if not targets and partition is not None:
            targets = ("",)
        if not targets and fallback is not None:
            raise IntsimError("falls back from nothing", where="--fallback", mend="name a machine: --target NAME")
        if not targets and change != Change():
            raise IntsimError(
                "changes no machine", where="--accumulator, --multiplier, --set", mend="name one: --target NAME"
            )
        return verb(machines=tuple(mixed(name, change, partition, fallback) for name in targets), **rest)

    return with_options(
        with_changes(wrapped),
        click.option(
            "--target",
            "targets",
            metavar="NAME|FILE.toml|MODULE:NAME",
            multiple=True,
            help="The machine (see `intsim targets`).",
        ),
        click.option("--partition", metavar="FILE.toml", help="Which nodes other machines run (docs/machines.md)."),
        click.option("--fallback", metavar="NAME", help="The machine for the nodes that the target does not take."),
    )


def mixed(name: str, change: Change, partition: str | None, fallback: str | None) -> Machine:
    """The machine called `name` ("": the partition's default), changed, with what others run."""
    if partition is None:
        machine = named(name, change)
    else:
        file = read(partition, target(name) if name else None)
        own = changed(file.target, change)
        machine = Machine(target=own.target, nodes=own.nodes, parts=file.parts, fallback=file.fallback)
    return machine if fallback is None else msgspec.structs.replace(machine, fallback=target(fallback))


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


def named(name: str, change: Change) -> Machine:
    """The machine called `name`, changed."""
    return changed(target(name), change)


def changed(base: Target, change: Change) -> Machine:
    """The machine, changed. A node's own starts from it, or from the target that the node is given."""
    whole = {field: value for node, field, value in change.settings if not node}
    if "target" in whole:
        raise IntsimError("names no node", where=f"--set target={whole['target']}", mend="write NODE:target=NAME")
    if change.accumulator is not None:
        base = with_accumulator(base, change.accumulator, Overflow(change.overflow or "wrap"), change.tile)
    if change.multiplier is not None:
        base = with_multiplier(base, change.multiplier)
    base = set_fields(base, whole)
    own: dict[str, dict[str, str]] = {}
    for node, field, value in change.settings:
        if node:
            own.setdefault(node, {})[field] = value
    return Machine(target=base, nodes={node: _own(base, fields) for node, fields in own.items()})


def _own(base: Target, fields: Mapping[str, str]) -> Target:
    start = target(fields["target"]) if "target" in fields else base
    return set_fields(start, {field: value for field, value in fields.items() if field != "target"})
