"""`intsim bench` and `intsim warmup`: our kernels beside their peers, and all of them compiled beforehand."""

import itertools
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec
import numpy as np
from msgspec.structs import replace

from intsim import named
from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, progress
from intsim.cli.machines import Machine
from intsim.cli.quantize import quantized_model
from intsim.cli.ratios import say, say_work
from intsim.errors import IntsimError, unknown
from intsim.graph import Graph
from intsim.integers import Overflow
from intsim.target import Target
from intsim.targets import TARGETS, with_accumulator, with_multiplier

if TYPE_CHECKING:
    from intsim.bench import Bench, Maker, Work

BATCHES = (32, 1)
QUICK_ROUNDS = 5


@click.command(epilog="Example: intsim bench --shape conv:56x56x64:3x3:64:s1 --shape gemm:1000x256x784")
@click.option("--quick", is_flag=True, help="Fewer works and rounds: a look in about two minutes.")
@click.option("--section", "sections", metavar="NAME", multiple=True, help="Only these parts of the suite.")
@click.option("--model", "models", metavar="MODEL", multiple=True, help="This network instead of the suite.")
@click.option("--calibration", metavar="X.npz", help="Images for a float model (default for the networks that ship).")
@click.option(
    "--shape",
    "shapes",
    metavar="SHAPE",
    multiple=True,
    help="This layer instead of the suite: gemm:MxNxK, or conv:HxWxC:KHxKW:N with :s2 (stride), :d2 (dilation), "
    ":g64 (groups), :p0 (padding), :n8 (batch), :float32, :pow2, :single or :double (requantizer) behind it.",
)
@click.option(
    "--kernel",
    metavar="KERNEL",
    help="Your own: MODULE:FUNCTION, f(x uint8[m,k], w int8[k,n]) -> int32[m,n]; or FILE.so:SYMBOL, "
    "void f(const uint8_t *x, const int8_t *w, int32_t *out, int64_t m, int64_t n, int64_t k).",
)
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of everybody (default: 1).")
@click.option("--rounds", type=click.IntRange(1), metavar="R", help="Rounds in which all take turns (default: 11).")
@click.option("--out", "path", metavar="FILE", help="Write the results there as JSON; in a folder, by the CPU's name.")
@options.spoken
def bench(
    quick: bool,
    sections: Sequence[str],
    models: Sequence[str],
    calibration: str | None,
    shapes: Sequence[str],
    kernel: str | None,
    threads: int | None,
    rounds: int | None,
    path: str | None,
    out: Out,
) -> None:
    """Time our engine beside onnxruntime's kernels and others, in turns, as ratios.

    All integers that must be equal are compared before anything is timed, ours with the oracle's too. Without --model
    and --shape the whole suite runs, with one thread, and networks with two where there are two cores.
    """
    from intsim.bench import ROUNDS
    from intsim.bench import bench as run

    if path and not Path(path).is_dir():
        path = options.destination(None, None, path)  # type: ignore[arg-type]
    if sections and (models or shapes or kernel):
        raise IntsimError("is a part of the suite", where="--section", mend="leave out --model, --shape and --kernel")
    with compiling(out):
        if kernel:
            _verify(kernel, out)
        if models or shapes or kernel:
            makers = _chosen(models, calibration, shapes, kernel or "", threads or 1, out)
        else:
            makers = _suite(quick, sections, threads)
        with progress(out, "in turns", len(makers)) as advance:
            found = run(
                makers,
                rounds=rounds or (QUICK_ROUNDS if quick else ROUNDS),
                progress=lambda done, work: advance(done, what=work),
                on_work=partial(say_work, out),
            )
    say(found, out)
    numbers = msgspec.structs.asdict(found)
    finish(out, "bench", numbers)
    if path:
        _keep(path, found, out)


def _keep(path: str, found: "Bench", out: Out) -> None:
    from intsim.bench import results_name

    place = Path(path) / results_name(found.machine) if Path(path).is_dir() else Path(path)
    finish(replace(out, json=str(place)), "bench", msgspec.structs.asdict(found))
    line(out, f"written to {place}")


# ---- what is timed ---------------------------------------------------------------------------------------------


def _suite(quick: bool, sections: Sequence[str], threads: int | None) -> list["Maker"]:
    """The works of the sections; networks with two threads too, unless the number is said or there is one core."""
    from intsim.bench import SECTIONS, cores

    for name in sections:
        if name not in SECTIONS:
            raise unknown("section", name, SECTIONS)
    makers: list[Maker] = []
    for name in sections or SECTIONS:
        makers += SECTIONS[name](quick, threads or 1)
        if name == "networks" and threads is None and cores() > 1:
            makers += SECTIONS[name](quick, 2)
    return makers


def _chosen(
    models: Sequence[str], calibration: str | None, shapes: Sequence[str], kernel: str, threads: int, out: Out
) -> list["Maker"]:
    """The works of the models and shapes; their matrix products where there is a kernel to try."""
    from intsim.bench.products import products
    from intsim.bench.shapes import parse

    if kernel and not models and not shapes:
        shapes = ("gemm:1024x1024x1024", "gemm:1000x256x784", "gemm:3136x64x576")
    works = [parse(text, threads=threads) for text in shapes]
    for model in models:
        works += _networks(model, calibration, threads, out)
    if kernel:
        works = [product for work in works for product in products(work, kernel)]
    return [partial(_given, work) for work in works]


def _given(work: "Work") -> "Work":
    return work


def _networks(model: str, calibration: str | None, threads: int, out: Out) -> list["Work"]:
    from intsim.bench.networks import WEIGHT_BITS, host_machine, of

    shipped, floats = sources.shipped(model), sources.float_path(model)
    images = calibration or (named.IMAGES if shipped else None)
    bits = {"weight_bits": WEIGHT_BITS} if floats else {}
    quantized = quantized_model(model, images, bits, [Machine(target=host_machine())], None, out)
    float_model = floats.read_bytes() if floats else b""
    return [of(quantized, model, batch, threads=threads, float_model=float_model) for batch in BATCHES]


def _verify(kernel: str, out: Out) -> None:
    from intsim.bench.kernel import tried

    count = tried(kernel)
    line(out, f"{kernel}: right in all {count} cases (tails, extremes, sums beyond 32 bits)")


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
    """Every machine, and some whose kernels are others: accumulators too narrow, a multiplier that is a table."""
    narrow = [
        with_accumulator(TARGETS["litert_ref"], bits, mode, tile)
        for bits, mode, tile in itertools.product((14, 18), (Overflow.WRAP, Overflow.SATURATE), (None, 8))
    ]
    exact = np.arange(256)[:, None] * np.arange(256).astype(np.int8).astype(np.int32)
    table = with_multiplier(TARGETS["ort_x86_vnni"], exact, signed_activations=False, signed_weights=True)
    return [*TARGETS.values(), *narrow, table]
