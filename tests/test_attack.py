"""Attacked images lie on the grid, in the ball, are the same for the same seed, and are worse than noise."""

import sys
import types
from collections.abc import Callable

import numpy as np
import pytest
import torch
from float_graphs import Draft
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from intsim.attack.catalogue import ATTACKS, NOISE, Attack, find, pixel_steps
from intsim.attack.craft import ball, craft, verify
from intsim.attack.losses import LOSSES, OF_VALUES
from intsim.attack.norms import NORMS
from intsim.attack.twin import Network, twin
from intsim.errors import IntsimError
from intsim.normalise import normalise
from intsim.onnx_io import read
from intsim_models import images, path

pytestmark = pytest.mark.usefixtures("one_thread")

N = 60
SHIPPED = images()
X, Y = SHIPPED.x[:N], SHIPPED.y[:N].astype(np.int64)
ON_FLOAT = [name for name, attack in ATTACKS.items() if attack.knows == "float" and attack.loss not in OF_VALUES]


@pytest.fixture(scope="module")
def networks() -> dict[str, Network]:
    return {name: twin(normalise(read(path(name)))[0]) for name in ("mlp", "cnn")}


@pytest.fixture(scope="module")
def network(networks: dict[str, Network]) -> Network:
    return networks["mlp"]


def right(network: Network, x: np.ndarray, y: np.ndarray = Y, levels: int = 255) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(x.astype(np.float32) / np.float32(levels))).argmax(1).numpy() == y


def steps_of(attack: Attack) -> float:
    """A strength at which the attack does something: 8/255, and in L2 as long as that in a fifth of the pixels."""
    return 8.0 if attack.norm == "linf" else 100.0


def of_catalogue(name: str) -> Attack:
    """The attack, and of the long ones a short form: the loop is the same."""
    attack = ATTACKS[name]
    return replace(attack, steps=min(attack.steps, 20), classes=min(attack.classes, 2))


# ---- every attack of the catalogue -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ON_FLOAT)
def test_images_are_on_the_grid_and_in_the_ball(name: str, network: Network) -> None:
    attack = of_catalogue(name)
    assert attack.name == name
    crafted = craft(attack, network, X, Y, steps_of(attack))
    assert crafted.dtype == np.uint8
    assert crafted.shape == X.shape
    moved = crafted.astype(np.int64) - X
    if attack.norm == "linf":
        assert np.abs(moved).max() == 8
    else:
        squares = (moved**2).reshape(N, -1).sum(axis=1)
        assert squares.max() <= 100**2
        # One step is cut where pixels end, and not made longer for it; everything else uses the whole radius.
        assert np.median(squares) > (0.3 if attack.steps == 1 else 0.97) * 100**2
    # The ratio of dlr is flat where the label comes third or later: those images are wrong already.
    attacked = (moved.reshape(N, -1) != 0).any(axis=1)
    assert (attacked | (~right(network, X) if attack.loss == "dlr" else False)).all()


@pytest.mark.parametrize("name", ON_FLOAT)
def test_the_same_seed_gives_the_same_bits_whatever_the_batch(name: str, network: Network) -> None:
    attack = of_catalogue(name)
    first = craft(attack, network, X, Y, steps_of(attack), seed=3)
    np.testing.assert_array_equal(first, craft(attack, network, X, Y, steps_of(attack), seed=3))
    np.testing.assert_array_equal(first, craft(attack, network, X, Y, steps_of(attack), seed=3, batch=17))
    np.testing.assert_array_equal(first[:20], craft(attack, network, X[:20], Y[:20], steps_of(attack), seed=3))
    other = craft(attack, network, X, Y, steps_of(attack), seed=4)
    assert np.array_equal(first, other) == (attack.start == "clean")


@pytest.mark.parametrize("name", ON_FLOAT)
def test_a_radius_of_nothing_changes_nothing(name: str, network: Network) -> None:
    np.testing.assert_array_equal(craft(ATTACKS[name], network, X, Y, 0.0), X)


@pytest.mark.parametrize(
    "name", [name for name in ON_FLOAT if ATTACKS[name].success == "wrong" and name not in NOISE.values()]
)
def test_attacks_are_worse_than_noise_of_their_radius(name: str, network: Network) -> None:
    attack = of_catalogue(name)
    noise = craft(ATTACKS[NOISE[attack.norm]], network, X, Y, steps_of(attack))
    attacked = craft(attack, network, X, Y, steps_of(attack))
    assert right(network, attacked).sum() < right(network, noise).sum() - 5


