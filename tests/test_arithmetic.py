"""The arithmetic against definitions that were made elsewhere: decimal, closed forms, published vectors."""

import decimal
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim.arithmetic import (
    accumulated,
    bounded,
    encoded,
    factors,
    fixed_point,
    held,
    multiply_add,
    power_of_two,
    requantized,
    rounded,
    rounded_float,
    shifted,
)
from intsim.integers import Overflow, Rounding
from intsim.target import (
    Cast,
    FixedPoint,
    Float32Scale,
    Float64Scale,
    Level,
    Mac,
    PowerOfTwo,
    Reciprocal,
    Thresholds,
)

DECIMAL = {
    Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.CEIL: decimal.ROUND_CEILING,
    Rounding.TO_ZERO: decimal.ROUND_DOWN,
    Rounding.AWAY: decimal.ROUND_UP,
    Rounding.HALF_AWAY: decimal.ROUND_HALF_UP,
    Rounding.HALF_TO_ZERO: decimal.ROUND_HALF_DOWN,
    Rounding.HALF_EVEN: decimal.ROUND_HALF_EVEN,
}


@pytest.mark.parametrize("mode", DECIMAL)
def test_rounding_agrees_with_the_decimal_module(mode: Rounding) -> None:
    for n, shift in itertools.product(range(-512, 512), range(7)):
        exact = decimal.Decimal(n) / (1 << shift)
        assert rounded(n, 1 << shift, mode) == int(exact.to_integral_value(DECIMAL[mode]))


def test_the_other_roundings_are_what_their_names_say() -> None:
    for n, shift in itertools.product(range(-512, 512), range(1, 7)):
        d, half = 1 << shift, Fraction(1, 2)
        assert rounded(n, d, Rounding.HALF_UP) == math.floor(Fraction(n, d) + half)
        assert rounded(n, d, Rounding.HALF_DOWN) == math.ceil(Fraction(n, d) - half)
        assert rounded(n, d, Rounding.TO_ODD) == (n >> shift) | (n & (d - 1) != 0)


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**9), st.sampled_from(list(Rounding)))
def test_no_rounding_moves_a_number_by_one_or_more(n: int, d: int, mode: Rounding) -> None:
    distance = abs(Fraction(n, d) - rounded(n, d, mode))
    assert distance < (2 if mode is Rounding.CARRY_SHIFT and n < 0 else 1)
    if mode.value.startswith("half"):
        assert distance <= Fraction(1, 2)


@given(st.floats(-1e15, 1e15), st.sampled_from([Rounding.FLOOR, Rounding.CEIL, Rounding.HALF_EVEN]))
def test_floats_are_rounded_exactly(v: float, mode: Rounding) -> None:
    names = {Rounding.FLOOR: math.floor, Rounding.CEIL: math.ceil, Rounding.HALF_EVEN: round}
    assert rounded_float(v, mode) == names[mode](v)


def test_a_negative_right_shift_goes_left() -> None:
    assert shifted(-3, -4, Rounding.FLOOR) == -48


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_registers_hold_what_two_s_complement_says(bits: int) -> None:
    low, high = -(1 << bits - 1), (1 << bits - 1) - 1
    for x in range(-(4 << bits), 4 << bits):
        wrapped = x & ((1 << bits) - 1)
        wrapped -= (wrapped > high) << bits
        assert held(x, bits, Overflow.WRAP) == held(x, bits, Overflow.FORBID) == wrapped
        assert held(x, bits, Overflow.SATURATE) == int(np.clip(x, low, high))
        assert held(x, bits, Overflow.SATURATE_SYM) == int(np.clip(x, -high, high))
        assert held(x, bits, Overflow.SATURATE_ZERO) == (x if low <= x <= high else 0)
        assert held(x, None, Overflow.SATURATE) == x
        assert low <= held(x, bits, Overflow.WRAP_SM) <= high


