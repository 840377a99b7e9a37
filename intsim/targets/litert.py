"""LiteRT (TensorFlow Lite): its reference kernels, ruy on each CPU, XNNPACK, and 16-bit activations.

Where weights are uint8 with a zero point (the older files, one scale a tensor), kernels are as the signed ones, but a
convolution's multiplier comes from a float32 product of the scales, as that of ruy's fully connected always does.
"""

from msgspec.structs import replace

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import (
    AddInVectors,
    Bias,
    Cast,
    Conversion,
    Divide,
    FixedPoint,
    Float32Scale,
    Float64Scale,
    InVectors,
    Lanes,
    Level,
    Mac,
    Override,
    Repeated,
    RescaledSum,
    Resize,
    Scheme,
    Target,
    ThreeRescales,
    TwoMultipliers,
    TwoSlopes,
)
from intsim.targets import functions

SCHEME = Scheme(
    activations=(IntType(8),),
    weights=(IntType(8, narrow_range=True), IntType(8, signed=False)),
    weight_zero_points=True,
    fixed_outputs=functions.OF_TABLES,
)
WIDE = Scheme(
    activations=(IntType(16),),
    weights=(IntType(8, narrow_range=True),),
    zero_points=False,
    bias=IntType(64),
    fixed_outputs=functions.OF_TABLES,
)
DOUBLE = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)
DOUBLE_UP = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_UP)
DOUBLE_DOWN = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.FLOOR)
ADDED = replace(DOUBLE, sum=16)
DOUBLE_SUM, DOUBLE_UP_SUM = (replace(rule, sum=32) for rule in (DOUBLE, DOUBLE_UP))
WIDE_ADD = ThreeRescales(left_shift=15, requantize=DOUBLE)
REFERENCE_ADD = ThreeRescales(left_shift=20, requantize=DOUBLE)
MOVED = InVectors(whole=DOUBLE_UP, rest=DOUBLE)
IN_LANES = replace(DOUBLE_UP_SUM, lanes=Lanes(size=8, tail=Rounding.HALF_AWAY))
SINGLE = FixedPoint(rounding=Rounding.HALF_UP)
PORTABLE = replace(SINGLE, middle=Cast(bits=32), sum=32)
DOUBLE_F32, DOUBLE_UP_F32, SINGLE_F32 = (replace(rule, float32_product=True) for rule in (DOUBLE, DOUBLE_UP, SINGLE))
MULTIPLY, MULTIPLY_ONCE = (replace(rule, float32_quotient=True) for rule in (DOUBLE_F32, SINGLE_F32))
IN_FLAT = replace(DOUBLE_UP_F32, lanes=Lanes(of="flat", size=16))
IN_BLOCKS = replace(DOUBLE_F32, lanes=Lanes(of="blocks", size=4, left=Overflow.SATURATE))
Q15 = FixedPoint(keep=15, rounding=Rounding.HALF_UP)
Q15_IN_32_BITS = replace(Q15, middle=Cast(bits=32))
IN_FLOAT64 = Float64Scale(rounding=Rounding.HALF_AWAY)
IN_FLOAT64_SUM, DOUBLE_UP_F32_SUM = (replace(rule, sum=32) for rule in (IN_FLOAT64, DOUBLE_UP_F32))
STEPS = Resize(nearest="float32", linear="step", bits=10, rounding=Rounding.HALF_AWAY)
ALL_STEPS = replace(STEPS, nearest="step")
LITERT = "google-ai-edge/LiteRT f6745779 tflite/kernels/internal/"

LITERT_REF = Target(
    name="litert_ref",
    description="LiteRT's reference kernels (BUILTIN_REF): doubly rounded Q31, fully connected in float64",
    scheme=SCHEME,
    requantize=DOUBLE_SUM,
    overrides=(
        Override(signed_weights=False, requantize=DOUBLE_F32),
        Override(op="Gemm", requantize=IN_FLOAT64_SUM),
    ),
    average_pool=Divide(rounding=Rounding.HALF_AWAY, older=True),
    mean=RescaledSum(requantize=DOUBLE, encoding="tflite"),
    add=REFERENCE_ADD,
    convert=DOUBLE,
    resize=STEPS,
    multiply=MULTIPLY,
    functions=functions.LITERT_REFERENCE,
    source=(
        f"{LITERT}reference/integer_ops/conv.h ConvPerChannel, depthwise_conv.h, fully_connected.cc "
        "FullyConnectedInt8, "
        "add.h, mul.h, pooling.h AveragePool; common.h MultiplyByQuantizedMultiplier; reference/reduce.h "
        "QuantizedMeanOrSum. Where results of sums and their zero points leave 32 bits, they wrap, as compiled. "
        "Fully connected in float64 came with a recent version: older ones are as tflm"
    ),
    fidelity="source",
)

