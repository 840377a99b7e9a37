"""What is written as .tflite is read back with the same meaning, operator by operator; what cannot be is refused."""

from functools import cache
from pathlib import Path

import numpy as np
import one_node
import pytest
from msgspec.structs import replace

import intsim
from intsim.cli import main
from intsim.engine import run
from intsim.errors import IntsimError
from intsim.graph import Pixels
from intsim.integers import affine
from intsim.lower import lower
from intsim.program import inside
from intsim.quantized import QuantizedGraph
from intsim.targets import TARGETS
from intsim.tflite_io import layout, quantized_of, tflite_model, write_tflite
from intsim.tflite_io.encode import encode
from intsim.tflite_io.file import File, parse

KINDS = {"s8": (8, False), "s16": (16, False), "u8": (8, True)}
MACHINE = {"s8": "litert_ref", "s16": "litert_16x8", "u8": "litert_ref"}
NAMES = [(kind, name) for kind, (bits, old) in KINDS.items() for name in one_node.networks(bits, old)]


@cache
def networks(kind: str) -> dict[str, QuantizedGraph]:
    return one_node.networks(*KINDS[kind])


def answers(quantized: QuantizedGraph, machine: str, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What the machine computes, as multiples of the scale less the zero point."""
    program = lower(quantized, TARGETS[machine])
    doors = {name: replace(door, pixels=None, table=None) for name, door in program.inputs.items()}
    fed = {
        name: (x[name].astype(int) + door.affine.zero - quantized.affines[name].zero).astype(door.affine.type.dtype)
        for name, door in doors.items()
    }
    found = run(replace(program, inputs=doors), fed).integers
    return {name: found[name].astype(np.int64) - program.outputs[name].affine.zero for name in found}


def same_answers(a: QuantizedGraph, b: QuantizedGraph, machine: str, batch: int = 3) -> int:
    """How many integers the two networks computed, every one the same."""
    x = one_node.integers(a, batch)
    other = {
        name: (x[own].astype(np.int64) - a.affines[own].zero + b.affines[name].zero).astype(b.affines[name].type.dtype)
        for name, own in zip(b.graph.inputs, a.graph.inputs, strict=True)
    }
    found, given = answers(a, machine, x), answers(b, machine, other)
    for name, values in found.items():
        np.testing.assert_array_equal(given[name], values, err_msg=name)
        assert len(np.unique(values)) > 3, "such a test says nothing"
    return sum(values.size for values in found.values())


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=lambda part: part)
def test_every_operator_comes_back_with_its_meaning(kind: str, name: str) -> None:
    quantized = networks(kind)[name]
    read = quantized_of(tflite_model(quantized, batch=2))
    assert read.graph.shapes[read.graph.outputs[0]] == quantized.graph.shapes["y"]
    assert same_answers(quantized, read, MACHINE[kind]) >= 12


@pytest.mark.parametrize(("kind", "name"), NAMES, ids=lambda part: part)
def test_a_file_that_was_read_is_written_with_the_same_meaning(kind: str, name: str) -> None:
    once = quantized_of(tflite_model(networks(kind)[name]), "same")
    twice = quantized_of(tflite_model(once), "same")
    assert twice.graph.nodes == once.graph.nodes
    assert twice.affines == once.affines
    assert twice.graph.shapes == once.graph.shapes
    assert twice.graph.constants.keys() == once.graph.constants.keys()
    for key, values in once.graph.constants.items():
        np.testing.assert_array_equal(twice.graph.constants[key], values)


@pytest.mark.parametrize("seed", range(2))
def test_a_network_of_many_operators_comes_back_with_its_meaning(seed: int) -> None:
    quantized = one_node.several(seed)
    read = quantized_of(tflite_model(quantized, batch=4))
    assert same_answers(quantized, read, "tflm") > 0
    assert set(quantized.graph.inputs) == set(read.graph.inputs)
    assert set(quantized.graph.outputs) == set(read.graph.outputs)


def test_records_of_a_file_come_back_equal() -> None:
    file = parse(tflite_model(networks("s8")["conv_pad"]))
    again = parse(encode(file))
    assert again.operators == file.operators
    assert (again.inputs, again.outputs, again.metadata) == (file.inputs, file.outputs, file.metadata)
    for one, other in zip(again.tensors, file.tensors, strict=True):
        assert (one.name, one.shape, one.kind, one.axis) == (other.name, other.shape, other.kind, other.axis)
        np.testing.assert_array_equal(one.scale, other.scale)
        assert (one.data is None) == (other.data is None)
        assert one.data is None or one.data.tobytes() == other.data.tobytes()


def test_constants_begin_at_multiples_of_sixteen_bytes() -> None:
    data = tflite_model(one_node.several())
    constants = [tensor.data for tensor in parse(data).tensors if tensor.data is not None]
    start = np.frombuffer(data, np.uint8).ctypes.data
    found = {(array.ctypes.data - start) % 16 for array in constants}
    assert len(constants) > 6
    assert len(found) == 1


# ---- what a converter would write -----------------------------------------------------------------------------


def ops(quantized: QuantizedGraph, **options: object) -> list[str]:
    return [operator.op for operator in parse(tflite_model(quantized, **options)).operators]


def the(file: File, op: str) -> dict:
    return next(operator.options for operator in file.operators if operator.op == op)


def test_clips_are_fused_where_their_integers_are_an_activations() -> None:
    assert ops(networks("s8")["conv_same"]) == ["CONV_2D"]
    assert the(parse(tflite_model(networks("s8")["conv_same"])), "CONV_2D")["FusedActivationFunction"] == 1
    assert ops(networks("s8")["conv_pad"]) == ["PAD", "CONV_2D"]
    assert the(parse(tflite_model(networks("s8")["conv_pad"])), "CONV_2D")["FusedActivationFunction"] == 3
    assert ops(networks("s8")["conv_dilated"]) == ["CONV_2D", "MAXIMUM", "MINIMUM"]


def test_a_clip_is_not_fused_into_a_tensor_that_others_read() -> None:
    quantized = networks("s8")["conv_same"]
    seen = QuantizedGraph(graph=replace(quantized.graph, outputs=("y0", "y")), affines=quantized.affines)
    assert ops(seen) == ["CONV_2D", "RELU"]


def test_padding_is_same_where_it_equals_tflites() -> None:
    assert the(parse(tflite_model(networks("s8")["conv_same"])), "CONV_2D")["Padding"] == 0
    assert the(parse(tflite_model(networks("s8")["conv_pad"])), "CONV_2D")["Padding"] == 1


def test_a_depthwise_convolution_is_recognized_with_its_multiplier() -> None:
    file = parse(tflite_model(networks("s8")["depthwise"]))
    assert the(file, "DEPTHWISE_CONV_2D")["DepthMultiplier"] == 2
    weight = next(tensor for tensor in file.tensors if tensor.name == "w")
    assert (weight.shape, weight.axis, len(weight.scale)) == ((1, 3, 3, 10), 3, 10)


def test_a_flattened_map_is_reshaped_and_the_weights_are_turned() -> None:
    quantized = one_node.several()
    assert "TRANSPOSE" not in ops(quantized)
    flat = networks("s8")["flatten"]
    assert ops(flat) == ["TRANSPOSE", "RESHAPE"], "an output keeps the network's own order"


def test_unequal_affines_are_requantized_in_front_of_a_concat() -> None:
    assert ops(networks("s8")["concat"]) == ["CONCATENATION"]
    assert ops(networks("s8")["concat_width"]) == ["QUANTIZE", "CONCATENATION"]


def test_unsigned_activations_are_written_signed() -> None:
    quantized = one_node.several(signed=False)
    file = parse(tflite_model(quantized))
    tensor = file.tensors[file.inputs[0]]
    assert (tensor.kind, int(tensor.zero_point[0])) == ("INT8", quantized.affines["x"].zero - 128)


def test_weights_with_zero_points_make_an_older_file() -> None:
    file = parse(tflite_model(networks("u8")["conv"]))
    assert {tensor.kind for tensor in file.tensors} == {"UINT8", "INT32"}
    assert next(tensor for tensor in file.tensors if tensor.name == "w").zero_point.tolist() == [131]


def test_a_mean_keeps_its_axes_only_where_that_is_asked() -> None:
    mean = networks("s8")["mean"]
    assert ops(mean) == ["MEAN", "RESHAPE"]
    assert ops(mean, keep_axes=True) == ["MEAN"]


def test_names_batch_and_how_images_enter_are_kept() -> None:
    quantized = networks("s8")["conv"]
    pixels = {"x0": Pixels(divisor=128.0, mean=(0.5,), own_std=(0.25,))}
    with_pixels = QuantizedGraph(graph=replace(quantized.graph, pixels=pixels), affines=quantized.affines)
    data = tflite_model(with_pixels, batch=7)
    assert parse(data).tensors[0].shape == (7, 9, 8, 5)
    assert {tensor.name for tensor in parse(data).tensors} == {"x0", "w", "b", "y"}
    assert quantized_of(data).graph.pixels == pixels
    assert quantized_of(tflite_model(quantized)).graph.pixels == {}


def test_layouts_are_inverse_to_each_other() -> None:
    for rank in range(2, 6):
        for axis in range(rank):
            assert layout.file_axis(layout.graph_axis(axis, rank), rank) == axis
        perm = tuple(np.random.default_rng(rank).permutation(np.arange(1, rank)))
        assert layout.file_perm(layout.graph_perm((0, *perm))) == (0, *perm)
        shape = tuple(range(2, rank + 2))
        x = np.arange(np.prod(shape)).reshape(shape)
        turned = np.moveaxis(x, -1, 1)  # channels first
        expected = np.moveaxis(x.transpose(0, *perm), -1, 1)
        np.testing.assert_array_equal(turned.transpose(layout.graph_perm((0, *perm))), expected)


# ---- files ------------------------------------------------------------------------------------------------------


def test_saved_files_are_loaded_and_run(tmp_path: Path) -> None:
    quantized = one_node.several()
    intsim.save(quantized, tmp_path / "net.tflite")
    read = intsim.load(tmp_path / "net.tflite")
    assert isinstance(read, QuantizedGraph)
    assert read.graph.name == "net"
    program = intsim.build(tmp_path / "net.tflite", "tflm")
    pixels = np.random.default_rng(0).integers(0, 256, (2, 2, 6, 6)).astype(np.uint8)
    integers = run(program, pixels).integers["sum_y"]
    np.testing.assert_array_equal(integers, run(lower(quantized, TARGETS["tflm"]), pixels).integers["sum_y"])
    other = intsim.build(tmp_path / "net.tflite", "tflm", pixels=Pixels(divisor=1.0))
    assert (run(other, pixels).integers["sum_y"] != integers).any()


def test_the_command_line_writes_runs_and_inspects_such_files(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = tmp_path / "mlp.tflite"
    for words in (
        f"quantize mlp --calibration fashion -o {path} --quiet",
        f"inspect {path} --target tflm",
        f"run {path} --target tflm --input fashion --limit 8 -o {tmp_path / 'y.npz'}",
        f"run {path} --target tflm --input fashion --limit 8 -o {tmp_path / 'z.npz'} --input-scale 1",
    ):
        assert main(words.split()) == 0, capsys.readouterr().err
    assert "Gemm" in capsys.readouterr().out
    with np.load(tmp_path / "y.npz") as y, np.load(tmp_path / "z.npz") as z:
        assert (y["integers"] != z["integers"]).any()


@pytest.mark.parametrize(
    ("name", "change", "what"),
    [
        ("conv", {"x0": affine(0.1, 0, "u4")}, "activations are u4"),
        ("conv", {"x0": affine(0.1, 5, "s16")}, "s16 with zero point 5"),
        ("conv", {"x0": affine(0.1, 0, "s8n")}, "activations are s8n"),
        ("flatten", {"y": affine(0.1, 0, "s8")}, "different affines"),
        ("sigmoid", {"y": affine(0.1, 0, "s8")}, "LOGISTIC gives scale 0.00390625 and -128"),
        ("max_constant", {"y": affine(0.1, 0, "s8")}, "at another scale"),
        ("conv", {"w": affine(0.01, 3, "s8"), "x0": affine(0.1, 0, "s16")}, "16 bits"),
    ],
)
def test_what_tflite_cannot_say_is_refused(name: str, change: dict, what: str) -> None:
    quantized = networks("s8")[name]
    changed = QuantizedGraph(graph=quantized.graph, affines=quantized.affines | change)
    with pytest.raises(IntsimError, match=what) as error:
        tflite_model(changed)
    assert error.value.mend


def test_an_elu_comes_back_with_its_meaning_and_has_one_factor() -> None:
    slope = networks("s8")["leaky_relu"]
    (node,) = slope.graph.nodes
    made = [
        QuantizedGraph(
            graph=replace(slope.graph, nodes=(replace(node, op="Elu", attributes={"alpha": alpha}),)),
            affines=slope.affines,
        )
        for alpha in (1.0, 0.5)
    ]
    again = quantized_of(tflite_model(made[0]))
    assert [(n.op, n.attributes) for n in again.graph.nodes] == [("Elu", {"alpha": 1.0})]
    assert same_answers(made[0], again, "litert_ref") > 0
    with pytest.raises(IntsimError, match=r"alpha 0\.5, ELU has 1"):
        tflite_model(made[1])


def test_nodes_without_an_operator_in_tflite_are_refused() -> None:
    pool = networks("s8")["average_pool_same"]
    (node,) = pool.graph.nodes
    odd = replace(node, attributes=node.attributes | {"pads": (2, 2, 0, 0)})
    with pytest.raises(IntsimError, match="does not count it"):
        tflite_model(QuantizedGraph(graph=replace(pool.graph, nodes=(odd,)), affines=pool.affines))
    gone = replace(node, op="Einsum")
    with pytest.raises(IntsimError, match="no operator in TFLite"):
        tflite_model(QuantizedGraph(graph=replace(pool.graph, nodes=(gone,)), affines=pool.affines))
    with pytest.raises(IntsimError, match="batch"):
        tflite_model(pool, batch=0)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(IntsimError, match="cannot be written"):
        write_tflite(networks("s8")["conv"], tmp_path / "no" / "net.tflite")


def test_a_trace_in_the_files_layout_is_the_files_tensor() -> None:
    quantized = networks("s8")["transpose_map"]
    x = one_node.integers(quantized)["x0"]
    read = quantized_of(tflite_model(quantized))
    found = answers(read, "litert_ref", {"x0": x})["y"] + read.affines["y"].zero
    np.testing.assert_array_equal(inside(found), inside(x).transpose(0, 2, 1, 3))
