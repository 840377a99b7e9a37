"""A float ONNX file becomes one Graph, however it was exported; a damaged or hostile one becomes one clean error."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from onnx_text import difference, model, normalised, ops, saved, softmax

from intsim.errors import IntsimError
from intsim.graph import Graph
from intsim.normalise import normalise, unsupported
from intsim.onnx_io import read
from intsim.onnx_io.protobuf import NEWEST_OPSET, OLDEST_OPSET

# ---- what torch exports ------------------------------------------------------------------------------------

EXPORTS = ["static", "dynamic", "legacy_static", "legacy_dynamic"]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One torch network with everything that the exporters spell differently, exported in all four ways."""
    torch = pytest.importorskip("torch")
    from torch import nn

    from intsim_models.export import export

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm2d(6)
            self.conv = nn.Conv2d(6, 6, 3, padding=1, groups=2, bias=False)
            self.after = nn.BatchNorm2d(6)

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            return torch.relu(self.after(self.conv(torch.relu(self.norm(x)))) + x)

    class Everything(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("mean", torch.full((1, 1, 1, 1), 0.286))
            self.register_buffer("std", torch.full((1, 1, 1, 1), 0.353))
            self.stem = nn.Sequential(nn.Conv2d(1, 6, 3, stride=2), nn.BatchNorm2d(6), nn.ReLU6())
            self.block = Block()
            self.pool = nn.Sequential(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2), nn.Dropout())
            self.mean_of = nn.AdaptiveAvgPool2d(1)
            self.head = nn.Sequential(nn.Linear(66, 8), nn.BatchNorm1d(8), nn.Hardtanh(), nn.Linear(8, 10))

        def forward(self, x: "torch.Tensor") -> "torch.Tensor":
            x = self.pool(self.block(self.stem((x - self.mean) / self.std)))
            both = torch.cat([x, x.clamp(0.1, 0.4)], 1)
            flat = torch.cat([self.mean_of(both).flatten(1), x.reshape(x.size(0), -1)], 1)
            return torch.softmax(self.head(flat), -1)

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = Everything().eval()
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
                module.running_mean.uniform_(-1, 1)
                module.running_var.uniform_(0.5, 2)
                nn.init.uniform_(module.weight, 0.5, 2)
                nn.init.uniform_(module.bias, -1, 1)
    folder = tmp_path_factory.mktemp("exports")
    for way in EXPORTS:
        legacy, static = "legacy" in way, "static" in way
        path = folder / f"{way}.onnx"
        export(network, path, legacy=legacy, static_batch=static, opset=13 if legacy else None)
    return {way: folder / f"{way}.onnx" for way in EXPORTS}


@pytest.mark.parametrize("way", EXPORTS)
def test_both_exporters_static_and_dynamic_compute_what_onnxruntime_computes(
    exported: dict[str, Path], way: str
) -> None:
    graph, _ = normalised(exported[way])
    assert difference(graph, exported[way], batch=1 if "static" in way else 4, last=softmax) < 1e-4


def test_both_exporters_static_and_dynamic_give_one_graph(exported: dict[str, Path]) -> None:
    graphs = [normalised(exported[way])[0] for way in EXPORTS]
    assert len(graphs[0].nodes) == 18
    for graph in graphs[1:]:
        assert [(n.op, n.attributes) for n in graph.nodes] == [(n.op, n.attributes) for n in graphs[0].nodes]
        for one, other in zip(graphs[0].nodes, graph.nodes, strict=True):
            assert graphs[0].shapes[one.outputs[0]] == graph.shapes[other.outputs[0]]
            for mine, theirs in zip(one.inputs, other.inputs, strict=True):
                if mine in graphs[0].constants:
                    np.testing.assert_allclose(graphs[0].constants[mine], graph.constants[theirs], rtol=1e-4, atol=1e-5)
        assert graph.pixels.keys() == {"image"}


def test_a_batch_that_the_file_fixes_is_any_batch_in_the_graph(exported: dict[str, Path]) -> None:
    graph = read(exported["legacy_static"])
    assert {op for op in ops(graph) if op in ("Shape", "Gather", "Constant", "Unsqueeze")} == set()
    assert graph.shapes["image"] == (1, 28, 28)


# ---- shapes and constants ----------------------------------------------------------------------------------

