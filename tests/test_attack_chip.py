"""Attacks that know the chip ask it what it says, spend what they say, and find what enumeration finds."""

import itertools
from collections.abc import Callable

import attack_peers as peers
import msgspec
import numpy as np
import pytest
import torch
from float_graphs import plain
from msgspec.structs import replace

from intsim import engine
from intsim.attack.catalogue import ATTACKS, Attack
from intsim.attack.chip import Chip
from intsim.attack.craft import craft
from intsim.attack.losses import OF_VALUES
from intsim.attack.queries import side
from intsim.attack.twin import Network, twin
from intsim.build import build
from intsim.errors import IntsimError
from intsim.evaluate import Evaluation, evaluate
from intsim.evaluate.known import chip_of, widened
from intsim.evaluate.records import CLEAN, FLOAT, bits
from intsim.evaluate.verdict import KNOWN, curves
from intsim.graph import Graph
from intsim.integers import Overflow
from intsim.program import Program
from intsim.report import render, results
from intsim.targets import TARGETS, with_accumulator

pytestmark = pytest.mark.usefixtures("one_thread")

KNOWING = [name for name, attack in ATTACKS.items() if attack.knows == "chip" and attack.loss not in OF_VALUES]
N = 24
GRAPH = plain()
X = np.random.default_rng(5).integers(0, 256, (N, 1, 6, 6), dtype=np.uint8)
NARROW = with_accumulator(TARGETS["ideal"], 15, Overflow.WRAP)


def answers(network: Network, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(x / np.float32(255))).numpy()


Y = answers(twin(GRAPH), X).argmax(1)


@pytest.fixture(scope="module")
def program() -> Program:
    return build(GRAPH, NARROW, calibration=X)


@pytest.fixture(scope="module")
def chip(program: Program) -> Chip:
    return chip_of(program, engine.run, GRAPH, "plain on narrow")


def short(name: str) -> Attack:
    attack = ATTACKS[name]
    return replace(attack, steps=min(attack.steps, 60 if attack.search != "gradient" else 8))


# ---- a program as a chip ----------------------------------------------------------------------------------------


def test_the_sums_are_those_of_the_program_before_its_register(program: Program, chip: Chip) -> None:
    """Wrapped, they are the accumulators; outside the register are as many as the engine counts as lost."""
    assert chip.sums is not None
    sums = chip.sums(X)
    outputs = {step.name: step.outputs[0] for step in program.steps}
    run = engine.run(program, X, trace=tuple(f"{outputs[name]}:accumulator" for name in sums), count=True)
    lost = 0
    for name, exact in sums.items():
        low, high = chip.registers[name]
        assert (low, high) == (-(1 << 14), (1 << 14) - 1)
        held = (exact - low) % (1 << 15) + low
        np.testing.assert_array_equal(held, run.traced[f"{outputs[name]}:accumulator"])
        assert ((exact < low) | (exact > high)).sum() == run.overflows[name].persistent
        lost += run.overflows[name].persistent
    assert set(sums) == {"conv_0", "gemm_4"}
    assert lost > 0


def test_the_float_network_has_the_same_sums_in_its_own_unit(chip: Chip) -> None:
    assert chip.inner is not None
    assert chip.sums is not None
    logits, layers = chip.inner(torch.from_numpy(X / np.float32(255)))
    np.testing.assert_array_equal(logits.detach().numpy(), answers(twin(GRAPH), X))
    wide = chip.sums(X)["conv_0"]
    np.testing.assert_allclose(layers["conv_0"].detach().numpy() / chip.units["conv_0"], wide, atol=600)
    assert np.abs(wide).max() > 1e4


def test_a_widened_program_loses_nothing(program: Program) -> None:
    counted = engine.run(widened(program), X, count=True).overflows
    assert not any(count.outputs for count in counted.values())
    full = build(GRAPH, TARGETS["ideal"], calibration=X)
    for name, integers in engine.run(full, X).integers.items():
        np.testing.assert_array_equal(engine.run(widened(program), X).integers[name], integers)


