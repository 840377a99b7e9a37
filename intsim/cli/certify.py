"""`intsim certify`: what is proven of a network on a machine for every image around each given one."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from intsim import tasks
from intsim.cli import options, sources
from intsim.cli.console import Out, finish, line, progress, table
from intsim.cli.machines import Machine, on_machines, one
from intsim.errors import IntsimError
from intsim.graph import Pixels

if TYPE_CHECKING:
    from intsim.certify import Certificate


EXAMPLE = "intsim certify mlp --target cmsis_nn_s8 --calibration fashion --data fashion --limit 20 --eps 1/255"


@click.command(epilog=f"Example: {EXAMPLE}")
@click.argument("model")
@on_machines
@click.option("--data", "examples", metavar="X.npz", required=True, help='Images "x", and labels "y" if there are any.')
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@click.option("--eps", default="1/255,2/255", metavar="E[,E...]", help="Radii, of pixels in 0..1 (1/255,2/255).")
@click.option(
    "--bounds", type=click.Choice(["interval", "linear"]), default="linear", help="linear is tighter, and slower."
)
@options.quantization
@options.images
@click.option("--min-proven", type=float, metavar="A", help="Exit with 1 if a smaller share is proven (0..1).")
@options.spoken
def certify(
    model: str,
    machines: Sequence[Machine],
    examples: str,
    limit: int | None,
    eps: str,
    bounds: str,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    min_proven: float | None,
    out: Out,
) -> int:
    """Prove for MODEL on a machine what holds for every image within EPS of each given one.

    For each layer that no accumulator overflows, and of the whole that the answer is the same class (the right one,
    where there are labels). What is not proven may hold all the same. See docs/certificates.md.
    """
    from intsim.attack.catalogue import pixel_steps
    from intsim.certify import certify as proven

    program = sources.program(
        model, one(machines), calibration=calibration, pixels=pixels, quantization=quantization, out=out
    )
    data = sources.checked(sources.data(examples, limit=limit), program)
    if data.x.dtype != np.uint8:
        raise IntsimError("certificates are of uint8 images", where=examples, mend="give pixels 0..255")
    if data.y is not None and tasks.are_values(data.y):
        raise IntsimError("certificates are of classes, and labels are values", where=examples, mend="leave y out")
    found = []
    for text in eps.split(","):
        radius = int(pixel_steps(text.strip(), "linf", 255))
        with progress(out, f"proving {radius}/255", len(data.x)) as advance:
            one_more = proven(program, data.x, radius, method=bounds, progress=lambda done, _: advance(done))
        found.append(numbers(one_more, data.y))
    columns = ("layer", *(f"{row['radius']}/255" for row in found))
    layers = [(name, *(f"{row['overflow_free'][name]:.1%}" for row in found)) for name in found[0]["overflow_free"]]
    table(out, columns, layers, title="images of which no accumulator can overflow", right=columns[1:])
    said = "right" if data.y is not None else "the same"
    for row in found:
        line(out, f"within {row['radius']}/255: {row['share']:.1%} of {len(data.x)} images are proven to stay {said}")
    finish(out, "certify", {"model": model, "target": list(program.targets), "method": bounds, "rows": found})
    return int(min_proven is not None and min(row["share"] for row in found) < min_proven)


def numbers(found: "Certificate", y: np.ndarray | None) -> dict[str, Any]:
    """A certificate's numbers: the share of images that are proven (right, where there are labels), and each one."""
    proven = found.label >= 0 if y is None else found.label == y
    return {
        "radius": found.radius,
        "share": float(proven.mean()),
        "proven": proven.tolist(),
        "label": found.label.tolist(),
        "overflow_free": {name: float(free.mean()) for name, free in found.overflow_free.items()},
    }
