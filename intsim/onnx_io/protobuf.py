"""ONNX's protobuf as Python values: models, tensors, attributes; what is wrong with a file becomes an IntsimError."""

import math
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import numpy as np
import onnx
from google.protobuf.message import DecodeError, Message
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, inliner, numpy_helper

from intsim.errors import IntsimError
from intsim.graph import Attribute

OLDEST_OPSET = 11
NEWEST_OPSET = onnx.defs.onnx_opset_version()
_TWO_GIB = 2**31 - 1
_MANY = 1_000_000

# Bits of one element, and the typed field that holds the elements where raw_data does not.
_STORAGE = {
    "FLOAT": (32, "float_data"),
    "DOUBLE": (64, "double_data"),
    "FLOAT16": (16, "int32_data"),
    "BFLOAT16": (16, "int32_data"),
    "BOOL": (8, "int32_data"),
    "INT8": (8, "int32_data"),
    "UINT8": (8, "int32_data"),
    "INT16": (16, "int32_data"),
    "UINT16": (16, "int32_data"),
    "INT32": (32, "int32_data"),
    "UINT32": (32, "uint64_data"),
    "INT64": (64, "int64_data"),
    "UINT64": (64, "uint64_data"),
    "INT4": (4, "int32_data"),
    "UINT4": (4, "int32_data"),
    "INT2": (2, "int32_data"),
    "UINT2": (2, "int32_data"),
}


def parse(path: Path) -> ModelProto:
    """The model in the file, its external data not yet read, its opset known to be one that can be read.

    Raises IntsimError for a file that cannot be read, is not ONNX, or has no opset or one out of range.
    """
    where = str(path)
    try:
        if not path.is_file():
            raise IntsimError("is a folder or no file at all" if path.exists() else "does not exist", where=where)
        if path.stat().st_size > _TWO_GIB:
            raise IntsimError("is larger than 2 GiB", where=where, mend="store its weights as external data")
        model = ModelProto.FromString(path.read_bytes())
    except OSError as error:
        raise IntsimError(f"cannot be read ({error.strerror})", where=where) from error
    except DecodeError as error:
        raise IntsimError(
            "is not an ONNX file, or a truncated one", where=where, mend="export or download it again"
        ) from error
    if not _is_text(model):
        raise IntsimError("is damaged: a name in it is no text", where=where, mend="export or download it again")
    if not model.HasField("graph") or not model.graph.output:
        raise IntsimError("is not an ONNX file: it holds no network", where=where)
    version = opsets(model).get("")
    if version is None:
        raise IntsimError("names no opset: it is truncated, or not ONNX", where=where, mend="export it again")
    if not OLDEST_OPSET <= version <= NEWEST_OPSET:
        newer = "install a newer onnx, or " if version > NEWEST_OPSET else ""
        raise IntsimError(
            f"has opset {version}, and opsets {OLDEST_OPSET} to {NEWEST_OPSET} can be read",
            where=where,
            mend=f"{newer}export it with opset 20, or convert it with onnx.version_converter",
        )
    return model


def _is_text(message: Message) -> bool:
    """Whether every string in the message is UTF-8, and every name one line: both fail much later, or look like it.

    protobuf hands out strings that are not UTF-8 as bytes.
    """
    for field, value in message.ListFields():
        values = [value] if isinstance(value, str | bytes | Message) else value
        prose = field.name in ("doc_string", "key", "value")
        if field.type == field.TYPE_STRING:
            if not all(isinstance(v, str) and (prose or v.isprintable()) for v in values):
                return False
        elif field.type == field.TYPE_MESSAGE and not all(map(_is_text, values)):
            return False
    return True


def opsets(model: ModelProto) -> dict[str, int]:
    """The opset version of every domain the model names; ONNX's own domain is ""."""
    return {"" if o.domain == "ai.onnx" else o.domain: o.version for o in model.opset_import}


def operator(node: NodeProto) -> str:
    """The operator's name: as ONNX spells it, with the domain before it where that is not ONNX's own."""
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}.{node.op_type}"


def attributes(node: NodeProto) -> dict[str, Attribute]:
    """The node's attributes as numbers, text, and tuples of numbers.

    A list of text is text with commas. Graphs and tensors are left out: no operator that has a meaning in a Graph
    carries one.
    """
    values: dict[str, Attribute] = {}
    for a in node.attribute:
        if a.type == AttributeProto.FLOAT:
            values[a.name] = a.f
        elif a.type == AttributeProto.INT:
            values[a.name] = a.i
        elif a.type == AttributeProto.STRING:
            values[a.name] = a.s.decode("utf-8", errors="replace")
        elif a.type == AttributeProto.STRINGS:
            values[a.name] = ",".join(text.decode("utf-8", errors="replace") for text in a.strings)
        elif a.type == AttributeProto.FLOATS:
            values[a.name] = tuple(a.floats)
        elif a.type == AttributeProto.INTS:
            values[a.name] = tuple(a.ints)
    return values


def defaults(node: NodeProto, versions: dict[str, int]) -> dict[str, Attribute]:
    """The attributes that ONNX gives the operator, in the file's opset, where a file says nothing."""
    if node.domain not in ("", "ai.onnx"):
        return {}
    try:
        schema = onnx.defs.get_schema(node.op_type, versions[""], "")
    except onnx.defs.SchemaError:
        return {}
    given = [a.default_value for a in schema.attributes.values()]
    return attributes(NodeProto(attribute=[a for a in given if a.type]))


