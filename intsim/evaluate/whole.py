"""The whole evaluation: a model, machines, attacks and data in; rows, curves and a verdict out."""

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim import tasks
from intsim.attack.catalogue import Attack, find, pixel_steps
from intsim.attack.craft import BATCH
from intsim.attack.door import one_thread
from intsim.attack.twin import Network, twin
from intsim.build import Model, build, load, told, with_pixels
from intsim.calibrate import Calibration, ranges
from intsim.errors import IntsimError, unknown
from intsim.evaluate.bracket import Certified, brackets
from intsim.evaluate.camera import Strengths, as_pixels, attacked, crafting, digest, on_grid, planned
from intsim.evaluate.gates import gates
from intsim.evaluate.judged import judged
from intsim.evaluate.judges import Run, float_judge, judges
from intsim.evaluate.ladder import primary, rungs
from intsim.evaluate.null import restored
from intsim.evaluate.probe import Probe, probe
from intsim.evaluate.records import Evaluation, Images, Judge, Row
from intsim.evaluate.verdict import curves, verdict
from intsim.graph import Graph, Pixels
from intsim.partition import Mixed
from intsim.program import Program
from intsim.target import Target
from intsim.tasks import Data, Right, guessed, top1

PACKAGES = ("intsim", "numpy", "scipy", "torch")
Radii = str | float | Sequence[str | float]
"""One radius or several: "8/255", or numbers in 0..1 (L2: of the pixel range, and as long as you like)."""

STANDS_FOR = (
    "The float network here is the one that the integers stand for (their weights dequantized): the original was not "
    "given. Images were crafted on it, and its accuracy is not the original's."
)
"""What is said first where the model is quantized already."""

Progress = Callable[[str, int, int], None]
"""Told what comes next, and how many images of how many were crafted and judged before."""


class Prepared(Struct, frozen=True, kw_only=True, eq=False):
    """An evaluation before anything is crafted: everything named is found, built and checked.

    `graph`: the float network that is attacked, `network` in torch; `original`: it is the model itself, and not what
    its integers stand for. `panel`: who judges, float first. `strengths`: radii in steps of 1/255 by the attack's name.
    """

    graph: Graph
    network: Network
    original: bool
    panel: tuple[Judge, ...]
    x: np.ndarray
    y: np.ndarray
    attacks: tuple[Attack, ...]
    strengths: Strengths
    seed: int
    grid: int | None
    batch: int
    right: Right
    cell: tuple[str, str, float] | None


def evaluate(
    model: str | Path | Model,
    targets: str | Target | Mixed | Sequence[str | Target | Mixed] = (),
    *,
    data: Data | tuple[Any, Any] | str | Path,
    attacks: str | Attack | Sequence[str | Attack] = ("fgsm", "pgd"),
    eps: Radii | Mapping[str, Radii] = ("2/255", "8/255"),
    calibration: Calibration | np.ndarray | str | Path | None = None,
    null: bool = True,
    seed: int = 0,
    grid: int | None = 255,
    batch: int = BATCH,
    right: Right = top1,
    cell: tuple[str, str, float] | None = None,
    certify: str | None = None,
    run: Run | None = None,
    pixels: Pixels | None = None,
    progress: Progress | None = None,
    keep: Callable[[Images], None] | None = None,
    **quantization: Any,
) -> Evaluation:
    """What images crafted on the float `model` do to it, to its integers in ideal arithmetic, and to every target.

    `data`: images and labels, an array each or an .npz of both. `eps`: radii, for all attacks or by the attack's name.
    One target, attack or radius stands for a list of it. `calibration` and `quantization`: see `intsim.build`. Where
    `model` is quantized, its dequantized weights are the float network, and it is called so. `null`: whether the float
    null is judged too. `grid`: the camera's levels are 0..grid; None: floats. `cell`: the primary comparison's target,
    attack and radius in steps of 1/255 (`ladder.primary`). `right`: which outputs[n, ...] answer y[n] right, for the
    attacks too (what an attack raises is its `loss`); any but `top1` is shown real values, in float32. `certify`:
    "interval" or "linear", how the integers' labels are proven for the lower ends of the L-inf brackets; None: they are
    not. `run`: what runs programs, `intsim.run` unless given. `keep` is handed every set of images. Raises IntsimError
    for whatever does not fit, before anything is crafted. torch computes on one thread: floats, and so images, never
    depend on how many there are.
    """
    ready = prepared(
        model,
        targets,
        data=data,
        attacks=attacks,
        eps=eps,
        calibration=calibration,
        null=null,
        seed=seed,
        grid=grid,
        batch=batch,
        right=right,
        cell=cell,
        certify=certify,
        run=run,
        pixels=pixels,
        **quantization,
    )
    return concluded(ready, progress=progress, keep=keep)


