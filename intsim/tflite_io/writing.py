"""The file that is being written: tensors by the Graph's names, what of the Graph is written already."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.graph import Graph, Node, Shape, consumers
from intsim.integers import Affine, IntType
from intsim.quantized import QuantizedGraph, is_older
from intsim.tflite_io import layout
from intsim.tflite_io.file import Operator, Tensor

MEND = "quantize with 8-bit activations, or symmetric 16-bit ones"


class Writing(Struct, kw_only=True, eq=False):
    """What was written so far.

    `keep_axes`: a MEAN keeps them. `old`: 8-bit integers are unsigned, as the older per-tensor files have them.
    `done`: names of nodes that others wrote along with their own. `order`: for a flattened tensor that only Gemms
    read, the Graph's place of each of its values in the file.
    """

    source: QuantizedGraph
    batch: int
    keep_axes: bool
    old: bool
    readers: dict[str, list[Node]]
    taken: set[str]
    tensors: list[Tensor] = []
    operators: list[Operator] = []
    index: dict[str, int] = {}
    done: set[str] = set()
    order: dict[str, np.ndarray] = {}

    @property
    def graph(self) -> Graph:
        """The network that is written."""
        return self.source.graph


class Site(Struct, frozen=True, kw_only=True, eq=False):
    """One node of the Graph, seen from the file that is being written."""

    writing: Writing
    node: Node

    @property
    def about(self) -> dict[str, Any]:
        """The node's attributes."""
        return self.node.attributes

    def affine(self, place: int) -> Affine:
        """The affine of an input."""
        return self.writing.source.affines[self.node.inputs[place]]

    @property
    def result(self) -> Affine:
        """The affine of the output."""
        return self.writing.source.affines[self.node.outputs[0]]

    def shape(self, place: int) -> Shape:
        """One sample's shape of an input, channels first."""
        return self.writing.graph.shapes[self.node.inputs[place]]

    @property
    def result_shape(self) -> Shape:
        """One sample's shape of the output, channels first."""
        return self.writing.graph.shapes[self.node.outputs[0]]

    def is_constant(self, place: int) -> bool:
        """Whether that input is a constant."""
        return self.node.inputs[place] in self.writing.graph.constants

    def has(self, place: int) -> bool:
        """Whether the node has that optional input."""
        return place < len(self.node.inputs) and self.node.inputs[place] != ""

    def error(self, what: str, mend: str = "") -> IntsimError:
        """An error at this node."""
        return IntsimError(what, where=f"{self.node.name} ({self.node.op}) as TFLite", mend=mend)


def writing(source: QuantizedGraph, batch: int, keep_axes: bool) -> Writing:
    """Nothing written yet."""
    graph = source.graph
    return Writing(
        source=source,
        batch=batch,
        keep_axes=keep_axes,
        old=is_older(source),
        readers=dict(consumers(graph)),
        taken={*graph.shapes, *graph.constants},
    )


# ---- tensors ---------------------------------------------------------------------------------------------------


def held(writing: Writing, affine: Affine, where: str) -> tuple[str, Affine]:
    """The file's type for activations of this affine, and the affine that they have in it."""
    type_ = affine.type
    if type_ == IntType(16) and affine.zero == 0:
        return "INT16", affine
    if type_.bits != 8 or type_.narrow_range:
        zero = f" with zero point {affine.zero}" if affine.zero else ""
        raise IntsimError(f"activations are {type_}{zero}, TFLite has s8 and symmetric s16", where=where, mend=MEND)
    signed = not writing.old
    return "INT8" if signed else "UINT8", affine if type_.signed == signed else affine.shifted(IntType(8, signed))


def activation(writing: Writing, name: str) -> int:
    """The index of the tensor that has that name in the Graph."""
    if name not in writing.index:
        kind, own = held(writing, writing.source.affines[name], name)
        shape = layout.file_shape(writing.graph.shapes[name], writing.batch)
        writing.index[name] = tensor(writing, name, shape, kind, own)
    return writing.index[name]


def extra(site: Site, what: str, shape: Sequence[int], affine: Affine) -> int:
    """The index of a new tensor of the file's `shape`, on the way to the node's output."""
    kind, own = held(site.writing, affine, site.node.name)
    return tensor(site.writing, free(site, what), shape, kind, own)


def free(site: Site, what: str) -> str:
    """A name that no tensor has."""
    name = f"{site.node.outputs[0]}/{what}"
    while name in site.writing.taken:
        name += "_"
    site.writing.taken.add(name)
    return name


def tensor(
    writing: Writing,
    name: str,
    shape: Sequence[int],
    kind: str,
    affine: Affine | None = None,
    data: np.ndarray | None = None,
) -> int:
    """The index of a new tensor."""
    index = len(writing.tensors)
    scale = () if affine is None else affine.scale
    zero = () if affine is None else np.broadcast_to(np.array(affine.zero_point), len(scale))
    axis = 0 if affine is None or affine.axis is None else affine.axis
    writing.tensors.append(
        Tensor(
            index=index,
            name=name,
            shape=tuple(int(size) for size in shape),
            kind=kind,
            scale=np.array(scale, np.float32),
            zero_point=np.array(zero, np.int64),
            axis=axis,
            data=None if data is None else np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8),
        )
    )
    return index


def numbers(site: Site, what: str, values: Sequence[Any]) -> int:
    """The index of a new constant of plain int32 numbers: axes, sizes, pads."""
    array = np.array(values, np.int32)
    return tensor(site.writing, free(site, what), array.shape, "INT32", None, array)


def level(site: Site, what: str, q: int, affine: Affine) -> int:
    """The index of a new constant, the one integer q of an activation's affine."""
    kind, own = held(site.writing, affine, site.node.name)
    value = np.array([q + own.zero - affine.zero], own.type.dtype)
    return tensor(site.writing, free(site, what), (1,), kind, own, value)


def operand(site: Site, place: int) -> int:
    """The index of an activation, or of a constant that broadcasts against the output."""
    name, writing = site.node.inputs[place], site.writing
    if not site.is_constant(place):
        return activation(writing, name)
    if site.affine(place).axis is not None:
        raise site.error(f"has several scales for {name}", "quantize it per tensor")
    kind, own = held(writing, site.affine(place), name)
    q = writing.graph.constants[name].astype(np.int64) + own.zero - site.affine(place).zero
    try:
        turned = layout.channels_last(q.astype(own.type.dtype), len(site.result_shape) + 1)
    except ValueError as reason:
        raise site.error(str(reason)) from None
    return tensor(writing, constant_name(writing, name), turned.shape or (1,), kind, own, turned)


def constant_name(writing: Writing, name: str) -> str:
    """The constant's own name; a second tensor for a second reader gets another one."""
    known = {tensor.name for tensor in writing.tensors}
    while name in known:
        name += "_"
    return name


def same_affine(site: Site) -> None:
    """IntsimError where the node, which keeps its integers, has another affine before it than after it."""
    if site.affine(0) != site.result:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")
