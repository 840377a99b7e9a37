"""Chips whose arithmetic is not public: the types that they take are documented, everything else is an inference.

They say what a network must look like to run there, and give its size of error; never its bits.
"""

from msgspec.structs import replace

from intsim.integers import IntType, Overflow
from intsim.target import Level, Mac, Scheme, Target
from intsim.targets.ideal import IDEAL
from intsim.targets.litert import LITERT_REF, SCHEME

_UNKNOWN = "; the arithmetic is not public: what stands here is an inference"
_EXACT_32 = Mac(levels=(Level(bits=32, overflow=Overflow.SATURATE),))
_SYMMETRIC_WEIGHTS = (IntType(8, narrow_range=True), IntType(8))


def _like(base: Target, name: str, description: str, public: str, **changed: object) -> Target:
    """The envelope of a chip: another machine's rules under its own types."""
    own = {"name": name, "description": f"{description} (arithmetic assumed)", "source": public + _UNKNOWN}
    return replace(base, **own, **changed, fidelity="assumed", verified_with="")


EDGE_TPU = _like(
    LITERT_REF,
    "edge_tpu",
    "Google Coral Edge TPU: TFLite's 8-bit types",
    "Documented: runs int8 TFLite per channel, and uint8; outputs differ by one from TFLite's reference, as that does",
    scheme=SCHEME,
)
NEUTRON = _like(
    LITERT_REF,
    "neutron",
    "NXP eIQ Neutron: TFLite's 8-bit types",
    "Documented: takes int8 TFLite through neutron-converter",
    scheme=replace(SCHEME, weights=_SYMMETRIC_WEIGHTS, weight_zero_points=False),
)
NEURAL_ART = _like(
    LITERT_REF,
    "neural_art",
    "ST Neural-ART (STM32N6): 8 bits, per channel, with or without zero points",
    "Documented: int8 TFLite or ONNX QDQ, ss and sa; its maker says not bit-exact with the reference",
    scheme=replace(SCHEME, weights=_SYMMETRIC_WEIGHTS, weight_zero_points=False),
)
RKNN = _like(
    IDEAL,
    "rknn",
    "Rockchip RKNN: s8 with zero points, per tensor or per channel; 16 bits on newer chips",
    "Documented: w8a8 asymmetric, int16, w4a16 (rknn-toolkit2 2.5.0)",
    scheme=Scheme(activations=(IntType(8), IntType(16)), weights=_SYMMETRIC_WEIGHTS),
    mac=_EXACT_32,
)
HAILO = _like(
    IDEAL,
    "hailo",
    "Hailo: u8 or u16 activations with zero points, 4-, 8- or 16-bit weights",
    'Documented: support page "Hailo quantization scheme"; accumulator and rounding are not',
    scheme=Scheme(activations=(IntType(8, signed=False), IntType(16, signed=False)), weights=(IntType(8), IntType(16))),
    mac=_EXACT_32,
)
HTP = _like(
    IDEAL,
    "htp",
    "Qualcomm HTP (SNPE, QNN): u8 activations with zero points, s8 weights per channel",
    "Documented: encodings of AIMET, a 32-bit bias",
    scheme=Scheme(activations=(IntType(8, signed=False), IntType(16, signed=False)), weights=_SYMMETRIC_WEIGHTS),
    mac=_EXACT_32,
)
TIDL = _like(
    IDEAL,
    "tidl",
    "TI TIDL (C7x/MMA): 8 or 16 bits, powers of two",
    "Documented: power-of-two or arbitrary scales (calibrationOption), accumulators of 32 bits or more",
    scheme=Scheme(
        activations=(IntType(8), IntType(16), IntType(8, signed=False), IntType(16, signed=False)),
        weights=(IntType(8), IntType(16)),
        zero_points=False,
        power_of_two=True,
        per_channel=(),
    ),
    mac=_EXACT_32,
)
AKIDA = _like(
    IDEAL,
    "akida",
    "BrainChip Akida 2: u8 activations without zero points, s8 weights, output scale by multiplier and shift",
    "Documented: u4 or u8 activations, s4 or s8 weights; its own software backend (akida 2.19) is the reference",
    scheme=Scheme(activations=(IntType(8, signed=False), IntType(8)), weights=(IntType(8),), zero_points=False),
    mac=_EXACT_32,
)
