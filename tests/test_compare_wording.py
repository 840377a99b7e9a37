"""Every word of the rules that compare tries has a name in sentences, and no name is of a word that is not there."""

from types import UnionType
from typing import Union, get_args, get_origin

from msgspec import Struct
from msgspec.structs import fields, replace

from intsim import TARGETS
from intsim.compare.names import NAMES
from intsim.compare.vocabulary import NO_RULES, RULES, Variant, at, variants
from intsim.compare.wording import called, said, side
from intsim.integers import IntType, Rounding
from intsim.target import Cast, FixedPoint, Level, Target


def _records(kind: object) -> set[type[Struct]]:
    """The records that may stand in a field of this type, and those inside them."""
    if get_origin(kind) in (Union, UnionType):
        return {record for part in get_args(kind) for record in _records(part)}
    if not (isinstance(kind, type) and issubclass(kind, Struct)) or kind is IntType:
        return set()
    return {kind, *(record for field in fields(kind) for record in _records(field.type))}


def _words() -> set[str]:
    own = {field.name: field.type for field in fields(Target) if field.name not in NO_RULES}
    inside = {record for type_ in own.values() for record in _records(type_)}
    tables = {f"{record.__name__}.{field.name}" for record in inside for field in fields(record)}
    return {f"Target.{name}" for name in own} | {word for word in tables if not word.startswith("Table.")}


def test_every_word_has_a_name_and_every_name_a_word() -> None:
    assert len(_words()) > 90
    assert set(NAMES) == _words()


def test_every_change_that_is_tried_is_said_without_a_field_s_own_spelling() -> None:
    count = 0
    for name in ("litert_ref", "ort_x86_avx2", "tflm_16x8", "hls4ml", "litert_xnnpack"):
        for op in RULES:
            for variant in variants(TARGETS[name], op):
                words = called(variant, TARGETS[name])
                assert words == words.strip() != "", variant.path
                assert "_" not in words, variant.path
                assert variant.ours == at(TARGETS[name], variant.path)
                count += 1
    assert count > 1000


def test_places_are_said_from_the_inside_out() -> None:
    target = TARGETS["litert_ref"]
    requantize = replace(target.requantize, middle=Cast(bits=17))
    held = replace(target, requantize=requantize)

    def name(*path: str) -> str:
        return called(Variant(path=path, ours=0, theirs=1), held)

    assert name("requantize", "normalized") == "multiplier shifted to its full width"
    assert name("requantize", "middle", "bits") == "width of the register before the zero point"
    assert name("requantize", "rounding") == "second rounding"
    assert name("add", "requantize", "bits") == "bits of the multiplier of the sum of two tensors"
    assert name("functions", "sigmoid", "precision") == "floats of the sigmoid"
    assert name("mac", "levels") == "accumulator"


def test_values_are_said_in_words() -> None:
    before = Variant(path=("requantize", "zero_point"), ours="after", theirs="before")
    assert side(before, "before") == "before the rounding"
    assert said(Cast(bits=17)) == "cast (bits 17)"
    assert said(IntType(48)) == "s48"
    assert said(FixedPoint(float32_product=True, normalized=False)) == "fixed point (normalized no, float32 product)"
    assert said(Rounding.HALF_UP) == "half up"
    assert said((Level(size=2, bits=16), Level())) == "pairs in 16 bits wrap, then exact"
