"""Requantization in vectors equals its definition, integer by integer: ties, ends, every rounding, every rule."""

from collections import Counter

import numpy as np
import pytest

from intsim.arithmetic import requantized
from intsim.engine.rescale import plan_rescale
from intsim.engine.settling import in_vectors
from intsim.integers import Rounding
from intsim.program import Rescale
from intsim.target import FixedPoint, Float32Scale, PowerOfTwo
from intsim_kernels.cpu import LANES
from intsim_kernels.epilogue import settling
from intsim_kernels.native import address, run

COLUMNS = 4 * LANES
reached: Counter[str] = Counter()


def rescale_of(rule: object, rng: np.random.Generator, low: int, high: int) -> Rescale:
    zero = int(rng.integers(low, high + 1)) if rng.integers(2) else 0
    about = {"rule": rule, "zero_point": zero, "low": low, "high": high}
    match rule:
        case PowerOfTwo():
            return Rescale(**about, exponent=rng.integers(-12, 1, COLUMNS))
        case Float32Scale():
            return Rescale(**about, multiplier=rng.choice([0.5, 0.25, 0.0123, 1.5], COLUMNS).astype(np.float32))
        case FixedPoint():
            odd = rng.integers(1 << 30, 1 << 31, COLUMNS)
            even = np.full(COLUMNS, 1 << 30)  # a power of two: many ties
            multiplier = np.where(rng.integers(0, 2, COLUMNS) == 1, odd, even)
            return Rescale(**about, multiplier=multiplier, exponent=rng.integers(-9, rng.choice([0, 2]), COLUMNS))
    raise AssertionError(rule)


def sums(rng: np.random.Generator, largest: int) -> np.ndarray:
    """Small ones, ends, neighbours of powers of two."""
    powers = 1 << np.arange(max(1, largest.bit_length() - 1))
    special = np.concatenate([sign * powers + d for sign in (-1, 1) for d in (-1, 0, 1)] + [[-largest, largest]])
    drawn = rng.integers(-largest, largest + 1, 9 * COLUMNS)
    small = rng.integers(-40, 41, 4 * COLUMNS)
    found = np.clip(np.concatenate([special, drawn, small]), -largest, largest)
    return np.resize(found, (-(-len(found) // COLUMNS), COLUMNS)).astype(np.int32)


@pytest.mark.parametrize("rounding", Rounding)
@pytest.mark.parametrize("to", ["uint8", "int16", "int32"])
def test_every_rule_and_rounding_equals_its_definition(to: str, rounding: Rounding) -> None:
    rng = np.random.default_rng(list(Rounding).index(rounding))
    rules = (
        PowerOfTwo(rounding=rounding),
        FixedPoint(rounding=rounding),
        FixedPoint(rounding=rounding, zero_point="before"),
        FixedPoint(first=Rounding.HALF_UP, rounding=rounding),
        Float32Scale(),
        Float32Scale(zero_point="before"),
    )
    low, high = (0, 255) if to == "uint8" else (-32768, 32767)
    for rule in rules:
        for largest in (300, (1 << 24) + 7, (1 << 31) - 1):
            rescale = rescale_of(rule, rng, low, high)
            requantizer = plan_rescale(rescale, COLUMNS, (-largest, largest))
            found = in_vectors(requantizer, COLUMNS)
            if found is None:
                continue
            reached[found.rule] += 1
            acc = sums(rng, largest)
            out = np.full(acc.shape, 77, to)
            arrays = [np.ascontiguousarray(array) for array in found.arrays.values()]
            ends = (found.after, found.low, found.high)
            words = (acc.ctypes.data, COLUMNS, out.ctypes.data, 0, *ends, *(array.ctypes.data for array in arrays))
            parameters = np.array(words, np.int64)
            routine = settling(found.rule, to, tuple(found.arrays), found.lanes)
            calls = np.array([[address(routine), parameters.ctypes.data]], np.int64)
            run(np.array([[0, 1, len(acc), 1 << 40]], np.int64), calls, 0, 1)
            expected = [[requantized(int(v), rescale, c) for c, v in enumerate(row)] for row in acc]
            np.testing.assert_array_equal(out, expected, err_msg=f"{rule} up to {largest}")


def test_every_rule_was_reached() -> None:
    """The test before would prove nothing of a rule that is never chosen."""
    for rounding in Rounding:
        test_every_rule_and_rounding_equals_its_definition("int16", rounding)
    assert set(reached) == {"doubled", "shift", "product", "high", "float32"}, reached
