"""A sweep finds what an evaluation finds, once each, whatever is killed, refused, full or damaged on the way."""

import csv
import multiprocessing
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from test_cli import environment

from intsim.attack import door
from intsim.attack.catalogue import ATTACKS
from intsim.cli import main
from intsim.engine import run as engine
from intsim.errors import IntsimError
from intsim.evaluate import evaluate
from intsim.evaluate.records import FAKE, FLOAT, IDEAL, NULL
from intsim.integers import Overflow
from intsim.program import Program
from intsim.sweep import evaluations, prefixes, read, reading, running, shared, store, sweep
from intsim.sweep.cells import Cell, cells, checked, digest, images_digest
from intsim.sweep.estimate import estimate
from intsim.sweep.plan import Axes, Plan, Skip
from intsim.sweep.work import Done, Found, Task, images, work
from intsim.targets import TARGETS, with_accumulator
from intsim_models import images as shipped
from intsim_models import path as model_path

ROOT = Path(__file__).parents[1]
run = partial(engine, threads=1)
N = 24
AXES = Axes(
    networks=("mlp",),
    targets=("cmsis_nn_s8",),
    weight_bits=(8, 4),
    accumulators=(0, 14, 32),
    overflows=("wrap", "saturate"),
    attacks=("fgsm",),
    eps=("8/255",),
)
PLAN = Plan(name="small", data="fashion", calibration="fashion", limit=N, axes=AXES)
KEPT = "digest, n, correct, tied, correct_ties_wrong, correct_ties_right, images, right, answers, logits"


def thread() -> Executor:
    return ThreadPoolExecutor(1)


def swept(folder: Path, plan: Plan = PLAN, **more: Any) -> running.Outcome:
    return sweep(plan, folder / "runs.sqlite", executor=thread, workers=1, **more)


