"""CMSIS-NN on Cortex-M: 8-bit, 4-bit weights, 16-bit activations with both of its accumulators."""

from msgspec.structs import replace

from intsim.integers import IntType, Rounding
from intsim.target import Bias, FixedPoint, Level, Mac, Override, ThreeRescales
from intsim.targets import functions
from intsim.targets.litert import DOUBLE, SINGLE
from intsim.targets.tflm import SIGNED, TFLM

CMSIS = "ARM-software/CMSIS-NN 99f736a6 "
WRAPPING = Mac(zero_point="folded")
FIRST_512 = Mac(levels=(Level(size=512, bits=32, first_only=True), Level(bits=64)))
_S64 = FixedPoint(keep=15, rounding=Rounding.HALF_UP, doubled=32)

CMSIS_NN_S8 = replace(
    TFLM,
    name="cmsis_nn_s8",
    description="CMSIS-NN on Cortex-M (scalar, DSP, MVE), the default double-rounding build",
    scheme=SIGNED,
    mac=WRAPPING,
    source=(
        f"{CMSIS}Include/arm_nnsupportfunctions.h arm_nn_requantize; Source/ConvolutionFunctions/arm_convolve_s8.c, "
        "PoolingFunctions/arm_avgpool_s8.c, BasicMathFunctions/arm_elementwise_add_s8.c, arm_elementwise_mul_s8.c. "
        "Means and moves between affines as TFLite Micro's reference"
    ),
    fidelity="source",
    verified_with="",
)

CMSIS_NN_S8_SINGLE = replace(
    CMSIS_NN_S8,
    name="cmsis_nn_s8_single",
    description="CMSIS-NN built with CMSIS_NN_USE_SINGLE_ROUNDING: Q31, one rounding half up",
    requantize=SINGLE,
    add=ThreeRescales(left_shift=20, requantize=SINGLE),
    multiply=SINGLE,
    source=(
        f"{CMSIS}Include/arm_nnsupportfunctions.h arm_nn_requantize under CMSIS_NN_USE_SINGLE_ROUNDING; what TFLite "
        "Micro's own kernels compute stays doubly rounded"
    ),
)

CMSIS_NN_S4 = replace(
    CMSIS_NN_S8,
    name="cmsis_nn_s4",
    description="CMSIS-NN with 4-bit weights: unpacked to 8 bits, then as cmsis_nn_s8",
    scheme=replace(SIGNED, weights=(IntType(4, narrow_range=True), IntType(4)), per_channel=("Conv", "ConvTranspose")),
    source=(
        f"{CMSIS}Source/ConvolutionFunctions/arm_convolve_s4.c, FullyConnectedFunctions/arm_fully_connected_s4.c (one "
        "weight scale a tensor), Include/arm_nnsupportfunctions.h arm_nn_requantize"
    ),
)

CMSIS_NN_S16 = replace(
    CMSIS_NN_S8,
    name="cmsis_nn_s16",
    description="CMSIS-NN with 16-bit activations, scalar: 32-bit sums of a convolution; Q15 with a 32-bit middle",
    scheme=replace(
        SIGNED, activations=(IntType(16),), zero_points=False, bias=IntType(64), per_channel=("Conv", "ConvTranspose")
    ),
    mac=Mac(levels=(Level(bits=32),)),
    bias=Bias(type=IntType(64), bits=64),
    requantize=_S64,
    overrides=(Override(op="Gemm", mac=FIRST_512),),
    add=ThreeRescales(left_shift=15, requantize=DOUBLE),
    functions=functions.TFLM_WIDE,
    source=(
        f"{CMSIS}Source/ConvolutionFunctions/arm_convolve_s16.c, NNSupportFunctions/arm_nn_vec_mat_mult_t_s16.c "
        "(MAX_COL_COUNT), Include/arm_nnsupportfunctions.h arm_nn_requantize_s64, REDUCE_MULTIPLIER. Means and moves "
        "between affines as TFLite Micro's reference"
    ),
)

CMSIS_NN_S16_MVE = replace(
    CMSIS_NN_S16,
    name="cmsis_nn_s16_mve",
    description="CMSIS-NN with 16-bit activations on Helium (MVE): 32-bit sums of the first 512 products, then 64 bits",
    mac=FIRST_512,
    overrides=(),
)
