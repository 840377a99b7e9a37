"""Accelerators with open hardware: NVDLA, Gemmini, VTA, and Espressif's vector unit."""

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

SYMMETRIC = Scheme(zero_points=False, per_channel=())
SHIFTS = Scheme(zero_points=False, per_channel=(), power_of_two=True)

_SDP = FixedPoint(bits=15, rounding=Rounding.HALF_AWAY, middle=Cast(bits=17, overflow=Overflow.SATURATE))
NVDLA_SMALL = Target(
    name="nvdla_small",
    description="NVDLA nv_small: exact sums of 8, a saturating 34-bit sum, 16-bit multiplier, 17-bit middle",
    scheme=Scheme(zero_points=False, per_channel=(), bias=IntType(16)),
    mac=Mac(levels=(Level(size=8), Level(bits=34, overflow=Overflow.SATURATE))),
    bias=Bias(type=IntType(16), bits=32, overflow=Overflow.SATURATE),
    requantize=_SDP,
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_AWAY, stages=2),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_AWAY, stages=2),
    add=TwoMultipliers(bits=15, rounding=Rounding.HALF_AWAY),
    convert=_SDP,
    source=(
        "nvdla/hw nv_small 771f20cc: NV_NVDLA_CACC_CALC_int8.v, sdp_c.cpp. The choice of scale and shift is the "
        "compiler's (nvdla/sw) and is an inference here; so is the elementwise sum"
    ),
    fidelity="source",
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
    source="ucb-bar/gemmini 8c3f9923 AccumulatorScale.scala, PE.scala; gemmini-rocc-tests 180c4684",
    fidelity="source",
)

GEMMINI_OS = replace(
    GEMMINI_WS,
    name="gemmini_os",
    description="Gemmini, output stationary: wraps to 20 bits at every MAC, rounding shift half to even",
    scheme=SHIFTS,
    mac=Mac(levels=(Level(bits=20),)),
    requantize=PowerOfTwo(rounding=Rounding.HALF_EVEN, middle=Cast(bits=20, overflow=Overflow.SATURATE)),
    source="ucb-bar/gemmini 8c3f9923 PE.scala, Arithmetic.scala: read in the RTL, not simulated",
)

VTA = Target(
    name="vta",
    description="TVM's VTA: exact sums of 16, a wrapping 32-bit sum, shifts half up",
    scheme=SHIFTS,
    mac=Mac(levels=(Level(size=16), Level(bits=32))),
    requantize=PowerOfTwo(rounding=Rounding.HALF_UP),
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    add=AlignedAdd(rounding=Rounding.HALF_UP),
    convert=PowerOfTwo(rounding=Rounding.HALF_UP),
    source=(
        "apache/tvm-vta d4a15f62 src/sim/sim_driver.cc RunGEMM, RunALU. Averages by multiplication and shift in the "
        "ALU are an inference"
    ),
    fidelity="source",
)

ESP_DL_S3 = Target(
    name="esp_dl_s3",
    description="ESP-DL on the ESP32-S3: a 20-bit accumulator that saturates at every MAC, shifts half up",
    scheme=SHIFTS,
    mac=Mac(levels=(Level(bits=20, overflow=Overflow.SATURATE),)),
    bias=Bias(bits=32),
    requantize=PowerOfTwo(rounding=Rounding.HALF_UP),
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    add=AlignedAdd(rounding=Rounding.HALF_UP),
    convert=PowerOfTwo(rounding=Rounding.HALF_UP),
    source=(
        "espressif/esp-dl 12c0616d: PIE instruction EE.VMULAS.S8.QACC, dl_tool.cpp, how_to_quantize_model.rst. The "
        "reciprocal's width is an inference"
    ),
    fidelity="source",
)
