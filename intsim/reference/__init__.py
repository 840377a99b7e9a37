"""The real runtimes that our machines are held against, one file each."""

import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError, unknown
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
    """A runtime: what it is, how it runs a quantized network on so many threads, and what it computes otherwise.

    `computed`: by tensor, the operator that the runtime really computes it with, where that is another one.
    """

    describe: Callable[[], Reference]
    network: Callable[[QuantizedGraph, int], Runner]
    computed: Callable[[QuantizedGraph], Mapping[str, str]]


RUNTIMES: dict[str, tuple[str, dict[str, Any]]] = {
    "onnxruntime": ("intsim.reference.ort", {}),
    "litert": ("intsim.reference.litert", {"resolver": "AUTO"}),
    "litert_builtin": ("intsim.reference.litert", {"resolver": "BUILTIN_WITHOUT_DEFAULT_DELEGATES"}),
    "litert_reference": ("intsim.reference.litert", {"resolver": "BUILTIN_REF"}),
    "tflite_micro": ("intsim.reference.tflm", {}),
    "qonnx": ("intsim.reference.finn", {}),
}
"""Each runtime's module, and the options of its functions `network(quantized, threads)` and `describe()`."""


def runtime(name: str, options: Mapping[str, str] | None = None) -> Runtime:
    """The runtime of that name, with the `options` of a user; its package is asked for when a network is run.

    Raises IntsimError for an option or a word that the module's OPTIONS do not have.
    """
    module, own = RUNTIMES[name]
    found = importlib.import_module(module)
    known: Mapping[str, tuple[str, ...]] = getattr(found, "OPTIONS", {})
    for option, value in (options or {}).items():
        if option not in known:
            takes = ", ".join(f"--{one}" for one in known)
            raise IntsimError(f'has no option "{option}"', where=name, mend=f"it takes {takes or 'none'}")
        if value not in known[option]:
            raise unknown(option, value, known[option])
    taken = own | dict(options or {})
    return Runtime(
        describe=partial(found.describe, **taken),
        network=partial(found.network, **taken),
        computed=partial(found.computed, **taken) if hasattr(found, "computed") else lambda _: {},
    )