def prepared(
    model: str | Path | Model,
    targets: str | Target | Mixed | Sequence[str | Target | Mixed] = (),
    *,
    data: Data | tuple[Any, Any] | str | Path,
    attacks: str | Attack | Sequence[str | Attack] = ("fgsm", "pgd"),
    eps: Radii | Mapping[str, Radii] = ("2/255", "8/255"),
    calibration: Calibration | np.ndarray | str | Path | None = None,
    null: bool = True,
    seed: int = 0,
    grid: int | None = 255,
    batch: int = BATCH,
    right: Right = top1,
    cell: tuple[str, str, float] | None = None,
    certify: str | None = None,
    run: Run | None = None,
    pixels: Pixels | None = None,
    **quantization: Any,
) -> Prepared:
    """The evaluation that is asked for, ready to begin; see `evaluate`."""
    chosen = [find(attack) if isinstance(attack, str) else attack for attack in _several(attacks)]
    held = _held(model, pixels)
    graph = held if isinstance(held, Graph) else restored(held.source if isinstance(held, Program) else held)
    x, y = _examples(data, graph, grid, right)
    strengths = _strengths(eps, chosen, grid)
    programs = _programs(held, list(_several(targets)), calibration, quantization)
    if certify is not None and right is not top1:
        raise IntsimError("proves labels, not another predicate", where="certify", mend="leave out one of the two")
    original = held is graph
    how: dict[str, Any] = {"null": null and original, "seed": seed, "real": right is not top1, "method": certify}
    how["known"] = graph if any(attack.knows == "chip" for attack in chosen) else None
    name = "" if original else f"{graph.name} (weights dequantized)"
    return Prepared(
        graph=graph,
        network=twin(graph),
        original=original,
        panel=(float_judge(graph, network=name), *judges(graph, programs, run or _engine(), **how)),
        x=x,
        y=y,
        attacks=tuple(chosen),
        strengths=strengths,
        seed=seed,
        grid=grid,
        batch=batch,
        right=right,
        cell=cell,
    )


def concluded(
    ready: Prepared, *, progress: Progress | None = None, keep: Callable[[Images], None] | None = None
) -> Evaluation:
    """The evaluation that was prepared; see `evaluate`."""
    found = evaluated(
        ready.network,
        ready.panel,
        ready.x,
        ready.y,
        ready.attacks,
        ready.strengths,
        seed=ready.seed,
        grid=ready.grid,
        batch=ready.batch,
        right=ready.right,
        cell=ready.cell,
        progress=progress,
        keep=keep,
    )
    return found if ready.original else replace(found, verdict=(STANDS_FOR, *found.verdict))


@one_thread()
def evaluated(
    network: Network,
    panel: Sequence[Judge],
    x: np.ndarray,
    y: np.ndarray,
    attacks: Sequence[Attack],
    strengths: Strengths,
    *,
    seed: int = 0,
    grid: int | None = 255,
    batch: int = BATCH,
    right: Right = top1,
    cell: tuple[str, str, float] | None = None,
    progress: Progress | None = None,
    keep: Callable[[Images], None] | None = None,
) -> Evaluation:
    """The `Evaluation` of a panel of judges of your own on what the attacks make of x[n, c, h, w], images on the grid.

    `network`: the float network in torch that is attacked (`intsim.attack.twin`). `strengths`: radii in steps of
    1/255. `cell`: see `evaluate`. One set of images is held at a time.
    """
    chips = [judge.chip for judge in panel if judge.chip is not None]
    plan = crafting(planned(attacks, strengths), chips)
    total, crafted, asked = len(x) * (len(plan) + (len(plan) + 1) * len(panel)), 0, 0

    def told_crafting(name: str, done: int) -> None:
        nonlocal crafted
        crafted = done
        if progress is not None:
            progress(f"crafting {name}", crafted + asked * len(x), total)

    def judging(judge: str, images: str) -> None:
        nonlocal asked
        if progress is not None:
            progress(f"{judge}: {images}", crafted + asked * len(x), total)
        asked += 1

    def kept() -> Iterator[Images]:
        how: dict[str, Any] = {"seed": seed, "grid": grid, "batch": batch, "chips": chips, "progress": told_crafting}
        how["right"] = right
        for images in attacked(network, x, y, attacks, strengths, **how):
            if keep is not None:
                keep(images)
            yield images

    rows = judged(panel, kept(), y, right=right, seed=seed, progress=judging)
    used = list({attack.name: attack for attack, *_ in plan}.values())
    found = summed(
        rows,
        used,
        n=len(x),
        seed=seed,
        grid=grid,
        data=digest(x, y),
        versions=_versions(),
        asked=probe(network, as_pixels(x, grid) / np.float32(255), y),
        chance=None if right is top1 else guessed(right, y, len(rows[0].predicted)),
        cell=cell,
        proven=certified(panel, x, y, grid, right),
    )
    if progress is not None:
        progress("done", total, total)
    return found


