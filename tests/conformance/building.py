"""One-operator networks from a seed: types, scales that make ties, accumulators a hair from a tie."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from intsim.graph import Graph, Node
from intsim.integers import Affine, IntType, affine, int_type
from intsim.quantized import QuantizedGraph


class Kind(Struct, frozen=True, kw_only=True):
    """The types of a network. `asymmetric`: weights have a zero point; `per_channel`: weights may have many scales.

    `symmetric`: activations have no zero point. `asked`: every operator; only those whose rules ask for the weights'
    type, where the others are as in another kind; those of fixed-point layers, whose scales are the type's own; or
    those for TOSA's RESCALE alone.
    """

    name: str
    activation: str
    weight: str
    bias: str = "s32"
    asymmetric: bool = False
    symmetric: bool = False
    per_channel: bool = True
    asked: Literal["every", "sums", "fixed", "rescale"] = "every"

    @property
    def type(self) -> IntType:
        """The activations' type."""
        return int_type(self.activation)

    def affine(self, scale: float, zero: int) -> Affine:
        """An activation's affine; `zero` counts from the middle of the range, and 16-bit tensors have none."""
        if self.type.bits > 8 or self.symmetric:
            return affine(scale, 0, self.activation)
        return affine(scale, zero + (0 if self.type.signed else 128), self.activation)


KINDS = {
    kind.name: kind
    for kind in (
        Kind(name="s8", activation="s8", weight="s8n"),
        Kind(name="s16", activation="s16", weight="s8n", bias="s64"),
        Kind(name="u8", activation="u8", weight="u8", asymmetric=True, per_channel=False, asked="sums"),
        Kind(name="u8s8", activation="u8", weight="s8"),
        Kind(name="u8u8", activation="u8", weight="u8", asymmetric=True),
        Kind(name="s8s8", activation="s8", weight="s8"),
        Kind(name="s8sym", activation="s8", weight="s8", symmetric=True),
        Kind(name="u8sym", activation="u8", weight="s8", symmetric=True, asked="sums"),
        Kind(name="fixed", activation="s16", weight="s16", asked="fixed"),
        Kind(name="s8rescale", activation="s8", weight="s8", asked="rescale"),
        Kind(name="s16rescale", activation="s16", weight="s8", bias="s48", asked="rescale"),
    )
}
"""What the runtimes take: TFLite's int8, 16x8 and old uint8; onnxruntime's three pairs; FINN's, without zero points;
ap_fixed<16,6>; TOSA's alone."""


class Case(Struct, frozen=True, kw_only=True, eq=False):
    """A network of one node, and integers `x[name][n, c, ...]` of its own types."""

    name: str
    op: str
    kind: str
    source: QuantizedGraph
    x: dict[str, np.ndarray]


def case(
    kind: Kind,
    op: str,
    name: str,
    node: str,
    x: Sequence[np.ndarray],
    inputs: Sequence[Affine],
    output: Affine,
    shape: tuple[int, ...],
    attributes: dict[str, Any] | None = None,
    constants: dict[str, tuple[np.ndarray, Affine]] | None = None,
) -> Case:
    """The case of one node: activations x0, x1 ... first, then the constants, in their order; its output is y."""
    names, constants = [f"x{i}" for i in range(len(x))], constants or {}
    affines = dict(zip(names, inputs, strict=True)) | {"y": output} | {k: a for k, (_, a) in constants.items()}
    graph = Graph(
        name=name,
        inputs=tuple(names),
        outputs=("y",),
        nodes=(Node(name=node, op=node, inputs=(*names, *constants), outputs=("y",), attributes=attributes or {}),),
        constants={k: v for k, (v, _) in constants.items()},
        shapes={n: v.shape[1:] for n, v in zip(names, x, strict=True)} | {"y": shape},
    )
    source = QuantizedGraph(graph=graph, affines=affines)
    return Case(name=name, op=op, kind=kind.name, source=source, x=dict(zip(names, x, strict=True)))


