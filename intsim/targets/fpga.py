"""Networks on FPGAs: AMD's DPU (Vitis AI) and FINN's thresholds."""

from intsim.integers import IntType, Rounding
from intsim.target import (
    AlignedAdd,
    Bias,
    Divide,
    Factors,
    Level,
    Mac,
    PowerOfTwo,
    RequantizedSum,
    RescaledSum,
    Scheme,
    Target,
    Thresholds,
    TwoMultipliers,
)
from intsim.targets.functions import EXACT

_CUT = PowerOfTwo(rounding=Rounding.HALF_UP)
_WINDOWS = Factors(
    factors=((2, 2, 1, 2), (3, 3, 7, 6), (5, 5, 10, 8), (6, 6, 7, 8), (7, 7, 21, 10), (14, 14, 21, 12)),
    reach=128,
    rounding=Rounding.HALF_UP,
)
VITIS_DPU = Target(
    name="vitis_dpu",
    description="AMD/Xilinx DPU (Vitis AI 3.5): an 8-bit bias on a shift of its own, shifts half up",
    scheme=Scheme(zero_points=False, per_channel=(), power_of_two=True, bias=IntType(8), bias_shift="any"),
    bias=Bias(type=IntType(8), shifted=True),
    requantize=_CUT,
    average_pool=_WINDOWS,
    mean=_WINDOWS,
    add=AlignedAdd(rounding=Rounding.HALF_UP),
    convert=_CUT,
    multiply=_CUT,
    source=(
        "Xilinx/Vitis-AI b2b22792 vai_library/cpu_task/ops/conv2d-fix/conv2d-fix.cpp, xir internal_util.cpp "
        "dpu_round_float; average pool factors of the quantizer. The real accumulator's width is not public; 32 bits "
        "are the reference's. Its limits on shifts are not checked" + EXACT
    ),
    fidelity="source",
)

FINN = Target(
    name="finn",
    description="FINN: an accumulator that never overflows, activations by thresholds",
    scheme=Scheme(activations=(IntType(8, signed=False), IntType(8)), zero_points=False),
    mac=Mac(levels=(Level(),)),
    requantize=Thresholds(),
    average_pool=Divide(rounding=Rounding.FLOOR),
    mean=RescaledSum(requantize=Thresholds()),
    add=RequantizedSum(requantize=Thresholds(), unlike=TwoMultipliers(bits=31, rounding=Rounding.HALF_UP)),
    convert=Thresholds(),
    multiply=Thresholds(),
    source=(
        "Xilinx/finn-hlslib cc8db47b activations.hpp ThresholdsActivation with comp::less_equal; fastmachinelearning/"
        "qonnx cc2ec17b MultiThreshold, RoundAndClipThresholds, MinimizeAccumulatorWidth; Xilinx/finn 02147ee1 "
        "qonnx_activation_handlers.py (half steps of the output's scale; FINN narrows them to float32, here they are "
        "exact), 01c4628a InferGlobalAccPoolLayer, InferAddStreamsLayer (integers of one scale are added, thresholds "
        "come after). There is no bias: it is in the thresholds, which gives the same integers as adding it to an "
        "exact sum. Averages of windows of no power of two, and sums of activations of unlike scales (which FINN "
        "streamlines away; here by multipliers of 31 bits), are inferences" + EXACT
    ),
    fidelity="source",
)
