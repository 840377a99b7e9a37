"""What calibration sees does not depend on how many threads numpy's BLAS has."""

import subprocess
import sys
from pathlib import Path

from test_cli import environment
from threadpoolctl import threadpool_info, threadpool_limits

from intsim.calibrate.alone import one_thread

CODE = """
from intsim import archive
from intsim.build import load
from intsim.calibrate import ranges
from intsim_models import images, path
print(archive.digest(ranges(load(path("cnn")), images().x_calibration[:500]).tensors))
"""


def test_one_thread_is_all_that_blas_has_inside_and_what_it_had_comes_back() -> None:
    with threadpool_limits(limits=2, user_api="blas"):
        assert of_blas() == {2}
        with one_thread():
            assert of_blas() == {1}
        assert of_blas() == {2}


def of_blas() -> set[int]:
    """How many threads the libraries of matrix products have."""
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


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
