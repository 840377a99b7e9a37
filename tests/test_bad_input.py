import os
import resource
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from intsim.cli import main

ROOT = Path(__file__).parents[1]
Arguments = list[str]
Made = tuple[Arguments, tuple[str, ...]]


# ---- what is fed to it -----------------------------------------------------------------------------------------


def network(folder: Path, *, op: str = "Relu", shape: tuple[int | str, ...] = ("n", 4), **changes: Any) -> Path:
    """A float network x[n, 4] -> Gemm -> op -> y[n, 3], with one thing about it changed."""
    w = numpy_helper.from_array(np.arange(12, dtype=np.float32).reshape(4, 3) / 10 - 0.5, "w")
    gemm = helper.make_node("Gemm", ["x", "w"], ["h"], name="gemm_1")
    nodes = changes.get("nodes") or [gemm, helper.make_node(op, ["h"], ["y"], name=f"{op.lower()}_2")]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [w, *changes.get("constants", [])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])
    path = folder / "small.onnx"
    onnx.save(model, path)
    return path


def external(folder: Path, location: str) -> Path:
    """The network with its weights said to lie at `location`."""
    path = network(folder)
    model = onnx.load(path)
    w = model.graph.initializer[0]
    w.ClearField("raw_data")
    w.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "0"), ("length", "48")):
        w.external_data.add(key=key, value=value)
    path.write_bytes(model.SerializeToString())
    return path


def branching(folder: Path) -> Path:
    """A network that decides, while it runs, which way it goes."""

    def branch(name: str, op: str) -> onnx.GraphProto:
        out = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        return helper.make_graph([helper.make_node(op, ["h"], [name])], name, [], [out])

    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["h"], name="gemm_1"),
        helper.make_node(
            "If", ["c"], ["y"], name="if_2", then_branch=branch("a", "Relu"), else_branch=branch("b", "Neg")
        ),
    ]
    condition = numpy_helper.from_array(np.array(True), "c")
    return network(folder, nodes=nodes, constants=[condition])


def images(folder: Path, name: str = "x.npz", **arrays: object) -> Path:
    """An .npz of eight inputs in 0..1 and eight labels, or of what is given."""
    rng = np.random.default_rng(0)
    whole: dict[str, object] = {"x": rng.random((8, 4)).astype(np.float32), "y": np.arange(8) % 3}
    np.savez(folder / name, **{k: v for k, v in (whole | arrays).items() if v is not None})
    return folder / name


def run(
    folder: Path, *more: object, model: Path | None = None, target: str = "ideal", x: Path | None = None
) -> Arguments:
    """`intsim run` as it would succeed, but for what is given."""
    good = images(folder, "good.npz")
    arguments = ["run", model or network(folder), "--target", target, "--calibration", good, "--input", x or good]
    return [str(a) for a in (*arguments, "-o", folder / "out.npz", *more)]


def compare(folder: Path, *more: object) -> Arguments:
    good = images(folder, "good.npz")
    arguments = ["compare", network(folder), "--target", "ideal", "--calibration", good, "--input", good]
    return [str(a) for a in (*arguments, *more)]


def attack(folder: Path, *more: object, x: Path | None = None) -> Arguments:
    good = images(folder, "good.npz")
    arguments = ["attack", network(folder), "--target", "ideal", "--calibration", good, "--data", x or good]
    return [str(a) for a in (*arguments, "-o", folder / "report.html", *more)]


def toml(folder: Path, text: str) -> str:
    (folder / "mine.toml").write_text(text)
    return str(folder / "mine.toml")


def quantized(folder: Path, *more: str) -> Path:
    """The network in integers with zero points, as QDQ."""
    x, path = images(folder, "good.npz"), folder / "quantized.onnx"
    said = ["quantize", str(network(folder)), "--calibration", str(x), "-o", str(path), "--quiet", *more]
    assert main(said) == 0
    return path


def program(folder: Path) -> Path:
    path = folder / "program.intsim"
    said = ["quantize", str(quantized(folder)), "--target", "ideal", "-o", str(path), "--quiet"]
    assert main(said) == 0
    return path


def of_format(path: Path, version: int) -> Path:
    """The Program's file, said to be of another format."""
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data.replace(b'"format": 1', f'"format": {version}'.encode()))
    return path


def cut(path: Path, size: int) -> Path:
    path.write_bytes(path.read_bytes()[:size])
    return path


def text(folder: Path, name: str, content: str) -> Path:
    (folder / name).write_text(content)
    return folder / name


FLOATS = np.random.default_rng(1).random((8, 4)).astype(np.float32)
NAN = np.where(np.arange(32).reshape(8, 4) == 21, np.nan, FLOATS).astype(np.float32)
CHIP = 'name = "mine"\ndescription = "my chip"\n'

