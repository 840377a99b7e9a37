"""Reshape, Flatten and Transpose, written: as few operators as keep the network's order of values."""

from collections.abc import Callable, Sequence

import numpy as np

from intsim.graph import Node
from intsim.tflite_io import layout
from intsim.tflite_io.operators import operator
from intsim.tflite_io.writing import Site, activation, extra, numbers

SHAPES = ("Flatten", "Reshape", "Transpose")


def _shaped(site: Site) -> None:
    """The first of the fewest operators that do what Reshapes and Transposes in a row do; the rest follow in turn."""
    writing, nodes = site.writing, [site.node]
    while len(after := writing.readers.get(nodes[-1].outputs[0], [])) == 1 and after[0].op in SHAPES:
        if nodes[-1].outputs[0] in writing.graph.outputs:
            break
        nodes.append(after[0])
    count = _first_part(site, nodes)
    if _keeps_order(site, nodes[:count]):
        x, y = (activation(writing, name) for name in (site.node.inputs[0], nodes[count - 1].outputs[0]))
        reshape(site, x, y)
        writing.done |= {node.name for node in nodes[1:count]}
    elif site.node.op == "Transpose":
        _transpose(site, site.about["perm"], activation(writing, site.node.inputs[0]), site.node.outputs[0])
    else:
        _reordered(site)


def _first_part(site: Site, nodes: Sequence[Node]) -> int:
    """How many of the nodes the first operator does, where all take the fewest: those that keep the order are one."""
    fewest = {len(nodes): (0, 0)}
    for first in range(len(nodes) - 1, -1, -1):
        costs = []
        for end in range(len(nodes), first, -1):
            if _keeps_order(site, nodes[first:end]):
                costs.append((fewest[end][0] + 1, end - first))
            elif end == first + 1:
                costs.append((fewest[end][0] + (1 if nodes[first].op == "Transpose" else 3), 1))
        fewest[first] = min(costs, key=lambda cost: cost[0])
    return fewest[0][1]


def _keeps_order(site: Site, nodes: Sequence[Node]) -> bool:
    """Whether the nodes together leave the file's order of values as it is."""
    shapes, affines = site.writing.graph.shapes, site.writing.source.affines
    first = shapes[nodes[0].inputs[0]]
    values = _channels_first(np.arange(np.prod(first)), first)
    for node in nodes:
        if affines[node.inputs[0]] != affines[node.outputs[0]]:
            raise site.error("keeps its integers, but its input and output have different affines", "let them share")
        if node.op == "Transpose":
            perm = node.attributes["perm"]
            assert isinstance(perm, tuple)
            values = values.transpose([int(axis) - 1 for axis in perm[1:]])
        else:
            values = values.reshape(shapes[node.outputs[0]])
    return bool(np.array_equal(_channels_last(values), np.arange(values.size)))


def _channels_first(flat: np.ndarray, shape: Sequence[int]) -> np.ndarray:
    return np.moveaxis(flat.reshape(*shape[1:], shape[0]), -1, 0) if len(shape) > 1 else flat


def _channels_last(values: np.ndarray) -> np.ndarray:
    return np.moveaxis(values, 0, -1).reshape(-1)


def reshape(site: Site, x: int, y: int) -> None:
    """RESHAPE; the shape is an input, which all runtimes read."""
    shape = site.writing.tensors[y].shape
    operator(site.writing, "RESHAPE", [x, numbers(site, "shape", shape)], y)


def _transpose(site: Site, perm: Sequence[int], x: int, name: str) -> None:
    """TRANSPOSE by a graph's permutation."""
    order = numbers(site, "perm", layout.file_perm(perm))
    operator(site.writing, "TRANSPOSE", [x, order], activation(site.writing, name))


def _reordered(site: Site) -> None:
    """A Reshape in the Graph's order: Gemms that alone read a flattened map have their columns in the file's order."""
    writing, (name,) = site.writing, site.node.outputs
    before, after = site.shape(0), site.result_shape
    x = activation(writing, site.node.inputs[0])
    readers = writing.readers.get(name, [])
    if len(after) == 1 and readers and all(n.op == "Gemm" for n in readers) and name not in writing.graph.outputs:
        writing.order[name] = _channels_last(np.arange(np.prod(before)).reshape(before))
        reshape(site, x, activation(writing, name))
        return
    if len(before) > 1:
        rank = len(before) + 1
        order = numbers(site, "perm", (0, rank - 1, *range(1, rank - 1)))
        turned = extra(site, "channels_first", (writing.batch, *before), site.result)
        operator(writing, "TRANSPOSE", [x, order], turned)
        x = turned
    if len(after) == 1:
        reshape(site, x, activation(writing, name))
        return
    rows = extra(site, "rows", (writing.batch, *after), site.result)
    reshape(site, x, rows)
    rank = len(after) + 1
    order = numbers(site, "perm_back", (0, *range(2, rank), 1))
    operator(writing, "TRANSPOSE", [rows, order], activation(writing, name))


SHAPED: dict[str, Callable[[Site], None]] = dict.fromkeys(SHAPES, _shaped)
