"""What cannot overflow: exact bounds of every partial sum, per output channel and per level of the accumulator."""

import numpy as np
from msgspec import Struct

from intsim.integers import Overflow, Rounding
from intsim.program import Add, AveragePool, Clip, Convert, Dot, Offset, Pad, Program
from intsim.target import Bias, Cast, Level

Interval = tuple[int, int]

# Registers that hold whatever does not clamp or wrap; clamping moves a sum towards 0, so it stays inside its bounds.
_CLAMPS = (Overflow.SATURATE, Overflow.SATURATE_SYM, Overflow.SATURATE_ZERO)


class Bounds(Struct, frozen=True, kw_only=True, eq=False):
    """The least and the largest value that any sum takes on the way, per output channel `[o]`, int64.

    Every partial sum in every order of the products counts, with the bias where the machine puts it. `bits`: the
    smallest two's complement width that holds them all.
    """

    low: np.ndarray
    high: np.ndarray
    bits: np.ndarray


class Registers(Struct, frozen=True, kw_only=True, eq=False):
    """What each register of an accumulator meets, per output channel: int64 `[o]` arrays, and what is proven.

    `low`, `high`: the sums that enter each level (inner to outer, the start included), before its overflow; `fits`:
    none of them can overflow there. `cast`: no product is changed by its register. `total`: low and high of the
    outermost level's final value and `owed`: of what is added at the end, `end`: that add cannot overflow.
    """

    low: tuple[np.ndarray, ...]
    high: tuple[np.ndarray, ...]
    fits: tuple[np.ndarray, ...]
    cast: np.ndarray
    result: tuple[np.ndarray, np.ndarray]
    end: np.ndarray
    exact: np.ndarray


def accumulator_bounds(program: Program) -> dict[str, Bounds]:
    """The bounds of every sum of products, by step name, from the types and clips before it."""
    known = intervals(program)
    return {
        step.name: bounds(step.compute, *known[step.inputs[0]])
        for step in program.steps
        if isinstance(step.compute, Dot)
    }


def bounds(dot: Dot, low_x: int, high_x: int) -> Bounds:
    """The bounds of one sum of products for inputs in low_x..high_x (22).

    S- = sum of min(0, p_low), S+ = sum of max(0, p_high) over the products' own bounds; a bias at the start shifts
    both, a bias at the end shifts the final value. Machines that fold their zero points sum raw integers.
    """
    low, high = products(dot, low_x, high_x)
    owed_low, owed_high = owed(dot, low_x, high_x)
    below, above = np.minimum(low, 0).sum(1), np.maximum(high, 0).sum(1)
    if dot.bias_rule.when == "init":
        least, most = np.minimum(owed_low + below, owed_low), np.maximum(owed_high + above, owed_high)
    else:
        final = exact_sum(dot, low_x, high_x)
        least, most = np.minimum(below, final[0]), np.maximum(above, final[1])
    return Bounds(low=least, high=most, bits=width(least, most))


def cannot_overflow(dot: Dot, low_x: int, high_x: int) -> np.ndarray:
    """Whether, for inputs in low_x..high_x, no register of the accumulator can overflow: bool `[o]`."""
    found = registers(dot, low_x, high_x)
    return np.logical_and.reduce([*found.fits, found.cast, found.end])


def width(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The smallest two's complement width that holds low..high, elementwise; 1 for 0..0."""
    return np.array(
        [max((-l - 1 if l < 0 else l).bit_length(), (h if h >= 0 else -h - 1).bit_length()) + 1
         for l, h in zip(low.tolist(), high.tolist(), strict=True)],
        np.int64,
    )  # fmt: skip
