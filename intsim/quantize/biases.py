"""Biases in integers: of the machine's type, some of them shifted left before they are added."""

import numpy as np

from intsim.integers import IntType
from intsim.target import Scheme

PLAIN = IntType(32)


def most(scheme: Scheme) -> int:
    """The largest bias that is sensible, in units of the products: from 32 bits on, half is left to their sum."""
    if scheme.bias_shift == "any":
        return PLAIN.high // 2
    if scheme.bias.bits >= PLAIN.bits:
        return scheme.bias.high // 2
    return min(scheme.bias.high << scheme.bias_shift, PLAIN.high // 2)


def bias_integers(units: np.ndarray, scheme: Scheme) -> tuple[np.ndarray, IntType]:
    """A layer's biases `[o]`, given in units of the products, as the machine's integers; and their type.

    They are round_half_even(units / 2^s) * 2^s, saturated to the machine's type times 2^s: s is the machine's own, or
    the least with which the largest bias fits.
    """
    type_ = scheme.bias
    shift = _least(units, type_) if scheme.bias_shift == "any" else scheme.bias_shift
    wide = IntType(min(max(type_.bits + shift, 2), 64), type_.signed)
    held = np.clip(np.rint(np.ldexp(units, -shift)), type_.low, _high(type_)).astype(np.int64)
    return (held << shift).astype(wide.dtype), wide


def _high(type_: IntType) -> float:
    """The largest float64 that the type holds."""
    return float(type_.high) if type_.bits <= 53 else float(np.nextafter(2.0 ** (type_.bits - 1), 0))


def _least(units: np.ndarray, type_: IntType) -> int:
    shift = 0
    while shift < PLAIN.bits and np.abs(np.rint(np.ldexp(units, -shift))).max(initial=0) > type_.high:
        shift += 1
    return shift
