"""The bounds hold for every input, are attained, and are the ones that planning may rely on."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nets import every_op
from programs import any_dot, any_input, dot_program, other_program

from intsim import TARGETS, oracle, ranges
from intsim.integers import IntType, Overflow
from intsim.lower import lower
from intsim.ops.dot import accumulators
from intsim.program import Clip, Dot, Rescale, Window
from intsim.target import Bias, FixedPoint, Level, Mac

unhurried = settings(deadline=None, max_examples=80)

NO_RESCALE = Rescale(
    rule=FixedPoint(), zero_point=0, low=-128, high=127, multiplier=np.array([1]), exponent=np.array([0])
)


def gemm(weight: list[list[int]], bias: int = 0, *, when: str = "end", zx: int = 0, zw: int = 0, **mac: object) -> Dot:
    """A matrix product, on a machine whose levels and zero points are given."""
    return Dot(
        window=Window(kernel=(), strides=(), dilations=(), begin=(), end=()),
        group=1,
        weight=np.array(weight, np.int8),
        weight_zero_point=np.array([zw]),
        bias=np.full(len(weight), bias),
        input_zero_point=zx,
        mac=Mac(**{"levels": (Level(bits=None),), **mac}),
        bias_rule=Bias(when=when),
        rescale=NO_RESCALE,
    )


def every_partial_sum(dot: Dot, low: int, high: int) -> set[int]:
    """By brute force: of every input, every order of the products, every sum on the way, the bias where it belongs."""
    zx, zw, bias = dot.input_zero_point, int(dot.weight_zero_point[0]), int(dot.bias[0])
    folded = dot.mac.zero_point == "folded"
    seen = set()
    for x in itertools.product(range(low, high + 1), repeat=dot.weight.shape[1]):
        exact = [(v - zx) * (int(w) - zw) for v, w in zip(x, dot.weight[0], strict=True)]
        products = [v * int(w) for v, w in zip(x, dot.weight[0], strict=True)] if folded else exact
        owed = bias + sum(exact) - sum(products)
        start = owed if dot.bias_rule.when == "init" else 0
        for order in itertools.permutations(products):
            seen.update(start + total for total in itertools.accumulate(order, initial=0))
        seen.add(sum(exact) + bias)
    return seen


@pytest.mark.parametrize("when", ["init", "end"])
@pytest.mark.parametrize("zero_point", ["in_operand", "folded"])
def test_the_bounds_are_attained_by_some_input_in_some_order(when: str, zero_point: str) -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        low = int(rng.integers(-2, 2))
        high = low + int(rng.integers(0, 3))
        zx = int(rng.integers(low, high + 1))
        dot = gemm(
            [rng.integers(-4, 5, 3).tolist()], int(rng.integers(-9, 10)), when=when, zx=zx, zero_point=zero_point
        )
        seen = every_partial_sum(dot, low, high)
        found = ranges.bounds(dot, low, high)
        assert (found.low[0], found.high[0]) == (min(seen), max(seen))


def test_the_bounds_hold_with_weight_zero_points_too() -> None:
    """Where what is owed depends on the inputs, the bound is safe; it need not be attained."""
    rng = np.random.default_rng(1)
    for _ in range(60):
        zero_point = str(rng.choice(["in_operand", "folded"]))
        dot = gemm([rng.integers(-4, 5, 3).tolist()], 5, when="init", zx=1, zw=2, zero_point=zero_point)
        seen = every_partial_sum(dot, -1, 1)
        found = ranges.bounds(dot, -1, 1)
        assert found.low[0] <= min(seen)
        assert max(seen) <= found.high[0]


def test_the_width_is_the_smallest_that_holds_both_ends() -> None:
    ends = [(0, 0), (-1, 0), (0, 1), (-2, 1), (-128, 127), (-129, 0), (0, 128), (1, 5), (-(2**63), 2**63 - 1)]
    low, high = (np.array(side, object) for side in zip(*ends, strict=True))
    found = ranges.width(low, high).tolist()
    for (least, most), bits in zip(ends, found, strict=True):
        assert -(1 << bits - 1) <= least
        assert most < 1 << bits - 1
        assert bits == 1 or not (-(1 << bits - 2) <= least and most < 1 << bits - 2)


def test_the_widths_of_the_literature() -> None:
    """784 products of u8 and s8n at their largest need 26 bits; 576 as well; 9 of them 20 (robustness.md 4.1)."""
    for products, bits in ((784, 26), (576, 26), (4608, 29), (25, 21), (9, 20)):
        dot = gemm([[-128] * products], zero_point="folded")
        assert ranges.bounds(dot, 0, 255).bits.tolist() == [bits]


@unhurried
@given(st.integers(0, 2**60))
def test_what_is_proven_never_overflows(seed: int) -> None:
    """On random inputs and on those that push each channel to its ends."""
    rng = np.random.default_rng(seed)
    dot, _shape, source, _ = any_dot(rng)
    program = dot_program(np.random.default_rng(seed))
    x = any_input(rng, program, 3)["x0"]
    proven = ranges.cannot_overflow(dot, source.type.low, source.type.high)
    found = ranges.registers(dot, source.type.low, source.type.high)
    for o in range(len(dot.weight)):
        worst = np.where(dot.weight[o] > dot.weight_zero_point.mean(), source.type.high, source.type.low)
        if dot.window.kernel == () and dot.group == 1:
            x = np.concatenate([x, worst.reshape(1, -1), (source.type.low + source.type.high - worst).reshape(1, -1)])
    inside = np.moveaxis(x, 1, -1) if x.ndim > 2 else x
    acc, counts = accumulators(dot, inside.astype(object))
    assert acc.shape[1:-1] == program.tensors["y"].shape[:-1]
    flat = acc.reshape(-1, len(dot.weight))
    assert (flat.min(0) >= found.value[0]).all()
    assert (flat.max(0) <= found.value[1]).all()
    if proven.all():
        assert counts.adds == 0
    if (found.exact & proven).all():
        assert counts.persistent == 0


def test_random_sums_are_proven_sometimes_and_sometimes_not() -> None:
    """Otherwise the test above would be about nothing."""
    outcomes = []
    for seed in range(200):
        dot, _, source, _ = any_dot(np.random.default_rng(seed))
        outcomes += ranges.cannot_overflow(dot, source.type.low, source.type.high).tolist()
    assert 0.2 < np.mean(outcomes) < 0.8


def test_one_bit_less_is_not_proven_and_does_overflow() -> None:
    """A register of exactly the bound's width is proven; with one bit less, the worst input overflows it."""
    rng = np.random.default_rng(2)
    for overflow in (Overflow.WRAP, Overflow.SATURATE):
        for _ in range(20):
            weight = np.sort(rng.integers(-128, 128, 9))[::-1].tolist()
            dot = gemm([weight])
            bits = int(ranges.bounds(dot, 0, 255).bits[0])
            fits, short = (replace(dot, mac=Mac(levels=(Level(bits=b, overflow=overflow),))) for b in (bits, bits - 1))
            assert ranges.cannot_overflow(fits, 0, 255).all()
            assert not ranges.cannot_overflow(short, 0, 255).any()
            signs = [np.where(np.array(weight) > 0, 255, 0), np.where(np.array(weight) < 0, 255, 0)]
            for machine, events in ((fits, 0), (short, 1)):
                _, counts = accumulators(machine, np.array(signs, object))
                assert (counts.outputs > 0) == events


