"""Cases for TOSA's RESCALE alone: results as large as it takes, multipliers that tie; TFLite refuses such scales."""

from collections.abc import Callable, Iterator

import numpy as np

from conformance.building import Case, Kind, around, case, everything, integers
from intsim.integers import Affine, affine, int_type

FAR_UP = 0.51
"""Times a power of two: a multiplier a little above 2^30, with which the largest operands give a little above 2^29."""
BELOW_ONE = 1.0 - 2.0**-24
"""The largest float32 below 1: a multiplier of 2^31 - 128."""

TIED_PRODUCTS = ((72899.0, 56443.0, 166), (34223.0, 97587.0, 152))
"""Scales whose product lies exactly between two 31-bit multipliers, of which the lower one is even, and a factor with
which an integer of 8 bits tells one from the other where the product is rounded once."""
PRODUCTS_OF_FLOAT32 = ((13564841.0, 15164767.0, 205), (10839563.0, 16249805.0, 207))
"""Scales whose product has another 31-bit multiplier once it is rounded to float32, and such a factor."""
MEANS = {
    8: ((801.0, 1834.0, 917, (3, 3)), (8329527.0, 12897797.0, 895, (2, 2))),
    16: ((1236.0, 1808.0, 678, (3, 3)), (11674486.0, 15978277.0, 64384, (2, 2))),
}
"""By the bits of activations: two scales, and a sum of nine whose mean is a tie, which a multiplier divided by nine
misses; or a sum of four, and a quotient in float64 that is a tie of multipliers, above an even one."""
TIED_SUMS = ((14304995.0, 15012647.0, 35715), (9022511.0, 9198719.0, 29208))
"""Scales of a sum's operands and of its output whose quotient in float64 is a tie, below which stands an even
multiplier; and a sum of two integers of 16 bits that tells one from the other."""
TIED_15_BITS = (2 * 20000 + 1, 2 * 20001 + 1)
"""Exactly between two 15-bit multipliers: one above an even, one above an odd one."""
NEARLY_TIED_15_BITS = ((6265363.0, 4046821.0, 2.0**50), (9907193.0, 5659063.0, 2.0**51))
"""Scales whose product is a hair below a tie of 15-bit multipliers, and that tie in float32; and an output's."""


