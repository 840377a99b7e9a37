"""Moves and resampling: against what the TFLite family gave (tests/golden), against numpy, and end to end."""

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.files import kept
from golden.layers import Layer, unpacked
from msgspec.structs import replace
from naive import run_graph
from onnx_text import normalised, ops, run_onnxruntime, saved

from intsim import TARGETS, engine, oracle
from intsim.attack.twin import twin
from intsim.calibrate.forward import forward
from intsim.graph import Graph
from intsim.integers import IntType
from intsim.lower import lower
from intsim.onnx_io import read_quantized, write_qdq
from intsim.program import outside
from intsim.quantize import quantize
from intsim.quantized import dequantized
from intsim.target import Target

RUNTIMES = ["litert_ref", "litert_ruy_x86", "litert_xnnpack", "tflm"]
GOLDEN = kept("moves")
ASKED = [(name, runtime) for name, parts in GOLDEN.items() for runtime in RUNTIMES if f"answer {runtime}" in parts]


def machine(layer: Layer, runtime: str) -> Target:
    """The runtime's machine, which takes the layer's types whatever its sums of products read."""
    if layer.name.startswith("linear s16"):  # sixteen bits are another machine's, which all resolvers have in common
        return TARGETS["litert_16x8"]
    types = {affine.type.bits: affine.type for affine in layer.source.affines.values()}
    target = TARGETS[runtime]
    both = tuple(dict.fromkeys((*target.scheme.activations, *(IntType(bits) for bits in types if bits in (8, 16)))))
    return replace(target, scheme=replace(target.scheme, activations=both))


@pytest.mark.parametrize(("name", "runtime"), ASKED)
def test_every_integer_is_the_runtime_s_own(name: str, runtime: str) -> None:
    layer = unpacked(name, {k: v for k, v in GOLDEN[name].items() if not k.startswith("answer")})
    answer = GOLDEN[name][f"answer {runtime}"]
    program = lower(layer.source, machine(layer, runtime))
    x = {"x0": outside(dequantized(layer.x[0], layer.source.affines["x0"]))}
    offset = layer.source.affines["y"].zero - program.tensors["y"].affine.zero  # u8 is held as s8
    expected = outside(answer).reshape(len(answer), *layer.source.graph.shapes["y"]).astype(int) - offset
    np.testing.assert_array_equal(engine.run(program, x).integers["y"], expected)
    few = {k: v[:1] for k, v in x.items()}
    np.testing.assert_array_equal(oracle.run(program, few).integers["y"], expected[:1])


@pytest.mark.parametrize(("kind", "runtime", "other"), [
    (kind, *pair)
    for kind in ("upwards", "linear s8", "requantize")
    for pair in itertools.combinations(RUNTIMES[:3], 2)
    if not (kind == "linear s8" and pair == ("litert_ref", "litert_ruy_x86"))
])  # fmt: skip
def test_the_vectors_tell_the_runtimes_apart(kind: str, runtime: str, other: str) -> None:
    parts = [part for name, part in GOLDEN.items() if name.startswith(kind)]
    assert any((part[f"answer {runtime}"] != part[f"answer {other}"]).any() for part in parts)


# ---- float networks, end to end --------------------------------------------------------------------------------

LARGER = "m = MaxPool<kernel_shape = [2, 1], pads = [0, 0, 1, 0]>(r)  "  # or else an input takes in the transpose
MOVING = {
    "transpose": ("[n,2,3,4]", "[n,4,2,3]", LARGER + "y = Transpose<perm = [0, 3, 1, 2]>(m)"),
    "transpose of the spatial axes": ("[n,2,3,4]", "[n,2,4,3]", LARGER + "y = Transpose<perm = [0, 1, 3, 2]>(m)"),
    "slice": ("[n,3,6,7]", "[n,2,6,3]", "y = Slice(r, starts, ends, axes, steps)"),
    "split": ("[n,5,2,3]", "[n,3,2,3]",
              "a, rest = Split<axis = 1>(r, parts)  c, d, e = Split<axis = 1, num_outputs = 3>(a)"
              "  f = Concat<axis = 1>(e, c)  g = Concat<axis = 1>(f, d)  y = Add(g, a)"),
    "upwards": ("[n,4,3,5]", "[n,6,6,12]", "y = ConvTranspose<group = 2, strides = [2,2], pads = [1,0,0,0], "
                "output_padding = [0,1]>(r, w, b)"),
    "upwards, cut": ("[n,4,4,4]", "[n,6,1,2]",
                     "y = ConvTranspose<group = 2, pads = [3,2,2,1], dilations = [1,1]>(r, w, b)"),
    "upwards, dilated": ("[n,4,3]", "[n,2,9]", "y = ConvTranspose<strides = [2], dilations = [2]>(r, v)"),
}  # fmt: skip
MOVED = """<int64[3] starts = {5, -1, 0}, int64[3] ends = {-99, -99, 2}, int64[3] axes = {3, 2, 1},
    int64[3] steps = {-2, -1, 1}, int64[2] parts = {3, 2}, random[4,3,3,2] w, random[6] b, random[4,2,3] v>"""


