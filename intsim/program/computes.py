"""What a step computes: records of integers and integer arrays."""

import numpy as np
from msgspec import Struct

from intsim.graph import Shape
from intsim.integers import Overflow, Rounding
from intsim.target import AddRule, Average, Bias, Mac, Requantize, SoftmaxRule


class Rescale(Struct, frozen=True, kw_only=True, eq=False):
    """A requantization's numbers under its rule, one per channel or one for all (`[c]` or `[1]`).

    FixedPoint: `multiplier` int64, `exponent` int64. PowerOfTwo: `exponent`. Float32Scale, Float64Scale:
    `multiplier` of that type. Float32Requantize: `multiplier` float32 [sx, sy]. Thresholds: `thresholds` int64
    `[c or 1, levels]`, ascending. The result, `zero_point` added, is put into `low..high` by `overflow`: saturation
    clamps, wrapping is modulo high - low + 1. `addend`: float32 `[1]`, under a Float32Scale that has the zero point
    before the rounding: what is added there instead of it, for sums from which no zero point was taken. `tail`,
    `tail_place`: the channel and the place of the first integer that the rule's lanes do not hold; None and 0 where it
    has no lanes.
    """

    rule: Requantize
    zero_point: int
    low: int
    high: int
    overflow: Overflow = Overflow.SATURATE
    multiplier: np.ndarray | None = None
    exponent: np.ndarray | None = None
    thresholds: np.ndarray | None = None
    addend: np.ndarray | None = None
    tail: int | None = None
    tail_place: int = 0


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


class MatMul(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """Sums of products of two tensors: y[..., i, j] = sum over k of a[..., i, k] b[..., k, j], requantized (40).

    The axes are counted channels first, as ONNX does: in the inside layout the last axis stands before all others.
    Axes before the last two broadcast. Every sum is a `Dot`'s whose weights are a column of b, without a bias.
    """

    zero_points: tuple[int, int]
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


class Rest(Struct, frozen=True, kw_only=True, eq=False):
    """The integers of a step that fill no vector: those after the last whole `size` of each `run`, by `compute` (37).

    Runs follow each other through one sample of the output in the inside layout; `run` None: each input is one.
    `compute` is of the step's own kind, and has no rest.
    """

    size: int
    run: int | None = None
    compute: "Add | Multiply | Convert"


class Add(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """The sum of two tensors, or their difference (`subtract`), by `rule`; shapes broadcast, see `Multiply`.

    ThreeRescales: `multiplier` int64 [a, b, out], `exponent` int64 [a, b, out]. TwoMultipliers: `multiplier` int64
    [a, b], `exponent` int64 [shift to the right]. Float32Add: `multiplier` float32 [ra, rb, fixed]. AlignedAdd:
    `exponent` int64 [left a, left b, e]. ClippedAdd: `multiplier` float32 [ra, rb]. DequantizedAdd:
    `multiplier` float32 [sa, sb, sy]. ShiftedAdd: `exponent` int64 [right a, right b]. RequantizedSum: `rescale`, with
    the zero point and the ends of the sum.
    """

    rule: AddRule
    zero_points: tuple[int, int]
    zero_point: int
    low: int
    high: int
    multiplier: np.ndarray | None = None
    exponent: np.ndarray | None = None
    rescale: Rescale | None = None
    subtract: bool = False
    constant: np.ndarray | None = None
    constant_first: bool = False
    rest: Rest | None = None


class Multiply(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """The products (a - zero point) * (b - zero point) of two tensors, requantized.

    The shapes have one length and broadcast: an axis of one integer goes with any. `constant`: the integers
    `[..., c]` of an operand that is none of the step's inputs; it is the second one, or the first (`constant_first`).
    """

    zero_points: tuple[int, int]
    rescale: Rescale
    constant: np.ndarray | None = None
    constant_first: bool = False
    rest: Rest | None = None


class Extreme(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """The larger or the smaller of two integers of one affine; shapes and constants as in `Multiply`."""

    largest: bool
    constant: np.ndarray | None = None
    constant_first: bool = False


class Lookup(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """table[q - low], or table[q - low, c] in channel c: any function of one integer.

    `table[entries]` or `[entries, c]`, of the output's natural type, for every integer of the input's type.
    """

    low: int
    table: np.ndarray


class Softmax(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """Softmax along `axis` (without the batch, in the inside layout), by `rule`.

    `table[k]`: the exponential of an integer k below the largest; int64, or float32 under Float32Softmax, or -1 where
    GemmlowpSoftmax counts nothing. `multiplier`: QuotientSoftmax int64 [2^12 / sy]; Float32Softmax float32 [sy], or
    [floor(1 / sy)] for quotients; InterpolatedSoftmax int64 [513], the samples of 1 / (1 + x).
    """

    axis: int
    rule: SoftmaxRule
    table: np.ndarray
    zero_point: int
    low: int
    high: int
    multiplier: np.ndarray | None = None


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
    rest: Rest | None = None


class Interpolate(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """Neighbours along every spatial axis mixed: rounding(sum of their weighted integers / 2^(bits * axes)) (34).

    For each place along an axis: the neighbours at `lower` and `upper` have the weights 2^bits - f and f, f in
    `fraction`; all int64. With `weights`, float32 `[2, m]` along each of two axes, those of both neighbours, the sum
    is one of float32 numbers, cut towards zero, and `fraction` is not read.
    """

    lower: tuple[np.ndarray, ...]
    upper: tuple[np.ndarray, ...]
    fraction: tuple[np.ndarray, ...]
    bits: int
    rounding: Rounding
    weights: tuple[np.ndarray, ...] = ()


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
    """`begin` and `end` integers of `value` around every axis; the batch is not counted.

    `between`: so many more between neighbours along each axis; (): none.
    """

    begin: Shape
    end: Shape
    value: int
    between: Shape = ()


class Take(Struct, frozen=True, kw_only=True, eq=False, tag=True):
    """Along each axis, the batch not counted, the integers at `indices` (int64), in that order; None: all."""

    indices: tuple[np.ndarray | None, ...]


Compute = (
    Dot
    | MatMul
    | MaxPool
    | AveragePool
    | Add
    | Clip
    | Convert
    | Interpolate
    | Offset
    | Rearrange
    | Pad
    | Take
    | Multiply
    | Extreme
    | Lookup
    | Softmax
)
