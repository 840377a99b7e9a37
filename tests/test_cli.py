import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from msgspec.structs import replace
from nets import every_op
from nets import images as random_images
from sample_results import sample

import intsim
from intsim import archive, oracle
from intsim.attack.catalogue import ATTACKS
from intsim.cli import group, main, targets
from intsim.cli.attack import counted, exceeded, unfooled
from intsim.cli.console import Out
from intsim.cli.outcome import show
from intsim.errors import IntsimError
from intsim.evaluate.verdict import broken as collapsed_or_far
from intsim.evaluate.whole import STANDS_FOR
from intsim.lower import lower
from intsim.program import Program
from intsim.report import Results, headlines
from intsim.statistics import wilson
from intsim.targets import TARGETS

ROOT = Path(__file__).parents[1]
VERBS = ["demo", "targets", "inspect", "quantize", "run", "compare", "vectors", "attack", "attacks"]
VERBS += ["certify", "sweep", "status", "export", "report", "diff", "bench", "warmup"]
Capture = pytest.CaptureFixture[str]


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "models")), **more}


def program(folder: Path, target: str = "litert_ref") -> Path:
    """A small Program with every op, as a file."""
    path = folder / f"{target}.intsim"
    archive.write(lower(every_op(TARGETS[target].scheme), TARGETS[target]), path)
    return path


def images(folder: Path, n: int = 6, **more: object) -> Path:
    path = folder / "images.npz"
    np.savez(path, x=random_images(n), **more)
    return path


def succeeded(capsys: Capture, *arguments: object, status: int = 0) -> str:
    """What a verb says on stdout."""
    capsys.readouterr()
    found = main([str(a) for a in arguments])
    out, err = capsys.readouterr()
    assert found == status, err
    return out


# ---- the front door --------------------------------------------------------------------------------------------


def test_help_names_every_verb_and_every_verb_has_help_with_an_example(capsys: Capture) -> None:
    whole = succeeded(capsys, "--help")
    assert set(group.commands) == set(VERBS)
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", whole, re.MULTILINE)
        text = succeeded(capsys, verb, "--help")
        assert f"Example: intsim {verb}" in text
        assert "--json" in text
        assert "--quiet" in text


def example(verb: str) -> list[str]:
    epilog = group.commands[verb].epilog
    assert epilog is not None
    return shlex.split(epilog.removeprefix("Example: intsim "))


@pytest.mark.parametrize("verb", ["targets", "inspect", "quantize", "run", "compare", "attacks"])
def test_the_example_of_a_verb_works(
    verb: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    few = ["--limit", "20"] if verb in ("run", "compare") else []
    assert succeeded(capsys, *example(verb), *few)


def test_no_word_shows_the_help(capsys: Capture) -> None:
    assert succeeded(capsys) == succeeded(capsys, "--help")


def test_the_version_is_the_packages(capsys: Capture) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "intsim", "--version"], capture_output=True, text=True, env=environment(), check=True
    )
    assert done.stdout == f"intsim {intsim.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from intsim.cli import main; status = main(['run', '--help']);"
        "print([m for m in ('numba', 'onnx', 'onnxruntime', 'torch', 'scipy', 'rich', 'matplotlib', 'jinja2')"
        " if m in sys.modules], status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout.splitlines()[-1] == "[] 0"


# ---- what goes wrong without being bad input -------------------------------------------------------------------


