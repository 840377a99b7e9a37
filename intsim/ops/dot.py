"""Sums of products: Conv and Gemm."""

import itertools

import numpy as np

from intsim.arithmetic import accumulated, held, product, requantized
from intsim.graph import Node, Shape
from intsim.integers import IntType
from intsim.ops.site import Site, positions, rescale, window
from intsim.program import Dot, Overflows, Window
from intsim.target import rules


def lower_conv(node: Node, site: Site) -> Dot:
    """A convolution: weights [o, c/group, *kernel] with channels last."""
    weight, _ = site.constant(1)
    group = node.attributes["group"]
    assert isinstance(group, int)
    return _lower(site, np.moveaxis(weight, 1, -1), window(node), group)


def lower_gemm(node: Node, site: Site) -> Dot:
    """A matrix product: weights [o, k]."""
    weight, _ = site.constant(1)
    return _lower(site, weight, Window(kernel=(), strides=(), dilations=(), begin=(), end=()), 1)


def _lower(site: Site, weight: np.ndarray, win: Window, group: int) -> Dot:
    _, affine = site.constant(1)
    outputs = len(weight)
    alone = weight.shape[-1] == outputs // group == 1
    grouping = ("single" if alone else "dense") if group == 1 else ("depthwise" if alone else "grouped")
    x = site.inputs[0]
    rule = rules(site.target, site.node.op, grouping, x.type.signed, affine.type.signed)
    if affine.axis not in (None, 0):
        raise site.error(f"weights have a scale per slice of axis {affine.axis}", "quantize per output channel")
    bias = np.zeros(outputs, np.int64)
    if site.has(2):
        values, _ = site.constant(2)
        bias = values.astype(np.int64)
        low, high = rule.bias.type.low, rule.bias.type.high
        if bias.size and not (low <= bias.min() and bias.max() <= high):
            raise site.error(f"the bias reaches {np.abs(bias).max()}, the machine takes {rule.bias.type}")
    dot = Dot(
        window=win,
        group=group,
        weight=np.ascontiguousarray(weight),
        weight_zero_point=np.array(affine.zero_point, np.int64),
        bias=bias,
        input_zero_point=x.zero,
        mac=rule.mac,
        bias_rule=rule.bias,
        rescale=rescale(site, rule.requantize, x.scale[0], affine.scale),
    )
    if wrong := misfit(dot, x.type):
        raise site.error(wrong, "quantize symmetric or to fewer bits, or choose another multiplier")
    return dot


def misfit(dot: Dot, type_: IntType) -> str:
    """Why the machine's table of products does not take the operands, activations of `type_` (22); "" where it does."""
    table = dot.mac.multiplier
    if table is None:
        return ""
    x, w = (type_.low, type_.high), dot.weight.astype(np.int64)
    if dot.mac.zero_point == "in_operand":
        x = (x[0] - dot.input_zero_point, x[1] - dot.input_zero_point)
        w = w - dot.weight_zero_point.reshape(-1, *(1,) * (w.ndim - 1))
    less = " less their zero points" if dot.mac.zero_point == "in_operand" else ""
    operands = (("activations", x, table.signed_activations), ("weights", (w.min(), w.max()), table.signed_weights))
    for what, (low, high), signed in operands:
        taken = IntType(8, signed)
        if not taken.low <= low <= high <= taken.high:
            return f"{what}{less} are {low} to {high}, the multiplier takes {taken}"
    return ""


def shape_of_dot(dot: Dot, shape: Shape) -> Shape:
    """One sample's output shape in the inside layout."""
    return (*positions(shape, dot.window), len(dot.weight))


# ---- meaning ---------------------------------------------------------------------------------------------------


