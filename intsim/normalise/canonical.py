"""Which nodes of a Graph stand in their canonical spelling, and what is to be said about those that do not."""

from collections.abc import Callable, Collection

from intsim.graph import Graph, Node
from intsim.normalise.attention import attention_problem, matmul_problem
from intsim.normalise.moving import resize_problem, slice_problem, split_problem, transpose_problem
from intsim.normalise.padding import pad_problem
from intsim.normalise.recurrent import recurrent_problem
from intsim.normalise.scaling import pair_problem, scale_problem
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


def _matmul_problem(graph: Graph, node: Node) -> str | None:
    computed = not any(name in graph.constants for name in node.inputs)
    return matmul_problem(graph, node) if computed else gemm_problem(graph, node)


def _mean_problem(graph: Graph, node: Node) -> str | None:
    shape = graph.shapes[node.inputs[0]]
    return None if len(shape) in (2, 3) else f"has {len(shape) - 1} spatial dimensions, and 1 or 2 can be lowered"


def _reduction_problem(graph: Graph, node: Node) -> str | None:
    return "reduces over the batch, or to a number without axes"


def _identity_problem(graph: Graph, node: Node) -> str | None:
    return "is in training mode, or its mask is read"


def _cast_problem(graph: Graph, node: Node) -> str | None:
    return "turns numbers into another type"


def _softmax_problem(graph: Graph, node: Node) -> str | None:
    if node.op == "LogSoftmax":
        return "is not the last node before an output, over the classes"
    return None if node.attributes["axis"] else "sums over the batch"


def _extreme_problem(graph: Graph, node: Node) -> str | None:
    return pair_problem(graph, node) if clip_problem(graph, node) else None


def _prelu_problem(graph: Graph, node: Node) -> str | None:
    slope, x = graph.constants.get(node.inputs[1]), graph.shapes[node.inputs[0]]
    if slope is None or slope.dtype.kind != "f":
        return "its slopes are computed"
    outer = (1,) * (len(x) - slope.ndim) + slope.shape
    each = len(outer) == len(x) and outer[0] == x[0] and slope.size == x[0]
    return None if slope.size == 1 or each else f"slopes of the shape {list(slope.shape)} are not one per channel"


def _hard_sigmoid_problem(graph: Graph, node: Node) -> str | None:
    return None if node.attributes.get("beta", 0.5) == 0.5 else f"its beta is {node.attributes['beta']}, not 0.5"


def _no_problem(graph: Graph, node: Node) -> str | None:
    return None


_PROBLEMS: dict[str, Callable[[Graph, Node], str | None]] = {
    "Conv": convolution_problem,
    "ConvTranspose": convolution_problem,
    "Gemm": gemm_problem,
    "MatMul": _matmul_problem,
    "Attention": attention_problem,
    "GRU": recurrent_problem,
    "LSTM": recurrent_problem,
    "Relu": clip_problem,
    "Clip": clip_problem,
    "Max": _extreme_problem,
    "Min": _extreme_problem,
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
    "Resize": resize_problem,
    "Slice": slice_problem,
    "Split": split_problem,
    "Transpose": transpose_problem,
    "Dropout": _identity_problem,
    "Cast": _cast_problem,
    "Elu": _no_problem,
    "Gelu": _no_problem,
    "HardSigmoid": _hard_sigmoid_problem,
    "HardSwish": _no_problem,
    "LeakyRelu": _no_problem,
    "Mish": _no_problem,
    "PRelu": _prelu_problem,
    "Rsqrt": _no_problem,
    "Sigmoid": _no_problem,
    "Softplus": _no_problem,
    "Tanh": _no_problem,
    "Softmax": _softmax_problem,
    "LogSoftmax": _softmax_problem,
}
