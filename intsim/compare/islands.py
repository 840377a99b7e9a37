"""A layer as a float runtime computes it between integers: dequantized, the float operator, quantized again."""

from collections.abc import Callable, Mapping

import numpy as np

from intsim.calibrate.forward import FORWARD
from intsim.quantized import QuantizedGraph, dequantized, quantized

Island = Callable[[Mapping[str, np.ndarray]], np.ndarray]
"""From a node's inputs, channels first and in the network's own integers, to its output's."""


def islands(alone: QuantizedGraph, runtime: str) -> dict[str, Island]:
    """How the one node of `alone` could have been computed in float, by name.

    Sums of floats depend on their order in their last bits, so there is more than one way: with exact sums, as numpy
    adds them, and, where `runtime` is onnxruntime, as that very runtime does.
    """
    found: dict[str, Island] = {}
    if alone.graph.nodes[0].op in FORWARD:
        found["float32, sums exact"] = lambda q: _numpy(alone, q, np.float64)
        found["float32"] = lambda q: _numpy(alone, q, np.float32)
    if runtime == "onnxruntime":
        found["float32, as onnxruntime adds"] = _onnxruntime(alone)
    return found


def _numpy(alone: QuantizedGraph, fed: Mapping[str, np.ndarray], real: type) -> np.ndarray:
    graph, node = alone.graph, alone.graph.nodes[0]
    values = {name: dequantized(q, alone.affines[name]) for name, q in {**graph.constants, **fed}.items()}
    operands: list[np.ndarray] = [values[name].astype(real) for name in node.inputs if name]
    with np.errstate(over="ignore", invalid="ignore"):
        out = FORWARD[node.op](node, graph, *operands)
    return quantized(np.asarray(out).astype(np.float32), alone.affines[node.outputs[0]])


def _onnxruntime(alone: QuantizedGraph) -> Island:
    def run(fed: Mapping[str, np.ndarray]) -> np.ndarray:
        from intsim.reference import ort

        return ort.network(alone, form="qdq", optimization="disabled")(fed)[alone.graph.outputs[0]]

    return run
