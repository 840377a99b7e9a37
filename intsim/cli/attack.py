"""`intsim attack`: images crafted on the float network or on a machine, judged by float and by every machine."""

import functools
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
import msgspec
from msgspec.structs import replace

from intsim import tasks
from intsim.cli import options, sources
from intsim.cli.console import Out, compiling, finish, line, notice, progress
from intsim.cli.machines import Machine, on_machines
from intsim.cli.outcome import show
from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.graph import Pixels

if TYPE_CHECKING:
    from intsim.evaluate.records import Row
    from intsim.report import Results

EXAMPLE = "intsim attack cnn --target cmsis_nn_s8 --attack fgsm --calibration fashion --data fashion --limit 200"


@click.command(epilog=f"Example: {EXAMPLE}")
@click.argument("model")
@on_machines
@click.option(
    "--attack", "attacks", metavar="NAME", multiple=True, help="See `intsim attacks` (default: fgsm and pgd)."
)
@click.option("--eps", default="2/255,8/255", metavar="E[,E...]", help="Radii, of pixels in 0..1 (2/255,8/255).")
@click.option("--data", "examples", metavar="XY.npz", required=True, help='Images "x" and labels "y".')
@click.option(
    "--right",
    default="top1",
    metavar="top1|topK|MODULE:F",
    help="When an answer is right (top1): F(outputs, y).",
)
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@click.option("--seed", type=int, default=0, metavar="S", help="Of random starts and noise (default: 0).")
@click.option("--null/--no-null", default=True, help="Judge the float null too (default: yes).")
@click.option(
    "--certify",
    type=click.Choice(["interval", "linear"]),
    help="Prove labels too: the lower ends of the brackets (docs/certificates.md).",
)
@click.option(
    "--accumulators",
    metavar="N[,N...]",
    default="",
    help="Try narrower accumulators of the first target, of N bits: the section of the report, the tables here.",
)
@options.quantization
@options.images
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the engine (default: all).")
@click.option("--min-accuracy", type=float, metavar="A", help="Exit with 1 if a target is right less often (0..1).")
@click.option("--max-transfer", type=float, metavar="T", help="Exit with 1 if more of what fools float fools a target.")
@click.option("--examples", "outcomes", metavar="OUT.npz", help="Every judge's answer to every image, as arrays.")
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
    right: str,
    limit: int | None,
    seed: int,
    null: bool,
    certify: str | None,
    accumulators: str,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    threads: int | None,
    min_accuracy: float | None,
    max_transfer: float | None,
    outcomes: str | None,
    path: str | None,
    out: Out,
) -> int:
    """Attack MODEL in floats, and see what its integers make of those images.

    Every attack comes with noise of its radius, every machine with the float network perturbed as much as
    quantization perturbs it (the float null). Attacks that know the chip (ste_pgd, evasive, ... of `intsim attacks`)
    are crafted on every machine in turn.
    """
    from intsim import report
    from intsim.engine import run
    from intsim.evaluate import evaluate
    from intsim.evaluate.whole import STANDS_FOR
    from intsim.review import review

    data, predicate, widths = sources.data(examples, limit=limit), tasks.predicate(right), _widths(accumulators)
    with compiling(out), progress(out, "attacking") as advance:
        asked: dict[str, Any] = {
            "data": data,
            "attacks": attacks or ("fgsm", "pgd"),
            "eps": [text.strip() for text in eps.split(",")],
            "calibration": sources.calibration_images(calibration),
            "null": null,
            "certify": certify,
            "seed": seed,
            "right": predicate,
            "run": functools.partial(run, threads=threads),
            "progress": lambda what, done, of: advance(done, what, of),
            **quantization,
        }
        held = sources.model(model, pixels, out=out)
        closer = bool(path or widths)
        found = review(held, machines, accumulators=widths, **asked) if closer else evaluate(held, machines, **asked)
    record = replace(
        report.results(found), of=f"{model}, {found.n} images of {examples}", command=shlex.join(settings["command"])
    )
    if path:
        notice(out, "drawing the report ...")
        write_atomically(path, report.render(record).encode())
    if outcomes:
        write_atomically(outcomes, report.outcomes(record))
    if STANDS_FOR in found.verdict:
        line(out, STANDS_FOR)
    show(out, record)
    if outcomes:
        line(out, f"written: {outcomes}")
    if path:
        line(out, f"written: {path}")
    judged = counted(record, [machine.target.name for machine in machines])
    broken = exceeded(judged, min_accuracy, max_transfer)
    for text in broken:
        line(out, text)
    if max_transfer is not None and (nothing := unfooled(judged)):
        notice(out, f"--max-transfer says nothing of {', '.join(nothing)}: float was not fooled there")
    finish(out, "attack", {**msgspec.structs.asdict(record), "exceeded": broken})
    return int(bool(broken))


def _widths(text: str) -> list[int]:
    """The widths of --accumulators."""
    try:
        return [int(word) for word in text.split(",") if text]
    except ValueError:
        raise IntsimError(f'"{text}"', where="--accumulators", mend="write widths in bits: 16,14,12") from None


def counted(record: "Results", named: Sequence[str]) -> list["Row"]:
    """The rows to which thresholds apply: of the named machines; without names, of all but the yardsticks."""
    from intsim.evaluate.records import FAKE, FLOAT, IDEAL, NULL

    if not named:
        return [row for row in record.rows if row.target not in (FLOAT, NULL, FAKE, IDEAL)]
    return [row for row in record.rows if any(_is(row.target, name) for name in named)]


def _is(target: str, name: str) -> bool:
    """Whether a row is of the machine of that name, perhaps with others for some nodes."""
    return target == name or target.startswith(f"{name}, ")


def exceeded(rows: Sequence["Row"], min_accuracy: float | None, max_transfer: float | None) -> list[str]:
    """The thresholds that the rows break, in words; a collapsed machine never keeps to a transfer."""
    from intsim.evaluate.verdict import broken

    said = []
    lost = {(row.network, row.target) for row in rows if not row.eps_steps and broken(row)}
    for row in rows:
        where = f"{row.target}, {_images(row)}"
        if min_accuracy is not None and row.accuracy < min_accuracy:
            said.append(f"{where}: right on {row.accuracy:.4f}, less than --min-accuracy {min_accuracy:g}")
        if max_transfer is None or not row.eps_steps or row.crafted_on != "float":
            continue
        if (row.network, row.target) in lost:
            said.append(f"{where}: collapsed, so transfer says nothing: --max-transfer {max_transfer:g} is not kept")
        elif row.transferred and row.transferred.n and row.transferred.value > max_transfer:
            said.append(f"{where}: transferred {row.transferred.value:.4f}, more than --max-transfer {max_transfer:g}")
    return said


def unfooled(rows: Sequence["Row"]) -> list[str]:
    """The attacks and strengths that fooled float on no image, so that there was nothing to transfer."""
    return list(dict.fromkeys(_images(row) for row in rows if row.transferred and not row.transferred.n))


def _images(row: "Row") -> str:
    crafted = "" if row.crafted_on == "float" else f", crafted on {row.crafted_on}"
    return f"{row.attack} at {row.eps_steps:g}/255{crafted}" if row.eps_steps else row.attack
