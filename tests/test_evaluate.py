"""Every number of an evaluation is a recount in plain Python; what may not be claimed is not claimed."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import msgspec
import numpy as np
import pytest
from float_graphs import plain, residual
from msgspec.structs import replace

from intsim import engine, oracle
from intsim.attack.catalogue import ATTACKS
from intsim.attack.twin import twin
from intsim.build import build
from intsim.calibrate import ranges
from intsim.errors import IntsimError
from intsim.evaluate import Evaluation, evaluate
from intsim.evaluate.camera import as_pixels, attacked, digest, on_grid, planned
from intsim.evaluate.judged import judged, top_share
from intsim.evaluate.judges import answers, float_judge, null_judge, program_judge
from intsim.evaluate.null import float_null, restored
from intsim.evaluate.records import CLEAN, FAKE, FLOAT, NULL, Images, Judge, Row, bits
from intsim.evaluate.verdict import curves, verdict
from intsim.evaluate.whole import STANDS_FOR, evaluated
from intsim.graph import Graph, Pixels
from intsim.quantize import quantize
from intsim.quantized import QuantizedGraph, dequantized
from intsim.tasks import data, top_k
from intsim_models import images, path

pytestmark = pytest.mark.usefixtures("one_thread")

SHIPPED = images()
N = 40
X, Y = SHIPPED.x[:N], SHIPPED.y[:N].astype(np.int64)


def drawn(graph: Graph, n: int = 30, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *graph.shapes["image"]), dtype=np.uint8)


def quantized_plain(bits_: int = 4) -> tuple[Graph, QuantizedGraph]:
    graph = plain()
    return graph, quantize(graph, ranges(graph, drawn(graph)), weight_bits=bits_, activation_bits=8)


# ---- rows are recounts -----------------------------------------------------------------------------------------

CLASSES = 4
SETS = [(None, 0.0), ("noise", 2.0), ("fgsm", 2.0), ("noise", 8.0), ("fgsm", 8.0)]


def made(n: int = 60) -> tuple[list[Images], np.ndarray, Callable[[int], Callable[[np.ndarray], np.ndarray]]]:
    """Sets of images whose first pixel names the set, labels, and judges that answer small random integers."""
    y = np.random.default_rng(1).integers(0, CLASSES, n)
    sets = [
        Images(
            attack=None if name is None else ATTACKS[name],
            eps_steps=eps,
            grid=255,
            x=np.full((n, 1, 2, 2), index, np.uint8),
            digest=f"digest of {index}",
        )
        for index, (name, eps) in enumerate(SETS)
    ]

    def judge(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        def answer(x: np.ndarray) -> np.ndarray:
            rng = np.random.default_rng([seed, x[0, 0, 0, 0]])
            output = rng.integers(0, 4, (n, CLASSES))
            output[np.arange(n), y] += 2 * (rng.random(n) < 0.85)  # ties are frequent, and so are right answers
            return output

        return answer

    return sets, y, judge


def test_every_number_of_every_row_is_a_recount_in_plain_python() -> None:
    sets, y, judge = made()
    panel = [
        Judge(network="net", target=FLOAT, answer=judge(0)),
        Judge(network="net w4", target=NULL, answer=judge(1)),
        Judge(network="net w4", target="chip", answer=judge(2)),
        Judge(network="net w2", target="chip", answer=judge(3)),
    ]
    rows = judged(panel, iter(sets), y, seed=7)
    assert len(rows) == len(panel) * len(sets)

    answers_of = {(j.network, j.target, i): j.answer(s.x).tolist() for j in panel for i, s in enumerate(sets)}
    first = {
        key: [row.index(max(row)) == int(label) for row, label in zip(table, y, strict=True)]
        for key, table in answers_of.items()
    }
    for place, row in enumerate(rows):
        index, judge_ = place // len(panel), panel[place % len(panel)]
        assert (row.network, row.target, row.attack) == (judge_.network, judge_.target, SETS[index][0] or CLEAN)
        assert (row.eps_steps, row.eps, row.seed) == (SETS[index][1], SETS[index][1] / 255, 7)
        assert row.images == f"digest of {index}"
        here = first[row.network, row.target, index]
        table = answers_of[row.network, row.target, index]
        assert bits(row).tolist() == here
        assert (row.n, row.correct) == (len(here), sum(here))
        assert row.low < row.accuracy < row.high
        tied = [r.count(max(r)) > 1 for r in table]
        top = [r[label] == max(r) for r, label in zip(table, y, strict=True)]
        assert row.tied == sum(tied) > 0
        assert row.correct_ties_right == sum(top)
        assert row.correct_ties_wrong == sum(t and not two for t, two in zip(top, tied, strict=True))
        said = [r.index(max(r)) for r in table]
        assert row.predicted == tuple(said.count(c) for c in range(CLASSES))
        assert row.top_share == max(row.predicted) / len(said)
        against = {FLOAT: ("net", FLOAT)} if row.target != FLOAT else {}
        against |= {NULL: ("net w4", NULL)} if (row.network, row.target) == ("net w4", "chip") else {}
        assert set(row.paired) == set(against)
        for name, other in against.items():
            there = first[*other, index]
            assert row.paired[name].gained == sum(a and not b for a, b in zip(here, there, strict=True))
            assert row.paired[name].lost == sum(b and not a for a, b in zip(here, there, strict=True))
        if index == 0:
            assert row.transferred is None
            assert row.fooled is None
            continue
        assert not row.collapsed
        clean, clean_float = first[row.network, row.target, 0], first["net", FLOAT, 0]
        float_ = first["net", FLOAT, index]
        source = [c and not f for c, f in zip(clean_float, float_, strict=True)]
        assert row.transferred is not None
        assert row.transferred.n == sum(source)
        assert row.transferred.count == sum(s and not h for s, h in zip(source, here, strict=True))
        assert row.fooled is not None
        assert row.fooled.n == sum(clean)
        assert row.fooled.count == sum(c and not h for c, h in zip(clean, here, strict=True))


def test_the_predicate_of_the_task_decides() -> None:
    sets, y, judge = made()
    panel = [Judge(network="net", target=FLOAT, answer=judge(0))]
    one, two = (judged(panel, iter(sets), y, right=right)[0] for right in (top_k(1), top_k(2)))
    assert two.correct > one.correct
    output = judge(0)(sets[0].x)
    expected = [label in np.argsort(-r, kind="stable")[:2] for r, label in zip(output, y, strict=True)]
    assert bits(two).tolist() == expected


@pytest.mark.parametrize(
    ("panel", "said"),
    [
        ([("net", "chip")], "0 judges are the float network"),
        ([("net", FLOAT), ("other", FLOAT)], "2 judges are the float network"),
        ([("net", FLOAT), ("net", "chip"), ("net", "chip")], "net on chip: judges twice"),
    ],
)
def test_a_panel_that_cannot_judge_is_refused(panel: Sequence[tuple[str, str]], said: str) -> None:
    sets, y, judge = made()
    judges = [Judge(network=network, target=target, answer=judge(i)) for i, (network, target) in enumerate(panel)]
    with pytest.raises(IntsimError) as error:
        judged(judges, iter(sets), y)
    assert said in str(error.value)


@pytest.mark.parametrize("output", [np.full((60, 4), np.nan), np.zeros((59, 4)), np.zeros(60)])
def test_an_answer_that_is_none_is_refused(output: np.ndarray) -> None:
    sets, y, _ = made()
    with pytest.raises(IntsimError, match="net on float: answers"):
        judged([Judge(network="net", target=FLOAT, answer=lambda x: output)], iter(sets), y)


# ---- collapse --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counts", "collapsed"),
    [
        ([10] * 10, False),
        ([19, 19, 19, 7, 6, 6, 6, 6, 6, 6], False),  # 57 % in the three most frequent
        ([21, 21, 21, 7, 5, 5, 5, 5, 5, 5], True),  # 63 %
        ([100] + [0] * 9, True),
    ],
)
def test_a_judge_that_gives_few_answers_too_often_has_collapsed(counts: list[int], collapsed: bool) -> None:
    y = np.repeat(np.arange(10), 10)
    said = np.repeat(np.arange(10), counts)
    sets = [Images(attack=None, eps_steps=0, grid=255, x=np.zeros((100, 1, 2, 2), np.uint8), digest="")]
    panel = [
        Judge(network="net", target=FLOAT, answer=lambda x: np.eye(10)[y]),
        Judge(network="net", target="chip", answer=lambda x: np.eye(10)[np.sort(said)]),
    ]
    row = judged(panel, iter(sets), y)[1]
    assert row.collapsed == collapsed
    assert not row.at_floor or collapsed


def test_few_of_ten_are_three_and_there_is_always_one() -> None:
    assert top_share(np.array([0, 0, 1, 2, 3, 3]), 10) == 5 / 6
    assert top_share(np.array([0, 0, 1]), 2) == 2 / 3


def test_no_better_than_the_most_frequent_label_is_the_floor() -> None:
    y = np.array([0] * 80 + [1] * 20)
    sets = [Images(attack=None, eps_steps=0, grid=255, x=np.zeros((100, 1, 2, 2), np.uint8), digest="")]
    panel = [
        Judge(network="net", target=FLOAT, answer=lambda x: np.eye(2)[y]),
        Judge(network="net", target="constant", answer=lambda x: np.eye(2)[np.zeros(100, int)]),
    ]
    perfect, constant = judged(panel, iter(sets), y)
    assert (perfect.at_floor, perfect.collapsed) == (False, False)
    assert (constant.at_floor, constant.collapsed) == (True, True)


def test_a_collapsed_judge_has_no_conditional_rates() -> None:
    sets, y, judge = made()
    panel = [
        Judge(network="net", target=FLOAT, answer=judge(0)),
        Judge(network="net", target="chip", answer=lambda x: np.eye(CLASSES)[np.zeros(len(y), int)]),
    ]
    for row in judged(panel, iter(sets), y):
        if row.target == "chip":
            assert row.collapsed
            assert row.transferred is None
            assert row.fooled is None


# ---- what is said ------------------------------------------------------------------------------------------------


def rows_of(accuracies: dict[str, Sequence[float]], n: int = 1000) -> list[Row]:
    """Rows of judges with exactly these accuracies, clean first and then under fgsm at 2, 4, 8 ... steps."""
    y = np.arange(n) % 10
    strengths = [0.0, 2.0, 4.0, 8.0][: len(next(iter(accuracies.values())))]
    sets = [
        Images(
            attack=ATTACKS["fgsm"] if eps else None,
            eps_steps=eps,
            grid=255,
            x=np.full((n, 1, 1, 1), index, np.uint8),
            digest="",
        )
        for index, eps in enumerate(strengths)
    ]

    def judge(index: int, values: Sequence[float]) -> Callable[[np.ndarray], np.ndarray]:
        order = np.random.default_rng(index).permutation(n)

        def answer(x: np.ndarray) -> np.ndarray:
            wrong = order >= round(values[int(x[0, 0, 0, 0])] * n)
            return np.eye(10)[(y + wrong) % 10]

        return answer

    panel = [
        Judge(network="net" if name == FLOAT else "net w4", target=name, answer=judge(index, values))
        for index, (name, values) in enumerate(accuracies.items())
    ]
    return judged(panel, iter(sets), y)


def test_a_crossing_that_both_sides_bear_out_is_said_with_its_interval() -> None:
    rows = rows_of({FLOAT: [0.95, 0.8, 0.5, 0.2], "chip": [0.85, 0.7, 0.6, 0.4]})
    (curve,) = [curve for curve in curves(rows) if curve.target == "chip"]
    assert curve.eps == (0.0, 2 / 255, 4 / 255, 8 / 255)
    assert curve.accuracy == (0.85, 0.7, 0.6, 0.4)
    assert curve.sure
    assert curve.crossing is not None
    assert curve.crossing.at == pytest.approx(3 / 255)
    assert curve.crossing.rising
    said = verdict(rows, curves(rows))
    (sentence,) = [s for s in said if "rises above" in s]
    assert "rises above float's at 3.0/255 [" in sentence
    assert "no robustness" in sentence


def test_a_crossing_that_chance_makes_is_not_said() -> None:
    rows = rows_of({FLOAT: [0.95, 0.8, 0.5], "chip": [0.949, 0.801, 0.5]})
    (curve,) = [curve for curve in curves(rows) if curve.target == "chip"]
    assert curve.crossing is not None
    assert not curve.sure
    assert not [s for s in verdict(rows, curves(rows)) if "rises" in s or "falls" in s]


def test_a_collapsed_network_is_called_that_and_nothing_else() -> None:
    rows = rows_of({FLOAT: [0.95, 0.5], "chip": [0.1, 0.6]})
    said = [s for s in verdict(rows, curves(rows)) if s.startswith("net w4 on chip")]
    assert len(said) == 1
    assert "collapsed before any attack: 10.0 %" in said[0]


def test_what_the_float_null_does_as_well_is_said_to_be_no_effect_of_the_chip() -> None:
    rows = rows_of({FLOAT: [0.95, 0.5], NULL: [0.9, 0.6], "chip": [0.9, 0.6], "other": [0.9, 0.75]})
    said = verdict(rows, curves(rows))
    (chip,) = [s for s in said if s.startswith("net w4 on chip: beside")]
    (other,) = [s for s in said if s.startswith("net w4 on other: beside")]
    assert chip.endswith("in 0 of 1 cells.")
    assert "in 1 of 1 cells, most surely" in other
    assert "+15.0 points [" in other


def against_noise(noise: int, fgsm: int, n: int = 1000) -> list[str]:
    """The verdict on a float network that gets so many of the images right, the same first ones."""
    y = np.arange(n) % 10
    right = {None: n, "noise": noise, "fgsm": fgsm}
    sets = [
        Images(
            attack=ATTACKS[name] if name else None,
            eps_steps=2.0 if name else 0.0,
            grid=255,
            x=np.full((n, 1, 1, 1), index, np.uint8),
            digest="",
        )
        for index, name in enumerate(right)
    ]
    counts = list(right.values())
    answer = lambda x: np.eye(10)[(y + (np.arange(n) >= counts[x[0, 0, 0, 0]])) % 10]  # noqa: E731
    return verdict(judged([Judge(network="net", target=FLOAT, answer=answer)], iter(sets), y), [])


def test_an_attack_that_is_surely_weaker_than_noise_is_called_none() -> None:
    def said(noise: int, fgsm: int) -> tuple[int, int]:
        told = against_noise(noise, fgsm)
        return sum("no attack at all" in s for s in told), sum("no stronger than noise" in s for s in told)

    assert said(900, 920) == (1, 0)
    assert said(900, 901) == (0, 1), "one image is chance"
    assert said(900, 900) == (0, 1)
    assert said(900, 899) == (0, 1)
    assert said(900, 500) == (0, 0)


def test_what_is_left_is_said_with_its_interval_and_no_bound_that_it_contradicts() -> None:
    rows = rows_of({FLOAT: [0.95, 0.8, 0.5], "chip": [0.94, 0.7, 0.05]})
    (sentence,) = [s for s in verdict(rows, curves(rows)) if s.startswith("net w4 on chip: 94.0 %")]
    assert ", 5.0 % [" in sentence
    assert "] are left under fgsm at 4/255" in sentence
    assert "at most" not in sentence


def test_the_bound_is_the_first_thing_said_and_nothing_is_ever_called_robust() -> None:
    rows = rows_of({FLOAT: [0.95, 0.8, 0.5], NULL: [0.9, 0.7, 0.6], "chip": [0.85, 0.7, 0.6]})
    said = verdict(rows, curves(rows))
    assert "upper bound" in said[0]
    assert "no measure of robustness" in said[0]
    for sentence in said[1:]:
        assert "robust" not in sentence.replace("which is no robustness", "")


# ---- the camera --------------------------------------------------------------------------------------------------


def test_uint8_images_on_a_uint8_grid_are_untouched() -> None:
    assert on_grid(X, Pixels()) is X
    assert as_pixels(X) is X


def test_floats_find_back_to_the_pixels_that_they_were() -> None:
    for pixels in (Pixels(), Pixels(divisor=1.0), Pixels(mean=(0.3,), std=(0.2,))):
        np.testing.assert_array_equal(on_grid(pixels.to_input(X), pixels), X)
        np.testing.assert_allclose(on_grid(pixels.to_input(X), pixels, None), X / 255, atol=1e-6)


def test_a_coarser_camera_sees_the_nearest_of_its_levels() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    seen = on_grid(ramp, Pixels(), 15)
    assert (seen.dtype, seen.max()) == (np.uint8, 15)
    np.testing.assert_array_equal(seen.ravel(), [math.floor(p * 15 / 255 + 0.5) for p in range(256)])
    np.testing.assert_allclose(as_pixels(seen, 15), seen * 17.0)
    assert on_grid(ramp, Pixels(), 1023).dtype == np.uint16
    with pytest.raises(IntsimError, match="grid: has levels"):
        on_grid(ramp, Pixels(), 0)


def test_noise_of_every_radius_stands_before_the_attacks() -> None:
    attacks = [ATTACKS["fgsm"], ATTACKS["pgd"], ATTACKS["pgd_l2"]]
    plan = planned(attacks, {"fgsm": (0.0, 2.0, 8.0), "pgd": (8.0, 16.0), "pgd_l2": (100.0,)})
    assert [(attack.name, eps) for attack, eps in plan] == [
        ("noise", 2.0),
        ("noise", 8.0),
        ("fgsm", 2.0),
        ("fgsm", 8.0),
        ("noise", 16.0),
        ("pgd", 8.0),
        ("pgd", 16.0),
        ("noise_l2", 100.0),
        ("pgd_l2", 100.0),
    ]


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf])
def test_a_radius_that_is_none_is_refused_and_not_left_out(eps: float) -> None:
    with pytest.raises(IntsimError, match=f"fgsm: {eps} is no radius"):
        planned([ATTACKS["fgsm"]], {"fgsm": (2.0, eps)})


def test_the_digest_tells_images_apart() -> None:
    assert digest(X) == digest(X.copy())
    changed = X.copy()
    changed[3, 0, 4, 5] ^= 1
    assert len({digest(X), digest(changed), digest(X.reshape(N, 28, 28)), digest(X.view(np.int8))}) == 4


# ---- the float null ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("graph", [plain(), residual()], ids=["plain", "residual"])
def test_the_null_is_moved_by_the_quantization_errors_channel_by_channel(graph: Graph) -> None:
    quantized = quantize(graph, ranges(graph, drawn(graph)), weight_bits=4, activation_bits=8)
    null = float_null(graph, quantized, seed=5)
    assert set(null.constants) == set(graph.constants)
    changed = 0
    for name, array in graph.constants.items():
        errors = np.abs(dequantized(quantized.graph.constants[name], quantized.affines[name]).astype(float) - array)
        moved = np.abs(null.constants[name].astype(float) - array)
        for channel in range(len(array)):
            np.testing.assert_allclose(np.sort(moved[channel].ravel()), np.sort(errors[channel].ravel()), atol=1e-6)
        changed += array.ndim > 1 and (np.abs(moved - errors) > 1e-4).any()
    assert changed
    again, other = float_null(graph, quantized, seed=5), float_null(graph, quantized, seed=6)
    assert all(np.array_equal(null.constants[n], again.constants[n]) for n in null.constants)
    assert not all(np.array_equal(null.constants[n], other.constants[n]) for n in null.constants)


def test_the_null_of_a_network_that_quantization_does_not_move_is_that_network() -> None:
    _, quantized = quantized_plain()
    exact = restored(quantized)
    null = float_null(exact, quantized)
    assert all(np.array_equal(null.constants[name], exact.constants[name]) for name in exact.constants)


def test_the_null_of_another_network_is_refused() -> None:
    _, quantized = quantized_plain()
    with pytest.raises(IntsimError, match="quantize this very graph"):
        float_null(residual(), quantized)


# ---- judges ----------------------------------------------------------------------------------------------------


def test_judges_see_the_same_pixels_on_every_grid() -> None:
    graph, _ = quantized_plain()
    x = drawn(graph, 8)
    program = build(graph, "ideal", calibration=drawn(graph))
    for judge in (float_judge(graph), program_judge(program, oracle.run, network="net", target="ideal")):
        np.testing.assert_array_equal(judge.answer(x), judge.answer(x.astype(np.float32)))
    expected = next(iter(oracle.run(program, x).integers.values()))
    np.testing.assert_array_equal(program_judge(program, oracle.run, network="n", target="t").answer(x), expected)


def test_a_judge_answers_an_image_alone_as_it_does_among_others() -> None:
    graph, _ = quantized_plain()
    x, answer = drawn(graph, 260), answers(twin(graph))
    np.testing.assert_allclose(answer(x)[255:], answer(x[255:]), rtol=1e-5, atol=1e-6)


# ---- the whole way -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def found() -> tuple[Evaluation, list[Images], list[tuple[str, int, int]]]:
    kept: list[Images] = []
    told: list[tuple[str, int, int]] = []
    evaluation = evaluate(
        path("mlp"),
        ["litert_ref", "nvdla_small"],
        data=(X, Y),
        attacks=["fgsm", "pgd_l2"],
        eps={"fgsm": ["4/255", 8 / 255], "pgd_l2": ["100/255"]},
        calibration=SHIPPED.x_calibration[:64],
        keep=kept.append,
        progress=lambda *now: told.append(now),
        seed=2,
    )
    return evaluation, kept, told


def test_the_whole_way_judges_every_machine_on_every_set(found: tuple[Evaluation, list[Images], object]) -> None:
    evaluation, kept, _ = found
    judges = list(dict.fromkeys((row.network, row.target) for row in evaluation.rows))
    beside = [NULL, FAKE, "ideal"]
    assert [target for _, target in judges] == [FLOAT, *beside, "litert_ref", *beside, "nvdla_small"]
    assert judges[0] == ("mlp", FLOAT)
    assert judges[4] == ("mlp w8a8", "litert_ref")
    sets = [(images_.name, images_.eps_steps) for images_ in kept]
    assert sets == [
        ("clean", 0.0),
        ("noise", 4.0),
        ("noise", 8.0),
        ("fgsm", 4.0),
        ("fgsm", 8.0),
        ("noise_l2", 100.0),
        ("pgd_l2", 100.0),
    ]
    assert len(evaluation.rows) == len(judges) * len(sets)
    assert {row.images for row in evaluation.rows} == {images_.digest for images_ in kept}
    assert [attack.name for attack in evaluation.attacks] == ["noise", "fgsm", "noise_l2", "pgd_l2"]
    assert (evaluation.n, evaluation.classes, evaluation.seed, evaluation.grid) == (N, 10, 2, 255)
    assert {"python", "numpy", "torch", "scipy"} <= set(evaluation.versions)


def test_rows_are_what_the_programs_say_of_the_kept_images(
    found: tuple[Evaluation, list[Images], object],
) -> None:
    evaluation, kept, _ = found
    program = build(path("mlp"), "nvdla_small", calibration=SHIPPED.x_calibration[:64])
    for images_ in kept:
        logits = engine.run(program, images_.x).logits["logits"]
        (row,) = [
            row
            for row in evaluation.rows
            if (row.target, row.attack, row.eps_steps) == ("nvdla_small", images_.name, images_.eps_steps)
        ]
        np.testing.assert_array_equal(bits(row), logits.argmax(1) == Y)


def test_an_evaluation_goes_through_json_and_back(found: tuple[Evaluation, list[Images], object]) -> None:
    evaluation, _, _ = found
    text = msgspec.json.encode(evaluation)
    assert msgspec.json.decode(text, type=Evaluation) == evaluation
    plainly = msgspec.to_builtins(evaluation)
    assert plainly["rows"][0]["correct"] == evaluation.rows[0].correct
    assert {"low", "high", "n", "network", "target", "attack", "eps", "paired"} <= set(plainly["rows"][0])


def test_progress_runs_to_the_end_and_never_back(found: tuple[object, object, list[tuple[str, int, int]]]) -> None:
    _, _, told = found
    assert told[-1] == ("done", told[-1][2], told[-1][2])
    assert all(a <= b for (_, a, _), (_, b, _) in pairwise(told))
    assert {of for _, _, of in told} == {N * (6 + 7 * 9)}


def test_the_same_seed_gives_the_same_evaluation() -> None:
    graph = plain()
    x, y = drawn(graph, 20), np.arange(20) % 3

    def once(seed: int) -> Evaluation:
        return evaluated(
            twin(graph),
            [float_judge(graph), float_judge(residual_like(graph), target="other")],
            x,
            y,
            [ATTACKS["pgd"]],
            {"pgd": [8.0]},
            seed=seed,
        )

    assert once(1) == once(1)
    assert once(1).rows[-1].images != once(2).rows[-1].images


def residual_like(graph: Graph) -> Graph:
    """The graph with its constants a little larger: somebody else to ask."""
    return replace(graph, constants={name: array * np.float32(1.1) for name, array in graph.constants.items()})


def test_a_program_stands_for_itself_and_has_no_null() -> None:
    program = build(path("mlp"), "cmsis_nn_s8", calibration=SHIPPED.x_calibration[:32])
    few = evaluate(program, data=(X[:8], Y[:8]), attacks=["fgsm"], eps=["8/255"])
    assert [row.target for row in few.rows if row.attack == CLEAN] == [FLOAT, FAKE, "ideal", "cmsis_nn_s8"]


def test_a_float_network_that_was_made_of_integers_is_called_that_before_anything_else_is_said() -> None:
    graph, quantized = quantized_plain()
    x, y = drawn(graph, 12), np.arange(12) % 3
    said = {"data": (x, y), "attacks": "fgsm", "eps": "8/255", "run": oracle.run}
    for model in (quantized, build(quantized, "ideal")):
        found = evaluate(model, "ideal", **said)  # type: ignore[arg-type]
        assert found.rows[0].target == FLOAT
        assert {row.network for row in found.rows if row.target == FLOAT} == {f"{graph.name} (weights dequantized)"}
        assert {row.network for row in found.rows if row.target == "ideal"} == {f"{graph.name} w4a8"}
        assert found.verdict[0] == STANDS_FOR
        assert "the original was not given" in STANDS_FOR
        assert f"{graph.name} in float" not in " ".join(found.verdict)
    given = evaluate(graph, "ideal", calibration=x, **said)  # type: ignore[arg-type]
    assert {row.network for row in given.rows if row.target == FLOAT} == {graph.name}
    assert STANDS_FOR not in given.verdict


def test_one_target_attack_or_radius_stands_for_a_list_of_it() -> None:
    graph = plain()
    x = drawn(graph, 8)
    rest = {"data": (x, np.arange(8) % 3), "calibration": x, "run": oracle.run, "null": False}
    many = evaluate(graph, ["ideal"], attacks=["fgsm"], eps=["8/255"], **rest)  # type: ignore[arg-type]
    for attacks, eps in (("fgsm", "8/255"), (ATTACKS["fgsm"], 8 / 255), ("fgsm", {"fgsm": "8/255"})):
        assert evaluate(graph, "ideal", attacks=attacks, eps=eps, **rest) == many  # type: ignore[arg-type]
    assert [row.eps_steps for row in many.rows] == [0, 0, 0, 8, 8, 8, 8, 8, 8]


def test_images_without_a_grid_are_judged_as_floats() -> None:
    graph = plain()
    x = drawn(graph, 12)
    found = evaluate(
        graph,
        ["ideal"],
        data=(x, np.arange(12) % 3),
        attacks=["fgsm"],
        eps=[0.01],
        calibration=x,
        grid=None,
        run=oracle.run,
    )
    assert found.grid is None
    assert found.rows[-1].eps_steps == pytest.approx(2.55)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"data": (X, None)}, "data: has no labels"),
        ({"data": (X[:, :, :27], Y)}, "the network takes [n, 1, 28, 28]"),
        ({"data": (X, Y + 5)}, "the network has 10 outputs"),
        ({"attacks": ["fgsn"]}, 'no attack is called "fgsn"'),
        ({"eps": {"pgd": ["8/255"]}}, 'no attack is called "pgd"'),
        ({"eps": ["8/256x"]}, "eps"),
        ({"eps": "eight"}, 'eps: "eight" is no radius'),
        ({"eps": [8]}, "did you mean 8/255?"),
        ({"eps": ["8/255", -0.1]}, "eps: -0.1 is negative"),
        ({"eps": [math.nan]}, "eps: nan is not finite"),
        ({"eps": {"fgsm": [0.003]}}, "below one step of the camera's grid: give 1/255 or more"),
        ({"grid": 15}, "below one step of the camera's grid: give 1/15 or more"),
        ({"attacks": "fgsn"}, 'no attack is called "fgsn"'),
        ({"targets": "nvdla_smal"}, "nvdla_small"),
        ({"data": (X, Y, Y)}, "data: is a tuple of 3, not images and labels: give (x, y)"),
        ({"data": (X,)}, "data: is a tuple of 1, not images and labels"),
        ({"data": X}, "data: is a ndarray, not images and labels"),
        ({"calibration": None}, "is a float network"),
        ({"targets": ["nvdla_smal"]}, "nvdla_small"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_crafted(change: dict[str, object], said: str) -> None:
    asked: dict[str, object] = {
        "targets": ["nvdla_small"],
        "data": (X, Y),
        "attacks": ["fgsm"],
        "eps": ["8/255"],
        "calibration": SHIPPED.x_calibration[:16],
        "keep": lambda images_: pytest.fail("something was crafted"),
        **change,
    }
    with pytest.raises(IntsimError) as error:
        evaluate(path("mlp"), **asked)  # type: ignore[arg-type]
    assert said in str(error.value)


def test_crafting_is_lazy_so_that_one_set_is_held_at_a_time() -> None:
    graph = plain()
    x = drawn(graph, 4)
    sets = attacked(twin(graph), x, np.zeros(4, int), [ATTACKS["fgsm"]], [4.0, 8.0])
    assert next(sets).attack is None
    assert next(sets).name == "noise"


def test_labels_of_any_integer_type_will_do() -> None:
    graph = plain()
    x = drawn(graph, 6)
    found = evaluate(graph, data=data(x, np.arange(6, dtype=np.uint8) % 3), attacks=["fgsm"], eps=["4/255"])
    assert found.rows[0].n == 6


def test_the_null_judge_is_the_null() -> None:
    graph, quantized = quantized_plain()
    x = drawn(graph, 5)
    judge = null_judge(graph, quantized, network="net w4", seed=3)
    assert (judge.network, judge.target) == ("net w4", NULL)
    np.testing.assert_array_equal(judge.answer(x), answers(twin(float_null(graph, quantized, 3)))(x))
