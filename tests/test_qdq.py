"""A quantized network survives the trip through QDQ unchanged, and the file means what it meant."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from small_networks import Net, any_affine, everything, integers, same

import intsim
import intsim_models
from intsim import TARGETS, IntsimError, QuantizedGraph, oracle
from intsim.integers import affine, int_type
from intsim.lower import lower
from intsim.onnx_io import is_quantized, qdq_model, read_quantized, write_qdq, write_qoperator
from intsim.onnx_io.draft import Reader
from intsim.quantized import dequantized
from intsim.reference import ort

KINDS = [("u8", "s8"), ("s8", "s8n"), ("u8", "u8"), ("u8n", "u8n"), ("s16", "s8"), ("u16", "s16"), ("u4", "s4"),
         ("s4n", "u4"), ("u2", "s2"), ("s3", "u5"), ("u12", "s11n"), ("u1", "s1")]  # fmt: skip


def _everything(kinds: tuple[str, str], seed: int = 0) -> QuantizedGraph:
    return everything(np.random.default_rng(seed), *kinds)


@pytest.mark.parametrize("reader", ["onnxruntime", "onnx"])
@pytest.mark.parametrize("kinds", KINDS, ids="x".join)
def test_what_is_read_equals_what_was_written(kinds: tuple[str, str], reader: Reader, tmp_path: Path) -> None:
    network = _everything(kinds)
    write_qdq(network, tmp_path / "network.onnx", reader=reader)
    assert is_quantized(tmp_path / "network.onnx")
    same(network, read_quantized(tmp_path / "network.onnx"))


@settings(max_examples=60, deadline=None, database=None)
@given(
    seed=st.integers(0, 2**32),
    bits=st.tuples(st.integers(1, 16), st.integers(1, 16)),
    signed=st.tuples(st.booleans(), st.booleans()),
    narrow=st.tuples(st.booleans(), st.booleans()),
)
def test_every_width_survives(
    seed: int,
    bits: tuple[int, int],
    signed: tuple[bool, bool],
    narrow: tuple[bool, bool],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    kinds = [
        f"{'s' if s else 'u'}{b}{'n' if n and b > 1 else ''}" for b, s, n in zip(bits, signed, narrow, strict=True)
    ]
    rng = np.random.default_rng(seed)
    net = Net(rng, *kinds)
    x = net.input(3, 4, 5)
    per_channel = bool(rng.integers(2))
    network = net.done(net.conv(x, 4, (2, 2), per_channel=per_channel, bias=bool(rng.integers(2))))
    path = tmp_path_factory.getbasetemp() / "one.onnx"
    write_qdq(network, path)
    same(network, read_quantized(path))


@pytest.mark.parametrize("kinds", KINDS, ids="x".join)
def test_the_file_is_valid_onnx(kinds: tuple[str, str]) -> None:
    for reader in ("onnxruntime", "onnx"):
        onnx.checker.check_model(qdq_model(_everything(kinds), reader=reader), full_check=True)


def test_the_opset_is_the_lowest_that_has_the_types() -> None:
    assert {
        kinds: qdq_model(_everything(kinds)).opset_import[0].version
        for kinds in (("u8", "s8"), ("s3", "u5"), ("u8", "s4"), ("u16", "s8"), ("u2", "s2"))
    } == {("u8", "s8"): 13, ("s3", "u5"): 13, ("u8", "s4"): 21, ("u16", "s8"): 21, ("u2", "s2"): 13}
    assert qdq_model(_everything(("u4", "s8")), reader="onnx").opset_import[0].version == 21
    assert qdq_model(_everything(("u8", "s2")), reader="onnx").opset_import[0].version == 25


def test_a_dilated_average_asks_for_the_opset_that_has_it() -> None:
    net = Net(np.random.default_rng(0))
    network = net.done(net.pool("AveragePool", net.input(1, 6, 6), (2, 2), dilations=(2, 1)))
    model = qdq_model(network)
    assert model.opset_import[0].version == 19
    onnx.checker.check_model(model, full_check=True)


def test_onnxs_own_integer_types_are_used_where_it_has_them() -> None:
    def kinds_of(kinds: tuple[str, str], reader: Reader) -> dict[str, str]:
        parts = {part.name: part for part in qdq_model(_everything(kinds), reader=reader).graph.initializer}
        names = {"weight": "weight_1", "bias": "weight_1_bias", "activation": "conv_1:zero_point"}
        return {what: onnx.TensorProto.DataType.Name(parts[name].data_type) for what, name in names.items()}

    assert kinds_of(("u4", "s4"), "onnx") == {"weight": "INT4", "bias": "INT32", "activation": "UINT4"}
    assert kinds_of(("s2", "u2"), "onnx") == {"weight": "UINT2", "bias": "INT32", "activation": "INT2"}
    assert kinds_of(("s16", "u16"), "onnx") == {"weight": "UINT16", "bias": "INT32", "activation": "INT16"}
    assert kinds_of(("u4", "s4"), "onnxruntime") == {"weight": "INT4", "bias": "INT32", "activation": "UINT8"}


def test_a_bias_of_more_than_32_bits_fits_if_its_values_do(tmp_path: Path) -> None:
    network = _everything(("u8", "s8"))
    of = network.affines["weight_1_bias"]
    wide = affine(of.scale, 0, "s48", of.axis)
    fits = replace(network, affines=network.affines | {"weight_1_bias": wide})
    write_qdq(fits, tmp_path / "fits.onnx")
    assert read_quantized(tmp_path / "fits.onnx").affines["weight_1_bias"] == wide
    constants = network.graph.constants | {"weight_1_bias": np.full(4, 1 << 31)}
    with pytest.raises(IntsimError, match="weight_1_bias: reaches 2147483648: this format holds a bias of 32 bits"):
        qdq_model(replace(fits, graph=replace(network.graph, constants=constants)))


@pytest.mark.parametrize(
    "options", [{}, {"weight_bits": 4, "activation_bits": 4}, {"weight_bits": 3, "granularity": "tensor"}], ids=str
)
@pytest.mark.parametrize("name", intsim_models.NAMES)
def test_the_embedded_networks_survive_both_formats(name: str, options: dict[str, object], tmp_path: Path) -> None:
    images = intsim_models.images()
    graph = intsim.load(intsim_models.path(name))
    network = intsim.quantize(graph, images.x_calibration[:16], **options)
    for write in (write_qdq, write_qoperator):
        write(network, tmp_path / "network.onnx")
        found = intsim.load(tmp_path / "network.onnx")
        assert isinstance(found, QuantizedGraph)
        same(network, found)


# ---- what the file computes ----------------------------------------------------------------------------------


def _close(network: QuantizedGraph, optimization: ort.Optimization) -> None:
    """onnxruntime's floats lie on the outputs' grids, and near the ideal machine's integers."""
    rng = np.random.default_rng(3)
    program = lower(network, TARGETS["ideal"])
    x = {
        name: dequantized(
            integers(rng, str(network.affines[name].type), (8, *network.graph.shapes[name])), network.affines[name]
        )
        for name in network.graph.inputs
    }
    ours = oracle.run(program, x).integers
    run = ort.runner(qdq_model(network).SerializeToString(), optimization=optimization, expose=False)
    for name, floats in run(x).items():
        of = network.affines[name]
        theirs = floats / np.float32(of.scale[0]) + of.zero
        assert np.abs(theirs - np.rint(theirs)).max() < 1e-3
        assert of.type.low <= np.rint(theirs).min() <= np.rint(theirs).max() <= of.type.high
        difference = np.abs(np.rint(theirs) - ours[name])
        assert difference.max() <= 1, f"{name}: {difference.max()} steps"
        assert np.count_nonzero(difference) <= difference.size // 10


