"""Random Programs until the time is over: INTSIM_FUZZ_SECONDS, from the seed INTSIM_FUZZ_SEED."""

import os
import time

import numpy as np
import pytest
from programs import any_input, any_program
from test_engine import agree


@pytest.mark.fuzz
def test_engine_equals_oracle_until_the_time_is_over() -> None:
    """Every seed is a Program of its own; the one that fails is named and can be run again alone."""
    seed = int(os.environ.get("INTSIM_FUZZ_SEED", time.time_ns() // 1000))
    end = time.monotonic() + float(os.environ.get("INTSIM_FUZZ_SECONDS", "60"))
    ran = 0
    while time.monotonic() < end or ran == 0:
        rng = np.random.default_rng(seed)
        program = any_program(rng)
        try:
            agree(program, any_input(rng, program, int(rng.integers(1, 4))), threads=int(rng.integers(1, 3)))
        except Exception as reason:
            raise AssertionError(f"INTSIM_FUZZ_SEED={seed}: {type(program.steps[0].compute).__name__}") from reason
        seed, ran = seed + 1, ran + 1
