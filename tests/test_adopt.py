"""What other tools quantized runs with the integers that they state; what they leave in float is said, not guessed."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_text
import onnxruntime
import pytest
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_static,
)

import intsim
from intsim import adopt, engine
from intsim.cli import main
from intsim.errors import IntsimError
from intsim.integers import IntType
from intsim.lower import lower
from intsim.onnx_io.protobuf import tensor
from intsim.quantized import QuantizedGraph
from intsim.targets import TARGETS
from intsim_models import images, path

X = (images().x[:48] / np.float32(255)).astype(np.float32)
S8, U8, S16, U16, S4, U4 = (QuantType[f"Q{name}"] for name in ("Int8", "UInt8", "Int16", "UInt16", "Int4", "UInt4"))


class Calibration(CalibrationDataReader):
    """Eight images, one by one."""

    def __init__(self, name: str) -> None:
        x = (images().x_calibration[:8] / np.float32(255)).astype(np.float32)
        self.left = iter([{name: x[i : i + 1]} for i in range(len(x))])

    def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
        return next(self.left, None)


@cache
def prepared(network: str, folder: Path) -> Path:
    """The float file as onnxruntime's quantizer likes it."""
    made = folder / f"{network}_prepared.onnx"
    quant_pre_process(str(path(network)), str(made), skip_symbolic_shape=True)
    return made


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("theirs")


def theirs(
    folder: Path, network: str, form: QuantFormat, kinds: Any, *, per_channel: bool = False, **extra: Any
) -> Path:
    """The network as onnxruntime's quantizer writes it."""
    source, made = prepared(network, folder), folder / "quantized.onnx"
    (entry,) = onnx.load(source).graph.input
    quantize_static(
        source, made, Calibration(entry.name), quant_format=form, activation_type=kinds[0], weight_type=kinds[1],
        per_channel=per_channel, extra_options=extra,
    )  # fmt: skip
    return made


def onnxruntimes(file: Path, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {session.get_inputs()[0].name: x})[0])


def ours(network: QuantizedGraph, x: np.ndarray, target: str = "ideal") -> np.ndarray:
    return next(iter(engine.run(lower(network, TARGETS[target]), x).logits.values()))


# ---- onnxruntime's quantizer ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("network", ["mlp", "lenet5", "resnet8"])
@pytest.mark.parametrize("kinds", [(S8, S8), (U8, U8)])
def test_a_qoperator_file_gives_onnxruntimes_integers(network: str, kinds: Any, folder: Path) -> None:
    """Of one sign throughout, whose products no instruction set saturates: the same on every x86 CPU."""
    file = theirs(folder, network, QuantFormat.QOperator, kinds, per_channel=kinds == (S8, S8))
    np.testing.assert_array_equal(ours(intsim.load(file), X, "ort_x86_vnni"), onnxruntimes(file, X))  # type: ignore[arg-type]


@pytest.mark.parametrize("kinds", [(U8, S8), (S8, S8)])
def test_a_qdq_file_is_the_same_network_as_a_qoperator_file(kinds: Any, folder: Path) -> None:
    found = [adopt.read(theirs(folder, "lenet5", form, kinds)) for form in (QuantFormat.QDQ, QuantFormat.QOperator)]
    one, other = (ours(network, X) for network in found)
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("kinds", "per_channel", "extra"),
    [
        ((U8, S8), False, {}),
        ((S8, S8), True, {}),
        ((U8, U8), False, {"ActivationSymmetric": True}),
        ((U16, U8), False, {}),
        ((S16, S16), True, {"UseQDQContribOps": True}),
        ((U8, S4), True, {}),
        ((U8, U4), False, {}),
        ((U8, S8), False, {"WeightSymmetric": False}),
        ((U8, S8), False, {"AddQDQPairToWeight": True}),
        ((S8, S8), True, {"DedicatedQDQPair": True}),
        ((U8, S8), False, {"ForceQuantizeNoInputCheck": True}),
        ((U8, S8), False, {"QDQKeepRemovableActivations": True}),
    ],
)
def test_every_option_of_its_qdq_files_is_read_with_the_integers_they_state(
    kinds: Any, per_channel: bool, extra: dict[str, Any], folder: Path
) -> None:
    """The weights' integers and the activations' types are the file's, its answers within a step.

    For onnxruntime computes QDQ in float32, whose rounding may move a sum across a tie.
    """
    file = theirs(folder, "lenet5", QuantFormat.QDQ, kinds, per_channel=per_channel, **extra)
    network = adopt.read(file)
    bits = {U8: "u8", S8: "s8", U16: "u16", S16: "s16", S4: "s4", U4: "u4"}
    stated = [tensor(each, file.parent) for each in onnx.load(file).graph.initializer]
    integers = {tuple(sorted(map(int, array.ravel()))) for array in stated if "int" in array.dtype.name}
    weights = {node.inputs[1] for node in network.graph.nodes if node.op in ("Conv", "Gemm")}
    for name in weights:
        assert str(network.affines[name].type) == bits[kinds[1]]
        held = tuple(sorted(map(int, network.graph.constants[name].ravel())))
        assert held in integers or extra.get("AddQDQPairToWeight")  # there the file has floats, and how to round them
    inner = {name for node in network.graph.nodes for name in node.outputs}
    assert {str(network.affines[name].type) for name in inner} == {bits[kinds[0]]}
    step = network.affines[network.graph.outputs[0]].scale[0]
    got, wanted = ours(network, X), onnxruntimes(file, X)
    moved = np.rint((got - wanted) / step)
    assert np.abs(moved).max() <= 1


