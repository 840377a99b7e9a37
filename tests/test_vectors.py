"""Vectors say what the Program computes: the C that is written beside them agrees, and a changed integer is named."""

import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from nets import every_op, images
from programs import any_input, dot_program, other_program

import intsim
from intsim import TARGETS, IntsimError, oracle
from intsim.archive import digest
from intsim.cli import main
from intsim.compare import compare
from intsim.lower import lower
from intsim.program import Dot, Program, inside
from intsim.vectors import planned, vectors
from intsim.vectors.checking import COMPILE

GCC = pytest.mark.skipif(shutil.which("gcc") is None, reason="there is no gcc")
SOME = ["litert_ref", "cmsis_nn_s8", "nvdla_small", "gemmini_ws", "ort_x86_avx2"]


def every(name: str) -> Program:
    return lower(every_op(TARGETS[name].scheme), TARGETS[name])


def checked(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    """The line that check.c names, without the optimizer, and then the check itself."""
    words = [*COMPILE.replace("-O2", "-O0").split(), *more]
    subprocess.run(words, cwd=folder, check=True, capture_output=True, text=True)
    return subprocess.run(["./check"], cwd=folder, check=False, capture_output=True, text=True)


@GCC
@pytest.mark.parametrize("name", SOME)
def test_the_formulas_in_c_give_the_engines_integers(name: str, tmp_path: Path) -> None:
    program = every(name)
    written = vectors(program, images(2), tmp_path)
    left = {step.name for step in program.steps if type(step.compute).__name__ in ("Softmax", "Interpolate")}
    assert set(written.unwritten) == left
    assert "gcc" in (tmp_path / "check.c").read_text()
    found = checked(tmp_path)
    assert found.returncode == 0, found.stdout
    lines = found.stdout.splitlines()
    dots = sum(isinstance(step.compute, Dot) for step in program.steps)
    right = [line for line in lines if re.fullmatch(r"layer \d+ \([\w#]+\): (output|accumulator): \d+ right", line)]
    assert len(right) == len(program.steps) + dots - len(left)
    assert sum("not checked" in line for line in lines) == len(lines) - len(right) == len(left)


@GCC
@pytest.mark.parametrize("seed", range(12))
def test_the_formulas_in_c_are_those_of_the_oracle_for_any_rule(seed: int, tmp_path: Path) -> None:
    rng = np.random.default_rng(1000 + seed)
    program = dot_program(rng) if seed % 2 else other_program(rng)
    written = vectors(program, any_input(rng, program, 3), tmp_path, run=oracle.run)
    found = checked(tmp_path)
    assert found.returncode == 0, found.stdout
    assert ("right" in found.stdout) != bool(written.unwritten)


@GCC
def test_a_changed_integer_is_named(tmp_path: Path) -> None:
    vectors(every("litert_ref"), images(2), tmp_path)
    header = tmp_path / "02_depthwise.h"
    text = header.read_text()
    start = text.index("{", text.index("layer_2_output[", text.index("static const int8_t layer_2_output")))
    first = re.search(r"-?\d+", text[start:])
    assert first is not None
    wrong = int(first.group()) - 1 if int(first.group()) > 0 else int(first.group()) + 1
    at = start + first.start()
    header.write_text(text[:at] + str(wrong) + text[start + first.end() :])
    found = checked(tmp_path)
    assert found.returncode == 1
    line = f"layer 2 (depthwise): output: image 0, element [0, 0, 0] (word 0): got {first.group()}, expected {wrong}"
    assert line in found.stdout
    assert "layer 2 (depthwise): output: 1 of 288 differ" in found.stdout
    assert found.stdout.count("differ") == 1


@GCC
def test_a_kernel_of_ones_own_takes_a_layers_place(tmp_path: Path) -> None:
    """Its mistakes are found; layers.c is not asked for that layer."""
    program = every("litert_ref")
    vectors(program, images(1), tmp_path, layers=["relu"])
    assert [path.name for path in sorted(tmp_path.glob("*.h"))] == ["01_relu.h", "formulas.h"]
    clip = program.steps[1].compute
    kernel = (
        '#include "01_relu.h"\nvoid mine(const int8_t *in, int8_t *out);\nvoid mine(const int8_t *in, int8_t *out) {\n'
        "for (int i = 0; i < LAYER_1_OUTPUT_SIZE; i++) out[i] = in[i] < LOW ? LOW : in[i];\n}\n"
    )
    for low, status in ((clip.low, 0), (clip.low + 1, 1)):
        (tmp_path / "mine.c").write_text(kernel.replace("LOW", f"({low})"))
        assert checked(tmp_path, "-DLAYER_1=mine", "mine.c").returncode == status


def read_memh(path: Path) -> tuple[list[str], list[int]]:
    lines = path.read_text().splitlines()
    head = [line for line in lines if line.startswith("//")]
    return head, [int(line, 16) for line in lines[len(head) :]]


def test_the_memory_files_hold_the_arrays_of_the_npz(tmp_path: Path) -> None:
    vectors(every("nvdla_small"), images(2), tmp_path, run=oracle.run)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    seen = 0
    for layer in manifest["layers"]:
        with np.load(tmp_path / layer["npz"]) as arrays:
            assert sorted(arrays.files) == sorted(array["name"] for array in layer["arrays"])
            for array in layer["arrays"]:
                values, bits = arrays[array["name"]], array["bits"]
                head, words = read_memh(tmp_path / array["memh"])
                assert list(values.shape) == array["shape"]
                assert str(array["shape"]) in head[2]
                assert f"{bits} bits" in head[3]
                assert max(words) < 1 << bits
                if array["float"]:
                    assert words == values.view(f"u{bits // 8}").reshape(-1).tolist()
                else:
                    signed = [w - (1 << bits) if array["signed"] and w >> (bits - 1) else w for w in words]
                    assert signed == values.reshape(-1).tolist()
                seen += 1
    assert seen > 40


def test_a_manifest_says_what_every_file_is(tmp_path: Path) -> None:
    program = every("cmsis_nn_s8")
    written = vectors(program, images(2), tmp_path, images=1, run=oracle.run)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["program"] == digest(program)
    assert (manifest["layout"], manifest["images"]) == ("NHWC", 1)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == set(written.files) == {*manifest["files"], "manifest.json"}
    for name, told in manifest["files"].items():
        data = (tmp_path / name).read_bytes()
        assert (len(data), hashlib.sha256(data).hexdigest()) == (told["bytes"], told["sha256"])
    conv = manifest["layers"][0]
    assert conv["fields"]["rescale"]["rule"]["rule"] == "fixed_point"
    assert conv["arrays"][1]["axes"][0] == "output channel"
    assert any("half_away(h / 2^max(-exponent, 0))" in rule for rule in conv["rules"])
    assert intsim.TARGETS["cmsis_nn_s8"] == intsim.targets.target(str(tmp_path / manifest["targets"]["cmsis_nn_s8"]))


def test_weights_of_fewer_bits_are_words_of_fewer_bits(tmp_path: Path) -> None:
    source = every_op(TARGETS["litert_ref"].scheme)
    four = intsim.quantized.Affine(scale=(0.0625,), type=intsim.IntType(4, narrow_range=True))
    w = np.clip(source.graph.constants["gemm_w"] // 16, -7, 7).astype(np.int8)
    graph = replace(source.graph, constants={**source.graph.constants, "gemm_w": w})
    program = lower(replace(source, graph=graph, affines={**source.affines, "gemm_w": four}), TARGETS["litert_ref"])
    vectors(program, images(1), tmp_path, layers=["gemm"], run=oracle.run)
    head, words = read_memh(next(tmp_path.glob("*gemm.weight.memh")))
    assert "words of 4 bits" in head[3]
    assert [word - 16 * (word > 7) for word in words] == w.reshape(-1).tolist()


@pytest.mark.parametrize("name", ["litert_ref", "ort_x86_avx2"])
def test_what_a_device_dumps_is_compared_in_either_layout(name: str, tmp_path: Path) -> None:
    """The vectors' own tensors are such a dump, channels last; a transposed one, and a wrong one, are told apart."""
    program = every(name)
    vectors(program, images(3), tmp_path / "v", run=oracle.run)
    with np.load(tmp_path / "v" / "images.npz") as file:
        x = file["x"]
    with np.load(tmp_path / "v" / "tensors.npz") as file:
        last = {key: file[key] for key in file.files}
    expected = oracle.run(program, x, trace="*").traced
    first = {key: expected[key] for key in last}
    assert any(not np.array_equal(last[key].shape, first[key].shape) for key in last)
    wrong = {**last, "conv_y": last["conv_y"][:, ::-1]}
    for dumped, mismatches in ((last, False), (first, False), (wrong, True)):
        np.savez(tmp_path / "dump.npz", **dumped)
        assert bool(compare(program, str(tmp_path / "dump.npz"), x, run=oracle.run).mismatches) == mismatches


def test_where_a_shape_says_nothing_the_layout_is_asked_for(tmp_path: Path) -> None:
    """[4, 4, 4] may be either; of a dump with others, the others' layout counts."""
    program, x = lower(square(), TARGETS["litert_ref"]), images(2, (4, 4, 4))
    traced = oracle.run(program, x, trace=["*"]).traced
    last = {"y": inside(traced["y"])}
    assert not np.array_equal(last["y"], traced["y"])
    np.savez(tmp_path / "one.npz", **last)
    found = {
        layout: compare(program, str(tmp_path / "one.npz"), x, run=oracle.run, options={"layout": layout}).mismatches
        for layout in ("nchw", "nhwc", "auto")
    }
    assert found["nhwc"] == 0 < found["nchw"] == found["auto"]
    np.savez(tmp_path / "two.npz", **last, z=inside(traced["z"]))
    assert compare(program, str(tmp_path / "two.npz"), x, run=oracle.run).mismatches == 0
    with pytest.raises(IntsimError, match="has shape"):
        compare(program, str(tmp_path / "two.npz"), x, run=oracle.run, options={"layout": "nchw"})
    with pytest.raises(IntsimError, match="layout"):
        compare(program, str(tmp_path / "two.npz"), x, run=oracle.run, options={"layout": "chwn"})


def square() -> intsim.QuantizedGraph:
    """A clip of [4, 4, 4], whose layout its shape does not tell, and its half, whose does."""
    node = intsim.graph.Node
    half = {"kernel_shape": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0, 0, 0, 0)}
    graph = intsim.graph.Graph(
        name="square",
        inputs=("x",),
        outputs=("z",),
        nodes=(
            node(name="clip", op="Clip", inputs=("x",), outputs=("y",), attributes={"min": 0.1, "max": 0.9}),
            node(name="half", op="MaxPool", inputs=("y",), outputs=("z",), attributes=half),
        ),
        constants={},
        shapes={"x": (4, 4, 4), "y": (4, 4, 4), "z": (4, 2, 2)},
    )
    same = intsim.integers.affine(1 / 255, -128)
    return intsim.QuantizedGraph(graph=graph, affines=dict.fromkeys("xyz", same))


def test_vectors_are_written_anew_but_nothing_else_is_touched(tmp_path: Path) -> None:
    program = every("litert_ref")
    vectors(program, images(1), tmp_path / "v", run=oracle.run)
    vectors(program, images(1), tmp_path / "v", layers=["gemm_y"], run=oracle.run)
    assert len(list((tmp_path / "v").glob("*.npz"))) == 3
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("years of work")
    with pytest.raises(IntsimError, match="holds other files"):
        vectors(program, images(1), tmp_path / "other", run=oracle.run)
    with pytest.raises(IntsimError, match="no folder"):
        vectors(program, images(1), tmp_path / "none" / "v", run=oracle.run)
    with pytest.raises(IntsimError, match='no layer is called "convv"'):
        vectors(program, images(1), tmp_path / "v", layers=["convv"], run=oracle.run)
    with pytest.raises(IntsimError, match="0 images"):
        planned(program, images(1), images=0)


def test_the_size_is_said_before_and_is_about_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from intsim import archive

    archive.write(every("litert_ref"), tmp_path / "net.intsim")
    np.savez(tmp_path / "x.npz", x=images(3))
    words = [
        "vectors",
        tmp_path / "net.intsim",
        "--input",
        tmp_path / "x.npz",
        "-o",
        tmp_path / "v",
        "--engine",
        "oracle",
    ]
    assert main([str(word) for word in [*words, "--json", "-"]]) == 0
    out, err = capsys.readouterr()
    numbers = json.loads(out)
    assert re.search(r"writing \d+ layers on 2 images, about [\d.]+ MB", err)
    assert 0.7 < planned(every("litert_ref"), images(2)).bytes / numbers["bytes"] < 1.5
    assert main([str(word) for word in [*words[:-3], tmp_path / "x.npz" / "v"]]) == 2