LITERT_SINGLE_ROUNDING = replace(
    LITERT_REF,
    name="litert_single_rounding",
    description="LiteRT's reference kernels built with TFLITE_SINGLE_ROUNDING: Q31, one rounding half up",
    requantize=SINGLE,
    overrides=(
        Override(signed_weights=False, requantize=SINGLE_F32),
        Override(op="Gemm", requantize=IN_FLOAT64),
    ),
    mean=RescaledSum(requantize=SINGLE, encoding="tflite"),
    add=ThreeRescales(left_shift=20, requantize=SINGLE),
    convert=SINGLE,
    multiply=MULTIPLY_ONCE,
    functions=replace(
        functions.LITERT_REFERENCE,
        leaky_relu=TwoSlopes(requantize=MULTIPLY_ONCE),
        prelu=TwoSlopes(requantize=MULTIPLY_ONCE),
    ),
    source=f"{LITERT}common.h MultiplyByQuantizedMultiplier under TFLITE_SINGLE_ROUNDING; the kernels of litert_ref",
    fidelity="source",
)

_KERNELS = (
    Override(op="Conv", grouping="grouped", requantize=DOUBLE_SUM),
    Override(op="Conv", grouping="depthwise", requantize=IN_LANES),
    Override(op="Conv", grouping="multiplied", requantize=IN_LANES),
    Override(op="ConvTranspose", requantize=IN_LANES),
    Override(op="Conv", grouping="grouped", signed_weights=False, requantize=DOUBLE_F32),
    Override(op="Conv", grouping="depthwise", signed_weights=False, requantize=DOUBLE_F32),
    Override(op="Conv", grouping="multiplied", signed_weights=False, requantize=DOUBLE_F32),
    Override(op="ConvTranspose", signed_weights=False, requantize=IN_FLAT),
)
"""LiteRT's own kernels beside ruy's."""

LITERT_RUY_X86 = replace(
    LITERT_REF,
    name="litert_ruy_x86",
    description="LiteRT's built-in kernels on x86 with AVX2 or AVX512 (ruy): second rounding half up",
    mac=Mac(zero_point="folded"),
    requantize=DOUBLE_UP_SUM,
    overrides=(
        Override(op="Gemm", requantize=DOUBLE_UP_F32_SUM),
        Override(op="Conv", signed_weights=False, requantize=DOUBLE_UP_F32),
        *_KERNELS,
    ),
    add=AddInVectors(
        whole=ThreeRescales(left_shift=20, inputs=SINGLE, early=True, requantize=ADDED),
        rest=REFERENCE_ADD,
        repeated=Repeated(size=8, whole=ThreeRescales(left_shift=20, inputs=DOUBLE_DOWN, requantize=ADDED)),
    ),
    subtract=LITERT_REF.add,
    multiply=InVectors(
        whole=replace(MULTIPLY, middle=Cast(bits=16, overflow=Overflow.SATURATE), sum=16), rest=MULTIPLY
    ),
    convert=MOVED,
    conversions=(Conversion(wide=True, requantize=DOUBLE),),
    resize=ALL_STEPS,
    functions=functions.LITERT_BUILTIN,
    source=(
        "google/ruy 2af88863 ruy/kernel_avx2_fma.cc, kernel_avx512.cc Kernel8bitAvx512; "
        f"{LITERT}optimized/integer_ops/depthwise_conv.h, transpose_conv.h, add.h, optimized/optimized_ops.h Quantize, "
        "Requantize, ResizeNearestNeighbor, optimized/depthwiseconv_uint8.h, integer_ops/mul.h; kernel_util.cc "
        "GetQuantizedConvolutionMultipler; internal/common.h ProcessBroadcastShapes (runs); sub and mean as the "
        "reference. Runs are those of one sample, as the reference is asked. Not here: sums, products and pools of "
        "uint8 files (as int8 here; there in groups of 8); a mean that keeps its axes (integer_ops/mean.h: "
        "f32(sx / f32(n sy)), the raw sum, the zero point rounded on its own, in groups of 16 channels), and a "
        "depthwise convolution of one input channel, which is read as a convolution"
    ),
)

LITERT_RUY_NEON = replace(
    LITERT_RUY_X86,
    name="litert_ruy_neon",
    description="LiteRT's built-in kernels on Arm (ruy, NEON): SQRDMULH and SRSHL, the integers of litert_ruy_x86",
    source=(
        f"google/ruy 2af88863 ruy/kernel_arm64.cc Kernel8bitNeon; {LITERT}common.h MultiplyByQuantizedMultiplier4Rows, "
        "optimized/optimized_ops.h Quantize, optimized/integer_ops/add.h, mul.h; the rest as litert_ruy_x86, whose "
        "kernels are these by way of intel/ARM_NEON_2_x86_SSE"
    ),
    fidelity="source",
)

