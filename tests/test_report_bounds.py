"""No number without its bounds: brackets, steps, failed checks, who fools whom, every image's outcome."""

import io

import numpy as np
import pytest
from msgspec.structs import replace
from sample_results import sample

from intsim.evaluate.records import FLOAT, Evaluation, bits, labels
from intsim.evaluate.verdict import MASKED
from intsim.report import Amplified, Results, accumulators, bounds, outcomes
from intsim.statistics import wilson


@pytest.fixture(scope="module")
def found():
    return sample(120)


def test_the_results_hold_every_field_of_an_evaluation_first_and_in_its_order():
    fields = Evaluation.__struct_fields__
    assert Results.__struct_fields__[: len(fields)] == fields


def test_the_verdict_names_its_number_its_interval_and_what_it_does_not_cover(found):
    said = bounds.sentence(found)
    widest = [one for one in found.brackets if one.eps_steps == 16 and one.target in ("cmsis_nn_s8", "nvdla_small")]
    assert f"[{100 * min(widest, key=lambda one: one.upper.count).upper.low:.1f}–" in said
    assert "nothing is proven from below" in said
    assert "looser bound" in said
    assert "not patches" in said
    assert MASKED not in said.lower()


def test_a_masked_judge_is_called_so_in_the_verdict_and_in_its_bracket(found):
    worst = next(one for one in found.brackets if one.target == "nvdla_small")
    gates = tuple(replace(gate, network=worst.network, target=worst.target) for gate in found.gates[:1])
    masked = replace(found, gates=gates, brackets=(worst,))
    assert MASKED in bounds.sentence(masked).lower()
    assert MASKED in bounds.brackets(masked)[0].caption
    assert found.gates[0].settle in bounds.bracket_table(masked).rows[0][2].small


def test_a_certificate_closes_the_bracket(found):
    proven = replace(found, brackets=tuple(replace(one, lower=wilson(7, one.upper.n)) for one in found.brackets[:2]))
    (open_one, *_), (closed, *_) = bounds.brackets(found), bounds.brackets(proven)
    assert "lower: certified" not in open_one.svg
    assert "No certificate" in open_one.caption
    assert "lower: certified" in closed.svg
    assert "No certificate" not in closed.caption


def test_a_failed_check_stands_beside_the_number_that_it_spoils_with_what_would_settle_it(found):
    table = bounds.gate_table(found)
    (line,) = table.rows
    spoilt = next(
        r for r in found.rows if (r.network, r.target, r.attack, r.eps_steps) == ("net w4", "ideal", "fgsm", 8)
    )
    assert f"{100 * spoilt.accuracy:.1f}" in line[2].text
    assert line[4].text == "square with 5,000 queries"
    assert table.title.startswith("1 of 2 checks failed")


def test_every_step_on_the_telling_images_stands_in_the_table(found):
    table = bounds.step_table(found)
    eps = {one.eps_steps for one in bounds._cell(found)}
    assert len(eps) == 1
    assert len(table.rows) == sum((r.attack, r.eps_steps) == ("fgsm", *eps) for r in found.rungs) > 3
    assert len(bounds.steps(found)) == len({one.network for one in found.rungs})


def test_the_matrix_has_a_row_for_every_chip_that_was_attacked_and_one_for_transfer(found):
    assert bounds.matrices(found) == []
    chips = ("net w8 on ideal", "net w8 on cmsis_nn_s8")
    own = [row for row in found.rows if (row.attack, row.eps_steps) == ("pgd", 8) and row.who in (FLOAT, *chips)]
    known = [replace(row, attack="ste_pgd", crafted_on=chip) for chip in chips for row in own]
    (figure,) = bounds.matrices(replace(found, rows=(*found.rows, *known)))
    for text in ("float (transfer)", *chips, "judged on", "crafted on"):
        assert text in figure.svg


def test_accumulators_judged_at_several_strengths_have_a_heatmap_for_each_mode_and_attack(found):
    assert len(accumulators.heat(found)) == 4
    kept = {(one.network, one.target) for one in found.ladder}
    few = tuple(r for r in found.rows if (r.network, r.target) not in kept or r.eps_steps in (0, 8))
    assert accumulators.heat(replace(found, rows=few)) == []


def test_layers_without_noise_leave_a_gap_and_no_number(found):
    one = Amplified(
        network="net w8", target="ideal", layer="conv", attack="fgsm", eps_steps=8.0, images=5,
        clean=None, attacked=20.0, attack_on_float=10.0, attack_on_chip=9.0,
    )  # fmt: skip
    (figure,) = bounds.amplified(replace(found, amplified=(one, replace(one, layer="fc", clean=30.0))))
    assert "5 images" in figure.caption
    assert "nan" not in figure.svg.lower()


def test_every_image_of_every_row_can_be_recomputed_from_the_outcomes(found):
    file = outcomes(found)
    assert file == outcomes(found)
    held = np.load(io.BytesIO(file), allow_pickle=False)
    right = np.unpackbits(held["right"], axis=1, count=found.n)
    for i, row in enumerate(found.rows):
        assert (held["network"][i], held["target"][i], held["attack"][i], held["eps_steps"][i]) == (
            row.network, row.target, row.attack, row.eps_steps,
        )  # fmt: skip
        assert (right[i] == bits(row)).all()
        assert (held["answers"][i] == labels(row)).all()