def test_sign_magnitude_wrapping_follows_the_published_values() -> None:
    published = {7: 7, 8: 7, 9: 6, -8: -8, -9: -8, -10: -7, -16: -1}  # ap_fixed<4,4,...,AP_WRAP_SM>, targets of 6.10
    assert {x: held(x, 4, Overflow.WRAP_SM) for x in published} == published


# ---- accumulation ----------------------------------------------------------------------------------------------


def mac(*levels: Level, product: Cast | None = None) -> Mac:
    return Mac(levels=levels, product=product)


def test_a_saturating_accumulator_depends_on_the_order() -> None:
    eight = mac(Level(bits=8, overflow=Overflow.SATURATE))
    assert accumulated([100, 100, -100], eight) == (27, 1)
    assert accumulated([100, -100, 100], eight) == (100, 0)


def test_a_wrapping_accumulator_heals() -> None:
    assert accumulated([100, 100, -100], mac(Level(bits=8)))[0] == 100


def test_pairs_saturate_before_the_outer_sum() -> None:
    pairs = mac(Level(size=2, bits=16, overflow=Overflow.SATURATE), Level(bits=32))
    assert accumulated([255 * 127, 255 * 127, 1, 2, 3], pairs) == (32767 + 3 + 3, 1)


def test_only_the_first_group_is_formed_where_the_level_says_so() -> None:
    first = mac(Level(size=2, bits=4, overflow=Overflow.SATURATE, first_only=True), Level())
    assert accumulated([5, 5, 100, 100], first) == (7 + 200, 1)


def test_a_product_passes_its_own_register() -> None:
    narrow = mac(Level(), product=Cast(bits=8, shift=2, overflow=Overflow.SATURATE))
    assert accumulated([1000, 7], narrow) == (127 + 1, 1)


def test_the_start_passes_the_outer_register() -> None:
    assert accumulated([1], mac(Level(bits=8, overflow=Overflow.SATURATE)), start=500) == (127, 2)


@given(st.lists(st.integers(-300, 300), min_size=1, max_size=12), st.integers(2, 12))
def test_wrapping_after_every_add_is_wrapping_once(products: list[int], bits: int) -> None:
    assert accumulated(products, mac(Level(bits=bits)))[0] == held(sum(products), bits, Overflow.WRAP)


def test_the_last_level_must_take_all_that_is_left() -> None:
    with pytest.raises(ValueError, match="last level"):
        Mac(levels=(Level(size=4, bits=8),))


# ---- requantization --------------------------------------------------------------------------------------------

LIMITS = {"zero_point": 0, "low": -(2**31), "high": 2**31 - 1}
DOUBLE = FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)


@given(st.floats(1e-12, 1e6))
def test_a_multiplier_has_its_top_bit_and_is_close(d: float) -> None:
    m, e = fixed_point(d, FixedPoint())
    if m:
        assert 1 << 30 <= m < 1 << 31
        assert abs(Fraction(m) * Fraction(2) ** (e - 31) / Fraction(d) - 1) <= Fraction(1, 2**31)


def test_a_multiplier_that_rounds_up_to_two_to_the_bits_is_halved() -> None:
    assert fixed_point(1 - 2**-40, FixedPoint()) == (1 << 30, 1)


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-6, 0.49))
def test_double_rounding_is_the_closed_form_of_tosa(acc: int, d: float) -> None:
    rescale = encoded(DOUBLE, d, [1.0], 1.0, **LIMITS)
    q, s = int(rescale.multiplier[0]), 31 - int(rescale.exponent[0])
    sign = 1 if acc >= 0 else -1
    expected = (acc * q + (1 << s - 1) + sign * (1 << 30)) >> s if s > 31 else (acc * q + (1 << 30)) >> 31
    assert requantized(acc, rescale, 0) == expected


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-6, 0.9))
def test_single_rounding_is_one_shift(acc: int, d: float) -> None:
    rescale = encoded(FixedPoint(rounding=Rounding.HALF_UP), d, [1.0], 1.0, **LIMITS)
    q, s = int(rescale.multiplier[0]), 31 - int(rescale.exponent[0])
    assert requantized(acc, rescale, 0) == (acc * q + (1 << s - 1)) >> s


