"""A .tflite as plain records: its tensors, constants and operators, every length checked against the file's size."""

import struct
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.tflite_io import schema

DAMAGE = (
    struct.error,
    ArithmeticError,
    AttributeError,
    IndexError,
    KeyError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What reading a damaged flatbuffer raises: offsets and lengths that lead out of the file, or to other tables."""

_SHARED = 4
"""How often the bytes of a file may be read, by tables that share them: writers share few."""


_TABLE = 24
"""Bytes: no table of a tensor or an operator is smaller."""

_NAME = 1000
"""Bytes of a name that are read."""


class Tensor(Struct, frozen=True, kw_only=True, eq=False):
    """A tensor of the file; `data` are its bytes where it is a constant. `scale` is empty where none is stated."""

    index: int
    name: str
    shape: tuple[int, ...]
    kind: str
    scale: np.ndarray
    zero_point: np.ndarray
    axis: int
    data: np.ndarray | None = None
    wrong: str = ""


class Operator(Struct, frozen=True, kw_only=True):
    """An operator by its builtin name; tensors by index, -1 where an optional input is left out."""

    op: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


class File(Struct, frozen=True, kw_only=True, eq=False):
    """The only subgraph of a file, in the file's own layout; `metadata` are named bytes."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    metadata: dict[str, bytes]


class _Bytes(Struct, kw_only=True, eq=False):
    """The file's bytes, and how many of them may still be read before it is no file but a maze."""

    data: bytes
    left: int


def parse(data: bytes) -> File:
    """The records of the bytes of a .tflite. IntsimError for what is none, is damaged, or has several subgraphs."""
    if len(data) < 8 or data[4:8] != b"TFL3":
        raise IntsimError("is no TFLite file", mend="give a .tflite of schema version 3")
    try:
        return _parsed(_Bytes(data=data, left=_SHARED * len(data) + 4096))
    except IntsimError:
        raise
    except DAMAGE as reason:
        what = f"is damaged ({type(reason).__name__}: {reason})"
        raise IntsimError(what, mend="download or convert it again") from None


def is_tflite(head: bytes) -> bool:
    """Whether a file that begins so (8 bytes) is a .tflite."""
    return head[4:8] == b"TFL3"


def _parsed(file: _Bytes) -> File:
    model = schema.module("Model").Model.GetRootAs(file.data, 0)
    if (count := model.SubgraphsLength()) != 1:
        raise IntsimError(f"has {count} subgraphs", mend="convert a network without control flow")
    graph = model.Subgraphs(0)
    kinds, ops = schema.names("TensorType"), schema.names("BuiltinOperator")
    buffers = _count(file, model.BuffersLength())
    codes = [_code(model.OperatorCodes(i), ops) for i in range(_count(file, model.OperatorCodesLength()))]
    tensors = [
        _tensor(file, model, graph.Tensors(i), i, kinds, buffers) for i in range(_count(file, graph.TensorsLength()))
    ]
    operators = [
        _operator(file, graph.Operators(i), codes, len(tensors)) for i in range(_count(file, graph.OperatorsLength()))
    ]
    return File(
        tensors=tuple(tensors),
        operators=tuple(operators),
        inputs=_indices(file, graph.InputsAsNumpy(), len(tensors), "an input of the network"),
        outputs=_indices(file, graph.OutputsAsNumpy(), len(tensors), "an output of the network"),
        metadata=_metadata(file, model, buffers),
    )


def _count(file: _Bytes, length: int, size: int = 4) -> int:
    """The length of a vector of that many entries, which the file is large enough to hold."""
    file.left -= length * size + 8
    if length < 0 or length * size > len(file.data) or file.left < 0:
        raise IntsimError(f"is damaged: a list of {length} in a file of {len(file.data)} bytes")
    return length


def _vector(file: _Bytes, array: Any) -> np.ndarray:
    """A vector of numbers; the schema gives 0 where the file has none."""
    if isinstance(array, int):
        return np.empty(0, np.int64)
    _count(file, len(array), array.itemsize)
    return array


def _indices(file: _Bytes, array: Any, tensors: int, what: str, *, optional: bool = False) -> tuple[int, ...]:
    found = tuple(int(i) for i in _vector(file, array))
    if not all((-1 if optional else 0) <= i < tensors for i in found):
        raise IntsimError(f"is damaged: {what} is tensor {found} of {tensors}")
    return found


def _code(code: Any, ops: dict[int, str]) -> str:
    """The operator's name; files older than the 127th operator have another field for it."""
    value = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
    if value == schema.number("BuiltinOperator", "CUSTOM"):
        return f"CUSTOM {_text(code.CustomCode())}"
    return ops.get(value, f"operator {value}")


def _text(raw: bytes | None) -> str:
    """A name on one line, and no longer than a name is."""
    text = (raw or b"")[:_NAME].decode(errors="replace")
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def _tensor(file: _Bytes, model: Any, tensor: Any, index: int, kinds: dict[int, str], buffers: int) -> Tensor:
    raw = tensor.Name() or b""
    _count(file, len(raw) + _TABLE, 1)
    name = _text(raw) or f"tensor_{index}"
    shape = tuple(int(size) for size in _vector(file, tensor.ShapeAsNumpy()))
    if min(shape, default=0) < 0:
        raise IntsimError(f"has shape {shape}", where=name, mend="fix its sizes before you convert")
    kind = kinds.get(tensor.Type(), f"type {tensor.Type()}")
    scale, zero, axis, wrong = _quantization(file, tensor.Quantization())
    if tensor.Sparsity() is not None:
        wrong = "is sparse"
    elif tensor.IsVariable():
        wrong = "is a variable"
    place = tensor.Buffer()
    if place >= buffers and place:
        raise IntsimError(f"is damaged: its numbers are buffer {place} of {buffers}", where=name)
    data = _data(file, model.Buffers(place), name) if place else None
    return Tensor(
        index=index,
        name=name,
        shape=shape,
        kind=kind,
        scale=scale,
        zero_point=zero,
        axis=axis,
        data=data,
        wrong=wrong,
    )


def _quantization(file: _Bytes, about: Any) -> tuple[np.ndarray, np.ndarray, int, str]:
    """Scales, zero points, their axis, and what is wrong with them."""
    if about is None:
        return np.empty(0, np.float32), np.zeros(0, np.int64), 0, ""
    wrong = "is quantized blockwise or in a custom way" if about.DetailsType() else ""
    scale, zero = (_vector(file, array) for array in (about.ScaleAsNumpy(), about.ZeroPointAsNumpy()))
    return np.asarray(scale, np.float32), np.asarray(zero, np.int64), int(about.QuantizedDimension()), wrong


def _data(file: _Bytes, buffer: Any, name: str) -> np.ndarray | None:
    """The buffer's bytes, None where it is empty: a view, no copy."""
    if buffer.Offset() > 1:
        raise IntsimError("has its numbers outside the flatbuffer", where=name, mend="files above 2 GB are not read")
    data = buffer.DataAsNumpy()
    if isinstance(data, int) or not len(data):
        return None
    return np.asarray(data)


def _operator(file: _Bytes, operator: Any, codes: list[str], tensors: int) -> Operator:
    _count(file, _TABLE, 1)
    index = operator.OpcodeIndex()
    if index >= len(codes):
        raise IntsimError(f"is damaged: an operator is number {index} of {len(codes)}")
    op = codes[index]
    return Operator(
        op=op,
        inputs=_indices(file, operator.InputsAsNumpy(), tensors, f"an input of {op}", optional=True),
        outputs=_indices(file, operator.OutputsAsNumpy(), tensors, f"an output of {op}"),
        options=_options(operator, op),
    )


def _options(operator: Any, op: str) -> dict[str, Any]:
    """The fields of the operator's options that are known here; the schema's defaults where it has none."""
    if op not in schema.OPTIONS:
        return {}
    name, fields = schema.OPTIONS[op]
    table, kind = operator.BuiltinOptions(), operator.BuiltinOptionsType()
    if table is None or not kind:
        return {field: schema.DEFAULTS.get(field, 0) for field in fields}
    if kind != schema.number("BuiltinOptions", name):
        raise IntsimError(f"is damaged: {op} has the options of another operator")
    options = getattr(schema.module(name), name)()
    options.Init(table.Bytes, table.Pos)
    return {field: getattr(options, field)() for field in fields}


def _metadata(file: _Bytes, model: Any, buffers: int) -> dict[str, bytes]:
    found = {}
    for i in range(_count(file, model.MetadataLength())):
        entry = model.Metadata(i)
        name, place = _text(entry.Name()), entry.Buffer()
        if place < buffers and name.startswith("intsim."):
            data = _data(file, model.Buffers(place), name)
            found[name] = b"" if data is None else data.tobytes()
    return found
