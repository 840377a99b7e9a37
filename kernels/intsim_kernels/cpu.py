"""The CPU that kernels are compiled for: the width of its vectors, and the dot products that it has."""

import llvmlite.binding as llvm
from numba import config


def features() -> dict[str, bool]:
    """Feature to whether the target has it; NUMBA_CPU_FEATURES, where set, overrides the host's."""
    chosen = getattr(config, "CPU_FEATURES", None)
    if chosen is not None:
        return {name[1:]: name[0] == "+" for name in chosen.split(",") if name}
    return dict(llvm.get_host_cpu_features())


def has(*names: str) -> bool:
    """Whether the target has all of these features; an instruction that it lacks would end the process."""
    found = features()
    return all(found.get(name, False) for name in names)


ARM = llvm.get_default_triple().startswith(("aarch64", "arm64"))
AVX512 = has("avx512f", "avx512bw", "avx512vl")
VNNI = (AVX512 and has("avx512vnni")) or has("avxvnni")
SDOT = ARM and has("dotprod")

LANES = 16 if AVX512 else 8 if has("avx2") else 4
"""int32 lanes of a vector."""

REGISTERS = 32 if AVX512 or ARM else 16
"""Vectors that the CPU can hold."""

BYTES = "quads" if VNNI else "quads on Arm" if SDOT else ""
"""The kind of `tile` that sums products of bytes fast and exactly, where the CPU has one."""

PAIRS_OF_BYTES = has("ssse3")
"""Whether sums of two products of bytes, saturating at 16 bits, are fast."""
