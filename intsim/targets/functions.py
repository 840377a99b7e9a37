"""Functions of activations as whole families of machines compute them."""

from msgspec.structs import replace

from intsim.integers import Rounding
from intsim.target import (
    FixedPoint,
    Float32Softmax,
    FloatFunction,
    Functions,
    Gemmlowp,
    GemmlowpSoftmax,
    Interpolated,
    InterpolatedSoftmax,
    Mlas,
    ShortHardSwish,
    ShortSlopes,
    TwoSlopes,
)

OF_TABLES = ("Sigmoid", "Softmax", "Tanh")
"""What has one output affine in a TFLite file (LiteRT's 8-bit quantization specification)."""

EXACT = ". Functions of activations are exact here: an inference"
"""For the source of a machine whose own functions are not known, or not of this vocabulary."""

_Q31 = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)
_DOUBLE = TwoSlopes(requantize=replace(_Q31, float32_product=True, float32_quotient=True))
_EARLY = FloatFunction(rounding=Rounding.HALF_EVEN, zero_point="before")

LITERT_REFERENCE = Functions(
    sigmoid=FloatFunction(),
    tanh=FloatFunction(library="fdlibm"),
    hard_swish=ShortHardSwish(),
    leaky_relu=_DOUBLE,
    prelu=_DOUBLE,
    other=FloatFunction(),
    softmax=GemmlowpSoftmax(),
)
"""tflite/kernels/activations.cc (Elu too, which BUILTIN_REF has not), internal/reference/hard_swish.h, leaky_relu.h,
prelu.h, softmax.h.

tanh is the C library's: fdlibm's in glibc before 2.41; that of later ones is correctly rounded: `FloatFunction()`.
"""

LITERT_BUILTIN = replace(LITERT_REFERENCE, softmax=Float32Softmax())
"""optimized_ops.h Softmax; the rest as the reference."""

LITERT_XNNPACK = replace(
    LITERT_BUILTIN,
    sigmoid=replace(_EARLY, precision="float32_once"),
    tanh=replace(_EARLY, library="fdlibm"),
    leaky_relu=ShortSlopes(otherwise=_DOUBLE),
    other=_EARLY,
)
"""microparams-init.c xnn_init_qs8_lrelu_scalar_params; hard swish, prelu and softmax are not delegated. tanh is the C
library's, as LITERT_REFERENCE's."""

LITERT_WIDE = replace(LITERT_REFERENCE, sigmoid=Interpolated(), tanh=Interpolated(), softmax=InterpolatedSoftmax())
"""reference/integer_ops/logistic.h, tanh.h (int16), softmax.h SoftmaxInt16; 16 bits elsewhere are inferences."""

_POWERS = Interpolated(powers_of_two=True)

LITERT_WIDE_BUILTIN = replace(LITERT_WIDE, sigmoid=_POWERS, tanh=_POWERS)
"""activations.cc: a power of two goes to optimized_ops.h Logistic, Tanh (int16)."""

TFLM = replace(LITERT_REFERENCE, sigmoid=Gemmlowp(), tanh=Gemmlowp(), leaky_relu=TwoSlopes(), prelu=TwoSlopes())
"""micro/kernels/logistic_common.cc, tanh.cc, hard_swish.cc, leaky_relu.cc, prelu.cc, softmax.cc."""

TFLM_WIDE = replace(
    TFLM,
    sigmoid=Interpolated(),
    tanh=Interpolated(),
    softmax=InterpolatedSoftmax(
        precision="float32", requantize=FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)
    ),
)
"""micro/kernels/softmax_common.cc: tables and factor in another precision than LiteRT's."""

_QUANTIZED = FloatFunction(quotient=True, rounding=Rounding.HALF_EVEN)

ONNXRUNTIME = Functions(
    sigmoid=Mlas(),
    tanh=Mlas(),
    hard_swish=Mlas(),
    leaky_relu=_QUANTIZED,
    prelu=_QUANTIZED,
    other=_QUANTIZED,
    softmax=Float32Softmax(division="quotient", rounding=Rounding.HALF_EVEN),
)
"""qlinear_lookup_table.cc, qlinear_softmax.cc, mlas/lib/logistic.cpp, tanh.cpp; what has no integer kernel runs
dequantized. `other` (Elu, Softplus) is an inference: there the float kernels are a vector library's."""

ONNXRUNTIME_UNFUSED = replace(ONNXRUNTIME, sigmoid=Mlas(fused=False), tanh=Mlas(fused=False))
"""On a CPU for which MLAS has no fused multiply-add: x86 before FMA3."""
