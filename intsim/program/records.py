"""The Program and what a run of it gives; the two layouts."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from intsim.graph import Pixels, Shape
from intsim.integers import Affine
from intsim.program.computes import Compute
from intsim.quantized import QuantizedGraph
from intsim.target import Target


class Tensor(Struct, frozen=True, kw_only=True):
    """One sample's shape in the inside layout (channels last: h, w, c), and the affine of its integers."""

    shape: Shape
    affine: Affine


class Door(Struct, frozen=True, kw_only=True, eq=False):
    """Where floats and pixels become integers, or integers floats.

    `shape` is one sample's in the outside layout (channels first). `table`: an input's integers for the pixels 0..255,
    `[256, channels or 1]`; it equals the quantization of `pixels.to_input`. Without pixels and table, an input takes
    the integers themselves.
    """

    tensor: str
    shape: Shape
    affine: Affine
    pixels: Pixels | None = None
    table: np.ndarray | None = None


class Step(Struct, frozen=True, kw_only=True, eq=False):
    """One step: `name` is that of the network's node, `op` that node's operator, `target` the machine's name."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    target: str
    compute: Compute


class Program(Struct, frozen=True, kw_only=True, eq=False, weakref=True):
    """A QuantizedGraph lowered for one machine, or for several: what exists here, runs."""

    name: str
    inputs: dict[str, Door]
    outputs: dict[str, Door]
    tensors: dict[str, Tensor]
    steps: tuple[Step, ...]
    targets: dict[str, Target]
    source: QuantizedGraph


class Overflows(Struct, frozen=True, kw_only=True):
    """One step's overflows over a batch.

    `outputs`: sums in which at least one add clamped, wrapped or was forbidden to; of `of_outputs`. `adds`: such adds
    (a product's cast and the bias count too); of `of_adds`. `persistent`: sums whose exact value the register of the
    outermost level cannot hold.
    """

    outputs: int
    of_outputs: int
    adds: int
    of_adds: int
    persistent: int


class Result(Struct, frozen=True, kw_only=True, eq=False):
    """What a run gives, in the outside layout (channels first), by output name.

    `integers[name][n, ...]`; `logits[name]` the same dequantized to float32; `traced` what was asked for: tensors by
    name, raw accumulators (bias and zero points in, before the requantization) as NAME:accumulator, int64; `overflows`
    per step where counting was asked for.
    """

    integers: dict[str, np.ndarray]
    logits: dict[str, np.ndarray]
    traced: dict[str, np.ndarray]
    overflows: Mapping[str, Overflows]


def outside(array: np.ndarray) -> np.ndarray:
    """`array[n, h, w, c]` with channels first; vectors stay."""
    return array.transpose(0, -1, *range(1, array.ndim - 1)) if array.ndim > 2 else array


def inside(array: np.ndarray) -> np.ndarray:
    """`array[n, c, h, w]` with channels last, contiguous; vectors stay."""
    return np.ascontiguousarray(array.transpose(0, *range(2, array.ndim), 1) if array.ndim > 2 else array)


def inside_shape(shape: Shape) -> Shape:
    """One sample's shape with channels last."""
    return (*shape[1:], shape[0]) if len(shape) > 1 else shape
