"""A review is the evaluation itself, and a closer look that contradicts none of it."""

from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.evaluate import evaluate
from intsim.evaluate.records import FLOAT, bits
from intsim.partition import Mixed
from intsim.report import Results, render, results
from intsim.review import review
from intsim.targets import TARGETS
from intsim.tasks import top_k
from intsim_models import images, path

SHIPPED = images()
N = 60
ASKED: dict[str, Any] = {
    "data": (SHIPPED.x[:N], SHIPPED.y[:N].astype(np.int64)),
    "attacks": ("fgsm", "bim"),
    "eps": ("4/255", "8/255"),
    "calibration": SHIPPED.x_calibration[:100],
}


@pytest.fixture(scope="module")
def made() -> Results:
    return review(path("cnn"), ["cmsis_nn_s8", "ort_x86_avx2"], accumulators=(24, 13), **ASKED)


def test_a_review_holds_the_rows_of_the_evaluation_and_those_of_the_narrower_accumulators(made: Results) -> None:
    plain = results(evaluate(path("cnn"), ["cmsis_nn_s8", "ort_x86_avx2"], **ASKED))
    assert made.rows[: len(plain.rows)] == plain.rows
    assert replace(made, rows=(), ladder=(), overflows=(), gallery=(), amplified=()) == replace(plain, rows=())
    more = made.rows[len(plain.rows) :]
    sets = {(row.attack, row.eps_steps) for row in more}
    assert {("clean", 0.0), ("noise", 4.0)} < sets or {("clean", 0.0), ("noise", 8.0)} < sets
    assert {(name, eps) for name in ("fgsm", "bim") for eps in (4.0, 8.0)} < sets, "heatmaps have every strength"
    assert {row.target for row in more} == {rung.target for rung in made.ladder}
    assert {(rung.bits, rung.overflow) for rung in made.ladder} == {
        (b, o) for b in (24, 13) for o in ("wrap", "saturate")
    }


def test_a_wide_accumulator_is_the_machine_and_a_narrow_one_overflows_more_than_never(made: Results) -> None:
    rows = {(row.target, row.attack, row.eps_steps): row for row in made.rows}
    for (target, *images_), row in rows.items():
        if "+acc24" in target:
            assert bits(row).tolist() == bits(rows["cmsis_nn_s8", *images_]).tolist()
    assert all(count.outputs == 0 for count in made.overflows if "+acc24" in count.target)
    assert {count.images for count in made.overflows} == {N}
    for mode in ("wrap", "saturate"):
        assert sum(count.outputs for count in made.overflows if count.target.endswith(f"+acc13_{mode}")) > 0


def test_layers_and_single_images_are_those_of_the_first_machine_and_say_what_the_rows_say(made: Results) -> None:
    assert {(one.target, one.images) for one in made.amplified} == {("cmsis_nn_s8", N)}
    assert len({one.layer for one in made.amplified}) > 3
    rows = {(row.network, row.target, row.attack, row.eps_steps): row for row in made.rows}
    assert made.gallery
    network = next(row.network for row in made.rows if row.target == FLOAT)
    for one in made.gallery:
        for who, answer in (((network, FLOAT), one.float_attacked), ((one.network, one.target), one.chip_attacked)):
            right = bits(rows[*who, one.attack, one.eps_steps])[one.index]
            assert right == (answer == one.label)


def test_the_page_has_every_section_and_each_figure_says_how_to_repeat_it(made: Results) -> None:
    page = render(replace(made, command="intsim attack cnn"))
    for title in ("A narrower accumulator", "Where sums overflow", "How errors grow", "What float says"):
        assert title in page
    assert page.count("<figcaption>") == page.count(f"intsim attack cnn · images {made.data[:12]}") > 10
    assert 'src="http' not in page


def test_what_is_no_class_or_no_picture_has_no_gallery() -> None:
    asked = {**ASKED, "eps": "8/255", "attacks": "fgsm", "null": False}
    found = review(path("mlp"), "cmsis_nn_s8", right=top_k(2), accumulators=(16,), **asked)
    assert not found.gallery
    assert found.amplified
    assert found.ladder
    known = review(path("mlp"), "cmsis_nn_s8", **{**asked, "attacks": "ste_pgd"})
    assert (known.gallery, known.amplified) == ((), ()), "nothing was crafted on float"


@pytest.mark.parametrize(
    ("targets", "widths", "said"),
    [
        ((), (16,), "name one: --target NAME"),
        (("cmsis_nn_s8",), (3,), "choose 4 to 64"),
        ((Mixed(target=TARGETS["ideal"], nodes={"gemm_1": TARGETS["litert_ref"]}),), (16,), "name one machine first"),
    ],
)
def test_accumulators_that_nothing_has_are_refused_before_anything_is_crafted(
    targets: tuple[Any, ...], widths: tuple[int, ...], said: str
) -> None:
    def never(what: str, done: int, of: int) -> None:
        raise AssertionError(what)

    with pytest.raises(IntsimError, match=said):
        review(path("mlp"), targets, accumulators=widths, progress=never, **ASKED)


def test_attacked_images_do_not_depend_on_how_many_threads_torch_has() -> None:
    torch = pytest.importorskip("torch")
    before, digests = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            found = evaluate(path("cnn"), "ideal", **{**ASKED, "attacks": "pgd", "null": False})
            digests.append([row.images for row in found.rows])
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert digests[0] == digests[1]
