"""Every verified machine gives its runtime's own integers, and every other rule that the vocabulary has does not."""

import itertools
import shutil
from typing import Any

import numpy as np
import pytest
from conformance import golden, mutation, ours, suite
from conformance.asking import asked
from conformance.building import KINDS, first_between, near_ties
from conformance.cases import cases
from conformance.storing import answers_packed, answers_unpacked, packed, unpacked
from conformance.theorems import normal
from conformance.truths import OPEN, TRUTHS

from intsim import TARGETS, oracle
from intsim.arithmetic.average import reciprocal
from intsim.errors import IntsimError
from intsim.reference.ort import instruction_set
from intsim.target import Reciprocal

VERIFIED = [name for name, target in TARGETS.items() if target.fidelity == "verified"]
HELD = {name: golden.held(name) for name in TRUTHS if name in TARGETS}
ROWS = sorted({(name, case.kind, case.op) for name, held in HELD.items() for case, _ in held})


def difference(target: str, kind: str, op: str) -> dict[str, int]:
    """How many integers differ, by case; cases that the machine does not take are left out."""
    found = {}
    for case, answer in HELD[target]:
        if (case.kind, case.op) == (kind, op):
            try:
                program = ours.program(case, TARGETS[target])
            except IntsimError:
                continue
            found[case.name] = int(np.count_nonzero(ours.run(case, program) != answer))
    return found


@pytest.mark.parametrize(("target", "kind", "op"), [row for row in ROWS if (row[0], row[2]) not in OPEN])
def test_every_integer_is_the_runtime_s_own(target: str, kind: str, op: str) -> None:
    assert {name: count for name, count in difference(target, kind, op).items() if count} == {}


@pytest.mark.parametrize(("target", "op"), OPEN)
def test_what_is_listed_as_open_differs_still(target: str, op: str) -> None:
    kinds = {kind for name, kind, of in ROWS if (name, of) == (target, op)}
    assert any(count for kind in kinds for count in difference(target, kind, op).values()), "mended: take it off OPEN"


@pytest.mark.parametrize("target", HELD)
def test_the_oracle_gives_them_too(target: str) -> None:
    """On the first sample of each operator's smallest case."""
    smallest: dict[str, tuple[Any, np.ndarray]] = {}
    for case, answer in HELD[target]:
        if (target, case.op) not in OPEN and (case.op not in smallest or answer[0].size < smallest[case.op][1][0].size):
            smallest[case.op] = (case, answer)
    compared = 0
    for case, answer in smallest.values():
        try:
            program = ours.program(case, TARGETS[target])
        except IntsimError:
            continue
        few = type(case)(name=case.name, op=case.op, kind=case.kind, source=case.source,
                         x={n: v[:1] for n, v in case.x.items()})  # fmt: skip
        assert np.array_equal(ours.run(few, program, oracle.run), answer[:1]), case.name
        compared += 1
    assert compared >= 5 or not HELD[target]


@pytest.mark.parametrize("kind", KINDS)
def test_the_golden_vectors_answer_the_cases_as_they_are_drawn_now(kind: str) -> None:
    """Their digests: a change of the cases, or of numpy's numbers, is seen, and `make golden` asks again."""
    assert golden.stale(kind) == []
    assert len(golden.vectors(kind).digests) > (10 if KINDS[kind].asked in ("fixed", "rescale") else 50)


def test_the_golden_vectors_are_small() -> None:
    assert sum(path.stat().st_size for path in golden.FOLDER.iterdir() if path.is_file()) < 2_000_000


# ---- what the suite claims -------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", VERIFIED)
def test_who_says_verified_is_held_to_golden_vectors_of_the_version_that_it_names(target: str) -> None:
    versions = {golden.about(kind)[target].version for kind in TRUTHS[target].kinds}
    assert HELD[target]
    said = [word.strip("(),;:") for word in TARGETS[target].verified_with.split() if word[0].isdigit()]
    assert all(any(version.startswith(word) for word in said) for version in versions), versions


@pytest.mark.parametrize("target", VERIFIED)
def test_what_is_said_to_be_verified_is_not_open(target: str) -> None:
    named = TARGETS[target].verified_with.partition(": ")[2].split("; ")
    assert [op for name, op in OPEN if name == target and op in named] == []


@pytest.mark.parametrize("target", VERIFIED)
def test_who_says_verified_names_operators_that_had_no_mismatch_in_the_suite_s_last_run(target: str) -> None:
    rows = suite.read().rows
    named = TARGETS[target].verified_with.partition(": ")[2].split("; ")
    assert len(named) >= 5
    assert set(named) <= set(suite.without_mismatch(rows, target))
    values, _ = suite.totals(row for row in rows if row.op in named).get(target, (0, 0))
    assert values > 10000


@pytest.mark.parametrize("kinds", sorted({truth.kinds for truth in TRUTHS.values()}))
def test_the_vectors_tell_the_runtimes_apart(kinds: tuple[str, ...]) -> None:
    """A comparison that every rule would pass proves nothing: each runtime fails the others' vectors."""
    held = {name: {(c.kind, c.name): a for c, a in HELD[name]} for name in HELD if TRUTHS[name].kinds == kinds}
    for one, other in itertools.combinations([name for name, answers in held.items() if answers], 2):
        both = held[one].keys() & held[other].keys()
        assert any((held[one][key] != held[other][key]).any() for key in both), (one, other)


