"""`intsim compare`: a machine's integers against a reference's, layer by layer, and the rule that explains it."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec

from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, progress, table
from intsim.cli.machines import Machine, on_machines, one
from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.graph import Graph, Pixels
from intsim.targets import TARGETS

if TYPE_CHECKING:
    from intsim.compare import Comparison, Layer

LEVELS = ["disabled", "basic", "extended", "all"]
EQUALLY = 3
"""Causes that are told beside the first."""


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
    help="A runtime (onnxruntime, litert, ...), another target, DUMP.npz (integers by tensor), or MODULE:FUNCTION "
    "(images to such integers).",
)
@click.option("--optimization", type=click.Choice(LEVELS), help="Of onnxruntime's graph (default: disabled).")
@click.option("--form", type=click.Choice(["qoperator", "qdq"]), help="What onnxruntime is given (default: qoperator).")
@click.option("--layout", metavar="nchw|nhwc", help="Of DUMP.npz (default: what the shapes say).")
@click.option("--input", "images", metavar="X.npz", required=True, help='Images "x".')
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@options.quantization
@options.images
@click.option("--explain/--no-explain", default=True, help="Whether to look for causes (default: yes).")
@click.option("--max-mismatch", type=click.IntRange(0), metavar="N", help="Exit with 1 if more integers differ.")
@click.option("--max-difference", type=click.IntRange(0), metavar="N", help="Exit with 1 if one differs by more steps.")
@click.option("--min-agreement", type=click.FloatRange(0, 1), metavar="F", help="Exit with 1 if fewer classes agree.")
@click.option("--report", metavar="FILE.html", callback=options.destination, help="Write a page with bars per layer.")
@click.option("--engine", type=click.Choice(["fast", "oracle"]), default="fast", help="oracle is slow and plain.")
@click.option("--threads", type=click.IntRange(1), default=1, metavar="N", help="Threads (default: 1).")
@options.spoken
def compare(
    model: str,
    machines: Sequence[Machine],
    reference: str,
    optimization: str | None,
    form: str | None,
    layout: str | None,
    images: str,
    limit: int | None,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    explain: bool,
    max_mismatch: int | None,
    max_difference: int | None,
    min_agreement: float | None,
    report: str | None,
    engine: str,
    threads: int,
    out: Out,
) -> int:
    """Compare MODEL on a machine with a reference, every integer of every layer, and name the cause.

    Once with all layers run from the images, and once with each layer fed what the reference gave. What differs then is
    explained by the one rule, if there is one, that gives all of the reference's integers.
    """
    from intsim import oracle
    from intsim.compare import compare

    program = sources.program(
        model, one(machines), calibration=calibration, pixels=pixels, quantization=quantization, out=out
    )
    data = sources.checked(sources.data(images, limit=limit), program)
    said = {"optimization": optimization, "form": form, "layout": layout}
    float_network = sources.model(model, pixels)
    with compiling(out), progress(out, f"comparing with {reference}", len(data.x)) as advance:
        found = compare(
            program,
            reference,
            data.x,
            threads=threads,
            explain=explain,
            options={name: value for name, value in said.items() if value is not None},
            network=float_network if isinstance(float_network, Graph) else None,
            run=oracle.run if engine == "oracle" else None,
            progress=lambda done, _: advance(done),
        )
    _say(found, out)
    limits = {"max_mismatch": max_mismatch, "max_difference": max_difference, "min_agreement": min_agreement}
    over = list(_exceeded(found, limits))
    for text in over:
        line(out, text)
    if report:
        from intsim.report.comparison import page

        write_atomically(report, page(found, over).encode())
    told = msgspec.structs.asdict(found) | {"max_difference": found.max_difference, "limits": limits}
    told["parts"] = found.parts
    finish(out, "compare", {**told, "max_mismatch": max_mismatch, "exceeded": bool(over), "exceeded_by": over})
    return int(bool(over))


def _exceeded(found: "Comparison", limits: dict[str, Any]) -> Iterator[str]:
    """A line for every limit that is exceeded, with the figure."""
    most, farthest, least = limits["max_mismatch"], limits["max_difference"], limits["min_agreement"]
    if most is not None and found.mismatches > most:
        yield f"more than --max-mismatch {most}: {found.mismatches} integers differ"
    if farthest is not None and found.max_difference > farthest:
        yield f"more than --max-difference {farthest}: one integer differs by {found.max_difference} steps"
    if least is not None:
        if found.argmax_agreement is None:
            raise IntsimError("the reference has not all outputs", where="--min-agreement", mend="leave it out")
        if found.argmax_agreement < least:
            yield f"less than --min-agreement {least:g}: the same class on {found.argmax_agreement:.4f} of the images"


# ---- words -------------------------------------------------------------------------------------------------------


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
    real = any(layer.float_snr is not None for layer in found.layers)
    numbers = ("integers", "differ", "by at most", "SNR dB", "alone: differ", "by at most ", "SNR dB ")
    mixed = len(found.parts) > 1
    columns = ("layer", "op", *(["runs on"] if mixed else []), *numbers, *(["float SNR dB"] if real else []))
    table(out, columns, [_row(layer, real, mixed) for layer in found.layers], right=columns[2 + mixed :])
    agreement = "" if found.argmax_agreement is None else f"; same class on {found.argmax_agreement:.2%} of the images"
    line(out, f"{found.images} images: {found.mismatches} of {found.elements} integers differ{agreement}")
    if len(found.parts) > 1:
        rows = [(name, *numbers) for name, numbers in found.parts.items()]
        table(out, ("machine", "integers", "differ", "alone: differ"), rows, title="by machine")
    if found.first is not None:
        line(out, f"the first layer that differs: {found.first.name} ({found.first.op})")
    for layer in found.layers:
        for text in _reasons(layer):
            line(out, text)
    if found.not_compared:
        line(out, f"not compared, the reference does not have them: {', '.join(found.not_compared)}")


def _row(layer: "Layer", real: bool, mixed: bool) -> tuple[object, ...]:
    together = (layer.elements, layer.mismatches, layer.max_difference, _decibels(layer.snr))
    alone = (layer.single_mismatches, layer.single_max_difference, _decibels(layer.single_snr))
    return (
        layer.name,
        layer.op,
        *([layer.machine] if mixed else []),
        *together,
        *alone,
        *([_decibels(layer.float_snr)] if real else []),
    )


def _decibels(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f}"


def _reasons(layer: "Layer") -> Iterator[str]:
    """What was found about a layer: the cause, what it cannot be told from, what the runtime says of itself."""
    if layer.explanation is None:
        if layer.first and layer.single_mismatches is None:
            yield f"{layer.name}: no cause can be tried, the reference has not all of its inputs"
        return
    yield f"{layer.name}: {layer.explanation.says}"
    others = [cause.says.partition(" (reference)")[0] for cause in layer.explanation.causes[1:]]
    if others:
        more = f", and {len(others) - EQUALLY} more" if len(others) > EQUALLY else ""
        yield f"    not to be told from it here: {'; '.join(others[:EQUALLY])}{more}"
    if layer.reference_op:
        yield f"    the reference says that it computes {layer.tensor} with {layer.reference_op}"
    if not layer.explanation.causes:
        shown = ", ".join(f"{step:+d}: {count}" for step, count in layer.single_differences)
        yield f"    differences in steps: {shown}"


def other_profile(found: "Comparison") -> str:
    """What to say where onnxruntime runs other kernels on this CPU than the machine that it is compared with."""
    if found.reference.name != "onnxruntime" or not found.target.startswith("ort_"):
        return ""
    from intsim.reference.ort import host_profile

    mine = host_profile()
    if mine == found.target or mine not in TARGETS:
        return ""
    return f"on this CPU onnxruntime is {mine}, so {found.target} may differ where that one would not"
