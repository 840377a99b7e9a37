"""Roundings, overflows and casts as the kernels want to be told them."""

import numpy as np

from intsim.integers import Overflow, Rounding
from intsim.target import Cast


def rounding_code(rounding: Rounding) -> int:
    """The kernels' integer for a rounding."""
    from intsim_kernels import codes

    return int(getattr(codes, rounding.name))


def overflow_code(overflow: Overflow) -> int:
    """The kernels' integer for an overflow."""
    from intsim_kernels import codes

    return int(getattr(codes, overflow.name))


def cast_takes(to: Cast | None) -> bool:
    """Whether the kernels' domain holds the cast: shifts to the right up to 62 bits, registers of int64."""
    return to is None or (0 <= to.shift <= 62 and 2 <= to.bits <= (64 if to.signed else 62))


def cast_code(to: Cast | None) -> np.ndarray:
    """int64 `[9]`: bits (0: no cast), signed, overflow, bits that the rounding does not see, then as `steps`."""
    from intsim_kernels.rounding import steps

    if to is None:
        return np.zeros(9, np.int64)
    unseen = 0 if to.fraction_bits is None else max(to.shift - to.fraction_bits, 0)
    shift = steps(np.array([to.shift - unseen]), rounding_code(to.rounding))[:, 0]
    return np.array([to.bits, to.signed, overflow_code(to.overflow), unseen, *shift], np.int64)
