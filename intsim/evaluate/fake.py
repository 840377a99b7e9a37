"""Fake-quant: the quantized network in floats, every tensor rounded to what its integers could hold."""

import numpy as np

from intsim.attack import door
from intsim.attack.twin import OPS, Network, Tensor
from intsim.errors import IntsimError
from intsim.evaluate.null import restored
from intsim.graph import Pixels
from intsim.integers import Affine
from intsim.quantized import QuantizedGraph


def fake(quantized: QuantizedGraph) -> Network:
    """The quantized network as frameworks imitate it, in float32: from pixels in 0..1 to logits, without gradients.

    Weights and biases are dequantized; the input, and what each node computes, is quantized (round half to even of
    x / scale, clamped to the integers' type) and dequantized again. Sums are the floats' own: no accumulator
    overflows, no multiplier is rounded. Raises IntsimError for an op that the torch twin has not.
    """
    torch, graph = door.torch(), restored(quantized)
    for node in graph.nodes:
        if node.op not in OPS:
            raise IntsimError(f"the torch twin has no {node.op}", where=node.name)
    constants = {name: torch.from_numpy(np.array(array)) for name, array in graph.constants.items()}
    (entry,) = graph.inputs
    pixels = graph.pixels.get(entry, Pixels())

    def network(x: Tensor) -> Tensor:
        entered = pixels.enter(pixels.to_input(x.numpy() * np.float32(255)))
        values = {**constants, entry: _rounded(torch.from_numpy(entered), quantized.affines[entry])}
        for node in graph.nodes:
            given = [values[name] if name else None for name in node.inputs]
            (made,) = node.outputs
            computed = OPS[node.op](torch, {**node.attributes, "shape": graph.shapes[made]}, *given)
            values[made] = _rounded(computed, quantized.affines[made])
        return values[graph.outputs[0]]

    return network


def _rounded(x: Tensor, affine: Affine) -> Tensor:
    """scale * (clamp(rint(x / scale) + zero_point) - zero_point), no zero point ever added."""
    scale, zero = affine.scale[0], affine.zero_point[0]
    return (x / scale).round().clamp(affine.type.low - zero, affine.type.high - zero) * scale
