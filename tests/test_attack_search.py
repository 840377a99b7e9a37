"""Losses are defined everywhere, targets are what they are called, APGD keeps its rule, budgets are what is spent."""

import itertools
import sys
import types
from pathlib import Path
from typing import Any

import attack_peers as peers
import numpy as np
import pytest
import torch
from msgspec.structs import replace

from intsim.attack import door
from intsim.attack.catalogue import ATTACKS, NOISE, Attack, find
from intsim.attack.craft import craft
from intsim.attack.losses import LOSSES, OF_VALUES, raised
from intsim.attack.outside import black_box
from intsim.attack.schedule import checkpoints
from intsim.attack.search import targets
from intsim.errors import IntsimError

X = np.round(255 * peers.X).astype(np.uint8)
Y = peers.Y
FLOATS = torch.from_numpy(X / np.float32(255))
ON_FLOAT = [name for name, attack in ATTACKS.items() if attack.knows == "float" and attack.loss not in OF_VALUES]


def answers(x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return peers.network(torch.from_numpy(x / np.float32(255))).argmax(1).numpy()


# ---- losses ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(LOSSES.keys() - OF_VALUES))
@pytest.mark.parametrize("classes", [2, 3, 4, 10])
def test_every_loss_has_a_finite_gradient_under_ties(name: str, classes: int) -> None:
    for values in itertools.product((0.0, 1.0, 30.0), repeat=min(classes, 4)):
        row = [*values, *[0.0] * (classes - len(values))]
        logits = torch.tensor([row], requires_grad=True)
        for target in (None, torch.tensor([1])):
            loss = raised(name, logits, torch.tensor([0]), target)
            assert loss.dtype == torch.float64
            (gradient,) = torch.autograd.grad(loss.sum(), logits)
            assert torch.isfinite(loss).all()
            assert torch.isfinite(gradient).all()
            if target is None and name in ("margin", "dlr") and max(row) == row[0]:
                assert gradient[0, 0] < 0 or name == "dlr"


@pytest.mark.parametrize("classes", [3, 4, 10])
def test_dlr_does_not_see_a_scale_or_a_shift(classes: int) -> None:
    logits = torch.randn(50, classes, generator=torch.Generator().manual_seed(0)).double()
    y, target = torch.arange(50) % classes, (torch.arange(50) + 1) % classes
    for goal in (None, target):
        once, again = (raised("dlr", z, y, goal) for z in (logits, 1e3 * logits + 7))
        torch.testing.assert_close(once, again)
    assert torch.equal(raised("dlr", logits, y) > 0, logits.argmax(1) != y)


def test_dlr_is_the_formula_of_its_paper() -> None:
    z = torch.tensor([[5.0, 3.0, 2.0, -1.0, 0.0]]).double()
    assert raised("dlr", z, torch.tensor([0])).item() == -(5 - 3) / (5 - 2)
    assert raised("dlr", z, torch.tensor([0]), torch.tensor([3])).item() == -(5 - -1) / (5 - (2 + 0) / 2)


def test_the_textbooks_cross_entropy_loses_its_gradient_in_float32_first() -> None:
    y = torch.tensor([0])
    found = {}
    for name in LOSSES.keys() - OF_VALUES:
        logits = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)
        found[name] = torch.autograd.grad(raised(name, logits, y).sum(), logits)[0][0, 0].item()
    assert found["cross_entropy_float32"] == 0
    assert -1e-12 < found["cross_entropy_float64"] < 0
    assert found["cross_entropy"] == pytest.approx(-1)


def test_temperature_divides_the_logits() -> None:
    masked = replace(ATTACKS["fgsm_float32"], temperature=100.0)
    scaled = craft(masked, lambda x: 100 * peers.network(x), X, Y, 8)
    plain = craft(ATTACKS["fgsm_float32"], peers.network, X, Y, 8)
    assert (scaled == plain).mean() > 0.999


# ---- targets -----------------------------------------------------------------------------------------------------


def test_likely_and_unlikely_classes_are_ranked_without_the_label() -> None:
    logits = torch.tensor([[3.0, 1.0, 2.0, 0.0], [3.0, 1.0, 2.0, 0.0]])
    y = torch.tensor([0, 2])
    one = Attack(name="t", towards="likely", classes=9, keep="worst")
    found = targets(one, lambda x: logits, FLOATS[:2], y)
    assert torch.stack(found).tolist() == [[2, 0], [1, 1], [3, 3]]  # type: ignore[arg-type]
    (least,) = targets(Attack(name="t", towards="unlikely"), lambda x: logits, FLOATS[:2], y)
    assert least is not None
    assert least.tolist() == [3, 3]


def test_a_target_is_reached_where_the_radius_allows() -> None:
    attack = Attack(name="t", towards="given", success="target", steps=40, step_size=0.1, start="inside", keep="worst")
    found = craft(attack, peers.network, X, Y, 80, towards=peers.TOWARDS)
    assert (answers(found) == peers.TOWARDS).mean() > 0.9
    assert (answers(craft(ATTACKS["pgd"], peers.network, X, Y, 80)) == peers.TOWARDS).mean() < 0.6