def _layers(kinds: tuple[str, str]) -> list[QuantizedGraph]:
    made = []
    for build in (
        lambda net, x: net.conv(x, 4, (3, 2), pads=(1, 0, 1, 1), group=2),
        lambda net, x: net.keep("Relu", net.conv(x, 3, (2, 2), per_channel=False, bias=False)),
        lambda net, x: net.keep("Clip", x, min=-0.5, max=1.0),
        lambda net, x: net.add(x, net.keep("Relu", x)),
        lambda net, x: net.pool("MaxPool", x, (2, 2), strides=(2, 2)),
        lambda net, x: net.pool("AveragePool", x, (1, 3), pads=(0, 2, 0, 1), include=1, of=net.affines[x]),
        lambda net, x: net.gemm(net.keep("Flatten", net.mean(x), (6,)), 4),
        lambda net, x: net.concat(x, net.keep("Pad", x, (6, 5, 5), pads=(0,) * 6, value=0.0)),
    ):
        net = Net(np.random.default_rng(len(made)), *kinds)
        kind = int_type(kinds[0])
        step = 4 / (kind.high - kind.low)
        x = net.input(6, 5, 5, of=affine(step, (kind.low + kind.high) // 2, kind))
        made.append(net.done(build(net, x)))
    return made


@pytest.mark.parametrize(
    "kinds", [("u8", "s5"), ("s8", "s5"), ("u6n", "s4"), ("s3", "s3"), ("u4", "s2"), ("u12", "s3")], ids="x".join
)
def test_onnxruntimes_floats_are_the_ideal_machines_integers(kinds: tuple[str, str]) -> None:
    for network in _layers(kinds):
        _close(network, "disabled")
        _close(network, "all")


# ---- what is refused -----------------------------------------------------------------------------------------


def test_another_tools_file_is_refused_with_its_name(tmp_path: Path) -> None:
    model = qdq_model(_everything(("u8", "s8")))
    del model.metadata_props[:]
    model.producer_name = "onnx.quantize"
    onnx.save(model, tmp_path / "theirs.onnx")
    assert is_quantized(tmp_path / "theirs.onnx")
    with pytest.raises(
        IntsimError, match=r"theirs\.onnx: was quantized by another tool \(onnx\.quantize\): read it with intsim"
    ):
        read_quantized(tmp_path / "theirs.onnx")


@pytest.mark.parametrize(
    ("op", "domain"),
    [
        ("QuantizeLinear", ""),
        ("DequantizeLinear", "com.microsoft"),
        ("QLinearConv", ""),
        ("ConvInteger", ""),
        ("QLinearAdd", "com.microsoft"),
        ("QGemm", "com.microsoft"),
        ("Quant", "qonnx.custom_op.general"),
        ("BipolarQuant", "qonnx.custom_op.general"),
        ("Quant", "onnx.brevitas"),
    ],
)
def test_a_damaged_file_of_any_dialect_is_recognised_and_refused_in_one_line(
    op: str, domain: str, tmp_path: Path
) -> None:
    node = onnx.helper.make_node(op, ["x"], ["y"], domain=domain)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3]) for name in "xy"]
    imports = [onnx.helper.make_opsetid("", 13), onnx.helper.make_opsetid(domain or "other", 1)]
    graph = onnx.helper.make_graph([node], "theirs", ends[:1], ends[1:])
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports), tmp_path / "theirs.onnx")
    assert is_quantized(tmp_path / "theirs.onnx")
    with pytest.raises(IntsimError, match=r"theirs\.onnx: ") as error:
        intsim.load(tmp_path / "theirs.onnx")
    assert "\n" not in str(error.value)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    model = qdq_model(_everything(("u8", "s8")))
    next(entry for entry in model.metadata_props if entry.key == "intsim.format").value = "qdq 2"
    onnx.save(model, tmp_path / "new.onnx")
    with pytest.raises(IntsimError, match='"qdq 2": upgrade intsim'):
        read_quantized(tmp_path / "new.onnx")