CHAIN = """net (float[n,2,3,3] x) => (float[n,18] y) <int64 zero = {0}, int64[1] first = {0}, int64[1] rest = {-1}> {
    r = Relu(x)  s = Shape(r)  b = Gather(s, zero)  u = Unsqueeze(b, first)  t = Concat<axis = 0>(u, rest)
    y = Reshape(r, t) }"""


@pytest.mark.parametrize("batch", ["n", "1", "9"])
def test_a_shape_computed_from_the_batch_becomes_a_constant_of_one_sample(tmp_path: Path, batch: str) -> None:
    graph = read(saved(tmp_path, CHAIN.replace("[n", f"[{batch}")))
    assert ops(graph) == ["Relu", "Reshape"]
    assert graph.constants[graph.nodes[1].inputs[1]].tolist() == [-1, 18]
    assert graph.shapes == {"x": (2, 3, 3), "r": (2, 3, 3), "y": (18,)}


def test_what_depends_on_constants_alone_is_computed(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,3] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}> {
        k = Constant<value_float = 2.0>()  t = Transpose<perm = [1, 0]>(w)  u = Identity(t)  v = Mul(u, k)
        y = MatMul(x, v) }"""
    graph = read(saved(tmp_path, text))
    assert ops(graph) == ["MatMul"]
    np.testing.assert_array_equal(graph.constants["v"], [[2, 6, 10], [4, 8, 12]])
    assert graph.constants.keys() == {"v"}


def test_the_integers_of_a_quantized_weight_are_left_as_the_file_has_them(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,3] y) <int8[2,3] q = {1, -2, 3, 4, -5, 6}, float s = {0.5}> {
        w = DequantizeLinear(q, s)  y = MatMul(x, w) }"""
    graph = read(saved(tmp_path, text))
    assert ops(graph) == ["DequantizeLinear", "MatMul"]
    assert graph.constants["q"].dtype == np.int8


def test_attributes_that_a_file_leaves_out_have_the_defaults_of_its_opset(tmp_path: Path) -> None:
    text = "net (float[n,2] x) => (float[n,2] y) { y = Softmax(x) }"
    old, new = (read(saved(tmp_path, text, opset)) for opset in (11, 13))
    assert (old.nodes[0].attributes["axis"], new.nodes[0].attributes["axis"]) == (1, -1)


def test_nodes_get_names_of_their_own(tmp_path: Path) -> None:
    proto = model("net (float[n,2] x) => (float[n,2] y) { a = Relu(x)  b = Relu(a)  c = Relu(b)  y = Relu(c) }")
    for node, name in zip(proto.graph.node, ("same", "same", "", "relu_2"), strict=True):
        node.name = name
    onnx.save(proto, tmp_path / "net.onnx")
    assert [node.name for node in read(tmp_path / "net.onnx").nodes] == ["same", "same_2", "relu_2", "relu_2_2"]


def test_nodes_that_stand_in_no_running_order_are_put_in_one(tmp_path: Path) -> None:
    proto = model("net (float[n,2] x) => (float[n,2] y) { a = Relu(x)  b = Neg(a)  y = Exp(b) }")
    backwards = list(reversed(proto.graph.node))
    del proto.graph.node[:]
    proto.graph.node.extend(backwards)
    onnx.save(proto, tmp_path / "net.onnx")
    assert ops(read(tmp_path / "net.onnx")) == ["Relu", "Neg", "Exp"]


def test_weights_that_also_stand_among_the_inputs_are_weights(tmp_path: Path) -> None:
    proto = model("net (float[n,2] x) => (float[n,2] y) <float[2] b = {1, 2}> { y = Add(x, b) }", opset=11, ir=3)
    proto.graph.input.append(helper.make_tensor_value_info("b", TensorProto.FLOAT, [2]))
    onnx.save(proto, tmp_path / "net.onnx")
    assert read(tmp_path / "net.onnx").inputs == ("x",)


@pytest.mark.parametrize("kind", ["float16", "double", "bfloat16"])
def test_weights_of_other_float_types_become_float32(tmp_path: Path, kind: str) -> None:
    number = {"float16": 10, "double": 11, "bfloat16": 16}[kind]
    text = f"""net ({kind}[n,2] x) => ({kind}[n,2] y) <float[2] c = {{1, 2}}> {{
        b = Cast<to = {number}>(c)  y = Add(x, b) }}"""
    graph = read(saved(tmp_path, text))
    assert graph.constants["b"].dtype == np.float32
    assert graph.constants["b"].tolist() == [1, 2]


