"""How a machine that takes a vector of integers at a time computes those that fill none."""

from msgspec import Struct

from intsim.target.add import AddRule
from intsim.target.fields import within
from intsim.target.requantize import Requantize


class InVectors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="in_vectors"):
    """The integers of a run go in groups of `size`, by the rule `whole`; those after the last whole group by `rest`.

    A run is a sample's tensor, channels last. Of two operands whose shapes broadcast, runs are the innermost axes in
    which the shapes are equal; or, where these hold one integer, the axes before them along which one operand has one
    integer. Operands that take turns in more axes than that are all `rest` (37).
    """

    size: int = 16
    whole: Requantize
    rest: Requantize

    def __post_init__(self) -> None:
        within("a group's size", self.size, 1, 1 << 20)


class Repeated(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sums of a run and one integer: the rule of whole groups, and their size."""

    size: int
    whole: AddRule

    def __post_init__(self) -> None:
        within("a group's size", self.size, 1, 1 << 20)


class AddInVectors(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="rule", tag="in_vectors"):
    """As InVectors, for sums. `repeated`: what holds where one integer is added to a run; None: the same.

    Not `broadcasts`: of operands whose shapes differ all is `rest`.
    """

    size: int = 16
    whole: AddRule
    rest: AddRule
    broadcasts: bool = True
    repeated: Repeated | None = None

    def __post_init__(self) -> None:
        within("a group's size", self.size, 1, 1 << 20)
