"""Every rule is an equation: after it the network computes what onnxruntime computes with the file as it was."""

import math
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from naive import RUN, run_graph
from onnx_text import difference, normalised, ops, run_onnxruntime, saved

from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Pixels
from intsim.normalise import RULES, normalise, unsupported
from intsim.onnx_io import read

NETWORKS = ["mlp", "lenet5", "cnn", "resnet8", "dscnn"]
CLOSE = 1e-4  # relative, against float32


def shipped(name: str) -> Path:
    import intsim_models

    return Path(intsim_models.__file__).parent / f"{name}.onnx"


def agree(path: Path, *expected: str) -> tuple[Graph, tuple[str, ...]]:
    """The normalised graph: it has the expected operators and computes what onnxruntime computes with the file."""
    graph, notes = normalised(path)
    assert ops(graph) == list(expected)
    assert difference(graph, path) < CLOSE
    return graph, notes


@pytest.mark.parametrize("name", NETWORKS)
def test_the_shipped_networks_compute_what_onnxruntime_computes(name: str) -> None:
    graph, notes = normalised(shipped(name))
    assert difference(graph, shipped(name), batch=8) < CLOSE
    assert notes == ()
    assert set(ops(graph)) <= {"Conv", "Relu", "Clip", "MaxPool", "GlobalAveragePool", "Add", "Flatten", "Gemm"}


def test_every_rule_states_its_equation() -> None:
    for rule in RULES:
        assert rule.__doc__
        assert ("=" in rule.__doc__) or len(rule.__doc__) > 40, rule.__name__


# ---- what only names, moves or clips numbers ---------------------------------------------------------------


def test_identity_dropout_and_casts_between_floats_disappear(tmp_path: Path) -> None:
    text = """net (float[n,2,3,3] x) => (float[n,2,3,3] y) {
        a = Identity(x)  b = Dropout(a)  c = Cast<to = 11>(b)  d = Cast<to = 1>(c)  e = Relu(d)  y = Identity(e) }"""
    graph, _ = agree(saved(tmp_path, text), "Relu")
    assert graph.outputs == ("y",)


def test_two_outputs_of_one_tensor_keep_their_names(tmp_path: Path) -> None:
    text = "net (float[n,4] x) => (float[n,4] a, float[n,4] b) { r = Relu(x) a = Identity(r) b = Identity(r) }"
    graph, _ = agree(saved(tmp_path, text), "Relu", "Reshape")
    assert graph.outputs == ("a", "b")


def test_a_dropout_whose_mask_is_read_stays_and_is_named(tmp_path: Path) -> None:
    text = "net (float[n,4] x) => (float[n,4] y, bool[n,4] m) { y, m = Dropout(x) }"
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert [name for name, _, _ in unsupported(graph, RUN)] == ["dropout_0"]


def test_transposes_that_undo_each_other_disappear(tmp_path: Path) -> None:
    text = """net (float[n,2,3,4] x) => (float[n,2,3,4] y) {
        a = Transpose<perm = [0, 2, 3, 1]>(x)  b = Transpose<perm = [0, 3, 1, 2]>(a)  y = Relu(b) }"""
    agree(saved(tmp_path, text), "Relu")


def test_a_transpose_that_moves_only_ones_is_a_reshape(tmp_path: Path) -> None:
    text = """net (float[n,1,5,6] x) => (float[n,5,5,1] y) {
        r = MaxPool<kernel_shape = [1, 2]>(x)  y = Transpose<perm = [0, 2, 3, 1]>(r) }"""
    graph, _ = agree(saved(tmp_path, text), "MaxPool", "Reshape")
    assert graph.nodes[1].attributes == {"shape": (5, 5, 1)}


def test_a_network_with_channels_last_is_turned_to_channels_first(tmp_path: Path) -> None:
    text = """net (float[n,8,9,3] x) => (float[n,5] y)
        <random[4,3,3,3] w, float[3] m = {0.1, 0.2, 0.3}, random[4] k, random[168,5] v> {
        s = Sub(x, m)  a = Transpose<perm = [0, 3, 1, 2]>(s)  c = Conv(a, w)
        b = Transpose<perm = [0, 2, 3, 1]>(c)  d = Mul(b, k)  e = Relu(d)
        f = Flatten(e)  y = MatMul(f, v) }"""
    path = saved(tmp_path, text)
    graph, notes = normalised(path)
    assert ops(graph) == ["Conv", "Relu", "Flatten", "Gemm"]
    assert graph.shapes["x"] == (3, 8, 9)
    assert [note.split(":")[0] for note in notes] == ["transpose_1", "sub_0"]
    images = np.random.default_rng(0).random((2, 8, 9, 3), dtype=np.float32)
    inside = graph.pixels["x"].enter(np.moveaxis(images, -1, 1))
    (expected,) = run_onnxruntime(path, {"x": images})
    np.testing.assert_allclose(run_graph(graph, inside)["y"], expected, rtol=CLOSE, atol=CLOSE)


def test_a_transpose_that_moves_numbers_stays(tmp_path: Path) -> None:
    text = """net (float[n,2,3,4] x) => (float[n,4,2,3] y) {
        r = MaxPool<kernel_shape = [1, 2]>(x)  y = Transpose<perm = [0, 3, 1, 2]>(r) }"""
    agree(saved(tmp_path, text), "MaxPool", "Transpose")