@pytest.mark.parametrize("opset", range(OLDEST_OPSET, NEWEST_OPSET + 1))
def test_every_opset_from_11_to_the_newest_is_read(tmp_path: Path, opset: int) -> None:
    text = """net (float[n,2,6,6] x) => (float[n,3] y) <random[3,2,3,3] w, random[3] g, random[3] b, random[3] m,
        float[3] v = {1, 2, 3}, float low = {0}, float high = {6}> {
        c = Conv<pads = [1, 1, 1, 1]>(x, w)  n = BatchNormalization(c, g, b, m, v)  r = Clip(n, low, high)
        p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(r)  a = AveragePool<kernel_shape = [3, 3]>(p)
        y = Flatten(a) }"""
    graph, _ = normalised(saved(tmp_path, text, opset))
    assert ops(graph) == ["Conv", "Clip", "MaxPool", "GlobalAveragePool", "Flatten"]


def test_functions_of_the_file_are_put_in_place_of_their_calls(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,2] y) { a = local.twice(x)  y = Relu(a) }
        <domain: "local", opset_import: ["" : 20]> twice (v) => (w) { w = Add(v, v) }"""
    path = tmp_path / "net.onnx"
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 20, "local" : 1]>\n{text}')
    onnx.save(proto, path)
    assert ops(read(path)) == ["Add", "Relu"]


# ---- what is not known, or not supported, survives to be listed --------------------------------------------


def test_operators_of_other_domains_survive_and_are_listed_together(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,2] y) {
        a = com.acme.Blur(x)  b = Relu(a)  c = Gelu(b)  d = Nonsense(c)  y = com.acme.Sharpen(d) }"""
    proto = onnx.parser.parse_model(f'<ir_version: 8, opset_import: ["" : 20, "com.acme" : 1]>\n{text}')
    onnx.save(proto, tmp_path / "net.onnx")
    graph, _ = normalise(read(tmp_path / "net.onnx"))
    assert [(name, op) for name, op, _ in unsupported(graph, ["Relu"])] == [
        ("blur_0", "com.acme.Blur"),
        ("gelu_2", "Gelu"),
        ("nonsense_3", "Nonsense"),
        ("sharpen_4", "com.acme.Sharpen"),
    ]


def test_control_flow_survives_with_what_it_reads_and_is_listed(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,2] y) <bool yes = {1}> {
        a = Relu(x)
        y = If (yes) <
            then_branch = one () => (float[n,2] t) { t = Neg(a) },
            else_branch = two () => (float[n,2] e) { e = Identity(a) }> }"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert graph.nodes[-1].inputs == ("yes", "a")
    assert [(name, op) for name, op, _ in unsupported(graph, ["Relu"])] == [("if_1", "If")]


