"""FGSM and 40-step PGD beside foolbox's and ART's on the embedded CNN: ratios of times, taken in turns.

Then PGD straight through the integer engine beside the same steps on the float network, on one thread each.

python benchmarks/attacks.py [IMAGES [ROUNDS]] [--out FILE.json]     (pip install intsim[attacks-bench])

All three attack the same network, the torch twin on one thread, from images on the grid of 255; each peer's batch is
the faster of BATCHES, ours is the default.
"""

import argparse
import functools
import json
import platform
import statistics
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from intsim import engine
from intsim.attack import art
from intsim.attack.catalogue import ATTACKS, Attack
from intsim.attack.craft import craft
from intsim.attack.twin import twin
from intsim.build import build
from intsim.evaluate.known import chip_of
from intsim.normalise import normalise
from intsim.onnx_io import read
from intsim_models import images, path

EPS_STEPS, STEPS, STEP = 8, 40, 0.1
BATCHES = (100, 250)
CHIP = "cmsis_nn_s8"
OURS = {"fgsm": ATTACKS["fgsm"], "pgd40": Attack(name="pgd40", steps=STEPS, step_size=STEP, start="inside")}
Run = Callable[[], Any]


def main() -> None:
    """Prints a table, and writes it where a file is named."""
    words = argparse.ArgumentParser()
    words.add_argument("images", type=int, nargs="?", default=2000)
    words.add_argument("rounds", type=int, nargs="?", default=3)
    words.add_argument("--out", type=Path)
    said = words.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    network, shipped = twin(normalise(read(path("cnn")))[0]), images()
    x, y = np.resize(shipped.x, (said.images, *shipped.x.shape[1:])), np.resize(shipped.y, said.images).astype(np.int64)
    rows = []
    for name, attack in OURS.items():
        runs = {("intsim", 100): lambda attack=attack: craft(attack, network, x, y, EPS_STEPS)}
        for batch in BATCHES:
            runs["foolbox", batch] = by_foolbox(name, network, x, y, batch)
            runs["art", batch] = by_art(name, network, x, y, batch)
        times = taken(runs, said.rounds)
        for peer in ("foolbox", "art"):
            batch = min(BATCHES, key=lambda b, peer=peer, times=times: statistics.median(times[peer, b]))
            ratios = [a / b for a, b in zip(times["intsim", 100], times[peer, batch], strict=True)]
            row = {"attack": name, "peer": peer, "batch": batch, "ratio": round(statistics.median(ratios), 3)}
            row |= {"ours_s": round(statistics.median(times["intsim", 100]), 3)}
            rows.append(row | {"theirs_s": round(statistics.median(times[peer, batch]), 3)})
            print(f"{name}: ours takes {row['ratio']:.2f} times {peer}'s time (its batch {batch})")
    rows.append(straight_through(network, x, y, said.rounds))
    packages = {name: version(name) for name in ("torch", "foolbox", "adversarial-robustness-toolbox")}
    found = {"images": said.images, "rounds": said.rounds, "threads": 1, "machine": platform.machine(), "rows": rows}
    if said.out:
        said.out.write_text(json.dumps({**found, "versions": packages}, indent=1) + "\n", encoding="utf-8")


def straight_through(network: Any, x: np.ndarray, y: np.ndarray, rounds: int) -> dict[str, Any]:
    """The row of the attack whose forward pass is the integer engine; the peer is the float network alone."""
    graph, shipped = normalise(read(path("cnn")))[0], images()
    program = build(graph, CHIP, calibration=shipped.x_calibration)
    chip = chip_of(program, functools.partial(engine.run, threads=1), graph, f"cnn on {CHIP}")
    known = replace(OURS["pgd40"], knows="chip")
    runs = {
        ("intsim", 100): lambda: craft(known, network, x, y, EPS_STEPS, chip=chip),
        ("float", 100): lambda: craft(OURS["pgd40"], network, x, y, EPS_STEPS),
    }
    craft(replace(known, steps=1), network, x[:100], y[:100], EPS_STEPS, chip=chip)  # compiles
    times = taken(runs, rounds)
    ours, theirs = (statistics.median(times[key]) for key in runs)
    ratio = statistics.median(a / b for a, b in zip(*times.values(), strict=True))
    print(f"pgd40 through {CHIP}: {ratio:.2f} times the time of the same steps on the float network")
    row = {"attack": f"pgd40 through {CHIP}", "peer": "float", "batch": 100, "ratio": round(ratio, 3)}
    return row | {"ours_s": round(ours, 3), "theirs_s": round(theirs, 3)}


def taken(runs: dict[tuple[str, int], Run], rounds: int) -> dict[tuple[str, int], list[float]]:
    """Seconds of every run, in turns."""
    times: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for key, run in runs.items():
            start = time.perf_counter()
            run()
            times[key].append(time.perf_counter() - start)
    return times


def by_foolbox(name: str, network: Any, x: np.ndarray, y: np.ndarray, batch: int) -> Run:
    """The attack as foolbox runs it."""
    import foolbox

    module = torch.nn.Module()
    module.forward = network
    model = foolbox.PyTorchModel(module.eval(), bounds=(0, 1), device="cpu")
    kinds = foolbox.attacks
    attack = kinds.LinfPGD(rel_stepsize=STEP, steps=STEPS) if name == "pgd40" else kinds.LinfFastGradientAttack()
    pixels, labels = torch.from_numpy(x / np.float32(255)), torch.from_numpy(y)

    def run() -> None:
        for part, own in zip(pixels.split(batch), labels.split(batch), strict=True):
            attack.run(model, part, own, epsilon=EPS_STEPS / 255)

    return run


def by_art(name: str, network: Any, x: np.ndarray, y: np.ndarray, batch: int) -> Run:
    """The attack as ART runs it."""
    from art.attacks.evasion import FastGradientMethod, ProjectedGradientDescentPyTorch

    eps = EPS_STEPS / 255
    estimator = art.classifier(network, x.shape[1:], 10)
    many = {"eps_step": STEP * eps, "max_iter": STEPS, "num_random_init": 1, "verbose": False}
    attack: Any = FastGradientMethod(estimator, eps=eps, batch_size=batch)
    if name == "pgd40":
        attack = ProjectedGradientDescentPyTorch(estimator, eps=eps, batch_size=batch, **many)
    pixels = x / np.float32(255)
    return lambda: attack.generate(pixels, y=y)


if __name__ == "__main__":
    main()
