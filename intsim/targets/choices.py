"""What a field of a machine may be: the names that a wrong one is answered with."""

import re
from collections.abc import Iterable, Iterator
from functools import cache

import msgspec.inspect as types

from intsim.target import Target

WRONG_NAME = re.compile(r"Invalid (?:enum )?value .* - at `\$([^`]*)`$")


def choices(error: str) -> list[str]:
    """The names that could stand where msgspec found another, by the path in its message; [] where it says no path."""
    match = WRONG_NAME.search(error)
    if match is None:
        return []
    found: list[types.Type] = [_machine()]
    for key in re.findall(r"\.(\w+)|\[", match[1]):
        found = [inner for outer in found for inner in _inside(outer, key)]
    names = [name for type_ in found for name in _names(type_)]
    return sorted(dict.fromkeys(names))


@cache
def _machine() -> types.Type:
    return types.type_info(Target)


def _inside(outer: types.Type, key: str) -> Iterator[types.Type]:
    """What lies under a field's name (or, where there is none, in a list)."""
    for type_ in _each(outer):
        match type_:
            case types.StructType():
                if key == type_.tag_field:
                    yield types.LiteralType(values=(type_.tag,))
                yield from (field.type for field in type_.fields if field.encode_name == key)
            case types.VarTupleType() | types.ListType():
                yield type_.item_type


def _names(type_: types.Type) -> Iterable[str]:
    for one in _each(type_):
        match one:
            case types.EnumType():
                yield from (member.value for member in one.cls)
            case types.LiteralType():
                yield from map(str, one.values)


def _each(type_: types.Type) -> tuple[types.Type, ...]:
    return type_.types if isinstance(type_, types.UnionType) else (type_,)
