import numpy as np
import pytest
from msgspec import Struct
from msgspec.structs import asdict, replace
from nets import every_op, images

from intsim import TARGETS, IntsimError, oracle
from intsim.build import with_pixels
from intsim.graph import Pixels
from intsim.integers import affine
from intsim.lower import lower
from intsim.program import Door, Dot, Offset, Program, Step
from intsim.program.names import between, copied, network_name
from intsim.quantized import QuantizedGraph, dequantized, quantized
from intsim.target import ClippedAdd, Float32Add, Float32Average, Float32Requantize, Float32Scale, Float64Scale, Target


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_machine_takes_every_op(target: Target) -> None:
    source = every_op(target.scheme)
    program = lower(source, target)
    names = [step.name for step in program.steps if "#" not in step.name]  # a node may take several steps
    assert names == [node.name for node in source.graph.nodes]
    result = oracle.run(program, images(1))
    assert result.integers["gemm_y"].shape == (1, 5)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_between_the_doors_a_program_holds_integers_only(target: Target) -> None:
    """Save where the emulated machine itself multiplies by a float scale."""
    program = lower(every_op(target.scheme), target)
    floating = (Float32Scale, Float64Scale, Float32Requantize, Float32Add, Float32Average, ClippedAdd)
    for step in program.steps:
        for record in records(step.compute):
            own = isinstance(getattr(record, "rule", None), floating)
            for name, value in asdict(record).items():
                if isinstance(value, np.ndarray):
                    assert value.dtype.kind in "iu" or own, f"{step.name}: {name} is {value.dtype}"
                else:
                    assert not isinstance(value, float), f"{step.name}: {name} is {value}"


def records(record: Struct) -> list[Struct]:
    found = [record]
    for value in asdict(record).values():
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Struct):
                found += records(item)
    return found


def test_the_same_network_on_the_other_sign_gives_the_same_real_numbers() -> None:
    """ideal keeps u8; litert_ref re-expresses it as s8: the tensors are the same but for 128."""
    scheme = TARGETS["ort_x86_avx2"].scheme
    source = every_op(scheme)
    kept = oracle.run(lower(source, TARGETS["ideal"]), images(2), trace="*")
    moved = replace(TARGETS["ideal"], name="s8", scheme=TARGETS["litert_ref"].scheme)
    shifted = oracle.run(lower(source, moved), images(2), trace="*")
    for name, integers in kept.traced.items():
        assert integers.dtype == np.uint8
        assert np.array_equal(integers.astype(int) - 128, shifted.traced[name]), name


def test_a_border_between_machines_of_other_signs_is_a_step() -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    unsigned = replace(
        TARGETS["ort_x86_avx2"],
        scheme=replace(TARGETS["ort_x86_avx2"].scheme, activations=TARGETS["ort_x86_avx2"].scheme.activations[:1]),
    )
    program = lower(source, TARGETS["litert_ref"], nodes={"add": unsigned})
    borders = [step for step in program.steps if isinstance(step.compute, Offset)]
    assert [step.inputs for step in borders] == [("max_y",), ("average_y",), ("add_y",)]
    assert [step.target for step in borders] == ["ort_x86_avx2", "ort_x86_avx2", "litert_ref"]
    assert {step.target for step in program.steps if step.name == "add"} == {"ort_x86_avx2"}
    oracle.run(program, images(1))


def test_pixels_enter_as_their_float_values_are_quantized() -> None:
    pixels = Pixels(mean=(0.3, 0.5), std=(0.2, 0.25))
    source = every_op(TARGETS["litert_ref"].scheme)
    graph = replace(source.graph, pixels={"x": pixels})
    affines = source.affines | {"x": affine(0.031, -17, "s8")}
    program = lower(QuantizedGraph(graph=graph, affines=affines), TARGETS["litert_ref"])
    x = images(3)
    door = program.inputs["x"]
    assert door.table.shape == (256, 2)
    by_pixels = oracle.run(program, x, trace=["x"])
    by_floats = oracle.run(program, pixels.to_input(x), trace=["x"])
    assert np.array_equal(by_pixels.traced["x"], by_floats.traced["x"])
    assert np.array_equal(by_pixels.traced["x"], quantized(pixels.to_input(x), affines["x"]))