def fully_connected(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Of 16 bits only: 48-bit sums and biases, 15-bit multipliers."""
    if kind.type.bits == 8:
        return
    scales = [(float(t), 1.0, 2.0**20) for t in TIED_15_BITS]
    for sx, sw, sy in (*scales, *NEARLY_TIED_15_BITS):
        x, weight = around(rng, kind.type, 0, 1 << 12, (64, 3)), integers(rng, int_type(kind.weight), (4, 3))
        yield _dense(kind, f"fully connected, {sx:g} {sw:g}", x, weight, np.zeros(4, np.int64), (sx, sw, sy))
    x, weight = integers(rng, kind.type, (16, 3)), integers(rng, int_type(kind.weight), (4, 3))
    bias = np.array([3 << 44, -(9 << 43), 1 << 39, -(1 << 38)])
    yield _dense(kind, "fully connected, biases of 47 bits", x, weight, bias, (1.0, 1.0, 2.0**31))
    x, weight = np.full((1, 1 << 17), -(1 << 15), np.int16), np.full((1, 1 << 17), -(1 << 7), np.int8)
    yield _dense(kind, "fully connected, a sum of 2^39", x, weight, np.zeros(1, np.int64), (1.0, 1.0, 2.0**26))
    x, weight = np.array([[1500], [-1500]], np.int16), np.array([[125], [-125]], np.int8)
    yield _dense(kind, "fully connected, results beyond 2^30", x, weight, np.zeros(2, np.int64), (6144.0, 1.0, 1.0))


def _dense(
    kind: Kind, name: str, x: np.ndarray, weight: np.ndarray, bias: np.ndarray, scales: tuple[float, float, float]
) -> Case:
    sx, sw, sy = scales
    constants = {"w": (weight, affine(sw, 0, kind.weight)), "b": (bias, affine(sx * sw, 0, kind.bias))}
    a, y = kind.affine(sx, 0), kind.affine(sy, 0)
    return case(kind, "fully connected", name, "Gemm", [x], [a], y, (len(weight),), {}, constants)


def multiply(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Far up, and next to ties of the multiplier."""
    wide, shape = (1 if kind.type.bits == 8 else 1 << 7), (2, 16, 16)
    x = [np.maximum(integers(rng, kind.type, (1, *shape)), kind.type.low + 1) for _ in range(2)]  # 2^30 is too much
    a, b, y = (kind.affine(s, z) for s, z in ((FAR_UP * 2.0**14 / wide, -128), (1.0 / wide, -128), (1.0, 7)))
    yield case(kind, "mul", "mul, as far up as RESCALE goes", "Mul", x, [a, b], y, shape)
    for name, every, sy in (("a product that ties", TIED_PRODUCTS, 2.0**40), ("float32", PRODUCTS_OF_FLOAT32, 2.0**56)):
        for sa, sb, factor in every:
            a, b, y = (kind.affine(s, -128) for s in (sa, sb, sy))
            one = np.arange(256).reshape(1, -1).astype(kind.type.dtype) + np.array(a.zero, kind.type.dtype)
            x = [one, np.full_like(one, factor + b.zero)]
            yield case(kind, "mul", f"mul, {name}, {sa:g}", "Mul", x, [a, b], y, one.shape[1:])


def mean(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Far up, at 2^30 with a zero point, of many integers, and a hair below a tie of the multiplier."""
    x, y = kind.affine(FAR_UP * 2.0 ** (22 if kind.type.bits == 8 else 15), -128), kind.affine(1.0, -5)
    ends = np.array([kind.type.low, kind.type.high]).reshape(1, 2, 1, 1)
    yield _mean(kind, "mean, as far up as RESCALE goes", np.broadcast_to(ends, (1, 2, 2, 2)), x, y)
    for sx, sy, total, size in MEANS[kind.type.bits]:
        x, y = kind.affine(sx, -128), kind.affine(sy, -128)
        n = size[0] * size[1]
        parts = np.array([(total + i) // n for i in range(n)]) + x.zero
        yield _mean(kind, f"mean of {total}, {sx:g}/{sy:g}", parts.reshape(1, 1, *size), x, y)
    if kind.type.bits == 8:
        values = np.full((1, 1, 1024, 512), 0, np.int64)
        values[0, 0, 0, 0] = -1  # less the zero point: 2^19 * 128 - 1
        x, y = kind.affine(16.0 * 2.0**19 * BELOW_ONE, -128), kind.affine(1.0, 127)
        yield _mean(kind, "mean, beyond 2^30 with its zero point", values, x, y)
        x, y = kind.affine(0.99 * 2112 / 2.0**11, -128), kind.affine(1.0, -128)
        yield _mean(kind, "mean of a sum beyond 2^30", np.full((1, 1, 2048, 2112), kind.type.high), x, y)
        x, y = kind.affine(0.9, -128), kind.affine(1.0, -128)
        yield _mean(kind, "mean of 24x24", np.full((1, 1, 24, 24), kind.type.high), x, y)


def _mean(kind: Kind, name: str, values: np.ndarray, x: Affine, y: Affine) -> Case:
    held = values.astype(kind.type.dtype)
    return case(kind, "mean", name, "GlobalAveragePool", [held], [x], y, (held.shape[1], 1, 1))


def add(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Far up, at 2^30 with a zero point, operands far apart, and ties of the multiplier."""
    yield from _sums(kind, rng, "add", "Add")
    if kind.type.bits == 8:
        a, b = kind.affine(2.0**22 * BELOW_ONE, -128), kind.affine(2.0**22 * BELOW_ONE * (1 - 2.0**-19), -128)
        x = [np.full((1, 2), 127, np.int8), np.array([[-127, -128]], np.int8)]
        yield case(kind, "add", "add, beyond 2^30 with its zero point", "Add", x, [a, b], kind.affine(1.0, 127), (2,))
        return
    for sx, sy, total in TIED_SUMS:
        a, y = kind.affine(sx, 0), kind.affine(sy, 0)
        one = np.full((1, 4), total // 2, np.int16)
        x = [one, (total - one.astype(np.int64) + np.arange(4)).astype(np.int16)]
        yield case(kind, "add", f"add, a multiplier that ties, {sx:g}", "Add", x, [a, a], y, (4,))


def subtract(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """As add."""
    yield from _sums(kind, rng, "sub", "Sub")


def _sums(kind: Kind, rng: np.random.RandomState, op: str, node: str) -> Iterator[Case]:
    up = FAR_UP * 2.0 ** (21 if kind.type.bits == 8 else 14)
    x = [integers(rng, kind.type, (1, 4, 16, 16)) for _ in range(2)]
    a, b, y = (kind.affine(s, z) for s, z in ((up, -128), (up * 0.999, -128 if op == "add" else 127), (1.0, 7)))
    yield case(kind, op, f"{op}, as far up as RESCALE goes", node, x, [a, b], y, (4, 16, 16))
    small = 0.75 * 2.0 ** (20 if kind.type.bits == 8 else 15)  # the last multiplier is 3/2, and its operand an integer
    x = [np.full((1, 2, 8, 8), 0, kind.type.dtype), around(rng, kind.type, 0, 30, (1, 2, 8, 8))]
    a, b, y = (kind.affine(s, 0) for s in (small, small / 2.0 ** (19 if kind.type.bits == 8 else 14), 1.0))
    yield case(kind, op, f"{op}, an operand of units", node, x, [a, b], y, (2, 8, 8))
    far = 2.0 ** -(24 if kind.type.bits == 8 else 19)
    x = [around(rng, kind.type, 0, 9, (1, 2, 8, 8)) for _ in range(2)]
    a, b, y = (kind.affine(s, 0) for s in (1.0, far, 2.0))
    yield case(kind, op, f"{op}, powers of two far apart", node, x, [a, b], y, (2, 8, 8))


def requantize(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Far up."""
    x, y = everything(kind.type).reshape(1, -1), kind.affine(1.0, -5)
    a = kind.affine(FAR_UP * 2.0 ** (22 if kind.type.bits == 8 else 15), -128)
    yield case(kind, "requantize", "requantize, as far up as RESCALE goes", "Requantize", [x], [a], y, x.shape[1:])


OPS: dict[str, Callable[[Kind, np.random.RandomState], Iterator[Case]]] = {
    "fully connected": fully_connected,
    "add": add,
    "sub": subtract,
    "mul": multiply,
    "mean": mean,
    "requantize": requantize,
}
