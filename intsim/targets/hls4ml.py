"""hls4ml's fixed-point numbers: a machine from the spelling of its types, ap_fixed<W,I,Q,O> and its kin."""

import re
from typing import TypeVar

from msgspec import Struct

from intsim.errors import IntsimError
from intsim.integers import IntType, Overflow, Rounding
from intsim.target import (
    Bias,
    Cast,
    Divide,
    Functions,
    Level,
    Mac,
    PowerOfTwo,
    Sampled,
    Scheme,
    Target,
    TwoMultipliers,
)

Mode = TypeVar("Mode", Rounding, Overflow)
DEFAULT = "ap_fixed<16,6>"
PARTS = ("weight", "bias", "accumulator", "result")
SPELLINGS = "write ap_fixed<W,I,Q,O>, ap_ufixed<...>, ac_fixed<W,I,S,Q,O>, ap_int<W> or ap_uint<W>"
_TYPE = re.compile(r"(ap_fixed|ap_ufixed|ac_fixed|ap_int|ap_uint)\s*<([^<>]*)>")


class Fixed(Struct, frozen=True, kw_only=True):
    """A fixed-point type: W `bits`, of which I before the point; the modes of what is assigned to it."""

    bits: int
    integer_bits: int
    signed: bool = True
    rounding: Rounding = Rounding.FLOOR
    overflow: Overflow = Overflow.WRAP

    @property
    def fraction_bits(self) -> int:
        """F = W - I; below zero for coarse types."""
        return self.bits - self.integer_bits

    @property
    def type(self) -> IntType:
        """Its integers."""
        return IntType(self.bits, self.signed)

    @property
    def scale(self) -> float:
        """The real value of one unit."""
        return 2.0**-self.fraction_bits


def fixed(text: str) -> Fixed:
    """The type of a spelling such as ap_fixed<16,6,AP_RND,AP_SAT>. IntsimError for anything else."""
    match = _TYPE.fullmatch(text.strip())
    if match is None:
        raise IntsimError("is no fixed-point type", where=text, mend=SPELLINGS)
    family, words = match[1], [word.strip() for word in match[2].split(",")]
    signed = family not in ("ap_ufixed", "ap_uint")
    if family in ("ap_int", "ap_uint"):
        words.insert(1, words[0])
    if family == "ac_fixed" and len(words) > 2:
        if words[2] not in ("true", "false", "1", "0"):
            raise IntsimError(f'has the sign "{words[2]}"', where=text, mend="write true or false")
        signed = words.pop(2) in ("true", "1")
    if not 2 <= len(words) <= 5 or (len(words) == 5 and words.pop() != "0"):
        raise IntsimError(f"has {len(words)} parameters that make no type", where=text, mend=SPELLINGS)
    bits, integer_bits = (_number(word, text) for word in words[:2])
    if not 2 <= bits <= 32 or not -32 <= bits - integer_bits <= 32:
        raise IntsimError(f"has {bits} bits, {integer_bits} of them before the point", where=text, mend="2 to 32 bits")
    found = Fixed(
        bits=bits,
        integer_bits=integer_bits,
        signed=signed,
        rounding=_mode(words[2], Rounding, text) if len(words) > 2 else Rounding.FLOOR,
        overflow=_mode(words[3], Overflow, text) if len(words) > 3 else Overflow.WRAP,
    )
    if found.overflow is Overflow.WRAP_SM and found.rounding is not Rounding.FLOOR:
        # The headers fold by the bits from before the rounding, which are gone where a register folds here.
        raise IntsimError("rounds and folds", where=text, mend="AP_WRAP_SM goes with AP_TRN here")
    if found.overflow is Overflow.WRAP_SM and not signed:
        raise IntsimError("folds and has no sign", where=text, mend="the headers end there too: choose AP_WRAP")
    return found


def _number(word: str, text: str) -> int:
    try:
        return int(word)
    except ValueError:
        raise IntsimError(f'has a width "{word}"', where=text, mend=SPELLINGS) from None


def _mode(word: str, kind: type[Mode], text: str) -> Mode:
    try:
        return kind(word)
    except ValueError:
        what = "quantization" if kind is Rounding else "overflow"
        raise IntsimError(
            f'has a {what} mode "{word}"', where=text, mend="write AP_TRN, AP_RND, AP_WRAP, AP_SAT ..."
        ) from None


