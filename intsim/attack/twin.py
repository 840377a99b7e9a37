"""The float network in torch, built from the Graph itself, so that gradients can be taken."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from intsim.arithmetic import between, nearest
from intsim.attack import door
from intsim.errors import IntsimError, unknown
from intsim.graph import Graph, Pixels
from intsim.target import Resize

Tensor = Any  # torch.Tensor, without importing torch
Attributes = dict[str, Any]
Network = Callable[[Tensor], Tensor]
"""Images [n, c, h, w] with pixels in 0..1 to logits [n, classes], differentiable."""


def twin(graph: Graph, dtype: str = "float32", output: str = "") -> Network:
    """The network of a normalised `graph`, from pixels in 0..1 (pixel / 255) [n, c, h, w] to logits [n, classes].

    It applies the graph's own `Pixels` first. Everything is computed in `dtype`, "float32" or "float64".
    `output`: which of the graph's outputs, the first where it is "".

    Raises IntsimError for an op without a line in `OPS`, and for a graph with several inputs.
    """
    forward = _forward(graph, dtype)
    wanted = output or graph.outputs[0]
    if wanted not in graph.outputs:
        raise unknown("output", wanted, graph.outputs)
    return lambda x: forward(x)[wanted]


def traced(graph: Graph, nodes: Sequence[str]) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
    """The network of `twin` in float32 that also gives what the nodes called `nodes` compute, [n, ...] by name."""
    forward = _forward(graph, "float32")
    outputs = {node.name: node.outputs[0] for node in graph.nodes if node.name in nodes}

    def network(x: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        values = forward(x)
        return values[graph.outputs[0]], {name: values[tensor] for name, tensor in outputs.items()}

    return network


def _forward(graph: Graph, dtype: str) -> Callable[[Tensor], dict[str, Tensor]]:
    """Every tensor of the network by name, of the pixels."""
    torch = door.torch()
    if len(graph.inputs) != 1:
        raise IntsimError(f"has {len(graph.inputs)} inputs; an attack needs exactly one", where=graph.name)
    for node in graph.nodes:
        if node.op not in OPS:
            raise IntsimError(f"the torch twin has no {node.op}", where=node.name)
    kind = getattr(torch, dtype)
    constants = {name: _constant(torch, array, kind) for name, array in graph.constants.items()}
    pixels = graph.pixels.get(graph.inputs[0], Pixels())

    def forward(x: Tensor) -> dict[str, Tensor]:
        values = {**constants, graph.inputs[0]: _enter(torch, x.to(kind), pixels)}
        for node in graph.nodes:
            given = [values[name] if name else None for name in node.inputs]
            site = {**node.attributes, "shape": graph.shapes[node.outputs[0]]}
            values[node.outputs[0]] = OPS[node.op](torch, site, *given)
        return values

    return forward


def _constant(torch: Any, array: np.ndarray, kind: Any) -> Tensor:
    tensor = torch.from_numpy(np.array(array))
    return tensor.to(kind) if tensor.is_floating_point() else tensor


def _enter(torch: Any, x: Tensor, pixels: Pixels) -> Tensor:
    x = x if pixels.divisor == 255.0 else x * (255.0 / pixels.divisor)
    along = (-1,) + (1,) * (x.ndim - 2)
    for means, stds in ((pixels.mean, pixels.std), (pixels.own_mean, pixels.own_std)):
        if means != (0.0,) or stds != (1.0,):
            mean, std = (torch.tensor(v, dtype=x.dtype).reshape(along) for v in (means, stds))
            x = (x - mean) / std
    return x


# ---- the ops as intsim.normalise spells them: torch, the attributes with the output's "shape", the inputs ------------


def _padded(torch: Any, x: Tensor, pads: Sequence[int], value: float = 0.0) -> Tensor:
    """`x` with pads (all begins, then all ends; negative ones crop) around as many of its last axes."""
    if not any(pads):
        return x
    rank = len(pads) // 2
    around = [pads[side + axis] for axis in reversed(range(rank)) for side in (0, rank)]
    return torch.nn.functional.pad(x, around, value=value)


def _conv(torch: Any, a: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    pads, rank = a["pads"], len(a["strides"])
    around = list(pads[:rank])
    if pads[:rank] != pads[rank:]:
        x, around = _padded(torch, x, pads), [0] * rank
    conv = getattr(torch.nn.functional, f"conv{rank}d")
    return conv(x, w, b, a["strides"], around, a["dilations"], a["group"])


def _conv_transpose(torch: Any, a: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    """The whole transposed convolution, cropped by the pads; what output_padding adds is bias alone."""
    rank = len(a["strides"])
    conv = getattr(torch.nn.functional, f"conv_transpose{rank}d")
    whole = conv(x, w, None, a["strides"], 0, 0, a["group"], a["dilations"])
    begin, end = a["pads"][:rank], a["pads"][rank:]
    crop = [*(-p for p in begin), *(more - p for more, p in zip(a["output_padding"], end, strict=True))]
    y = _padded(torch, whole, crop)
    return y if b is None else y + b.reshape(-1, *(1,) * rank)


def _max_pool(torch: Any, a: Attributes, x: Tensor) -> Tensor:
    pool = getattr(torch.nn.functional, f"max_pool{len(a['strides'])}d")
    x = _padded(torch, x, a["pads"], -float("inf"))
    return pool(x, a["kernel_shape"], a["strides"], 0, a["dilations"])


def _average_pool(torch: Any, a: Attributes, x: Tensor) -> Tensor:
    """Sums over the windows (a convolution with ones, so that dilations work too), by how many cells count."""
    rank = len(a["strides"])
    conv = getattr(torch.nn.functional, f"conv{rank}d")
    ones = x.new_ones(1, 1, *a["kernel_shape"])
    maps = _padded(torch, x.reshape(-1, 1, *x.shape[2:]), a["pads"])
    cells = torch.ones_like(x[:1, :1])
    cells = torch.ones_like(maps[:1]) if a["count_include_pad"] else _padded(torch, cells, a["pads"])
    sums, counts = (conv(m, ones, None, a["strides"], 0, a["dilations"]) for m in (maps, cells))
    return (sums / counts).reshape(len(x), *a["shape"])


def _prelu(torch: Any, a: Attributes, x: Tensor, slope: Tensor) -> Tensor:
    """The slope broadcasts as in ONNX: from the right."""
    return torch.where(x >= 0, x, x * slope)


def _slice(torch: Any, a: Attributes, x: Tensor) -> Tensor:
    """By indices, since torch's own slices have no negative steps."""
    for axis, start, end, step in zip(a["axes"], a["starts"], a["ends"], a["steps"], strict=True):
        size = x.shape[axis]
        index = range(size)[start : None if step < 0 and end < -size else end : step]
        x = x.index_select(axis, torch.tensor(index, dtype=torch.int64))
    return x


