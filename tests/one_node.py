"""Quantized networks of one node, or of the few that belong together: every operator that a .tflite can say."""

from collections.abc import Callable
from functools import partial

import numpy as np

from intsim.graph import Attribute, Graph, Node, Shape
from intsim.integers import Affine, IntType, affine
from intsim.quantized import QuantizedGraph

Acts = tuple[Shape, Affine]


def network(
    op: str,
    inputs: list[Acts],
    output: Acts,
    constants: dict[str, tuple[np.ndarray, Affine]] | None = None,
    order: tuple[str, ...] | None = None,
    then: tuple[tuple[str, dict[str, Attribute]], ...] = (),
    **attributes: Attribute,
) -> QuantizedGraph:
    """One node `y` with inputs x0, x1, ..., then constants; `then`: nodes after it that keep its shape and affine."""
    given = constants or {}
    names = tuple(f"x{i}" for i in range(len(inputs)))
    results = [*(f"y{i}" for i in range(len(then))), "y"]
    first = order or (*names, *given)
    nodes = [Node(name=results[0], op=op, inputs=first, outputs=(results[0],), attributes=attributes)]
    for before, after, (further, about) in zip(results, results[1:], then, strict=False):
        nodes.append(Node(name=after, op=further, inputs=(before,), outputs=(after,), attributes=about))
    graph = Graph(
        name=op,
        inputs=names,
        outputs=("y",),
        nodes=tuple(nodes),
        constants={name: values for name, (values, _) in given.items()},
        shapes={n: s for n, (s, _) in zip(names, inputs, strict=True)} | {r: output[0] for r in results},
    )
    affines = {n: a for n, (_, a) in zip(names, inputs, strict=True)} | {r: output[1] for r in results}
    return QuantizedGraph(graph=graph, affines=affines | {name: a for name, (_, a) in given.items()})


def _affines(bits: int, old: bool) -> tuple[Affine, Affine]:
    """Two affines of activations, the first with a finer scale."""
    type_ = IntType(bits, not old)
    shift = 128 if old else 0
    zeros = (0, 0) if bits == 16 else (-7 + shift, 11 + shift)
    wide = 256 if bits == 16 else 1
    return affine(0.0213 / wide, zeros[0], type_), affine(0.0391 / wide, zeros[1], type_)


def _weights(
    rng: np.random.Generator, shape: Shape, axis: int, x: Affine, *, per_channel: bool = True, old: bool = False
) -> dict[str, tuple[np.ndarray, Affine]]:
    outputs = shape[axis]
    if old:
        w = rng.integers(0, 256, shape).astype(np.uint8)
        a = affine(0.01, 131, "u8")
    else:
        w = rng.integers(-127, 128, shape).astype(np.int8)
        a = affine(rng.uniform(0.004, 0.02, outputs), 0, "s8n", axis) if per_channel else affine(0.01, 0, "s8n")
    b = rng.integers(-3000, 3000, outputs).astype(np.int64 if x.type.bits == 16 else np.int32)
    products = np.float32(x.scale[0]) * np.asarray(a.scale, np.float32)
    kind = "s64" if x.type.bits == 16 else "s32"
    return {"w": (w, a), "b": (b, affine(products, 0, kind, None if len(products) == 1 else 0))}


def _window(kernel: Shape, strides: Shape = (1, 1), pads: Shape = (0, 0, 0, 0), dilations: Shape = (1, 1)) -> dict:
    return {"kernel_shape": kernel, "strides": strides, "pads": pads, "dilations": dilations}


