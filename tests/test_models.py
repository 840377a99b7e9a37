"""The networks and images that ship are what accuracy.json and the README say, and can be made again."""

import dataclasses
import gzip
import hashlib
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

import intsim_models
from intsim_models import accuracy, fashion

MODELS = Path(intsim_models.__file__).parent
RECORDS = accuracy.read()
OPERATORS = {
    "mlp": {"Reshape": 1, "Gemm": 2, "Relu": 1},
    "lenet5": {"Conv": 2, "Relu": 4, "MaxPool": 2, "Reshape": 1, "Gemm": 3},
    "cnn": {"Conv": 3, "Relu": 3, "MaxPool": 2, "ReduceMean": 1, "Reshape": 1, "Gemm": 1},
    "resnet8": {"Conv": 9, "Relu": 7, "Add": 3, "ReduceMean": 1, "Reshape": 1, "Gemm": 1},
    "dscnn": {"Conv": 9, "Relu": 5, "Clip": 4, "ReduceMean": 1, "Reshape": 1, "Gemm": 1},
    "cnn_adv": {"Conv": 3, "Relu": 3, "MaxPool": 2, "ReduceMean": 1, "Reshape": 1, "Gemm": 1},
}
# sha256 of the bytes of each array
DIGESTS = {
    "x": "09bbac78738f0229a68f7ca74e62665d7fb34f45ea7a3509ab5c4a202c1370de",
    "y": "a86243d2b2400909bc0a82f5fd5c9df83bf827852a1543e3dc70af890035a9d4",
    "x_calibration": "dece4b9a235c9c10f184ee827db90ff65cbb001f6b0e84b54003110a4543bbd8",
    "y_calibration": "e1c20584dcbd95e653006f00b4dcfe5264659de92d1a8071379d43050c3951f2",
}

network = pytest.mark.parametrize("name", intsim_models.SHIPPED)
floats = pytest.mark.parametrize("name", [*intsim_models.NAMES, *intsim_models.DEFENDED])
debian = pytest.mark.skipif(not fashion.DEBIAN.exists(), reason="needs the package dataset-fashion-mnist")


@network
def test_a_network_is_as_often_right_as_recorded(name):
    images = intsim_models.images()
    right = accuracy.correct(intsim_models.path(name), images.x, images.y)
    # onnxruntime picks its float kernels, and so the order of sums, by CPU: near ties may fall otherwise
    assert abs(right - RECORDS[name]["correct_of_2000"]) <= 3


@pytest.mark.slow
@debian
@network
def test_a_network_is_as_often_right_on_the_whole_test_set_as_recorded(name):
    data = fashion.load()
    right = accuracy.correct(intsim_models.path(name), data.x_test, data.y_test)
    assert abs(right - RECORDS[name]["correct_of_10000"]) <= 10  # as above


