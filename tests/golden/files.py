"""Golden arrays in NAME.npz.xz beside this file, as GROUP/NAME."""

import io
import lzma
from collections.abc import Mapping
from pathlib import Path

import numpy as np


def keep(name: str, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes NAME.npz.xz; what has no group (versions) is kept too."""
    file = io.BytesIO()
    np.savez(file, **arrays)
    _path(name).write_bytes(lzma.compress(file.getvalue(), preset=9))


def kept(name: str) -> dict[str, dict[str, np.ndarray]]:
    """The arrays of NAME.npz.xz by group and name."""
    found: dict[str, dict[str, np.ndarray]] = {}
    with np.load(io.BytesIO(lzma.decompress(_path(name).read_bytes())), allow_pickle=False) as file:
        for key in file.files:
            if "/" in key:
                group, part = key.split("/")
                found.setdefault(group, {})[part] = file[key]
    return found


def _path(name: str) -> Path:
    return Path(__file__).with_name(f"{name}.npz.xz")
