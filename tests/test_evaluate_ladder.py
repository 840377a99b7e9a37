"""The ladder adds up and is a recount; the bracket is the worst case image by image; fake-quant rounds as it should."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pytest
import torch
from float_graphs import plain
from msgspec.structs import replace

from intsim import oracle
from intsim.attack.catalogue import ATTACKS, Attack
from intsim.calibrate import ranges
from intsim.errors import IntsimError
from intsim.evaluate import evaluate
from intsim.evaluate.bracket import brackets
from intsim.evaluate.fake import _rounded, fake
from intsim.evaluate.judged import judged
from intsim.evaluate.judges import answers, fake_judge
from intsim.evaluate.ladder import ladder, primary, rungs
from intsim.evaluate.records import FAKE, FLOAT, IDEAL, NULL, Evaluation, Images, Judge, Row, bits, labels, tie_bits
from intsim.integers import affine
from intsim.lower import lower
from intsim.quantize import quantize
from intsim.quantized import dequantized, quantized
from intsim.report import results
from intsim.statistics import holm, wilson
from intsim.targets import TARGETS

CLASSES, N = 4, 80
SETS = [(None, 0.0), ("noise", 2.0), ("fgsm", 2.0), ("fgsm", 8.0), ("pgd", 8.0), ("pgd_l2", 100.0)]
PANEL = [("net", FLOAT), ("net w4", NULL), ("net w4", FAKE), ("net w4", IDEAL), ("net w4", "chip"), ("net w4", "npu")]


def made(panel: Sequence[tuple[str, str]] = PANEL) -> list[Row]:
    """Rows of judges that answer small random integers: changes, rescues and ties are frequent."""
    y = np.random.default_rng(1).integers(0, CLASSES, N)
    sets = [
        Images(
            attack=ATTACKS[name] if name else None,
            eps_steps=eps,
            grid=255,
            x=np.full((N, 1, 2, 2), i, np.uint8),
            digest="",
        )
        for i, (name, eps) in enumerate(SETS)
    ]

    def judge(seed: int):
        def answer(x: np.ndarray) -> np.ndarray:
            rng = np.random.default_rng([seed, x[0, 0, 0, 0]])
            output = rng.integers(0, 4, (N, CLASSES))
            output[np.arange(N), y] += 2 * (rng.random(N) < 0.85)
            return output

        return answer

    judges = [Judge(network=n, target=t, answer=judge(PANEL.index((n, t)))) for n, t in panel]
    return judged(judges, iter(sets), y)


ROWS = made()
ATTACKED = [ATTACKS[name] for name in ("noise", "fgsm", "pgd", "pgd_l2")]


def row(target: str, attack: str, eps: float, rows: Sequence[Row] = ROWS) -> Row:
    return next(r for r in rows if (r.target, r.attack, r.eps_steps) == (target, attack, eps))


# ---- the ladder ----------------------------------------------------------------------------------------------------


def test_every_step_is_a_recount_and_the_steps_add_up_to_the_whole() -> None:
    found = rungs(ROWS)
    assert len(found) == len(SETS) * 4, "float to fake-quant to ideal to each of two targets"
    for target in ("chip", "npu"):
        for attack, eps in ((name or "clean", eps) for name, eps in SETS):
            steps = ladder(found, "net w4", target, attack, eps)
            assert [(s.before, s.after) for s in steps] == [(FLOAT, FAKE), (FAKE, IDEAL), (IDEAL, target)]
            path = [row(name, attack, eps) for name in (FLOAT, FAKE, IDEAL, target)]
            net = sum(s.paired.gained - s.paired.lost for s in steps)
            assert net == path[-1].correct - path[0].correct
            said = [labels(r).tolist() for r in path]
            seen = set()
            for place, step in enumerate(steps, 1):
                a, b = bits(path[place]).tolist(), bits(path[place - 1]).tolist()
                assert step.paired.gained == sum(x and not z for x, z in zip(a, b, strict=True))
                assert step.paired.lost == sum(z and not x for x, z in zip(a, b, strict=True))
                moved = {i for i in range(N) if said[place][i] != said[place - 1][i]}
                assert step.changed == len(moved)
                assert step.first == len(moved - seen)
                assert step.rescued == sum(said[place][i] == said[0][i] for i in moved)
                assert place == 1 or step.rescued
                seen |= moved


def test_every_step_stands_beside_the_null_and_the_family_is_all_of_them() -> None:
    found = rungs(ROWS)
    assert [s.p_holm for s in found] == holm([s.paired.p for s in found])
    for step in found:
        null, start = (bits(row(name, step.attack, step.eps_steps)) for name in (NULL, FLOAT))
        assert step.null.gained == int((null & ~start).sum())
        assert step.beyond.at == pytest.approx(step.paired.difference - step.null.difference)
        assert step.beyond.low < step.beyond.at < step.beyond.high


def test_a_missing_judge_is_bridged_and_a_missing_null_is_none() -> None:
    found = rungs(made([("net", FLOAT), ("net w4", IDEAL), ("net w4", "chip")]))
    steps = ladder(found, "net w4", "chip", "pgd", 8.0)
    assert [(s.before, s.after, s.null, s.beyond) for s in steps] == [
        (FLOAT, IDEAL, None, None),
        (IDEAL, "chip", None, None),
    ]


def test_float_behind_a_coarser_input_is_no_step_of_the_ladder() -> None:
    behind = [replace(r, target="float, same input") for r in ROWS if r.target == FAKE]
    assert rungs([*ROWS, *behind]) == rungs(ROWS)
    assert primary([*behind, *ROWS], ATTACKED).target == "chip"


def test_images_crafted_on_a_chip_have_a_ladder_of_their_own() -> None:
    crafted = [replace(r, crafted_on="net w4 on chip") for r in ROWS if r.attack == "pgd"]
    found = rungs([*ROWS, *crafted])
    assert len(found) == len(rungs(ROWS)) + 4
    assert ladder(found, "net w4", "chip", "pgd", 8.0) == [
        replace(s, p_holm=t.p_holm)
        for s, t in zip(
            ladder(rungs(ROWS), "net w4", "chip", "pgd", 8.0), ladder(found, "net w4", "chip", "pgd", 8.0), strict=True
        )
    ]


def test_the_primary_comparison_depends_on_nothing_that_was_found() -> None:
    one = primary(ROWS, ATTACKED)
    assert (one.network, one.target, one.attack, one.eps_steps) == ("net w4", "chip", "pgd", 8.0)
    assert one.paired == row("chip", "pgd", 8.0).paired[FLOAT]
    only = primary(ROWS, [ATTACKS["noise"], ATTACKS["fgsm"]])
    assert (only.attack, only.eps_steps) == ("fgsm", 8.0), "the larger of two in the middle"
    assert primary(ROWS, ATTACKED, ("npu", "fgsm", 2.0)).paired == row("npu", "fgsm", 2.0).paired[FLOAT]
    assert primary([r for r in ROWS if r.target in (FLOAT, NULL, FAKE)], ATTACKED) is None
    with pytest.raises(IntsimError, match="the primary cell: fgsm at 3/255 on npu was not judged"):
        primary(ROWS, ATTACKED, ("npu", "fgsm", 3.0))


# ---- the bracket ---------------------------------------------------------------------------------------------------


def test_the_upper_bound_is_the_worst_case_image_by_image_in_the_ball() -> None:
    found = {(b.target, b.norm, b.eps_steps): b for b in brackets(ROWS)}
    assert set(found) == {(t, n, e) for _, t in PANEL for n, e in (("linf", 2.0), ("linf", 8.0), ("l2", 100.0))}
    within = {
        ("linf", 2.0): [("clean", 0), ("noise", 2), ("fgsm", 2)],
        ("linf", 8.0): [("clean", 0), ("noise", 2), ("fgsm", 2), ("fgsm", 8), ("pgd", 8)],
        ("l2", 100.0): [("clean", 0), ("pgd_l2", 100)],
    }
    for (target, norm, eps), bracket in found.items():
        sets = [row(target, *one) for one in within[norm, eps]]
        alive = [all(bits(r)[i] for r in sets) for i in range(N)]
        assert bracket.upper == wilson(sum(alive), N)
        assert bracket.upper.count < min(r.correct for r in sets) or norm == "l2"
        worst = [all(tie_bits(r)[0][i] for r in sets) for i in range(N)]
        best = [all(tie_bits(r)[1][i] for r in sets) for i in range(N)]
        assert (bracket.ties_wrong.count, bracket.ties_right.count) == (sum(worst), sum(best))
        assert bracket.over == tuple(dict.fromkeys(name for name, _ in within[norm, eps]))
        assert (bracket.lower, bracket.loose) == (None, target != FLOAT)
        assert bracket.transfer == bracket.upper
    assert any(b.ties_wrong.count < b.ties_right.count for b in found.values())


def test_the_extremes_of_ties_are_those_that_are_counted() -> None:
    for one in ROWS:
        worst, best = tie_bits(one)
        assert (worst.sum(), best.sum()) == (one.correct_ties_wrong, one.correct_ties_right)
        assert (worst <= bits(one)).all()
        assert (bits(one) <= best).all()
    assert any(one.ties_wrong != b"" for one in ROWS)


def test_transfer_alone_is_called_the_looser_bound_until_an_attack_knows_the_chip() -> None:
    wrong = np.packbits(np.zeros(N, bool)).tobytes()
    known = replace(row("chip", "pgd", 8.0), crafted_on="net w4 on chip", right=wrong, ties_wrong=b"", ties_right=b"")
    found = {(b.target, b.norm, b.eps_steps): b for b in brackets([*ROWS, known])}
    chip = found["chip", "linf", 8.0]
    assert not chip.loose
    assert (chip.upper.count, chip.transfer) == (
        0,
        next(b for b in brackets(ROWS) if (b.target, b.eps_steps) == ("chip", 8)).upper,
    )
    assert chip.over[-1] == "pgd crafted on net w4 on chip"
    assert found["chip", "linf", 2.0].loose
    assert found["npu", "linf", 8.0].loose


def test_what_is_proven_is_the_lower_bound_and_may_not_contradict_an_attack() -> None:
    alive = np.all([bits(row("chip", *one)) for one in (("clean", 0), ("noise", 2), ("fgsm", 2))], axis=0)
    proven = alive & (np.arange(N) % 2 == 0)
    handed = lambda network, target, norm, eps: proven if (target, eps) == ("chip", 2.0) else None  # noqa: E731
    found = {(b.target, b.eps_steps): b for b in brackets(ROWS, handed)}
    assert found["chip", 2.0].lower == wilson(int(proven.sum()), N)
    assert 0 < found["chip", 2.0].lower.count < found["chip", 2.0].upper.count
    assert found["chip", 8.0].lower is None
    with pytest.raises(
        IntsimError, match=r"float: image \d+ is proven right within 100/255 \(l2\), and was fooled there"
    ):
        brackets(ROWS, lambda *_: np.ones(N, bool))


# ---- fake-quant ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("zero", [0, -128, 7])
def test_a_tensor_is_rounded_as_quantize_linear_does_it(zero: int) -> None:
    one = affine(0.25, zero, "s8")
    x = np.concatenate([np.arange(-700, 700) * 0.125, np.random.default_rng(0).normal(0, 20, 2000)]).astype(np.float32)
    expected = dequantized(quantized(x, one), one)
    assert len(np.unique(expected)) == 256
    np.testing.assert_array_equal(_rounded(torch.from_numpy(x), one).numpy(), expected)


@pytest.mark.parametrize("weight_bits", [8, 3])
def test_fake_quant_is_the_integers_in_ideal_arithmetic_up_to_the_last_bits_of_floats(weight_bits: int) -> None:
    graph = plain()
    x = np.random.default_rng(3).integers(0, 256, (60, *graph.shapes["image"]), dtype=np.uint8)
    source = quantize(graph, ranges(graph, x), weight_bits=weight_bits, activation_bits=8)
    integers = next(iter(oracle.run(lower(source, TARGETS[IDEAL]), x).integers.values()))
    imitated = fake_judge(source, network="net").answer(x)
    expected = dequantized(integers, source.affines[source.graph.outputs[0]])
    step = source.affines[source.graph.outputs[0]].scale[0]
    assert np.isclose(imitated, expected, atol=step / 4).mean() > 0.98
    assert np.abs(imitated - expected).max() < 2.5 * step
    np.testing.assert_array_equal(imitated, answers(fake(source))(x))


# ---- in an evaluation -----------------------------------------------------------------------------------------------


def test_an_evaluation_holds_its_ladder_its_brackets_and_its_gates_and_goes_through_json() -> None:
    graph = plain()
    x = np.random.default_rng(4).integers(0, 256, (40, *graph.shapes["image"]), dtype=np.uint8)
    y = answers_of(graph, x)
    y[:10] = (y[:10] + 1) % 3
    found = evaluate(
        graph, "ideal", data=(x, y), attacks=["fgsm", "pgd"], eps=["4/255"], calibration=x, run=oracle.run, seed=1
    )
    assert {(s.before, s.after) for s in found.rungs} == {(FLOAT, FAKE), (FAKE, IDEAL)}
    assert {b.target for b in found.brackets} == {FLOAT, NULL, FAKE, IDEAL}
    assert {(g.target, g.passed) for g in found.gates if g.name == "zero gradients"} == {
        (FLOAT, True), (NULL, None), (FAKE, None), (IDEAL, None)
    }  # fmt: skip
    assert (found.primary.target, found.primary.attack) == (IDEAL, "pgd")
    assert "fixed beforehand: " in found.verdict[-1]
    assert msgspec.json.decode(msgspec.json.encode(found), type=Evaluation) == found
    assert results(msgspec.to_builtins(found)).rungs == found.rungs
    again = evaluate(
        graph, "ideal", data=(x, y), attacks=[Attack(name="mine", start="edge")], eps=["4/255"],
        calibration=x, run=oracle.run, cell=("ideal", "mine", 4.0),
    )  # fmt: skip
    assert again.primary.attack == "mine"


def answers_of(graph, x: np.ndarray) -> np.ndarray:
    from intsim.attack.twin import twin

    return answers(twin(graph))(x).argmax(1)
