"""Which nodes of a Graph stand in their canonical spelling, and what is to be said about those that do not."""

from collections.abc import Callable, Collection

from intsim.graph import Graph, Node
from intsim.normalise.padding import pad_problem
from intsim.normalise.scaling import scale_problem
from intsim.normalise.spelling import clip_problem, gemm_problem
from intsim.normalise.windows import convolution_problem, pool_problem


def unsupported(graph: Graph, supported: Collection[str]) -> tuple[tuple[str, str, str], ...]:
    """(node name, op, reason) of every node of a normalised Graph that cannot be lowered, in running order.

    `supported` names the operators that can be. A node that moves the batch, or whose output has no shape, counts;
    the nodes after it do not for that reason alone.
    """
    found = []
    for node in graph.nodes:
        reason = _problem(graph, node)
        if reason is None and node.op not in supported:
            reason = "is not supported yet"
        if reason is not None:
            found.append((node.name, node.op, reason))
    return tuple(found)


def _problem(graph: Graph, node: Node) -> str | None:
    activations = [name for name in node.inputs if name and name not in graph.constants]
    if any(name not in graph.shapes for name in activations):
        return None if node.op in _PROBLEMS else "is not supported yet"
    if not activations:
        return "computes from constants only, and what it computes is not known before the network runs"
    if node.op in _PROBLEMS and (problem := _PROBLEMS[node.op](graph, node)) is not None:
        return problem
    if node.op in _PROBLEMS and any(name not in graph.shapes for name in node.outputs):
        return "its output has no fixed shape with the batch in front"
    return None


def _reshape_problem(graph: Graph, node: Node) -> str | None:
    if node.op == "Reshape" and "shape" in node.attributes:
        return None
    if node.op == "Flatten" and "axis" not in node.attributes:
        return None
    return "moves the batch, or has no shape that is known before the network runs"


def _concat_problem(graph: Graph, node: Node) -> str | None:
    if any(name in graph.constants for name in node.inputs):
        return "joins constants to activations"
    return None if node.attributes["axis"] else "joins along the batch"


def _mean_problem(graph: Graph, node: Node) -> str | None:
    shape = graph.shapes[node.inputs[0]]
    return None if len(shape) in (2, 3) else f"has {len(shape) - 1} spatial dimensions, and 1 or 2 can be lowered"


def _reduction_problem(graph: Graph, node: Node) -> str | None:
    return "reduces over other axes than all of a map's"


def _transpose_problem(graph: Graph, node: Node) -> str | None:
    return f"moves the axes to {node.attributes.get('perm', 'the reverse')}: export the network channels first"


def _identity_problem(graph: Graph, node: Node) -> str | None:
    return "is in training mode, or its mask is read"


def _cast_problem(graph: Graph, node: Node) -> str | None:
    return "turns numbers into another type"


def _softmax_problem(graph: Graph, node: Node) -> str | None:
    return "is not the last node before an output, over the classes"


_PROBLEMS: dict[str, Callable[[Graph, Node], str | None]] = {
    "Conv": convolution_problem,
    "ConvTranspose": convolution_problem,
    "Gemm": gemm_problem,
    "MatMul": gemm_problem,
    "Relu": clip_problem,
    "Clip": clip_problem,
    "Max": clip_problem,
    "Min": clip_problem,
    "MaxPool": pool_problem,
    "AveragePool": pool_problem,
    "GlobalAveragePool": _mean_problem,
    "GlobalMaxPool": _mean_problem,
    "ReduceMean": _reduction_problem,
    "ReduceMax": _reduction_problem,
    "Pad": pad_problem,
    "Add": scale_problem,
    "Sub": scale_problem,
    "Mul": scale_problem,
    "Div": scale_problem,
    "Neg": scale_problem,
    "BatchNormalization": scale_problem,
    "Concat": _concat_problem,
    "Reshape": _reshape_problem,
    "Flatten": _reshape_problem,
    "Squeeze": _reshape_problem,
    "Unsqueeze": _reshape_problem,
    "Transpose": _transpose_problem,
    "Dropout": _identity_problem,
    "Cast": _cast_problem,
    "Softmax": _softmax_problem,
    "LogSoftmax": _softmax_problem,
}
