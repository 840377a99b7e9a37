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
    """An activation of the type that the scheme prefers, of 8 bits, or of 16 with a finer scale, and its zero point."""
    type_ = scheme.activations[0]
    step = scheme.activation_scale or two(scale * 2.0 ** (8 - type_.bits), scheme)
    return affine(step, zero + (0 if type_.signed else 128) if scheme.zero_points else 0, type_)


def weights(rng: np.random.Generator, shape: tuple[int, ...], scheme: Scheme) -> np.ndarray:
    """Random weights over the range that the scheme prefers (-128 left out)."""
    type_ = scheme.weights[0]
    low = max(type_.low, -type_.high) if type_.signed else 0
    return rng.integers(low, type_.high + 1, shape).astype(type_.dtype)


def weight_affine(scale: list[float], zero: int, scheme: Scheme) -> Affine:
    """The affine of those weights, for one scale or several."""
    type_ = scheme.weights[0]
    type_ = IntType(type_.bits, type_.signed, narrow_range=type_.signed)
    steps = [scheme.weight_scale or two(s * 2.0 ** (8 - type_.bits), scheme) for s in scale]
    return affine(steps, 0 if type_.signed else zero + 128, type_, 0 if len(scale) > 1 else None)


def biases(rng: np.random.Generator, n: int, scheme: Scheme) -> np.ndarray:
    """Random biases that the scheme takes."""
    shift = 6 if scheme.bias_shift == "any" else scheme.bias_shift
    reach = min(scheme.bias.high // 2, 3000)
    return (rng.integers(-reach, reach, n) << shift).astype(np.int64 if shift + scheme.bias.bits > 32 else np.int32)


def every_op(scheme: Scheme, seed: int = 0) -> QuantizedGraph:
    """Every op that all machines take.

    conv, depthwise conv, relu, max pool, average pool, add, concat, clip, pad, transpose, slice, both ways to resize,
    conv transpose, requantize, global average, flatten, gemm.
    """
    rng = np.random.default_rng(seed)
    conv = {"strides": (1, 1), "dilations": (1, 1), "kernel_shape": (3, 3), "pads": (1, 0, 1, 2)}
    pool = {"strides": (2, 2), "dilations": (1, 1), "kernel_shape": (2, 2), "pads": (0, 0, 0, 0)}
    upwards = {
        "strides": (2, 1), "dilations": (1, 1), "kernel_shape": (2, 3), "pads": (0, 3, 1, 0), "group": 2,
        "output_padding": (1, 0),
    }  # fmt: skip

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
            node("Transpose", "transpose", ("pad_y",), perm=(0, 1, 3, 2)),
            node("Slice", "slice", ("transpose_y",), axes=(2, 3), starts=(3, 0), ends=(-5, 4), steps=(-2, 3)),
            node("Resize", "nearest", ("slice_y",), mode="nearest", coordinate="half_pixel", nearest="floor"),
            node("Resize", "linear", ("nearest_y",), mode="linear", coordinate="asymmetric", nearest="floor"),
            node("ConvTranspose", "upwards", ("linear_y", "upwards_w"), **upwards),
            node("Requantize", "requantize", ("upwards_y",)),
            node("GlobalAveragePool", "global", ("requantize_y",)),
            node("Flatten", "flatten", ("global_y",)),
            node("Gemm", "gemm", ("flatten_y", "gemm_w", "gemm_b")),
        ),
        constants={
            "conv_w": weights(rng, (4, 2, 3, 3), scheme),
            "conv_b": biases(rng, 4, scheme),
            "depthwise_w": weights(rng, (4, 1, 3, 3), scheme),
            "gemm_w": weights(rng, (5, 8), scheme),
            "gemm_b": biases(rng, 5, scheme),
            "upwards_w": weights(rng, (8, 4, 2, 3), scheme),
        },
        shapes={
            "x": (2, 6, 6), "conv_y": (4, 6, 6), "relu_y": (4, 6, 6), "depthwise_y": (4, 6, 6), "max_y": (4, 3, 3),
            "average_y": (4, 3, 3), "add_y": (4, 3, 3), "concat_y": (8, 3, 3), "clip_y": (8, 3, 3),
            "pad_y": (8, 4, 4), "transpose_y": (8, 4, 4), "slice_y": (8, 2, 2), "nearest_y": (8, 3, 3),
            "linear_y": (8, 2, 4), "upwards_y": (8, 4, 3), "requantize_y": (8, 4, 3), "global_y": (8, 1, 1),
            "flatten_y": (8,), "gemm_y": (5,),
        },
    )  # fmt: skip
    x, a, b = activation(1 / 255, -128, scheme), activation(0.02, -100, scheme), activation(0.03, 7, scheme)
    c, g = activation(0.025, -90, scheme), activation(0.011, -120, scheme)
    weight = weight_affine([0.004], 3, scheme)
    per_channel = weight_affine([0.002, 0.004, 0.007, 0.005], 3, scheme)
    affines = {
        "x": x, "conv_y": a, "relu_y": a, "max_y": a, "depthwise_y": b, "average_y": b, "add_y": c, "concat_y": a,
        "clip_y": a, "pad_y": a, "transpose_y": a, "slice_y": a, "nearest_y": a, "linear_y": a,
        "upwards_y": b, "requantize_y": c, "global_y": g, "flatten_y": g, "gemm_y": b,
        "conv_w": per_channel if scheme.per_channel else weight, "depthwise_w": weight, "gemm_w": weight,
        "upwards_w": weight,
        "conv_b": affine(1.0, 0, "s48"), "gemm_b": affine(1.0, 0, "s48"),
    }  # fmt: skip
    return QuantizedGraph(graph=graph, affines=affines)


def images(n: int, shape: tuple[int, ...] = (2, 6, 6), seed: int = 1) -> np.ndarray:
    """Random uint8 images `[n, *shape]`, black and white corners included."""
    x = np.random.default_rng(seed).integers(0, 256, (n, *shape)).astype(np.uint8)
    x[0] = 255
    return x
