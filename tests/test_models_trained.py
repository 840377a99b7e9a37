"""Networks trained in integers run on the very codes that were trained; images to train against stay in their ball."""

import json

import numpy as np
import onnx
import pytest

import intsim_models
from intsim.build import build, load
from intsim.cli import sources
from intsim.engine import run
from intsim.evaluate import evaluate
from intsim.graph import Graph
from intsim.program import Dot
from intsim.quantized import QuantizedGraph, dequantized
from intsim_models import accuracy
from intsim_models.accuracy import TARGETS

torch = pytest.importorskip("torch")

from intsim.onnx_io import write_qdq  # noqa: E402
from intsim_models import adversarial, codes, networks, train  # noqa: E402

pytestmark = pytest.mark.usefixtures("one_thread")

RECORDS = accuracy.read()
SHIPPED = intsim_models.images()
BITS = {"cnn_w4": 4, "cnn_w3": 3, "cnn_w2": 2}

quantized = pytest.mark.parametrize("name", intsim_models.QUANTIZED)


def weights(found: QuantizedGraph) -> list[str]:
    return [node.inputs[1] for node in found.graph.nodes if node.op in ("Conv", "Gemm")]


def coded(bits: int, steps: int = 2):
    """(the float graph, a network trained for a few steps with codes of so many bits)."""
    graph = load(intsim_models.path("cnn"))
    network = codes.coded(graph, networks.folded_cnn(), bits)
    recipe = train.Recipe(epochs=1, rate=1e-3, batch=64, decay=0, bits=bits, start="cnn")
    n = 64 * steps
    return graph, train.train(network, SHIPPED.x_calibration[:n], SHIPPED.y_calibration[:n], recipe)


# ---- the networks that ship ------------------------------------------------------------------------------------


@quantized
def test_the_file_holds_the_codes_that_were_trained(name):
    found = load(intsim_models.path(name))
    assert isinstance(found, QuantizedGraph)
    trained = [found.graph.constants[weight] for weight in weights(found)]
    assert codes.digest(trained) == RECORDS[name]["codes_sha256"]
    most = 2 ** (BITS[name] - 1) - 1
    for integers in trained:
        assert set(np.unique(integers)) <= set(range(-most, most + 1))
    assert {found.affines[weight].type.bits for weight in weights(found)} == {BITS[name]}
    assert max(np.abs(integers).max() for integers in trained) == most


@quantized
@pytest.mark.parametrize("target", [*TARGETS, "ort_x86_avx2", "tosa_double"])
def test_the_engine_runs_those_very_codes(name, target):
    found = load(intsim_models.path(name))
    program = build(found, target)
    dots = [step for step in program.steps if isinstance(step.compute, Dot)]
    assert len(dots) == len(weights(found))
    for step, weight in zip(dots, weights(found), strict=True):
        ran = step.compute.weight.astype(int) - int(step.compute.weight_zero_point.max())
        np.testing.assert_array_equal(ran, np.moveaxis(found.graph.constants[weight], 1, -1))


@quantized
def test_the_engine_is_as_often_right_as_recorded(name):
    found = accuracy.by_engine(intsim_models.path(name), SHIPPED.x, SHIPPED.y)
    assert found == RECORDS[name]["engine_correct_of_2000"]  # integers: the same on every CPU


@pytest.mark.parametrize("name", [*intsim_models.DEFENDED, *intsim_models.QUANTIZED])
def test_the_command_line_knows_them_by_name(name):
    assert sources.shipped(name)
    found = sources.model(name)
    assert isinstance(found, QuantizedGraph if name in intsim_models.QUANTIZED else Graph)
    assert (found.graph if isinstance(found, QuantizedGraph) else found).name == name


def test_fewer_bits_are_right_less_often_and_none_is_broken():
    right = [RECORDS[name]["correct_of_10000"] for name in ("cnn", *intsim_models.QUANTIZED)]
    assert right[-1] == min(right) > 8000


