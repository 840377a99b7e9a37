"""The affine of every activation of a normalised float graph, from its marks; the marks go."""

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from intsim.adopt.marks import MARK
from intsim.graph import Graph, Node, activations, consumers
from intsim.integers import Affine
from intsim.ops import OPS

CLIPS = ("Relu", "Clip")


class Known(Struct, frozen=True, kw_only=True, eq=False):
    """The graph without marks, and the affines of its activations as far as the file states them."""

    graph: Graph
    affines: dict[str, Affine]


def settled(graph: Graph, affines: Sequence[Affine]) -> Known:
    """`Known` of a normalised graph with marks, whose affines these are.

    What moves, picks or clips integers has the affine of what it reads, or of what it makes; where the file states two
    different ones, and where it quantizes twice, a Requantize stands between.
    """
    known = _unmarked(graph, affines)
    return _forward(replace(known, affines=_backward(known)))


def _unmarked(graph: Graph, affines: Sequence[Affine]) -> Known:
    found, called, nodes = dict[str, Affine](), dict[str, str](), list[Node]()
    for node in graph.nodes:
        inputs = tuple(called.get(name, name) for name in node.inputs)
        if MARK not in node.attributes:
            nodes.append(replace(node, inputs=inputs))
            continue
        (x,), (y,), own = inputs, node.outputs, affines[int(str(node.attributes[MARK]))]
        if found.setdefault(x, own) == own:
            called[y] = x
        else:
            nodes.append(replace(node, inputs=(x,), attributes={}))
            found[y] = own
    return _named_as_outputs(graph, nodes, found, called)


def _named_as_outputs(
    graph: Graph, nodes: Sequence[Node], found: Mapping[str, Affine], called: Mapping[str, str]
) -> Known:
    """The network with its outputs called as they were, where what they were called is free."""
    names: dict[str, str] = {}
    for name in graph.outputs:
        if name in called and called[name] not in (*graph.inputs, *graph.outputs):
            names.setdefault(called[name], name)

    def to(name: str) -> str:
        return names.get(name, name)

    made = tuple(
        replace(node, inputs=tuple(map(to, node.inputs)), outputs=tuple(map(to, node.outputs))) for node in nodes
    )
    shapes = {to(name): shape for name, shape in graph.shapes.items() if name not in called}
    outputs = tuple(dict.fromkeys(to(called.get(name, name)) for name in graph.outputs))
    new = replace(graph, nodes=made, outputs=outputs, shapes=shapes)
    return Known(graph=new, affines={to(name): own for name, own in found.items()})


def _backward(known: Known) -> dict[str, Affine]:
    """The affines, with those of what only is moved or clipped to get the known one."""
    found, readers = dict(known.affines), consumers(known.graph)
    for node in reversed(known.graph.nodes):
        own = found.get(node.outputs[0])
        if own is None or not _keeps(node):
            continue
        for name in node.inputs:
            alone = len(readers.get(name, ())) == 1 and name not in known.graph.outputs
            if name not in known.graph.constants and name not in found and (alone or node.op not in CLIPS):
                found[name] = own
    return found


def _forward(known: Known) -> Known:
    """The graph with every activation's affine as far as it is known, and a Requantize where two meet."""
    graph, found, nodes, shapes = known.graph, dict(known.affines), list[Node](), dict(known.graph.shapes)
    for node in graph.nodes:
        reads = [name for name in node.inputs if name not in graph.constants]
        if not _keeps(node) or any(name not in found for name in reads):
            nodes.append(node)
            continue
        (y,), inside = node.outputs, found[reads[0]]
        if any(found[name] != inside for name in reads):
            inside = found.get(y, inside)
        same = replace(node, inputs=tuple(_as(name, inside, graph, found, nodes, shapes) for name in node.inputs))
        if found.setdefault(y, inside) == inside:
            nodes.append(same)
            continue
        before = _fresh(f"{y}_before", shapes)
        found[before], shapes[before] = inside, shapes[y]
        nodes.append(replace(same, outputs=(before,)))
        nodes.append(Node(name=f"{node.name}_requantize", op="Requantize", inputs=(before,), outputs=(y,)))
    live = set(activations(replace(graph, nodes=tuple(nodes), shapes=shapes)))
    return Known(
        graph=replace(graph, nodes=tuple(nodes), shapes=shapes),
        affines={name: own for name, own in found.items() if name in live},
    )


def _as(
    name: str,
    own: Affine,
    graph: Graph,
    found: dict[str, Affine],
    nodes: list[Node],
    shapes: dict[str, tuple[int, ...]],
) -> str:
    """An operand at that affine: itself, or what a new Requantize makes of it."""
    if name in graph.constants or found[name] == own:
        return name
    made = _fresh(f"{name}_as", shapes)
    found[made], shapes[made] = own, shapes[name]
    nodes.append(Node(name=made, op="Requantize", inputs=(name,), outputs=(made,)))
    return made


def _fresh(name: str, taken: Mapping[str, object]) -> str:
    while name in taken:
        name += "_"
    return name


def _keeps(node: Node) -> bool:
    return node.op in OPS and OPS[node.op].keeps_scale
