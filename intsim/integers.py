"""Integer types, affine quantization, and the names of roundings and overflows."""

import math
import re
from enum import Enum
from functools import cache
from typing import Any

import numpy as np
from msgspec import Struct


class Rounding(Enum):
    """Where a number between two integers goes. HALF_* are to the nearest; the rest of the name says where ties go.

    CARRY_SHIFT goes where HALF_EVEN goes from zero up; below zero it goes down by one from the floor where HALF_EVEN
    would go up: no other mode moves a number by more than one.
    """

    FLOOR = "floor"
    CEIL = "ceil"
    TO_ZERO = "to_zero"
    AWAY = "away"
    HALF_UP = "half_up"
    HALF_DOWN = "half_down"
    HALF_AWAY = "half_away"
    HALF_TO_ZERO = "half_to_zero"
    HALF_EVEN = "half_even"
    TO_ODD = "to_odd"
    CARRY_SHIFT = "carry_shift"

    @classmethod
    def _missing_(cls, value: object) -> "Rounding | None":
        return _by_alias(cls, value, _ROUNDING_ALIASES)


class Overflow(Enum):
    """What a register does with a value that it cannot hold. FORBID wraps, and counts as a violation."""

    WRAP = "wrap"
    SATURATE = "saturate"
    SATURATE_SYM = "saturate_sym"
    SATURATE_ZERO = "saturate_zero"
    WRAP_SM = "wrap_sm"
    FORBID = "forbid"

    @classmethod
    def _missing_(cls, value: object) -> "Overflow | None":
        return _by_alias(cls, value, _OVERFLOW_ALIASES)


# Other vendors' names, mapped once. AP_* and AC_*: the fixed-point headers of HLS tools; rnu, rne, rdn, rod: RISC-V
# vxrm. QONNX's HALF_UP means HALF_AWAY and its ROUND means HALF_EVEN, so those are mapped where QONNX is read.
_ROUNDING_ALIASES = {
    "trn": "floor",
    "trn_zero": "to_zero",
    "rnd": "half_up",
    "rnd_zero": "half_to_zero",
    "rnd_inf": "half_away",
    "rnd_min_inf": "half_down",
    "rnd_conv": "half_even",
    "rnu": "half_up",
    "rne": "half_even",
    "rdn": "floor",
    "rod": "to_odd",
}
_OVERFLOW_ALIASES = {"sat": "saturate", "sat_sym": "saturate_sym", "sat_zero": "saturate_zero"}


def _by_alias(cls: Any, value: object, aliases: dict[str, str]) -> Any:
    if not isinstance(value, str):
        return None
    name = value.lower().removeprefix("ap_").removeprefix("ac_")
    name = aliases.get(name, name)
    return next((member for member in cls if member.value == name), None)


@cache
def _dtype(bits: int, signed: bool) -> np.dtype:
    size = next(size for size in (8, 16, 32, 64) if bits <= size)
    return np.dtype(f"{'' if signed else 'u'}int{size}")


class IntType(Struct, frozen=True, forbid_unknown_fields=True):
    """Two's complement integers of `bits` bits; `narrow_range` leaves out the lowest (unsigned: highest)."""

    bits: int
    signed: bool = True
    narrow_range: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.bits <= 64:
            raise ValueError(f"an integer type has 1 to 64 bits, not {self.bits}")

    @property
    def low(self) -> int:
        """The smallest value."""
        return -(1 << (self.bits - 1)) + self.narrow_range if self.signed else 0

    @property
    def high(self) -> int:
        """The largest value."""
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1 - self.narrow_range

    @property
    def dtype(self) -> np.dtype:
        """The smallest numpy integer type that holds every value."""
        return _dtype(self.bits, self.signed)

    def __str__(self) -> str:
        return f"{'s' if self.signed else 'u'}{self.bits}{'n' if self.narrow_range else ''}"


def int_type(text: str) -> IntType:
    """`IntType` of a short name: s8, u4, s8n (narrow range). ValueError for anything else."""
    match = re.fullmatch(r"([su])(\d+)(n?)", text)
    if match is None:
        raise ValueError(f'"{text}" is no integer type: write s8, u8, s4n ...')
    return IntType(int(match[2]), match[1] == "s", match[3] == "n")


class Affine(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """real = scale * (q - zero_point), q of `type`.

    `scale` holds one float32 value per tensor (`axis` None), or one per slice along `axis`, as Python floats, so that
    a trip through a file changes nothing. `zero_point` is one integer, or one per scale.
    """

    scale: tuple[float, ...]
    type: IntType
    zero_point: tuple[int, ...] = (0,)
    axis: int | None = None

    def __post_init__(self) -> None:
        if not self.scale or len(self.zero_point) not in (1, len(self.scale)):
            raise ValueError(f"{len(self.scale)} scales with {len(self.zero_point)} zero points")
        if self.axis is None and len(self.scale) != 1:
            raise ValueError("several scales need an axis")
        for scale in self.scale:
            if not (math.isfinite(scale) and scale > 0):
                raise ValueError(f"a scale is a positive finite number, not {scale}")
            if float(np.float32(scale)) != scale:
                raise ValueError(f"a scale is a float32 value, not {scale!r}")
        for zero in self.zero_point:
            if not self.type.low <= zero <= self.type.high:
                raise ValueError(f"zero point {zero} lies outside {self.type}")

    @property
    def zero(self) -> int:
        """The zero point of a tensor that has only one."""
        assert len(set(self.zero_point)) == 1
        return self.zero_point[0]

    def shifted(self, type_: IntType) -> "Affine":
        """The same real numbers in integers of the other sign: u8 with zero point z is s8 with zero point z - 128."""
        assert type_.bits == self.type.bits
        offset = (self.type.signed - type_.signed) << (type_.bits - 1)
        return Affine(
            scale=self.scale,
            type=type_,
            zero_point=tuple(z + offset for z in self.zero_point),
            axis=self.axis,
        )


def affine(scale: Any, zero_point: Any = 0, type_: IntType | str = "s8", axis: int | None = None) -> Affine:
    """An `Affine` from numbers or arrays: scales are rounded to float32."""
    return Affine(
        scale=tuple(float(np.float32(s)) for s in np.ravel(scale)),
        zero_point=tuple(int(z) for z in np.ravel(zero_point)),
        type=int_type(type_) if isinstance(type_, str) else type_,
        axis=axis,
    )


def frozen(array: Any) -> np.ndarray:
    """A read-only, contiguous view of the array (a copy only where it was not contiguous)."""
    view = np.asarray(array, order="C").view()
    view.flags.writeable = False
    return view
