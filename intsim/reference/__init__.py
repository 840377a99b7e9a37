"""The real runtimes that our machines are held against, one file each."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.quantized import QuantizedGraph


class Reference(Struct, frozen=True, kw_only=True):
    """What was compared with: with another version, optimization level or CPU its integers may be others."""

    name: str
    version: str = ""
    optimization_level: str = ""
    instruction_set: str = ""


FLOAT, TURNED = " in float", ", s8 turned into u8"
"""What a runtime's `computed` says behind an operator's name, where it is so."""

Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
"""From the inputs' integers `[n, c, ...]`, as the QuantizedGraph has them, to those of every tensor that is shown."""


class Runtime(Struct, frozen=True, kw_only=True):
    """A runtime: what it is, and how it runs a quantized network on so many threads."""

    describe: Callable[[], Reference]
    network: Callable[[QuantizedGraph, int], Runner]


RUNTIMES: dict[str, tuple[str, dict[str, Any]]] = {
    "onnxruntime": ("intsim.reference.ort", {}),
    "litert": ("intsim.reference.litert", {"resolver": "AUTO"}),
    "litert_builtin": ("intsim.reference.litert", {"resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}),
    "litert_reference": ("intsim.reference.litert", {"resolver": "BUILTIN_REF"}),
    "tflite_micro": ("intsim.reference.tflm", {}),
}
"""Each runtime's module, and the options of its functions `network(quantized, threads)` and `describe()`."""


def runtime(name: str) -> Runtime:
    """The runtime of that name; its package is asked for when a network is run."""
    module, options = RUNTIMES[name]
    found = importlib.import_module(module)
    return Runtime(describe=partial(found.describe, **options), network=partial(found.network, **options))
