"""hls4ml's fixed-point types: every sum of two products and a bias, under every rounding and overflow, by g++."""

import importlib.metadata
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError

RUNTIME = "{} of hls4ml"
OP = "fully connected"


class Compared(Struct, frozen=True, kw_only=True):
    """What was compared of one family of types: ap_fixed, ac_fixed."""

    family: str
    version: str
    cases: int
    values: int
    mismatches: int


def compared() -> Iterator[Compared]:
    """Family by family. IntsimError where g++ or the headers are not there."""
    import test_hls4ml as rules

    if not rules.available():
        raise IntsimError("g++ or the headers are not installed", where="hls4ml", mend="pip install --no-deps hls4ml")
    for family, every in rules.MODES.items():
        values = mismatches = 0
        with tempfile.TemporaryDirectory() as folder:
            library = rules.compiled(Path(folder), family)
            for which, modes in enumerate(every):
                ours, theirs = rules.both(which, modes, library)
                values += ours.size
                mismatches += int(np.count_nonzero(ours != theirs))
        yield Compared(
            family=f"{family}_fixed",
            version=importlib.metadata.version("hls4ml"),
            cases=len(every),
            values=values,
            mismatches=mismatches,
        )
