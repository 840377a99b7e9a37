"""What a word stands for: a network or images that ship with intsim, or else a file."""

from pathlib import Path

import numpy as np

from intsim import tasks

IMAGES = "fashion"
"""The name of the images that ship."""


def network(text: str) -> Path:
    """The file called `text`, or that of the network of this name that ships."""
    import intsim_models

    path = Path(text)
    return intsim_models.path(text) if text in intsim_models.SHIPPED and not path.exists() else path


def images(text: str) -> tasks.Data:
    """The images to judge by, with labels where there are some. Raises IntsimError as `tasks.load`."""
    if not _ship(text):
        return tasks.load(text)
    import intsim_models

    shipped = intsim_models.images()
    return tasks.data(shipped.x, shipped.y)


def calibration_images(text: str) -> np.ndarray:
    """The images to calibrate with. Raises IntsimError as `tasks.load`."""
    if not _ship(text):
        return tasks.load(text).x
    import intsim_models

    return intsim_models.images().x_calibration


def _ship(text: str) -> bool:
    return text == IMAGES and not Path(text).exists()
