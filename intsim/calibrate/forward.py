"""The float network, run in numpy: what calibration looks at."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from functools import reduce

import numpy as np

from intsim.arithmetic import between, nearest
from intsim.calibrate.alone import one_thread
from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Shape
from intsim.target import Resize


def forward(graph: Graph, inputs: Mapping[str, np.ndarray]) -> Iterator[tuple[str, np.ndarray]]:
    """Every activation `[n, ...]` in float32 with its name, inputs first, in running order.

    A tensor is forgotten after its last reader, so memory is bounded by the widest place of the network.
    Raises IntsimError for an operator that is none of `normalise`'s.
    """
    last = {name: index for index, node in enumerate(graph.nodes) for name in node.inputs}
    values = dict(graph.constants)
    for name in graph.inputs:
        values[name] = inputs[name]
        yield name, values[name]
    for index, node in enumerate(graph.nodes):
        if node.op not in FORWARD:
            raise IntsimError(f"{node.op} is not supported", where=node.name, mend="see intsim inspect")
        (output,) = node.outputs
        operands = [values[name] for name in node.inputs if name]
        with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN stand in the values
            values[output] = FORWARD[node.op](node, graph, *operands)
        yield output, values[output]
        for name in (*node.inputs, output):
            if last.get(name, -1) <= index:
                values.pop(name, None)


def floats_per_sample(graph: Graph) -> int:
    """How many float32 numbers one sample needs at the widest node: inputs, output, unfolded windows."""
    return max((_floats(node, graph) for node in graph.nodes), default=1)


def _floats(node: Node, graph: Graph) -> int:
    shapes = [graph.shapes[name] for name in (*node.inputs, *node.outputs) if name and name not in graph.constants]
    total = sum(math.prod(shape) for shape in shapes)
    if node.op == "Conv":
        kernel = math.prod(_ints(node, "kernel_shape"))
        total += kernel * shapes[0][0] * math.prod(shapes[-1][1:])
    return total


# ---- sums of products --------------------------------------------------------------------------------------


@one_thread()
def _conv(node: Node, graph: Graph, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    shape, group = graph.shapes[node.outputs[0]], int(str(node.attributes["group"]))
    out: np.ndarray
    if group == x.shape[1] == len(w):
        along = (-1, *(1,) * (x.ndim - 2))
        kernel = w.reshape(group, -1)
        out = reduce(np.add, (tap * kernel[:, t].reshape(along) for t, tap in enumerate(_taps(node, x, 0.0))))
    else:
        taps = list(_taps(node, x, 0.0))
        unfolded = taps[0] if len(taps) == 1 else np.stack(taps, axis=2)
        columns = unfolded.reshape(len(x), group, -1, math.prod(shape[1:]))
        out = (w.reshape(group, len(w) // group, -1) @ columns).reshape(len(x), *shape)
    return out if b is None else out + b.reshape(-1, *(1,) * (x.ndim - 2))


@one_thread()
def _gemm(node: Node, graph: Graph, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    out: np.ndarray = x @ w.T
    return out if b is None else out + b


@one_thread()
def _matmul(node: Node, graph: Graph, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.asarray((a @ b) * np.float32(str(node.attributes.get("alpha", 1.0))))


# ---- windows -----------------------------------------------------------------------------------------------


def _max_pool(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    return reduce(np.maximum, _taps(node, x, -math.inf))


def _average_pool(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    total = reduce(np.add, _taps(node, x, 0.0))
    if node.attributes["count_include_pad"]:
        return total / np.float32(math.prod(_ints(node, "kernel_shape")))
    return total / reduce(np.add, _taps(node, np.ones_like(x[:1, :1]), 0.0))


def _global_average_pool(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    return x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)


def _taps(node: Node, x: np.ndarray, fill: float) -> Iterator[np.ndarray]:
    """What each element of the kernel sees of `x[n, c, ...]` padded with `fill`: `[n, c, *positions]`."""
    kernel, strides = _ints(node, "kernel_shape"), _ints(node, "strides")
    dilations, pads = _ints(node, "dilations"), _ints(node, "pads")
    around = list(zip(pads[: len(kernel)], pads[len(kernel) :], strict=True))
    if any(pads):
        x = np.pad(x, [(0, 0), (0, 0), *around], constant_values=np.float32(fill))
    reach = [size - d * (k - 1) for size, d, k in zip(x.shape[2:], dilations, kernel, strict=True)]
    for tap in itertools.product(*map(range, kernel)):
        first = [t * d for t, d in zip(tap, dilations, strict=True)]
        yield x[
            (
                slice(None),
                slice(None),
                *(slice(f, f + r, s) for f, r, s in zip(first, reach, strides, strict=True)),
            )
        ]


def _ints(node: Node, name: str) -> Shape:
    value = node.attributes[name]
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


# ---- the rest ----------------------------------------------------------------------------------------------


def _clip(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    low, high = node.attributes["min"], node.attributes["max"]
    return np.clip(x, np.float32(str(low)), np.float32(str(high)))


def _concat(node: Node, graph: Graph, *inputs: np.ndarray) -> np.ndarray:
    return np.concatenate(inputs, axis=int(str(node.attributes["axis"])))


def _reshape(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), *graph.shapes[node.outputs[0]])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return np.float32(1) / (np.float32(1) + np.exp(-x))


def _softmax(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    axis, beta = int(str(node.attributes["axis"])), np.float32(str(node.attributes.get("beta", 1.0)))
    terms = np.exp((x - x.max(axis, keepdims=True)) * beta)
    return np.asarray(terms / terms.sum(axis, keepdims=True))


def _alpha(node: Node) -> np.float32:
    return np.float32(str(node.attributes["alpha"]))


def _pad(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    pads, value = _ints(node, "pads"), node.attributes["value"]
    assert isinstance(value, float)
    around = zip(pads[: len(pads) // 2], pads[len(pads) // 2 :], strict=True)
    return np.pad(x, [(0, 0), *around], constant_values=np.float32(value))


@one_thread()
def _conv_transpose(node: Node, graph: Graph, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """Every tap adds its product to where it lands; what lies in the pads is cut off."""
    shape, group, rank = graph.shapes[node.outputs[0]], int(str(node.attributes["group"])), x.ndim - 2
    strides, dilations, pads = (_ints(node, name) for name in ("strides", "dilations", "pads"))
    sizes = zip(shape[1:], pads[:rank], pads[rank:], strict=True)
    whole = np.zeros((len(x), shape[0], *(size + begin + end for size, begin, end in sizes)), np.float32)
    rows = x.reshape(len(x), group, -1, math.prod(x.shape[2:]))
    kernels = w.reshape(group, -1, *w.shape[1:])
    for tap in itertools.product(*map(range, w.shape[2:])):
        products = kernels[(slice(None),) * 3 + tap].swapaxes(1, 2) @ rows
        steps = zip(tap, dilations, strides, x.shape[2:], strict=True)
        where = (slice(t * d, t * d + (size - 1) * s + 1, s) for t, d, s, size in steps)
        whole[(slice(None), slice(None), *where)] += products.reshape(len(x), shape[0], *x.shape[2:])
    inside = (slice(begin, begin + size) for begin, size in zip(pads, shape[1:], strict=False))
    out = whole[(slice(None), slice(None), *inside)]
    return out if b is None else out + b.reshape(-1, *(1,) * rank)


def _slice(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    index = [slice(None)] * x.ndim
    parts = (_ints(node, name) for name in ("axes", "starts", "ends", "steps"))
    for axis, start, end, step in zip(*parts, strict=True):
        index[axis] = slice(start, None if step < 0 and end < -x.shape[axis] else end, step)
    return x[tuple(index)]


def _resize(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    """Each axis by itself: the nearest, or the two neighbours by their distances."""
    coordinate = str(node.attributes["coordinate"])
    for axis, m in enumerate(graph.shapes[node.outputs[0]][1:], start=2):
        n = x.shape[axis]
        if node.attributes["mode"] == "nearest":
            x = x.take(nearest(n, m, coordinate, str(node.attributes["nearest"]), Resize()), axis)
            continue
        lower, upper, fraction = between(n, m, coordinate, Resize(bits=15))
        f = (fraction / np.float32(1 << 15)).astype(np.float32).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = x.take(lower, axis) * (1 - f) + x.take(upper, axis) * f
    return x


def _gelu(node: Node, graph: Graph, x: np.ndarray) -> np.ndarray:
    if node.attributes["approximate"] == "tanh":
        return x * _sigmoid(np.float32(math.sqrt(8 / math.pi)) * (x + np.float32(0.044715) * x * x * x))
    erfc = np.asarray(np.frompyfunc(math.erfc, 1, 1)(x.astype(np.float64) * -math.sqrt(0.5)), np.float64)
    return np.asarray(x * erfc / 2, np.float32)


FORWARD: dict[str, Callable[..., np.ndarray]] = {
    "Add": lambda node, graph, a, b: a + b,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Elu": lambda node, graph, x: np.where(x >= 0, x, _alpha(node) * np.expm1(np.minimum(x, np.float32(0)))),
    "Flatten": _reshape,
    "Gelu": _gelu,
    "Gemm": _gemm,
    "GlobalAveragePool": _global_average_pool,
    "HardSigmoid": lambda node, graph, x: np.clip(x * _alpha(node) + np.float32(0.5), np.float32(0), np.float32(1)),
    "HardSwish": lambda node, graph, x: x * np.clip(x + np.float32(3), np.float32(0), np.float32(6)) / np.float32(6),
    "LeakyRelu": lambda node, graph, x: np.where(x >= 0, x, x * _alpha(node)),
    "MatMul": _matmul,
    "Max": lambda node, graph, a, b: np.maximum(a, b),
    "MaxPool": _max_pool,
    "Min": lambda node, graph, a, b: np.minimum(a, b),
    "Mish": lambda node, graph, x: x * np.tanh(np.logaddexp(x, np.float32(0))),
    "Mul": lambda node, graph, a, b: a * b,
    "PRelu": lambda node, graph, x, slope: np.where(x >= 0, x, x * slope),
    "Pad": _pad,
    "Relu": lambda node, graph, x: np.maximum(x, np.float32(0)),
    "Requantize": lambda node, graph, x: x,
    "Reshape": _reshape,
    "Resize": _resize,
    "Rsqrt": lambda node, graph, x: np.float32(1) / np.sqrt(np.maximum(x, np.float32(0)) + _alpha(node)),
    "Sigmoid": lambda node, graph, x: _sigmoid(x),
    "Slice": _slice,
    "Softmax": _softmax,
    "Softplus": lambda node, graph, x: np.logaddexp(x, np.float32(0)),
    "Sub": lambda node, graph, a, b: a - b,
    "Tanh": lambda node, graph, x: np.tanh(x),
    "Transpose": lambda node, graph, x: x.transpose(_ints(node, "perm")),
}
