"""docs/compare.md says what its commands say: five causes from public threads, found again."""

import contextlib
import io
import os
import re
from pathlib import Path

import causes
import numpy as np
import pytest

import intsim
from intsim.cli import main
from intsim.reference import ort

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "compare.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("causes")
    causes.write(found)
    return found


def _quoted(name: str) -> list[str]:
    """The lines under a name: the command first."""
    start = PAGE.index(causes.START.format(name)) + len(causes.START.format(name))
    return PAGE[start : PAGE.index(causes.END, start)].splitlines()


def _run(command: str, folder: Path) -> str:
    out = io.StringIO()
    here = Path.cwd()
    os.chdir(folder)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            status = main(command.split()[1:])
    finally:
        os.chdir(here)
    assert status == 0, out.getvalue()
    return out.getvalue()


@pytest.mark.parametrize("name", causes.COMMANDS)
def test_the_page_quotes_what_the_command_says(name: str, folder: Path) -> None:
    if name in causes.NATIVE and ort.host_profile() != "ort_x86_avx2":
        pytest.skip("onnxruntime's integers are those of AVX2 without VNNI")
    first, *quoted = _quoted(name)
    assert first == f"$ {causes.COMMANDS[name]}"
    said = iter(line.rstrip() for line in _run(causes.COMMANDS[name], folder).splitlines())
    lines = [line for line in quoted if line.strip() != "..."]
    assert len(lines) > 5
    for line in lines:
        assert line in said, f"run: python benchmarks/causes.py DIR --document docs/compare.md ({line})"


@pytest.mark.parametrize("name", causes.COMMANDS)
def test_every_example_ends_with_a_cause(name: str) -> None:
    assert any(re.search(r"explained by \".+ \(reference\) / .+\"$", line) for line in _quoted(name))


def test_the_pair_of_the_thread_is_the_pair_that_differs(folder: Path) -> None:
    """onnxruntime issue 25512: -114 and -122 give -112, the formula says -113."""
    x = np.load(folder / "pairs.npz")["x"]
    path = folder / "add.onnx"
    by_formula = intsim.run(intsim.build(path, "ideal"), x, trace=("*",)).traced
    on_cpu = intsim.run(intsim.build(path, intsim.targets.target(str(folder / "one_element.toml"))), x, trace=("*",))
    places = by_formula["sum"] != on_cpu.traced["sum"]
    found = [int(array[places].item()) for array in (by_formula["a"], by_formula["b"], by_formula["sum"])]
    assert [*found, int(on_cpu.traced["sum"][places].item())] == [-114, -122, -113, -112]