def test_random_state_and_threads_outside_are_left_alone(network: Network) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    threads = torch.get_num_threads()
    craft(ATTACKS["pgd"], network, X[:5], Y[:5], 4)
    assert torch.equal(torch.rand(3), expected)
    assert torch.get_num_threads() == threads


# ---- which attack is stronger ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps"), [("mlp", 2.0), ("mlp", 8.0), ("cnn", 4.0)])
def test_more_steps_are_at_least_as_strong(name: str, steps: float, networks: dict[str, Network]) -> None:
    net, few = networks[name], slice(0, 30 if name == "cnn" else N)
    counts = [
        right(net, craft(ATTACKS[attack], net, X[few], Y[few], steps), Y[few]).sum()
        for attack in ("noise", "fgsm", "pgd", "pgd_margin")
    ]
    assert counts == sorted(counts, reverse=True)
    assert counts[0] > counts[-1] + 2


def test_a_larger_radius_leaves_less(network: Network) -> None:
    for name in ("fgsm", "pgd", "pgd_l2"):
        factor = steps_of(ATTACKS[name]) / 8
        counts = [right(network, craft(ATTACKS[name], network, X, Y, factor * e)).sum() for e in (1, 4, 16)]
        assert counts[0] > counts[1] > counts[2]


def test_restarts_keep_the_worst_of_each_image(network: Network) -> None:
    # The first restart of two is the only one of one: with two, every image is at least as bad.
    one = craft(ATTACKS["pgd"], network, X, Y, 4)
    two = craft(replace(ATTACKS["pgd"], restarts=2), network, X, Y, 4)

    def badness(x: np.ndarray) -> list[tuple[bool, float]]:
        logits = network(torch.from_numpy(x.astype(np.float32) / np.float32(255)))
        loss = LOSSES["cross_entropy"](logits, torch.from_numpy(Y)).tolist()
        return list(zip((logits.argmax(1).numpy() != Y).tolist(), loss, strict=True))

    pairs = list(zip(badness(one), badness(two), strict=True))
    assert all(after >= before for before, after in pairs)
    assert any(after > before for before, after in pairs)


def test_fgsm_is_one_sign_step_of_the_gradient(network: Network) -> None:
    pixels = torch.from_numpy(X.astype(np.float32) / np.float32(255)).requires_grad_()
    torch.nn.functional.cross_entropy(network(pixels).double(), torch.from_numpy(Y), reduction="sum").backward()
    expected = np.clip(X + 8 * np.sign(pixels.grad.numpy()), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(craft(ATTACKS["fgsm"], network, X, Y, 8), expected)


def test_the_l2_step_follows_the_gradient_to_the_edge() -> None:
    weight = torch.tensor([[0.0, 3.0, 4.0], [0.0, 0.0, 0.0]])

    def network(x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1) @ weight.T

    x = np.full((1, 1, 1, 3), 100, np.uint8)
    crafted = craft(ATTACKS["fgsm_l2"], network, x, np.array([1]), 50)
    np.testing.assert_array_equal(crafted[0, 0, 0], [100, 130, 140])


# ---- losses ----------------------------------------------------------------------------------------------------


def large_logits(scale: float) -> Network:
    """A network of three classes whose logits are `scale` times what they need to be."""
    weight = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 16)).astype(np.float32))
    return lambda x: scale * (x.flatten(1).to(torch.float32) @ weight.T)


@pytest.mark.parametrize("scale", [1.0, 100.0, 1e4])
def test_large_logits_do_not_misdirect_cross_entropy(scale: float) -> None:
    rng = np.random.default_rng(1)
    x, network = rng.integers(60, 200, (40, 1, 4, 4), dtype=np.uint8), large_logits(scale)
    small = large_logits(1.0)
    with torch.no_grad():
        y = small(torch.from_numpy(x / np.float32(255))).argmax(1).numpy()
    crafted = craft(ATTACKS["fgsm"], network, x, y, 10).astype(np.int64) - x
    if scale == 1.0:  # the textbook's formula, in float64
        pixels = torch.from_numpy(x / 255.0).requires_grad_()
        torch.nn.functional.cross_entropy(network(pixels).double(), torch.from_numpy(y), reduction="sum").backward()
        np.testing.assert_array_equal(crafted, 10 * np.sign(pixels.grad.numpy()))
        return
    # For logits this large, cross entropy is the margin to the strongest of the other classes.
    margin = craft(ATTACKS["fgsm_margin"], network, x, y, 10).astype(np.int64) - x
    assert (crafted == margin).mean() > 0.99
    # The textbook's formula in float32 has no gradient left for most of these images, or a wrong one.
    pixels = torch.from_numpy(x / np.float32(255)).requires_grad_()
    torch.nn.functional.cross_entropy(network(pixels), torch.from_numpy(y), reduction="sum").backward()
    textbook = 10 * np.sign(pixels.grad.numpy())
    assert (textbook != margin).any(axis=(1, 2, 3)).mean() > 0.5


