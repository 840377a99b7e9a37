"""The door to torch, which is imported where it is needed and may be missing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from intsim.errors import IntsimError


def torch() -> Any:
    """The torch package. Raises IntsimError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise IntsimError("torch is not installed", mend="pip install intsim[attack]") from None
    return torch


@contextmanager
def one_thread() -> Iterator[None]:
    """torch computes on one thread inside, as it did before outside.

    Small networks gain little from more, and lose ten times as much where other processes want the same cores: the
    threads of a layer wait for each other, busily.
    """
    package = torch()
    before = package.get_num_threads()
    package.set_num_threads(1)
    try:
        yield
    finally:
        package.set_num_threads(before)
