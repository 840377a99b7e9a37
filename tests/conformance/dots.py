"""Cases of sums of products: convolutions of every kind, fully connected, transposed; each under every family."""

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from conformance.building import Case, Kind, around, case, ends, everything, integers, near_ties
from conformance.truths import ORT, TFLITE
from intsim.integers import Affine, affine, int_type


class Shape(Struct, frozen=True, kw_only=True):
    """A sum's geometry: `kernel` () is fully connected."""

    channels: int
    outputs: int
    size: tuple[int, ...] = ()
    kernel: tuple[int, ...] = ()
    strides: tuple[int, ...] = (1, 1)
    pads: tuple[int, ...] = (0, 0, 0, 0)
    dilations: tuple[int, ...] = (1, 1)
    group: int = 1
    per_channel: bool = True
    samples: int = 2

    @property
    def depth(self) -> int:
        """Products in one output."""
        return self.channels // self.group * math.prod(self.kernel)


SAME = (1, 1, 1, 1)
CONVS = {
    "conv 1x1": Shape(channels=16, outputs=8, size=(4, 4), kernel=(1, 1)),
    "conv 3x3": Shape(channels=5, outputs=8, size=(7, 7), kernel=(3, 3), pads=SAME),
    "conv per tensor": Shape(channels=8, outputs=6, size=(5, 5), kernel=(3, 3), per_channel=False),
    "conv grouped": Shape(channels=8, outputs=6, size=(6, 6), kernel=(3, 3), pads=SAME, group=2),
    "conv of one channel to one": Shape(channels=1, outputs=1, size=(12, 12), kernel=(3, 3), pads=SAME),
    "conv in groups of one, two for one": Shape(channels=6, outputs=12, size=(4, 4), kernel=(3, 3), group=6),
    "depthwise": Shape(channels=12, outputs=12, size=(6, 6), kernel=(3, 3), pads=SAME, group=12),
}
MORE_CONVS = {
    "conv 1x1 of odd depth": Shape(channels=13, outputs=8, size=(4, 4), kernel=(1, 1)),
    "conv 3x3 of odd depth": Shape(channels=3, outputs=5, size=(6, 6), kernel=(3, 3)),
    "conv of one channel": Shape(channels=1, outputs=8, size=(7, 7), kernel=(3, 3)),
    "conv strided": Shape(channels=4, outputs=6, size=(9, 8), kernel=(3, 3), strides=(2, 2), pads=(1, 0, 1, 1)),
    "conv asymmetric": Shape(channels=6, outputs=4, size=(7, 6), kernel=(2, 3), strides=(2, 1), pads=(1, 0, 0, 2)),
    "conv dilated": Shape(channels=5, outputs=4, size=(9, 8), kernel=(3, 2), dilations=(2, 3), pads=(2, 1, 2, 2)),
    "conv of a line": Shape(channels=6, outputs=5, size=(20,), kernel=(4,), strides=(1,), pads=(2, 1), dilations=(1,)),
    "depthwise 5x5": Shape(
        channels=8, outputs=8, size=(7, 7), kernel=(5, 5), strides=(2, 2), pads=(2, 2, 2, 2), group=8
    ),
}
PER_TENSOR = {
    "conv grouped per tensor": Shape(
        channels=8, outputs=16, size=(5, 5), kernel=(3, 3), group=2, per_channel=False, samples=1
    ),
    "depthwise per tensor": Shape(
        channels=16, outputs=16, size=(5, 5), kernel=(3, 3), group=16, per_channel=False, samples=1
    ),
}
FULL = {
    "fully connected": Shape(channels=40, outputs=12, samples=24),
    "fully connected per tensor": Shape(channels=40, outputs=12, samples=24, per_channel=False),
}
FEW = Shape(channels=7, outputs=12, samples=16)
"""Fewer products than any matrix-vector kernel takes."""
FEW_OUTPUTS = {f"fully connected of {n} outputs": Shape(channels=40, outputs=n, samples=16) for n in (3, 4)}
ONE_PLACE = {
    f"conv of one place and {n} outputs": Shape(channels=5, outputs=n, size=(3, 3), kernel=(3, 3), samples=16)
    for n in (3, 6)
} | {
    f"conv of one place, {k} products and 4 outputs": Shape(
        channels=k, outputs=4, size=(1, 1), kernel=(1, 1), samples=16
    )
    for k in (7, 8)
}
"""Where a kernel of LiteRT's begins: 4 outputs."""
MORE_FULL = {
    "fully connected of odd depth": Shape(channels=63, outputs=33, samples=4),
    "fully connected of one product": Shape(channels=1, outputs=9, samples=32),
    "fully connected, deep": Shape(channels=700, outputs=4, samples=6),
}


