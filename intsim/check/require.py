"""Where a damaged Program ends."""

from intsim.errors import IntsimError

MOST = 1 << 31
"""No zero point and no constant lies beyond 32 bits."""


def require(condition: bool, what: str, where: str) -> None:
    """IntsimError where the condition does not hold."""
    if not condition:
        raise IntsimError(what, where=where, mend="the Program is damaged: build it again")
