"""What ships with intsim: small trained networks, plain, defended and quantized, and the images to try them on.

Only numpy is needed to find and read them. How they came about: `fashion` (the data set), `networks` (their
shapes), `train`, `adversarial` (images to train against), `codes` (weights that are integers while they train),
`export`, `accuracy` (how often they are right).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

__all__ = ["DEFENDED", "NAMES", "QUANTIZED", "SHIPPED", "Images", "images", "path"]

NAMES = ("mlp", "lenet5", "cnn", "resnet8", "dscnn")
"""The plain float networks."""

DEFENDED = ("cnn_adv",)
"""Float networks that were trained against attacks."""

QUANTIZED = ("cnn_w4", "cnn_w3", "cnn_w2")
"""Networks that were trained with weights of 4, 3 and 2 bits: their files hold those integers (QDQ)."""

SHIPPED = (*NAMES, *DEFENDED, *QUANTIZED)
"""All of them."""

_HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Images and labels of Fashion-MNIST as they ship, all uint8, labels 0..9.

    x[2000, 1, 28, 28] and y[2000] are the first of the test set, x_calibration[512, 1, 28, 28] and
    y_calibration[512] the first of the training set.
    """

    x: np.ndarray
    y: np.ndarray
    x_calibration: np.ndarray
    y_calibration: np.ndarray


def path(name: str) -> Path:
    """The .onnx file of network `name`: input "image" [n, 1, 28, 28] (pixel / 255), output "logits" [n, 10].

    Raises ValueError where no network of that name ships.
    """
    if name not in SHIPPED:
        raise ValueError(f"{name}: no network of this name ships: take one of {', '.join(SHIPPED)}")
    return _HERE / f"{name}.onnx"


def images() -> Images:
    """The images that ship, read anew at each call: 2,000 to judge by, 512 to calibrate with."""
    with np.load(_HERE / "data" / "fashion.npz", allow_pickle=False) as file:
        return Images(**{name: file[name] for name in ("x", "y", "x_calibration", "y_calibration")})
