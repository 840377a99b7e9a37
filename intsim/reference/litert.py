"""LiteRT with every tensor on view: its reference kernels, its built-in ones (ruy), and XNNPACK, its default."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Literal

import numpy as np
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.integers import Affine
from intsim.program import inside, outside
from intsim.quantized import QuantizedGraph
from intsim.reference import Reference, Runner
from intsim.reference.ort import instruction_set

Resolver = Literal["AUTO", "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "BUILTIN_REF"]

MEND = "pip install 'intsim[conformance]'"
KERNELS = {
    "AUTO": "XNNPACK",
    "BUILTIN_WITHOUT_DEFAULT_DELEGATES": "built-in kernels",
    "BUILTIN_REF": "reference kernels",
}


def network(quantized: QuantizedGraph, threads: int = 1, *, resolver: Resolver = "AUTO") -> Runner:
    """The network as an int8 .tflite: from its inputs' integers to those of every tensor.

    Every tensor is an output of the file, so that no delegate swallows it. Raises IntsimError where the network cannot
    be written as TFLite, or LiteRT has no kernel for it or is not installed.
    """
    from intsim.tflite_io import tflite_model

    module = _interpreter()
    model = tflite_model(exposed(quantized))
    try:
        interpreter = module.Interpreter(
            model_content=model,
            num_threads=threads,
            experimental_op_resolver_type=getattr(module.OpResolverType, resolver),
        )
        interpreter.allocate_tensors()
    except (RuntimeError, ValueError) as reason:
        raise refusal("LiteRT", "does not take this model", reason) from None
    inputs = {detail["name"]: detail for detail in interpreter.get_input_details()}
    outputs = {detail["name"]: detail for detail in interpreter.get_output_details()}

    def run(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = {name: to_file(array, quantized.affines[name], _zero(inputs[name])) for name, array in x.items()}
        found: dict[str, list[np.ndarray]] = {name: [] for name in outputs}
        for sample in range(len(next(iter(feeds.values())))):
            for name, array in feeds.items():
                interpreter.set_tensor(inputs[name]["index"], array[sample : sample + 1])
            try:
                interpreter.invoke()
            except (RuntimeError, ValueError) as reason:
                raise refusal("LiteRT", "could not run this model", reason) from None
            for name, detail in outputs.items():
                found[name].append(interpreter.get_tensor(detail["index"]))
        return {
            name: from_file(np.concatenate(parts), quantized, name, _zero(outputs[name]))
            for name, parts in found.items()
            if name in quantized.affines
        }

    return run


def describe(*, resolver: Resolver = "AUTO") -> Reference:
    """LiteRT's version, which of its kernels run, and the instruction set of this CPU."""
    _interpreter()
    return Reference(
        name="LiteRT",
        version=version("ai-edge-litert"),
        optimization_level=KERNELS[resolver],
        instruction_set=instruction_set(),
    )


def _interpreter() -> Any:
    try:
        from ai_edge_litert import interpreter
    except ImportError:
        raise IntsimError("is not installed", where="LiteRT", mend=MEND) from None
    return interpreter


def _zero(detail: Any) -> int:
    (zero,) = detail["quantization_parameters"]["zero_points"]
    return int(zero)


# ---- what every runtime of TFLite files needs ------------------------------------------------------------------


def exposed(quantized: QuantizedGraph) -> QuantizedGraph:
    """The network with every tensor that a node computes among its outputs."""
    graph = quantized.graph
    every = dict.fromkeys([*graph.outputs, *(name for node in graph.nodes for name in node.outputs)])
    return QuantizedGraph(graph=replace(graph, outputs=tuple(every)), affines=quantized.affines)


def to_file(x: np.ndarray, affine: Affine, zero: int) -> np.ndarray:
    """Integers `[n, c, ...]` as the file has them: channels last, with the file's zero point and its sign."""
    type_ = (
        affine.type if zero == affine.zero else affine.shifted(replace(affine.type, signed=not affine.type.signed)).type
    )
    return inside(x.astype(np.int64) + (zero - affine.zero)).astype(type_.dtype)


def from_file(q: np.ndarray, quantized: QuantizedGraph, name: str, zero: int) -> np.ndarray:
    """The file's integers in the network's own type and layout."""
    affine = quantized.affines[name]
    shape = quantized.graph.shapes[name]
    if q[:1].size != math.prod(shape):
        raise IntsimError(f"gives {q.shape[1:]}, channels last, where the network has {shape}", where=name)
    array = outside(q.astype(np.int64) + (affine.zero - zero))
    return array.reshape(len(q), *shape).astype(affine.type.dtype)


def refusal(where: str, what: str, reason: Exception) -> IntsimError:
    """The runtime's own words, in one line."""
    text = next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    return IntsimError(f"{what} ({text[:200]})", where=where)