def convolutions(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Conv, dense and grouped."""
    yield from _all(kind, rng, "Conv", lambda name: "depthwise" not in name, CONVS, MORE_CONVS, PER_TENSOR)
    single = Shape(channels=1, outputs=1, size=(4, 4), kernel=(4, 4), samples=1)
    yield _of(kind, "Conv", "conv of one channel to one 4x4, all at one end", single, top(kind, single))
    single = Shape(channels=1, outputs=1, size=(16, 16), kernel=(1, 1), samples=1)
    yield _of(kind, "Conv", "conv of one channel to one 1x1, 3/38", single, ratio(kind, single, 3, 38))
    yield from _of_tflite(kind, "conv 1x1", "conv grouped", "conv in groups of one, two for one")
    if kind.name == "s8":
        shape = CONVS["conv of one channel to one"]
        yield _of(kind, "Conv", "conv of one channel to one, at the end of 32 bits", shape, at_the_end(kind, shape))
    if kind.name in TFLITE:
        yield _of(kind, "Conv", "conv of one channel to one 1x1, 1/4", single, ratio(kind, single, 1, 4))
        yield _of(kind, "Conv", "conv of one channel to one 1x1, a tie in float32", single, tied_float32(kind, single))
        shape = Shape(channels=6, outputs=12, size=(6, 6), kernel=(3, 3), group=6, per_channel=False)
        for name, make in {
            "a tie in float32": tied_float32(kind, shape),
            "powers of two": ties(kind, rng, shape),
        }.items():
            yield _of(kind, "Conv", f"conv in groups of one, two for one, per tensor, {name}", shape, make)

    if kind.name == "s16":
        small = Shape(channels=2, outputs=8, size=(2, 2), kernel=(1, 1), samples=1)
        one = replace(small, per_channel=False)
        yield _of(kind, "Conv", "conv 1x1, results beyond 2^31", small, beyond_31_bits(kind, small))
        yield _of(kind, "Conv", "conv 1x1, sums beyond 2^40", small, far_below(kind, small, 46))
        yield _of(kind, "Conv", "conv 1x1, next to ties of 15 bits", small, next_to_15_bits(kind, small))
        yield _of(kind, "Conv", "conv 1x1, next to ties of 15 bits, per tensor", one, next_to_15_bits(kind, one))
    if kind.name == "u8":
        shape, family = replace(CONVS["conv in groups of one, two for one"], samples=16), "shifted out of 32 bits"
        yield _one(kind, rng, "Conv", "conv in groups of one, two for one, of 16 samples", shape, family)
    if kind.name in TFLITE:
        for name, shape in ONE_PLACE.items():
            for family in FAMILIES:
                yield _one(kind, rng, "Conv", name, shape, family)
            for family, make in (_tflite_families(kind) | {"powers of two beyond 32 bits": far_powers}).items():
                yield _of(kind, "Conv", f"{name}, {family}", shape, make(kind, shape))
            one = replace(shape, per_channel=False)
            yield _of(kind, "Conv", f"{name}, per tensor, a tie in float32", one, tied_float32(kind, one))
        shape = CONVS["conv 1x1"]
        yield _of(kind, "Conv", "conv 1x1, powers of two beyond 32 bits", shape, far_powers(kind, shape))


def depthwise(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Conv of one channel a group."""
    yield from _all(kind, rng, "Conv", lambda name: "depthwise" in name, CONVS, MORE_CONVS, PER_TENSOR)
    yield from _of_tflite(kind, "depthwise")


def fully_connected(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Gemm, per channel and per tensor."""
    yield from _all(kind, rng, "Gemm", lambda name: True, FULL, MORE_FULL)
    for depth in (100, 300, 34000):  # a sum beyond 2^21, 2^23, 2^30
        shape = Shape(channels=depth, outputs=1, samples=1)
        yield _of(kind, "Gemm", f"fully connected of {depth}, all at one end", shape, top(kind, shape))
    if kind.name == "s8":  # TFLite has no such weights, TOSA has
        shape = Shape(channels=16, outputs=1, samples=1)
        name = "fully connected, weights with a zero point, all at one end"
        yield _of(kind, "Gemm", name, shape, top(kind, shape, asymmetric=True))
    shape = Shape(channels=1, outputs=4)
    for name, biases, scale in (
        ("beyond 2^29", (99, 119, -101, -121), 0.0154 * 2.0**29),
        ("next to 2^30", ((1 << 26) - 2, (1 << 26) - 3, 2 - (1 << 26), 3 - (1 << 26)), 16 - 2.0**-20),
        ("beyond 2^46, 2^49, 2^63", (100, 1 << 10, 1 << 24, 0), 0.7 * 2.0**40),
    ):
        if "2^63" not in name or kind.name in ORT:  # TFLite's shifts are no longer defined there
            yield _of(kind, "Gemm", f"fully connected, results {name}", shape, far_above(kind, biases, scale))
    yield _of(kind, "Gemm", "fully connected, one to one without zero points", shape, plain(kind))
    if kind.per_channel:
        shape = Shape(channels=8, outputs=24, samples=1)
        name = "fully connected, a hair from a tie, scales far apart"
        yield _of(kind, "Gemm", name, shape, hair(kind, rng, shape, apart=12))
    if kind.name in TFLITE:
        shape = FULL["fully connected"]
        yield _of(kind, "Gemm", "fully connected, multipliers rounded down", shape, rounded_down(kind, shape))
        if kind.per_channel:
            yield _of(kind, "Gemm", "fully connected, at the end of 32 bits", shape, at_the_end(kind, shape))
    if kind.name == "s16":
        shape = Shape(channels=1, outputs=8, samples=2)
        yield _of(kind, "Gemm", "fully connected, sums beyond 2^40", shape, far_below(kind, shape, 46))
        yield _of(kind, "Gemm", "fully connected, sums beyond 2^63", shape, far_below(kind, shape, 63))
        yield _of(kind, "Gemm", "fully connected, at the end of 32 bits", shape, at_the_end(kind, shape))
    if kind.name in (*TFLITE, "s16"):
        shape = Shape(channels=1, outputs=1, samples=256)
        yield _of(kind, "Gemm", "fully connected of one to one, 3/38", shape, ratio(kind, shape, 3, 38))
        yield _of(kind, "Gemm", "fully connected of one to one, a tie in float32", shape, tied_float32(kind, shape))
    if kind.name in TFLITE:
        for family in FAMILIES:
            yield _one(kind, rng, "Gemm", "fully connected of few products", FEW, family)
        for family, make in (_tflite_families(kind) | {"powers of two beyond 32 bits": far_powers}).items():
            yield _of(kind, "Gemm", f"fully connected of few products, {family}", FEW, make(kind, FEW))
        one = replace(FEW, per_channel=False)
        name = "fully connected of few products, per tensor, a tie in float32"
        yield _of(kind, "Gemm", name, one, tied_float32(kind, one))
        for name, shape in FEW_OUTPUTS.items():
            yield _one(kind, rng, "Gemm", name, shape, "a hair from a tie")


def transposed(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """ConvTranspose: weights [c, o, *kernel]."""
    for name, outputs, strides, pads, size, families in (
        ("transposed conv", 13, (2, 2), (0, 0, 1, 1), (4, 2), [f for f in FAMILIES if f != "extremes that cancel"]),
        ("transposed conv, strides 1", 5, (1, 1), (1, 1, 1, 1), (4, 4), ["general scales", "powers of two"]),
        ("transposed conv per tensor", 13, (2, 2), (0, 0, 1, 1), (4, 2), ["a hair from a tie"]),
    ):
        for family in families:
            if family in _NARROW_ONLY and kind.bias != "s32":
                continue
            shape = Shape(channels=4, outputs=outputs, size=size, kernel=(3, 3), strides=strides, pads=pads,
                          per_channel="per tensor" not in name)  # fmt: skip
            yield _transposed(kind, f"{name}, {family}", shape, FAMILIES[family](kind, rng, shape))
    if kind.name in TFLITE:
        shape = Shape(channels=4, outputs=13, size=(4, 2), kernel=(3, 3), strides=(2, 2), pads=(0, 0, 1, 1))
        for family, make in _tflite_families(kind).items():
            yield _transposed(kind, f"transposed conv, {family}", shape, make(kind, shape))
        single = Shape(channels=1, outputs=1, size=(16, 17), kernel=(1, 1), samples=1)
        for p, q in ((3, 38), (1, 4)):
            name = f"transposed conv of one channel to one, {p}/{q}"
            yield _transposed(kind, name, single, ratio(kind, single, p, q))
        name = "transposed conv of one channel to one, a tie in float32"
        yield _transposed(kind, name, single, tied_float32(kind, single))
    if kind.name == "u8":  # 49 places of 13 channels: the last 13 integers fill no vector of 16
        shape = Shape(channels=4, outputs=13, size=(3, 3), kernel=(3, 3), strides=(2, 2))
        for family in ("powers of two", "a hair from a tie", "shifted out of 32 bits"):
            name = f"transposed conv of 49 places, {family}"
            yield _transposed(kind, name, shape, FAMILIES[family](kind, rng, shape))
        shape = replace(shape, outputs=5, kernel=(2, 2))  # 36 places of 5: the last 4 integers are in one place
        name = "transposed conv of 36 places, powers of two"
        yield _transposed(kind, name, shape, ties(kind, rng, shape))


def _transposed(kind: Kind, name: str, shape: Shape, numbers: "Numbers") -> Case:
    weight = numbers.weight.reshape(shape.outputs, shape.channels, *shape.kernel).swapaxes(0, 1)
    out = tuple(
        (n - 1) * s - shape.pads[i] - shape.pads[i + 2] + k
        for i, (n, s, k) in enumerate(zip(shape.size, shape.strides, shape.kernel, strict=True))
    )
    attributes = _window(shape) | {"group": 1, "output_padding": (0, 0)}
    return _case(kind, "transposed conv", name, "ConvTranspose", numbers, weight, out, attributes, axis=1)


def _of_tflite(kind: Kind, *names: str) -> Iterator[Case]:
    """What only TFLite's machines are asked."""
    for name in names if kind.name in TFLITE else ():
        for family, make in _tflite_families(kind).items():
            yield _of(kind, "Conv", f"{name}, {family}", CONVS[name], make(kind, CONVS[name]))


def _tflite_families(kind: Kind) -> dict[str, Callable[[Kind, Shape], "Numbers"]]:
    """The multiplier of an uint8 network comes from a float32 product: it leaves room at the end of 32 bits."""
    return {"multipliers rounded down": rounded_down} | (
        {"at the end of 32 bits": at_the_end} if kind.per_channel else {}
    )


def _all(
    kind: Kind, rng: np.random.RandomState, node: str, chosen: Callable[[str], bool], *tables: dict[str, Shape]
) -> Iterator[Case]:
    for number, table in enumerate(tables):
        for name, shape in table.items():
            if not chosen(name) or (shape.per_channel and not kind.per_channel and f"{name} per tensor" in table):
                continue
            for family in (FAMILIES, ("general scales",), ("a hair from a tie",))[number]:
                if family in _NARROW_ONLY and kind.bias != "s32":
                    continue
                yield _one(kind, rng, node, name, shape, family)


def _one(kind: Kind, rng: np.random.RandomState, node: str, name: str, shape: Shape, family: str) -> Case:
    return _of(kind, node, f"{name}, {family}", shape, FAMILIES[family](kind, rng, shape))


def _of(kind: Kind, node: str, name: str, shape: Shape, numbers: "Numbers") -> Case:
    op = "depthwise" if "depthwise" in name else "conv" if node == "Conv" else "fully connected"
    weight = numbers.weight.reshape(shape.outputs, -1, *shape.kernel)
    if node == "Gemm":
        return _case(kind, op, name, node, numbers, weight.reshape(shape.outputs, -1), (), {})
    positions = _positions(shape)
    return _case(kind, op, name, node, numbers, weight, positions, _window(shape) | {"group": shape.group})


def _window(shape: Shape) -> dict[str, Any]:
    return {
        "kernel_shape": shape.kernel, "strides": shape.strides, "dilations": shape.dilations, "pads": shape.pads
    }  # fmt: skip


def _positions(shape: Shape) -> tuple[int, ...]:
    rank = len(shape.kernel)
    return tuple(
        (n + shape.pads[i] + shape.pads[i + rank] - d * (k - 1) - 1) // s + 1
        for i, (n, k, s, d) in enumerate(zip(shape.size, shape.kernel, shape.strides, shape.dilations, strict=True))
    )


def _case(
    kind: Kind,
    op: str,
    name: str,
    node: str,
    numbers: "Numbers",
    weight: np.ndarray,
    positions: tuple[int, ...],
    attributes: dict[str, Any],
    axis: int = 0,
) -> Case:
    x, y = numbers.input, numbers.output
    per_channel = len(numbers.scales) > 1
    products = np.float32(x.scale[0]) * np.array(numbers.scales, np.float32)
    return case(
        kind, op, name, node, [numbers.x], [x], y, (len(numbers.bias), *positions), attributes,
        {
            "w": (weight, affine(numbers.scales, numbers.weight_zero, kind.weight, axis if per_channel else None)),
            "b": (numbers.bias, affine(products, 0, kind.bias, 0 if per_channel else None)),
        },
    )  # fmt: skip


# ---- families --------------------------------------------------------------------------------------------------


class Numbers(Struct, frozen=True, kw_only=True, eq=False):
    """Operands and scales; `weight[o, depth]`."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray
    input: Affine
    output: Affine
    scales: Sequence[float]
    weight_zero: int = 0


def _weight_zero(kind: Kind, rng: np.random.RandomState) -> int:
    return int(rng.randint(100, 150)) | 1 if kind.asymmetric else 0


def _channels(kind: Kind, shape: Shape) -> int:
    return shape.outputs if shape.per_channel and kind.per_channel else 1


def _shape(shape: Shape) -> tuple[int, ...]:
    return (shape.samples, shape.channels, *shape.size)


def _biases(kind: Kind, values: Any) -> np.ndarray:
    return np.asarray(values, int_type(kind.bias).dtype)


def _odd(rng: np.random.RandomState) -> int:
    return int(rng.randint(-30, 30)) * 2 + 1


def general(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Any scales, odd zero points, operands over the whole range."""
    n, wide = _channels(kind, shape), 1 << kind.type.bits - 8
    sx = float(rng.uniform(0.01, 0.05)) / wide
    scales = rng.uniform(0.004, 0.08, n)
    sy = sx * 0.03 * 60 * math.sqrt(shape.depth)
    x = kind.affine(sx, _odd(rng))
    return Numbers(
        x=integers(rng, kind.type, _shape(shape)),
        weight=integers(rng, int_type(kind.weight), (shape.outputs, shape.depth)),
        bias=_biases(kind, rng.randint(-4000 * wide, 4000 * wide, shape.outputs)),
        input=x, output=kind.affine(sy, _odd(rng)), scales=scales, weight_zero=_weight_zero(kind, rng),
    )  # fmt: skip


def ties(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Powers of two and small shifts: many sums lie exactly between two outputs."""
    zero = _weight_zero(kind, rng)
    shift = max(2, round(math.log2(4.3 * math.sqrt(shape.depth))))
    n = _channels(kind, shape)
    return Numbers(
        x=integers(rng, kind.type, _shape(shape)),
        weight=around(rng, int_type(kind.weight), zero, 4, (shape.outputs, shape.depth)),
        bias=_biases(kind, rng.randint(-200, 200, shape.outputs)),
        input=kind.affine(2.0**-5, _odd(rng)),
        output=kind.affine(2.0 ** (shift - 11), _odd(rng)),
        scales=2.0 ** (rng.randint(-7, -4, n) if n > 1 else np.array([-6.0])),
        weight_zero=zero,
    )


def huge(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Biases at odd multiples of half an output step (2^19), beyond what float32 holds exactly; sums around them."""
    steps = rng.randint(33, 120, shape.outputs) * rng.choice([-1, 1], shape.outputs)
    x, zero = kind.affine(2.0**-10, _odd(rng)), _weight_zero(kind, rng)
    sparse = rng.random_sample((shape.outputs, shape.depth)) < 0.2
    weight = around(rng, int_type(kind.weight), zero, 1, sparse.shape)
    return Numbers(
        x=around(rng, kind.type, x.zero, 1, _shape(shape)),
        weight=np.where(sparse, weight, zero).astype(weight.dtype),
        bias=_biases(kind, (2 * steps + 1) << 18),
        input=x, output=kind.affine(1.0, _odd(rng) // 8 * 2 + 1), scales=np.full(_channels(kind, shape), 2.0**-9),
        weight_zero=zero,
    )  # fmt: skip


def hair(kind: Kind, rng: np.random.RandomState, shape: Shape, apart: int = 0) -> Numbers:
    """Biases whose product with the multiplier misses a tie by a hair, to either side; sums next to them.

    `apart`: every other channel's scale has so many more zeros before it.
    """
    n, zero = _channels(kind, shape), _weight_zero(kind, rng)
    x = kind.affine(float(rng.uniform(0.001, 0.002)), _odd(rng))
    scales = np.float32(rng.uniform(0.0005, 0.001, n) * 2.0 ** (-apart * (np.arange(n) % 2)))
    bits, reach = (32, 100) if kind.bias == "s32" else (36, 20000)
    y = kind.affine(
        float(x.scale[0]) * float(scales.min() if apart else scales.mean()) * float(1 << bits - 1) / (2 * reach),
        _odd(rng) // 8 * 2,
    )
    biases = []
    for o in range(shape.outputs):
        real = float(x.scale[0]) * float(scales[o % n]) / float(y.scale[0])
        found = near_ties(real, bits, reach, 4 * shape.outputs)
        biases.append(found[o % len(found)] * (1 if o % 3 else -1) + (o % 5 == 4))
    sparse = rng.random_sample((shape.outputs, shape.depth)) < 0.1
    weight = around(rng, int_type(kind.weight), zero, 1, sparse.shape)
    often = rng.random_sample(_shape(shape)) < 0.8
    return Numbers(
        x=np.where(often, x.zero, around(rng, kind.type, x.zero, 1, often.shape)).astype(kind.type.dtype),
        weight=np.where(sparse, weight, zero).astype(weight.dtype),
        bias=_biases(kind, biases),
        input=x, output=y, scales=scales, weight_zero=zero,
    )  # fmt: skip


def extremes(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Operands at the ends of their ranges, in the first sample all at one end: what is narrow overflows."""
    wide = 1 << kind.type.bits - 8
    type_, x, zero = int_type(kind.weight), ends(rng, kind.type, _shape(shape)), _weight_zero(kind, rng)
    x[0] = kind.type.high
    weight = ends(rng, type_, (shape.outputs, shape.depth))
    weight[0], weight[-1] = type_.high, type_.low
    weight[shape.outputs // 2] = np.where(np.arange(shape.depth) // 2 % 2, type_.low, type_.high)
    affine_x = kind.affine(0.013 / wide, _odd(rng))
    return Numbers(
        x=x, weight=weight, bias=_biases(kind, rng.randint(-9000, 9000, shape.outputs)),
        input=affine_x, output=kind.affine(affine_x.scale[0] * 0.02 * 16256 * math.sqrt(shape.depth) / 60, 3),
        scales=rng.uniform(0.01, 0.03, _channels(kind, shape)), weight_zero=zero,
    )  # fmt: skip


def cancelling(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Operands at the ends of their ranges and biases that cancel what they add up to: one unit too few is seen."""
    type_, zero = int_type(kind.weight), _weight_zero(kind, rng)
    reach = shape.channels
    rows = [
        np.full(reach, kind.type.low),
        np.full(reach, kind.type.high),
        np.where(np.arange(reach) // 2 % 2, kind.type.low, kind.type.high),
        rng.choice([kind.type.low, kind.type.high], reach),
    ]
    x = np.stack([rows[i % 4] for i in range(max(4, shape.samples))]).astype(kind.type.dtype)
    x = np.broadcast_to(x.reshape(len(x), reach, *(1,) * len(shape.size)), (len(x), reach, *shape.size))
    weight = ends(rng, type_, (shape.outputs, shape.depth))
    for o, value in enumerate((type_.low, type_.high, type_.low)):
        weight[o % shape.outputs] = value
    a = kind.affine(1.0, _odd(rng))
    real = weight.astype(np.int64).reshape(shape.outputs, shape.channels // shape.group, -1).sum(2) - zero * (
        shape.depth // (shape.channels // shape.group)
    )
    bias = []
    for o in range(shape.outputs):
        first = o // (shape.outputs // shape.group) * (shape.channels // shape.group)
        taken = x[o % 4].reshape(reach, -1)[first : first + real.shape[1], 0].astype(np.int64) - a.zero
        bias.append(int(rng.randint(-90, 90)) - int(real[o] @ taken))
    return Numbers(
        x=np.ascontiguousarray(x), weight=weight, bias=_biases(kind, bias), input=a, output=kind.affine(1.0, _odd(rng)),
        scales=[1.0] if _channels(kind, shape) == 1 else np.resize([1.0, 0.75], shape.outputs), weight_zero=zero,
    )  # fmt: skip


def tied_multipliers(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Scales of 32 bits, so that a 31-bit multiplier is a tie itself; biases a hair from a tie under either."""
    n, zero = _channels(kind, shape), _weight_zero(kind, rng)
    x = kind.affine((2**16 + 1) * 2.0**-26, _odd(rng))
    scales = (2**15 + 1 + 4 * np.arange(1, n + 1)) * 2.0**-26
    bits, reach = (32, 100) if kind.bias == "s32" else (36, 20000)
    least = math.ceil(math.log2(x.scale[0] * float(scales.max()) * (1 << bits - 1) / (2 * reach)))
    y = kind.affine(2.0**least, _odd(rng) // 8 * 2)
    biases = []
    for o in range(shape.outputs):
        found = near_ties(x.scale[0] * float(scales[o % n]) / y.scale[0], bits, reach, 4 * shape.outputs)
        biases.append(found[o // n % len(found) if n > 1 else o % len(found)] * (1 if o % 3 else -1))
    return Numbers(
        x=np.full(_shape(shape), x.zero, kind.type.dtype),
        weight=around(rng, int_type(kind.weight), zero, 1, (shape.outputs, shape.depth)),
        bias=_biases(kind, biases), input=x, output=y, scales=scales, weight_zero=zero,
    )  # fmt: skip


def tied_quotients(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Scales whose quotient ties as a 31-bit multiplier, though their product is a float32; biases a hair from a tie.

    A search over all odd denominators found them.
    """
    return _quotients(kind, rng, shape, 6962374.0 / 9296465.0, 6962374.0 * 2.0**-31)


def low_quotients(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Products in float32 whose quotient is two fifths above an even 31-bit multiplier; biases a hair from a tie."""
    return _quotients(kind, rng, shape, 4.0 / 5.0, 2.0**-8)


def _quotients(kind: Kind, rng: np.random.RandomState, shape: Shape, ratio: float, scale: float) -> Numbers:
    n, zero = _channels(kind, shape), _weight_zero(kind, rng)
    bits, reach = (32, 100) if kind.bias == "s32" else (36, 20000)
    x, y = kind.affine(scale, _odd(rng)), kind.affine(scale / ratio * 2.0**7, _odd(rng) // 8 * 2)
    least = math.ceil(math.log2(2 * reach)) - bits + 8  # the largest bias gives about twice the reach
    scales = 2.0 ** (least - np.arange(n) % 2)
    biases = []
    for o in range(shape.outputs):
        found = _telling(ratio * float(scales[o % n]) * 2.0**-7, bits, reach, 8 * shape.outputs)
        biases.append(found[o // n % len(found) if n > 1 else o % len(found)] * (1 if o % 3 else -1))
    return Numbers(
        x=np.full(_shape(shape), x.zero, kind.type.dtype),
        weight=around(rng, int_type(kind.weight), zero, 1, (shape.outputs, shape.depth)),
        bias=_biases(kind, biases), input=x, output=y, scales=scales, weight_zero=zero,
    )  # fmt: skip


def _telling(scale: float, bits: int, reach: int, count: int) -> list[int]:
    """Accumulators next to ties, for which the two multipliers of 31 bits around the scale give two results."""
    mantissa, exponent = math.frexp(scale)
    down = math.floor(mantissa * (1 << 31))

    def result(acc: int, multiplier: int) -> int:
        high = (acc * multiplier + (1 << 30)) >> 31
        return high + (1 << -exponent - 1) >> -exponent

    around_it = (near_ties(math.ldexp(m, exponent - 31), bits, reach, count) for m in (down, down + 1))
    every = [acc for both in zip(*around_it, strict=False) for acc in both]
    return [acc for acc in every if result(acc, down) != result(acc, down + 1)] or every


def wrapping(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Sums beyond 32 bits by their biases."""
    sign = np.where(np.arange(shape.outputs) % 2, 1, -1)
    reach = 4000 * int(math.sqrt(shape.depth))
    bias = sign * ((1 << 31) - rng.randint(2, 3 * reach, shape.outputs))
    x = kind.affine(0.02, 2 * (_odd(rng) // 4) + 1)
    scale = 1e-6
    return Numbers(
        x=integers(rng, kind.type, _shape(shape)),
        weight=integers(rng, int_type(kind.weight), (shape.outputs, shape.depth)),
        bias=_biases(kind, bias), input=x, output=kind.affine(0.02 * scale * 2**31 / 70, 5),
        scales=np.full(_channels(kind, shape), scale) * rng.uniform(0.8, 1.2, _channels(kind, shape)),
        weight_zero=_weight_zero(kind, rng),
    )  # fmt: skip


def upward(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Scales of one and more: few, small products."""
    n, zero = _channels(kind, shape), _weight_zero(kind, rng)
    x = kind.affine(0.5, _odd(rng))
    sparse = rng.random_sample((shape.outputs, shape.depth)) < min(1, 6 / shape.depth)
    weight = np.where(sparse, around(rng, int_type(kind.weight), zero, 1, sparse.shape), zero)
    return Numbers(
        x=around(rng, kind.type, x.zero, 6, _shape(shape)),
        weight=weight.astype(int_type(kind.weight).dtype),
        bias=_biases(kind, rng.randint(-5, 6, shape.outputs)),
        input=x, output=kind.affine(0.5, _odd(rng)),
        scales=np.resize([1.0, 1.5, 2.0, 5.3, 0.9999, 8.0], n) if n > 1 else [2.7], weight_zero=zero,
    )  # fmt: skip


def shifted_out(kind: Kind, rng: np.random.RandomState, shape: Shape) -> Numbers:
    """Scales above one, and biases that a left shift takes out of 32 bits: they come back small, or next to the end."""
    n, zero = _channels(kind, shape), _weight_zero(kind, rng)
    x = kind.affine(0.5, _odd(rng))
    scales = np.resize([7.3, 2.5, 2.7, 11.9], n) if n > 1 else np.array([7.3])
    biases = []
    for o in range(shape.outputs):
        left = math.frexp(float(scales[o % n]))[1]
        rest = (
            int(rng.randint(-9, 10))
            if o % 4 < 2
            else (1 << 31 - left) - int(rng.randint(99, 9999 if o % 4 == 2 else 1 << 25))
        )
        biases.append(int(rng.randint(1, 1 << left - 1) << 32 - left) * (-1 if o % 4 else 1) + rest)
    return Numbers(
        x=np.full(_shape(shape), x.zero, kind.type.dtype),
        weight=around(rng, int_type(kind.weight), zero, 1, (shape.outputs, shape.depth)),
        bias=_biases(kind, biases), input=x, output=kind.affine(0.5, _odd(rng)), scales=scales, weight_zero=zero,
    )  # fmt: skip


# ---- single aims -----------------------------------------------------------------------------------------------


def top(kind: Kind, shape: Shape, asymmetric: bool = False) -> Numbers:
    """All operands at the upper ends of their ranges, zero points at the lower ones: the largest sum that there is."""
    type_, x = int_type(kind.weight), kind.affine(1.0, -128)
    zero = type_.low if asymmetric or kind.asymmetric else 0
    most = shape.depth * (kind.type.high - x.zero) * (type_.high - zero)
    return Numbers(
        x=np.full(_shape(shape), kind.type.high, kind.type.dtype),
        weight=np.full((shape.outputs, shape.depth), type_.high, type_.dtype),
        bias=_biases(kind, np.zeros(shape.outputs)), input=x, output=kind.affine(most / 70.3, 5), scales=[1.0],
        weight_zero=zero,
    )  # fmt: skip


def ratio(kind: Kind, shape: Shape, p: int, q: int) -> Numbers:
    """Every integer of 8 bits times one, from the scale p to the scale q."""
    zero = 1 if kind.asymmetric else 0
    return Numbers(
        x=np.resize(everything(kind.type), _shape(shape)),
        weight=np.full((shape.outputs, shape.depth), zero + 1, int_type(kind.weight).dtype),
        bias=_biases(kind, np.zeros(shape.outputs)), input=kind.affine(p, 0), output=kind.affine(q, 0), scales=[1.0],
        weight_zero=zero,
    )  # fmt: skip


def tied_float32(kind: Kind, shape: Shape) -> Numbers:
    """Every integer of 8 bits times one, with a scale of 3/2 (1 + 2^-24), of which float32 makes 3/2."""
    x, zero = kind.affine(1 + 2.0**-12, 0), 1 if kind.asymmetric else 0
    sparse = np.full((shape.outputs, shape.depth), zero, int_type(kind.weight).dtype)
    sparse[:, 0] += 1
    return Numbers(
        x=np.resize(everything(kind.type), _shape(shape)), weight=sparse,
        bias=_biases(kind, np.zeros(shape.outputs)), input=x, output=kind.affine(683 * 2.0**-10, 1),
        scales=[1 + 2.0**-12], weight_zero=zero,
    )  # fmt: skip


def far_above(kind: Kind, biases: Sequence[int], scale: float) -> Numbers:
    """One and a bias times a scale far above one, which leaves the output's range; its zero point is far up."""
    x, zero = kind.affine(1.0, 0), 1 if kind.asymmetric else 0
    return Numbers(
        x=np.full((1, 1), x.zero + 1, kind.type.dtype),
        weight=np.full((len(biases), 1), zero + 1, int_type(kind.weight).dtype),
        bias=_biases(kind, biases), input=x, output=kind.affine(1.0, 127), scales=[scale], weight_zero=zero,
    )  # fmt: skip


def rounded_down(kind: Kind, shape: Shape) -> Numbers:
    """One scale, 0.39 above an even 31-bit multiplier: biases that tell this from the next one; found by a search."""
    n, zero = _channels(kind, shape), 1 if kind.asymmetric else 0
    x, y = kind.affine(1.0, 0), kind.affine(12486221.0 * 2.0**-24, 0)
    scales = np.full(n, 2.0**-24)
    found = _telling(scales[0] / y.scale[0], 32, 100, 8 * shape.outputs)
    biases = [found[o % len(found)] * (1 if o % 3 else -1) for o in range(shape.outputs)]
    return Numbers(
        x=np.full(_shape(shape), x.zero, kind.type.dtype),
        weight=np.full((shape.outputs, shape.depth), zero + 1, int_type(kind.weight).dtype),
        bias=_biases(kind, biases), input=x, output=y, scales=scales, weight_zero=zero,
    )  # fmt: skip


def at_the_end(kind: Kind, shape: Shape) -> Numbers:
    """Results next to 2^31 and 2^23, beyond which their sum with the zero point lies.

    The product of the scales, 8 (1 - 2^-30), is no float32.
    """
    x, zero = kind.affine(8 - 2.0**-12, 0), 1 if kind.asymmetric else 0
    biases = np.resize([(1 << 28) - 1, (1 << 20) - 6, (1 << 28) - 2, 7 - (1 << 28)], shape.outputs)
    return Numbers(
        x=np.full(_shape(shape), x.zero, kind.type.dtype),
        weight=np.full((shape.outputs, shape.depth), zero + 1, int_type(kind.weight).dtype),
        bias=_biases(kind, biases), input=x, output=kind.affine(1.0, 127),
        scales=np.full(_channels(kind, shape), 1 + 2.0**-15), weight_zero=zero,
    )  # fmt: skip


def far_powers(kind: Kind, shape: Shape) -> Numbers:
    """Biases of up to 31 bits times 16, without a product: powers of two whose results 32 bits do not hold."""
    zero = 1 if kind.asymmetric else 0
    biases = np.resize([3 << 24, -(5 << 25), (7 << 26) + 1, 3 - (1 << 30), 9 << 27, 5, -7, 1 << 27], shape.outputs)
    x = kind.affine(8.0, 0)
    return Numbers(
        x=np.full(_shape(shape), x.zero, kind.type.dtype),
        weight=np.full((shape.outputs, shape.depth), zero + 1, int_type(kind.weight).dtype),
        bias=_biases(kind, biases), input=x, output=kind.affine(0.5, 3), scales=np.ones(_channels(kind, shape)),
        weight_zero=zero,
    )  # fmt: skip


def beyond_31_bits(kind: Kind, shape: Shape) -> Numbers:
    """Halves of biases of up to 45 bits, without a product."""
    biases = [3 << 30, 5 << 30, -(3 << 30), 7 << 30, (1 << 31) - 9, 1 << 33, (1 << 44) + 5, -(1 << 31) - (1 << 29)]
    return Numbers(
        x=np.zeros(_shape(shape), kind.type.dtype), weight=np.ones((shape.outputs, shape.depth), np.int8),
        bias=_biases(kind, np.resize(biases, shape.outputs)), input=kind.affine(0.5, 0), output=kind.affine(1.0, 0),
        scales=np.ones(_channels(kind, shape)),
    )  # fmt: skip


def far_below(kind: Kind, shape: Shape, bits: int) -> Numbers:
    """Sums of so many bits and their sign, of which 15 bits remain; the last two biases leave no room for a product."""
    room = (1 << bits) - (1 << 21)
    biases = [1 << bits - 1, 1 << bits - 2, -(1 << bits - 2), 3 << bits - 3, -(5 << bits - 4), 7 << bits - 6]
    x = np.full(_shape(shape), 0, kind.type.dtype)
    x[-1] = kind.type.high if bits == 63 else 9
    half = -(-(bits - 14) // 2)
    return Numbers(
        x=x, weight=np.full((shape.outputs, shape.depth), 127, np.int8),
        bias=_biases(kind, np.resize([*biases, room, room - 1], shape.outputs)), input=kind.affine(2.0**-half, 0),
        output=kind.affine(2.0 ** (bits - 14 - 2 * half), 0),
        scales=np.full(_channels(kind, shape), 2.0**-half),
    )  # fmt: skip


def next_to_15_bits(kind: Kind, shape: Shape) -> Numbers:
    """Scales whose 31-bit multiplier is a tie of 15 bits or one less, and a fraction of 0.4, 0.6 or a half above.

    Found by a search; the biases give results of 31,000 and more, in which the last bit of 15 is seen.
    """
    x = kind.affine(65543 * 2.0**-16, 0)
    scales = np.resize([8416637 * 2.0**-23, 8772439 * 2.0**-23, 37449 * 2.0**-15], _channels(kind, shape))
    real = np.resize(x.scale[0] * scales, shape.outputs)
    return Numbers(
        x=np.zeros(_shape(shape), kind.type.dtype), weight=np.ones((shape.outputs, shape.depth), np.int8),
        bias=_biases(kind, (31000 / real).astype(np.int64) + 7 * np.arange(shape.outputs)), input=x,
        output=kind.affine(1.0, 0), scales=scales,
    )  # fmt: skip


def plain(kind: Kind) -> Numbers:
    """The output is the input, and no raw integer stands for a zero other than 0: nothing is owed to a folded sum."""
    zero = 0 if kind.type.signed else -128
    a = kind.affine(1.0, zero)
    return Numbers(
        x=np.arange(16).reshape(16, 1).astype(kind.type.dtype), weight=np.ones((4, 1), int_type(kind.weight).dtype),
        bias=_biases(kind, np.zeros(4)), input=a, output=a, scales=[1.0],
    )  # fmt: skip


FAMILIES: dict[str, Callable[[Kind, np.random.RandomState, Shape], Numbers]] = {
    "general scales": general,
    "powers of two": ties,
    "sums beyond 2^24 at ties": huge,
    "a hair from a tie": hair,
    "extremes": extremes,
    "extremes that cancel": cancelling,
    "multipliers that tie": tied_multipliers,
    "quotients that tie": tied_quotients,
    "quotients below a tie": low_quotients,
    "sums that wrap": wrapping,
    "scales above one": upward,
    "shifted out of 32 bits": shifted_out,
}
_NARROW_ONLY = ("sums that wrap", "shifted out of 32 bits")
