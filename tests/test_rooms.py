"""The house rules of the architecture: imports run downward, and each outside package has one door."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Each room imports only from rows above its own. A new file needs a place here.
FLOORS = [
    ["errors", "integers"],
    ["files"],
    ["graph", "target"],
    ["quantized"],
    ["program"],
    ["arithmetic", "doors"],
    ["archive", "onnx_io", "tflite_io", "targets", "normalise", "calibrate", "statistics", "tasks"],
    ["ops", "reference", "named"],
    ["check"],
    ["quantize", "lower", "partition"],
    ["oracle", "ranges", "attack", "adopt"],
    ["engine", "certify"],
    ["build"],
    ["compare", "evaluate", "bench", "vectors", "advice"],
    ["sweep"],
    ["report"],
    ["review"],
    ["demo"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
DOORS = {
    "tflite": {"tflite_io"},
    "flatbuffers": {"tflite_io"},
    "ai_edge_litert": {"reference"},
    "onnx": {"onnx_io", "reference"},
    "onnxruntime": {"reference"},
    "torch": {"attack", "bench"},
    "art": {"attack"},
    "numba": set(),
    "llvmlite": set(),
    "scipy": {"statistics"},
    "matplotlib": {"report"},
    "jinja2": {"report"},
    "pyarrow": {"sweep"},
    "distributed": {"sweep"},
    "qonnx": {"reference"},
    "tflite_micro": {"reference"},
    "threadpoolctl": {"calibrate"},
    "click": {"cli", "__main__"},
}
OURS = sorted((ROOT / "intsim").rglob("*.py"))


def imports(path: Path, *, top_level: bool = False) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = []
    for node in tree.body if top_level else ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [f"intsim.{alias.name}" for alias in node.names] if node.module == "intsim" else [node.module]
    return found


def room(path: Path) -> str:
    return path.relative_to(ROOT / "intsim").parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_run_downward(path: Path) -> None:
    here = room(path)
    if here == "__init__":
        return
    assert here in FLOOR, f"{here} stands on no floor: give it one in FLOORS"
    for name in imports(path):
        if name.startswith("intsim."):
            there = name.split(".")[1]
            if there in FLOOR:
                assert there == here or FLOOR[there] < FLOOR[here], f"{here} imports {name}: above or beside it"


@pytest.mark.parametrize("path", OURS, ids=lambda path: str(path.relative_to(ROOT)))
def test_each_outside_package_has_one_door(path: Path) -> None:
    for name in imports(path):
        package = name.split(".")[0]
        assert package not in DOORS or room(path) in DOORS[package], f"only {DOORS[package]} may import {package}"


def test_the_kernels_know_nothing_of_intsim() -> None:
    for path in (ROOT / "kernels").rglob("*.py"):
        for name in imports(path):
            package = name.split(".")[0]
            assert package in {"intsim_kernels", "numba", "llvmlite", "numpy"} | sys.stdlib_module_names, (
                f"{path} imports {name}"
            )


def test_every_module_says_in_one_sentence_what_it_holds() -> None:
    for path in [*OURS, *(ROOT / "kernels").rglob("*.py"), *(ROOT / "models").rglob("*.py")]:
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
        assert doc, f"{path} does not say what is in it"


def test_importing_intsim_brings_nothing_heavy() -> None:
    heavy = "numba onnx onnxruntime torch scipy rich"
    code = f"import sys, intsim; print([m for m in '{heavy}'.split() if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert found.stdout.strip() == "[]"
