"""The other machines that a machine could be: every word of its rules replaced by every other word that there is.

Nothing here knows a rounding mode by name. What can stand in a field is read off the field's own type (the members of
an enum, the words of a Literal, the records of a union) and off the catalogue (every value that some machine has
there), so that a new mode, rule or machine is tried without a line being added.
"""

from collections.abc import Iterator, Mapping
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from msgspec import Struct
from msgspec.structs import FieldInfo, fields, replace

from intsim.integers import Overflow
from intsim.ops import OPS
from intsim.program import Dot, MatMul, Step
from intsim.target import Bias, Cast, FixedPoint, Float64Scale, Level, Mac, Target
from intsim.targets import TARGETS

Path = tuple[str, ...]

NO_RULES = ("name", "description", "scheme", "overrides", "source", "fidelity", "verified_with")
"""The fields of a Target that say nothing about arithmetic."""

FIXED = {(Bias, "type"), (Bias, "shifted"), (Mac, "multiplier")}
"""What a quantized network has to fit, rather than what is done to it."""

SUMS = ("mac", "bias", "requantize", "output")
RULES = {
    "Conv": SUMS,
    "ConvTranspose": SUMS,
    "Gemm": SUMS,
    "MatMul": SUMS,
    "Add": ("add", "output"),
    "AveragePool": ("average_pool", "convert", "output"),
    "GlobalAveragePool": ("mean", "convert", "output"),
    "Concat": ("convert", "output"),
    "Requantize": ("convert", "conversions", "output"),
    "Sub": ("add", "subtract", "output"),
    "Mul": ("multiply", "output"),
    "Resize": ("resize",),
    "Sigmoid": ("functions.sigmoid", "output"),
    "Tanh": ("functions.tanh", "output"),
    "HardSwish": ("functions.hard_swish", "output"),
    "LeakyRelu": ("functions.leaky_relu", "output"),
    "PRelu": ("functions.prelu", "output"),
    "Softmax": ("functions.softmax",),
}
"""The rules that an operator reads; none where it keeps its input's integers, all where it is not listed."""

NOTHING = object()
"""Where a rule has no such field."""

WIDTHS = range(12, 33)
NUMBERS: Mapping[tuple[str, str], tuple[int, ...]] = {
    ("FixedPoint", "bits"): (7, 8, 15, 16, 23, 24, 30, 31, 32),
    ("FixedPoint", "register"): (16, 24, 31, 32, 33, 64),
    ("TwoMultipliers", "bits"): (8, 15, 16, 20, 21, 22, 24, 30, 31),
    ("ThreeRescales", "left_shift"): (0, 8, 15, 16, 18, 20, 22),
    ("Reciprocal", "bits"): (8, 12, 14, 15, 16, 17, 18, 20, 24, 30, 31),
}
"""What is tried for a field of the type int; where none is listed, its neighbours and what other machines have."""

CASTS = tuple(
    Cast(bits=bits, overflow=overflow)
    for bits in (8, 9, 16, 17, 18, 24, 32)
    for overflow in (Overflow.SATURATE, Overflow.WRAP)
)
"""Registers that are tried where a machine may have one, and a clamp where it may stand elsewhere."""


class Variant(Struct, frozen=True, kw_only=True):
    """One change of a machine: at `path`, `theirs` instead of `ours`. `whole`: a rule of another kind is put there."""

    path: Path
    ours: Any
    theirs: Any
    whole: bool = False


def variants(target: Target, op: str) -> Iterator[Variant]:
    """Every single change of the machine's rules for `op`: single words first, then whole rules of other kinds."""
    found: list[Variant] = []
    for place in (tuple(name.split(".")) for name in rules_of(op)):
        owner = at(target, place[:-1])
        found += _variants(getattr(owner, place[-1]), _field(type(owner), place[-1]), type(owner), place)
    yield from sorted(found, key=lambda v: v.whole)


def rules_of(op: str) -> tuple[str, ...]:
    """The places of the rules that an operator reads."""
    keeps = op in OPS and OPS[op].keeps_scale
    return RULES.get(op, () if keeps else _arithmetic())


def changed(target: Target, variant: Variant) -> Target:
    """The machine with one change. ValueError where the words do not go together."""
    *record, word = variant.path
    sums = isinstance(at(target, tuple(record)), FixedPoint | Float64Scale)
    if sums and (word, variant.theirs) == ("zero_point", "before"):
        target = _put(target, (*record, "sum"), None)  # what comes before the rounding is not added behind it
    made: Target = _put(target, variant.path, variant.theirs)
    return made


def apart(a: Variant, b: Variant) -> bool:
    """Whether two changes can be made together: neither is at, or inside, the place of the other."""
    short = min(len(a.path), len(b.path))
    return a.path[:short] != b.path[:short]


def plain(step: Step, target: Target) -> Target:
    """The machine without exceptions, whose rules are those that the step was lowered with."""
    if isinstance(step.compute, Dot | MatMul):
        dot = step.compute
        return replace(target, overrides=(), mac=dot.mac, bias=dot.bias_rule, requantize=dot.rescale.rule)
    return target


