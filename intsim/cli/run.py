"""`intsim run`: a network on a machine, integers out."""

import io
from collections.abc import Mapping, Sequence
from typing import Any

import click
import numpy as np

from intsim import tasks
from intsim.cli import options, overflows, sources
from intsim.cli.console import Out, compiling, finish, line, progress
from intsim.cli.machines import Machine, on_machines, one
from intsim.files import write_atomically
from intsim.graph import Pixels
from intsim.program import Program, Result


@click.command(
    epilog="Example: intsim run cnn --target cmsis_nn_s8 --calibration fashion --input fashion -o outputs.npz"
)
@click.argument("model")
@on_machines
@click.option("--input", "images", metavar="X.npz", required=True, help='Images "x", and labels "y" if there are any.')
@click.option("--limit", type=int, metavar="N", help="Only the first N images.")
@options.quantization
@options.images
@options.output(help="Write integers, logits and traces there (.npz).")
@click.option("--trace", metavar="NAME", multiple=True, help="Keep this tensor, or NAME:accumulator; * for all.")
@click.option("--engine", type=click.Choice(["fast", "oracle"]), default="fast", help="oracle is slow and plain.")
@click.option("--count", is_flag=True, help="Count overflows, layer by layer.")
@click.option("--strict", is_flag=True, help="An overflow in a step whose accumulator forbids it is an error.")
@click.option("--threads", type=click.IntRange(1), metavar="N", help="Threads of the fast engine (default: all).")
@options.spoken
def run(
    model: str,
    machines: Sequence[Machine],
    images: str,
    limit: int | None,
    calibration: str | None,
    quantization: dict[str, Any],
    pixels: Pixels | None,
    path: str | None,
    trace: tuple[str, ...],
    engine: str,
    count: bool,
    strict: bool,
    threads: int | None,
    out: Out,
) -> None:
    """Run MODEL on a machine, bit for bit."""
    program = sources.program(
        model, one(machines), calibration=calibration, pixels=pixels, quantization=quantization, out=out
    )
    data = sources.checked(sources.data(images, limit=limit), program)
    counted = count or bool(overflows.forbidding(program))
    result = _executed(program, data.x, engine, trace, counted, threads, out)
    if strict:
        overflows.refuse(program, result.overflows)
    if path:
        write_atomically(path, npz(result))
    _say(model, program, data, result, count, path, out)
    finish(out, "run", _numbers(program, data, result, engine))


def _executed(
    program: Program,
    x: np.ndarray,
    engine: str,
    trace: Sequence[str],
    count: bool,
    threads: int | None,
    out: Out,
) -> Result:
    """The result of all images; the oracle takes them one by one, so that a bar can move."""
    with progress(out, f"running on {', '.join(program.targets)}", len(x)) as advance:
        if engine == "fast":
            from intsim.engine import run

            with compiling(out):
                return run(
                    program, x, trace=trace, count=count, threads=threads, progress=lambda done, _: advance(done)
                )
        from intsim import oracle

        parts = []
        for i in range(len(x)):
            parts.append(oracle.run(program, x[i : i + 1], trace=trace, count=count))
            advance(i + 1)
        return joined(parts)


def joined(parts: Sequence[Result]) -> Result:
    """The results of several batches as one."""

    def glued(field: str) -> dict[str, np.ndarray]:
        arrays: Mapping[str, np.ndarray] = getattr(parts[0], field)
        return {name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in arrays}

    return Result(
        integers=glued("integers"),
        logits=glued("logits"),
        traced=glued("traced"),
        overflows=overflows.added([part.overflows for part in parts]),
    )


def npz(result: Result) -> bytes:
    """The file of a result: `integers`, `logits` (`:NAME` where there are several outputs), `trace:NAME`."""
    several = len(result.integers) > 1
    arrays = {
        f"{what}:{name}" if several else what: array
        for what in ("integers", "logits")
        for name, array in getattr(result, what).items()
    }
    arrays |= {f"trace:{name}": array for name, array in result.traced.items()}
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def _score(data: tasks.Data, result: Result) -> dict[str, int] | None:
    """How many are right, and how many if every tie were wrong or right; None without labels or classes."""
    integers = next(iter(result.integers.values()))
    if data.y is None or tasks.are_values(data.y) or integers.ndim != 2:
        return None
    worst, best = tasks.tie_extremes(integers, data.y)
    right = {"correct": tasks.top1(integers, data.y), "correct_at_worst": worst, "correct_at_best": best}
    return {name: int(bits.sum()) for name, bits in right.items()} | {
        "tied": int(tasks.tied(integers).sum()),
        "n": len(data.y),
    }


def _say(
    model: str, program: Program, data: tasks.Data, result: Result, count: bool, path: str | None, out: Out
) -> None:
    machines = ", ".join(program.targets)
    line(out, f"{model} on {machines}: {len(data.x)} images")
    if score := _score(data, result):
        correct, n, tied = score["correct"], score["n"], score["tied"]
        ties = f", {score['correct_at_worst']} to {score['correct_at_best']} with {tied} ties" if tied else ""
        line(out, f"right: {correct} of {n} ({correct / n:.2%}{ties})")
    if count:
        overflows.show(out, program, result.overflows)
    for name, found in overflows.violations(program, result.overflows).items():
        line(out, f"{name}: {overflows.said(found)}")
    if path:
        line(out, f"written: {path}")


def _numbers(program: Program, data: tasks.Data, result: Result, engine: str) -> dict[str, Any]:
    from intsim.archive import digest

    return {
        "network": program.name,
        "targets": list(program.targets),
        "program": digest(program),
        "engine": engine,
        "n": len(data.x),
        "outputs": {name: list(array.shape) for name, array in result.integers.items()},
        "score": _score(data, result),
        "machines": {step.name: step.target for step in program.steps},
        "overflows": result.overflows,
        "overflows_by_machine": overflows.by_machine(program, result.overflows),
        "violations": sum(found.outputs for found in overflows.violations(program, result.overflows).values()),
    }
