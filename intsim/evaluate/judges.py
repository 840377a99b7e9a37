"""The judges: the float network, its null, and integer programs, each as a function of pixels."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from intsim.attack import door
from intsim.attack.twin import Network, twin
from intsim.certify import certify
from intsim.evaluate.camera import digest
from intsim.evaluate.fake import fake
from intsim.evaluate.known import chip_of
from intsim.evaluate.null import float_null
from intsim.evaluate.records import FAKE, FLOAT, IDEAL, NULL, Judge
from intsim.graph import Graph
from intsim.lower import lower
from intsim.program import Program, Result
from intsim.quantized import QuantizedGraph
from intsim.targets import TARGETS

Run = Callable[[Program, np.ndarray], Result]
"""What runs a program on images: intsim.engine.run, or intsim.oracle.run."""

BATCH = 250
"""Images in one pass of a float judge; fixed, so that a judge's floats never depend on how many there are."""


def float_judge(graph: Graph, *, network: str = "", target: str = FLOAT) -> Judge:
    """The float network, as the torch twin computes it in float32; `network`: what it is called, if not by its name."""
    return Judge(network=network or graph.name, target=target, answer=answers(twin(graph)))


def null_judge(graph: Graph, quantized: QuantizedGraph, *, network: str, seed: int = 0) -> Judge:
    """The float null (`float_null`) of the quantized network that is called `network`."""
    return float_judge(float_null(graph, quantized, seed), network=network, target=NULL)


def fake_judge(quantized: QuantizedGraph, *, network: str) -> Judge:
    """The fake-quantized network (`fake`) of the quantized one that is called `network`."""
    return Judge(network=network, target=FAKE, answer=answers(fake(quantized)))


def program_judge(
    program: Program,
    run: Run,
    *,
    network: str,
    target: str,
    output: str = "",
    known: Graph | None = None,
    real: bool = False,
    method: str | None = None,
) -> Judge:
    """The integers that the program gives at an output, the first where it is ""; they order as its logits do.

    `known`: the float network that attacks which know the chip take gradients of; None: none is crafted on it.
    `real`: their real values, in float32, for a predicate that minds more than their order. `method`: how labels are
    proven (`intsim.certify`); None: they are not.
    """
    name = output or next(iter(program.outputs))
    pixels = next(iter(program.inputs.values())).pixels

    def answer(images: np.ndarray) -> np.ndarray:
        x = images if images.dtype == np.uint8 or pixels is None else pixels.to_input(images)
        found = run(program, x)
        return (found.logits if real else found.integers)[name]

    def proven(images: np.ndarray, radius: int) -> np.ndarray:
        return certify(program, images, radius, method=str(method)).label

    chip = None if known is None else chip_of(program, run, known, f"{network} on {target}", output=name, real=real)
    prove = None if method is None else proven
    return Judge(network=network, target=target, answer=answer, chip=chip, proven=prove, program=program)


def answers(network: Network) -> Callable[[np.ndarray], np.ndarray]:
    """The logits[n, classes] of a network in torch for pixels[n, c, h, w] in 0..255."""

    def answer(images: np.ndarray) -> np.ndarray:
        torch = door.torch()
        x = torch.from_numpy(np.asarray(images, np.float32) / np.float32(255))
        with torch.inference_mode():
            return torch.cat([network(part) for part in x.split(BATCH)]).numpy()

    return answer


# ---- a whole panel ------------------------------------------------------------------------------------------------


def judges(
    graph: Graph,
    programs: Sequence[Program],
    run: Run,
    *,
    null: bool = True,
    seed: int = 0,
    known: Graph | None = None,
    real: bool = False,
    method: str | None = None,
) -> Iterator[Judge]:
    """The judges beside float: for every way in which it was quantized, its null, fake-quant, ideal, the programs.

    `known`, `real`, `method`: see `program_judge`.
    """
    how: dict[str, Any] = {"known": known, "real": real, "method": method}
    for network, group in _by_quantization(graph, programs).items():
        source = group[0].source
        if null:
            yield null_judge(graph, source, network=network, seed=seed)
        yield fake_judge(source, network=network)
        names = [", ".join(program.targets) for program in group]
        if IDEAL not in names:
            yield program_judge(lower(source, TARGETS[IDEAL]), run, network=network, target=IDEAL, **how)
        for name, program in zip(names, group, strict=True):
            yield program_judge(program, run, network=network, target=name, **how)


def _by_quantization(graph: Graph, programs: Sequence[Program]) -> dict[str, list[Program]]:
    """The programs by the QuantizedGraph that they came from: its bits, and its machines where bits say too little."""
    groups: dict[str, list[Program]] = {}
    for program in programs:
        groups.setdefault(_fingerprint(program.source), []).append(program)
    named: dict[str, list[Program]] = {}
    for group in groups.values():
        name = f"{graph.name} {_bits(group[0].source)}"
        named[f"{name} for {', '.join(group[0].targets)}" if name in named else name] = group
    return named


def _fingerprint(quantized: QuantizedGraph) -> str:
    return digest(*quantized.graph.constants.values()) + repr(sorted(quantized.affines.items()))


def _bits(quantized: QuantizedGraph) -> str:
    weights = [quantized.affines[n.inputs[1]].type.bits for n in quantized.graph.nodes if n.op in ("Conv", "Gemm")]
    return f"w{max(weights, default=0)}a{quantized.affines[quantized.graph.inputs[0]].type.bits}"
