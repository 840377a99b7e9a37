"""Random quantized networks of one or a few layers, for the tests of files, references and comparisons."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from intsim.graph import Graph, Node, Pixels
from intsim.integers import Affine, affine, int_type
from intsim.quantized import QuantizedGraph


def any_affine(rng: np.random.Generator, type_: str, *, scale: float | None = None, zero: int | None = None) -> Affine:
    """A scale between 0.01 and 0.1 and a zero point anywhere, unless they are given."""
    kind = int_type(type_)
    scale = float(rng.uniform(0.01, 0.1)) if scale is None else scale
    zero = int(rng.integers(kind.low, kind.high + 1)) if zero is None else zero
    return affine(scale, zero, kind)


def integers(rng: np.random.Generator, type_: str, shape: Sequence[int]) -> np.ndarray:
    """Integers over the whole range of a type."""
    kind = int_type(type_)
    return rng.integers(kind.low, kind.high + 1, shape).astype(kind.dtype)


class Net:
    """A QuantizedGraph, layer by layer; every method returns the name of the tensor that it makes."""

    def __init__(self, rng: np.random.Generator, activation: str = "u8", weight: str = "s8") -> None:
        self.rng, self.activation, self.weight = rng, activation, weight
        self.nodes: list[Node] = []
        self.constants: dict[str, np.ndarray] = {}
        self.affines: dict[str, Affine] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.inputs: list[str] = []

    def input(self, *shape: int, of: Affine | None = None) -> str:
        name = f"input_{len(self.inputs)}"
        self.inputs.append(name)
        return self._tensor(name, shape, of)

    def conv(
        self,
        x: str,
        outputs: int,
        kernel: Sequence[int],
        *,
        strides: Sequence[int] | None = None,
        pads: Sequence[int] | None = None,
        dilations: Sequence[int] | None = None,
        group: int = 1,
        of: Affine | None = None,
        **weights: Any,
    ) -> str:
        channels, *size = self.shapes[x]
        rank = len(kernel)
        window = _window(kernel, strides, pads, dilations)
        inputs = [x, *self._weights(x, (outputs, channels // group, *kernel), **weights)]
        positions = _positions(size, **window)
        assert rank == len(size)
        return self._node("Conv", inputs, (outputs, *positions), of, **window, group=group)

    def gemm(self, x: str, outputs: int, *, of: Affine | None = None, **weights: Any) -> str:
        (depth,) = self.shapes[x]
        return self._node("Gemm", [x, *self._weights(x, (outputs, depth), **weights)], (outputs,), of)

    def pool(self, op: str, x: str, kernel: Sequence[int], of: Affine | None = None, **how: Any) -> str:
        include = {"count_include_pad": how.pop("include", 0)} if op == "AveragePool" else {}
        window = _window(kernel, how.get("strides"), how.get("pads"), how.get("dilations"))
        channels, *size = self.shapes[x]
        keeps = self.affines[x] if op == "MaxPool" else of
        return self._node(op, [x], (channels, *_positions(size, **window)), keeps, **window, **include)

    def mean(self, x: str, of: Affine | None = None) -> str:
        channels, *size = self.shapes[x]
        return self._node("GlobalAveragePool", [x], (channels, *(1 for _ in size)), of)

    def add(self, a: str, b: str, of: Affine | None = None) -> str:
        return self._node("Add", [a, b], self.shapes[a], of)

    def concat(self, *parts: str, axis: int = 1, of: Affine | None = None) -> str:
        shape = list(self.shapes[parts[0]])
        shape[axis - 1] = sum(self.shapes[part][axis - 1] for part in parts)
        return self._node("Concat", list(parts), tuple(shape), of, axis=axis)

    def keep(self, op: str, x: str, result: Sequence[int] | None = None, **attributes: Any) -> str:
        return self._node(op, [x], tuple(result or self.shapes[x]), self.affines[x], **attributes)

    def pair(self, op: str, a: str, b: str, of: Affine | None = None) -> str:
        shape = np.broadcast_shapes(
            *((1, *self.shapes[n]) if n in self.shapes else self.constants[n].shape for n in (a, b))
        )
        return self._node(op, [a, b], shape[1:], of)

    def function(self, op: str, x: str, *constants: str, of: Affine | None = None, **attributes: Any) -> str:
        return self._node(op, [x, *constants], self.shapes[x], of, **attributes)

    def constant(self, *shape: int, of: Affine | None = None) -> str:
        name = f"constant_{len(self.constants)}"
        self.affines[name] = of or any_affine(self.rng, self.activation)
        self.constants[name] = integers(self.rng, self.activation, shape)
        return name

    def done(self, *outputs: str, pixels: dict[str, Pixels] | None = None) -> QuantizedGraph:
        graph = Graph(
            name="small",
            inputs=tuple(self.inputs),
            outputs=outputs,
            nodes=tuple(self.nodes),
            constants=self.constants,
            shapes=self.shapes,
            pixels=pixels or {},
        )
        return QuantizedGraph(graph=graph, affines=self.affines)

    def _tensor(self, name: str, shape: Sequence[int], of: Affine | None) -> str:
        self.shapes[name] = tuple(shape)
        self.affines[name] = of or any_affine(self.rng, self.activation)
        return name

    def _node(self, op: str, inputs: list[str], result: Sequence[int], of: Affine | None, **attributes: Any) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(
            Node(name=f"node_{name}", op=op, inputs=tuple(inputs), outputs=(name,), attributes=attributes)
        )
        return self._tensor(name, result, of)

    def _weights(
        self,
        x: str,
        shape: tuple[int, ...],
        *,
        per_channel: bool = True,
        zero: int = 0,
        scale: float | None = None,
        bias: bool | int | np.ndarray = True,
        values: np.ndarray | None = None,
        kind: str | None = None,
    ) -> list[str]:
        """Weights over the whole range of their type and, unless `bias` is False, a bias."""
        name, outputs, kind = f"weight_{len(self.nodes)}", shape[0], kind or self.weight
        scales = self.rng.uniform(0.002, 0.02, outputs if per_channel else 1)
        scales = scales if scale is None else np.full_like(scales, scale)
        self.constants[name] = integers(self.rng, kind, shape) if values is None else values
        self.affines[name] = affine(scales, zero, kind, 0 if per_channel else None)
        if bias is False:
            return [name]
        size = 2000 if bias is True else bias
        numbers = self.rng.integers(-size, size + 1, outputs) if isinstance(size, int) else size
        self.constants[f"{name}_bias"] = np.asarray(numbers, np.int32)
        products = np.float32(self.affines[x].scale[0]) * np.array(self.affines[name].scale, np.float32)
        self.affines[f"{name}_bias"] = affine(products, 0, "s32", 0 if per_channel else None)
        return [name, f"{name}_bias"]


def _window(
    kernel: Sequence[int],
    strides: Sequence[int] | None,
    pads: Sequence[int] | None,
    dilations: Sequence[int] | None,
) -> dict[str, tuple[int, ...]]:
    rank = len(kernel)
    return {
        "kernel_shape": tuple(kernel),
        "strides": tuple(strides or [1] * rank),
        "pads": tuple(pads or [0] * 2 * rank),
        "dilations": tuple(dilations or [1] * rank),
    }


def _positions(
    size: Sequence[int],
    kernel_shape: tuple[int, ...],
    strides: tuple[int, ...],
    pads: tuple[int, ...],
    dilations: tuple[int, ...],
) -> list[int]:
    rank = len(size)
    return [
        (size[i] + pads[i] + pads[rank + i] - dilations[i] * (kernel_shape[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]


def everything(rng: np.random.Generator, activation: str = "u8", weight: str = "s8") -> QuantizedGraph:
    """A network in which every operator stands once at least, with two inputs and two outputs."""
    net = Net(rng, activation, weight)
    image, other = net.input(2, 7, 6), net.input(4, 7, 6)
    zero = net.affines[image].zero
    padded = net.keep("Pad", image, (2, 8, 8), pads=(0, 0, 1, 0, 1, 1), value=0.0)
    wide = any_affine(rng, activation, scale=0.05, zero=zero)
    a = net.conv(padded, 4, (2, 3), pads=(0, 0, 0, 0), of=wide)
    a = net.keep("Relu", a)
    b = net.conv(image, 4, (3, 3), pads=(1, 2, 1, 0), group=2, per_channel=False, bias=False)
    b = net.keep("Clip", b, min=-1.25, max=2.0)
    total = net.add(b, other)
    joined = net.concat(total, other)
    pooled = net.pool("MaxPool", joined, (2, 2), strides=(2, 1), pads=(1, 0, 0, 0))
    averaged = net.pool("AveragePool", pooled, (3, 2), strides=(1, 2), pads=(0, 1, 1, 0), include=1)
    mean = net.keep("Flatten", net.mean(averaged), (8,))
    flat = net.keep("Reshape", a, (4 * 7 * 6,), shape=(4 * 7 * 6,))
    logits = net.gemm(net.concat(mean, flat), 5)
    return net.done(logits, net.gemm(mean, 3, bias=False), pixels={image: Pixels(mean=(0.5, 0.25), std=(0.3, 1.7))})


def functions(rng: np.random.Generator, activation: str = "u8", weight: str = "s8") -> QuantizedGraph:
    """A network of functions, pairs and moves, with constants where they may be."""
    net = Net(rng, activation, weight)
    x, y = net.input(4, 6, 5), net.input(4, 6, 5)
    one = net.affines[x]
    total = net.pair("Sub", net.pair("Mul", x, y), net.constant(1, 4, 1, 1))
    scaled = net.pair("Mul", net.constant(1, 4, 1, 1), total, of=one)
    extreme = net.pair("Min", net.pair("Max", x, scaled, of=one), net.constant(4, 1, 1, of=one), of=one)
    turned = net.keep("Transpose", extreme, (4, 5, 6), perm=(0, 1, 3, 2))
    cut = net.keep("Slice", turned, (4, 2, 5), starts=(4, 0), ends=(0, 5), axes=(2, 3), steps=(-2, 1))
    grown = net.keep("Resize", cut, (4, 4, 5), mode="nearest", coordinate="half_pixel", nearest="round_prefer_floor")
    a = net.function("LeakyRelu", grown, alpha=0.25)
    a = net.function("PRelu", a, net.constant(4, 1, 1))
    b = net.function("HardSwish", net.function("Requantize", grown))
    joined = net.pair("Sub", net.function("Sigmoid", a), net.function("Tanh", b))
    flat = net.keep("Flatten", joined, (80,))
    return net.done(net.function("Softmax", flat, of=affine(2.0**-8, int_type(activation).low, activation), axis=1))


def same(a: QuantizedGraph, b: QuantizedGraph) -> None:
    """Asserts that two quantized networks are equal in every field."""
    assert (a.graph.name, a.graph.inputs, a.graph.outputs) == (b.graph.name, b.graph.inputs, b.graph.outputs)
    assert a.graph.nodes == b.graph.nodes
    assert a.graph.shapes == b.graph.shapes
    assert a.graph.pixels == b.graph.pixels
    assert a.affines == b.affines
    assert a.graph.constants.keys() == b.graph.constants.keys()
    for name, array in a.graph.constants.items():
        assert array.dtype == b.graph.constants[name].dtype, name
        np.testing.assert_array_equal(array, b.graph.constants[name])
