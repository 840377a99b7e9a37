"""The bench: equal bits before any time, works from short texts, results that survive a file; no time is asserted."""

import json
import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from intsim import oracle
from intsim.bench import (
    PEERS,
    SECTIONS,
    Bench,
    Mean,
    Peer,
    Row,
    Work,
    bench,
    contest,
    memory,
    met,
    narrow,
    networks,
    overall,
    results_name,
    section_means,
)
from intsim.bench.equality import against_oracle, require_equal
from intsim.bench.narrow import saturating, sixteen_bits, table, wrapping
from intsim.bench.products import patches, products
from intsim.bench.records import ORT, ORT_FLOAT, WIDE, XNNPACK
from intsim.bench.shapes import Conv, convolution, gemm, parse
from intsim.bench.suite import HASWELL
from intsim.bench.turns import environment
from intsim.cli import main
from intsim.engine import run
from intsim.errors import IntsimError
from intsim.program import Dot, inside

SIZE = (12, 5, 40)
SHAPES = (
    "gemm:7x5x33",
    "conv:6x5x3:3x3:4",
    "conv:7x7x4:3x3:8:s2:double",
    "conv:6x6x8:3x3:8:g8",
    "conv:6x6x8:3x3:8:g2:pow2",
    "conv:9x9x2:3x3:3:d2:single",
    "conv:5x5x3:1x1:4:n3",
    "conv:6x6x2:2x3:3:p0",
)


def the_dot(work: Work) -> Dot:
    compute = work.program.steps[0].compute
    assert isinstance(compute, Dot)
    return compute


# ---- works -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", SHAPES)
def test_a_shape_is_a_work_that_equals_the_oracle_everywhere(text: str) -> None:
    work = parse(text)
    result = run(work.program, work.x).integers["y"]
    assert (result == oracle.run(work.program, work.x).integers["y"]).all()
    assert len(np.unique(result)) > 4, "a work whose output hardly varies would hide wrong kernels"
    assert against_oracle(work, result)


@pytest.mark.parametrize(
    "text",
    ["gemm:1x2", "gemm:0x2x3", "conv:5x5x3:3x3", "conv:5x5x3:3x3:4:q7", "conv:5x5x3:3x3:4:g2", "conv:2x2x1:5x5:1:p0",
     "conv:5x5x3:3x3:4:s0", "pool:3x3", ""],
)  # fmt: skip
def test_what_is_no_shape_is_refused_by_name(text: str) -> None:
    with pytest.raises(IntsimError, match="--shape"):
        parse(text)


def test_a_wrong_result_is_found_by_the_oracle_at_the_first_and_the_last_place() -> None:
    work = convolution(Conv(h=6, w=6, c=4, kernel=(3, 3), outputs=20))
    right = run(work.program, work.x).integers["y"]
    for place in ((0, 0, 0, 0), (0, 19, 5, 5)):
        wrong = right.copy()
        wrong[place] ^= 1
        with pytest.raises(IntsimError, match="the oracle's is"):
            against_oracle(work, wrong)


def test_weights_of_7_bits_leave_no_pair_of_products_beyond_16_bits() -> None:
    for work in (gemm(3, 4, 50), convolution(Conv(h=4, w=4, c=8, kernel=(3, 3), outputs=4))):
        weights = the_dot(work).weight.astype(np.int64)
        assert 2 * 255 * np.abs(weights).max() <= (1 << 15) - 1
        assert np.abs(weights).max() > 32


@pytest.mark.parametrize("name", ["resnet20", "mlp256", "cnn"])
def test_networks_give_the_same_integers_as_onnxruntime(name: str) -> None:
    work = networks.network(name, 2)
    peer = PEERS[ORT](work)
    assert peer is not None
    assert peer.equal
    ours = next(iter(run(work.program, work.x).integers.values()))
    assert (peer.function() == ours).all()
    assert len(np.unique(ours)) > 4


@pytest.mark.parametrize("text", SHAPES)
def test_onnxruntime_gives_the_same_integers_where_it_must(text: str) -> None:
    work = parse(text)
    peer = PEERS[ORT](work)
    assert peer is not None
    assert peer.equal == (not text.endswith(("double", "pow2", "single")))
    ours = run(work.program, work.x).integers["y"]
    assert (peer.function() == ours).all() if peer.equal else np.abs(peer.function().astype(int) - ours).max() <= 1