# ---- every attack ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", KNOWING)
def test_images_are_on_the_grid_in_the_ball_and_repeat(name: str, chip: Chip) -> None:
    attack = short(name)
    first = craft(attack, twin(GRAPH), X, Y, 8, chip=chip)
    assert first.dtype == np.uint8
    assert 0 < np.abs(first.astype(int) - X).max() <= 8
    for other in ({"batch": 7}, {}):
        np.testing.assert_array_equal(first, craft(attack, twin(GRAPH), X, Y, 8, chip=chip, **other))
    np.testing.assert_array_equal(first[:9], craft(attack, twin(GRAPH), X[:9], Y[:9], 8, chip=chip))
    np.testing.assert_array_equal(craft(attack, twin(GRAPH), X, Y, 0, chip=chip), X)


@pytest.mark.parametrize("name", KNOWING)
def test_an_attack_spends_what_it_says(name: str, chip: Chip, monkeypatch: pytest.MonkeyPatch) -> None:
    attack, network = short(name), twin(GRAPH)
    spent = {"gradients": 0, "queries": 0, "chip_queries": 0}
    inner, answer, sums = chip.inner, chip.answer, chip.sums
    assert inner is not None
    assert sums is not None

    def asking(ask: Callable, of: str) -> Callable:
        def asked(x):
            spent[of] += len(x)
            return ask(x)

        return asked

    watched = replace(
        chip,
        answer=asking(answer, "chip_queries"),
        sums=asking(sums, "chip_queries"),
        inner=asking(inner, "queries"),
    )
    grad = torch.autograd.grad

    def counted(of, by, *rest, **how):
        first = by[0] if isinstance(by, (list, tuple)) else by
        spent["gradients"] += len(first) if first.ndim == 4 else 0  # those by pixels
        return grad(of, by, *rest, **how)

    monkeypatch.setattr(torch.autograd, "grad", counted)
    craft(attack, asking(network, "queries"), X, Y, 3, chip=watched)
    most = {cost: N * getattr(attack, cost) for cost in spent}
    if attack.keep == "first":
        assert 0 < spent["chip_queries"] <= most["chip_queries"]
        assert spent["gradients"] == spent["queries"] == most["queries"] == 0
    else:
        assert spent == most


@pytest.mark.parametrize("name", KNOWING)
def test_without_a_chip_they_are_refused(name: str) -> None:
    with pytest.raises(IntsimError, match="asks a chip"):
        craft(ATTACKS[name], twin(GRAPH), X, Y, 8)


@pytest.mark.parametrize(
    "fields",
    [
        {"loss": "diva"},
        {"success": "evasive"},
        {"search": "square", "keep": "first"},
        {"search": "rays", "keep": "first", "knows": "chip", "norm": "l2"},
        {"search": "rays", "keep": "worst", "knows": "chip"},
        {"loss": "evasive", "knows": "chip", "towards": "given"},
    ],
)
def test_fields_that_do_not_go_together_are_refused(fields: dict) -> None:
    with pytest.raises(IntsimError, match="odd"):
        Attack(name="odd", **fields)


def test_overflow_seeking_needs_the_sums(chip: Chip) -> None:
    with pytest.raises(IntsimError, match="tells nothing of its sums"):
        craft(ATTACKS["overflow"], twin(GRAPH), X, Y, 8, chip=replace(chip, sums=None))


@pytest.mark.parametrize(("plain_name", "loss"), [("pgd", "cross_entropy"), ("pgd_margin", "margin")])
def test_straight_through_a_chip_that_is_the_float_network_is_pgd(plain_name: str, loss: str) -> None:
    x = np.round(255 * peers.X).astype(np.uint8)
    same = Chip(name="float", answer=lambda images: answers(peers.network, images))
    alike = replace(ATTACKS[plain_name], steps=10, restarts=1)
    ours = replace(alike, knows="chip", loss=loss)
    one, other = (craft(a, peers.network, x, peers.Y, 20, chip=same) for a in (alike, ours))
    np.testing.assert_array_equal(one, other)


def test_straight_through_attacks_the_chip_and_not_float() -> None:
    """A chip that reads the image upside down: the gradient is float's, the answer that counts the chip's own."""
    x = np.round(255 * peers.X).astype(np.uint8)
    chip = Chip(name="shifted", answer=lambda images: np.roll(answers(peers.network, images), 1, axis=1))
    y = np.roll(answers(peers.network, x), 1, axis=1).argmax(1)
    found = craft(ATTACKS["ste_pgd"], peers.network, x, y, 20, chip=chip)
    seen = (chip.answer(found).argmax(1) != y).mean()
    transferred = craft(ATTACKS["pgd"], peers.network, x, y, 20)
    assert seen >= (chip.answer(transferred).argmax(1) != y).mean()


