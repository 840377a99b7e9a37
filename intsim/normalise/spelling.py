"""Operators that only name, clip or join numbers, and products with a matrix, in their one canonical spelling."""

import math

import numpy as np
from msgspec.structs import replace

from intsim.graph import Graph, Node
from intsim.normalise.rewriting import Change, Site, fresh, in_place, number, only_reader, without

# onnx.TensorProto.DataType: float32, float16, float64, bfloat16.
_FLOAT_TYPES = (1, 10, 11, 16)
_FLOAT_MAKERS = """
    Add AveragePool BatchNormalization Clip Concat Conv ConvTranspose Div Dropout Flatten Gemm GlobalAveragePool
    Identity MatMul MaxPool Mul Neg Pad ReduceMean Relu Reshape Scale Sigmoid Softmax Sub Tanh Transpose
""".split()  # noqa: SIM905


def identity(site: Site, node: Node) -> Change | None:
    """Identity(x) = Dropout(x) = x: outside training, and unless the mask of the Dropout is read."""
    if node.op == "Dropout":
        training = site.graph.constants.get(node.inputs[2]) if len(node.inputs) > 2 else np.array(False)
        if training is None or training.any() or len(node.outputs) > 1:
            return None
    elif not (node.op in ("Sum", "Max", "Min", "Concat") and len(node.inputs) == 1) and node.op != "Identity":
        return None
    return without(site, node) or _same_shape(site, node)


def cast(site: Site, node: Node) -> Change | None:
    """Cast(x) = x: from one float type to another, or from the integers of an image."""
    if node.op != "Cast" or node.attributes["to"] not in _FLOAT_TYPES:
        return None
    maker = site.producers.get(node.inputs[0])
    if maker is not None and maker.op not in _FLOAT_MAKERS:
        return None
    return without(site, node) or _same_shape(site, node)


def _same_shape(site: Site, node: Node) -> Change | None:
    """A Reshape that changes nothing: what stays of an identity between two doors of the graph."""
    shape = site.graph.shapes.get(node.inputs[0])
    if shape is None:
        return None
    return in_place(node, replace(node, op="Reshape", inputs=node.inputs[:1], attributes={"shape": shape}))


def clip(site: Site, node: Node) -> Change | None:
    """Clip(x; low, high) = min(max(x, low), high), and with it Max(x, low), Min(x, high), and Relu(x) = max(x, 0)."""
    if node.op not in ("Clip", "Max", "Min") or "min" in node.attributes or clip_problem(site.graph, node):
        return None
    constants = site.graph.constants
    data = next((name for name in node.inputs if name not in constants), None)
    if data is None:
        return None
    if node.op == "Clip":
        bounds = [float(constants[name].item()) if name else None for name in node.inputs[1:]]
        low, high = [*bounds, None, None][:2]
    else:
        bound = float(next(constants[name].item() for name in node.inputs if name in constants))
        low, high = (bound, None) if node.op == "Max" else (None, bound)
    return _clipped(site, node, data, -math.inf if low is None else low, math.inf if high is None else high)


def _clipped(site: Site, node: Node, data: str, low: float, high: float, gone: tuple[str, ...] = ()) -> Change | None:
    op, attributes = ("Relu", {}) if (low, high) == (0, math.inf) else ("Clip", {"min": low, "max": high})
    new = replace(node, op=op, inputs=(data,), attributes=attributes)
    if (low, high) == (-math.inf, math.inf) and (change := without(site, new)):
        return change
    return Change(nodes={**{name: () for name in gone}, node.name: (new,)})


def clip_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no clipping between two numbers; None where it is one."""
    if "min" in node.attributes or node.op == "Relu":
        return None
    bounds = node.inputs[1:] if node.op == "Clip" else [n for n in node.inputs if n in graph.constants]
    arrays = [graph.constants.get(name) for name in bounds if name]
    if node.op != "Clip" and (len(node.inputs) != 2 or len(arrays) != 1):
        return "only with one constant number"
    data = next((name for name in node.inputs if name not in graph.constants), "")
    if graph.shapes.get(data) != graph.shapes.get(node.outputs[0]):
        return "its bounds have more axes than its input"
    if any(array is None or array.size != 1 or array.dtype.kind != "f" for array in arrays):
        return "its bounds are not two constant numbers"
    if node.op == "Clip" and all(node.inputs[1:3]) and len(arrays) == 2:
        low, high = (float(array.item()) for array in arrays if array is not None)
        if not low <= high:
            return f"its bounds are {low} and {high}"
    return None


def clip_chain(site: Site, node: Node) -> Change | None:
    """clip_b(clip_a(x)) = clip_c(x), c being a's bounds clipped by b: where nobody reads the one between."""
    maker = site.producers.get(node.inputs[0]) if node.inputs else None
    outer, inner = _bounds(node), _bounds(maker) if maker is not None else None
    if maker is None or outer is None or inner is None or not only_reader(site, node.inputs[0]):
        return None
    low, high = (min(max(bound, outer[0]), outer[1]) for bound in inner)
    return _clipped(site, node, maker.inputs[0], low, high, gone=(maker.name,))