def _sums(bits: int, old: bool) -> dict[str, QuantizedGraph]:
    rng = np.random.default_rng(bits)
    x, y = _affines(bits, old)
    y = affine(y.scale[0] * 16, y.zero, y.type)
    w = partial(_weights, rng, x=x, old=old)
    relu, relu6 = (("Relu", {}),), (("Clip", {"min": 0.0, "max": 6.0}),)
    odd = (("Clip", {"min": float(y.scale[0]) * 3, "max": float(y.scale[0]) * 40}),)
    image = ((5, 9, 8), x)
    return {
        "conv": network("Conv", [image], ((6, 7, 6), y), w((6, 5, 3, 3), 0), group=1, **_window((3, 3))),
        "conv_same": network(
            "Conv", [image], ((6, 5, 4), y), w((6, 5, 3, 3), 0), group=1, then=relu,
            **_window((3, 3), (2, 2), (1, 0, 1, 1)),
        ),
        "conv_pad": network(
            "Conv", [image], ((6, 5, 4), y), w((6, 5, 3, 3), 0, per_channel=False), group=1, then=relu6,
            **_window((3, 3), (2, 2), (1, 1, 1, 1)),
        ),
        "conv_dilated": network(
            "Conv", [image], ((6, 9, 8), y), w((6, 5, 3, 3), 0), group=1, then=odd,
            **_window((3, 3), (1, 1), (2, 2, 2, 2), (2, 2)),
        ),
        "depthwise": network(
            "Conv", [image], ((10, 9, 8), y), w((10, 1, 3, 3), 0), group=5, **_window((3, 3), (1, 1), (1, 1, 1, 1))
        ),
        "gemm": network("Gemm", [((40,), x)], ((7,), y), w((7, 40), 0), then=relu),
        "gemm_per_tensor": network("Gemm", [((40,), x)], ((7,), y), w((7, 40), 0, per_channel=False)),
    } | (
        {}
        if old
        else {
            "grouped": network(
                "Conv", [((4, 9, 8), x)], ((6, 7, 6), y), w((6, 2, 3, 3), 0), group=2, **_window((3, 3))
            ),
            "transposed": network(
                "ConvTranspose", [image], ((6, 19, 17), y), w((5, 6, 3, 3), 1), group=1, output_padding=(0, 0),
                **_window((3, 3), (2, 2)),
            ),
            "transposed_same": network(
                "ConvTranspose", [image], ((6, 18, 16), y), w((5, 6, 3, 3), 1), group=1, output_padding=(0, 0),
                **_window((3, 3), (2, 2), (0, 0, 1, 1)),
            ),
            "transposed_torch": network(
                "ConvTranspose", [image], ((6, 18, 16), y), w((5, 6, 3, 3), 1), group=1, output_padding=(1, 1),
                **_window((3, 3), (2, 2), (1, 1, 1, 1)),
            ),
        }
    )  # fmt: skip


def _pairs(bits: int, old: bool) -> dict[str, QuantizedGraph]:
    rng = np.random.default_rng(bits)
    x, y = _affines(bits, old)
    shape, low, high = (5, 6, 4), x.type.low, x.type.high + 1
    constant = {"k": (rng.integers(low, high, (5, 1, 1)).astype(x.type.dtype), y)}
    shared = {"k": (rng.integers(low, high, (5, 1, 1)).astype(x.type.dtype), x)}
    found = {}
    for op in ("Add", "Sub", "Mul"):
        found[op.lower()] = network(op, [(shape, x), (shape, y)], (shape, y))
        found[f"{op.lower()}_constant"] = network(op, [(shape, x)], (shape, y), constant)
        found[f"{op.lower()}_broadcast"] = network(op, [(shape, x), ((5, 1, 1), y)], (shape, y), then=(("Relu", {}),))
    for op in ("Max", "Min"):
        found[op.lower()] = network(op, [(shape, x), (shape, x)], (shape, x))
        found[f"{op.lower()}_constant"] = network(op, [(shape, x)], (shape, x), shared)
    found["sub_from_constant"] = network("Sub", [(shape, x)], (shape, y), constant, order=("k", "x0"))
    return found


def _elementwise(bits: int, old: bool) -> dict[str, QuantizedGraph]:
    x, y = _affines(bits, old)
    shape = (5, 6, 4)
    type_, shift = x.type, 128 if old else 0
    unit = affine(1 / 32768, 0, "s16") if bits == 16 else affine(1 / 256, -128 + shift, type_)
    tanh = affine(1 / 32768, 0, "s16") if bits == 16 else affine(1 / 128, shift, type_)
    slope = {"k": (np.arange(-2, 3, dtype=np.int8).reshape(5, 1, 1), affine(0.1, 0, "s8"))}
    found = {
        "relu": network("Relu", [(shape, x)], (shape, x)),
        "relu6": network("Clip", [(shape, x)], (shape, x), min=0.0, max=6.0 if bits == 8 else 0.5),
        "clip": network("Clip", [(shape, x)], (shape, x), min=-0.5, max=float(x.scale[0]) * 20),
        "clip_above": network("Clip", [(shape, x)], (shape, x), min=-np.inf, max=float(x.scale[0]) * 20),
        "clip_below": network("Clip", [(shape, x)], (shape, x), min=-float(x.scale[0]) * 20, max=np.inf),
        "sigmoid": network("Sigmoid", [(shape, x)], (shape, unit)),
        "tanh": network("Tanh", [(shape, x)], (shape, tanh)),
        "softmax": network("Softmax", [((10,), x)], ((10,), unit), axis=1, beta=1.0),
        "softmax_map": network("Softmax", [(shape, x)], (shape, unit), axis=1, beta=1.0),
        "leaky_relu": network("LeakyRelu", [(shape, x)], (shape, y), alpha=0.125),
        "requantize": network("Requantize", [(shape, x)], (shape, y)),
    }
    if bits == 8:
        found["hard_swish"] = network("HardSwish", [(shape, x)], (shape, y))
        if not old:
            found["prelu"] = network("PRelu", [(shape, x)], (shape, y), slope)
    return found


