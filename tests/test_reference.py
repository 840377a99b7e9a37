"""onnxruntime as a reference: every tensor on view, the same integers at every level, and a name for its kernels."""

import numpy as np
import onnx
import onnxruntime
import pytest
from small_networks import Net, everything, integers

from intsim import IntsimError
from intsim.onnx_io import qdq_model, qoperator_model
from intsim.reference import ort


def _network() -> tuple[bytes, dict[str, np.ndarray]]:
    network = everything(np.random.default_rng(0))
    rng = np.random.default_rng(1)
    feeds = {n: integers(rng, "u8", (3, *network.graph.shapes[n])) for n in network.graph.inputs}
    return qoperator_model(network, io="integer").SerializeToString(), feeds


def test_every_tensor_that_a_node_computes_is_given() -> None:
    model, feeds = _network()
    found = ort.run(model, feeds)
    assert set(found) == {name for node in onnx.ModelProto.FromString(model).graph.node for name in node.output}
    assert {value.dtype for value in found.values()} == {np.dtype(np.uint8)}


def test_looking_at_the_tensors_does_not_change_the_outputs() -> None:
    model, feeds = _network()
    every = ort.run(model, feeds)
    for name, value in ort.runner(model, expose=False)(feeds).items():
        np.testing.assert_array_equal(value, every[name])


@pytest.mark.parametrize("optimization", ["basic", "extended", "all"])
@pytest.mark.parametrize("threads", [1, 2])
def test_integer_operators_give_the_same_at_every_level(optimization: ort.Optimization, threads: int) -> None:
    model, feeds = _network()
    plain = ort.run(model, feeds)
    for name, value in ort.run(model, feeds, threads=threads, optimization=optimization).items():
        np.testing.assert_array_equal(value, plain[name])


def test_a_float_model_runs_too() -> None:
    net = Net(np.random.default_rng(0))
    network = net.done(net.keep("Relu", net.input(2, 3, 4)))
    x = np.random.default_rng(0).normal(size=(5, 2, 3, 4)).astype(np.float32)
    found = ort.run(qdq_model(network).SerializeToString(), {"input_0": x})
    np.testing.assert_array_equal(found["relu_0:float"], np.maximum(found["input_0:dequantized"], 0))


def test_a_model_that_onnxruntime_does_not_take_is_refused_in_one_line() -> None:
    for model in (b"nothing", _network()[0].replace(b"QGemm", b"QBemm")):
        with pytest.raises(IntsimError, match=r"^onnxruntime: does not take this model \(.*\)$"):
            ort.runner(model, expose=model != b"nothing")


def test_inputs_that_do_not_fit_are_refused_in_one_line() -> None:
    model, feeds = _network()
    with pytest.raises(IntsimError, match=r"^onnxruntime: could not run this model \(.*\)$"):
        ort.run(model, feeds | {"input_0": feeds["input_0"][:, :, :2]})


def test_the_description_says_what_the_integers_depend_on() -> None:
    found = ort.describe("extended")
    assert (found.name, found.version, found.optimization_level) == (
        "onnxruntime",
        onnxruntime.__version__,
        "extended",
    )
    assert found.instruction_set == ort.instruction_set()


@pytest.mark.parametrize(
    ("machine", "flags", "kind", "profile"),
    [
        ("x86_64", {"avx2", "fma", "sse4_1"}, "avx2", "ort_x86_avx2"),
        ("x86_64", {"avx2", "sse4_1", "avx512f", "avx512bw"}, "avx2", "ort_x86_avx2"),
        ("x86_64", {"avx2", "sse4_1", "avx512_vnni"}, "vnni", "ort_x86_vnni"),
        ("AMD64", {"avx2", "avx_vnni"}, "vnni", "ort_x86_vnni"),
        ("x86_64", {"sse4_1"}, "sse4.1", "ort_x86_sse41"),
        ("x86_64", set(), "x86", "ort_x86"),
        ("aarch64", set(), "arm64", "ort_arm64"),
        ("arm64", set(), "arm64", "ort_arm64"),
        ("riscv64", set(), "riscv64", "ort_riscv64"),
    ],
)
def test_the_instruction_set_names_the_machine(
    machine: str, flags: set[str], kind: str, profile: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ort.platform, "machine", lambda: machine)
    monkeypatch.setattr(ort, "_flags", lambda: flags)
    assert (ort.instruction_set(), ort.host_profile()) == (kind, profile)


def test_linux_and_numpy_agree_about_this_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    here = ort.instruction_set()
    monkeypatch.setattr(ort, "Path", lambda path: ort.importlib.import_module("pathlib").Path("/nowhere"))
    without_linux = ort.instruction_set()
    assert here == without_linux or (here, without_linux) == ("vnni", "avx2")  # numpy does not tell AVX-VNNI
