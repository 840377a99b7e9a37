"""The main job on the embedded network and images: what an attacker gains when a network runs in a chip's integers."""

import hashlib
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from msgspec.structs import replace

import intsim_models
from intsim import report
from intsim.attack.catalogue import ATTACKS
from intsim.attack.door import one_thread
from intsim.attack.twin import twin
from intsim.build import load
from intsim.demo.panel import doors, judges, networks
from intsim.demo.size import CLASSES, FULL, LADDER, QUICK, Progress, Size, network_name, part
from intsim.engine import run as execute
from intsim.errors import IntsimError
from intsim.evaluate import Images, evaluated
from intsim.evaluate.camera import digest
from intsim.evaluate.judges import float_judge
from intsim.files import write_atomically
from intsim.graph import Graph
from intsim.lower import lower
from intsim.report import Amplified, Results, Width
from intsim.review import amplification, narrowed, sets_of, with_accumulators
from intsim.review.accumulators import Run
from intsim.targets import TARGETS

__all__ = ["FULL", "QUICK", "Size", "run", "write"]


def run(
    out: str | Path | None = None,
    quick: bool = False,
    *,
    size: Size | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    on_compile: Callable[[str], None] | None = None,
) -> Results:
    """The demo's results; in the folder `out`, made where it is missing, also as files (`write`).

    `size`: `FULL`, or `QUICK` where `quick` is said, unless given. `on_compile` is told of kernels that are compiled.
    The same seed gives the same files. Raises IntsimError where `out` cannot be written, or a package is missing,
    before anything long is begun.
    """
    size = size or (QUICK if quick else FULL)
    if out is not None:
        _check_writable(Path(out))
    report.check()
    with one_thread():
        found = _results(size, seed, partial(execute, on_compile=on_compile), progress or _silent)
    command = "intsim demo" + (" --quick" if size == QUICK else "") + (f" --seed {seed}" if seed else "")
    found = replace(found, command=command)
    if out is not None:
        write(found, out)
    (progress or _silent)("done", 100, 100)
    return found


def write(found: Results, out: str | Path) -> None:
    """Writes results.json, report.html and examples.npz (`report.outcomes`) into the folder `out`.

    Each appears whole or not at all.
    """
    text = msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"
    page = report.render(found).encode()
    write_atomically(Path(out) / "results.json", text)
    write_atomically(Path(out) / "report.html", page)
    write_atomically(Path(out) / "examples.npz", report.outcomes(found))


def _results(size: Size, seed: int, run: Run, progress: Progress) -> Results:
    file, images = intsim_models.path("cnn"), intsim_models.images()
    x, y = images.x[: size.images], images.y[: size.images].astype(np.int64)
    progress("calibrating", 0, 100)
    graph = load(file)
    assert isinstance(graph, Graph)
    graph = replace(graph, name="cnn")
    quantized = networks(graph, images.x_calibration, size)
    panel = [float_judge(graph), *judges(graph, quantized, size, run, seed)]
    kept: dict[tuple[str, float], Images] = {}
    evaluation = evaluated(
        twin(graph),
        panel,
        x,
        y,
        [ATTACKS["fgsm"], ATTACKS["pgd"]],
        {"fgsm": size.fgsm, "pgd": size.pgd},
        seed=seed,
        progress=part(progress, 5, 75),
        keep=lambda one: kept.update({(one.name, one.eps_steps): one}),
    )
    found = replace(
        report.results(evaluation),
        of=f"The embedded network cnn on the first {len(x):,} test images of Fashion-MNIST",
        class_names=CLASSES,
        widths=tuple(Width(bits=b, network=network_name(b), target="ideal") for b in size.bits),
        doors=doors(graph, quantized),
        digests={
            file.name: hashlib.sha256(file.read_bytes()).hexdigest(),
            "calibration": digest(images.x_calibration),
        },
    )
    told, more = sets_of(found, kept)
    chosen = report.examples(found, panel, y, told[0], told[1])
    widest = network_name(size.bits[0])
    heard: list[Amplified] = []
    for name in map(network_name, size.bits):
        program = lower(quantized[name], TARGETS["ideal"])
        heard += amplification(graph, program, name, "ideal", told[0], told[1], size.counted, run)
    climbed = with_accumulators(
        found,
        narrowed(quantized[widest], TARGETS[LADDER], widest, size.ladder),
        panel,
        told,
        more if size.heat else [],
        y,
        run,
        counted=size.counted,
        tick=part(progress, 75, 97),
    )
    return replace(climbed, gallery=tuple(chosen), amplified=tuple(heard))


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as reason:
        raise IntsimError(
            f"cannot be written: {reason.strerror}", where=str(out), mend="choose another place with --out"
        ) from None


def _silent(what: str, done: int, of: int) -> None:
    """Nothing."""
