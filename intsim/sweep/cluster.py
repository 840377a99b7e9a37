"""A Dask cluster as an executor: workers have the package, files travel to each of them once, who dies is replaced."""

import ctypes
import hashlib
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from intsim import __version__
from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.sweep.plan import Plan
from intsim.sweep.work import Done, Task

PATIENCE = 30
"""Seconds within which a scheduler answers."""


class Parcel(Struct, frozen=True, kw_only=True):
    """What travels: the contents of files, and the words of the plan that mean one of them. `digest`: of all that."""

    digest: str
    files: dict[str, bytes]
    words: dict[str, str]


def join(address: str, plan: Plan) -> tuple[Executor, Callable[[], int]]:
    """(an executor, how many workers it has by now) of the Dask scheduler at `address`; waits for the first worker.

    Raises IntsimError where there is none, where its workers have no intsim of this version or more than one thread.
    """
    try:
        from distributed import Client
    except ImportError:
        raise IntsimError("distributed is not installed", mend="pip install 'intsim[cluster]'") from None
    try:
        client = Client(address, timeout=PATIENCE, set_as_default=False)
    except (OSError, ValueError) as reason:
        mend = "give the address that `dask scheduler` says, tcp://HOST:8786"
        raise IntsimError(f"no scheduler answers: {reason}", where=address, mend=mend) from None
    try:
        client.wait_for_workers(1)
        client.run(ready, __version__)
    except IntsimError:
        client.close()
        raise
    except Exception as reason:
        client.close()
        mend = "install intsim on every worker"
        raise IntsimError(f"its workers do not run intsim: {reason}", where=address, mend=mend) from None
    return Cluster(client, parcel(plan)), lambda: _count(client)


def _count(client: Any) -> int:
    """How many workers there are; none where the scheduler does not say, which its tasks will notice."""
    try:
        return len(client.nthreads())
    except (OSError, RuntimeError):
        return 0


class Cluster(Executor):
    """An executor on the workers of a Dask client, which hands a task whose worker dies to another.

    A task that killed as many as the scheduler allows (`distributed.scheduler.allowed-failures`) ends in an
    IntsimError; one that the scheduler lost, in BrokenExecutor.
    """

    def __init__(self, client: Any, files: Parcel) -> None:
        self.client, self.files = client, replace(files, files={})
        if files.files:  # not as Dask's data, which would draw all tasks to the first worker that has it
            client.register_plugin(_carrier(files), name=f"intsim-{files.digest}")

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """The outcome of fn(*args, **kwargs) on some worker, whose first argument is a Task."""
        remote = self.client.submit(there, fn, self.files, __version__, *args, **kwargs, pure=False)
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        future.remote = remote  # type: ignore[attr-defined]  # Dask forgets what nobody holds
        remote.add_done_callback(partial(_tell, future))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Leaves the cluster; what is still running there is of no interest any more."""
        self.client.close()


def _carrier(files: Parcel) -> Any:
    """What Dask runs once on every worker, now and whenever one joins: the files are written there."""
    from distributed import WorkerPlugin

    class Carrier(WorkerPlugin):
        def setup(self, worker: Any) -> None:
            unpack(files, _folder(worker))

    return Carrier()


def _tell(future: Future[Any], remote: Any) -> None:
    """Hands on what became of a remote task."""
    from distributed import CancelledError, KilledWorker

    try:
        future.set_result(remote.result())
    except KilledWorker as error:
        future.set_exception(IntsimError(f"its worker died {error.allowed_failures + 1} times"))
    except CancelledError as error:
        future.set_exception(BrokenExecutor(f"the scheduler lost it: {error}"))
    except BaseException as error:
        future.set_exception(error)


# ---- on a worker --------------------------------------------------------------------------------------------------


def ready(version: str, dask_worker: Any) -> None:
    """Raises IntsimError where a worker has another version, or would do several tasks at a time.

    Dask hands the worker to whoever asks for `dask_worker`.
    """
    if version != __version__:
        what = f"has intsim {__version__}, the sweep has {version}"
        raise IntsimError(what, where=dask_worker.address, mend="install the same version everywhere")
    if dask_worker.state.nthreads != 1:
        what, mend = f"has {dask_worker.state.nthreads} threads", "start workers with one thread each: --nthreads 1"
        raise IntsimError(what, where=dask_worker.address, mend=mend)


def there(fn: Callable[[Task], Done], files: Parcel, version: str, task: Task) -> Done:
    """fn(task) with the files that came along; attacked images are kept here where their folder is not seen."""
    from distributed import get_worker

    worker = get_worker()
    ready(version, worker)
    keep_memory()
    folder = _folder(worker)
    cache = Path(task.cache) if Path(task.cache).is_dir() else folder / "images"
    cache.mkdir(parents=True, exist_ok=True)
    return fn(replace(placed(task, files, folder), cache=str(cache)))


@lru_cache(1)
def keep_memory() -> bool:
    """Tells glibc to keep what was freed for what comes next, and whether it took it; elsewhere False.

    Dask's nanny has it hand back everything at once (`MALLOC_TRIM_THRESHOLD_`), and a task that makes and frees arrays
    all the time is half as fast: every array's pages are new ones. 32 MB is the most that glibc takes for one block.
    Source: mallopt(3); `distributed.nanny.pre-spawn-environ`.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return False
    trim, mmap = -1, -3
    return bool(mallopt(trim, 1 << 30)) and bool(mallopt(mmap, 1 << 25))


def _folder(worker: Any) -> Path:
    """What is ours on a worker, gone when it ends."""
    return Path(worker.local_directory) / "intsim"


# ---- files --------------------------------------------------------------------------------------------------------


def parcel(plan: Plan) -> Parcel:
    """The files that a plan names, and what lies beside a network under a longer name: its external data."""
    files, words = dict[str, bytes](), dict[str, str]()
    for word in dict.fromkeys((plan.data, plan.calibration, *plan.axes.networks, *plan.axes.targets)):
        path = Path(word)
        if path.is_file():
            words[word] = f"{len(words)}/{path.name}"
            beside = path.parent.glob(f"{path.name}*") if word in plan.axes.networks else (path,)
            files |= {f"{len(words) - 1}/{one.name}": one.read_bytes() for one in beside if one.is_file()}
    digest = hashlib.sha256(repr(sorted(words.items())).encode())
    for name, content in sorted(files.items()):
        digest.update(name.encode() + hashlib.sha256(content).digest())
    return Parcel(digest=digest.hexdigest()[:16], files=files, words=words)


def unpack(files: Parcel, folder: Path) -> None:
    """Writes the files of a parcel into its own folder in `folder`."""
    for name, content in files.files.items():
        path = folder / files.digest / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content)


def placed(task: Task, files: Parcel, folder: Path) -> Task:
    """The task with its words for files leading to where `unpack` writes them."""

    def led(word: str) -> str:
        return str(folder / files.digest / files.words[word]) if word in files.words else word

    plan, axes = task.plan, task.plan.axes
    axes = replace(axes, networks=tuple(map(led, axes.networks)), targets=tuple(map(led, axes.targets)))
    plan = replace(plan, data=led(plan.data), calibration=led(plan.calibration), axes=axes)
    cells = [(key, replace(one, network=led(one.network), target=led(one.target))) for key, one in task.cells]
    return replace(task, plan=plan, cells=tuple(cells))