def test_float32_scales_round_the_accumulator_first() -> None:
    rescale = encoded(Float32Scale(), 0.5, [1.0], 1.0, **LIMITS)
    acc = (1 << 24) + 1  # not a float32: rounds to 2^24, so half of it is whole
    assert requantized(acc, rescale, 0) == 1 << 23


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-6, 0.9))
def test_float32_scales_are_numpy_s_float32(acc: int, d: float) -> None:
    rescale = encoded(Float32Scale(), d, [0.5], 2.0, zero_point=3, low=-128, high=127)
    v = np.float32(acc) * (np.float32(d) * np.float32(0.5) / np.float32(2.0))
    assert requantized(acc, rescale, 0) == int(np.clip(np.rint(v), -131, 124)) + 3


@given(st.integers(-(2**31), 2**31 - 1), st.floats(1e-6, 0.9))
def test_float64_scales_round_half_away(acc: int, d: float) -> None:
    v = float(acc) * d
    expected = math.copysign(math.floor(abs(v) + 0.5), v)
    assert requantized(acc, encoded(Float64Scale(), d, [1.0], 1.0, **LIMITS), 0) == expected


@given(st.integers(-(2**20), 2**20), st.floats(1e-3, 0.9))
def test_thresholds_count_what_half_up_of_the_exact_scale_gives(acc: int, d: float) -> None:
    rescale = encoded(Thresholds(), d, [1.0], 1.0, zero_point=5, low=0, high=15)
    expected = math.floor(Fraction(acc) * Fraction(d) + Fraction(1, 2)) + 5
    assert requantized(acc, rescale, 0) == max(0, min(15, expected))


def test_a_power_of_two_is_asked_for_and_given() -> None:
    assert power_of_two(0.125) == -3
    with pytest.raises(ValueError, match="no power of two"):
        encoded(PowerOfTwo(), 0.3, [1.0], 1.0, **LIMITS)


def test_the_zero_point_before_the_rounding_flips_ties() -> None:
    odd = {"zero_point": 1, "low": -128, "high": 127}
    after = encoded(PowerOfTwo(rounding=Rounding.HALF_EVEN), 0.5, [1.0], 1.0, **odd)
    before = encoded(PowerOfTwo(rounding=Rounding.HALF_EVEN, zero_point="before"), 0.5, [1.0], 1.0, **odd)
    assert (requantized(1, after, 0), requantized(1, before, 0)) == (1, 2)


def test_a_middle_register_saturates_before_the_zero_point() -> None:
    rule = PowerOfTwo(middle=Cast(bits=4, overflow=Overflow.SATURATE))
    assert requantized(100, encoded(rule, 1.0, [1.0], 1.0, zero_point=3, low=-128, high=127), 0) == 10


def test_outputs_wrap_where_the_machine_does() -> None:
    assert bounded(128, -128, 127, Overflow.WRAP) == -128
    assert bounded(300, 0, 255, Overflow.SATURATE_ZERO) == 0


@given(st.integers(-300, 300), st.floats(2**-7, 4, width=32), st.floats(-300, 300, width=32))
def test_a_fused_multiply_add_rounds_once(x: int, m: float, addend: float) -> None:
    exact = Fraction(x) * Fraction(m) + Fraction(addend)
    y = float(multiply_add(x, np.float32(m), np.float32(addend), True))
    up, down = np.nextafter(np.float32(y), np.float32(np.inf)), np.nextafter(np.float32(y), -np.float32(np.inf))
    distance = abs(Fraction(y) - exact)
    assert distance <= abs(Fraction(float(up)) - exact)
    assert distance <= abs(Fraction(float(down)) - exact)


def test_reciprocals_are_to_the_nearest() -> None:
    for n in range(1, 400):
        assert abs(Fraction(factors(Reciprocal(bits=16), (n,))[0][0]) - Fraction(1 << 16, n)) <= Fraction(1, 2)
