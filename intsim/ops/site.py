"""What an op's lowering sees: its machine, its constants, the shapes and affines of its tensors."""

import numpy as np
from msgspec import Struct

from intsim.arithmetic import encoded
from intsim.errors import IntsimError
from intsim.graph import Node, Shape
from intsim.integers import Affine
from intsim.program import Rescale, Window, inside_shape
from intsim.quantized import QuantizedGraph
from intsim.target import Requantize, Target


class Site(Struct, frozen=True, kw_only=True):
    """One node's surroundings. `inputs` and `output` are the affines that the machine's own integers have here."""

    target: Target
    source: QuantizedGraph
    node: Node
    inputs: tuple[Affine, ...]
    output: Affine

    def shape(self, tensor: str) -> Shape:
        """One sample's shape in the inside layout."""
        return inside_shape(self.source.graph.shapes[tensor])

    def constant(self, index: int) -> tuple[np.ndarray, Affine]:
        """The integers of a constant input, and their affine."""
        name = self.node.inputs[index]
        return self.source.graph.constants[name], self.source.affines[name]

    def has(self, index: int) -> bool:
        """Whether the node has that optional input."""
        return len(self.node.inputs) > index and self.node.inputs[index] != ""

    def error(self, what: str, mend: str = "") -> IntsimError:
        """An error at this node, for this machine."""
        return IntsimError(what, where=f"{self.node.name} ({self.node.op}) on {self.target.name}", mend=mend)


def rescale(site: Site, rule: Requantize, sx: float, sw: tuple[float, ...] = (1.0,)) -> Rescale:
    """The requantization from accumulators of scale sx * sw[c] to the node's output."""
    try:
        return encoded(
            rule,
            sx,
            sw,
            site.output.scale[0],
            zero_point=site.output.zero,
            low=site.output.type.low,
            high=site.output.type.high,
            overflow=site.target.output,
        )
    except ValueError as reason:
        raise site.error(str(reason), mend="quantize with power-of-two scales for this machine") from None


def window(node: Node) -> Window:
    """The node's sliding window; ONNX lists all beginnings of the padding, then all ends."""
    kernel = ints(node, "kernel_shape")
    pads = ints(node, "pads")
    return Window(
        kernel=kernel,
        strides=ints(node, "strides"),
        dilations=ints(node, "dilations"),
        begin=pads[: len(kernel)],
        end=pads[len(kernel) :],
    )


def ints(node: Node, name: str) -> tuple[int, ...]:
    """An attribute that is a tuple of integers."""
    value = node.attributes[name]
    assert isinstance(value, tuple)
    return tuple(int(v) for v in value)


def positions(shape: Shape, window: Window) -> Shape:
    """How many places the window takes along each spatial axis of a sample `shape[h, w, c]`."""
    return tuple(
        (size + begin + end - dilation * (kernel - 1) - 1) // stride + 1
        for size, kernel, stride, dilation, begin, end in zip(
            shape, window.kernel, window.strides, window.dilations, window.begin, window.end, strict=False
        )
    )
