"""A quantized network survives the trip through QOperator unchanged, and onnxruntime runs it in integers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from small_networks import Net, any_affine, everything, functions, integers, same

from intsim import IntsimError, QuantizedGraph
from intsim.integers import affine
from intsim.onnx_io import is_quantized, qoperator_model, read_quantized, write_qoperator
from intsim.quantized import dequantized, quantized
from intsim.reference import ort

KINDS = [("u8", "s8"), ("s8", "s8"), ("u8", "u8"), ("u8n", "s8n"), ("u4", "s4"), ("s3", "s5n"), ("u1", "s1")]


Maker = Callable[..., QuantizedGraph]
MAKERS: list[Maker] = [everything, functions]


def _everything(kinds: tuple[str, str], seed: int = 0) -> QuantizedGraph:
    return everything(np.random.default_rng(seed), *kinds)


@pytest.mark.parametrize("io", ["float", "integer"])
@pytest.mark.parametrize("kinds", KINDS, ids="x".join)
@pytest.mark.parametrize("make", MAKERS)
def test_what_is_read_equals_what_was_written(make: Maker, kinds: tuple[str, str], io: str, tmp_path: Path) -> None:
    network = make(np.random.default_rng(0), *kinds)
    write_qoperator(network, tmp_path / "network.onnx", io=io)
    assert is_quantized(tmp_path / "network.onnx")
    same(network, read_quantized(tmp_path / "network.onnx"))


@pytest.mark.parametrize("kinds", KINDS, ids="x".join)
@pytest.mark.parametrize("make", MAKERS)
def test_the_file_is_valid_onnx(make: Maker, kinds: tuple[str, str]) -> None:
    for io in ("float", "integer"):
        model = qoperator_model(make(np.random.default_rng(0), *kinds), io=io)
        onnx.checker.check_model(model, full_check=True)


@pytest.mark.parametrize("kinds", KINDS, ids="x".join)
@pytest.mark.parametrize("make", MAKERS)
def test_floats_go_in_and_out_as_the_integers_would(make: Maker, kinds: tuple[str, str]) -> None:
    """What enters is quantized as intsim's doors do it; what leaves is dequantized so; between them nothing differs."""
    network, rng = make(np.random.default_rng(0), *kinds), np.random.default_rng(1)
    x = {name: rng.normal(0, 2, (4, *network.graph.shapes[name])).astype(np.float32) for name in network.graph.inputs}
    floats = ort.run(qoperator_model(network).SerializeToString(), x)
    entered = {name: quantized(value, network.affines[name]) for name, value in x.items()}
    found = ort.run(qoperator_model(network, io="integer").SerializeToString(), entered)
    for name in network.graph.inputs:
        np.testing.assert_array_equal(floats[f"{name}:quantized"], entered[name])
    for name, value in found.items():
        if name in network.graph.outputs:
            np.testing.assert_array_equal(floats[name], dequantized(value, network.affines[name]))
        elif name in floats:
            np.testing.assert_array_equal(floats[name], value)


def test_no_float_stands_between_the_ends() -> None:
    model = qoperator_model(_everything(("u4", "s4")), io="integer")
    assert not {"QuantizeLinear", "DequantizeLinear"} & {node.op_type for node in model.graph.node}
    kinds = {value.type.tensor_type.elem_type for value in (*model.graph.input, *model.graph.value_info)}
    assert kinds == {onnx.TensorProto.UINT8}


@pytest.mark.parametrize("kinds", [("u4", "s4"), ("s3", "s5n"), ("u8n", "s8n")], ids="x".join)
def test_narrow_types_stay_in_their_range(kinds: tuple[str, str]) -> None:
    network, rng = _everything(kinds), np.random.default_rng(2)
    feeds = {n: integers(rng, kinds[0], (4, *network.graph.shapes[n])) for n in network.graph.inputs}
    for name, value in ort.run(qoperator_model(network, io="integer").SerializeToString(), feeds).items():
        if name in network.affines:
            type_ = network.affines[name].type
            assert type_.low <= value.min() <= value.max() <= type_.high, name


def test_integer_ends_carry_their_scales_as_annotations() -> None:
    network = _everything(("u8", "s8"))
    model = qoperator_model(network, io="integer")
    parts = {part.name: onnx.numpy_helper.to_array(part) for part in model.graph.initializer}
    stated = {
        note.tensor_name: {entry.key: parts[entry.value].item() for entry in note.quant_parameter_tensor_names}
        for note in model.graph.quantization_annotation
    }
    assert stated == {
        name: {"SCALE_TENSOR": network.affines[name].scale[0], "ZERO_POINT_TENSOR": network.affines[name].zero}
        for name in (*network.graph.inputs, *network.graph.outputs)
    }


# ---- what is refused -----------------------------------------------------------------------------------------


def _refused(network: QuantizedGraph, match: str, path: Path) -> None:
    with pytest.raises(IntsimError, match=match):
        write_qoperator(network, path / "network.onnx")
    assert not list(path.iterdir())


def test_more_than_8_bits_are_refused(tmp_path: Path) -> None:
    _refused(_everything(("s16", "s8")), "input_0: is s16, and this format holds 8 bits: write QDQ instead", tmp_path)
    _refused(_everything(("u8", "s9")), "weight_1: is s9, and .*: write QDQ instead", tmp_path)


def test_activations_of_both_signs_in_one_operator_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    net = Net(rng)
    network = net.done(net.conv(net.input(1, 3, 3), 1, (2, 2), of=any_affine(rng, "s8")))
    _refused(network, r"node_conv_0 \(Conv\): mixes signs: input_0 u8, conv_0 s8: quantize activations", tmp_path)


def test_signed_activations_with_unsigned_weights_are_refused(tmp_path: Path) -> None:
    _refused(_everything(("s8", "u8")), "signed activations and unsigned weights: quantize weights signed", tmp_path)


def test_an_operator_that_keeps_integers_but_not_their_affine_is_refused(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0))
    y = net.keep("Relu", net.input(3))
    net.affines[y] = affine(0.5, 3, "u8")
    _refused(net.done(y), r"node_relu_0 \(Relu\): keeps its integers, but its affines differ: let them", tmp_path)


def test_a_dilated_average_is_refused(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0))
    network = net.done(net.pool("AveragePool", net.input(1, 6, 6), (2, 2), dilations=(2, 1)))
    _refused(network, "is dilated: write QDQ", tmp_path)


@pytest.mark.parametrize(
    ("op", "fields", "match"),
    [
        ("Elu", {"alpha": 1.0}, "is no integer operator of onnxruntime: write QDQ"),
        ("Softplus", {}, "is no integer operator of onnxruntime: write QDQ"),
        ("Softmax", {"axis": 1, "beta": 0.5}, "has a beta: write QDQ without one"),
    ],
)
def test_functions_that_it_lacks_are_refused(op: str, fields: dict[str, object], match: str, tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0))
    _refused(net.done(net.function(op, net.input(6), **fields)), match, tmp_path)


def test_an_interpolation_along_one_axis_is_refused(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0))
    x = net.input(1, 3)
    resized = net.keep("Resize", x, (1, 6), mode="linear", coordinate="half_pixel", nearest="floor")
    _refused(net.done(resized), "interpolates along other axes than two: write QDQ", tmp_path)


def test_a_larger_one_of_integers_with_other_affines_is_refused(tmp_path: Path) -> None:
    net = Net(np.random.default_rng(0))
    _refused(net.done(net.pair("Max", net.input(3), net.input(3))), "keeps its integers, but its affines", tmp_path)
