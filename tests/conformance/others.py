"""Cases of everything but sums of products: sums and products of activations, pools, functions, moves."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from conformance.building import KINDS, Case, Kind, around, case, everything, integers, pairs
from conformance.truths import ORT, TFLITE
from intsim.graph import Graph, Node
from intsim.integers import Affine, affine
from intsim.quantized import QuantizedGraph

ADD_SCALES = {
    "general scales": (0.0213, 0.0377, 0.0551),
    "powers of two": (0.5, 0.25, 1.0),
    "one tiny operand": (0.031, 0.0009, 0.033),
    "sixths": (0.15, 0.75, 0.9),
    "into a finer scale": (0.03, 0.07, 0.011),
    "equal scales": (0.05, 0.05, 0.05),
    "thirds": (5.0, 7.0, 6.0),
    "elevenths": (3.0, 13.0, 22.0),
    "one operand has the output's": (0.5, 0.25, 0.5),
    "into a far finer scale": (0.05, 0.07, 0.0004),
}


def _below_a_tie(k: int, c: int) -> tuple[float, float, float]:
    """Equal operands that add up to c give k + 1/2 - 2^-20: a tie of the last rounding, or just none (TFLite)."""
    one = ((2 * k + 1) * 2.0**19 - 1) * 2.0**-20
    return one, one, float(c)


SUMS_IN_ROWS = ("one operand has the output's", "into a far finer scale")

ADD_NEAR_TIES = {
    f"{2 * k + 1}/2 of {c}, less 2^-20": _below_a_tie(k, c) for k, c in ((2, 3), (4, 7), (8, 13), (4, 5), (5, 9))
} | {"a multiplier that ties": (5828966.0, 5828966.0, 8539701.0)}
OPERANDS_AT_TIES = (
    (6962374.0, 9296465.0, 25694966.0, -81),
    (5024619.0, 15955658.0, 31964848.0, -90),
    (1048575.0, 1048576.0, 20671928.0, 72),
    (1048575.0, 1048576.0, 621385.125, -99),
)
"""Scales and an operand for which the last bit of the other's rescale is seen (TFLite): of a multiplier that ties, of
one a little above another, and of two products that tie."""
ONE_AND_ONE = (
    (1.5 - 2.0**-20, 1.5 - 2.0**-20, 2.0, 126, -128),
    (2.5 - 2.0**-20, 2.5 - 2.0**-20, 4.0, 75, -79),
    (1437607.0, 2097152.0, 4225108.5, -35, 25),
    (1437607.0, 2097152.0, 4235804.5, 89, -60),
    (8321713.0, 8765237.0, 19094094.0, -18, 16),
    (11358680.0, 15589597.0, 38421440.0, -106, 76),
    (0.05, 0.07, 0.0004, 127, 127),
)
"""Scales and two integers that tell how TFLite rounds where they are added in vectors of 8, or in none: a sum below
zero at ties of both its roundings; an operand at a tie above and below zero; a multiplier that ties, and one that is
rounded down; a sum beyond 16 bits. A search found them."""
WIDE_SUMS = {
    "add": (
        ((6962374.0, 9296465.0, 13e6), ((20928, 28165), (1908, 28065), (-16823, 31169))),
        ((6962374.0, 5024619.0, 9296465.0), ((-13460, -18770), (2446, 9043))),
        ((40001.0, 65536.0, 131072.0), ((-6270, -1572), (18810, 23482))),
        ((0.5, 0.25, 0.5), ((9845, -4511),)),
        ((2.6464405059814453, 3.1455681324005127, 5.616580486297607), ((-29411, 30166),)),
        ((3.9010894298553467, 2.6416966915130615, 7.836106300354004), ((-7337, -26652),)),
    ),
    "sub": (((6962374.0, 9296465.0, 13e6), ((-14385, -7850), (-12564, -17718))),),
}
"""Scales and operands of 16 bits that tell one rule of TFLite's sums from another; found by a search."""
MULTIPLY_SCALES = {
    "general scales": (0.0213, 0.0377, 0.08),
    "powers of two": (2.0**-4, 2.0**-3, 2.0**-1),
    "few bits": (0.25, 0.5, 16.0),
    "scales above one": (1.5, 1.25, 0.75),
    "far above one": (5.3, 4.1, 0.7),
}
TIED_MULTIPLIERS = ((85651.0, 40367.0, 2.0**40, 232), (101235.0, 40447.0, 2.0**41, 251))
"""Scales whose product lies exactly between two 31-bit multipliers, and a factor with which 8 bits tell one from the
other."""
TIED_SLOPES = (
    (43737.0, 83401.0, 2.0**40, 127 - 181, 204),
    (38275.0, 62579.0, 2.0**40, 127 - 80, 175),
    (124277.0, 72415.0, 11980615.0 * 2.0**15, 127 - 237, 45),
)
"""Likewise, an integer below a zero point of 127 and a slope; the last product a little above a multiplier, and rounded
by float32."""
ROUNDED_RATIOS = ((7, 46), (7, 6))
"""p / q in float32 makes other integers than a division by q: 23 * 7 / 46 is a tie for one of them only."""

FAR_ABOVE_ONE = (0.7 * 2.0**9, 0.7 * 2.0**19)
"""Beyond what XNNPACK takes: it leaves them to the built-in kernels."""
LARGEST = 0.9 * 2.0**8
"""Nearly what XNNPACK does not take."""

TIED_QUOTIENTS = ((6962374.0, 9296465.0), (8087034.0, 9418789.0))
TIED_QUOTIENTS_OF_SUMS = ((8321713.0, 8765237.0), (4302103.0, 8589937.0))
"""Float32 scales whose quotient in float64 lies exactly between two 31-bit multipliers, and for which an integer of 8
bits (a sum of four) tells one from the other: a search over all odd denominators found them."""

RATIONALS = (
    (5, 6),
    (7, 10),
    (3, 14),
    (13, 18),
    (1, 22),
    (9, 26),
    (17, 30),
    (29, 34),
    (3, 38),
    (25, 42),
    (11, 46),
    (4, 3),
)
"""Ratios of scales that no multiplier holds exactly, and that make ties: the multiplier's own rounding is seen."""


