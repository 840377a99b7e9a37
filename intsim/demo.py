"""The main job on the embedded network and images: what an attacker gains when a network runs in a chip's integers."""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import asdict, replace

import intsim_models
from intsim import report
from intsim.attack.catalogue import ATTACKS, NOISE
from intsim.attack.twin import twin
from intsim.build import load
from intsim.calibrate import ranges
from intsim.engine import run as execute
from intsim.errors import IntsimError
from intsim.evaluate import Images, Judge, evaluated
from intsim.evaluate.camera import digest
from intsim.evaluate.judged import judged
from intsim.evaluate.judges import Run, float_judge, null_judge, program_judge
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.files import write_atomically
from intsim.graph import Graph
from intsim.integers import Overflow
from intsim.lower import lower
from intsim.program import Program
from intsim.quantize import meet, quantize
from intsim.quantized import QuantizedGraph, dequantized
from intsim.report import Counted, Results, Rung, Width
from intsim.targets import TARGETS, with_accumulator

CLASSES = ("T-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
"""Of Fashion-MNIST, in the order of its labels."""

SHARING = ("ideal", "litert_ref", "litert_xnnpack", "ort_x86_avx2")
"""Machines that take the very same integers; any other has a quantization of its own."""

DOOR = "float, same input"
"""What the float network behind a narrow network's coarse input is called among the targets."""

LADDER = "litert_ref"
MODES = (Overflow.WRAP, Overflow.SATURATE)

Progress = Callable[[str, int, int], None]
"""Told what comes next, and how much of how much is done."""


class Size(Struct, frozen=True, kw_only=True):
    """How much is done: `images` judged, `counted` of them for overflows; strengths in steps of 1/255."""

    images: int
    counted: int
    bits: tuple[int, ...]
    targets: tuple[str, ...]
    fgsm: tuple[float, ...]
    pgd: tuple[float, ...]
    ladder: tuple[int, ...]


FULL = Size(
    images=1000,
    counted=100,
    bits=(8, 6, 4, 3),
    targets=(*SHARING, "nvdla_small", "esp_dl_s3"),
    fgsm=(1, 2, 4, 6, 8, 12, 16, 24),
    pgd=(2, 4, 8, 16),
    ladder=(32, 20, 18, 16, 14),
)
QUICK = Size(
    images=250,
    counted=50,
    bits=(8, 4, 3),
    targets=("ideal", "litert_ref", "ort_x86_avx2", "esp_dl_s3"),
    fgsm=(2, 4, 8, 16),
    pgd=(8,),
    ladder=(32, 18, 16, 14),
)


def run(
    out: str | Path | None = None,
    quick: bool = False,
    *,
    size: Size | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    on_compile: Callable[[str], None] | None = None,
) -> Results:
    """The demo's results; in the folder `out`, made where it is missing, also as results.json and report.html.

    `size`: `FULL`, or `QUICK` where `quick` is said, unless given. `on_compile` is told of kernels that are compiled.
    The same seed gives the same files. Raises IntsimError where `out` cannot be written, or a package is missing,
    before anything long is begun.
    """
    size = size or (QUICK if quick else FULL)
    if out is not None:
        _check_writable(Path(out))
    report.check()
    found = _results(size, seed, partial(execute, on_compile=on_compile), progress or _silent)
    found = replace(found, command="intsim demo" + (" --quick" if size == QUICK else ""))
    if out is not None:
        write(found, out)
    (progress or _silent)("done", 100, 100)
    return found


def write(found: Results, out: str | Path) -> None:
    """Writes results.json and report.html into the folder `out`; each appears whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n"
    page = report.render(found).encode()
    write_atomically(Path(out) / "results.json", text)
    write_atomically(Path(out) / "report.html", page)


def _results(size: Size, seed: int, run: Run, progress: Progress) -> Results:
    file, images = intsim_models.path("cnn"), intsim_models.images()
    x, y = images.x[: size.images], images.y[: size.images].astype(np.int64)
    progress("calibrating", 0, 100)
    graph = load(file)
    assert isinstance(graph, Graph)
    graph = replace(graph, name="cnn")
    networks = _networks(graph, images.x_calibration, size)
    panel = [float_judge(graph), *_panel(graph, networks, size, run, seed)]
    kept: dict[tuple[str, float], Images] = {}
    evaluation = evaluated(
        twin(graph),
        panel,
        x,
        y,
        [ATTACKS["fgsm"], ATTACKS["pgd"]],
        {"fgsm": size.fgsm, "pgd": size.pgd},
        seed=seed,
        progress=_part(progress, 5, 75),
        keep=lambda one: kept.update({(one.name, one.eps_steps): one}),
    )
    found = replace(
        report.results(evaluation),
        of="The embedded network cnn on Fashion-MNIST",
        class_names=CLASSES,
        widths=tuple(Width(bits=b, network=_name(b), target="ideal", door=DOOR if b < 8 else "") for b in size.bits),
        digests={
            file.name: hashlib.sha256(file.read_bytes()).hexdigest(),
            "calibration": digest(images.x_calibration),
        },
    )
    clean, hit = _sets(found, kept)
    chosen = report.examples(found, panel, y, clean, hit[0])
    climbed = _with_ladder(found, networks[_name(size.bits[0])], panel, [clean, *hit], y, size, run, progress)
    return replace(climbed, gallery=tuple(chosen))


# ---- who judges ------------------------------------------------------------------------------------------------


def _name(bits: int, target: str = "") -> str:
    return f"cnn {bits} bits" + (f" for {target}" if target else "")


def _networks(graph: Graph, calibration: np.ndarray, size: Size) -> dict[str, QuantizedGraph]:
    """The quantized networks by name: one a bit width, that all of SHARING take, and those for single machines."""
    observed = ranges(graph, calibration)
    shared = meet([TARGETS[name].scheme for name in SHARING])
    found = {
        _name(bits): quantize(graph, observed, shared, weight_bits=bits, activation_bits=bits) for bits in size.bits
    }
    for target in size.targets:
        if target not in SHARING:
            bits, scheme = size.bits[0], TARGETS[target].scheme
            found[_name(bits, target)] = quantize(graph, observed, scheme, weight_bits=bits, activation_bits=bits)
    return found


def _panel(graph: Graph, networks: Mapping[str, QuantizedGraph], size: Size, run: Run, seed: int) -> Iterator[Judge]:
    """For every quantized network its float null and its machines; those of SHARING run the widest one."""
    for name, quantized in networks.items():
        own = [target for target in size.targets if name == _name(size.bits[0], target)]
        if name == _name(size.bits[0]):
            own = [target for target in size.targets if target in SHARING]
        yield null_judge(graph, quantized, network=name, seed=seed)
        programs = {target: lower(quantized, TARGETS[target]) for target in own or ["ideal"]}
        if quantized.affines[graph.inputs[0]].type.bits < 8:
            yield _behind_the_door(graph, next(iter(programs.values())), name)
        for target, program in programs.items():
            yield program_judge(program, run, network=name, target=target)


def _behind_the_door(graph: Graph, program: Program, network: str) -> Judge:
    """The float network, its input rounded as the program's door rounds it."""
    door = next(iter(program.inputs.values()))
    assert door.table is not None
    pixels = 255 * dequantized(door.table[:, 0], door.affine)  # the network's input is pixel / 255
    answer = float_judge(graph).answer
    return Judge(network=network, target=DOOR, answer=lambda x: answer(pixels[x]))


# ---- the ladder ------------------------------------------------------------------------------------------------


def _sets(found: Results, kept: Mapping[tuple[str, float], Images]) -> tuple[Images, list[Images]]:
    """The clean images; and of each attack those that tell most, then noise of the first one's radius."""
    attacks = [(name, report.telling(found, name)) for name in report.searching(found)]
    return kept[CLEAN, 0.0], [kept[one] for one in (*attacks, (NOISE["linf"], attacks[0][1]))]


def _with_ladder(
    found: Results,
    quantized: QuantizedGraph,
    panel: Sequence[Judge],
    sets: Sequence[Images],
    y: np.ndarray,
    size: Size,
    run: Run,
    progress: Progress,
) -> Results:
    """The results with the accumulators of the ladder judged and their overflows counted, on a few sets of images."""
    network = _name(size.bits[0])
    rungs = {
        (bits, mode): lower(quantized, with_accumulator(TARGETS[LADDER], bits, mode))
        for mode in MODES
        for bits in size.ladder
    }
    names = {rung: next(iter(program.targets)) for rung, program in rungs.items()}
    climbing = [program_judge(rungs[rung], run, network=network, target=names[rung]) for rung in rungs]
    beside = [judge for judge in panel if judge.target == FLOAT or (judge.network, judge.target) == (network, NULL)]
    done = iter(range(len(sets) * len(climbing + beside)))
    tick = _part(progress, 75, 85)
    rows = judged(
        [*beside, *climbing],
        sets,
        y,
        seed=found.seed,
        progress=lambda judge, images: tick(f"{judge}: {images}", next(done), len(sets) * len(climbing + beside)),
    )
    counted = _counts(network, {names[rung]: program for rung, program in rungs.items()}, sets, size.counted, progress)
    return replace(
        found,
        rows=(*found.rows, *(row for row in rows if row.target not in (FLOAT, NULL))),
        ladder=tuple(
            Rung(bits=bits, overflow=mode.value, network=network, target=name) for (bits, mode), name in names.items()
        ),
        overflows=tuple(counted),
    )


def _counts(
    network: str, programs: Mapping[str, Program], sets: Sequence[Images], images: int, progress: Progress
) -> Iterator[Counted]:
    """The overflows of every program, layer by layer, on the first `images` of every set."""
    tick = _part(progress, 85, 97)
    for place, ((name, program), one) in enumerate(product(programs.items(), sets)):
        tick(f"{name}: counting overflows", place, len(programs) * len(sets))
        x = one.x[:images]
        for layer, count in execute(program, x, count=True).overflows.items():
            yield Counted(
                network=network,
                target=name,
                attack=one.name,
                eps_steps=one.eps_steps,
                images=len(x),
                layer=layer,
                **asdict(count),
            )


# ---- around it -------------------------------------------------------------------------------------------------


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as reason:
        raise IntsimError(
            f"cannot be written: {reason.strerror}", where=str(out), mend="choose another place with --out"
        ) from None


def _part(progress: Progress, low: int, high: int) -> Progress:
    """Progress over a part of the whole, from `low` to `high` percent."""
    return lambda what, done, of: progress(what, round(low + (high - low) * done / max(1, of)), 100)


def _silent(what: str, done: int, of: int) -> None:
    """Nothing."""