def text(shape: str, result: str, lines: str) -> str:
    return f"net (float{shape} x) => (float{result} y) {MOVED} {{ r = Relu(x)  {lines} }}"


def resizing(mode: str, coordinate: str, nearest: str, after: tuple[int, ...]) -> str:
    sizes = ", ".join(map(str, after))
    return f"""net (float[n,2,5,4] x) => (float[n,2,{sizes}] y) <int64[2] sizes = {{{sizes}}}> {{
        y = Resize<mode = "{mode}", coordinate_transformation_mode = "{coordinate}", nearest_mode = "{nearest}",
            axes = [2, 3]>(x, , , sizes) }}"""


def check_floats(path: Path, *ops_: str) -> Graph:
    """The file's network in canonical ops; numpy, calibration and torch compute what onnxruntime does."""
    graph, _ = normalised(path)
    assert [op for op in ops(graph) if op != "Relu"] == list(ops_)
    x = np.random.default_rng(0).random((3, *graph.shapes["x"]), np.float32)
    (expected,) = run_onnxruntime(path, {"x": x})
    for found in (
        run_graph(graph, x)["y"],
        dict(forward(graph, {"x": x}))["y"],
        twin(graph)(torch.from_numpy(x)).numpy(),
    ):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())
    return graph


OPS_OF = {
    "transpose": ["MaxPool", "Transpose"],
    "transpose of the spatial axes": ["MaxPool", "Transpose"],
    "slice": ["Slice"],
    "split": ["Slice", "Slice", "Slice", "Slice", "Concat", "Concat", "Add"],
    "upwards": ["ConvTranspose"],
    "upwards, cut": ["ConvTranspose"],
    "upwards, dilated": ["ConvTranspose"],
}


@pytest.mark.parametrize("name", MOVING)
def test_a_float_network_is_read_quantized_written_and_run(name: str, tmp_path: Path) -> None:
    graph = check_floats(saved(tmp_path, text(*MOVING[name])), *OPS_OF[name])
    end_to_end(graph, tmp_path)


@pytest.mark.parametrize("after", [(10, 8), (7, 9), (3, 2), (1, 1)])
@pytest.mark.parametrize("coordinate", ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])
@pytest.mark.parametrize(
    ("mode", "nearest"),
    [("linear", "floor")] + [("nearest", how) for how in ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")],
)
def test_a_resize_is_that_of_onnxruntime(
    mode: str, nearest: str, coordinate: str, after: tuple[int, int], tmp_path: Path
) -> None:
    graph = check_floats(saved(tmp_path, resizing(mode, coordinate, nearest, after)), "Resize")
    if nearest == "floor":
        end_to_end(graph, tmp_path)


def end_to_end(graph: Graph, folder: Path) -> None:
    """Quantized, written as QDQ and read again, lowered for every kind of machine; the engine is the oracle."""
    x = np.random.default_rng(1).random((4, *graph.shapes["x"]), np.float32)
    source = quantize(graph, x)
    write_qdq(source, folder / "q.onnx")
    again = read_quantized(folder / "q.onnx")
    assert again.affines == source.affines
    for name in ("ideal", "litert_xnnpack", "litert_ref", "ort_x86_vnni"):
        program = lower(source, TARGETS[name])
        found = engine.run(program, x, trace="*")
        right = oracle.run(program, x[:1], trace="*")
        for tensor, integers in right.traced.items():
            np.testing.assert_array_equal(found.traced[tensor][:1], integers, err_msg=f"{tensor} on {name}")
        np.testing.assert_array_equal(engine.run(lower(again, TARGETS[name]), x).integers["y"], found.integers["y"])
        wanted = run_graph(graph, x)["y"]
        step = source.affines["y"].scale[0]
        assert np.abs(found.logits["y"] - wanted).max() < 4 * step + 0.02 * np.abs(wanted).max()
