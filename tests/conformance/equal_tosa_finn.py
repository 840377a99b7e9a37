"""Changes of TOSA's and FINN's machines that change no result, each with its proof."""

_TOSA = "tosa_single|tosa_double|tosa_16bit"
_EIGHT = "tosa_single|tosa_double"
_ONCE = "tosa_single|tosa_16bit"
_RESCALE = (
    "TOSA's RESCALE takes only what is below 2^(shift - 1), and its multiplier is below 2^31 (apply_scale_32): no "
    "result leaves 31 bits"
)
_WIDE = "the results of TOSA's RESCALE of 48 bits fit int32 (apply_scale_16)"
_LEFT = (
    "TOSA's RESCALE takes only what is below 2^(shift - 1): shifted left by 31 - shift it is below 2^30, and no "
    "register of 31 bits overflows"
)
_POWERS = "it takes powers of two only; for these the multiplier is exact, and both round half up once"
_NO_SUM = "TOSA has no network of which a sum leaves {} bits"


def _each(field: str, *places: str) -> str:
    return "|".join(f"{place}.{field}" for place in places)


_TIE = (
    "the factor of a window of n is above 2^s / n: what would be a tie of sum / n is passed, and no other product is "
    "one either{}, as tests/test_conformance.py counts"
)
_RULES = ("convert", "add.requantize", "mean.requantize", "multiply")
"""The rules that are RESCALEs of 32 bits on every machine of TOSA; of 16-bit activations, `requantize` is one of 48."""

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (_EIGHT, "mac.levels[0].bits", "33|34|40|48|64|None"): _NO_SUM.format(32),
    (_EIGHT, "mac.levels[0].overflow", "saturate*|wrap_sm"): _NO_SUM.format(32),
    ("tosa_16bit", "mac.levels[0].bits|bias.bits", "49|64|None"): _NO_SUM.format(48),
    ("tosa_16bit", "mac.levels[0].bits", "47"): (
        "a product of 16 and 8 bits is at most 2^22: sums of fewer than 2^24 products fit 47 bits, and larger ones are "
        "not compared"
    ),
    ("tosa_16bit", "mac.levels[0].overflow|bias.overflow", "saturate*|wrap_sm"): _NO_SUM.format(48),
    (_ONCE, "requantize|convert|mean.requantize|multiply", "PowerOfTwo()"): _POWERS,
    (_EIGHT, "requantize.register", "33|34|40|48|64"): f"{_RESCALE}; 32 hold what is shifted left",
    (_EIGHT, _each("register", *_RULES), "33|34|40|48|64"): f"{_RESCALE}; 32 hold what is shifted left",
    ("tosa_double", "convert.register", "31"): f"{_RESCALE}; what is not shifted left is below 2^9 here",
    ("tosa_double", "add.requantize.register|multiply.register", "31"): (
        f"{_LEFT}; what is not shifted left is a product below 2^16, or an operand << 20, or a sum of two halves "
        "of such: below 2^29"
    ),
    ("tosa_double", f"requantize.left|{_each('left', *_RULES)}", "*"): _LEFT,
    (_EIGHT, "requantize.middle", "Cast(bits=32)"): _RESCALE,
    (_TOSA, _each("middle", *_RULES), "Cast(bits=32)"): _RESCALE,
    (_TOSA, "add.requantize.middle", "Cast(bits=32, overflow=saturate)"): _RESCALE,
    ("tosa_single", "requantize.doubled", "32|34|40|48|64"): f"{_RESCALE}: 32 hold it twice",
    (_ONCE, _each("doubled", *_RULES), "32|34|40|48|64"): f"{_RESCALE}: 32 hold it twice",
    ("tosa_single", "requantize.product", "64"): "32 bits times 31 bits: 64 hold every product",
    (_ONCE, _each("product", *_RULES), "64"): "32 bits times 31 bits: 64 hold every product",
    ("tosa_single", "convert.product", "40|48"): "8 bits less a zero point are below 2^8, times 31 bits below 2^39",
    ("tosa_single", "multiply.product", "48"): "a product of two operands is below 2^16, times 31 bits below 2^47",
    ("tosa_16bit", "convert.product", "48"): "16 bits times 31 bits: 48 hold every product",
    (_EIGHT, "requantize.sum", "32|34|40|48|64"): f"{_RESCALE}: 32 hold it and its zero point",
    (_TOSA, _each("sum", *_RULES), "32|34|40|48|64"): f"{_RESCALE}: 32 hold it and its zero point",
    (_EIGHT, "convert.sum", "31"): (
        f"{_RESCALE}; 8 bits less a zero point are at most 255: times 2^31, and shifted by 9 at least, they leave room "
        "for the output's zero point"
    ),
    (_EIGHT, "multiply.sum", "31"): (
        f"{_RESCALE}; a product is below 2^16: with a shift of up to 17 the result is at most 2^30 - 2^14, with more "
        "below 2^29, and there is room for the zero point"
    ),
    ("tosa_16bit", _each("sum", *_RULES), "31"): f"{_RESCALE}, and 16 bits have no zero point",
    ("tosa_16bit", "requantize.doubled", "34|40|48|64"): f"{_WIDE}: 34 hold it twice",
    ("tosa_16bit", "requantize.middle", "Cast(bits=32)"): _WIDE,
    ("tosa_16bit", "requantize.product", "64"): "48 bits times 15 bits: 64 hold every product",
    ("tosa_16bit", "requantize.sum", "32|34|40|48|64"): f"{_WIDE}, and 16 bits have no zero point",
    (
        "tosa_16bit",
        "requantize.middle|convert.middle|mean.requantize.middle|multiply.middle",
        "Cast(bits=16, overflow=saturate)",
    ): "16 bits have no zero point: what saturates is what the output, or its activation, clamps",
    (_EIGHT, "average_pool.rounding", "half_*"): _TIE.format(""),
    ("tosa_16bit", "average_pool.rounding", "half_*"): _TIE.format(" here, where n is at most 2^14"),
    (_EIGHT, "average_pool.bits", "29|31"): (
        "for windows of fewer than 2^20 values both round sum / n half away from zero, as the factor is at most 2^-29 "
        "of it too large, and sum / n no nearer to a tie than 1 / 2n; larger ones are not compared"
    ),
    ("tosa_16bit|finn", "average_pool.centred", "*"): "nothing has a zero point",
    ("finn", "add|subtract", "AlignedAdd()"): (
        "it takes powers of two only; a sum of one scale is then exact, and rounded half up once, as by thresholds"
    ),
    ("finn", "add.unlike|add.unlike.*", "*"): (
        "sums of one scale never meet it; FINN has no others, so what is made of them is an inference, and nothing "
        "is claimed"
    ),
    ("finn", "subtract", "RequantizedSum(requantize=Thresholds())"): "as add.unlike, which is all that changes",
    ("finn", "requantize|convert|mean.requantize|multiply|add.requantize", "PowerOfTwo()"): (
        "it takes powers of two only; thresholds then round half up once, as it does"
    ),
    ("finn", "mac.levels[0].overflow", "*"): "a register without bounds does not overflow",
    (
        "finn",
        "mac.levels[0].bits|bias.bits|mac.write_back",
        "34|40|48|64|Cast(bits=32)|Cast(bits=32, overflow=saturate)",
    ): (
        "QONNX's executor holds sums below 2^24 in its float32 and is asked for no others, and biases have 32 bits: no "
        "total needs more than 33"
    ),
    ("finn", "output", "*"): "there are as many thresholds as steps of the output: no count of them is outside",
}
"""(target, field, value) to the proof, as in conformance/equivalent.py."""
