"""The door to torch, which is imported where it is needed and may be missing."""

from typing import Any

from intsim.errors import IntsimError


def torch() -> Any:
    """The torch package. Raises IntsimError where it is not installed."""
    try:
        import torch
    except ImportError:
        raise IntsimError("torch is not installed", mend="pip install intsim[attack]") from None
    return torch
