"""onnxruntime's CPU kernels: one requantization, a different accumulator on each instruction set."""

from msgspec.structs import replace

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import (
    DequantizedAdd,
    FixedPoint,
    Float32Add,
    Float32Average,
    Float32Requantize,
    Float32Scale,
    Level,
    Mac,
    Override,
    RescaledSum,
    Resize,
    Scheme,
    Target,
    TwoMultipliers,
)
from intsim.targets import functions

WRAPPING = Mac(zero_point="folded")
GROUPS_OF_FOUR = Mac(levels=(Level(size=4), Level(bits=32, overflow=Overflow.SATURATE)), zero_point="folded")
PAIRS = Mac(levels=(Level(size=2, bits=16, overflow=Overflow.SATURATE), Level(bits=32)), zero_point="folded")
MLAS = "microsoft/onnxruntime 1.32.0 mlas/lib/"
REST = (
    "quantize.cpp MlasRequantizeOutput (06414ba6), {}; qlinearconv.cc (009855cf), qlinear_pool.cc (07d59c09), "
    "qlgavgpool.cpp. Resize: upsample.h (01d0c119) for its places; how it mixes neighbours was measured on x86. "
    "The product of two activations in float32 is an inference"
)

ORT_X86_VNNI = Target(
    name="ort_x86_vnni",
    description="onnxruntime on x86 with VNNI: u8 x s8 in exact fours, a saturating 32-bit sum",
    scheme=Scheme(
        activations=(IntType(8, signed=False), IntType(8)),
        weights=(IntType(8), IntType(8, signed=False)),
        weight_zero_points=True,
    ),
    mac=WRAPPING,
    requantize=Float32Scale(),
    overrides=(
        Override(signed_activations=False, signed_weights=True, mac=GROUPS_OF_FOUR),
        Override(op="Conv", grouping="depthwise", mac=WRAPPING),
        Override(op="Conv", grouping="single", mac=WRAPPING),  # one channel in, one out: the depthwise kernel too
    ),
    average_pool=Float32Average(),
    mean=RescaledSum(requantize=Float32Scale(), encoding="f32_product"),
    add=Float32Add(repeated_first=True),
    subtract=DequantizedAdd(),
    convert=Float32Requantize(),
    multiply=Float32Scale(zero_point="before", converted=32),
    resize=Resize(nearest="quotient", linear="quotient"),
    functions=functions.ONNXRUNTIME,
    source=MLAS + REST.format("amd64/QgemmU8X8KernelAvx512Core.asm VpdpbusdsZmm, qladd_avx2.cpp"),
    fidelity="source",
)

ORT_X86_AVX2 = replace(
    ORT_X86_VNNI,
    name="ort_x86_avx2",
    description="onnxruntime on x86 without VNNI (AVX2, AVX512BW): u8 x s8 products saturate to 16 bits in pairs",
    overrides=(
        Override(signed_activations=False, signed_weights=True, mac=PAIRS),
        Override(op="Conv", grouping="depthwise", mac=WRAPPING),
        Override(op="Conv", grouping="single", mac=WRAPPING),  # one channel in, one out: the depthwise kernel too
    ),
    source=MLAS + REST.format("amd64/QgemmU8S8KernelAvx2.asm VPMADDUBSW, qladd_avx2.cpp"),
)

ORT_X86_SSE41 = replace(
    ORT_X86_VNNI,
    name="ort_x86_sse41",
    description="onnxruntime on x86 without AVX2 (SSE4.1): exact products, a wrapping 32-bit sum, add without fma",
    overrides=(),
    add=Float32Add(fused=False, first="a", repeated_first=True),
    functions=functions.ONNXRUNTIME_UNFUSED,
    source=MLAS + REST.format("qgemm_kernel_sse41.cpp, qladd.cpp"),
)

ORT_ARM64 = replace(
    ORT_X86_VNNI,
    name="ort_arm64",
    description="onnxruntime on Arm64 (SDOT, UDOT, SMMLA): exact products, a wrapping 32-bit sum; add in 22 bits",
    overrides=(),
    mean=RescaledSum(
        requantize=FixedPoint(bits=24, encoding=Rounding.HALF_EVEN, rounding=Rounding.HALF_AWAY), encoding="exact"
    ),
    add=TwoMultipliers(bits=22, rounding=Rounding.HALF_AWAY),
    source=(
        MLAS + REST.format("qgemm_kernel_sdot.cpp, qladd.cpp (0465fe91)") + ". The mean's 24-bit mantissa is that of "
        "the real scale here, of its float32 product there: they may differ in the last bit"
    ),
)
