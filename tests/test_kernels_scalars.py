"""The kernels' scalar functions against intsim.arithmetic: exhausted where they are small, then sampled."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from intsim import arithmetic
from intsim.engine.codes import cast_code
from intsim.integers import Overflow, Rounding
from intsim.target import Cast
from intsim_kernels import codes, elementwise, overflow, rounding

TEN_BITS = range(-512, 512)
unhurried = settings(deadline=None)  # a kernel's first call may compile it
INT64 = st.integers(-(2**63), 2**63 - 1)


def test_the_codes_stand_for_the_enums_members() -> None:
    for names in (Rounding, Overflow):
        numbers = [getattr(codes, member.name) for member in names]
        assert sorted(numbers) == list(range(len(names)))


@pytest.mark.parametrize("mode", Rounding)
def test_shifts_of_all_10_bit_numbers(mode: Rounding) -> None:
    for right in range(13):
        numbers = [int(v) for v in rounding.steps(np.array([right]), getattr(codes, mode.name))[:, 0]]
        for n in TEN_BITS:
            assert rounding.shifted(n, *numbers) == arithmetic.shifted(n, right, mode), (n, right)


@unhurried
@given(st.integers(-(2**61), 2**61), st.integers(0, 61), st.sampled_from(Rounding))
def test_shifts_of_wide_numbers(n: int, right: int, mode: Rounding) -> None:
    numbers = [int(v) for v in rounding.steps(np.array([right]), getattr(codes, mode.name))[:, 0]]
    assert rounding.shifted(n, *numbers) == arithmetic.shifted(n, right, mode)


@pytest.mark.parametrize("mode", Rounding)
def test_quotients_of_10_bit_numbers(mode: Rounding) -> None:
    for d in (*range(1, 18), 48, 49, 100, 511, 512, 1000):
        for n in TEN_BITS:
            assert rounding.divided(n, d, getattr(codes, mode.name)) == arithmetic.rounded(n, d, mode), (n, d)


@unhurried
@given(INT64, INT64)
@example(-(2**63), -(2**63))
@example(-(2**63), 2**63 - 1)
def test_products_of_128_bits_are_exact(a: int, b: int) -> None:
    high, low = rounding.product(a, b)
    assert (int(high) << 64) + int(low) == a * b


@unhurried
@given(st.integers(-(2**126), 2**126), st.integers(0, 127), st.sampled_from(Rounding))
@example(2**64, 65, Rounding.HALF_EVEN)
@example(3 << 63, 64, Rounding.HALF_EVEN)
@example((3 << 63) + 1, 64, Rounding.HALF_DOWN)
def test_shifts_of_128_bits(n: int, right: int, mode: Rounding) -> None:
    n >>= max(n.bit_length() - right - 62, 0)
    q, part = rounding.split(np.int64(n >> 64), np.uint64(n & (2**64 - 1)), right)
    assert rounding.stepped(q, part, getattr(codes, mode.name)) == arithmetic.shifted(n, right, mode)


@pytest.mark.parametrize("mode", Rounding)
@pytest.mark.parametrize("real", [np.float32, np.float64])
def test_floats_around_every_half(mode: Rounding, real: type) -> None:
    code = getattr(codes, mode.name)
    for quarter in range(-60, 61):
        v = real(quarter / 4)
        for near in (v, np.nextafter(v, real(-99)), np.nextafter(v, real(99))):
            assert rounding.float_rounded(near, code) == arithmetic.rounded_float(float(near), mode), near


@unhurried
@given(st.floats(-(2.0**60), 2.0**60), st.sampled_from(Rounding))
def test_any_float(v: float, mode: Rounding) -> None:
    assert rounding.float_rounded(v, getattr(codes, mode.name)) == arithmetic.rounded_float(v, mode)


@pytest.mark.parametrize("mode", Overflow)
@pytest.mark.parametrize("signed", [True, False])
def test_registers_hold_all_12_bit_numbers(mode: Overflow, signed: bool) -> None:
    code = getattr(codes, mode.name)
    for bits in range(2, 13):
        for x in range(-2100, 2100):
            assert overflow.held(x, bits, code, int(signed)) == arithmetic.held(x, bits, mode, signed), (x, bits)


@unhurried
@given(INT64, st.integers(2, 64), st.sampled_from(Overflow))
@example(-(2**63), 64, Overflow.SATURATE_SYM)
@example(2**63 - 1, 63, Overflow.WRAP_SM)
def test_registers_hold_any_int64(x: int, bits: int, mode: Overflow) -> None:
    code = getattr(codes, mode.name)
    assert overflow.held(x, bits, code, 1) == arithmetic.held(x, bits, mode)
    values = np.array([x, 0, -1])
    overflow.hold(values, bits, code)
    assert values.tolist() == [arithmetic.held(v, bits, mode) for v in (x, 0, -1)]


@pytest.mark.parametrize("mode", Overflow)
def test_outputs_stay_in_their_bounds(mode: Overflow) -> None:
    for low, high in ((-128, 127), (-127, 127), (0, 255), (-3, 1), (5, 9)):
        for y in range(-700, 700):
            found = overflow.bounded(y, low, high, getattr(codes, mode.name))
            assert found == arithmetic.bounded(y, low, high, mode), (y, low, high)


@pytest.mark.parametrize("fraction_bits", [None, 1, 3])
def test_casts_of_all_10_bit_numbers(fraction_bits: int | None) -> None:
    for mode in Rounding:
        for shift in (0, 1, 2, 5):
            to = Cast(bits=6, shift=shift, rounding=mode, overflow=Overflow.SATURATE, fraction_bits=fraction_bits)
            code = cast_code(to)
            for x in TEN_BITS:
                assert overflow.cast(x, code) == arithmetic.cast(x, to), (x, to)


FLOAT32 = st.floats(width=32, allow_nan=False, allow_infinity=False, min_value=-(2.0**40), max_value=2.0**40)


@unhurried
@given(st.integers(-(2**17), 2**17), FLOAT32, FLOAT32)
@example(1, float(np.float32(1 + 2**-23)), 2.0**-60)  # just above a tie of the product alone
@example(3, float(np.float32(2**23 - 0.5)), float(np.float32(2**-40)))
@example(-(2**16) + 1, float(np.float32(1 - 2**-24)), float(np.float32(2**-24)))
@example(255, float(np.float32(0.1)), -25.5)
@example(1, float(np.float32(2**-149)), float(np.float32(2**-149)))
def test_a_fused_multiply_add_rounds_once(x: int, m: float, addend: float) -> None:
    found = elementwise.multiply_add(x, np.float32(m), np.float32(addend))
    assert found == arithmetic.multiply_add(x, np.float32(m), np.float32(addend), True)


def test_a_fused_multiply_add_next_to_a_tie() -> None:
    """3 * m has 25 bits and is the middle between two float32; what a tiny addend decides, float64 cannot see."""
    wrong = 0
    for m in range(2**23 + 1, 2**23 + 2**12, 2):
        for addend in (2.0**-40, -(2.0**-40)):
            found = elementwise.multiply_add(3, np.float32(m), np.float32(addend))
            assert found == arithmetic.multiply_add(3, np.float32(m), np.float32(addend), True)
            wrong += found != np.float32(3.0 * m + addend)
    assert wrong > 2000, "rounding twice should have been wrong in half of the cases"
