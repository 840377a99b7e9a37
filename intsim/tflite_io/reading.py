"""The Graph that is being read from a file: its names, its tensors, its nodes as operator after operator adds them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.graph import Attribute, Node, Shape
from intsim.integers import Affine, IntType, affine
from intsim.tflite_io import layout, schema
from intsim.tflite_io.file import File, Operator, Tensor

FULL = "convert with full integer quantization (a representative dataset, integer inputs and outputs)"
_ELEMENTS = 1 << 31
_SHARED = 16


class Reading(Struct, kw_only=True, eq=False):
    """What was read so far. `known`: the Graph's name of each of the file's activations, once it is computed.

    `folded`: integers that only shapes decide, by the file's tensor. `left`: bytes that constants may still take.
    """

    file: File
    batch: int
    left: int
    names: list[str]
    taken: set[str]
    known: dict[int, str] = {}
    folded: dict[int, np.ndarray] = {}
    nodes: list[Node] = []
    constants: dict[str, np.ndarray] = {}
    shapes: dict[str, Shape] = {}
    affines: dict[str, Affine] = {}


class Site(Struct, frozen=True, kw_only=True, eq=False):
    """One operator of the file, seen from the Graph that is being read."""

    reading: Reading
    operator: Operator

    @property
    def options(self) -> dict[str, Any]:
        """The operator's options by the schema's names."""
        return self.operator.options

    @property
    def result(self) -> Tensor:
        """The operator's first output."""
        return self.reading.file.tensors[self.operator.outputs[0]]

    def tensor(self, place: int) -> Tensor:
        """The tensor that the operator reads there. IntsimError where there is none."""
        if not self.has(place):
            raise self.error(f"has {len(self.operator.inputs)} inputs, and needs more", "convert it again")
        return self.reading.file.tensors[self.operator.inputs[place]]

    def has(self, place: int) -> bool:
        """Whether the operator has that input."""
        return place < len(self.operator.inputs) and self.operator.inputs[place] >= 0

    def error(self, what: str, mend: str = "") -> IntsimError:
        """An error at this operator; it is called as its output."""
        return IntsimError(what, where=f"{self.operator.op} {self.result.name}", mend=mend)


def reading(file: File, size: int) -> Reading:
    """Nothing read yet of a file of so many bytes; every tensor has a name of its own."""
    names: list[str] = []
    taken: set[str] = set()
    for tensor in file.tensors:
        names.append(unique(tensor.name, taken))
    return Reading(file=file, batch=0, left=_SHARED * size + 65536, names=names, taken=taken)


def unique(name: str, taken: set[str]) -> str:
    """The name, or one like it that nothing has yet; it is taken from then on."""
    found, i = name, 1
    while found in taken:
        i += 1
        found = f"{name}_{i}"
    taken.add(found)
    return found


# ---- activations -----------------------------------------------------------------------------------------------


def enter(reading: Reading, index: int) -> str:
    """The name of an activation that the Graph now knows: its shape without the batch, and its affine."""
    tensor, name = reading.file.tensors[index], reading.names[index]
    if index in reading.known:
        raise IntsimError("is computed a second time", where=name, mend="convert it again")
    if tensor.data is not None:
        raise IntsimError("is a constant and computed", where=name, mend="convert it again")
    shape = tensor.shape
    if len(shape) < 2:
        raise IntsimError(f"has shape {list(shape)}, without a batch in front", where=name, mend="keep the batch")
    reading.batch = reading.batch or shape[0]
    if shape[0] != reading.batch:
        what = f"has {shape[0]} in front, the network's batch is {reading.batch}"
        raise IntsimError(what, where=name, mend="keep the batch the first axis of every tensor")
    found = 1
    for axis in shape:
        found *= axis
    if not 0 < found < _ELEMENTS:
        raise IntsimError(f"has shape {list(shape)}", where=name, mend="convert it with fixed sizes")
    reading.affines[name] = activation_affine(tensor)
    reading.shapes[name] = layout.graph_shape(shape)
    reading.known[index] = name
    return name


def activation_affine(tensor: Tensor) -> Affine:
    """The affine of an activation: one scale, one zero point. IntsimError for floats and for what is not quantized."""
    if tensor.wrong:
        raise IntsimError(tensor.wrong, where=tensor.name, mend=FULL)
    if tensor.kind not in schema.ACTIVATIONS:
        what = f"is {tensor.kind}, which an activation of a quantized network is not"
        raise IntsimError(what, where=tensor.name, mend=FULL)
    if len(tensor.scale) != 1:
        what = "has no scale" if not len(tensor.scale) else f"has {len(tensor.scale)} scales, an activation has one"
        raise IntsimError(what, where=tensor.name, mend=FULL)
    return affine_of(tensor, schema.ACTIVATIONS[tensor.kind], None)


