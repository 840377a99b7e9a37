"""What sharing saves: a grid of accumulators, overflow modes and radii beside the engine time of its distinct layers.

python benchmarks/sweep.py [IMAGES] [--network NAME] [--eps N]

5 accumulator widths x 2 overflow modes x 8 radii (FGSM) on the embedded CNN, one process, one thread. A first sweep
compiles, calibrates and crafts; with its images a second store is filled from nothing. The goal: that takes less than
1.5 times what the engine alone needs to evaluate each distinct layer of each set of images once. Float judges every
set too, in torch; without that the ratio is `whole_but_float_to_engine`. What every program one after the other would
need is estimated from one set of images. Seconds are of the CPU, so that other work on the machine disturbs less; those
of the store are of the clock. The record is a file for each CPU in benchmarks/results/sweep.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from intsim.bench.machine import machine_of, results_name
from intsim.engine import run
from intsim.evaluate.judges import float_judge
from intsim.evaluate.records import FLOAT
from intsim.program import Program, Result
from intsim.sweep import prefixes, running, shared, sweep
from intsim.sweep.cells import Cell, cells
from intsim.sweep.plan import Axes, Plan
from intsim.sweep.work import images

GOAL = 1.5
FOLDER = Path("benchmarks/results/sweep")


def main() -> None:
    """Measures, prints the ratios and writes the record."""
    words = argparse.ArgumentParser()
    words.add_argument("images", type=int, nargs="?", default=2000)
    words.add_argument("--network", default="cnn")
    words.add_argument("--eps", type=int, default=8, help="how many radii")
    said = words.parse_args()
    torch.set_num_threads(1)
    plan = grid(said.network, said.images, said.eps)
    with tempfile.TemporaryDirectory() as folder:
        found = measured(plan, Path(folder))
    found = {"machine": machine_of(), "network": said.network, "images": said.images, "radii": said.eps, **found}
    FOLDER.mkdir(parents=True, exist_ok=True)
    whole = (said.images, said.eps, said.network) == (2000, 8, "cnn")
    path = FOLDER / f"{'' if whole else 'small-'}{results_name(machine_of())}"
    path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    for name, value in found.items():
        print(f"{name}: {value:.3g}" if isinstance(value, float) else f"{name}: {value}")


def grid(network: str, limit: int, radii: int) -> Plan:
    """The plan: five widths, two modes, so many radii."""
    axes = Axes(
        networks=(network,),
        targets=("cmsis_nn_s8",),
        accumulators=(12, 13, 14, 16, 18),
        overflows=("wrap", "saturate"),
        attacks=("fgsm",),
        eps=tuple(f"{i}/255" for i in range(1, radii + 1)),
    )
    return Plan(name="sharing", data="fashion", calibration="fashion", limit=limit, null=False, axes=axes)


def measured(plan: Plan, folder: Path) -> dict[str, float | int]:
    """Seconds of every part, and the ratios of them."""
    began = time.process_time()
    first = sweep(plan, folder / "first.sqlite", executor=lambda: ThreadPoolExecutor(1), workers=1)
    before = time.process_time() - began
    cache = (folder / "first.sqlite.images").rename(folder / "runs.sqlite.images")
    storing, keep = [0.0], running.store.keep

    def kept(*words: object) -> None:
        at = time.perf_counter()
        keep(*words)  # type: ignore[arg-type]
        storing[0] += time.perf_counter() - at

    running.store.keep = kept  # type: ignore[assignment]
    began = time.process_time()
    found = sweep(plan, folder / "runs.sqlite", executor=lambda: ThreadPoolExecutor(1), workers=1)
    whole = time.process_time() - began
    running.store.keep = keep
    assert found.done == first.done == found.cells
    sets = machines_of(plan)
    assert found.steps == sum(distinct([shared.program(plan, cell) for cell in several]) for several in sets)
    engine = sum(engine_seconds(plan, several, str(cache)) for several in sets)
    ideal, x = 0.0, images(plan, sets[0][0], str(cache))[0]
    for several in sets:
        judge, own = float_judge(shared.graph(plan, several[0].network)), images(plan, several[0], str(cache))[0]
        began = time.process_time()
        judge.answer(own)
        ideal += time.process_time() - began
    for _ in range(2):  # the first one plans
        began = time.process_time()
        for cell in sets[0]:
            run(shared.program(plan, cell), x, threads=1)
        alone = (time.process_time() - began) / len(sets[0]) * sum(map(len, sets))
    return {
        "cells": found.cells, "sets": len(sets), "steps": found.steps, "of_steps": found.of_steps,
        "first_seconds": before, "whole_seconds": whole, "engine_seconds": engine, "store_seconds": storing[0],
        "one_by_one_seconds": alone, "float_seconds": ideal, "whole_to_engine": whole / engine, "goal": GOAL,
        "whole_but_float_to_engine": (whole - ideal) / engine,
        "store_to_whole": storing[0] / whole, "one_by_one_to_whole": alone / whole,
    }  # fmt: skip


def machines_of(plan: Plan) -> list[list[Cell]]:
    """The cells that judge by integers, those of the same images together."""
    found = defaultdict(list)
    for cell, *_ in cells(plan).values():
        if cell.target != FLOAT:
            found[cell.attack, cell.eps_steps].append(cell)
    return list(found.values())


def distinct(programs: Sequence[Program]) -> int:
    """How many steps differ from all others, or come after one that does: those that have to be evaluated."""
    several = [prefixes.marks(prefixes.settled(one)) for one in programs]
    return len({marks[: i + 1] for marks in several for i in range(1, len(marks))})


def engine_seconds(plan: Plan, several: Sequence[Cell], cache: str) -> float:
    """Seconds inside the engine while each distinct layer is evaluated once for a set of images."""
    spent = 0.0

    def timed(program: Program, values: object) -> Result:
        nonlocal spent
        began = time.process_time()
        found = run(program, values, threads=1)  # type: ignore[arg-type]
        spent += time.process_time() - began
        return found

    judge: Callable[[Program, object], Result] = timed
    prefixes.outputs([shared.program(plan, cell) for cell in several], images(plan, several[0], cache)[0], judge)
    return spent


if __name__ == "__main__":
    main()