def test_the_cross_entropy_attacked_grows_with_cross_entropy() -> None:
    logits, y = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 10
    ours = LOSSES["cross_entropy"](logits, y)
    theirs = torch.nn.functional.cross_entropy(logits.double(), y, reduction="none")
    assert ours.dtype == torch.float64
    torch.testing.assert_close(torch.nn.functional.softplus(ours), theirs)


def test_the_margin_is_positive_where_the_answer_is_wrong() -> None:
    logits, y = torch.randn(200, 10, generator=torch.Generator().manual_seed(0)), torch.arange(200) % 10
    assert torch.equal(LOSSES["margin"](logits, y) > 0, logits.argmax(1) != y)


# ---- grids -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("grid", "kind", "whole"), [(15, np.uint8, 1), (1023, np.uint16, 68)])
@pytest.mark.parametrize("name", ["fgsm", "pgd", "pgd_l2", "noise"])
def test_another_camera_has_another_grid(name: str, grid: int, kind: type, whole: int, network: Network) -> None:
    attack, steps = ATTACKS[name], 17.0 if ATTACKS[name].norm == "linf" else 200.0
    x = np.round(X.astype(np.float64) * grid / 255).astype(kind)
    crafted = craft(attack, network, x, Y, steps, grid=grid)
    assert crafted.dtype == kind
    assert crafted.max() <= grid
    moved = crafted.astype(np.int64) - x
    if attack.norm == "linf":
        assert np.abs(moved).max() == whole
    else:
        assert (moved**2).reshape(N, -1).sum(1).max() <= (steps * grid / 255) ** 2
        assert moved.any()
    assert right(network, crafted, levels=grid).sum() <= right(network, x, levels=grid).sum()


@pytest.mark.parametrize("name", ["fgsm", "pgd", "fgsm_l2", "noise"])
def test_without_a_grid_images_are_floats_in_the_ball(name: str, network: Network) -> None:
    attack, x = ATTACKS[name], X.astype(np.float32) / np.float32(255)
    crafted = craft(attack, network, x, Y, steps_of(attack), grid=None)
    assert crafted.dtype == np.float32
    length = NORMS[attack.norm].length(crafted.astype(np.float64) - x)
    assert length.max() <= steps_of(attack) / 255 * (1 + 1e-5)
    assert length.max() > (0.99 if name != "fgsm_l2" else 0.6) * steps_of(attack) / 255
    assert (crafted >= 0).all()
    assert (crafted <= 1).all()


def test_a_radius_between_two_steps_is_the_lower_one(network: Network) -> None:
    np.testing.assert_array_equal(
        craft(ATTACKS["fgsm"], network, X, Y, 25.5), craft(ATTACKS["fgsm"], network, X, Y, 25)
    )
    assert ball("linf", pixel_steps("0.1")).radius == 25
    np.testing.assert_array_equal(craft(ATTACKS["pgd"], network, X, Y, 0.9), X)


def test_every_whole_strength_survives_its_trip_through_fractions() -> None:
    for steps in range(1, 256):
        assert pixel_steps(f"{steps}/255") == pixel_steps(steps / 255) == steps
        assert ball("linf", 255 * (steps / 255)).radius == steps
        assert ball("linf", 255.0 * float(f"{steps / 255:.17g}")).radius == steps