# ---- narrow ----------------------------------------------------------------------------------------------------


def clamped(work: Work) -> float:
    counted = run(work.program, work.x, count=True).overflows["dot"]
    return counted.outputs / counted.of_outputs


@pytest.mark.parametrize("bits", [8, 12, 16, 17, 20, 24])
def test_where_everything_is_recomputed_almost_every_sum_clamps(bits: int) -> None:
    assert clamped(saturating(bits, 1.0, size=(16, 8, 576))) > 0.8


def test_where_no_row_is_flagged_nothing_clamps_yet_the_weights_alone_could() -> None:
    work = saturating(17, 0.0, size=(16, 8, 576))
    assert clamped(work) == 0
    assert 255 * np.abs(the_dot(work).weight.astype(int)).sum(1).min() > 1 << 17


def test_a_tenth_of_the_rows_clamps_and_no_other_row() -> None:
    work = saturating(17, 0.1, size=(50, 8, 576))
    heavy = work.x.astype(int).sum(1) > 2 * np.median(work.x.astype(int).sum(1))
    assert heavy.sum() == 5
    assert clamped(replace(work, x=work.x[~heavy])) == 0
    assert clamped(replace(work, x=work.x[heavy])) > 0


def test_a_wrapping_register_wraps() -> None:
    assert clamped(wrapping(12, size=(6, 4, 200))) > 0.5


@pytest.mark.parametrize("work", [wrapping(14, size=SIZE), saturating(14, 0.5, size=SIZE)], ids=["wrap", "saturate"])
def test_narrow_works_equal_the_oracle(work: Work) -> None:
    assert against_oracle(work, run(work.program, work.x).integers["y"])


def test_tables_and_16_bit_operands_equal_the_oracle_and_the_loop_equals_ours() -> None:
    for work in (table(size=SIZE), sixteen_bits(size=SIZE)):
        assert against_oracle(work, run(work.program, work.x).integers["y"])
    found = contest(table(size=SIZE), {name: PEERS[name] for name in (WIDE, "plain numba loop")}, rounds=1)
    assert [(row.peer, row.equal) for row in found.rows] == [(WIDE, None), ("plain numba loop", True)]


def test_a_narrow_network_says_for_every_layer_what_decides_its_speed() -> None:
    work = narrow.network("lenet5", 12, attack=True, batch=2)
    clean = narrow.network("lenet5", 12, attack=False, batch=2)
    assert (work.x != clean.x).any(), "the attack does nothing"
    assert work.wide is not None
    narrowed, wide = (run(program, work.x).logits for program in (work.program, work.wide))
    assert any((narrowed[name] != wide[name]).any() for name in wide), "nothing saturates"
    lines = narrow.decides(work)
    dots = [step.name for step in work.program.steps if isinstance(step.compute, Dot)]
    assert len(lines) == len(dots) == 5
    assert all(f": {name}: " in line and "% of its sums clamp" in line for name, line in zip(dots, lines, strict=True))


# ---- contests --------------------------------------------------------------------------------------------------


def wrong(work: Work) -> Peer | None:
    right = run(work.program, work.x).integers["y"]
    off = right.copy()
    off[1, 2] += 1
    return Peer(name="wrong", function=lambda: off)


def missing(work: Work) -> Peer | None:
    raise IntsimError("is not installed", where="something", mend="install it")


def elsewhere(work: Work) -> Peer | None:
    return None


def a_third(work: Work) -> Peer | None:
    return Peer(name="a third", function=lambda: run(work.program, work.x[:4]).integers["y"], samples=4)


def test_a_wrong_peer_stops_the_bench_with_its_first_wrong_value() -> None:
    with pytest.raises(
        IntsimError, match=r"wrong: is -?\d+ at \[1, 2\], ours is -?\d+; 1 of 60 differ: nothing was timed"
    ):
        contest(gemm(12, 5, 40), {"wrong": wrong}, rounds=1)


