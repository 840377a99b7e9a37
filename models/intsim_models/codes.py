"""Weights that are integer codes while they train, and the quantized network that has exactly those codes.

Source: Esser et al., Learned Step Size Quantization, arXiv 1902.08153: the scales are trained with the weights.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from msgspec.structs import replace
from torch import Tensor, nn
from torch.nn.utils import parametrize

from intsim.graph import Graph, Node
from intsim.integers import IntType, affine
from intsim.quantize import quantize
from intsim.quantized import QuantizedGraph
from intsim.targets import TARGETS

SCHEME = TARGETS["cmsis_nn_s8"].scheme
"""What activations are quantized for: 8 bits, signed, with zero points, as most runtimes on small chips take them."""
LAYERS = ("Conv", "Gemm")


class Codes(nn.Module):
    """What a layer computes with in place of its weights w: scale * round(clamp(w / scale, -most, most)).

    `most` = 2^(bits-1) - 1. A convolution has a scale for each of its outputs, a linear layer has one. Backward the
    rounding is the identity, and the scale's gradient is divided by sqrt(weights of a scale * most).
    """

    def __init__(self, weight: Tensor, bits: int) -> None:
        super().__init__()
        axes = tuple(range(1, weight.ndim)) if weight.ndim > 2 else (0, 1)
        self.most = (1 << bits - 1) - 1
        scale = 2 * weight.detach().abs().mean(axes, keepdim=True) / math.sqrt(self.most)
        self.scale = nn.Parameter(scale)
        self.gain = 1 / math.sqrt(weight.numel() / scale.numel() * self.most)

    def forward(self, weight: Tensor) -> Tensor:
        """Of weight[outputs, ...] what the layer computes with, of the same shape."""
        scale = self.scale * self.gain + (self.scale * (1 - self.gain)).detach()
        inside = (weight / scale).clamp(-self.most, self.most)
        return (inside + (inside.round() - inside).detach()) * scale

    def integers(self, weight: Tensor) -> Tensor:
        """The codes themselves, int8."""
        return (weight / self.scale).clamp(-self.most, self.most).round().to(torch.int8)


def coded(graph: Graph, network: nn.Module, bits: int) -> nn.Module:
    """`network` itself with the weights and biases of the float `graph`, its weights in codes of so many bits.

    Its layers with weights are those of the graph, in the same order.
    """
    for layer, node in zip(_layers(network), _nodes(graph), strict=True):
        for parameter, name in zip((layer.weight, layer.bias), node.inputs[1:], strict=True):
            assert isinstance(parameter, nn.Parameter)
            parameter.data = torch.from_numpy(graph.constants[name].copy())
        parametrize.register_parametrization(layer, "weight", Codes(layer.weight, bits))
    return network


def codes_of(network: nn.Module) -> list[tuple[np.ndarray, np.ndarray]]:
    """(codes int8 as the weights lie, scales float32 [outputs] or [1]) of every layer of a network that was `coded`."""
    found = []
    for layer in _layers(network):
        own = layer.parametrizations.weight
        with torch.no_grad():
            found.append((own[0].integers(own.original).numpy(), own[0].scale.flatten().numpy()))
    return found


def digest(codes: Sequence[np.ndarray]) -> str:
    """SHA-256 of the codes of all layers, in order, as int8."""
    return hashlib.sha256(b"".join(one.astype(np.int8).tobytes() for one in codes)).hexdigest()


def quantized(graph: Graph, network: nn.Module, bits: int, calibration: np.ndarray) -> QuantizedGraph:
    """The network that was `coded` from `graph` in integers: its very codes and scales.

    Activations get 8 bits and the range that they have on the images calibration[n, 1, 28, 28] (uint8); a bias is
    round_half_even(b / (sx * sw)).
    """
    trained = codes_of(network)
    floats = dict(graph.constants)
    for layer, node in zip(_layers(network), _nodes(graph), strict=True):
        floats |= {node.inputs[1]: _array(layer.weight), node.inputs[2]: _array(layer.bias)}
    found = quantize(replace(graph, constants=floats), calibration, SCHEME, weight_bits=bits)
    affines, constants = dict(found.affines), dict(found.graph.constants)
    for node, (integers, scales) in zip(_nodes(found.graph), trained, strict=True):
        x, w, b = node.inputs
        axis = 0 if len(scales) > 1 else None
        affines[w] = affine(scales, 0, IntType(bits, narrow_range=True), axis)
        products = affines[x].scale[0] * np.array(affines[w].scale)
        affines[b] = affine(products, 0, affines[b].type, axis)
        constants[w] = integers
        constants[b] = _bias(floats, b, products)
    return QuantizedGraph(graph=replace(found.graph, constants=constants), affines=affines)


def _bias(floats: Mapping[str, np.ndarray], name: str, products: np.ndarray) -> np.ndarray:
    return np.rint(floats[name].astype(np.float64) / products).astype(np.int32)


def _nodes(graph: Graph) -> list[Node]:
    return [node for node in graph.nodes if node.op in LAYERS]


def _layers(network: nn.Module) -> list[nn.Conv2d | nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]


def _array(parameter: Tensor | None) -> np.ndarray:
    assert parameter is not None
    return parameter.detach().contiguous().numpy()
