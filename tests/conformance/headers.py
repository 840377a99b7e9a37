"""hls4ml's fixed-point types: every sum of two products and a bias, under every rounding and overflow, by g++."""

import importlib.metadata
import tempfile
from pathlib import Path

import numpy as np

from intsim.errors import IntsimError

RUNTIME = "ap_fixed of hls4ml"
OP = "fully connected"


def compared() -> tuple[str, int, int, int]:
    """(version, cases, values, mismatches). IntsimError where g++ or the headers are not there."""
    import test_hls4ml as rules

    if not rules.available():
        raise IntsimError("g++ or the headers are not installed", where=RUNTIME, mend="pip install --no-deps hls4ml")
    values = mismatches = 0
    with tempfile.TemporaryDirectory() as folder:
        library = rules.compiled(Path(folder))
        for which, modes in enumerate(rules.MODES):
            ours, theirs = rules.both(which, modes, library)
            values += ours.size
            mismatches += int(np.count_nonzero(ours != theirs))
    return importlib.metadata.version("hls4ml"), len(rules.MODES), values, mismatches