LITERT_RUY_PORTABLE = replace(
    LITERT_RUY_X86,
    name="litert_ruy_portable",
    description="LiteRT's built-in kernels on x86 without AVX2 (ruy's portable path): one rounding half up",
    requantize=PORTABLE,
    overrides=(
        Override(op="Gemm", requantize=replace(PORTABLE, float32_product=True)),
        Override(op="Gemm", signed_weights=False, requantize=IN_BLOCKS),
        Override(op="Conv", signed_weights=False, requantize=IN_BLOCKS),
        Override(op="Gemm", places=1, products=8, outputs=4, requantize=DOUBLE_UP_F32_SUM),
        Override(op="Conv", places=1, products=8, outputs=4, requantize=DOUBLE_UP_SUM),
        Override(op="Conv", places=1, products=8, outputs=4, signed_weights=False, requantize=DOUBLE_UP_F32),
        *_KERNELS,
    ),
    source=(
        "google/ruy 2af88863 ruy/apply_multiplier.cc ApplyMultiplier: its result wraps in 32 bits. uint8 goes to "
        f"gemmlowp ({LITERT}../cpu_backend_gemm_x86.h), whose shift to the left saturates where neither channels nor "
        "places fill a block of 4 (fixedpoint.h ShiftLeft); one output place (of one sample at a time), of 8 products "
        "and 4 channels or more, to cpu_backend_gemm_custom_gemv.h. The rest as litert_ruy_x86"
    ),
    fidelity="source",
)

LITERT_XNNPACK = replace(
    LITERT_REF,
    name="litert_xnnpack",
    description="LiteRT's default (XNNPACK): float32 scale, half to even",
    mac=Mac(zero_point="folded"),
    bias=Bias(when="init"),
    requantize=Float32Scale(),
    overrides=(),
    mean=RescaledSum(requantize=Float32Scale(zero_point="before"), encoding="f32_reciprocal"),
    add=TwoMultipliers(bits=21, rounding=Rounding.HALF_UP),
    convert=FixedPoint(bits=8, normalized=False, encoding=Rounding.HALF_EVEN, rounding=Rounding.HALF_UP),
    conversions=(Conversion(changes_sign=True, requantize=MOVED), Conversion(wide=True, requantize=DOUBLE)),
    resize=Resize(nearest="step", linear="float32", bits=11, rounding=Rounding.HALF_UP),
    multiply=Float32Scale(),
    functions=functions.LITERT_XNNPACK,
    source=(
        "google/XNNPACK 75db3c09 src/xnnpack/requantization.h xnn_qs8_requantize_fp32, src/microparams-init.c "
        "xnn_init_qs8_add_minmax_scalar_params, xnn_init_qs8_cvt_scalar_params, src/s8-ibilinear. Average pool, moves "
        "between types and of 16 bits as ruy: they are not delegated. Neither are, though here they are computed as "
        "XNNPACK's: moves with sx / sy outside 2^-8 to 2^7, and transposed convolutions with SAME padding and a kernel "
        "smaller than the stride; litert_ruy_x86 has their rules"
    ),
)

LITERT_16X8 = Target(
    name="litert_16x8",
    description="LiteRT's reference kernels, 16-bit activations: Q15 reduced multiplier, fully connected in float64",
    scheme=WIDE,
    mac=Mac(levels=(Level(bits=64),)),
    bias=Bias(type=IntType(64)),
    requantize=Q15_IN_32_BITS,
    overrides=(Override(op="Gemm", requantize=IN_FLOAT64),),
    average_pool=Divide(rounding=Rounding.HALF_AWAY),
    mean=RescaledSum(requantize=DOUBLE, encoding="tflite"),
    add=WIDE_ADD,
    convert=DOUBLE,
    resize=STEPS,
    multiply=MULTIPLY,
    functions=functions.LITERT_WIDE,
    source=(
        f"{LITERT}common.cc MultiplyByQuantizedMultiplier (int64, of sums below 2^47; its result is cast to int32), "
        "reference/integer_ops/conv.h "
        "ConvPerChannel (int16), "
        "add.h, mul.h. Sums are those of operators whose pot_scale_int16 is false, as the converter writes it: where "
        "it is true, scales that are powers of two are shifts"
    ),
    fidelity="source",
)

LITERT_16X8_BUILTIN = replace(
    LITERT_16X8,
    name="litert_16x8_builtin",
    description="LiteRT's built-in and default kernels, 16-bit activations: in short registers where a scale is 2^-12",
    add=AddInVectors(
        whole=ThreeRescales(left_shift=15, inputs=SINGLE, early=True, requantize=DOUBLE),
        rest=WIDE_ADD,
        broadcasts=False,
    ),
    subtract=WIDE_ADD,
    functions=functions.LITERT_WIDE_BUILTIN,
    source=(
        "google-ai-edge/LiteRT f6745779 tflite/kernels/activations.cc SigmoidEval, TanhEval, "
        "internal/optimized/optimized_ops.h Logistic, Tanh (int16), integer_ops/add.h (int16); XNNPACK takes no 16 "
        "bits. All else as litert_16x8"
    ),
)