@pytest.mark.parametrize(
    ("lines", "op", "reason"),
    [
        ("y = Transpose<perm = [1, 0, 2, 3]>(r)", "Transpose", "moves the batch"),
        ("y = Slice(r, one, two)", "Slice", "cuts the batch"),
        ("y = Resize(r, , half)", "Resize", "its scale 1.4 is not the ratio of 4 to 5"),
        ('y = Resize<mode = "cubic", axes = [2, 3]>(r, , , sizes)', "Resize", "interpolates by mode cubic"),
        ('y = Resize<antialias = 1, mode = "linear", axes = [2,3]>(r, , , sizes)', "Resize", "blurs before it shrinks"),
    ],
)
def test_a_move_that_cannot_be_lowered_is_named(tmp_path: Path, lines: str, op: str, reason: str) -> None:
    values = """int64[1] one = {1}, int64[1] two = {2}, float[4] half = {1, 1, 1, 1.4},
        int64[2] sizes = {3, 9}"""
    text = f"""net (float[n,2,3,4] x) => (float[a,b,c,d] y) <{values}> {{
        r = MaxPool<kernel_shape = [2, 1], pads = [0, 0, 1, 0]>(x)  {lines} }}"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    found = [(op, reason) for _, op, reason in unsupported(graph, RUN)]
    assert found[0][0] == op
    assert reason in found[0][1]


def test_an_upsample_as_torch_writes_it_is_a_resize(tmp_path: Path) -> None:
    text = """net (float[n,2,3,4] x) => (float[n,2,6,12] y) <int64[1] zero = {0}, int64[1] two = {2},
        int64[2] size = {6, 12}> {
        r = Relu(x)  s = Shape(r)  t = Slice(s, zero, two)  u = Concat<axis = 0>(t, size)
        y = Resize<coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">(r, , , u) }"""
    agree(saved(tmp_path, text), "Relu", "Resize")


@pytest.mark.parametrize("batch", ["n", "1", "5"])
@pytest.mark.parametrize(
    "last", ["Flatten(r)", "Flatten<axis = -3>(r)", "Reshape(r, all)", "Reshape<allowzero = 1>(r, own)"]
)
def test_every_way_to_flatten_is_flatten_at_any_batch(tmp_path: Path, batch: str, last: str) -> None:
    own = "-1, 18" if batch == "n" else f"{batch}, 18"
    text = f"""net (float[{batch},2,3,3] x) => (float[{batch},18] y)
        <int64[2] all = {{0, -1}}, int64[2] own = {{{own}}}> {{ r = Relu(x)  y = {last} }}"""
    graph, _ = agree(saved(tmp_path, text), "Relu", "Flatten")
    assert graph.shapes == {"x": (2, 3, 3), "r": (2, 3, 3), "y": (18,)}


def test_squeeze_unsqueeze_and_reshape_are_one_reshape(tmp_path: Path) -> None:
    text = """net (float[n,2,6] x) => (float[n,3,4] y) <int64[1] two = {2}, int64[3] to = {0, 3, 4}> {
        r = Relu(x)  a = Unsqueeze(r, two)  b = Squeeze(a, two)  c = Unsqueeze(b, two)  y = Reshape(c, to) }"""
    graph, _ = agree(saved(tmp_path, text), "Relu", "Reshape")
    assert graph.nodes[1].attributes == {"shape": (3, 4)}


@pytest.mark.parametrize(
    ("nodes", "low", "high"),
    [
        ("y = Clip(x, zero, six)", 0.0, 6.0),
        ("y = Clip(x, , six)", -math.inf, 6.0),
        ("a = Max(x, zero)  y = Min(a, six)", 0.0, 6.0),
        ("a = Relu(x)  y = Min(six, a)", 0.0, 6.0),
        ("a = Clip(x, zero, six)  y = Relu(a)", 0.0, 6.0),
        ("a = Clip(x, half, six)  y = Clip(a, zero, one)", 0.5, 1.0),
    ],
)
def test_every_spelling_of_a_clip_is_one_clip(tmp_path: Path, nodes: str, low: float, high: float) -> None:
    text = f"""net (float[n,5] x) => (float[n,5] y)
        <float zero = {{0}}, float half = {{0.5}}, float one = {{1}}, float six = {{6}}> {{ {nodes} }}"""
    graph, _ = agree(saved(tmp_path, text), "Clip")
    assert graph.nodes[0].attributes == {"min": low, "max": high}


@pytest.mark.parametrize(
    "nodes", ["y = Clip(x, zero)", "y = Max(zero, x)", "a = Relu(x)  y = Relu(a)", "a = Clip(x)  y = Relu(a)"]
)
def test_every_spelling_of_relu_is_relu(tmp_path: Path, nodes: str) -> None:
    agree(saved(tmp_path, f"net (float[n,5] x) => (float[n,5] y) <float zero = {{0}}> {{ {nodes} }}"), "Relu")


def test_a_clipped_tensor_that_another_node_reads_is_not_merged(tmp_path: Path) -> None:
    text = "net (float[n,5] x) => (float[n,5] y) <float s = {0.5}> { a = Relu(x)  b = Min(a, s)  y = Add(a, b) }"
    agree(saved(tmp_path, text), "Relu", "Clip", "Add")


def test_sum_is_a_chain_of_adds_and_concat_counts_its_axis_from_the_front(tmp_path: Path) -> None:
    text = """net (float[n,2,3,3] x) => (float[n,4,3,3] y) {
        a = Relu(x)  s = Sum(x, a, a)  y = Concat<axis = -3>(s, x) }"""
    graph, _ = agree(saved(tmp_path, text), "Relu", "Add", "Add", "Concat")
    assert graph.nodes[-1].attributes == {"axis": 1}


@pytest.mark.parametrize("op", ["Softmax", "LogSoftmax"])
@pytest.mark.parametrize("opset", [11, 20])
def test_a_softmax_at_the_output_is_dropped_and_a_note_says_so(tmp_path: Path, op: str, opset: int) -> None:
    text = f"net (float[n,7] x) => (float[n,7] y) <random[5,7] w> {{ h = Gemm<transB = 1>(x, w)  y = {op}(h) }}"
    graph, notes = normalised(saved(tmp_path, text, opset))
    assert (ops(graph), graph.outputs) == (["Gemm"], ("h",))
    assert notes == (f"{op.lower()}_1: {op} dropped at the output, the largest logit stays the largest",)


def test_a_softmax_inside_the_network_stays_with_its_axis_counted_from_the_front(tmp_path: Path) -> None:
    text = "net (float[n,7] x) => (float[n,7] y) { h = Softmax(x)  y = Relu(h) }"
    graph, _ = agree(saved(tmp_path, text), "Softmax", "Relu")
    assert graph.nodes[0].attributes["axis"] == 1


# ---- products ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attributes", ["", "<alpha = 0.5, beta = 3.0>", "<transB = 1>", "<transB = 1, alpha = 2.0>"])
@pytest.mark.parametrize("bias", ["random[5] b", "random[1,5] b", "float b = {2}", "float[1] b = {2}"])
def test_every_gemm_becomes_the_one_with_rows_of_weights(tmp_path: Path, attributes: str, bias: str) -> None:
    shape = "5,4" if "transB" in attributes else "4,5"
    text = f"""net (float[n,4] x) => (float[n,5] y)
        <random[{shape}] w, {bias}> {{ y = Gemm{attributes}(x, w, b) }}"""
    graph, _ = agree(saved(tmp_path, text), "Gemm")
    assert graph.constants[graph.nodes[0].inputs[1]].shape == (5, 4)
    assert graph.constants[graph.nodes[0].inputs[2]].shape == (5,)
    assert graph.nodes[0].attributes == {}


def test_matmul_and_add_are_gemm(tmp_path: Path) -> None:
    text = """net (float[n,4] x) => (float[n,5] y) <random[4,5] w, random[5] b> { m = MatMul(x, w)  y = Add(b, m) }"""
    agree(saved(tmp_path, text), "Gemm")


def test_a_matmul_of_weights_that_stand_first_is_one_of_weights_that_stand_behind(tmp_path: Path) -> None:
    text = """net (float[n,3,4] x) => (float[n,3,3] y) <random[3,3] w> {
        a = MatMul(w, x)  b = Transpose<perm = [0, 2, 1]>(x)  y = MatMul(a, b) }"""
    agree(saved(tmp_path, text), "Conv", "Transpose", "MatMul")


@pytest.mark.parametrize("scaled", ["s = Mul(p, k)", "q = Mul(x, k) s = MatMul(q, b)", "s = Div(p, k)"])
def test_the_factor_of_a_product_is_its_own(tmp_path: Path, scaled: str) -> None:
    text = f"""net (float[n,3,4] x) => (float[n,3,3] y) <float k = {{0.3}}> {{
        b = Transpose<perm = [0, 2, 1]>(x) p = MatMul(x, b) {scaled} y = Softmax<axis = 2>(s) }}"""
    graph, _ = agree(saved(tmp_path, text), "Transpose", "MatMul", "Softmax")
    assert graph.nodes[1].attributes["alpha"] == pytest.approx(1 / 0.3 if "Div" in scaled else 0.3)


def test_products_of_matrices_that_do_not_go_together_are_named(tmp_path: Path) -> None:
    text = """net (float[n,2,3,4] x) => (float[n,2,3,3] y) {
        b = Transpose<perm = [0, 1, 3, 2]>(x)  y = MatMul(x, b) }"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    shapes = {**graph.shapes, graph.nodes[1].inputs[0]: (5, 3, 4)}
    found = unsupported(replace(graph, shapes=shapes), [*RUN])
    assert found == (("matmul_1", "MatMul", "[5, 3, 4] and [2, 4, 3] do not broadcast"),)


SOFTMAXES = {
    "by its largest": "m = ReduceMax(z, i) d = Sub(z, m) e = Exp(d) s = ReduceSum(e, i) y = Div(e, s)",
    "plain": "e = Exp(z) s = ReduceSum(e, i) y = Div(e, s)",
}


@pytest.mark.parametrize("name", SOFTMAXES)
def test_a_softmax_is_found_in_every_spelling(tmp_path: Path, name: str) -> None:
    text = f"net (float[n,3,4] x) => (float[n,3,4] y) <int64[1] i = {{2}}> {{ z = Relu(x) {SOFTMAXES[name]} }}"
    agree(saved(tmp_path, text), "Relu", "Softmax")


def test_constants_joined_to_an_activation_are_added_to_zeros(tmp_path: Path) -> None:
    text = """net (float[n,3,4] x) => (float[n,4,4] y) <random[1,1,4] a, random[4,4] p, int64[2] s = {1, 4}> {
        z = Relu(x) k = Shape<end = 1>(x) t = Concat<axis = 0>(k, s) e = Expand(a, t)
        c = Concat<axis = 1>(e, z) y = Add(c, p) }"""
    agree(saved(tmp_path, text), "Relu", "Pad", "Add")


ATTENTION = {
    "heads apart": ("float[n,2,3,4] x", "float[n,2,3,4] y", "y = Attention(x, k, x)", "k = Mul(x, x)"),
    "features together": (
        "float[n,3,8] x", "float[n,3,8] y", "y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 0.3>(x, k, x)",
        "k = Mul(x, x)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ATTENTION)
def test_attention_is_products_and_a_softmax(tmp_path: Path, name: str) -> None:
    x, y, node, before = ATTENTION[name]
    path = saved(tmp_path, f"net ({x}) => ({y}) {{ {before} {node} }}", opset=23)
    graph, _ = normalised(path)
    assert {"MatMul", "Softmax"} <= set(ops(graph)) <= {"Mul", "MatMul", "Softmax", "Transpose", "Reshape"}
    assert difference(graph, path) < CLOSE


@pytest.mark.parametrize("field", ["is_causal = 1", "softcap = 3.0"])
def test_an_attention_that_does_more_is_named(tmp_path: Path, field: str) -> None:
    text = f"net (float[n,2,3,4] x) => (float[n,2,3,4] y) {{ y = Attention<{field}>(x, x, x) }}"
    graph, _ = normalise(read(saved(tmp_path, text, opset=23)))
    assert [op for _, op, _ in unsupported(graph, RUN)] == ["Attention"]


@pytest.mark.parametrize(
    "pad", ['auto_pad = "SAME_UPPER"', 'auto_pad = "SAME_LOWER"', 'auto_pad = "VALID"', "pads = [0, 1, 2, 3]"]
)
@pytest.mark.parametrize("strides", ["1, 1", "2, 3"])
def test_a_convolutions_padding_is_written_out(tmp_path: Path, pad: str, strides: str) -> None:
    text = f"""net (float[n,4,8,9] x) => (float[n,6,h,w] y)
        <random[6,2,4,3] w, random[6] b> {{ y = Conv<group = 2, strides = [{strides}], {pad}>(x, w, b) }}"""
    graph, _ = agree(saved(tmp_path, text), "Conv")
    assert set(graph.nodes[0].attributes) == {"kernel_shape", "strides", "dilations", "pads", "group"}


def test_a_convolution_over_one_axis_with_dilation(tmp_path: Path) -> None:
    text = """net (float[1,3,16] x) => (float[1,4,l] y) <random[4,3,3] w> {
        y = Conv<dilations = [2], pads = [2, 1]>(x, w) }"""
    agree(saved(tmp_path, text), "Conv")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("net (float[n,2,3,3] x, float[n,2,3,3] v) => (float[n,n,1,1] y) { y = Conv(x, v) }", "are computed"),
        ("net (float[n,2,3,3,3] x) => (float[n,2,1,1,1] y) <random[2,2,3,3,3] w> { y = Conv(x, w) }", "3 spatial dim"),
        (
            "net (float[n,2,3,3] x) => (float[n,2,1,1] y) <random[2,3,3,3] w> { y = Conv(x, w) }",
            "do not fit 2 channels",
        ),
        (
            "net (float[n,2,3,3] x) => (float[n,2,1,1] y) <random[2,2,3,3] w, random[3] b> { y = Conv(x, w, b) }",
            "its bias",
        ),
    ],
)
def test_a_convolution_that_is_none_is_named_with_the_reason(tmp_path: Path, text: str, reason: str) -> None:
    graph, _ = normalise(read(saved(tmp_path, text)))
    ((_, op, why),) = unsupported(graph, RUN)
    assert op == "Conv"
    assert reason in why


# ---- windows -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("opset", [13, 22])
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("pads", ["0, 0, 0, 0", "1, 0, 1, 1"])
@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize(
    "pool", ["MaxPool<", "AveragePool<count_include_pad = 0, ", "AveragePool<count_include_pad = 1, "]
)
def test_a_pools_ceil_mode_is_padding_at_the_end(
    tmp_path: Path, pool: str, size: int, pads: str, ceil: int, opset: int
) -> None:
    text = f"""net (float[n,2,{size},{size}] x) => (float[n,2,h,w] y)
        {{ y = {pool}kernel_shape = [3, 2], strides = [2, 2], pads = [{pads}], ceil_mode = {ceil}>(x) }}"""
    path = saved(tmp_path, text, opset)
    graph, _ = normalise(read(path))
    problems = unsupported(graph, RUN)
    if problems:  # an average that counts its own padding, but not what ceil_mode adds
        assert "count_include_pad = 1" in pool
        assert ceil == 1
        assert "no padding says both" in problems[0][2]
        return
    agree(path, pool[: pool.index("<")])
    assert "ceil_mode" not in graph.nodes[0].attributes


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("pool", ["MaxPool<", "AveragePool<", "AveragePool<count_include_pad = 1, "])
def test_a_pools_automatic_padding_is_written_out(tmp_path: Path, pool: str, auto: str) -> None:
    text = f"""net (float[n,2,8,7] x) => (float[n,2,h,w] y)
        {{ y = {pool}kernel_shape = [3, 3], strides = [2, 2], auto_pad = "{auto}">(x) }}"""
    agree(saved(tmp_path, text), pool[: pool.index("<")])


def test_a_window_of_one_cell_disappears(tmp_path: Path) -> None:
    text = "net (float[n,2,4,4] x) => (float[n,2,4,4] y) { a = MaxPool<kernel_shape = [1, 1]>(x)  y = Relu(a) }"
    agree(saved(tmp_path, text), "Relu")


@pytest.mark.parametrize(
    "node",
    [
        "ReduceMean(r, axes)",
        "ReduceMean(r, back)",
        "AveragePool<kernel_shape = [4, 5]>(r)",
        "AveragePool<kernel_shape = [4, 5], strides = [9, 9], count_include_pad = 1>(r)",
        "GlobalAveragePool(r)",
    ],
)
def test_every_mean_over_a_map_is_one_global_average_pool(tmp_path: Path, node: str) -> None:
    text = f"""net (float[n,2,4,5] x) => (float[n,2,1,1] y)
        <int64[2] axes = {{2, 3}}, int64[2] back = {{-1, -2}}> {{ r = Relu(x)  y = {node} }}"""
    agree(saved(tmp_path, text), "Relu", "GlobalAveragePool")


def test_a_mean_that_drops_its_axes_is_followed_by_flatten(tmp_path: Path) -> None:
    text = """net (float[n,2,4,5] x) => (float[n,2] y) { y = ReduceMean<axes = [2, 3], keepdims = 0>(x) }"""
    graph, _ = agree(saved(tmp_path, text, opset=13), "GlobalAveragePool", "Flatten")
    assert graph.outputs == ("y",)


@pytest.mark.parametrize("node", ["GlobalMaxPool(x)", "ReduceMax(x, axes)"])
def test_the_maximum_over_a_map_is_a_max_pool(tmp_path: Path, node: str) -> None:
    text = f"net (float[n,2,4,5] x) => (float[n,2,1,1] y) <int64[2] axes = {{2, 3}}> {{ y = {node} }}"
    graph, _ = agree(saved(tmp_path, text), "MaxPool")
    assert graph.nodes[0].attributes["kernel_shape"] == (4, 5)


def test_a_mean_over_the_batch_is_named(tmp_path: Path) -> None:
    text = "net (float[n,2,4,5] x) => (float[1,2,4,5] y) <int64[1] axes = {0}> { y = ReduceMean(x, axes) }"
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert [op for _, op, _ in unsupported(graph, RUN)] == ["ReduceMean"]


PADS = "int64[8] pads = {0, 0, 1, 0, 0, 0, 2, 1}"


def test_zeros_padded_before_a_convolution_are_its_padding(tmp_path: Path) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,3,h,w] y)
        <{PADS}, random[3,2,3,3] w> {{ p = Pad(x, pads)  y = Conv<pads = [0, 1, 0, 1]>(p, w) }}"""
    graph, _ = agree(saved(tmp_path, text), "Conv")
    assert graph.nodes[0].attributes["pads"] == (1, 1, 2, 2)


def test_zeros_padded_before_an_average_count(tmp_path: Path) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,2,h,w] y)
        <{PADS}> {{ p = Pad(x, pads)  y = AveragePool<kernel_shape = [3, 3]>(p) }}"""
    graph, _ = agree(saved(tmp_path, text), "AveragePool")
    assert graph.nodes[0].attributes["count_include_pad"] == 1


def test_zeros_padded_before_a_maximum_are_merged_only_where_nothing_is_below_zero(tmp_path: Path) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,2,h,w] y) <{PADS}, random[2,2,1,1] w> {{
        r = OP(x)  p = Pad(r, pads)  y = MaxPool<kernel_shape = [3, 3]>(p) }}"""
    agree(saved(tmp_path, text.replace("OP", "Relu")), "Relu", "MaxPool")
    signed = text.replace("OP(x)", "Conv(x, w)")
    graph, _ = agree(saved(tmp_path, signed), "Conv", "Pad", "MaxPool")
    assert graph.nodes[1].attributes == {"pads": (0, 1, 0, 0, 2, 1), "value": 0.0}


