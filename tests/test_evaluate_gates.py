"""Each gate passes what is sound, fails what is not, and says so where it knows nothing; their calibration's page."""

import json
import re

import gates as calibration
import numpy as np
import pytest
import torch
from msgspec.structs import replace

from intsim.attack.catalogue import ATTACKS, Attack
from intsim.evaluate.gates import gates, judge_gates, masked
from intsim.evaluate.judged import judged
from intsim.evaluate.limits import LONE_GAP
from intsim.evaluate.probe import Probe, probe
from intsim.evaluate.records import FLOAT, Gate, Images, Judge
from intsim.evaluate.sight import Case, Seen
from intsim.evaluate.verdict import MASKED, verdict

N = 500
PGD20 = replace(ATTACKS["pgd"], name="pgd20", steps=20, step_size=0.125)
SQUARE = Attack(name="square", function="somebody's")


def share(right: float, seed: int = 0) -> np.ndarray:
    """bool[N]: so many right; of the same seed always the same ones first."""
    return np.random.default_rng(seed).permutation(N) < round(right * N)


def sets(**shares: float) -> list[Seen]:
    """Sets named ATTACK_EPS, crafted on the judge (moved_: elsewhere), after clean ones of 90 %."""
    found = [Seen(attack=None, eps_steps=0, own=True, right=share(0.9))]
    for name, right in shares.items():
        own, (attack, _, eps) = not name.startswith("moved_"), name.removeprefix("moved_").rpartition("_")
        known = {**ATTACKS, "pgd20": PGD20, "square": SQUARE}[attack]
        found.append(Seen(attack=known, eps_steps=float(eps), own=own, right=share(right), blind=attack == "square"))
    return found


def gate(name: str, seen: list[Seen], twin: list[Seen] = (), asked: Probe | None = None) -> Gate:
    case = Case(network="net", target=FLOAT, chance=0.1, seen=seen, twin=twin, probe=asked)
    return next(one for one in judge_gates(case) if one.name == name)


@pytest.mark.parametrize(
    ("name", "sound", "broken", "spoils"),
    [
        ("monotone", {"pgd_2": 0.6, "pgd_8": 0.3}, {"pgd_2": 0.3, "pgd_8": 0.6}, "pgd at 8/255"),
        ("monotone", {"pgd_2": 0.6}, {"pgd_2": 0.97}, "pgd at 2/255"),
        ("iterated", {"fgsm_8": 0.5, "pgd_8": 0.3}, {"fgsm_8": 0.3, "pgd_8": 0.5}, "pgd at 8/255"),
        ("self-attack", {"fgsm_8": 0.5, "moved_fgsm_8": 0.6}, {"fgsm_8": 0.5, "moved_fgsm_8": 0.3}, "fgsm at 8/255"),
        ("self-attack", {"pgd_8": 0.2, "moved_fgsm_8": 0.6}, {"pgd_8": 0.5, "moved_fgsm_8": 0.3}, "pgd at 8/255"),
        ("black-box", {"pgd_8": 0.2, "square_8": 0.4}, {"pgd_8": 0.4, "square_8": 0.2}, "pgd at 8/255"),
        ("noise", {"noise_8": 0.8, "pgd_8": 0.3}, {"noise_8": 0.8, "pgd_8": 0.88}, "pgd at 8/255"),
        ("converged", {"pgd_8": 0.3, "pgd20_8": 0.298}, {"pgd_8": 0.3, "pgd20_8": 0.2}, "pgd at 8/255"),
        ("float64", {"fgsm_float32_8": 0.3, "fgsm_float64_8": 0.3}, {"fgsm_float32_8": 0.5, "fgsm_float64_8": 0.3},
         "fgsm_float32 at 8/255"),
        ("float64", {"fgsm_float32_8": 0.3, "fgsm_8": 0.3}, {"fgsm_float32_8": 0.5, "fgsm_8": 0.3},
         "fgsm_float32 at 8/255"),
        ("loss gap", {"fgsm_8": 0.45, "fgsm_margin_8": 0.4}, {"fgsm_8": 0.6, "fgsm_margin_8": 0.4}, "fgsm at 8/255"),
        ("chance", {"pgd_96": 0.05}, {"pgd_96": 0.4}, "pgd at 96/255"),
        ("zero radius", {"pgd_0": 0.9}, {"pgd_0": 0.898}, "pgd at 0/255"),
    ],
)  # fmt: skip
def test_a_gate_passes_what_is_sound_and_fails_what_is_not(
    name: str, sound: dict[str, float], broken: dict[str, float], spoils: str
) -> None:
    assert gate(name, sets(**sound)).passed is True
    failed = gate(name, sets(**broken))
    assert (failed.passed, failed.spoils) == (False, (spoils,))
    assert failed.value > failed.limit
    nothing = gate(name, [])
    assert (nothing.passed, nothing.value, nothing.spoils) == (None, None, ())
    assert nothing.settle
    assert nothing.said.endswith("not known here.")


