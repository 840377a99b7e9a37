"""Espressif's ESP-DL on the vector units of the ESP32-S3 and the ESP32-P4."""

from msgspec.structs import replace

from intsim.integers import Overflow, Rounding
from intsim.target import AlignedAdd, Bias, Level, Mac, PowerOfTwo, Reciprocal, Target
from intsim.targets.accelerators import SHIFTS
from intsim.targets.functions import EXACT

_UP, _EVEN = PowerOfTwo(rounding=Rounding.HALF_UP), PowerOfTwo(rounding=Rounding.HALF_EVEN)
_INFERRED = " The reciprocal's width, and that the bias is added in 32 bits without saturating, are inferences" + EXACT

ESP_DL_S3 = Target(
    name="esp_dl_s3",
    description="ESP-DL on the ESP32-S3: a 20-bit accumulator that saturates at every MAC, shifts half up",
    scheme=SHIFTS,
    mac=Mac(levels=(Level(bits=20, overflow=Overflow.SATURATE),)),
    bias=Bias(bits=32),
    requantize=_UP,
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    add=AlignedAdd(rounding=Rounding.HALF_UP),
    convert=_UP,
    multiply=_UP,
    source=(
        "espressif/esp-dl 12c0616d: PIE instruction EE.VMULAS.S8.QACC, dl_tool.cpp, how_to_quantize_model.rst."
        + _INFERRED
    ),
    fidelity="source",
)

ESP_DL_P4 = replace(
    ESP_DL_S3,
    name="esp_dl_p4",
    description="ESP-DL on the ESP32-P4: a 32-bit accumulator that saturates at every MAC, shifts half to even",
    scheme=replace(SHIFTS, per_channel=("Conv", "ConvTranspose", "Gemm")),
    mac=Mac(levels=(Level(bits=32, overflow=Overflow.SATURATE),)),
    requantize=_EVEN,
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_EVEN),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_EVEN),
    add=AlignedAdd(rounding=Rounding.HALF_EVEN),
    convert=_EVEN,
    multiply=_EVEN,
    source=(
        "espressif/esp-dl 12c0616d: PIE instruction ESP.VMULAS.S8.QACC, dl_tool.cpp, how_to_quantize_model.rst."
        + _INFERRED
    ),
)
