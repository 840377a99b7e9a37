"""Which activations share an affine, and which of them say what it must reach."""

from collections.abc import Mapping

from msgspec import Struct

from intsim.graph import Graph, activations, consumers
from intsim.ops import OPS
from intsim.target import Scheme


class Group(Struct, frozen=True, kw_only=True):
    """Activations that share an affine; `decisive`: those whose values it must hold."""

    tensors: tuple[str, ...]
    decisive: tuple[str, ...]


def groups(graph: Graph, scheme: Scheme, nodes: Mapping[str, Scheme] | None = None) -> list[Group]:
    """The activations, grouped: an op that makes no integers, or none on this machine, joins its input and output.

    `nodes`: the schemes of those that run on other machines, by name. A tensor that is read only to be clipped (Relu,
    Clip, perhaps after ops that move or pick integers) is not decisive: what the clip cuts off may as well saturate
    before it. An input of the network always is.
    """
    parent = {name: name for name in activations(graph)}

    def root(name: str) -> str:
        while parent[name] != name:
            name = parent[name]
        return name

    for node in graph.nodes:
        if keeps_scale(node.op, (nodes or {}).get(node.name, scheme)):
            for name in node.inputs:
                if name in parent:
                    parent[root(node.outputs[0])] = root(name)
    members: dict[str, list[str]] = {}
    for name in parent:
        members.setdefault(root(name), []).append(name)
    clipped = _clipped(graph)
    return [
        Group(tensors=tuple(names), decisive=tuple(name for name in names if name not in clipped))
        for names in members.values()
    ]


def keeps_scale(op: str, scheme: Scheme) -> bool:
    """Whether an op's output has its input's affine, on every machine or on those of that scheme."""
    return _keeps_scale(op) or op in scheme.keeps_scale


def _keeps_scale(op: str) -> bool:
    return op in OPS and OPS[op].keeps_scale


def _clipped(graph: Graph) -> set[str]:
    """The tensors that are read only to be clipped."""
    readers, found = consumers(graph), set[str]()
    for node in reversed(graph.nodes):
        (name,) = node.outputs
        if name not in graph.outputs and readers.get(name):
            passes = (
                reader.op in ("Relu", "Clip") or (_keeps_scale(reader.op) and reader.outputs[0] in found)
                for reader in readers[name]
            )
            if all(passes):
                found.add(name)
    return found