def test_a_difference_that_chance_explains_fails_nothing() -> None:
    assert gate("iterated", sets(fgsm_8=0.3, pgd_8=0.308)).passed, "four images"
    one, other = sets(fgsm_8=0.5, pgd_8=0.5)[1:]
    noisy = [one, replace(other, right=share(0.53, seed=5))]
    assert gate("iterated", noisy).value > 0.01
    assert gate("iterated", noisy).passed, "three points among other images"


def test_a_rise_below_chance_is_no_rise() -> None:
    assert gate("monotone", sets(fgsm_8=0.02, fgsm_96=0.1)).passed


def test_a_gap_between_losses_is_held_against_that_of_the_twin() -> None:
    seen, twin = sets(fgsm_8=0.5, fgsm_margin_8=0.4), sets(fgsm_8=0.5, fgsm_margin_8=0.41)
    assert gate("loss gap", seen).passed
    assert gate("loss gap", seen).limit == LONE_GAP
    assert gate("loss gap", seen, twin).passed, "one point more"
    failed = gate("loss gap", seen, sets(fgsm_8=0.5, fgsm_margin_8=0.48))
    assert (failed.passed, failed.value) == (False, pytest.approx(0.08))


@pytest.mark.parametrize(
    ("name", "field"), [("zero gradients", "zero"), ("saturation", "saturated"), ("repeats", "changing")]
)
def test_a_probe_that_finds_no_gradient_fails_its_gate(name: str, field: str) -> None:
    seen, quiet = sets(fgsm_float32_8=0.5), Probe(n=N, zero=0.0, saturated=0.0, changing=0.0)
    assert gate(name, seen, asked=quiet).passed is True
    failed = gate(name, seen, asked=replace(quiet, **{field: 0.5}))
    assert (failed.passed, failed.masking, failed.spoils) == (False, True, ("fgsm_float32 at 8/255",))
    assert gate(name, seen).passed is None


def test_a_full_softmax_spoils_nothing_where_the_loss_does_not_saturate() -> None:
    full = gate("saturation", sets(pgd_8=0.5), asked=Probe(n=N, zero=0.0, saturated=0.5, changing=0.0))
    assert (full.passed, full.masking, full.spoils) == (False, False, ())


# ---- the probe -----------------------------------------------------------------------------------------------------

X = np.random.default_rng(0).random((60, 1, 4, 4), np.float32)
W = torch.from_numpy(np.random.default_rng(1).normal(0, 1, (16, 3)).astype(np.float32))


def linear(x: torch.Tensor) -> torch.Tensor:
    return x.flatten(1) @ W


Y = linear(torch.from_numpy(X)).argmax(1).numpy()


@pytest.mark.parametrize(
    ("network", "zero", "saturated", "changing"),
    [
        (linear, 0, 0, 0),
        (lambda x: linear((x * 4).round() / 4), 1, 0, 0),
        (lambda x: linear(x.detach()), 1, 0, 0),
        (lambda x: 1e6 * linear(x), 0, 1, 0),
        (lambda x: linear(x) + torch.randn(len(x), 3) / 100, 0, 0, 1),
    ],
)
def test_the_probe_tells_why_a_gradient_says_nothing(network, zero: float, saturated: float, changing: float) -> None:
    found = probe(network, X, Y)
    assert found.n > 30
    assert (found.zero, found.saturated, found.changing) == (zero, saturated, changing)


# ---- in an evaluation ----------------------------------------------------------------------------------------------


