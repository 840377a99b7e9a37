"""TFLite Micro with every tensor on view: the reference kernels that microcontrollers run."""

import math
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

from intsim.errors import IntsimError
from intsim.quantized import QuantizedGraph
from intsim.reference import Reference, Runner
from intsim.reference.litert import MEND, exposed, from_file, refusal, to_file

_LEAST_ARENA = 1 << 20


def network(quantized: QuantizedGraph, threads: int = 1) -> Runner:
    """The network as an int8 .tflite: from its inputs' integers to those of every tensor.

    Every tensor is an output of the file, so that its memory is not used again; one thread, whatever `threads` is.
    Raises IntsimError where the network cannot be written as TFLite, or TFLite Micro has no kernel for it or is not
    installed.
    """
    from intsim.tflite_io import tflite_model

    module, shown = _runtime(), exposed(quantized)
    model = tflite_model(shown)
    values = sum(math.prod(shape) for shape in quantized.graph.shapes.values())
    try:
        interpreter = module.Interpreter.from_bytes(model, arena_size=_LEAST_ARENA + 16 * values + 2 * len(model))
    except (RuntimeError, ValueError) as reason:
        raise refusal("TFLite Micro", "does not take this model", reason) from None
    inputs, outputs = shown.graph.inputs, shown.graph.outputs
    zeros_in = [_zero(interpreter.get_input_details(i)) for i in range(len(inputs))]
    zeros_out = [_zero(interpreter.get_output_details(i)) for i in range(len(outputs))]

    def run(x: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        feeds = [to_file(x[name], quantized.affines[name], zero) for name, zero in zip(inputs, zeros_in, strict=True)]
        found: list[list[np.ndarray]] = [[] for _ in outputs]
        for sample in range(len(feeds[0])):
            for index, array in enumerate(feeds):
                interpreter.set_input(array[sample : sample + 1], index)
            try:
                interpreter.invoke()
            except (RuntimeError, ValueError) as reason:
                raise refusal("TFLite Micro", "could not run this model", reason) from None
            for index, parts in enumerate(found):
                parts.append(np.array(interpreter.get_output(index)))
        return {
            name: from_file(np.concatenate(parts), quantized, name, zero)
            for name, parts, zero in zip(outputs, found, zeros_out, strict=True)
        }

    return run


def describe() -> Reference:
    """TFLite Micro's version; its kernels are plain C++, the same on every CPU."""
    _runtime()
    return Reference(name="TFLite Micro", version=version("tflite_micro"), optimization_level="reference kernels")


def _zero(detail: Any) -> int:
    zeros = detail["quantization_parameters"]["zero_points"]
    return int(zeros[0]) if len(zeros) else 0


def _runtime() -> Any:
    try:
        from tflite_micro.python.tflite_micro import runtime
    except ImportError:
        raise IntsimError("is not installed", where="TFLite Micro", mend=MEND) from None
    return runtime
