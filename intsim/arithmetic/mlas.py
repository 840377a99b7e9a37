"""onnxruntime's sigmoid, tanh and hard swish in float32 (24).

The coefficients are those of microsoft/onnxruntime mlas/lib/logistic.cpp and tanh.cpp (there from Eigen).
"""

from fractions import Fraction

import numpy as np

from intsim.arithmetic.real import nearest32

F32 = np.float32

_SIGMOID = (
    (4.37031012579801e-11, 1.15627324459942e-07, 6.08574864600143e-05, 8.51377133304701e-03, 2.48287947061529e-01),
    (
        *(6.10247389755681e-13, 5.76102136993427e-09, 6.29106785017040e-06),
        *(1.70198817374094e-03, 1.16817656904453e-01, 9.93151921023180e-01),
    ),
)
_TANH = (
    (
        *(-2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08),
        *(1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03),
    ),
    (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03),
)
"""Of the numerator x p(x^2) and the denominator q(x^2), the highest power first."""


def function(name: str, x: np.float32, fused: bool) -> np.float32:
    """f(x) by float32 operations; `fused`: each multiply-add of a polynomial rounds once."""
    zero, one = F32(0), F32(1)
    match name:
        case "Sigmoid":
            return min(max(_quotient(_SIGMOID, _within(x, 18), fused) + F32(0.5), zero), one)
        case "Tanh":
            return _quotient(_TANH, _within(x, 9), fused)
        case "HardSwish":
            return x * max(min(x * F32(1 / 6) + F32(0.5), one), zero)
    raise ValueError(f"{name} is not among these functions")


def _within(x: np.float32, reach: int) -> np.float32:
    return min(max(x, F32(-reach)), F32(reach))


def _quotient(of: tuple[tuple[float, ...], ...], x: np.float32, fused: bool) -> np.float32:
    above, below = (_polynomial(coefficients, x * x, fused) for coefficients in of)
    return above * x / below


def _polynomial(coefficients: tuple[float, ...], x: np.float32, fused: bool) -> np.float32:
    """By Horner's rule."""
    y = F32(coefficients[0])
    for c in map(F32, coefficients[1:]):
        y = nearest32(Fraction(float(y)) * Fraction(float(x)) + Fraction(float(c))) if fused else y * x + c
    return y
