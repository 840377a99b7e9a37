"""Rules in words: what a change is called, and what stands there on either side."""

from enum import Enum
from typing import Any

from msgspec import Struct
from msgspec.structs import fields

from intsim.compare.names import NAMES
from intsim.compare.vocabulary import NOTHING, Path, Variant, at
from intsim.integers import IntType
from intsim.target import Level, Target

STEP = (("mac",), ("bias",), ("requantize",), ("functions",))
"""The places that are the step's own: what stands there is not said to be of them."""


def called(variant: Variant, target: Target) -> str:
    """The changed rule's name: its place in words."""
    path = variant.path
    word = _name(path, target)
    if path[-1] == "rounding" and at(target, (*path[:-1], "first")) not in (None, NOTHING):
        word = "second rounding"
    if path[-1] == "first" and None in (variant.ours, variant.theirs):
        word = "rounding"
    return _of(word, path[:-1], target)


def _of(word: str, place: Path, target: Target) -> str:
    """The word, and what it is of; a rule's own requantization is the rule."""
    if not place or place in STEP:
        return word
    if place[-1] == "requantize":
        return _of(word, place[:-1], target)
    return _of(f"{word} of the {_name(place, target)}", place[:-1], target)


def _name(place: Path, target: Target) -> str:
    """The field's own noun; a word that has none yet is spelled as it is in the rules."""
    record = type(at(target, place[:-1])).__name__
    return NAMES.get(f"{record}.{place[-1]}", place[-1].replace("_", " "))


def side(variant: Variant, value: Any) -> str:
    """What stands there on one side."""
    if variant.path[-1] == "first":
        if value is None:
            return "single"
        return f"double, first {said(value)}" if None in (variant.ours, variant.theirs) else said(value)
    if variant.path[-1] == "zero_point" and value in ("before", "after"):
        return f"{value} the rounding"
    return said(value)


def said(value: Any) -> str:
    """A value of a rule in words."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        return str(value.value).replace("_", " ")
    if isinstance(value, IntType):
        return str(value)
    if isinstance(value, Level):
        return _level(value)
    if isinstance(value, tuple):
        return ", then ".join(said(item) for item in value) or "none"
    if isinstance(value, Struct):
        return _record(value)
    return str(value).replace("_", " ")


def _level(level: Level) -> str:
    register = "exact" if level.bits is None else f"{level.bits} bits {said(level.overflow)}"
    if level.size is None:
        return register
    many = {2: "pairs", 4: "fours"}.get(level.size, f"groups of {level.size}")
    return f"{'the first ' if level.first_only else ''}{many} {'in ' if level.bits else ''}{register}"


def _record(value: Struct) -> str:
    """The rule's name, and what is not as its defaults are."""
    rule = str(getattr(value, "__struct_config__").tag or type(value).__name__.lower()).replace("_", " ")  # noqa: B009
    parts = []
    for field in fields(value):
        here = getattr(value, field.name)
        if field.required or here != field.default:
            name = field.name.replace("_", " ")
            parts.append(name if here is True else f"{name} {said(here)}")
    shown = ", ".join(parts)
    return f"{rule} ({shown})" if shown else rule
