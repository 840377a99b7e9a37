"""Data that fits goes in as it is; data that does not is refused with the numbers; what "right" means."""

import io
import zipfile

import numpy as np
import pytest

from intsim import tasks
from intsim.errors import IntsimError
from intsim.graph import Pixels

X = np.arange(3 * 1 * 4 * 4, dtype=np.uint8).reshape(3, 1, 4, 4)
Y = np.array([0, 2, 1])


def saved(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_images_and_labels_come_back_as_they_were_saved(tmp_path):
    found = tasks.load(saved(tmp_path / "xy.npz", x=X, y=Y.astype(np.uint8), more=np.zeros(1)))
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)
    assert found.x.dtype == np.uint8
    assert found.y.dtype == np.int64


def test_labels_are_optional_and_floats_stay_floats(tmp_path):
    found = tasks.load(saved(tmp_path / "x.npz", x=X / np.float32(255)))
    assert found.y is None
    assert found.x.dtype == np.float32


@pytest.mark.parametrize(
    ("x", "y", "said"),
    [
        (X, Y[:2], ["2 labels for 3 images"]),
        (X.astype(np.int64), Y, ["int64", "uint8"]),
        (X.astype(np.float64), Y, ["float64", "float32"]),
        (X[0, 0, 0], Y, ["[4]"]),
        (X[:0], Y[:0], ["[0, 1, 4, 4]"]),
        (X, np.array([0.5, np.nan, 1.0]), ["NaN"]),
        (X, np.array([[0.5, 1.0]]), ["1 labels for 3 images"]),
        (X, Y.astype(str), ["not integers"]),
        (X, Y[:, None], ["[3, 1]"]),
        (X, Y - 1, ["label -1 at 0"]),
        (np.where(X == 17, np.nan, X).astype(np.float32), Y, ["1 of 3", "the first is 1"]),
        (np.where(X == 40, np.inf, X).astype(np.float32), Y, ["1 of 3", "the first is 2"]),
    ],
)
def test_arrays_that_do_not_fit_are_refused_with_the_numbers(tmp_path, x, y, said):
    path = saved(tmp_path / "bad.npz", x=x, y=y)
    with pytest.raises(IntsimError) as error:
        tasks.load(path)
    text = str(error.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    for words in said:
        assert words in text
    with pytest.raises(IntsimError):
        tasks.data(x, y)


def _cut(path):
    whole = saved(path, x=X, y=Y).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _damaged(path):
    saved(path, x=X)
    whole = bytearray(path.read_bytes())
    whole[150] ^= 255
    path.write_bytes(bytes(whole))


def _pickled(path):
    np.savez(path, x=np.array([{"a": 1}], dtype=object))


def _other_zip(path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")


def _single(path):
    with path.open("wb") as file:
        np.save(file, X)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: path.write_text("not a zip at all"), "cannot be read"),
        (lambda path: path.write_bytes(b""), "cannot be read"),
        (lambda path: path.mkdir(), "cannot be read"),
        (lambda path: None, "no such file"),
        (_cut, "cannot be read"),
        (_damaged, "cannot be read"),
        (_pickled, "cannot be read"),
        (_other_zip, 'no array "x", only readme.txt'),
        (_single, "single array"),
        (lambda path: saved(path, images=X, labels=Y), 'no array "x", only images, labels'),
    ],
)
def test_files_that_are_no_data_are_refused_in_one_line(tmp_path, make, said):
    path = tmp_path / "bad.npz"
    make(path)
    with pytest.raises(IntsimError) as error:
        tasks.load(path)
    assert said in str(error.value)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_nothing_pickled_is_run(tmp_path):
    class Trap:
        def __reduce__(self):
            return (exec, ("raise SystemExit('ran')",))

    buffer = io.BytesIO()
    np.save(buffer, np.array([Trap()], dtype=object), allow_pickle=True)
    path = tmp_path / "trap.npz"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x.npy", buffer.getvalue())
    with pytest.raises(IntsimError, match="cannot be read"):
        tasks.load(path)


def test_data_that_fits_the_network_passes_through():
    found = tasks.data(X, Y)
    assert tasks.check(found, (1, 4, 4), 3, Pixels()) is found
    floats = tasks.data(X / np.float32(255), Y)
    assert tasks.check(floats, (1, 4, 4), 3, Pixels()) is floats


@pytest.mark.parametrize(
    ("shape", "classes", "said"),
    [
        ((3, 4, 4), 3, "[3, 1, 4, 4], the network takes [n, 3, 4, 4]"),
        ((4, 4, 1), 3, "channels first"),
        ((1, 4, 4), 2, "label 2 at 1, the network has 2 outputs"),
    ],
)
def test_data_for_another_network_is_refused_with_the_numbers(shape, classes, said):
    with pytest.raises(IntsimError) as error:
        tasks.check(tasks.data(X, Y), shape, classes)
    assert said in str(error.value)


def test_floats_outside_what_pixels_can_become_are_refused():
    scaled = Pixels(mean=(0.5,), std=(0.25,))
    inside = tasks.data(scaled.to_input(X), Y)
    assert tasks.check(inside, (1, 4, 4), 3, scaled) is inside
    with pytest.raises(IntsimError, match=r"runs from 0 to 47, the network's input from 0 to 1"):
        tasks.check(tasks.data(X.astype(np.float32), Y), (1, 4, 4), 3, Pixels())
    with pytest.raises(IntsimError, match=r"from -2 to 2"):
        tasks.check(tasks.data(X.astype(np.float32) - 3, Y), (1, 4, 4), 3, scaled)


def test_the_range_is_each_channels_own():
    pixels = Pixels(mean=(0.0, 0.5), std=(1.0, 1.0))
    x = np.full((1, 2, 2, 2), 0.4, np.float32)
    assert tasks.check(tasks.data(x), (2, 2, 2), None, pixels).x is not None
    x[0, 1, 0, 0] = 0.6
    with pytest.raises(IntsimError, match="runs from"):
        tasks.check(tasks.data(x), (2, 2, 2), None, pixels)


# ---- right ---------------------------------------------------------------------------------------------------------

LOGITS = np.array([[1, 5, 5], [5, 1, 5], [9, 0, 0], [2, 3, 4]])


def test_the_first_of_equal_maxima_is_the_answer():
    np.testing.assert_array_equal(tasks.top1(LOGITS, np.array([1, 2, 0, 2])), [True, False, True, True])


def test_ties_are_seen_and_counted_under_both_extremes():
    np.testing.assert_array_equal(tasks.tied(LOGITS), [True, True, False, False])
    worst, best = tasks.tie_extremes(LOGITS, np.array([1, 2, 0, 0]))
    np.testing.assert_array_equal(worst, [False, False, True, False])
    np.testing.assert_array_equal(best, [True, True, True, False])


def test_top_k_is_a_stable_sort():
    rng = np.random.default_rng(0)
    logits, y = rng.integers(0, 4, (300, 5)), rng.integers(0, 5, 300)
    for k in range(1, 6):
        order = np.argsort(-logits, axis=1, kind="stable")[:, :k]
        np.testing.assert_array_equal(tasks.top_k(k)(logits, y), (order == y[:, None]).any(axis=1))
    np.testing.assert_array_equal(tasks.top_k(1)(logits, y), tasks.top1(logits, y))
