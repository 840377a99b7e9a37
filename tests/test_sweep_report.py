"""A page from a store says what is there, how sure it is of it, and where narrower is right more often."""

import re
import sys
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from intsim.cli import main
from intsim.errors import IntsimError
from intsim.evaluate.records import FLOAT, NULL
from intsim.report import grids, swept, views
from intsim.statistics import holm, mcnemar, newcombe, wilson
from intsim.sweep import store
from intsim.sweep.cells import Cell
from intsim.sweep.judged import Judged, Unfinished, chosen, conditions, load, mean
from intsim.sweep.monotone import turns
from intsim.sweep.plan import Axes, Plan
from intsim.sweep.work import Found

N = 400
PLAN = Plan(name="made up", data="", calibration="", axes=Axes(networks=("cnn",), targets=("chip",)))
SETS = [("clean", 0.0), *product(("fgsm", "pgd"), (2.0, 8.0))]


def judged(cell: Cell, right: np.ndarray, images: str = "") -> Judged:
    named = images or f"{cell.network} {cell.attack} {cell.eps_steps}"
    packed = np.packbits(right).tobytes()
    return Judged(
        cell=cell, digest=repr(cell), n=len(right), correct=int(right.sum()), images=named, right=packed
    )  # fmt: skip


def first(count: int, n: int = N) -> np.ndarray:
    return np.arange(n) < count


def accuracy(cell: Cell) -> int:
    """How many of N are right: less with strength; at 14 bits, wrapping, far less than at 12."""
    if cell.target in (FLOAT, NULL):
        return 380 - int(20 * cell.eps_steps)
    lost = 200 if (cell.accumulator, cell.overflow) == (14, "wrap") else 0
    return 360 - int(10 * cell.eps_steps) - lost


@pytest.fixture(scope="module")
def run() -> tuple[Judged, ...]:
    """Two machines, four accumulators in two modes and five sets of images, beside float and its null."""
    made = []
    for attack, eps in SETS:
        sets: dict[str, Any] = {"network": "cnn", "attack": attack, "eps_steps": eps}
        made += [Cell(target=FLOAT, **sets), Cell(target=NULL, weight_bits=8, **sets)]
        for target, (bits, mode) in product(("chip", "other"), [(0, ""), *product((12, 14, 16), ("wrap", "saturate"))]):
            made.append(Cell(target=target, weight_bits=8, accumulator=bits, overflow=mode, **sets))
    return tuple(judged(cell, first(accuracy(cell))) for cell in made)


def told(done: Sequence[Judged], left: Sequence[Unfinished] = (), **more: Any) -> str:
    return swept.page(swept.Swept(run=1, name="made up", done=tuple(done), left=tuple(left), versions=""), **more)


def plain(page: str) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<(svg|style).*?</\1>", " ", page, flags=re.DOTALL)).split())


def drawn(page: str) -> list[str]:
    return re.findall(r'<svg role="img" aria-label="([^"]*)"', page)


# ---- what the page says --------------------------------------------------------------------------------------------


def test_a_page_stands_alone_and_calls_transfer_an_upper_bound(run: tuple[Judged, ...]) -> None:
    page = told(run)
    assert "upper bound" in plain(page)
    assert "No number here is a robustness" in plain(page)
    assert "Partial" not in page
    assert not re.search(r'(src|href)="(?!#)|<script|url\((?!#)|@import', page)
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids)) > 0


def test_partial_results_and_failures_are_said_as_such(run: tuple[Judged, ...]) -> None:
    cell = run[-1].cell
    left = [Unfinished(cell=replace(cell, seed=seed), digest=str(seed), why="no <such> bits" if seed < 3 else "")
            for seed in range(1, 6)]  # fmt: skip
    page = told(run, left)
    assert f"Partial: {len(run)} of {len(run) + 5} cells. 2 failed." in plain(page)
    assert "2 cells: no &lt;such&gt; bits" in page


