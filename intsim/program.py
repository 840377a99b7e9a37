"""The integer program: steps whose fields are integers, each on a named machine, from input doors to output doors."""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct

from intsim.graph import Pixels, Shape
from intsim.integers import Affine, Overflow
from intsim.quantized import QuantizedGraph
from intsim.target import AddRule, Average, Bias, Mac, Requantize, Target


class Rescale(Struct, frozen=True, kw_only=True, eq=False):
    """A requantization's numbers under its rule, one per channel or one for all (`[c]` or `[1]`).

    FixedPoint: `multiplier` int64, `exponent` int64. PowerOfTwo: `exponent`. Float32Scale, Float64Scale:
    `multiplier` of that type. Float32Requantize: `multiplier` float32 [sx, sy]. Thresholds: `thresholds` int64
    `[c or 1, levels]`, ascending. The result, `zero_point` added, is put into `low..high` by `overflow`: saturation
    clamps, wrapping is modulo high - low + 1.
    """

    rule: Requantize
    zero_point: int
    low: int
    high: int
    overflow: Overflow = Overflow.SATURATE
    multiplier: np.ndarray | None = None
    exponent: np.ndarray | None = None
    thresholds: np.ndarray | None = None


class Window(Struct, frozen=True, kw_only=True):
    """A sliding window over the spatial axes: one entry an axis; `begin` and `end` are the padding."""

    kernel: Shape
    strides: Shape
    dilations: Shape
    begin: Shape
    end: Shape


# ---- arithmetic ------------------------------------------------------------------------------------------------


class Dot(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """Sums of products: a convolution, or a matrix product where `window` has no axes.

    `weight[o, *kernel, c / group]`, in its natural integer type; `weight_zero_point` int64 `[1]` or `[o]`; `bias`
    int64 `[o]` (zeros where the network has none). `bias_register`: the (bits, overflow) of the add at the end, or
    None where that is the outermost level's own.
    """

    window: Window
    group: int
    weight: np.ndarray
    weight_zero_point: np.ndarray
    bias: np.ndarray
    input_zero_point: int
    mac: Mac
    bias_rule: Bias
    rescale: Rescale


class MaxPool(Struct, frozen=True, kw_only=True, tag=True):
    """The largest integer in each window; padding is never the largest."""

    window: Window


class AveragePool(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """The average over each window, by `rule`.

    `include_pad`: padding counts as n, with the value of the input's zero point. `scales`: float32 [sx, sy], only for
    Float32Average. `rescale`: under RescaledSum, the requantization of sum(q - zx); under the other integer rules,
    a further step from average - zx to the output's affine, or None where the output keeps the input's.
    """

    window: Window
    include_pad: bool
    rule: Average
    input_zero_point: int
    output_zero_point: int
    low: int
    high: int
    scales: np.ndarray | None = None
    rescale: Rescale | None = None


class Add(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """The sum of two tensors of one shape, by `rule`.

    ThreeRescales: `multiplier` int64 [a, b, out], `exponent` int64 [a, b, out]. TwoMultipliers: `multiplier` int64
    [a, b], `exponent` int64 [shift to the right]. Float32Add: `multiplier` float32 [ra, rb, fixed]. AlignedAdd:
    `exponent` int64 [left a, left b, e]. ClippedAdd: `multiplier` float32 [ra, rb].
    """

    rule: AddRule
    zero_points: tuple[int, int]
    zero_point: int
    low: int
    high: int
    multiplier: np.ndarray | None = None
    exponent: np.ndarray | None = None


class Clip(Struct, frozen=True, kw_only=True, tag=True):
    """min(max(q, low), high)."""

    low: int
    high: int


class Convert(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """Each input's q - zero point, requantized to the output's affine; several inputs are joined along `axis`.

    `rescales`: one an input, None where its integers already have the output's affine. `axis`: counted without the
    batch, in the inside layout.
    """

    axis: int
    input_zero_points: tuple[int, ...]
    rescales: tuple[Rescale | None, ...]


class Offset(Struct, frozen=True, kw_only=True, tag=True):
    """q + offset: the same real numbers in the integers of the other sign."""

    offset: int


# ---- wiring ----------------------------------------------------------------------------------------------------


class Rearrange(Struct, frozen=True, kw_only=True, tag=True):
    """Axes put into the order `before`, reshaped to `shape`, put into the order `after`; the batch is not counted."""

    before: Shape
    shape: Shape
    after: Shape


class Pad(Struct, frozen=True, kw_only=True, tag=True):
    """`begin` and `end` integers of `value` around every axis; the batch is not counted."""

    begin: Shape
    end: Shape
    value: int


Compute = Dot | MaxPool | AveragePool | Add | Clip | Convert | Offset | Rearrange | Pad


# ---- the program -----------------------------------------------------------------------------------------------


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
