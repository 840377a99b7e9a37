"""Networks whose integers tell which channels fill a vector of LiteRT's built-in kernels, and which do not."""

import numpy as np

from golden.layers import Layer, layer
from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.quantized import QuantizedGraph

SIGNED, UNSIGNED = "s8", "u8"


def lanes(seed: int = 13) -> list[Layer]:
    """Every kind of convolution beside the dense ones; numbers of channels with and without a rest of 8."""
    rng = np.random.default_rng(seed)
    found = []
    for kind in (SIGNED, UNSIGNED):
        for c, times, k, stride, dilation in (
            (7, 1, 3, 1, 1),
            (10, 1, 3, 2, 1),
            (16, 1, 5, 1, 1),
            (21, 1, 3, 1, 2),
            (5, 2, 3, 1, 1),
            (4, 4, 3, 2, 1),
            (3, 3, 2, 1, 1),
        ):
            found.append(_depthwise(rng, kind, (c, times), k, stride, dilation))
    for o, k, stride in ((6, 3, 2), (8, 2, 2), (13, 4, 2), (20, 3, 1)):
        found.append(_upwards(rng, o, k, stride))
    return found


def _affines(rng: np.random.Generator, kind: str) -> tuple[Affine, Affine]:
    """Of input and output: scales whose quotients are powers of two, so that every eighth sum or so is a tie."""
    zeros = rng.integers(-60, 60, 2) + (128 if kind == UNSIGNED else 0)
    return affine(2.0**-1, int(zeros[0]), kind), affine(2.0**3, int(zeros[1]), kind)


def _x(rng: np.random.Generator, shape: tuple[int, ...], kind: str) -> np.ndarray:
    type_ = affine(1.0, 0, kind).type
    return rng.integers(type_.low, type_.high + 1, shape).astype(type_.dtype)


def _depthwise(
    rng: np.random.Generator, kind: str, channels: tuple[int, int], k: int, stride: int, dilation: int
) -> Layer:
    (c, times), size = channels, (7, 9)
    o, (x, y), old = c * times, _affines(rng, kind), kind == UNSIGNED
    zero = 131 if old else 0
    weights = affine(2.0**-2, zero, kind) if old else affine(2.0 ** rng.integers(-3, 1, o), 0, "s8n", 0)
    out = tuple((n - dilation * (k - 1) - 1) // stride + 1 for n in size)
    return layer(
        f"depthwise {kind} {c} times {times}, {k}x{k} by {stride}, dilated {dilation}",
        "Conv", [_x(rng, (2, *size, c), kind)], [x], y,
        weight=(rng.integers(-7, 8, (o, 1, k, k)) + zero).astype(weights.type.dtype), weight_affine=weights,
        bias=rng.integers(-50, 50, o).astype(np.int32), shape=(o, *out),
        attributes={
            "kernel_shape": (k, k), "strides": (stride,) * 2, "dilations": (dilation,) * 2, "pads": (0, 0, 0, 0),
            "group": c,
        },
    )  # fmt: skip


def _upwards(rng: np.random.Generator, o: int, k: int, stride: int) -> Layer:
    c, size, (x, y) = 3, (5, 6), _affines(rng, SIGNED)
    return layer(
        f"upwards to {o}, {k}x{k} by {stride}", "ConvTranspose", [_x(rng, (2, *size, c), SIGNED)], [x], y,
        weight=rng.integers(-7, 8, (c, o, k, k)).astype(np.int8),
        weight_affine=affine(2.0 ** rng.integers(-3, 1, o), 0, "s8n", 1),
        bias=rng.integers(-50, 50, o).astype(np.int32), shape=(o, *((n - 1) * stride + k for n in size)),
        attributes={
            "kernel_shape": (k, k), "strides": (stride,) * 2, "dilations": (1, 1), "pads": (0,) * 4, "group": 1,
            "output_padding": (0, 0),
        },
    )  # fmt: skip


def older_average(arrays: dict[str, np.ndarray], k: int) -> QuantizedGraph:
    """uint8 throughout: a convolution with the weights `arrays["w"]` [o, c, 1, 1], then averages of k by k windows."""
    o, c, *_ = arrays["w"].shape
    size, unit = arrays["x0"].shape[1:3], {"strides": (1, 1), "dilations": (1, 1)}
    x, y, w = affine(0.03125, 121, UNSIGNED), affine(0.5, 140, UNSIGNED), affine(0.0625, 131, UNSIGNED)
    convolution = {"group": 1, "kernel_shape": (1, 1), "pads": (0,) * 4, **unit}
    windows = {"kernel_shape": (k, k), "pads": (0,) * 4, "count_include_pad": 0, **unit}
    graph = Graph(
        name="older average",
        inputs=("x0",),
        outputs=("y",),
        nodes=(
            Node(name="sums", op="Conv", inputs=("x0", "w", "b"), outputs=("sums",), attributes=convolution),
            Node(name="y", op="AveragePool", inputs=("sums",), outputs=("y",), attributes=windows),
        ),
        constants={"w": arrays["w"], "b": arrays["b"]},
        shapes={"x0": (c, *size), "sums": (o, *size), "y": (o, *(n - k + 1 for n in size))},
    )
    b = affine(x.scale[0] * w.scale[0], 0, "s32")
    return QuantizedGraph(graph=graph, affines={"x0": x, "sums": y, "y": y, "w": w, "b": b})


def older_arrays(seed: int = 17) -> dict[str, np.ndarray]:
    """What `older_average` takes: 4 channels to 5."""
    rng = np.random.default_rng(seed)
    return {
        "x0": rng.integers(0, 256, (4, 7, 9, 4)).astype(np.uint8),
        "w": rng.integers(0, 256, (5, 4, 1, 1)).astype(np.uint8),
        "b": rng.integers(-200, 200, 5).astype(np.int32),
    }
