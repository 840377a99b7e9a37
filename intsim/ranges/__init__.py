"""What cannot overflow: exact bounds of every partial sum, per output channel and per register of the accumulator.

All bounds are Python integers (object arrays `[o]`) and hold for every input inside the given interval.
"""

import numpy as np
from msgspec import Struct

from intsim.program import Dot, Program
from intsim.ranges.products import Pair, exact_sum, exactly, owed, products
from intsim.ranges.registers import Registers, limits, registers
from intsim.ranges.tensors import Interval, both_intervals, intervals

__all__ = [
    "Bounds",
    "Interval",
    "Pair",
    "Registers",
    "accumulator_bounds",
    "both_intervals",
    "bounds",
    "cannot_overflow",
    "exact_sum",
    "intervals",
    "limits",
    "registers",
    "width",
]


class Bounds(Struct, frozen=True, kw_only=True, eq=False):
    """The least and the largest value `[o]` of every sum on the way, and the smallest width `bits[o]` that holds them.

    Every partial sum in every order of the products counts, with the bias where the machine puts it.
    """

    low: np.ndarray
    high: np.ndarray
    bits: np.ndarray


def accumulator_bounds(program: Program) -> dict[str, Bounds]:
    """The bounds of every sum of products, by step name, from the types and clips before it."""
    known = intervals(program)
    return {
        step.name: bounds(step.compute, *known[step.inputs[0]])
        for step in program.steps
        if isinstance(step.compute, Dot)
    }


def bounds(dot: Dot, low_x: int, high_x: int) -> Bounds:
    """The bounds of one sum of products for inputs in low_x..high_x.

    S- = sum of min(0, product), S+ = sum of max(0, product); a bias at the start shifts both, one at the end shifts the
    final value only. A machine that folds its zero points sums raw integers.
    """
    low, high = products(dot, low_x, high_x, centred=dot.mac.zero_point == "in_operand")
    below, above = exactly(np.minimum(low, 0).sum(1)), exactly(np.maximum(high, 0).sum(1))
    if dot.bias_rule.when == "init":
        first, last = owed(dot, low_x, high_x)
        least, most = first + below, last + above
    else:
        first, last = exact_sum(dot, low_x, high_x)
        least, most = np.minimum(below, first), np.maximum(above, last)
    return Bounds(low=least, high=most, bits=width(least, most))


def cannot_overflow(dot: Dot, low_x: int, high_x: int) -> np.ndarray:
    """Whether no register of the accumulator can overflow for inputs in low_x..high_x: bool `[o]`."""
    found = registers(dot, low_x, high_x)
    return np.logical_and.reduce([*found.fits, found.cast, found.back, found.end])


def width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The smallest two's complement width that holds both low[i] and high[i]."""
    pairs = zip(map(int, low), map(int, high), strict=True)
    return np.array([1 + max((v if v >= 0 else ~v).bit_length() for v in pair) for pair in pairs], np.int64)
