"""Small float networks in canonical spelling, built by hand."""

import numpy as np

from intsim.graph import Attribute, Graph, Node, Shape


class Draft:
    """A network under construction: each method adds a node and returns its output's name."""

    def __init__(self, seed: int = 0, **inputs: Shape) -> None:
        self.rng = np.random.default_rng(seed)
        self.inputs = tuple(inputs)
        self.shapes: dict[str, Shape] = dict(inputs)
        self.constants: dict[str, np.ndarray] = {}
        self.nodes: list[Node] = []

    def constant(self, *shape: int, spread: float = 1.0) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants[name] = (self.rng.normal(size=shape) * spread).astype(np.float32)
        return name

    def add(self, op: str, inputs: tuple[str, ...], result: Shape, /, **attributes: Attribute) -> str:
        name = f"{op.lower()}_{len(self.nodes)}"
        self.nodes.append(Node(name=name, op=op, inputs=inputs, outputs=(f"{name}_out",), attributes=attributes))
        self.shapes[f"{name}_out"] = result
        return f"{name}_out"

    def conv(
        self,
        x: str,
        channels: int,
        *,
        k: int = 3,
        stride: int = 1,
        pad: int = 0,
        dilation: int = 1,
        group: int = 1,
        bias: bool = True,
    ) -> str:
        c, *spatial = self.shapes[x]
        w = self.constant(channels, c // group, *[k] * len(spatial), spread=(c // group * k ** len(spatial)) ** -0.5)
        b = (self.constant(channels, spread=0.1),) if bias else ()
        win = window(len(spatial), k, stride, pad, dilation)
        return self.add("Conv", (x, w, *b), (channels, *positions(spatial, win)), **win, group=group)

    def gemm(self, x: str, outputs: int, *, bias: bool = True) -> str:
        (k,) = self.shapes[x]
        b = (self.constant(outputs, spread=0.1),) if bias else ()
        return self.add("Gemm", (x, self.constant(outputs, k, spread=k**-0.5), *b), (outputs,))

    def same(self, op: str, x: str, **attributes: Attribute) -> str:
        return self.add(op, (x,), self.shapes[x], **attributes)

    def pool(self, op: str, x: str, *, k: int = 2, stride: int = 2, pad: int = 0, **attributes: Attribute) -> str:
        c, *spatial = self.shapes[x]
        win = window(len(spatial), k, stride, pad, 1)
        return self.add(op, (x,), (c, *positions(spatial, win)), **win, **attributes)

    def mean(self, x: str) -> str:
        c, *spatial = self.shapes[x]
        return self.add("GlobalAveragePool", (x,), (c, *[1] * len(spatial)))

    def sum(self, a: str, b: str) -> str:
        return self.add("Add", (a, b), self.shapes[a])

    def concat(self, *xs: str) -> str:
        c, *spatial = zip(*(self.shapes[x] for x in xs), strict=True)
        return self.add("Concat", xs, (sum(c), *(s[0] for s in spatial)), axis=1)

    def flatten(self, x: str) -> str:
        return self.add("Flatten", (x,), (int(np.prod(self.shapes[x])),), axis=1)

    def reshape(self, x: str, *shape: int) -> str:
        return self.add("Reshape", (x,), shape, shape=shape)

    def pad(self, x: str, before: Shape, after: Shape, value: float = 0.0) -> str:
        shape = tuple(s + b + a for s, b, a in zip(self.shapes[x], before, after, strict=True))
        return self.add("Pad", (x,), shape, pads=(*before, *after), value=value)

    def graph(self, *outputs: str) -> Graph:
        return Graph(
            name="tiny",
            inputs=self.inputs,
            outputs=outputs,
            nodes=tuple(self.nodes),
            constants=self.constants,
            shapes=self.shapes,
        )


def window(rank: int, k: int, stride: int, pad: int, dilation: int) -> dict[str, Shape]:
    return {
        "kernel_shape": (k,) * rank,
        "strides": (stride,) * rank,
        "pads": (pad,) * 2 * rank,
        "dilations": (dilation,) * rank,
    }


def positions(spatial: list[int], win: dict[str, Shape]) -> Shape:
    return tuple(
        (s + 2 * p - d * (k - 1) - 1) // t + 1
        for s, k, t, p, d in zip(
            spatial, win["kernel_shape"], win["strides"], win["pads"], win["dilations"], strict=False
        )
    )


def plain(seed: int = 0) -> Graph:
    """Convolution, relu, max pool, linear."""
    d = Draft(seed, image=(1, 6, 6))
    x = d.pool("MaxPool", d.same("Relu", d.conv("image", 4, pad=1)))
    return d.graph(d.gemm(d.flatten(x), 3))


def separable(seed: int = 0) -> Graph:
    """Depthwise and pointwise convolutions, relu6, a pool before a relu, a global average."""
    d = Draft(seed, image=(2, 6, 6))
    x = d.same("Clip", d.conv("image", 2, pad=1, group=2), min=0.0, max=6.0)
    x = d.same("Relu", d.pool("MaxPool", d.conv(x, 4, k=1, bias=False)))
    return d.graph(d.gemm(d.flatten(d.mean(x)), 3))


def residual(seed: int = 0) -> Graph:
    """A sum of two branches, one of them strided, and a relu after it."""
    d = Draft(seed, image=(2, 5, 5))
    x = d.same("Relu", d.conv("image", 3, pad=1))
    body = d.conv(d.same("Relu", d.conv(x, 3, pad=1, stride=2)), 3, pad=1)
    x = d.same("Relu", d.sum(body, d.conv(x, 3, k=1, stride=2)))
    return d.graph(d.gemm(d.flatten(d.mean(x)), 3, bias=False))


def branching(seed: int = 0) -> Graph:
    """Two branches of very different size joined, padding, averages with a sliding window, a reshape."""
    d = Draft(seed, image=(1, 6, 6))
    a = d.same("Relu", d.conv("image", 2, pad=1))
    b = d.conv(d.pad("image", (0, 1, 0), (0, 0, 2)), 2)
    b = d.pad(d.pool("AveragePool", b, k=1, stride=1, count_include_pad=1), (0, 0, 0), (0, 0, 1), 0.5)
    b = d.reshape(d.pad(b, (0, 0, 0), (0, 1, 0)), 2, 6, 7)
    x = d.concat(d.pad(a, (0, 0, 0), (0, 0, 1)), b)
    x = d.pool("AveragePool", x, k=3, stride=2, pad=1, count_include_pad=1)
    return d.graph(d.gemm(d.flatten(x), 3))


GRAPHS = {"plain": plain, "separable": separable, "residual": residual, "branching": branching}