def test_minus_infinity_padded_before_a_maximum_is_its_padding(tmp_path: Path) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,2,h,w] y)
        <{PADS}, float low = {{-3.4028235e38}}, random[2,2,1,1] w> {{
        c = Conv(x, w)  p = Pad(c, pads, low)  y = MaxPool<kernel_shape = [3, 3]>(p) }}"""
    agree(saved(tmp_path, text), "Conv", "MaxPool")


@pytest.mark.parametrize(("value", "pads"), [("0.5", PADS), ("0", PADS.replace("{0, 0", "{0, 1"))])
def test_padding_that_a_convolution_cannot_mean_stays(tmp_path: Path, value: str, pads: str) -> None:
    channels = 3 if "{0, 1" in pads else 2
    text = f"""net (float[n,2,5,5] x) => (float[n,3,h,w] y) <{pads}, float v = {{{value}}}, random[3,{channels},3,3] w>
        {{ p = Pad(x, pads, v)  y = Conv(p, w) }}"""
    agree(saved(tmp_path, text), "Pad", "Conv")


def test_padding_of_named_axes_only_is_written_out_for_all(tmp_path: Path) -> None:
    text = """net (float[n,2,5,5] x) => (float[n,2,5,8] y) <int64[2] pads = {1, 2}, int64[1] axes = {-1}> {
        p = Pad(x, pads, , axes)  y = Relu(p) }"""
    graph, _ = agree(saved(tmp_path, text), "Pad", "Relu")
    assert graph.nodes[0].attributes["pads"] == (0, 0, 1, 0, 0, 2)


def test_reflected_padding_is_named(tmp_path: Path) -> None:
    text = f'net (float[n,2,5,5] x) => (float[n,2,h,w] y) <{PADS}> {{ y = Pad<mode = "reflect">(x, pads) }}'
    graph, _ = normalise(read(saved(tmp_path, text)))
    ((_, _, reason),) = unsupported(graph, RUN)
    assert reason == "pads by mode reflect, and constant can be lowered"


# ---- scaling by channel ------------------------------------------------------------------------------------

NORM = "random[3] gamma, random[3] beta, random[3] mean, float[3] var = {0.5, 1.5, 2}"


def bn(x: str, y: str) -> str:
    return f"{y} = BatchNormalization<epsilon = 0.01>({x}, gamma, beta, mean, var)"


@pytest.mark.parametrize("bias", ["", ", b"])
def test_a_normalization_after_a_convolution_is_folded_into_it(tmp_path: Path, bias: str) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,3,5,5] y) <random[3,2,3,3] w, random[3] b, {NORM}> {{
        c = Conv<pads = [1, 1, 1, 1]>(x, w{bias})  {bn("c", "y")} }}"""
    agree(saved(tmp_path, text), "Conv")


