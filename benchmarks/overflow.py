"""What overflow-seeking finds that random signs, PGD and evasive images do not: the table of docs/overflow.md.

python benchmarks/overflow.py [IMAGES] [--cells BITS:EPS ...] [--seed S]

The embedded CNN at 8 bits on ideal arithmetic with a wrapping accumulator. Images are the first that the float network
and the chip have right and on which no sum overflows. All attackers spend the same: 160 gradients, or 168 questions to
the chip. The record is benchmarks/overflow.json, to which cells are added as they are done.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from intsim import engine
from intsim.attack.catalogue import ATTACKS, Attack
from intsim.attack.chip import Chip
from intsim.attack.craft import craft
from intsim.attack.twin import Network, twin
from intsim.build import build
from intsim.evaluate.known import chip_of, widened
from intsim.integers import Overflow
from intsim.normalise import normalise
from intsim.onnx_io import read
from intsim.program import Program
from intsim.statistics import paired, wilson
from intsim.targets import TARGETS, with_accumulator
from intsim_models import images, path

RECORD, PAGE = Path("benchmarks/overflow.json"), Path("docs/overflow.md")
START, END = "<!-- the table -->\n", "<!-- end of the table -->\n"
CELLS = ("18:8", "18:16", "19:16")
LEVELS = ("event", "output", "label", "float right")
KINDS = (*LEVELS, "disagree")
NAMES = ("i", "ii", "iii", "iv", "any")
ATTACKERS: dict[str, Attack] = {
    "random signs": replace(ATTACKS["overflow"], name="random_signs", steps=0, start="edge", restarts=84, keep="worst"),
    "PGD on float": replace(ATTACKS["pgd"], steps=40, step_size=0.1, restarts=4),
    "evasive": ATTACKS["evasive"],
    "overflow": ATTACKS["overflow"],
}


def main() -> None:
    """Runs the cells that are missing, then writes the page's table."""
    words = argparse.ArgumentParser()
    words.add_argument("images", type=int, nargs="?", default=200)
    words.add_argument("--cells", nargs="*", default=CELLS)
    words.add_argument("--seed", type=int, default=0)
    said = words.parse_args()
    torch.set_num_threads(1)
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for cell in said.cells:
        for name, attack in ATTACKERS.items():
            key = f"{cell}:{said.seed}:{said.images}:{name}"
            if key not in record:
                record[key] = ran(attack, *(int(part) for part in cell.split(":")), said.images, said.seed)
                written(record)
                print(key, {level: sum(record[key][level]) for level in LEVELS}, flush=True)
    written(record)
    text = PAGE.read_text(encoding="utf-8")
    before, after = text.split(START)[0], text.split(END)[1]
    lines = [line for cell in said.cells for line in table(record, cell, said.seed, said.images)]
    PAGE.write_text(before + START + "\n" + "\n".join(lines) + "\n" + END + after, encoding="utf-8")


def written(record: dict[str, Any]) -> None:
    """The record in its file, a line an attacker."""
    lines = ",\n".join(f"{json.dumps(key)}: {json.dumps(one, separators=(',', ':'))}" for key, one in record.items())
    RECORD.write_text("{\n" + lines + "\n}\n", encoding="utf-8")


def ran(attack: Attack, bits: int, eps: int, n: int, seed: int) -> dict[str, Any]:
    """What an attack reaches on every image, by level: 0 or 1 each; and in which layers sums overflow."""
    graph, shipped = normalise(read(path("cnn")))[0], images()
    network = twin(graph)
    target = with_accumulator(TARGETS["ideal"], bits, Overflow.WRAP)
    program = build(graph, target, calibration=shipped.x_calibration)
    chip = chip_of(program, engine.run, graph, f"cnn on {target.name}")
    x, y = usable(network, chip, shipped.x[: 3 * n], shipped.y[: 3 * n].astype(np.int64))
    x, y = x[:n], y[:n]
    made = craft(attack, network, x, y, eps, seed=seed, chip=chip)
    return {"n": len(x), "target": target.name, **reached(network, chip, program, made, y)}


def reached(network: Network, chip: Chip, program: Program, made: np.ndarray, y: np.ndarray) -> dict[str, Any]:
    """The levels, of images[n, ...] with labels y[n]."""
    by_layer = overflowing(chip, made)
    here, wide = chip.answer(made), next(iter(engine.run(widened(program), made).integers.values()))
    label = here.argmax(1) != wide.argmax(1)
    right = floats(network, made) == y
    found = {
        "event": np.any(list(by_layer.values()), axis=0),
        "output": (here != wide).any(1),
        "label": label,
        "float right": label & right & (here.argmax(1) != y),
        "disagree": right & (here.argmax(1) != y),
    }
    layers = {name: int(hit.sum()) for name, hit in by_layer.items()}
    return {**{name: one.astype(int).tolist() for name, one in found.items()}, "layers": layers}


def usable(network: Network, chip: Chip, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The images that float and the chip have right and on which nothing overflows."""
    quiet = ~np.any(list(overflowing(chip, x).values()), axis=0)
    kept = quiet & (floats(network, x) == y) & (chip.answer(x).argmax(1) == y)
    return x[kept], y[kept]


def overflowing(chip: Chip, x: np.ndarray) -> dict[str, np.ndarray]:
    """bool[n] by layer: whether some exact sum is outside of its register."""
    assert chip.sums is not None
    found: dict[str, list[np.ndarray]] = {name: [] for name in chip.registers}
    for first in range(0, len(x), 100):
        for name, sums in chip.sums(x[first : first + 100]).items():
            low, high = chip.registers[name]
            found[name].append(((sums < low) | (sums > high)).reshape(len(sums), -1).any(1))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def floats(network: Network, x: np.ndarray) -> np.ndarray:
    """The float network's answers, [n]."""
    with torch.inference_mode():
        return network(torch.from_numpy(x / np.float32(255))).argmax(1).numpy()


def table(record: dict[str, Any], cell: str, seed: int, images: int) -> Sequence[str]:
    """The lines of one accumulator and radius."""
    bits, eps = cell.split(":")
    found = {name: record[f"{cell}:{seed}:{images}:{name}"] for name in ATTACKERS}
    n = found["overflow"]["n"]
    lines = [
        f"**{bits}-bit wrapping accumulator, eps {eps}/255, {n} images**",
        "",
        "| attacker | (i) a sum overflows | (ii) output changed | (iii) label changed | (iv) and float right "
        "| chip wrong, float right, whatever the cause | layers that overflow |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, one in found.items():
        rates = [wilson(sum(one[level]), n) for level in KINDS]
        cells = [f"{100 * r.value:.1f} % [{100 * r.low:.1f}, {100 * r.high:.1f}]" for r in rates]
        layers = ", ".join(f"{layer} {count}" for layer, count in one["layers"].items() if count) or "none"
        lines.append(f"| {name} | {' | '.join(cells)} | {layers} |")
    lines.append("")
    for name in list(ATTACKERS)[:-1]:
        pairs = [paired(*(np.array(one[level], bool) for one in (found["overflow"], found[name]))) for level in KINDS]
        words = [f"({level}) {p.gained} to {p.lost}, p = {p.p:.2g}" for level, p in zip(NAMES, pairs, strict=True)]
        lines.append(f"- overflow-seeking only, to {name} only: {'; '.join(words)}")
    return [*lines, ""]


if __name__ == "__main__":
    main()
