"""Fashion-MNIST, all 70,000 images of it, read from where it lies on this machine."""

import gzip
import math
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DEBIAN = Path("/usr/share/datasets/fashion-mnist")
MEND = "install the Debian package dataset-fashion-mnist, or name a directory of its idx files or an .npz"
STEMS = {
    "x_train": "train-images-idx3-ubyte",
    "y_train": "train-labels-idx1-ubyte",
    "x_test": "t10k-images-idx3-ubyte",
    "y_test": "t10k-labels-idx1-ubyte",
}
CLASSES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Fashion:
    """Images x[n, 1, 28, 28] and labels y[n] in 0..9, all uint8, as published."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load(source: Path | str | None = None) -> Fashion:
    """The data set from `source`: a directory of idx(.gz) files, an .npz, or None for the Debian package.

    The .npz holds x_train, y_train, x_test, y_test as uint8, images [n, 28, 28] or [n, 1, 28, 28].

    Raises FileNotFoundError where nothing is there, ValueError where something else is.
    """
    path = DEBIAN if source is None else Path(source)
    if not path.exists():
        raise FileNotFoundError(f"{path}: no Fashion-MNIST here: {MEND}")
    if path.is_dir():
        return _checked(path, {name: _idx(path, stem) for name, stem in STEMS.items()})
    return _checked(path, _npz(path))


def _npz(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as file:
            missing = [name for name in STEMS if name not in file]
            if missing:
                raise ValueError(f"no array {missing[0]}")
            return {name: file[name] for name in STEMS}
    except (ValueError, OSError, EOFError, TypeError, zlib.error, zipfile.BadZipFile) as error:
        raise ValueError(f"{path}: not an .npz with {', '.join(STEMS)} ({_line(error)}): {MEND}") from error


def _idx(folder: Path, stem: str) -> np.ndarray:
    """The array in `stem`.gz or `stem`: a magic number 0 0 8 rank, one big-endian int32 an axis, the bytes.

    Source: http://yann.lecun.com/exdb/mnist, "the idx file format".
    """
    path = next((p for p in (folder / f"{stem}.gz", folder / stem) if p.exists()), None)
    if path is None:
        raise FileNotFoundError(f"{folder}: no {stem}.gz here: {MEND}")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path}: cannot be unpacked ({_line(error)}): fetch the file again") from error
    start = 4 + 4 * int.from_bytes(content[3:4])
    shape = [int.from_bytes(content[i : i + 4]) for i in range(4, start, 4)]
    if content[:3] != b"\0\0\x08" or len(content) != start + math.prod(shape):
        raise ValueError(f"{path}: not a whole idx file of unsigned bytes: fetch the file again")
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def _checked(path: Path, arrays: dict[str, np.ndarray]) -> Fashion:
    for part in ("train", "test"):
        x, y = arrays[f"x_{part}"], arrays[f"y_{part}"]
        if x.dtype != np.uint8 or x.shape[1:] not in {(28, 28), (1, 28, 28)}:
            raise ValueError(f"{path}: x_{part} is {x.dtype}{list(x.shape)}, not uint8 [n, 28, 28]: {MEND}")
        if y.dtype != np.uint8 or y.shape != (len(x),) or (y >= CLASSES).any():
            raise ValueError(f"{path}: y_{part} is not a uint8 label 0..9 for each image: {MEND}")
        arrays[f"x_{part}"] = x.reshape(-1, 1, 28, 28)
    return Fashion(**arrays)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0] if str(error) else type(error).__name__
