"""onnxruntime's CPU kernels: one requantization, a different accumulator on each instruction set."""

from msgspec.structs import replace

from intsim.integers import IntType, Overflow
from intsim.target import (
    Float32Add,
    Float32Average,
    Float32Requantize,
    Float32Scale,
    Level,
    Mac,
    Override,
    RescaledSum,
    Scheme,
    Target,
)

WRAPPING = Mac(zero_point="folded")
GROUPS_OF_FOUR = Mac(levels=(Level(size=4), Level(bits=32, overflow=Overflow.SATURATE)), zero_point="folded")
PAIRS = Mac(levels=(Level(size=2, bits=16, overflow=Overflow.SATURATE), Level(bits=32)), zero_point="folded")

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
    add=Float32Add(fused=True),
    convert=Float32Requantize(),
    source="microsoft/onnxruntime mlas/lib/quantize.cpp MlasRequantizeOutput, QgemmU8X8KernelAvx512Core.asm; 1.32.0",
    fidelity="source",
)

ORT_X86_AVX2 = replace(
    ORT_X86_VNNI,
    name="ort_x86_avx2",
    description="onnxruntime on x86 without VNNI: u8 x s8 products saturate to 16 bits in pairs",
    overrides=(
        Override(signed_activations=False, signed_weights=True, mac=PAIRS),
        Override(op="Conv", grouping="depthwise", mac=WRAPPING),
        Override(op="Conv", grouping="single", mac=WRAPPING),  # one channel in, one out: the depthwise kernel too
    ),
    source="microsoft/onnxruntime mlas/lib/quantize.cpp MlasRequantizeOutput, QgemmU8S8KernelAvx2.asm; 1.32.0",
    fidelity="verified",
    verified_with="onnxruntime 1.32.0 (on an AVX2 CPU without VNNI: every operator, full range; golden vectors)",
)
