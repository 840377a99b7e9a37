"""The images and labels, from a directory of idx files or an .npz, and what tells one data set from another."""

import hashlib

import numpy as np
from msgspec import Struct

from intsim_models import fashion

VALIDATION = 6_000


class Data(Struct, frozen=True, kw_only=True, eq=False):
    """Images uint8[n, 784] and labels uint8[n]; `digest` of all of it, 16 hexadecimal digits."""

    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    digest: str


def load(source: str | None, train_images: int = 60_000, images: int = 10_000) -> Data:
    """The first `images` test images and the last `train_images` training images of what `intsim_models` loads.

    The last 6,000 of them stay the last 6,000 training images. Raises FileNotFoundError, ValueError as that does.
    """
    found = fashion.load(source)
    arrays = [found.x_train, found.y_train, found.x_test, found.y_test]
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]
    return Data(
        x_train=found.x_train.reshape(-1, 784)[-train_images:],
        y_train=found.y_train[-train_images:],
        x_test=found.x_test.reshape(-1, 784)[:images],
        y_test=found.y_test[:images],
        digest=digest,
    )


def pixels(x: np.ndarray) -> np.ndarray:
    """float32 pixels in 0..1."""
    return x.astype(np.float32) / np.float32(255)
