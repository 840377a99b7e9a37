"""How a machine forms products and adds them: registers, levels, the bias."""

import hashlib
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import force_setattr

from intsim.integers import IntType, Overflow, Rounding, frozen
from intsim.target.fields import within


class Cast(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A number moved into a register: shifted right by `shift` with `rounding`, then `overflow` into `bits`.

    `fraction_bits`: how many of the bits that the shift takes away the rounding sees, the highest ones; None: all.
    """

    bits: int
    signed: bool = True
    shift: int = 0
    rounding: Rounding = Rounding.FLOOR
    overflow: Overflow = Overflow.WRAP
    fraction_bits: int | None = None

    def __post_init__(self) -> None:
        within("bits", self.bits, 1, 1024)
        within("shift", self.shift, -64, 64)
        within("fraction_bits", 64 if self.fraction_bits is None else self.fraction_bits, 1, 64)


class Level(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One level of the reduction tree: adds `size` items in order, `overflow` into `bits` after each add.

    `size` None: all that there are (the outermost level, always). `bits` None: exact, no register is too narrow.
    `first_only`: only the first `size` items form a group; the rest go to the next level one by one.
    """

    size: int | None = None
    bits: int | None = None
    overflow: Overflow = Overflow.WRAP
    first_only: bool = False

    def __post_init__(self) -> None:
        within("bits", 64 if self.bits is None else self.bits, 2, 64)
        if self.size is not None and self.size < 1:
            raise ValueError(f"a level adds at least one item, not {self.size}")


class Table(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, eq=False):
    """A multiplier of 8 by 8 bits, as what it gives for every pair of patterns: `entries` int32 `[256, 256]` (22).

    The row is the activation's pattern, the column the weight's; `signed_activations` and `signed_weights` say whether
    the multiplier reads them as two's complement. `file`: the .npy file with the entries, beside a TOML that names it;
    `sha256`: of the entries as little-endian bytes, row by row; both are found where they are not given. Tables with
    the same entries and signs are equal.
    """

    entries: np.ndarray
    signed_activations: bool = True
    signed_weights: bool = True
    file: str = ""
    sha256: str = ""

    def __post_init__(self) -> None:
        entries = self.entries
        if entries.dtype.kind not in "iu" or entries.shape != (256, 256):
            raise ValueError(f"a multiplier is 256 x 256 integers, not {entries.dtype} {entries.shape}")
        low, high = int(entries.min()), int(entries.max())
        if not -(1 << 31) <= low <= high < 1 << 31:
            raise ValueError(f"a multiplier's products fit int32, not {low} to {high}")
        if entries.dtype != np.int32 or entries.flags.writeable or not entries.flags.c_contiguous:
            force_setattr(self, "entries", frozen(np.array(entries, np.int32, order="C")))
        found = hashlib.sha256(self.entries.astype("<i4").tobytes()).hexdigest()
        if self.sha256 not in ("", found):
            raise ValueError(f"the multiplier has sha256 {found[:12]}..., not {self.sha256[:12]}...")
        force_setattr(self, "sha256", found)
        if set(self.file) & set("/\\:"):
            raise ValueError(f"a multiplier's file lies beside the TOML that names it, not at {self.file}")
        force_setattr(self, "file", self.file or f"multiplier_{found[:12]}.npy")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Table) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    def _identity(self) -> tuple[str, bool, bool]:
        return self.sha256, self.signed_activations, self.signed_weights


class Mac(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How products are formed and summed; `levels` go from the inner to the outer one.

    `zero_point` "in_operand": products are (x - zx) * (w - zw), and padding adds zeros. "folded": products are x * w
    of the raw integers (padding is zx), and what the zero points owe is added together with the bias.
    `order`: the reduction's running order; "hwc" is kernel row, kernel column, channel, and "chw" channel first.
    `multiplier`: what forms the products, where they are not exact. `product`: the register that each product passes
    before it is added. `write_back`: the register that the finished sum passes, before a bias is added at the end; its
    shift makes the sum's scale coarser, and the bias is brought to that scale half away from zero.
    """

    levels: tuple[Level, ...] = (Level(bits=32),)
    multiplier: Table | None = None
    product: Cast | None = None
    write_back: Cast | None = None
    zero_point: Literal["in_operand", "folded"] = "in_operand"
    order: Literal["hwc", "chw"] = "hwc"

    def __post_init__(self) -> None:
        if not self.levels or self.levels[-1].size is not None:
            raise ValueError("the last level adds all that is left: leave out its size")
        if any(level.size is None for level in self.levels[:-1]):
            raise ValueError("only the last level may leave out its size")


class Bias(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The bias: integers of `type`; the accumulator starts from it ("init"), or it is added at the "end".

    The add is done in the outermost level's register, or in `bits` with `overflow` where those are given.
    `shifted`: the machine holds integers of `type` and shifts all of a layer's left by one amount: every bias is then
    such an integer times one power of two.
    """

    type: IntType = IntType(32)
    shifted: bool = False
    when: Literal["init", "end"] = "end"
    bits: int | None = None
    overflow: Overflow = Overflow.WRAP

    def __post_init__(self) -> None:
        within("bits", 64 if self.bits is None else self.bits, 2, 64)