def test_a_normalization_after_a_gemm_is_folded_into_it(tmp_path: Path) -> None:
    text = f"net (float[n,4] x) => (float[n,3] y) <random[4,3] w, {NORM}> {{ m = MatMul(x, w)  {bn('m', 'y')} }}"
    agree(saved(tmp_path, text), "Gemm")


@pytest.mark.parametrize("group", [1, 3])
def test_a_normalization_after_a_transposed_convolution_is_folded_into_it(tmp_path: Path, group: int) -> None:
    text = f"""net (float[n,6,4,4] x) => (float[n,3,h,w] y) <random[6,{3 // group},3,3] w, random[3] b, {NORM}> {{
        c = ConvTranspose<group = {group}, strides = [2, 2], output_padding = [1, 0]>(x, w, b)  {bn("c", "y")} }}"""
    agree(saved(tmp_path, text), "ConvTranspose")


@pytest.mark.parametrize("group", [1, 3])
def test_a_normalization_before_a_convolution_without_padding_is_folded_into_it(tmp_path: Path, group: int) -> None:
    text = f"""net (float[n,3,5,5] x) => (float[n,6,h,w] y) <random[6,{3 // group},3,3] w, random[6] b, {NORM}> {{
        r = Relu(x)  {bn("r", "s")}  y = Conv<group = {group}>(s, w, b) }}"""
    agree(saved(tmp_path, text), "Relu", "Conv")