def test_logits_are_the_outputs_dequantized() -> None:
    program = lower(every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"])
    result = oracle.run(program, images(2))
    door = program.outputs["gemm_y"]
    assert np.array_equal(result.logits["gemm_y"], dequantized(result.integers["gemm_y"], door.affine))
    assert result.logits["gemm_y"].dtype == np.float32


def change(source: QuantizedGraph, **affines: object) -> QuantizedGraph:
    return QuantizedGraph(graph=source.graph, affines=source.affines | affines)


REFUSED = [
    ("nvdla_small", {"conv_y": affine(0.02, 3)}, "zero point 3", "symmetric"),
    ("vta", {"x": affine(0.3)}, "powers of two", "power-of-two"),
    ("vta", {"conv_w": affine(0.3, 0, "s8n")}, "no powers of two", "power-of-two"),
    ("litert_ref", {"conv_w": affine(0.01, 0, "s8")}, "weights are s8", "s8n"),
    ("litert_ref", {"conv_w": affine(0.01, 5, "s8n")}, "zero point", "symmetric"),
    ("litert_ref", {"x": affine(0.01, 0, "s16")}, "activations are s16", "takes s8"),
    ("gemmini_ws", {"conv_w": affine([0.01] * 4, 0, "s8n", 0)}, "per channel", "per tensor"),
    ("litert_ref", {"relu_y": affine(0.5)}, "different affines", "share"),
]


@pytest.mark.parametrize(("name", "affines", "what", "mend"), REFUSED, ids=lambda value: str(value)[:40])
def test_a_quantization_that_a_machine_does_not_take_is_refused_with_the_mend(
    name: str, affines: dict[str, object], what: str, mend: str
) -> None:
    source = change(every_op(TARGETS[name].scheme), **affines)
    with pytest.raises(IntsimError, match=what) as error:
        lower(source, TARGETS[name])
    assert mend in str(error.value)
    assert "\n" not in str(error.value)


def test_a_bias_too_wide_for_the_machine_is_refused() -> None:
    source = every_op(TARGETS["nvdla_small"].scheme)
    wide = replace(source.graph, constants=source.graph.constants | {"conv_b": np.array([70001] * 4, np.int32)})
    affines = source.affines | {"conv_b": affine(1.0, 0, "s32")}
    with pytest.raises(IntsimError, match="bias reaches 70001 in units of 1"):
        lower(QuantizedGraph(graph=wide, affines=affines), TARGETS["nvdla_small"])


def test_a_node_that_does_not_exist_is_refused() -> None:
    with pytest.raises(IntsimError, match='no node "nope"'):
        lower(every_op(TARGETS["ideal"].scheme), TARGETS["ideal"], nodes={"nope": TARGETS["vta"]})


def test_two_different_machines_of_one_name_are_refused() -> None:
    other = replace(TARGETS["ideal"], description="another")
    with pytest.raises(IntsimError, match="two different machines"):
        lower(every_op(TARGETS["ideal"].scheme), TARGETS["ideal"], nodes={"add": other})


def test_a_quantized_network_has_no_float_island() -> None:
    source = every_op(TARGETS["ideal"].scheme)
    floats = replace(source.graph, constants=source.graph.constants | {"conv_w": np.zeros((4, 2, 3, 3), np.float32)})
    with pytest.raises(IntsimError, match="float island"):
        QuantizedGraph(graph=floats, affines=source.affines)
    with pytest.raises(IntsimError, match="has no quantization"):
        QuantizedGraph(graph=source.graph, affines={k: v for k, v in source.affines.items() if k != "add_y"})


def test_a_program_is_made_of_the_records_of_its_waist() -> None:
    program = lower(every_op(TARGETS["ideal"].scheme), TARGETS["ideal"])
    assert isinstance(program, Program)
    assert all(isinstance(step, Step) for step in program.steps)
    assert all(isinstance(door, Door) for door in (*program.inputs.values(), *program.outputs.values()))
    assert sum(isinstance(step.compute, Dot) for step in program.steps) == 4


def test_a_normalization_that_was_folded_holds_for_floats_and_for_pixels() -> None:
    """Floats come in the file's own range; what the user says of pixels does not replace what the file says."""
    own = Pixels(own_mean=(0.4, 0.1), own_std=(-0.5, 2.0))
    source = every_op(TARGETS["litert_ref"].scheme)
    affines = source.affines | {"x": affine(0.02, 3, "s8")}
    graph = replace(source.graph, pixels={"x": own})
    x = images(3)
    for said in (None, Pixels(divisor=128.0, mean=(0.5,), std=(0.25,))):
        heard = with_pixels(graph, said)
        program = lower(QuantizedGraph(graph=heard, affines=affines), TARGETS["litert_ref"])
        inputs = (said or Pixels()).to_input(x)
        by_pixels = oracle.run(program, x, trace=["x"]).traced["x"]
        assert np.array_equal(by_pixels, oracle.run(program, inputs, trace=["x"]).traced["x"])
        expected = (inputs - np.float32([[[[0.4]], [[0.1]]]])) / np.float32([[[[-0.5]], [[2.0]]]])
        assert np.array_equal(by_pixels, quantized(expected, affines["x"]))


def test_a_tensor_may_be_called_as_a_crossing_would_be() -> None:
    """Names with @ neither meet the names of crossings nor are taken apart as such."""
    source = every_op(TARGETS["litert_ref"].scheme)
    unsigned = replace(
        TARGETS["ort_x86_avx2"],
        scheme=replace(TARGETS["ort_x86_avx2"].scheme, activations=TARGETS["ort_x86_avx2"].scheme.activations[:1]),
    )
    plain = oracle.run(lower(source, TARGETS["litert_ref"], nodes={"add": unsigned}), images(2))
    for old, new in (("relu_y", "max_y@ort_x86_avx2"), ("max_y", "odd@name")):
        renamed = renamed_tensor(source, old, new)
        result = oracle.run(lower(renamed, TARGETS["litert_ref"], nodes={"add": unsigned}), images(2))
        assert np.array_equal(result.integers["gemm_y"], plain.integers["gemm_y"])


def test_the_network_s_name_of_a_tensor_is_known_from_its_own() -> None:
    network = {"y", "a@b", "y@m", "z#pad"}
    assert network_name(copied("y", "other", network), network) == "y"
    assert network_name(copied("a@b", "other", network), network) == "a@b"
    assert copied("y", "m", network) == "y@m_"
    assert network_name("y@m_", network) == "y"
    assert network_name("y@m", network) == "y@m"
    assert between("z", "pad", network) == "z#pad_"
    for inner in ("z#pad_", between("a@b", "take", network), between("y", "pad", network)):
        assert network_name(inner, network) is None
    assert network_name(copied("z#pad", "m", network), network) == "z#pad"


def renamed_tensor(source: QuantizedGraph, old: str, new: str) -> QuantizedGraph:
    def name(tensor: str) -> str:
        return new if tensor == old else tensor

    nodes = tuple(
        replace(n, inputs=tuple(map(name, n.inputs)), outputs=tuple(map(name, n.outputs))) for n in source.graph.nodes
    )
    shapes = {name(k): v for k, v in source.graph.shapes.items()}
    graph = replace(source.graph, nodes=nodes, shapes=shapes)
    return QuantizedGraph(graph=graph, affines={name(k): v for k, v in source.affines.items()})
