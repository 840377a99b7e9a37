"""What has been measured so far: one file a cell, which appears whole or not at all."""

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from paper.network import Network


class Cell(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """Correctness bits bool[strengths, n] and numbers of one network under one attack."""

    strengths: tuple[float, ...]
    bits: np.ndarray
    numbers: dict[str, Any] = {}


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as stream:
        np.savez(stream, **arrays)
    part.replace(path)


def cell_path(root: Path, network: str, attack: str) -> Path:
    """Where a cell is kept."""
    return root / "cells" / network / f"{attack}.npz"


def write_cell(root: Path, network: str, attack: str, cell: Cell) -> None:
    """Keeps the bits packed, eight images to a byte."""
    numbers = np.frombuffer(msgspec.json.encode(cell.numbers), np.uint8)
    packed = np.packbits(cell.bits, axis=1)
    n = np.int64(cell.bits.shape[1])
    _write(
        cell_path(root, network, attack),
        {"strengths": np.array(cell.strengths), "bits": packed, "n": n, "numbers": numbers},
    )


def read_cell(root: Path, network: str, attack: str) -> Cell | None:
    """The cell, or None where it has not been measured."""
    path = cell_path(root, network, attack)
    if not path.exists():
        return None
    with np.load(path) as file:
        bits = np.unpackbits(file["bits"], axis=1, count=int(file["n"])).astype(bool)
        numbers = msgspec.json.decode(file["numbers"].tobytes())
        return Cell(strengths=tuple(file["strengths"].tolist()), bits=bits, numbers=numbers)


def write_network(root: Path, name: str, network: Network, history: list[float]) -> None:
    """Keeps a network and its validation accuracies."""
    arrays = {f"w{i}": w for i, w in enumerate(network.weights)} | {f"b{i}": b for i, b in enumerate(network.biases)}
    arrays |= {"levels": np.array(network.levels), "bits": np.array(network.bits), "history": np.array(history)}
    _write(root / "networks" / f"{name}.npz", arrays)


def read_network(root: Path, name: str) -> tuple[Network, list[float]] | None:
    """The network and its validation accuracies, or None where it has not been trained."""
    path = root / "networks" / f"{name}.npz"
    if not path.exists():
        return None
    with np.load(path) as file:
        layers = range(sum(key.startswith("w") for key in file))
        network = Network(
            weights=tuple(file[f"w{i}"] for i in layers),
            biases=tuple(file[f"b{i}"] for i in layers),
            levels=str(file["levels"]),
            bits=int(file["bits"]),
        )
        return network, file["history"].tolist()
