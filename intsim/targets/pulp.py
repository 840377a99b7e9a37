"""The PULP family and GreenWaves' GAP: PULP-NN, DORY, the NE16 engine, SQ8 kernels."""

from msgspec.structs import replace

from intsim.integers import IntType, Rounding
from intsim.target import Bias, Cast, Divide, FixedPoint, Level, Mac, Reciprocal, Scheme, Target, TwoMultipliers
from intsim.targets.functions import EXACT

UNSIGNED = Scheme(activations=(IntType(8, signed=False), IntType(8)), zero_points=False)
_SIGNED = (
    " Activations are u8; s8 is taken for tensors that hold negative numbers, such as logits. Folding the bias into "
    "lambda gives the same integers modulo 2^32. A sum of two activations is held in int16 for the sake of s8: uint16 "
    "there, the same below a ratio of scales of 64. The compiler's choice of multiplier and shift is an inference"
    + EXACT
)
COARSE, FINE = replace(UNSIGNED, spread=2.0), replace(UNSIGNED, spread=256.0)
"""A layer's channels share a shift: what multipliers of 8 and of 15 bits leave of the finest one."""

_ADD = TwoMultipliers(bits=8, rounding=Rounding.FLOOR, middle=Cast(bits=16))
_BN32 = FixedPoint(bits=8, encoding=Rounding.FLOOR, rounding=Rounding.FLOOR, shared=True, product=32)

PULP_NN = Target(
    name="pulp_nn",
    description="PULP-NN, 32-bit: an 8-bit multiplier and one shift a layer, a wrapping 32-bit product, rounded down",
    scheme=COARSE,
    requantize=_BN32,
    average_pool=Divide(rounding=Rounding.TO_ZERO),
    mean=Divide(rounding=Rounding.TO_ZERO),
    add=_ADD,
    convert=_BN32,
    multiply=_BN32,
    source=(
        "pulp-platform/pulp-nn 288d06b7 pulp_nn_utils.h pulp_nn_bn_quant_u8, pulp_nn_add.c, pulp_nn_avgpool.c."
        + _SIGNED
    ),
    fidelity="source",
)

_BN16 = replace(_BN32, middle=Cast(bits=16))
PULP_NN_16BIT = replace(
    PULP_NN,
    name="pulp_nn_16bit",
    description="PULP-NN without batch norm (quant_u8): as pulp_nn, but wrapped to 16 bits before the clip",
    requantize=_BN16,
    convert=_BN16,
    multiply=_BN16,
    source="pulp-platform/pulp-nn 288d06b7 pulp_nn_utils.h pulp_nn_quant_u8, pulp_nn_add.c." + _SIGNED,
)

_BN64 = FixedPoint(bits=15, encoding=Rounding.FLOOR, rounding=Rounding.FLOOR, shared=True, product=64)
DORY = replace(
    PULP_NN,
    name="dory",
    description="DORY with its 64-bit batch norm on PULP-NN: a 16-bit multiplier and one shift a layer, rounded down",
    scheme=FINE,
    requantize=_BN64,
    convert=_BN64,
    multiply=_BN64,
    source=(
        "pulp-platform/dory be3d6dda (Int64 BN), pulp-platform/quantlib d3c829ea RequantShift: half of the divisor may "
        "be in lambda there, which makes it round half up." + _SIGNED
    ),
)

_NORMQUANT = FixedPoint(bits=8, encoding=Rounding.FLOOR, rounding=Rounding.FLOOR, product=48)
NE16 = replace(
    PULP_NN,
    name="ne16",
    scheme=UNSIGNED,
    description="The NE16 engine: 2- to 8-bit weights bit by bit, an 8-bit scale, a 48-bit product, rounded down",
    requantize=_NORMQUANT,
    convert=_NORMQUANT,
    multiply=_NORMQUANT,
    source=(
        "pulp-platform/ne16 6bd72720 ne16_normquant_shifter.sv (its rounding is computed and not used), "
        "NE16_ACCUM_SIZE. Sums and averages of activations are the cluster's, as PULP-NN. Lambda's own 32 bits are not "
        "checked." + _SIGNED
    ),
)

_AT_NORM = FixedPoint(bits=7, rounding=Rounding.HALF_UP, product=32)
GAP_SQ8 = Target(
    name="gap_sq8",
    description="GreenWaves' SQ8 kernels (NNTool, AutoTiler): a 7-bit scale, a wrapping 32-bit product, half up",
    scheme=Scheme(zero_points=False),
    mac=Mac(levels=(Level(bits=32),)),
    bias=Bias(when="init"),
    requantize=_AT_NORM,
    average_pool=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    mean=Reciprocal(bits=16, rounding=Rounding.HALF_UP),
    add=TwoMultipliers(bits=7, rounding=Rounding.HALF_UP),
    convert=_AT_NORM,
    multiply=_AT_NORM,
    source=(
        "GreenWaves-Technologies/gap_sdk a2302650 nntool/utils/at_norm.py, multiplicative quantization. The reciprocal "
        "of an average and the widths of a sum's two multipliers are inferences" + EXACT
    ),
    fidelity="source",
)
