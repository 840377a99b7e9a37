"""What calibration sees does not depend on how many threads numpy's BLAS has."""

import subprocess
import sys
from pathlib import Path

import pytest
from test_cli import environment

from intsim.calibrate.alone import _threads, one_thread

CODE = """
from intsim import archive
from intsim.build import load
from intsim.calibrate import ranges
from intsim_models import images, path
print(archive.digest(ranges(load(path("cnn")), images().x_calibration[:500]).tensors))
"""


def test_one_thread_is_all_that_blas_has_inside_and_what_it_had_comes_back() -> None:
    count, limit = _threads()
    before = count()
    limit(2)
    try:
        many = count()
        if many != 2:
            pytest.skip("not the OpenBLAS of numpy's wheels")
        with one_thread():
            assert count() == 1
        assert count() == 2
    finally:
        limit(before)


def test_ranges_are_the_same_however_many_threads_there_are() -> None:
    said = [
        subprocess.run(
            [sys.executable, "-c", CODE], env=environment(OPENBLAS_NUM_THREADS=threads), cwd=Path(__file__).parents[1],
            capture_output=True, text=True, check=True,
        ).stdout
        for threads in ("1", "2")
    ]  # fmt: skip
    assert len(said[0].strip()) == 64
    assert said[0] == said[1]
