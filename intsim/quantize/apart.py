"""Functions whose output has one affine only, set apart from the activations that they would share it with."""

from msgspec.structs import replace

from intsim.calibrate import Calibration
from intsim.graph import Graph, Node, producers
from intsim.quantize.operands import known_affine
from intsim.quantize.schemes import Schemes, of_node, together, touching
from intsim.quantize.sharing import groups, keeps_scale

REQUANTIZED = "{}.requantized"
"""The name of a function's output in the affine of its readers, and of the node that brings it there."""


def set_apart(graph: Graph, calibration: Calibration, schemes: Schemes) -> tuple[Graph, Calibration]:
    """The network with a Requantize after every such function where readers need another affine (a Concat, say).

    Only what must have its input's affine reads the requantized tensor; the calibration then holds it too.
    """
    renamed = {name: REQUANTIZED.format(name) for name in _bound(graph, schemes)}
    if not renamed:
        return graph, calibration
    nodes: list[Node] = []
    for node in graph.nodes:
        bound = keeps_scale(node.op, of_node(schemes, node))
        inputs = tuple(renamed.get(name, name) if bound else name for name in node.inputs)
        nodes.append(replace(node, inputs=inputs))
        for name in renamed.keys() & {*node.outputs}:
            nodes.append(Node(name=renamed[name], op="Requantize", inputs=(name,), outputs=(renamed[name],)))
    shapes = graph.shapes | {new: graph.shapes[old] for old, new in renamed.items()}
    seen = calibration.tensors | {new: calibration.tensors[old] for old, new in renamed.items()}
    return replace(graph, nodes=tuple(nodes), shapes=shapes), replace(calibration, tensors=seen)


def _bound(graph: Graph, schemes: Schemes) -> list[str]:
    """The outputs of functions with one affine, in groups that have another."""
    makers, found = producers(graph), list[str]()
    for group in groups(graph, schemes.scheme, schemes.nodes):
        fixed = [
            name
            for name in group.tensors
            if name in makers and makers[name].op in of_node(schemes, makers[name]).fixed_outputs
        ]
        if fixed and known_affine(group, graph, *together(schemes, touching(graph, group.tensors))) is None:
            found += fixed
    return found
