"""One-layer quantized networks whose integers tell the TFLite family's rounding rules apart, as arrays and JSON."""

import json
from dataclasses import dataclass

import numpy as np

from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.quantized import QuantizedGraph

ACTIVATION, WEIGHT = "s8", "s8n"


@dataclass(frozen=True)
class Layer:
    """A network of one node, and the integers `x[i][n, *spatial, c]` of its inputs."""

    name: str
    source: QuantizedGraph
    x: tuple[np.ndarray, ...]

    @property
    def node(self) -> Node:
        return self.source.graph.nodes[0]


def layer(name: str, op: str, x: list[np.ndarray], affines: list[Affine], y: Affine, **parts: object) -> Layer:
    """A one-node network; `parts`: weight (channels first), its affine, bias, attributes, shape (of y, c first)."""
    names = [f"x{i}" for i in range(len(x))]
    constants: dict[str, np.ndarray] = {}
    table = dict(zip(names, affines, strict=True)) | {"y": y}
    if "weight" in parts:
        constants = {"w": parts["weight"], "b": parts["bias"]}
        table |= {"w": parts["weight_affine"], "b": affine(1.0, 0, "s32")}
    shapes = {n: (v.shape[-1], *v.shape[1:-1]) for n, v in zip(names, x, strict=True)} | {"y": parts["shape"]}
    node = Node(
        name=name, op=op, inputs=(*names, *constants), outputs=("y",), attributes=dict(parts.get("attributes", {}))
    )
    graph = Graph(name=name, inputs=tuple(names), outputs=("y",), nodes=(node,), constants=constants, shapes=shapes)
    return Layer(name, QuantizedGraph(graph=graph, affines=table), tuple(x))


# ---- the layers ------------------------------------------------------------------------------------------------

GENERAL, TIES, HUGE = "general scales", "powers of two", "sums beyond 2^24 at ties"


def layers(seed: int = 7) -> list[Layer]:
    """Every kind of layer, with general scales, with scales that tie often, and with huge sums placed at ties."""
    rng = np.random.default_rng(seed)
    found = []
    for family in (GENERAL, TIES, HUGE):
        for kind in ("dense", "grouped", "depthwise"):
            found.append(_conv(rng, family, kind))
        found.append(_fully_connected(rng, family, per_channel=True))
        found.append(_fully_connected(rng, family, per_channel=False))
    for scales in ((0.5, 0.25, 1.0), (0.0213, 0.0377, 0.0551), (0.031, 0.0009, 0.033)):
        found.append(_add(rng, scales))
    found += [_average(rng, 2, 5), _average(rng, 3, -11), _mean(rng, 7, 0.05, 0.031), _mean(rng, 4, 0.25, 0.125)]
    return found


