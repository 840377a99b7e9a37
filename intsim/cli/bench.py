"""`intsim bench` and `intsim warmup`: our kernels beside their peers, and all of them compiled beforehand."""

from typing import TYPE_CHECKING

import click
import msgspec
import numpy as np

from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, progress, table
from intsim.cli.quantize import quantized_model
from intsim.graph import Graph, Pixels
from intsim.integers import Overflow
from intsim.quantized import QuantizedGraph
from intsim.target import Target
from intsim.targets import TARGETS, with_accumulator

if TYPE_CHECKING:
    from intsim.bench import Bench


@click.command(epilog="Example: intsim bench --quick")
@click.option("--model", default="cnn", metavar="MODEL", help="The network (default: cnn).")
@click.option("--calibration", metavar="X.npz", help="Images for a float model (default for the networks that ship).")
@click.option("--quick", is_flag=True, help="Fewer images and rounds.")
@click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads of everybody (default: 1).")
@options.spoken
def bench(model: str, calibration: str | None, quick: bool, threads: int, out: Out) -> None:
    """Time our engine beside onnxruntime's int8 and float32 kernels, in turns, as ratios.

    Where ours emulates onnxruntime on this very CPU, all outputs must be equal before anything is timed.
    """
    from intsim.bench import bench

    shipped = sources.shipped(model)
    images = calibration or (sources.IMAGES if shipped else None)
    quantized = quantized_model(model, images, {}, (), None, out)
    batches = (1, 64) if quick else (1, 64, 1000)
    with compiling(out), progress(out, "in turns", len(batches)) as advance:
        found = bench(
            quantized,
            _inputs(quantized, max(batches)),
            name=model,
            float_model=sources.float_path(model),
            threads=threads,
            rounds=5 if quick else 11,
            batches=batches,
            progress=lambda done, _: advance(done),
        )
    _say(found, out)
    finish(out, "bench", msgspec.structs.asdict(found))


def _inputs(quantized: QuantizedGraph, n: int) -> np.ndarray:
    """Images of noise as the network's float32 input: what is in them does not change the time."""
    graph = quantized.graph
    pixels = np.random.default_rng(0).integers(0, 256, (n, *graph.shapes[graph.inputs[0]])).astype(np.uint8)
    return graph.pixels.get(graph.inputs[0], Pixels()).to_input(pixels)


def _say(found: "Bench", out: Out) -> None:
    machine = found.machine
    line(out, f"{machine['cpu']} ({machine['instruction_set']}), {machine['cores']} cores, numba {machine['numba']}")
    columns = ("work", "threads", "ours", "peer", "peer's time / ours", "quartiles", "same bits", "goal")
    rows = [
        (
            row.work,
            row.threads,
            row.ours,
            row.peer,
            f"{row.ratio:.3f}",
            f"{row.low:.3f} to {row.high:.3f}",
            row.equal,
            row.goal,
        )
        for row in found.rows
    ]
    table(out, columns, rows, right=("threads", "peer's time / ours", "goal"))
    line(out, "more than 1: ours is faster; the median over rounds in which everybody takes turns")
    for note in found.notes:
        line(out, f"note: {note}")


# ---- warmup ----------------------------------------------------------------------------------------------------


@click.command(epilog="Example: intsim warmup")
@options.spoken
def warmup(out: Out) -> None:
    """Compile the kernels now, so that nothing waits for them later."""
    import intsim_models
    from intsim.build import load
    from intsim.calibrate import ranges
    from intsim.engine import run
    from intsim.lower import lower
    from intsim.quantize import quantize

    x = intsim_models.images().x_calibration[:8]
    machines, kernels, done = _machines(), list[str](), 0
    with progress(out, "compiling kernels", len(intsim_models.NAMES) * len(machines)) as advance:
        for name in intsim_models.NAMES:
            graph = load(intsim_models.path(name))
            assert isinstance(graph, Graph)
            observed = ranges(graph, x)
            for target in machines:
                program = lower(quantize(graph, observed, target.scheme), target)
                for count in (False, True):
                    run(program, x[:2], count=count, threads=1, on_compile=kernels.append)
                done += 1
                advance(done)
    line(out, f"{len(kernels)} kernels compiled" if kernels else "everything was compiled already")
    finish(out, "warmup", {"compiled": kernels})


def _machines() -> list[Target]:
    """Every machine, and one with accumulators too narrow, whose kernels are others."""
    narrow = [
        with_accumulator(TARGETS["litert_ref"], 14, mode, tile)
        for mode in (Overflow.WRAP, Overflow.SATURATE)
        for tile in (None, 8)
    ]
    return [*TARGETS.values(), *narrow]