def test_a_normalization_before_a_gemm_is_folded_into_it(tmp_path: Path) -> None:
    text = f"""net (float[n,3] x) => (float[n,4] y) <random[3,4] w, {NORM}> {{
        r = Relu(x)  {bn("r", "s")}  y = Gemm(s, w) }}"""
    agree(saved(tmp_path, text), "Relu", "Gemm")


def test_a_shift_does_not_pass_the_zero_padding_of_a_convolution(tmp_path: Path) -> None:
    text = f"""net (float[n,3,5,5] x) => (float[n,2,5,5] y) <random[2,3,3,3] w, {NORM}> {{
        r = Relu(x)  {bn("r", "s")}  y = Conv<pads = [1, 1, 1, 1]>(s, w) }}"""
    graph, notes = agree(saved(tmp_path, text), "Relu", "Conv", "Conv")
    assert graph.nodes[1].attributes["group"] == 3
    assert notes == (
        "batchnormalization_1: kept as a step of its own: its shift cannot pass the zero padding of conv_2",
    )


def test_a_scale_without_shift_passes_the_zero_padding_of_a_convolution(tmp_path: Path) -> None:
    text = """net (float[n,3,5,5] x) => (float[n,2,5,5] y) <random[2,3,3,3] w, random[3,1,1] k> {
        r = Relu(x)  s = Mul(k, r)  y = Conv<pads = [1, 1, 1, 1]>(s, w) }"""
    agree(saved(tmp_path, text), "Relu", "Conv")