# ---- integers --------------------------------------------------------------------------------------------------


def integers(rng: np.random.RandomState, type_: IntType, shape: Sequence[int]) -> np.ndarray:
    """Over the whole range of the type, every sixteenth at one of its ends."""
    x = rng.randint(type_.low, type_.high + 1, shape)
    ends = rng.random_sample(shape) < 1 / 16
    return np.where(ends, rng.choice([type_.low, type_.high], shape), x).astype(type_.dtype)


def ends(rng: np.random.RandomState, type_: IntType, shape: Sequence[int]) -> np.ndarray:
    """Only the ends of the type's range."""
    return rng.choice([type_.low, type_.high], shape).astype(type_.dtype)


def around(rng: np.random.RandomState, type_: IntType, middle: int, reach: int, shape: Sequence[int]) -> np.ndarray:
    """At most `reach` from the middle."""
    x = middle + rng.randint(-reach, reach + 1, shape)
    return np.clip(x, type_.low, type_.high).astype(type_.dtype)


def everything(type_: IntType) -> np.ndarray:
    """Every integer of an 8-bit type; of a wider one, those near its ends, zero and the powers of two, and steps."""
    if type_.bits <= 8:
        return np.arange(type_.low, type_.high + 1).astype(type_.dtype)
    corners = [sign * (1 << k) + d for k in range(type_.bits) for d in range(-2, 3) for sign in (-1, 1)]
    found = np.unique(np.clip([*corners, *range(type_.low, type_.high, 211)], type_.low, type_.high))
    return found.astype(type_.dtype)


def pairs(rng: np.random.RandomState, type_: IntType) -> tuple[np.ndarray, np.ndarray]:
    """Two arrays `[1, c, 32, 32]`: pairs of the integers that `everything` has, each as often, and any with any."""
    values = np.resize(everything(type_), (4 if type_.bits <= 8 else 2, 32, 32))
    flat = rng.permutation(values.reshape(-1)).reshape(1, *values.shape)
    return values[None], np.where(rng.random_sample(flat.shape) < 0.5, flat, integers(rng, type_, flat.shape))


# ---- a hair from a tie -----------------------------------------------------------------------------------------


def first_between(a: int, m: int, low: int, high: int) -> int | None:
    """The smallest x >= 0 with low <= a * x mod m <= high, 0 <= low <= high < m; None where there is none."""
    if low == 0:
        return 0
    a %= m
    if a == 0:
        return None
    if 2 * a > m:
        a, low, high = m - a, m - high, m - low
    x = -(-low // a)
    if x * a <= high:
        return x
    y = first_between(a - m % a if m % a else 0, a, low % a, high % a)
    return None if y is None else -(-(low + m * y) // a)


def near_ties(scale: float, bits: int, reach: int, count: int) -> list[int]:
    """Accumulators of fewer than `bits` bits whose product with `scale` lies next to a tie, nearest ones first.

    The product is that of a 31-bit multiplier; `reach`: how large the result may be. Where a product is rounded twice,
    the last rounding's ties begin half a unit of the first one before or behind it: these are looked for too.
    """
    mantissa, exponent = math.frexp(scale)
    multiplier, shift = round(mantissa * (1 << 31)), 31 - exponent
    modulus, half = 1 << shift, 1 << shift - 1
    middles = (half - (1 << 30), half, half + (1 << 30)) if shift > 32 else (half,)
    found: dict[int, None] = {}
    most = min((1 << bits - 1) - 1, int(reach / scale))
    window = 1
    while len(found) < count and window < half // 2:
        for low, high in ((m - window, m) for m in middles):
            for side in (0, window + 1):
                x = first_between(multiplier, modulus, low + side, min(high + side, modulus - 1))
                if x is not None and x <= most:
                    found.setdefault(x)
        window *= 2
    return list(found)[:count]
