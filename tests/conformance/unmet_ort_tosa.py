"""Why no case reaches fields of onnxruntime's, TOSA's, FINN's and hls4ml's machines: what their runtimes lack."""

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

UNMET: dict[tuple[str, str], str] = {
    **{(target, field): _COMPILED for target in _TOSA for field in ("mean", "add", "subtract", "multiply", "resize")},
    **{(target, "functions"): _TABLES for target in _TOSA},
    **{
        (target, "overrides for Conv grouped"): "TOSA has CONV2D and DEPTHWISE_CONV2D, and no groups in between"
        for target in _TOSA
    },
    **{
        (target, f"resize.{field}"): "onnxruntime interpolates in floats only"
        for target in _ORT
        for field in ("linear", "bits", "rounding")
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
"""(target, how the field begins): the reason."""