@pytest.mark.parametrize(
    ("towards", "said"), [(None, "give craft targets"), (Y, "other than the label"), (Y[:3], "towards: int64")]
)
def test_targets_that_are_none_are_refused(towards: np.ndarray | None, said: str) -> None:
    with pytest.raises(IntsimError, match=said.replace("give craft targets", "give craft")):
        craft(Attack(name="t", towards="given"), peers.network, X, Y, 8, towards=towards)


# ---- APGD --------------------------------------------------------------------------------------------------------


def test_the_checkpoints_are_those_of_the_paper() -> None:
    assert checkpoints(100) == [0, 22, 41, 57, 70, 80, 87, 93, 99]
    assert checkpoints(10) == [0, 3, 5, 6, 7, 8, 9, 10]


@pytest.mark.parametrize("norm", NOISE)
def test_apgd_finds_the_top_of_a_hill_that_steps_of_one_size_jump_over(norm: str) -> None:
    """The label's logit is least at one point inside the ball: only shorter steps come near."""
    goal = FLOATS[:1] + 0.01

    def hill(x: torch.Tensor) -> torch.Tensor:
        near = -(x - goal).flatten(1).square().sum(1)
        return torch.stack([torch.zeros_like(near), near, near - 1], 1)

    def left(attack: Attack) -> float:
        start = X[:1].astype(np.float32) / np.float32(255)
        made = craft(attack, hill, start, np.array([0]), 25.0 if norm == "linf" else 50.0, grid=None)
        return float((torch.from_numpy(made) - goal).square().sum())

    one = replace(ATTACKS["apgd_ce"], norm=norm)
    assert left(one) < 0.05 * left(replace(one, schedule="constant"))


# ---- what it costs -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_FLOAT)
def test_an_attack_spends_what_it_says(name: str) -> None:
    attack = replace(ATTACKS[name], steps=min(ATTACKS[name].steps, 7), classes=min(ATTACKS[name].classes, 2))
    spent = {"gradients": 0, "queries": 0}

    def counting(x: torch.Tensor) -> torch.Tensor:
        spent["queries"] += len(x)
        spent["gradients"] += len(x) * x.requires_grad
        return peers.network(x)

    craft(attack, counting, X, Y, 20.0 if attack.norm == "linf" else 100.0)
    assert spent == {"gradients": len(X) * attack.gradients, "queries": len(X) * attack.queries}  # type: ignore[operator]


@pytest.mark.parametrize("name", ["pgd", "apgd_t", "pgd_l2"])
def test_an_image_leaves_the_loop_at_its_first_success(name: str) -> None:
    first = replace(ATTACKS[name], steps=20, classes=min(2, ATTACKS[name].classes), keep="first")
    seen, worst, spent = [], replace(first, keep="worst"), {"first": 0, "worst": 0}
    for attack in (first, worst):

        def counting(x: torch.Tensor, attack: Attack = attack) -> torch.Tensor:
            spent[attack.keep] += len(x)
            return peers.network(x)

        seen.append(craft(attack, counting, X, Y, 20.0 if attack.norm == "linf" else 100.0))
    wrong = [answers(x) != Y for x in seen]
    np.testing.assert_array_equal(*wrong)
    assert 0 < wrong[0].sum() < len(X)
    np.testing.assert_array_equal(seen[0][~wrong[0]], seen[1][~wrong[0]])
    assert spent["first"] < spent["worst"]


