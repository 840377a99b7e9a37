"""LiteRT on one convolution or a whole network: models written with the schema that its own wheel carries."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.graph import Node
from intsim.integers import Affine, IntType
from intsim.program import Dot
from intsim.quantized import QuantizedGraph
from intsim.reference import tflite

PLAIN = {"padding": 1, "strideW": 1, "strideH": 1, "dilationWFactor": 1, "dilationHFactor": 1}
"""TFLite's options of a convolution; padding 1 is VALID, 0 is SAME."""

Bound = Callable[[], np.ndarray]
"""Runs the model on the input that it was given; gives its output, int8, the same array every time."""


def conv(x: np.ndarray, dot: Dot, scale: np.ndarray, resolver: str, threads: int = 1) -> Bound:
    """The convolution on x[n, h, w, c] uint8, shifted to int8; gives int8 `[n, h, w, o]`.

    `scale[o]`: from accumulators to the output. `resolver`: OpResolverType's name of it. LiteRT pads by "same" or
    not at all; other padding is done beforehand. Raises IntsimError where ai-edge-litert is not installed.
    """
    draft = tflite.draft()
    same = _pads_same(dot, x.shape[1:3])
    if not same:
        around = [(0, 0), *zip(dot.window.begin, dot.window.end, strict=True), (0, 0)]
        x = np.pad(x, around, constant_values=dot.input_zero_point)
    window, scales = dot.window, np.broadcast_to(scale, len(dot.weight)).tolist()
    sizes = [
        -(-n // s) if same else (n - d * (k - 1) - 1) // s + 1
        for n, k, s, d in zip(x.shape[1:3], window.kernel, window.strides, window.dilations, strict=True)
    ]
    tflite.tensor(draft, "x", x.shape, [1.0], dot.input_zero_point - 128)
    tflite.tensor(draft, "y", (len(x), *sizes, len(dot.weight)), [1.0], dot.rescale.zero_point - 128)
    options = {"padding": 0 if same else 1, **_strided(window.strides, window.dilations)}
    _convolution(draft, "x", "y", dot.weight, scales, dot.bias, dot.group, options, scales)
    return _bound(tflite.model(draft, "x", "y"), x, resolver, threads)


def network(source: QuantizedGraph, x: np.ndarray, resolver: str, threads: int = 1) -> Bound:
    """A quantized network on x[n, h, w, c] uint8; gives int8 `[n, ...]`, channels last.

    Raises IntsimError for operators that are not written here, and where ai-edge-litert is not installed.
    """
    draft, graph, affines = tflite.draft(), source.graph, source.affines
    (first,), (last,) = graph.inputs, graph.outputs
    for name in (first, *(node.outputs[0] for node in graph.nodes)):
        shape, signed = graph.shapes[name], _signed(affines[name])
        inner = (*shape[1:], shape[0]) if len(shape) > 1 else shape
        tflite.tensor(draft, name, (len(x), *inner), list(signed.scale), signed.zero)
    for node in graph.nodes:
        _write(draft, source, node)
    return _bound(tflite.model(draft, first, last), x, resolver, threads)


def unsigned(y: np.ndarray) -> np.ndarray:
    """The same real numbers in unsigned bytes."""
    return y.view(np.uint8) ^ 0x80


def _bound(model: bytes, x: np.ndarray, resolver: str, threads: int) -> Bound:
    module = tflite.module("interpreter")
    interpreter = module.Interpreter(
        model_content=model,
        num_threads=threads,
        experimental_op_resolver_type=getattr(module.OpResolverType, resolver),
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], (np.ascontiguousarray(x) ^ 0x80).view(np.int8))
    interpreter.invoke()
    result = np.array(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]))

    def run() -> np.ndarray:  # the input never changes; an array that looks into the interpreter forbids to run it
        interpreter.invoke()
        return result

    return run


# ---- operators -------------------------------------------------------------------------------------------------


