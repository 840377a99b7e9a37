import tomllib

import msgspec
import pytest
from msgspec.structs import replace

from intsim import TARGETS, IntsimError, targets
from intsim.integers import IntType, Overflow, Rounding
from intsim.target import Float32Scale, Level, Target, rules
from intsim.targets.change import arithmetic, read_toml
from intsim.targets.multiplier import plain
from intsim.targets.verified import VERIFIED


@pytest.mark.parametrize("name", TARGETS)
def test_a_machine_survives_a_trip_through_toml(name: str, tmp_path) -> None:
    text = targets.toml(TARGETS[name])
    (tmp_path / "mine.toml").write_text(text)
    assert targets.target(str(tmp_path / "mine.toml")) == TARGETS[name]


@pytest.mark.parametrize("name", TARGETS)
def test_a_machine_is_filed_under_its_name_and_says_where_it_is_from(name: str) -> None:
    target = TARGETS[name]
    assert target.name == name
    assert target.source
    assert target.description
    assert (target.fidelity == "verified") == bool(target.verified_with)


def test_only_what_a_test_here_compares_is_called_verified() -> None:
    """Their operators: tests/test_conformance.py, by the suite's results."""
    verified = {name for name, target in TARGETS.items() if target.fidelity == "verified"}
    assert verified == VERIFIED.keys()
    assert {"litert_ref", "litert_ruy_x86", "litert_xnnpack", "tflm", "ort_x86_avx2"} <= verified


def test_every_machine_is_in_one_family_under_its_own_name() -> None:
    names = [machine.name for family in targets.FAMILIES.values() for machine in family]
    assert len(set(names)) == len(names)
    assert list(TARGETS) == names
    assert len(names) > 50


def test_what_is_not_public_is_said_to_be_assumed() -> None:
    for target in targets.FAMILIES["envelopes"]:
        assert target.fidelity == "assumed"
        assert "not public" in target.source
        assert "inference" in target.source


def test_two_machines_of_one_arithmetic_are_two_on_purpose() -> None:
    """A name that computes as another does says so: the rest of the catalogue is pairwise different."""
    same: dict[bytes, list[str]] = {}
    for name, target in TARGETS.items():
        same.setdefault(msgspec.json.encode(plain(arithmetic(target))), []).append(name)
    assert sorted(group for group in same.values() if len(group) > 1) == [
        ["litert_ref", "edge_tpu"],
        ["litert_ruy_x86", "litert_ruy_neon"],
        ["max78000", "max78002"],
        ["neutron", "neural_art"],
        ["tflm", "esp_nn", "coral_npu"],
    ]


# ---- TOML ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["litert_ref", "nvdla_full", "edge_tpu"])
def test_a_copy_is_as_sure_as_its_original_until_its_arithmetic_changes(name: str, tmp_path) -> None:
    path = tmp_path / "mine.toml"
    target = TARGETS[name]
    path.write_text(targets.toml(replace(target, description="mine", source="my own", fidelity="verified")))
    assert targets.target(str(path)).fidelity == target.fidelity
    assert targets.target(str(path)).verified_with == target.verified_with
    for changed in (
        replace(target, mac=replace(target.mac, levels=(Level(bits=24),))),
        replace(target, scheme=replace(target.scheme, bias=IntType(20))),
        replace(target, name="another"),
    ):
        path.write_text(targets.toml(changed))
        assert targets.target(str(path)).fidelity == "assumed"
        assert targets.target(str(path)).verified_with == ""


def test_an_unknown_machine_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(IntsimError, match=r"litert_ref"):
        targets.target("litert_reff")


