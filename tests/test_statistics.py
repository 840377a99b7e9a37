"""Intervals, tests and crossings against scipy, closed forms, published numbers and enumeration."""

import math
import sys
from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from intsim import statistics
from intsim.errors import IntsimError


@pytest.mark.parametrize("n", [1, 2, 7, 30, 1000])
def test_wilson_is_what_scipy_gives_for_every_count(n):
    for count in range(n + 1) if n <= 30 else range(0, n + 1, 37):
        expected = binomtest(count, n).proportion_ci(0.95, method="wilson")
        rate = statistics.wilson(count, n)
        assert (rate.count, rate.n, rate.value) == (count, n, count / n)
        assert rate.low == pytest.approx(expected.low, abs=1e-12)
        assert rate.high == pytest.approx(expected.high, abs=1e-12)
        assert 0 <= rate.low <= rate.value <= rate.high <= 1


def test_wilson_at_another_confidence_is_what_scipy_gives():
    expected = binomtest(13, 40).proportion_ci(0.9, method="wilson")
    rate = statistics.wilson(13, 40, 0.9)
    assert (rate.low, rate.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_the_rate_of_no_trials_says_nothing():
    assert statistics.wilson(0, 0) == statistics.Rate(0, 0, 0.0, 1.0)
    assert math.isnan(statistics.wilson(0, 0).value)


def test_mcnemar_is_the_binomial_test_of_the_discordant_counts():
    for gained, lost in product(range(25), repeat=2):
        expected = binomtest(gained, gained + lost).pvalue if gained + lost else 1.0
        assert statistics.mcnemar(gained, lost) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("gained", "lost", "p"), [(5, 0, 0.0625), (6, 0, 0.031), (10, 2, 0.039), (20, 8, 0.036)])
def test_mcnemar_gives_the_numbers_that_are_known(gained, lost, p):
    assert statistics.mcnemar(gained, lost) == pytest.approx(p, abs=5e-4)


def test_newcombe_gives_the_published_interval():
    # M. W. Fagerland, S. Lydersen, P. Laake, Statistical Analysis of Contingency Tables (2017), chapter 8: complete
    # response before and after consolidation therapy, 59 6 16 80, as the tests of the R package contingencytables.
    low, high = statistics.newcombe(59, 6, 16, 80)
    assert (round(low, 4), round(high, 4)) == (-0.1186, -0.0046)
    assert statistics.mcnemar(6, 16) == pytest.approx(0.052479, abs=1e-6)


def test_newcombe_without_correlation_is_the_interval_of_independent_proportions():
    # both * neither = gained * lost: the squares of the Wilson distances are added as they are.
    a, b = statistics.wilson(12, 48), statistics.wilson(16, 48)
    expected_low = (12 - 16) / 48 - math.hypot(a.value - a.low, b.high - b.value)
    expected_high = (12 - 16) / 48 + math.hypot(a.high - a.value, b.value - b.low)
    assert statistics.newcombe(4, 8, 12, 24) == pytest.approx((expected_low, expected_high))


def test_newcombe_turns_round_with_the_two_judges():
    for table in product((0, 1, 3, 20), repeat=4):
        both, gained, lost, neither = table
        low, high = statistics.newcombe(*table)
        other_low, other_high = statistics.newcombe(both, lost, gained, neither)
        assert (low, high) == pytest.approx((-other_high, -other_low))
        n = sum(table)
        assert -1 <= low <= ((gained - lost) / n if n else 0) <= high <= 1


def test_newcombe_covers_the_true_difference_about_as_often_as_it_says():
    n, cells = 12, np.array([0.5, 0.2, 0.1, 0.2])
    covered = 0.0
    for both, gained, lost in product(range(n + 1), repeat=3):
        neither = n - both - gained - lost
        if neither < 0:
            continue
        ways = math.factorial(n)
        for count in (both, gained, lost, neither):
            ways //= math.factorial(count)
        low, high = statistics.newcombe(both, gained, lost, neither)
        covered += (low <= 0.1 <= high) * ways * float(np.prod(cells ** (both, gained, lost, neither)))
    assert 0.93 < covered < 0.99


def test_paired_counts_are_a_recount_of_the_bits():
    rng = np.random.default_rng(3)
    a, b = rng.random(200) < 0.7, rng.random(200) < 0.6
    found = statistics.paired(a, b)
    gained = sum(1 for left, right in zip(a, b, strict=True) if left and not right)
    lost = sum(1 for left, right in zip(a, b, strict=True) if right and not left)
    assert (found.n, found.gained, found.lost) == (200, gained, lost)
    assert found.difference == pytest.approx((a.sum() - b.sum()) / 200)
    assert found.low < found.difference < found.high
    assert found.p == pytest.approx(binomtest(gained, gained + lost).pvalue, rel=1e-12)


