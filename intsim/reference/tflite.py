"""A .tflite being written: tensors, constants and operators, by the schema that LiteRT's own wheel carries."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError

MEND = "pip install 'intsim[bench]'"


OPTIONS = {
    "CONV_2D": "Conv2DOptions",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2DOptions",
    "FULLY_CONNECTED": "FullyConnectedOptions",
    "MAX_POOL_2D": "Pool2DOptions",
    "MEAN": "ReducerOptions",
    "RESHAPE": "ReshapeOptions",
    "ADD": "AddOptions",
    "PAD": "PadOptions",
}
VERSIONS = {"CONV_2D": 3, "DEPTHWISE_CONV_2D": 3, "FULLY_CONNECTED": 5, "MAX_POOL_2D": 2, "MEAN": 2, "ADD": 2, "PAD": 2}
"""The least version of an operator that takes int8."""


class Draft(Struct, kw_only=True, eq=False):
    """A .tflite being written: the schema's own objects, and the index of every tensor by name."""

    schema: Any
    tensors: list[Any]
    buffers: list[Any]
    operators: list[Any]
    codes: list[Any]
    index: dict[str, int]


def draft() -> Draft:
    """Nothing yet. IntsimError where ai-edge-litert is not installed."""
    schema = module("schema_py_generated")
    return Draft(schema=schema, tensors=[], buffers=[schema.BufferT()], operators=[], codes=[], index={})


def tensor(
    draft: Draft, name: str, shape: Sequence[int], scales: list[float], zero: int, kind: str = "INT8", axis: int = 0
) -> Any:
    """A new tensor of the schema's `kind`; scales along `axis`, none for plain numbers."""
    made = draft.schema.TensorT()
    made.name, made.shape, made.type, made.buffer = name, list(shape), getattr(draft.schema.TensorType, kind), 0
    if scales:
        made.quantization = draft.schema.QuantizationParametersT()
        made.quantization.scale = [float(np.float32(s)) for s in scales]
        made.quantization.zeroPoint = [zero] * len(scales)
        made.quantization.quantizedDimension = axis
    draft.index[name] = len(draft.tensors)
    draft.tensors.append(made)
    return made


def filled(draft: Draft, made: Any, data: np.ndarray) -> str:
    """The name of the tensor, which now is a constant."""
    buffer = draft.schema.BufferT()
    buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
    draft.buffers.append(buffer)
    made.buffer = len(draft.buffers) - 1
    return str(made.name)


def integers(draft: Draft, name: str, values: np.ndarray) -> str:
    """The name of a new constant, int32 numbers without a scale."""
    return filled(draft, tensor(draft, name, values.shape, [], 0, "INT32"), values)


def constants(
    draft: Draft,
    name: str,
    weight: np.ndarray,
    scales: list[float],
    bias: np.ndarray,
    products: list[float],
    axis: int = 0,
) -> tuple[str, str]:
    """The weights and the bias of a sum; `products`: the scales of the bias."""
    w = tensor(draft, f"{name}:weight", weight.shape, scales, 0, axis=axis)
    b = tensor(draft, f"{name}:bias", bias.shape, products, 0, "INT32")
    return filled(draft, w, weight), filled(draft, b, bias.astype(np.int32))


def operator(draft: Draft, op: str, inputs: Sequence[str], output: str, options: dict[str, Any]) -> None:
    """Adds the operator of that name; its tensors are there already."""
    schema = draft.schema
    code, operator = schema.OperatorCodeT(), schema.OperatorT()
    code.builtinCode = getattr(schema.BuiltinOperator, op)
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), VERSIONS.get(op, 1)
    operator.opcodeIndex = len(draft.codes)
    operator.inputs, operator.outputs = [draft.index[name] for name in inputs], [draft.index[output]]
    operator.builtinOptionsType = getattr(schema.BuiltinOptions, OPTIONS[op])
    operator.builtinOptions = getattr(schema, f"{OPTIONS[op]}T")()
    for key, value in options.items():
        setattr(operator.builtinOptions, key, value)
    draft.codes.append(code)
    draft.operators.append(operator)


def model(draft: Draft, x: str, y: str) -> bytes:
    """The file, with one input and one output."""
    import flatbuffers

    graph, model = draft.schema.SubGraphT(), draft.schema.ModelT()
    graph.tensors, graph.operators = draft.tensors, draft.operators
    graph.inputs, graph.outputs = [draft.index[x]], [draft.index[y]]
    model.version, model.operatorCodes, model.buffers, model.subgraphs = 3, draft.codes, draft.buffers, [graph]
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def module(name: str) -> Any:
    """One of ai-edge-litert's modules; IntsimError where it is not installed."""
    import importlib

    try:
        return importlib.import_module(f"ai_edge_litert.{name}")
    except ImportError:
        raise IntsimError("is not installed", where="LiteRT", mend=MEND) from None
