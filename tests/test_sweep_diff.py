"""Two runs are compared cell by cell: a regression beyond its interval is found, chance is not, and both are said."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from test_sweep_report import N, first, judged, kept

from intsim.cli import main
from intsim.evaluate.records import FLOAT
from intsim.statistics import mcnemar, newcombe, unpaired, wilson
from intsim.sweep.cells import Cell
from intsim.sweep.difference import difference
from intsim.sweep.judged import Judged

CELL = Cell(network="cnn", target="chip", weight_bits=8, attack="pgd", eps_steps=8.0)


def several(counts: list[int], **more: str) -> list[Judged]:
    """A cell for each seed, so many of N right."""
    return [judged(replace(CELL, seed=seed), first(count), **more) for seed, count in enumerate(counts)]


def again(those: list[Judged]) -> list[Judged]:
    """The same cells by another version, which gives them other digests."""
    return [replace(one, digest=f"new {one.digest}") for one in those]


def test_cells_are_matched_by_their_axes_and_paired_on_the_same_images() -> None:
    old, new = several([200, 200, 200]), again(several([200, 170, 230]))
    found = difference(old, new)
    assert (found.compared, found.unlike, found.changed, found.looked) == (3, 0, 2, 2)
    (worse,), (better,) = found.worse, found.better
    assert (worse.cell.seed, better.cell.seed) == (1, 2)
    assert (worse.differ, worse.difference, worse.p) == (30, -30 / N, mcnemar(0, 30))
    assert (worse.low, worse.high) == newcombe(170, 0, 30, N - 200)
    assert worse.adjusted == 2 * worse.p, "two comparisons that differ anywhere"


def test_other_images_are_compared_as_two_samples() -> None:
    old, new = several([300], images="a"), again(several([278], images="b"))
    found = difference(old, new)
    assert (found.unlike, found.changed, found.worse) == (1, 0, ())
    (worse,) = difference(old, again(several([250], images="b"))).worse
    two = unpaired(wilson(250, N), wilson(300, N))
    assert (worse.differ, worse.same_images) == (None, False)
    assert (worse.difference, worse.low, worse.high, worse.p) == (two.difference, two.low, two.high, two.p)
    assert difference(several([300]), again(several([278]))).worse, "of the same images it would be told apart"


def test_what_many_comparisons_find_by_chance_is_no_regression() -> None:
    lost = 7
    assert mcnemar(0, lost) < 0.05 < 10 * mcnemar(0, lost)
    assert len(difference(several([200]), again(several([200 - lost]))).worse) == 1
    found = difference(several([200] * 10), again(several([200 - lost] * 10)))
    assert (found.looked, found.changed, found.worse) == (10, 10, ())


def test_a_cell_that_stands_for_several_seeds_is_one_comparison() -> None:
    old = [judged(replace(CELL, target=FLOAT, seed=seed), first(300)) for seed in range(3)]
    same = [replace(one, digest="one") for one in old]
    new = [replace(one, digest="two", correct=200, right=judged(CELL, first(200)).right) for one in old]
    found = difference(same, new)
    assert (found.compared, found.looked, len(found.worse)) == (3, 1, 1)


def test_cells_that_only_one_has_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old, new = several([200] * 5), again(several([200] * 3))
    found = difference(old, [*new, judged(replace(CELL, accumulator=14, overflow="wrap"), first(1))])
    assert (found.compared, found.only_old, found.only_new) == (3, 2, 1)
    a, b = kept(tmp_path / "a.sqlite", old), kept(tmp_path / "b.sqlite", new)
    assert main(["diff", str(a), str(b)]) == 0
    said = capsys.readouterr().out
    assert "3 cells compared: 0 worse, 0 better" in said
    assert f"only in {a}: 2 cells; only in {b}: 0" in said


def test_the_exit_status_says_whether_something_became_worse(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = kept(tmp_path / "a.sqlite", several([200, 300, 200]))
    b = kept(tmp_path / "b.sqlite", again(several([200, 250, 201])))
    numbers = tmp_path / "diff.json"
    assert main(["diff", str(a), str(b), "--json", str(numbers)]) == 1
    said = capsys.readouterr().out
    assert "3 cells compared: 1 worse, 0 better" in said
    assert "75.0 %" in said
    assert "-12.5" in said
    found = json.loads(numbers.read_text(encoding="utf-8"))
    assert (found["compared"], found["changed"], len(found["worse"])) == (3, 2, 1)
    assert found["worse"][0]["cell"]["seed"] == 1
    assert main(["diff", str(b), str(a)]) == 0, "better is no regression"
    assert "1 better" in capsys.readouterr().out
    assert main(["diff", str(a), str(b), "--where", "seeds=2"]) == 0
    assert main(["diff", str(a), str(b), "--where", "seeds=9"]) == 2
    assert "in common" in capsys.readouterr().err
    assert main(["diff", str(a), str(b), "--old-run", "7"]) == 2


# ---- two samples ---------------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_fishers_test_is_that_of_scipy(n: int, m: int, data: st.DataObject) -> None:
    stats = pytest.importorskip("scipy.stats")
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    found = unpaired(wilson(a, n), wilson(b, m))
    assert found.p == pytest.approx(stats.fisher_exact([[a, n - a], [b, m - b]]).pvalue, rel=1e-6)
    assert -1 <= found.low <= found.difference <= found.high <= 1


def test_the_interval_of_two_samples_is_the_published_one() -> None:
    """Newcombe 1998, table II, example (a): 56/70 against 48/80, method 10: 0.0524 to 0.3339."""
    found = unpaired(wilson(56, 70), wilson(48, 80))
    assert (round(found.difference, 4), round(found.low, 4), round(found.high, 4)) == (0.2, 0.0524, 0.3339)


def test_the_interval_covers_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    draws = list(zip(rng.binomial(80, 0.8, 600), rng.binomial(120, 0.7, 600), strict=True))
    covered = [
        one.low <= 0.1 <= one.high for a, b in draws for one in [unpaired(wilson(int(a), 80), wilson(int(b), 120))]
    ]
    assert 0.93 < np.mean(covered) < 0.98