def test_a_judge_differs_from_itself_in_nothing():
    bits = np.arange(50) % 3 > 0
    found = statistics.paired(bits, bits)
    assert (found.gained, found.lost, found.difference, found.p) == (0, 0, 0.0, 1.0)
    assert found.low < 0 < found.high


def test_holm_gives_the_textbook_example():
    # m = 4: .005 * 4, .01 * 3, .03 * 2, then .04 kept from falling below .06.
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([]) == []
    assert statistics.holm([0.6, 0.7]) == [1.0, 1.0]


def test_holm_rejects_exactly_what_stepping_down_rejects():
    rng = np.random.default_rng(1)
    for _ in range(200):
        p = rng.random(6) ** 3
        rejected = set()
        for rank, index in enumerate(np.argsort(p)):
            if p[index] > 0.05 / (6 - rank):
                break
            rejected.add(int(index))
        assert {i for i, value in enumerate(statistics.holm(p.tolist())) if value <= 0.05} == rejected


@pytest.mark.parametrize(
    ("a", "b", "at"),
    [
        ([0.9, 0.5, 0.1], [0.8, 0.6, 0.3], 0.5),  # +.1, -.1, -.2
        ([0.8, 0.6, 0.3], [0.9, 0.5, 0.1], 0.5),  # the other way round
        ([0.9, 0.5, 0.1], [0.8, 0.4, 0.0], None),  # never
        ([0.9, 0.5, 0.1], [0.8, 0.5, 0.0], None),  # they touch and part again
        ([0.9, 0.5, 0.1], [0.8, 0.5, 0.2], 1.0),  # they cross where both are known
        ([0.5, 0.5, 0.5], [0.5, 0.5, 0.5], None),  # they are the same
        ([0.9, 0.7, 0.1], [0.9, 0.6, 0.3], 4 / 3),  # they part after the first point, then cross
    ],
)
def test_curves_cross_where_they_should(a, b, at):
    found = statistics.crossing([0, 1, 2], a, b)
    assert found == (None if at is None else pytest.approx(at))


def test_curves_that_run_together_cross_in_the_middle_of_that():
    assert statistics.crossing([0, 1, 2, 3], [0.9, 0.5, 0.4, 0.1], [0.8, 0.5, 0.4, 0.2]) == pytest.approx(1.5)


def test_only_the_first_crossing_counts():
    assert statistics.crossing([0, 1, 2], [0.9, 0.5, 0.4], [0.8, 0.6, 0.3]) == pytest.approx(0.5)


def _bits(accuracies, n, seed):
    """Bits with exactly these accuracies, wrong for good once wrong."""
    order = np.random.default_rng(seed).permutation(n)
    return np.stack([order < round(accuracy * n) for accuracy in accuracies])


def test_the_bootstrap_holds_the_crossing_and_is_the_same_for_the_same_seed():
    a, b = _bits([0.9, 0.6, 0.2], 1000, 0), _bits([0.8, 0.65, 0.4], 1000, 1)
    found = statistics.bootstrap_crossing([0, 0.1, 0.2], a, b, seed=5)
    assert found.at == pytest.approx(statistics.crossing([0, 0.1, 0.2], [0.9, 0.6, 0.2], [0.8, 0.65, 0.4]))
    assert found.low < found.at < found.high
    assert found.share == 1.0
    assert not found.rising
    assert found == statistics.bootstrap_crossing([0, 0.1, 0.2], a, b, seed=5)
    assert found != statistics.bootstrap_crossing([0, 0.1, 0.2], a, b, seed=6)


def test_the_bootstrap_equals_one_that_draws_images_one_by_one():
    a, b = _bits([0.9, 0.6, 0.2], 200, 0), _bits([0.8, 0.65, 0.4], 200, 1)
    found = statistics.bootstrap_crossing([0, 1, 2], a, b, seed=1, draws=2000)
    rng, drawn = np.random.default_rng(9), []
    for _ in range(2000):
        chosen = rng.integers(0, 200, 200)
        at = statistics.crossing([0, 1, 2], a[:, chosen].mean(1).tolist(), b[:, chosen].mean(1).tolist())
        drawn.append(math.inf if at is None else at)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.06)


def test_a_crossing_that_chance_makes_has_no_upper_end():
    a, b = _bits([0.52, 0.50], 50, 0), _bits([0.50, 0.52], 50, 1)
    found = statistics.bootstrap_crossing([0, 1], a, b)
    assert found.high is None
    assert found.share < 0.9