@pytest.mark.parametrize("batch", ["n", "1"])
def test_an_output_that_has_the_batch_elsewhere_is_listed_and_nothing_before_it(tmp_path: Path, batch: str) -> None:
    text = f"""net (float[{batch},2,3] x) => (float[m,3] y) <int64[2] flat = {{-1, 3}}> {{
        r = Relu(x)  a = Reshape(r, flat)  y = Relu(a) }}"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert [name for name, _, _ in unsupported(graph, ["Relu", "Reshape"])] == ["relu_2"]
    assert "y" not in graph.shapes


def test_a_vector_that_is_repeated_for_every_sample_is_one_constant(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,5] y)
        <float[1,3] token = {1, 2, 3}, int64 zero = {0}, int64[1] first = {0}, int64[1] three = {3}> {
        s = Shape(x)  b = Gather(s, zero)  u = Unsqueeze(b, first)  t = Concat<axis = 0>(u, three)
        e = Expand(token, t)  y = Concat<axis = 1>(e, x) }"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert graph.shapes["y"] == (5,)
    assert unsupported(graph, ["Pad", "Reshape", "Conv", "Flatten"]) == ()


# ---- bad input: one line that says where, what and how to mend it ------------------------------------------

SMALL = """net (float[n,2] x) => (float[n,3] y) <float[3,2] w = {1, 2, 3, 4, 5, 6}, float[3] b = {1, 2, 3}> {
    h = Gemm<transB = 1>(x, w, b)  r = Relu(h)  y = Identity(r) }"""


def refused(path: Path) -> str:
    with pytest.raises(IntsimError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message
    return message


def changed(tmp_path: Path, change: Callable[[onnx.ModelProto], object], text: str = SMALL) -> str:
    proto = model(text)
    change(proto)
    path = tmp_path / "net.onnx"
    path.write_bytes(proto.SerializeToString())
    return refused(path)


def test_every_truncation_is_one_clean_error(tmp_path: Path) -> None:
    whole, path = model(SMALL).SerializeToString(), tmp_path / "net.onnx"
    for end in range(len(whole)):
        path.write_bytes(whole[:end])
        assert "net.onnx: " in refused(path)
    path.write_bytes(whole)
    assert ops(read(path)) == ["Gemm", "Relu", "Identity"]


def test_truncated_shipped_networks_are_clean_errors(tmp_path: Path) -> None:
    import intsim_models

    whole, path = (Path(intsim_models.__file__).parent / "cnn.onnx").read_bytes(), tmp_path / "cnn.onnx"
    for end in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:end])
        refused(path)


def test_random_bytes_are_one_clean_error(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "net.onnx"
    for size in range(400):
        path.write_bytes(rng.bytes(size))
        assert "not an ONNX file" in refused(path) or "damaged" in refused(path)


def test_a_flipped_byte_is_a_clean_error_or_another_network(tmp_path: Path) -> None:
    rng, path = np.random.default_rng(0), tmp_path / "net.onnx"
    whole = bytearray(model(CHAIN).SerializeToString())
    errors = []
    for index, value in enumerate(whole):
        path.write_bytes(whole[:index] + bytes([value ^ int(rng.integers(1, 256))]) + whole[index + 1 :])
        try:
            graph, _ = normalise(read(path))
            assert isinstance(unsupported(graph, ["Relu"]), tuple)
        except IntsimError as error:
            errors.append(str(error))
    assert len(errors) > len(whole) // 4
    assert not any("\n" in error for error in errors)


def test_a_missing_file_a_folder_and_an_empty_file_are_refused(tmp_path: Path) -> None:
    assert "does not exist" in refused(tmp_path / "none.onnx")
    assert "is a folder" in refused(tmp_path)
    (tmp_path / "empty.onnx").write_bytes(b"")
    assert "is not an ONNX file" in refused(tmp_path / "empty.onnx")


@pytest.mark.parametrize("opset", [0, 1, OLDEST_OPSET - 1, NEWEST_OPSET + 1])
def test_an_opset_out_of_range_is_refused_with_the_range(tmp_path: Path, opset: int) -> None:
    message = changed(tmp_path, lambda m: m.opset_import[0].__setattr__("version", opset))
    assert f"has opset {opset}, and opsets 11 to {NEWEST_OPSET} can be read" in message
    assert "onnx.version_converter" in message


def weight(proto: onnx.ModelProto) -> TensorProto:
    return proto.graph.initializer[0]


@pytest.mark.parametrize("dims", [[3, 3], [2**40], [2**31, 2**31], [2**62, 4], [-3, -2], [3]])
@pytest.mark.parametrize("raw", [False, True])
def test_a_weight_that_is_not_as_large_as_it_declares_is_refused_before_it_is_made(
    tmp_path: Path, dims: list[int], raw: bool
) -> None:
    def change(proto: onnx.ModelProto) -> None:
        if raw:
            weight(proto).raw_data = onnx.numpy_helper.to_array(weight(proto)).tobytes()
            del weight(proto).float_data[:]
        weight(proto).dims[:] = dims

    message = changed(tmp_path, change)
    assert message.startswith("w: declares")


def test_a_constant_that_would_be_huge_is_not_computed(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,2] y) <int64[3] many = {100000, 100000, 1000}> {
        c = ConstantOfShape(many)  s = ReduceSum<keepdims = 0>(c)  y = Add(x, s) }"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert unsupported(graph, ["Add"])[0][:2] == ("constantofshape_0", "ConstantOfShape")


@pytest.mark.parametrize("kind", [TensorProto.STRING, TensorProto.UNDEFINED, TensorProto.COMPLEX64, 99])
def test_a_weight_of_no_numbers_is_refused(tmp_path: Path, kind: int) -> None:
    assert "holds elements of type" in changed(tmp_path, lambda m: weight(m).__setattr__("data_type", kind))


def external(proto: onnx.ModelProto, **entries: object) -> None:
    weight(proto).ClearField("float_data")
    weight(proto).data_location = TensorProto.EXTERNAL
    for key, value in entries.items():
        weight(proto).external_data.add(key=key, value=str(value))


def test_external_data_beside_the_model_is_read(tmp_path: Path) -> None:
    proto = model(SMALL)
    external(proto, location="weights/w.bin", offset=4, length=24)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "w.bin").write_bytes(b"....."[:4] + np.arange(6, dtype=np.float32).tobytes())
    onnx.save(proto, tmp_path / "net.onnx")
    assert read(tmp_path / "net.onnx").constants["w"].ravel().tolist() == list(range(6))


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ({"location": "none.bin"}, "is missing"),
        ({"location": "../secret.bin"}, "outside the model's folder"),
        ({"location": "a/../../secret.bin"}, "outside the model's folder"),
        ({"location": "ABSOLUTE"}, "outside the model's folder"),
        ({"location": "C:\\secret.bin"}, "outside the model's folder"),
        ({"location": "link.bin"}, "a link to outside the model's folder"),
        ({"location": "linked/secret.bin"}, "a link to outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({}, "outside the model's folder"),
        ({"location": "w.bin", "offset": 8}, "is too short"),
        ({"location": "w.bin", "offset": -4}, "is too short"),
        ({"location": "w.bin", "offset": "many"}, "is no number"),
        ({"location": "w.bin", "length": 12}, "declares 24 bytes of external data and holds 12"),
        ({"location": "folder"}, "is missing"),
    ],
)
def test_external_data_that_is_missing_or_lies_elsewhere_is_refused(
    tmp_path: Path, entries: dict[str, object], what: str
) -> None:
    folder = tmp_path / "model"
    (folder / "folder").mkdir(parents=True)
    secret = tmp_path / "secret.bin"
    for file in (secret, folder / "w.bin"):
        file.write_bytes(np.zeros(6, np.float32).tobytes())
    os.symlink(secret, folder / "link.bin")
    os.symlink(tmp_path, folder / "linked")
    given = {key: str(secret) if value == "ABSOLUTE" else value for key, value in entries.items()}
    message = changed(folder, lambda m: external(m, **given))
    assert message.startswith("w: ")
    assert what in message


def test_a_tensor_among_attributes_may_not_lie_in_another_file(tmp_path: Path) -> None:
    text = """net (float[n,2] x) => (float[n,2] y) <int64[1] s = {2}> {
        c = ConstantOfShape<value = float[1] {3}>(s)  y = Add(x, c) }"""

    def change(proto: onnx.ModelProto) -> None:
        tensor = proto.graph.node[0].attribute[0].t
        tensor.ClearField("float_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="/etc/hostname")

    assert 'its attribute "value" lies in another file' in changed(tmp_path, change, text)


def second_producer(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].output[0] = "h"


def circle(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].input[0] = "r"


def orphan(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].input[0] = "nowhere"


def missing_output(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "elsewhere"


def constant_output(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].name = "w"


def two_weights(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[1].name = "w"


def two_inputs(proto: onnx.ModelProto) -> None:
    proto.graph.input.append(proto.graph.input[0])


def taken_by_an_input(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].output[0] = "x"


def wrong_attribute(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(helper.make_attribute("axis", 3))


def no_operand(proto: onnx.ModelProto) -> None:
    del proto.graph.node[0].input[1:]


def unnamed_operand(proto: onnx.ModelProto) -> None:
    proto.graph.node[1].input[0] = ""


def wrong_shape(proto: onnx.ModelProto) -> None:
    weight(proto).dims[:] = [2, 3]


def sparse(proto: onnx.ModelProto) -> None:
    proto.graph.sparse_initializer.add()


def two_lines(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].name = "one\ntwo"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (second_producer, 'relu_1: computes "h", a name that is taken'),
        (circle, "the nodes gemm_0, relu_1, identity_2 wait for each other: they form a circle"),
        (orphan, 'relu_1: reads "nowhere", which nothing computes'),
        (missing_output, 'output "elsewhere": does not depend on any image'),
        (constant_output, 'output "w": does not depend on any image'),
        (two_weights, 'net.onnx: has two weights called "w"'),
        (two_inputs, 'input "x": stands twice'),
        (taken_by_an_input, 'gemm_0: computes "x", a name that is taken'),
        (wrong_attribute, "gemm_0: is no valid Gemm (Unrecognized attribute: axis"),
        (no_operand, "gemm_0: is no valid Gemm"),
        (unnamed_operand, "relu_1: is no valid Relu ("),
        (wrong_shape, "gemm_0: is no valid Gemm"),
        (sparse, "net.onnx: has sparse weights"),
        (two_lines, "a name in it is no text"),
    ],
)
def test_a_graph_that_is_none_is_refused_by_name(
    tmp_path: Path, change: Callable[[onnx.ModelProto], None], message: str
) -> None:
    assert message in changed(tmp_path, change)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ("float[n,3,height,8] x", 'input "x": the dimension "height" (axis 2) is dynamic'),
        ("float[n,3,8,0] x", 'input "x": the dimension axis 3 is dynamic'),
        ("float[] x", 'input "x": has a dynamic rank, or none'),
        ("int64[n,3] x", 'input "x": takes INT64'),
        ("seq(float[n,3]) x", 'input "x": is no tensor'),
        ("float[2,3] x, float[4,3] v", "the first axes of the inputs are [2, 4]"),
        ("float[0,3] x", "the first axes of the inputs are [0]"),
        ("", "the network has no input"),
    ],
)
def test_an_input_that_is_no_batch_of_images_is_refused(tmp_path: Path, inputs: str, message: str) -> None:
    reads = "x" if inputs else "w"
    text = f"net ({inputs}) => (float[n,3] y) <float[3] w = {{1, 2, 3}}> {{ y = Relu({reads}) }}"
    assert message in refused(saved(tmp_path, text))


def test_a_dynamic_rank_is_refused(tmp_path: Path) -> None:
    assert "has a dynamic rank" in changed(tmp_path, lambda m: m.graph.input[0].type.tensor_type.ClearField("shape"))


@pytest.mark.parametrize("attribute", ["strides = [0, 1]", "dilations = [0, 0]", "kernel_shape = [0, 3]", "pads = [1]"])
def test_a_window_of_impossible_geometry_is_refused(tmp_path: Path, attribute: str) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,2,h,w] y) <random[2,2,3,3] w> {{ y = Conv<{attribute}>(x, w) }}"""
    assert "conv_0: is no valid Conv" in refused(saved(tmp_path, text))


