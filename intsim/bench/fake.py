"""A fake-quantized torch module of a quantized network: floats that are rounded to the integers' grid."""

from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.graph import Node
from intsim.quantized import QuantizedGraph, dequantized


def network(
    quantized: QuantizedGraph, threads: int, accumulator: int | None = None
) -> Callable[[np.ndarray], np.ndarray]:
    """From the input's real numbers `[n, c, ...]` to the output's, as torch's fake_quantize_per_tensor_affine rounds.

    `accumulator`: bits to which a sum is clipped once it is complete; a float operator has no register in between.
    Raises IntsimError where torch is not installed, and for operators other than those of the CNN.
    """
    from intsim.attack.door import torch as door

    torch = door()
    torch.set_num_threads(threads)
    graph, affines = quantized.graph, quantized.affines

    def rounded(x: Any, name: str) -> Any:
        a = affines[name]
        return torch.fake_quantize_per_tensor_affine(x, a.scale[0], a.zero, a.type.low, a.type.high)

    weights = {
        name: torch.from_numpy(dequantized(array, affines[name]).copy())
        for name, array in graph.constants.items()
        if affines[name].type.bits <= 8
    }

    def sums(node: Node, x: Any) -> Any:
        step = affines[node.inputs[0]].scale[0] * affines[node.inputs[1]].scale[0]
        bias = torch.from_numpy(graph.constants[node.inputs[2]].astype(np.float32) * np.float32(step))
        w = rounded(weights[node.inputs[1]], node.inputs[1])
        if node.op == "Gemm":
            y = torch.nn.functional.linear(x, w, bias)
        else:
            a: Any = node.attributes
            y = torch.nn.functional.conv2d(x, w, bias, a["strides"], a["pads"][:2], a["dilations"], a["group"])
        if accumulator is not None:
            half = float(1 << (accumulator - 1))
            y = y.clamp(-half * step, (half - 1) * step)
        return rounded(y, node.outputs[0])

    def one(node: Node, x: Any) -> Any:
        match node.op:
            case "Conv" | "Gemm":
                return sums(node, x)
            case "Relu":
                return x.relu()
            case "MaxPool":
                return torch.nn.functional.max_pool2d(x, node.attributes["kernel_shape"], node.attributes["strides"])
            case "GlobalAveragePool":
                return rounded(x.mean((2, 3), keepdim=True), node.outputs[0])
            case "Flatten":
                return x.flatten(1)
        raise IntsimError(f"{node.op} is not fake-quantized here", where=node.name)

    def run(x: np.ndarray) -> np.ndarray:
        (source,) = graph.inputs
        with torch.no_grad():
            y = rounded(torch.from_numpy(x), source)
            for node in graph.nodes:  # a chain: each reads what the one before made
                y = one(node, y)
        return np.asarray(y.numpy())

    return run
