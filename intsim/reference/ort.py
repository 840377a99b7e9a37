"""onnxruntime's CPU kernels, with every tensor on view, and the instruction set that decides which of them run."""

import importlib
import platform
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from intsim.errors import IntsimError
from intsim.onnx_io import qdq_model, qoperator_model
from intsim.quantized import QuantizedGraph, dequantized
from intsim.reference import Reference, ort_graph

Optimization = Literal["disabled", "basic", "extended", "all"]
Form = Literal["qoperator", "qdq"]
Runner = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]

OPTIONS = {"optimization": ("disabled", "basic", "extended", "all"), "form": ("qoperator", "qdq")}
"""What `network`, `computed` and `describe` take beside the network, and in which words."""


def runner(
    model: bytes, *, threads: int = 1, optimization: Optimization = "disabled", expose: bool | Sequence[str] = True
) -> Runner:
    """A function from inputs by name to tensors by name: all that the main graph has, its outputs only, or these.

    Exposing a tensor keeps onnxruntime from fusing it away, so results belong to the level that was asked for.
    Raises IntsimError for a model that onnxruntime does not take.
    """
    session = _session(
        model if expose is False else exposed(model, None if expose is True else expose), threads, optimization
    )
    names = [output.name for output in session.get_outputs()]

    def run(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, session.run(names, dict(feeds)), strict=True))
        except Exception as reason:
            raise _error("could not run this model", reason) from None

    return run


def _session(model: bytes, threads: int, optimization: Optimization, written: str = "") -> Any:
    """The session; `written`: where onnxruntime leaves the graph as it will run it."""
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
    options.optimized_model_filepath = written
    try:
        return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    except Exception as reason:  # onnxruntime's own exceptions have no common base but this
        raise _error("does not take this model", reason) from None


def network(
    quantized: QuantizedGraph,
    threads: int = 1,
    *,
    optimization: Optimization = "disabled",
    form: Form = "qoperator",
) -> Runner:
    """The quantized network in onnxruntime: from its inputs' integers to those of every tensor.

    `form`: as integer operators, or as float operators between quantizations, which onnxruntime then fuses to integer
    ones, or does not, by its `optimization`. Raises IntsimError where the form cannot hold the network, or onnxruntime
    has no kernel for it.
    """
    if form == "qoperator" and optimization == "disabled":
        return runner(qoperator_model(quantized, io="integer").SerializeToString(), threads=threads)
    model, found = _optimized(quantized, optimization, form)
    run = runner(model, threads=threads, expose=[place.name for place in found.values()])

    def integers(feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        given = {n: dequantized(q, quantized.affines[n]) for n, q in feeds.items()} if form == "qdq" else feeds
        arrays = run(given)
        shown = {n: ort_graph.read(arrays[place.name], place, quantized, n) for n, place in found.items()}
        return {name: q for name, q in shown.items() if q is not None}

    return integers


def computed(
    quantized: QuantizedGraph, *, optimization: Optimization = "disabled", form: Form = "qoperator"
) -> dict[str, str]:
    """By tensor, the operator that onnxruntime computes it with at this level: "QLinearConv", "Conv in float"."""
    return {name: place.by for name, place in _optimized(quantized, optimization, form)[1].items()}


def _optimized(
    quantized: QuantizedGraph, optimization: Optimization, form: Form
) -> tuple[bytes, dict[str, ort_graph.Place]]:
    """The model as onnxruntime will run it at this level, and where it has the network's tensors."""
    import onnx

    proto = qdq_model(quantized) if form == "qdq" else qoperator_model(quantized, io="integer")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "optimized.onnx"
        _session(proto.SerializeToString(), 1, optimization, str(path))
        model = onnx.load(path)
    return model.SerializeToString(), ort_graph.places(model.graph, quantized)


def run(
    model: bytes, feeds: Mapping[str, np.ndarray], *, threads: int = 1, optimization: Optimization = "disabled"
) -> dict[str, np.ndarray]:
    """Every tensor of the model, by name."""
    return runner(model, threads=threads, optimization=optimization)(feeds)


def exposed(model: bytes, names: Sequence[str] | None = None) -> bytes:
    """The model with these tensors among its outputs; None: every tensor that a node computes."""
    import onnx

    proto = onnx.ModelProto.FromString(model)
    known = {output.name for output in proto.graph.output}
    for node in proto.graph.node:
        for name in node.output:
            if name and name not in known and (names is None or name in names):
                known.add(name)
                proto.graph.output.append(onnx.ValueInfoProto(name=name))
    return proto.SerializeToString()


def _error(what: str, reason: Exception) -> IntsimError:
    text = next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return IntsimError(f"{what} ({text[:200]})", where="onnxruntime")


# ---- which kernels run ---------------------------------------------------------------------------------------


def describe(optimization: Optimization = "disabled", form: Form = "qoperator") -> Reference:
    """onnxruntime's version, the optimization level, and the instruction set of this CPU.

    `form` is told where it is not the one that is meant by the name alone.
    """
    import onnxruntime

    return Reference(
        name="onnxruntime",
        version=onnxruntime.__version__,
        optimization_level=optimization + (", QDQ" if form == "qdq" else ""),
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
