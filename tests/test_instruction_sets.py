"""The same bits whatever the CPU: kernels compiled for others, and those whose instructions this CPU may lack."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from programs import any_input, dot_program
from test_engine import agree
from test_machine_code import CPUS

from intsim.engine.ready import scheduled
from intsim.integers import IntType
from intsim.target import Level, Mac
from intsim_kernels import cpu

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["haswell", "x86-64"])
def test_engine_compiled_for_another_cpu_equals_the_oracle(name: str) -> None:
    environment = {**os.environ, "NUMBA_CPU_NAME": name, "NUMBA_CPU_FEATURES": CPUS[name]}
    environment["PYTHONPATH"] = os.pathsep.join([str(HERE), *filter(None, sys.path)])
    command = [sys.executable, str(HERE / "any_cpu.py"), "40"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.startswith("8 lanes" if name == "haswell" else "4 lanes")


@pytest.mark.parametrize("kind", ["quads written out", "signed quads written out"])
def test_fours_of_bytes_equal_the_oracle_even_where_the_cpu_lacks_them(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The layouts that VNNI's and Arm's dot products want, with their sums written out."""
    monkeypatch.setattr(cpu, "BYTES", kind)
    used = 0
    for seed in range(80):
        rng = np.random.default_rng(seed)
        program = dot_program(rng, mac=Mac(levels=(Level(bits=32),)), x=IntType(8, signed=bool(seed % 2)))
        agree(program, any_input(rng, program, 3))
        used += any(
            room.dtype in ("uint8", "int8") for room in scheduled(program, single=False).schedule.rooms.values()
        )
    assert used > 20, used