def rows(pgd: float):
    """The float network and a chip; pgd leaves so many of the float network's images, fgsm 40 %."""
    y = np.arange(N) % 10
    plan = [(None, 0.0, 0.9), ("noise", 8.0, 0.88), ("fgsm", 8.0, 0.4), ("pgd", 8.0, pgd)]
    images = [
        Images(attack=ATTACKS[n] if n else None, eps_steps=e, grid=255, x=np.full((N, 1, 1, 1), i, np.uint8), digest="")
        for i, (n, e, _) in enumerate(plan)
    ]
    answer = lambda x: np.eye(10)[(y + ~share(plan[x[0, 0, 0, 0]][2])) % 10]  # noqa: E731
    panel = [Judge(network="net", target=FLOAT, answer=answer), Judge(network="net w8", target="chip", answer=answer)]
    return judged(panel, images, y)


def test_an_attack_of_fewer_steps_is_not_held_against_a_longer_one_from_elsewhere() -> None:
    poorer = gate("self-attack", sets(fgsm_8=0.5, moved_pgd_8=0.3))
    assert poorer.passed is None
    assert (
        f"pgd at 8/255, transferred had {ATTACKS['pgd'].gradients} gradients an image, fgsm at 8/255 1" in poorer.said
    )
    assert f"{ATTACKS['pgd'].gradients} gradients an image or more" in poorer.settle
    assert gate("self-attack", sets(pgd_8=0.5, moved_pgd_8=0.3)).passed is False
    mixed = gate("self-attack", sets(fgsm_8=0.5, moved_pgd_8=0.3, moved_fgsm_8=0.45))
    assert (mixed.passed, mixed.spoils) == (False, ("fgsm at 8/255",)), "at the same budget it still counts"


def test_a_failed_gate_puts_masked_beside_the_number_and_a_sound_one_does_not() -> None:
    attacks = [ATTACKS[name] for name in ("noise", "fgsm", "pgd")]
    found = gates(rows(0.2), attacks)
    assert not masked(found, "net", FLOAT)
    assert not [s for s in verdict(rows(0.2), [], found) if MASKED in s]
    found = gates(rows(0.7), attacks)
    assert [one.name for one in masked(found, "net", FLOAT)] == ["iterated"]
    (said,) = [s for s in verdict(rows(0.7), [], found) if MASKED in s]
    assert said.startswith(f"net in float: {MASKED}. Several steps leave no more")
    assert "To settle it: " in said
    assert not masked(found, "net w8", "chip"), "transferred images say nothing of the chip's gradients"


def test_a_chip_that_transfer_beats_has_masked_gradients_beside_its_number() -> None:
    attacks = [replace(ATTACKS["pgd"], name="ste"), *(ATTACKS[name] for name in ("noise", "fgsm", "pgd"))]
    found = rows(0.2)
    chip = [replace(r, attack="ste", crafted_on="net w8 on chip", right=np.packbits(share(0.6)).tobytes(), correct=300)
            for r in found if (r.target, r.attack) == ("chip", "pgd")]  # fmt: skip
    checks = gates([*found, *chip], attacks)
    assert [one.name for one in masked(checks, "net w8", "chip")] == ["self-attack"]
    said = [s for s in verdict([*found, *chip], [], checks) if s.startswith("net w8 on chip") and MASKED in s]
    assert len(said) == 2, "beside the number, and why"
    assert f"[{MASKED}]" in said[0]


# ---- the calibration -----------------------------------------------------------------------------------------------

RECORD = json.loads(calibration.RECORD.read_text())


def test_the_page_is_what_its_record_says() -> None:
    assert calibration.page(RECORD) == calibration.PAGE.read_text(), "run: python benchmarks/gates.py --page"


def test_the_gates_catch_19_of_20_and_are_wrong_about_1_in_20() -> None:
    caught, alarms = calibration.rates(RECORD)
    assert min(caught.n, alarms.n) >= 20
    assert caught.value >= 0.95
    assert alarms.value <= 0.05


def test_the_record_is_of_the_networks_that_the_benchmark_makes() -> None:
    made = [(cause, name) for cause, kinds in calibration.networks().items() for name, _, _ in kinds]
    assert [(row["cause"], row["network"]) for row in RECORD["rows"]] == made
    names = {one.name for one in judge_gates(Case(network="", target="", chance=0.1, seen=[]))}
    assert {name for row in RECORD["rows"] for name in row["failed"]} <= names
    assert not re.search(r"nan|None", calibration.PAGE.read_text())