def test_no_group_and_no_room_for_a_window_are_listed_or_refused(tmp_path: Path) -> None:
    text = "net (float[n,2,5,5] x) => (float[n,2,h,w] y) <random[2,2,SIZE] w> { y = Conv<group = GROUP>(x, w) }"
    graph, _ = normalise(read(saved(tmp_path, text.replace("SIZE", "3,3").replace("GROUP", "0"))))
    assert unsupported(graph, ["Conv"])[0][2] == "has 0 groups"
    assert "its output would" in refused(saved(tmp_path, text.replace("SIZE", "7,7").replace("GROUP", "1")))


def functions(*bodies: str) -> bytes:
    text = "net (float[n,2] x) => (float[n,2] y) { y = local.f0(x) }"
    for index, body in enumerate(bodies):
        text += f'<domain: "local", opset_import: ["" : 20, "local" : 1]> f{index} (v) => (w) {{ {body} }}'
    head = '<ir_version: 8, opset_import: ["" : 20, "local" : 1]>'
    proto: onnx.ModelProto = onnx.parser.parse_model(f"{head}\n{text}")
    return proto.SerializeToString()


def test_a_function_that_calls_itself_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(functions("w = local.f1(v)", "w = local.f0(v)"))
    assert 'function "f0": calls itself' in refused(tmp_path / "net.onnx")


def test_functions_that_unfold_without_bound_are_refused(tmp_path: Path) -> None:
    layers = [f"a = local.f{i + 1}(v)  b = local.f{i + 1}(a)  w = local.f{i + 1}(b)" for i in range(40)]
    (tmp_path / "net.onnx").write_bytes(functions(*layers, "w = Relu(v)"))
    assert "its functions unfold into 1000000 nodes or more" in refused(tmp_path / "net.onnx")


def test_two_graphs_of_one_file_are_the_same(tmp_path: Path) -> None:
    path = saved(tmp_path, SMALL)
    one, other = read(path), read(str(path))
    assert isinstance(one, Graph)
    assert (one.nodes, one.shapes) == (other.nodes, other.shapes)
