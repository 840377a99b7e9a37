"""Where the time of a network goes: microseconds an image that each routine takes, called alone.

`python benchmarks/time_per_routine.py resnet8 litert_ref` prints a line for every step: rows an image, rows at once,
and its routines in turn. A routine that is called alone does not find what the one before it has just left in the
cache, so the sum is a bit more than the whole.
"""

import argparse
import time

import numpy as np

import intsim_models
from intsim import TARGETS, build
from intsim.engine.ready import borrowed, scheduled
from intsim_kernels.native import run

ROUNDS = 30


def main() -> None:
    """Prints the profile."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("network", choices=intsim_models.NAMES)
    parser.add_argument("target", choices=list(TARGETS))
    chosen = parser.parse_args()
    images = intsim_models.images().x_calibration
    program = build(intsim_models.path(chosen.network), chosen.target, calibration=images[:64])
    ready = scheduled(program, single=False)
    total = 0.0
    with borrowed(ready) as arena:
        n = ready.schedule.images
        for part in ready.schedule.parts:
            if part.tables is None:
                print(f"{part.steps[0].step.name}: by arrays")
                continue
            names = [kept.py_func.__name__ for kept in part.tables.kept if hasattr(kept, "py_func")]
            for first, count, rows, block in part.tables.steps.tolist():
                found = []
                for call in range(first, first + count):
                    step = np.array([[call, 1, rows, block]], np.int64)
                    seconds = min(_timed(step, part.tables.calls, arena.address, n) for _ in range(ROUNDS))
                    found.append((names[call], seconds * 1e6 / n))
                total += sum(micro for _, micro in found)
                line = ", ".join(f"{name} {micro:.2f}" for name, micro in found)
                print(f"{rows:6d} rows, at most {min(block, rows * n):5d} at once: {line}")
    print(f"together {total:.1f} microseconds an image, {n} images at once")


def _timed(step: np.ndarray, calls: np.ndarray, address: int, n: int) -> float:
    start = time.perf_counter()
    run(step, calls, address, n)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