def test_only_a_scale_without_shift_passes_into_a_transposed_convolution(tmp_path: Path) -> None:
    text = """net (float[n,3,4,4] x) => (float[n,2,6,6] y) <random[3,2,3,3] w, random[3,1,1] k> {
        r = Relu(x)  s = OP(r, k)  y = ConvTranspose(s, w) }"""
    agree(saved(tmp_path, text.replace("OP", "Mul")), "Relu", "ConvTranspose")
    agree(saved(tmp_path, text.replace("OP", "Add")), "Relu", "Conv", "ConvTranspose")


def test_a_shared_weight_is_not_changed_for_the_other_node(tmp_path: Path) -> None:
    text = f"""net (float[n,3,5,5] x) => (float[n,3,1,1] y) <random[3,3,3,3] w, {NORM}> {{
        c = Conv(x, w)  {bn("c", "d")}  y = Conv(d, w) }}"""
    graph, notes = agree(saved(tmp_path, text), "Conv", "Conv", "Conv")
    assert notes == ('batchnormalization_1: kept as a step of its own: the weight "w" is shared by conv_0 and conv_2',)
    assert [node.inputs[1] for node in graph.nodes] == ["w", "batchnormalization_1_weight", "w"]


def test_a_shared_bias_is_not_changed_for_the_other_node(tmp_path: Path) -> None:
    text = f"""net (float[n,3,5,5] x) => (float[n,3,1,1] y)
        <random[3,3,3,3] w, random[3,3,3,3] v, random[3] b, {NORM}> {{
        c = Conv(x, w, b)  {bn("c", "d")}  r = Relu(d)  y = Conv(r, v, b) }}"""
    agree(saved(tmp_path, text), "Conv", "Relu", "Conv")


def test_a_normalization_of_what_others_read_too_stands_alone(tmp_path: Path) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,3,3,3] y) <random[3,2,3,3] w, {NORM}> {{
        c = Conv(x, w)  {bn("c", "d")}  y = Add(c, d) }}"""
    _, notes = agree(saved(tmp_path, text), "Conv", "Conv", "Add")
    assert notes == ("batchnormalization_1: kept as a step of its own: others read conv_0 too",)


def test_a_normalization_of_a_matrix_that_stands_alone_is_a_convolution_of_one_cell(tmp_path: Path) -> None:
    text = f"net (float[n,3] x) => (float[n,3] y) <{NORM}> {{ r = Relu(x)  {bn('r', 's')}  y = Relu(s) }}"
    agree(saved(tmp_path, text), "Relu", "Reshape", "Conv", "Flatten", "Relu")


@pytest.mark.parametrize(
    "nodes", ["a = Mul(c, k)", "a = Div(c, k)", "a = Add(k, c)", "a = Sub(c, k)", "a = Sub(k, c)", "a = Neg(c)"]
)
def test_arithmetic_with_constants_of_a_channel_is_folded(tmp_path: Path, nodes: str) -> None:
    text = f"""net (float[n,2,5,5] x) => (float[n,3,3,3] y) <random[3,2,3,3] w, random[3] b, random[1,3,1,1] k> {{
        c = Conv(x, w, b)  {nodes}  y = Mul(a, k) }}"""
    agree(saved(tmp_path, text), "Conv")


@pytest.mark.parametrize(
    ("node", "reason"),
    [
        ("Div(r, each)", "is not one number per channel"),
        ("Div(r, x)", "both operands are computed"),
        ("Div(one, r)", "divides a constant"),
        ("Div(r, zero)", "or by zero"),
    ],
)
def test_arithmetic_that_is_no_scaling_by_channel_is_named_with_the_reason(
    tmp_path: Path, node: str, reason: str
) -> None:
    text = f"""net (float[n,3,4,4] x) => (float[n,3,4,4] y, float[n,3,1,1] g)
        <random[4,4] each, float one = {{1}}, float zero = {{0}}> {{
        r = Relu(x)  g = GlobalAveragePool(r)  y = {node} }}"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    ((name, _, why),) = unsupported(graph, RUN)
    assert name.endswith("_2")
    assert reason in why