def test_the_defended_network_gives_up_clean_accuracy_and_keeps_more_under_attack():
    found = {
        name: evaluate(intsim_models.path(name), data=(SHIPPED.x[:200], SHIPPED.y[:200]), attacks="pgd", eps="8/255")
        for name in ("cnn", "cnn_adv")
    }
    correct = {(name, row.attack): row.correct for name, one in found.items() for row in one.rows}
    clean, hit = ({name: correct[name, attack] for name in found} for attack in ("clean", "pgd"))
    assert clean["cnn_adv"] < clean["cnn"]
    assert hit["cnn_adv"] > hit["cnn"] + 60


@quantized
def test_a_quantized_network_is_one_file_without_data_of_its_machine(name):
    model = onnx.load(intsim_models.path(name), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert b"/tmp" not in intsim_models.path(name).read_bytes()


# ---- how they are made -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bits", [4, 2])
def test_codes_survive_the_way_from_training_to_the_program(bits, tmp_path):
    graph, network = coded(bits)
    made = codes.quantized(graph, network, bits, SHIPPED.x_calibration[:32])
    write_qdq(made, tmp_path / "net.onnx")
    found = load(tmp_path / "net.onnx")
    assert found.graph.constants.keys() == made.graph.constants.keys()
    for weight, (integers, scales), layer in zip(weights(found), codes.codes_of(network), layers(network), strict=True):
        np.testing.assert_array_equal(found.graph.constants[weight], integers)
        assert found.affines[weight].scale == tuple(float(scale) for scale in scales)
        assert found.affines[weight].axis == (0 if integers.ndim == 4 else None)
        real = layer.weight.detach().numpy()
        np.testing.assert_allclose(dequantized(integers, found.affines[weight]), real, rtol=1e-6, atol=0)


def test_the_integers_answer_as_the_network_that_was_trained():
    graph, network = coded(4)
    program = build(codes.quantized(graph, network, 4, SHIPPED.x_calibration), "ideal")
    x = SHIPPED.x[:200]
    with torch.no_grad():
        floats = network(torch.from_numpy(x / np.float32(255))).numpy()
    found = run(program, x).logits["logits"]
    assert np.mean(found.argmax(1) == floats.argmax(1)) > 0.96
    assert np.abs(found - floats).mean() < 0.05 * np.abs(floats).mean()


def test_codes_are_what_the_layer_computes_with_and_gradients_pass_through():
    layer = networks.folded_cnn()[0]
    own = codes.Codes(layer.weight, 3)
    weight = layer.weight.detach().clone().requires_grad_()
    made = own(weight)
    np.testing.assert_array_equal((made / own.scale).round().detach().numpy(), own.integers(weight).numpy())
    made.sum().backward()
    inside = (weight / own.scale).abs() < 3
    np.testing.assert_allclose(weight.grad[inside].numpy(), 1, rtol=1e-5)
    assert not weight.grad[~inside].any()
    assert own.scale.grad.shape == (16, 1, 1, 1)


def test_crafted_images_stay_in_the_ball_and_raise_the_loss():
    network = networks.build("cnn", 0).train()
    x, y = torch.from_numpy(SHIPPED.x[:32] / np.float32(255)), torch.from_numpy(SHIPPED.y[:32].astype(np.int64))
    generator = torch.Generator().manual_seed(0)
    crafted = adversarial.craft(network, x, y, radius=8, steps=7, generator=generator)
    assert network.training
    assert not crafted.requires_grad
    assert (crafted - x).abs().max() <= 8 / 255 + 1e-6
    assert crafted.min() >= 0
    assert crafted.max() <= 1
    loss = torch.nn.functional.cross_entropy
    with torch.no_grad():
        before, after = (loss(network.eval()(one), y) for one in (x, crafted))
    assert after > before


def layers(network):
    return [module for module in network.modules() if isinstance(module, torch.nn.Conv2d | torch.nn.Linear)]


# ---- the page --------------------------------------------------------------------------------------------------


def test_the_page_on_defences_is_what_its_record_says():
    import defences
    import defences_page

    record = json.loads(defences.RECORD.read_text())
    assert tuple(record) == tuple(defences.CHIPS)
    assert defences_page.page(record) == defences.PAGE.read_text(), "run: python benchmarks/defences.py --page"