def _write(draft: tflite.Draft, source: QuantizedGraph, node: Node) -> None:
    graph, affines = source.graph, source.affines
    about: dict[str, Any] = node.attributes
    (y,), x = node.outputs, node.inputs[0]
    match node.op:
        case "Conv" | "Gemm":
            weight, bias = (graph.constants[name] for name in node.inputs[1:3])
            scales = list(affines[node.inputs[1]].scale)
            products = [affines[x].scale[0] * s for s in scales]
            if node.op == "Gemm":
                weight = _columns(source, node, weight)
                constants = tflite.constants(draft, y, weight, scales, bias, products)
                tflite.operator(draft, "FULLY_CONNECTED", [x, *constants], y, {})
                return
            if any(about["pads"]):
                x = _padded(draft, source, x, about["pads"])
            options = {"padding": 1, **_strided(about["strides"], about["dilations"])}
            weight = np.moveaxis(weight, 1, -1)
            _convolution(draft, x, y, weight, scales, bias, about["group"], options, products)
        case "MaxPool":
            (kh, kw), (sh, sw) = about["kernel_shape"], about["strides"]
            options = {"padding": 1, "filterHeight": kh, "filterWidth": kw, "strideH": sh, "strideW": sw}
            tflite.operator(draft, "MAX_POOL_2D", [x], y, options)
        case "GlobalAveragePool":
            axes = tflite.integers(draft, f"{y}:axes", np.array([1, 2], np.int32))
            tflite.operator(draft, "MEAN", [x, axes], y, {"keepDims": True})
        case "Flatten" | "Reshape":
            shape = np.array(draft.tensors[draft.index[y]].shape, np.int32)
            wanted = tflite.integers(draft, f"{y}:shape", shape)
            tflite.operator(draft, "RESHAPE", [x, wanted], y, {"newShape": shape.tolist()})
        case "Add":
            tflite.operator(draft, "ADD", list(node.inputs), y, {})
        case _:
            raise IntsimError(f"{node.op} is not written as TFLite here", where=node.name)


def _convolution(
    draft: tflite.Draft,
    x: str,
    y: str,
    weight: np.ndarray,
    scales: list[float],
    bias: np.ndarray,
    group: int,
    options: dict[str, Any],
    products: list[float],
) -> None:
    """CONV_2D, or DEPTHWISE_CONV_2D of one channel a group; `weight[o, *kernel, c / group]`."""
    if group == 1:
        constants = tflite.constants(draft, y, weight, scales, bias, products)
        tflite.operator(draft, "CONV_2D", [x, *constants], y, {**PLAIN, **options})
        return
    if weight.shape[-1] != 1 or len(weight) != group:
        raise IntsimError(f"{group} groups of several channels are not written as TFLite here", where=y)
    turned = np.moveaxis(weight, 0, -1).reshape(1, *weight.shape[1:-1], -1)
    constants = tflite.constants(draft, y, turned, scales, bias, products, axis=3)
    tflite.operator(draft, "DEPTHWISE_CONV_2D", [x, *constants], y, {**PLAIN, **options, "depthMultiplier": 1})


def _strided(strides: Any, dilations: Any) -> dict[str, int]:
    (sh, sw), (dh, dw) = strides, dilations
    return {"strideH": sh, "strideW": sw, "dilationHFactor": dh, "dilationWFactor": dw}


def _padded(draft: tflite.Draft, source: QuantizedGraph, x: str, pads: Sequence[int]) -> str:
    """`x` with its zero point around it; as other converters write padding that is not TFLite's SAME."""
    name = f"{x}:padded{len(draft.tensors)}"
    top, left, bottom, right = pads
    n, h, w, c = draft.tensors[draft.index[x]].shape
    signed = _signed(source.affines[x])
    tflite.tensor(draft, name, (n, h + top + bottom, w + left + right, c), list(signed.scale), signed.zero)
    around = np.array([[0, 0], [top, bottom], [left, right], [0, 0]], np.int32)
    tflite.operator(draft, "PAD", [x, tflite.integers(draft, f"{name}:around", around)], name, {})
    return name


def _columns(source: QuantizedGraph, node: Node, weight: np.ndarray) -> np.ndarray:
    """The weights of a Gemm that reads a flattened image, in the order of channels last."""
    before = next((n for n in source.graph.nodes if n.outputs[0] == node.inputs[0]), None)
    if before is None or before.op not in ("Flatten", "Reshape"):
        return weight
    shape = source.graph.shapes[before.inputs[0]]
    if len(shape) < 2:
        return weight
    return np.moveaxis(weight.reshape(len(weight), *shape), 1, -1).reshape(len(weight), -1)


def _pads_same(dot: Dot, sizes: tuple[int, ...]) -> bool:
    """Whether TFLite's SAME padding is the window's own."""
    window = dot.window
    for size, k, s, d, begin, end in zip(
        sizes, window.kernel, window.strides, window.dilations, window.begin, window.end, strict=True
    ):
        needed = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
        if (begin, end) != (needed // 2, needed - needed // 2):
            return False
    return True


def _signed(affine: Affine) -> Affine:
    return affine if affine.type.signed else affine.shifted(IntType(affine.type.bits))
