"""A float graph with marks: what is quantized keeps its place as a node, what is constant becomes float again.

QuantizeLinear of an activation becomes a mark (a Requantize whose attribute counts the affines), and what undoes it
goes; so the rules that normalise float networks see a float network, and no rule reaches across a mark.
"""

from collections.abc import Mapping

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.graph import Graph, Node
from intsim.integers import Affine, IntType
from intsim.onnx_io.draft import affine_of
from intsim.quantized import dequantized, quantized

MARK = "mark"

MOVERS = """
    Concat DepthToSpace Expand Flatten Gather Identity Max MaxPool Min Reshape Slice SpaceToDepth Split Squeeze
    Transpose Unsqueeze
""".split()  # noqa: SIM905
"""Operators that may stand on integers as they do on floats."""


class Grid(Struct, frozen=True, kw_only=True, eq=False):
    """A constant's integers, and the affine that says what they stand for."""

    integers: np.ndarray
    affine: Affine


class Marked(Struct, frozen=True, kw_only=True, eq=False):
    """The float graph; the affine of every mark; the grids of constants, by the name of what they stand for."""

    graph: Graph
    affines: tuple[Affine, ...]
    grids: dict[str, Grid]


def marked(graph: Graph, types: Mapping[str, IntType] | None = None) -> Marked:
    """`Marked` of what `onnx_io.read_foreign` gives. IntsimError for integers that stand where they cannot."""
    found = _Found(
        constants=dict(graph.constants),
        nodes=[],
        affines=[],
        grids={},
        integers={},
        types=dict(types or {}),
        real={},
        of={},
    )
    for node in graph.nodes:
        _STEPS.get(node.op, _other)(found, node, graph)
    outputs = tuple(found.real.get(name, name) for name in graph.outputs)
    used = {name for node in found.nodes for name in node.inputs}
    made = {*graph.inputs, *(name for node in found.nodes for name in node.outputs)}
    shapes = {**graph.shapes, **found.shapes(graph)}
    return Marked(
        graph=replace(
            graph,
            nodes=tuple(found.nodes),
            outputs=outputs,
            constants={name: values for name, values in found.constants.items() if name in used},
            shapes={name: shape for name, shape in shapes.items() if name in made},
        ),
        affines=tuple(found.affines),
        grids=found.grids,
    )


class _Found(Struct, kw_only=True, eq=False):
    """What is known on the way.

    `integers`: constants in integers, `types`: those of some, by the name of
    either or of what they are dequantized to; `of`: the mark of integers that are
    computed; `real`: what the tensors of the file, in integers or dequantized, are called among the reals.
    """

    constants: dict[str, np.ndarray]
    nodes: list[Node]
    affines: list[Affine]
    grids: dict[str, Grid]
    integers: dict[str, np.ndarray]
    types: dict[str, IntType]
    real: dict[str, str]
    of: dict[str, int]

    def shapes(self, graph: Graph) -> dict[str, tuple[int, ...]]:
        """Of tensors that a mark added: those of what it marks."""
        more = dict[str, tuple[int, ...]]()
        for node in self.nodes:
            for name in node.outputs:
                source = node.inputs[0]
                if name not in graph.shapes and (source in graph.shapes or source in more):
                    more[name] = more.get(source, graph.shapes.get(source, ()))
        return more


def _quantize(found: _Found, node: Node, graph: Graph) -> None:
    source, (made,) = node.inputs[0], node.outputs
    if source in found.constants:
        affine = _affine(found, node, found.constants[source].ndim)
        if affine is not None:
            found.integers[made] = quantized(found.constants[source].astype(np.float32), affine)
            return
    affine = _affine(found, node, 0)
    if affine is None or affine.axis is not None:
        raise IntsimError("quantizes an activation by channels or blocks", where=node.name, mend="one scale a tensor")
    found.of[made] = _mark(found, node, found.real.get(source, source), affine)


def _mark(found: _Found, node: Node, source: str, affine: Affine) -> int:
    """The number of a new mark, whose node has the name that the node's output has in the file."""
    (made,) = node.outputs
    found.nodes.append(
        Node(name=node.name, op="Requantize", inputs=(source,), outputs=(made,), attributes={MARK: len(found.affines)})
    )
    found.affines.append(affine)
    found.real[made] = made
    return len(found.affines) - 1


def _dequantize(found: _Found, node: Node, graph: Graph) -> None:
    source, (made,) = node.inputs[0], node.outputs
    held = found.integers.get(source, found.constants.get(source))
    if held is not None:
        _real(found, node, held)
    elif source in found.of:
        affine, mark = _affine(found, node, 0), found.affines[found.of[source]]
        if affine is None or (affine.scale, affine.zero_point) != (mark.scale, mark.zero_point):
            raise IntsimError("reads integers at another scale than they were written with", where=node.name)
        found.real[made] = found.real[source]
    elif source in graph.inputs:
        _entered(found, node)
    else:
        raise IntsimError(f'reads "{source}", which is not quantized', where=node.name)


