import numpy as np
import pytest

from intsim.integers import Affine, IntType, Overflow, Rounding, affine, frozen, int_type


@pytest.mark.parametrize(
    ("text", "low", "high", "dtype"),
    [
        ("s8", -128, 127, "int8"),
        ("u8", 0, 255, "uint8"),
        ("s8n", -127, 127, "int8"),
        ("u4", 0, 15, "uint8"),
        ("s1", -1, 0, "int8"),
        ("s20", -(2**19), 2**19 - 1, "int32"),
        ("s48", -(2**47), 2**47 - 1, "int64"),
    ],
)
def test_an_integer_type_knows_its_range_and_its_container(text: str, low: int, high: int, dtype: str) -> None:
    type_ = int_type(text)
    assert (type_.low, type_.high, type_.dtype.name, str(type_)) == (low, high, dtype, text)


@pytest.mark.parametrize("text", ["i8", "s", "s0", "u65", "8", "s8x"])
def test_what_is_no_integer_type_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"integer type"):
        int_type(text)


@pytest.mark.parametrize("bits", range(1, 17))
def test_the_other_sign_holds_the_same_real_numbers(bits: int) -> None:
    unsigned, signed = IntType(bits, False), IntType(bits, True)
    for zero in {0, 1, (1 << bits) - 1}:
        a = affine(0.5, zero, unsigned)
        b = a.shifted(signed)
        offset = b.zero - a.zero
        assert [0.5 * (q - a.zero) for q in (unsigned.low, unsigned.high)] == [
            0.5 * (q + offset - b.zero) for q in (unsigned.low, unsigned.high)
        ]
        assert unsigned.low + offset == signed.low
        assert b.shifted(unsigned) == a


def test_a_scale_is_a_float32_value_and_positive() -> None:
    with pytest.raises(ValueError, match="float32"):
        Affine(scale=(0.1,), type=IntType(8))
    for bad in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="positive finite"):
            Affine(scale=(bad,), type=IntType(8))
    assert affine(0.1).scale == (float(np.float32(0.1)),)


def test_zero_points_lie_inside_their_type() -> None:
    with pytest.raises(ValueError, match="outside"):
        affine(1.0, 128, "s8")


@pytest.mark.parametrize(
    ("alias", "name"),
    [
        ("AP_RND", Rounding.HALF_UP),
        ("AP_TRN", Rounding.FLOOR),
        ("AP_RND_CONV", Rounding.HALF_EVEN),
        ("AC_RND_INF", Rounding.HALF_AWAY),
        ("TRN_ZERO", Rounding.TO_ZERO),
        ("rod", Rounding.TO_ODD),
    ],
)
def test_vendors_names_of_roundings_are_understood(alias: str, name: Rounding) -> None:
    assert Rounding(alias) is name


def test_vendors_names_of_overflows_are_understood() -> None:
    assert Overflow("AP_SAT_SYM") is Overflow.SATURATE_SYM
    with pytest.raises(ValueError, match="bogus"):
        Overflow("bogus")


def test_freezing_leaves_the_callers_array_writeable() -> None:
    mine = np.zeros(3)
    view = frozen(mine)
    assert not view.flags.writeable
    assert mine.flags.writeable
