"""`intsim vectors`: every layer's inputs, numbers, accumulators and outputs, for firmware and RTL."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import msgspec

from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, notice, table
from intsim.cli.machines import Machine, on_machines, one
from intsim.errors import IntsimError
from intsim.graph import Pixels


@click.command(epilog="Example: intsim vectors cnn --target cmsis_nn_s8 --calibration fashion --input fashion -o held")
@click.argument("model")
@on_machines
@click.option("--input", "images", metavar="X.npz", required=True, help='Images "x".')
@click.option(
    "--images", "count", type=click.IntRange(1), default=2, metavar="N", help="Only the first N (default: 2)."
)
@click.option("--layers", metavar="NAME", multiple=True, help="Only this layer; may be given several times.")
@options.quantization
@options.images
@click.option("-o", "--output", "directory", metavar="DIR", required=True, help="The folder, a new or an empty one.")
@click.option("--engine", type=click.Choice(["fast", "oracle"]), default="fast", help="oracle is slow and plain.")
@options.spoken
def vectors(
    model: str,
    machines: Sequence[Machine],
    images: str,
    count: int,
    layers: tuple[str, ...],
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    directory: str,
    engine: str,
    out: Out,
) -> None:
    """Write what firmware or RTL of MODEL on a machine is held to, layer by layer.

    As .npz, as .memh for Verilog's $readmemh, and as C headers with a program that checks them: docs/vectors.md.
    """
    from intsim import oracle
    from intsim.vectors import planned
    from intsim.vectors import vectors as write

    if not Path(directory).parent.is_dir():
        raise IntsimError(f"there is no folder {Path(directory).parent}", where=directory, mend="make it")
    program = sources.program(
        model, one(machines), calibration=calibration, pixels=pixels, quantization=quantization, out=out
    )
    data = sources.checked(sources.data(images, limit=count), program)
    plan = planned(program, data.x, layers=layers)
    notice(out, f"writing {len(plan.steps)} layers on {plan.images} images, about {plan.bytes / 1e6:.3g} MB")
    with compiling(out):
        written = write(program, data.x, directory, layers=layers, run=oracle.run if engine == "oracle" else None)
    rows = [(name, written.unwritten.get(name, "layers.c")) for name in written.layers]
    table(out, ("layer", "formula in C"), rows)
    size = sum(written.files.values())
    line(out, f"written: {len(written.files)} files in {directory}, {size / 1e6:.3g} MB")
    line(out, f"to check them: see the first lines of {Path(directory) / 'check.c'}")
    finish(out, "vectors", {**msgspec.structs.asdict(written), "bytes": size})
