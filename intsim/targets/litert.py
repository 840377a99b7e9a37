"""The TFLite family: LiteRT's three resolvers on x86, TFLite Micro, CMSIS-NN."""

from msgspec.structs import replace

from intsim.integers import IntType, Rounding
from intsim.target import (
    Bias,
    Divide,
    FixedPoint,
    Float32Scale,
    Float64Scale,
    Mac,
    Override,
    RescaledSum,
    Scheme,
    Target,
    ThreeRescales,
    TwoMultipliers,
)

SCHEME = Scheme(activations=(IntType(8),), weights=(IntType(8, narrow_range=True),))
DOUBLE = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)
GOLDEN = "{} (golden vectors: conv, grouped and depthwise conv, fully connected, add, average pool, mean)"
DOUBLE_UP = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_UP)

LITERT_REF = Target(
    name="litert_ref",
    description="LiteRT's reference kernels (BUILTIN_REF): doubly rounded Q31, fully connected in float64",
    scheme=SCHEME,
    requantize=DOUBLE,
    overrides=(Override(op="Gemm", requantize=Float64Scale(rounding=Rounding.HALF_AWAY)),),
    average_pool=Divide(rounding=Rounding.HALF_AWAY),
    mean=RescaledSum(requantize=DOUBLE, encoding="tflite"),
    add=ThreeRescales(left_shift=20, requantize=DOUBLE),
    convert=DOUBLE,
    source="google-ai-edge/LiteRT f6745779 tflite/kernels/internal/reference/integer_ops",
    fidelity="verified",
    verified_with=GOLDEN.format("ai-edge-litert 2.3.0"),
)

LITERT_RUY_X86 = replace(
    LITERT_REF,
    name="litert_ruy_x86",
    description="LiteRT's built-in kernels on x86 with AVX2 or AVX512 (ruy): second rounding half up",
    mac=Mac(zero_point="folded"),
    requantize=DOUBLE_UP,
    overrides=(Override(op="Conv", grouping="grouped", requantize=DOUBLE),),
    source="google/ruy 2af88863 ruy/kernel_avx512.cc; LiteRT f6745779 optimized_ops",
)

LITERT_XNNPACK = replace(
    LITERT_REF,
    name="litert_xnnpack",
    description="LiteRT's default (XNNPACK): float32 scale, half to even",
    mac=Mac(zero_point="folded"),
    bias=Bias(when="init"),
    requantize=Float32Scale(),
    overrides=(),
    mean=RescaledSum(requantize=Float32Scale(zero_point="before"), encoding="f32_quotient"),
    add=TwoMultipliers(bits=21, rounding=Rounding.HALF_UP),
    source="google/XNNPACK 75db3c09 src/xnnpack/requantization.h",
)

TFLM = replace(
    LITERT_REF,
    name="tflm",
    description="TFLite Micro's reference kernels: doubly rounded Q31 in every operator",
    overrides=(),
    source="tensorflow/tflite-micro 90b983c2",
    verified_with=GOLDEN.format("tflite-micro 0.dev20261023"),
)

CMSIS_NN_S8 = replace(
    TFLM,
    name="cmsis_nn_s8",
    description="CMSIS-NN on Cortex-M (scalar, DSP, MVE), the default double-rounding build",
    mac=Mac(zero_point="folded"),
    source="ARM-software/CMSIS-NN 99f736a6 Include/arm_nnsupportfunctions.h arm_nn_requantize",
    fidelity="source",
    verified_with="",
)
