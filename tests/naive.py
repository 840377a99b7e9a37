"""What a canonical float Graph computes, in numpy and float64, as plainly as can be: for tests to compare with."""

import math
from collections.abc import Callable, Mapping
from itertools import product

import numpy as np

from intsim.graph import Graph, Node


def run_graph(graph: Graph, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Every activation of a graph of `normalise`, in float64, by name; `x[n, ...]`, or one for each input.

    Raises KeyError for an operator that is not canonical.
    """
    feeds = x if isinstance(x, Mapping) else {graph.inputs[0]: x}
    tensors = {name: np.asarray(feeds[name], np.float64) for name in graph.inputs}
    constants = {name: array.astype(np.float64) for name, array in graph.constants.items()}
    for node in graph.nodes:
        sizes = [graph.shapes[node.outputs[0]]] if node.op == "Resize" else []
        operands = [constants[name] if name in constants else tensors[name] for name in node.inputs]
        result = RUN[node.op](node, *operands, *sizes)
        assert result.shape[1:] == graph.shapes[node.outputs[0]], (node, result.shape)
        tensors[node.outputs[0]] = result
    return tensors


def windows(node: Node, x: np.ndarray, fill: float) -> np.ndarray:
    """The cells under each window: [n, c, out..., kernel...], `fill` beyond the map."""
    a, rank = node.attributes, x.ndim - 2
    kernel, strides, dilations, pads = (a[k] for k in ("kernel_shape", "strides", "dilations", "pads"))
    x = np.pad(x, ((0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)), constant_values=fill)
    out = [(x.shape[2 + i] - dilations[i] * (kernel[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    cells = np.empty((*x.shape[:2], *out, *kernel))
    for k in product(*map(range, kernel)):
        at = tuple(
            slice(k[i] * dilations[i], k[i] * dilations[i] + (out[i] - 1) * strides[i] + 1, strides[i])
            for i in range(rank)
        )
        cells[(..., *k)] = x[(slice(None), slice(None), *at)]
    return cells


def conv(node: Node, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    group, rank = node.attributes["group"], x.ndim - 2
    cells = windows(node, x, 0.0)  # [n, c, out..., kernel...]
    n, c, out = cells.shape[0], cells.shape[1], cells.shape[2 : 2 + rank]
    cells = np.moveaxis(cells, 1, 1 + rank)  # [n, out..., c, kernel...]
    cells = cells.reshape(n * int(np.prod(out)), group, c // group * int(np.prod(w.shape[2:])))
    sums = np.einsum("pgk,gok->pgo", cells, w.reshape(group, w.shape[0] // group, -1), optimize=True)
    y = np.moveaxis(sums.reshape(n, *out, w.shape[0]), -1, 1)
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


def conv_transpose(node: Node, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    a, rank = node.attributes, x.ndim - 2
    group, strides, dilations, pads = (a[k] for k in ("group", "strides", "dilations", "pads"))
    full = [
        (x.shape[2 + i] - 1) * strides[i] + dilations[i] * (w.shape[2 + i] - 1) + 1 + a["output_padding"][i]
        for i in range(rank)
    ]
    y = np.zeros((len(x), w.shape[1] * group, *full))
    parts = x.reshape(len(x), group, -1, *x.shape[2:])
    kernels = w.reshape(group, -1, *w.shape[1:])
    for k in product(*map(range, w.shape[2:])):
        at = tuple(
            slice(k[i] * dilations[i], k[i] * dilations[i] + (x.shape[2 + i] - 1) * strides[i] + 1, strides[i])
            for i in range(rank)
        )
        sums = np.einsum("ngi...,gio->ngo...", parts, kernels[(..., *k)])
        y[(slice(None), slice(None), *at)] += sums.reshape(len(x), -1, *x.shape[2:])
    inside = tuple(slice(pads[i], full[i] - pads[rank + i]) for i in range(rank))
    y = y[(slice(None), slice(None), *inside)]
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


def max_pool(node: Node, x: np.ndarray) -> np.ndarray:
    rank = x.ndim - 2
    return windows(node, x, -np.inf).max(axis=tuple(range(-rank, 0)))


def average_pool(node: Node, x: np.ndarray) -> np.ndarray:
    over = tuple(range(2 - x.ndim, 0))
    counted = windows(node, np.ones_like(x), float(node.attributes["count_include_pad"]))
    return windows(node, x, 0.0).sum(axis=over) / counted.sum(axis=over)


def pad(node: Node, x: np.ndarray) -> np.ndarray:
    pads, rank = node.attributes["pads"], x.ndim - 1
    around = ((0, 0), *zip(pads[:rank], pads[rank:], strict=True))
    return np.pad(x, around, constant_values=node.attributes["value"])


def slice_(node: Node, x: np.ndarray) -> np.ndarray:
    a = node.attributes
    for axis, start, end, step in zip(a["axes"], a["starts"], a["ends"], a["steps"], strict=True):
        count = range(x.shape[axis])[start : None if end < -x.shape[axis] else end : step]
        x = x.take(list(count), axis)
    return x


def resize(node: Node, x: np.ndarray, sizes: tuple[int, ...]) -> np.ndarray:
    """Each axis by itself, by the formulas of ONNX's own text."""
    how, mode = node.attributes["coordinate"], node.attributes["mode"]
    for axis, m in enumerate(sizes[1:], start=2):
        n, i = x.shape[axis], np.arange(m)
        at = {
            "half_pixel": (i + 0.5) * n / m - 0.5,
            "pytorch_half_pixel": (i + 0.5) * n / m - 0.5 if m > 1 else np.zeros(1),
            "align_corners": i * (n - 1) / max(m - 1, 1),
            "asymmetric": i * n / m,
        }[how]
        if mode == "nearest":
            rounding = {
                "floor": np.floor, "ceil": np.ceil,
                "round_prefer_floor": lambda v: np.ceil(v - 0.5), "round_prefer_ceil": lambda v: np.floor(v + 0.5),
            }[node.attributes["nearest"]]  # fmt: skip
            x = x.take(np.clip(rounding(at), 0, n - 1).astype(int), axis)
            continue
        low = np.clip(np.floor(at), 0, n - 1).astype(int)
        f = np.clip(at - low, 0, 1).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = x.take(low, axis) * (1 - f) + x.take(np.minimum(low + 1, n - 1), axis) * f
    return x


def gelu(x: np.ndarray, approximate: str) -> np.ndarray:
    """By ONNX's two formulas."""
    if approximate == "tanh":
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / np.sqrt(2)))