def test_a_bias_that_stays_float_becomes_the_nearest_integers(folder: Path) -> None:
    network = adopt.read(theirs(folder, "lenet5", QuantFormat.QDQ, (U8, S8), QuantizeBias=False))
    float_network = intsim.load(path("lenet5"))
    node = next(node for node in network.graph.nodes if node.op == "Conv")
    x, w = (network.affines[name].scale[0] for name in node.inputs[:2])
    (bias,) = [values for values in float_network.constants.values() if values.shape == (6,)]  # type: ignore[union-attr]
    np.testing.assert_array_equal(network.graph.constants[node.inputs[2]], np.rint(bias / (x * w)))


def test_what_it_leaves_in_float_is_refused_listed_and_calibrated_when_asked_to(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = theirs(folder, "lenet5", QuantFormat.QDQ, (U8, S8), OpTypesToExcludeOutputQuantization=["Gemm"])
    left = adopt.adopted(file).left
    assert left
    with pytest.raises(IntsimError, match=rf"leaves in float: {left[0]}.*--quantize-rest"):
        intsim.load(file)
    assert main(["inspect", str(file)]) == 0
    said = capsys.readouterr().out
    assert all(name in said for name in left)
    rest = ["quantize", str(file), "--quantize-rest", "-o", str(tmp_path / "whole.onnx")]
    assert main(rest) == 2
    assert "--calibration" in capsys.readouterr().err
    assert main([*rest, "--calibration", "fashion"]) == 0
    assert left[0] in capsys.readouterr().err
    before, whole = adopt.adopted(file), intsim.load(tmp_path / "whole.onnx")
    assert isinstance(whole, QuantizedGraph)
    assert before.affines.items() <= whole.affines.items()
    assert (ours(whole, X).argmax(1) == onnxruntimes(file, X).argmax(1)).mean() > 0.9


# ---- other spellings -----------------------------------------------------------------------------------------------


def quant(x: np.ndarray, scale: Any, zero: int, low: int, high: int) -> np.ndarray:
    return (np.clip(np.rint(x / scale) + zero, low, high) - zero) * scale


def saved_as(folder: Path, text: str, domain: str, opset: int = 20) -> Path:
    model = onnx_text.model(text, opset)
    for node in model.graph.node:
        if node.op_type in ("Quant", "BipolarQuant", "Trunc"):
            node.domain = domain
    model.opset_import.append(onnx.helper.make_opsetid(domain, 1))
    onnx.save(model, folder / "spelled.onnx")
    return folder / "spelled.onnx"


QONNX = """
net (float[N,6] x) => (float[N,3] y)
<random[6,3] w, float sx = {{0.125}}, float sw[1,3] = {{0.25, 0.5, 0.125}}, float sy = {{0.5}}, float zero = {{0}},
 float few = {{{few}}}, float eight = {{8}}>
{{
 qx = Quant <signed=0> (x, sx, zero, eight)
 qw = Quant <signed=1, narrow={narrow}> (w, sw, zero, few)
 z = MatMul (qx, qw)
 y = Quant (z, sy, zero, eight)
}}
"""


@pytest.mark.parametrize("domain", ["qonnx.custom_op.general", "onnx.brevitas", "finn.custom_op.general"])
@pytest.mark.parametrize(("few", "narrow"), [(2, 1), (3, 0), (4, 1), (8, 0)])
def test_qonnx_of_any_width_computes_its_formula(domain: str, few: int, narrow: int, tmp_path: Path) -> None:
    text = QONNX.format(few=few, narrow=narrow).replace("float sw[1,3]", "float[1,3] sw")
    file = saved_as(tmp_path, text, domain)
    network = adopt.read(file)
    weights = next(own for own in network.affines.values() if own.axis is not None and own.type.bits < 32)
    assert weights.type == IntType(few, narrow_range=bool(narrow))
    x = np.random.default_rng(few).uniform(0, 31, (20, 6)).astype(np.float32)
    w = tensor(onnx.load(file).graph.initializer[0], tmp_path).astype(np.float64)
    sw, half = np.array([[0.25, 0.5, 0.125]]), 1 << few - 1
    sums = quant(x.astype(np.float64), 0.125, 0, 0, 255) @ quant(w, sw, 0, -half + narrow, half - 1)
    np.testing.assert_array_equal(ours(network, x), quant(sums, 0.5, 0, -128, 127))


QDQ = """
net ({kind}[N,1,6,6] x) => (float[N,4] y)
<random[2,1,3,3] real, int8[2,1,3,3] w = {{{w}}}, float sx = {{{sx}}}, uint8 zx = {{3}},
 float sw = {{0.0625}}, int8 zw = {{0}},
 float s1 = {{0.5}}, uint8 z1 = {{7}}, float s2 = {{0.25}}, uint8 z2 = {{128}}, uint8 low = {{7}}, uint8 high = {{22}}>
{{
 {enter}
 dw = DequantizeLinear (w, sw, zw)
 c = Conv (dx, dw)
 {middle}
 y = Flatten (p)
}}
"""
PAIR = "q1 = QuantizeLinear (c, s1, z1) {clip} d1 = DequantizeLinear ({held}, s1, z1)"
W = ", ".join(str(v) for v in np.random.default_rng(2).integers(-9, 10, 18))
ENTER = "qx = QuantizeLinear (x, sx, zx) dx = DequantizeLinear (qx, sx, zx)"


def convolved(x: np.ndarray) -> np.ndarray:
    w = np.array(W.split(", "), np.float64).reshape(2, 3, 3) / 16
    windows = np.lib.stride_tricks.sliding_window_view(x[:, 0], (3, 3), (1, 2))
    return np.einsum("nhwij,oij->nohw", windows, w)


def pooled(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), 2, 2, 2, 2, 2).max((3, 5)).reshape(len(x), -1)


