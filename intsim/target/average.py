"""How a machine averages a window."""

from typing import Literal

from msgspec import Struct

from intsim.integers import Rounding
from intsim.target.fields import within
from intsim.target.requantize import Requantize


class Divide(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="divide"):
    """rounding(sum / n) of the raw integers, or of q - zero point (`centred`, the zero point added back).

    `older`: where weights have zero points or no sign, the raw integers are unsigned, as the network has them.
    """

    rounding: Rounding = Rounding.HALF_AWAY
    centred: bool = False
    older: bool = False


class Reciprocal(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="reciprocal"):
    """rounding(sum * R / 2^bits), R = floor((2^bits + n/2) / n), on q - zero point (not `centred`: on q itself).

    `stages` 2: first with the window's width, then with its height. `normalized`: R = floor((2^bits + 1) * 2^k / n) and
    the shift is bits + k, with k the length of n - 1 in bits.
    """

    bits: int = 16
    rounding: Rounding = Rounding.HALF_AWAY
    stages: Literal[1, 2] = 1
    centred: bool = True
    normalized: bool = False

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 31)


class Factors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="factors"):
    """rounding(sum * F / 2^s) on q - zero point: (h, w, F, s) of a window stands in `factors`.

    Of a window that is not there, s runs from 0 to below ceil(log2(`reach` * n)), F = half_even(2^s / n), and F / 2^s
    is the first nearest to 1 / n.
    """

    factors: tuple[tuple[int, int, int, int], ...] = ()
    reach: int = 128
    rounding: Rounding = Rounding.HALF_UP

    def __post_init__(self) -> None:
        within("reach", self.reach, 2, 1 << 20)
        for height, width, factor, shift in self.factors:
            within("a factor", factor, 0, 1 << 32)
            within("a factor's shift", shift, 0, 62)
            within("a factor's window", min(height, width), 1, 1 << 20)


class Float32Average(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="float32_average"
):
    """Half to even of the float32 mean plus the zero point.

    Dequantized to float32, summed in window order, divided by n, then by the output scale. A window that is the whole
    map, without padding, is averaged by the machine's `mean`.
    """


class RescaledSum(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="rescaled_sum"):
    """sum(q - zx) as an accumulator, requantized with the real scale sx / (sy * n).

    `encoding` says how that scale is formed: "tflite": the multiplier of sx/sy, divided by n in integers;
    "f32_quotient": f32(f32(sx/sy) / f32(n)); "f32_product": f32(sx / f32(sy * f32(n))); "f32_reciprocal":
    s = f32(f32(sx/sy) * f32(1/n)), of the raw sum, with f32(zy - f32(n * zx * s)) added before the rounding;
    "exact": in float64.
    """

    requantize: Requantize
    encoding: Literal["tflite", "f32_quotient", "f32_product", "f32_reciprocal", "exact"] = "exact"


Average = Divide | Reciprocal | Factors | Float32Average | RescaledSum
