"""The float network in torch, built from the Graph itself, so that gradients can be taken."""

from collections.abc import Callable
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
    if pixels.mean == (0.0,) and pixels.std == (1.0,):
        return x
    along = (-1,) + (1,) * (x.ndim - 2)
    mean, std = (torch.tensor(v, dtype=x.dtype).reshape(along) for v in (pixels.mean, pixels.std))
    return (x - mean) / std


# ---- the ops: torch, the node's attributes with its output's "shape", the inputs ----------------------


def _padded(torch: Any, x: Tensor, pads: Any, value: float = 0.0) -> Tensor:
    """`x` with ONNX's pads (all begins, then all ends) around as many of its last axes."""
    pads = [int(p) for p in pads]
    if not any(pads):
        return x
    rank = len(pads) // 2
    around = [pads[side + axis] for axis in reversed(range(rank)) for side in (0, rank)]
    return torch.nn.functional.pad(x, around, value=value)


def _window(a: Attributes, kernel: Any) -> tuple[str, list[int], list[int], list[int]]:
    """(rank as in "2d", strides, dilations, pads) of a sliding window, with ONNX's defaults."""
    rank = len(kernel)
    strides, dilations = (list(a.get(name, (1,) * rank)) for name in ("strides", "dilations"))
    return f"{rank}d", strides, dilations, list(a.get("pads", (0,) * 2 * rank))


def _conv(torch: Any, a: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    rank, strides, dilations, pads = _window(a, w.shape[2:])
    begin, end = pads[: len(strides)], pads[len(strides) :]
    if begin != end:
        x, begin = _padded(torch, x, pads), [0] * len(begin)
    return getattr(torch.nn.functional, f"conv{rank}")(x, w, b, strides, begin, dilations, a.get("group", 1))


def _max_pool(torch: Any, a: Attributes, x: Tensor) -> Tensor:
    kernel = list(a["kernel_shape"])
    rank, strides, dilations, pads = _window(a, kernel)
    x = _padded(torch, x, pads, -float("inf"))
    pool = getattr(torch.nn.functional, f"max_pool{rank}")
    return pool(x, kernel, strides, 0, dilations, bool(a.get("ceil_mode", 0)))


def _average_pool(torch: Any, a: Attributes, x: Tensor) -> Tensor:
    kernel = list(a["kernel_shape"])
    rank, strides, dilations, pads = _window(a, kernel)
    if set(dilations) != {1} or a.get("ceil_mode", 0):
        raise IntsimError("the torch twin has no AveragePool with dilations or ceil_mode")
    pool = getattr(torch.nn.functional, f"avg_pool{rank}")
    mean = pool(_padded(torch, x, pads), kernel, strides)
    if a.get("count_include_pad", 0) or not any(pads):
        return mean
    return mean / pool(_padded(torch, torch.ones_like(x[:1, :1]), pads), kernel, strides)


def _gemm(torch: Any, a: Attributes, x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
    x = x.T if a.get("transA", 0) else x
    w = w if a.get("transB", 0) else w.T
    alpha, beta = a.get("alpha", 1.0), a.get("beta", 1.0)
    return torch.nn.functional.linear(x, alpha * w, None if b is None else beta * b)


def _clip(torch: Any, a: Attributes, x: Tensor, low: Any = None, high: Any = None) -> Tensor:
    return x.clamp(a.get("min") if low is None else low, a.get("max") if high is None else high)


def _pad(torch: Any, a: Attributes, x: Tensor, pads: Any = None, value: Any = None) -> Tensor:
    if a.get("mode", "constant") != "constant":
        raise IntsimError(f"the torch twin has no Pad of mode {a['mode']}")
    value = a.get("value", 0.0) if value is None else value
    return _padded(torch, x, a["pads"] if pads is None else pads, float(value))


OPS: dict[str, Callable[..., Tensor]] = {
    "Add": lambda torch, a, x, y: x + y,
    "AveragePool": _average_pool,
    "Clip": _clip,
    "Concat": lambda torch, a, *xs: torch.cat(xs, a["axis"]),
    "Conv": _conv,
    "Flatten": lambda torch, a, x: x.reshape(len(x), *a["shape"]),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda torch, a, x: x.mean(tuple(range(2, x.ndim)), keepdim=True),
    "MaxPool": _max_pool,
    "Pad": _pad,
    "Relu": lambda torch, a, x: x.relu(),
    "Reshape": lambda torch, a, x, *shape: x.reshape(len(x), *a["shape"]),
}
"""One line an op: torch, attributes, inputs -> output."""