def _zeros(rng: np.random.RandomState, count: int) -> list[int]:
    return [int(z) * 2 + 1 for z in rng.randint(-20, 20, count)]


def add(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every pair of 8-bit operands."""
    made = list(_sums(kind, rng, "add", "Add"))
    for sa, sb, sy, b in OPERANDS_AT_TIES:
        one = everything(kind.type).reshape(1, -1)
        affines = [kind.affine(s, 0) for s in (sa, sb, sy)]
        x = [one, np.full_like(one, affines[1].zero + b)]
        made.append(case(kind, "add", f"add, an operand at a tie, {sa:g} {sb:g} {b}", "Add", x, affines[:2], affines[2],
                         one.shape[1:]))  # fmt: skip
    yield from made
    if kind.name == "s8":
        few = [c for c in made if c.name.removeprefix("add, ") in SUMS_IN_ROWS or "a tie" in c.name]
        for one in (*few, *_next_to_ties(kind)):
            yield _in_rows(one)
            yield _in_rows(one, beside_one=True)
        for sa, sb, sy, a, b in ONE_AND_ONE:
            affines = [kind.affine(s, 0) for s in (sa, sb, sy)]
            for n, m in ((15, 15), (8, 1)):
                x = [np.full((1, n), a, np.int8), np.full((1, m), b, np.int8)]
                yield case(kind, "add", f"add of {n} times {a} and {m} times {b}, {sa:g} {sb:g}", "Add", x, affines[:2],
                           affines[2], (n,))  # fmt: skip


def _next_to_ties(kind: Kind) -> Iterator[Case]:
    """Operands of which all add up to what makes the tie; of a multiplier that ties, of every sum."""
    low, high, q = kind.type.low, kind.type.high, everything(kind.type).astype(np.int64)
    for family, scales in ADD_NEAR_TIES.items():
        below = "2^-20" in family
        a, b, y = (kind.affine(s, z) for s, z in zip(scales, (-3, 3, -60) if below else (-128,) * 3, strict=True))
        others = [int(scales[2]) - (q - a.zero)] if below else [q - a.zero, q - a.zero + 1]
        x = [np.tile(q, len(others)), np.clip(np.concatenate(others) + b.zero, low, high)]
        yield case(kind, "add", f"add, {family}", "Add", [v.astype(kind.type.dtype).reshape(1, -1) for v in x], [a, b],
                   y, (x[0].size,))  # fmt: skip


def _in_rows(one: Case, beside_one: bool = False) -> Case:
    """Some of its integers in samples of 15, which fill no vector of 16; or in samples of 8 `beside_one` other."""
    n = 8 if beside_one else 15
    x = [np.resize(v.reshape(-1)[:512], (-(-min(v.size, 512) // n), n)) for v in one.x.values()]
    if beside_one:
        x[1] = x[1][:, :1]
    affines, (node,) = one.source.affines, one.source.graph.nodes
    return case(KINDS[one.kind], one.op, f"{one.name}, {'eight and one' if beside_one else 'in rows'}", node.op, x,
                [affines[name] for name in one.x], affines["y"], (n,))  # fmt: skip


def subtract(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """As add."""
    yield from _sums(kind, rng, "sub", "Sub")


def _sums(kind: Kind, rng: np.random.RandomState, op: str, node: str) -> Iterator[Case]:
    for family, scales in ADD_SCALES.items():
        x, zeros = pairs(rng, kind.type), _zeros(rng, 3)
        a, b, y = (kind.affine(s, z) for s, z in zip(scales, zeros, strict=True))
        yield case(kind, op, f"{op}, {family}", node, x, [a, b], y, x[0].shape[1:])
    for family, scales in ADD_NEAR_TIES.items():
        x, zeros = [v[:, :2] for v in pairs(rng, kind.type)], (-3, 3, -60) if "2^-20" in family else (-128,) * 3
        a, b, y = (kind.affine(s, z) for s, z in zip(scales, zeros, strict=True))
        yield case(kind, op, f"{op}, {family}", node, x, [a, b], y, x[0].shape[1:])
    least = 0.99 * 2.0 ** (-24 if kind.type.bits == 8 else -27)  # a term of a unit or two, next to a tie
    x, (a, b, y) = pairs(rng, kind.type), (kind.affine(s, z) for s, z in ((1.0, 3), (least, -5), (2.0, 7)))
    yield case(kind, op, f"{op}, far apart", node, x, [a, b], y, x[0].shape[1:])
    yield from _by_place(kind, rng, op, node, (0.2, 0.3, 0.6), (-127, -127, -128))
    yield from _by_place(kind, rng, op, node, (0.3, 1.5, 0.6), (-7, 5, -11))
    if kind.symmetric:
        yield from _of_one_scale(kind, rng, op, node)
    for scales, operands in WIDE_SUMS[op] if kind.name == "s16" else ():  # of 31, two vectors of 16 but for one
        x = [np.repeat(np.array(q, np.int16).reshape(-1, 1), 31, 1) for q in zip(*operands, strict=True)]
        a, b, y = (kind.affine(s, 0) for s in scales)
        yield case(kind, op, f"{op} that tells rules, {scales[0]:g} {scales[1]:g}", node, x, [a, b], y, (31,))


def _of_one_scale(kind: Kind, rng: np.random.RandomState, op: str, node: str) -> Iterator[Case]:
    """Sums that are ties exactly: no multiplier holds the ratio of the scales."""
    for p, q in RATIONALS:
        x, a, y = pairs(rng, kind.type), kind.affine(p, 0), kind.affine(q, 0)
        yield case(kind, op, f"{op} of one scale, {p}/{q}", node, x, [a, a], y, x[0].shape[1:])
    a, y = kind.affine(5.0, 0), kind.affine(6.0, 0)
    for left, right in (((19, 2, 3), (19, 1, 1)), ((1, 2, 3), (31, 2, 3))):
        x = [integers(rng, kind.type, (8, *shape)) for shape in (left, right)]
        shape = np.broadcast_shapes(left, right)
        yield case(kind, op, f"{op} of one scale, {left} and {right}", node, x, [a, a], y, shape)
    x, k = integers(rng, kind.type, (8, 19, 2, 3)), integers(rng, kind.type, (1, 19, 1, 1))
    yield case(kind, op, f"{op} of one scale and a constant", node, [x], [a], y, x.shape[1:], {}, {"k": (k, a)})


def _by_place(
    kind: Kind, rng: np.random.RandomState, op: str, node: str, scales: Sequence[float], zeros: Sequence[int]
) -> Iterator[Case]:
    """Operands that fill no vectors of 16, or of 8, at the end, and that broadcast; scales make many ties."""
    a, b, y = (kind.affine(s, z) for s, z in zip(scales, zeros, strict=True))
    for left, right in BY_PLACE:
        x = [integers(rng, kind.type, (8, *shape)) for shape in (left, right)]
        name = f"{op} of {left} and {right}, {scales[0]:g}"
        yield case(kind, op, name, node, x, [a, b], y, np.broadcast_shapes(left, right))
    for shape, constant in (((19, 2, 3), (1, 19, 1, 1)), ((5, 3, 3), (1, 1, 1, 1))):
        x, k = integers(rng, kind.type, (8, *shape)), integers(rng, kind.type, constant)
        name = f"{op} of {shape} and a constant {constant}, {scales[0]:g}"
        yield case(kind, op, name, node, [x], [a], y, shape, {}, {"k": (k, b)})


BY_PLACE = (
    *(((n,), (n,)) for n in (1, 5, 15, 17, 35, 51)),
    ((3, 5, 3), (3, 5, 3)),
    ((19, 2, 3), (19, 1, 1)),
    ((19, 1, 1), (19, 2, 3)),
    ((20, 2, 3), (1, 2, 3)),
    ((1, 2, 3), (31, 2, 3)),
    ((35,), (1,)),
    ((1,), (24,)),
    ((3, 5, 7), (1, 1, 7)),
    ((20, 1, 3), (20, 2, 1)),
)
"""Shapes of samples, channels first."""


def multiply(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every pair of 8-bit operands; those that need no large tensor in rows that fill no vector, too."""
    made = list(_products(kind, rng))
    yield from made
    if kind.name == "s8":
        yield from (_in_rows(c) for c in made if len(c.x) == 2 and " of (" not in c.name and "general" not in c.name)


def _products(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    wide = 1 << kind.type.bits - 8
    for family, scales in MULTIPLY_SCALES.items():
        x, zeros = pairs(rng, kind.type), _zeros(rng, 3)
        a, b, y = (kind.affine(s, z) for s, z in zip((*scales[:2], scales[2] * wide), zeros, strict=True))
        yield case(kind, "mul", f"mul, {family}", "Mul", x, [a, b], y, x[0].shape[1:])
    for p, q in RATIONALS[:6]:
        x, zeros = pairs(rng, kind.type), _zeros(rng, 3)
        a, b, y = (kind.affine(s, z) for s, z in zip((p, 0.125, q * 8.0 * wide), zeros, strict=True))
        yield case(kind, "mul", f"mul, {p}/{q}", "Mul", [x[0][:, :1], x[1][:, :1]], [a, b], y, x[0][:, :1].shape[1:])
    for p, q in RATIONALS:
        a, b, y = (kind.affine(s, z) for s, z in zip((p, 1.0, q), _zeros(rng, 3), strict=True))
        x = [around(rng, kind.type, one.zero, reach, (1, 2, 16, 16)) for one, reach in ((a, 12), (b, 9))]
        yield case(kind, "mul", f"mul of small integers, {p}/{q}", "Mul", x, [a, b], y, (2, 16, 16))
    for sa, sb, sy, factor in TIED_MULTIPLIERS:
        a, b, y = (kind.affine(s, -128) for s in (sa, sb, sy))
        one = everything(kind.type).reshape(1, -1)
        x = [one, np.full_like(one, np.clip(factor + b.zero, kind.type.low, kind.type.high))]
        yield case(kind, "mul", f"mul, a multiplier that ties, {sa:g}", "Mul", x, [a, b], y, one.shape[1:])
    if kind.name == "s16":
        a, b, y = (kind.affine(s, 0) for s in (48691.0, 48799.0, 2.0**47))
        x = [np.array(q, np.int16).reshape(1, -1) for q in ((-32762, 26015, -24520), (-26449, 29142, -30856))]
        yield case(kind, "mul", "mul, a multiplier that ties above an even one", "Mul", x, [a, b], y, (3,))
    for p, q in ROUNDED_RATIOS:
        a, b, y = (kind.affine(s, 0) for s in (p, 1.0, q))
        one = everything(kind.type).reshape(1, -1)
        x = [one, np.full_like(one, b.zero + 1)]
        yield case(kind, "mul", f"mul, a ratio that float32 rounds, {p}/{q}", "Mul", x, [a, b], y, one.shape[1:])
    for ratio in FAR_ABOVE_ONE:
        x = [v[:, :1] for v in pairs(rng, kind.type)]
        a, b, y = (kind.affine(s, z) for s, z in ((ratio, 0), (0.125, 0), (0.125 * wide, -1)))
        yield case(kind, "mul", f"mul, far up, {ratio}", "Mul", x, [a, b], y, x[0].shape[1:])
    if kind.name == "s8":  # -2^14 times 2^17 (1 - 2^-30), which is no float32, and the zero point leave 32 bits
        a, b, y = (kind.affine(s, z) for s, z in ((2.0**17 - 4, 0), (1 + 2.0**-15, -128), (1.0, -128)))
        one = everything(kind.type).reshape(1, -1)
        yield case(kind, "mul", "mul, far up, without zero points", "Mul", [one, np.full_like(one, 25)],
                   [kind.affine(s, 0) for s in (FAR_ABOVE_ONE[1], 0.125)], kind.affine(0.125, 0),
                   one.shape[1:])  # fmt: skip
        yield case(kind, "mul", "mul, far up, to the end of 32 bits", "Mul", [one, np.zeros_like(one)], [a, b], y,
                   one.shape[1:])  # fmt: skip
    x = [v[:, :1] for v in pairs(rng, kind.type)]
    a, b, y = (kind.affine(s, -128) for s in (LARGEST, 0.125, 0.125))
    yield case(kind, "mul", "mul, as far up as XNNPACK goes", "Mul", x, [a, b], y, x[0].shape[1:])
    x = integers(rng, kind.type, (2, 5, 4, 3))
    a, b, y = (kind.affine(s, z) for s, z in zip((0.02, 0.03, 0.1 * wide), (3, -7, 11), strict=True))
    yield case(kind, "mul", "mul by a constant per channel", "Mul", [x], [a], y, (5, 4, 3), {},
               {"k": (integers(rng, kind.type, (1, 5, 1, 1)), b)})  # fmt: skip
    yield from _by_place(kind, rng, "mul", "Mul", (5.3, 4.1, 0.7 * wide), (-7, 5, -11))


def largest(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Max and Min of operands that share an affine."""
    for node in ("Max", "Min"):
        x, one = pairs(rng, kind.type), kind.affine(0.05, 7)
        yield case(kind, node.lower(), node.lower(), node, x, [one, one], one, x[0].shape[1:])


# ---- pools -----------------------------------------------------------------------------------------------------


def average_pool(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Windows of several sizes, odd zero points; with padding that is not counted, and that is."""
    if kind.asked == "sums":
        if kind.name in TFLITE:
            yield _older_pool(kind, rng)
        return
    for k, s, pads, include, ratio in (
        ((2, 2), (2, 2), (0,) * 4, 0, 1.0),
        ((3, 3), (2, 2), (1,) * 4, 0, 1.0),
        ((2, 3), (1, 1), (0,) * 4, 0, 1.0),
        ((6, 6), (6, 6), (0,) * 4, 0, 1.0),
        ((2, 2), (2, 2), (0,) * 4, 0, 0.61),
        ((2, 3), (1, 1), (1, 2, 0, 1), 1, 0.5),
    ):
        size = (12, 12)
        zero = _zeros(rng, 2)
        x, y = kind.affine(0.05, zero[0]), kind.affine(0.05 * ratio, zero[0] if ratio == 1.0 else zero[1])
        positions = tuple((n + pads[i] + pads[i + 2] - k[i]) // s[i] + 1 for i, n in enumerate(size))
        attributes = {"kernel_shape": k, "strides": s, "dilations": (1, 1), "pads": pads, "count_include_pad": include}
        yield case(
            kind, "average pool", f"average pool {k[0]}x{k[1]} {pads} {ratio}", "AveragePool",
            [integers(rng, kind.type, (2, 6, *size))], [x], y, (6, *positions), attributes,
        )  # fmt: skip
    yield from _below_ties(kind, 207)


def _older_pool(kind: Kind, rng: np.random.RandomState) -> Case:
    """After a convolution that changes nothing: by its weights a network is known to be one of uint8."""
    x, a = integers(rng, kind.type, (2, 4, 12, 12)), kind.affine(1.0, 5)
    attributes = {"strides": (1, 1), "dilations": (1, 1), "pads": (0,) * 4, "group": 1, "kernel_shape": (1, 1)}
    window = {"kernel_shape": (2, 2), "strides": (2, 2), "dilations": (1, 1), "pads": (0,) * 4, "count_include_pad": 0}
    graph = Graph(
        name="average pool of uint8",
        inputs=("x0",),
        outputs=("y",),
        nodes=(
            Node(name="conv", op="Conv", inputs=("x0", "w", "b"), outputs=("c",), attributes=attributes),
            Node(name="pool", op="AveragePool", inputs=("c",), outputs=("y",), attributes=window),
        ),
        constants={"w": np.eye(4, dtype=np.uint8).reshape(4, 4, 1, 1) + np.uint8(3), "b": np.zeros(4, np.int32)},
        shapes={"x0": (4, 12, 12), "c": (4, 12, 12), "y": (4, 6, 6)},
    )
    affines = {"x0": a, "c": a, "y": a, "w": affine(1.0, 3, kind.weight), "b": affine(1.0, 0, kind.bias)}
    return Case(name=graph.name, op="average pool", kind=kind.name, x={"x0": x},
                source=QuantizedGraph(graph=graph, affines=affines))  # fmt: skip


def _below_ties(kind: Kind, side: int) -> Iterator[Case]:
    """Averages that miss a tie by half of 1/n, under the type's highest integer and at two thirds of its range."""
    n, x = side * side, kind.affine(0.05, -128)
    x0 = np.empty((1, 2, n), kind.type.dtype)
    for channel, top in enumerate((kind.type.high, kind.type.low + 2 * (kind.type.high - kind.type.low) // 3)):
        x0[0, channel] = np.where(np.arange(n) < n // 2, top, top - 1)
    attributes = {"kernel_shape": (side, side), "strides": (1, 1), "dilations": (1, 1), "pads": (0,) * 4}
    yield case(kind, "average pool", f"average pool below ties, {side}x{side}", "AveragePool",
               [x0.reshape(1, 2, side, side)], [x], x, (2, 1, 1), {**attributes, "count_include_pad": 0})  # fmt: skip


def mean(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """The average of all positions, requantized."""
    for size, sx, sy in (
        ((7, 7), 0.05, 0.031),
        ((4, 4), 0.25, 0.125),
        ((2, 3), 0.9, 0.2),
        ((3, 5), 0.053, 0.053),
        ((8, 8), 0.5, 0.0625),
        ((1, 2), 0.25, 0.25),
        ((3, 1), 5.0, 6.0),
        ((5, 1), 7.0, 3.0),
        ((7, 2), 11.0, 5.0),
        ((3, 3), 13.0, 2.0),
    ):
        x, y = (kind.affine(s, z) for s, z in zip((sx, sy), _zeros(rng, 2), strict=True))
        values = integers(rng, kind.type, (2, 96, *size))
        middle = np.clip(values // 4 + x.zero, kind.type.low, kind.type.high).astype(values.dtype)
        yield case(kind, "mean", f"mean {size[0]}x{size[1]} {sx} {sy}", "GlobalAveragePool",
                   [np.where(np.arange(96).reshape(1, -1, 1, 1) % 2, values, middle)], [x], y, (96, 1, 1))  # fmt: skip
    for ratio in (0.7 * 2.0**12, 0.7 * 2.0**26, *((0.7 * 2.0**60,) if kind.type.bits == 8 else ())):
        x, y = kind.affine(ratio, 3), kind.affine(1.0, -5)
        yield case(kind, "mean", f"mean, far up, {ratio}", "GlobalAveragePool",
                   [integers(rng, kind.type, (2, 40, 2, 2))], [x], y, (40, 1, 1))  # fmt: skip
    for sx, sy in (*((4.0 * p, float(q)) for p, q in RATIONALS), *TIED_QUOTIENTS_OF_SUMS):
        yield from _every_sum(kind, sx, sy)
    if kind.name in ORT:  # its scale of 255.9 is next to what onnxruntime takes at all: results beyond 2^34
        x, y = kind.affine(255.9 * 600.0 * 600.0, -128), kind.affine(1.0, -128)
        yield case(kind, "mean", "mean of 600x600, far up", "GlobalAveragePool",
                   [np.full((1, 1, 600, 600), kind.type.high, kind.type.dtype)], [x], y, (1, 1, 1))  # fmt: skip


def _every_sum(kind: Kind, sx: float, sy: float) -> Iterator[Case]:
    """Means of four, of every sum that there is (8 bits), or of many."""
    low, high = kind.type.low, kind.type.high
    sums = np.unique(np.linspace(4 * low, 4 * high, 1021).round().astype(np.int64))
    parts = np.stack([(sums + i) // 4 for i in range(4)], 1)
    values = parts.reshape(1, -1, 2, 2).astype(kind.type.dtype)
    x, y = kind.affine(sx, -128), kind.affine(sy, -128)
    yield case(kind, "mean", f"mean of every sum, {sx} {sy}", "GlobalAveragePool", [values], [x], y, (len(sums), 1, 1))


def max_pool(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Windows with and without padding."""
    for k, s, pads in (((2, 2), (2, 2), (0,) * 4), ((3, 3), (2, 2), (1,) * 4), ((3, 2), (2, 2), (1, 0, 1, 1))):
        x = kind.affine(0.05, 5)
        positions = tuple((n + pads[i] + pads[i + 2] - k[i]) // s[i] + 1 for i, n in enumerate((9, 8)))
        attributes = {"kernel_shape": k, "strides": s, "dilations": (1, 1), "pads": pads}
        yield case(kind, "max pool", f"max pool {k[0]}x{k[1]} {pads}", "MaxPool",
                   [integers(rng, kind.type, (2, 5, 9, 8))], [x], x, (5, *positions), attributes)  # fmt: skip


# ---- functions -------------------------------------------------------------------------------------------------

INPUTS = {
    "general scales": (0.05, 5),
    "steep": (0.1909355, 34),
    "flat": (0.0041, -9),
    "far off": (0.1337596, -75),
    "near ties": (0.060410019, 69),
    "powers of two": (0.03125, 1),
}


def _unary(
    kind: Kind, op: str, node: str, outputs: Sequence[Affine | None], attributes: dict[str, Any] | None = None
) -> Iterator[Case]:
    """Every integer, at several input scales; an output None has its input's scale."""
    wide = 1 << kind.type.bits - 8
    for family, (scale, zero) in list(INPUTS.items())[:: 2 if op == "leaky relu" and kind.type.bits > 8 else 1]:
        for number, y in enumerate(outputs):
            x = everything(kind.type).reshape(1, -1)
            affine_x = kind.affine(scale / wide, zero)
            name = f"{op}, {family}" + (f", output {number}" if number else "")
            yield case(kind, op, name, node, [x], [affine_x], y or kind.affine(0.7 * scale / wide, -3), x.shape[1:],
                       attributes)  # fmt: skip


def _unit(kind: Kind, low: int) -> Affine:
    """TFLite's output of logistic and softmax (from 0, `low` 0) and of tanh (from -1, `low` -1)."""
    bits = kind.type.bits
    if bits > 8:
        return affine(2.0 ** -(bits - 1), 0, kind.activation)
    return kind.affine(2.0**-8, -128) if low == 0 else kind.affine(2.0**-7, 0)


AT_TIES = {"Sigmoid": ((0.0351707749068737, -59), (0.015703152865171432, 57), (0.04528502747416496, 0)),
           "Tanh": ((0.045837804675102234, 21), (0.03802661970257759, -41), (0.00944032333791256, 53),
                    (0.026125749573111534, 7), (0.0537467859685421, -47))}  # fmt: skip
"""Inputs of 8 bits, each with an integer whose function is a tie in float32 and none in float64, or becomes one
with its zero point (the last sigmoid's), found by a search."""


def _curve(kind: Kind, op: str, node: str, y: Affine) -> Iterator[Case]:
    yield from _unary(kind, op, node, [y])
    for scale, zero in AT_TIES[node] if kind.type.bits == 8 else ():
        x = everything(kind.type).reshape(1, -1)
        yield case(kind, op, f"{op}, a tie in float32, {scale:.4f}", node, [x], [kind.affine(scale, zero)], y,
                   x.shape[1:])  # fmt: skip


def logistic(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer at several scales."""
    yield from _curve(kind, "logistic", "Sigmoid", _unit(kind, 0))
    yield from _beside_ties(kind, "logistic", "Sigmoid", _unit(kind, 0), 0.14668117463588715)
    if kind.name in ("s8", "s16"):  # 8 bits: -6 is next to what TFLM calls the end, were this at 12 / 2; 16 bits: 2^-12
        yield _sixteenths(kind, "logistic", "Sigmoid", _unit(kind, 0))


def _sixteenths(kind: Kind, op: str, node: str, y: Affine) -> Case:
    x = everything(kind.type).reshape(1, -1)
    a = kind.affine(0.0625 / (1 << kind.type.bits - 8), 5)
    return case(kind, op, f"{op}, sixteenths", node, [x], [a], y, x.shape[1:])


def tanh(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer at several scales."""
    yield from _curve(kind, "tanh", "Tanh", _unit(kind, -1))
    yield from _beside_ties(kind, "tanh", "Tanh", _unit(kind, -1), 0.04102866351604462)
    if kind.name == "s16":
        yield _sixteenths(kind, "tanh", "Tanh", _unit(kind, -1))


def _beside_ties(kind: Kind, op: str, node: str, y: Affine, scale: float) -> Iterator[Case]:
    """At this scale the exact function, gemmlowp's, and MLAS's with and without fused multiply-adds all differ."""
    if kind.type.bits == 8:
        x = everything(kind.type).reshape(1, -1)
        yield case(kind, op, f"{op} beside ties", node, [x], [kind.affine(scale, 5)], y, x.shape[1:])


def hard_swish(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer at several scales, into two output scales."""
    yield from _unary(kind, "hard swish", "HardSwish", [None, kind.affine(0.031, 9)])


def elu(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer at several scales, of the one type and the one alpha that TFLite has."""
    if kind.name == "s8":
        yield from _unary(kind, "elu", "Elu", [None, kind.affine(0.031, 9)], {"alpha": 1.0})
        x = everything(kind.type).reshape(1, -1)
        for sx, sy in (
            (0.5, 1.0),
            (0.01770351082086563, 2.0**-7),
            (0.026447754353284836, 2.0**-7),
        ):  # found by a search
            yield case(kind, "elu", f"elu, a tie in float32, {sx:.4g}/{sy:.4g}", "Elu", [x], [kind.affine(sx, 0)],
                       kind.affine(sy, 0), x.shape[1:], {"alpha": 1.0})  # fmt: skip
        a, y = kind.affine(0.09267497807741165, -52), kind.affine(0.12031488120555878, 52)
        yield case(kind, "elu", "elu, a tie of an inverse's product", "Elu", [x], [a], y, x.shape[1:], {"alpha": 1.0})
        for p, q in ((1, 2), *RATIONALS[:7]):
            yield case(kind, "elu", f"elu, {p}/{q}", "Elu", [x], [kind.affine(p, 3)], kind.affine(q, -3), x.shape[1:],
                       {"alpha": 1.0})  # fmt: skip


def leaky_relu(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer at several scales and slopes."""
    few = kind.type.bits > 8  # a table of 16 bits takes its time
    for alpha in (0.1,) if few else (0.1, 0.25):
        for one in _unary(kind, "leaky relu", "LeakyRelu", [None], {"alpha": alpha}):
            yield Case(name=f"{one.name}, {alpha}", op=one.op, kind=one.kind, source=one.source, x=one.x)
    for p, q in RATIONALS[:3] if few else RATIONALS:
        x = everything(kind.type).reshape(1, -1)
        yield case(kind, "leaky relu", f"leaky relu, {p}/{q}", "LeakyRelu", [x], [kind.affine(p, 2 * p + 1)],
                   kind.affine(q, -3), x.shape[1:], {"alpha": 0.5})  # fmt: skip
    if few:
        yield case(kind, "leaky relu", "leaky relu, 1/2", "LeakyRelu", [x], [kind.affine(1.0, 0)],
                   kind.affine(2.0, 0), x.shape[1:], {"alpha": 1.0})  # fmt: skip
        for sx, slope, sy, x in (*TIED_WIDE_SLOPES, (1.0, *WIDE_SLOPE, _next_to_halves(kind))):
            yield case(kind, "leaky relu", f"leaky relu, next to ties, {slope:g}", "LeakyRelu", [x],
                       [kind.affine(sx, 0)], kind.affine(sy, 0), x.shape[1:], {"alpha": slope})  # fmt: skip
        x = everything(kind.type).reshape(1, -1)
        for e in (14, 18):
            yield case(kind, "leaky relu", f"leaky relu, far up, {e}", "LeakyRelu", [x], [kind.affine(0.7 * 2.0**e, 0)],
                       kind.affine(1.0, 0), x.shape[1:], {"alpha": 2.0**-6})  # fmt: skip
        return
    for sx, sy in (*RATIONALS, (3, 2), *((0.7 * 2.0**e, 1.0) for e in (9, 14, 18, 26))):
        x = everything(kind.type).reshape(1, -1)
        yield case(kind, "leaky relu", f"leaky relu, 2^-10 below zero, {sx:g}/{sy:g}", "LeakyRelu", [x],
                   [kind.affine(sx, 3)], kind.affine(sy, -5), x.shape[1:], {"alpha": 2.0**-10})  # fmt: skip
    if kind.name == "s8":
        for p, q in TIED_QUOTIENTS:
            yield case(kind, "leaky relu", f"leaky relu, a multiplier that ties, {p:g}/{q:g}", "LeakyRelu", [x],
                       [kind.affine(p, -128)], kind.affine(q, -128), x.shape[1:], {"alpha": 0.5})  # fmt: skip
        yield case(kind, "leaky relu", "leaky relu, a product that float32 rounds to a tie", "LeakyRelu", [x],
                   [kind.affine(1 + 2.0**-12, 3)], kind.affine(683 * 2.0**-10, 121), x.shape[1:],
                   {"alpha": 1 + 2.0**-12})  # fmt: skip
    yield case(kind, "leaky relu", "leaky relu, three halves below zero", "LeakyRelu", [x], [kind.affine(192.0, 31)],
               kind.affine(1.0, -5), x.shape[1:], {"alpha": 2.0**-7})  # fmt: skip


TIED_WIDE_SLOPES = ((48691 * 2.0**-16, 48799 * 2.0**-16, 1.0, np.array([[-18930, -26502]], np.int16)),)
"""An input's scale and a slope whose product ties as a multiplier of 31 bits, and integers that tell."""
WIDE_SLOPE = (0.9985334277153015, 1.9822478294372559)
"""A slope and an output's scale: integers next to ties tell 31 bits from one less, and one less in the last."""


def _next_to_halves(kind: Kind) -> np.ndarray:
    """`[1, 256]`: large integers that WIDE_SLOPE brings next to a tie."""
    found = []
    for sign, slope in ((1, 1.0), (-1, WIDE_SLOPE[0])):
        q = sign * np.arange(kind.type.high // 2, kind.type.high)
        found.append(q[np.argsort(np.abs(q * slope / WIDE_SLOPE[1] % 1 - 0.5), kind="stable")[:128]])
    return np.concatenate(found).astype(kind.type.dtype).reshape(1, -1)


def prelu(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer with a slope per channel; TFLite's slopes have 8 bits, whatever its activations have."""
    slopes = kind if kind.type.bits == 8 else KINDS["s8"]
    for family, (sx, ss, sy) in {
        "general scales": (0.05, 0.011, 0.041),
        "powers of two": (0.25, 2.0**-7, 0.5),
        "sixths": (5.0, 0.125, 6.0),
        "tenths": (7.0, 0.125, 10.0),
    }.items():
        if kind.type.bits > 8 and family in ("general scales", "tenths"):
            continue
        channels, zeros = 2 if kind.type.bits > 8 else 5, _zeros(rng, 3)
        x, y, slope = kind.affine(sx, zeros[0]), kind.affine(sy, zeros[2]), slopes.affine(ss, zeros[1])
        values = np.resize(everything(kind.type), (1, channels, 16, 16))
        yield case(kind, "prelu", f"prelu, {family}", "PRelu", [values], [x], y, (channels, 16, 16), {},
                   {"slope": (integers(rng, slopes.type, (channels, 1, 1)), slope)})  # fmt: skip
    if kind.name == "s16":
        quarters = (1.0, 2.0, 4.0, everything(kind.type)[None])
        for sx, ss, sy, x in (quarters, *TIED_WIDE_SLOPES, (1.0, *WIDE_SLOPE, _next_to_halves(kind))):
            yield case(kind, "prelu", f"prelu that tells rules, {ss:g}", "PRelu", [x.reshape(1, 1, 1, -1)],
                       [kind.affine(sx, 0)], kind.affine(sy, 0), (1, 1, x.size), {},
                       {"slope": (np.ones((1, 1, 1), np.int8), slopes.affine(ss, 0))})  # fmt: skip
    if kind.type.bits == 8:  # float32 and float64, quotient and product with the inverse differ
        x, slope = np.resize(everything(kind.type), (1, 5, 16, 16)), kind.affine(0.1, 0)
        given = (np.array([3, 5, 7, 11, 127]) + slope.zero).reshape(-1, 1, 1).astype(kind.type.dtype)
        yield case(kind, "prelu", "prelu beside ties, 3/14", "PRelu", [x], [kind.affine(3.0, 5)],
                   kind.affine(14.0, -3), (5, 16, 16), {}, {"slope": (given, slope)})  # fmt: skip
    if kind.type.bits == 8:
        x, y, slope = kind.affine(13.0, 3), kind.affine(14.0, -5), slopes.affine(0.125, 1)
        integer = np.array([127, -97, 64, -128, 33]).reshape(5, 1, 1) + (0 if slopes.type.signed else 128)
        yield case(kind, "prelu", "prelu, ties that 20 bits miss", "PRelu",
                   [np.resize(everything(kind.type), (1, 5, 16, 16))], [x], y, (5, 16, 16), {},
                   {"slope": (integer.astype(slopes.type.dtype), slope)})  # fmt: skip
    for sx, ss, sy, q, k in TIED_SLOPES if kind.name == "s8" else ():
        x = np.full((1, 1, 1, 2), q, kind.type.dtype)
        slope = np.full((1, 1, 1), k - 128, slopes.type.dtype)
        yield case(kind, "prelu", f"prelu, a multiplier that ties, {sx:g}", "PRelu", [x], [kind.affine(sx, 127)],
                   kind.affine(sy, 127), (1, 1, 2), {}, {"slope": (slope, kind.affine(ss, -128))})  # fmt: skip
    for e in (9, 14, 18, 26) if kind.type.bits == 8 else (14, 18) if kind.name == "s16" else ():
        x, y, slope = kind.affine(0.7 * 2.0**e, 3), kind.affine(1.0, -5), slopes.affine(2.0**-7, 1)
        values = np.resize(everything(kind.type), (1, 2, 16, 16))
        yield case(kind, "prelu", f"prelu, far up, {e}", "PRelu", [values], [x], y, (2, 16, 16), {},
                   {"slope": (integers(rng, slopes.type, (2, 1, 1)), slope)})  # fmt: skip


def requantize(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Every integer from one affine to another."""
    outputs = [None, kind.affine(0.05, -7), kind.affine(0.125, 3), kind.affine(0.02, 1)]
    yield from _unary(kind, "requantize", "Requantize", outputs)
    more = [
        (kind.affine(p, min(2 * p + 1, 59)), kind.affine(q, -3))
        for p, q in (*RATIONALS, (129, 512), (131, 512), (100, 1))
    ]
    more += [(kind.affine(p, -128), kind.affine(q, -128)) for p, q in TIED_QUOTIENTS]
    more += [(kind.affine(0.7 * 2.0**e, 3), kind.affine(1.0, -5)) for e in (9, 14, 18, 26)]
    more += [(kind.affine(0.99 * 2.0 ** (30 - kind.type.bits), -128), kind.affine(1.0, -5))]  # beyond 2^29
    for a, y in more:
        x = everything(kind.type).reshape(1, -1)
        one = case(kind, "requantize", f"requantize, {a.scale[0]:g}/{y.scale[0]:g}", "Requantize", [x], [a], y,
                   x.shape[1:])  # fmt: skip
        yield one
        if kind.name == "s8":
            yield _in_rows(one)
    for shape in ((1,), (15,), (17,), (35,), (3, 5, 3)):
        x, a, y = integers(rng, kind.type, (8, *shape)), kind.affine(0.25, 3), kind.affine(1.0, -7)
        yield case(kind, "requantize", f"requantize of {shape}", "Requantize", [x], [a], y, shape)


def softmax(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Random rows, and rows on which fixed point and float32 differ."""
    wide = 1 << kind.type.bits - 8
    for scale, beta, depth in ((0.1, 1.0, 10), (0.05, 1.0, 33), (0.2, 0.7, 10), (0.02, 1.0, 1000), (0.15, 1.0, 10)):
        x = integers(rng, kind.type, (64 if depth < 100 else 2, depth))
        hard = np.array([row for s, row in HARD_ROWS if s == scale] or [[0] * 10])
        if depth == 10:
            x[: len(hard)] = (hard * wide + (0 if kind.type.signed else 128)).astype(x.dtype)
        yield case(kind, "softmax", f"softmax of {depth}, {scale} {beta}", "Softmax", [x],
                   [kind.affine(scale / wide, 5)], _unit(kind, 0), (depth,), {"axis": 1, "beta": beta})  # fmt: skip

    for scale, beta, far in WIDE_ROWS if kind.name == "s16" else ():
        x = kind.type.high - np.array([np.zeros(len(far), np.int64), far]).T
        yield case(kind, "softmax", f"softmax of pairs, {scale:.6g} {beta:.1g}", "Softmax", [x.astype(np.int16)],
                   [kind.affine(scale, 0)], _unit(kind, 0), (2,), {"axis": 1, "beta": beta})  # fmt: skip
    if kind.name in ORT:  # any output scale, of which two equal ones share 3, or 5, whole steps
        for sy in (0.3, 0.19):
            x = np.array([[kind.type.high] * n + [kind.type.low] * (4 - n) for n in range(1, 5)], kind.type.dtype)
            yield case(kind, "softmax", f"softmax of ties, onto {sy}", "Softmax", [x],
                       [kind.affine(1.0, 5)], kind.affine(sy, -128), (4,), {"axis": 1, "beta": 1.0})  # fmt: skip


HARD_ROWS = (
    (0.1, [55, -102, 93, 98, 60, -97, 47, -24, 90, 51]),
    (0.1, [11, -115, 108, -37, -59, -85, -23, 83, -80, 27]),
    (0.1, [78, 101, -99, 3, 75, -126, -92, 72, -54, 78]),
    (0.1, [92, -29, -53, 54, 90, -20, -84, -77, 122, 14]),
    (0.1, [-70, 46, 39, 76, -40, 122, 30, 25, -87, 111]),
    (0.1, [18, -42, -109, 4, 78, 97, 102, -101, 12, 72]),
    (0.15, [-89, -100, -41, -128, 86, -80, 88, 40, 33, 54]),
)
"""One random row in some 6000 tells the fixed-point softmax from the one in float32, one in 60,000 an inverse of the
sum from a quotient, or float32 from exact terms, and one in 60,000 is a tie of float32; these do."""


WIDE_ROWS = (
    (2.6356778107583523e-05, 1.0, (35196, 59471, 10921, *range(1, 65536, 1021))),
    (4.3185631511732936e-05, 1.0, (38624, *range(1, 65536, 2039))),
    (9.859722194960341e-05, 0.5979659557342529, (23858, 29482, 30877)),
    (8519810 * 2.0**-36, 1.0, tuple(range(8, 12000, 464))),
    (10 / 65535, 1.0, (*range(3550, 3720, 10), *range(7500, 7750, 10))),
    (3.187941789627075, 0.7842170000076294, (1, 2, 3)),
)
"""Of softmax of 16 bits, an input's scale, beta, and how far the lesser of two integers lies from the larger: where a
multiplier of 31 bits ties, where one less or more is seen, where sx beta is not its float32, where the first rounding
ties (second ones do in the first two), and where the tables of 1 / (1 + x) differ; so far found by a search; and where
one step is 2^14 places, or less by 2^-17 where sx beta is no float32."""


# ---- moves -----------------------------------------------------------------------------------------------------


def concat(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Equal affines, and others that are brought to the output's."""
    for family, scales in {
        "equal scales": (0.05, 0.05, 0.05),
        "general scales": (0.0533, 0.0213, 0.0977),
        "powers of two": (0.5, 0.25, 1.0),
        "tenths": (0.2, 0.1, 0.3),
    }.items():
        zeros = [5, 5, 5] if family == "equal scales" else _zeros(rng, 3)
        y, a, b = (kind.affine(s, z) for s, z in zip(scales, zeros, strict=True))
        x = [np.resize(everything(kind.type), (1, 2, 16, 16)), integers(rng, kind.type, (1, 3, 16, 16))]
        yield case(kind, "concat", f"concat, {family}", "Concat", x, [a, b], y, (5, 16, 16), {"axis": 1})
    for left, right, out, axis in (((3, 5, 3), (2, 5, 3), (5, 5, 3), 1), ((3, 2, 3), (3, 1, 3), (3, 3, 3), 2)):
        x = [integers(rng, kind.type, (8, *shape)) for shape in (left, right)]
        y, a, b = (kind.affine(s, z) for s, z in zip((1.0, 0.5, 0.25), (3, 5, -7), strict=True))
        yield case(kind, "concat", f"concat of {left} and {right}", "Concat", x, [a, b], y, out, {"axis": axis})


def pad(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """The zero point around an image."""
    x = kind.affine(0.05, 5)
    yield case(kind, "pad", "pad", "Pad", [integers(rng, kind.type, (2, 3, 4, 5))], [x], x, (3, 7, 8),
               {"pads": (0, 1, 2, 0, 2, 1), "value": 0.0})  # fmt: skip


def resize(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Nearest and linear, in the coordinates that TFLite has; 14 to 16, where exact and float32 places differ."""
    for mode, coordinate, nearest in (
        ("nearest", "asymmetric", "floor"),
        ("nearest", "half_pixel", "round_prefer_ceil"),
        ("linear", "half_pixel", "floor"),
        ("linear", "asymmetric", "floor"),
        ("linear", "align_corners", "floor"),
    ):
        x = kind.affine(0.05, 5)
        yield case(kind, "resize", f"resize {mode} {coordinate}", "Resize", [integers(rng, kind.type, (1, 3, 5, 4))],
                   [x], x, (3, 9, 8), {"mode": mode, "coordinate": coordinate, "nearest": nearest})  # fmt: skip
        if mode == "nearest":  # sizes whose ratio in float32 takes another neighbour than the exact one
            yield case(kind, "resize", f"resize {mode} {coordinate}, far", "Resize",
                       [integers(rng, kind.type, (1, 1, 14, 14))], [x], x, (1, 46, 23),
                       {"mode": mode, "coordinate": coordinate, "nearest": nearest})  # fmt: skip
    values, attributes = integers(rng, kind.type, (1, 1, 14, 14)), {"coordinate": "asymmetric", "nearest": "floor"}
    yield case(kind, "resize", "resize nearest asymmetric, 14 to 16", "Resize", [values], [x], x, (1, 16, 16),
               {"mode": "nearest", **attributes})  # fmt: skip
