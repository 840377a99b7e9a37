"""Networks that other tools quantized: what their files state in integers becomes a QuantizedGraph."""

from pathlib import Path

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.adopt.affines import settled
from intsim.adopt.constants import DOTS, bias, grids
from intsim.adopt.marks import Grid, marked
from intsim.errors import IntsimError
from intsim.graph import Graph, Node, activations
from intsim.integers import Affine, IntType
from intsim.normalise import normalise, unsupported
from intsim.onnx_io import read_foreign
from intsim.ops import OPS
from intsim.quantize import quantize
from intsim.quantized import QuantizedGraph
from intsim.targets.ideal import IDEAL

__all__ = ["Adopted", "adopted", "complete", "read"]

SCHEME = replace(IDEAL.scheme, bias=IntType(32))
"""What the integers of a file may be, and biases."""

SHOWN = 4
"""Tensors that an error names."""


class Adopted(Struct, frozen=True, kw_only=True, eq=False):
    """A file's network in canonical float operators, and the integers that the file states of it.

    `affines`: of activations. `weights`: constants in integers. `known`: all grids of the file, biases' too. `left`:
    what it leaves in float, activations and constants, in running order.
    """

    graph: Graph
    affines: dict[str, Affine]
    weights: dict[str, Grid]
    known: dict[str, Grid]
    left: tuple[str, ...]


def read(path: str | Path, images: np.ndarray | None = None) -> QuantizedGraph:
    """The QuantizedGraph of an ONNX file that another tool quantized; `images` calibrate what it leaves in float.

    Raises IntsimError for a file that leaves anything in float where there are none, and for what cannot be read.
    """
    found = adopted(path)
    if found.left and images is None:
        more = f" and {len(found.left) - SHOWN} more" if len(found.left) > SHOWN else ""
        what = f"leaves in float: {', '.join(found.left[:SHOWN])}{more}"
        mend = "intsim quantize FILE --quantize-rest --calibration X.npz -o NEW.onnx quantizes these too"
        raise IntsimError(what, where=str(path), mend=mend)
    return complete(found, images)


def adopted(path: str | Path) -> Adopted:
    """What the file at `path` states. Raises IntsimError for a file that cannot be read, or lowered."""
    path = Path(path)
    try:
        marks = marked(*read_foreign(path))
        graph, _ = normalise(marks.graph)
        for name, op, reason in unsupported(graph, OPS):
            raise IntsimError(f"{op}: {reason}", where=name, mend="intsim inspect lists them all")
    except IntsimError as error:
        raise IntsimError(error.what, where=f"{path}: {error.where}".rstrip(": "), mend=error.mend) from None
    except (KeyError, IndexError, ValueError, TypeError, AssertionError) as reason:
        what = f"is no valid quantized network ({type(reason).__name__}: {reason})"
        raise IntsimError(what, where=str(path), mend="ask onnx.checker, or quantize it again") from None
    known = settled(replace(graph, name=path.stem), marks.affines)
    weights = grids(known.graph, marks.grids)
    return Adopted(
        graph=known.graph,
        affines=known.affines,
        weights=weights,
        known=marks.grids,
        left=(*(n for n in activations(known.graph) if n not in known.affines), *_left(known.graph, weights)),
    )


def _left(graph: Graph, weights: dict[str, Grid]) -> list[str]:
    """Constants without integers; a bias always gets some."""
    read = [
        name
        for node in graph.nodes
        for index, name in enumerate(node.inputs)
        if name in graph.constants and not (node.op in DOTS and index == 2)
    ]
    return [name for name in dict.fromkeys(read) if name not in weights]


def complete(found: Adopted, images: np.ndarray | None = None) -> QuantizedGraph:
    """The whole in integers: what is left in float as `intsim.quantize` does it, calibrated with the images."""
    graph, affines = found.graph, dict(found.affines)
    constants = {name: grid.integers for name, grid in found.weights.items()}
    affines |= {name: grid.affine for name, grid in found.weights.items()}
    if found.left:
        assert images is not None
        rest = quantize(graph, images, SCHEME)
        affines |= {name: rest.affines[name] for name in found.left}
        constants |= {name: rest.graph.constants[name] for name in found.left if name in rest.graph.constants}
    nodes = tuple(_with_bias(node, found, affines, constants) for node in graph.nodes)
    return QuantizedGraph(graph=replace(graph, nodes=nodes, constants=constants), affines=affines)


def _with_bias(node: Node, found: Adopted, affines: dict[str, Affine], constants: dict[str, np.ndarray]) -> Node:
    """The node with its bias in integers, under a new name where the old one is taken by others."""
    if node.op not in DOTS or len(node.inputs) < 3 or not node.inputs[2]:
        return node
    name = node.inputs[2]
    grid = bias(node, found.graph.constants[name], affines, found.known, SCHEME)
    if name in constants and not (affines[name] == grid.affine and np.array_equal(constants[name], grid.integers)):
        name = f"{name}.{node.name}"
    constants[name], affines[name] = grid.integers, grid.affine
    return replace(node, inputs=(*node.inputs[:2], name))
