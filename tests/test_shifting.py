"""Machines that shift every product before they add it, and those that write their sums back: engine against oracle."""

from collections import Counter

import numpy as np
import pytest
from programs import any_input, any_overflow, dot_program
from test_engine import agree

from intsim.integers import IntType, Overflow, Rounding
from intsim.target import Cast, Level, Mac


def used(mac: Mac, x: IntType, seeds: range) -> Counter[str]:
    """The kernels of random sums of products on that machine, all of them equal to the oracle."""
    found: Counter[str] = Counter()
    for seed in seeds:
        rng = np.random.default_rng(seed)
        program = dot_program(rng, mac=mac, x=x)
        found[agree(program, any_input(rng, program, 2))[0].removeprefix("by arrays: ").split(";")[0]] += 1
    return found


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("zero_point", ["in_operand", "folded"])
def test_products_are_shifted_one_by_one_with_every_rounding(mode: Rounding, zero_point: str) -> None:
    """By the fast kernel, where the sums wrap to no more bits than the products, or fit."""
    found: Counter[str] = Counter()
    for bits, seen in ((12, None), (32, 2)):
        to = Cast(bits=bits, shift=5, rounding=mode, fraction_bits=seen)
        mac = Mac(levels=(Level(bits=min(bits, 16)),), product=to, zero_point=zero_point)
        found += used(mac, IntType(8), range(8))
    assert found["shifted products"] >= 6, found


def test_products_that_saturate_keep_their_order() -> None:
    to = Cast(bits=9, shift=4, rounding=Rounding.HALF_EVEN, overflow=Overflow.SATURATE)
    found = used(Mac(levels=(Level(bits=12, overflow=Overflow.SATURATE),), product=to), IntType(8), range(20))
    assert found["tree"] >= 3, found


@pytest.mark.parametrize("shift", [0, 3])
def test_sums_of_every_kind_are_written_back(shift: int) -> None:
    """Exact, wrapping, saturating and in trees; to registers that hold them or not, the bias before or after."""
    found: Counter[str] = Counter()
    for seed in range(80):
        rng = np.random.default_rng(seed)
        levels = (Level(size=int(rng.integers(1, 5)), bits=14, overflow=any_overflow(rng)),) if seed % 2 else ()
        outer = Level(bits=int(rng.integers(12, 40)), overflow=any_overflow(rng))
        back = Cast(
            bits=int(rng.integers(6, 33)),
            shift=shift,
            rounding=list(Rounding)[seed % len(Rounding)],
            overflow=any_overflow(rng),
            fraction_bits=[None, 2][seed % 2],
        )
        found += used(Mac(levels=(*levels, outer), write_back=back), IntType(8), range(seed, seed + 1))
    assert sum(n for kernel, n in found.items() if kernel.endswith("written back")) >= 20, found
    assert len(found) >= 5
