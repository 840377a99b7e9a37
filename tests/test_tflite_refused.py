"""What has no place in a Graph is refused in one line; a damaged file ends nowhere else, soon, and in little memory."""

import struct
import time
import tracemalloc

import numpy as np
import one_node
import pytest
from hand_made import CONV, file, numbers, tensor
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.quantized import QuantizedGraph
from intsim.tflite_io import quantized_of, tflite_model

# ---- refused ----------------------------------------------------------------------------------------------------

X, Y = tensor("x", (1, 4, 4, 3)), tensor("y", (1, 4, 4, 3))
W = tensor("w", (3, 1, 1, 3), data=np.ones(27, np.int8)[:9])
ONE = {"StrideH": 1, "StrideW": 1}

REFUSED = {
    "an operator that is not known": ([X, Y], [("CUMSUM", ["x"], ["y"], {})], "CUMSUM y: is not supported"),
    "a custom operator": ([X, Y], [("CUSTOM mine", ["x"], ["y"], {})], "CUSTOM mine y: is an operator of somebody"),
    "control flow": ([X, Y], [("WHILE", ["x"], ["y"], {})], "WHILE y: is control flow"),
    "a float in the middle": (
        [X, tensor("f", (1, 4, 4, 3), "FLOAT32"), Y],
        [("RELU", ["x"], ["f"], {}), ("RELU", ["f"], ["y"], {})],
        "f: is FLOAT32",
    ),
    "floats made inside": (
        [X, tensor("f", (1, 4, 4, 3), "FLOAT32"), Y],
        [("DEQUANTIZE", ["x"], ["f"], {}), ("QUANTIZE", ["f"], ["y"], {})],
        "DEQUANTIZE f: makes floats in the middle",
    ),
    "a float network": (
        [tensor("x", (1, 4), "FLOAT32"), tensor("y", (1, 4), "FLOAT32")],
        [("RELU", ["x"], ["y"], {})],
        "is FLOAT32",
    ),
    "no scale": ([X, tensor("y", (1, 4, 4, 3), scale=(), zero=())], [("RELU", ["x"], ["y"], {})], "y: has no scale"),
    "a scale of zero": (
        [X, tensor("y", (1, 4, 4, 3), scale=(0.0,))],
        [("RELU", ["x"], ["y"], {})],
        "y: a scale is a positive",
    ),
    "a scale that is no number": (
        [X, tensor("y", (1, 4, 4, 3), scale=(np.nan,))],
        [("RELU", ["x"], ["y"], {})],
        "y: a scale is a positive",
    ),
    "a zero point outside": (
        [X, tensor("y", (1, 4, 4, 3), zero=(300,))],
        [("RELU", ["x"], ["y"], {})],
        "zero point 300 lies outside s8",
    ),
    "an activation of several scales": (
        [X, tensor("y", (1, 4, 4, 3), scale=(0.1, 0.2, 0.3), zero=(0, 0, 0), axis=3)],
        [("RELU", ["x"], ["y"], {})],
        "has 3 scales",
    ),
    "sixteen bits with a zero point that is too large": (
        [X, tensor("y", (1, 4, 4, 3), "INT16", zero=(40000,))],
        [("QUANTIZE", ["x"], ["y"], {})],
        "lies outside s16",
    ),
    "a tensor that nothing computes": (
        [X, tensor("z", (1, 4, 4, 3)), Y],
        [("RELU", ["z"], ["y"], {})],
        "reads z, which nothing before it computes",
    ),
    "a circle": (
        [X, tensor("z", (1, 4, 4, 3)), Y],
        [("ADD", ["x", "z"], ["y"], {}), ("RELU", ["y"], ["z"], {})],
        "reads z, which nothing before it computes",
    ),
    "a tensor computed twice": (
        [X, Y],
        [("RELU", ["x"], ["y"], {}), ("RELU", ["x"], ["y"], {})],
        "y: is computed a second time",
    ),
    "an output that nothing computes": ([X, Y, tensor("z", (1, 4))], [("RELU", ["x"], ["z"], {})], "z"),
    "a negative size": ([X, tensor("y", (1, -4, 4, 3))], [("RELU", ["x"], ["y"], {})], "y: has shape"),
    "an empty tensor": ([X, tensor("y", (1, 0, 4, 3))], [("RELU", ["x"], ["y"], {})], "makes"),
    "another batch": (
        [X, tensor("y", (3, 16)), numbers("s", [3, 16])],
        [("RESHAPE", ["x", "s"], ["y"], {})],
        "keep the batch",
    ),
    "a buffer shorter than its shape": (
        [X, replace(W, data=W.data[:5]), Y],
        [("CONV_2D", ["x", "w", ""], ["y"], CONV)],
        "w: has 5 bytes, its shape .3, 1, 1, 3. needs 9",
    ),
    "an axis out of range": (
        [X, Y, tensor("z", (1, 4, 4, 6))],
        [("CONCATENATION", ["x", "x"], ["z"], {"Axis": 7})],
        "axis 7",
    ),
    "a join along the batch": (
        [X, Y, tensor("z", (2, 4, 4, 3))],
        [("CONCATENATION", ["x", "x"], ["z"], {"Axis": 0})],
        "axis 0",
    ),
    "a mean over channels": (
        [X, tensor("y", (1, 4, 4, 1)), numbers("a", [3])],
        [("MEAN", ["x", "a"], ["y"], {"KeepDims": True})],
        "averages over the axes",
    ),
    "a transposed batch": (
        [X, Y, tensor("z", (4, 1, 4, 3)), numbers("p", [1, 0, 2, 3])],
        [("TRANSPOSE", ["x", "p"], ["z"], {})],
        "moves the batch",
    ),
    "no permutation": ([X, Y, numbers("p", [0, 1, 1, 3])], [("TRANSPOSE", ["x", "p"], ["y"], {})], "order"),
    "weights of other channels": (
        [X, tensor("w", (3, 1, 1, 2), data=np.ones(6)), Y],
        [("CONV_2D", ["x", "w", ""], ["y"], CONV)],
        "weights for 2 channels",
    ),
    "a stride of zero": ([X, W, Y], [("CONV_2D", ["x", "w", ""], ["y"], {**CONV, "StrideH": 0})], "has Stride"),
    "another shape than it makes": (
        [X, W, tensor("y", (1, 2, 4, 3))],
        [("CONV_2D", ["x", "w", ""], ["y"], CONV)],
        "makes .1, 4, 4, 3., the file says .1, 2, 4, 3.",
    ),
    "a third kind of padding": ([X, W, Y], [("CONV_2D", ["x", "w", ""], ["y"], {**CONV, "Padding": 2})], "padding 2"),
    "float weights": (
        [X, tensor("w", (3, 1, 1, 3), "FLOAT32", np.ones(9)), Y],
        [("CONV_2D", ["x", "w", ""], ["y"], CONV)],
        "weights are FLOAT32",
    ),
    "weights that are computed": (
        [X, tensor("w", (3, 1, 1, 3)), Y],
        [("CONV_2D", ["x", "w", ""], ["y"], CONV)],
        "w: has no numbers",
    ),
    "scales along another axis": (
        [X, replace(W, scale=np.full(3, 0.1, "f4"), zero_point=np.zeros(3, int), axis=3), Y],
        [("CONV_2D", ["x", "w", ""], ["y"], CONV)],
        "3 scales along axis 3",
    ),
    "a bias of another length": (
        [X, W, numbers("b", [1, 2]), Y],
        [("CONV_2D", ["x", "w", "b"], ["y"], CONV)],
        "not 3 integers",
    ),
    "tanh fused": (
        [X, W, Y],
        [("CONV_2D", ["x", "w", ""], ["y"], {**CONV, "FusedActivationFunction": 4})],
        "has TANH fused",
    ),
    "a pool into another scale": (
        [X, tensor("y", (1, 4, 4, 3), scale=(0.2,))],
        [("MAX_POOL_2D", ["x"], ["y"], {**ONE, "FilterHeight": 2, "FilterWidth": 2})],
        "put a QUANTIZE in front",
    ),
    "a padded batch": (
        [X, tensor("y", (2, 4, 4, 3)), numbers("a", [[1, 0], [0, 0], [0, 0], [0, 0]])],
        [("PAD", ["x", "a"], ["y"], {})],
        "pads the batch",
    ),
    "negative pads": (
        [X, tensor("y", (1, 3, 4, 3)), numbers("a", [[0, 0], [-1, 0], [0, 0], [0, 0]])],
        [("PAD", ["x", "a"], ["y"], {})],
        "pads by",
    ),
    "no shape before a run": (
        [X, Y, tensor("s", (4,), "INT32")],
        [("RESHAPE", ["x", "s"], ["y"], {})],
        "which only a run would tell",
    ),
    "a slice beyond the end": (
        [X, tensor("y", (1, 4, 4, 3)), numbers("b", [0, 2, 0, 0]), numbers("s", [1, 4, 4, 3])],
        [("SLICE", ["x", "b", "s"], ["y"], {})],
        "does not have",
    ),
    "an infinite slope": ([X, Y], [("LEAKY_RELU", ["x"], ["y"], {"Alpha": float("inf")})], "alpha"),
    "too large a map": (
        [X, tensor("y", (1, 60000, 60000, 3)), numbers("s", [60000, 60000])],
        [("RESIZE_BILINEAR", ["x", "s"], ["y"], {})],
        "has shape",
    ),
    "no batch": ([tensor("x", (4,)), tensor("y", (4,))], [("RELU", ["x"], ["y"], {})], "without a batch"),
    "an operator without outputs": ([X, Y], [("RELU", ["x"], [], {})], "computes nothing"),
    "an operator without inputs": ([X, Y], [("RELU", [], ["y"], {})], "needs more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_place_in_a_graph_is_refused(name: str) -> None:
    tensors, operators, what = REFUSED[name]
    with pytest.raises(IntsimError, match=what) as error:
        quantized_of(file(tensors, operators))
    assert error.value.mend or "damaged" in str(error.value)
    assert "\n" not in str(error.value)


def test_files_that_are_none_are_refused() -> None:
    for data in (b"", b"TFL3", b"\0\0\0\0TFL3", b"\xff" * 64, b"\x08\x07\x00\x00" * 16, bytes(1000)):
        with pytest.raises(IntsimError):
            quantized_of(data)


def test_lists_that_are_longer_than_the_file_are_refused() -> None:
    data = bytearray(file([X, Y], [("RELU", ["x"], ["y"], {})]))
    found = data.find(struct.pack("<i4i", 4, 1, 4, 4, 3))  # the shape: its length, then its sizes
    assert found > 0
    for length in (5, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF):
        data[found : found + 4] = struct.pack("<I", length)
        with pytest.raises(IntsimError):
            quantized_of(bytes(data))


def test_tables_that_share_their_bytes_do_not_make_work_without_end() -> None:
    """Thousands of tensors that are all the same table, each with a long shape: quadratic, were it read."""
    long = tensor("x", (1,) * 4000)
    data = bytearray(
        file([long, *(tensor(f"t{i}", (1, 1)) for i in range(4000))], [("RELU", ["x"], ["x"], {})], outputs=["x"])
    )
    begin = data.find(struct.pack("<I", 4001)) + 4
    (first,) = struct.unpack_from("<I", data, begin)
    assert first > 4 * 4001
    for i in range(4001):  # an entry says how far its table lies behind it: all lead to the first
        struct.pack_into("<I", data, begin + 4 * i, first - 4 * i)
    start = time.monotonic()
    with pytest.raises(IntsimError, match="a list of 4000"):
        quantized_of(bytes(data))
    assert time.monotonic() - start < 5


# ---- damaged ----------------------------------------------------------------------------------------------------


def _outcome(data: bytes) -> str:
    said = ""
    try:
        found = quantized_of(data)
    except IntsimError as error:
        said = str(error)
    assert "\n" not in said
    assert said or isinstance(found, QuantizedGraph)
    return "refused" if said else "read"


def test_a_file_that_ends_early_is_refused_wherever_it_ends() -> None:
    data = tflite_model(one_node.several())
    assert _outcome(data) == "read"
    assert {_outcome(data[:end]) for end in range(0, len(data) - 16, 97)} == {"refused"}


def _damaged(data: bytes, rng: np.random.Generator) -> bytes:
    damaged = np.frombuffer(data, np.uint8).copy()
    for place in rng.integers(0, len(data), rng.integers(1, 6)):
        damaged[place] = rng.integers(0, 256) if rng.random() < 0.5 else damaged[place] ^ (1 << rng.integers(8))
    return damaged.tobytes()


@pytest.mark.parametrize("seed", range(4))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(seed: int) -> None:
    """Bytes replaced and bits flipped, 500 times."""
    data, rng = tflite_model(one_node.several(seed)), np.random.default_rng(seed)
    assert {_outcome(_damaged(data, rng)) for _ in range(500)} == {"read", "refused"}


def test_a_damaged_file_takes_no_more_memory_than_the_file() -> None:
    data, rng = tflite_model(one_node.several()), np.random.default_rng(9)
    tracemalloc.start()
    try:
        for _ in range(60):
            _outcome(_damaged(data, rng))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 16 << 20
