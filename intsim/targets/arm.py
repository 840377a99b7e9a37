"""TOSA, the specification that compilers for Arm's NPUs lower to, and the Ethos-U NPU itself."""

from msgspec.structs import replace

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import (
    Bias,
    FixedPoint,
    FloatFunction,
    Functions,
    Level,
    Mac,
    Reciprocal,
    RescaledSum,
    Scheme,
    Target,
    ThreeRescales,
)
from intsim.targets import functions
from intsim.targets.litert import DOUBLE, Q15, SINGLE

_S8 = Scheme(weights=(IntType(8),), weight_zero_points=True)
_S16 = Scheme(activations=(IntType(16),), weights=(IntType(8),), zero_points=False, bias=IntType(48))
_BY_COMPILER = (
    "; pooling AVG_POOL2D. A mean as a sum and one RESCALE, and a sum of two activations as three RESCALEs, are what a "
    "compiler makes of them: an inference" + functions.EXACT
)

TOSA_DOUBLE = Target(
    name="tosa_double",
    description="TOSA 1.0, RESCALE with DOUBLE_ROUND: a 32-bit sum that must not overflow, doubly rounded Q31",
    scheme=_S8,
    mac=Mac(levels=(Level(bits=32, overflow=Overflow.FORBID),)),
    bias=Bias(bits=32, overflow=Overflow.FORBID),
    requantize=DOUBLE,
    average_pool=Reciprocal(bits=30, normalized=True, rounding=Rounding.HALF_UP),
    mean=RescaledSum(requantize=DOUBLE, encoding="exact"),
    add=ThreeRescales(left_shift=20, requantize=DOUBLE),
    convert=DOUBLE,
    multiply=DOUBLE,
    source="TOSA 1.0 specification: CONV2D, RESCALE apply_scale_32 with double_round" + _BY_COMPILER,
    fidelity="source",
)

TOSA_SINGLE = replace(
    TOSA_DOUBLE,
    name="tosa_single",
    description="TOSA 1.0, RESCALE with SINGLE_ROUND: a 32-bit sum that must not overflow, Q31, one rounding half up",
    requantize=SINGLE,
    mean=RescaledSum(requantize=SINGLE, encoding="exact"),
    add=ThreeRescales(left_shift=20, requantize=SINGLE),
    convert=SINGLE,
    multiply=SINGLE,
    source="TOSA 1.0 specification: CONV2D, RESCALE apply_scale_32 without double_round" + _BY_COMPILER,
)

_SCALE16 = FixedPoint(bits=15, rounding=Rounding.HALF_UP)
TOSA_16BIT = replace(
    TOSA_SINGLE,
    name="tosa_16bit",
    description="TOSA 1.0 with 16-bit activations: a 48-bit sum that must not overflow, a 16-bit multiplier",
    scheme=_S16,
    mac=Mac(levels=(Level(bits=48, overflow=Overflow.FORBID),)),
    bias=Bias(type=IntType(48), bits=48, overflow=Overflow.FORBID),
    requantize=_SCALE16,
    mean=RescaledSum(requantize=SINGLE, encoding="exact"),
    add=ThreeRescales(left_shift=15, requantize=SINGLE),
    source="TOSA 1.0 specification: CONV2D (int48), RESCALE apply_scale_16" + _BY_COMPILER,
)

_TABLE = FloatFunction(precision="float64", rounding=Rounding.HALF_AWAY)
ETHOS_U = Target(
    name="ethos_u",
    description="Arm Ethos-U55 and U65 as Vela compiles for them: as TFLite's reference, doubly rounded Q31",
    scheme=replace(
        _S8,
        activations=(IntType(8), IntType(8, signed=False)),
        weights=(IntType(8), IntType(8, signed=False)),
        fixed_outputs=functions.OF_TABLES,
    ),
    mac=Mac(levels=(Level(bits=32),)),
    bias=Bias(type=IntType(40)),
    requantize=DOUBLE,
    average_pool=Reciprocal(bits=31, normalized=True, centred=False, rounding=Rounding.HALF_AWAY),
    mean=RescaledSum(requantize=DOUBLE, encoding="tflite"),
    add=ThreeRescales(left_shift=20, requantize=DOUBLE),
    convert=SINGLE,
    multiply=DOUBLE,
    functions=replace(functions.TFLM, sigmoid=_TABLE, tanh=_TABLE),
    source=(
        "ethos-u-vela a6f65663: scaling.py quantise_scale, quantise_pooling_scale; high_level_command_to_npu_op.py "
        "get_rounding_mode; weight_compressor.py. The hardware is not public: that its accumulator wraps, "
        "and its mean, "
        "are inferences. Adding scales only the operand with the finer scale, which gives the same integers"
    ),
    fidelity="source",
)

ETHOS_U_16BIT = replace(
    ETHOS_U,
    name="ethos_u_16bit",
    description="Arm Ethos-U55 and U65 with 16-bit activations: 40-bit sums, a 16-bit multiplier, one rounding half up",
    scheme=replace(_S16, bias=IntType(40), fixed_outputs=functions.OF_TABLES),
    mac=Mac(levels=(Level(bits=40),)),
    bias=Bias(type=IntType(40)),
    requantize=Q15,
    add=ThreeRescales(left_shift=15, requantize=DOUBLE),
    functions=Functions(),
    source=(
        "ethos-u-vela a6f65663: architecture_allocator.py _acc_type, scaling.py reduced_quantise_scale, "
        "high_level_command_to_npu_op.py get_rounding_mode (NATURAL). The hardware is not public: that its accumulator "
        "wraps, and its mean, are inferences" + functions.EXACT
    ),
)
