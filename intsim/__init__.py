"""Runs a trained network exactly as an edge chip would, in integers, and tells what an attacker gains by that."""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from intsim.errors import IntsimError
from intsim.graph import Graph
from intsim.integers import Affine, IntType, Overflow, Rounding
from intsim.program import Program, Result
from intsim.quantized import QuantizedGraph
from intsim.target import Target
from intsim.targets import TARGETS

if TYPE_CHECKING:
    from intsim.build import build, load, save
    from intsim.certify import certify
    from intsim.compare import compare
    from intsim.engine import run
    from intsim.evaluate import evaluate
    from intsim.lower import lower
    from intsim.quantize import quantize
    from intsim.vectors import vectors

__version__ = "0.1.0"
__all__ = [
    "TARGETS",
    "Affine",
    "Graph",
    "IntType",
    "IntsimError",
    "Overflow",
    "Program",
    "QuantizedGraph",
    "Result",
    "Rounding",
    "Target",
    "build",
    "certify",
    "compare",
    "evaluate",
    "load",
    "lower",
    "quantize",
    "run",
    "save",
    "vectors",
]


def _verb(name: str, room: str) -> property:
    """A verb, imported when it is first used; the room of the same name does not take its place."""

    def get(package: ModuleType) -> Any:
        return getattr(importlib.import_module(room), name)

    def keep(package: ModuleType, module: object) -> None:
        """The import system sets the room as an attribute: the verb stays."""

    return property(get, keep)


class _Package(ModuleType):
    def __dir__(self) -> list[str]:
        return __all__

    build = _verb("build", "intsim.build")
    load = _verb("load", "intsim.build")
    save = _verb("save", "intsim.build")
    certify = _verb("certify", "intsim.certify")
    compare = _verb("compare", "intsim.compare")
    evaluate = _verb("evaluate", "intsim.evaluate")
    run = _verb("run", "intsim.engine")
    quantize = _verb("quantize", "intsim.quantize")
    lower = _verb("lower", "intsim.lower")
    vectors = _verb("vectors", "intsim.vectors")


sys.modules[__name__].__class__ = _Package
