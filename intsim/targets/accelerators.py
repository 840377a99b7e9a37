"""Accelerators with open hardware: NVDLA, Gemmini, VTA."""

from msgspec.structs import replace

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import (
    AlignedAdd,
    Bias,
    Cast,
    ClippedAdd,
    FixedPoint,
    Float32Scale,
    Level,
    Mac,
    PowerOfTwo,
    Reciprocal,
    RescaledSum,
    Scheme,
    Target,
    TwoMultipliers,
)
from intsim.targets.functions import EXACT

SYMMETRIC = Scheme(zero_points=False, per_channel=())
SHIFTS = Scheme(zero_points=False, per_channel=(), power_of_two=True)

_SAT17 = Cast(bits=17, overflow=Overflow.SATURATE)
_SDP = FixedPoint(bits=15, rounding=Rounding.HALF_AWAY, middle=_SAT17)
_TO_32 = Cast(bits=32, rounding=Rounding.HALF_AWAY, overflow=Overflow.SATURATE, fraction_bits=16)
_PDP = Reciprocal(bits=16, rounding=Rounding.HALF_AWAY, stages=2)
NVDLA_SMALL = Target(
    name="nvdla_small",
    description="NVDLA nv_small: exact sums of 8, a saturating 34-bit sum, 16-bit multiplier, 17-bit middle",
    scheme=Scheme(zero_points=False, per_channel=(), bias=IntType(16), bias_shift="any"),
    mac=Mac(levels=(Level(size=8), Level(bits=34, overflow=Overflow.SATURATE)), write_back=_TO_32),
    bias=Bias(type=IntType(16), shifted=True, bits=33),
    requantize=_SDP,
    average_pool=_PDP,
    mean=_PDP,
    add=TwoMultipliers(bits=15, rounding=Rounding.HALF_AWAY, middle=_SAT17),
    convert=_SDP,
    multiply=_SDP,
    source=(
        "nvdla/hw nv_small 771f20cc: NV_NVDLA_CACC_CALC_int8.v (mac.write_back.shift is its cfg_truncate), sdp_c.cpp "
        "(the bias: ALU operand << shift; the output CVT), pdp_c.cpp. The choice of scale and shifts is the compiler's "
        "(nvdla/sw) and is an inference here; so is the elementwise sum, and that channels run inside kernel positions"
        + EXACT
    ),
    fidelity="source",
)

NVDLA_FULL = replace(
    NVDLA_SMALL,
    name="nvdla_full",
    description="NVDLA nv_full, int8: exact sums of 64, a saturating 34-bit sum, 16-bit multiplier, 17-bit middle",
    mac=Mac(levels=(Level(size=64), Level(bits=34, overflow=Overflow.SATURATE)), write_back=_TO_32),
    source=NVDLA_SMALL.source.replace("nv_small 771f20cc", "nvdlav1 8e06b1b9"),
)

GEMMINI_WS = Target(
    name="gemmini_ws",
    description="Gemmini, weight stationary: wrapping 20-bit sums of 16, a wrapping 32-bit sum, float32 scale",
    scheme=SYMMETRIC,
    mac=Mac(levels=(Level(size=16, bits=20), Level(bits=32))),
    bias=Bias(when="init"),
    requantize=Float32Scale(),
    average_pool=RescaledSum(requantize=Float32Scale(), encoding="f32_product"),
    mean=RescaledSum(requantize=Float32Scale(), encoding="f32_product"),
    add=ClippedAdd(),
    convert=Float32Scale(),
    multiply=Float32Scale(),
    source=(
        "ucb-bar/gemmini 8c3f9923 AccumulatorScale.scala, PE.scala; gemmini-rocc-tests 180c4684 include/gemmini.h "
        "ACC_SCALE. It has no product of two activations and no average over a sliding window: those are inferences"
        + EXACT
    ),
    fidelity="source",
)

GEMMINI_OS = replace(
    GEMMINI_WS,
    name="gemmini_os",
    description="Gemmini, output stationary: wraps to 20 bits at every MAC, rounding shift half to even",
    scheme=SHIFTS,
    mac=Mac(levels=(Level(bits=20),)),
    requantize=PowerOfTwo(rounding=Rounding.HALF_EVEN, middle=Cast(bits=20, overflow=Overflow.SATURATE)),
    source=(
        "ucb-bar/gemmini 8c3f9923 PE.scala, Arithmetic.scala: read in the RTL, not simulated. The other operators as "
        "gemmini_ws" + EXACT
    ),
)

_SHIFT_UP = PowerOfTwo(rounding=Rounding.HALF_UP)
VTA = Target(
    name="vta",
    description="TVM's VTA: exact sums of 16, a wrapping 32-bit sum, shifts half up",
    scheme=SHIFTS,
    mac=Mac(levels=(Level(size=16), Level(bits=32))),
    requantize=_SHIFT_UP,
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    add=AlignedAdd(rounding=Rounding.HALF_UP),
    convert=_SHIFT_UP,
    multiply=_SHIFT_UP,
    source=(
        "apache/tvm-vta d4a15f62 src/sim/sim_driver.cc RunGEMM, RunALU. The store keeps the low 8 bits and nothing "
        "saturates, but TVM puts MIN and MAX before it (and MAX for Relu, in 32 bits), so its programs clamp: that is "
        "`output`. output = wrap is a program without that clip. Averages by multiplication and shift in the ALU are "
        "an inference" + EXACT
    ),
    fidelity="source",
)