def ap_fixed(
    x: str = DEFAULT,
    *,
    weight: str | None = None,
    bias: str | None = None,
    accumulator: str | None = None,
    result: str | None = None,
    name: str = "",
) -> Target:
    """A machine of hls4ml's dense layer on these types; what is not given is as `x`.

    Every product is cast to the accumulator's type (its Q and O), and so is every sum; the sum starts from the bias,
    and is cast to the result's type. `x` and `result` have the same bits: they differ in Q and O. IntsimError for a
    type that is none, or that this cannot be.
    """
    of_x, of_w, of_b, of_a, of_y = (fixed(text or x) for text in (x, weight, bias, accumulator, result))
    if (of_y.bits, of_y.integer_bits, of_y.signed) != (of_x.bits, of_x.integer_bits, of_x.signed):
        raise IntsimError(
            "differs from the activations' type in more than its modes", where=str(result), mend=f"start it as {x}"
        )
    if not of_a.signed:
        raise IntsimError("is an unsigned accumulator", where=accumulator or x, mend="choose a signed one")
    products = of_x.fraction_bits + of_w.fraction_bits
    held = Cast(bits=of_y.bits, signed=of_y.signed, overflow=of_y.overflow)
    settle = PowerOfTwo(rounding=of_y.rounding, middle=held)
    spelled = ";".join([x, *(f"{what}={text}" for what, text in _said(weight, bias, accumulator, result))])
    return Target(
        name=name or spelled,
        description=f"hls4ml on {spelled}: every product and every sum is cast",
        scheme=Scheme(
            activations=(of_x.type,),
            weights=(of_w.type,),
            zero_points=False,
            power_of_two=True,
            per_channel=(),
            bias=of_b.type,
            bias_shift=max(products - of_b.fraction_bits, 0),
            activation_scale=of_x.scale,
            weight_scale=of_w.scale,
        ),
        mac=Mac(
            product=Cast(
                bits=of_a.bits,
                shift=products - of_a.fraction_bits,
                rounding=of_a.rounding,
                overflow=of_a.overflow,
            ),
            levels=(Level(bits=of_a.bits, overflow=of_a.overflow),),
        ),
        bias=Bias(type=of_b.type, shifted=True, when="init"),
        requantize=settle,
        average_pool=Divide(rounding=Rounding.TO_ZERO),
        mean=Divide(rounding=Rounding.TO_ZERO),
        add=TwoMultipliers(bits=1, rounding=of_y.rounding, middle=held),
        convert=settle,
        multiply=settle,
        functions=Functions(
            sigmoid=Sampled(entries=1024, reach=8, fraction_bits=10),
            tanh=Sampled(entries=1024, reach=4, fraction_bits=10),
        ),
        source=(
            "fastmachinelearning/hls4ml ef92ebdf templates/vivado/nnet_utils/nnet_dense_latency.h dense_latency, "
            "nnet_pooling.h, nnet_activation.h (1.3.0); Xilinx/HLS_arbitrary_Precision_Types 200a9aec ap_fixed_base.h. "
            "An average's accum_t holds every sum here and has the activations' point: with the fraction bits that the "
            "converter adds where it infers that type, averages go down, not to zero; activations all have one type; "
            "functions other than sigmoid and tanh are inferences"
        ),
        fidelity="source",
    )


def spelled(text: str) -> Target:
    """The machine of ap_fixed<...>[;weight=...][;bias=...][;accumulator=...][;result=...], as `ap_fixed` takes them."""
    x, *rest = text.split(";")
    given = dict(part.partition("=")[::2] for part in rest)
    for word in given:
        if word not in PARTS:
            raise IntsimError(f'has no part "{word}"', where=text, mend=f"there are {', '.join(PARTS)}")
    return ap_fixed(x, **given)


def _said(*given: str | None) -> list[tuple[str, str]]:
    return [(word, text) for word, text in zip(PARTS, given, strict=True) if text is not None]


HLS4ML = ap_fixed(DEFAULT, name="hls4ml")
