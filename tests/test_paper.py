"""The replication of docs/paper.md: its quantizers, training, attacks, statistics, machines and page."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from paper import analytic, attack, deploy, figures, measure, page, results, stats, store
from paper.data import Data, pixels
from paper.network import Network, codes, denominator, in_torch, permuted, rounded, storage_bits
from paper.plan import EPS, FGSM, FULL, LOSSES, PGD, STEPS, Plan, Spec, specs
from paper.train import initial, train

from intsim import engine, oracle
from intsim.attack.catalogue import ATTACKS
from intsim.attack.craft import craft
from intsim.check import check
from intsim.errors import IntsimError

TINY = Plan(
    seeds=2,
    claim_seeds=2,
    bits=(1, 2),
    models=("mlp",),
    families=("trained", "rounded"),
    images=60,
    pgd_images=6,
    square_images=4,
    square_queries=20,
    epochs=2,
    draws=20,
)


@pytest.fixture(scope="module")
def data() -> Data:
    """Ten blurred prototypes with noise: learned in one epoch, images of the real size."""
    rng = np.random.default_rng(0)
    prototypes = rng.uniform(0, 1, (10, 784)) ** 4
    y = rng.integers(0, 10, 900).astype(np.uint8)
    x = np.clip(255 * (0.7 * prototypes[y] + rng.normal(0, 0.15, (900, 784))), 0, 255).astype(np.uint8)
    return Data(x_train=x[:800], y_train=y[:800], x_test=x[800:860], y_test=y[800:860], digest="made up")


@pytest.fixture(scope="module")
def trained(data: Data) -> dict[str, Network]:
    def one(levels: str, bits: int) -> Network:
        start = initial((784, 100, 10), 0)
        return train(data.x_train, data.y_train, [start], [0], levels=levels, bits=bits, epochs=2)[0][0]

    kinds = [("", 0), ("rise", 1), ("rise", 3), ("ends", 2), ("zero", 4)]
    return {f"{levels}{bits}": one(levels, bits) for levels, bits in kinds}


@pytest.fixture(scope="module")
def run(data: Data, tmp_path_factory: pytest.TempPathFactory):
    root = tmp_path_factory.mktemp("runs")
    measure.run(root, data, TINY, lambda text: None)
    return root, results.summary(root, data, "mnist-tiny", TINY)


@pytest.mark.parametrize("levels", ["rise", "ends", "zero"])
@pytest.mark.parametrize("machine", deploy.MACHINES)
def test_a_machine_takes_the_codes_that_are_said_to_fit_it_and_no_others(data, levels, machine):
    for bits in (1, 7, 8):
        lowest = Network(
            weights=(np.full((10, 784), -1, np.float32),), biases=(np.zeros(10, np.float32),), levels=levels, bits=bits
        )
        taken = deploy.fits(machine, levels, bits)
        with nullcontext() if taken else pytest.raises(IntsimError, match="weights are"):
            deploy.program(lowest, data.x_train, machine)


@pytest.mark.parametrize("levels", ["rise", "ends", "zero"])
@pytest.mark.parametrize("bits", [1, 2, 5])
def test_every_weight_goes_to_the_nearest_of_all_its_levels_and_every_level_is_met(levels, bits):
    w = np.linspace(-1, 1, 4001).astype(np.float32)
    found = codes(w, levels, bits)
    n = denominator(levels, bits)
    known = {"rise": range(-(2**bits) + 1, 2**bits, 2), "ends": range(-n, n + 1, 2), "zero": range(-n, n)}[levels]
    every = np.array(known)
    assert len(every) == 2**bits
    assert set(found.tolist()) == set(known)
    assert (0 in known) == (levels == "zero")
    nearest = np.abs(w[:, None].astype(np.float64) - every[None] / n).min(axis=1)
    assert np.abs(np.abs(w - found / n) - nearest).max() < 1e-7
    high = 1 << (storage_bits(levels, bits) - 1)
    assert -high <= found.min()
    assert found.max() < high


@pytest.mark.parametrize("levels", ["rise", "ends", "zero"])
def test_training_sees_the_very_weights_that_are_deployed(levels):
    from paper.train import KINDS, _updated

    rng = np.random.default_rng(1)
    for bits in (1, 2, 4, 7):
        w = rng.uniform(-1.1, 1.1, 5000).astype(np.float32)
        g, m, v, q = (np.zeros_like(w) for _ in range(4))
        _updated(w, g, m, v, q, np.float32(1e-3), KINDS[levels], np.float32(denominator(levels, bits)))
        assert np.abs(w).max() == 1
        whole = q * denominator(levels, bits)
        assert np.abs(whole - np.rint(whole)).max() < 1e-3
        edges = np.abs(np.rint(whole) - codes(w, levels, bits)) > 0
        assert edges.mean() < 1e-3  # float32 against float64 half way between two levels


def test_one_update_is_adam_as_keras_writes_it():
    from paper.train import _updated

    rng = np.random.default_rng(2)
    w, g = rng.uniform(-0.5, 0.5, 50).astype(np.float32), rng.normal(size=50).astype(np.float32)
    expected, m, v, q = w.astype(np.float64), np.zeros_like(w), np.zeros_like(w), np.zeros_like(w)
    first = second = np.zeros(50)
    for t in (1, 2, 3):
        first, second = 0.9 * first + 0.1 * g, 0.999 * second + 0.001 * g.astype(np.float64) ** 2
        rate = 1e-3 * np.sqrt(1 - 0.999**t) / (1 - 0.9**t)
        expected = expected - rate * first / (np.sqrt(second) + 1e-7)
        _updated(w, g, m, v, q, np.float32(rate), 0, np.float32(1))
    np.testing.assert_allclose(w, expected, atol=1e-6)


def test_a_seed_gives_the_same_network_whatever_is_trained_beside_it(data):
    starts = [initial((784, 100, 10), seed) for seed in (0, 1)]
    both = train(data.x_train, data.y_train, starts, [0, 1], levels="rise", bits=2, epochs=2)
    alone = train(data.x_train, data.y_train, starts[1:], [1], levels="rise", bits=2, epochs=2)
    for a, b in zip(both[1][0].weights, alone[0][0].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert both[1][1] == alone[0][1]
    assert not np.array_equal(both[0][0].weights[0], both[1][0].weights[0])
    assert all(np.abs(w).max() <= 1 for network, _ in both for w in network.weights)


def test_training_ends_with_the_first_epoch_that_is_not_better():
    from paper.train import _over

    assert not _over([0.5], 0)
    assert not _over([0.5, 0.6], 0)
    assert _over([0.5, 0.6, 0.6], 0)
    assert not _over([0.5, 0.6, 0.6], 1)


def test_the_nets_of_these_tests_have_learned_something(trained, data):
    for name, network in trained.items():
        right = attack.right(in_torch(network), torch.from_numpy(pixels(data.x_test)), data.y_test)
        assert right.mean() > 0.5, name


def test_a_single_step_at_all_strengths_is_what_intsim_crafts_at_each(trained, data):
    forward, x, y = in_torch(trained["rise3"]), pixels(data.x_test), data.y_test
    for step in (FGSM, "fgsm_margin"):
        way = attack.signs(forward, x, y, step)
        bits = attack.curve(forward, x, y, way, EPS)
        grid = [deploy.moved(data.x_test, way, steps) for steps in STEPS]
        for i in (3, 6):
            one = ATTACKS[step]
            made = craft(one, forward, x.reshape(-1, 1, 28, 28), y, 255 * EPS[i], grid=None)
            np.testing.assert_array_equal(bits[i], attack.right(forward, torch.from_numpy(made), y))
            on_grid = craft(one, forward, data.x_test.reshape(-1, 1, 28, 28), y, STEPS[i])
            np.testing.assert_array_equal(on_grid.reshape(len(y), -1), grid[i])
    assert bits[0].mean() > bits[8].mean()


def test_square_stays_in_the_range_and_finds_what_noise_does_not(trained, data):
    forward, x, y = in_torch(trained["rise3"]), pixels(data.x_test[:30]), data.y_test[:30]
    seen: list[float] = []

    def watched(images):
        flat = images.reshape(len(images), -1)
        seen.append(float((flat >= 0).all() and (flat <= 1).all()))
        return forward(images)

    square = attack.square(watched, x, y, (0.1, 0.5), 80, 0)
    noise = attack.curve(forward, x, y, attack.noise(len(x), 0), (0.1, 0.5))
    assert all(seen)
    assert square.shape == (2, 30)
    assert square[1].mean() < noise[1].mean()


@pytest.mark.parametrize("machine", deploy.MACHINES)
@pytest.mark.parametrize("name", ["rise1", "rise3", "ends2", "zero4"])
def test_a_deployed_network_runs_as_the_oracle_says_and_answers_as_the_float_one(trained, data, machine, name):
    network = trained[name]
    program = deploy.program(network, data.x_train, machine)
    check(program)
    held = codes(network.weights[0], network.levels, network.bits)
    np.testing.assert_array_equal(program.source.graph.constants["w0"], held)
    few = data.x_test[:2].reshape(-1, 1, 28, 28)
    np.testing.assert_array_equal(engine.run(program, few).integers["z"], oracle.run(program, few).integers["z"])
    right, ties = deploy.judged(program, data.x_test, data.y_test)
    expected = attack.right(in_torch(network), torch.from_numpy(pixels(data.x_test)), data.y_test)
    assert (right == expected).mean() >= (1.0 if machine == "ideal" else 0.95)
    assert ties.mean() < 0.1


def test_a_permuted_network_is_as_far_from_its_parent_as_the_rounded_one(trained):
    parent = trained["0"]
    moved = permuted(parent, "rise", 2, 0)
    target = rounded(Network(weights=parent.weights, biases=parent.biases, levels="rise", bits=2))
    for w, own, other in zip(parent.weights, moved.weights, target, strict=True):
        a, b = np.sort((own - w).ravel()), np.sort((other - w).ravel())
        np.testing.assert_allclose(a, b, atol=1e-6)
        assert not np.array_equal(own, other)


def test_the_first_order_model_is_exact_for_two_linear_classes():
    rng = np.random.default_rng(3)
    w = np.concatenate([rng.uniform(-1, 1, (2, 784)), np.zeros((8, 784))]).astype(np.float32)
    bias = np.array([0, 0] + [-1e3] * 8, np.float32)
    forward = in_torch(Network(weights=(w,), biases=(bias,)))
    x, y = rng.uniform(0, 1, (200, 784)).astype(np.float32), rng.integers(0, 2, 200)
    clean = analytic.margins(forward, x, y)
    observed = attack.curve(forward, x, y, attack.signs(forward, x, y, "fgsm_margin"), EPS).mean(axis=1)
    expected = analytic.first_order(forward, x, y, clean, EPS)
    assert 0 < observed[3] < observed[0]
    np.testing.assert_allclose(expected, observed, atol=0.006)


def test_the_model_of_weights_crosses_where_its_two_curves_are_equal():
    from scipy.stats import norm

    a, b = analytic.Fitted(mu=3.0, s=1.0, reach=40.0), analytic.Fitted(mu=4.0, s=2.0, reach=30.0)
    at = analytic.crossing(a, b)
    assert at == pytest.approx((3 - 2) / (40 - 15))
    assert norm.cdf((3 - at * 40) / 1) == pytest.approx(norm.cdf((4 - at * 30) / 2))
    assert analytic.crossing(a, a) is None


def test_a_crossing_has_an_interval_over_seeds_that_widens_with_their_spread():
    rng, n = np.random.default_rng(4), 400
    eps = (0.0, 0.1, 0.2, 0.3)

    def curves(shift: float, slope: float, seeds: int, noise: float) -> np.ndarray:
        level = shift - slope * np.array(eps) + rng.normal(0, noise, (seeds, 1))
        return rng.uniform(0, 1, (seeds, len(eps), n)) < level[..., None]

    tight = stats.crossed(eps, curves(0.7, 0.5, 6, 0), curves(0.95, 2.5, 6, 0), 200)
    loose = stats.crossed(eps, curves(0.7, 0.5, 6, 0.1), curves(0.95, 2.5, 6, 0.1), 200)
    assert tight["rising"]
    assert tight["low"] < tight["at"] < tight["high"]
    assert tight["low"] < 0.125 < tight["high"]
    assert (loose["high"] or 0.3) - loose["low"] > tight["high"] - tight["low"]
    never = stats.crossed(eps, curves(0.9, 0.1, 3, 0), curves(0.3, 0.5, 3, 0), 50)
    assert never == {"at": None, "sign": 1}


def test_a_difference_is_above_within_or_open_by_its_interval():
    rng = np.random.default_rng(5)

    def seeds(level: float, spread: float = 0.0) -> np.ndarray:
        return rng.uniform(0, 1, (8, 4000)) < np.clip(level + rng.normal(0, spread, (8, 1)), 0, 1)

    assert stats.difference(seeds(0.6), seeds(0.5), 1.0)["verdict"] == "above"
    assert stats.difference(seeds(0.4), seeds(0.5), 1.0)["verdict"] == "below"
    assert stats.difference(seeds(0.5), seeds(0.5), 5.0)["verdict"] == "within"
    assert stats.difference(seeds(0.5, 0.1), seeds(0.5, 0.1), 1.0)["verdict"] == "open"


def test_a_cell_comes_back_as_it_was_and_appears_whole(tmp_path):
    bits = np.random.default_rng(6).uniform(size=(3, 13)) < 0.5
    store.write_cell(tmp_path, "net", "fgsm", store.Cell(strengths=(0.0, 0.1, 0.2), bits=bits, numbers={"mu": 1.5}))
    found = store.read_cell(tmp_path, "net", "fgsm")
    np.testing.assert_array_equal(found.bits, bits)
    assert found.strengths == (0.0, 0.1, 0.2)
    assert found.numbers == {"mu": 1.5}
    assert store.read_cell(tmp_path, "net", "pgd") is None
    assert [path.name for path in (tmp_path / "cells" / "net").iterdir()] == ["fgsm.npz"]


def test_the_full_plan_is_the_protocols():
    every = list(specs(FULL))
    assert len({spec.name for spec in every}) == len(every)
    count = {
        key: sum(spec.group == key for spec in every)
        for key in ("mlp-float", "mlp-trained-rise-1", "mlp-trained-rise-4", "mlp-trained-zero-1")
    }
    assert count == {"mlp-float": 10, "mlp-trained-rise-1": 10, "mlp-trained-rise-4": 5, "mlp-trained-zero-1": 5}
    assert {spec.bits for spec in every if spec.family == "trained" and spec.levels == "zero"} == set(range(1, 11))
    assert {spec.model for spec in every} == {"mlp", "single"}


def test_a_run_goes_on_where_it_stopped(run, data):
    root, _ = run
    said: list[str] = []
    measure.run(root, data, TINY, said.append)
    assert said == []
    gone = store.cell_path(root, Spec(seed=1).name, f"{FGSM}-self")
    before = gone.read_bytes()
    gone.unlink()
    measure.run(root, data, TINY, said.append)
    assert len(said) == 1
    assert gone.read_bytes() == before


def test_a_whole_tiny_run_is_summed_up_drawn_and_written(run, tmp_path):
    _, summary = run
    assert summary["primary"]["seeds"] == 2
    rows = summary["controls"]["mlp-trained-rise-1"]
    assert {f"{FGSM}-self", "pgd_margin-self", "square-self"} <= rows.keys()
    float_ = summary["networks"]["mlp-float"]["curves"]
    assert float_["noise"]["mean"][8] >= float_[f"{FGSM}-self"]["mean"][8]
    assert float_[f"{FGSM}-self"]["mean"][0] == float_[f"{FGSM}-null"]["mean"][0]
    assert {path.name for path in figures.draw(summary, tmp_path)} >= {"mnist-tiny-bits.png", "mnist-tiny-controls.png"}
    text = page.section(summary)
    for heading in ("#### The claim", "#### Controls", "#### On integer machines", "#### Transfer"):
        assert heading in text


def test_the_verdict_follows_the_protocols_rule():
    strong = {"mean": 9.0, "low": 7.0, "high": 11.0, "delta": 0.5, "verdict": "above", "seeds": 10}
    crossing = {"at": 0.1, "low": 0.08, "high": 0.12, "share": 1.0, "rising": True}
    rows = {f"{FGSM}-self": {"strong": strong, "crossing": crossing}}
    rows |= {name: {"strong": strong | {"verdict": "within"}, "crossing": None} for name in page.DECLARED}
    summary = {
        "controls": {"mlp-trained-rise-1": rows},
        "crossings": {"mlp-trained-rise-1": {f"{FGSM}-self": crossing}},
    }
    assert page.verdict(summary) == ("confirmed", "explained")
    rows["pgd_margin-self"] = {"strong": strong, "crossing": None}
    assert page.verdict(summary) == ("confirmed", "not explained")
    rows[f"{FGSM}-self"] = {"strong": strong | {"verdict": "within"}, "crossing": crossing}
    assert page.verdict(summary) == ("refuted", "open")
    rows[f"{FGSM}-self"] = {"strong": strong | {"verdict": "open"}, "crossing": crossing}
    assert page.verdict(summary) == ("open", "open")


def test_the_page_says_what_the_results_files_hold():
    text, found = page.PAGE.read_text(encoding="utf-8"), page.read()
    assert found, "no results are committed"
    assert page.written(text, found) == text


def test_what_withstands_every_attack_is_told_from_a_network_that_always_gives_one_answer(data, tmp_path):
    plan = Plan(seeds=1, claim_seeds=1, bits=(1,), models=("mlp",), families=("trained",), pgd_images=20)
    spec = next(one for one in specs(plan) if one.controlled)
    favourite = Network(
        weights=(np.zeros((100, 784), np.float32), np.zeros((10, 100), np.float32)),
        biases=(np.full(100, -1, np.float32), np.eye(10, dtype=np.float32)[3]),
    )
    store.write_network(tmp_path, spec.name, favourite, [0.1])
    for name, cell in measure.cells(spec, plan):
        if name.removesuffix("-self") in {*LOSSES, *(each.name for each in PGD)}:
            sources = {"self": measure.Source(favourite, data)}
            store.write_cell(tmp_path, spec.name, name, cell(sources, data, plan, spec))
    found = results.summary(tmp_path, data, "mnist-tiny", plan)["withstood"]
    labelled = round(100 * float((data.y_test[:20] == 3).mean()), 2)
    expected = {"right": labelled, "of_fallback": labelled, "labelled": labelled, "seeds": 1}
    assert labelled > 0
    assert found == {spec.group: {"0.1": expected, "0.2": expected}}