def test_scales_that_differ_around_a_pool_are_both_kept(tmp_path: Path) -> None:
    middle = PAIR.format(clip="", held="q1") + (
        " m = MaxPool <kernel_shape=[2,2], strides=[2,2]> (d1) q2 = QuantizeLinear (m, s2, z2)"
        " p = DequantizeLinear (q2, s2, z2)"
    )
    file = onnx_text.saved(tmp_path, QDQ.format(kind="float", sx=0.125, w=W, enter=ENTER, middle=middle))
    network = adopt.read(file)
    assert [node.op for node in network.graph.nodes] == ["Conv", "MaxPool", "Requantize", "Flatten"]
    x = np.random.default_rng(3).uniform(0, 25, (9, 1, 6, 6)).astype(np.float32)
    first = quant(convolved(quant(x.astype(float), 0.125, 3, 0, 255)), 0.5, 7, 0, 255)
    np.testing.assert_array_equal(ours(network, x), quant(pooled(first), 0.25, 128, 0, 255))


@pytest.mark.parametrize("moved", [False, True])
def test_a_clip_of_integers_narrows_their_type_and_what_moves_integers_may_stand_between(
    moved: bool, tmp_path: Path
) -> None:
    """As Brevitas writes QCDQ, and exporters that pool before they dequantize."""
    clip, held = "k = Clip (q1, low, high)", "k"
    pool = "MaxPool <kernel_shape=[2,2], strides=[2,2]>"
    if moved:
        clip, held = f"{clip} k2 = {pool} (k)", "k2"
    middle = PAIR.format(clip=clip, held=held) + (" p = Identity (d1)" if moved else f" p = {pool} (d1)")
    text = QDQ.format(kind="float", sx=0.125, w=W, enter=ENTER, middle=middle).replace(
        "uint8 low = {7}", "uint8 low = {0}"
    )
    network = adopt.read(onnx_text.saved(tmp_path, text.replace("uint8 high = {22}", "uint8 high = {15}")))
    assert IntType(4, signed=False) in {own.type for own in network.affines.values()}
    x = np.random.default_rng(4).uniform(0, 25, (9, 1, 6, 6)).astype(np.float32)
    first = quant(convolved(quant(x.astype(float), 0.125, 3, 0, 255)), 0.5, 7, 0, 15)
    np.testing.assert_array_equal(ours(network, x), pooled(first))