def activation(site: Site, place: int) -> str:
    """The Graph's name of an activation that the operator reads."""
    tensor = site.tensor(place)
    if tensor.index in site.reading.known:
        return site.reading.known[tensor.index]
    activation_affine(tensor)
    if tensor.data is not None:
        raise site.error(f"reads the constant {tensor.name} as an activation", "fold it before you convert")
    raise site.error(f"reads {tensor.name}, which nothing before it computes", "the file is damaged: convert it again")


def add(
    site: Site,
    op: str,
    inputs: Sequence[str],
    output: str | None = None,
    **attributes: Attribute,
) -> str:
    """Adds a node; its output is the operator's own tensor unless another was made by `between`. Gives its name."""
    name = output or enter(site.reading, site.operator.outputs[0])
    node = Node(name=name, op=op, inputs=tuple(inputs), outputs=(name,), attributes=attributes)
    site.reading.nodes.append(node)
    return name


def between(site: Site, what: str, shape: Shape, affine: Affine) -> str:
    """The name of a new tensor on the way to the operator's output, which the file does not have."""
    reading = site.reading
    name = unique(f"{reading.names[site.operator.outputs[0]]}/{what}", reading.taken)
    reading.shapes[name], reading.affines[name] = shape, affine
    return name


def arithmetic(site: Site, op: str, inputs: Sequence[str], *, shape: Shape | None = None, **attributes: Any) -> str:
    """Adds a node and, where the operator has one fused, its activation as a node of its own.

    `shape`: the output's in the file, checked against what the file states.
    """
    stated(site, shape)
    name = schema.FUSED[site.options.get("FusedActivationFunction", 0)]
    if name not in ("NONE", "RELU", "RELU6", "RELU_N1_TO_1"):
        raise site.error(f"has {name} fused", "convert it as an operator of its own")
    if name == "NONE":
        return add(site, op, inputs, **attributes)
    y = activation_affine(site.result)
    linear = between(site, "linear", layout.graph_shape(site.result.shape), y)
    add(site, op, inputs, linear, **attributes)
    return clip(site, name, linear, y)


def clip(site: Site, name: str, x: str, y: Affine) -> str:
    """Adds the Relu or Clip whose integer bounds are those of TFLite's activation."""
    low, high = layout.activation_range(name, y)
    if high == y.type.high and low == y.zero:
        return add(site, "Relu", [x])
    bounds: dict[str, Any] = {
        "min": -np.inf if low == y.type.low else layout.real_bound(low, y),
        "max": np.inf if high == y.type.high else layout.real_bound(high, y),
    }
    return add(site, "Clip", [x], **bounds)


def stated(site: Site, shape: Sequence[int] | None) -> None:
    """IntsimError where the operator makes another shape than the file says."""
    if shape is not None and tuple(shape) != site.result.shape:
        raise site.error(f"makes {list(shape)}, the file says {list(site.result.shape)}", "convert it again")


def rank_of(site: Site, place: int, *ranks: int) -> tuple[int, ...]:
    """The file's shape of an input that has one of so many axes."""
    shape = site.tensor(place).shape
    if len(shape) not in ranks:
        raise site.error(f"reads {list(shape)}, it takes {' or '.join(map(str, ranks))} axes", "reshape it first")
    return shape


def same_affine(site: Site, x: str) -> None:
    """IntsimError where the output has another affine than `x`: the operator would keep its integers."""
    if site.reading.affines[x] != activation_affine(site.result):
        what = "keeps the integers that it reads, but its output has another scale or zero point"
        raise site.error(what, "put a QUANTIZE in front of it")


# ---- affines ---------------------------------------------------------------------------------------------------


def affine_of(tensor: Tensor, type_: IntType, axis: int | None) -> Affine:
    """The tensor's affine with integers of `type_`; several scales along `axis`."""
    zero = tensor.zero_point if len(tensor.zero_point) else np.zeros(1, np.int64)
    if len(zero) > 1 and np.all(zero == zero[0]):
        zero = zero[:1]
    return checked(tensor.name, tensor.scale, zero, type_, axis)


def checked(name: str, scale: Any, zero: Any, type_: IntType, axis: int | None) -> Affine:
    """The affine; IntsimError for a scale or zero point that is none."""
    try:
        return affine(scale, zero, type_, axis)
    except ValueError as reason:
        raise IntsimError(str(reason), where=name, mend=FULL) from None
