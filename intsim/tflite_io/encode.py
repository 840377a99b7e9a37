"""Plain records as the bytes of a .tflite, by the schema's builder functions; `file.parse` gives equal records back."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from intsim.tflite_io import schema
from intsim.tflite_io.file import File, Operator, Tensor

_ALIGNED = 16
"""Bytes: the schema wants the numbers of constants to begin so."""


def encode(file: File) -> bytes:
    """The file's bytes. Operators get the least versions that take their types."""
    import flatbuffers

    builder = flatbuffers.Builder(1024)
    filled = [tensor for tensor in file.tensors if tensor.data is not None]
    places = {tensor.index: place for place, tensor in enumerate(filled, 1)}
    data = [None, *(tensor.data for tensor in filled), *(np.frombuffer(v, np.uint8) for v in file.metadata.values())]
    buffers = [_buffer(builder, numbers) for numbers in data]
    codes = list(dict.fromkeys((operator.op, _version(operator, file.tensors)) for operator in file.operators))
    tensors = [_tensor(builder, tensor, places.get(tensor.index, 0)) for tensor in file.tensors]
    operators = [
        _operator(builder, operator, codes.index((operator.op, _version(operator, file.tensors))))
        for operator in file.operators
    ]
    graph = _table(
        builder,
        "SubGraph",
        Tensors=_offsets(builder, tensors),
        Inputs=_vector(builder, np.array(file.inputs, np.int32)),
        Outputs=_vector(builder, np.array(file.outputs, np.int32)),
        Operators=_offsets(builder, operators),
        Name=builder.CreateString("main"),
    )
    entries = [
        _table(builder, "Metadata", Name=builder.CreateString(name), Buffer=place)
        for place, name in enumerate(file.metadata, 1 + len(filled))
    ]
    model = _table(
        builder,
        "Model",
        Version=3,
        OperatorCodes=_offsets(builder, [_code(builder, op, version) for op, version in codes]),
        Subgraphs=_offsets(builder, [graph]),
        Description=builder.CreateString("intsim"),
        Buffers=_offsets(builder, buffers),
        **({"Metadata": _offsets(builder, entries)} if entries else {}),
    )
    builder.Finish(model, file_identifier=b"TFL3")
    return bytes(builder.Output())


def _table(builder: Any, name: str, **fields: Any) -> int:
    """A table with these fields, by the schema's names."""
    module = schema.module(name)
    add: dict[str, Callable[[Any, Any], None]] = {key: getattr(module, f"{name}Add{key}") for key in fields}
    getattr(module, f"{name}Start")(builder)
    for key, value in fields.items():
        add[key](builder, value)
    return int(getattr(module, f"{name}End")(builder))


def _vector(builder: Any, array: np.ndarray) -> int:
    return int(builder.CreateNumpyVector(array))


def _offsets(builder: Any, offsets: Sequence[int]) -> int:
    builder.StartVector(4, len(offsets), 4)
    for offset in reversed(offsets):
        builder.PrependUOffsetTRelative(offset)
    return int(builder.EndVector())


def _buffer(builder: Any, data: np.ndarray | None) -> int:
    if data is None:
        return _table(builder, "Buffer")
    builder.StartVector(1, len(data), _ALIGNED)
    builder.head -= len(data)
    builder.Bytes[builder.head : builder.head + len(data)] = data.tobytes()
    return _table(builder, "Buffer", Data=int(builder.EndVector()))


def _tensor(builder: Any, tensor: Tensor, place: int) -> int:
    fields: dict[str, Any] = {
        "Shape": _vector(builder, np.array(tensor.shape, np.int32)),
        "Type": schema.number("TensorType", tensor.kind),
        "Buffer": place,
        "Name": builder.CreateString(tensor.name),
    }
    if len(tensor.scale):
        fields["Quantization"] = _table(
            builder,
            "QuantizationParameters",
            Scale=_vector(builder, np.asarray(tensor.scale, np.float32)),
            ZeroPoint=_vector(builder, np.asarray(tensor.zero_point, np.int64)),
            QuantizedDimension=tensor.axis,
        )
    return _table(builder, "Tensor", **fields)


def _operator(builder: Any, operator: Operator, code: int) -> int:
    fields: dict[str, Any] = {
        "OpcodeIndex": code,
        "Inputs": _vector(builder, np.array(operator.inputs, np.int32)),
        "Outputs": _vector(builder, np.array(operator.outputs, np.int32)),
    }
    if operator.op in schema.OPTIONS:
        name, known = schema.OPTIONS[operator.op]
        assert set(operator.options) <= set(known), operator.options
        fields["BuiltinOptionsType"] = schema.number("BuiltinOptions", name)
        fields["BuiltinOptions"] = _table(builder, name, **operator.options)
    return _table(builder, "Operator", **fields)


def _code(builder: Any, op: str, version: int) -> int:
    """Readers of before the 127th operator know the code by another field."""
    custom = op.startswith("CUSTOM ")
    value = schema.number("BuiltinOperator", "CUSTOM" if custom else op)
    fields = {"CustomCode": builder.CreateString(op.removeprefix("CUSTOM "))} if custom else {}
    return _table(
        builder,
        "OperatorCode",
        DeprecatedBuiltinCode=min(value, 127),
        Version=version,
        BuiltinCode=value,
        **fields,
    )


def _version(operator: Operator, tensors: Sequence[Tensor]) -> int:
    kinds = {tensors[index].kind for index in (*operator.inputs, *operator.outputs) if index >= 0}
    known = schema.VERSIONS.get(operator.op, schema.Version())
    if operator.op == "FULLY_CONNECTED" and len(tensors[operator.inputs[1]].scale) > 1:
        return 12
    if operator.op == "CONV_2D" and tensors[operator.inputs[0]].shape[-1] != tensors[operator.inputs[1]].shape[-1]:
        return 6
    return known.int16 if "INT16" in kinds else known.int8
