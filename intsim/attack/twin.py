"""The float network in torch, built from the Graph itself, so that gradients can be taken."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from intsim.attack import door
from intsim.errors import IntsimError, unknown
from intsim.graph import Graph, Pixels

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
    torch = door.torch()
    if len(graph.inputs) != 1:
        raise IntsimError(f"has {len(graph.inputs)} inputs; an attack needs exactly one", where=graph.name)
    for node in graph.nodes:
        if node.op not in OPS:
            raise IntsimError(f"the torch twin has no {node.op}", where=node.name)
    wanted = output or graph.outputs[0]
    if wanted not in graph.outputs:
        raise unknown("output", wanted, graph.outputs)
    kind = getattr(torch, dtype)
    constants = {name: _constant(torch, array, kind) for name, array in graph.constants.items()}
    pixels = graph.pixels.get(graph.inputs[0], Pixels())

    def network(x: Tensor) -> Tensor:
        values = {**constants, graph.inputs[0]: _enter(torch, x.to(kind), pixels)}
        for node in graph.nodes:
            given = [values[name] if name else None for name in node.inputs]
            site = {**node.attributes, "shape": graph.shapes[node.outputs[0]]}
            values[node.outputs[0]] = OPS[node.op](torch, site, *given)
        return values[wanted]

    return network


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


OPS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda torch, a, x, y: x + y,
    "AveragePool": _average_pool,
    "Clip": lambda torch, a, x: x.clamp(a["min"], a["max"]),
    "Concat": lambda torch, a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Flatten": lambda torch, a, x: x.reshape(len(x), *a["shape"]),
    "Gemm": lambda torch, a, x, w, b=None: torch.nn.functional.linear(x, w, b),
    "GlobalAveragePool": lambda torch, a, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "MaxPool": _max_pool,
    "Pad": lambda torch, a, x: _padded(torch, x, a["pads"], a["value"]),
    "Relu": lambda torch, a, x: x.relu(),
    "Reshape": lambda torch, a, x: x.reshape(len(x), *a["shape"]),
}
"""One line an op: torch, attributes, inputs -> output."""