def test_tiles_are_bounded_tile_by_tile() -> None:
    """Two tiles of two, and their sum: what clamps in a tile reaches the sum as the limit."""
    levels = (Level(size=2, bits=4, overflow=Overflow.SATURATE), Level(bits=4, overflow=Overflow.SATURATE))
    found = ranges.registers(gemm([[3, 4, -8, 7], [3, 5, 0, 0], [7, 0, 7, 7]], levels=levels), 0, 1)
    assert [fits.tolist() for fits in found.fits] == [[True, False, False], [False, True, False]]
    assert [side.tolist() for side in found.sums[0]] == [[-8, 0, 0], [7, 8, 14]]
    assert [side.tolist() for side in found.sums[1]] == [[-8, 0, 0], [14, 7, 14]]


@unhurried
@given(st.integers(0, 2**60), st.booleans())
def test_every_tensor_stays_in_its_interval(seed: int, dots: bool) -> None:
    rng = np.random.default_rng(seed)
    program = dot_program(rng) if dots else other_program(rng)
    traced = oracle.run(program, any_input(rng, program, 2), trace=["*"]).traced
    for name, (low, high) in ranges.intervals(program).items():
        assert low <= traced[name].min()
        assert traced[name].max() <= high


def test_a_relu_makes_the_bounds_of_what_follows_narrower() -> None:
    target = TARGETS["litert_ref"]
    program = lower(every_op(target.scheme), target)
    steps = tuple(
        replace(step, compute=Clip(low=-128, high=127)) if step.name == "relu" else step for step in program.steps
    )
    clipped = ranges.accumulator_bounds(program)["depthwise"]
    free = ranges.accumulator_bounds(replace(program, steps=steps))["depthwise"]
    assert (clipped.low >= free.low).all()
    assert (clipped.high <= free.high).all()
    assert (clipped.low > free.low).any()
    assert set(ranges.accumulator_bounds(program)) == {"conv", "depthwise", "upwards", "gemm"}


def test_bounds_of_8_bit_integers_fit_the_products_own_types() -> None:
    """The data type bound of robustness.md 4.1 is never smaller than the exact one."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        k = int(rng.integers(1, 300))
        kind = IntType(int(rng.integers(2, 9)), signed=False)
        dot = gemm(rng.integers(-128, 128, (4, k)).tolist(), zero_point="folded")
        alpha = np.log2(k) + kind.bits + 7
        assert (ranges.bounds(dot, kind.low, kind.high).bits <= np.ceil(alpha + np.log2(1 + 2.0**-alpha) + 1)).all()


def test_zeroing_loses_what_a_sum_started_from_and_the_bounds_know_it() -> None:
    """From 100, +50 leaves 7 bits and gives 0; the products that follow go below what 100 would have allowed."""
    dot = gemm([[50, -60]], 40, when="init", levels=(Level(bits=7, overflow=Overflow.SATURATE_ZERO),))
    (acc,), _ = accumulators(dot, np.array([[1, 1]], object))
    low, high = ranges.registers(dot, 0, 1).value
    assert low[0] <= acc[0] <= high[0]
    assert acc[0] == -60
