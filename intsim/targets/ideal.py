"""The reference machine that no one builds: exact accumulators, one rounding."""

from intsim.integers import IntType, Rounding
from intsim.target import (
    Bias,
    Divide,
    FixedPoint,
    Level,
    Mac,
    RescaledSum,
    Scheme,
    Target,
    TwoMultipliers,
)

_ONCE = FixedPoint(rounding=Rounding.HALF_EVEN)

IDEAL = Target(
    name="ideal",
    description="exact accumulators of any width, a Q31 scale, one rounding half to even; up to 16-bit operands",
    scheme=Scheme(
        activations=(IntType(8, signed=False), IntType(8), IntType(16, signed=False), IntType(16)),
        weights=(IntType(8), IntType(8, signed=False), IntType(16), IntType(16, signed=False)),
        weight_zero_points=True,
        bias=IntType(48),
    ),
    mac=Mac(levels=(Level(),)),
    bias=Bias(type=IntType(48)),
    requantize=_ONCE,
    average_pool=Divide(rounding=Rounding.HALF_EVEN, centred=True),
    mean=RescaledSum(requantize=_ONCE, encoding="exact"),
    add=TwoMultipliers(bits=31, rounding=Rounding.HALF_EVEN),
    convert=_ONCE,
    source="a definition, made here: the yardstick that the machines are held against",
    fidelity="documented",
)
