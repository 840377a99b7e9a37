"""The arithmetic of a machine, as data: what it takes, how it accumulates, requantizes, pools and adds.

Formulas stand in `arithmetic.py` and, numbered, in docs/arithmetic.md. Every record can be written as a TOML table;
a record that is one of several carries its name in the field `rule`.
"""

import hashlib
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import force_setattr

from intsim.integers import IntType, Overflow, Rounding, frozen


def _within(field: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ValueError(f"{field} is {low} to {high}, not {value}")


class Cast(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number moved into a register: shifted right by `shift` with `rounding`, then `overflow` into `bits`."""

    bits: int
    signed: bool = True
    shift: int = 0
    rounding: Rounding = Rounding.FLOOR
    overflow: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        _within("bits", self.bits, 1, 1024)
        _within("shift", self.shift, -64, 64)


class Level(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One level of the reduction tree: adds `size` items in order, `overflow` into `bits` after each add.

    `size` None: all that there are (the outermost level, always). `bits` None: exact, no register is too narrow.
    `first_only`: only the first `size` items form a group; the rest go to the next level one by one.
    """

    size: int | None = None
    bits: int | None = None
    overflow: Overflow = Overflow.WRAP
    first_only: bool = False

    def __post_init__(self) -> None:
        _within("bits", 64 if self.bits is None else self.bits, 2, 64)
        if self.size is not None and self.size < 1:
            raise ValueError(f"a level adds at least one item, not {self.size}")


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """A multiplier of 8 by 8 bits, as what it gives for every pair of patterns: `entries` int32 `[256, 256]` (22).

    The row is the activation's pattern, the column the weight's; `signed_activations` and `signed_weights` say whether
    the multiplier reads them as two's complement. `file`: the .npy file with the entries, beside a TOML that names it;
    `sha256`: of the entries as little-endian bytes, row by row; both are found where they are not given. Tables with
    the same entries and signs are equal.
    """

    entries: np.ndarray
    signed_activations: bool = True
    signed_weights: bool = True
    file: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        entries = self.entries
        if entries.dtype.kind not in "iu" or entries.shape != (256, 256):
            raise ValueError(f"a multiplier is 256 x 256 integers, not {entries.dtype} {entries.shape}")
        low, high = int(entries.min()), int(entries.max())
        if not -(1 << 31) <= low <= high < 1 << 31:
            raise ValueError(f"a multiplier's products fit int32, not {low} to {high}")
        if entries.dtype != np.int32 or entries.flags.writeable or not entries.flags.c_contiguous:
            force_setattr(self, "entries", frozen(np.array(entries, np.int32, order="C")))
        found = hashlib.sha256(self.entries.astype("<i4").tobytes()).hexdigest()
        if self.sha256 not in ("", found):
            raise ValueError(f"the multiplier has sha256 {found[:12]}..., not {self.sha256[:12]}...")
        force_setattr(self, "sha256", found)
        if set(self.file) & set("/\\:"):
            raise ValueError(f"a multiplier's file lies beside the TOML that names it, not at {self.file}")
        force_setattr(self, "file", self.file or f"multiplier_{found[:12]}.npy")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, bool, bool]:
        return self.sha256, self.signed_activations, self.signed_weights


class Mac(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How products are formed and summed; `levels` go from the inner to the outer one.

    `zero_point` "in_operand": products are (x - zx) * (w - zw), and padding adds zeros. "folded": products are x * w
    of the raw integers (padding is zx), and what the zero points owe is added together with the bias.
    `order`: the reduction's running order; "hwc" is kernel row, kernel column, channel, and "chw" channel first.
    `multiplier`: what forms the products, where they are not exact. `product`: the register that each product passes
    before it is added.
    """

    levels: tuple[Level, ...] = (Level(bits=32),)
    multiplier: Table | None = None
    product: Cast | None = None
    zero_point: Literal["in_operand", "folded"] = "in_operand"
    order: Literal["hwc", "chw"] = "hwc"

    def __post_init__(self) -> None:
        if not self.levels or self.levels[-1].size is not None:
            raise ValueError("the last level adds all that is left: leave out its size")
        if any(level.size is None for level in self.levels[:-1]):
            raise ValueError("only the last level may leave out its size")


class Bias(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bias: integers of `type`; the accumulator starts from it ("init"), or it is added at the "end".

    The add is done in the outermost level's register, or in `bits` with `overflow` where those are given.
    """

    type: IntType = IntType(32)
    when: Literal["init", "end"] = "end"
    bits: int | None = None
    overflow: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        _within("bits", 64 if self.bits is None else self.bits, 2, 64)


# ---- requantization: from the accumulator to the output type ---------------------------------------------------


class FixedPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="fixed_point"):
    """real scale ~ M * 2^(e - bits), 2^(bits-1) <= M < 2^bits, encoded with `encoding`.

    `first` None: y = rounding(a * M / 2^(bits - e)), one rounding. Otherwise two: h = first(wrap(a << max(e, 0)) * M /
    2^bits) saturated to `register`, y = rounding(h / 2^max(-e, 0)). Then `middle`, the zero point, the clamp.
    """

    bits: int = 31
    encoding: Rounding = Rounding.HALF_AWAY
    first: Rounding | None = None
    rounding: Rounding = Rounding.HALF_UP
    register: int = 32
    middle: Cast | None = None
    zero_point: Literal["after", "before"] = "after"

    def __post_init__(self) -> None:
        _within("bits", self.bits, 1, 62)
        _within("register", self.register, 2, 64)


class PowerOfTwo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="power_of_two"):
    """real scale = 2^e exactly: y = rounding(a * 2^e)."""

    rounding: Rounding = Rounding.HALF_UP
    middle: Cast | None = None
    zero_point: Literal["after", "before"] = "after"


