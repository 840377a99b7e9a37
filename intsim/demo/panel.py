"""Who judges in the demo: the quantized networks on their machines, and beside them what needs no integers."""

from collections.abc import Iterator, Mapping

import numpy as np

from intsim.calibrate import ranges
from intsim.demo.size import DOOR, SHARING, Size, network_name
from intsim.evaluate import Judge
from intsim.evaluate.judges import Run, float_judge, null_judge, program_judge
from intsim.graph import Graph
from intsim.lower import lower
from intsim.quantize import meet, quantize
from intsim.quantized import QuantizedGraph, dequantized
from intsim.quantized import quantized as integers
from intsim.report import Behind
from intsim.targets import TARGETS


def networks(graph: Graph, calibration: np.ndarray, size: Size) -> dict[str, QuantizedGraph]:
    """The quantized networks by name: one a bit width, that all of SHARING take, and those for single machines."""
    observed = ranges(graph, calibration)
    shared = meet([TARGETS[name].scheme for name in SHARING])
    found = {
        network_name(bits): quantize(graph, observed, shared, weight_bits=bits, activation_bits=bits)
        for bits in size.bits
    }
    for target in size.targets:
        if target not in SHARING:
            bits, scheme = size.bits[0], TARGETS[target].scheme
            found[network_name(bits, target)] = quantize(
                graph, observed, scheme, weight_bits=bits, activation_bits=bits
            )
    return found


def judges(graph: Graph, networks: Mapping[str, QuantizedGraph], size: Size, run: Run, seed: int) -> Iterator[Judge]:
    """For every quantized network its float null and its machines; those of SHARING run the widest one."""
    for name, quantized in networks.items():
        own = [target for target in size.targets if name == network_name(size.bits[0], target)]
        if name == network_name(size.bits[0]):
            own = [target for target in size.targets if target in SHARING]
        yield null_judge(graph, quantized, network=name, seed=seed)
        if doors(graph, {name: quantized}):
            yield behind_the_door(graph, quantized, name)
        for target in own or ["ideal"]:
            yield program_judge(lower(quantized, TARGETS[target]), run, network=name, target=target)


def _entering(graph: Graph, quantized: QuantizedGraph) -> np.ndarray:
    """The values, in 0..255, that a camera's 256 levels have left behind the input of the quantized network."""
    affine = quantized.affines[graph.inputs[0]]  # of pixel / 255
    return 255 * dequantized(integers(np.arange(256, dtype=np.float32) / np.float32(255), affine), affine)


def behind_the_door(graph: Graph, quantized: QuantizedGraph, network: str) -> Judge:
    """The float network, its input rounded as the quantized network's is."""
    entering, answer = _entering(graph, quantized), float_judge(graph).answer
    return Judge(network=network, target=DOOR, answer=lambda x: answer(entering[x]))


def doors(graph: Graph, networks: Mapping[str, QuantizedGraph]) -> tuple[Behind, ...]:
    """Which networks have an input coarser than the camera's 256 levels."""
    levels = {name: len(np.unique(_entering(graph, quantized))) for name, quantized in networks.items()}
    return tuple(Behind(network=name, target=DOOR, levels=n) for name, n in levels.items() if n < 256)
