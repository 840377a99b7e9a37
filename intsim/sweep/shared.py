"""What many cells need, made once in each process: networks, data, calibrations, quantized networks, programs."""

from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from msgspec.structs import replace

from intsim import named, tasks
from intsim.build import load
from intsim.calibrate import Calibration, ranges
from intsim.errors import IntsimError
from intsim.evaluate.camera import digest, on_grid
from intsim.evaluate.records import NULL
from intsim.graph import Graph, Pixels
from intsim.integers import Overflow
from intsim.lower import lower
from intsim.program import Program
from intsim.quantize import Options, options, quantize
from intsim.quantized import QuantizedGraph
from intsim.sweep.plan import Plan
from intsim.target import Target
from intsim.targets import set_fields, target, with_accumulator

if TYPE_CHECKING:
    from intsim.sweep.cells import Cell


@lru_cache(16)
def graph(plan: Plan, network: str) -> Graph:
    """The float network of that name or in that file, called as its file is. Raises IntsimError for any other."""
    path = named.network(network)
    found = load(path)
    if not isinstance(found, Graph):
        raise IntsimError("is quantized already", where=network, mend="give the float network")
    return replace(found, name=path.stem)


@lru_cache(2)
def _data(name: str, limit: int | None) -> tasks.Data:
    found = named.images(name)
    if found.y is None:
        raise IntsimError("has no labels", where=name, mend="give the class of each image as y")
    if tasks.are_values(found.y):
        raise IntsimError("has values as labels, a sweep counts classes", where=name, mend="see intsim attack --right")
    return tasks.data(found.x[:limit], found.y[:limit])


@lru_cache(4)
def examples(plan: Plan, network: str) -> tuple[np.ndarray, np.ndarray]:
    """(x, y): the plan's images on the camera's grid, uint8 [n, c, h, w], and labels, once they fit the network."""
    found, own = _data(plan.data, plan.limit), graph(plan, network)
    pixels = own.pixels.get(own.inputs[0], Pixels())
    outputs = own.shapes[own.outputs[0]]
    tasks.check(found, own.shapes[own.inputs[0]], outputs[0] if len(outputs) == 1 else None, pixels)
    assert found.y is not None
    return on_grid(found.x, pixels), found.y


@lru_cache(4)
def data_digest(plan: Plan) -> str:
    """SHA-256 of images and labels."""
    found = _data(plan.data, plan.limit)
    assert found.y is not None
    return digest(found.x, found.y)


@lru_cache(2)
def calibration_images(plan: Plan) -> np.ndarray:
    """The images to calibrate with."""
    return named.calibration_images(plan.calibration)


@lru_cache(4)
def calibration_digest(plan: Plan) -> str:
    """SHA-256 of the images to calibrate with."""
    return digest(calibration_images(plan))


@lru_cache(8)
def calibration(plan: Plan, network: str) -> Calibration:
    """What the network's activations are on the calibration's images."""
    return ranges(graph(plan, network), calibration_images(plan), method=options(**plan.quantization).method)


@lru_cache(256)
def machine(cell: "Cell") -> Target:
    """The cell's machine, with its accumulator and rounding; of a float null the ideal one, for its scheme."""
    found = target("ideal" if cell.target == NULL else cell.target)
    if cell.accumulator:
        found = with_accumulator(found, cell.accumulator, Overflow(cell.overflow))
    return set_fields(found, {"requantize.rounding": cell.rounding}) if cell.rounding else found


def asked(plan: Plan, cell: "Cell") -> Options:
    """How the cell's network is quantized."""
    bits: dict[str, Any] = {"weight_bits": cell.weight_bits or None, "activation_bits": cell.activation_bits or None}
    return options(**plan.quantization, **bits)


@lru_cache(32)
def _quantized(plan: Plan, network: str, how: Options, scheme: object) -> QuantizedGraph:
    return quantize(graph(plan, network), calibration(plan, network), scheme, how)  # type: ignore[arg-type]


def quantized(plan: Plan, cell: "Cell") -> QuantizedGraph:
    """The cell's quantized network, the same one for all machines of one scheme."""
    return _quantized(plan, cell.network, asked(plan, cell), machine(cell).scheme)


@lru_cache(256)
def _program(plan: Plan, network: str, how: Options, on: Target) -> Program:
    return lower(_quantized(plan, network, how, on.scheme), on)


def program(plan: Plan, cell: "Cell") -> Program:
    """The cell's integer program."""
    return _program(plan, cell.network, asked(plan, cell), machine(cell))
