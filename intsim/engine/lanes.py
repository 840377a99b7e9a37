"""How a register that saturates lies in the lanes of a vector: see `intsim_kernels.ordered_tile` for the proofs."""

import numpy as np
from msgspec import Struct

from intsim.ranges import Interval

_INT16, _INT32 = (-(1 << 15), (1 << 15) - 1), (-(1 << 31), (1 << 31) - 1)


class Lane(Struct, frozen=True, kw_only=True):
    """A kind of `ordered_tile` and its numbers: operands times 2^`shift_x`, weights times 2^`shift_w`.

    A register that starts from q has the lane (q << shift) + offset; `low`, `high`: its limits, as the lane holds them.
    """

    kind: str
    shift_x: int = 0
    shift_w: int = 0
    offset: int = 0
    low: int = 0
    high: int = 0

    @property
    def bits(self) -> int:
        """Of a lane."""
        return 16 if self.kind.endswith("16") else 32

    @property
    def shift(self) -> int:
        """Of a register in its lane."""
        return self.shift_x + self.shift_w

    def held(self, q: np.ndarray) -> np.ndarray:
        """Registers as their lanes hold them."""
        return ((q.astype(np.int64) << self.shift) + self.offset).astype(np.int16 if self.bits == 16 else np.int32)


def lane(limits: Interval, x: Interval, w: Interval, *, scaled: bool = False, native: bool = False) -> Lane | None:
    """The cheapest lane for a register within `limits` that saturates after every product x * w; None: there is none.

    `scaled`: whether the operands may come times a power of two. `native`: whether the CPU has a saturating int32 add.
    """
    if not (_fits(x, _INT16) and _fits(w, _INT16) and _fits(limits, _INT32)):
        return None
    ends = [a * b for a in x for b in w]
    product = min(ends), max(ends)
    if _fits(limits, _INT16) and _fits(product, _INT16):
        return _scaled(limits, x, w, product, 16, scaled) or _ceiling(limits, 16)
    if native:
        return _scaled(limits, x, w, product, 32, scaled) or _ceiling(limits, 32)
    reach = max(map(abs, limits)) + max(map(abs, product))
    return Lane(kind="limits 32", low=limits[0], high=limits[1]) if reach <= _INT32[1] else None


def _fits(interval: Interval, limits: Interval) -> bool:
    return limits[0] <= interval[0] and interval[1] <= limits[1]


def _scaled(limits: Interval, x: Interval, w: Interval, product: Interval, bits: int, scaled: bool) -> Lane | None:
    """Registers whose upper limit becomes the lane's by a shift; the lower one too, or almost (symmetric ones)."""
    s = bits - (limits[1] + 1).bit_length()
    if limits[1] + 1 != 1 << (bits - 1 - s) or limits[0] not in (-limits[1] - 1, -limits[1]):
        return None
    shift_w = max(n for n in range(s + 1) if _fits((w[0] << n, w[1] << n), _INT16))
    shift_x = s - shift_w
    if (shift_x and not scaled) or not _fits((x[0] << shift_x, x[1] << shift_x), _INT16):
        return None
    if bits == 16 and not _fits((product[0] << s, product[1] << s), _INT16):
        return None
    kind = "lane" if limits[0] == -limits[1] - 1 else "ceiling"
    return Lane(kind=f"{kind} {bits}", shift_x=shift_x, shift_w=shift_w, low=limits[0] << s)


def _ceiling(limits: Interval, bits: int) -> Lane:
    offset = (1 << (bits - 1)) - 1 - limits[1]
    return Lane(kind=f"ceiling {bits}", offset=offset, low=limits[0] + offset)
