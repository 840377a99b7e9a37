"""Files of other writers, made by hand, are read as TFLite means them."""

from pathlib import Path

import numpy as np
import one_node
import pytest
from hand_made import CONV, answers, file, numbers, ramp, tensor
from msgspec.structs import replace

from intsim.engine import run
from intsim.errors import IntsimError
from intsim.integers import affine
from intsim.lower import lower
from intsim.program import Clip, inside, outside
from intsim.targets import TARGETS
from intsim.tflite_io import is_tflite, layout, quantized_of, read_quantized, tflite_model
from intsim.tflite_io.encode import encode
from intsim.tflite_io.file import File, Operator

# ---- what moves, against numpy --------------------------------------------------------------------------------

MOVES = {
    "squeeze": ("SQUEEZE", [], {}, (1, 1, 4, 5), lambda x: x[:, 0]),
    "expand_dims": ("EXPAND_DIMS", [1], {}, (2, 4, 5), lambda x: x[:, None]),
    "reshape": ("RESHAPE", [-1, 8, 6], {}, (2, 4, 4, 3), lambda x: x.reshape(2, 8, 6)),
    "reshape to a vector": ("RESHAPE", [2, 48], {}, (2, 4, 4, 3), lambda x: x.reshape(2, 48)),
    "reshape to a map": ("RESHAPE", [2, 4, 4, 3], {}, (2, 48), lambda x: x.reshape(2, 4, 4, 3)),
    "reshape to five axes": ("RESHAPE", [1, 2, 2, 4, 6], {}, (1, 4, 4, 6), lambda x: x.reshape(1, 2, 2, 4, 6)),
    "transpose": ("TRANSPOSE", [0, 3, 1, 2], {}, (2, 4, 5, 3), lambda x: x.transpose(0, 3, 1, 2)),
    "pad": (
        "PAD",
        [[0, 0], [1, 2], [0, 1], [2, 0]],
        {},
        (1, 3, 4, 5),
        lambda x: np.pad(x, [(0, 0), (1, 2), (0, 1), (2, 0)], constant_values=3),
    ),
    "strided slice": (
        "STRIDED_SLICE",
        [[0, 1, 0, 0], [2, 4, 5, 3], [1, 2, 1, 1]],
        {},
        (2, 4, 5, 3),
        lambda x: x[:, 1:4:2],
    ),
    "strided slice with masks": (
        "STRIDED_SLICE",
        [[1, 1, 9, -2], [1, 1, 4, 9], [1, 1, 2, 1]],
        {"BeginMask": 5, "EndMask": 3},
        (2, 4, 5, 3),
        lambda x: x[:, 1:, :4:2, -2:9],
    ),
    "strided slice backwards": (
        "STRIDED_SLICE",
        [[0, 0, 4, 0], [0, 0, 0, 0], [1, 1, -2, 1]],
        {"BeginMask": 11, "EndMask": 15},
        (2, 4, 5, 3),
        lambda x: x[:, :, ::-2],
    ),
    "strided slice of a row": (
        "STRIDED_SLICE",
        [[0, -1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]],
        {"BeginMask": 13, "EndMask": 13, "ShrinkAxisMask": 2},
        (2, 4, 5, 3),
        lambda x: x[:, -1],
    ),
    "strided slice of fewer axes": ("STRIDED_SLICE", [[0, 1], [2, 3], [1, 1]], {}, (2, 4, 5, 3), lambda x: x[:, 1:3]),
    "slice": ("SLICE", [[0, 1, 0, 1], [-1, 2, 5, -1]], {}, (2, 4, 5, 3), lambda x: x[:, 1:3, :, 1:]),
}


@pytest.mark.parametrize("name", MOVES)
def test_what_moves_integers_moves_them_as_numpy_does(name: str) -> None:
    op, given, options, shape, expected = MOVES[name]
    several = op in ("STRIDED_SLICE", "SLICE")
    constants = [numbers(f"c{i}", v) for i, v in enumerate(given if several else [given] if given else [])]
    x = ramp(*shape)
    y = expected(x)
    data = file(
        [tensor("x", shape, zero=(3,)), tensor("y", y.shape, zero=(3,)), *constants],
        [(op, ["x", *(c.name for c in constants)], ["y"], options)],
    )
    np.testing.assert_array_equal(answers(quantized_of(data), x)[0], y)