# ---- how pixels become the input ---------------------------------------------------------------------------

FIRST = "random[4,3,3,3] w"


def test_normalization_by_mean_and_std_on_the_input_goes_into_the_pixels(tmp_path: Path) -> None:
    text = f"""net (float[n,3,6,6] x) => (float[n,4,6,6] y)
        <{FIRST}, float[1,3,1,1] m = {{0.485, 0.456, 0.406}}, float[3,1,1] s = {{0.229, 0.224, 0.225}}> {{
        a = Sub(x, m)  b = Div(a, s)  y = Conv<pads = [1, 1, 1, 1]>(b, w) }}"""
    graph, notes = agree(saved(tmp_path, text), "Conv")
    pixels = graph.pixels["x"]
    assert (pixels.divisor, graph.inputs) == (255.0, ("x",))
    np.testing.assert_allclose(pixels.own_mean, (0.485, 0.456, 0.406), rtol=1e-6)
    np.testing.assert_allclose(pixels.own_std, (0.229, 0.224, 0.225), rtol=1e-6)
    assert len(notes) == 1
    assert notes[0].startswith("div_1: folded into how x is read")


def test_a_batch_normalization_on_the_input_goes_into_the_pixels(tmp_path: Path) -> None:
    text = f"net (float[n,3,6,6] x) => (float[n,4,4,4] y) <{FIRST}, {NORM}> {{ {bn('x', 's')}  y = Conv(s, w) }}"
    graph, _ = agree(saved(tmp_path, text), "Conv")
    assert len(graph.pixels["x"].own_std) == 3


@pytest.mark.parametrize(
    ("nodes", "mean", "std"),
    [
        ("b = Div(x, k255)", 0.0, 255.0),
        ("a = Sub(x, k127)  b = Div(a, k128)", 127.0, 128.0),
        ("a = Div(x, k255)  c = Sub(a, half)  b = Div(c, half)", 127.5, 127.5),
    ],
)
def test_a_network_that_takes_pixels_itself_gets_them_undivided(
    tmp_path: Path, nodes: str, mean: float, std: float
) -> None:
    text = f"""net (float[n,3,6,6] x) => (float[n,4,4,4] y) <{FIRST}, float k255 = {{255}}, float k127 = {{127}},
        float k128 = {{128}}, float half = {{0.5}}> {{ {nodes}  y = Conv(b, w) }}"""
    graph, notes = normalised(saved(tmp_path, text))
    pixels = graph.pixels["x"]
    np.testing.assert_allclose((pixels.divisor, *pixels.own_mean, *pixels.own_std), (1.0, mean, std), rtol=1e-6)
    assert notes[0].endswith("since the network itself takes pixels from 0 to 255")


def test_what_was_said_about_pixels_before_is_composed_with_the_networks_own(tmp_path: Path) -> None:
    text = (
        f"net (float[n,3,6,6] x) => (float[n,4,4,4] y) <{FIRST}, float k = {{4}}> {{ a = Div(x, k)  y = Conv(a, w) }}"
    )
    before = Pixels(divisor=255.0, mean=(0.5, 0.25, 0.125), std=(2.0,))
    graph = read(saved(tmp_path, text))
    after, _ = normalise(replace(graph, pixels={"x": before}))
    pixels = np.arange(0, 256, 5, dtype=np.float32).reshape(1, 1, -1, 1).repeat(3, 1)
    np.testing.assert_allclose(
        after.pixels["x"].enter(after.pixels["x"].to_input(pixels)), before.to_input(pixels) / 4, rtol=1e-6
    )


def test_bytes_as_input_are_pixels_undivided(tmp_path: Path) -> None:
    text = f"""net (uint8[n,3,6,6] x) => (float[n,4,4,4] y) <{FIRST}, float k = {{255}}> {{
        a = Cast<to = 1>(x)  b = Div(a, k)  y = Conv(b, w) }}"""
    graph, _ = agree(saved(tmp_path, text), "Conv")
    assert graph.pixels == {"x": Pixels(divisor=1.0, own_std=(255.0,))}


def test_a_normalized_input_that_another_node_reads_raw_is_not_touched(tmp_path: Path) -> None:
    text = f"""net (float[n,3,6,6] x) => (float[n,3,6,6] y) <{NORM}> {{ {bn("x", "s")}  y = Add(s, x) }}"""
    graph, _ = agree(saved(tmp_path, text), "Conv", "Add")
    assert graph.pixels == {}


# ---- the rest ----------------------------------------------------------------------------------------------