def _bounds(node: Node) -> tuple[float, float] | None:
    if node.op == "Relu":
        return 0.0, math.inf
    low, high = node.attributes.get("min"), node.attributes.get("max")
    return (low, high) if node.op == "Clip" and isinstance(low, float) and isinstance(high, float) else None


def gemm(site: Site, node: Node) -> Change | None:
    """Gemm(x, w, b) = x w^T + b with x[n, k], w[o, k], b[o]: alpha and beta go into w and b; MatMul has no b."""
    if node.op != "MatMul" and not (node.op == "Gemm" and "transB" in node.attributes):
        return None
    if gemm_problem(site.graph, node):
        return None
    constants = site.graph.constants
    a, (x, weight, *bias) = node.attributes, node.inputs
    alpha, beta = number(node, "alpha", 1.0), number(node, "beta", 1.0)
    added: dict[str, np.ndarray] = {}
    rows = constants[weight] if a.get("transB") else constants[weight].T
    if not a.get("transB") or alpha != 1:
        weight = fresh(site, f"{weight}_rows")
        added[weight] = _times(alpha, rows)
    if bias and (beta != 1 or constants[bias[0]].shape != rows.shape[:1]):
        whole = np.broadcast_to(constants[bias[0]].ravel(), rows.shape[:1])
        bias = [fresh(site, f"{node.name}_bias")]
        added[bias[0]] = _times(beta, whole)
    return in_place(node, replace(node, op="Gemm", inputs=(x, weight, *bias), attributes={}), constants=added)


def _times(factor: float, array: np.ndarray) -> np.ndarray:
    return array if factor == 1 else array.astype(np.float64) * factor


def gemm_problem(graph: Graph, node: Node) -> str | None:
    """Why the node is no product of an activation [n, k] with constant weights; None where it is one."""
    x, w = graph.shapes.get(node.inputs[0]), graph.constants.get(node.inputs[1])
    if w is None or node.inputs[0] in graph.constants:
        return "both matrices are computed" if w is None and x is not None else "the weights stand first"
    if x is None or len(x) != 1:
        return "its input is no matrix [n, k]" + (f" but [n, {', '.join(map(str, x))}]" if x else "")
    columns = "transB" in node.attributes and not node.attributes["transB"]
    if w.ndim != 2 or x[0] != w.shape[0 if node.op == "MatMul" or columns else 1]:
        return f"weights of the shape {list(w.shape)} do not fit {x[0]} inputs"
    if node.attributes.get("transA"):
        return "its input is transposed"
    if len(node.inputs) > 2:
        b, outputs = graph.constants.get(node.inputs[2]), w.shape[1 if columns else 0]
        if b is None or b.size not in (1, outputs) or b.shape[-1:] not in ((), (b.size,)):
            return "its bias is not one constant number per output"
    return None


def add(site: Site, node: Node) -> Change | None:
    """Sum(a, b, c) = Add(Add(a, b), c)."""
    if node.op != "Sum" or len(node.inputs) < 2:
        return None
    shape = site.graph.shapes.get(node.outputs[0])
    if shape is None or any(site.graph.shapes.get(name) != shape for name in node.inputs):
        return None
    left, nodes, shapes = node.inputs[0], [], {}
    for index, right in enumerate(node.inputs[1:], start=1):
        last = index == len(node.inputs) - 1
        out = node.outputs[0] if last else fresh(site, f"{node.outputs[0]}_{index}")
        name = node.name if last else fresh(site, f"{node.name}_{index}")
        nodes.append(Node(name=name, op="Add", inputs=(left, right), outputs=(out,)))
        left, shapes[out] = out, shape
    return in_place(node, *nodes, shapes=shapes)


def concat(site: Site, node: Node) -> Change | None:
    """Concat with its axis counted from the front, the batch being axis 0."""
    axis, shape = node.attributes.get("axis"), site.graph.shapes.get(node.outputs[0])
    if node.op != "Concat" or not isinstance(axis, int) or axis >= 0 or shape is None:
        return None
    return in_place(node, replace(node, attributes={"axis": axis + len(shape) + 1}))


def softmax(site: Site, node: Node) -> Change | None:
    """argmax Softmax(x) = argmax x: a Softmax or LogSoftmax over the classes at an output goes, and x is the output.

    Elsewhere a Softmax has its axis counted from the front.
    """
    if node.op not in ("Softmax", "LogSoftmax"):
        return None
    source, out = node.inputs[0] if node.inputs else "", node.outputs[0]
    shape, axis = site.graph.shapes.get(out), node.attributes["axis"]
    if shape is None or not isinstance(axis, int):
        return None
    classes = axis == 1 or (axis == -1 and len(shape) == 1)
    if not classes or out not in site.graph.outputs or site.readers.get(out) or source not in site.producers:
        from_the_front = {**node.attributes, "axis": axis + len(shape) + 1}
        return in_place(node, replace(node, attributes=from_the_front)) if axis < 0 and node.op == "Softmax" else None
    return Change(
        nodes={node.name: ()},
        rename={out: source},
        note=f"{node.name}: {node.op} dropped at the output, the largest logit stays the largest",
    )