def test_a_peer_that_is_missing_becomes_a_note_and_one_that_does_no_such_work_nothing() -> None:
    found = contest(gemm(*SIZE), {"missing": missing, "elsewhere": elsewhere, ORT: PEERS[ORT]}, rounds=2)
    assert found.notes == ("missing is left out: something: is not installed: install it",)
    assert [row.peer for row in found.rows] == [ORT]
    assert found.rows[0].rounds == 2
    assert found.rows[0].low <= found.rows[0].ratio <= found.rows[0].high


def test_a_peer_of_some_samples_is_compared_on_those_and_its_time_is_scaled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("intsim.bench.turns._timed", lambda *_: 1.0)
    (found,) = contest(gemm(12, 5, 40), {"a third": a_third}, rounds=3).rows
    assert found.equal
    assert found.ratio == found.low == found.high == 3.0


def test_several_threads_are_measured_in_processes_of_their_own() -> None:
    found = contest(gemm(*SIZE, threads=2), {name: PEERS[name] for name in (ORT, ORT_FLOAT)}, rounds=2)
    assert [(row.peer, row.threads, row.equal) for row in found.rows] == [(ORT, 2, True), (ORT_FLOAT, 2, None)]


def test_another_instruction_set_is_measured_in_a_process_that_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(HASWELL) == {"NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES"}, "the name alone keeps the host's features"
    monkeypatch.setenv("SET", "before")
    with environment({"SET": "meanwhile", "UNSET": "meanwhile"}):
        assert (os.environ["SET"], os.environ["UNSET"]) == ("meanwhile", "meanwhile")
    assert os.environ["SET"] == "before"
    assert "UNSET" not in os.environ
    work = gemm(*SIZE)
    work = replace(work, wide=work.program, environment={"UNSET": "there"})
    assert [row.peer for row in contest(work, {WIDE: PEERS[WIDE]}, rounds=1).rows] == [WIDE]


def test_the_fastest_rival_is_the_best_and_floats_are_none() -> None:
    found = contest(gemm(*SIZE), PEERS, rounds=2)
    assert sum(row.best for row in found.rows) == 1
    assert not any(row.best for row in found.rows if "float32" in row.peer)


def test_unequal_shapes_are_said() -> None:
    with pytest.raises(IntsimError, match=r"gives an array \(2,\)"):
        require_equal("who", np.zeros(2), np.zeros(3))


# ---- results ---------------------------------------------------------------------------------------------------


def row(**changes: Any) -> Row:
    plain = {
        "section": "s", "work": "w", "threads": 1, "ours": "t", "peer": ORT, "ratio": 1.2, "low": 1.1, "high": 1.3,
        "rounds": 9, "seconds": 0.1,
    }  # fmt: skip
    return Row(**{**plain, **changes})


def test_a_bench_survives_its_json() -> None:
    found = bench(
        [lambda: gemm(*SIZE, section="a", goals={ORT: (1.0, 1.1)}), lambda: networks.network("mlp", 2)], rounds=2
    )
    assert msgspec.json.decode(msgspec.json.encode(found), type=Bench) == found
    assert found.machine["cpu"]
    assert [m.work for m in found.memory] == ["mlp, batch 2"]
    assert (found.rows[0].goal, found.rows[0].stretch) == (1.0, 1.1)


def test_a_work_that_cannot_be_made_becomes_a_note() -> None:
    def no() -> Work:
        raise IntsimError("is missing", where="torch")

    assert bench([no], rounds=1).notes[-1] == "left out: torch: is missing"


def test_means_are_geometric_and_stand_where_a_peer_did_every_work() -> None:
    rows = [
        row(work="a", ratio=2.0, best=True),
        row(work="b", ratio=8.0),
        row(work="b", peer="x", ratio=3.0, best=True),
    ]
    assert section_means(rows) == (Mean(section="s", threads=1, peer=ORT, ratio=4.0, works=2),)
    (mean,) = overall(rows)
    assert mean.ratio == pytest.approx(6.0**0.5)
    assert mean.works == 2