def test_every_rate_has_its_wilson_interval(run: tuple[Judged, ...]) -> None:
    page = plain(told(run, where=["targets=chip", "overflows="]))
    for one in run:
        if (one.cell.target, one.cell.overflow) == ("chip", ""):
            rate = wilson(one.correct, N)
            assert f"{100 * rate.value:.1f} {100 * rate.low:.1f}–{100 * rate.high:.1f}" in page


def test_a_mean_of_cells_knows_no_more_than_one_of_them() -> None:
    cells = [judged(Cell(network="a", target="b", seed=seed), first(count)) for seed, count in enumerate((100, 200))]
    found = mean(cells)
    assert found.value == 150 / N
    assert (found.low, found.high) == (wilson(150, N).low, wilson(150, N).high)


def test_the_axes_with_the_most_values_are_shown_unless_others_are_named(run: tuple[Judged, ...]) -> None:
    assert views.axes(run, None, None) == ("accumulator", "eps_steps")
    assert views.axes(run, "targets", None) == ("target", "accumulator")
    page = told(run, rows="targets", columns="eps", over="eps", where=["accumulators=0", "accumulators=14"])
    titles = drawn(page)
    assert "fgsm, wrap, bits of the accumulator 14: percent right by machine and strength" in titles
    assert not [title for title in titles if "clean" in title], "clean images are strength 0 of every attack"
    with pytest.raises(IntsimError, match="rows and columns"):
        told(run, rows="eps", columns="eps_steps")
    with pytest.raises(IntsimError, match=r"targest.*did you mean target"):
        told(run, rows="targest")
    with pytest.raises(IntsimError, match="no order"):
        told(run, over="targets")


def test_a_heatmap_shows_each_cell_where_its_axes_say(run: tuple[Judged, ...]) -> None:
    view = views.view(run, ("accumulator", "eps_steps"))
    assert [dict(part) for part in view.parts] == [
        {"attack": attack, "target": target, "overflow": mode}
        for attack, target, mode in product(("fgsm", "pgd"), ("chip", "other"), ("wrap", "saturate"))
    ]
    chart = grids.heatmaps(run, view)[0]
    assert chart.numbers.columns[1:] == ("clean", "2/255", "8/255")
    shown = {row[0].text: [cell.text for cell in row[1:]] for row in chart.numbers.rows}
    assert shown == {
        "own": ["90.0", "85.0", "70.0"], "12": ["90.0", "85.0", "70.0"], "14": ["40.0", "35.0", "20.0"],
        "16": ["90.0", "85.0", "70.0"],
    }  # fmt: skip
    assert all(">35</text>" in one.svg for one in grids.heatmaps(run, view)[::2])


def test_machines_are_never_averaged_with_float(run: tuple[Judged, ...]) -> None:
    """Float lacks an accumulator: it would be a machine's own."""
    charts = grids.heatmaps(run, views.view(run, ("overflow", "eps_steps")))
    owns = [row for one in charts for row in one.numbers.rows if row[0].text == "own"]
    assert [[cell.text for cell in row[1:]] for row in owns] == [["90.0", "85.0", "70.0"]] * 4
    chart = grids.heatmaps(run, views.view(run, ("target", "eps_steps")))[0]
    assert [row[0].text for row in chart.numbers.rows] == ["chip", FLOAT, NULL, "other"]
    assert [cell.text for cell in chart.numbers.rows[1][1:]] == ["95.0", "85.0", "55.0"]


def test_curves_follow_an_axis_with_float_beside_them(run: tuple[Judged, ...]) -> None:
    view = views.view(run, ("eps_steps", "accumulator"))
    machines = [one for one in run if one.cell.target == "chip"]
    charts = grids.lines(machines, view, run)
    table = charts[0].numbers
    assert table.columns[1:] == ("own", "16", "14", "12")
    assert [row[0].text for row in table.rows] == [FLOAT, "clean", "2/255", "8/255"]
    assert [cell.text for cell in table.rows[-1][1:]] == ["70.0", "70.0", "20.0", "70.0"]


