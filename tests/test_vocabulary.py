"""The rarer words of the vocabulary against the formulas of the machines that they were made for."""

import math
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from intsim import arithmetic
from intsim.arithmetic import (
    accumulated,
    cast,
    encoded,
    encoded_mean,
    factors,
    fdlibm,
    fixed_point,
    held,
    real,
    requantized,
    rounded,
)
from intsim.integers import Overflow, Rounding
from intsim.program import Add, Rescale
from intsim.target import (
    Cast,
    Factors,
    FixedPoint,
    Level,
    Mac,
    Reciprocal,
    RescaledSum,
    ShiftedAdd,
    ThreeRescales,
)

LIMITS: dict[str, Any] = {"zero_point": 0, "low": -(2**62), "high": 2**62 - 1}
ACC48 = st.integers(0, 47).flatmap(lambda bits: st.integers(-(2**bits), 2**bits))


# ---- roundings and casts ---------------------------------------------------------------------------------------


def test_the_carrying_shift_goes_down_below_zero_where_half_even_goes_up() -> None:
    """Quarters from -3 to 3: floor, then one step away from zero, also from a floor that was the nearest already."""
    quarters = {q: rounded(q, 4, Rounding.CARRY_SHIFT) for q in range(-12, 13)}
    assert [quarters[q] for q in range(0, 13)] == [rounded(q, 4, Rounding.HALF_EVEN) for q in range(0, 13)]
    assert [quarters[q] for q in range(-12, 0)] == [-3, -3, -4, -4, -2, -2, -2, -3, -1, -1, -2, -2]


def test_a_rounding_that_sees_16_bits_takes_the_rest_for_a_tie() -> None:
    """NVDLA's accumulator output shifts by 20, of which the rounding sees 16 bits: -3.4999990 becomes -3.5."""
    x, seen = int(-3.4999990 * 2**20), Cast(bits=32, shift=20, rounding=Rounding.HALF_AWAY, fraction_bits=16)
    assert cast(x, seen) == -4
    assert cast(x, Cast(bits=32, shift=20, rounding=Rounding.HALF_AWAY)) == -3
    assert cast(x, Cast(bits=32, shift=20, rounding=Rounding.HALF_AWAY, fraction_bits=20)) == -3


@given(st.integers(-(2**40), 2**40), st.integers(0, 16), st.sampled_from(Rounding))
def test_a_shift_by_no_more_than_is_seen_is_rounded_exactly(x: int, shift: int, mode: Rounding) -> None:
    plain = Cast(bits=64, shift=shift, rounding=mode)
    assert cast(x, plain) == cast(x, Cast(bits=64, shift=shift, rounding=mode, fraction_bits=16))


# ---- accumulators ----------------------------------------------------------------------------------------------


def test_a_sum_is_written_back_once_after_all_its_adds() -> None:
    """The inner register holds 2^33; only what is written back has to fit 8 bits, and only that counts as an event."""
    back = Cast(bits=8, shift=2, rounding=Rounding.HALF_AWAY, overflow=Overflow.SATURATE)
    mac = Mac(levels=(Level(bits=34, overflow=Overflow.SATURATE),), write_back=back)
    assert accumulated([600, -300, 2], mac) == (76, 0)  # 302 / 4 = 75.5: a rounding is no overflow
    assert accumulated([600, 300], mac) == (127, 1)
    assert accumulated([600], mac, start=-400) == (50, 0)


# ---- multipliers -----------------------------------------------------------------------------------------------

Q15 = FixedPoint(bits=31, keep=15, rounding=Rounding.HALF_UP)


@given(ACC48, st.floats(1e-12, 16))
def test_a_multiplier_of_which_15_bits_are_kept_is_that_of_16_bit_activations(acc: int, d: float) -> None:
    """TFLite 16x8: M = min((q + 2^15) >> 16, 0x7FFF), y = (acc * M + 2^(14 - e)) >> (15 - e), with q, e of 31 bits."""
    q, e = fixed_point(d, FixedPoint())
    kept = min((q + (1 << 15)) >> 16, 0x7FFF)
    rescale = encoded(Q15, d, [1.0], 1.0, **LIMITS)
    assert (int(rescale.multiplier[0]), int(rescale.exponent[0])) == (kept, e)
    assert requantized(acc, rescale, 0) == (acc * kept + (1 << 14 - e)) >> (15 - e)


@given(ACC48, st.floats(1e-9, 16))
def test_twice_a_result_may_wrap_before_it_is_rounded(acc: int, d: float) -> None:
    """CMSIS-NN's 64-bit requantization: t = (acc * M) >> (14 - e) cut to int32, y = (t + 1) >> 1."""
    rescale = encoded(FixedPoint(bits=31, keep=15, doubled=32), d, [1.0], 1.0, **LIMITS)
    m, e = int(rescale.multiplier[0]), int(rescale.exponent[0])
    twice = held((acc * m) >> (14 - e), 32, Overflow.WRAP)
    assert requantized(acc, rescale, 0) == (twice + 1) >> 1


