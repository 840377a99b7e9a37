"""The real runtimes that our machines are held against, one file each."""

from msgspec import Struct

RUNTIMES = {"onnxruntime": "intsim.reference.ort"}
"""Each runtime's module: `describe()` gives a Reference, and `network(quantized, threads)` a function from the inputs'
integers, as the QuantizedGraph has them, to the integers of every tensor that it can show, by name."""


class Reference(Struct, frozen=True, kw_only=True):
    """What was compared with: with another version, optimization level or CPU its integers may be others."""

    name: str
    version: str = ""
    optimization_level: str = ""
    instruction_set: str = ""