def test_best_and_worst_are_named_for_each_set_of_images(run: tuple[Judged, ...]) -> None:
    found = swept.extremes(run, run)
    assert [(one.best.cell.attack, one.best.cell.eps_steps, one.of) for one in found] == [(*at, 14) for at in SETS]
    for one in found:
        assert (one.worst.cell.accumulator, one.worst.cell.overflow) == (14, "wrap")
        assert one.ideal is not None
        assert one.ideal.correct == accuracy(one.ideal.cell)
        assert one.best.correct == 360 - int(10 * one.best.cell.eps_steps)
    assert "14-bit accumulator, wrap clean: 40.0" in plain(told(run))


# ---- where narrower is right more often ----------------------------------------------------------------------------


def test_places_that_are_not_monotone_are_flagged_with_their_intervals(run: tuple[Judged, ...]) -> None:
    found = turns(run)
    sets = 2 * len(SETS)
    assert (found.looked, found.against, found.apart) == (2 * sets, sets, 0), "12 to 14 and 14 to 16, where it wraps"
    assert len(found.turns) == sets
    for one in found.turns:
        assert (one.axis, one.narrow.cell.accumulator, one.wide.cell.accumulator) == ("accumulator", 12, 14)
        assert replace(one.narrow.cell, accumulator=14) == one.wide.cell
        only = one.narrow.correct - one.wide.correct
        low, high = newcombe(one.wide.correct, only, 0, N - one.narrow.correct)
        assert (one.found.gained, one.found.lost, one.found.low, one.found.high) == (only, 0, low, high)
        assert one.sure
    assert {one.adjusted for one in found.turns} == {min(1.0, 2 * sets * mcnemar(200, 0))}
    page = plain(told(run))
    assert f"{sets} of {2 * sets} pairs" in page
    assert f"{sets} beyond chance" in page
    assert "own" not in {one.narrow.cell.overflow or "own" for one in found.turns}, "0 has no place in the order"


