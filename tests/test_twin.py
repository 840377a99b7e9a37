"""The network in torch computes what onnxruntime computes with the file, and its gradients are those of that."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from float_graphs import Draft, branching, plain
from msgspec.structs import replace
from naive import run_graph
from onnx_text import normalised, run_onnxruntime, saved

from intsim.attack.twin import OPS, twin
from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Pixels
from intsim_models import NAMES, images, path

CLOSE = 1e-4

TEXTS = {
    "windows": """net (float[n,3,9,8] x) => (float[n,7] y)
        <random[4,3,3,3] w, random[4] b, random[7,4] g, random[7] h> {
        a = Conv<pads = [1,0,2,1], strides = [2,1], dilations = [1,2]>(x, w, b)
        c = Relu(a)
        d = MaxPool<kernel_shape = [2,2], strides = [1,2], pads = [1,0,0,1]>(c)
        e = AveragePool<kernel_shape = [3,2], pads = [2,1,1,0]>(d)
        f = AveragePool<kernel_shape = [2,2], pads = [1,0,1,1], count_include_pad = 1>(e)
        l = GlobalAveragePool(f)
        m = Flatten(l)
        y = Gemm<transB = 1>(m, g, h) }""",
    "groups": """net (float[n,4,6,6] x) => (float[n,16,4,5] y) <random[8,2,3,2] w> {
        a = Conv<group = 2, pads = [1,0,1,1]>(x, w)
        b = MaxPool<kernel_shape = [2,2], dilations = [2,2]>(a)
        c = AveragePool<kernel_shape = [2,2], dilations = [2,1], pads = [0,0,0,0]>(a)
        d = MaxPool<kernel_shape = [1,2]>(b)
        e = MaxPool<kernel_shape = [1,2]>(c)
        f = Relu(e)
        g = Concat<axis = 1>(b, b)
        y = Relu(g) }""",
    "joins": """net (float[n,2,4,4] x) => (float[n,5] y)
        <random[2,2,1,1] v, random[184,5] w, random[5] b, float low = {-0.2}, float high = {0.4}, float two = {2.5},
        int64[8] around = {0,0,1,0,0,0,0,2}, int64[8] other = {0,0,0,1,0,0,1,1}, int64[2] flat = {0,-1},
        int64[4] wide = {0,5,1,1}> {
        a = Conv(x, v)
        c = Clip(a, low, high)
        d = Add(c, x)
        e = Clip(d, low)
        f = Pad(e, around, two)
        g = Pad(x, other)
        h = Reshape(f, flat)
        i = Reshape(g, flat)
        j = Reshape(x, flat)
        k = Reshape(c, flat)
        l = Concat<axis = 1>(h, i, j, k)
        m = MatMul(l, w)
        o = Add(m, b)
        p = Reshape(o, wide)
        q = Relu(p)
        y = Reshape(q, flat) }""",
    "upwards": """net (float[n,4,3,5] x) => (float[n,6,6,12] y) <random[4,3,3,2] w, random[6] b> {
        y = ConvTranspose<group = 2, strides = [2,2], pads = [1,0,0,0], output_padding = [0,1]>(x, w, b) }""",
    "moves": """net (float[n,2,5,4] x) => (float[n,4,5,7] y)
        <int64[2] sizes = {7,5}, int64[1] one = {1}, int64[1] far = {-99}, int64[1] back = {-1}, random[2,2,1,1] v> {
        a = Conv(x, v)
        b = Resize<mode = "linear", axes = [2,3]>(a, , , sizes)
        c = Transpose<perm = [0,1,3,2]>(b)
        d = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor",
            axes = [3,2]>(a, , , sizes)
        e = Slice(d, back, far, one, back)
        y = Concat<axis = 1>(c, e) }""",
    "functions": """net (float[n,4,3,3] x) => (float[n,4,3,3] y)
        <random[4,4,1,1] v, random[4,1,1] slope, float[4,1,1] c = {0.5,-0.25,1.5,0.75}, float[1] half = {0.5}> {
        a = Conv(x, v)
        b = Sigmoid(a)
        d = Tanh(a)
        e = Mul(b, d)
        f = HardSwish(a)
        g = LeakyRelu<alpha = 0.1>(a)
        h = PRelu(a, slope)
        i = Elu<alpha = 0.7>(a)
        j = Softplus(a)
        k = Sub(f, g)
        l = Max(k, h)
        m = Min(l, i)
        o = Softmax<axis = 1>(m)
        p = Sub(c, o)
        q = Mul(p, j)
        r = Max(q, e)
        y = Add(r, half) }""",
    "more": """net (float[n,2,3,4] x) => (float[n,6] y) <random[4,2,1,1] v, random[4,6] w, random[4] g,
        int64[1] back = {1}, int64[1] one = {1}> {
        a = Conv(x, v)
        b = Gelu(a)
        c = Gelu<approximate = "tanh">(b)
        d = Mish(c)
        e = HardSigmoid<alpha = 0.3>(a)
        f = Mul(d, e)
        h = LayerNormalization(f, g)
        i = ReduceMax<keepdims = 0>(h, back)
        j = MatMul(i, w)
        y = ReduceMean<keepdims = 0>(j, one) }""",
    "attention": """net (float[n,4,8] x) => (float[n,4] y) <random[4,4,1] w, float k = {0.4}, int64[1] two = {2}> {
        a = Conv(x, w)
        b = Transpose<perm = [0, 2, 1]>(a)
        c = MatMul(a, b)
        d = Mul(c, k)
        e = Softmax<axis = 2>(d)
        f = MatMul(e, a)
        y = ReduceMean<keepdims = 0>(f, two) }""",
    "signals": """net (float[n,2,16] x) => (float[n,3] y) <random[4,2,5] w, random[3,4] g> {
        a = Conv<strides = [2], pads = [2,1]>(x, w)
        b = AveragePool<kernel_shape = [3], pads = [1,0]>(a)
        c = MaxPool<kernel_shape = [2]>(b)
        d = GlobalAveragePool(c)
        e = Flatten(d)
        y = Gemm<transB = 1>(e, g) }""",
}


def pixels(graph: Graph, n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *graph.shapes[graph.inputs[0]]), dtype=np.uint8)


def answered(graph: Graph, x: np.ndarray, dtype: str = "float32") -> np.ndarray:
    return twin(graph, dtype)(torch.from_numpy(x.astype(np.float32) / np.float32(255))).numpy()


@pytest.mark.parametrize("name", NAMES)
def test_the_shipped_networks_are_onnxruntimes(name: str) -> None:
    graph, _ = normalised(path(name))
    x = images().x[:64]
    (expected,) = run_onnxruntime(path(name), {"image": x.astype(np.float32) / np.float32(255)})
    found = answered(graph, x)
    assert found.dtype == np.float32
    assert np.abs(found - expected).max() < CLOSE * max(1.0, np.abs(expected).max())
    assert (found.argmax(1) == expected.argmax(1)).all()


@pytest.mark.parametrize("name", TEXTS)
def test_every_op_is_onnxruntimes(name: str, tmp_path: Path) -> None:
    file = saved(tmp_path, TEXTS[name])
    graph, _ = normalised(file)
    x = pixels(graph, 4)
    (expected,) = run_onnxruntime(file, {"x": x.astype(np.float32) / np.float32(255)})
    np.testing.assert_allclose(answered(graph, x), expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max())


def test_the_files_above_hold_every_op_of_the_table(tmp_path: Path) -> None:
    seen = {node.op for text in TEXTS.values() for node in normalised(saved(tmp_path, text))[0].nodes}
    assert seen | {"Requantize"} == set(OPS)  # which is of quantized networks only


@pytest.mark.parametrize("how", [Pixels(), Pixels(divisor=1.0), Pixels(mean=(0.3, 0.5), std=(0.2, 2.0))])
def test_images_enter_as_the_graph_says(how: Pixels) -> None:
    d = Draft(1, image=(2, 5, 5))
    graph = replace(d.graph(d.flatten(d.conv("image", 3))), pixels={"image": how})
    x = pixels(graph, 3)
    expected = run_graph(graph, {"image": how.to_input(x)})[graph.outputs[0]]
    np.testing.assert_allclose(answered(graph, x), expected, rtol=CLOSE, atol=CLOSE * np.abs(expected).max())


def test_float64_is_float64_all_the_way() -> None:
    graph = branching()
    single, double = answered(graph, pixels(graph, 5)), answered(graph, pixels(graph, 5), "float64")
    assert double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=1e-4, atol=1e-5)
    assert (double != single).any()


@pytest.mark.parametrize("graph", [plain(), branching()], ids=["plain", "branching"])
def test_gradients_are_what_small_steps_measure(graph: Graph) -> None:
    network = twin(graph, "float64")
    x = torch.rand(2, *graph.shapes["image"], dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(network, x.requires_grad_(), eps=1e-7, atol=1e-5)


def test_another_output_can_be_asked_for() -> None:
    d = Draft(0, image=(1, 4, 4))
    first = d.gemm(d.flatten("image"), 3)
    graph = d.graph(first, d.same("Relu", first))
    x = torch.rand(2, 1, 4, 4)
    assert torch.equal(twin(graph, output=graph.outputs[1])(x), twin(graph)(x).relu())
    with pytest.raises(IntsimError, match='no output is called "nothing"'):
        twin(graph, output="nothing")


def test_an_op_that_the_twin_lacks_is_named_with_its_node() -> None:
    graph = plain()
    strange = Node(name="odd_one", op="Einsum", inputs=(graph.outputs[0],), outputs=("z",))
    with pytest.raises(IntsimError, match="odd_one: the torch twin has no Einsum"):
        twin(replace(graph, nodes=(*graph.nodes, strange), outputs=("z",)))


def test_an_attack_needs_exactly_one_input() -> None:
    d = Draft(0, a=(1, 4, 4), b=(1, 4, 4))
    with pytest.raises(IntsimError, match="2 inputs"):
        twin(d.graph(d.sum("a", "b")))


def test_without_torch_the_error_names_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(IntsimError, match=r"pip install intsim\[attack\]"):
        twin(plain())