@pytest.mark.parametrize(
    "fields",
    [
        {"restarts": 2},
        {"temperature": 0.0},
        {"schedule": "apgd", "momentum": 1.0},
        {"classes": 3, "keep": "worst"},
        {"success": "target"},
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(IntsimError, match="odd"):
        Attack(name="odd", **fields)


def test_a_look_of_ones_own_takes_the_place_of_the_network() -> None:
    def look(pixels: torch.Tensor, y: torch.Tensor, target: None, wanted: bool) -> tuple[torch.Tensor, ...]:
        n = len(pixels)
        return torch.zeros(n).double(), torch.zeros(n, dtype=torch.bool), torch.ones(pixels.shape).double()

    found = craft(ATTACKS["fgsm"], peers.network, X, Y, 5, look=look)  # type: ignore[arg-type]
    np.testing.assert_array_equal(found, X + 5)


# ---- what others made ----------------------------------------------------------------------------------------------


def test_images_from_a_file_are_taken_as_they_are_or_refused(tmp_path: Path) -> None:
    made = craft(ATTACKS["pgd"], peers.network, X, Y, 8)
    path = tmp_path / "made.npz"
    np.savez(path, x=made)
    attack = find(str(path))
    assert (attack.norm, attack.gradients) == ("linf", None)
    np.testing.assert_array_equal(craft(attack, peers.network, X, Y, 8), made)
    np.testing.assert_array_equal(craft(attack, peers.network, X[:5], Y[:5], 8, batch=2), made[:5])
    with pytest.raises(IntsimError, match="moved image"):
        craft(attack, peers.network, X, Y, 7)
    with pytest.raises(IntsimError, match="moved image"):
        craft(find(f"{path},norm=l2"), peers.network, X, Y, 8)
    np.savez(path, x=made / np.float32(255))
    np.testing.assert_array_equal(craft(attack, peers.network, X, Y, 8), made)
    np.savez(path, x=made[:3])
    with pytest.raises(IntsimError, match="give an image"):
        craft(attack, peers.network, X, Y, 8)
    with pytest.raises(IntsimError, match="cannot be read"):
        craft(find("nowhere.npz"), peers.network, X, Y, 8)


def test_a_black_box_is_given_pixels_of_the_camera() -> None:
    given = []

    def answer(pixels: np.ndarray) -> np.ndarray:
        given.append(pixels)
        return np.zeros((len(pixels), 3), np.int8)

    x = torch.tensor([[0.0, 0.5, 1.0, 100.4 / 255]])
    assert black_box(answer)(x).shape == (1, 3)
    black_box(answer, 15)(x)
    assert given[0].dtype == np.uint8
    assert given[0].tolist() == [[0, 128, 255, 100]]
    assert given[1].tolist() == [[0, 136, 255, 102]]


class FakeError(Exception):
    """What the fake of ART raises where an estimator lacks something."""


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type:
    """An attack of a package that looks like ART; its estimators only remember what they were made of."""

    class Push:
        def __init__(self, estimator: Any, eps: float = 0.3, way: float = 1.0, batch_size: int = 1) -> None:
            self.estimator, self.eps, self.way = estimator, eps, way

        def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
            noise = np.random.rand() < 2  # noqa: NPY002  # draws from the global generator, as ART does
            return np.clip(x + noise * self.way * self.eps, 0, 1)

    class Nearest:
        def __init__(self, estimator: Any) -> None:
            pass

        def generate(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
            return x + np.linspace(0, 0.1, len(x), dtype=np.float32).reshape(-1, 1, 1, 1)

    modules = {name: types.ModuleType(name) for name in ("art", "art.attacks", "art.estimators")}
    modules |= {name: types.ModuleType(name) for name in ("art.attacks.evasion", "art.exceptions")}
    classification: Any = types.ModuleType("art.estimators.classification")
    classification.PyTorchClassifier = lambda **said: ("torch", said)
    kind = types.SimpleNamespace(BlackBoxClassifierNeuralNetwork=lambda predict, **said: ("black box", said))
    classification.blackbox = kind
    evasion: Any = modules["art.attacks.evasion"]
    evasion.Push, evasion.Nearest = Push, Nearest
    modules["art.exceptions"].EstimatorError = FakeError  # type: ignore[attr-defined]
    for name, module in {**modules, "art.estimators.classification": classification}.items():
        monkeypatch.setitem(sys.modules, name, module)
    return Push


def test_an_attack_of_art_is_found_by_its_name_and_takes_what_is_said(fake: type) -> None:
    before = np.random.get_state()[1].copy()  # type: ignore[union-attr]  # noqa: NPY002
    np.testing.assert_array_equal(craft(find("art:Push"), peers.network, X, Y, 8), X + 8)
    np.testing.assert_array_equal(craft(find("art:Push,way=-0.5"), peers.network, X, Y, 8), X - 4)
    np.testing.assert_array_equal(before, np.random.get_state()[1])  # type: ignore[arg-type]  # noqa: NPY002
    near = craft(find("art:Nearest"), peers.network, X, Y, 8).astype(int) - X
    assert near.max() == 7  # the images that went further are clean
    assert not near[-1].any()


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("art:Pull", 'no attack of ART is called "Pull"'),
        ("art:Push,eps=0.1", "the radius is --eps"),
        ("art:Push,much=1", 'takes no "much"'),
        ("art:Push,way", "no KEY=VALUE"),
        ("art:Push,norm=l3", 'no norm is called "l3"'),
    ],
)
def test_what_art_does_not_have_is_refused(spec: str, said: str, fake: type) -> None:
    with pytest.raises(IntsimError) as error:
        craft(find(spec), peers.network, X, Y, 8)
    assert said in str(error.value)


def test_without_art_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name == "art" or name.startswith("art.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "art", None)  # type: ignore[arg-type]
    with pytest.raises(IntsimError, match=r"pip install intsim\[art\]"):
        craft(find("art:SquareAttack"), peers.network, X, Y, 8)


def test_a_network_with_gradients_is_no_black_box_to_art(fake: type) -> None:
    from intsim.attack import art

    assert door.torch() is torch
    assert art._estimator(peers.network, FLOATS)[0] == "torch"
    asked = art._estimator(black_box(lambda p: np.zeros((len(p), 4))), FLOATS)
    assert asked == ("black box", {"input_shape": peers.SHAPE, "nb_classes": 4, "clip_values": (0.0, 1.0)})
