"""`python -m paper`: trains and measures what the store lacks, then writes results, figures and docs/paper.md."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before numpy is imported; the matrices are too small for more

import argparse
import time
from pathlib import Path

import torch

from paper import data, figures, measure, page, results
from paper.plan import FULL, QUICK


def main() -> None:
    """Runs what is asked for on the command line."""
    parser = argparse.ArgumentParser(prog="python -m paper", description=__doc__)
    parser.add_argument("--data", help="a directory of idx(.gz) files or an .npz (default: Debian's Fashion-MNIST)")
    parser.add_argument("--name", default="fashion", help='what the data are called in results: "mnist", "fashion"')
    parser.add_argument("--quick", action="store_true", help="fewer seeds, widths and images")
    parser.add_argument("--runs", default="paper-runs", help="where cells are kept; a run goes on where it stopped")
    parser.add_argument("--only", choices=("write",), help="sums up what there is")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    plan = QUICK if asked.quick else FULL
    root = Path(asked.runs) / (f"{asked.name}-quick" if asked.quick else asked.name)
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:7.0f} s  {text}", flush=True)

    found = data.load(asked.data, plan.train_images, plan.images)
    if asked.only != "write":
        measure.run(root, found, plan, say)
    name = f"{asked.name}-quick" if asked.quick else asked.name
    summed = results.summary(root, found, name, plan)
    page.write(summed)
    figures.draw(summed, page.RESULTS)
    say(f"wrote {page.RESULTS / name}.json, its figures, and {page.PAGE}")


if __name__ == "__main__":
    main()