# Every bad input of the issue, and what its one line must name: the place, the thing, the mend.
BAD: dict[str, Callable[[Path], Made]] = {
    # the model's file
    "a model that is not there": lambda f: (run(f, model=f / "nothing.onnx"), ("nothing.onnx",)),
    "a model that is a folder": lambda f: (run(f, model=f), (str(f),)),
    "a model that is no ONNX": lambda f: (run(f, model=text(f, "a.onnx", "hello")), ("a.onnx", "ONNX")),
    "an empty model": lambda f: (run(f, model=text(f, "a.onnx", "")), ("a.onnx",)),
    "a truncated model": lambda f: (run(f, model=cut(network(f), 90)), ("small.onnx",)),
    "external data that is missing": lambda f: (run(f, model=external(f, "w.bin")), ("w.bin",)),
    "external data outside": lambda f: (run(f, model=external(f, "../w.bin")), ("../w.bin",)),
    "external data at the root": lambda f: (run(f, model=external(f, "/etc/passwd")), ("/etc/passwd",)),
    "an unsupported op": lambda f: (run(f, model=network(f, op="Sin")), ("sin_2", "Sin", "support")),
    "an op of nobody": lambda f: (run(f, model=network(f, op="Frobnicate")), ("frobnicate_2", "Frobnicate")),
    "a dynamic rank": lambda f: (run(f, model=network(f, shape=None)), ('"x"', "rank")),  # type: ignore[arg-type]
    "a dynamic dimension": lambda f: (run(f, model=network(f, shape=("n", "k"))), ('"x"', '"k"')),
    "control flow": lambda f: (run(f, model=branching(f)), ("if_2", "If")),
    # what goes in
    "no input file": lambda f: (run(f, x=f / "no.npz"), ("no.npz", "no such file")),
    "an input that is no npz": lambda f: (run(f, x=text(f, "a.npz", "hello")), ("a.npz",)),
    "an input without x": lambda f: (run(f, x=images(f, x=None)), ("x.npz", '"x"')),
    "pickled objects": lambda f: (run(f, x=images(f, x=np.array([{}, {}], object))), ("x.npz",)),
    "a wrong shape": lambda f: (run(f, x=images(f, x=FLOATS[:, :3])), ("[8, 3]", "[n, 4]")),
    "no images": lambda f: (run(f, x=images(f, x=FLOATS[:0], y=None)), ("[0, 4]",)),
    "a wrong type": lambda f: (run(f, x=images(f, x=FLOATS.astype(np.int32))), ("int32", "uint8")),
    "float64": lambda f: (run(f, x=images(f, x=FLOATS.astype(np.float64))), ("float64", "float32")),
    "a wrong range": lambda f: (run(f, x=images(f, x=FLOATS * 255)), ("to 250", "0 to 1")),
    "NaN": lambda f: (run(f, x=images(f, x=NAN)), ("NaN", "1 of 8", "5")),
    "too few labels": lambda f: (run(f, x=images(f, y=np.arange(7))), ("7 labels", "8 images")),
    "float labels": lambda f: (attack(f, x=images(f, y=np.arange(8.0))), ("y", "values", "classes", "--right")),
    "words for labels": lambda f: (run(f, x=images(f, y=np.array(["cat"] * 8))), ("y", "not integers")),
    "labels beyond the classes": lambda f: (run(f, x=images(f, y=np.full(8, 3))), ("label 3", "3 outputs")),
    "negative labels": lambda f: (run(f, x=images(f, y=np.full(8, -1))), ("label -1",)),
    "no labels to attack with": lambda f: (attack(f, x=images(f, y=None)), ("labels",)),
    "NaN to attack with": lambda f: (attack(f, x=images(f, x=NAN)), ("NaN",)),
    # calibration and quantization
    "no calibration": lambda f: (
        ["run", str(network(f)), "--target", "ideal", "--input", str(images(f))],
        ("float", "--calibration"),
    ),
    "NaN to calibrate with": lambda f: (run(f, "--calibration", images(f, x=NAN)), ("NaN",)),
    "calibration of a wrong shape": lambda f: (run(f, "--calibration", images(f, x=FLOATS[:, :3])), ("3", "4")),
    "a scheme that the target does not take": lambda f: (
        ["run", str(quantized(f)), "--target", "esp_dl_s3", "--input", str(images(f))],
        ("esp_dl_s3", "quantize"),
    ),
    "weights wider than the target takes": lambda f: (run(f, "--weight-bits", 9, target="vta"), ("9 bits", "s8")),
    "zero points that the target lacks": lambda f: (run(f, "--asymmetric", target="vta"), ("symmetric",)),
    "no bits": lambda f: (run(f, "--bits", 0), ("0 bits", "1 to 16")),
    "an unknown method": lambda f: (run(f, "--method", "magic"), ("magic", "minmax")),
    "a quantized model quantized again": lambda f: (
        ["run", str(quantized(f)), "--target", "ideal", "--input", str(images(f)), "--bits", "4"],
        ("quantized already",),
    ),
    "a quantized model calibrated": lambda f: (
        ["run", str(program(f)), "--input", str(images(f)), "--calibration", str(images(f))],
        ("quantized already", "--calibration"),
    ),
    "pixels of a quantized model": lambda f: (
        ["run", str(program(f)), "--input", str(images(f)), "--mean", "0.5"],
        ("quantized already", "--mean"),
    ),
    "a std of zero": lambda f: (run(f, "--std", "0"), ("--std", "positive")),
    "a mean that is no number": lambda f: (run(f, "--mean", "grey"), ("--mean", "grey")),
    # targets
    "no target": lambda f: (["run", str(network(f)), "--input", str(images(f))], ("--target", "intsim targets")),
    "an unknown target": lambda f: (run(f, target="cmsis_nn"), ('"cmsis_nn"', "did you mean cmsis_nn_s8")),
    "an unknown field": lambda f: (run(f, "--set", "mac.width=3"), ("mac.width", "levels")),
    "a field with a wrong value": lambda f: (run(f, "--set", "requantize.rounding=up"), ("$.requantize.rounding",)),
    "an unknown node": lambda f: (run(f, "--set", "conv_9:target=vta"), ("conv_9",)),
    "an unknown target for a node": lambda f: (run(f, "--set", "gemm_1:target=vtaa"), ('"vtaa"', "vta")),
    "a change that is none": lambda f: (run(f, "--set", "nonsense"), ("--set nonsense", "FIELD=VALUE")),
    "a change of no machine": lambda f: (
        ["run", str(program(f)), "--input", str(images(f)), "--accumulator", "16"],
        ("--accumulator", "--target"),
    ),
    "an accumulator too narrow": lambda f: (run(f, "--accumulator", 3), ("--accumulator", "4 to 64")),
    "an overflow without a width": lambda f: (run(f, "--overflow", "wrap"), ("--accumulator",)),
    "a TOML target that is not there": lambda f: (run(f, target=str(f / "no.toml")), ("no.toml",)),
    "a TOML target that is no TOML": lambda f: (run(f, target=toml(f, "hello")), ("mine.toml", "TOML")),
    "a TOML target with an unknown field": lambda f: (run(f, target=toml(f, CHIP + "wings = 2")), ("wings",)),
    "a TOML target with a wrong field": lambda f: (
        run(f, target=toml(f, CHIP + '[[mac.levels]]\nbits = "wide"')),
        ("mine.toml", "$.mac.levels[0].bits"),
    ),
    "a module that is not there": lambda f: (run(f, target="no_module:CHIP"), ("no_module:CHIP",)),
    # attacks
    "an unknown attack": lambda f: (attack(f, "--attack", "pgdd"), ('"pgdd"', "pgd")),
    "a strength that is none": lambda f: (attack(f, "--eps", "strong"), ('"strong"', "8/255")),
    "a negative strength": lambda f: (attack(f, "--eps", "-1/255"), ("negative",)),
    "a strength beyond all pixels": lambda f: (attack(f, "--eps", "2/255,8"), ("2040/255", "did you mean 8/255?")),
    "a strength below the grid": lambda f: (attack(f, "--eps", "0.5/255"), ("0.5/255", "below one step", "1/255")),
    # Program files
    "a Program of a newer format": lambda f: (
        ["run", str(of_format(program(f), 99)), "--input", str(images(f))],
        ("program.intsim", "format 99", "upgrade"),
    ),
    "a damaged Program": lambda f: (
        ["run", str(cut(program(f), 500)), "--input", str(images(f))],
        ("program.intsim", "damaged"),
    ),
    "a Program that is no zip": lambda f: (
        ["run", str(text(f, "a.intsim", "hello")), "--input", str(images(f))],
        ("a.intsim",),
    ),
    # what goes out
    "an output in no folder": lambda f: (run(f, "-o", f / "no" / "out.npz"), ("out.npz", "folder")),
    "an output below a file": lambda f: (run(f, "-o", f / "good.npz" / "out.npz"), ("out.npz", "folder")),
    "an output that is a folder": lambda f: (run(f, "-o", f), ("is a folder",)),
    "JSON in no folder": lambda f: (run(f, "--json", f / "no" / "out.json"), ("out.json", "folder")),
    "an output of no known kind": lambda f: (
        ["quantize", str(network(f)), "--calibration", str(images(f)), "-o", str(f / "out.pt")],
        ("out.pt", ".onnx, .tflite or .intsim"),
    ),
    "a trace of nothing": lambda f: (run(f, "--trace", "hh"), ('"hh"', "h")),
    # words
    "an unknown verb": lambda f: (["rum"], ("rum",)),
    "an unknown option": lambda f: (run(f, "--fast"), ("run", "--fast", "--help")),
    "a missing argument": lambda f: (["run", str(network(f))], ("--input",)),
    "a number that is none": lambda f: (run(f, "--bits", "many"), ("--bits", "many")),
    "a reference that is not known": lambda f: (
        compare(f, "--with", "onnxruntme"),
        ("onnxruntme", "onnxruntime"),
    ),
}