def test_a_machine_may_come_from_a_module(tmp_path, monkeypatch) -> None:
    (tmp_path / "my_chip.py").write_text("import intsim\nCHIP = intsim.TARGETS['vta']\nNUMBER = 3\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert targets.target("my_chip:CHIP") == TARGETS["vta"]
    for wrong in ("my_chip:NUMBER", "my_chip:NOTHING", "no_such_module:CHIP"):
        with pytest.raises(IntsimError, match=r"my_chip|no_such"):
            targets.target(wrong)


WRONG = [
    ('bogus = 1\nname = "a"\ndescription = "b"', "bogus"),
    ('name = "a"\ndescription = "b"\n[[mac.levels]]\nbits = "x"', r"\$\.mac\.levels\[0\]\.bits"),
    ('name = "a"\ndescription = "b"\n[[mac.levels]]\nbits = 1', r"bits is 2 to 64, not 1"),
    ('name = "a"\ndescription = "b"\n[requantize]\nrule = "nope"', r"nope.*\$\.requantize"),
    (
        'name = "a"\ndescription = "b"\n[requantize]\nrule = "power_of_two"\nrounding = "up"',
        r"\$\.requantize\.rounding",
    ),
    (
        'name = "a"\ndescription = "b"\n[requantize]\nrule = "power_of_two"\nrounding = "half"',
        r"\$\.requantize\.rounding.: choose away, .*half_away, half_down, half_even, half_to_zero, half_up, to_odd",
    ),
    (
        'name = "a"\ndescription = "b"\n[[mac.levels]]\noverflow = "clip"',
        r"choose forbid, saturate, saturate_sym, saturate_zero, wrap, wrap_sm",
    ),
    ('name = "a"\ndescription = "b"\n[add]\nrule = "plus"', r"choose aligned_add, clipped_add, .*two_multipliers"),
    ('name = "a"\ndescription = "b"\n[mac]\norder = "cwh"', r"choose chw, hwc"),
    (
        'name = "a"\ndescription = "b"\n[[overrides]]\ngrouping = "deep"',
        r"choose dense, depthwise, grouped, multiplied, single",
    ),
    ('description = "b"', "name"),
    ("this is no toml", "is not TOML"),
]


@pytest.mark.parametrize(("text", "what"), WRONG, ids=[what for _, what in WRONG])
def test_a_wrong_field_is_named_by_its_path(text: str, what: str, tmp_path) -> None:
    (tmp_path / "mine.toml").write_text(text)
    with pytest.raises(IntsimError, match=what) as error:
        read_toml(tmp_path / "mine.toml", TARGETS)
    assert "\n" not in str(error.value)


def test_a_missing_file_is_one_line() -> None:
    with pytest.raises(IntsimError, match="cannot be read"):
        targets.target("/nowhere/mine.toml")


# ---- changes ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 16, 64])
@pytest.mark.parametrize("overflow", [Overflow.WRAP, Overflow.SATURATE])
def test_another_accumulator_replaces_the_tree_everywhere(bits: int, overflow: Overflow) -> None:
    narrow = targets.with_accumulator(TARGETS["ort_x86_avx2"], bits, overflow)
    for signed in (False, True):
        for grouping in ("dense", "depthwise", "grouped"):
            assert rules(narrow, "Conv", grouping, signed, True).mac.levels == (Level(bits=bits, overflow=overflow),)
    assert narrow.name != "ort_x86_avx2"
    assert narrow.fidelity == "assumed"


def test_a_tile_is_summed_exactly_first() -> None:
    tiled = targets.with_accumulator(TARGETS["litert_ref"], 16, Overflow.SATURATE, tile=8)
    assert tiled.mac.levels == (Level(size=8), Level(bits=16, overflow=Overflow.SATURATE))


@pytest.mark.parametrize(("bits", "tile"), [(3, None), (65, None), (16, 0)])
def test_an_accumulator_that_cannot_be_is_refused(bits: int, tile: int | None) -> None:
    with pytest.raises(IntsimError):
        targets.with_accumulator(TARGETS["ideal"], bits, Overflow.WRAP, tile)


def test_any_field_can_be_set() -> None:
    changed = targets.set_fields(
        TARGETS["litert_ref"],
        {
            "mac.levels.0.bits": "24",
            "requantize.rounding": "AP_RND",
            "average_pool.centred": "true",
            "mac.order": "chw",
        },
    )
    assert changed.mac.levels[0].bits == 24
    assert changed.requantize.rounding is Rounding.HALF_UP
    assert changed.average_pool.centred
    assert changed.mac.order == "chw"
    assert changed.name != "litert_ref"


def test_a_rule_can_be_exchanged_and_starts_from_its_defaults() -> None:
    changed = targets.set_fields(TARGETS["litert_ref"], {"requantize.rule": "float32_scale"})
    assert changed.requantize == Float32Scale()


@pytest.mark.parametrize("path", ["nothing", "mac.nothing", "mac.levels.7.bits", "mac.order.deeper"])
def test_a_field_that_does_not_exist_is_refused_with_those_that_do(path: str) -> None:
    with pytest.raises(IntsimError, match="--set"):
        targets.set_fields(TARGETS["ideal"], {path: "1"})


def test_a_value_that_does_not_fit_is_refused_by_path() -> None:
    with pytest.raises(IntsimError, match=r"\$\.requantize\.rounding"):
        targets.set_fields(TARGETS["ideal"], {"requantize.rounding": "sideways"})


def test_a_later_override_wins() -> None:
    avx2 = TARGETS["ort_x86_avx2"]
    assert rules(avx2, "Conv", "dense", False, True).mac.levels[0].bits == 16
    assert rules(avx2, "Conv", "depthwise", False, True).mac.levels[0].bits == 32
    assert rules(avx2, "Conv", "dense", True, True).mac.levels[0].bits == 32
    assert rules(avx2, "Gemm", "dense", False, False).mac.levels[0].bits == 32


def test_the_exported_toml_names_every_field_that_has_a_value() -> None:
    fields = tomllib.loads(targets.toml(TARGETS["nvdla_small"]))
    assert set(fields) == set(Target.__struct_fields__) - {"subtract"}
    assert fields["requantize"]["middle"]["bits"] == 17
    assert fields["scheme"]["bias_shift"] == "any"
    assert msgspec.convert(fields, Target) == TARGETS["nvdla_small"]


@pytest.mark.parametrize(
    "setting",
    ["requantize.register=0", "requantize.register=65", "requantize.bits=200", "bias.bits=0", "add.left_shift=-4"],
)
def test_a_width_that_no_register_has_is_refused(setting: str) -> None:
    path, _, value = setting.partition("=")
    with pytest.raises(IntsimError, match=path.split(".")[-1]):
        targets.set_fields(TARGETS["litert_ref"], {path: value})
