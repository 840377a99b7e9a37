"""What the words on the command line stand for: a model's file, images, the program to run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from intsim import named, tasks
from intsim.cli.console import Out, notice
from intsim.cli.machines import Machine
from intsim.errors import IntsimError
from intsim.graph import Graph, Pixels
from intsim.program import Program

if TYPE_CHECKING:
    from intsim.build import Model


def data(text: str, *, limit: int | None = None) -> tasks.Data:
    """The images of that name, or of the .npz file; at most `limit`, the first ones."""
    found = named.images(text)
    if limit is None:
        return found
    if limit < 1:
        raise IntsimError(f"{limit} images", where="--limit", mend="1 or more")
    return tasks.Data(x=found.x[:limit], y=None if found.y is None else found.y[:limit])


def calibration_images(text: str | None) -> np.ndarray | None:
    """The images to calibrate with, where a word says which."""
    return None if text is None else named.calibration_images(text)


def model(text: str, pixels: Pixels | None = None, *, out: Out | None = None) -> "Model":
    """What the model's file holds: a float network is called as its file is, and its images enter by `pixels`.

    Where nobody said how they enter and it was read off the weights, `out` is told.
    """
    from intsim.build import told
    from intsim.normalise.folding import GUESSED

    path = named.network(text)
    found, notes = _loaded(path)
    if isinstance(found, Graph):
        for note in notes:
            if out is not None and pixels is None and note.endswith(GUESSED):
                notice(out, f"{text}: {note}; if it takes 0 to 1, say --input-scale 1/255")
        found = replace(found, name=path.stem)
    return told(found, text, pixels)


def _loaded(path: Path) -> tuple["Model", tuple[str, ...]]:
    """As `intsim.build.load`, with the notes of what normalising a float network did."""
    from intsim import archive, onnx_io, tflite_io
    from intsim.build import load, supported
    from intsim.normalise import normalise

    if path.suffix == archive.SUFFIX or tflite_io.is_tflite(path) or onnx_io.is_quantized(path):
        return load(path), ()
    graph, notes = normalise(onnx_io.read(path))
    return supported(graph), notes


def program(
    text: str,
    machine: Machine | None,
    *,
    calibration: str | None,
    pixels: Pixels | None,
    quantization: dict[str, Any],
    out: Out | None = None,
) -> Program:
    """The model lowered for the machine; a Program's file brings its own where none is named."""
    from intsim.build import build

    found = model(text, pixels, out=out)
    if not isinstance(found, Graph) and (calibration or quantization):
        raise IntsimError("is quantized already", where=text, mend="leave out --calibration and how to quantize")
    if machine is None:
        if isinstance(found, Program):
            return found
        raise IntsimError("is missing", where="--target", mend="name a machine: see intsim targets")
    fallen: dict[str, str] = {}
    built = build(
        found,
        machine,
        calibration=calibration_images(calibration),
        on_fallback=lambda node, reason: fallen.setdefault(node, str(reason)),
        **quantization,
    )
    if machine.fallback is not None and out is not None:
        said = [f"{node} runs on {machine.fallback.name}: {reason}" for node, reason in fallen.items()]
        nothing = f"nothing falls back on {machine.fallback.name}: {machine.target.name} takes all nodes"
        for what in said or [nothing]:
            notice(out, what)
    return built


def checked(found: tasks.Data, program: Program) -> tasks.Data:
    """The data, once it is known to fit the program's only input and its first output."""
    door = next(iter(program.inputs.values()))
    exit_ = next(iter(program.outputs.values()))
    classes = exit_.shape[0] if len(exit_.shape) == 1 else None
    return tasks.check(found, door.shape, classes, door.pixels)


def shipped(model: str) -> bool:
    """Whether the word is the name of a network that ships, not of a file."""
    return str(named.network(model)) != model


def float_path(model: str) -> Path | None:
    """The model's file, if onnxruntime could run it as it is, in floats."""
    from intsim import onnx_io

    path = named.network(model)
    return path if path.suffix == ".onnx" and not onnx_io.is_quantized(path) else None
