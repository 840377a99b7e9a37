"""The judges: the float network, its null, and integer programs, each as a function of pixels."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from intsim.attack import door
from intsim.attack.twin import Network, twin
from intsim.evaluate.null import float_null
from intsim.evaluate.records import FLOAT, NULL, Judge
from intsim.graph import Graph
from intsim.program import Program, Result
from intsim.quantized import QuantizedGraph

Run = Callable[[Program, np.ndarray], Result]
"""What runs a program on images: intsim.engine.run, or intsim.oracle.run."""

BATCH = 250
"""Images in one pass of a float judge; fixed, so that a judge's floats never depend on how many there are."""


def float_judge(graph: Graph, *, network: str = "", target: str = FLOAT) -> Judge:
    """The float network, as the torch twin computes it in float32."""
    return Judge(network=network or graph.name, target=target, answer=answers(twin(graph)))


def null_judge(graph: Graph, quantized: QuantizedGraph, *, network: str, seed: int = 0) -> Judge:
    """The float null (`float_null`) of the quantized network that is called `network`."""
    return float_judge(float_null(graph, quantized, seed), network=network, target=NULL)


def program_judge(program: Program, run: Run, *, network: str, target: str, output: str = "") -> Judge:
    """The integers that the program gives at an output, the first where it is ""; they order as its logits do."""
    name = output or next(iter(program.outputs))
    pixels = next(iter(program.inputs.values())).pixels

    def answer(images: np.ndarray) -> np.ndarray:
        x = images if images.dtype == np.uint8 or pixels is None else pixels.to_input(images)
        return run(program, x).integers[name]

    return Judge(network=network, target=target, answer=answer)


def answers(network: Network) -> Callable[[np.ndarray], np.ndarray]:
    """The logits[n, classes] of a network in torch for pixels[n, c, h, w] in 0..255."""

    def answer(images: np.ndarray) -> np.ndarray:
        torch = door.torch()
        x = torch.from_numpy(np.asarray(images, np.float32) / np.float32(255))
        with torch.inference_mode():
            return torch.cat([network(part) for part in x.split(BATCH)]).numpy()

    return answer