def test_what_may_be_chance_is_not_flagged_as_more() -> None:
    """Twenty pairs with 12 images to 3: one alone would be beyond chance, the surest of twenty is not."""
    right = first(N // 2)
    narrow, wide = right.copy(), right.copy()
    wide[:12], narrow[-3:], wide[-3:] = False, False, True
    cell = Cell(network="cnn", target="chip", weight_bits=8)
    many = [
        judged(replace(cell, activation_bits=bits, seed=seed), bits_right)
        for seed in range(20)
        for bits, bits_right in ((4, narrow), (8, wide))
    ]
    assert mcnemar(12, 3) < 0.05 < holm([mcnemar(12, 3)] * 20)[0]
    (one,) = turns(many[:2]).turns
    assert one.sure
    found = turns(many)
    assert (found.looked, found.against) == (20, 20)
    assert not any(turn.sure for turn in found.turns)
    assert "20 that may be chance" in plain(told(many))


def test_neighbours_that_judged_different_images_are_not_compared() -> None:
    cell = Cell(network="cnn", target="chip")
    narrow, wide = replace(cell, weight_bits=4), replace(cell, weight_bits=8)
    found = turns([judged(narrow, first(300), "a"), judged(wide, first(100), "b")])
    assert (found.looked, found.apart, found.turns) == (0, 1, ())
    assert turns([judged(narrow, first(300)), judged(wide, first(100))]).turns[0].sure


# ---- filters -------------------------------------------------------------------------------------------------------


def test_filters_are_spelt_as_in_plans_or_as_in_the_store() -> None:
    cell = Cell(network="cnn", target="chip", weight_bits=4, attack="fgsm", eps_steps=0.3 * 255)
    for text in ("targets=chip", "target=chip", "eps=0.3", "eps_steps=76.5", "weight_bits=4", "seeds=0", "overflows="):
        assert chosen(cell, conditions([text])), text
    for text in ("targets=chop", "eps=8/255", "weight_bits=8", "attacks=pgd"):
        assert not chosen(cell, conditions([text])), text
    assert chosen(cell, conditions(["weight_bits=8", "weight_bits=4"]))
    assert not chosen(cell, conditions(["weight_bits=4", "attacks=pgd"]))
    with pytest.raises(IntsimError, match="write AXIS=VALUE"):
        conditions(["targets"])
    with pytest.raises(IntsimError, match="no value of eps"):
        conditions(["eps=much"])
    with pytest.raises(IntsimError, match="no axis"):
        conditions(["colour=red"])


# ---- a store, and many cells ----------------------------------------------------------------------------------------


def kept(path: Path, done: Sequence[Judged], left: Sequence[Cell] = ()) -> Path:
    """A store that holds these cells, and does not hold those."""
    with store.opened(path, make=True) as base:
        named = {f"{one.digest}": [one.cell] for one in done} | {repr(cell): [cell] for cell in left}
        _, session = store.enter(base, PLAN, named)
        found = [
            Found(digest=one.digest, n=one.n, correct=one.correct, right=one.right, images=one.images) for one in done
        ]
        store.keep(base, session, found)
        store.leave(base, session, "done")
    return path


def test_a_store_comes_back_as_it_was_written(tmp_path: Path, run: tuple[Judged, ...]) -> None:
    waiting = replace(run[0].cell, seed=7)
    path = kept(tmp_path / "runs.sqlite", run, [waiting])
    with store.opened(path) as base:
        assert load(base) == (run, (Unfinished(cell=waiting, digest=repr(waiting)),))
        with pytest.raises(IntsimError, match="run 9: no such run"):
            load(base, 9)


def test_the_verb_writes_a_page_and_says_how_much_is_there(
    tmp_path: Path, run: tuple[Judged, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    path, page = kept(tmp_path / "runs.sqlite", run[:40], [one.cell for one in run[40:]]), tmp_path / "page.html"
    words = ["report", str(path), "-o", str(page), "--where", "targets=chip", "--rows", "accumulators"]
    assert main(words) == 0
    assert f"40 of {len(run)} cells" in capsys.readouterr().out
    text = page.read_text(encoding="utf-8")
    assert "only targets=chip" in text
    assert "Partial" in text
    assert "numpy" in text
    assert main([*words, "--where", "seeds=5"]) == 2
    assert "no finished cell" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "none.sqlite"), "-o", str(page)]) == 2


def test_a_page_of_ten_thousand_cells_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Charts, rows and lines are limited, and what is left out is said."""
    monkeypatch.setattr(grids, "SHADED", 300)
    right = [first(count, 64) for count in range(64)]
    cells = [
        Cell(network="cnn", target=f"chip{chip}", weight_bits=bits, accumulator=wide, overflow="wrap", attack="pgd",
             eps_steps=float(eps))
        for chip, bits, wide, eps in product(range(125), (4, 8), range(10, 20), (2, 4, 8, 16))
    ]  # fmt: skip
    many = [judged(cell, right[i % 64]) for i, cell in enumerate(cells)]
    assert len(many) == 10_000
    page = told(many)
    assert len(page.encode()) < 4e6
    text = plain(page)
    assert "60 of 125 values of machine are drawn" in text
    assert "7 of 125 values of machine are drawn" in text
    assert "1 of 8 charts are drawn" in text
    assert "Cells 9501 to 10000 of 10000" in text
    assert page.count("<details open") <= 3


def test_without_jinja2_it_says_what_to_install(run: tuple[Judged, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(IntsimError, match=r"pip install intsim\[report\]"):
        told(run)


def test_the_same_store_gives_the_same_page(run: tuple[Judged, ...], tmp_path: Path) -> None:
    pages = [told(run[:50]) for _ in range(2)]
    assert pages[0] == pages[1]
