"""Fields of a machine that no case can reach: what its runtime does not have, and what is therefore not claimed."""

_WIDE = ("litert_16x8", "litert_16x8_builtin", "tflm_16x8")
_OF_ONE_TYPE = ("litert_xnnpack", "litert_ruy_x86", "litert_ruy_portable")
_TOSA = ("tosa_single", "tosa_double", "tosa_16bit")
_ORT = ("ort_x86_avx2", "ort_x86_sse41")
_COMPILED = "no operator of TOSA's: what a compiler makes of it is an inference, and nothing is claimed"
_TABLES = "TOSA has TABLE, and does not say what is in it: functions are an inference, and nothing is claimed"
_STREAMLINED = "FINN has no such operator: what its compiler makes of it is an inference, and nothing is claimed"
_ONE_TYPE = "every activation has the machine's one type: nothing is moved from one affine to another"
_OTHER = "hls4ml's own layer has parameters and tables of other types: an inference, and nothing is claimed"
_ONE_OP = (
    "the other operators are never of this kind in onnxruntime's integers: it has no transposed convolution, and a "
    "fully connected layer of one input has one product, which no register of the two rules cuts"
)

_MOVES = (
    "moves between types: a file of the suite has tensors of one sign and 8 bits; tests/test_moves.py holds these "
    "rules to the runtimes"
)
_LINEAR = (
    "up to 48 outputs of 23 inputs an axis, a place in float32 differs from the exact one only where both interpolate "
    "to the same neighbour; a fraction of 11 bits ties from some 2,000 outputs an axis on"
)
_INTERPOLATED = ("linear", "bits", "rounding")

UNMET: dict[tuple[str, str], str] = {
    ("litert_ref", "functions.other"): "LiteRT's reference kernels have no Elu and no Softplus (BuiltinRefOpResolver)",
    **{(target, "functions.other"): "TFLite has Elu in 8 bits only, and no Softplus" for target in _WIDE},
    **{(target, "functions.hard_swish"): "TFLite has HardSwish in 8 bits only" for target in _WIDE},
    **{
        ("tflm_16x8", f"resize.{field}"): "TFLite Micro runs no linear resize of 16 bits that the suite asks"
        for field in _INTERPOLATED
    },
    **{(target, "conversions"): _MOVES for target in _OF_ONE_TYPE},
    ("litert_xnnpack", "resize.linear"): _LINEAR,
    **{(target, field): _COMPILED for target in _TOSA for field in ("mean", "add", "subtract", "multiply", "resize")},
    **{(target, "functions"): _TABLES for target in _TOSA},
    **{
        (target, "overrides for Conv grouped"): "TOSA has CONV2D and DEPTHWISE_CONV2D, and no groups in between"
        for target in _TOSA
    },
    **{
        (target, f"resize.{field}"): "onnxruntime interpolates in floats only"
        for target in _ORT
        for field in _INTERPOLATED
    },
    **{
        (target, "functions.other"): "onnxruntime has no Elu and no Softplus in integers: an inference"
        for target in _ORT
    },
    ("finn", "functions"): _STREAMLINED,
    ("finn", "resize"): _STREAMLINED,
    ("finn", "average_pool.older"): "weights of FINN's networks have a sign, and no zero point",
    ("ort_x86_avx2", "overrides[1].op"): _ONE_OP,
    ("ort_x86_avx2", "overrides[2].op"): _ONE_OP,
    ("hls4ml", "convert"): _ONE_TYPE,
    ("hls4ml", "resize"): "hls4ml resizes to the nearest value only where a network's code is generated: an inference",
    ("hls4ml", "overrides for Conv"): (
        "hls4ml generates a convolution's buffer for each network; its sums are the dense layer's, which is compared"
    ),
    **{
        ("hls4ml", f"functions.{function}"): _OTHER
        for function in ("hard_swish", "leaky_relu", "prelu", "other", "softmax")
    },
}
"""(target, how the field's path begins) to the reason."""
