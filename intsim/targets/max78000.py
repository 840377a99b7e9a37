"""Analog Devices' MAX78000 and MAX78002 (ai8x)."""

from msgspec.structs import replace

from intsim.integers import IntType, Rounding
from intsim.target import AlignedAdd, Bias, Divide, Level, Mac, PowerOfTwo, Scheme, Target
from intsim.targets.functions import EXACT

_HALF_UP = PowerOfTwo(rounding=Rounding.HALF_UP)

MAX78000 = Target(
    name="max78000",
    description="Analog Devices MAX78000: full-resolution sums, shifts half up; weights of 1, 2, 4 or 8 bits",
    scheme=Scheme(zero_points=False, per_channel=(), power_of_two=True, bias=IntType(8), bias_shift=7),
    mac=Mac(levels=(Level(bits=32),)),
    bias=Bias(type=IntType(8), shifted=True),
    requantize=_HALF_UP,
    average_pool=Divide(rounding=Rounding.TO_ZERO),
    mean=Divide(rounding=Rounding.TO_ZERO),
    add=AlignedAdd(rounding=Rounding.HALF_UP),
    convert=_HALF_UP,
    multiply=_HALF_UP,
    source=(
        "analogdevicesinc/ai8x-synthesis ab4f4c01 izer/simulate.py conv2d_layer, eltwise_layer, "
        "izer/compute.py pool2d. "
        "The bias is shifted by 7 bits, whatever the layer (BIAS_DIV). Operands of a sum of "
        "unlike scales are aligned here, which the hardware cannot do; so are moves between affines. With "
        "--avg-pool-rounding set average_pool.rounding and mean.rounding to half_away" + EXACT
    ),
    fidelity="source",
)

MAX78002 = replace(
    MAX78000,
    name="max78002",
    description=MAX78000.description.replace("MAX78000", "MAX78002"),
)
