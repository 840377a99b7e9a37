"""Programs against onnxruntime, other machines, dumps and functions: what differs is counted where it differs."""

import json
import sys
from pathlib import Path
from types import ModuleType

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from small_networks import Net, any_affine, everything

import intsim
import intsim_models
from intsim import TARGETS, IntsimError, Program, QuantizedGraph, oracle
from intsim.compare import Comparison, compare, counting
from intsim.compare.steps import one_step
from intsim.integers import Rounding
from intsim.lower import lower
from intsim.program import outside
from intsim.reference import ort
from intsim.target import Float32Scale

HOST = ort.host_profile()
on_known_hosts = pytest.mark.skipif(HOST not in TARGETS, reason=f"{HOST} is not in the catalogue")
MACHINE = TARGETS["ort_x86_vnni"]


def _network(activation: str = "u8") -> QuantizedGraph:
    return everything(np.random.default_rng(0), activation, "s8")


def _images(network: QuantizedGraph, count: int = 2, seed: int = 1) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {n: rng.integers(0, 256, (count, *network.graph.shapes[n])).astype(np.uint8) for n in network.graph.inputs}


def _dump(program: Program, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    traced = oracle.run(program, x, trace=("*",)).traced
    return {name: array for name, array in traced.items() if name not in program.inputs}


def _clean(found: Comparison) -> None:
    assert [(layer.name, layer.mismatches, layer.single_mismatches) for layer in found.layers] == [
        (layer.name, 0, 0) for layer in found.layers
    ]
    assert (found.mismatches, found.single_mismatches, found.argmax_agreement) == (0, 0, 1.0)
    assert found.elements == sum(layer.elements for layer in found.layers) > 0


# ---- onnxruntime ---------------------------------------------------------------------------------------------


@on_known_hosts
@pytest.mark.parametrize("name", intsim_models.NAMES)
def test_every_embedded_network_equals_onnxruntime_on_all_images(name: str) -> None:
    """8 bits, every layer, accumulated and fed alone, 2,000 images: not one integer differs."""
    images = intsim_models.images()
    program = intsim.build(intsim_models.path(name), HOST, calibration=images.x_calibration)
    found = compare(program, "onnxruntime", images.x)
    assert found.images == 2000
    assert len(found.layers) == len(program.steps)
    assert found.not_compared == ()
    _clean(found)


@on_known_hosts
@pytest.mark.parametrize("options", [{"bits": 4}, {"weight_bits": 3, "activation_bits": 6}, {"granularity": "tensor"}])
def test_other_widths_equal_onnxruntime(options: dict[str, object]) -> None:
    options = dict(options)
    if "bits" in options:
        options["weight_bits"] = options["activation_bits"] = options.pop("bits")
    images = intsim_models.images()
    program = intsim.build(intsim_models.path("lenet5"), HOST, calibration=images.x_calibration[:64], **options)
    _clean(compare(program, "onnxruntime", images.x[:50]))


@on_known_hosts
def test_the_reference_says_version_level_and_instruction_set() -> None:
    network = _network()
    found = compare(lower(network, TARGETS[HOST]), "onnxruntime", _images(network), run=oracle.run)
    _clean(found)
    plain = json.loads(msgspec.json.encode(found))
    assert plain["reference"] == {
        "name": "onnxruntime",
        "version": ort.describe().version,
        "optimization_level": "disabled",
        "instruction_set": ort.instruction_set(),
    }
    assert set(plain) >= {"mismatches", "elements", "argmax_agreement", "reference", "layers"}
    assert set(plain["layers"][0]) >= {"name", "op", "elements", "mismatches", "max_difference", "explained_by"}


@on_known_hosts
def test_a_machine_of_the_other_sign_is_compared_by_multiples_of_the_scale() -> None:
    """The network is unsigned, the machine signed: padding, moving and clipping must still be the same."""
    network = _network("u8")
    program = lower(network, TARGETS["ideal"])
    signed = lower(
        network,
        replace(
            TARGETS["ideal"],
            name="signed",
            scheme=replace(program.targets["ideal"].scheme, activations=(intsim.IntType(8),)),
        ),
    )
    assert signed.tensors["conv_1"].affine.type.signed
    theirs = compare(program, "onnxruntime", _images(network), run=oracle.run)
    ours = compare(signed, "onnxruntime", _images(network), run=oracle.run)
    assert [layer.mismatches for layer in ours.layers] == [layer.mismatches for layer in theirs.layers]
    assert {layer.name: layer.mismatches for layer in ours.layers}["node_pad_0"] == 0


# ---- other machines ------------------------------------------------------------------------------------------


def test_a_program_equals_itself() -> None:
    network = _network()
    program = lower(network, MACHINE)
    for reference in (program, MACHINE, "ort_x86_vnni"):
        found = compare(program, reference, _images(network), run=oracle.run)
        _clean(found)
        assert len(found.layers) == len(network.graph.nodes)
        assert found.reference.name == "ort_x86_vnni"


def test_the_layer_that_differs_alone_is_told_from_those_that_inherit_it() -> None:
    """One node with another rounding: it alone differs when fed alone; what follows inherits its error."""
    net = Net(np.random.default_rng(4))
    x = net.input(3, 6, 6, of=any_affine(net.rng, "u8", scale=2.0**-5))
    small = net.rng.integers(-3, 4, (3, 3, 1, 1)).astype(np.int8)
    first = net.conv(
        x, 3, (1, 1), scale=2.0**-6, bias=False, values=small, of=any_affine(net.rng, "u8", scale=2.0**-7, zero=128)
    )
    network = net.done(net.add(net.keep("Relu", first), x, of=any_affine(net.rng, "u8", scale=2.0**-5)))
    other = replace(MACHINE, name="other", requantize=Float32Scale(rounding=Rounding.HALF_AWAY))
    program = lower(network, MACHINE, nodes={"node_conv_0": other})
    found = compare(program, lower(network, MACHINE), {"input_0": _images(network, 20)["input_0"]}, run=oracle.run)
    conv, relu, add = found.layers
    assert conv.mismatches == conv.single_mismatches > 0
    assert conv.max_difference == conv.single_max_difference == 1
    assert relu.mismatches > 0
    assert add.mismatches > 0
    assert relu.single_mismatches == add.single_mismatches == 0
    assert found.mismatches == conv.mismatches + relu.mismatches + add.mismatches
    assert found.single_mismatches == conv.mismatches


def test_borders_between_machines_are_no_layers_but_are_crossed() -> None:
    network = _network()
    signed = replace(MACHINE, name="signed", scheme=replace(MACHINE.scheme, activations=(intsim.IntType(8),)))
    mixed = lower(network, MACHINE, nodes={"node_conv_1": signed, "node_conv_3": signed})
    assert any(step.op == "Offset" for step in mixed.steps)
    found = compare(mixed, mixed, _images(network), run=oracle.run)
    _clean(found)
    assert [layer.name for layer in found.layers] == [node.name for node in network.graph.nodes]
    assert found.target == "ort_x86_vnni + signed"


def test_a_program_of_another_network_is_refused() -> None:
    network = _network()
    changed = network.graph.constants | {"weight_1": network.graph.constants["weight_1"] ^ 1}
    for other in (
        everything(np.random.default_rng(5)),
        replace(network, graph=replace(network.graph, constants=changed)),
    ):
        with pytest.raises(IntsimError, match="comes from another quantized network: lower the same one"):
            compare(lower(network, MACHINE), lower(other, MACHINE), _images(network), run=oracle.run)


# ---- dumps and functions -------------------------------------------------------------------------------------


def test_a_dump_of_the_same_integers_equals(tmp_path: Path) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network)
    np.savez(tmp_path / "dump.npz", **_dump(program, x))
    found = compare(program, str(tmp_path / "dump.npz"), x, run=oracle.run)
    _clean(found)
    assert found.reference.name == "dump.npz"
    assert not found.not_compared