def test_everything_unsupported_is_named_at_once(tmp_path: Path) -> None:
    text = """net (float[n,2,4,4] x) => (float[n,2,4,4] y) {
        a = Gelu(x)  b = HardSwish(a)  c = Relu(b)  d = Sigmoid(c)  y = Mul(c, d) }"""
    graph, _ = normalise(read(saved(tmp_path, text)))
    assert [(name, op) for name, op, _ in unsupported(graph, ["Relu"])] == [
        ("gelu_0", "Gelu"),
        ("hardswish_1", "HardSwish"),
        ("sigmoid_3", "Sigmoid"),
        ("mul_4", "Mul"),
    ]


def test_weights_that_are_not_finite_are_refused_by_name(tmp_path: Path) -> None:
    text = "net (float[n,2] x) => (float[n,2] y) <float[2,2] w = {1, 2, 3, 3e38}> { y = Gemm<alpha = 4.0>(x, w) }"
    with pytest.raises(IntsimError, match=r"gemm_0: its weight .* holds values that are not finite"):
        normalise(read(saved(tmp_path, text)))


def test_a_chain_of_normalizations_and_arithmetic_is_computed_in_float64_and_rounded_once() -> None:
    rng = np.random.default_rng(0)
    constants = {"w": rng.normal(size=(2, 3)).astype(np.float32)}
    nodes = [Node(name="g", op="Gemm", inputs=("x", "w"), outputs=("y0",))]
    factor = np.ones(2)
    for i in range(20):
        constants[f"k{i}"] = rng.uniform(0.5, 2, 2).astype(np.float32)
        nodes.append(Node(name=f"m{i}", op="Mul", inputs=(f"y{i}", f"k{i}"), outputs=(f"y{i + 1}",)))
        factor = factor * constants[f"k{i}"].astype(np.float64)
    shapes = {"x": (3,), **{f"y{i}": (2,) for i in range(21)}}
    graph = Graph(
        name="net", inputs=("x",), outputs=("y20",), nodes=tuple(nodes), constants=dict(constants), shapes=shapes
    )
    after, _ = normalise(graph)
    expected = (constants["w"].astype(np.float64) * factor[:, None]).astype(np.float32)
    np.testing.assert_array_equal(after.constants["w"], expected)
    assert [node.outputs for node in after.nodes] == [("y20",)]
    assert not graph.constants["w"].flags.writeable
    np.testing.assert_array_equal(graph.constants["w"], constants["w"])


# ---- networks drawn at random ------------------------------------------------------------------------------

MENU = [
    "{y} = Relu({x})",
    "{y} = Identity({x})",
    "{y} = Clip({x}, zero, six)",
    "{y} = Max({x}, low)",
    "{y} = BatchNormalization({x}, g, b, m, v)",
    "{y} = BatchNormalization({x}, m, g, b, v)",
    "{y} = Mul({x}, k)",
    "{y} = Div({x}, d)",
    "{y} = Add(k, {x})",
    "{y} = Sub({x}, k)",
    "{y} = Conv<pads = [1, 1, 1, 1]>({x}, w, b)",
    '{y} = Conv<group = 4, auto_pad = "SAME_UPPER">({x}, dw)',
    "{y} = Conv<pads = [0, 0, 0, 0]>({x}, pw, b)",
    "{p} = Pad({x}, around)  {y} = Conv({p}, w)",
    "{p} = Pad({x}, around)  {y} = MaxPool<kernel_shape = [3, 3]>({p})",
    "{p} = Pad({x}, around)  {y} = AveragePool<kernel_shape = [3, 3]>({p})",
    "{y} = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>({x})",
    '{y} = MaxPool<kernel_shape = [2, 2], auto_pad = "SAME_LOWER">({x})',
    "{y} = Add({x}, {old})",
    "{y} = Sum({x}, {old}, {old})",
    "{y} = ConvTranspose<pads = [1, 1, 1, 1]>({x}, w)",
    "{p} = Transpose<perm = [0, 2, 3, 1]>({x})  {q} = Relu({p})  {y} = Transpose<perm = [0, 3, 1, 2]>({q})",
]


def drawn(seed: int) -> str:
    """A network of 12 lines from the menu, all maps 4 x 5 x 6, each reading the one before it or an older one."""
    rng = np.random.default_rng(seed)
    names, lines = ["x"], []
    for index in range(12):
        old = names[int(rng.integers(len(names)))]
        x = names[-1] if rng.random() < 0.8 else old
        line = MENU[int(rng.integers(len(MENU)))]
        lines.append(line.format(x=x, old=old, y=f"a{index}", p=f"p{index}", q=f"q{index}"))
        names.append(f"a{index}")
    return f"""net (float[n,4,5,6] x) => (float[n,3] y, float[n,4,5,6] a11) <
        random[4,4,3,3] w, random[4,1,3,3] dw, random[4,4,1,1] pw, random[3,4] last,
        random[4] g, random[4] b, random[4] m, float[4] v = {{1, 0.5, 2, 1.5}},
        random[4,1,1] k, float[1,4,1,1] d = {{1, -0.5, 2, 1.5}},
        float zero = {{0}}, float six = {{6}}, float low = {{-0.5}}, int64[8] around = {{0, 0, 1, 1, 0, 0, 1, 1}}> {{
        {" ".join(lines)}  mean = GlobalAveragePool(a11)  flat = Flatten(mean)  y = Gemm<transB = 1>(flat, last) }}"""


@pytest.mark.parametrize("seed", range(60))
def test_a_random_network_computes_what_onnxruntime_computes(tmp_path: Path, seed: int) -> None:
    path = saved(tmp_path, drawn(seed))
    graph, _ = normalised(path)
    assert difference(graph, path, batch=2) < CLOSE