def _moves(bits: int, old: bool) -> dict[str, QuantizedGraph]:
    x, y = _affines(bits, old)
    image = ((4, 6, 8), x)
    pool = _window((2, 2), (2, 2))
    found = {
        "max_pool": network("MaxPool", [image], ((4, 3, 4), x), **pool),
        "max_pool_pad": network("MaxPool", [image], ((4, 4, 5), x), **_window((2, 2), (2, 2), (1, 1, 1, 1))),
        "average_pool": network("AveragePool", [image], ((4, 3, 4), x), count_include_pad=0, **pool),
        "average_pool_same": network(
            "AveragePool", [image], ((4, 6, 8), x), count_include_pad=0, **_window((3, 3), (1, 1), (1, 1, 1, 1))
        ),
        "average_pool_counts": network(
            "AveragePool", [image], ((4, 6, 8), x), count_include_pad=1, **_window((3, 3), (1, 1), (1, 1, 1, 1))
        ),
        "average_pool_scale": network("AveragePool", [image], ((4, 3, 4), y), count_include_pad=0, **pool),
        "mean": network("GlobalAveragePool", [image], ((4, 1, 1), y)),
        "concat": network("Concat", [image, ((3, 6, 8), x)], ((7, 6, 8), x), axis=1),
        "concat_width": network("Concat", [image, ((4, 6, 5), y)], ((4, 6, 13), x), axis=3),
        "pad": network("Pad", [image], ((5, 9, 9), x), pads=(0, 1, 0, 1, 2, 1), value=0.0),
        "pad_value": network("Pad", [image], ((4, 9, 8), x), pads=(0, 1, 0, 0, 2, 0), value=float(x.scale[0]) * 5),
        "flatten": network("Flatten", [image], ((192,), x)),
        "reshape": network("Reshape", [image], ((8, 2, 12), x), shape=(-1, 8, 2, 12)),
        "unflatten": network("Reshape", [((192,), x)], ((4, 6, 8), x), shape=(-1, 4, 6, 8)),
        "transpose": network("Transpose", [image], ((6, 8, 4), x), perm=(0, 2, 3, 1)),
        "transpose_map": network("Transpose", [image], ((4, 8, 6), x), perm=(0, 1, 3, 2)),
        "slice": network("Slice", [image], ((2, 6, 3), x), starts=(1, 1), ends=(3, 7), axes=(1, 3), steps=(1, 2)),
        "slice_back": network("Slice", [image], ((4, 6, 8), x), starts=(7,), ends=(-1 << 31,), axes=(3,), steps=(-1,)),
    }
    for coordinate, nearest in (("asymmetric", "floor"), ("half_pixel", "round_prefer_ceil")):
        about = {"coordinate": coordinate, "nearest": nearest}
        found[f"nearest_{coordinate}"] = network("Resize", [image], ((4, 9, 16), x), mode="nearest", **about)
        found[f"linear_{coordinate}"] = network("Resize", [image], ((4, 9, 16), x), mode="linear", **about)
    corners = {"coordinate": "align_corners", "nearest": "round_prefer_ceil"}
    found["nearest_corners"] = network("Resize", [image], ((4, 9, 16), x), mode="nearest", **corners)
    found["linear_corners"] = network("Resize", [image], ((4, 9, 16), x), mode="linear", **corners)
    return found


FAMILIES: tuple[Callable[[int, bool], dict[str, QuantizedGraph]], ...] = (_sums, _pairs, _elementwise, _moves)


def networks(bits: int = 8, old: bool = False) -> dict[str, QuantizedGraph]:
    """Every operator, with activations of so many bits; `old`: all of them unsigned, weights with a zero point."""
    found: dict[str, QuantizedGraph] = {}
    for family in FAMILIES:
        found |= family(bits, old)
    return found