def _resize(torch: Any, a: Attributes, x: Tensor) -> Tensor:
    """Each axis by itself: the nearest, or the two neighbours by their distances."""
    for axis, m in enumerate(a["shape"][1:], start=2):
        n = x.shape[axis]
        if a["mode"] == "nearest":
            index = nearest(n, m, a["coordinate"], a["nearest"], Resize())
            x = x.index_select(axis, torch.from_numpy(index))
            continue
        lower, upper, fraction = (torch.from_numpy(v) for v in between(n, m, a["coordinate"], Resize(bits=15)))
        f = (fraction.to(x.dtype) / (1 << 15)).reshape(-1, *(1,) * (x.ndim - axis - 1))
        x = x.index_select(axis, lower) * (1 - f) + x.index_select(axis, upper) * f
    return x


OPS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda torch, a, x, y: x + y,
    "AveragePool": _average_pool,
    "Clip": lambda torch, a, x: x.clamp(a["min"], a["max"]),
    "Concat": lambda torch, a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Elu": lambda torch, a, x: torch.nn.functional.elu(x, a["alpha"]),
    "Flatten": lambda torch, a, x: x.reshape(len(x), *a["shape"]),
    "Gelu": lambda torch, a, x: torch.nn.functional.gelu(x, approximate=a["approximate"]),
    "Gemm": lambda torch, a, x, w, b=None: torch.nn.functional.linear(x, w, b),
    "GlobalAveragePool": lambda torch, a, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "HardSigmoid": lambda torch, a, x: (x * a["alpha"] + 0.5).clamp(0, 1),
    "HardSwish": lambda torch, a, x: torch.nn.functional.hardswish(x),
    "LeakyRelu": lambda torch, a, x: torch.nn.functional.leaky_relu(x, a["alpha"]),
    "MatMul": lambda torch, a, x, y: (x @ y) * a.get("alpha", 1.0),
    "Max": lambda torch, a, x, y: torch.maximum(x, y),
    "MaxPool": _max_pool,
    "Min": lambda torch, a, x, y: torch.minimum(x, y),
    "Mish": lambda torch, a, x: torch.nn.functional.mish(x),
    "Mul": lambda torch, a, x, y: x * y,
    "PRelu": _prelu,
    "Pad": lambda torch, a, x: _padded(torch, x, a["pads"], a["value"]),
    "Relu": lambda torch, a, x: x.relu(),
    "Requantize": lambda torch, a, x: x,
    "Reshape": lambda torch, a, x: x.reshape(len(x), *a["shape"]),
    "Resize": _resize,
    "Rsqrt": lambda torch, a, x: (x.clamp(min=0) + a["alpha"]).rsqrt(),
    "Sigmoid": lambda torch, a, x: x.sigmoid(),
    "Slice": _slice,
    "Softmax": lambda torch, a, x: (x * a.get("beta", 1.0)).softmax(a["axis"]),
    "Softplus": lambda torch, a, x: torch.nn.functional.softplus(x),
    "Sub": lambda torch, a, x, y: x - y,
    "Tanh": lambda torch, a, x: x.tanh(),
    "Transpose": lambda torch, a, x: x.permute(a["perm"]),
}
"""One line an op: torch, attributes, inputs -> output."""
