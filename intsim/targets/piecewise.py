"""Machines whose requantization is a piecewise-linear function: Kendryte's K210 and Intel's GNA."""

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import Bias, Divide, FixedPoint, Level, Mac, Scheme, Target, TwoMultipliers
from intsim.targets.functions import EXACT

_SEGMENT = FixedPoint(bits=15, first=Rounding.FLOOR, rounding=Rounding.CARRY_SHIFT, register=64)
K210 = Target(
    name="k210",
    description="Kendryte K210 KPU: u8 x u8 with zero points, batch norm rounded down, then its carry_shift",
    scheme=Scheme(
        activations=(IntType(8, signed=False),),
        weights=(IntType(8, signed=False),),
        weight_zero_points=True,
        per_channel=(),
    ),
    mac=Mac(levels=(Level(bits=64),), zero_point="folded"),
    requantize=_SEGMENT,
    average_pool=Divide(rounding=Rounding.TO_ZERO),
    mean=Divide(rounding=Rounding.TO_ZERO),
    add=TwoMultipliers(bits=15, rounding=Rounding.HALF_EVEN),
    convert=_SEGMENT,
    multiply=_SEGMENT,
    source=(
        "kendryte/nncase 99431d9d k210_kernels.h kpu_conv2d, carry_shift. Modelled: one segment of the activation, "
        "(v * mul >> 15) down, then >> shift by carry_shift; the bias enters before the first shift, not after it "
        "(less than one unit of what the second shift takes away). The compiler's segments and numbers are an "
        "inference; the hardware's accumulator width is not public; sums of activations are software's" + EXACT
    ),
    fidelity="source",
)

_SLOPE = FixedPoint(bits=15, rounding=Rounding.FLOOR)
GNA = Target(
    name="gna",
    description="Intel GNA: exact sums of a buffer of 6144, then saturated to 32 bits; 16-bit slopes, rounded down",
    scheme=Scheme(activations=(IntType(16), IntType(8)), weights=(IntType(8), IntType(16)), zero_points=False),
    mac=Mac(levels=(Level(size=6144), Level(bits=32, overflow=Overflow.SATURATE))),
    bias=Bias(when="init"),
    requantize=_SLOPE,
    average_pool=Divide(rounding=Rounding.FLOOR),
    mean=Divide(rounding=Rounding.FLOOR),
    add=TwoMultipliers(bits=15, rounding=Rounding.FLOOR),
    convert=_SLOPE,
    multiply=_SLOPE,
    source=(
        "intel/gna 38f21f5f igemm16_generic-sat.cpp, saturate.h, pwl: one row of inputs, a buffer of 12288 bytes. "
        "One segment through zero stands for the activation; slopes are the library's choice and an inference here; it "
        "has no averages and no sums of activations" + EXACT
    ),
    fidelity="source",
)
