"""How often the shipped networks are right: by onnxruntime, kept in accuracy.json, shown as a table."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from intsim_models import SHIPPED

RECORD = Path(__file__).parent / "accuracy.json"
BATCH = 500
TARGETS = ("ideal", "litert_ref", "cmsis_nn_s4")
"""The machines on which the quantized networks are counted, too."""


def correct(path: Path | str, x: np.ndarray, y: np.ndarray) -> int:
    """The number of images x[n, 1, 28, 28] (uint8) that the .onnx file at `path` labels y[n]."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    total = 0
    for start in range(0, len(x), BATCH):
        image = x[start : start + BATCH].astype(np.float32) / np.float32(255)
        (logits,) = session.run(["logits"], {"image": image})
        total += int((logits.argmax(axis=1) == y[start : start + BATCH]).sum())
    return total


def by_engine(path: Path | str, x: np.ndarray, y: np.ndarray) -> dict[str, int]:
    """The number of images x[n, 1, 28, 28] (uint8) that the quantized network at `path` labels y[n], by machine."""
    from intsim.build import build
    from intsim.engine import run

    programs = {target: build(path, target) for target in TARGETS}
    logits = {name: run(one, x, threads=1).logits["logits"] for name, one in programs.items()}
    return {name: int((found.argmax(axis=1) == y).sum()) for name, found in logits.items()}


def read() -> dict[str, Any]:
    """What accuracy.json holds: a network's name to what `intsim_models.train.make` recorded of it."""
    return json.loads(RECORD.read_text())


def write(records: dict[str, Any]) -> None:
    """accuracy.json, its networks in the order of SHIPPED."""
    RECORD.write_text(json.dumps({name: records[name] for name in SHIPPED if name in records}, indent=2) + "\n")


def table(records: dict[str, Any]) -> str:
    """The Markdown table of models/README.md, a line a network."""
    lines = [
        "| network | parameters | file | test set, 10,000 images | embedded, 2,000 images |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, record in records.items():
        all_, embedded = record["correct_of_10000"], record["correct_of_2000"]
        lines.append(
            f"| {name} | {record['parameters']:,} | {record['bytes'] / 1000:.0f} kB "
            f"| {all_:,} ({all_ / 100:.2f} %) | {embedded:,} ({embedded / 20:.2f} %) |"
        )
    return "\n".join(lines) + "\n"
