"""The data of a task, and when an output is right: top-1 by default, top-k or any callable."""

import importlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.files import DAMAGE
from intsim.graph import Pixels, Shape
from intsim.integers import frozen

Right = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""The predicate (output[n, ...], y[n, ...]) -> bool[n]: which examples are answered right."""

SAVE = "save it with numpy.savez(file, x=images, y=labels)"

GUESSES = 100
"""How many of the most frequent labels are tried as answers to everything."""

SLACK = 1e-3
"""How far a float input may lie outside the range of the pixels 0..255: what rounding in float32 explains."""


class Data(Struct, frozen=True, kw_only=True, eq=False):
    """Examples: x[n, ...], uint8 0..255 or float32 in the network's input range; labels, or None.

    Labels are classes, y[n] int64, or values, y[n, ...] float32, which only a predicate of one's own judges.
    """

    x: np.ndarray
    y: np.ndarray | None = None

    def __post_init__(self) -> None:
        _check_inputs(self.x)
        if self.y is not None:
            _check_labels(self.y, len(self.x))


def data(x: Any, y: Any = None) -> Data:
    """`Data` of two arrays, or array-likes; labels of any integer type become int64, of any float type float32.

    Raises IntsimError.
    """
    labels = None if y is None else np.asarray(y)
    if labels is not None and labels.dtype.kind in "iuf":
        labels = labels.astype(np.float32 if are_values(labels) else np.int64)
    return Data(x=frozen(x), y=None if labels is None else frozen(labels))


def load(path: Path | str) -> Data:
    """`Data` of an .npz file with `x` and, where there are labels, `y`; no pickled object is ever read.

    Raises IntsimError where the file, an array's type, shape or range, or the number of labels is wrong.
    """
    try:
        with Path(path).open("rb") as opened:
            file = np.load(opened, allow_pickle=False)
            if isinstance(file, np.ndarray):
                raise IntsimError("is a single array, not an .npz", where=str(path), mend=SAVE)
            if "x" not in file.files:
                found = ", ".join(file.files) or "nothing"
                raise IntsimError(f'has no array "x", only {found}', where=str(path), mend=SAVE)
            x, y = file["x"], file.get("y")
    except FileNotFoundError:
        raise IntsimError("no such file", where=str(path)) from None
    except (OSError, *DAMAGE) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise IntsimError(f"cannot be read as .npz ({reason})", where=str(path), mend=SAVE) from None
    try:
        return data(x, y)
    except IntsimError as error:
        raise IntsimError(error.what, where=f"{path}: {error.where}", mend=error.mend) from None


def check(data: Data, shape: Shape, classes: int | None = None, pixels: Pixels | None = None) -> Data:
    """The same `data`, once it is known to fit a network of input `shape` (one sample's) and `classes` outputs.

    `pixels`, where given, is how uint8 images enter the network: floats are then refused outside the range
    that it gives to 0..255. Raises IntsimError with the numbers that do not fit.
    """
    found = data.x.shape[1:]
    if found != tuple(shape):
        hint = "put channels first" if sorted(found) == sorted(shape) else "reshape or resize the images"
        raise IntsimError(f"is {_shape(data.x.shape)}, the network takes {_shape(('n', *shape))}", where="x", mend=hint)
    if data.y is not None and not are_values(data.y) and classes is not None and data.y.max() >= classes:
        raise IntsimError(
            f"label {data.y.max()} at {int(data.y.argmax())}, the network has {classes} outputs, 0 to {classes - 1}",
            where="y",
            mend="give labels that start at 0, of the classes that the network was trained on",
        )
    if pixels is not None and data.x.dtype == np.float32 and data.x.size:
        _check_range(data.x, pixels)
    return data


def _check_inputs(x: np.ndarray) -> None:
    if x.dtype not in (np.dtype(np.uint8), np.dtype(np.float32)):
        raise IntsimError(
            f"is {x.dtype}, not uint8 or float32",
            where="x",
            mend="give pixels 0..255 as uint8, or the network's input as float32",
        )
    if x.ndim < 2 or 0 in x.shape:
        raise IntsimError(f"is {_shape(x.shape)}, not [n, ...] with something in it", where="x")
    if x.dtype == np.float32 and not np.isfinite(x).all():
        bad = np.flatnonzero(~np.isfinite(x.reshape(len(x), -1)).all(axis=1))
        raise IntsimError(f"{len(bad)} of {len(x)} inputs hold NaN or infinity, the first is {bad[0]}", where="x")


def are_values(y: np.ndarray) -> bool:
    """Whether labels are values (floats), and not classes."""
    return y.dtype.kind == "f"


def _check_labels(y: np.ndarray, n: int) -> None:
    if y.dtype.kind not in "iuf":
        mend = "give the class of each image, from 0, or values as floats"
        raise IntsimError(f"is {y.dtype}, not integers", where="y", mend=mend)
    if y.ndim != 1 and not are_values(y):
        raise IntsimError(f"is {_shape(y.shape)}, not [n]", where="y", mend="give the class of each image, from 0")
    if y.ndim == 0 or len(y) != n:
        raise IntsimError(f"{len(y) if y.ndim else 1} labels for {n} images", where="y", mend="give one label an image")
    if are_values(y):
        if not np.isfinite(y).all():
            raise IntsimError("holds NaN or infinity", where="y", mend="give finite values")
    elif y.min() < 0:
        raise IntsimError(f"label {y.min()} at {int(y.argmin())}", where="y", mend="labels start at 0")


def _check_range(x: np.ndarray, pixels: Pixels) -> None:
    ends = np.array([0, 255], np.float32).reshape(2, *(1,) * (x.ndim - 1))
    black, white = np.broadcast_to(pixels.to_input(np.broadcast_to(ends, (2, *x.shape[1:]))), (2, *x.shape[1:]))
    slack = SLACK * np.abs(white - black)
    low, high = np.minimum(black, white), np.maximum(black, white)
    if (x < low - slack).any() or (x > high + slack).any():
        raise IntsimError(
            f"runs from {x.min():.6g} to {x.max():.6g}, the network's input from {low.min():.6g} to {high.max():.6g}",
            where="x",
            mend="give pixels 0..255 as uint8, or scale the floats",
        )


def _shape(shape: tuple[Any, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"


# ---- what is right -------------------------------------------------------------------------------


def top1(output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """bool[n]: the first index of the maximum of output[n, classes] is y[n]."""
    return np.argmax(output, axis=1) == y


def top_k(k: int) -> Right:
    """The predicate: y[n] is among the k largest of output[n, classes], of equal ones the first indices."""

    def right(output: np.ndarray, y: np.ndarray) -> np.ndarray:
        own = output[np.arange(len(y)), y][:, None]
        before = (output > own) | ((output == own) & (np.arange(output.shape[1]) < y[:, None]))
        return before.sum(axis=1) < k

    return right


def predicate(text: str) -> Right:
    """The predicate that a word means: "top1", "top2" and so on, or "MODULE:FUNCTION". Raises IntsimError."""
    if found := re.fullmatch(r"top([1-9]\d*)", text):
        return top1 if found[1] == "1" else top_k(int(found[1]))
    module, _, name = text.partition(":")
    try:
        right = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        what = f'"{text}" is no predicate ({error})'
        raise IntsimError(what, where="right", mend="write top1, top2 ..., or MODULE:FUNCTION") from None
    if not callable(right):
        raise IntsimError(f'"{text}" is a {type(right).__name__}, not a function', where="right")
    return right


def guessed(right: Right, y: np.ndarray, classes: int) -> float:
    """How often the best answer is right that is the same whatever the image: by chance nobody is right more often.

    Tried are each of the most frequent labels alone and all by their frequency; without classes, labels as they are;
    of values their mean and median too. 0 where outputs do not have the shape of the labels: nothing is known then.
    """
    if are_values(y):
        wide = y.reshape(len(y), *(y.shape[1:] or (1,)))
        tried = [wide.mean(0), np.median(wide, axis=0), *wide[:GUESSES]]
        try:
            return max(float(np.mean(right(np.tile(one, (len(y), *(1,) * one.ndim)), y))) for one in tried)
        except (ValueError, IndexError):
            return 0.0
    labels, counts = np.unique(y, return_counts=True)
    labels = labels[np.argsort(-counts, kind="stable")][:GUESSES]
    if classes > 1:
        tried = [*np.eye(classes, dtype=np.float32)[labels], np.bincount(y, minlength=classes).astype(np.float32)]
    else:
        tried = list(labels.astype(np.float32)[:, None])
    return max(float(np.mean(right(np.tile(one, (len(y), 1)), y))) for one in tried)


def tied(output: np.ndarray) -> np.ndarray:
    """bool[n]: the maximum of output[n, classes] stands at more than one index."""
    return (output == output.max(axis=1, keepdims=True)).sum(axis=1) > 1


def tie_extremes(output: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(worst, best): bool[n], top-1 where a tie that y[n] takes part in is wrong, and where it is right."""
    best = output[np.arange(len(y)), y] == output.max(axis=1)
    return best & ~tied(output), best