def test_the_file_of_a_traced_run_is_a_dump(tmp_path: Path) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network)
    traced = {f"trace:{name}": array for name, array in _dump(program, x).items()}
    sums = {"trace:conv_1:accumulator": np.zeros(3), "integers": np.zeros(3), "logits": np.zeros(3)}
    np.savez(tmp_path / "y.npz", **traced, **sums)
    found = compare(program, tmp_path / "y.npz", x, run=oracle.run)
    _clean(found)
    assert not found.not_compared


def test_a_dump_may_have_gaps_which_are_listed(tmp_path: Path) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network)
    dump = _dump(program, x)
    dump["conv_1"] = dump["conv_1"].copy()
    dump["conv_1"][1, 2, 3, 4] += 3
    kept = {name: dump[name] for name in ("pad_0", "conv_1", "gemm_14")}
    np.savez(tmp_path / "dump.npz", **kept)
    found = compare(program, tmp_path / "dump.npz", x, run=oracle.run)
    layers = {layer.tensor: layer for layer in found.layers}
    assert set(layers) == set(kept)
    assert (layers["conv_1"].mismatches, layers["conv_1"].single_mismatches, layers["conv_1"].max_difference) == (
        1,
        1,
        3,
    )
    assert layers["gemm_14"].single_mismatches is None
    assert found.argmax_agreement is None
    assert set(found.not_compared) == {node.name for node in network.graph.nodes} - {
        "node_pad_0",
        "node_conv_1",
        "node_gemm_14",
    }


