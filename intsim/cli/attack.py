"""`intsim attack`: images crafted on the float network, judged by float and by every machine."""

import functools
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, notice, progress
from intsim.cli.machines import Machine, on_machines
from intsim.cli.outcome import show
from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.graph import Pixels

if TYPE_CHECKING:
    from intsim.report import Results

EXAMPLE = "intsim attack cnn --target cmsis_nn_s8 --attack fgsm --calibration fashion --data fashion --limit 200"


@click.command(epilog=f"Example: {EXAMPLE}")
@click.argument("model")
@on_machines
@click.option("--attack", "attacks", metavar="NAME|MODULE:NAME", multiple=True, help="(default: fgsm and pgd)")
@click.option("--eps", default="2/255,8/255", metavar="E[,E...]", help="Radii, of pixels in 0..1 (2/255,8/255).")
@click.option("--data", "examples", metavar="XY.npz", required=True, help='Images "x" and labels "y".')
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@click.option("--seed", type=int, default=0, metavar="S", help="Of random starts and noise (default: 0).")
@click.option("--null/--no-null", default=True, help="Judge the float null too (default: yes).")
@options.quantization
@options.images
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine (default: all).")
@click.option("--min-accuracy", type=float, metavar="A", help="Exit with 1 if a target is right less often (0..1).")
@click.option("--max-transfer", type=float, metavar="T", help="Exit with 1 if more of what fools float fools a target.")
@options.output(help="The report, one HTML file.")
@options.spoken
@click.pass_obj
def attack(
    settings: dict[str, Any],
    model: str,
    machines: Sequence[Machine],
    attacks: tuple[str, ...],
    eps: str,
    examples: str,
    limit: int | None,
    seed: int,
    null: bool,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    threads: int | None,
    min_accuracy: float | None,
    max_transfer: float | None,
    path: str | None,
    out: Out,
) -> int:
    """Attack MODEL in floats, and see what its integers make of those images.

    Every attack comes with noise of its radius, every machine with the float network perturbed as much as
    quantization perturbs it (the float null).
    """
    from intsim.engine import run
    from intsim.evaluate import evaluate
    from intsim.report import results

    data = sources.data(examples, limit=limit)
    with compiling(out), progress(out, "attacking") as advance:
        found = evaluate(
            sources.model(model, pixels),
            [whole(machine) for machine in machines],
            data=data,
            attacks=attacks or ("fgsm", "pgd"),
            eps=[text.strip() for text in eps.split(",")],
            calibration=sources.calibration_images(calibration),
            null=null,
            seed=seed,
            run=functools.partial(run, threads=threads),
            progress=lambda what, done, of: advance(done, what, of),
            **quantization,
        )
    record = replace(
        results(found), of=f"{model}, {found.n} images of {examples}", command=shlex.join(settings["command"])
    )
    if path:
        from intsim.report import render

        notice(out, "drawing the report ...")
        write_atomically(path, render(record).encode())
    show(out, record)
    if path:
        line(out, f"written: {path}")
    broken = exceeded(record, [machine.target.name for machine in machines], min_accuracy, max_transfer)
    for text in broken:
        line(out, text)
    finish(out, "attack", {**msgspec.structs.asdict(record), "exceeded": broken})
    return int(bool(broken))


def whole(machine: Machine) -> Any:
    """The machine's target, unless some nodes have machines of their own."""
    if machine.nodes:
        raise IntsimError(
            "an attack takes whole machines",
            where=f"--set {next(iter(machine.nodes))}:...",
            mend="write the mixed Program with intsim quantize -o OUT.intsim, and attack that",
        )
    return machine.target


def exceeded(
    record: "Results", named: Sequence[str], min_accuracy: float | None, max_transfer: float | None
) -> list[str]:
    """The thresholds that rows of the named machines break, in words; without names, all but the yardsticks count."""
    from intsim.evaluate.records import FLOAT, NULL

    said = []
    for row in record.rows:
        if row.target not in named if named else row.target in (FLOAT, NULL, "ideal"):
            continue
        where = f"{row.target}, {row.attack}" + (f" at {row.eps_steps:g}/255" if row.eps_steps else "")
        if min_accuracy is not None and row.accuracy < min_accuracy:
            said.append(f"{where}: right on {row.accuracy:.4f}, less than --min-accuracy {min_accuracy:g}")
        share = row.transferred.value if row.transferred and row.transferred.n else 0.0
        if max_transfer is not None and share > max_transfer:
            said.append(f"{where}: transferred {share:.4f}, more than --max-transfer {max_transfer:g}")
    return said
