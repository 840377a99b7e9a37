"""TFLite Micro, and what computes as its reference kernels do: Espressif's ESP-NN, Google's Coral NPU."""

from msgspec.structs import replace

from intsim.integers import IntType
from intsim.target import Scheme, ThreeRescales
from intsim.targets import functions
from intsim.targets.litert import DOUBLE, DOUBLE_SUM, LITERT_16X8, LITERT_REF

SIGNED = Scheme(weights=(IntType(8, narrow_range=True),), fixed_outputs=functions.OF_TABLES)
MICRO = "tensorflow/tflite-micro 90b983c2 "

TFLM = replace(
    LITERT_REF,
    name="tflm",
    description="TFLite Micro's reference kernels: doubly rounded Q31 in every operator",
    scheme=SIGNED,
    overrides=(),
    multiply=DOUBLE_SUM,
    functions=functions.TFLM,
    source=(
        f"{MICRO}tensorflow/lite/kernels/internal/common.h MultiplyByQuantizedMultiplier; reference/integer_ops/conv.h "
        "ConvPerChannel, fully_connected.h FullyConnected, add.h, mul.h, pooling.h; reference/reduce.h "
        "QuantizedMeanOrSum"
    ),
)

TFLM_16X8 = replace(
    LITERT_16X8,
    name="tflm_16x8",
    description="TFLite Micro with 16-bit activations: Q15 reduced multiplier in every sum of products",
    overrides=(),
    add=ThreeRescales(left_shift=15, requantize=DOUBLE),
    multiply=DOUBLE,
    functions=functions.TFLM_WIDE,
    source=(
        f"{MICRO}tensorflow/lite/kernels/internal/common.cc MultiplyByQuantizedMultiplier (int64); add.cc takes the "
        "general rule, whatever the scales. Mean as in 8 bits is an inference"
    ),
)

ESP_NN = replace(
    TFLM,
    name="esp_nn",
    description="ESP-NN, TFLite Micro's kernels on Espressif chips: doubly rounded Q31 in every operator",
    source=(
        "espressif/esp-nn d45b843c src/common/common_functions.h esp_nn_multiply_by_quantized_mult; its "
        "fast form is the "
        "same but next to the limits of 32 bits, and builds with SKIP_NUDGE are not. Means as TFLite Micro's reference"
    ),
    fidelity="source",
)

CORAL_NPU = replace(
    TFLM,
    name="coral_npu",
    description="Google's open Coral NPU (RISC-V vectors) with TFLite Micro's kernels: doubly rounded Q31",
    source=(
        "google-coral/coralnpu f3300946: 8-bit dot products into wrapping 32-bit sums (VConvAlu.scala), doubling high "
        "multiply and rounding shift; that its kernels keep TFLite Micro's two roundings is read in their source"
    ),
    fidelity="source",
)
