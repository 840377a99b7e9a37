"""LiteRT on one convolution or a whole network, bound to its input: what the bench turns side by side with ours."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.graph import Graph, Node
from intsim.integers import affine
from intsim.program import Dot
from intsim.quantized import QuantizedGraph

MEND = "pip install 'intsim[bench]'"

Bound = Callable[[], np.ndarray]
"""Runs the model on the input that it was given; gives its output, int8, the same array every time."""


def conv(x: np.ndarray, dot: Dot, scale: np.ndarray, resolver: str, threads: int = 1) -> Bound:
    """The convolution on x[n, h, w, c] uint8, shifted to int8; gives int8 `[n, h, w, o]`.

    `scale[o]`: from accumulators to the output. `resolver`: OpResolverType's name of it. LiteRT pads by "same" or
    not at all; other padding is done beforehand. Raises IntsimError where ai-edge-litert is not installed.
    """
    window = dot.window
    begin: tuple[int, ...]
    end: tuple[int, ...]
    if not _pads_same(dot, x.shape[1:3]):
        around = [(0, 0), *zip(window.begin, window.end, strict=True), (0, 0)]
        x = np.pad(x, around, constant_values=dot.input_zero_point)
        begin = end = (0,) * len(window.kernel)
    else:
        begin, end = window.begin, window.end
    sizes = [
        (n + b + e - d * (k - 1) - 1) // s + 1
        for n, b, e, k, s, d in zip(
            x.shape[1:3], begin, end, window.kernel, window.strides, window.dilations, strict=True
        )
    ]
    scales, outputs = np.broadcast_to(np.asarray(scale, np.float32), len(dot.weight)), len(dot.weight)
    node = Node(
        name="y",
        op="Conv",
        inputs=("x", "w", "b"),
        outputs=("y",),
        attributes={
            "kernel_shape": window.kernel,
            "strides": window.strides,
            "dilations": window.dilations,
            "pads": (*begin, *end),
            "group": dot.group,
        },
    )
    graph = Graph(
        name="conv",
        inputs=("x",),
        outputs=("y",),
        nodes=(node,),
        constants={"w": np.moveaxis(dot.weight, -1, 1), "b": dot.bias.astype(np.int32)},
        shapes={"x": (x.shape[-1], *x.shape[1:3]), "y": (outputs, *sizes)},
    )
    affines = {
        "x": affine(1.0, dot.input_zero_point, "u8"),
        "y": affine(1.0, dot.rescale.zero_point, "u8"),
        "w": affine(scales, 0, "s8", 0),
        "b": affine(scales, 0, "s32", 0),
    }
    return network(QuantizedGraph(graph=graph, affines=affines), x, resolver, threads)


def network(source: QuantizedGraph, x: np.ndarray, resolver: str, threads: int = 1) -> Bound:
    """A quantized network on x[n, h, w, c] uint8; gives int8 `[n, ...]`, channels last.

    Raises IntsimError for what TFLite cannot say, and where ai-edge-litert is not installed.
    """
    from intsim.tflite_io import tflite_model

    module = _interpreter()
    interpreter = module.Interpreter(
        model_content=tflite_model(source, batch=len(x), keep_axes=True),
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


def unsigned(y: np.ndarray) -> np.ndarray:
    """The same real numbers in unsigned bytes."""
    return y.view(np.uint8) ^ 0x80


def _interpreter() -> Any:
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError:
        raise IntsimError("is not installed", where="LiteRT", mend=MEND) from None


def _pads_same(dot: Dot, sizes: tuple[int, ...]) -> bool:
    """Whether TFLite's SAME padding is the window's own."""
    from intsim.tflite_io.layout import same_pads

    window = dot.window
    return (*window.begin, *window.end) == same_pads(sizes, window.kernel, window.strides, window.dilations)