@pytest.mark.parametrize(
    ("eps", "said"),
    [
        ("", '"" is no radius: write 8/255, or 0.03'),
        ("eight", '"eight" is no radius: write'),
        ("8/0", '"8/0" is no radius'),
        ("1/2/3", "is no radius"),
        (None, '"None" is no radius'),
        ("-1/255", "-1/255 is negative: write 8/255"),
        (-0.1, "-0.1 is negative: write 8/255"),
        ("nan", "nan is not finite"),
        (float("nan"), "nan is not finite"),
        ("inf", "inf is not finite"),
        ("1e999999999", "is not finite"),
        (0, "0 leaves the images as they are"),
        ("8", "8 means 2040/255, more than all of a pixel's range: did you mean 8/255?"),
        (8, "8 means 2040/255, more than all of a pixel's range: did you mean 8/255?"),
        ("300/255", "300/255 means 300/255, more than all of a pixel's range: an L-inf radius is at most 1"),
        (0.003, "0.003 is below one step of the camera's grid: give 1/255 or more"),
        ("0.5/255", "0.5/255 is below one step of the camera's grid: give 1/255 or more"),
    ],
)
def test_what_is_no_radius_is_refused_as_a_word_and_as_a_number(eps: str | float, said: str) -> None:
    with pytest.raises(IntsimError) as error:
        pixel_steps(eps)
    assert str(error.value).startswith("eps: ")
    assert said in str(error.value)


def test_which_radius_is_one_depends_on_the_norm_and_the_grid() -> None:
    assert pixel_steps(1) == pixel_steps("1") == 255
    assert pixel_steps("8", "l2") == pixel_steps(8, "l2") == 2040
    assert pixel_steps("0.5/255", grid=1023) == pixel_steps("0.5/255", grid=None) == 0.5
    with pytest.raises(IntsimError, match="give 1/15 or more"):
        pixel_steps("8/255", grid=15)
    for grid in (15, 255, 1023):
        steps = pixel_steps(f"1/{grid}", grid=grid)
        assert ball("linf", steps, grid).radius == 1


@given(
    st.lists(st.floats(-40, 40, allow_nan=False), min_size=1, max_size=30),
    st.floats(0.1, 60),
)
def test_rounding_in_the_l2_ball_stays_in_it_and_near(values: list[float], radius: float) -> None:
    delta = NORMS["l2"].project(torch.tensor([values], dtype=torch.float64), radius)
    rounded = NORMS["l2"].round(delta, radius)
    assert torch.equal(rounded, rounded.round())
    assert int(rounded.square().sum()) <= radius**2 * (1 + 1e-12)
    assert (rounded - delta).abs().max() < 1
    nearest = NORMS["linf"].round(delta, radius)
    if float(nearest.square().sum()) <= radius**2:
        assert torch.equal(rounded, nearest)


@pytest.mark.parametrize("norm", NORMS)
def test_random_starts_fill_the_ball(norm: str) -> None:
    hooks, rng = NORMS[norm], np.random.default_rng(0)
    inside = np.stack([hooks.inside(rng, (2, 2), 5.0) for _ in range(4000)])
    edge = np.stack([hooks.edge(rng, (2, 2), 5.0) for _ in range(200)])
    lengths = hooks.length(inside)
    assert lengths.max() <= 5
    # A uniform draw from a ball of dimension 4 lies within half the radius with probability 1/16.
    assert (lengths <= 2.5).mean() == pytest.approx(1 / 16, abs=0.012)
    assert np.abs(inside.mean(axis=0)).max() < 0.2
    np.testing.assert_allclose(hooks.length(edge), 5.0)


# ---- what must never be scored -----------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", NORMS)
def test_an_image_outside_the_ball_is_never_scored(norm: str) -> None:
    steps = 4.0 if norm == "linf" else 8.0
    moved = X.astype(np.int64)
    moved[7, 0, 10:12, 10:12] += np.where(X[7, 0, 10:12, 10:12] < 128, 4, -4)
    inside = moved.astype(np.uint8)
    verify("mine", X, inside, ball(norm, steps))
    moved[7, 0, 10, 10] += np.sign(moved[7, 0, 10, 10] - int(X[7, 0, 10, 10]))
    with pytest.raises(IntsimError, match="attack mine: moved image 7 by"):
        verify("mine", X, moved.astype(np.uint8), ball(norm, steps))


@pytest.mark.parametrize(
    ("x", "y", "steps", "grid", "said"),
    [
        (X.astype(np.float32), Y, 8, 255, "x: is float32"),
        (X, Y, 8, None, "x: is uint8"),
        (X, Y, 8, 15, "x: runs from 0 to 255, not from 0 to 15"),
        (X, Y[:5], 8, 255, "y: int64 (5,) for 60 images"),
        (X, Y.astype(float), 8, 255, "attack fgsm: raises cross_entropy, which is of classes"),
        (X, Y[:5].astype(float), 8, 255, "y: 5 labels for 60 images"),
        (X, Y.astype(bool), 8, 255, "y: bool"),
        (X, Y, -1, 255, "eps: -1 is no strength"),
        (X, Y, np.nan, 255, "eps: nan is no strength"),
    ],
)
def test_what_does_not_fit_is_refused(
    x: np.ndarray, y: np.ndarray, steps: float, grid: int | None, said: str, network: Network
) -> None:
    with pytest.raises(IntsimError) as error:
        craft(ATTACKS["fgsm"], network, x, y, steps, grid=grid)
    assert said in str(error.value)


