"""A tensor's integers with their zero point: two of them are compared as multiples of the scale."""

import numpy as np
from msgspec import Struct


class Integers(Struct, frozen=True, eq=False):
    """A tensor's integers, channels first, and the zero point that they have."""

    q: np.ndarray
    zero: int

    def with_zero(self, zero: int, dtype: np.dtype) -> np.ndarray:
        """The same multiples of the scale, with another zero point."""
        if zero == self.zero:
            return self.q.astype(dtype, copy=False)
        return (self.q.astype(np.int32) + np.int32(zero - self.zero)).astype(dtype)

    def multiples(self) -> np.ndarray:
        """The multiples of the scale, int32."""
        return self.with_zero(0, np.dtype(np.int32))