# ---- searches without gradients ---------------------------------------------------------------------------------


def linear(weights: np.ndarray, clean: np.ndarray, gain: int) -> Chip:
    """Two classes; the second wins once the weighted pixels have grown by more than `gain`."""

    def answer(images: np.ndarray) -> np.ndarray:
        grown = (images.astype(np.int64) - clean).reshape(len(images), -1) @ weights
        return np.stack([np.full_like(grown, gain), grown], 1)

    return Chip(name="linear", answer=answer)


def test_square_finds_the_only_vertex_that_wins() -> None:
    weights = np.random.default_rng(1).integers(1, 9, 36) * np.random.default_rng(2).choice([-1, 1], 36)
    clean = np.full((1, 1, 6, 6), 128, np.uint8)
    best = 5 * np.abs(weights).sum()
    attack, y = ATTACKS["square_chip"], np.zeros(1, np.int64)
    chip = linear(weights, clean, int(best) - 1)
    found = craft(attack, peers.network, clean, y, 5, chip=chip)
    np.testing.assert_array_equal(found.astype(int) - clean, 5 * np.sign(weights).reshape(clean.shape))
    beyond = craft(attack, peers.network, clean, y, 5, chip=linear(weights, clean, int(best)))
    assert chip.answer(beyond).argmax(1) == 0 or np.array_equal(beyond, found)


def test_rays_finds_the_shortest_ray_by_labels_alone() -> None:
    weights = np.repeat([1, -1, -1, 1], 9)
    clean = np.full((1, 1, 6, 6), 128, np.uint8)
    y, attack = np.zeros(1, np.int64), ATTACKS["label_chip"]
    for radius in (3, 7):
        chip = linear(weights, clean, 36 * radius - 1)
        found = craft(attack, peers.network, clean, y, radius, chip=chip)
        np.testing.assert_array_equal(found.astype(int) - clean, radius * weights.reshape(clean.shape))
        nearer = craft(attack, peers.network, clean, y, radius - 1, chip=chip)
        assert (chip.answer(nearer).argmax(1) == 0).all()


def test_squares_shrink_as_in_the_paper() -> None:
    assert [side(question, 10000, 28, 28) for question in (0, 11, 51, 201, 501, 1001, 9999)] == [25, 18, 13, 9, 6, 4, 1]
    assert side(999, 1000, 6, 6) == 1


# ---- what enumeration knows --------------------------------------------------------------------------------------

LOW, HIGH, RADIUS = -(1 << 9), (1 << 9) - 1, 6
WEIGHTS = np.array([[3, -1], [-2, 3]], np.int64)


def both(x: torch.Tensor) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    sums = (x * 255).flatten(1) @ torch.from_numpy(WEIGHTS).T.float()
    return sums + 0, {"sums": sums}


def exact(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.int64) @ WEIGHTS.T


def everywhere(x: np.ndarray) -> np.ndarray:
    """All images[m, 1, 1, 2] within RADIUS of one."""
    near = [range(max(0, int(p) - RADIUS), min(255, int(p) + RADIUS) + 1) for p in x.ravel()]
    return np.array(list(itertools.product(*near)), np.uint8).reshape(-1, 1, 1, 2)


def tiny(answer: Callable[[np.ndarray], np.ndarray]) -> Chip:
    return Chip(
        name="tiny",
        answer=answer,
        sums=lambda images: {"sums": exact(images)},
        registers={"sums": (LOW, HIGH)},
        inner=both,
        units={"sums": np.ones(1)},
    )


def coarse(images: np.ndarray) -> np.ndarray:
    return exact(images) // 100


def wrapped(images: np.ndarray) -> np.ndarray:
    return (exact(images) - LOW) % (HIGH - LOW + 1) + LOW


