"""Functions of real numbers to far more digits than any rounding needs, the same on every machine."""

import math
from decimal import Context, Decimal
from fractions import Fraction

import numpy as np

from intsim.arithmetic.rounding import rounded
from intsim.integers import Rounding

DIGITS = Context(prec=50, Emax=10**6, Emin=-(10**6))
"""decimal's exp and ln are correctly rounded; what is done with them afterwards loses two or three digits of 50."""

_PI = Decimal(
    "3.14159265358979323846264338327950288419716939937510582097494459230781640628620899862803482534211706798214808651"
)

FAR = 2000
"""Beyond this a sigmoid is 0 or 1 in every number format, and an exponential is 0 or infinite."""


def exp(x: Fraction) -> Fraction:
    """e^x, of x clamped to -FAR..FAR."""
    x = max(Fraction(-FAR), min(Fraction(FAR), x))
    return Fraction(DIGITS.exp(DIGITS.divide(Decimal(x.numerator), Decimal(x.denominator))))


def sigmoid(x: Fraction) -> Fraction:
    """1 / (1 + e^-x)."""
    return 1 / (1 + exp(-x))


def tanh(x: Fraction) -> Fraction:
    """1 - 2 / (e^2x + 1), without cancellation near 0."""
    if abs(x) < Fraction(1, 10**12):
        return x - x**3 / 3
    return 1 - 2 / (exp(2 * x) + 1)


def hard_swish(x: Fraction) -> Fraction:
    """x min(max(x + 3, 0), 6) / 6."""
    return x * min(max(x + 3, Fraction(0)), Fraction(6)) / 6


def elu(x: Fraction, alpha: Fraction) -> Fraction:
    """x, or alpha (e^x - 1) where x < 0."""
    return x if x >= 0 else alpha * (exp(x) - 1)


def softplus(x: Fraction) -> Fraction:
    """ln(1 + e^x)."""
    inner = 1 + exp(x)
    return Fraction(DIGITS.ln(DIGITS.divide(Decimal(inner.numerator), Decimal(inner.denominator))))


def hard_sigmoid(x: Fraction, alpha: Fraction) -> Fraction:
    """min(max(alpha x + 1/2, 0), 1)."""
    return min(max(alpha * x + Fraction(1, 2), Fraction(0)), Fraction(1))


def gelu(x: Fraction) -> Fraction:
    """x (1 + erf(x / sqrt 2)) / 2."""
    if abs(x) > 20:
        return max(x, Fraction(0))  # the rest is below 10^-87
    wide = Context(prec=260)
    at = wide.divide(Decimal(x.numerator), Decimal(x.denominator))
    square, term, total, k = wide.multiply(at, at), at, at, 1
    while abs(term) > abs(total).scaleb(-120):
        term = wide.divide(wide.multiply(term, square), Decimal(2 * k + 1))
        total, k = wide.add(total, term), k + 1
    # Phi(x) = 1/2 + e^(-x^2 / 2) (x + x^3 / 3 + x^5 / (3 5) + ...) / sqrt(2 pi)
    density = wide.multiply(wide.exp(-square / 2), wide.sqrt(wide.divide(1, _PI * 2)))
    return x * (Fraction(1, 2) + Fraction(wide.multiply(density, total)))


def gelu_tanh(x: Fraction) -> Fraction:
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2, which is x sigmoid(2 ...)."""
    inner = x + Fraction(44715, 10**6) * x**3
    return x * sigmoid(2 * Fraction(DIGITS.sqrt(DIGITS.divide(2, _PI))) * inner)


def mish(x: Fraction) -> Fraction:
    """x tanh(ln(1 + e^x)) = x n / (n + 2) with n = e^x (e^x + 2)."""
    e = exp(min(x, Fraction(300)))
    n = e * (e + 2)
    return x * n / (n + 2)


def rsqrt(x: Fraction, alpha: Fraction) -> Fraction:
    """1 / sqrt(max(x, 0) + alpha)."""
    whole = max(x, Fraction(0)) + alpha
    return 1 / Fraction(DIGITS.sqrt(DIGITS.divide(Decimal(whole.numerator), Decimal(whole.denominator))))


def function(name: str, x: Fraction, alpha: Fraction) -> Fraction:
    """The function that ONNX calls `name` at x; `alpha` is its parameter, where it has one."""
    match name:
        case "Sigmoid":
            return sigmoid(x)
        case "Tanh":
            return tanh(x)
        case "HardSwish":
            return hard_swish(x)
        case "LeakyRelu":
            return x if x >= 0 else x * alpha
        case "Elu":
            return elu(x, alpha)
        case "Softplus":
            return softplus(x)
        case "HardSigmoid":
            return hard_sigmoid(x, alpha)
        case "Gelu":
            return gelu(x)
        case "GeluTanh":
            return gelu_tanh(x)
        case "Mish":
            return mish(x)
        case "Rsqrt":
            return rsqrt(x, alpha)
    raise AssertionError(name)


def approximation(name: str, x: float, alpha: float) -> float:
    """The same in float64, a few units in the last place off."""
    small = math.exp(-min(abs(x), 700.0))
    match name:
        case "Sigmoid":
            return (1.0 if x >= 0 else small) / (1 + small)
        case "Tanh":
            return math.tanh(x)
        case "HardSwish":
            return x * min(max(x + 3, 0.0), 6.0) / 6
        case "LeakyRelu":
            return x if x >= 0 else x * alpha
        case "Elu":
            return x if x >= 0 else alpha * math.expm1(x)
        case "Softplus":
            return max(x, 0.0) + math.log1p(small)
        case "HardSigmoid":
            return min(max(alpha * x + 0.5, 0.0), 1.0)
        case "Gelu":
            return x * math.erfc(-x / math.sqrt(2)) / 2
        case "GeluTanh":
            return x * approximation("Sigmoid", math.sqrt(8 / math.pi) * (x + 0.044715 * x**3), 0.0)
        case "Rsqrt":
            return 1 / math.sqrt(max(x, 0.0) + alpha)
        case "Mish":
            n = 1 + 2 * small if x >= 0 else small * (small + 2)
            return x * n / (n + 2 * (small * small if x >= 0 else 1))
    raise AssertionError(name)


def single(name: str, x: Fraction, alpha: Fraction) -> np.float32:
    """The float32 nearest to the function at x: float64 decides it where it is far enough from a tie."""
    near = approximation(name, float(x), float(alpha))
    below, above = np.float32(near * (1 - 1e-11)), np.float32(near * (1 + 1e-11))
    return below if below == above and abs(near) > 1e-30 else nearest32(function(name, x, alpha))


def nearest32(value: Fraction) -> np.float32:
    """The float32 nearest to an exact value, ties to even; infinity beyond its range."""
    if value == 0:
        return np.float32(0)
    e = max(_exponent(value) - 24, -149)
    unit = Fraction(2) ** e
    whole = rounded(*(value / unit).as_integer_ratio(), Rounding.HALF_EVEN)
    if abs(whole) * unit >= 1 << 128:
        return np.float32(math.copysign(math.inf, whole))
    return np.float32(math.ldexp(whole, e))


def _exponent(value: Fraction) -> int:
    """e with 2^(e-1) <= |value| < 2^e."""
    n, d = abs(value.numerator), value.denominator
    e = n.bit_length() - d.bit_length()
    return e + 1 if (n >= d << e if e >= 0 else n << -e >= d) else e