def softmax(node: Node, x: np.ndarray) -> np.ndarray:
    e = np.exp(x * node.attributes.get("beta", 1.0))
    return e / e.sum(node.attributes["axis"], keepdims=True)


RUN: dict[str, Callable[..., np.ndarray]] = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "Gemm": lambda node, x, w, b=0.0: x @ w.T + b,
    "Relu": lambda node, x: np.maximum(x, 0),
    "Clip": lambda node, x: np.clip(x, node.attributes["min"], node.attributes["max"]),
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": lambda node, x: x.mean(axis=tuple(range(2, x.ndim)), keepdims=True),
    "MatMul": lambda node, a, b: a @ b * node.attributes.get("alpha", 1.0),
    "Add": lambda node, a, b: a + b,
    "Concat": lambda node, *xs: np.concatenate(xs, axis=node.attributes["axis"]),
    "Flatten": lambda node, x: x.reshape(len(x), -1),
    "Reshape": lambda node, x: x.reshape(len(x), *node.attributes["shape"]),
    "Pad": pad,
    "Transpose": lambda node, x: x.transpose(node.attributes["perm"]),
    "Slice": slice_,
    "Resize": resize,
    "Sub": lambda node, a, b: a - b,
    "Mul": lambda node, a, b: a * b,
    "Max": lambda node, a, b: np.maximum(a, b),
    "Min": lambda node, a, b: np.minimum(a, b),
    "Sigmoid": lambda node, x: 1 / (1 + np.exp(-x)),
    "Tanh": lambda node, x: np.tanh(x),
    "HardSwish": lambda node, x: x * np.clip(x + 3, 0, 6) / 6,
    "LeakyRelu": lambda node, x: np.where(x >= 0, x, node.attributes["alpha"] * x),
    "PRelu": lambda node, x, slope: np.where(x >= 0, x, slope * x),
    "Elu": lambda node, x: np.where(x >= 0, x, node.attributes["alpha"] * (np.exp(x) - 1)),
    "Softplus": lambda node, x: np.log(1 + np.exp(x)),
    "HardSigmoid": lambda node, x: np.clip(x * node.attributes["alpha"] + 0.5, 0, 1),
    "Gelu": lambda node, x: gelu(x, node.attributes["approximate"]),
    "Mish": lambda node, x: x * np.tanh(np.log(1 + np.exp(x))),
    "Rsqrt": lambda node, x: 1 / np.sqrt(np.maximum(x, 0) + node.attributes["alpha"]),
    "Softmax": softmax,
}