def test_what_wraps_when_doubled_differs_from_2_to_the_30_on() -> None:
    plain, doubled = (encoded(r, 1.0, [1.0], 1.0, **LIMITS) for r in (Q15, FixedPoint(bits=31, keep=15, doubled=32)))
    for acc, same in (((1 << 30) - 1, True), (1 << 30, False), (-(1 << 30), True), (-(1 << 30) - 1, False)):
        assert (requantized(acc, plain, 0) == requantized(acc, doubled, 0)) == same


@given(st.integers(-(2**31), 2**31 - 1), st.lists(st.floats(1e-4, 1), min_size=1, max_size=5))
def test_channels_may_share_an_exponent_and_wrap_their_products(acc: int, scales: list[float]) -> None:
    """PULP: 8-bit factors k = floor(d * 2^s) over one shift s for all; k * acc wraps in int32, the shift floors."""
    wraps = Cast(bits=16)
    rule = FixedPoint(bits=8, encoding=Rounding.FLOOR, shared=True, product=32, rounding=Rounding.FLOOR, middle=wraps)
    rescale = encoded(rule, 1.0, scales, 1.0, zero_point=0, low=0, high=255)
    shift = 8 - math.frexp(max(scales))[1]
    for c, d in enumerate(scales):
        k = math.floor(Fraction(d) * 2**shift)
        assert k < 256
        y = held(held(acc * k, 32, Overflow.WRAP) >> shift, 16, Overflow.WRAP)
        assert requantized(acc, rescale, c) == max(0, min(255, y))


def test_a_shared_exponent_grows_where_the_largest_multiplier_rounds_up() -> None:
    rescale = encoded(FixedPoint(bits=8, shared=True), 1.0, [1 - 2**-12, 0.25], 1.0, **LIMITS)
    assert (rescale.multiplier.tolist(), rescale.exponent.tolist()) == ([128, 32], [1, 1])


def test_multipliers_need_not_be_normalized() -> None:
    rescale = encoded(FixedPoint(bits=20, normalized=False), 0.001, [1.0, 300.0], 1.0, **LIMITS)
    assert rescale.exponent.tolist() == [0, 0]
    expected = [rounded(*float(np.float32(v) * 2**20).as_integer_ratio(), Rounding.HALF_AWAY) for v in (0.001, 0.3)]
    assert rescale.multiplier.tolist() == expected


def test_a_mean_keeps_the_bits_of_its_multiplier_after_dividing_it() -> None:
    rule = RescaledSum(requantize=Q15, encoding="tflite")
    full = RescaledSum(requantize=FixedPoint(), encoding="tflite")
    for n in (1, 2, 3, 49, 1000):
        kept, whole = (encoded_mean(r, (0.37, 0), 0.5, n, zero_point=0, low=-9, high=9) for r in (rule, full))
        assert kept.exponent.tolist() == whole.exponent.tolist()
        assert int(kept.multiplier[0]) == min((int(whole.multiplier[0]) + (1 << 15)) >> 16, 0x7FFF)


# ---- averages --------------------------------------------------------------------------------------------------


