"""numpy's matrix products on one thread: a float sum must not depend on how many processors there are."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads")


@contextmanager
def one_thread() -> Iterator[None]:
    """In here, the OpenBLAS that numpy's wheels bring has one thread. Another BLAS is left as it is.

    With two it adds in another order on some shapes, and a scale of quantization differs in its last bit.
    """
    count, limit = _threads()
    before = count()
    limit(1)
    try:
        yield
    finally:
        limit(before)


@cache
def _threads() -> tuple[Callable[[], int], Callable[[int], object]]:
    """(how many threads OpenBLAS has, what changes that); nothing where it is not found."""
    own = Path(np.__file__).parent
    for path in (*own.parent.glob("numpy.libs/*openblas*"), *own.glob(".dylibs/*openblas*")):
        library = ctypes.CDLL(str(path))  # loaded by numpy already
        for name in NAMES:
            try:
                return getattr(library, name.format("get")), getattr(library, name.format("set"))
            except AttributeError:
                continue
    return (lambda: 1), (lambda count: None)
