"""Several machines for one network: each layer is that of its own machine, and what one refuses another runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from nets import every_op, images

import intsim
import intsim_models
from intsim import TARGETS, IntsimError, archive, oracle
from intsim.cli import main
from intsim.cli.overflows import by_machine
from intsim.compare import compare
from intsim.compare.steps import one_step
from intsim.integers import Overflow, Rounding
from intsim.lower import lower, refused
from intsim.partition import Mixed, Part, assigned, read
from intsim.program import Dot, Offset, Program
from intsim.target import FixedPoint, Target
from intsim.targets import with_accumulator, write_toml

Capture = pytest.CaptureFixture[str]


def only(target: Target, *ops: str, name: str = "npu") -> Target:
    """The machine, which takes these operators alone."""
    return replace(target, name=name, scheme=replace(target.scheme, ops=ops))


def unsigned(name: str) -> Target:
    """The machine, with u8 activations only."""
    machine = TARGETS[name]
    types = tuple(t for t in machine.scheme.activations if not t.signed)
    return replace(machine, name="unsigned", scheme=replace(machine.scheme, activations=types))


def machines(program: Program) -> dict[str, str]:
    return {step.name: step.target for step in program.steps}


def test_every_layer_is_that_of_its_machine_alone_fed_the_same_tensors() -> None:
    """An accelerator of unsigned bytes has the sums, a core of signed ones the rest; the borders change signs only."""
    source = every_op(TARGETS["litert_ref"].scheme)
    npu, cpu = unsigned("ort_x86_avx2"), TARGETS["litert_ref"]
    dots = [node.name for node in source.graph.nodes if node.op in ("Conv", "Gemm")]
    mixed = lower(source, cpu, nodes=dict.fromkeys(dots, npu))
    alone = {machine.name: lower(source, machine) for machine in (npu, cpu)}
    traced = oracle.run(mixed, images(2), trace="*").traced
    borders = 0
    for step in mixed.steps:
        if isinstance(step.compute, Offset):
            borders += 1
            continue
        whole = alone[step.target]
        own = next(other for other in whole.steps if other.name == step.name)
        fed = {theirs: traced[ours] for ours, theirs in zip(step.inputs, own.inputs, strict=True)}
        for name, tensor in fed.items():
            assert tensor.dtype == whole.tensors[name].affine.type.dtype, (step.name, name)
        found = oracle.run(one_step(whole, own), fed, trace=list(own.outputs)).traced[own.outputs[0]]
        assert np.array_equal(found, traced[step.outputs[0]]), step.name
    assert borders >= 4
    assert {step.target for step in mixed.steps} == {npu.name, cpu.name}
    assert np.array_equal(intsim.run(mixed, images(2)).integers["gemm_y"], traced["gemm_y"])


def test_the_input_enters_in_the_integers_of_the_machine_that_reads_it() -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    program = lower(source, TARGETS["litert_ref"], nodes={"conv": unsigned("ort_x86_avx2")})
    assert not program.inputs["x"].affine.type.signed
    assert program.steps[0].name == "conv"


def test_a_mixed_program_comes_back_from_its_file(tmp_path: Path) -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    program = lower(source, TARGETS["litert_ref"], nodes={"conv": unsigned("ort_x86_avx2"), "gemm": TARGETS["tflm"]})
    archive.write(program, tmp_path / "mixed.intsim")
    again = intsim.load(tmp_path / "mixed.intsim")
    assert isinstance(again, Program)
    assert archive.digest(again) == archive.digest(program)
    assert machines(again) == machines(program)
    x = images(2)
    assert np.array_equal(oracle.run(again, x).integers["gemm_y"], oracle.run(program, x).integers["gemm_y"])


# ---- parts -----------------------------------------------------------------------------------------------------


def test_parts_are_chosen_by_name_operator_and_place() -> None:
    graph = every_op(TARGETS["litert_ref"].scheme).graph
    order = [node.name for node in graph.nodes]
    ref, tflm, cmsis = (TARGETS[name] for name in ("litert_ref", "tflm", "cmsis_nn_s8"))

    def chosen(*parts: Part, **nodes: Target) -> dict[str, str]:
        return {n: t.name for n, t in assigned(Mixed(target=ref, parts=parts, nodes=nodes), graph).items()}

    assert set(chosen(Part(target=tflm, nodes=("con*", "gemm_y")))) == {"conv", "concat", "gemm"}
    pools = {node.name for node in graph.nodes if node.op == "MaxPool"}
    assert set(chosen(Part(target=tflm, ops=("MaxPool",)))) == pools
    assert set(chosen(Part(target=tflm, last="max"))) == set(order[: order.index("max") + 1])
    assert set(chosen(Part(target=tflm, first="pad"))) == set(order[order.index("pad") :])
    both = chosen(Part(target=tflm, ops=("Conv",), first="relu"), Part(target=cmsis, nodes=("depthwise",)), gemm=cmsis)
    assert both["depthwise"] == both["gemm"] == "cmsis_nn_s8"
    assert "conv" not in both


WRONG = [
    ("", "names no default"),
    ('default = "nope"', 'no target is called "nope"'),
    ('default = "tflm"\n[[part]]\ntarget = "vta"', "takes nothing"),
    ('default = "tflm"\n[[part]]\nnodes = ["a"]', "target"),
    ('default = "tflm"\nparts = 3', "parts"),
    ('default = "tflm', "is not TOML"),
]


@pytest.mark.parametrize(("text", "what"), WRONG, ids=[what for _, what in WRONG])
def test_a_partition_that_says_nothing_clear_is_refused(text: str, what: str, tmp_path: Path) -> None:
    (tmp_path / "parts.toml").write_text(text)
    with pytest.raises(IntsimError, match=what) as error:
        read(tmp_path / "parts.toml")
    assert "\n" not in str(error.value)


def test_a_part_that_is_not_in_the_network_is_refused() -> None:
    graph, ref = every_op(TARGETS["litert_ref"].scheme).graph, TARGETS["litert_ref"]
    for part in (Part(target=ref, nodes=("convolution*",)), Part(target=ref, first="nope")):
        with pytest.raises(IntsimError, match="node"):
            assigned(Mixed(target=ref, parts=(part,)), graph)
    with pytest.raises(IntsimError, match="runs before"):
        assigned(Mixed(target=ref, parts=(Part(target=ref, first="gemm", last="conv"),)), graph)


def test_a_partitions_machines_may_lie_beside_it(tmp_path: Path) -> None:
    write_toml(only(TARGETS["nvdla_small"], "Conv"), tmp_path / "npu.toml")
    (tmp_path / "parts.toml").write_text('fallback = "tflm"\n[[part]]\nops = ["Conv"]\ntarget = "npu.toml"\n')
    mixed = read(tmp_path / "parts.toml", TARGETS["litert_ref"])
    assert mixed.parts[0].target.scheme.ops == ("Conv",)
    assert mixed.name == "litert_ref + npu + tflm"


# ---- what a machine does not take ------------------------------------------------------------------------------


def test_an_operator_that_the_machine_does_not_have_is_refused_with_the_mend() -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    with pytest.raises(IntsimError, match="none of the operators") as error:
        lower(source, only(TARGETS["litert_ref"], "Conv", "Relu"))
    assert "--fallback" in str(error.value)
    assert "Conv, Relu" in str(error.value)


def test_what_breaks_a_machines_scheme_falls_back() -> None:
    """Weights with a scale per channel go to the machine that takes them; all else stays."""
    source, cpu = every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"]
    npu = replace(cpu, name="npu", scheme=replace(cpu.scheme, per_channel=()))
    reasons = refused(source, npu)
    program = intsim.build(source, npu, fallback=cpu)
    assert "scale per channel" in str(reasons["conv"])
    fell = {name for name, machine in machines(program).items() if machine == "litert_ref"}
    assert {name.partition("#")[0] for name in fell} == set(reasons)
    assert 0 < len(reasons) < len(source.graph.nodes)
    told: dict[str, str] = {}
    intsim.build(source, npu, fallback=cpu, on_fallback=lambda node, why: told.update({node: str(why)}))
    assert told == {name: str(error) for name, error in reasons.items()}


def test_a_node_that_was_given_to_a_machine_does_not_fall_back() -> None:
    source, cpu = every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"]
    npu = only(cpu, "Conv")
    with pytest.raises(IntsimError, match="none of the operators"):
        intsim.build(source, cpu, nodes={"gemm": npu}, fallback=TARGETS["tflm"])


def test_machines_that_do_not_understand_each_other_are_both_named() -> None:
    """A zero point does not reach a machine that has none: no step makes it go away without loss."""
    source = every_op(TARGETS["litert_ref"].scheme)
    with pytest.raises(IntsimError, match="from litert_ref to nvdla_small") as error:
        lower(source, TARGETS["litert_ref"], nodes={"gemm": TARGETS["nvdla_small"]})
    assert "zero point" in str(error.value)
    assert "let one run both" in str(error.value)


SHIPPED = ["mlp", "cnn", "resnet8", "dscnn"]


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_fall_back_where_the_accelerator_has_no_operator(name: str) -> None:
    """Shifts and no zero points where the accelerator runs, everything on the core; both run the same tensors."""
    x = intsim_models.images().x[:8]
    npu = only(TARGETS["vta"], "Conv", "Relu", "MaxPool", "Clip", "Add")
    told: dict[str, str] = {}
    path = intsim_models.path(name)
    program = intsim.build(
        path, npu, calibration=x, fallback="litert_ref", on_fallback=lambda node, error: told.update({node: str(error)})
    )
    nodes = {node.name: node for node in program.source.graph.nodes}
    steps = {step.name: step for step in program.steps if step.name in nodes}
    assert {step.target for step in steps.values()} <= {"npu", "litert_ref"}
    assert {n for n, step in steps.items() if step.target == "litert_ref"} == set(told)
    for node, step in steps.items():
        assert (step.target == "npu") == (nodes[node].op in ("Conv", "Relu", "MaxPool", "Clip", "Add"))
        if step.target == "npu":
            for tensor in (*step.inputs, *step.outputs):
                affine = program.tensors[tensor].affine
                assert (affine.zero, np.frexp(affine.scale[0])[0]) == (0, 0.5), tensor
    last = program.tensors[program.steps[-1].outputs[0]].affine
    assert last.zero != 0 or np.frexp(last.scale[0])[0] != 0.5, "the core's own part is quantized as the core likes"
    explicit = lower(program.source, npu, nodes=dict.fromkeys(told, TARGETS["litert_ref"]))
    assert archive.digest(explicit) == archive.digest(program)


# ---- reported per part -----------------------------------------------------------------------------------------


def test_overflows_are_counted_by_machine() -> None:
    source, cpu = every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"]
    narrow = with_accumulator(cpu, 12, Overflow.WRAP)
    program = lower(source, cpu, nodes={"conv": narrow, "gemm": narrow})
    counts = oracle.run(program, images(2), count=True).overflows
    parts = by_machine(program, counts)
    assert set(parts) == {cpu.name, narrow.name}
    assert parts[cpu.name].outputs == 0 < parts[narrow.name].outputs
    assert parts[narrow.name].outputs == counts["conv"].outputs + counts["gemm"].outputs
    assert sum(part.of_outputs for part in parts.values()) == sum(count.of_outputs for count in counts.values())


def test_a_comparison_is_reported_by_machine() -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    simple = [node.name for node in source.graph.nodes if node.op != "ConvTranspose"]
    other = replace(TARGETS["litert_ref"], name="floor", requantize=FixedPoint(rounding=Rounding.FLOOR))
    mixed = lower(source, TARGETS["litert_ref"], nodes={"conv": other})
    found = compare(mixed, "litert_ref", images(4), run=oracle.run, explain=False)
    assert {layer.name: layer.machine for layer in found.layers if layer.name in simple} == {
        name: machine for name, machine in machines(mixed).items() if name in simple
    }
    assert found.parts["floor"][2] > 0 == found.parts["litert_ref"][2]
    assert sum(part[0] for part in found.parts.values()) == found.elements
    assert sum(part[1] for part in found.parts.values()) == found.mismatches


def test_the_verbs_take_a_partition_and_a_fallback(tmp_path: Path, capsys: Capture) -> None:
    write_toml(only(TARGETS["nvdla_small"], "Conv", "Relu", "MaxPool"), tmp_path / "npu.toml")
    (tmp_path / "parts.toml").write_text(
        'default = "npu.toml"\nfallback = "tflm"\n[[part]]\nnodes = ["conv_3"]\ntarget = "cmsis_nn_s8"\n'
    )
    words = ["cnn", "--partition", str(tmp_path / "parts.toml"), "--calibration", "fashion", "--quiet", "--json"]
    there, few = str(tmp_path / "out.json"), ["--input", "fashion", "--limit", "2"]
    assert main(["run", *words, there, *few, "--count"]) == 0
    found = json.loads(Path(there).read_text())
    assert found["machines"]["conv_1"] == "npu"
    assert found["machines"]["conv_3"] == "cmsis_nn_s8"
    assert found["machines"]["gemm_1"] == "tflm"
    assert set(found["overflows_by_machine"]) == {"npu", "cmsis_nn_s8", "tflm"}
    assert main(["inspect", *words, there, "--limit", "2"]) == 0
    (on,) = json.loads(Path(there).read_text())["targets"]
    assert on["steps"]["gemm_1"] == "tflm"
    capsys.readouterr()
    spoken = [word for word in words if word not in ("--quiet", "--json")]
    assert main(["inspect", *spoken, "--limit", "2"]) == 0
    out, err = capsys.readouterr()
    assert "gemm_1 runs on tflm" in err
    assert "Gemm is none of the operators" in err
    assert "which machine runs what: npu + cmsis_nn_s8 + tflm" in out
    for wrong, what in (
        (["--fallback", "tflm"], "falls back from nothing"),
        (["--partition", str(tmp_path / "parts.toml"), "--target", "tflm"], "leave out --target"),
    ):
        assert main(["run", "cnn", *wrong, *few, "--calibration", "fashion"]) == 2
        assert what in capsys.readouterr().err


def test_a_mixed_program_is_quantized_and_written_by_one_command(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mixed.intsim"
    own = ["--target", "vta", "--set", "gemm_1:target=tflm", "--calibration", "fashion"]
    assert main(["quantize", "mlp", *own, "-o", str(path), "--quiet"]) == 0
    program = intsim.load(path)
    assert isinstance(program, Program)
    assert machines(program)["gemm_1"] == "tflm"
    assert {step.target for step in program.steps if isinstance(step.compute, Dot)} == {"vta", "tflm"}


def test_an_attack_judges_a_mixed_machine() -> None:
    pytest.importorskip("torch")
    shipped = intsim_models.images()
    npu = Mixed(target=only(TARGETS["vta"], "Relu"), fallback=TARGETS["tflm"])
    found = intsim.evaluate(
        intsim_models.path("mlp"),
        npu,
        data=(shipped.x[:8], shipped.y[:8]),
        attacks="fgsm",
        eps=8 / 255,
        calibration=shipped.x_calibration[:32],
        null=False,
    )
    assert "npu, tflm" in {row.target for row in found.rows}