def _real(found: _Found, node: Node, held: np.ndarray) -> None:
    """A constant that stands for reals: these, and its grid; of blocks the reals alone."""
    (made,) = node.outputs
    if node.attributes.get("block_size", 0):
        found.constants[made] = _blocks(found, node, held)
        return
    affine = _affine(found, node, held.ndim, held)
    assert affine is not None
    affine = replace(affine, type=found.types.get(made, found.types.get(node.inputs[0], affine.type)))
    inside = (affine.type.low <= held.astype(np.int64)).all() and (held.astype(np.int64) <= affine.type.high).all()
    if not inside:
        raise IntsimError(f"has integers outside of {affine.type}", where=node.name)
    integers = held.astype(affine.type.dtype)
    found.constants[made] = dequantized(integers, affine)
    found.grids[made] = Grid(integers=integers, affine=affine)


def _blocks(found: _Found, node: Node, held: np.ndarray) -> np.ndarray:
    """What a weight stands for that has a scale for every so many of its numbers."""
    size, axis = int(str(node.attributes["block_size"])), int(str(node.attributes.get("axis", 1)))
    scale = np.repeat(found.constants[node.inputs[1]].astype(np.float32), size, axis)
    zero: np.ndarray = np.zeros_like(scale, np.int64)
    if len(node.inputs) > 2 and node.inputs[2]:
        zero = np.repeat(found.constants[node.inputs[2]].astype(np.int64), size, axis)
    cut = tuple(slice(n) for n in held.shape)
    if scale[cut].shape != held.shape:
        raise IntsimError(f"has scales {scale.shape} for {held.shape}", where=node.name)
    return np.asarray((held.astype(np.int64) - zero[cut]) * scale[cut], np.float32)


def _entered(found: _Found, node: Node) -> None:
    """An input of integers, whose reals are scale (x - zero point): in float operators, then marked."""
    source, (made,) = node.inputs[0], node.outputs
    affine = _affine(found, node, 0)
    assert affine is not None
    names = [f"{made}_{word}" for word in ("zero", "scale", "shifted", "scaled")]
    found.constants[names[0]] = np.array(affine.zero, np.float32)
    found.constants[names[1]] = np.array(affine.scale[0], np.float32)
    for op, inputs, output in (("Sub", (source, names[0]), names[2]), ("Mul", (names[2], names[1]), names[3])):
        found.nodes.append(Node(name=output, op=op, inputs=inputs, outputs=(output,)))
    _mark(found, node, names[3], affine)


def _clip(found: _Found, node: Node, graph: Graph) -> None:
    """A Clip of integers leaves out some of their type's."""
    source, (made,) = node.inputs[0], node.outputs
    held = found.integers.get(source, found.constants.get(source))
    if source not in found.of and (held is None or _is_real(held)):
        _other(found, node, graph)
        return
    low, high = (int(found.constants[name].item()) for name in node.inputs[1:3])
    if held is not None:
        found.integers[made], found.types[made] = np.clip(held, low, high), _between(low, high, node.name)
        return
    mark = found.of[source]
    old = found.affines[mark]
    found.affines[mark] = replace(old, type=_between(low, high, node.name))
    found.of[made], found.real[made] = mark, found.real[source]


def _is_real(values: np.ndarray) -> bool:
    return values.dtype.kind == "f"


def _between(low: int, high: int, where: str) -> IntType:
    """The type of these ends."""
    for bits in range(1, 33):
        for signed in (True, False):
            for narrow in (False, True):
                type_ = IntType(bits, signed, narrow)
                if (type_.low, type_.high) == (low, high):
                    return type_
    raise IntsimError(f"keeps {low} to {high}, the ends of no integer type", where=where)


def _other(found: _Found, node: Node, graph: Graph) -> None:
    held = [name for name in node.inputs if name in found.of]
    if held and (node.op not in MOVERS or len({found.of[name] for name in held}) > 1):
        raise IntsimError(f"{node.op} of integers", where=node.name, mend="only what moves them is read")
    for name in node.outputs if held else ():
        found.of[name], found.real[name] = found.of[held[0]], name
    found.nodes.append(replace(node, inputs=tuple(found.real.get(name, name) for name in node.inputs)))


def _affine(found: _Found, node: Node, ndim: int, held: np.ndarray | None = None) -> Affine | None:
    """What the scale and zero point of a Q or DQ state; None for blocks."""
    if node.attributes.get("block_size", 0):
        return None
    scale = found.constants.get(node.inputs[1])
    zero = found.constants.get(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if scale is None or (len(node.inputs) > 2 and node.inputs[2] and zero is None):
        raise IntsimError("computes its scale or zero point", where=node.name, mend="quantize statically")
    kind = zero.dtype if zero is not None else (held.dtype if held is not None else np.dtype(np.uint8))
    axis = int(str(node.attributes.get("axis", 1)))
    if scale.ndim and scale.size == 1:
        scale, zero = scale.reshape(()), None if zero is None else zero.reshape(())
    try:
        return affine_of(scale.astype(np.float32), zero, _type(kind, node), axis % ndim if ndim else axis)
    except ValueError as reason:
        raise IntsimError(str(reason), where=node.name) from None


def _type(kind: np.dtype, node: Node) -> IntType:
    name = kind.name
    for signed, prefix in ((False, "uint"), (True, "int")):
        if name.startswith(prefix) and name[len(prefix) :].isdigit():
            return IntType(int(name[len(prefix) :]), signed)
    raise IntsimError(f"quantizes to {name}", where=node.name, mend="integers of 2 to 32 bits are read")


_STEPS = {"QuantizeLinear": _quantize, "DequantizeLinear": _dequantize, "Clip": _clip}
