"""The demo, small: the same code on fewer images; the quick one, whole, where there is time."""

import json
import time

import numpy as np
import pytest

import intsim_models
from intsim import demo
from intsim.attack.door import one_thread
from intsim.build import load
from intsim.calibrate import ranges
from intsim.demo.panel import behind_the_door, doors
from intsim.demo.size import DOOR
from intsim.engine import run as execute
from intsim.errors import IntsimError
from intsim.evaluate.judges import float_judge
from intsim.lower import lower
from intsim.quantize import quantize
from intsim.quantized import dequantized
from intsim.report import render
from intsim.statistics import wilson
from intsim.targets import TARGETS

MINI = demo.Size(
    images=100, counted=5, bits=(8, 3), targets=("ideal", "litert_ref"), fgsm=(4, 12), pgd=(), ladder=(32, 15)
)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(the folder of a small demo, what was told of its progress)."""
    out = tmp_path_factory.mktemp("demo") / "new" / "folder"
    told = []
    demo.run(out, size=MINI, progress=lambda what, done, of: told.append((what, done, of)))
    return out, told


@pytest.fixture(scope="module")
def results(made):
    return json.loads((made[0] / "results.json").read_text())


def test_the_demo_writes_a_page_and_the_results_that_it_is_made_from(made, results):
    out, _ = made
    assert sorted(path.name for path in out.iterdir()) == ["examples.npz", "report.html", "results.json"]
    assert (out / "report.html").read_text() == render(results)
    assert (out / "report.html").stat().st_size < 2_000_000


def test_there_is_one_row_for_every_network_target_attack_and_strength(results):
    rows = {(row["network"], row["target"], row["attack"], row["eps_steps"]): row for row in results["rows"]}
    assert len(rows) == len(results["rows"])
    sets = [("clean", 0), ("noise", 4), ("noise", 12), ("fgsm", 4), ("fgsm", 12)]
    judges = [("cnn", "float"), ("cnn 8 bits", "float null"), ("cnn 8 bits", "ideal"), ("cnn 8 bits", "litert_ref")]
    judges += [("cnn 3 bits", who) for who in ("float null", DOOR, "ideal")]
    rungs = [("cnn 8 bits", f"litert_ref+acc{b}_{mode}") for mode in ("wrap", "saturate") for b in (32, 15)]
    hit = results["gallery"][0]["eps_steps"]
    few = [("clean", 0), ("fgsm", hit), ("noise", hit)]
    assert set(rows) == {(*judge, *one) for judge in judges for one in sets} | {
        (*judge, *one) for judge in rungs for one in few
    }
    for row in rows.values():
        rate = wilson(row["correct"], row["n"])
        assert (row["n"], row["low"], row["high"]) == (100, rate.low, rate.high)
        assert set(row["paired"]) == {who for who in ("float", "float null") if who != row["target"]} - (
            {"float null"} if row["network"] == "cnn" else set()
        )


def test_everybody_was_asked_about_the_same_images(results):
    sets = {}
    for row in results["rows"]:
        sets.setdefault((row["attack"], row["eps_steps"]), set()).add(row["images"])
    assert all(len(digests) == 1 for digests in sets.values())
    assert len({digest for digests in sets.values() for digest in digests}) == len(sets)


def test_a_wide_accumulator_changes_nothing_and_a_narrow_one_overflows(results):
    rows = {(row["target"], row["attack"], row["eps_steps"]): row for row in results["rows"] if "8" in row["network"]}
    for mode in ("wrap", "saturate"):
        for target, attack, eps in list(rows):
            if target == f"litert_ref+acc32_{mode}":
                assert rows[target, attack, eps]["right"] == rows["litert_ref", attack, eps]["right"]
        counts = [c for c in results["overflows"] if c["target"].endswith(f"acc15_{mode}")]
        assert {c["layer"] for c in counts} >= {"conv_1", "conv_2", "conv_3"}
        assert sum(c["outputs"] for c in counts) > 0
    assert all(c["outputs"] == 0 for c in results["overflows"] if "acc32" in c["target"])


def test_three_bits_have_collapsed_and_the_page_says_so(made, results):
    clean = next(r for r in results["rows"] if (r["network"], r["target"]) == ("cnn 3 bits", "ideal"))
    assert clean["correct"] < 70
    assert "At 3 bits plain post-training quantization has collapsed" in (made[0] / "report.html").read_text()


def test_the_gallery_says_what_the_rows_say(results):
    assert {example["kind"] for example in results["gallery"]} >= {"fools both"}
    for example in results["gallery"]:
        assert example["target"] in MINI.targets, "the chip is a chip"
        right = {}
        for row in results["rows"]:
            who = (row["network"], row["target"])
            if row["attack"] in ("clean", example["attack"]) and row["eps_steps"] in (0, example["eps_steps"]):
                right[who, row["attack"]] = row
        label = example["label"]
        for who, prefix in ((("cnn", "float"), "float"), ((example["network"], example["target"]), "chip")):
            for attack, suffix in (("clean", "clean"), (example["attack"], "attacked")):
                bits = np.unpackbits(np.frombuffer(_bytes(right[who, attack]["right"]), np.uint8))
                assert bool(bits[example["index"]]) == (example[f"{prefix}_{suffix}"] == label)
        moved = [np.frombuffer(_bytes(example[name]), np.uint8).astype(int) for name in ("clean", "attacked")]
        assert 0 < np.abs(moved[1] - moved[0]).max() <= example["eps_steps"]


def _bytes(text):
    import base64

    return base64.b64decode(text)


def test_progress_only_goes_forward_to_the_end(made):
    _, told = made
    assert [of for _, _, of in told] == [100] * len(told)
    done = [done for _, done, _ in told]
    assert done == sorted(done)
    assert done[-1] == 100
    assert told[-1][0] == "done"


def test_the_same_seed_gives_the_same_bytes(tmp_path):
    size = demo.Size(
        images=20, counted=2, bits=(8, 3), targets=("ideal", "litert_ref"), fgsm=(8,), pgd=(8,), ladder=(16,)
    )
    for name in ("a", "b"):
        demo.run(tmp_path / name, size=size, seed=3)
    for name in ("results.json", "report.html"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_done(tmp_path):
    taken = tmp_path / "file"
    taken.write_text("in the way")
    start = time.monotonic()
    with pytest.raises(IntsimError, match="file"):
        demo.run(taken, size=MINI)
    assert time.monotonic() - start < 2
    assert taken.read_text() == "in the way"


def test_float_behind_the_door_sees_exactly_what_the_integers_see():
    images = intsim_models.images()
    graph = load(intsim_models.path("cnn"))
    quantized = quantize(graph, ranges(graph, images.x_calibration[:50]), weight_bits=3, activation_bits=3)
    program = lower(quantized, TARGETS["ideal"])
    judge = behind_the_door(graph, quantized, "x")
    x = images.x[:20]
    entered = execute(program, x, trace=(graph.inputs[0],)).traced[graph.inputs[0]]
    rounded = 255 * dequantized(entered, quantized.affines[graph.inputs[0]])
    assert len(np.unique(rounded)) == 8
    assert [behind.levels for behind in doors(graph, {"x": quantized})] == [8]
    assert np.array_equal(judge.answer(x), float_judge(graph).answer(rounded))


def test_torch_has_its_threads_back():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    with one_thread():
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == before


@pytest.mark.slow
def test_the_quick_demo_runs_whole(tmp_path):
    found = demo.run(tmp_path, True)
    assert found.command == "intsim demo --quick"
    assert {width.bits for width in found.widths} == set(demo.QUICK.bits)
    assert {row.target for row in found.rows} >= set(demo.QUICK.targets)
    assert (tmp_path / "report.html").stat().st_size < 2_000_000
