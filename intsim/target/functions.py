"""How a machine computes functions of activations: sigmoid, tanh and their kin, softmax."""

from typing import Literal

from msgspec import Struct

from intsim.integers import Rounding
from intsim.target.fields import within
from intsim.target.requantize import FixedPoint


class ExactFunction(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="exact_function"
):
    """y = rounding(f(sx (q - zx)) / sy) + zy of the real function."""

    rounding: Rounding = Rounding.HALF_EVEN


class FloatFunction(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float_function"
):
    """A table made in floats: x = f32(sx * (q - zx)), f(x) in `precision`, y = rounding(f(x) * f32(1 / sy)) + zy.

    `precision`: of f and of the product. "float32": one operation after the other; "float32_once" and "float64": the
    number nearest to the real function of x. `quotient`: f(x) / sy instead. `library`: what exp, tanh and ln are in
    "float32": the "nearest" number, or (tanh) as "fdlibm" computes it. `zero_point`: added after the rounding, or
    before it, in the precision of the product.
    """

    precision: Literal["float32", "float32_once", "float64"] = "float32"
    library: Literal["nearest", "fdlibm"] = "nearest"
    quotient: bool = False
    rounding: Rounding = Rounding.HALF_AWAY
    zero_point: Literal["after", "before"] = "after"


class Mlas(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="mlas"):
    """onnxruntime's floats: y = half_even(f32(f(x) / sy)) + zy of x = f32(sx * (q - zx)), all in float32.

    Sigmoid and tanh are quotients of polynomials, whose multiply-adds round once if `fused`; hard swish is x times the
    clipped x / 6 + 1 / 2.
    """

    fused: bool = True


class Gemmlowp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="gemmlowp"):
    """Sigmoid and tanh in gemmlowp's fixed point: Q4.27 in, Q0.31 out; beyond `radius` the result is its end.

    The output's scale is 2^-8 with the type's lowest integer as zero point, or 2^-7 with zero point 0 (tanh).
    """

    radius: int = 15

    def __post_init__(self) -> None:
        within("radius", self.radius, 1, 15)


class Interpolated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="interpolated"):
    """Sigmoid and tanh of 16 bits: 256 samples of the sigmoid, 24 to the unit, with straight lines between them.

    Input and output have no zero points, and the output's scale is 2^-15. `powers_of_two`: an input of (nearly) the
    scale 2^-12, for tanh 2^-11 too, goes through gemmlowp's fixed point in registers of 16 bits instead.
    """

    powers_of_two: bool = False


class Sampled(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="sampled"):
    """f at `entries` places from -reach on, 2 * reach / entries apart; x goes to the place toward zero, or to the ends.

    The samples are integers of scale 2^-fraction_bits, rounded with `rounding`; they are then brought to the output's
    scale in the same way.
    """

    entries: int = 1024
    reach: int = 8
    fraction_bits: int = 10
    rounding: Rounding = Rounding.FLOOR

    def __post_init__(self) -> None:
        within("entries", self.entries, 2, 1 << 16)
        within("reach", self.reach, 1, 1 << 16)
        within("fraction_bits", self.fraction_bits, 0, 40)


class TwoSlopes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="two_slopes"):
    """Leaky relu and prelu in integers: q - zx is requantized with sx/sy, or with sx * slope / sy where it is negative.

    A slope per channel is integers of a scale s: then (q - zx) * (slope - zero point) with sx * s / sy.
    """

    requantize: FixedPoint = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)


class ShortSlopes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="short_slopes"):
    """Leaky relu with factors of 16 bits: half_up((q - zx) * m / 2^bits) + zy, m = half_even(2^bits * slope * sx / sy).

    `otherwise`: the rule where a factor is 2^(15 - bits) or more, or one for negative integers is below 2^-bits, or
    -2^(15 - bits) or less.
    """

    bits: int = 8
    otherwise: TwoSlopes = TwoSlopes()

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 14)


class ShortHardSwish(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="short_hard_swish"
):
    """Hard swish in registers of 16 bits: (q - zx) * 2^7, by multipliers of 15 bits; the gate in integers of 2^-15."""


Curve = ExactFunction | FloatFunction | Mlas | Gemmlowp | Interpolated | Sampled
Slopes = ExactFunction | FloatFunction | TwoSlopes | ShortSlopes
Swish = ExactFunction | FloatFunction | Mlas | ShortHardSwish


class QuotientSoftmax(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="quotient_softmax"
):
    """E[k] = half_even(2^bits * exp(-k * beta * sx)), k = max - q; y = rounding(E / (sy * sum E)) + zy, exactly.

    1 / sy is an integer over 2^12, rounded half to even.
    """

    bits: int = 30
    rounding: Rounding = Rounding.HALF_EVEN

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 30)


class GemmlowpSoftmax(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="gemmlowp_softmax"
):
    """gemmlowp's fixed point: exponentials in Q0.31, their sum in Q12.19, a reciprocal by Newton's method.

    The output's scale is 2^-bits of its type, with the type's lowest integer as zero point.
    """


class Float32Softmax(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_softmax"
):
    """Exponentials from a float32 table of max - q, summed in order, y = rounding(...) + zy.

    "inverse": y of f32(t * f32(1 / f32(sum * sy))), t = exp(f32(-sx * beta) * k). "quotient": of t * floor(1 / sy) /
    sum in float64, t = exp(sx * (b - k)), where b keeps the sum of all channels just finite.
    """

    division: Literal["inverse", "quotient"] = "inverse"
    rounding: Rounding = Rounding.HALF_AWAY


class InterpolatedSoftmax(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="interpolated_softmax"
):
    """Two tables of 513 integers of 16 bits with straight lines between them: e^x over -10..0, 1 / (1 + x) over 0..1.

    The output has 16 bits, the scale 2^-15 and no zero point. `precision`: of what makes the tables. `requantize`: of
    max - q to the places of the first; with `float32_product`, beta * sx is a float32 product.
    """

    precision: Literal["float32", "float64"] = "float64"
    requantize: FixedPoint = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY, float32_product=True)


SoftmaxRule = QuotientSoftmax | GemmlowpSoftmax | Float32Softmax | InterpolatedSoftmax


class Functions(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine's rule for each function of activations.

    `other`: for functions of one integer that have no rule of their own here (Elu, Gelu, HardSigmoid, Mish, Rsqrt,
    Softplus).
    """

    sigmoid: Curve = ExactFunction()
    tanh: Curve = ExactFunction()
    hard_swish: Swish = ExactFunction()
    leaky_relu: Slopes = ExactFunction()
    prelu: Slopes = ExactFunction()
    other: ExactFunction | FloatFunction = ExactFunction()
    softmax: SoftmaxRule = QuotientSoftmax()