def listing(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(p): (p.stat().st_size, p.stat().st_mtime_ns) for p in folder.rglob("*") if p.is_file()}


def told(err: str, fragments: tuple[str, ...]) -> None:
    """One line: intsim, where, what, mend."""
    assert err.endswith("\n")
    assert err.count("\n") == 1, err
    assert err.startswith("intsim: ")
    assert "bug" not in err
    for fragment in fragments:
        assert fragment in err, f"{fragment!r} is not said in: {err}"


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_leaves_nothing_behind(
    case: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, fragments = BAD[case](tmp_path)
    before = listing(tmp_path)
    capsys.readouterr()
    assert main(arguments) == 2
    out, err = capsys.readouterr()
    told(err, fragments)
    assert out == ""
    assert listing(tmp_path) == before


def test_the_same_command_without_the_fault_succeeds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*run(tmp_path), "--engine", "oracle"]) == 0
    assert capsys.readouterr().err == ""
    assert set(np.load(tmp_path / "out.npz")) == {"integers", "logits"}


def test_every_unsupported_operator_is_listed_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nodes = [
        helper.make_node("Gemm", ["x", "w"], ["a"], name="gemm_1"),
        helper.make_node("Sin", ["a"], ["b"], name="sin_2"),
        helper.make_node("Erf", ["b"], ["y"], name="erf_3"),
    ]
    assert main(["inspect", str(network(tmp_path, nodes=nodes))]) == 0
    out = capsys.readouterr().out
    assert "sin_2" in out
    assert "erf_3" in out


