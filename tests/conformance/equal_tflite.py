"""Changes of TFLite's machines (LiteRT's and TFLM's) that change no result, each with its proof."""

_WIDER = "31|33|34|40|48|64"
_SUMS_OF_TFLITE = "|".join(
    f"{place}.{{0}}"
    for place in (
        "add.requantize",
        "subtract.requantize",
        "add.rest.requantize",
        "add.whole.requantize",
        "add.repeated.whole.requantize",
        "add.repeated.whole.inputs",
    )
)
_WIDE = "litert_16x8|litert_16x8_builtin|tflm_16x8"
_QUOTIENT = (
    "a quotient of two float32 numbers below a power of two is at most 1 - 2^-24 of it: behind the first rounding what "
    "fits 32 bits is below 2^31 - 128, and the zero point at most 127; at the other end 128 - 2^31, and -128"
)
_PAST_THE_END = (
    "the place is between half of it and all of it: there 256 sigmoid (from 7 on) and 128 tanh (from 3.5 on) are less "
    "than half an integer from the ends"
)
_PLACES = (
    "where 65535 << e leaves the register the softmax is refused: what is shifted left stays, and the rest is no larger"
)
_BELOW = "what is rescaled is a distance below the largest: it is never above zero, and such ties go one way"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("tflm|litert_ref|litert_ruy_*", _SUMS_OF_TFLITE.format("register"), _WIDER): (
        "operands of 8 bits less their zero points, << 20, are below 2^28, and both first multipliers at most 1/2, so "
        "that their sum is below 2^28; TFLite refuses a last multiplier of one or more "
        "(QuantizeMultiplierSmallerThanOneExp): nothing is shifted left, and no product leaves 29 bits"
    ),
    ("tflm|litert_ref|litert_ruy_*", _SUMS_OF_TFLITE.format("left"), "*"): (
        "all three multipliers of a sum are below one (see register): nothing is shifted left"
    ),
    (
        "tflm|litert_ref|litert_ruy_*",
        _SUMS_OF_TFLITE.format("sum"),
        "31|32",
    ): "below 2^28, as register: the sum with a zero point is below 2^29",
    (_WIDE, _SUMS_OF_TFLITE.format("register"), _WIDER): (
        "operands of 16 bits, << 15, are at most 2^30, and both first multipliers at most 1/2, so that their sum is at "
        "most 2^30; TFLite refuses a last multiplier of one or more: nothing is shifted left"
    ),
    (
        _WIDE,
        _SUMS_OF_TFLITE.format("left"),
        "*",
    ): "all three multipliers of a sum are below one: nothing is shifted left",
    (_WIDE, _SUMS_OF_TFLITE.format("sum"), "31|32"): "at most 2^30, as register, and there is no zero point",
    (
        _WIDE,
        "requantize.encoding",
        "half_even|carry_shift",
    ): "a tie of 31 bits is seen in 15 under an odd 31-bit multiplier only (...7fff): there it goes up either way",
    (_WIDE, "requantize.doubled", "34|40|48|64"): (
        "its result is cast to 32 bits: twice that, and the bit to be rounded off, are in the lowest 33"
    ),
    (_WIDE, "requantize.product", "64"): "a sum below 2^47 (which TFLite asserts) times a multiplier of 15 bits",
    ("litert_16x8|litert_16x8_builtin", "overrides[0].requantize.sum", "32|34|40|48|64"): (
        "a float64 beyond int32 becomes an int32, which C++ does not define; what fits has no zero point"
    ),
    (
        "tflm_16x8",
        "mac.levels[0].bits|mac.levels[0].overflow|bias.bits",
        "48|63|None|saturate*|wrap_sm",
    ): "a sum below 2^47, which TFLite asserts: it leaves no register of 48 bits",
    (
        "litert_16x8_builtin",
        "add.whole.inputs.middle|add.whole.inputs.sum|add.whole.inputs.doubled",
        "Cast(bits=32)|Cast(bits=32, overflow=saturate)|31|32|34|40|48|64",
    ): "an operand is at most 2^30, its multiplier at most 1/2: twice the product is from -2^30 to 2^30 - 2",
    ("litert_16x8_builtin", "add.whole.inputs.product", "64"): "an operand of 2^30 times a multiplier below 2^31",
    ("litert_16x8_builtin", "add.whole.inputs|add.whole.inputs.first", "None|half_up"): (
        "its exponent is applied before the multiplier (early): a second rounding has nothing to round"
    ),
    ("litert_16x8_builtin", "add.whole.requantize.middle", "Cast(bits=16, overflow=saturate)"): (
        "no zero point is added: the output of 16 bits saturates just so"
    ),
    (_WIDE, "functions.softmax.requantize.left", "*"): _PLACES,
    (_WIDE, "functions.softmax.requantize.register", f"20|22|24|{_WIDER}"): _PLACES,
    (_WIDE, "functions.softmax.requantize.first", "half_to_zero"): _BELOW,
    (_WIDE, "functions.softmax.requantize.rounding", "half_down"): _BELOW,
    (_WIDE, "functions.softmax.requantize.sum", "20|22|24|31"): (
        "a place is -65535 or more until the table's end, and the next one above -2^17: a step is below 2^15, as "
        "65535 << e is below 2^31"
    ),
    (_WIDE, "functions.softmax.requantize.sum|functions.softmax.requantize.middle", "16|Cast(bits=16)"): (
        "a step is below 2^15, as 65535 << e is below 2^31: the first place that 16 bits do not hold comes back above "
        "zero, or, of steps a hair below 2^15, to 0 and a later one above: outside of the table, which is refused"
    ),
    (_WIDE, "functions.softmax.requantize.shared", "True"): "one multiplier has one exponent",
    (_WIDE, "functions.softmax.requantize.float32_quotient", "True"): (
        "the factor of a softmax is a quotient by 10 / 65535 in float64, whatever becomes of quotients of scales"
    ),
    (
        "litert_ruy_*",
        "add.whole.inputs.middle|add.whole.inputs.sum|add.whole.inputs.doubled",
        "Cast(bits=32)|Cast(bits=32, overflow=saturate)|31|32|34|40|48|64",
    ): "as register: an operand is below 2^28, and twice of it below 2^29",
    ("litert_ruy_*", "add.whole.inputs.product", "64"): "an operand below 2^28 times a multiplier below 2^31",
    ("litert_ruy_*", "add.whole.inputs.first", "half_up"): (
        "its exponent is applied before the multiplier (early): a second rounding has nothing to round"
    ),
    (
        "litert_ruy_*",
        "add.repeated.whole.inputs.first",
        "half_even",
    ): (
        "an operand's multiplier is one half, which rounds nothing, or below: then the result is halved and rounded "
        "down, and of a tie between an even f and f + 1 both give f / 2"
    ),
    (
        "litert_*|tflm",
        "functions.sigmoid.quotient|functions.tanh.quotient",
        "True",
    ): "these outputs have scales that are powers of two: a product with the inverse is the quotient",
    ("litert_*", "functions.sigmoid.library", "fdlibm"): "only tanh has another library",
    ("litert_*|tflm", "functions.tanh.zero_point", "*"): "the output of TFLite's tanh has the zero point 0",
    ("litert_*", "functions.sigmoid.rounding", "half_up"): "a sigmoid is positive: half up is half away from zero",
    (
        "litert_xnnpack",
        "functions.sigmoid.rounding",
        "carry_shift",
    ): "a sigmoid is positive: there the carry goes where half to even goes",
    ("litert_*", "functions.softmax.rounding", "half_up"): "a softmax is positive: half up is half away from zero",
    (
        "litert_ruy_*",
        "add.whole.requantize.middle|add.repeated.whole.requantize.middle",
        "Cast(bits=16)",
    ): "the zero point is added in 16 bits: that it wrapped before is the same",
    (
        "litert_ruy_x86",
        "overrides[1].requantize.shared|overrides[6].requantize.shared|overrides[7].requantize.shared|"
        "overrides[8].requantize.shared|overrides[9].requantize.shared",
        "True",
    ): "TFLite's uint8 weights have one scale",
    ("litert_ref", "overrides[0].requantize.shared", "True"): "TFLite's uint8 weights have one scale",
    (
        "litert_ruy_x86",
        "overrides[1].requantize.sum|overrides[6].requantize.sum|overrides[7].requantize.sum|"
        "overrides[8].requantize.sum|overrides[9].requantize.sum",
        "32",
    ): _QUOTIENT,
    (
        "litert_ruy_portable",
        "overrides[1].requantize.sum|overrides[2].requantize.sum|overrides[10].requantize.sum|"
        "overrides[11].requantize.sum|overrides[12].requantize.sum|overrides[13].requantize.sum|"
        "overrides[5].requantize.sum",
        "32",
    ): _QUOTIENT,
    ("litert_ruy_x86", "overrides[1].op", "None"): f"the two rules differ in a sum of 32 bits: {_QUOTIENT}",
    ("litert_ruy_portable", "overrides[5].op", "None"): f"the two rules differ in a sum of 32 bits: {_QUOTIENT}",
    ("litert_ruy_*", "convert.whole.sum|convert.rest.sum|mean.requantize.sum|multiply.rest.sum", "32"): _QUOTIENT,
    ("litert_ruy_portable", "overrides[3].grouping|overrides[4].grouping|overrides[5].grouping", "dense"): (
        "of 8 products or 4 outputs none is single, and a convolution in groups has a later rule of its own"
    ),
    ("litert_ruy_portable", "overrides[3].places", "None"): "a fully connected one has one place",
    ("litert_ruy_portable", "requantize.product|overrides[0].requantize.product", "64"): (
        "32 bits times a multiplier of 31 bits: 64 hold every product"
    ),
    (
        "litert_ruy_portable",
        "overrides[1].requantize.shared|overrides[2].requantize.shared|overrides[10].requantize.shared|"
        "overrides[11].requantize.shared|overrides[12].requantize.shared|overrides[13].requantize.shared|"
        "overrides[5].requantize.shared",
        "True",
    ): "TFLite's uint8 weights have one scale",
    ("litert_ref", "overrides[0].requantize.sum|convert.sum|mean.requantize.sum|multiply.sum", "32"): _QUOTIENT,
    ("tflm", "convert.sum|mean.requantize.sum", "32"): _QUOTIENT,
    ("tflm", "functions.sigmoid.radius|functions.tanh.radius", "14"): _PAST_THE_END,
    ("tflm", "functions.tanh.radius", "7|8|12"): _PAST_THE_END,
    ("litert_*|tflm", "functions.other.precision", "float32_once"): (
        "TFLite's Elu has the factor 1: it is one operation, rounded once"
    ),
    ("litert_*|tflm", "functions.other.library", "fdlibm"): "only a tanh asks for it",
    ("litert_xnnpack", "convert.first", "half_up"): (
        "without a normalized multiplier there is no exponent: a second rounding has nothing to round"
    ),
    ("litert_xnnpack", "requantize.converted", "40|48|64"): (
        "XNNPACK takes ratios below 2^8: a result of 32 bits times one is below 2^39"
    ),
    ("litert_xnnpack", "multiply.converted", "31|32|34|40|48|64"): (
        "XNNPACK takes ratios below 2^8: a product of two operands of 8 bits times one is below 2^24"
    ),
    ("litert_xnnpack", "add|subtract", "AlignedAdd()"): (
        "it takes powers of two only; for these both multipliers of 21 bits are exact, as XNNPACK takes ratios from "
        "2^-10 on, and both rules add exactly and round half up once"
    ),
    ("litert_xnnpack", "add.middle|subtract.middle", "Cast(bits=16, overflow=saturate)"): (
        "what saturates at 16 bits lies outside 8 bits with any zero point, and is clamped the same"
    ),
    ("litert_xnnpack", "convert.sum", "31|32|34|40|48|64"): (
        "XNNPACK takes ratios up to 2^7: the result with its zero point is below 2^17"
    ),
    ("litert_xnnpack", "add.middle", "Cast(bits=32)|Cast(bits=32, overflow=saturate)"): (
        "XNNPACK takes ratios of scales below 2^8: a sum of two operands of 8 bits is below 2^18"
    ),
    ("litert_xnnpack", "convert", "PowerOfTwo()"): (
        "it takes powers of two only; for these the multiplier of 8 fraction bits is exact from 2^-8 on, which is all "
        "that XNNPACK takes, and both round half up once"
    ),
    ("litert_xnnpack", "convert.middle", "Cast(bits=32)|Cast(bits=32, overflow=saturate)"): (
        "XNNPACK takes ratios up to 2^7: the result is below 2^16"
    ),
    ("litert_xnnpack", "convert.product", "24|31|32|34|40|48|64"): (
        "XNNPACK takes ratios up to 2^7: 255 times a multiplier of at most 2^15 is below 2^23"
    ),
    ("litert_xnnpack", "convert.doubled", "20|22|24|31|32|34|40|48|64"): (
        "XNNPACK takes ratios up to 2^7: twice the result is below 2^17"
    ),
}
"""(target, field, value) to the proof, as in conformance/equivalent.py."""
