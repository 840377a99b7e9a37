"""A QuantizedGraph becomes an integer .tflite that LiteRT and TensorFlow Lite Micro run."""

from collections.abc import Callable
from pathlib import Path

import msgspec

from intsim.errors import IntsimError
from intsim.files import write_atomically
from intsim.quantized import QuantizedGraph
from intsim.tflite_io.encode import encode
from intsim.tflite_io.file import File
from intsim.tflite_io.read import PIXELS
from intsim.tflite_io.write_elementwise import ELEMENTWISE
from intsim.tflite_io.write_moves import MOVES
from intsim.tflite_io.write_shapes import SHAPED
from intsim.tflite_io.write_sums import SUMS
from intsim.tflite_io.writing import Site, activation, writing

NODES: dict[str, Callable[[Site], None]] = {**SUMS, **ELEMENTWISE, **MOVES, **SHAPED}
"""What each of a Graph's operators adds to a file."""


def write_tflite(quantized: QuantizedGraph, path: str | Path, *, batch: int = 1) -> None:
    """Writes the network as .tflite; the file appears whole or not at all. Raises IntsimError as `tflite_model`."""
    write_atomically(path, tflite_model(quantized, batch=batch))


def tflite_model(quantized: QuantizedGraph, *, batch: int = 1, keep_axes: bool = False) -> bytes:
    """The network as .tflite for so many samples at a time, integers in and out.

    Tensors have the Graph's names; u8 with zero point z is written as s8 with z - 128, unless weights have zero
    points: then all 8-bit integers are unsigned, as in the older files. `keep_axes`: a MEAN keeps its axes, which
    LiteRT's built-in kernels compute faster, and by another rule than their own without. Raises IntsimError, with the
    mend, for what TFLite cannot say.
    """
    if batch < 1:
        raise IntsimError(f"is {batch}", where="batch", mend="1 or more")
    graph = quantized.graph
    draft = writing(quantized, batch, keep_axes)
    inputs = tuple(activation(draft, name) for name in graph.inputs)
    for node in graph.nodes:
        site = Site(writing=draft, node=node)
        if node.op not in NODES:
            raise site.error("has no operator in TFLite", "choose another format")
        if node.name not in draft.done:
            NODES[node.op](site)
    file = File(
        tensors=tuple(draft.tensors),
        operators=tuple(draft.operators),
        inputs=inputs,
        outputs=tuple(activation(draft, name) for name in graph.outputs),
        metadata={PIXELS: msgspec.json.encode(graph.pixels)} if graph.pixels else {},
    )
    return encode(file)
