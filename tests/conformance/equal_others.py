"""Changes of onnxruntime's and hls4ml's machines that change no result, each with its proof."""

_ONE_TYPE = "accumulator and result are one type: the scale is one, and its 16 bits pass the rule as they are"
EQUIVALENT: dict[tuple[str, str, str], str] = {
    ("ort_x86_*", "mean.encoding", "exact"): (
        "a float32 scale is made of float32 scales: sy n of float64, rounded, is the float32 product of sy and n"
    ),
    ("ort_x86_*", "functions.hard_swish.fused", "*"): "a hard swish is no polynomial",
    ("ort_x86_*", "functions.leaky_relu.precision|functions.prelu.precision", "float32_once"): (
        "the function is one product: of float32 operations it is one, and rounded once"
    ),
    ("ort_x86_*", "functions.leaky_relu.library|functions.prelu.library", "fdlibm"): "only a tanh asks for it",
    ("ort_x86_*", "mean.requantize.converted", "40|48|64"): (
        "onnxruntime adds in 32 bits, and takes scales below 256 only (qlgavgpool.cpp): a result is below 2^39"
    ),
    ("hls4ml", "mac.levels[0].bits|mac.product.bits", "17|20|22|24|31|32|34|40|48|64|None"): (
        "the result wraps in 16 bits and has the sum's scale: reduction modulo 2^16 is a homomorphism of the sum"
    ),
    ("hls4ml", "requantize|overrides for Gemm", "*"): _ONE_TYPE,
    ("hls4ml", "requantize.rounding|requantize.zero_point|requantize.middle", "*"): _ONE_TYPE,
    ("hls4ml", "requantize.middle.bits", "17|20|22|24|31|32|34|40|48|64"): _ONE_TYPE,
    ("hls4ml", "requantize.middle.overflow", "*"): _ONE_TYPE,
    ("hls4ml", "average_pool.centred|mean.centred|multiply.zero_point", "True|before"): "nothing has a zero point",
    ("hls4ml", "add.bits|add.rounding", "*"): (
        "all activations have one scale: both multipliers are powers of two, and nothing is rounded"
    ),
    ("hls4ml", "average_pool.older", "True"): "its weights have a sign, and no zero point",
    ("hls4ml", "functions.sigmoid.fraction_bits|functions.tanh.fraction_bits", "11|12|15|16|20|22|24|31|32|34|40"): (
        "the output has 10 fraction bits: rounding down to more of them first is rounding down once"
    ),
    ("hls4ml", "functions.sigmoid.rounding", "to_zero"): "a sigmoid is positive",
    ("hls4ml", "output", "*"): (
        "what an operator that is compared gives has passed a register of the output's own 16 bits, or averages such "
        "integers, or is a sample below 1: no value is outside"
    ),
}
"""(target, field, value) to the proof, as in conformance/equivalent.py."""
