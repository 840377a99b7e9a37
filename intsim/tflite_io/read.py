"""An int8 .tflite becomes a QuantizedGraph: doors, then operator after operator."""

import json
from pathlib import Path

import msgspec
import numpy as np

from intsim.errors import IntsimError
from intsim.graph import Graph, Pixels
from intsim.integers import Affine
from intsim.quantized import QuantizedGraph
from intsim.tflite_io import file as files
from intsim.tflite_io import folding
from intsim.tflite_io.read_elementwise import ELEMENTWISE
from intsim.tflite_io.read_moves import MOVES
from intsim.tflite_io.read_slices import SLICES
from intsim.tflite_io.read_sums import SUMS
from intsim.tflite_io.reading import FULL, Reading, Site, activation_affine, enter, reading

SUFFIX = ".tflite"

PIXELS = "intsim.pixels"
"""The name of the metadata in which a file of ours says how images become its input."""

OPERATORS = {**SUMS, **ELEMENTWISE, **MOVES, **SLICES}
"""What each of TFLite's operators adds to a Graph."""

_CONTROL = ("IF", "WHILE", "CALL", "CALL_ONCE", "STABLEHLO_WHILE", "STABLEHLO_CASE")


def is_tflite(path: Path | str) -> bool:
    """Whether the file is called .tflite, or says of itself that it is one."""
    if Path(path).suffix == SUFFIX:
        return True
    try:
        with Path(path).open("rb") as opened:
            return files.is_tflite(opened.read(8))
    except OSError:
        return False


def read_quantized(path: Path | str) -> QuantizedGraph:
    """The QuantizedGraph of an integer .tflite: int8, int16 with int8 weights, or the older uint8.

    Activations and constants have the file's names; so have the nodes, by what they compute. Raises IntsimError for
    a file that cannot be read, is damaged, computes in floats, or holds what has no place in a Graph.
    """
    where = str(path)
    try:
        data = Path(path).read_bytes()
    except OSError as reason:
        raise IntsimError(f"cannot be read: {reason.strerror}", where=where) from None
    try:
        return quantized_of(data, Path(path).stem)
    except IntsimError as error:
        at = f"{where}: {error.where}" if error.where else where
        raise IntsimError(error.what, where=at, mend=error.mend) from None


def quantized_of(data: bytes, name: str = "network") -> QuantizedGraph:
    """The QuantizedGraph of the bytes of a .tflite. Raises IntsimError as `read_quantized`."""
    try:
        with np.errstate(all="ignore"):
            return _quantized(data, name)
    except IntsimError:
        raise
    except (ArithmeticError, IndexError, MemoryError, ValueError) as reason:  # numbers that do not fit together
        what = f"is damaged ({type(reason).__name__}: {reason})"
        raise IntsimError(what, mend="download or convert it again") from None


def _quantized(data: bytes, name: str) -> QuantizedGraph:
    file = files.parse(data)
    if not file.operators:
        raise IntsimError("computes nothing", mend="convert it again")
    found = reading(file, len(data))
    inputs = [_door(found, index) for index in file.inputs]
    for operator in file.operators:
        site = Site(reading=found, operator=operator)
        _require_outputs(site)
        if operator.op in ("QUANTIZE", "DEQUANTIZE") and _is_door(site):
            _through_door(site, inputs)
        elif not folding.fold(site):
            _supported(site)(site)
    outputs = [_outcome(found, index) for index in file.outputs]
    if None in inputs:
        raise IntsimError("is a float input that nothing quantizes", where=found.names[file.inputs[inputs.index(None)]])
    if len(set(outputs)) != len(outputs) or len(set(inputs)) != len(inputs):
        raise IntsimError("has the same tensor twice among its inputs or outputs", mend="convert it again")
    graph = Graph(
        name=name,
        inputs=tuple(name for name in inputs if name is not None),
        outputs=tuple(outputs),
        nodes=tuple(found.nodes),
        constants=found.constants,
        shapes=found.shapes,
        pixels=_pixels(file.metadata, inputs),
    )
    return QuantizedGraph(graph=graph, affines=found.affines)


def _require_outputs(site: Site) -> None:
    if not site.operator.outputs:
        raise IntsimError("computes nothing", where=site.operator.op, mend="convert it again")


def _supported(site: Site):  # type: ignore[no-untyped-def]
    op = site.operator.op
    if op in OPERATORS:
        return OPERATORS[op]
    if op in _CONTROL:
        raise site.error("is control flow", "convert a network that runs straight through")
    if op.startswith("CUSTOM"):
        raise site.error("is an operator of somebody's own", "convert with builtin operators only")
    raise site.error("is not supported", "intsim inspect lists what is; choose other layers")


# ---- doors -----------------------------------------------------------------------------------------------------


def _door(reading: Reading, index: int) -> str | None:
    """The name of an integer input; None where a float enters, which a QUANTIZE makes integer."""
    tensor = reading.file.tensors[index]
    if tensor.kind == "FLOAT32" and tensor.data is None:
        _batched(reading, tensor.shape, reading.names[index])
        return None
    return enter(reading, index)


def _batched(reading: Reading, shape: tuple[int, ...], name: str) -> None:
    if len(shape) < 2:
        raise IntsimError(f"has shape {list(shape)}, without a batch in front", where=name, mend="keep the batch")
    reading.batch = reading.batch or shape[0]


def _is_door(site: Site) -> bool:
    """Whether a float of the network's inputs becomes an integer, or an integer a float of its outputs."""
    file, operator = site.reading.file, site.operator
    if operator.op == "QUANTIZE":
        return site.tensor(0).kind == "FLOAT32" and site.tensor(0).index in file.inputs
    return site.result.kind == "FLOAT32" and operator.outputs[0] in file.outputs


def _through_door(site: Site, inputs: list[str | None]) -> None:
    reading = site.reading
    if site.operator.op == "DEQUANTIZE":
        source = site.tensor(0).index
        if source not in reading.known:
            activation_affine(site.tensor(0))
            raise site.error(f"reads {site.tensor(0).name}, which nothing before it computes", "convert it again")
        reading.known[site.operator.outputs[0]] = reading.known[source]
        return
    if site.result.shape != site.tensor(0).shape:
        raise site.error("changes a shape", "convert it again")
    place = reading.file.inputs.index(site.tensor(0).index)
    first, index = inputs[place], site.operator.outputs[0]
    if first is None:
        inputs[place] = enter(reading, index)
    elif activation_affine(site.result) == _affine_of(reading, first):
        reading.known[index] = first
    else:
        raise site.error("is a second way from floats into the network, with another scale", FULL)


def _affine_of(reading: Reading, name: str) -> Affine:
    return reading.affines[name]


def _outcome(reading: Reading, index: int) -> str:
    if index in reading.known:
        return reading.known[index]
    name = reading.names[index]
    if reading.file.tensors[index].kind == "FLOAT32":
        raise IntsimError("is a float that no DEQUANTIZE computes", where=name, mend=FULL)
    raise IntsimError("is an output that nothing computes", where=name, mend="convert it again")


def _pixels(metadata: dict[str, bytes], inputs: list[str | None]) -> dict[str, Pixels]:
    """How images enter, where one of our files says so."""
    if PIXELS not in metadata:
        return {}
    try:
        found = msgspec.json.decode(metadata[PIXELS], type=dict[str, Pixels])
    except (msgspec.DecodeError, json.JSONDecodeError):
        raise IntsimError("was changed since it was written", where=PIXELS, mend="write it again") from None
    return {name: pixels for name, pixels in found.items() if name in inputs}
