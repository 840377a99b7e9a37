"""The float network: nodes, attributes, constants; immutable; knows no file format."""

from collections.abc import Iterable, Mapping

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.integers import frozen

Shape = tuple[int, ...]
Attribute = int | float | str | tuple[int | float, ...]


class Pixels(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How an image becomes what the first node reads, in float32 and in this order.

    The network's input is (pixel / divisor - mean[c]) / std[c]; the default is pixel / 255. A normalization of the
    network's own, that was found in the file and folded, follows: (input - own_mean[c]) / own_std[c]. Means and
    standard deviations have one entry, or one per channel.
    """

    divisor: float = 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    own_mean: tuple[float, ...] = (0.0,)
    own_std: tuple[float, ...] = (1.0,)

    @property
    def channels(self) -> int:
        """How many channels are told apart; 1 where all are treated alike."""
        return max(map(len, (self.mean, self.std, self.own_mean, self.own_std)))

    def to_input(self, pixels: np.ndarray) -> np.ndarray:
        """The network's float32 input, as its file takes it, of `pixels[n, c, ...]` (any numeric type, 0..255)."""
        return _standardized(np.asarray(pixels, np.float32) / np.float32(self.divisor), self.mean, self.std)

    def enter(self, x: np.ndarray) -> np.ndarray:
        """What the first node reads of the network's input `x[n, c, ...]`, in float32."""
        return _standardized(np.asarray(x, np.float32), self.own_mean, self.own_std)


def _standardized(x: np.ndarray, mean: tuple[float, ...], std: tuple[float, ...]) -> np.ndarray:
    if mean == (0.0,) and std == (1.0,):
        return x
    along = (1, -1) + (1,) * (x.ndim - 2)
    return (x - np.asarray(mean, np.float32).reshape(along)) / np.asarray(std, np.float32).reshape(along)


class Node(Struct, frozen=True, kw_only=True):
    """One operator: `op` is spelled as ONNX spells it; `inputs` and `outputs` are tensor names."""

    name: str
    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Attribute] = {}


class Graph(Struct, frozen=True, kw_only=True, eq=False):
    """A network whose nodes stand in an order in which they can be run.

    `shapes` gives every tensor's shape for one sample: the batch, always the first axis of the file, is left out, and
    images are channels first (c, h, w). `constants` are the weights, in the file's own layout. What a graph of
    `normalise` looks like stands there.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    constants: dict[str, np.ndarray]
    shapes: dict[str, Shape]
    pixels: dict[str, Pixels] = {}

    def __post_init__(self) -> None:
        known = {*self.inputs, *self.constants}
        for node in self.nodes:
            for name in node.inputs:
                if name and name not in known:
                    raise IntsimError(
                        f'reads "{name}", which nothing before it computes',
                        where=node.name,
                        mend="the file's nodes must be in running order and free of cycles",
                    )
            for name in node.outputs:
                if name in known:
                    raise IntsimError(f'computes "{name}" a second time', where=node.name)
                known.add(name)
        for name in self.outputs:
            if name not in known:
                raise IntsimError(f'the output "{name}" is computed by nothing')
        for name, array in self.constants.items():
            self.constants[name] = frozen(array)


def consumers(graph: Graph) -> Mapping[str, list[Node]]:
    """The nodes that read each tensor."""
    readers: dict[str, list[Node]] = {}
    for node in graph.nodes:
        for name in node.inputs:
            readers.setdefault(name, []).append(node)
    return readers


def producers(graph: Graph) -> Mapping[str, Node]:
    """The node that computes each tensor."""
    return {name: node for node in graph.nodes for name in node.outputs}


def activations(graph: Graph) -> Iterable[str]:
    """The tensors that depend on an input, inputs first, in running order."""
    yield from graph.inputs
    for node in graph.nodes:
        yield from node.outputs


def find_node(graph: Graph, name: str) -> Node | None:
    """The node of that name, or the one that computes the tensor of that name."""
    return next((n for n in graph.nodes if name == n.name or name in n.outputs), None)