def test_no_crossing_in_range_is_none():
    assert statistics.bootstrap_crossing([0, 1], _bits([0.9, 0.5], 100, 0), _bits([0.8, 0.4], 100, 0)) is None


def test_without_scipy_the_error_names_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy", None)
    with pytest.raises(IntsimError, match=r"pip install intsim\[attack\]"):
        statistics.wilson(1, 2)


# ---- equivalence, and the bootstrap of means ---------------------------------------------------------------------


def test_the_score_of_no_shift_is_mcnemars_and_it_falls_with_the_shift():
    for gained, lost in [(5, 0), (10, 2), (3, 9), (20, 20)]:
        assert statistics.tango(100, gained, lost, 0.0) == pytest.approx((gained - lost) / math.sqrt(gained + lost))
        scores = [statistics.tango(100, gained, lost, shift) for shift in np.linspace(-0.5, 0.5, 41)]
        assert scores == sorted(scores, reverse=True)


@pytest.mark.parametrize("shift", [-0.2, -0.03, 0.01, 0.15])
def test_the_score_uses_the_likeliest_probabilities_that_the_shift_allows(shift):
    same, gained, lost = 80, 13, 7
    n = same + gained + lost
    below = np.linspace(max(0.0, -shift) + 1e-9, (1 - shift) / 2 - 1e-9, 400_001)  # the probability of `lost`
    likelihood = gained * np.log(below + shift) + lost * np.log(below) + same * np.log(1 - 2 * below - shift)
    best = below[likelihood.argmax()]
    expected = (gained - lost - n * shift) / math.sqrt(n * (2 * best + shift - shift**2))
    assert statistics.tango(same, gained, lost, shift) == pytest.approx(expected, rel=1e-4)


def discordant(n, gained, lost):
    a, b = np.zeros((2, n), bool)
    a[:gained], b[gained : gained + lost] = True, True
    return a, b


def test_equivalence_is_the_interval_of_twice_the_level_within_the_margin():
    verdicts = set()
    for n, gained, lost in [(1000, 3, 4), (1000, 30, 20), (200, 0, 0), (50, 0, 0), (300, 2, 9)]:
        for margin in (0.005, 0.02, 0.05):
            found = statistics.equivalence(*discordant(n, gained, lost), margin)
            assert found.difference == pytest.approx((gained - lost) / n)
            assert found.low < found.difference < found.high
            assert found.equivalent == (found.p < 0.05) == (-margin < found.low and found.high < margin)
            verdicts.add(found.equivalent)
    assert verdicts == {True, False}
    same = statistics.equivalence(*discordant(1000, 0, 0), 0.005)
    assert same.equivalent, "a thousand equal answers are within half a point"
    with pytest.raises(IntsimError, match="0 is no margin"):
        statistics.equivalence(*discordant(10, 1, 1), 0)


def test_equivalence_is_seldom_claimed_at_the_margin_itself():
    rng, wrong = np.random.default_rng(0), 0
    for _ in range(2000):
        draw = rng.choice(3, 500, p=[0.07, 0.02, 0.91])  # A is better by the margin of 5 points
        wrong += statistics.equivalence(draw == 0, draw == 1, 0.05).equivalent
    assert 0.03 < wrong / 2000 < 0.065


def test_the_bootstrap_of_a_mean_is_what_scipy_gives():
    from scipy.stats import bootstrap

    values = np.random.default_rng(0).choice([-1, 0, 1], 300, p=[0.1, 0.7, 0.2])
    expected = bootstrap((values,), np.mean, method="percentile", n_resamples=5000, rng=1).confidence_interval
    found = statistics.bootstrap_mean(values, draws=5000)
    assert found.at == values.mean()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)
    wider = statistics.bootstrap_mean(values, confidence=0.99)
    assert wider.low < found.low < found.high < wider.high
    assert found == statistics.bootstrap_mean(values, draws=5000)


def test_clusters_that_differ_widen_the_interval_and_equal_ones_do_not():
    rng = np.random.default_rng(2)
    alike = np.repeat(rng.random((1, 400)) < 0.7, 6, axis=0)
    one = statistics.bootstrap_mean(alike[0])
    many = statistics.bootstrap_clustered(alike)
    assert (many.low, many.high) == pytest.approx((one.low, one.high), abs=0.01)
    apart = rng.random((6, 400)) < np.linspace(0.5, 0.9, 6)[:, None]
    found = statistics.bootstrap_clustered(apart)
    assert found.at == pytest.approx(apart.mean())
    assert found.high - found.low > 2 * (many.high - many.low)
    seeds = apart.mean(axis=1)
    assert (found.high - found.low) / 3.92 == pytest.approx(seeds.std() / math.sqrt(6), rel=0.25)