def at(value: Any, path: Path) -> Any:
    """What stands at the path; NOTHING where its rules have no such word."""
    for name in path:
        value = getattr(value, name, NOTHING)
    return value


def _arithmetic() -> tuple[str, ...]:
    return tuple(field.name for field in fields(Target) if field.name not in NO_RULES)


def _put(value: Any, path: Path, new: Any) -> Any:
    if not path:
        return new
    return replace(value, **{path[0]: _put(getattr(value, path[0]), path[1:], new)})


# ---- what else could stand in a field -----------------------------------------------------------------------------


def _variants(value: Any, type_: Any, owner: type, path: Path) -> Iterator[Variant]:
    """Every single change of `value`, which stands in the field `path[-1]` of an `owner`."""
    if (owner, path[-1]) in FIXED:
        return
    if isinstance(value, Struct):
        for field in fields(type(value)):
            yield from _variants(getattr(value, field.name), field.type, type(value), (*path, field.name))
    for other in _others(value, type_, owner, path[-1]):
        yield Variant(path=path, ours=value, theirs=other, whole=isinstance(value, Struct))


def _others(value: Any, type_: Any, owner: type, name: str) -> list[Any]:
    found: list[Any] = list(_catalogued().get((owner, name), ()))
    for kind in _kinds(type_):
        if isinstance(kind, type) and issubclass(kind, Struct):
            if not isinstance(value, kind) or value is None:
                found += _instances(kind)
        elif isinstance(kind, type) and issubclass(kind, Enum):
            found += kind
        elif kind is NoneType:
            found.append(None)
        elif kind is bool:
            found += (True, False)
        elif get_origin(kind) is Literal:
            found += get_args(kind)
        elif kind is int and isinstance(value, int):
            found += NUMBERS.get((owner.__name__, name), (value - 1, value + 1))
    if Level in _items(type_):
        found += _levels(value)
    if Cast in _kinds(type_):
        found += CASTS
    return _distinct(other for other in found if other != value)


def _instances(kind: type[Struct]) -> list[Any]:
    """Records of this kind: as its defaults make it, and every single change of that."""
    try:
        made = kind()
    except TypeError:
        return []  # no defaults: only what the catalogue has
    ones = [made]
    for field in fields(kind):
        for other in _others(getattr(made, field.name), field.type, kind, field.name):
            try:
                ones.append(replace(made, **{field.name: other}))
            except (ValueError, TypeError):
                continue
    return ones


def _levels(levels: tuple[Level, ...]) -> Iterator[tuple[Level, ...]]:
    """Other registers: the outermost of any width, wrapping or saturating; groups before it; none before it."""
    inner, outer = levels[:-1], levels[-1]
    for overflow in (Overflow.WRAP, Overflow.SATURATE):
        yield from ((*inner, replace(outer, bits=bits, overflow=overflow)) for bits in reversed(WIDTHS))
        yield from (
            (Level(size=size, bits=bits, overflow=overflow), outer)
            for size, bits in ((2, 16), (4, 16), (16, 18), (8, 16))
        )
    yield from ((*inner, replace(outer, overflow=overflow)) for overflow in Overflow)
    yield (outer,)
    yield (*inner, Level())


def _kinds(type_: Any) -> tuple[Any, ...]:
    """The types that a field may hold."""
    if get_origin(type_) in (Union, UnionType):
        return tuple(kind for part in get_args(type_) for kind in _kinds(part))
    return (type_,)


def _items(type_: Any) -> tuple[Any, ...]:
    return get_args(type_) if get_origin(type_) is tuple else ()


def _field(owner: type, name: str) -> Any:
    found: FieldInfo = next(field for field in fields(owner) if field.name == name)
    return found.type


# ---- what the catalogue's machines have ---------------------------------------------------------------------------


@cache
def _catalogued() -> dict[tuple[type, str], tuple[Any, ...]]:
    """(record, field) to the values that the catalogue's machines have there, the commonest first."""
    found: dict[tuple[type, str], list[Any]] = {}
    for target in TARGETS.values():
        _collect(target, found)
        for override in target.overrides:
            for name in ("mac", "bias", "requantize"):
                if (value := getattr(override, name)) is not None:
                    found.setdefault((Target, name), []).append(value)
    return {key: tuple(_by_frequency(values)) for key, values in found.items() if key[1] not in NO_RULES}


def _collect(value: Any, found: dict[tuple[type, str], list[Any]]) -> None:
    if isinstance(value, Struct):
        for field in fields(type(value)):
            found.setdefault((type(value), field.name), []).append(getattr(value, field.name))
            _collect(getattr(value, field.name), found)
    elif isinstance(value, tuple):
        for item in value:
            _collect(item, found)


def _by_frequency(values: list[Any]) -> list[Any]:
    return sorted(_distinct(values), key=lambda value: -sum(value == other for other in values))


def _distinct(values: Any) -> list[Any]:
    kept: list[Any] = []
    for value in values:
        if not any(value == other and type(value) is type(other) for other in kept):
            kept.append(value)
    return kept
