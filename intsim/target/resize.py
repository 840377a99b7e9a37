"""How a machine resizes maps."""

from typing import Literal

from msgspec import Struct

from intsim.integers import Rounding
from intsim.target.fields import within


class Resize(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where a machine looks for each output, and how it interpolates between neighbours (33), (34).

    `nearest`: the place in the input is computed in exact numbers, with a product in "float32", or as the "quotient" by
    the ratio of output to input in float32, where what is within 10^-6 of a half is rounded as a half; "step": without
    half pixels or aligned corners in multiples of floor(2^16 ratio) + 1, in float32 with them. `linear`: the
    fractions between neighbours, of `bits` bits, are those of the exact place, of the place in "float32", both rounded
    half to even, or those of multiples of one "step", the ratio of the sizes in as many bits. The weighted sum is then
    divided by 2^(2 bits) with `rounding`. By the "quotient" place as above, maps are mixed in float32 and cut to
    integers towards zero; `bits` and `rounding` are without meaning then.
    """

    nearest: Literal["exact", "float32", "quotient", "step"] = "exact"
    linear: Literal["exact", "float32", "step", "quotient"] = "exact"
    bits: int = 11
    rounding: Rounding = Rounding.HALF_UP

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 15)
        if self.rounding is Rounding.CARRY_SHIFT:
            raise ValueError("an interpolation lies between its neighbours, and carry_shift may leave them")
