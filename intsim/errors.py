"""What can go wrong, and how it is said: where, what, mend."""

import difflib
from collections.abc import Iterable


class IntsimError(Exception):
    """One line for a user: `where: what: mend`. Every error that a user can cause is one of these."""

    def __init__(self, what: str, *, where: str = "", mend: str = "") -> None:
        super().__init__(": ".join(part for part in (where, what, mend) if part))
        self.where, self.what, self.mend = where, what, mend


def unknown(kind: str, name: str, names: Iterable[str]) -> IntsimError:
    """The error for a name that is not in a catalogue, with the nearest names that are."""
    known = sorted(names)
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
    return IntsimError(f'no {kind} is called "{name}"', mend=f"did you mean {', '.join(near)}?")
