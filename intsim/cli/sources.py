"""What the words on the command line stand for: a model's file, images, the program to run."""

from pathlib import Path
from typing import Any

import numpy as np

from intsim import tasks
from intsim.cli.options import Machine
from intsim.errors import IntsimError
from intsim.graph import Pixels
from intsim.program import Program

IMAGES = "fashion"
"""The name of the images that ship."""


def model_path(text: str) -> Path:
    """The file called `text`, or the network of that name that ships with intsim."""
    import intsim_models

    path = Path(text)
    return intsim_models.path(text) if text in intsim_models.NAMES and not path.exists() else path


def data(text: str, *, limit: int | None = None) -> tasks.Data:
    """The images of the .npz file, or those that ship; at most `limit`, the first ones."""
    if text == IMAGES and not Path(text).exists():
        import intsim_models

        shipped = intsim_models.images()
        found = tasks.data(shipped.x, shipped.y)
    else:
        found = tasks.load(text)
    if limit is None:
        return found
    if limit < 1:
        raise IntsimError(f"{limit} images", where="--limit", mend="1 or more")
    return tasks.Data(x=found.x[:limit], y=None if found.y is None else found.y[:limit])


def calibration_images(text: str | None) -> np.ndarray | None:
    """The images to calibrate with."""
    if text is None:
        return None
    if text == IMAGES and not Path(text).exists():
        import intsim_models

        return intsim_models.images().x_calibration
    return tasks.load(text).x


def program(
    model: str,
    machine: Machine | None,
    *,
    calibration: str | None,
    pixels: Pixels | None,
    quantization: dict[str, Any],
) -> Program:
    """The model lowered for the machine; a Program's file brings its own where none is named."""
    from intsim.build import build, load

    path = model_path(model)
    if machine is None:
        found = load(path)
        if isinstance(found, Program):
            return found
        raise IntsimError("is missing", where="--target", mend="name a machine: see intsim targets")
    return build(
        path,
        machine.target,
        nodes=machine.nodes,
        calibration=calibration_images(calibration),
        pixels=pixels,
        **quantization,
    )


def checked(found: tasks.Data, program: Program) -> tasks.Data:
    """The data, once it is known to fit the program's only input and its first output."""
    door = next(iter(program.inputs.values()))
    exit_ = next(iter(program.outputs.values()))
    classes = exit_.shape[0] if len(exit_.shape) == 1 else None
    return tasks.check(found, door.shape, classes, door.pixels)
