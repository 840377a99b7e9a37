"""A user's own images and own idea of a right answer decide everything: attacks, rows, ladder, bracket and gates."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from float_graphs import plain
from msgspec.structs import replace

from intsim import tasks
from intsim.attack.catalogue import ATTACKS, Attack
from intsim.attack.craft import craft
from intsim.attack.twin import twin
from intsim.cli import main
from intsim.errors import IntsimError
from intsim.evaluate import evaluate
from intsim.evaluate.records import CLEAN, FAKE, FLOAT, IDEAL, NULL, bits, tie_bits
from intsim.graph import Graph
from intsim.tasks import guessed, top1, top_k
from intsim_models import images, path

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = images()
N = 60
CHIPS = (
    replace(ATTACKS["ste_pgd"], steps=4, step_size=0.3),
    replace(ATTACKS["square_chip"], steps=20),
    replace(ATTACKS["label_chip"], steps=20),
    replace(ATTACKS["evasive"], steps=4, restarts=1, step_size=0.3),
)


def near(output: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Right within one class, as of grades."""
    return np.abs(output.argmax(1) - y) <= 1


def own_set(folder: Path) -> Path:
    """Images that nobody shipped: every second one, mirrored."""
    file = folder / "own.npz"
    np.savez(file, x=SHIPPED.x[: 2 * N : 2, :, :, ::-1], y=SHIPPED.y[: 2 * N : 2])
    return file


@pytest.mark.parametrize("right", [top_k(2), near])
def test_an_own_set_and_predicate_run_through_everything(tmp_path: Path, right: tasks.Right) -> None:
    kept = {}
    found = evaluate(
        path("cnn"),
        "litert_ref",
        data=own_set(tmp_path),
        attacks=["pgd", *CHIPS],
        eps="8/255",
        calibration=SHIPPED.x_calibration[:64],
        right=right,
        keep=lambda one: kept.update({(one.name, one.crafted_on): one}),
    )
    data = tasks.load(own_set(tmp_path))
    assert (found.n, len(kept)) == (N, 2 + 1 + 2 * len(CHIPS))
    assert {row.target for row in found.rows} == {FLOAT, NULL, FAKE, IDEAL, "litert_ref"}

    torch_net = twin(loaded())
    for row in (row for row in found.rows if row.target == FLOAT):
        x = kept[row.attack, row.crafted_on].x
        with torch.no_grad():
            logits = torch_net(torch.from_numpy(x / np.float32(255))).numpy()
        np.testing.assert_array_equal(bits(row), right(logits, data.y))
    for row in found.rows:
        worst, best = tie_bits(row)
        np.testing.assert_array_equal(worst, bits(row))  # the predicate decides ties
        np.testing.assert_array_equal(best, bits(row))
    for bracket in found.brackets:
        own = [row for row in found.rows if (row.network, row.target) == (bracket.network, bracket.target)]
        assert bracket.upper.count == np.all([bits(row) for row in own], axis=0).sum()
        assert bracket.ties_wrong == bracket.ties_right == bracket.upper
    steps = [rung for rung in found.rungs if rung.attack == "pgd"]
    assert [rung.after for rung in steps] == [FAKE, IDEAL, "litert_ref"]
    for rung in steps:
        after, before = (row_of(found, target, "pgd") for target in (rung.after, rung.before))
        assert rung.paired.gained - rung.paired.lost == after.correct - before.correct
    assert {gate.target for gate in found.gates} == {row.target for row in found.rows}
    assert all(gate.passed is not False for gate in found.gates if gate.name == "collapse")
    # more is right than under top-1, and every predicate is fooled somewhere
    clean, hit = row_of(found, FLOAT, CLEAN), row_of(found, FLOAT, "pgd")
    assert clean.correct > hit.correct


def test_the_predicate_ends_a_search_and_chooses_the_image() -> None:
    """Under top-2 an image on which only the first class is another is no success yet."""
    network = twin(loaded())
    x, y = SHIPPED.x[:N], SHIPPED.y[:N].astype(np.int64)
    first = replace(ATTACKS["pgd"], keep="first")
    left = {}
    for right in (top1, top_k(2)):
        crafted = craft(first, network, x, y, 8, right=right)
        with torch.no_grad():
            left[right] = top_k(2)(network(torch.from_numpy(crafted / np.float32(255))).numpy(), y).sum()
    assert left[top1] > min(left.values()) + 5