def broken(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def fail(*arguments: object) -> None:
        raise error

    monkeypatch.setattr(targets, "_list", fail)


def test_an_interrupt_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    broken(monkeypatch, KeyboardInterrupt())
    assert main(["targets"]) == 130
    assert capsys.readouterr().err.startswith("intsim: interrupted")


def test_a_bug_of_ours_is_one_line_and_a_traceback_only_on_request(
    monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    broken(monkeypatch, ZeroDivisionError("far\ntoo many words"))
    assert main(["targets"]) == 3
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert re.match(r"intsim: this is a bug: ZeroDivisionError: far \(test_cli.py:\d+\)", err)
    assert main(["--debug", "targets"]) == 3
    err = capsys.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("intsim: this is a bug")


def test_an_error_of_several_lines_is_told_in_one(monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    broken(monkeypatch, IntsimError("first\n  second", where="here", mend="mend"))
    assert main(["targets"]) == 2
    assert capsys.readouterr().err == "intsim: here: first second: mend\n"


def test_a_reader_that_goes_away_is_no_error() -> None:
    command = [sys.executable, "-m", "intsim", "targets", "--json", "-"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 141


# ---- targets ---------------------------------------------------------------------------------------------------


def test_targets_lists_every_machine_with_its_fidelity(capsys: Capture) -> None:
    lines = succeeded(capsys, "targets").splitlines()
    for name, target in TARGETS.items():
        row = next(line for line in lines if line.split()[:1] == [name])
        assert row.split()[-1] == target.fidelity


@pytest.mark.parametrize("name", TARGETS)
def test_one_machine_is_shown_in_full(name: str, capsys: Capture) -> None:
    text = succeeded(capsys, "targets", name)
    assert TARGETS[name].source in text
    assert TARGETS[name].description in text


def test_the_paths_that_are_shown_are_those_that_can_be_set(capsys: Capture) -> None:
    shown = succeeded(capsys, "targets", "nvdla_small").split("value", 1)[1]
    rows = [line.split() for line in shown.splitlines() if re.match(r" +[a-z]\S+ +\S+ *$", line)]
    assert len(rows) > 40
    for path, value in rows:
        if value != "-":
            changed = succeeded(capsys, "targets", "nvdla_small", "--set", f"{path}={value}", "--json", "-")
            machine = json.loads(changed)["target"]
            assert (
                machine["mac"]
                == json.loads(succeeded(capsys, "targets", "nvdla_small", "--json", "-"))["target"]["mac"]
            )


def test_an_exported_machine_comes_back_equal(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "mine.toml").write_text(succeeded(capsys, "targets", "export", "ort_x86_avx2"))
    assert intsim.targets.target(str(tmp_path / "mine.toml")) == TARGETS["ort_x86_avx2"]
    path = tmp_path / "narrow.toml"
    succeeded(capsys, "targets", "export", "ideal", "--accumulator", 12, "--overflow", "saturate", "-o", path)
    assert intsim.targets.target(str(path)).mac.levels[-1].bits == 12


# ---- run -------------------------------------------------------------------------------------------------------


def test_run_writes_the_oracles_integers_and_logits(tmp_path: Path, capsys: Capture) -> None:
    path, x = program(tmp_path), images(tmp_path)
    succeeded(capsys, "run", path, "--input", x, "-o", tmp_path / "y.npz", "--trace", "conv:accumulator")
    expected = oracle.run(archive.read(path), np.load(x)["x"], trace=("conv:accumulator",))
    with np.load(tmp_path / "y.npz") as found:
        assert set(found) == {"integers", "logits", "trace:conv_y:accumulator"}
        assert found["integers"].dtype == np.int8
        assert np.array_equal(found["integers"], expected.integers["gemm_y"])
        assert found["logits"].dtype == np.float32
        assert np.array_equal(found["logits"], expected.logits["gemm_y"])
        assert np.array_equal(found["trace:conv_y:accumulator"], expected.traced["conv_y:accumulator"])


def test_both_engines_write_the_same_file(tmp_path: Path, capsys: Capture) -> None:
    path, x = program(tmp_path), images(tmp_path)
    for engine in ("fast", "oracle"):
        succeeded(capsys, "run", path, "--input", x, "-o", tmp_path / engine, "--engine", engine, "--trace", "*")
    fast, plain = np.load(tmp_path / "fast"), np.load(tmp_path / "oracle")
    assert set(fast) == set(plain)
    assert len(set(fast)) > 10
    for name in fast:
        assert fast[name].dtype == plain[name].dtype
        assert np.array_equal(fast[name], plain[name])


def test_several_outputs_are_named(tmp_path: Path, capsys: Capture) -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    source = replace(source, graph=replace(source.graph, outputs=("gemm_y", "global_y")))
    archive.write(lower(source, TARGETS["litert_ref"]), tmp_path / "two.intsim")
    succeeded(capsys, "run", tmp_path / "two.intsim", "--input", images(tmp_path), "-o", tmp_path / "y.npz")
    names = {f"{what}:{name}" for what in ("integers", "logits") for name in ("gemm_y", "global_y")}
    assert set(np.load(tmp_path / "y.npz")) == names


def test_labels_give_an_accuracy_and_its_extremes_under_ties(tmp_path: Path, capsys: Capture) -> None:
    path = program(tmp_path)
    answers = next(iter(oracle.run(archive.read(path), random_images(6)).integers.values())).argmax(1)
    y = np.where(np.arange(6) < 4, answers, (answers + 1) % 5)
    x = images(tmp_path, y=y)
    score = json.loads(succeeded(capsys, "run", path, "--input", x, "--json", "-"))["score"]
    assert (score["correct"], score["n"]) == (4, 6)
    assert score["correct_at_worst"] <= 4 <= score["correct_at_best"]
    assert "right: 4 of 6" in succeeded(capsys, "run", path, "--input", x)


def narrow(folder: Path, *more: object) -> list[object]:
    """A run whose accumulator is too narrow for its sums."""
    return ["run", program(folder), "--target", "litert_ref", "--input", images(folder), "--accumulator", 12, *more]


def test_overflows_are_counted_layer_by_layer(tmp_path: Path, capsys: Capture) -> None:
    text = succeeded(capsys, *narrow(tmp_path, "--count"))
    assert re.search(r"^ conv +[\d,]+ +[1-9]", text, re.MULTILINE)
    found = json.loads(succeeded(capsys, *narrow(tmp_path, "--count", "--json", "-")))
    assert found["overflows"]["conv"]["outputs"] > 0
    assert found["violations"] == 0


def test_a_forbidden_overflow_is_reported_and_an_error_if_strict(tmp_path: Path, capsys: Capture) -> None:
    text = succeeded(capsys, *narrow(tmp_path, "--overflow", "forbid"))
    assert re.search(r"conv: \d+ of \d+ sums overflow, in a step whose accumulator forbids it\n", text)
    assert main([str(a) for a in narrow(tmp_path, "--overflow", "forbid", "--strict", "-o", tmp_path / "y.npz")]) == 2
    err = capsys.readouterr().err
    assert re.match(r"intsim: conv: \d+ of \d+ sums overflow, in a step whose accumulator forbids it(, as in|:)", err)
    assert not (tmp_path / "y.npz").exists()
    succeeded(capsys, *narrow(tmp_path, "--strict"))


def test_wide_enough_is_no_violation(tmp_path: Path, capsys: Capture) -> None:
    wide = narrow(tmp_path, "--overflow", "forbid", "--strict", "--accumulator", 32)
    assert "forbids" not in succeeded(capsys, *wide)


# ---- machines --------------------------------------------------------------------------------------------------


def written(folder: Path, capsys: Capture, *more: object) -> Program:
    """The Program that quantize writes for the small network with those options."""
    succeeded(capsys, "quantize", program(folder), *more, "-o", folder / "out.intsim")
    return archive.read(folder / "out.intsim")


def test_a_node_may_run_on_a_machine_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    own = ("--set", "depthwise:target=ort_x86_vnni", "--set", "gemm_y:requantize.rounding=half_even")
    found = written(tmp_path, capsys, "--target", "litert_ref", *own)
    machines = {step.name: step.target for step in found.steps}
    assert machines["depthwise"] == "ort_x86_vnni"
    assert machines["conv"] == "litert_ref"
    assert found.targets[machines["gemm"]].requantize.rounding.value == "half_even"


def test_the_border_to_a_machine_of_the_other_sign_is_a_step_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    found = written(tmp_path, capsys, "--target", "litert_ref", "--set", "depthwise:scheme.activations.0.signed=false")
    steps = [(step.op, step.target == "litert_ref") for step in found.steps]
    assert steps[2:6] == [("Offset", False), ("Conv", False), ("MaxPool", True), ("Offset", True)]
    whole = archive.read(program(tmp_path))
    x = random_images(3)
    assert np.array_equal(oracle.run(found, x).integers["gemm_y"], oracle.run(whole, x).integers["gemm_y"])


def test_field_by_field_a_machine_changes_everywhere_but_where_a_node_has_its_own(
    tmp_path: Path, capsys: Capture
) -> None:
    found = written(
        tmp_path, capsys, "--target", "tflm", "--accumulator", 20, "--tile", 4, "--overflow", "saturate",
        "--set", "mac.order=chw", "--set", "gemm:target=litert_ref",
    )  # fmt: skip
    machines = {step.name: found.targets[step.target] for step in found.steps}
    assert [level.bits for level in machines["conv"].mac.levels] == [None, 20]
    assert machines["conv"].mac.order == "chw"
    assert machines["gemm"] == TARGETS["litert_ref"]


def test_how_pixels_enter_can_be_said(tmp_path: Path, capsys: Capture) -> None:
    said = ("--input-scale", "1/128", "--mean", "0.5", "--std", "0.25")
    succeeded(
        capsys, "quantize", "mlp", "--calibration", "fashion", "--target", "ideal", *said, "-o", tmp_path / "p.intsim"
    )
    (door,) = archive.read(tmp_path / "p.intsim").inputs.values()
    assert door.pixels is not None
    assert (door.pixels.divisor, door.pixels.mean, door.pixels.std) == (128.0, (0.5,), (0.25,))


# ---- quantize and inspect --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["qdq", "qoperator"])
def test_what_quantize_writes_runs_as_the_float_model_with_calibration_does(
    form: str, tmp_path: Path, capsys: Capture
) -> None:
    path = tmp_path / "mlp.onnx"
    there = ("--target", "ort_x86_avx2")
    said = ("--calibration", "fashion", "--granularity", "tensor")
    succeeded(capsys, "quantize", "mlp", *there, *said, "--format", form, "-o", path)
    some = ("--input", "fashion", "--limit", "50", "-o")
    succeeded(capsys, "run", path, *there, *some, tmp_path / "a.npz")
    succeeded(capsys, "run", "mlp", *there, *said, *some, tmp_path / "b.npz")
    a, b = np.load(tmp_path / "a.npz")["integers"], np.load(tmp_path / "b.npz")["integers"]
    assert np.array_equal(a, b)
    assert len(np.unique(a)) > 20


def test_bits_are_those_that_were_asked_for(tmp_path: Path, capsys: Capture) -> None:
    said = ("--bits", "6", "--weight-bits", "4", "--calibration", "fashion", "-o", tmp_path / "m.onnx", "--json", "-")
    tensors = json.loads(succeeded(capsys, "quantize", "mlp", *said))["tensors"]
    types = {tensor["type"] for tensor in tensors.values()}
    assert types == {"u6", "s4n", "s32"}


def test_inspect_proves_how_many_bits_each_layer_needs(tmp_path: Path, capsys: Capture) -> None:
    path = program(tmp_path)
    found = json.loads(succeeded(capsys, "inspect", path, "--target", "litert_ref", "--target", "tflm", "--json", "-"))
    assert (found["kind"], found["unsupported"]) == ("program", [])
    layers = {row["layer"]: row for row in found["targets"][0]["accumulators"]}
    assert {"conv", "depthwise", "gemm"} <= set(layers)
    needed = layers["conv"]["needed"]
    bounds = intsim.ranges.accumulator_bounds(archive.read(path))["conv"]
    assert needed == bounds.bits.max()
    for bits in (needed, needed - 1):
        rows = json.loads(
            succeeded(capsys, "inspect", path, "--target", "litert_ref", "--accumulator", bits, "--json", "-")
        )["targets"][0]["accumulators"]
        assert next(row["proven"] for row in rows if row["layer"] == "conv") == (bits == needed)


def test_inspect_says_what_a_machine_refuses_and_why(tmp_path: Path, capsys: Capture) -> None:
    found = json.loads(succeeded(capsys, "inspect", program(tmp_path), "--target", "vta", "--json", "-"))
    assert found["targets"][0]["lowered"] is False
    assert "zero point" in found["targets"][0]["refused"]
    assert "refused" in succeeded(capsys, "inspect", program(tmp_path), "--target", "vta")


# ---- compare ---------------------------------------------------------------------------------------------------


def test_compare_has_the_fields_that_were_promised(tmp_path: Path, capsys: Capture) -> None:
    path, x = program(tmp_path), images(tmp_path)
    found = json.loads(succeeded(capsys, "compare", path, "--with", "litert_xnnpack", "--input", x, "--json", "-"))
    assert {"mismatches", "elements", "argmax_agreement", "reference", "layers"} <= set(found)
    layer = found["layers"][0]
    assert {"name", "op", "elements", "mismatches", "max_difference", "explained_by"} <= set(layer)
    assert found["mismatches"] == sum(layer["mismatches"] for layer in found["layers"]) > 0


def test_a_threshold_that_is_exceeded_is_status_1(tmp_path: Path, capsys: Capture) -> None:
    rest = (program(tmp_path), "--input", images(tmp_path), "--with")
    differ = json.loads(succeeded(capsys, "compare", *rest, "litert_xnnpack", "--json", "-"))["mismatches"]
    succeeded(capsys, "compare", *rest, "litert_xnnpack", "--max-mismatch", differ)
    succeeded(capsys, "compare", *rest, "litert_xnnpack", "--max-mismatch", differ - 1, status=1)
    succeeded(capsys, "compare", *rest, "litert_ref", "--max-mismatch", 0)


def test_a_dump_of_traces_can_be_compared_with(tmp_path: Path, capsys: Capture) -> None:
    path, x = program(tmp_path), images(tmp_path)
    tensors = oracle.run(archive.read(path), np.load(x)["x"], trace=("conv_y", "gemm_y")).traced
    np.savez(tmp_path / "dump.npz", **tensors)
    text = succeeded(capsys, "compare", path, "--with", tmp_path / "dump.npz", "--input", x, "--max-mismatch", 0)
    assert "not compared" in text
    tensors["gemm_y"] = tensors["gemm_y"] ^ 1
    np.savez(tmp_path / "dump.npz", **tensors)
    text = succeeded(
        capsys, "compare", path, "--with", tmp_path / "dump.npz", "--input", x, "--max-mismatch", 0, status=1
    )
    assert "the first layer that differs: gemm" in text


# ---- attack, bench ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one small attack, and its report beside them."""
    folder = tmp_path_factory.mktemp("attack")
    said = "attack mlp --target cmsis_nn_s8 --attack fgsm --eps 2/255,8/255 --calibration fashion --data fashion"
    files = ["--json", str(folder / "rows.json"), "-o", str(folder / "report.html")]
    assert main([*said.split(), "--limit", "60", "--quiet", *files]) == 0
    return folder


def test_attack_writes_one_row_a_network_target_attack_and_strength(attacked: Path) -> None:
    rows = json.loads((attacked / "rows.json").read_text())["rows"]
    for target in ("float", "float null", "ideal", "cmsis_nn_s8"):
        sets = [(row["attack"], row["eps_steps"]) for row in rows if row["target"] == target]
        assert sorted(sets) == [("clean", 0), ("fgsm", 2), ("fgsm", 8), ("noise", 2), ("noise", 8)]
    for row in rows:
        assert row["n"] == 60
        assert 0 <= row["low"] <= row["correct"] / 60 <= row["high"] <= 1
        assert set(row["paired"]) >= ({"float"} if row["target"] != "float" else set())


def test_attack_writes_one_self_contained_page(attacked: Path) -> None:
    page = (attacked / "report.html").read_text()
    assert "<svg" in page
    assert not re.search(r"(src|href)=[\"']?https?:", page)
    assert "intsim attack mlp --target cmsis_nn_s8" in page


def test_a_saved_result_can_be_read_back(attacked: Path) -> None:
    from intsim.report import results

    found = results(json.loads((attacked / "rows.json").read_text()))
    assert ATTACKS["fgsm"] in found.attacks
    assert found.n == 60


def test_an_attack_may_have_thresholds(capsys: Capture) -> None:
    said = "attack mlp --target ideal --attack fgsm --eps 8/255 --calibration fashion --data fashion --limit 30"
    text = succeeded(capsys, *said.split(), "--no-null", "--min-accuracy", "0.99", status=1)
    assert "less than --min-accuracy 0.99" in text
    assert "fgsm: right, %" in text


def test_a_collapsed_machine_does_not_keep_to_a_transfer() -> None:
    rows = counted(sample(), ["ideal"])
    lost = {row.network for row in rows if not row.eps_steps and collapsed_or_far(row)}
    collapsed = [row for row in rows if row.network in lost and row.eps_steps]
    assert {row.network for row in rows if row.collapsed} <= lost
    assert collapsed
    said = exceeded(rows, None, 1.0)
    assert len(said) == len(collapsed)
    assert all("collapsed, so transfer says nothing" in text for text in said)
    whole = [row for row in rows if row.network not in lost]
    assert whole
    assert exceeded(whole, None, 1.0) == []
    assert any("more than --max-transfer 0" in text for text in exceeded(whole, None, 0.0))


def test_a_transfer_of_nothing_is_said_to_be_that_and_breaks_nothing(capsys: Capture) -> None:
    rows = [row for row in counted(sample(), []) if row.transferred]
    empty = [replace(row, transferred=wilson(0, 0)) for row in rows if row.attack == "fgsm"]
    assert exceeded(empty, None, 0.0) == []
    assert unfooled(empty) == [f"fgsm at {eps:g}/255" for eps in dict.fromkeys(row.eps_steps for row in empty)] != []
    said = "attack mlp --target ideal --attack fgsm --eps 1/255 --calibration fashion --data fashion --limit 30"
    assert main([*said.split(), "--no-null", "--max-transfer", "0.5"]) in (0, 1)
    assert "--max-transfer says nothing of noise at 1/255" in capsys.readouterr().err


def test_attacking_a_program_says_whose_float_network_it_is(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mlp.intsim"
    succeeded(capsys, "quantize", "mlp", "--calibration", "fashion", "--target", "ideal", "-o", path)
    said = ("--attack", "fgsm", "--eps", "8/255", "--data", "fashion", "--limit", 20)
    assert STANDS_FOR in succeeded(capsys, "attack", path, *said)
    rest = ("--target", "ideal", "--calibration", "fashion", "--no-null")
    assert STANDS_FOR not in succeeded(capsys, "attack", "mlp", *rest, *said)


def taking_pixels(folder: Path) -> Path:
    """A float network that divides its pixels by 255 itself, as a file."""
    rng = np.random.default_rng(0)
    text = """<ir_version: 8, opset_import: ["" : 18]> net (float[n,1,4,4] x) => (float[n,3] y)
        <float k = {255}> { b = Div(x, k)  f = Flatten(b)  y = Gemm(f, w) }"""
    model = onnx.parser.parse_model(text)
    weight = rng.normal(size=(16, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    onnx.save(model, folder / "raw.onnx")
    return folder / "raw.onnx"


@pytest.mark.parametrize(
    ("verb", "more"),
    [
        ("run", ["--input"]),
        ("compare", ["--with", "litert_ref", "--input"]),
        ("attack", ["--attack", "fgsm", "--eps", "8/255", "--data"]),
    ],
)
def test_pixels_that_were_guessed_are_told_where_nobody_said_them(
    verb: str, more: list[str], tmp_path: Path, capsys: Capture
) -> None:
    rng = np.random.default_rng(1)
    x = tmp_path / "raw.npz"
    np.savez(x, x=rng.integers(0, 256, (12, 1, 4, 4), dtype=np.uint8), y=np.arange(12) % 3)
    said = [verb, taking_pixels(tmp_path), "--target", "ideal", "--calibration", x, *more, x]
    arguments = [str(word) for word in said]
    for extra, told in (([], 1), (["--quiet"], 0), (["--input-scale", "1"], 0)):
        assert main([*arguments, *extra]) == 0
        err = capsys.readouterr().err
        assert err.count("the network itself takes pixels from 0 to 255; if it takes 0 to 1, say") == told
        assert ("raw.onnx: " in err) == bool(told)


def test_bench_gives_ratios_with_equal_bits_and_names_the_machine(capsys: Capture) -> None:
    said = ["--model", "mlp", "--rounds", "2", "--json", "-"]
    found = json.loads(succeeded(capsys, "bench", *said))
    assert found["machine"]["cpu"]
    assert {"onnxruntime u8s8", "onnxruntime float32"} <= {row["peer"] for row in found["rows"]}
    for row in found["rows"]:
        assert {"work", "threads", "ours", "peer", "ratio", "goal"} <= set(row)
        assert row["low"] <= row["ratio"] <= row["high"]
        assert row["rounds"] == 2
        same = row["ours"] == found["machine"]["onnxruntime_as"] and "u8s8" in row["peer"]
        assert row["equal"] is (True if same else None)


def test_demo_hands_on_what_was_said_and_shows_every_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    told: list[object] = []

    def run(out: str, *, quick: bool, seed: int, **rest: object) -> Results:
        told.extend((out, quick, seed))
        return sample()

    monkeypatch.setattr("intsim.demo.run", run)
    text = succeeded(capsys, "demo", "--quick", "--seed", 7, "--out", tmp_path / "there")
    assert told == [str(tmp_path / "there"), True, 7]
    for title in ("noise: right, %", "fgsm: right, %", "pgd: of what fools float", "accumulators: right, %"):
        assert title in text
    assert "sums that overflow, %" in text
    for sentence in headlines(sample()):
        assert sentence in text
    assert str(tmp_path / "there" / "report.html") in text


def test_the_numbers_on_the_terminal_are_those_of_the_record(capsys: Capture) -> None:
    found = sample()
    show(Out(), found)
    text = capsys.readouterr().out
    fgsm = text.split("fgsm: right, %")[1].split("fgsm: of what")[0]
    row = next(line.split() for line in fgsm.splitlines() if "cmsis_nn_s8" in line)
    rates = {
        r.eps_steps: 100 * r.accuracy for r in found.rows if r.target == "cmsis_nn_s8" and r.attack in ("clean", "fgsm")
    }
    expected = [rates[eps] for eps in sorted(rates)]
    assert [float(value.rstrip("*")) for value in row[-len(expected) :]] == [round(value, 1) for value in expected]
    assert "*" in next(line for line in fgsm.splitlines() if "net w2" in line and "ideal" in line)


# ---- silence ---------------------------------------------------------------------------------------------------


def test_json_on_stdout_stands_there_alone_and_quiet_says_nothing(tmp_path: Path, capsys: Capture) -> None:
    rest = [str(a) for a in (program(tmp_path), "--input", images(tmp_path))]
    for arguments in (["targets"], ["inspect", rest[0]], ["run", *rest], ["compare", *rest, "--with", "tflm"]):
        assert json.loads(succeeded(capsys, *arguments, "--json", "-"))["verb"] == arguments[0]
        assert main([*arguments, "--quiet", "--json", str(tmp_path / "out.json")]) == 0
        captured = capsys.readouterr()
        assert (captured.out, captured.err) == ("", "")
        assert json.loads((tmp_path / "out.json").read_text())["verb"] == arguments[0]


def test_compiling_is_said_once_and_not_the_second_time(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "mlp.intsim"
    succeeded(capsys, "quantize", "mlp", "--calibration", "fashion", "--target", "vta", "-o", path)
    command = [sys.executable, "-m", "intsim", "run", str(path), "--input", "fashion", "--limit", "5"]
    own = environment(NUMBA_CACHE_DIR=str(tmp_path / "cache"))
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, env=own, cwd=tmp_path) for _ in range(2)
    )
    assert re.fullmatch(r"intsim: compiling kernels.*\n", first.stderr)
    assert second.stderr == ""
    assert first.stdout == second.stdout