@pytest.mark.parametrize("damage", ["types", "scale", "node", "range", "metadata"])
def test_a_file_that_was_changed_is_refused_in_one_line(damage: str, tmp_path: Path) -> None:
    model = qdq_model(_everything(("u8", "s8")))
    props = {entry.key: entry for entry in model.metadata_props}
    parts = {part.name: part for part in model.graph.initializer}
    if damage == "types":
        props["intsim.types"].value = json.dumps({"input_0": "q8"})
    elif damage == "metadata":
        props["intsim.pixels"].value = "{"
    elif damage == "scale":
        parts["input_0:scale"].CopyFrom(onnx.numpy_helper.from_array(np.float32(-1), "input_0:scale"))
    elif damage == "range":
        props["intsim.types"].value = props["intsim.types"].value.replace('"weight_1": "s8"', '"weight_1": "s4"')
    else:
        model.graph.node.remove(next(node for node in model.graph.node if node.op_type == "DequantizeLinear"))
    onnx.save(model, tmp_path / "changed.onnx")
    with pytest.raises(IntsimError) as caught:
        read_quantized(tmp_path / "changed.onnx")
    assert str(caught.value).startswith(str(tmp_path / "changed.onnx"))
    assert "\n" not in str(caught.value)


def test_more_bits_than_onnx_has_are_refused(tmp_path: Path) -> None:
    network = _everything(("u8", "s8"))
    wide = replace(network, affines=network.affines | {"add_5": any_affine(np.random.default_rng(0), "s17")})
    with pytest.raises(IntsimError, match="add_5: is s17: this format holds 16 bits"):
        write_qdq(wide, tmp_path / "wide.onnx")
    assert not list(tmp_path.iterdir())


def test_a_folder_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IntsimError, match="cannot be written"):
        write_qdq(_everything(("u8", "s8")), tmp_path / "nowhere" / "network.onnx")


def test_a_float_file_is_not_quantized(tmp_path: Path) -> None:
    node = onnx.helper.make_node("Relu", ["x"], ["y"])
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["N", 3]) for name in "xy"]
    model = onnx.helper.make_model(onnx.helper.make_graph([node], "float", ends[:1], ends[1:]))
    onnx.save(model, tmp_path / "float.onnx")
    assert not is_quantized(tmp_path / "float.onnx")


def test_equal_networks_give_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_qdq(_everything(("u8", "s4")), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