@network
def test_a_network_is_the_file_that_was_recorded(name):
    content = intsim_models.path(name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == RECORDS[name]["sha256"]
    assert len(content) == RECORDS[name]["bytes"] < 500_000


@floats
def test_a_network_names_nothing_of_the_machine_it_was_made_on(name):
    content = intsim_models.path(name).read_bytes()
    assert re.findall(rb"/work|/root|/home|/usr|site-packages", content) == []
    model = onnx.load_model_from_string(content)
    graph = model.graph
    parts = [model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info]
    assert not any(part.metadata_props or part.doc_string for part in parts)


@floats
def test_a_network_is_one_file_of_few_operators_for_any_batch(name):
    model = onnx.load(intsim_models.path(name), load_external_data=False)
    onnx.checker.check_model(model, full_check=True)
    assert not any(tensor.external_data for tensor in model.graph.initializer)
    assert Counter(node.op_type for node in model.graph.node) == OPERATORS[name]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", 20)]
    assert [shape(value) for value in model.graph.input] == [("image", ["n", 1, 28, 28])]
    assert [shape(value) for value in model.graph.output] == [("logits", ["n", 10])]


@floats
def test_the_parameters_are_counted_as_they_stand_in_the_file(name):
    graph = onnx.load(intsim_models.path(name)).graph
    size = {tensor.name: int(np.prod(tensor.dims)) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type in {"Conv", "Gemm"}]
    assert sum(size[weight] for node in layers for weight in node.input[1:]) == RECORDS[name]["parameters"]


def test_the_record_is_of_the_networks_that_ship():
    assert tuple(RECORDS) == intsim_models.SHIPPED
    assert {file.stem for file in MODELS.glob("*.onnx")} == set(intsim_models.SHIPPED)


def test_the_readme_shows_the_record():
    readme = (MODELS.parent / "README.md").read_text()
    shown = readme.partition("<!-- accuracy -->\n")[2].partition("<!-- /accuracy -->")[0]
    assert shown == accuracy.table(RECORDS)


def test_a_name_that_does_not_ship_is_answered_with_those_that_do():
    with pytest.raises(ValueError, match=r"^vgg: .*: take one of mlp, lenet5, cnn, .*, cnn_w2$"):
        intsim_models.path("vgg")


def test_the_images_are_those_of_the_record():
    images = intsim_models.images()
    assert images.x.shape == (2000, 1, 28, 28)
    assert images.x_calibration.shape == (512, 1, 28, 28)
    for name, digest in DIGESTS.items():
        array = getattr(images, name)
        assert array.dtype == np.uint8
        assert hashlib.sha256(array.tobytes()).hexdigest() == digest, name


def test_every_class_is_among_the_images():
    images = intsim_models.images()
    assert np.bincount(images.y).tolist() == [200, 203, 214, 190, 219, 195, 197, 200, 194, 188]
    assert np.bincount(images.y_calibration).tolist() == [53, 56, 50, 52, 53, 51, 55, 49, 50, 43]


def test_the_licence_of_the_images_is_beside_them():
    notice = (MODELS / "data" / "NOTICE").read_text()
    assert "Copyright (c) 2017 Zalando SE" in notice
    assert "Permission is hereby granted" in notice


@debian
def test_the_images_are_the_first_of_the_published_ones():
    data, images = fashion.load(), intsim_models.images()
    assert len(data.x_train) == len(data.y_train) == 60_000
    assert len(data.x_test) == len(data.y_test) == 10_000
    np.testing.assert_array_equal(images.x, data.x_test[:2000])
    np.testing.assert_array_equal(images.y, data.y_test[:2000])
    np.testing.assert_array_equal(images.x_calibration, data.x_train[:512])
    np.testing.assert_array_equal(images.y_calibration, data.y_train[:512])


def test_finding_and_reading_takes_numpy_only():
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import intsim_models, intsim_models.fashion\n"
        "intsim_models.images(); intsim_models.path('cnn')\n"
        "sys.exit(', '.join({'torch', 'onnx', 'onnxruntime', 'intsim'} & set(sys.modules)) or None)"
    )
    subprocess.run([sys.executable, "-c", program, str(MODELS.parent)], check=True)


# The loader of Fashion-MNIST


def test_a_directory_of_packed_idx_files_is_read(tmp_path):
    arrays = small()
    for name, stem in fashion.STEMS.items():
        (tmp_path / f"{stem}.gz").write_bytes(gzip.compress(idx(arrays[name])))
    assert_same(fashion.load(tmp_path), arrays)


def test_a_directory_of_plain_idx_files_is_read(tmp_path):
    write_idx(tmp_path, small())
    assert_same(fashion.load(str(tmp_path)), small())


@pytest.mark.parametrize("image", [(28, 28), (1, 28, 28)])
def test_an_npz_is_read(tmp_path, image):
    arrays = {name: a.reshape(len(a), *image) if name[0] == "x" else a for name, a in small().items()}
    np.savez(tmp_path / "data.npz", **arrays)
    assert_same(fashion.load(tmp_path / "data.npz"), arrays)


def test_a_place_with_nothing_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=one_line("no Fashion-MNIST here: install")):
        fashion.load(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match=one_line(r"no train-images-idx3-ubyte\.gz here: install")):
        fashion.load(tmp_path)


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a whole idx file"),
        (b"\0\0\x08", "not a whole idx file"),
        (b"\0\0\x08\x01\0\0", "not a whole idx file"),
        (b"\0\0\x08\x01\0\0\0\x05\1\1\1\1", "not a whole idx file"),
        (b"\0\0\x0d\x01\0\0\0\x04\1\1\1\1", "not a whole idx file"),
        (b"\0\0\x08\x01\0\0\0\x03\1\2\3", "y_test is not a uint8 label 0..9 for each image"),
        (b"\0\0\x08\x01\0\0\0\x04\1\2\3\x0a", "y_test is not a uint8 label 0..9 for each image"),
    ],
)
def test_an_idx_file_that_is_not_one_is_refused(tmp_path, content, complaint):
    write_idx(tmp_path, small())
    (tmp_path / fashion.STEMS["y_test"]).write_bytes(content)
    with pytest.raises(ValueError, match=one_line(complaint)):
        fashion.load(tmp_path)


TORN = gzip.compress(b"torn in two", mtime=0)[:-9]  # without the time: its name must be the same in every process


