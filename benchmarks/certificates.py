"""How wide the bracket of robust accuracy is, and what is proven of narrow accumulators: docs/certificates.md.

python benchmarks/certificates.py [IMAGES] [--networks NAME ...]

The lower end is what `intsim.certify` proves by intervals, and by lines; the upper what PGD on the float network and
straight-through PGD on the machine leave, clean images included. The record, to which parts are added as they are done,
is benchmarks/results/certificates/fashion.json.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from intsim import engine
from intsim.attack.catalogue import ATTACKS
from intsim.attack.twin import twin
from intsim.build import build
from intsim.certify import certify
from intsim.evaluate import evaluated
from intsim.evaluate.judges import float_judge, program_judge
from intsim.integers import Overflow
from intsim.normalise import normalise
from intsim.onnx_io import read
from intsim.program import Program
from intsim.targets import TARGETS, with_accumulator
from intsim_models import images, path

RECORD, PAGE = Path("benchmarks/results/certificates/fashion.json"), Path("docs/certificates.md")
START, END = "<!-- the tables -->\n", "<!-- end of the tables -->\n"
TARGET, RADII, WIDTHS = "cmsis_nn_s8", (0, 1, 2, 4, 8), (17, 18, 19, 20, 21)
NETWORKS = ("mlp", "lenet5", "cnn", "dscnn", "resnet8")


def main() -> None:
    """Computes the parts that are missing, then writes the page's tables."""
    words = argparse.ArgumentParser()
    words.add_argument("images", type=int, nargs="?", default=100)
    words.add_argument("--networks", nargs="*", default=NETWORKS)
    said = words.parse_args()
    torch.set_num_threads(1)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for network in said.networks:
        for part, made in (("registers", registers), ("bracket", bracket)):
            key = f"{network}:{part}"
            if key not in record:
                record[key] = {"images": said.images, "found": made(network, said.images)}
                RECORD.parent.mkdir(parents=True, exist_ok=True)
                RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
                print(key, json.dumps(record[key]), flush=True)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    PAGE.write_text(before + START + "\n" + "\n".join(tables(record)) + "\n" + END + after, "utf-8")


def program_of(network: str, bits: int | None = None) -> Program:
    """The network on the page's machine, or on ideal arithmetic with a wrapping accumulator of so many bits."""
    target = TARGETS[TARGET] if bits is None else with_accumulator(TARGETS["ideal"], bits, Overflow.WRAP)
    return build(normalise(read(path(network)))[0], target, calibration=images().x_calibration)


def bracket(network: str, n: int) -> list[dict[str, Any]]:
    """By radius: the share right and proven by each method, the share that the attacks left, and seconds an image."""
    graph, program, shipped = normalise(read(path(network)))[0], program_of(network), images()
    x, y = shipped.x[:n], shipped.y[:n].astype(np.int64)
    attacks = [ATTACKS["pgd"], ATTACKS["ste_pgd"]]
    strengths = {attack.name: [float(eps) for eps in RADII if eps] for attack in attacks}
    judge = program_judge(program, engine.run, network=network, target=TARGET, known=graph)
    found = evaluated(twin(graph), [float_judge(graph), judge], x, y, attacks, strengths)
    upper = {b.eps_steps: b.upper.count for b in found.brackets if b.target == TARGET}
    upper[0] = next(row.correct for row in found.rows if row.target == TARGET and not row.eps_steps)
    rows = []
    for eps in RADII:
        row: dict[str, Any] = {"eps": eps, "upper": upper[eps] / n}
        for method in ("interval", "linear"):
            started = time.perf_counter()
            one = certify(program, x, eps, method=method)
            row[method] = float((one.label == y).mean())
            row[f"{method} width"] = float((one.high - one.low).mean())
            row[f"{method} seconds"] = round((time.perf_counter() - started) / n, 4)
        assert row["interval"] <= row["linear"] <= row["upper"], row
        rows.append(row)
    return rows


def registers(network: str, n: int) -> dict[str, dict[str, float]]:
    """By width and radius, the share of images that are proven to overflow nothing; at radius 0 that is exact."""
    x = images().x[:n]
    found = dict[str, dict[str, float]]()
    for bits in WIDTHS:
        program = program_of(network, bits)
        shares = {eps: list(certify(program, x, eps).overflow_free.values()) for eps in RADII}
        found[str(bits)] = {str(eps): float(np.logical_and.reduce(free).mean()) for eps, free in shares.items()}
    return found


def tables(record: dict[str, Any]) -> list[str]:
    """The page's two tables, in Markdown."""
    networks = [network for network in NETWORKS if f"{network}:bracket" in record]
    lines = [f"Robust accuracy on {TARGET} lies between what is proven and what PGD has left, in % of the images:", ""]
    lines += [
        "| network | images | radius | proven, intervals | proven, lines | left by PGD | gap | s an image, lines |"
    ]
    lines += ["|---|---|---|---|---|---|---|---|"]
    for network in networks:
        n, rows = (record[f"{network}:bracket"][field] for field in ("images", "found"))
        for row in rows:
            shares = " | ".join(f"{100 * row[name]:.0f}" for name in ("interval", "linear", "upper"))
            gap = 100 * (row["upper"] - row["linear"])
            lines.append(f"| {network} | {n} | {row['eps']} | {shares} | {gap:.0f} | {row['linear seconds']:.2g} |")
    lines += ["", "Images that are proven to overflow no accumulator, intervals, in %:", ""]
    lines += ["| network | images | bits | " + " | ".join(f"radius {eps}" for eps in RADII) + " |"]
    lines += ["|---|---|---|" + "---|" * len(RADII)]
    for network in (one for one in NETWORKS if f"{one}:registers" in record):
        n, found = (record[f"{network}:registers"][field] for field in ("images", "found"))
        for bits, shares in found.items():
            cells = " | ".join(f"{100 * share:.0f}" for share in shares.values())
            lines.append(f"| {network} | {n} | {bits} | {cells} |")
    return lines


if __name__ == "__main__":
    main()
