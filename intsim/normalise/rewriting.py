"""One way to change a Graph: a rule looks at a node and says what comes in place of what."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.graph import Graph, Node, Pixels, Shape, consumers, producers


class Site(Struct, frozen=True, kw_only=True):
    """A Graph, and who reads and who computes each of its tensors."""

    graph: Graph
    readers: Mapping[str, list[Node]]
    producers: Mapping[str, Node]


class Change(Struct, frozen=True, kw_only=True):
    """What a rule does to a Graph.

    `nodes`: the nodes that come in place of the node of that name (none: it goes). `rename`: tensors that are called
    otherwise from now on, wherever they stand. The rest is added to what is there; `note` is for the user.
    """

    nodes: dict[str, tuple[Node, ...]] = {}
    rename: dict[str, str] = {}
    constants: dict[str, np.ndarray] = {}
    shapes: dict[str, Shape] = {}
    pixels: dict[str, Pixels] = {}
    note: str = ""


Rule = Callable[[Site, Node], Change | None]


def rewritten(graph: Graph, rule: Rule) -> tuple[Graph, tuple[str, ...]]:
    """The graph after the rule was applied until it finds nothing more, and the notes."""
    notes: list[str] = []
    for _ in range(len(graph.nodes) + 1):
        changes = _independent(look(graph), rule)
        if not changes:
            break
        for change in changes:
            notes += [change.note] if change.note else []
        graph = _applied(graph, changes)
    return graph, tuple(notes)


def _independent(site: Site, rule: Rule) -> list[Change]:
    """What the rule finds, in running order, as far as no change concerns a node or tensor of one before it."""
    nodes = {node.name: node for node in site.graph.nodes}
    changes: list[Change] = []
    touched: set[str] = set()
    for node in site.graph.nodes:
        if (change := rule(site, node)) is None:
            continue
        parts = [part for name, new in change.nodes.items() for part in (nodes[name], *new)]
        tensors = {name for part in parts for name in (*part.inputs, *part.outputs)} - site.graph.constants.keys()
        names = {*change.constants, *change.shapes, *change.rename, *change.rename.values(), *tensors} - {""}
        if touched.isdisjoint(names):
            touched |= names
            changes.append(change)
    return changes


def look(graph: Graph) -> Site:
    """The Site of the graph."""
    return Site(graph=graph, readers=consumers(graph), producers=producers(graph))


def _applied(graph: Graph, changes: Sequence[Change]) -> Graph:
    new_nodes: dict[str, tuple[Node, ...]] = {}
    rename: dict[str, str] = {}
    constants, shapes, pixels = {**graph.constants}, {**graph.shapes}, {**graph.pixels}
    for change in changes:
        new_nodes |= change.nodes
        rename |= change.rename
        constants |= change.constants
        pixels |= change.pixels
        shapes |= change.shapes

    def called(names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(rename.get(name, name) for name in names)

    nodes = [new for node in graph.nodes for new in new_nodes.get(node.name, (node,))]
    for old, new in rename.items():
        if old in shapes:
            shapes.setdefault(new, shapes.pop(old))
    return replace(
        graph,
        nodes=tuple(replace(node, inputs=called(node.inputs), outputs=called(node.outputs)) for node in nodes),
        outputs=tuple(dict.fromkeys(called(graph.outputs))),
        constants=constants,
        shapes=shapes,
        pixels=pixels,
    )


def in_place(node: Node, *new: Node, **rest: object) -> Change:
    """The change that puts `new` in place of the node."""
    return Change(nodes={node.name: new}, **rest)  # type: ignore[arg-type]


def without(site: Site, node: Node) -> Change | None:
    """The change that takes away a node whose output is its input; None where the graph's door needs the node.

    An output of the graph keeps its name: the tensor before the node takes it.
    """
    source, out = node.inputs[0], node.outputs[0]
    if out not in site.graph.outputs:
        return Change(nodes={node.name: ()}, rename={out: source})
    if source in site.producers and source not in site.graph.outputs:
        return Change(nodes={node.name: ()}, rename={source: out})
    return None


def only_reader(site: Site, name: str) -> bool:
    """Whether exactly one node reads the tensor and nobody outside the graph does."""
    return len(site.readers.get(name, ())) == 1 and name not in site.graph.outputs


def fresh(site: Site, name: str) -> str:
    """`name`, or the next like it that is neither a tensor nor a node of the graph."""
    graph = site.graph
    taken = {*graph.inputs, *graph.constants, *site.producers, *(node.name for node in graph.nodes)}
    count, wanted = 1, name
    while wanted in taken:
        count += 1
        wanted = f"{name}_{count}"
    return wanted


def ints(node: Node, name: str, default: Shape = ()) -> Shape:
    """The attribute that is a list of integers, or `default` where the node has none."""
    value = node.attributes.get(name, default)
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def number(node: Node, name: str, default: float = 0.0) -> float:
    """The attribute that is one number, or `default` where the node has none."""
    value = node.attributes.get(name, default)
    assert isinstance(value, int | float)
    return value


def pruned(graph: Graph) -> Graph:
    """The graph without the nodes, constants and shapes that no output needs."""
    needed = set(graph.outputs)
    kept = []
    for node in reversed(graph.nodes):
        if needed.intersection(node.outputs):
            kept.append(node)
            needed.update(node.inputs)
    tensors = {*graph.inputs, *(name for node in kept for name in node.outputs)}
    return replace(
        graph,
        nodes=tuple(reversed(kept)),
        constants={name: array for name, array in graph.constants.items() if name in needed},
        shapes={name: shape for name, shape in graph.shapes.items() if name in tensors},
    )