class Float32Scale(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_scale"
):
    """s = f32(f32(sx * sw) / sy); y = rounding(f32(f32(a) * s)): the machine itself multiplies in float32."""

    rounding: Rounding = Rounding.HALF_EVEN
    zero_point: Literal["after", "before"] = "after"


class Float64Scale(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float64_scale"
):
    """d = f64(sx) * f64(sw) / f64(sy); y = rounding(f64(a) * d): the machine itself multiplies in float64."""

    rounding: Rounding = Rounding.HALF_AWAY
    zero_point: Literal["after", "before"] = "after"


class Float32Requantize(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_requantize"
):
    """y = half_even(f32(f32(a * sx) / sy)) + zy: dequantized and quantized again, one scale for the whole tensor."""


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="thresholds"):
    """y = low + #{i: a >= t[i]}; the thresholds are those of the exact scale with ties upwards."""


Requantize = FixedPoint | PowerOfTwo | Float32Scale | Float64Scale | Float32Requantize | Thresholds


# ---- averages --------------------------------------------------------------------------------------------------


class Divide(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="divide"):
    """rounding(sum / n) of the raw integers, or of q - zero point (`centred`, the zero point added back)."""

    rounding: Rounding = Rounding.HALF_AWAY
    centred: bool = False


class Reciprocal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="reciprocal"):
    """rounding(sum * R / 2^bits), R = floor((2^bits + n/2) / n), on q - zero point.

    `stages` 2: first with the window's width, then with its height.
    """

    bits: int = 16
    rounding: Rounding = Rounding.HALF_AWAY
    stages: Literal[1, 2] = 1

    def __post_init__(self) -> None:
        _within("bits", self.bits, 1, 31)


class Float32Average(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_average"
):
    """Half to even of the float32 mean plus the zero point.

    Dequantized to float32, summed in window order, divided by n, then by the output scale.
    """


class RescaledSum(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="rescaled_sum"):
    """sum(q - zx) as an accumulator, requantized with the real scale sx / (sy * n).

    `encoding` says how that scale is formed: "tflite": the multiplier of sx/sy, divided by n in integers;
    "f32_quotient": f32(f32(sx/sy) / f32(n)); "f32_product": f32(sx / f32(sy * f32(n))); "exact": in float64.
    """

    requantize: Requantize
    encoding: Literal["tflite", "f32_quotient", "f32_product", "exact"] = "exact"


Average = Divide | Reciprocal | Float32Average | RescaledSum


# ---- sums of two activations -----------------------------------------------------------------------------------


