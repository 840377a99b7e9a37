"""A rounded network as a QuantizedGraph: its codes as they are, activations of a machine's width; run by the engine."""

import numpy as np

from intsim import engine, targets
from intsim.graph import Graph, Node
from intsim.integers import Affine, IntType, affine
from intsim.lower import lower
from intsim.program import Program
from intsim.quantize.biases import bias_integers
from intsim.quantized import QuantizedGraph
from paper.data import pixels
from paper.network import Network, codes, denominator, rounded, storage_bits

MACHINES = {"ideal": 16, "litert_ref": 8}
"""The machines, and the bits of hidden activations and logits on each."""

CALIBRATION = 2_000


def fits(machine: str, levels: str, bits: int) -> bool:
    """Whether the machine takes weights of these codes."""
    if not bits:
        return False
    held = _held(levels, bits)
    return any(one.low <= held.low and held.high <= one.high for one in targets.target(machine).scheme.weights)


def quantized(network: Network, calibration: np.ndarray, machine: str) -> QuantizedGraph:
    """The network in integers, for images uint8[n, 1, 28, 28].

    Hidden tensors are unsigned and reach the largest value on `calibration` uint8[n, 784], logits are signed and
    reach the largest magnitude; no tensor has a zero point. A bias is round(b / (s_x s_w)).
    """
    width, scheme = MACHINES[machine], targets.target(machine).scheme
    layers = len(network.weights)
    shapes, affines = {"x": (1, 28, 28), "x0": (784,)}, {"x": affine(1 / 255, 0, "u8"), "x0": affine(1 / 255, 0, "u8")}
    nodes = [Node(name="flatten", op="Flatten", inputs=("x",), outputs=("x0",), attributes={"axis": 1})]
    constants: dict[str, np.ndarray] = {}
    values = pixels(calibration)
    for i, (w, b) in enumerate(zip(rounded(network), network.biases, strict=True)):
        last = i == layers - 1
        values = values @ w.T + b
        values = values if last else np.maximum(values, 0)
        type_ = IntType(width, signed=last)
        out, product = affine(max(float(np.abs(values).max()), 1e-6) / type_.high, 0, type_), f"y{i}"
        name = "z" if last else f"x{i + 1}"
        constants[f"w{i}"], affines[f"w{i}"] = _weights(network, i)
        scale = affines[f"x{i}"].scale[0] * affines[f"w{i}"].scale[0]
        constants[f"b{i}"], bias_type = bias_integers(b.astype(np.float64) / scale, scheme)
        affines[f"b{i}"] = affine(scale, 0, bias_type)
        made = name if last else product
        nodes.append(Node(name=f"dense{i}", op="Gemm", inputs=(f"x{i}", f"w{i}", f"b{i}"), outputs=(made,)))
        shapes[made], affines[made] = (len(b),), out
        if not last:
            nodes.append(Node(name=f"relu{i}", op="Relu", inputs=(made,), outputs=(name,)))
            shapes[name], affines[name] = (len(b),), out
    graph = Graph(name="paper", inputs=("x",), outputs=("z",), nodes=tuple(nodes), constants=constants, shapes=shapes)
    return QuantizedGraph(graph=graph, affines=affines)


def _weights(network: Network, layer: int) -> tuple[np.ndarray, Affine]:
    held = _held(network.levels, network.bits)
    integers = codes(network.weights[layer], network.levels, network.bits).astype(held.dtype)
    return integers, affine(1 / denominator(network.levels, network.bits), 0, held)


def _held(levels: str, bits: int) -> IntType:
    """The type of the codes; of odd ones, the lowest integer is none."""
    return IntType(max(storage_bits(levels, bits), 2), narrow_range=levels != "zero")


def program(network: Network, calibration: np.ndarray, machine: str) -> Program:
    """The integer program that the machine runs."""
    return lower(quantized(network, calibration, machine), targets.target(machine))


def judged(found: Program, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bool[n]: the first of the largest logits is the label's, bool[n]: the largest is tied) of x uint8[n, 784]."""
    logits = engine.run(found, x.reshape(-1, 1, 28, 28), threads=1).integers["z"]
    ties = (logits == logits.max(axis=1, keepdims=True)).sum(axis=1) > 1
    return logits.argmax(axis=1) == y, ties


def moved(x: np.ndarray, direction: np.ndarray, steps: int) -> np.ndarray:
    """uint8[n, 784]: so many whole steps of the grid in direction int8[n, 784], cut at 0 and 255."""
    return np.clip(x.astype(np.int16) + steps * direction.astype(np.int16), 0, 255).astype(np.uint8)
