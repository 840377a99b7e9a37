"""How a kernel is compiled: on first use, without the GIL, kept on disk for as long as no kernel's source changes."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba
from numba.core import event
from numba.core.caching import FunctionCache, IndexDataCacheFile

# numba watches only the file of the function itself. A kernel also contains the scalar functions of other files, so
# what is on disk counts only for exactly this source of the whole package.
DIGEST = hashlib.sha256(b"".join(f.read_bytes() for f in sorted(Path(__file__).parent.glob("*.py")))).hexdigest()

# numpy's error model: no kernel divides by 0, and a check for it would keep loops from becoming vectors.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def kernel(function: Callable[..., Any], variant: str = "") -> Callable[..., Any]:
    """The function, compiled when it is first called, for the types that it is called with.

    `variant`: sets functions apart that stand at the same place in the same file.
    """
    try:
        dispatcher = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # there is no place on this machine where a cache could be written
        return numba.njit(**OPTIONS)(function)
    cache = getattr(dispatcher, "_cache", None)
    if not isinstance(cache, FunctionCache):  # the user has switched numba's compiler or its cache off
        return dispatcher
    cache._cache_file = IndexDataCacheFile(
        cache_path=cache.cache_path,
        filename_base=f"{cache._impl.filename_base}{variant}-{DIGEST[:12]}",
        source_stamp=DIGEST,
    )
    return dispatcher


class _Listener(event.Listener):
    """numba's own interface asks for a class."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say = say

    def on_start(self, happened: event.Event) -> None:
        function = happened.data["dispatcher"].py_func
        if function.__module__.startswith("intsim_kernels"):
            self.say(function.__name__)

    def on_end(self, happened: event.Event) -> None:
        pass


@contextmanager
def announced(say: Callable[[str], None]) -> Iterator[None]:
    """Calls `say` with a kernel's name whenever one is really compiled (not: loaded from disk) in here."""
    with event.install_listener("numba:compile", _Listener(say)):
        yield
