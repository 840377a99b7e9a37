"""Small quantized networks for tests: every op, on any machine's scheme, integers drawn at random."""

import numpy as np

from intsim.graph import Graph, Node
from intsim.integers import Affine, IntType, affine
from intsim.quantized import QuantizedGraph
from intsim.target import Scheme


def two(s: float, scheme: Scheme) -> float:
    """The scale, or the power of two next to it where the scheme wants one."""
    return 2.0 ** round(np.log2(s)) if scheme.power_of_two else s


def activation(scale: float, zero: int, scheme: Scheme) -> Affine:
    """An 8-bit activation: with the zero point where the scheme takes one; the type that the scheme prefers."""
    type_ = IntType(8, scheme.activations[0].signed)
    return affine(two(scale, scheme), zero + (0 if type_.signed else 128) if scheme.zero_points else 0, type_)


def every_op(scheme: Scheme, seed: int = 0) -> QuantizedGraph:
    """conv, depthwise conv, relu, max pool, average pool, add, concat, clip, pad, global average, flatten, gemm."""
    rng = np.random.default_rng(seed)
    conv = {"strides": (1, 1), "dilations": (1, 1), "kernel_shape": (3, 3), "pads": (1, 0, 1, 2)}
    pool = {"strides": (2, 2), "dilations": (1, 1), "kernel_shape": (2, 2), "pads": (0, 0, 0, 0)}

    def node(op: str, name: str, inputs: tuple[str, ...], **attributes: object) -> Node:
        return Node(name=name, op=op, inputs=inputs, outputs=(f"{name}_y",), attributes=attributes)

    graph = Graph(
        name="every_op",
        inputs=("x",),
        outputs=("gemm_y",),
        nodes=(
            node("Conv", "conv", ("x", "conv_w", "conv_b"), **conv, group=1),
            node("Relu", "relu", ("conv_y",)),
            node("Conv", "depthwise", ("relu_y", "depthwise_w"), **conv, group=4),
            node("MaxPool", "max", ("relu_y",), **pool),
            node("AveragePool", "average", ("depthwise_y",), **pool, count_include_pad=0),
            node("Add", "add", ("max_y", "average_y")),
            node("Concat", "concat", ("add_y", "max_y"), axis=1),
            node("Clip", "clip", ("concat_y",), min=-np.inf, max=1.5),
            node("Pad", "pad", ("clip_y",), pads=(0, 0, 1, 0, 1, 0), value=0.0),
            node("GlobalAveragePool", "global", ("pad_y",)),
            node("Flatten", "flatten", ("global_y",)),
            node("Gemm", "gemm", ("flatten_y", "gemm_w", "gemm_b")),
        ),
        constants={
            "conv_w": rng.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
            "conv_b": rng.integers(-3000, 3000, 4).astype(np.int32),
            "depthwise_w": rng.integers(-127, 128, (4, 1, 3, 3)).astype(np.int8),
            "gemm_w": rng.integers(-127, 128, (5, 8)).astype(np.int8),
            "gemm_b": rng.integers(-3000, 3000, 5).astype(np.int32),
        },
        shapes={
            "x": (2, 6, 6), "conv_y": (4, 6, 6), "relu_y": (4, 6, 6), "depthwise_y": (4, 6, 6), "max_y": (4, 3, 3),
            "average_y": (4, 3, 3), "add_y": (4, 3, 3), "concat_y": (8, 3, 3), "clip_y": (8, 3, 3),
            "pad_y": (8, 4, 4), "global_y": (8, 1, 1), "flatten_y": (8,), "gemm_y": (5,),
        },
    )  # fmt: skip
    x, a, b = activation(1 / 255, -128, scheme), activation(0.02, -100, scheme), activation(0.03, 7, scheme)
    c, g = activation(0.025, -90, scheme), activation(0.011, -120, scheme)
    weight = affine(two(0.004, scheme), 0, "s8n")
    per_channel = affine([two(s, scheme) for s in (0.002, 0.004, 0.007, 0.005)], 0, "s8n", 0)
    affines = {
        "x": x, "conv_y": a, "relu_y": a, "max_y": a, "depthwise_y": b, "average_y": b, "add_y": c, "concat_y": a,
        "clip_y": a, "pad_y": a, "global_y": g, "flatten_y": g, "gemm_y": b,
        "conv_w": per_channel if scheme.per_channel else weight, "depthwise_w": weight, "gemm_w": weight,
        "conv_b": affine(1.0, 0, "s16"), "gemm_b": affine(1.0, 0, "s16"),
    }  # fmt: skip
    return QuantizedGraph(graph=graph, affines=affines)


def images(n: int, shape: tuple[int, ...] = (2, 6, 6), seed: int = 1) -> np.ndarray:
    """Random uint8 images `[n, *shape]`, black and white corners included."""
    x = np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8)
    x[0] = 255
    return x