def integers(quantized: QuantizedGraph, batch: int = 2, seed: int = 0) -> dict[str, np.ndarray]:
    """Random integers `[n, c, ...]` for every input, ends of the type included."""
    rng, found = np.random.default_rng(seed), {}
    for name in quantized.graph.inputs:
        type_ = quantized.affines[name].type
        x = rng.integers(type_.low, type_.high + 1, (batch, *quantized.graph.shapes[name])).astype(type_.dtype)
        x.flat[:2] = type_.low, type_.high
        found[name] = x
    return found


def several(seed: int = 0, *, signed: bool = True) -> QuantizedGraph:
    """conv, relu, depthwise conv, pools, add, concat, clip, pad, global average, flatten of a map, gemm."""
    rng = np.random.default_rng(seed)
    conv, pool = _window((3, 3), (1, 1), (1, 0, 1, 2)), _window((2, 2), (2, 2))

    def node(op: str, name: str, inputs: tuple[str, ...], **attributes: Attribute) -> Node:
        return Node(name=name, op=op, inputs=inputs, outputs=(f"{name}_y",), attributes=attributes)

    def act(scale: float, zero: int) -> Affine:
        return affine(scale, zero if signed else zero + 128, IntType(8, signed))

    nodes = (
        node("Conv", "conv", ("x", "conv_w", "conv_b"), **conv, group=1),
        node("Relu", "relu", ("conv_y",)),
        node("Conv", "depthwise", ("relu_y", "depthwise_w"), **conv, group=4),
        node("MaxPool", "max", ("relu_y",), **pool),
        node("AveragePool", "average", ("depthwise_y",), **pool, count_include_pad=0),
        node("Add", "add", ("max_y", "average_y")),
        node("Concat", "concat", ("add_y", "max_y"), axis=1),
        node("Clip", "clip", ("concat_y",), min=-np.inf, max=1.5),
        node("Flatten", "map", ("clip_y",)),
        node("Gemm", "wide", ("map_y", "wide_w", "gemm_b")),
        node("Pad", "pad", ("clip_y",), pads=(0, 0, 1, 0, 1, 0), value=0.0),
        node("GlobalAveragePool", "global", ("pad_y",)),
        node("Flatten", "flatten", ("global_y",)),
        node("Gemm", "gemm", ("flatten_y", "gemm_w", "gemm_b")),
        node("Add", "sum", ("wide_y", "gemm_y")),
    )
    constants = {
        "conv_w": rng.integers(-127, 128, (4, 2, 3, 3)).astype(np.int8),
        "conv_b": rng.integers(-3000, 3000, 4).astype(np.int32),
        "depthwise_w": rng.integers(-127, 128, (4, 1, 3, 3)).astype(np.int8),
        "wide_w": rng.integers(-127, 128, (5, 72)).astype(np.int8),
        "gemm_w": rng.integers(-127, 128, (5, 8)).astype(np.int8),
        "gemm_b": rng.integers(-3000, 3000, 5).astype(np.int32),
    }
    shapes = {
        "x": (2, 6, 6), "conv_y": (4, 6, 6), "relu_y": (4, 6, 6), "depthwise_y": (4, 6, 6), "max_y": (4, 3, 3),
        "average_y": (4, 3, 3), "add_y": (4, 3, 3), "concat_y": (8, 3, 3), "clip_y": (8, 3, 3), "map_y": (72,),
        "wide_y": (5,), "pad_y": (8, 4, 4), "global_y": (8, 1, 1), "flatten_y": (8,), "gemm_y": (5,), "sum_y": (5,),
    }  # fmt: skip
    x, a, b, c, g = act(1 / 255, -128), act(0.02, -100), act(0.03, 7), act(0.025, -90), act(0.011, -120)
    weight, sums = affine(0.004, 0, "s8n"), affine(1.0, 0, "s16")
    affines = {
        "x": x, "conv_y": a, "relu_y": a, "max_y": a, "depthwise_y": b, "average_y": b, "add_y": c, "concat_y": a,
        "clip_y": a, "map_y": a, "wide_y": b, "pad_y": a, "global_y": g, "flatten_y": g, "gemm_y": b, "sum_y": b,
        "conv_w": affine([0.002, 0.004, 0.007, 0.005], 0, "s8n", 0), "depthwise_w": weight, "wide_w": weight,
        "gemm_w": weight, "conv_b": sums, "gemm_b": sums,
    }  # fmt: skip
    graph = Graph(name="several", inputs=("x",), outputs=("sum_y",), nodes=nodes, constants=constants, shapes=shapes)
    return QuantizedGraph(graph=graph, affines=affines)