@pytest.mark.parametrize("target", [one.target for one in mutation.read()])
def test_a_sample_of_changed_rules_is_noticed(target: str) -> None:
    """All of them: python -m conformance mutation, which lists what nothing notices yet."""
    of_sums = [
        m for m in mutation.mutants(TARGETS[target]) if m.path.startswith(("mac", "bias", "requantize", "overrides"))
    ]
    proven = {(v.path, v.value) for v in mutation.proven(target, of_sums)}
    unproven = [m for m in of_sums if (m.path, m.value) not in proven]
    sample = unproven[:: max(1, len(unproven) // 12)]
    verdicts = mutation.judged(target, sample)
    assert sum(v.outcome == "killed" for v in verdicts) >= len(sample) // 2
    (known,) = (one.survived for one in mutation.read() if one.target == target)
    alive = mutation.summary(target, verdicts).survived
    assert set(alive) <= set(known)


# ---- runtimes that are here ------------------------------------------------------------------------------------


def test_onnxruntime_says_now_what_the_golden_vectors_say() -> None:
    target = next(
        (n for n, t in TRUTHS.items() if t.runtime == "onnxruntime" and instruction_set() in t.instruction_sets), None
    )
    if target is None or not HELD[target]:
        pytest.skip(f"no golden vectors for {instruction_set()}")
    some = [(c, a) for c, a in HELD[target] if c.kind == "u8s8"][::3]
    _, answers = asked("onnxruntime", [c for c, _ in some], TRUTHS[target].instruction_sets)
    assert all(np.array_equal(answers[c.name], a) for c, a in some)


@pytest.mark.slow
@pytest.mark.parametrize("target", [n for n, t in TRUTHS.items() if "sse4.1" in t.instruction_sets])
def test_an_emulated_cpu_says_what_the_golden_vectors_say(target: str) -> None:
    if shutil.which("qemu-x86_64") is None:
        pytest.skip("qemu-user is not installed")
    some = [(c, a) for c, a in HELD[target] if c.kind == TRUTHS[target].kinds[0]][::5]
    try:
        _, answers = asked(TRUTHS[target].runtime, [c for c, _ in some], ("sse4.1",))
    except IntsimError as reason:
        pytest.skip(str(reason))
    assert all(np.array_equal(answers[c.name], a) for c, a in some)


# ---- its own tools ---------------------------------------------------------------------------------------------


def test_the_first_multiple_between_two_remainders_is_found() -> None:
    for m in range(1, 24):
        for a, low in itertools.product(range(m + 2), range(m)):
            for high in range(low, m):
                expected = next((x for x in range(m) if low <= a * x % m <= high), None)
                assert first_between(a, m, low, high) == expected


def test_near_ties_are_near() -> None:
    for scale in (2.3e-7, 1.1e-6, 0.031):
        for x in near_ties(scale, 32, 100, 8)[:4]:
            assert abs(x * scale % 1 - 0.5) < 1e-4 or scale > 0.01


@pytest.mark.parametrize(("target", "largest", "most"), [("tosa_single", 255, 16), ("tosa_16bit", 1 << 15, 14)])
def test_no_product_of_a_tosa_average_is_a_tie(target: str, largest: int, most: int) -> None:
    """A sum of n has at most log2(largest * n) twos, its factor so many more: fewer than half of 2^shift has."""
    rule = TARGETS[target].average_pool
    assert isinstance(rule, Reciprocal)
    for n in range(1, 1 << most):
        factor, shift = reciprocal(n, rule)
        assert factor * n >= 1 << shift
        assert n & (n - 1) == 0 or factor * n > 1 << shift
        assert (factor & -factor).bit_length() + (largest * n).bit_length() - 2 < shift - 1


@pytest.mark.parametrize("kind", KINDS)
def test_cases_and_answers_come_back_as_they_were(kind: str) -> None:
    made = cases(kind)[::9]
    again = unpacked(packed(made))
    for one, other in zip(made, again, strict=True):
        assert (one.name, one.source.graph.nodes, one.source.affines) == (
            other.name, other.source.graph.nodes, other.source.affines
        )  # fmt: skip
        for old, new in ((one.x, other.x), (one.source.graph.constants, other.source.graph.constants)):
            assert all(np.array_equal(old[name], new[name]) and old[name].dtype == new[name].dtype for name in old)
    base = {c.name: c.x["x0"] for c in made}
    answers = {c.name: c.x["x0"] ^ 1 if i else "no kernel" for i, c in enumerate(made)}
    back = answers_unpacked(answers_packed(answers, base), base)
    assert all(np.array_equal(back[name], answers[name]) for name in answers)


@pytest.mark.parametrize(
    ("target", "every"),
    [
        *(pytest.param(one.target, 1, marks=pytest.mark.slow) for one in mutation.read()),
        *(("tflm", 12), ("ort_x86_avx2", 12)),
    ],
)
def test_what_is_proven_equal_gives_equal_integers_on_the_cases(target: str, every: int) -> None:
    """0 differences in all that is lowered: a proof that a case refutes is none."""
    all_of_them = list(mutation.mutants(TARGETS[target]))
    proven = {(v.path, v.value): v.by for v in mutation.proven(target, all_of_them)}
    same = [m for m in all_of_them if (m.path, m.value) in proven][::every]
    assert len(same) > 3
    refuted = [(v.path, v.value, v.by) for v in mutation.noticed(target, same) if v.outcome == "killed"]
    assert refuted == []


def test_without_zero_points_the_theorems_hold_on_the_cases_too() -> None:
    """Theorem 24 on a machine of 16 bits, whose tensors have none."""
    own = normal(TARGETS["tflm_16x8"])
    chosen = (
        "requantize.zero_point",
        "requantize.sum",
        "average_pool.centred",
        "convert.middle",
        "multiply.zero_point",
    )
    same = [m for m in mutation.mutants(TARGETS["tflm_16x8"]) if m.path in chosen and normal(m.target) == own]
    assert {m.path for m in same} == set(chosen)
    killed = [(v.path, v.value, v.by) for v in mutation.noticed("tflm_16x8", same[::3]) if v.outcome == "killed"]
    assert killed == []