@pytest.mark.parametrize("op", ["SPLIT", "SPLIT_V"])
def test_a_split_gives_its_parts(op: str) -> None:
    x = ramp(2, 4, 3, 6)
    sizes = [2, 2, 2] if op == "SPLIT" else [1, 3, 2]
    ends = np.cumsum(sizes)
    parts = [f"part{i}" for i in range(3)]
    inputs = ["axis", "x"] if op == "SPLIT" else ["x", "sizes", "axis"]
    data = file(
        [
            tensor("x", x.shape),
            numbers("axis", [-1]),
            numbers("sizes", [1, -1, 2]),
            *(tensor(name, (2, 4, 3, size)) for name, size in zip(parts, sizes, strict=True)),
        ],
        [(op, inputs, parts, {"NumSplits": 3})],
        outputs=parts,
    )
    quantized = quantized_of(data)
    assert [node.op for node in quantized.graph.nodes] == ["Slice"] * 3
    for found, end, size in zip(answers(quantized, x), ends, sizes, strict=True):
        np.testing.assert_array_equal(found, x[..., end - size : end])


def test_a_shape_that_the_network_computes_from_its_input_is_known() -> None:
    x = ramp(2, 4, 4, 3)
    data = file(
        [
            tensor("x", x.shape),
            tensor("y", (2, 48)),
            tensor("shape", (4,), "INT32"),
            tensor("batch", (), "INT32"),
            tensor("wanted", (2,), "INT32"),
            numbers("zero", [0]),
            numbers("one", [1]),
            tensor("rest", (), "INT32", 48),
        ],
        [
            ("SHAPE", ["x"], ["shape"], {}),
            ("STRIDED_SLICE", ["shape", "zero", "one", "one"], ["batch"], {"ShrinkAxisMask": 1}),
            ("PACK", ["batch", "rest"], ["wanted"], {"ValuesCount": 2}),
            ("RESHAPE", ["x", "wanted"], ["y"], {}),
        ],
    )
    np.testing.assert_array_equal(answers(quantized_of(data), x)[0], x.reshape(2, 48))


def test_a_join_of_feature_maps_is_numpys() -> None:
    a, b = ramp(1, 3, 4, 5), ramp(1, 3, 4, 2)
    data = file(
        [tensor("a", a.shape), tensor("b", b.shape), tensor("y", (1, 3, 4, 7))],
        [("CONCATENATION", ["a", "b"], ["y"], {"Axis": -1})],
        inputs=["a", "b"],
    )
    np.testing.assert_array_equal(answers(quantized_of(data), a, b)[0], np.concatenate([a, b], -1))


