"""numpy's matrix products on one thread: a float sum must not depend on how many processors there are."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController


@contextmanager
def one_thread() -> Iterator[None]:
    """In here, numpy's BLAS has one thread.

    With two it adds in another order on some shapes, and a scale of quantization differs in its last bit.
    """
    with _libraries().limit(limits=1, user_api="blas"):
        yield


@cache
def _libraries() -> ThreadpoolController:
    """The libraries that are loaded; looking for them takes milliseconds."""
    return ThreadpoolController()
