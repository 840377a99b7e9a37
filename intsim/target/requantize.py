"""How a machine brings an accumulator to its output type."""

from typing import Literal

from msgspec import Struct

from intsim.integers import Overflow, Rounding
from intsim.target.fields import within
from intsim.target.sums import Cast


class Lanes(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Integers go in groups of `size`; those after the last whole group make their last rounding by `tail`.

    `of` "channels": the output channels go so, at every place; "flat": all integers of a sample's output, place by
    place; "blocks": channels and places, and what remains is where neither fills a group. `left`: what becomes there
    of a number that a shift to the left takes out of its register.
    """

    size: int = 8
    tail: Rounding = Rounding.HALF_AWAY
    of: Literal["channels", "flat", "blocks"] = "channels"
    left: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        within("a group's size", self.size, 1, 1 << 20)


class FixedPoint(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="fixed_point"):
    """real scale ~ M * 2^(e - bits), 2^(bits-1) <= M < 2^bits, encoded with `encoding`.

    `first` None: y = rounding(a * M / 2^(bits - e)), one rounding. Otherwise two: h = first(wrap(a << max(e, 0)) * M /
    2^bits) saturated to `register`, y = rounding(h / 2^max(-e, 0)). Then `middle`, the zero point, the clamp. `left`:
    what the shift to the left does instead of wrapping.

    `keep`: M is then rounded half up to so many bits, at most 2^keep - 1, and the shift is that much shorter.
    `shared`: one exponent for all channels, the one of the largest scale. `product`: a * M wraps in so many bits.
    `doubled`: twice the result, its last bit not yet rounded off, wraps in so many bits. The last two go with a
    single rounding only. `sum`: the result and the zero point are added in so many bits, and wrap. `lanes`:
    channels that do not fill a vector round otherwise; only sums of products have them.

    `float32_product`: of weights with one scale, sx sw is rounded to float32 before it is divided by sy;
    `float32_quotient`: the quotient is rounded to float32, too.
    Not `normalized`: M = encoding(f32(sx sw / sy) 2^bits), of any size, and e = 0.
    """

    bits: int = 31
    encoding: Rounding = Rounding.HALF_AWAY
    first: Rounding | None = None
    rounding: Rounding = Rounding.HALF_UP
    register: int = 32
    middle: Cast | None = None
    zero_point: Literal["after", "before"] = "after"
    keep: int | None = None
    shared: bool = False
    product: int | None = None
    doubled: int | None = None
    sum: int | None = None
    normalized: bool = True
    float32_product: bool = False
    float32_quotient: bool = False
    lanes: Lanes | None = None
    left: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 62)
        within("register", self.register, 2, 64)
        within("keep", self.bits if self.keep is None else self.keep, 1, self.bits)
        within("product", 64 if self.product is None else self.product, 2, 64)
        within("doubled", 64 if self.doubled is None else self.doubled, 2, 64)
        _check_sum(self.sum, self.zero_point)
        if self.first is not None and (self.product, self.doubled) != (None, None):
            raise ValueError("product and doubled go with a single rounding: leave out first")
        lefts = {self.left} if self.lanes is None else {self.left, self.lanes.left}
        if self.first is None and lefts != {Overflow.WRAP}:
            raise ValueError("left goes with two roundings: give first")
        if not self.normalized and (self.keep is not None or self.shared):
            raise ValueError("keep and shared go with normalized multipliers")
        if self.float32_quotient and not self.float32_product:
            raise ValueError("a float32_quotient is that of a float32_product")


class PowerOfTwo(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="power_of_two"):
    """real scale = 2^e exactly: y = rounding(a * 2^e)."""

    rounding: Rounding = Rounding.HALF_UP
    middle: Cast | None = None
    zero_point: Literal["after", "before"] = "after"


class Float32Scale(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_scale"
):
    """s = f32(f32(sx * sw) / sy); y = rounding(f32(f32(a) * s)): the machine itself multiplies in float32.

    `converted`: an integer that so many bits do not hold becomes their lowest, as x86 converts floats; None: it clamps.
    """

    rounding: Rounding = Rounding.HALF_EVEN
    zero_point: Literal["after", "before"] = "after"
    converted: int | None = None

    def __post_init__(self) -> None:
        within("converted", 64 if self.converted is None else self.converted, 2, 64)


class Float64Scale(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float64_scale"
):
    """d = f64(sx) * f64(sw) / f64(sy); y = rounding(f64(a) * d): the machine itself multiplies in float64.

    `sum`: the result and the zero point are added in so many bits, and wrap.
    """

    rounding: Rounding = Rounding.HALF_AWAY
    zero_point: Literal["after", "before"] = "after"
    sum: int | None = None

    def __post_init__(self) -> None:
        _check_sum(self.sum, self.zero_point)


class Float32Requantize(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_requantize"
):
    """y = half_even(f32(f32(a * sx) / sy)) + zy: dequantized and quantized again, one scale for the whole tensor."""


class Thresholds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="thresholds"):
    """y = low + #{i: a >= t[i]}; the thresholds are those of the exact scale with ties upwards."""


def _check_sum(bits: int | None, zero_point: str) -> None:
    within("sum", 64 if bits is None else bits, 2, 64)
    if bits is not None and zero_point == "before":
        raise ValueError("sum goes with a zero point after the rounding")


Requantize = FixedPoint | PowerOfTwo | Float32Scale | Float64Scale | Float32Requantize | Thresholds
