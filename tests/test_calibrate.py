import weakref
from collections.abc import Callable

import numpy as np
import onnx
import onnxruntime
import pytest
from float_graphs import GRAPHS, Draft, plain
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from onnx import TensorProto, helper, numpy_helper

from intsim import IntsimError, calibrate
from intsim.calibrate import BINS, Calibration, ranges
from intsim.calibrate.forward import floats_per_sample, forward
from intsim.graph import Graph, Node, Pixels, activations
from intsim.normalise import normalise
from intsim.onnx_io import read
from intsim_models import NAMES, images, path


def everything(graph: Graph, x: np.ndarray) -> dict[str, np.ndarray]:
    return dict(forward(graph, {graph.inputs[0]: x}))


def reals(graph: Graph, n: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, *graph.shapes[graph.inputs[0]])).astype(np.float32)


def onnxruntimes(model: onnx.ModelProto | str, x: np.ndarray) -> np.ndarray:
    content = model if isinstance(model, str) else model.SerializeToString()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


# ---- the float network -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_forward_pass_of_the_networks_that_ship_is_onnxruntimes(name: str) -> None:
    graph, _ = normalise(read(path(name)))
    x = images().x[:20].astype(np.float32) / np.float32(255)
    np.testing.assert_allclose(
        everything(graph, x)[graph.outputs[0]], onnxruntimes(str(path(name)), x), rtol=0, atol=1e-4
    )


@st.composite
def windows(draw: st.DrawFn) -> dict[str, tuple[int, ...]]:
    rank = draw(st.sampled_from([1, 2, 2]))

    def each(low: int, high: int, count: int = rank) -> tuple[int, ...]:
        return tuple(draw(st.lists(st.integers(low, high), min_size=count, max_size=count)))

    kernel = each(1, 3)
    return {
        "kernel_shape": kernel,
        "strides": each(1, 3),
        "dilations": each(1, 2),
        "pads": tuple(min(p, k - 1) for p, k in zip(each(0, 2, 2 * rank), kernel * 2, strict=True)),
    }


def one_node(op: str, inputs: dict[str, np.ndarray], attributes: dict[str, object], x: np.ndarray) -> np.ndarray:
    """What onnxruntime makes of a single node."""
    graph = helper.make_graph(
        [helper.make_node(op, ["x", *inputs], ["y"], **attributes)],
        op,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in inputs.items()],
    )
    return onnxruntimes(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9), x)