def summed(
    rows: Sequence[Row],
    attacks: Sequence[Attack],
    *,
    n: int,
    seed: int,
    grid: int | None,
    data: str,
    versions: dict[str, str],
    asked: Probe | None = None,
    chance: float | None = None,
    cell: tuple[str, str, float] | None = None,
    proven: Certified | None = None,
) -> Evaluation:
    """What the rows on n images come to: curves, ladder, brackets, gates, the verdict.

    `asked`: what float's gradients are like; without it, and without `proven`, gates and brackets say less. `chance`,
    `cell`: see `gates`, `primary`.
    """
    lines, checks, declared = curves(rows, seed=seed), gates(rows, attacks, asked, chance), primary(rows, attacks, cell)
    return Evaluation(
        rows=tuple(rows),
        curves=tuple(lines),
        attacks=tuple(attacks),
        n=n,
        classes=len(rows[0].predicted),
        seed=seed,
        grid=grid,
        data=data,
        versions=versions,
        verdict=tuple(verdict(rows, lines, checks, declared)),
        primary=declared,
        rungs=tuple(rungs(rows, seed=seed)),
        brackets=tuple(brackets(rows, proven)),
        gates=tuple(checks),
    )


def certified(panel: Sequence[Judge], x: np.ndarray, y: np.ndarray, grid: int | None, right: Right = top1) -> Certified:
    """What the judges prove of the clean images in L-inf balls: that the label y is the answer to all of them.

    Nothing in other norms, of images that are not uint8, or where something else than the first class is right.
    """
    proven = {(judge.network, judge.target): judge.proven for judge in panel}

    def found(network: str, target: str, norm: str, eps_steps: float) -> np.ndarray | None:
        prove = proven.get((network, target))
        if prove is None or norm != "linf" or grid != 255 or right is not top1:
            return None
        return np.asarray(prove(x.astype(np.uint8), int(eps_steps)) == y)

    return found


# ---- from words to judges ---------------------------------------------------------------------------------------


def _several(given: Any) -> Iterable[Any]:
    """What was given, one thing as a list of it: a word is a word, and not its letters."""
    return given if isinstance(given, Iterable) and not isinstance(given, str) else [given]


def _strengths(eps: Radii | Mapping[str, Radii], attacks: Sequence[Attack], grid: int | None) -> dict[str, list[float]]:
    """Radii in steps of 1/255, ascending, by the attack's name."""
    norms = {attack.name: attack.norm for attack in attacks}
    given = eps if isinstance(eps, Mapping) else dict.fromkeys(norms, eps)
    for name in given:
        if name not in norms:
            raise unknown("attack", name, norms)
    return {
        name: sorted({pixel_steps(value, norms[name], grid) for value in _several(values)})
        for name, values in given.items()
    }


def _held(model: str | Path | Model, pixels: Pixels | None) -> Model:
    """The model, its images entering by `pixels`; a float network from a file is called as its file is."""
    held = load(model) if isinstance(model, str | Path) else model
    if isinstance(held, Graph):
        named = replace(held, name=Path(model).stem) if isinstance(model, str | Path) else held
        return with_pixels(named, pixels)
    return told(held, model if isinstance(model, str | Path) else "model", pixels)


def _programs(
    held: Model, targets: Sequence[str | Target | Mixed], calibration: Any, quantization: Mapping[str, Any]
) -> list[Program]:
    """The model's program on every target; a Program stands for itself where no target is named."""
    if isinstance(held, Program) and not targets:
        return [held]
    if isinstance(held, Graph) and targets and calibration is not None and not isinstance(calibration, Calibration):
        images = tasks.load(calibration).x if isinstance(calibration, str | Path) else np.asarray(calibration)
        calibration = ranges(held, images, method=quantization.get("method", "minmax"))
    return [build(held, target, calibration=calibration, **quantization) for target in targets]


def _examples(
    data: Data | tuple[Any, Any] | str | Path, graph: Graph, grid: int | None, right: Right
) -> tuple[np.ndarray, np.ndarray]:
    match data:
        case str() | Path():
            found = tasks.load(data)
        case Data():
            found = data
        case (x, y) if isinstance(data, tuple):
            found = tasks.data(x, y)
        case _:
            what = f"is a {type(data).__name__}" + (f" of {len(data)}" if isinstance(data, tuple) else "")
            raise IntsimError(f"{what}, not images and labels", where="data", mend="give (x, y), or an .npz of both")
    if found.y is None:
        raise IntsimError("has no labels", where="data", mend="give the class of each image as y")
    if tasks.are_values(found.y) and right.__module__ == tasks.__name__:  # its own predicates are all of classes
        mend = "give a predicate of your own: right=f, or --right MODULE:F"
        raise IntsimError("holds values, and the predicate asks for classes", where="y", mend=mend)
    pixels = graph.pixels.get(graph.inputs[0], Pixels())
    outputs = graph.shapes[graph.outputs[0]]
    classes = outputs[0] if len(outputs) == 1 and outputs[0] > 1 else None
    tasks.check(found, graph.shapes[graph.inputs[0]], classes, pixels)
    return on_grid(found.x, pixels, grid), found.y


def _engine() -> Run:
    from intsim.engine import run

    return run


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found
