"""The float null: the float network, moved by as much as quantization moves it, but in no direction in particular."""

import numpy as np
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.graph import Graph, Node
from intsim.quantized import QuantizedGraph, dequantized


def float_null(graph: Graph, quantized: QuantizedGraph, seed: int = 0) -> Graph:
    """The float `graph` with every weight moved by the quantization error of another weight of its output channel.

    The errors (dequantized minus float) of `quantized`'s constants are permuted within each output channel and their
    signs flipped at random, seeded: the same sizes, channel by channel, without their direction. What this network
    does to images crafted on `graph` is what any network this far away does to them; only what a quantized network
    does beyond it is owed to integers. Activations are not quantized in it. Raises IntsimError where the constants
    of the two do not belong together.
    """
    counterparts = {node.name: node for node in quantized.graph.nodes}
    moved: dict[str, np.ndarray] = {}
    for node in graph.nodes:
        for place, name in enumerate(node.inputs):
            if name not in graph.constants or name in moved:
                continue
            array = graph.constants[name]
            error = _error(array, quantized, counterparts.get(node.name), place, name)
            rows = error.reshape(len(array) if node.op in ("Conv", "Gemm") else 1, -1)
            rng = np.random.default_rng([seed, len(moved)])
            signs = 2.0 * rng.integers(0, 2, rows.shape) - 1.0
            moved[name] = (array + (rng.permuted(rows, axis=1) * signs).reshape(array.shape)).astype(array.dtype)
    return replace(graph, name=f"{graph.name} null", constants={**graph.constants, **moved})


def _error(array: np.ndarray, quantized: QuantizedGraph, node: Node | None, place: int, name: str) -> np.ndarray:
    """By how much the constant that a node reads at `place` was moved; quantization may have renamed it."""
    if node is None or len(node.inputs) <= place or node.inputs[place] not in quantized.graph.constants:
        raise IntsimError("is missing in the quantized network", where=name, mend="quantize this very graph")
    integers = quantized.graph.constants[node.inputs[place]]
    if integers.shape != array.shape:
        what = f"is {integers.shape} in the quantized network, not {array.shape}"
        raise IntsimError(what, where=name, mend="quantize this very graph")
    return dequantized(integers, quantized.affines[node.inputs[place]]).astype(np.float64) - array


def restored(quantized: QuantizedGraph) -> Graph:
    """The float network that a quantized one stands for where no other is known: its constants, dequantized."""
    constants = {
        name: dequantized(integers, quantized.affines[name]) for name, integers in quantized.graph.constants.items()
    }
    return replace(quantized.graph, constants=constants)