def tensor(proto: TensorProto, folder: Path, where: str = "") -> np.ndarray:
    """The array the tensor holds, in its own type; external data is read from inside `folder` only.

    Nothing is allocated before the declared size is known to be there. Raises IntsimError for a tensor that is
    shorter or longer than it declares, of text or of an unknown type, or whose data lies elsewhere.
    """
    where = where or proto.name
    kind = TensorProto.DataType.Name(proto.data_type) if proto.data_type in _type_numbers() else None
    if kind not in _STORAGE:
        raise IntsimError(f"holds elements of type {kind or proto.data_type}, which are no numbers", where=where)
    bits, field = _STORAGE[kind]
    if any(size < 0 for size in proto.dims):
        raise IntsimError(f"declares the shape {list(proto.dims)}", where=where)
    count = math.prod(proto.dims)
    size = -(-count * bits // 8)
    if proto.data_location == TensorProto.EXTERNAL:
        raw = _external(proto, folder, size, where)
        proto = TensorProto(dims=proto.dims, data_type=proto.data_type, raw_data=raw)
    elif proto.HasField("raw_data"):
        _same(len(proto.raw_data), size, "bytes", where)
    else:
        _same(len(getattr(proto, field)), -(-count * bits // 8) if bits < 8 else count, "values", where)
    try:
        return np.asarray(numpy_helper.to_array(proto))
    except (ValueError, TypeError, OverflowError) as error:
        raise IntsimError(f"cannot be decoded ({first_line(error)})", where=where) from error


def _type_numbers() -> Iterable[int]:
    return TensorProto.DataType.values()


def _same(held: int, declared: int, unit: str, where: str) -> None:
    if held != declared:
        raise IntsimError(
            f"declares {declared} {unit} and holds {held}", where=where, mend="the file is damaged: export it again"
        )


def _external(proto: TensorProto, folder: Path, size: int, where: str) -> bytes:
    """The `size` bytes of external data; the file must lie in `folder` after all links are followed."""
    entries = {entry.key: entry.value for entry in proto.external_data}
    location = entries.get("location", "")
    mend = "keep the data file beside the model, or save the model with its weights inside"
    ways = (PurePosixPath(location), PureWindowsPath(location))
    if not location or "\0" in location or any(p.anchor or ".." in p.parts for p in ways):
        raise IntsimError(f'its data is in "{location}", outside the model\'s folder', where=where, mend=mend)
    try:
        offset, length = int(entries.get("offset", 0)), int(entries.get("length", size))
        path = (folder / location).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise IntsimError(
                f'its data is in "{location}", a link to outside the model\'s folder', where=where, mend=mend
            )
        if not path.is_file():
            raise IntsimError(f'its data file "{location}" is missing', where=where, mend=mend)
        if offset < 0 or offset + size > path.stat().st_size:
            raise IntsimError(f'its data file "{location}" is too short', where=where, mend="copy it again")
        _same(length, size, "bytes of external data", where)
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)
    except ValueError as error:
        raise IntsimError("the offset or length of its external data is no number", where=where) from error
    except OSError as error:
        raise IntsimError(f'its data file "{location}" cannot be read', where=where, mend=mend) from error


def reads(node: NodeProto) -> Iterator[str]:
    """The tensors the node reads: its inputs, and what the graphs inside it (If, Loop, Scan) take from outside."""
    yield from (name for name in node.input if name)
    for a in node.attribute:
        for graph in (a.g, *a.graphs) if a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) else ():
            inside = {part.name for part in (*graph.input, *graph.initializer)}
            for inner in graph.node:
                yield from (name for name in reads(inner) if name not in inside)
                inside.update(inner.output)
            yield from (out.name for out in graph.output if out.name not in inside)


def has_graphs(node: NodeProto) -> bool:
    """Whether the node is control flow."""
    return any(a.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for a in node.attribute)


def inlined(model: ModelProto) -> ModelProto:
    """The model with every function that it defines itself put in place of its calls."""
    if not model.functions:
        return model
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    calls = {name: [(n.domain, n.op_type, n.overload) for n in _nodes(f.node)] for name, f in bodies.items()}
    sizes: dict[tuple[str, str, str], int] = {}
    while len(sizes) < len(calls):  # innermost first; what then stays over calls itself
        ready = [f for f in calls if f not in sizes and all(c in sizes or c not in calls for c in calls[f])]
        if not ready:
            name = next(f[1] for f in calls if f not in sizes)
            raise IntsimError("calls itself, or a function that does", where=f'function "{name}"')
        sizes |= {f: min(_MANY, sum(sizes.get(call, 1) for call in calls[f])) for f in ready}
    if sum(sizes.get((n.domain, n.op_type, n.overload), 1) for n in _nodes(model.graph.node)) >= _MANY:
        raise IntsimError(f"its functions unfold into {_MANY} nodes or more")
    try:
        return inliner.inline_local_functions(model)
    except Exception as error:
        raise IntsimError(f"its functions cannot be put in place ({first_line(error)})") from error


def _nodes(nodes: Iterable[NodeProto]) -> Iterator[NodeProto]:
    for node in nodes:
        yield node
        for a in node.attribute:
            for graph in (a.g, *a.graphs):
                yield from _nodes(graph.node)


def first_line(error: BaseException) -> str:
    """The first line that says something, of a message that may have many."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(error).__name__