@pytest.mark.parametrize("name", ["square_chip", "label_chip"])
def test_a_search_without_gradients_asks_the_predicate(name: str) -> None:
    from intsim.attack.chip import Chip

    network = twin(loaded())

    def answer(images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(images / np.float32(255))).numpy()

    x, y = SHIPPED.x[:30], SHIPPED.y[:30].astype(np.int64)
    chip, known = Chip(name="c", answer=answer), replace(ATTACKS[name], steps=60)
    of_top1 = craft(known, network, x, y, 16, chip=chip)
    of_top2 = craft(known, network, x, y, 16, chip=chip, right=top_k(2))
    assert top_k(2)(answer(of_top2), y).sum() < top_k(2)(answer(of_top1), y).sum()


def test_a_number_within_a_tolerance_runs_through_everything(tmp_path: Path) -> None:
    graph, x = some_outputs(1), SHIPPED.x[:N]
    y = np.rint(outputs(graph, x)[:, 0]).astype(np.int64)
    assert len(np.unique(y)) > 4
    np.savez(tmp_path / "numbers.npz", x=x, y=y)

    def tolerated(output: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.abs(output[:, 0] - y) <= 3

    away = Attack(name="away", loss="squared_error", steps=10, step_size=0.25, start="inside", keep="worst")
    found = evaluate(
        graph,
        "litert_ref",
        data=tmp_path / "numbers.npz",
        attacks=[away, replace(away, name="away_chip", knows="chip")],
        eps="8/255",
        calibration=SHIPPED.x_calibration[:64],
        right=tolerated,
    )
    clean, hit = (row_of(found, "litert_ref", name) for name in (CLEAN, "away"))
    assert clean.correct > 0.9 * N
    assert hit.correct < clean.correct - 10
    assert not clean.collapsed
    assert clean.predicted == ()
    known = next(r for r in found.rows if r.attack == "away_chip" and r.crafted_on == r.who)
    assert known.correct <= hit.correct + 3
    (bracket,) = [one for one in found.brackets if one.target == "litert_ref"]
    assert bracket.upper.count <= min(known.correct, hit.correct)
    assert all(rung.changed is None for rung in found.rungs)
    assert found.classes == 0


def test_values_within_a_tolerance_run_through_everything() -> None:
    """Three numbers an image, as of a box: float labels, attacked by their squared error, also through the chip."""
    graph, x = some_outputs(3), SHIPPED.x[:N]
    y = outputs(graph, x) + np.float32(0.25)
    found = evaluate(
        graph,
        "litert_ref",
        data=(x, y),
        attacks=["noise", "fgsm_squared", "pgd_squared", replace(ATTACKS["ste_squared"], steps=10, step_size=0.25)],
        eps="8/255",
        calibration=SHIPPED.x_calibration[:64],
        right=box,
    )
    clean, noise, hit = (row_of(found, "litert_ref", name) for name in (CLEAN, "noise", "pgd_squared"))
    assert clean.correct > 0.9 * N
    assert hit.correct < noise.correct - 10
    assert not clean.collapsed
    known = next(r for r in found.rows if r.attack == "ste_squared" and r.crafted_on == r.who)
    assert known.correct <= hit.correct + 3
    assert found.classes == 0


def box(output: np.ndarray, y: np.ndarray) -> np.ndarray:
    return np.abs(output - y).max(axis=1) <= 3


def test_the_command_line_takes_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten numbers an image, for a network with ten outputs."""
    file = tmp_path / "values.npz"
    np.savez(file, x=SHIPPED.x[:N], y=outputs(loaded(), SHIPPED.x[:N]) + np.float32(1))
    words = ["attack", "cnn", "--data", str(file), "--eps", "8/255", "--json", "-"]
    assert main([*words, "--attack", "fgsm_squared", "--right", "test_evaluate_tasks:box"]) == 0
    rows = {(r["target"], r["attack"]): r["correct"] for r in json.loads(capsys.readouterr().out)["rows"]}
    assert rows[FLOAT, CLEAN] == N
    assert rows[FLOAT, "fgsm_squared"] < N - 10
    for more, said in (
        (["--attack", "fgsm", "--right", "test_evaluate_tasks:box"], "attack fgsm: raises cross_entropy"),
        (["--attack", "fgsm_squared"], "y: holds values, and the predicate asks for classes"),
    ):
        assert main([*words, *more]) == 2
        assert said in capsys.readouterr().err
    chip = ["--target", "litert_ref", "--calibration", "fashion"]
    assert main(["run", "cnn", "--input", str(file), *chip]) == 0
    assert "right:" not in capsys.readouterr().out
    assert main(["certify", "cnn", "--data", str(file), *chip, "--eps", "1/255"]) == 2
    assert "certificates are of classes" in capsys.readouterr().err


def test_values_of_another_shape_than_the_outputs_are_refused() -> None:
    with pytest.raises(IntsimError, match="gives 10 values an image, a label has 3"):
        craft(ATTACKS["fgsm_squared"], twin(loaded()), SHIPPED.x[:2], np.zeros((2, 3), np.float32), 8)


def test_guessing_values_is_right_as_often_as_the_best_single_answer() -> None:
    y = np.array([[0, 0], [0, 1], [10, 10], [11, 11]], np.float32)
    assert guessed(box, y, 2) == 1 / 2
    assert guessed(lambda output, y: np.abs(output - y).max(axis=1) <= 6, y, 2) == 1
    assert guessed(lambda output, y: np.abs(output[:, :, 0] - y).max(axis=1) <= 6, y, 2) == 0


def test_guessing_is_right_as_often_as_the_best_single_answer() -> None:
    y = np.array([0, 0, 0, 1, 1, 2, 3, 3])
    assert guessed(top1, y, 4) == 3 / 8
    assert guessed(top_k(2), y, 4) == 5 / 8
    assert guessed(near, y, 4) == 6 / 8
    assert guessed(lambda output, y: np.abs(output[:, 0] - y) <= 1, y, 1) == 6 / 8


@pytest.mark.parametrize(("word", "right"), [("top1", 1), ("top2", 3), ("test_evaluate_tasks:near", 3)])
def test_a_predicate_is_named_by_a_word(word: str, right: int) -> None:
    output = np.eye(5)[[0, 1, 2, 3]] + 0.5 * np.eye(5)[[1, 2, 3, 4]]
    assert tasks.predicate(word)(output, np.array([1, 2, 2, 1])).sum() == right
    assert tasks.predicate("top1") is top1


@pytest.mark.parametrize("word", ["top0", "best", "nowhere:f", "test_evaluate_tasks:f", "test_evaluate_tasks:N", ""])
def test_a_word_that_is_no_predicate_is_refused(word: str) -> None:
    with pytest.raises(IntsimError, match=r"^right: "):
        tasks.predicate(word)


def test_the_command_line_takes_a_predicate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["attack", "mlp", "--data", str(own_set(tmp_path)), "--attack", "fgsm", "--eps", "4/255", "--json", "-"]
    correct = {}
    for right in ("top1", "top2"):
        assert main([*words, "--right", right]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        (correct[right],) = [row["correct"] for row in rows if row["target"] == FLOAT and row["attack"] == "fgsm"]
    assert correct["top2"] > correct["top1"]


def test_a_predicate_that_gives_something_else_is_refused() -> None:
    graph = plain()
    x = np.zeros((3, *graph.shapes["image"]), np.uint8)
    for wrong in (lambda output, y: output, lambda output, y: (output.argmax(1) == y).astype(float)):
        with pytest.raises(IntsimError, match=r"^right: .* for 3 examples"):
            evaluate(graph, data=(x, np.zeros(3, int)), attacks="fgsm", eps="8/255", right=wrong)


def row_of(found, target, attack):
    return next(r for r in found.rows if (r.target, r.attack, r.crafted_on) == (target, attack, FLOAT))


def loaded() -> Graph:
    from intsim.build import load

    found = load(path("cnn"))
    assert isinstance(found, Graph)
    return found


def some_outputs(n: int) -> Graph:
    """The embedded CNN with n outputs, each from 0 to 80 or so: 40 and the difference of two of its logits."""
    graph = loaded()
    last = graph.nodes[-1]
    constants = dict(graph.constants)
    for name, offset in zip(last.inputs[1:], (0, 40), strict=True):
        constants[name] = constants[name][:n] - constants[name][7 : 7 + n] + np.float32(offset)
    return replace(graph, constants=constants, shapes={**graph.shapes, last.outputs[0]: (n,)})


def outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return twin(graph)(torch.from_numpy(x / np.float32(255))).numpy()