def test_a_normalized_reciprocal_is_tosa_s() -> None:
    for n in range(1, 2000):
        k = 32 - _leading_zeros(n - 1)
        assert factors(Reciprocal(bits=30, normalized=True), (n,)) == [((((1 << 30) + 1) << k) // n, 30 + k)]


def _leading_zeros(v: int) -> int:
    return next((i for i in range(32) if v >> (31 - i) & 1), 32)


def test_two_stages_take_the_columns_first() -> None:
    stages = factors(Reciprocal(bits=16, stages=2), (2, 5))
    assert stages == [((65536 + 2) // 5, 16), (32768, 16)]


DPU = Factors(factors=((3, 3, 7, 6), (5, 5, 10, 8), (6, 6, 7, 8), (3, 6, 7, 8), (6, 3, 7, 8), (7, 7, 21, 10)))


def test_factors_stand_in_their_table_or_are_the_nearest() -> None:
    assert factors(DPU, (3, 3)) == [(7, 6)]
    assert factors(DPU, (3, 6)) == [(7, 8)]
    assert factors(DPU, (2, 2)) == [(1, 2)]
    assert factors(DPU, (4,)) == [(1, 2)]
    with pytest.raises(ValueError, match="up to two axes"):
        factors(DPU, (3, 3, 3))


def test_the_search_for_a_factor_is_the_published_one_in_floats() -> None:
    """Vitis AI's quantizer: s from 0 to below ceil(log2(128 n)), the first factor whose quotient is the nearest."""
    for n in range(1, 300):
        best, nearest = (0, 0), 1.0
        for s in range(math.ceil(math.log2(128 * n))):
            factor = round(2**s / n)
            distance = abs(factor / 2**s - 1 / n)
            if distance < nearest:
                best, nearest = (factor, s), distance
        assert factors(Factors(), (1, n)) == [best]


# ---- sums ------------------------------------------------------------------------------------------------------


def test_the_rule_for_powers_of_two_needs_one_operand_at_the_output_s_scale() -> None:
    shifts = ShiftedAdd()
    rule = ThreeRescales(left_shift=15, powers_of_two=shifts)
    assert arithmetic.add_rule(rule, 2**-8, 2**-7, 2**-7) is shifts
    assert arithmetic.add_rule(rule, 2**-8, 2**-9, 2**-7) is rule
    assert arithmetic.add_rule(rule, 2**-8, 0.3, 2**-8) is rule
    assert arithmetic.add_rule(ThreeRescales(), 2**-8, 2**-8, 2**-8) == ThreeRescales()


def test_a_sum_of_shifts_is_litert_s() -> None:
    """y = rnd(a / 2^ka) + rnd(b / 2^kb), ties away from zero, saturated: int16 ADD with three powers of two."""
    numbers = arithmetic.add_numbers(ShiftedAdd(), (2**-10, 0), (2**-7, 0), (2**-7, 0))
    add = Add(rule=ShiftedAdd(), zero_points=(0, 0), zero_point=0, low=-32768, high=32767, **numbers)
    assert numbers["exponent"].tolist() == [3, 0]
    assert [arithmetic.added(a, 100, add) for a in (4, -4, 3, -5, 12)] == [101, 99, 100, 99, 102]
    assert arithmetic.added(32767, 32767, add) == 32767


def test_a_rescale_tells_its_rule_and_two_numbers_a_channel() -> None:
    rescale = encoded(FixedPoint(keep=15, shared=True), 1.0, [0.3, 0.001], 1.0, **LIMITS)
    assert isinstance(rescale, Rescale)
    assert rescale.multiplier.shape == rescale.exponent.shape == (2,)
    assert rescale.multiplier.max() < 1 << 15


# ---- functions and registers of LiteRT -------------------------------------------------------------------------

TANHF = (
    (0x31668526, 0x31668526),
    (0x317D5431, 0x317D5431),
    (0x3E16495F, 0x3E153780),
    (0x3D8B131A, 0x3D8ADC79),
    (0x3E8D2EFB, 0x3E89B5F1),
    (0x3EC31996, 0x3EBA2CCB),
    (0x3F73AE29, 0x3F3D9A04),
    (0x3F4AAF7D, 0x3F28CE08),
    (0x3FAB26CD, 0x3F5EF87E),
    (0x3FA145D7, 0x3F59DE52),
    (0x401C8475, 0x3F7C2EA6),
    (0x400EA5C5, 0x3F7A2276),
    (0x4129E056, 0x3F800000),
    (0x41662926, 0x3F800000),
)
"""Patterns of x and of glibc 2.36's tanhf(x); from 2^-10 to 9 those that are not the nearest float32."""


def test_fdlibm_s_tanh_is_that_of_a_c_library() -> None:
    """And it is odd, in the numbers that differ from the nearest ones too."""
    for pattern, wanted in TANHF:
        x = np.array(pattern, np.int32).view(np.float32)[()]
        y = fdlibm.tanh(x)
        assert int(y.view(np.int32)) == wanted
        assert fdlibm.tanh(-x) == -y
        if 2.0**-10 < x < 9:
            assert y != real.nearest32(real.tanh(Fraction(float(x))))


@pytest.mark.parametrize(("acc", "y"), [(32766, 127), (32767, -128), (10**6, -128), (-32768, -128), (0, 1)])
def test_a_product_and_its_zero_point_wrap_in_16_bits(acc: int, y: int) -> None:
    """NEON's multiplication: saturated to 16 bits, the zero point added there, saturated to 8."""
    rule = FixedPoint(middle=Cast(bits=16, overflow=Overflow.SATURATE), sum=16)
    rescale = encoded(rule, 1.0, [1.0], 1.0, zero_point=1, low=-128, high=127)
    assert requantized(acc, rescale, 0) == y


def test_a_sum_that_wraps_has_its_zero_point_after_the_rounding() -> None:
    with pytest.raises(ValueError, match="after the rounding"):
        FixedPoint(sum=16, zero_point="before")