@pytest.mark.parametrize("content", [b"", b"no gzip", TORN])
def test_a_packed_file_that_is_torn_is_refused(tmp_path, content):
    (tmp_path / f"{fashion.STEMS['x_train']}.gz").write_bytes(content)
    with pytest.raises(ValueError, match=one_line("(be unpacked|not a whole idx file).*fetch the file again")):
        fashion.load(tmp_path)


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"x_test": None}, "no array x_test"),
        ({"x_test": np.zeros((4, 28, 28), np.float32)}, r"x_test is float32\[4, 28, 28\], not uint8"),
        (
            {"x_train": np.zeros((6, 32, 32), np.uint8)},
            r"x_train is uint8\[6, 32, 32\], not uint8",
        ),
        ({"y_train": np.zeros(5, np.uint8)}, "y_train is not a uint8 label 0..9 for each image"),
        ({"y_train": np.zeros(6, np.int64)}, "y_train is not a uint8 label 0..9 for each image"),
    ],
)
def test_an_npz_of_something_else_is_refused(tmp_path, change, complaint):
    arrays = {name: array for name, array in (small() | change).items() if array is not None}
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ValueError, match=one_line(complaint)):
        fashion.load(tmp_path / "data.npz")


@pytest.mark.parametrize("content", [b"", b"words", b"PK\x03\x04 torn"])
def test_a_file_that_is_no_npz_is_refused(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(ValueError, match=one_line("not an .npz with x_train, y_train, x_test, y_test")):
        fashion.load(tmp_path / "data.npz")


def test_an_npy_is_refused(tmp_path):
    np.save(tmp_path / "data.npy", np.zeros(3))
    with pytest.raises(ValueError, match=one_line("not an .npz with x_train, y_train, x_test, y_test")):
        fashion.load(tmp_path / "data.npy")


# What is made with torch


@network
def test_a_network_has_the_parameters_its_shape_says(name):
    networks = pytest.importorskip("intsim_models.networks")
    assert set(networks.NETWORKS) == set(intsim_models.SHIPPED)
    assert networks.parameters(networks.build(name)) == RECORDS[name]["parameters"]


@pytest.mark.parametrize("name", ["lenet5", "dscnn"])
@pytest.mark.parametrize(
    ("options", "opset", "batch"),
    [
        ({}, 20, "n"),
        ({"static_batch": True, "opset": 18}, 18, 1),
        ({"legacy": True}, 20, "n"),
        ({"legacy": True, "static_batch": True, "opset": 13}, 13, 1),
    ],
)
def test_either_exporter_writes_a_network(tmp_path, name, options, opset, batch):
    networks = pytest.importorskip("intsim_models.networks")
    from intsim_models.export import export

    export(networks.build(name, seed=1), tmp_path / "net.onnx", **options)
    model = onnx.load(tmp_path / "net.onnx")
    assert model.opset_import[0].version == opset
    assert shape(model.graph.input[0]) == ("image", [batch, 1, 28, 28])
    assert ("Flatten" in {node.op_type for node in model.graph.node}) == options.get("legacy", False)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    count = 3 if batch == "n" else 1
    (logits,) = session.run(["logits"], {"image": np.zeros((count, 1, 28, 28), np.float32)})
    assert logits.shape == (count, 10)


@network
def test_the_recorded_recipe_is_the_one_in_the_code(name):
    train = pytest.importorskip("intsim_models.train")
    assert dataclasses.asdict(train.RECIPES[name]) == RECORDS[name]["recipe"]
    assert RECORDS[name]["command"] == f"python -m intsim_models.train --only {name}"


@pytest.mark.parametrize("against", [{}, {"radius": 8, "craft_steps": 2}])
def test_training_twice_gives_the_same_weights(against):
    networks = pytest.importorskip("intsim_models.networks")
    from intsim_models.train import Recipe, train

    images = intsim_models.images()
    x, y, recipe = images.x_calibration[:256], images.y_calibration[:256], Recipe(epochs=2, rate=2e-3, **against)
    first, second = (train(networks.build("cnn"), x, y, recipe).state_dict() for _ in range(2))
    assert all(np.array_equal(first[name].numpy(), second[name].numpy()) for name in first)


def test_training_without_data_says_so_in_one_line(tmp_path, capsys):
    train = pytest.importorskip("intsim_models.train")
    assert train.main(["--data", str(tmp_path / "nowhere")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def shape(value):
    return value.name, [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]


def one_line(complaint):
    return rf"\A[^\n]*{complaint}[^\n]*\Z"


def small():
    """Six training and four test images of noise."""
    random = np.random.default_rng(1)
    parts = {"train": 6, "test": 4}
    images = {f"x_{part}": random.integers(0, 256, (n, 28, 28), np.uint8) for part, n in parts.items()}
    return images | {f"y_{part}": random.integers(0, 10, n, np.uint8) for part, n in parts.items()}


def idx(array):
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">i4").tobytes() + array.tobytes()


def write_idx(folder, arrays):
    for name, stem in fashion.STEMS.items():
        (folder / stem).write_bytes(idx(arrays[name]))


def assert_same(data, arrays):
    for name, array in arrays.items():
        expected = array.reshape(-1, 1, 28, 28) if name[0] == "x" else array
        np.testing.assert_array_equal(getattr(data, name), expected)
