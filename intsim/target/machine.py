"""A machine: what it takes, and its rules for every operator."""

from typing import Literal

from msgspec import Struct

from intsim.integers import IntType, Overflow
from intsim.target.add import AddRule, TwoMultipliers
from intsim.target.average import Average, Divide
from intsim.target.functions import Functions
from intsim.target.requantize import FixedPoint, Lanes, Requantize
from intsim.target.resize import Resize
from intsim.target.sums import Bias, Mac
from intsim.target.vectors import AddInVectors, InVectors

Fidelity = Literal["verified", "source", "documented", "assumed"]


class Scheme(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine requires of a quantization. Fewer bits than a type has are always taken.

    `activations`: types that the datapath reads, the preferred one first; a tensor of the other sign is re-expressed
    losslessly. `weights` likewise, but without re-expression. `zero_points`: whether activations may have one.
    `per_channel`: the ops whose weights may have a scale per output channel. `keeps_scale`: ops whose output must have
    its input's affine on this machine. `fixed_outputs`: ops whose output's affine is given by what they reach: 0..1
    (Sigmoid, Softmax) in steps of 2^-bits, -1..1 (Tanh) in steps of 2^(1-bits). `activation_scale`, `weight_scale`: the
    one scale that all have, where the machine's numbers have a fixed point; None: any. `bias_shift`: the biases of a
    layer are integers of `bias` times 2^`bias_shift`; "any": times one power of two that the layer chooses. `ops`: the
    operators that the machine takes, as ONNX spells them; None: all. `spread`: the coarsest weight scale of a layer's
    channels is at most so many times the finest one, where channels share a shift; None: any.
    """

    activations: tuple[IntType, ...] = (IntType(8),)
    weights: tuple[IntType, ...] = (IntType(8),)
    zero_points: bool = True
    weight_zero_points: bool = False
    power_of_two: bool = False
    per_channel: tuple[str, ...] = ("Conv", "ConvTranspose", "Gemm")
    keeps_scale: tuple[str, ...] = ("AveragePool", "Concat")
    fixed_outputs: tuple[str, ...] = ()
    bias: IntType = IntType(32)
    bias_shift: int | Literal["any"] = 0
    spread: float | None = None
    activation_scale: float | None = None
    weight_scale: float | None = None
    ops: tuple[str, ...] | None = None


class Override(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other rules for some sums of products: what is given replaces the target's own; all conditions must hold.

    `op`: "Conv", "ConvTranspose" or "Gemm". `grouping`: of more than one group "depthwise" (each with one input and one
    output channel), "multiplied" (one input and several outputs), "grouped" (several inputs); of one group "single" (of
    one input and one output channel), "dense".
    `signed_activations`, `signed_weights`: the operands' types. `places`: how many places the output has (a
    fully connected one has one). `products`, `outputs`: so many in a sum, or output channels, or more.
    """

    op: Literal["Conv", "ConvTranspose", "Gemm"] | None = None
    grouping: Literal["depthwise", "multiplied", "grouped", "single", "dense"] | None = None
    signed_activations: bool | None = None
    signed_weights: bool | None = None
    places: int | None = None
    products: int | None = None
    outputs: int | None = None
    mac: Mac | None = None
    bias: Bias | None = None
    requantize: Requantize | None = None


class Conversion(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Another rule for some moves from one affine to another: all conditions must hold.

    `changes_sign`: one type is signed and the other is not. `wide`: one of the types has more than 8 bits.
    """

    requantize: Requantize | InVectors
    changes_sign: bool | None = None
    wide: bool | None = None


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine's integer arithmetic.

    `convert`: the rule for moving integers from one affine to another (concatenation, borders between machines).
    `conversions`: other rules for a network's own moves (Requantize), by the types that the network gives the tensors.
    `subtract`: the rule of differences, where it is another than that of sums.
    `multiply`: the rule that requantizes the product of two activations.
    `output`: what happens to a value outside the output type. `source`: where each fact comes from. `fidelity`:
    "verified" (compared bit for bit with `verified_with` by a test of this repository), "source", "documented",
    "assumed", as docs/targets.md explains.
    """

    name: str
    description: str
    scheme: Scheme = Scheme()
    mac: Mac = Mac()
    bias: Bias = Bias()
    requantize: Requantize = FixedPoint()
    overrides: tuple[Override, ...] = ()
    average_pool: Average = Divide()
    mean: Average = Divide()
    add: AddRule | AddInVectors = TwoMultipliers()
    subtract: AddRule | AddInVectors | None = None
    convert: Requantize | InVectors = FixedPoint()
    conversions: tuple[Conversion, ...] = ()
    resize: Resize = Resize()
    multiply: Requantize | InVectors = FixedPoint()
    functions: Functions = Functions()
    output: Overflow = Overflow.SATURATE
    source: str = ""
    fidelity: Fidelity = "assumed"
    verified_with: str = ""

    def __post_init__(self) -> None:
        for name in ("average_pool", "mean", "add", "subtract", "convert", "conversions", "multiply", "functions"):
            if _has_lanes(getattr(self, name)):
                raise ValueError(f"{name} has lanes, which only sums of products have")


def _has_lanes(value: object) -> bool:
    """Whether a rule, however deep, has lanes."""
    if isinstance(value, tuple):
        return any(map(_has_lanes, value))
    if not isinstance(value, Struct):
        return False
    return isinstance(value, Lanes) or any(_has_lanes(getattr(value, name)) for name in value.__struct_fields__)


class Rules(Struct, frozen=True, kw_only=True):
    """The rules that hold for one sum of products."""

    mac: Mac
    bias: Bias
    requantize: Requantize


class Extent(Struct, frozen=True, kw_only=True):
    """How large a sum of products is: `places` of the output, `products` in one sum, `outputs`: its channels."""

    places: int = 1
    products: int = 1
    outputs: int = 1


def rules(
    target: Target, op: str, grouping: str, signed_activations: bool, signed_weights: bool, extent: Extent | None = None
) -> Rules:
    """The target's rules for one kind of product sum, of any extent where none is given; a later override wins."""
    chosen = Rules(mac=target.mac, bias=target.bias, requantize=target.requantize)
    for override in target.overrides:
        conditions = (
            (override.op, op),
            (override.grouping, grouping),
            (override.signed_activations, signed_activations),
            (override.signed_weights, signed_weights),
        )
        if all(wanted is None or wanted == found for wanted, found in conditions) and _extends(override, extent):
            chosen = Rules(
                mac=override.mac or chosen.mac,
                bias=override.bias or chosen.bias,
                requantize=override.requantize or chosen.requantize,
            )
    return chosen


def _extends(override: Override, extent: Extent | None) -> bool:
    """Whether the sum is as large as the override wants it."""
    wanted = (override.places, override.products, override.outputs)
    if extent is None:
        return wanted == (None, None, None)
    places, products, outputs = wanted
    return places in (None, extent.places) and extent.products >= (products or 0) and extent.outputs >= (outputs or 0)


def conversion(target: Target, source: IntType, goal: IntType) -> Requantize | InVectors:
    """The target's rule for moving integers of one type to an affine of another; a later conversion wins."""
    chosen = target.convert
    for other in target.conversions:
        conditions = (
            (other.changes_sign, source.signed != goal.signed),
            (other.wide, max(source.bits, goal.bits) > 8),
        )
        if all(wanted is None or wanted == found for wanted, found in conditions):
            chosen = other.requantize
    return chosen
