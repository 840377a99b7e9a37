"""How a machine adds two activations."""

from typing import Literal

from msgspec import Struct

from intsim.integers import Rounding
from intsim.target.fields import within
from intsim.target.requantize import FixedPoint, Requantize
from intsim.target.sums import Cast


class ShiftedAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="shifted_add"):
    """Power-of-two scales: each operand shifted to the output's scale with `rounding`, then added."""

    rounding: Rounding = Rounding.HALF_AWAY


class ThreeRescales(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="three_rescales"
):
    """gemmlowp's: both operands << left_shift, rescaled by `requantize` to twice the larger scale, added, rescaled.

    `inputs`: the rule of the operands' rescales, where it is not the sum's. `early`: an operand is shifted by
    left_shift and its own exponent at once, to the right rounding down, before it is multiplied. `powers_of_two`: the
    rule where all three scales are powers of two and one operand has the output's; None: the same.
    """

    left_shift: int = 20
    requantize: FixedPoint = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)
    inputs: FixedPoint | None = None
    early: bool = False
    powers_of_two: ShiftedAdd | None = None

    def __post_init__(self) -> None:
        within("left_shift", self.left_shift, 0, 40)


class TwoMultipliers(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="two_multipliers"
):
    """y = rounding((Ma * (a - za) + Mb * (b - zb)) / 2^sh), sh = bits - 1 - floor(log2(max(sa/sy, sb/sy))).

    `middle`: the register that the shifted sum passes, before the zero point.
    """

    bits: int = 21
    rounding: Rounding = Rounding.HALF_UP
    middle: Cast | None = None

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 40)


class Float32Add(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_add"):
    """y = half_even(a * ra + (b * rb + fixed)) in float32, or with a and b in each other's place, as `first` says.

    ra = f32(sa/sy), rb = f32(sb/sy), fixed = zy - (za * ra + rb*zb); `fused`: each multiply-add rounds once, in `fixed`
    that with za. `first`: which operand meets `fixed` first. `repeated_first`: that is an operand of which one integer
    goes with several of the other along the innermost axis, channels first, whatever `first` says.
    """

    fused: bool = True
    first: Literal["a", "b"] = "b"
    repeated_first: bool = False


class AlignedAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="aligned_add"):
    """Power-of-two scales: both shifted left to the finer scale, added, y = rounding(sum * 2^e)."""

    rounding: Rounding = Rounding.HALF_UP


class ClippedAdd(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="clipped_add"):
    """y = clip(half_even(a * f32(sa/sy))) + clip(half_even(b * f32(sb/sy))), clipped again; float32 products."""


class DequantizedAdd(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="dequantized_add"
):
    """y = half_even(f32((f32(sa * (a - za)) + f32(sb * (b - zb))) / sy)) + zy, each operation in float32."""


AnyScales = ThreeRescales | ShiftedAdd | TwoMultipliers | Float32Add | AlignedAdd | ClippedAdd | DequantizedAdd
"""The rules that take operands of any scales, or any powers of two."""


class RequantizedSum(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="requantized_sum"
):
    """(a - za) + (b - zb) as an accumulator, requantized with the real scale s / sy, where both operands have scale s.

    `unlike`: the rule of operands whose scales differ.
    """

    requantize: Requantize
    unlike: AnyScales = TwoMultipliers()


AddRule = AnyScales | RequantizedSum