# ---- windows ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "dilation", "pads"),
    [
        (5, 3, 1, 1, (1, 1)),
        (5, 3, 2, 1, (1, 1)),
        (6, 3, 2, 1, (0, 1)),
        (7, 2, 2, 1, (0, 1)),
        (4, 2, 2, 1, (0, 0)),
        (5, 2, 1, 1, (0, 1)),
        (8, 3, 1, 2, (2, 2)),
        (9, 3, 2, 2, (2, 2)),
        (10, 7, 4, 1, (2, 3)),
        (3, 1, 2, 1, (0, 0)),
        (2, 5, 1, 1, (2, 2)),
        (224, 3, 2, 1, (0, 1)),
        (112, 5, 2, 1, (1, 2)),
    ],
)
def test_same_padding_stands_at_the_end_where_it_is_odd(
    size: int, kernel: int, stride: int, dilation: int, pads: tuple[int, int]
) -> None:
    found = layout.same_pads((size,), (kernel,), (stride,), (dilation,))
    assert found == pads
    assert layout.places((size,), found, (kernel,), (stride,), (dilation,)) == (-(-size // stride),)


@pytest.mark.parametrize("depthwise", [False, True])
@pytest.mark.parametrize(("stride", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_a_convolutions_sums_are_numpys(depthwise: bool, stride: int, dilation: int) -> None:
    rng = np.random.default_rng(stride + dilation)
    x, outputs = rng.integers(-128, 128, (2, 6, 7, 3)).astype(np.int8), 6
    w = rng.integers(-127, 128, (1, 3, 2, outputs) if depthwise else (outputs, 3, 2, 3)).astype(np.int8)
    b = rng.integers(-99, 99, outputs).astype(np.int32)
    places = (-(-6 // stride), -(-7 // stride))
    options = {**CONV, "StrideH": stride, "StrideW": stride, "DilationHFactor": dilation, "DilationWFactor": dilation}
    data = file(
        [
            tensor("x", x.shape, zero=(5,)),
            tensor("w", w.shape, data=w),
            tensor("b", (outputs,), "INT32", b),
            tensor("y", (2, *places, outputs), scale=(30.0,)),
        ],
        [("DEPTHWISE_CONV_2D" if depthwise else "CONV_2D", ["x", "w", "b"], ["y"], options)],
    )
    program = lower(quantized_of(data), TARGETS["litert_ref"])
    doors = {name: replace(door, pixels=None, table=None) for name, door in program.inputs.items()}
    found = run(replace(program, inputs=doors), {"x": outside(x)}, trace=("y:accumulator",)).traced["y:accumulator"]
    needed = [
        max((place - 1) * stride + (k - 1) * dilation + 1 - size, 0)
        for place, k, size in zip(places, (3, 2), (6, 7), strict=True)
    ]
    around = [(0, 0), *((n // 2, n - n // 2) for n in needed), (0, 0)]
    padded = np.pad(x.astype(int) - 5, around)
    expected = np.zeros((2, *places, outputs), int) + b
    for i, j, o in np.ndindex(*places, outputs):
        window = padded[:, i * stride :, j * stride :][:, : 2 * dilation + 1 : dilation, : dilation + 1 : dilation]
        taps = window[..., o // 2] * w[0, ..., o].astype(int) if depthwise else window * w[o].astype(int)
        expected[:, i, j, o] += taps.reshape(2, -1).sum(1)
    np.testing.assert_array_equal(inside(found), expected)


def test_a_fully_connected_layer_reads_a_map_in_the_files_order() -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, (2, 3, 4, 5)).astype(np.int8)
    w = rng.integers(-127, 128, (7, 60)).astype(np.int8)
    data = file(
        [tensor("x", x.shape), tensor("w", w.shape, data=w), tensor("y", (2, 7), scale=(30.0,))],
        [("FULLY_CONNECTED", ["x", "w", ""], ["y"], {})],
    )
    program = lower(quantized_of(data), TARGETS["litert_ref"])
    doors = {name: replace(door, pixels=None, table=None) for name, door in program.inputs.items()}
    found = run(replace(program, inputs=doors), {"x": outside(x)}, trace=("y:accumulator",)).traced["y:accumulator"]
    np.testing.assert_array_equal(found, x.reshape(2, 60).astype(int) @ w.T.astype(int))


@pytest.mark.parametrize(("kind", "bits"), [("INT4", 4), ("INT8", 8)])
def test_weights_of_four_bits_are_unpacked(kind: str, bits: int) -> None:
    w = np.array([[-7, 7, 1, -1, 0], [2, -3, 4, -5, 6]], np.int8)
    nibbles = w.reshape(-1).view(np.uint8) & 15
    packed = (nibbles[0::2] | nibbles[1::2] << 4).astype(np.uint8)
    weight = tensor("w", w.shape, kind, scale=(0.1, 0.2), zero=(0, 0))
    weight = replace(weight, data=packed if bits == 4 else w.reshape(-1).view(np.uint8))
    data = file([tensor("x", (1, 5)), weight, tensor("y", (1, 2))], [("FULLY_CONNECTED", ["x", "w", ""], ["y"], {})])
    quantized = quantized_of(data)
    np.testing.assert_array_equal(quantized.graph.constants["w"], w)
    assert quantized.affines["w"] == affine((0.1, 0.2), 0, f"s{bits}n", 0)


def test_sixteen_bit_activations_have_biases_of_sixty_four() -> None:
    w, b = np.array([[1, 2, 3]], np.int8), np.array([1 << 40], np.int64)
    data = file(
        [
            tensor("x", (1, 3), "INT16"),
            tensor("w", (1, 3), data=w),
            tensor("b", (1,), "INT64", b),
            tensor("y", (1, 1), "INT16"),
        ],
        [("FULLY_CONNECTED", ["x", "w", "b"], ["y"], {})],
    )
    quantized = quantized_of(data)
    assert quantized.graph.constants["b"].tolist() == [1 << 40]
    assert str(quantized.affines["b"].type) == "s64"
    assert str(quantized.affines["x"].type) == "s16"


# ---- activations ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("op", ["RELU", "RELU6", "RELU_N1_TO_1"])
@pytest.mark.parametrize(
    ("scale", "zero"),
    [(0.1, -128), (0.05, 3), (12.0, 0), (12.0, -128), (2.0, 1), (4.0, -7), (0.8, 120), (0.001, 0), (0.01, 127)],
)
def test_fused_and_single_activations_clip_to_tflites_integers(op: str, scale: float, zero: int) -> None:
    """round_half_away(f32(bound / scale)) + zero point: ties at 6/12, 6/4 and -1/2."""
    s = np.float32(scale)

    def encoded(bound: float) -> int:
        steps = float(np.float32(bound) / s)
        return zero + int(np.trunc(steps + np.copysign(0.5, steps)))

    bounds = {"RELU": (0.0, np.inf), "RELU6": (0.0, 6.0), "RELU_N1_TO_1": (-1.0, 1.0)}[op]
    low = max(-128, encoded(bounds[0]))
    high = 127 if op == "RELU" else min(127, encoded(bounds[1]))
    fused = {"RELU": 1, "RELU_N1_TO_1": 2, "RELU6": 3}[op]
    same = {"scale": (scale,), "zero": (zero,)}
    tensors = [tensor("x", (1, 2, 2, 3), **same), tensor("z", (1, 2, 2, 3)), tensor("y", (1, 2, 2, 3), **same)]
    for data in (
        file(tensors, [(op, ["x"], ["y"], {})]),
        file(tensors, [("ADD", ["x", "z"], ["y"], {"FusedActivationFunction": fused})], inputs=["x", "z"]),
    ):
        step = lower(quantized_of(data), TARGETS["litert_ref"]).steps[-1]
        assert isinstance(step.compute, Clip)
        assert (step.compute.low, step.compute.high) == (low, high)


def test_a_relu_into_another_scale_requantizes_first() -> None:
    data = file([tensor("x", (1, 4)), tensor("y", (1, 4), scale=(0.2,))], [("RELU", ["x"], ["y"], {})])
    quantized = quantized_of(data)
    assert [node.op for node in quantized.graph.nodes] == ["Requantize", "Relu"]
    x = np.array([[-100, -4, 4, 120]], np.int8)
    assert answers(quantized, x)[0].tolist() == [[0, 0, 2, 60]]


@pytest.mark.parametrize("kept", [False, True])
def test_a_mean_over_the_map_is_a_global_average(kept: bool) -> None:
    shape = (1, 1, 1, 3) if kept else (1, 3)
    data = file(
        [tensor("x", (1, 2, 2, 3)), tensor("y", shape), numbers("axes", [-2, 1])],
        [("MEAN", ["x", "axes"], ["y"], {"KeepDims": kept})],
    )
    quantized = quantized_of(data)
    assert quantized.graph.nodes[0].op == "GlobalAveragePool"
    assert answers(quantized, np.full((1, 2, 2, 3), 8, np.int8))[0].reshape(-1).tolist() == [8, 8, 8]


@pytest.mark.parametrize("shape", [(3,), (1, 1, 3), (1, 1, 1, 3), (4, 1, 3), (5, 1)])
def test_constants_broadcast_as_the_file_means_them(shape: tuple[int, ...]) -> None:
    x = ramp(1, 4, 5, 3)
    k = np.arange(np.prod(shape), dtype=np.int8).reshape(shape)
    data = file(
        [tensor("x", x.shape), tensor("k", shape, data=k), tensor("y", (1, 4, 5, 3))],
        [("MAXIMUM", ["x", "k"], ["y"], {})],
    )
    np.testing.assert_array_equal(answers(quantized_of(data), x)[0], np.maximum(x, k))


def test_one_number_is_a_clip() -> None:
    x = ramp(1, 4, 5, 3)
    for op, of, q in (("MAXIMUM", np.maximum, 17), ("MINIMUM", np.minimum, -30), ("MAXIMUM", np.maximum, 0)):
        data = file(
            [tensor("x", x.shape), tensor("k", (), data=[q]), tensor("y", x.shape)], [(op, ["x", "k"], ["y"], {})]
        )
        quantized = quantized_of(data)
        assert quantized.graph.nodes[0].op in ("Clip", "Relu")
        np.testing.assert_array_equal(answers(quantized, x)[0], of(x, np.int8(q)))


# ---- doors and names --------------------------------------------------------------------------------------------


def test_floats_at_the_doors_become_doors() -> None:
    data = file(
        [
            tensor("image", (1, 2, 2, 3), "FLOAT32"),
            tensor("x", (1, 2, 2, 3), zero=(-128,), scale=(1 / 255,)),
            tensor("y", (1, 2, 2, 3), zero=(-128,), scale=(1 / 255,)),
            tensor("out", (1, 2, 2, 3), "FLOAT32"),
        ],
        [("QUANTIZE", ["image"], ["x"], {}), ("RELU", ["x"], ["y"], {}), ("DEQUANTIZE", ["y"], ["out"], {})],
        inputs=["image"],
        outputs=["out"],
    )
    quantized = quantized_of(data)
    assert (quantized.graph.inputs, quantized.graph.outputs) == (("x",), ("y",))
    assert [node.op for node in quantized.graph.nodes] == ["Relu"]
    program = lower(quantized, TARGETS["litert_ref"])
    pixels = np.arange(12, dtype=np.uint8).reshape(1, 3, 2, 2)
    np.testing.assert_array_equal(run(program, pixels).integers["y"].astype(int) + 128, pixels)


def test_a_quantize_inside_is_a_requantization() -> None:
    data = file([tensor("x", (1, 4)), tensor("y", (1, 4), scale=(0.2,))], [("QUANTIZE", ["x"], ["y"], {})])
    quantized = quantized_of(data)
    assert [node.op for node in quantized.graph.nodes] == ["Requantize"]
    assert answers(quantized, np.array([[-100, -4, 4, 120]], np.int8))[0].tolist() == [[-50, -2, 2, 60]]


def test_nodes_are_called_as_what_they_compute_and_names_are_made_unique() -> None:
    data = encode(
        File(
            tensors=tuple(replace(tensor(name, (1, 4)), index=i) for i, name in enumerate(["x", "x", ""])),
            operators=(
                Operator(op="RELU", inputs=(0,), outputs=(1,), options={}),
                Operator(op="RELU", inputs=(1,), outputs=(2,), options={}),
            ),
            inputs=(0,),
            outputs=(2,),
            metadata={},
        )
    )
    quantized = quantized_of(data)
    assert [node.name for node in quantized.graph.nodes] == ["x_2", "tensor_2"]
    assert quantized.graph.outputs == ("tensor_2",)


def test_the_older_uint8_files_have_weights_with_zero_points() -> None:
    w = np.array([[0, 131, 255]], np.uint8)
    data = file(
        [
            tensor("x", (1, 3), "UINT8", zero=(128,)),
            tensor("w", (1, 3), "UINT8", w, zero=(131,)),
            tensor("y", (1, 1), "UINT8", zero=(100,)),
        ],
        [("FULLY_CONNECTED", ["x", "w", ""], ["y"], {})],
    )
    quantized = quantized_of(data)
    assert quantized.affines["w"] == affine(0.1, 131, "u8")
    assert quantized.affines["x"] == affine(0.1, 128, "u8")


def test_a_file_is_known_by_its_name_or_its_first_bytes(tmp_path: Path) -> None:
    data = file([tensor("x", (1, 4)), tensor("y", (1, 4))], [("RELU", ["x"], ["y"], {})])
    (tmp_path / "net.bin").write_bytes(data)
    (tmp_path / "net.tflite").write_bytes(b"nothing")
    assert is_tflite(tmp_path / "net.bin")
    assert is_tflite(tmp_path / "net.tflite")
    assert not is_tflite(tmp_path / "net.onnx")
    assert read_quantized(tmp_path / "net.bin").graph.name == "net"
    with pytest.raises(IntsimError, match=r"net\.tflite: is no TFLite file"):
        read_quantized(tmp_path / "net.tflite")
    with pytest.raises(IntsimError, match="cannot be read"):
        read_quantized(tmp_path / "none.tflite")


def test_affines_are_the_files_own() -> None:
    source = one_node.several()
    read = quantized_of(tflite_model(source))
    for name in ("x", "conv_w", "depthwise_w", "sum_y"):
        assert read.affines[name] == source.affines[name]
