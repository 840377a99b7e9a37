"""What a sweep finds does not depend on where it was computed: a real Dask cluster, one of whose workers is killed."""

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from msgspec.structs import replace
from test_cli import environment
from test_sweep import KEPT, N, thread

from intsim import __version__
from intsim.cli import main
from intsim.errors import IntsimError
from intsim.sweep import cluster, read, running, store, sweep
from intsim.sweep.cells import Cell
from intsim.sweep.plan import Plan
from intsim.sweep.work import Task
from intsim_models import images as shipped
from intsim_models import path as model_path

TEXT = """name = "travels"
data = "mine.npz"
calibration = "calibration.npz"
[axes]
networks = ["net.onnx", "mlp"]
targets = ["cmsis_nn_s8", "chip.toml"]
accumulators = [0, 14]
overflows = ["saturate"]
attacks = ["fgsm"]
eps = ["8/255"]
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Plan:
    """A plan of files that only somebody in its own folder sees."""
    folder = tmp_path / "mine"
    folder.mkdir()
    monkeypatch.chdir(folder)
    np.savez("mine.npz", x=shipped().x[:N], y=shipped().y[:N])
    np.savez("calibration.npz", x=shipped().x_calibration[:100])
    Path("net.onnx").write_bytes(model_path("lenet5").read_bytes())
    Path("plan.toml").write_text(TEXT, encoding="utf-8")
    assert main(["targets", "export", "litert_ref"]) == 0
    Path("chip.toml").write_text(capsys.readouterr().out, encoding="utf-8")
    return read("plan.toml")


def rows(path: Path) -> list[tuple[Any, ...]]:
    """All that a store holds of cells, but for timings and who did them."""
    with store.opened(path) as base:
        cells = base.execute(f"SELECT {KEPT} FROM cells ORDER BY digest").fetchall()
        return cells + base.execute("SELECT * FROM coordinates ORDER BY run, place").fetchall()


def begun(folder: Path, *words: str, **more: Any) -> subprocess.Popen[bytes]:
    env = environment(OMP_NUM_THREADS="1", OPENBLAS_NUM_THREADS="1")
    command = [sys.executable, "-m", *words, "--scheduler-file", str(folder / "scheduler.json")]
    return subprocess.Popen(command, cwd=folder, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, **more)


@pytest.fixture(scope="module")
def workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, list[subprocess.Popen[bytes]]]]:
    """(the address of a scheduler, its two workers), processes of their own in a folder of their own."""
    pytest.importorskip("distributed")
    folder = tmp_path_factory.mktemp("cluster")
    scheduler = ("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard")
    worker = ("distributed.cli.dask_worker", "--nthreads", "1", "--no-nanny", "--no-dashboard")
    with contextlib.ExitStack() as ends:
        processes = [begun(folder, *scheduler)]
        ends.callback(lambda: [(one.kill(), one.wait()) for one in processes])
        deadline = time.monotonic() + 60
        while not (folder / "scheduler.json").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        address = json.loads((folder / "scheduler.json").read_text(encoding="utf-8"))["address"]
        processes += [begun(folder, *worker, "--local-directory", str(folder / f"own{i}")) for i in range(2)]
        yield address, processes[1:]


@pytest.mark.slow
def test_two_workers_of_which_one_is_killed_find_byte_for_byte_what_one_process_finds(
    workers: tuple[str, list[subprocess.Popen[bytes]]], plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setattr(running, "MOST", 2)
    alone = sweep(plan, tmp_path / "alone.sqlite", executor=thread, workers=1)
    address, processes = workers
    killed: list[str] = []
    with Client(address, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        pids = client.run(os.getpid)

        def kill(done: int, of: int, last: str) -> None:
            """Ends a worker that is at work."""
            if not killed:
                busy = [worker for worker, keys in client.processing().items() if keys]
                for one in processes:
                    if busy and one.pid == pids[busy[0]]:
                        one.kill()
                        killed.append(busy[0])

        found = sweep(plan, tmp_path / "runs.sqlite", scheduler=address, progress=kill)
        assert len(client.nthreads()) == 1
    assert len(killed) == 1
    assert (found.done, found.failed) == (alone.done, 0)
    assert found.done == found.cells
    assert len(rows(tmp_path / "runs.sqlite")) > 40
    assert rows(tmp_path / "runs.sqlite") == rows(tmp_path / "alone.sqlite")

    # Where the folder of images is not seen, a worker keeps its own.
    queues = running._queues
    monkeypatch.setattr(running, "_queues", lambda plan, left, cache: queues(plan, left, "/nowhere"))
    assert main(["sweep", "plan.toml", "--store", str(tmp_path / "apart.sqlite"), "--scheduler", address]) == 0
    assert not list((tmp_path / "apart.sqlite.images").iterdir())
    assert rows(tmp_path / "apart.sqlite") == rows(tmp_path / "alone.sqlite")


@pytest.mark.slow
def test_a_scheduler_that_dies_ends_the_sweep_with_whole_tasks_in_the_store(
    workers: Any, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from distributed import Client

    monkeypatch.setattr(cluster, "PATIENCE", 2)
    address, _ = workers
    with Client(address, set_as_default=False) as client:
        scheduler = client.run_on_scheduler(os.getpid)

    def kill(done: int, of: int, last: str) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(scheduler, signal.SIGKILL)

    with pytest.raises(IntsimError, match="no scheduler answers"):
        sweep(plan, tmp_path / "runs.sqlite", scheduler=address, progress=kill)
    found = sweep(plan, tmp_path / "runs.sqlite", executor=thread, workers=1)
    assert 0 < found.before < found.cells
    assert (found.failed, found.done) == (0, found.cells - found.before)


def test_workers_of_another_version_or_with_several_threads_are_refused() -> None:
    def worker(threads: int) -> SimpleNamespace:
        return SimpleNamespace(address="tcp://other:1", state=SimpleNamespace(nthreads=threads))

    cluster.ready(__version__, worker(1))
    with pytest.raises(IntsimError, match=r"tcp://other:1.*the sweep has 9\.9: install the same version"):
        cluster.ready("9.9", worker(1))
    with pytest.raises(IntsimError, match=r"has 4 threads: .*--nthreads 1"):
        cluster.ready(__version__, worker(4))


def test_what_became_of_a_remote_task_is_told_as_of_any_other() -> None:
    """A task that killed its workers fails; one that the scheduler lost is begun again."""
    distributed = pytest.importorskip("distributed")

    class Remote:
        def __init__(self, error: Exception) -> None:
            self.error = error

        def result(self) -> None:
            raise self.error

    for error, kind, said in (
        (distributed.KilledWorker("task", None, 3), IntsimError, "its worker died 4 times"),
        (distributed.CancelledError("task"), BrokenExecutor, "lost"),
        (IntsimError("no such bits"), IntsimError, "no such bits"),
    ):
        future: Future[Any] = Future()
        cluster._tell(future, Remote(error))
        with pytest.raises(kind, match=said):
            future.result(timeout=0)


def test_a_scheduler_that_does_not_answer_is_said(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed")
    monkeypatch.setattr(cluster, "PATIENCE", 0.5)
    with pytest.raises(IntsimError, match="no scheduler answers"):
        sweep(plan, tmp_path / "runs.sqlite", scheduler="tcp://127.0.0.1:9")


def test_without_dask_it_says_what_to_install(plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(IntsimError, match=r"pip install 'intsim\[cluster\]'"):
        sweep(plan, tmp_path / "runs.sqlite", scheduler="tcp://127.0.0.1:9")


def test_files_of_a_plan_travel_with_what_lies_beside_them(plan: Plan, tmp_path: Path) -> None:
    Path("net.onnx.data").write_bytes(b"weights")
    one = cluster.parcel(plan)
    assert set(one.words) == {"mine.npz", "calibration.npz", "net.onnx", "chip.toml"}, "what ships does not travel"
    cell = Cell(network="net.onnx", target="chip.toml")
    task = Task(plan=plan, cells=(("a", cell), ("b", replace(cell, network="mlp"))), cache="")
    cluster.unpack(one, tmp_path / "there")
    moved = cluster.placed(task, replace(one, files={}), tmp_path / "there")
    (_, first), (_, second) = moved.cells
    assert second.network == "mlp"
    for there, here in ((first.network, "net.onnx"), (first.target, "chip.toml"), (moved.plan.data, "mine.npz")):
        assert Path(there).is_relative_to(tmp_path / "there")
        assert Path(there).read_bytes() == Path(here).read_bytes()
    assert Path(f"{first.network}.data").read_bytes() == b"weights"
    assert moved.plan.axes.networks == (first.network, "mlp")
    Path("mine.npz").write_bytes(b"other")
    assert cluster.parcel(plan).digest != one.digest


FAULTS = """
import resource
import numpy as np
from intsim.sweep.cluster import keep_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        np.ones(1 << 18)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

first, kept, then = faults(), keep_memory(), faults()
print(first, kept, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc is told")
def test_what_a_task_frees_is_there_for_the_next() -> None:
    """Under the setting of Dask's nanny every array is new pages; afterwards it is not."""
    small = environment() | {"MALLOC_TRIM_THRESHOLD_": "65536"}
    done = subprocess.run([sys.executable, "-c", FAULTS], env=small, capture_output=True, text=True, check=True)
    first, kept, then = done.stdout.split()
    assert kept == "True"
    assert int(then) < int(first) / 10