# ---- a disk that is full ---------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join(str(ROOT / p) for p in (".", "kernels", "models"))}


def in_a_process(arguments: Arguments, *, largest_file: int | None = None) -> subprocess.CompletedProcess[str]:
    def limit() -> None:
        if largest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    command = [sys.executable, "-B", "-m", "intsim", *arguments]
    said = {"capture_output": True, "text": True, "env": environment(), "cwd": ROOT}
    return subprocess.run(command, check=False, preexec_fn=limit, **said)


def test_a_disk_that_takes_no_more_is_one_line_and_leaves_no_half_file(tmp_path: Path) -> None:
    arguments = [*run(tmp_path), "--engine", "oracle"]
    before = listing(tmp_path)
    done = in_a_process(arguments, largest_file=100)
    assert done.returncode == 2
    told(done.stderr, ("out.npz", "cannot be written", "-o"))
    assert listing(tmp_path) == before


def test_a_file_that_was_there_survives_a_disk_that_is_full(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "vta.toml").write_text("what was there")

    def full(handle: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    assert main(["targets", "export", "vta", "-o", str(tmp_path / "vta.toml")]) == 2
    told(capsys.readouterr().err, ("vta.toml", "No space left on device"))
    assert [p.name for p in tmp_path.iterdir()] == ["vta.toml"]
    assert (tmp_path / "vta.toml").read_text() == "what was there"


def test_a_device_is_written_to_and_not_replaced(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        os.mknod(tmp_path / "full", 0o666 | stat.S_IFCHR, os.makedev(1, 7))
    except OSError:
        pytest.skip("only root may make a device")
    assert main(["targets", "export", "vta", "-o", str(tmp_path / "full")]) == 2
    told(capsys.readouterr().err, ("full", "No space left on device"))
    assert stat.S_ISCHR((tmp_path / "full").stat().st_mode)


# ---- the real process ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", ["a truncated model", "an unknown target", "a wrong shape"])
def test_a_process_ends_with_status_2_and_no_traceback(case: str, tmp_path: Path) -> None:
    arguments, fragments = BAD[case](tmp_path)
    done = in_a_process(arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    told(done.stderr, fragments)