def test_goals_are_met_from_their_number_on() -> None:
    words = [met(row(ratio=ratio, goal=1.0, stretch=1.1)) for ratio in (0.99, 1.0, 1.09, 1.1)]
    assert words == ["not met", "met", "met", "stretch"]
    assert met(row()) == ""
    assert met(row(goal=1.0)) == "met"


def test_a_machine_has_a_file_of_its_own() -> None:
    assert results_name({"cpu": "AMD EPYC 9R14 (4th)", "instruction_set": "avx2"}) == "amd-epyc-9r14-4th-avx2.json"


def test_memory_counts_what_the_result_needs_at_least() -> None:
    work = gemm(64, 32, 100)
    found = memory(work)
    assert found.peak >= found.kept >= found.result >= 64 * 32 * 4
    assert found.weights == 32 * 100 + 32 * 8


def test_every_section_makes_its_works_and_every_goal_speaks_of_a_peer() -> None:
    quick = [make for section in ("gemm", "depthwise", "few") for make in SECTIONS[section](True, 1)]
    for work in (make() for make in quick):
        assert set(work.goals) <= set(PEERS)
        assert work.goals
    for section in SECTIONS.values():
        assert list(section(False, 1)), "a section without works"


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (["--section", "conv", "--shape", "gemm:1x1x1"], "--section: is a part of the suite"),
        (["--section", "convs"], "did you mean conv"),
        (["--shape", "conv:5x5"], "write gemm:MxNxK or conv:"),
        (["--shape", "gemm:1x1x1", "--out", "no/such/folder/x.json"], "there is no folder"),
        (["--model", "no_such_model"], "no_such_model"),
    ],
)
def test_the_command_line_refuses_in_one_line(
    said: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["bench", *said]) == 2
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_in_a_folder_the_results_are_called_as_the_cpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "--shape", "gemm:3x4x5", "--rounds", "1", "--out", str(tmp_path)]) == 0
    (file,) = tmp_path.iterdir()
    assert str(file) in capsys.readouterr().out
    found = json.loads(file.read_text(encoding="utf-8"))
    assert file.name == results_name(found["machine"])
    assert [row["work"] for row in found["rows"]] == ["gemm 3x4x5"] * len(found["rows"])
    assert found["verb"] == "bench"


# ---- LiteRT ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text in SHAPES if text.startswith("conv") and ":g2" not in text])
def test_xnnpack_gives_the_same_integers_where_it_must(text: str) -> None:
    pytest.importorskip("ai_edge_litert")
    work = parse(text)
    peer = PEERS[XNNPACK](work)
    assert peer is not None
    assert peer.equal == (not text.endswith(("double", "pow2", "single")))
    ours = run(work.program, work.x).integers["y"]
    assert (peer.function() == ours).all() if peer.equal else np.abs(peer.function().astype(int) - ours).max() <= 1


@pytest.mark.parametrize("name", ["lenet5", "dscnn", "resnet8"])
def test_litert_runs_the_same_networks_within_two_steps(name: str) -> None:
    pytest.importorskip("ai_edge_litert")
    work = networks.network(name, 2)
    peer = PEERS[XNNPACK](work)
    assert peer is not None
    ours = next(iter(run(work.program, work.x).integers.values()))
    assert np.abs(peer.function().astype(int) - ours).max() <= 2  # its sums of tensors round by another rule


# ---- matrix products -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", [text for text in SHAPES if ":g" not in text])
def test_patches_times_weights_are_the_accumulators(text: str) -> None:
    work = parse(text)
    dot = the_dot(work)
    rows = patches(dot, inside(work.x)).astype(np.int64)
    w = dot.weight.reshape(len(dot.weight), -1).astype(np.int64)
    owed = dot.bias - dot.input_zero_point * w.sum(1)
    traced = run(work.program, work.x, trace=["y:accumulator"]).traced["y:accumulator"]
    assert (inside(traced).reshape(-1, len(w)) == rows @ w.T + owed).all()


def test_a_network_is_taken_apart_into_its_products() -> None:
    found = products(networks.network("lenet5", 2), "module:f")
    assert len(found) == 5
    assert all(work.kernel == "module:f" for work in found)
    with pytest.raises(IntsimError, match="no layer of one group"):
        products(parse("conv:6x6x8:3x3:8:g8"), "module:f")
