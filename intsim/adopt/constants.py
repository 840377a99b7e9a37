"""The integers of constants: a weight's grid is found again after float rules have moved, renamed or reshaped it."""

from collections.abc import Mapping

import numpy as np
from msgspec.structs import replace

from intsim.adopt.marks import Grid
from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.quantize.biases import bias_integers
from intsim.quantized import dequantized, quantized
from intsim.target import Scheme

DOTS = ("Conv", "ConvTranspose", "Gemm")

NEAR = 1e-5
"""How far a bias' scale in a file may be from that of the products, of which it is a rounding."""


def grids(graph: Graph, known: Mapping[str, Grid]) -> dict[str, Grid]:
    """The grids of the graph's constants but biases, by their names there, as far as the file has any of them.

    A constant has the grid of that name, or of the same numbers, on which it lies exactly.
    """
    found = {}
    biases = {node.inputs[2] for node in graph.nodes if node.op in DOTS and len(node.inputs) > 2}
    for node in graph.nodes:
        for index, name in enumerate(node.inputs):
            if name not in graph.constants or name in found or (name in biases and index == 2):
                continue
            axis = (1 if node.op == "ConvTranspose" else 0) if node.op in DOTS else None
            grid = _grid(graph.constants[name], _like(name, graph.constants[name], known), axis)
            if grid is not None:
                found[name] = grid
    return found


def _like(name: str, values: np.ndarray, known: Mapping[str, Grid]) -> list[Grid]:
    """The grids that may be this constant's, that of its name first."""
    named = [known[name]] if name in known else []
    return named + [grid for other, grid in known.items() if other != name and grid.integers.size == values.size]


def _grid(values: np.ndarray, candidates: list[Grid], axis: int | None) -> Grid | None:
    """The first grid on which all values lie: their scales one for all, or in turn along the axis of the outputs."""
    for one in candidates:
        own = one.affine
        if own.axis is not None:
            if axis is None or values.ndim <= axis or values.shape[axis] != len(own.scale):
                continue
            own = replace(own, axis=axis)
        integers = quantized(values, own)
        if np.array_equal(dequantized(integers, own), values) and _same(integers, one.integers):
            return Grid(integers=integers, affine=own)
    return None


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return np.array_equal(np.sort(a, axis=None), np.sort(b, axis=None))


def bias(
    node: Node, values: np.ndarray, affines: Mapping[str, Affine], known: Mapping[str, Grid], scheme: Scheme
) -> Grid:
    """A node's bias in units of its products: the file's own integers, or the nearest to what they stand for."""
    x, w = affines[node.inputs[0]], affines[node.inputs[1]]
    groups = int(str(node.attributes["group"])) if node.op == "ConvTranspose" else 1
    products = x.scale[0] * np.array(w.scale if w.axis is None else w.scale * groups, np.float64)
    integers, type_ = bias_integers(values.astype(np.float64) / products, scheme)
    own = affine(products, 0, type_, None if w.axis is None else 0)
    for grid in _like(node.inputs[2], values, known):
        scale = np.array(grid.affine.scale)
        near = scale.size in (1, products.size) and (np.abs(scale / products - 1) < NEAR).all()
        if near and not any(grid.affine.zero_point) and np.array_equal(dequantized(grid.integers, grid.affine), values):
            return Grid(integers=grid.integers.astype(type_.dtype), affine=own)
    return Grid(integers=integers, affine=own)