def our_node(
    op: str, inputs: dict[str, np.ndarray], attributes: dict[str, object], x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    graph = Graph(
        name=op,
        inputs=("x",),
        outputs=("y",),
        nodes=(Node(name=op, op=op, inputs=("x", *inputs), outputs=("y",), attributes=attributes),),
        constants=inputs,
        shapes={"x": x.shape[1:], "y": y.shape[1:]},
    )
    return everything(graph, x)["y"]


@given(windows(), st.sampled_from([(1, 2), (2, 1), (3, 1), (1, 1)]), st.booleans(), st.integers(0, 2**32 - 1))
def test_every_convolution_is_onnxruntimes(win: dict, sizes: tuple, bias: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    group, depth = sizes
    outputs = group * int(rng.integers(1, 3))
    x = rng.normal(size=(2, group * depth, *rng.integers(5, 8, len(win["kernel_shape"])))).astype(np.float32)
    constants = {"w": rng.normal(size=(outputs, depth, *win["kernel_shape"])).astype(np.float32)}
    if bias:
        constants["b"] = rng.normal(size=outputs).astype(np.float32)
    theirs = one_node("Conv", constants, {**win, "group": group}, x)
    np.testing.assert_allclose(
        our_node("Conv", constants, {**win, "group": group}, x, theirs), theirs, rtol=0, atol=1e-5
    )


@given(windows(), st.sampled_from(["MaxPool", "AveragePool"]), st.booleans(), st.integers(0, 2**32 - 1))
def test_every_pool_is_onnxruntimes(win: dict, op: str, include_pad: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    rank = len(win["kernel_shape"])
    x = rng.normal(size=(2, 3, *rng.integers(5, 8, rank))).astype(np.float32)
    attributes = {**win, "count_include_pad": int(include_pad)}
    if op == "MaxPool":
        del attributes["count_include_pad"]
    elif any(d > 1 for d in win["dilations"]):
        attributes["dilations"] = (1,) * rank
    theirs = one_node(op, {}, attributes, x)
    np.testing.assert_allclose(our_node(op, {}, attributes, x, theirs), theirs, rtol=0, atol=1e-6)


def test_memory_is_bounded_by_chunks_not_by_the_number_of_images() -> None:
    graph = plain()
    # conv: 36 in, 4 * 36 out, 9 * 36 unfolded
    assert floats_per_sample(graph) == 36 + 4 * 36 + 9 * 36


def test_a_tensor_is_forgotten_after_its_last_reader() -> None:
    d = Draft(x=(3,))
    first = x = d.same("Relu", "x")
    for _ in range(9):
        x = d.same("Relu", x)
    alive: list[weakref.ref] = []
    most = 0
    for _, values in forward(d.graph(d.sum(first, x)), {"x": np.ones((2, 3), np.float32)}):
        alive.append(weakref.ref(values))
        most = max(most, sum(tensor() is not None for tensor in alive))
    assert most <= 5  # the input, the first, the last one read, the one just made, and what this loop holds


def test_an_operator_that_is_not_known_is_named() -> None:
    graph = plain()
    unknown = replace(graph, nodes=(*graph.nodes[:-1], replace(graph.nodes[-1], op="Sinh")))
    with pytest.raises(IntsimError, match=r"^gemm_4: Sinh is not supported"):
        everything(unknown, reals(graph))


# ---- what is observed --------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_every_activation_is_observed_from_its_smallest_to_its_largest_value(make: Callable[..., Graph]) -> None:
    graph = make()
    x = reals(graph)
    found = ranges(graph, x)
    assert list(found.tensors) == list(activations(graph))
    for name, values in everything(graph, x).items():
        seen = found.tensors[name]
        assert (seen.low, seen.high, seen.count) == (values.min(), values.max(), values.size)
        assert seen.histogram is None


def test_a_histogram_counts_every_value_but_the_exact_zeros() -> None:
    graph = plain()
    x = reals(graph)
    found = ranges(graph, x, method="mse")
    for name, values in everything(graph, x).items():
        seen = found.tensors[name]
        assert seen.histogram is not None
        assert seen.histogram.sum() == np.count_nonzero(values)
        edges = np.linspace(seen.low, seen.high, BINS + 1)
        flat = values[values != 0].astype(np.float64)
        assert np.abs(np.cumsum(seen.histogram) - np.searchsorted(np.sort(flat), edges[1:], "right")).max() <= 1


def in_quarters(graph: Graph) -> Graph:
    """The network with weights in quarters, so that its float32 sums are exact."""
    return replace(graph, constants={n: np.rint(4 * c).astype(np.float32) / 4 for n, c in graph.constants.items()})


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = in_quarters(plain())
    x = np.rint(reals(graph, 9) * 4).astype(np.float32)
    whole = ranges(graph, x, method="mse")
    monkeypatch.setattr(calibrate, "CHUNK", 2 * floats_per_sample(graph))
    calls: list[tuple[int, int]] = []
    parts = ranges(graph, x, method="mse", progress=lambda done, total: calls.append((done, total)))
    assert calls == [(i + 1, 10) for i in range(10)]
    assert same(whole, parts)


def same(a: Calibration, b: Calibration) -> bool:
    return (a.digest, a.samples, a.method) == (b.digest, b.samples, b.method) and all(
        (x.low, x.high, x.count) == (y.low, y.high, y.count) and np.array_equal(x.histogram, y.histogram)
        for x, y in zip(a.tensors.values(), b.tensors.values(), strict=True)
    )


def test_the_same_data_give_the_same_calibration_and_other_data_another_digest() -> None:
    graph, x = plain(), reals(plain())
    assert same(ranges(graph, x, method="mse"), ranges(graph, x.copy(order="F"), method="mse"))
    assert ranges(graph, x).digest != ranges(graph, x[:-1]).digest != ranges(graph, x[1:]).digest


def test_pixels_enter_as_the_network_says_and_may_hold_every_value() -> None:
    x = np.full((3, 1, 6, 6), 100, np.uint8)
    seen = ranges(plain(), x, method="mse").tensors["image"]
    assert (seen.low, seen.high, seen.histogram) == (0, 1, None)
    pixels = Pixels(mean=(0.5,), std=(0.25,))
    graph = replace(plain(), pixels={"image": pixels})
    found = ranges(graph, x)
    assert (found.tensors["image"].low, found.tensors["image"].high) == (-2, 2)
    assert found.tensors["gemm_4_out"].high == everything(graph, pixels.to_input(x))["gemm_4_out"].max()
    assert ranges(graph, np.full((1, 1, 6, 6), 2.5, np.float32)).tensors["image"].high == 2.5


def test_several_inputs_are_given_by_name() -> None:
    d = Draft(a=(3,), b=(3,))
    graph = d.graph(d.sum("a", "b"))
    x = {"a": np.float32([[1, 2, 3]]), "b": np.float32([[10, 20, 40]])}
    assert ranges(graph, x).tensors["add_0_out"].high == 43
    with pytest.raises(IntsimError, match="2 inputs: give each by name: a, b"):
        ranges(graph, x["a"])
    with pytest.raises(IntsimError, match="different lengths"):
        ranges(graph, {"a": x["a"], "b": np.float32([[1, 2, 3]] * 2)})
    with pytest.raises(IntsimError, match="input b: has no calibration data"):
        ranges(graph, {"a": x["a"]})
    with pytest.raises(IntsimError, match='no input is called "c"'):
        ranges(graph, {**x, "c": x["a"]})


ZEROS = np.zeros((2, 1, 6, 6), np.float32)


@pytest.mark.parametrize(
    ("x", "reason"),
    [
        (ZEROS[0], r"has shape \(1, 6, 6\): the network takes \(n, 1, 6, 6\)"),
        (ZEROS[:, :, 1:], r"has shape \(2, 1, 5, 6\)"),
        (ZEROS[:0], "is empty"),
        (ZEROS.astype(np.int32), "holds int32: give uint8 pixels"),
        (np.stack([ZEROS[0], ZEROS[0] + np.nan]), "NaN or infinity, first in sample 1"),
        (ZEROS + np.float32(3e38), "conv_0_out: holds NaN or infinity"),
    ],
)
def test_data_that_do_not_fit_are_refused(x: np.ndarray, reason: str) -> None:
    graph = plain()
    loud = replace(graph, constants={n: np.abs(c) + 9 for n, c in graph.constants.items()})
    with pytest.raises(IntsimError, match=reason):
        ranges(loud, x)