def _integers(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.integers(-128, 128, shape).astype(np.int8)
    x.flat[: x.size // 16] = rng.choice([-128, 127], x.size // 16)
    return x


def _scales(rng: np.random.Generator, family: str, outputs: int, depth: int) -> tuple[float, np.ndarray, float]:
    """(sx, sw[o], sy): the output's range is about that of the sums."""
    if family == GENERAL:
        return 0.0213, rng.uniform(0.004, 0.08, outputs), 0.0213 * 0.03 * 60 * np.sqrt(depth)
    if family == TIES:
        return 2.0**-5, 2.0 ** rng.integers(-7, -4, outputs), 2.0**-3
    return 2.0**-10, np.full(outputs, 2.0**-9), 1.0


def _bias(rng: np.random.Generator, family: str, outputs: int) -> np.ndarray:
    if family == HUGE:  # odd multiples of half an output step (2^19), beyond what float32 holds exactly
        steps = rng.integers(33, 120, outputs) * rng.choice([-1, 1], outputs)
        return ((2 * steps + 1) << 18).astype(np.int32)
    return rng.integers(-4000, 4000, outputs).astype(np.int32)


def _operands(
    rng: np.random.Generator, family: str, x: tuple[int, ...], w: tuple[int, ...], zero: int
) -> list[np.ndarray]:
    """Inputs and weights; around huge biases the sums of products are a few steps of one, so that ties are met."""
    if family == HUGE:
        near = np.clip(zero + rng.integers(-1, 2, x), -128, 127)
        return [near.astype(np.int8), (rng.integers(-1, 2, w) * (rng.random(w) < 0.2)).astype(np.int8)]
    return [_integers(rng, x), rng.integers(-127, 128, w).astype(np.int8)]


def _conv(rng: np.random.Generator, family: str, kind: str) -> Layer:
    c, group, o = {"dense": (5, 1, 8), "grouped": (8, 2, 8), "depthwise": (8, 8, 8)}[kind]
    x, weight = _operands(rng, family, (1, 12, 12, c), (o, c // group, 3, 3), -7)
    sx, sw, sy = _scales(rng, family, o, 9 * c // group)
    return layer(
        f"conv {kind}, {family}", "Conv", [x], [affine(sx, -7, ACTIVATION)], affine(sy, 3, ACTIVATION),
        weight=weight, weight_affine=affine(sw, 0, WEIGHT, 0), bias=_bias(rng, family, o), shape=(o, 12, 12),
        attributes={"kernel_shape": (3, 3), "strides": (1, 1), "dilations": (1, 1), "pads": (1,) * 4, "group": group},
    )  # fmt: skip


def _fully_connected(rng: np.random.Generator, family: str, *, per_channel: bool) -> Layer:
    o = 16
    x, weight = _operands(rng, family, (64, 40), (o, 40), 9)
    sx, sw, sy = _scales(rng, family, o if per_channel else 1, 40)
    kind = "per channel" if per_channel else "per tensor"
    return layer(
        f"fully connected {kind}, {family}", "Gemm", [x], [affine(sx, 9, ACTIVATION)], affine(sy, 3, ACTIVATION),
        weight=weight, weight_affine=affine(sw, 0, WEIGHT, 0 if per_channel else None), bias=_bias(rng, family, o),
        shape=(o,),
    )  # fmt: skip


def _add(rng: np.random.Generator, scales: tuple[float, float, float]) -> Layer:
    a, b = _integers(rng, (1, 16, 16, 16)), _integers(rng, (1, 16, 16, 16))
    sa, sb, sy = scales
    return layer(
        f"add {scales}", "Add", [a, b], [affine(sa, 3, ACTIVATION), affine(sb, -7, ACTIVATION)],
        affine(sy, 11, ACTIVATION), shape=(16, 16, 16),
    )  # fmt: skip


def _average(rng: np.random.Generator, k: int, zero: int) -> Layer:
    x, a = _integers(rng, (1, 12, 12, 16)), affine(0.05, zero, ACTIVATION)
    attributes = {"kernel_shape": (k, k), "strides": (k, k), "dilations": (1, 1), "pads": (0,) * 4}
    return layer(
        f"average pool {k}x{k}", "AveragePool", [x], [a], a, shape=(16, 12 // k, 12 // k),
        attributes=attributes | {"count_include_pad": 0},
    )  # fmt: skip


def _mean(rng: np.random.Generator, k: int, sx: float, sy: float) -> Layer:
    x = _integers(rng, (4, k, k, 64))
    return layer(
        f"mean {k}x{k} {sx} {sy}", "GlobalAveragePool", [x], [affine(sx, 5, ACTIVATION)], affine(sy, -9, ACTIVATION),
        shape=(64, 1, 1),
    )  # fmt: skip


# ---- kept as arrays and JSON -----------------------------------------------------------------------------------


def packed(one: Layer) -> dict[str, np.ndarray]:
    """The layer's arrays, and its description as a JSON string."""
    graph, affines = one.source.graph, one.source.affines
    about = {
        "op": one.node.op,
        "attributes": one.node.attributes,
        "shape": graph.shapes["y"],
        "affines": {k: [list(a.scale), list(a.zero_point), str(a.type), a.axis] for k, a in affines.items()},
    }
    arrays = {f"x{i}": x for i, x in enumerate(one.x)} | graph.constants
    return {"about": np.array(json.dumps(about)), **arrays}


def unpacked(name: str, arrays: dict[str, np.ndarray]) -> Layer:
    """The layer of `packed`."""
    about = json.loads(str(arrays["about"]))
    affines = {k: affine(*values) for k, values in about["affines"].items()}
    x = [arrays[f"x{i}"] for i in range(sum(k.startswith("x") for k in arrays))]
    parts = {} if "w" not in arrays else {"weight": arrays["w"], "bias": arrays["b"], "weight_affine": affines["w"]}
    attributes = {k: tuple(v) if isinstance(v, list) else v for k, v in about["attributes"].items()}
    return layer(
        name, about["op"], x, [affines[f"x{i}"] for i in range(len(x))], affines["y"],
        shape=tuple(about["shape"]), attributes=attributes, **parts,
    )  # fmt: skip
