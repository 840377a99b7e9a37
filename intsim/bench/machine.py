"""The machine at hand, and the bytes that a work takes on it."""

import os
import platform
import re
import tracemalloc
from pathlib import Path

import numpy as np
from msgspec.structs import replace

from intsim.bench.records import Memory, Work
from intsim.engine import run
from intsim.program import Dot
from intsim.reference import ort


def machine_of() -> dict[str, str]:
    """The machine, and the versions that decide its speed."""
    from importlib.metadata import PackageNotFoundError, version

    packages = {}
    for name in ("numba", "llvmlite", "numpy", "onnxruntime", "torch", "ai-edge-litert", "qonnx", "hls4ml"):
        try:
            packages[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": cpu(),
        "instruction_set": ort.instruction_set(),
        "onnxruntime_as": ort.host_profile(),
        "cores": str(cores()),
        "system": platform.system(),
        "python": platform.python_version(),
        **packages,
    }


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def cpu() -> str:
    """The CPU's name, as it gives it itself."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def results_name(machine: dict[str, str]) -> str:
    """What the machine's file of results is called: amd-epyc-avx2.json."""
    words = f"{machine['cpu']} {machine['instruction_set']}".lower()
    return re.sub(r"[^a-z0-9]+", "-", words).strip("-") + ".json"


def memory(work: Work) -> Memory:
    """The bytes of a work's first run: plan, packed weights, arenas, input and result.

    The kernels were loaded by a run before, of the same Program; the one that is measured is a copy, planned anew.
    """
    run(work.program, work.x, threads=work.threads)
    again = replace(work.program)
    tracemalloc.start()
    try:
        result = run(again, work.x, threads=work.threads)
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    dots = [step.compute for step in work.program.steps if isinstance(step.compute, Dot)]
    largest = max(
        int(np.prod(tensor.shape)) * tensor.affine.type.dtype.itemsize for tensor in work.program.tensors.values()
    )
    return Memory(
        work=work.name,
        threads=work.threads,
        peak=peak,
        kept=kept,
        weights=sum(dot.weight.nbytes + dot.bias.nbytes for dot in dots),
        arenas=2 * largest * len(work.x),
        result=sum(array.nbytes for array in (*result.integers.values(), *result.logits.values())),
    )
