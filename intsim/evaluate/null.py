"""The float null: the float network, moved by as much as quantization moves it, but in no direction in particular."""

import numpy as np
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.graph import Graph
from intsim.quantized import QuantizedGraph, dequantized


def float_null(graph: Graph, quantized: QuantizedGraph, seed: int = 0) -> Graph:
    """The float `graph` with every weight moved by the quantization error of another weight of its output channel.

    The errors (dequantized minus float) of `quantized`'s constants are permuted within each output channel and their
    signs flipped at random, seeded: the same sizes, channel by channel, without their direction. What this network
    does to images crafted on `graph` is what any network this far away does to them; only what a quantized network
    does beyond it is owed to integers. Activations are not quantized in it. Raises IntsimError where the constants
    of the two do not belong together.
    """
    moved = dict(graph.constants)
    for index, name in enumerate(sorted(moved)):
        array = moved[name]
        if array.dtype.kind != "f":
            continue
        integers = quantized.graph.constants.get(name)
        if integers is None or integers.shape != array.shape:
            what = "is missing" if integers is None else f"is {integers.shape}, not {array.shape}"
            raise IntsimError(f"{what} in the quantized network", where=name, mend="quantize this very graph")
        error = dequantized(integers, quantized.affines[name]).astype(np.float64) - array
        rows = error.reshape(len(error), -1) if _by_channel(graph, name) else error.reshape(1, -1)
        error = _shuffled(rows, np.random.default_rng([seed, index])).reshape(error.shape)
        moved[name] = (array + error).astype(array.dtype)
    return replace(graph, name=f"{graph.name} null", constants=moved)


def restored(quantized: QuantizedGraph) -> Graph:
    """The float network that a quantized one stands for where no other is known: its constants, dequantized."""
    constants = {
        name: dequantized(integers, quantized.affines[name]) for name, integers in quantized.graph.constants.items()
    }
    return replace(quantized.graph, constants=constants)


def _shuffled(rows: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return rng.permuted(rows, axis=1) * (2.0 * rng.integers(0, 2, rows.shape) - 1.0)


def _by_channel(graph: Graph, name: str) -> bool:
    """Whether the first axis of a constant is that of the output channels."""
    return any(name in node.inputs and node.op in ("Conv", "Gemm") for node in graph.nodes)