def test_a_dump_may_name_nodes_and_have_either_sign(tmp_path: Path) -> None:
    """The machine is signed, the network unsigned; the array's own type says which of the two was read off."""
    network = _network("u8")
    signed = replace(MACHINE, name="signed", scheme=replace(MACHINE.scheme, activations=(intsim.IntType(8),)))
    program, x = lower(network, signed), _images(network)
    dump = _dump(program, x)
    assert dump["conv_1"].dtype == np.int8
    as_network = (dump["conv_1"].astype(int) + 128).astype(np.uint8)
    np.savez(tmp_path / "dump.npz", **(dump | {"conv_1": as_network, "node_add_5": dump["add_5"].astype(np.int32)}))
    _clean(compare(program, tmp_path / "dump.npz", x, run=oracle.run))


def _trim(dump: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {"conv_1": dump["conv_1"]}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda d: {"conv_9": d["conv_1"]}, 'no tensor is called "conv_9": did you mean conv_'),
        (lambda d: {"conv_1": d["conv_1"][:1]}, r"conv_1: has shape \(1, 4, 7, 6\): 2 images need \(2, 4, 7, 6\)"),
        (lambda d: {"conv_1": d["conv_1"].astype(np.float32)}, "conv_1: holds float32: give the integers"),
        (lambda d: {"conv_1": d["conv_1"].astype(np.int32) + 300}, "conv_1: holds .* outside u8"),
        (lambda d: {}, "holds no tensor"),
    ],
)
def test_a_dump_that_does_not_fit_is_refused(change: object, match: str, tmp_path: Path) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network)
    np.savez(tmp_path / "dump.npz", **change(_dump(program, x)))
    with pytest.raises(IntsimError, match=match) as caught:
        compare(program, tmp_path / "dump.npz", x, run=oracle.run)
    assert "dump.npz" in str(caught.value)


def test_a_dump_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network)
    (tmp_path / "torn.npz").write_bytes(b"PK\x03\x04 and no more")
    np.savez(tmp_path / "objects.npz", conv_1=np.array([{}], object))
    for name, match in (("none", "does not exist"), ("torn", "damaged"), ("objects", "damaged")):
        with pytest.raises(IntsimError, match=rf"{name}\.npz: .*{match}"):
            compare(program, tmp_path / f"{name}.npz", x, run=oracle.run)


def test_a_function_is_a_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network, 3)
    module = ModuleType("my_device")
    module.read = lambda images: _dump(program, images)  # type: ignore[attr-defined]
    module.nothing = lambda images: None  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_device", module)
    _clean(compare(program, "my_device:read", x, run=oracle.run))
    _clean(compare(program, module.read, x, run=oracle.run))
    with pytest.raises(IntsimError, match=r"gave NoneType: give \{tensor name: integers\}"):
        compare(program, "my_device:nothing", x, run=oracle.run)
    with pytest.raises(IntsimError, match="my_device:missing: cannot be imported"):
        compare(program, "my_device:missing", x, run=oracle.run)


def test_an_unknown_reference_is_refused_with_the_nearest_names() -> None:
    network = _network()
    with pytest.raises(IntsimError, match='no reference is called "onnxrutime": did you mean onnxruntime'):
        compare(lower(network, MACHINE), "onnxrutime", _images(network), run=oracle.run)


# ---- batches and steps ---------------------------------------------------------------------------------------


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network, 5)
    dump = _dump(program, x)
    dump["gemm_13"] = dump["gemm_13"] ^ 1
    np.savez(tmp_path / "dump.npz", **dump)
    whole = compare(program, tmp_path / "dump.npz", x, run=oracle.run)
    budget = 2 * sum(int(np.prod(t.shape)) for t in program.tensors.values())
    monkeypatch.setattr(counting, "_BUDGET", budget)
    seen: list[tuple[int, int]] = []
    parts = compare(
        program, tmp_path / "dump.npz", x, run=oracle.run, progress=lambda done, of: seen.append((done, of))
    )
    assert parts == whole
    assert seen == [(2, 5), (4, 5), (5, 5)]
    assert whole.mismatches == 25


def test_a_step_alone_is_the_step_in_the_program() -> None:
    network = _network()
    program, x = lower(network, MACHINE), _images(network)
    traced = oracle.run(program, x, trace=("*",)).traced
    for step in program.steps:
        fed = {name: traced[name] for name in step.inputs}
        (output,) = step.outputs
        alone = oracle.run(one_step(program, step), fed, trace=(output,)).traced[output]
        np.testing.assert_array_equal(alone, traced[output])


def test_a_step_alone_takes_integers_of_its_type_only() -> None:
    network = _network()
    program = lower(network, MACHINE)
    step = next(step for step in program.steps if step.op == "Relu")
    shape = (1, *outside(np.empty((1, *program.tensors[step.inputs[0]].shape))).shape[1:])
    with pytest.raises(IntsimError, match="holds 256 to 256, outside u8"):
        oracle.run(one_step(program, step), np.full(shape, 256))


def test_no_image_is_refused() -> None:
    network = _network()
    with pytest.raises(IntsimError, match="holds no image"):
        compare(lower(network, MACHINE), MACHINE, _images(network, 0), run=oracle.run)