def test_a_float_relu_behind_a_pair_is_no_clip_of_integers(tmp_path: Path) -> None:
    middle = PAIR.format(clip="", held="q1") + (
        " b = Constant <value_float=4.0> () a = Constant <value_float=0.0> () r = Clip (d1, a, b)"
        " p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (r)"
    )
    network = adopt.read(onnx_text.saved(tmp_path, QDQ.format(kind="float", sx=0.125, w=W, enter=ENTER, middle=middle)))
    x = np.random.default_rng(5).uniform(0, 25, (9, 1, 6, 6)).astype(np.float32)
    first = quant(convolved(quant(x.astype(float), 0.125, 3, 0, 255)), 0.5, 7, 0, 255)
    np.testing.assert_array_equal(ours(network, x), pooled(np.clip(first, 0, 4)))


def test_images_may_enter_as_integers(tmp_path: Path) -> None:
    middle = PAIR.format(clip="", held="q1") + " p = MaxPool <kernel_shape=[2,2], strides=[2,2]> (d1)"
    enter = "dx = DequantizeLinear (x, sx, zx)"
    network = adopt.read(onnx_text.saved(tmp_path, QDQ.format(kind="uint8", sx=0.125, w=W, enter=enter, middle=middle)))
    x = np.random.default_rng(6).integers(0, 256, (9, 1, 6, 6), dtype=np.uint8)
    first = quant(convolved((x.astype(float) - 3) / 8), 0.5, 7, 0, 255)
    np.testing.assert_array_equal(ours(network, x), pooled(first))


# ---- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("middle", "said"),
    [
        ("q = QuantizeLinear (c, s1, z1) p = DequantizeLinear (q, s2, z1)", "another scale"),
        ("v = Constant <value_floats=[0.5, 0.25]> () q = QuantizeLinear <axis=1> (c, v) p = DequantizeLinear (q, v)",
         "by channels"),
        ("q = QuantizeLinear (c, s1, z1) k = Clip (q, low, high) p = DequantizeLinear (k, s1, z1)", "of no integer"),
        ("m = ReduceMax <keepdims=0> (c) q = QuantizeLinear (c, m) p = DequantizeLinear (q, m)", "computes its scale"),
        ("q, s, z = DynamicQuantizeLinear (c) p = DequantizeLinear (q, s, z)", "is dynamic"),
    ],
)  # fmt: skip
def test_what_cannot_be_known_before_it_runs_is_refused(middle: str, said: str, tmp_path: Path) -> None:
    file = onnx_text.saved(tmp_path, QDQ.format(kind="float", sx=0.125, w=W, enter=ENTER, middle=middle))
    with pytest.raises(IntsimError, match=said) as error:
        adopt.read(file)
    assert str(error.value).startswith(str(file))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("y = Quant (z", 'y = Quant <rounding_mode="FLOOR"> (z', "rounds FLOOR"),
        ("float few = {4}", "float few = {17}", "17 bits: 2 to 8"),
        ("float few = {4}", "float few = {2.5}", "2.5 bits"),
        ("y = Quant (z, sy, zero, eight)", "y = BipolarQuant (z, sy)", "BipolarQuant is not read yet"),
        ("float sx = {0.125}", "float sx = {-0.125}", "positive finite"),
        ("float zero = {0}", "float zero = {0.5}", "zero point"),
    ],
)
def test_qonnx_beyond_what_is_read_is_refused_by_name(old: str, new: str, said: str, tmp_path: Path) -> None:
    text = QONNX.format(few=4, narrow=0).replace("float sw[1,3]", "float[1,3] sw")
    assert old in text
    file = saved_as(tmp_path, text.replace(old, new), "qonnx.custom_op.general")
    with pytest.raises(IntsimError, match=said):
        adopt.read(file)
