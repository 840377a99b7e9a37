"""Compiles routines for the CPU that NUMBA_CPU_NAME and NUMBA_CPU_FEATURES describe, and prints their inner loops.

Nothing is run, so that any x86-64 machine can look at what another one would execute. One JSON object: routine to list
of loops, each a list of instructions.
"""

import json
import re
import sys
import tempfile
from typing import Any

import numba

numba.config.CACHE_DIR = tempfile.mkdtemp()  # what comes from a cache has no assembly to look at

from intsim_kernels import cpu, native, wide  # noqa: E402


def loops(assembly: str) -> list[list[str]]:
    """The instructions of every loop that is one block: a label, and a jump back to it."""
    found, label, body = list[list[str]](), "", list[str]()
    for line in assembly.splitlines():
        if start := re.match(r"^(\.?\w+):", line):
            label, body = start[1], []
            continue
        instruction = line.strip()
        if not instruction or instruction[0] in ".#":
            continue
        body.append(instruction)
        if jump := re.match(r"^j\w+\s+(\S+)", instruction):
            found += [body] if jump[1] == label else []
            label, body = "", []
    return found


def of(routine: Any) -> list[list[str]]:
    native.address(routine)
    (assembly,) = routine.inspect_asm().values()
    return loops(assembly)


if __name__ == "__main__":
    kinds = [kind for kind in ("pairs", "saturating quads", cpu.BYTES) if kind]
    routines = {f"{kind} {width}": wide.dot_routine(kind, width) for kind in kinds for width in wide.ROWS}
    sys.stdout.write(json.dumps({name: of(routine) for name, routine in routines.items()}))
