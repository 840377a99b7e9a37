"""onnxruntime's CPU kernels, with every tensor on view, and the instruction set that decides which of them run."""

import importlib
import platform
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np

from intsim.errors import IntsimError
from intsim.onnx_io import qoperator_model
from intsim.quantized import QuantizedGraph
from intsim.reference import Reference

Optimization = Literal["disabled", "basic", "extended", "all"]
Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]


def runner(model: bytes, *, threads: int = 1, optimization: Optimization = "disabled", expose: bool = True) -> Runner:
    """A function from inputs by name to tensors by name: all tensors of the model's main graph, or its outputs only.

    Exposing a tensor keeps onnxruntime from fusing it away, so results belong to the level that was asked for.
    Raises IntsimError for a model that onnxruntime does not take.
    """
    import onnxruntime

    levels = {
        "disabled": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
        "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
        "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
        "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
    }
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = levels[optimization]
    options.use_deterministic_compute = True
    try:
        session = onnxruntime.InferenceSession(exposed(model) if expose else model, options, ["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's own exceptions have no common base but this
        raise _error("does not take this model", reason) from None
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))
        except Exception as reason:
            raise _error("could not run this model", reason) from None

    return run


def network(quantized: QuantizedGraph, threads: int = 1) -> Runner:
    """The quantized network as onnxruntime's integer operators: from its inputs' integers to those of every tensor.

    Raises IntsimError where QOperator cannot hold the network, or onnxruntime has no kernel for it.
    """
    return runner(qoperator_model(quantized, io="integer").SerializeToString(), threads=threads)


def run(
    model: bytes, feeds: Mapping[str, np.ndarray], *, threads: int = 1, optimization: Optimization = "disabled"
) -> dict[str, np.ndarray]:
    """Every tensor of the model, by name."""
    return runner(model, threads=threads, optimization=optimization)(feeds)


def exposed(model: bytes) -> bytes:
    """The model with every tensor that a node computes among its outputs."""
    import onnx

    proto = onnx.ModelProto.FromString(model)
    known = {output.name for output in proto.graph.output}
    for node in proto.graph.node:
        for name in node.output:
            if name and name not in known:
                known.add(name)
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return proto.SerializeToString()


def _error(what: str, reason: Exception) -> IntsimError:
    text = next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return IntsimError(f"{what} ({text[:200]})", where="onnxruntime")


# ---- which kernels run ---------------------------------------------------------------------------------------


def describe(optimization: Optimization = "disabled") -> Reference:
    """onnxruntime's version, the optimization level, and the instruction set of this CPU."""
    import onnxruntime

    return Reference(
        name="onnxruntime",
        version=onnxruntime.__version__,
        optimization_level=optimization,
        instruction_set=instruction_set(),
    )


def instruction_set() -> str:
    """What decides onnxruntime's integer kernels: "vnni", "avx2", "sse4.1", "arm64", or the machine's own name.

    Source: microsoft/onnxruntime mlas/lib/platform.cpp MLAS_PLATFORM::MLAS_PLATFORM.
    """
    machine = platform.machine().lower()
    if machine in ("arm64", "aarch64"):
        return "arm64"
    if machine not in ("x86_64", "amd64", "i386", "i686", "x86"):
        return machine
    flags = _flags()
    if "avx2" in flags and flags & {"avx_vnni", "avx512_vnni"}:
        return "vnni"
    if "avx2" in flags:
        return "avx2"
    return "sse4.1" if "sse4_1" in flags else "x86"


def host_profile() -> str:
    """The name of the target that belongs to this CPU; it need not be in the catalogue."""
    kind = instruction_set()
    return f"ort_x86_{kind.replace('.', '')}" if kind in ("vnni", "avx2", "sse4.1") else f"ort_{kind}"


def _flags() -> set[str]:
    """The features of this CPU under the names that Linux gives them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        key, _, value = line.partition(":")
        if key.strip() == "flags":
            return set(value.split())
    table = getattr(importlib.import_module("numpy._core._multiarray_umath"), "__cpu_features__", {})
    names = {"AVX2": "avx2", "SSE41": "sse4_1", "AVX512VNNI": "avx512_vnni", "AVX512_ICL": "avx512_vnni"}
    return {name for feature, name in names.items() if table.get(feature)}
