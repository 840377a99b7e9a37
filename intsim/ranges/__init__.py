"""What cannot overflow: exact bounds of every partial sum, per output channel and per register of the accumulator.

All bounds are Python integers (object arrays `[o]`) and hold for every input inside the given interval.
"""

import numpy as np
from msgspec import Struct

from intsim.program import Dot, MatMul, Program
from intsim.ranges.products import Pair, exact_sum, exactly, owed, products, products_of_two
from intsim.ranges.registers import Registers, limits, registers, registers_of_two
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
    "registers_of_two",
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
    found = {}
    for step in program.steps:
        if isinstance(step.compute, Dot):
            found[step.name] = bounds(step.compute, *known[step.inputs[0]])
        elif isinstance(step.compute, MatMul):
            a, b = step.inputs
            found[step.name] = bounds_of_two(step.compute, known[a], known[b], program.tensors[a].shape[-2])
    return found


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


def bounds_of_two(matmul: MatMul, a: Interval, b: Interval, count: int) -> Bounds:
    """The same of sums of `count` products of two activations, one for all outputs."""
    (low, high), debt, exact = products_of_two(matmul, a, b, count)
    below, above = exactly(np.minimum(low, 0).sum(1)), exactly(np.maximum(high, 0).sum(1))
    if matmul.bias_rule.when == "init":
        least, most = debt[0] + below, debt[1] + above
    else:
        least, most = np.minimum(below, exact[0]), np.maximum(above, exact[1])
    return Bounds(low=least, high=most, bits=width(least, most))


def cannot_overflow(dot: Dot, low_x: int, high_x: int) -> np.ndarray:
    """Whether no register of the accumulator can overflow for inputs in low_x..high_x: bool `[o]`."""
    found = registers(dot, low_x, high_x)
    return np.logical_and.reduce([*found.fits, found.cast, found.back, found.end])


def width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The smallest two's complement width that holds both low[i] and high[i]."""
    pairs = zip(map(int, low), map(int, high), strict=True)
    return np.array([1 + max((v if v >= 0 else ~v).bit_length() for v in pair) for pair in pairs], np.int64)