@pytest.mark.parametrize(("name", "answer"), [("evasive", coarse), ("diva", coarse), ("overflow", wrapped)])
def test_what_enumeration_finds_is_found(name: str, answer: Callable[[np.ndarray], np.ndarray]) -> None:
    """Float right and the chip wrong: on a chip of coarse logits, and on one whose sums wrap."""
    x = np.random.default_rng(3).integers(0, 256, (500, 1, 1, 2), dtype=np.uint8)
    y = exact(x).argmax(1)
    usable = answer(x).argmax(1) == y
    x, y = x[usable], y[usable]

    def evades(images: np.ndarray, label: np.ndarray) -> np.ndarray:
        return (exact(images).argmax(1) == label) & (answer(images).argmax(1) != label)

    possible = np.array([evades(everywhere(one), label).any() for one, label in zip(x, y, strict=True)])
    attack = replace(ATTACKS[name], temperature=100.0 if name == "diva" else 1.0)
    found = evades(craft(attack, lambda p: both(p)[0], x, y, RADIUS, chip=tiny(answer)), y)
    assert not (found & ~possible).any()
    assert 15 <= possible.sum() < len(x)
    assert found.sum() >= {"overflow": 1.0, "evasive": 0.9, "diva": 0.6}[name] * possible.sum()


def test_no_overflow_is_found_where_there_is_none() -> None:
    x = np.random.default_rng(4).integers(100, 110, (20, 1, 1, 2), dtype=np.uint8)
    chip = replace(tiny(exact), registers={})
    found = craft(short("overflow"), lambda p: both(p)[0], x, exact(x).argmax(1), RADIUS, chip=chip)
    assert np.abs(found.astype(int) - x).max() <= RADIUS


# ---- crafted on the column, judged on the row --------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> Evaluation:
    attacks = [replace(ATTACKS["pgd"], steps=3), replace(ATTACKS["ste_pgd"], steps=3)]
    return evaluate(GRAPH, ["cmsis_nn_s8", NARROW], data=(X, Y), attacks=attacks, eps="8/255", calibration=X)


def test_every_chip_is_crafted_on_and_every_judge_judges(found: Evaluation) -> None:
    judges = {row.who for row in found.rows}
    matrix = {(row.crafted_on, row.who) for row in found.rows if row.attack == "ste_pgd"}
    crafted = {on for on, _ in matrix}
    assert crafted == {who for who in judges if not who.endswith(("float", "float null", "fake-quant"))}
    assert matrix == set(itertools.product(crafted, judges))
    assert {row.crafted_on for row in found.rows if row.attack != "ste_pgd"} == {FLOAT}
    assert {attack.name: attack.knows for attack in found.attacks}["ste_pgd"] == "chip"


def test_the_verdict_says_what_an_attacker_who_knows_the_chip_leaves(found: Evaluation) -> None:
    assert KNOWN in found.verdict
    own = [row for row in found.rows if row.who.endswith(NARROW.name)]
    (left,) = [one.upper for one in found.brackets if one.target == NARROW.name and one.eps_steps == 8]
    assert left.count == sum(all(bits(row)[i] for row in own) for i in range(N))
    assert left.count <= min(row.correct for row in own)
    said = [one for one in found.verdict if "an attacker who knows it" in one]
    assert len(said) == len({row.crafted_on for row in found.rows}) - 1 or any("collapsed" in v for v in found.verdict)


def test_images_of_other_chips_stay_out_of_curves_and_of_what_was_transferred(found: Evaluation) -> None:
    assert {curve.attack for curve in found.curves} == {"noise", "pgd"}
    assert curves(found.rows) == list(found.curves)


def test_the_record_goes_through_json_and_is_drawn(found: Evaluation) -> None:
    read = msgspec.json.decode(msgspec.json.encode(found), type=Evaluation)
    assert read == found
    assert msgspec.json.decode(msgspec.json.encode(results(found)), type=type(results(found))).rows == found.rows
    page = render(results(found))
    assert "crafted on" in page


def test_older_records_are_those_of_attacks_on_float(found: Evaluation) -> None:
    older = msgspec.to_builtins([row for row in found.rows if row.attack == CLEAN])
    for row in older:
        del row["crafted_on"]
    assert all(row.crafted_on == FLOAT for row in msgspec.convert(older, list[type(found.rows[0])]))


def test_only_attacks_that_know_the_chip_make_a_whole_evaluation() -> None:
    graph: Graph = GRAPH
    one = replace(ATTACKS["square_chip"], steps=5)
    alone = evaluate(graph, "cmsis_nn_s8", data=(X, Y), attacks=one, eps="8/255", calibration=X, null=False)
    assert render(results(alone))