def accumulators(dot: Dot, x: np.ndarray) -> tuple[np.ndarray, Overflows]:
    """The raw accumulators of `x[n, *spatial, c]`, bias and zero points in, and their overflows (4)."""
    spatial = shape_of_dot(dot, x.shape[1:])[:-1]
    outputs = len(dot.weight)
    acc = np.zeros((len(x), *spatial, outputs), object)
    hit = adds = persistent = 0
    for n, *place, o in itertools.product(*map(range, acc.shape)):
        taps = list(_taps(dot, x[n], tuple(place), o))
        value, events, exact = _accumulator(dot, taps, o)
        acc[(n, *place, o)] = value
        hit, adds = hit + (events > 0), adds + events
        outer = dot.mac.levels[-1]
        persistent += outer.bits is not None and not -(1 << outer.bits - 1) <= exact < 1 << outer.bits - 1
    per_output = adds_per_output(dot)
    return acc, Overflows(
        outputs=hit, of_outputs=acc.size, adds=adds, of_adds=acc.size * per_output, persistent=persistent
    )


def adds_per_output(dot: Dot) -> int:
    """How many adds one accumulator takes: every item of every level, and the bias."""
    items = int(np.prod(dot.weight.shape[1:]))
    adds = items if dot.mac.product is not None else 0
    for level in dot.mac.levels:
        if level.first_only and level.size is not None:
            adds += min(items, level.size)
            items = 1 + max(items - level.size, 0)
        else:
            adds += items
            items = 1 if level.size is None else -(-items // level.size)
    return adds + 1


def _taps(dot: Dot, image: np.ndarray, place: Shape, o: int) -> list[tuple[int, int]]:
    """(x, w) of every product of one output, in the machine's order; padding has the input's zero point."""
    win, depth = dot.window, dot.weight.shape[-1]
    first = o // (len(dot.weight) // dot.group) * depth
    steps: list[tuple[Shape, int]] = list(itertools.product(itertools.product(*map(range, win.kernel)), range(depth)))
    if dot.mac.order == "chw":
        steps.sort(key=lambda step: step[1])
    taps = []
    for tap, c in steps:
        where = tuple(
            p * s - b + t * d for p, s, b, t, d in zip(place, win.strides, win.begin, tap, win.dilations, strict=True)
        )
        within = all(0 <= i < size for i, size in zip(where, image.shape, strict=False))
        taps.append(
            (
                int(image[(*where, first + c)]) if within else dot.input_zero_point,
                int(dot.weight[(o, *tap, c)]),
            )
        )
    return taps


def _accumulator(dot: Dot, taps: list[tuple[int, int]], o: int) -> tuple[int, int, int]:
    """(accumulator, overflowing adds, exact sum) of one output."""
    zx = dot.input_zero_point
    zw = int(dot.weight_zero_point[o if len(dot.weight_zero_point) > 1 else 0])
    owed = int(dot.bias[o])
    if dot.mac.zero_point == "in_operand":
        taps = [(x - zx, w - zw) for x, w in taps]
    else:
        owed += sum((x - zx) * (w - zw) - x * w for x, w in taps)
    products = [product(x, w, dot.mac.multiplier) for x, w in taps]
    exact = sum(products) + owed
    if dot.bias_rule.when == "init":
        return *accumulated(products, dot.mac, start=owed), exact
    total, events = accumulated(products, dot.mac)
    outer = dot.mac.levels[-1]
    bits, overflow = outer.bits, outer.overflow
    if dot.bias_rule.bits is not None:
        bits, overflow = dot.bias_rule.bits, dot.bias_rule.overflow
    value = held(total + owed, bits, overflow)
    return value, events + (value != total + owed), exact


def dot_meaning(dot: Dot, x: np.ndarray) -> np.ndarray:
    """The output's integers."""
    acc, _ = accumulators(dot, x)
    return requantized_array(dot, acc)


def requantized_array(dot: Dot, acc: np.ndarray) -> np.ndarray:
    """The output's integers from the raw accumulators `[n, ..., o]`."""
    out = np.empty_like(acc)
    for index in np.ndindex(acc.shape):
        out[index] = requantized(int(acc[index]), dot.rescale, index[-1])
    return out