def kept(path: Path) -> list[tuple[Any, ...]]:
    with store.opened(path) as base:
        return base.execute(f"SELECT {KEPT} FROM cells ORDER BY digest").fetchall()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of the small plan, done in one go."""
    folder = tmp_path_factory.mktemp("whole")
    outcome = swept(folder)
    assert (outcome.done, outcome.failed, outcome.before) == (outcome.cells, 0, 0)
    return folder / "runs.sqlite"


# ---- what comes out ------------------------------------------------------------------------------------------------


def test_a_sweep_finds_bit_for_bit_what_an_evaluation_finds(whole: Path) -> None:
    data = (shipped().x[:N], shipped().y[:N])
    machines = [with_accumulator(TARGETS["cmsis_nn_s8"], 14, mode) for mode in (Overflow.WRAP, Overflow.SATURATE)]
    machines += [with_accumulator(TARGETS["cmsis_nn_s8"], 32, Overflow.WRAP), TARGETS["cmsis_nn_s8"]]
    spelled = [(14, "wrap"), (14, "saturate"), (32, "wrap"), (0, "")]
    for bits in (8, 4):
        with door.one_thread():  # as all workers have
            found = evaluate(
                model_path("mlp"), machines, data=data, attacks=["fgsm"], eps="8/255", weight_bits=bits,
                calibration=shipped().x_calibration,
            )  # fmt: skip
        names = {machine.name: ("cmsis_nn_s8", *at) for machine, at in zip(machines, spelled, strict=True)}
        names |= {FLOAT: (FLOAT, 0, ""), NULL: (NULL, 0, "")}
        rows = [row for row in found.rows if row.target in names]
        assert len(rows) == 3 * 6
        with store.opened(whole) as base:
            for row in rows:
                target, accumulator, overflow = names[row.target]
                ((n, correct, right, answers, digest_),) = base.execute(
                    "SELECT n, correct, right, answers, images FROM coordinates JOIN cells USING (digest) "
                    "WHERE target = ? AND accumulator = ? AND overflow = ? AND weight_bits = ? AND attack = ? "
                    "AND eps_steps = ?",
                    (target, accumulator, overflow, 0 if target == FLOAT else bits, row.attack, row.eps_steps),
                ).fetchall()  # fmt: skip
                assert (n, correct, right, answers, digest_) == (N, row.correct, row.right, row.answers, row.images)


def test_a_store_holds_the_rows_of_the_evaluation_that_its_cells_amount_to(tmp_path: Path) -> None:
    axes = replace(AXES, weight_bits=(8,), accumulators=(0, 14), overflows=("wrap",))
    plan = replace(PLAN, logits=True, axes=replace(axes, attacks=("fgsm", "pgd"), eps=("2/255", "8/255"), seeds=(1,)))
    swept(tmp_path, plan)
    (found,) = evaluations(tmp_path / "runs.sqlite")
    machines = [TARGETS["cmsis_nn_s8"], with_accumulator(TARGETS["cmsis_nn_s8"], 14, Overflow.WRAP)]
    asked = evaluate(
        model_path("mlp"), machines, data=(shipped().x[:N], shipped().y[:N]), eps=("2/255", "8/255"), weight_bits=8,
        calibration=shipped().x_calibration, seed=1,
    )  # fmt: skip
    expected = {
        (row.target, row.attack, row.eps_steps): replace(row, network="mlp" if row.target == FLOAT else "mlp w8")
        for row in asked.rows
        if row.target not in (FAKE, IDEAL)
    }
    assert {(row.target, row.attack, row.eps_steps): row for row in found.rows} == expected
    assert len(expected) == 4 * (1 + 3 * 2)
    assert (found.n, found.classes, found.seed, found.grid, found.data) == (N, 10, 1, 255, asked.data)
    curves = {(c.target, c.attack): c.crossing for c in found.curves}
    assert curves == {(c.target, c.attack): c.crossing for c in asked.curves if (c.target, c.attack) in curves}
    assert {b.eps_steps for b in found.brackets} == {2.0, 8.0}
    without = swept(tmp_path, replace(plan, name="answers", logits=False))
    (less,) = evaluations(tmp_path / "runs.sqlite", without.run)
    assert [replace(row, ties_wrong=b"", ties_right=b"") for row in found.rows] == list(less.rows)
    nothing = swept(tmp_path, replace(plan, name="bare", logits=False, answers=False))
    with pytest.raises(IntsimError, match="kept no answers"):
        evaluations(tmp_path / "runs.sqlite", nothing.run)


def test_a_store_gives_the_page_of_one_network_and_names_those_that_it_has(
    whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    said = ["report", str(whole), "-o", str(page), "--network", "mlp"]
    assert main(said) == 0
    assert "Accuracy against strength" in page.read_text(encoding="utf-8")
    assert main([*said, "--seed", "7"]) == 2
    assert "mlp, seed 0" in capsys.readouterr().err
    assert main([*said, "--rows", "eps"]) == 2
    assert "leaves no axis to choose" in capsys.readouterr().err


QUICK = replace(ATTACKS["ste_pgd"], name="quick", steps=4, step_size=0.3)
QUERIES = replace(ATTACKS["square_chip"], name="queries", steps=20)


def test_an_attack_that_knows_the_chip_is_made_on_every_machine_and_judged_by_it(tmp_path: Path) -> None:
    """Bit for bit what an evaluation makes on each; one set of images a machine, kept like all others."""
    names = ("test_sweep:QUICK", "test_sweep:QUERIES")
    axes = replace(AXES, weight_bits=(0,), accumulators=(0, 14), overflows=("wrap",), attacks=names, seeds=(1,))
    plan = replace(PLAN, axes=axes)
    assert swept(tmp_path, plan).failed == 0
    machines = [TARGETS["cmsis_nn_s8"], with_accumulator(TARGETS["cmsis_nn_s8"], 14, Overflow.WRAP)]
    found = evaluate(
        model_path("mlp"), machines, data=(shipped().x[:N], shipped().y[:N]), attacks=[QUICK, QUERIES], eps="8/255",
        calibration=shipped().x_calibration, seed=1,
    )  # fmt: skip
    with store.opened(tmp_path / "runs.sqlite") as base:
        rows = base.execute(
            "SELECT accumulator, attack, right, images FROM coordinates JOIN cells USING (digest) "
            "WHERE attack LIKE 'test_sweep:%'"
        ).fetchall()
    expected = {
        (14 * (row.target == machines[1].name), row.attack): (row.right, row.images)
        for row in found.rows
        if row.crafted_on == row.who and row.target != FLOAT
    }
    own = {(accumulator, attack.partition(":")[2].lower()): tuple(rest) for accumulator, attack, *rest in rows}
    assert own == expected
    assert len({images for _, images in own.values()}) == len(own) == len(rows) == 4
    counted = estimate(plan)
    assert counted.sets == 1 + 4  # noise, and each attack on each machine
    assert swept(tmp_path, plan).done == 0


def test_the_same_plan_again_does_nothing_and_a_wider_one_only_what_is_new(whole: Path, tmp_path: Path) -> None:
    with sqlite3.connect(whole) as one, sqlite3.connect(tmp_path / "runs.sqlite") as other:
        one.backup(other)
    one.close()
    other.close()
    before = kept(whole)
    again = swept(tmp_path)
    assert (again.done, again.before, again.steps) == (0, len(before), 0)
    wider = replace(PLAN, name="wider", axes=replace(AXES, accumulators=(14, 15), weight_bits=(8,)))
    found = swept(tmp_path, wider)
    assert found.run == again.run + 1
    assert found.done == 2 * 3  # two overflow modes on clean images, noise and fgsm
    assert found.before == found.cells - found.done


def test_a_seed_that_nothing_depends_on_makes_no_new_cell() -> None:
    plan = replace(PLAN, null=False, axes=replace(AXES, seeds=(0, 1), attacks=("fgsm", "pgd"), targets=("ideal",)))
    several = {cells_[0].attack: len(cells_) for cells_ in cells(plan).values()}
    assert several == {"clean": 2, "fgsm": 2, "noise": 1, "pgd": 1}


def test_every_axis_changes_the_digest_and_a_name_does_not(tmp_path: Path) -> None:
    cell = Cell(network="mlp", target="cmsis_nn_s8", weight_bits=8, attack="pgd", eps_steps=8.0)
    others: list[dict[str, Any]] = [
        {"network": "lenet5"}, {"target": "litert_ref"}, {"weight_bits": 4}, {"activation_bits": 6}, {"seed": 1},
        {"accumulator": 14, "overflow": "wrap"}, {"accumulator": 14, "overflow": "saturate"}, {"eps_steps": 4.0},
        {"attack": "bim"}, {"target": FLOAT}, {"target": NULL}, {"rounding": "half_even"},
    ]  # fmt: skip
    found = [digest(PLAN, cell), *(digest(PLAN, replace(cell, **other)) for other in others)]
    found += [digest(replace(PLAN, limit=N - 1), cell), digest(replace(PLAN, granularity="tensor"), cell)]
    assert len(set(found)) == len(found)
    copy = tmp_path / "mlp.onnx"
    copy.write_bytes(model_path("mlp").read_bytes())
    assert digest(PLAN, replace(cell, network=str(copy))) == digest(PLAN, cell)


# ---- prefixes ------------------------------------------------------------------------------------------------------


def programs(network: str, base: str, changes: list[tuple[int, Overflow]]) -> list[Program]:
    """The network on the machine, on its copies with other accumulators, and once more on itself."""
    cell = Cell(network=network, target=base)
    changed = [replace(cell, accumulator=bits, overflow=mode.value) for bits, mode in changes]
    return [shared.program(PLAN, one) for one in (cell, *changed, cell)]


@pytest.mark.parametrize("network", ["mlp", "resnet8"])
def test_programs_that_share_steps_give_what_each_gives_alone(network: str) -> None:
    changes = [(16, Overflow.WRAP), (16, Overflow.SATURATE), (17, Overflow.SATURATE), (40, Overflow.SATURATE)]
    several = programs(network, "litert_ref", changes)
    x, _ = shared.examples(PLAN, network)
    found, spent = prefixes.outputs(several, x[:6], run)
    for program, output in zip(several, found, strict=True):
        alone = run(program, x[:6]).integers[next(iter(program.outputs))]
        assert output.dtype == alone.dtype
        assert np.array_equal(output, alone)
    assert len({output.tobytes() for output in found}) > 2, "the machines differ"
    assert spent.of == sum(len(program.steps) for program in several)
    assert spent.steps <= spent.of - 2 * len(several[0].steps), "three of them are the same"


def test_programs_part_and_go_on_wherever_a_step_differs() -> None:
    """Every cut of a network with skip connections is one that gives the same integers."""
    program = programs("resnet8", "litert_ref", [])[0]
    x = shared.examples(PLAN, "resnet8")[0][:3]
    alone = run(program, x).integers[next(iter(program.outputs))]
    for cut in range(3, len(program.steps), 5):
        first, second = prefixes.segment(program, 0, cut), prefixes.segment(program, cut, len(program.steps))
        found = run(second, run(first, x).integers).integers[next(iter(second.outputs))]
        assert np.array_equal(found, alone)


def test_sums_that_no_register_changes_are_one_step_whatever_the_register() -> None:
    wide = programs("mlp", "ideal", [(bits, Overflow.SATURATE) for bits in (40, 44, 48)])
    _, spent = prefixes.outputs(wide, shared.examples(PLAN, "mlp")[0][:2], run)
    assert spent.steps == len(wide[0].steps)


# ---- what goes wrong -----------------------------------------------------------------------------------------------

SMALL = """name = "killed"
data = "fashion"
calibration = "fashion"
limit = 24
[axes]
networks = ["mlp"]
targets = ["cmsis_nn_s8"]
weight_bits = [8, 4]
accumulators = [0, 14, 32]
overflows = ["wrap", "saturate"]
attacks = ["fgsm"]
eps = ["8/255"]
"""


def _alive(process: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{process}/status").read_text(encoding="utf-8")
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_sweep_that_is_killed_loses_nothing_and_counts_nothing_twice(whole: Path, tmp_path: Path) -> None:
    plan, path = tmp_path / "plan.toml", tmp_path / "runs.sqlite"
    plan.write_text(SMALL, encoding="utf-8")
    words = [sys.executable, "-m", "intsim", "sweep", str(plan), "--store", str(path), "--workers", "1", "--quiet"]
    with subprocess.Popen(words, env=environment(), cwd=ROOT, start_new_session=True) as process:
        deadline, count = time.monotonic() + 120, 0
        while not count and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
            if path.exists():
                with sqlite3.connect(path, timeout=10) as base:
                    known = base.execute("SELECT 1 FROM sqlite_master WHERE name = 'cells'").fetchone()
                    count = base.execute("SELECT count(*) FROM cells").fetchone()[0] if known else 0
                base.close()
        task = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        children = [int(word) for word in task.read_text(encoding="utf-8").split()]
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was still at work"
    before = kept(path)
    assert 0 < count <= len(before) < len(kept(whole))
    assert children
    deadline = time.monotonic() + 30
    while any(map(_alive, children)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_alive, children)), "its workers have ended with it"
    with store.opened(path) as base:
        assert base.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert reading.runs(base)[0].ending is None

    outcome = sweep(replace(read(plan), name="killed"), path, executor=thread, workers=1)
    assert (outcome.before, outcome.done) == (len(before), len(kept(whole)) - len(before))
    assert kept(path) == kept(whole)
    with store.opened(path) as base:
        assert [(one.cells, one.done, one.ending) for one in reading.runs(base)] == [(outcome.cells,) * 2 + ("done",)]


class Fragile(ThreadPoolExecutor):
    """An executor whose worker dies at chosen tasks, and which is broken from then on."""

    def __init__(self, dies: Callable[[Task], bool]) -> None:
        super().__init__(1)
        self.dies, self.dead = dies, False

    def submit(self, fn: Any, /, *args: Any, **kwargs: Any) -> Future[Any]:
        if self.dead:
            raise BrokenProcessPool("dead")
        if self.dies(args[0]):
            self.dead = True
            found: Future[Any] = Future()
            found.set_exception(BrokenProcessPool("dead"))
            return found
        return super().submit(fn, *args, **kwargs)


def test_a_task_whose_worker_dies_is_tried_again_on_a_new_one(whole: Path, tmp_path: Path) -> None:
    seen: list[Task] = []

    def once(task: Task) -> bool:
        seen.append(task)
        return len(seen) == 2

    made: list[Fragile] = []
    outcome = sweep(PLAN, tmp_path / "runs.sqlite", workers=1, executor=lambda: made.append(Fragile(once)) or made[-1])
    assert len(made) == 2
    assert (outcome.done, outcome.failed) == (outcome.cells, 0)
    assert kept(tmp_path / "runs.sqlite") == kept(whole)


def test_a_task_that_kills_every_worker_fails_alone_and_is_tried_anew_by_the_next_run(
    whole: Path, tmp_path: Path
) -> None:
    def killer(task: Task) -> bool:
        return task.cells[0][1].attack == "noise"

    path = tmp_path / "runs.sqlite"
    outcome = sweep(PLAN, path, workers=3, executor=lambda: Fragile(killer))
    assert 0 < outcome.failed < outcome.cells
    assert outcome.done == outcome.cells - outcome.failed
    with store.opened(path) as base:
        (one,) = reading.runs(base)
    assert (one.failed, one.why) == (outcome.failed, "its worker died 3 times")
    assert swept(tmp_path).done == outcome.failed
    assert kept(path) == kept(whole)
    with store.opened(path) as base:
        assert reading.runs(base)[0].failed == 0


@pytest.mark.slow
def test_real_processes_of_which_one_is_killed_give_the_same(whole: Path, tmp_path: Path) -> None:
    pools: list[Any] = []

    def make() -> Executor:
        pools.append(running.processes(1))
        return pools[-1]

    def kill(done: int, of: int, outcome: str) -> None:
        if done == 1:
            (process,) = pools[0]._processes.values()
            os.kill(process.pid, signal.SIGKILL)

    outcome = sweep(PLAN, tmp_path / "runs.sqlite", workers=1, executor=make, progress=kill)
    assert len(pools) == 2
    assert (outcome.done, outcome.failed) == (outcome.cells, 0)
    assert kept(tmp_path / "runs.sqlite") == kept(whole)
    assert not multiprocessing.active_children()


def test_interrupted_once_it_ends_in_order_and_goes_on_later(whole: Path, tmp_path: Path) -> None:
    said = []

    def interrupt(done: int, of: int, outcome: str) -> None:
        said.append(outcome)
        if done == 1:
            os.kill(os.getpid(), signal.SIGINT)

    plan = replace(PLAN, axes=replace(AXES, attacks=("fgsm", "mifgsm"), eps=("8/255",)))
    handler = signal.getsignal(signal.SIGINT)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "MOST", 2)
        first = swept(tmp_path, plan, progress=interrupt)
    assert len(said) == first.done, "every finished cell is told"
    assert all(" % of 24" in outcome for outcome in said)
    assert first.stopped
    assert 0 < first.done < first.cells
    assert signal.getsignal(signal.SIGINT) == handler
    second = swept(tmp_path, plan)
    assert (second.before, second.done, second.stopped) == (first.done, first.cells - first.done, False)


def test_interrupted_twice_it_ends_at_once(tmp_path: Path) -> None:
    def interrupt(done: int, of: int, outcome: str) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        swept(tmp_path, progress=interrupt)
    with store.opened(tmp_path / "runs.sqlite") as base:
        assert (reading.runs(base)[0].ending or "").startswith("KeyboardInterrupt")
        assert reading.runs(base)[0].done > 0


def test_a_full_disk_is_said_and_leaves_whole_tasks(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = store.connect

    def small(path: Path, **more: Any) -> sqlite3.Connection:
        base = connect(path, **more)
        (pages,) = base.execute("PRAGMA page_count").fetchone()
        base.execute(f"PRAGMA max_page_count = {pages + 1}")
        return base

    swept(tmp_path, replace(PLAN, limit=5, axes=replace(AXES, accumulators=(0,), weight_bits=(8,), attacks=(), eps=())))
    with monkeypatch.context() as patch:
        patch.setattr(store, "connect", small)
        with pytest.raises(IntsimError, match=r"full.*goes on where it was"):
            swept(tmp_path)
    swept(tmp_path)
    assert set(kept(whole)) <= set(kept(tmp_path / "runs.sqlite"))


def test_a_damaged_image_in_the_cache_is_made_anew(tmp_path: Path) -> None:
    cell = Cell(network="mlp", target=FLOAT, attack="fgsm", eps_steps=8.0)
    x, name = images(PLAN, cell, str(tmp_path))
    (path,) = tmp_path.glob(f"{images_digest(PLAN, cell)}-{name}.npy")
    good = path.read_bytes()
    for bad in (good[:-1] + bytes([good[-1] ^ 1]), good[:100], b""):
        path.write_bytes(bad)
        again, same = images(PLAN, cell, str(tmp_path))
        assert same == name
        assert np.array_equal(again, x)
        assert path.read_bytes() == good
    assert np.abs(x.astype(int) - shipped().x[:N]).max() == 8


def test_two_writers_count_a_cell_once(tmp_path: Path) -> None:
    one = Found(digest="a", n=8, correct=3, right=b"\x07", images="i")
    with store.opened(tmp_path / "s", make=True) as base, store.opened(tmp_path / "s") as other:
        run_, first = store.enter(base, PLAN, {"a": [Cell(network="mlp", target=FLOAT)]})
        assert store.enter(other, PLAN, {"a": [Cell(network="mlp", target=FLOAT)]}) == (run_, first + 1)
        store.keep(base, first, [one])
        store.keep(other, first + 1, [one, replace(one, digest="b")])
        assert other.execute("SELECT digest, session FROM cells ORDER BY digest").fetchall() == [("a", 1), ("b", 2)]


def test_a_cell_that_cannot_be_built_fails_alone() -> None:
    plan = replace(PLAN, axes=replace(AXES, networks=("resnet8",)))
    cells_ = (
        ("a", Cell(network="resnet8", target=FLOAT)),
        ("b", Cell(network="resnet8", target="vitis_dpu", weight_bits=16)),
    )
    found = work(Task(plan=plan, cells=cells_, cache=""))
    assert isinstance(found, Done)
    said = {one.digest: one.failed for one in found.found}
    assert said["a"] == ""
    assert "bits" in said["b"]


# ---- the store's schema ---------------------------------------------------------------------------------------------


def test_an_older_store_is_migrated_and_a_newer_or_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "runs.sqlite"
    with store.opened(path, make=True) as base:
        store.enter(base, PLAN, {})
    with monkeypatch.context() as patch:
        patch.setattr(store, "MIGRATIONS", (*store.MIGRATIONS, "ALTER TABLE runs ADD COLUMN mood TEXT;"))
        for _ in range(2):
            with store.opened(path) as base:
                assert base.execute("SELECT name, mood FROM runs").fetchall() == [("small", None)]
    with pytest.raises(IntsimError, match="upgrade intsim"), store.opened(path):
        pass
    other = tmp_path / "other.sqlite"
    with sqlite3.connect(other) as base:
        base.execute("CREATE TABLE mine (a)")
    base.close()
    with pytest.raises(IntsimError, match="something else"), store.opened(other):
        pass
    (tmp_path / "text").write_text("no database at all" * 100, encoding="utf-8")
    with pytest.raises(IntsimError, match="not a database"), store.opened(tmp_path / "text"):
        pass
    with pytest.raises(IntsimError, match="no such store"), store.opened(tmp_path / "none"):
        pass


def test_the_docs_name_every_table_and_column(whole: Path) -> None:
    text = (ROOT / "docs/sweep.md").read_text(encoding="utf-8")
    with store.opened(whole) as base:
        tables = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = {row[1] for name in tables for row in base.execute(f"PRAGMA table_info({name})")}
    assert len(tables) == 5
    assert [name for name in (*tables, *columns) if f"`{name}`" not in text] == []


# ---- plans ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('targets = ["cmsis_nn_s8"]', 'targets = ["cmsis_nn"]', r"axes.targets\[0\].*did you mean cmsis_nn_s"),
        ('targets = ["cmsis_nn_s8"]', 'targets = ["vitis_dpu"]\ngranulrity = 1', r"unknown field `granulrity`.*axes"),
        ("weight_bits = [8, 4]", "weight_bits = [8, 17]", r"<= 16 - at `\$.axes.weight_bits\[1\]`"),
        ("weight_bits = [8, 4]", "weight_bits = [16]", r"axes.targets\[0\].*16 bits: the machine takes"),
        ('"wrap", "saturate"', '"wrap", "clip"', r"axes.overflows\[1\]: there is no .clip.: choose .*saturate"),
        ('attacks = ["fgsm"]', 'attacks = ["fgsm", "a.npz"]', r"axes.attacks\[1\]: a.npz: is no attack of a catalogue"),
        ('attacks = ["fgsm"]', 'attacks = ["fgsm_squared"]', r"axes.attacks\[0\]: fgsm_squared: is of values"),
        ('attacks = ["fgsm"]', 'attacks = ["fgms"]', r"axes.attacks\[0\]: no attack.*fgsm"),
        ('attacks = ["fgsm"]', "attacks = []", "attacks and eps go together"),
        ('eps = ["8/255"]', 'eps = ["2/255", 8]', r"axes.eps\[1\].*8/255"),
        ('networks = ["mlp"]', 'networks = ["mlp", "none.onnx"]', r"axes.networks\[1\]: none.onnx: does not exist"),
        ('calibration = "fashion"', 'calibration = "none.npz"', "calibration: none.npz: no such file"),
        ("accumulators = [0, 14, 32]", "accumulators = [3]", r"axes.targets\[0\].*accumulator of 3 bits.*4 to 64"),
        ("[axes]", '[[skip]]\nnetworks = ["mlp"]\n[axes]', "skip: leaves no cell"),
        ("[axes]", "[axes", "is not TOML"),
    ],
)
def test_a_plan_is_refused_whole_with_the_place_and_the_mend(tmp_path: Path, old: str, new: str, said: str) -> None:
    path = tmp_path / "plan.toml"
    path.write_text(SMALL.replace(old, new), encoding="utf-8")
    assert old in SMALL
    with pytest.raises(IntsimError, match=said):
        checked(read(path))


def test_filters_leave_out_what_has_all_their_values() -> None:
    every = {cell for several in cells(PLAN).values() for cell in several}
    skip = Skip(weight_bits=(4,), accumulators=(14,), eps=("8/255",))
    left = {cell for several in cells(replace(PLAN, skip=(skip,))).values() for cell in several}
    gone = every - left
    assert left < every
    assert {(c.weight_bits, c.accumulator, c.eps_steps) for c in gone} == {(4, 14, 8.0)}
    assert not [c for c in left if (c.weight_bits, c.accumulator, c.eps_steps) == (4, 14, 8.0)]


def test_files_are_named_from_the_plans_folder(tmp_path: Path) -> None:
    np.savez(tmp_path / "mine.npz", x=shipped().x[:3], y=shipped().y[:3])
    (tmp_path / "net.onnx").write_bytes(model_path("mlp").read_bytes())
    text = SMALL.replace('data = "fashion"', 'data = "mine.npz"').replace('"mlp"', '"net.onnx"')
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    plan = checked(read(tmp_path / "plan.toml"))
    assert len(shared.examples(plan, plan.axes.networks[0])[1]) == 3


def test_the_example_that_ships_is_a_plan() -> None:
    assert len(cells(checked(read(ROOT / "benchmarks/example_sweep.toml")))) > 100


def test_an_estimate_counts_cells_sets_and_shared_work() -> None:
    found = estimate(PLAN)
    assert (found.cells, found.sets, found.quantizations, found.networks) == (len(cells(PLAN)), 2, 2, 1)
    assert 0 < found.steps < found.of_steps
    assert found.cache == 2 * N * 28 * 28
    assert estimate(PLAN, frozenset(cells(PLAN))).left == 0


# ---- the command line ------------------------------------------------------------------------------------------------


def test_status_and_export_recount_the_store(whole: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["export", str(whole), "-o", str(tmp_path / "runs.csv")]) == 0
    with (tmp_path / "runs.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == sum(map(len, cells(PLAN).values()))
    with store.opened(whole) as base:
        found = reading.table(
            base, ("accumulator", "eps_steps"), ["attack=fgsm", "weight_bits=4", "target=cmsis_nn_s8"]
        )
    assert (found.rows, found.columns, found.cells) == (("0", "14", "32"), ("8",), 5)
    for name, (mean,) in zip(found.rows, found.means, strict=True):
        mine = [
            row for row in rows
            if (row["accumulator"], row["attack"], row["weight_bits"]) == (name, "fgsm", "4")
            if row["target"] == "cmsis_nn_s8"
        ]  # fmt: skip
        assert mean is not None
        assert mean.cells == len(mine) > 0
        assert mean.value == pytest.approx(sum(int(row["correct"]) for row in mine) / (N * len(mine)))
    capsys.readouterr()
    assert main(["status", str(whole), "--by", "target,attack", "--where", "weight_bits=8"]) == 0
    said = capsys.readouterr().out
    assert "small" in said
    assert "cmsis_nn_s8" in said
    assert main(["status", str(whole), "--by", "target,colour"]) == 2
    assert main(["export", str(whole), "-o", str(tmp_path / "runs.txt")]) == 2


def test_the_verb_says_what_it_did_and_a_dry_run_does_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text(SMALL, encoding="utf-8")
    assert main(["sweep", str(plan), "--dry-run", "--store", str(tmp_path / "runs.sqlite")]) == 0
    said = capsys.readouterr().out
    assert "39 named, 33 different" in said, "an accumulator of 32 bits that wraps is the machine's own"
    assert "2 quantized networks" in said
    assert not (tmp_path / "runs.sqlite").exists()


def test_parquet_holds_the_bits_too(whole: Path, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow.parquet")
    with store.opened(whole) as base:
        count = reading.export(base, tmp_path / "runs.parquet")
    found = pyarrow.read_table(tmp_path / "runs.parquet").to_pylist()
    assert len(found) == count
    assert all(
        np.unpackbits(np.frombuffer(row["right"], np.uint8), count=row["n"]).sum() == row["correct"] for row in found
    )


def test_parquet_without_pyarrow_says_what_to_install(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with store.opened(whole) as base, pytest.raises(IntsimError, match=r"pip install 'intsim\[parquet\]'"):
        reading.export(base, tmp_path / "runs.parquet")