class ThreeRescales(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="three_rescales"
):
    """gemmlowp's: both operands << left_shift, rescaled by `requantize` to twice the larger scale, added, rescaled."""

    left_shift: int = 20
    requantize: FixedPoint = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)

    def __post_init__(self) -> None:
        _within("left_shift", self.left_shift, 0, 40)


class TwoMultipliers(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="two_multipliers"
):
    """y = rounding((Ma * (a - za) + Mb * (b - zb)) / 2^sh), sh = bits - 1 - floor(log2(max(sa/sy, sb/sy)))."""

    bits: int = 21
    rounding: Rounding = Rounding.HALF_UP

    def __post_init__(self) -> None:
        _within("bits", self.bits, 1, 40)


class Float32Add(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_add"):
    """y = half_even(a * ra + (b * rb + fixed)), all in float32.

    ra = f32(sa/sy), rb = f32(sb/sy), fixed = zy - (za * ra + rb*zb); `fused`: each multiply-add rounds once, in `fixed`
    that with za.
    """

    fused: bool = True


class AlignedAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="aligned_add"):
    """Power-of-two scales: both shifted left to the finer scale, added, y = rounding(sum * 2^e)."""

    rounding: Rounding = Rounding.HALF_UP


class ClippedAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="clipped_add"):
    """y = clip(half_even(a * f32(sa/sy))) + clip(half_even(b * f32(sb/sy))), clipped again; float32 products."""


AddRule = ThreeRescales | TwoMultipliers | Float32Add | AlignedAdd | ClippedAdd


# ---- the machine -----------------------------------------------------------------------------------------------


class Scheme(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a machine requires of a quantization. Fewer bits than a type has are always taken.

    `activations`: types that the datapath reads, the preferred one first; a tensor of the other sign is re-expressed
    losslessly. `weights` likewise, but without re-expression. `zero_points`: whether activations may have one.
    `per_channel`: the ops whose weights may have a scale per output channel. `keeps_scale`: ops whose output must have
    its input's affine on this machine.
    """

    activations: tuple[IntType, ...] = (IntType(8),)
    weights: tuple[IntType, ...] = (IntType(8),)
    zero_points: bool = True
    weight_zero_points: bool = False
    power_of_two: bool = False
    per_channel: tuple[str, ...] = ("Conv", "Gemm")
    keeps_scale: tuple[str, ...] = ("AveragePool", "Concat")
    bias: IntType = IntType(32)


class Override(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other rules for some sums of products: what is given replaces the target's own; all conditions must hold.

    `op`: "Conv" or "Gemm". `grouping`: "depthwise" (one input and one output channel a group), "grouped" (more than
    one group, not depthwise), "single" (one group of one input and one output channel), "dense".
    `signed_activations`, `signed_weights`: the operands' types.
    """

    op: Literal["Conv", "Gemm"] | None = None
    grouping: Literal["depthwise", "grouped", "single", "dense"] | None = None
    signed_activations: bool | None = None
    signed_weights: bool | None = None
    mac: Mac | None = None
    bias: Bias | None = None
    requantize: Requantize | None = None


class Target(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine's integer arithmetic.

    `convert`: the rule for moving integers from one affine to another (concatenation, borders between machines).
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
    add: AddRule = TwoMultipliers()
    convert: Requantize = FixedPoint()
    output: Overflow = Overflow.SATURATE
    source: str = ""
    fidelity: Literal["verified", "source", "documented", "assumed"] = "assumed"
    verified_with: str = ""


class Rules(Struct, frozen=True, kw_only=True):
    """The rules that hold for one sum of products."""

    mac: Mac
    bias: Bias
    requantize: Requantize


def rules(target: Target, op: str, grouping: str, signed_activations: bool, signed_weights: bool) -> Rules:
    """The target's rules for one kind of product sum; a later override wins."""
    chosen = Rules(mac=target.mac, bias=target.bias, requantize=target.requantize)
    for override in target.overrides:
        conditions = (
            (override.op, op),
            (override.grouping, grouping),
            (override.signed_activations, signed_activations),
            (override.signed_weights, signed_weights),
        )
        if all(wanted is None or wanted == found for wanted, found in conditions):
            chosen = Rules(
                mac=override.mac or chosen.mac,
                bias=override.bias or chosen.bias,
                requantize=override.requantize or chosen.requantize,
            )
    return chosen
