"""The real runtimes that our machines are held against, one file each."""

from msgspec import Struct


class Reference(Struct, frozen=True, kw_only=True):
    """What was compared with: with another version, optimization level or CPU its integers may be others."""

    name: str
    version: str = ""
    optimization_level: str = ""
    instruction_set: str = ""
