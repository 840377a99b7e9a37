"""How an attack's error grows from layer to layer, and how far the integers are from float there."""

from collections.abc import Iterator

import numpy as np

from intsim.calibrate.forward import forward
from intsim.evaluate import Images
from intsim.graph import Graph, Pixels
from intsim.program import Program
from intsim.quantized import dequantized
from intsim.report import Amplified
from intsim.review.accumulators import Run


def amplification(
    graph: Graph, program: Program, network: str, target: str, clean: Images, hit: Images, images: int, run: Run
) -> Iterator[Amplified]:
    """For every layer that float and the program share: signal-to-noise ratios on the first so many images."""
    floats = [_floats(graph, one.x[:images]) for one in (clean, hit)]
    quantized = program.source
    clipped = {name for node in quantized.graph.nodes if node.op in ("Relu", "Clip") for name in node.inputs}
    # the integers before a Relu share its affine and are clipped already: no error, only an earlier clip
    made = [name for step in program.steps for name in step.outputs]
    layers = [name for name in made if name in floats[0] and name not in clipped and name in quantized.affines]
    seen = [run(program, one.x[:images], trace=layers).traced for one in (clean, hit)]
    for layer in layers:
        real = [dequantized(traced[layer], quantized.affines[layer]) for traced in seen]
        before, after = (values[layer] for values in floats)
        if real[0].shape != before.shape:
            continue
        yield Amplified(
            network=network,
            target=target,
            layer=layer,
            attack=hit.name,
            eps_steps=hit.eps_steps,
            images=len(before),
            clean=_ratio(before, real[0]),
            attacked=_ratio(after, real[1]),
            attack_on_float=_ratio(before, after),
            attack_on_chip=_ratio(real[0], real[1]),
        )


def _floats(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    name = graph.inputs[0]
    pixels = graph.pixels.get(name, Pixels())
    return dict(forward(graph, {name: pixels.enter(pixels.to_input(x))}))


def _ratio(signal: np.ndarray, other: np.ndarray) -> float | None:
    """10 log10(power of the signal / power of its difference from `other`); None: there is none of the two."""
    power, noise = float(np.mean(np.square(signal, dtype=float))), float(np.mean((signal - other) ** 2, dtype=float))
    return 10 * float(np.log10(power / noise)) if power > 0 and noise > 0 else None
