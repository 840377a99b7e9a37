"""`intsim compare`: a machine's integers against a reference's, layer by layer."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, progress, table
from intsim.cli.machines import Machine, on_machines, one
from intsim.graph import Pixels
from intsim.targets import TARGETS

if TYPE_CHECKING:
    from intsim.compare import Comparison


@click.command(
    epilog="Example: intsim compare cnn --target litert_ref --with litert_xnnpack --calibration fashion --input fashion"
)
@click.argument("model")
@on_machines
@click.option(
    "--with",
    "reference",
    metavar="REFERENCE",
    required=True,
    help="onnxruntime, another target, DUMP.npz (integers by tensor), or MODULE:FUNCTION (images to such integers).",
)
@click.option("--input", "images", metavar="X.npz", required=True, help='Images "x".')
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@options.quantization
@options.images
@click.option("--max-mismatch", type=click.IntRange(0), metavar="N", help="Exit with 1 if more integers differ.")
@click.option("--engine", type=click.Choice(["fast", "oracle"]), default="fast", help="oracle is slow and plain.")
@click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads (default: 1).")
@options.spoken
def compare(
    model: str,
    machines: Sequence[Machine],
    reference: str,
    images: str,
    limit: int | None,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    max_mismatch: int | None,
    engine: str,
    threads: int,
    out: Out,
) -> int:
    """Compare MODEL on a machine with a reference, every integer of every layer.

    Once with all layers run from the images, and once with each layer fed what the reference gave.
    """
    from intsim import oracle
    from intsim.compare import compare

    program = sources.program(
        model, one(machines), calibration=calibration, pixels=pixels, quantization=quantization, out=out
    )
    data = sources.checked(sources.data(images, limit=limit), program)
    run = oracle.run if engine == "oracle" else None
    with compiling(out), progress(out, f"comparing with {reference}", len(data.x)) as advance:
        found = compare(program, reference, data.x, threads=threads, run=run, progress=lambda done, _: advance(done))
    _say(found, out)
    exceeded = max_mismatch is not None and found.mismatches > max_mismatch
    if exceeded:
        line(out, f"more than --max-mismatch {max_mismatch}")
    finish(out, "compare", {**msgspec.structs.asdict(found), "max_mismatch": max_mismatch, "exceeded": exceeded})
    return int(exceeded)


def _say(found: "Comparison", out: Out) -> None:
    said = found.reference
    details = (
        said.version,
        said.optimization_level and f"optimization {said.optimization_level}",
        said.instruction_set,
    )
    line(out, f"{found.target} against {said.name} ({', '.join(filter(None, details)) or 'no version'})")
    if note := other_profile(found):
        line(out, f"note: {note}")
    columns = ("layer", "op", "integers", "differ", "by at most", "alone: differ", "by at most ")
    rows = [
        (
            layer.name,
            layer.op,
            layer.elements,
            layer.mismatches,
            layer.max_difference,
            layer.single_mismatches,
            layer.single_max_difference,
        )
        for layer in found.layers
    ]
    table(out, columns, rows, right=columns[2:7])
    agreement = "" if found.argmax_agreement is None else f"; same class on {found.argmax_agreement:.2%} of the images"
    line(out, f"{found.images} images: {found.mismatches} of {found.elements} integers differ{agreement}")
    first = next((layer for layer in found.layers if layer.mismatches), None)
    if first is not None:
        line(out, f"the first layer that differs: {first.name} ({first.op})")
    if found.not_compared:
        line(out, f"not compared, the reference does not have them: {', '.join(found.not_compared)}")


def other_profile(found: "Comparison") -> str:
    """What to say where onnxruntime runs other kernels on this CPU than the machine that it is compared with."""
    if found.reference.name != "onnxruntime" or not found.target.startswith("ort_"):
        return ""
    from intsim.reference.ort import host_profile

    mine = host_profile()
    if mine == found.target or mine not in TARGETS:
        return ""
    return f"on this CPU onnxruntime is {mine}, so {found.target} may differ where that one would not"