# ---- attacks of one's own ------------------------------------------------------------------------------------------


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Callable[[object], str]:
    """Puts a thing where "own_attacks:it" finds it."""

    def put(thing: object) -> str:
        module = types.ModuleType("own_attacks")
        module.it = thing
        monkeypatch.setitem(sys.modules, "own_attacks", module)
        return "own_attacks:it"

    return put


def sign_step(network: Network, x: torch.Tensor, y: torch.Tensor, eps: float) -> torch.Tensor:
    x = x.detach().requires_grad_()
    torch.nn.functional.cross_entropy(network(x).double(), y, reduction="sum").backward()
    return (x + eps * x.grad.sign()).clamp(0, 1)


def test_a_function_of_ones_own_is_an_attack(network: Network, own: Callable[[object], str]) -> None:
    attack = find(own(sign_step))
    assert (attack.name, attack.norm) == ("own_attacks:it", "linf")
    np.testing.assert_array_equal(craft(attack, network, X, Y, 8), craft(ATTACKS["fgsm"], network, X, Y, 8))


def test_a_record_of_ones_own_is_an_attack(network: Network, own: Callable[[object], str]) -> None:
    mine = Attack(name="mine", norm="l2", steps=3, step_size=0.5)
    assert find(own(mine)) == mine
    crafted = craft(find(own(mine)), network, X, Y, 60).astype(np.int64) - X
    assert 0 < (crafted**2).reshape(N, -1).sum(1).max() <= 3600


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (lambda network, x, y, eps: (x + 2 * eps).clamp(0, 1), "moved an image by"),
        (lambda network, x, y, eps: x + eps, "moved"),
        (lambda network, x, y, eps: x * float("nan"), "not finite"),
        (lambda network, x, y, eps: x[:1], "gave float32 (1, 1, 28, 28)"),
        (lambda network, x, y, eps: (255 * x).to(torch.uint8), "gave uint8"),
    ],
)
def test_a_function_that_breaks_the_rules_is_never_scored(
    function: object, said: str, network: Network, own: Callable[[object], str]
) -> None:
    attack = find(own(function))
    if said == "moved":  # x + eps leaves 0..1 but not the ball: it is cut, not refused
        crafted = craft(attack, network, X, Y, 8)
        np.testing.assert_array_equal(crafted, np.minimum(X.astype(int) + 8, 255))
        return
    with pytest.raises(IntsimError) as error:
        craft(attack, network, X, Y, 8)
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("pgg", 'no attack is called "pgg": did you mean pgd'),
        ("nowhere_at_all:it", "attack nowhere_at_all:it: cannot be imported"),
        ("math:nothing", "attack math:nothing: cannot be imported"),
        ("math:pi", "attack math:pi: is float"),
    ],
)
def test_an_attack_that_there_is_not_is_refused(name: str, said: str) -> None:
    with pytest.raises(IntsimError) as error:
        find(name)
    assert said in str(error.value)


def test_a_record_that_makes_no_sense_is_refused() -> None:
    with pytest.raises(IntsimError, match="odd"):
        Attack(name="odd", steps=-1)


def test_progress_is_told_after_each_batch(network: Network) -> None:
    seen: list[int] = []
    craft(ATTACKS["fgsm"], network, X, Y, 8, batch=25, progress=seen.append)
    assert seen == [25, 50, 60]


def test_images_too_few_for_anything_give_nothing(network: Network) -> None:
    assert craft(ATTACKS["pgd"], network, X[:0], Y[:0], 8).shape == (0, 1, 28, 28)


def test_an_attack_goes_through_a_network_built_by_hand() -> None:
    d = Draft(0, image=(2, 4, 4))
    net = twin(d.graph(d.gemm(d.flatten(d.same("Relu", d.conv("image", 3, pad=1))), 3)))
    x = np.random.default_rng(0).integers(0, 256, (30, 2, 4, 4), dtype=np.uint8)
    y = np.arange(30) % 3
    crafted = craft(ATTACKS["pgd"], net, x, y, 20)
    assert np.abs(crafted.astype(int) - x).max() == 20
