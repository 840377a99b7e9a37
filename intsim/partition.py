"""Which machine runs which node: parts of a network by name, operator or place, and a fallback for what one refuses."""

import fnmatch
from collections.abc import Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from intsim import files
from intsim.errors import IntsimError, unknown
from intsim.graph import Graph, Node, find_node
from intsim.target import Target
from intsim.targets import target as named


class Part(Struct, frozen=True, kw_only=True):
    """Nodes that run on `target`: those for which everything holds that is given.

    `nodes`: patterns (*, ?) of a node's name or of its output's. `ops`: operators, as ONNX spells them. `first` to
    `last`: nodes by name, and what runs between them in the network's order; None: from the beginning, to the end.
    """

    target: Target
    nodes: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    first: str | None = None
    last: str | None = None


class Mixed(Struct, frozen=True, kw_only=True):
    """Several machines for one network: `target` for all nodes that are in no part; of the parts the last one counts.

    `nodes`: machines of single nodes, by the node's name or its output's; they count more than parts. `fallback`: runs
    those of `target`'s nodes that it does not take.
    """

    target: Target
    parts: tuple[Part, ...] = ()
    nodes: Mapping[str, Target] = {}
    fallback: Target | None = None

    @property
    def name(self) -> str:
        """The names of all machines that may run something."""
        return " + ".join(dict.fromkeys(machine.name for machine in machines(self)))


def assigned(mixed: Mixed, graph: Graph) -> dict[str, Target]:
    """The machine of every node that does not run on `mixed.target`, by the node's name, before any fallback.

    Raises IntsimError for a pattern, an end or a node's name that is not in the network.
    """
    found: dict[str, Target] = {}
    for part in mixed.parts:
        found |= dict.fromkeys((node.name for node in _members(part, graph)), part.target)
    for name, target in mixed.nodes.items():
        found[_node(graph, name).name] = target
    return found


def before_quantization(mixed: Mixed, graph: Graph) -> dict[str, Target]:
    """`assigned`, and the fallback for every operator that `mixed.target` does not have, however it is quantized."""
    found, takes = assigned(mixed, graph), mixed.target.scheme.ops
    if mixed.fallback is None or takes is None:
        return found
    return {node.name: mixed.fallback for node in graph.nodes if node.op not in takes} | found


def machines(mixed: Mixed) -> tuple[Target, ...]:
    """All machines that may run something."""
    found = [mixed.target, *(part.target for part in mixed.parts), *mixed.nodes.values()]
    return tuple(found if mixed.fallback is None else [*found, mixed.fallback])


def _members(part: Part, graph: Graph) -> list[Node]:
    names = [node.name for node in graph.nodes]
    first = 0 if part.first is None else names.index(_node(graph, part.first).name)
    last = len(names) - 1 if part.last is None else names.index(_node(graph, part.last).name)
    if first > last:
        raise IntsimError(f'"{part.last}" runs before "{part.first}"', where=part.target.name, mend="change the ends")
    for pattern in part.nodes:
        if not any(_matches(node, pattern) for node in graph.nodes):
            error = unknown("node", pattern, names)
            raise IntsimError(error.what, where=f"the part on {part.target.name}", mend=error.mend)
    return [
        node
        for node in graph.nodes[first : last + 1]
        if (not part.nodes or any(_matches(node, pattern) for pattern in part.nodes))
        and (not part.ops or node.op in part.ops)
    ]


def _matches(node: Node, pattern: str) -> bool:
    return any(name == pattern or fnmatch.fnmatchcase(name, pattern) for name in (node.name, *node.outputs))


def _node(graph: Graph, name: str) -> Node:
    node = find_node(graph, name)
    if node is None:
        raise IntsimError(f'there is no node "{name}"', where=graph.name, mend="intsim inspect lists them")
    return node


# ---- TOML ------------------------------------------------------------------------------------------------------


class _Part(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    target: str
    nodes: tuple[str, ...] = ()
    ops: tuple[str, ...] = ()
    first: str | None = msgspec.field(default=None, name="from")
    last: str | None = msgspec.field(default=None, name="to")


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    default: str | None = None
    fallback: str | None = None
    part: tuple[_Part, ...] = ()


def read(path: str | Path, default: Target | None = None) -> Mixed:
    """The machines of a TOML file: `default`, `fallback`, and [[part]]s with `target` and what they take.

    `default`: the machine of all other nodes, where the file names none. A target is a name of the catalogue, or a
    TOML beside this file. IntsimError names the field that is wrong.
    """
    path = Path(path)
    try:
        file = msgspec.convert(files.read_toml(path), _File)
    except msgspec.ValidationError as reason:
        raise IntsimError(str(reason), where=str(path), mend="see docs/machines.md") from None
    if (file.default is None) == (default is None):
        what = "names no default machine" if default is None else f'names the default "{file.default}"'
        mend = 'write default = "NAME", or give --target' if default is None else "leave it out, or leave out --target"
        raise IntsimError(what, where=str(path), mend=mend)
    for part in file.part:
        if not (part.nodes or part.ops or part.first or part.last):
            raise IntsimError(f"the part on {part.target} takes nothing", where=str(path), mend="give nodes or ops")

    def machine(name: str) -> Target:
        return named(str(path.parent / name) if name.endswith(".toml") else name)

    parts = [msgspec.structs.asdict(part) | {"target": machine(part.target)} for part in file.part]
    return Mixed(
        target=machine(file.default) if file.default is not None else default,  # type: ignore[arg-type]
        parts=tuple(Part(**part) for part in parts),
        fallback=None if file.fallback is None else machine(file.fallback),
    )
