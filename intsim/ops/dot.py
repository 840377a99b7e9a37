"""Sums of products: Conv, ConvTranspose and Gemm."""

import itertools
import math

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import accumulated, held, moved, product, requantized, shifted, tail_of
from intsim.graph import Node, Shape
from intsim.integers import Affine, IntType, Rounding
from intsim.ops.site import Site, ints, positions, rescale, window
from intsim.ops.wiring import shape_of_pad
from intsim.program import Dot, Overflows, Pad, Take, Window
from intsim.target import Extent, Mac, Rules, rules


def lower_conv(node: Node, site: Site) -> Dot:
    """A convolution: weights [o, c/group, *kernel] with channels last."""
    weight, _ = site.constant(1)
    group = node.attributes["group"]
    assert isinstance(group, int)
    return _lower(site, np.moveaxis(weight, 1, -1), window(node), group)


def lower_conv_transpose(node: Node, site: Site) -> tuple[Pad | Take | Dot, ...]:
    """The inputs spread by the strides, then a convolution with the kernel turned round (36).

    Weights [c, o/group, *kernel]; what the padding takes away beyond the kernel's reach is cut from the inputs.
    """
    weight, affine = site.constant(1)
    group = node.attributes["group"]
    assert isinstance(group, int)
    given, more = window(node), ints(node, "output_padding")
    reach = [d * (k - 1) for d, k in zip(given.dilations, given.kernel, strict=True)]
    begin = [r - p for r, p in zip(reach, given.begin, strict=True)]
    end = [r - p + m for r, p, m in zip(reach, given.end, more, strict=True)]
    rank, shape, steps = len(reach), site.shape(node.inputs[0]), list[Pad | Take | Dot]()
    if max(given.strides) > 1:
        none = (0,) * (rank + 1)
        spread = Pad(begin=none, end=none, value=site.inputs[0].zero, between=(*(s - 1 for s in given.strides), 0))
        steps.append(spread)
        shape = shape_of_pad(spread, shape)
    if min(*begin, *end) < 0:
        kept = [np.arange(max(-b, 0), size - max(-e, 0)) for b, e, size in zip(begin, end, shape, strict=False)]
        steps.append(Take(indices=(*kept, None)))
    win = Window(
        kernel=given.kernel,
        strides=(1,) * rank,
        dilations=given.dilations,
        begin=tuple(max(b, 0) for b in begin),
        end=tuple(max(e, 0) for e in end),
    )
    c, each = weight.shape[0] // group, weight.shape[1]
    grouped = weight.reshape(group, c, each, *given.kernel)
    turned = np.flip(np.moveaxis(grouped, 1, -1), tuple(range(2, 2 + rank))).reshape(group * each, *given.kernel, c)
    if affine.axis == 1:
        zeros = affine.zero_point if len(affine.zero_point) == 1 else affine.zero_point * group
        affine = replace(affine, axis=0, scale=affine.scale * group, zero_point=zeros)
    elif affine.axis is not None:
        raise site.error(f"weights have a scale per slice of axis {affine.axis}", "quantize per output channel")
    return *steps, _lower(site, turned, win, group, affine)


def lower_gemm(node: Node, site: Site) -> Dot:
    """A matrix product: weights [o, k]."""
    weight, _ = site.constant(1)
    return _lower(site, weight, Window(kernel=(), strides=(), dilations=(), begin=(), end=()), 1)


def _lower(site: Site, weight: np.ndarray, win: Window, group: int, affine: Affine | None = None) -> Dot:
    """The sum of products with weights [o, *kernel, c / group], whose affine is that of the constant, or is given."""
    affine = site.constant(1)[1] if affine is None else affine
    outputs = len(weight)
    grouping = _grouping(group, weight.shape[-1], outputs)
    x = site.inputs[0]
    places = math.prod(site.shape(site.node.outputs[0])[:-1])
    extent = Extent(places=places, products=math.prod(weight.shape[1:]), outputs=outputs)
    rule = rules(site.target, site.node.op, grouping, x.type.signed, affine.type.signed, extent)
    if affine.axis not in (None, 0):
        raise site.error(f"weights have a scale per slice of axis {affine.axis}", "quantize per output channel")
    coarser = 0 if rule.mac.write_back is None else rule.mac.write_back.shift
    bias = _bias(site, rule, coarser, outputs)
    coarser += 0 if rule.mac.product is None else rule.mac.product.shift
    settled = rescale(site, rule.requantize, math.ldexp(x.scale[0], coarser), affine.scale)
    settled = replace(settled, **tail_of(rule.requantize, places, outputs))
    dot = Dot(
        window=win,
        group=group,
        weight=np.ascontiguousarray(weight),
        weight_zero_point=np.array(affine.zero_point, np.int64),
        bias=bias,
        input_zero_point=x.zero,
        mac=rule.mac,
        bias_rule=rule.bias,
        rescale=settled,
    )
    if wrong := misfit(dot, x.type):
        raise site.error(wrong, "quantize symmetric or to fewer bits, or choose another multiplier")
    return dot


def _grouping(group: int, inputs: int, outputs: int) -> str:
    """What an Override calls a sum with so many groups, inputs a group, and outputs."""
    if group == 1:
        return "single" if inputs == outputs == 1 else "dense"
    return "grouped" if inputs > 1 else "depthwise" if outputs == group else "multiplied"


def _bias(site: Site, given: Rules, coarser: int, outputs: int) -> np.ndarray:
    """The bias at the scale of the sum that it is added to, which is `coarser` bits coarser where that is at the end.

    Where products lose bits before they are added, the bias loses them too, with the same rounding.
    """
    rule, cast = given.bias, given.mac.product
    if not site.has(2):
        return np.zeros(outputs, np.int64)
    values, _ = site.constant(2)
    added = [int(v) if cast is None else moved(int(v), cast) for v in values]
    exact = [shifted(v, coarser if rule.when == "end" else 0, Rounding.HALF_AWAY) for v in added]
    held, units = exact, 0
    if rule.shifted:
        units = min(((v & -v).bit_length() - 1 for v in exact if v), default=0)
        held = [v >> units for v in exact]
    if exact and not rule.type.low <= min(held) <= max(held) <= rule.type.high:
        most = max(exact, key=abs)
        if rule.shifted:
            what = f"the bias reaches {most} in units of {1 << units}, the machine takes {rule.type} times one"
            raise site.error(what, "quantize for this machine, so that a layer's biases share a power of two")
        raise site.error(f"the bias reaches {abs(most)}, the machine takes {rule.type}")
    return np.array(exact, np.int64)


def misfit(dot: Dot, type_: IntType) -> str:
    """Why the machine does not take the operands, activations of `type_`; "" where it does.

    Its table of products (22) has operands of 8 bits; a sum that is shifted when it is written back leaves no place for
    what folded zero points owe at the end.
    """
    table, to = dot.mac.multiplier, dot.mac.write_back
    owing = dot.mac.zero_point == "folded" and (dot.input_zero_point or dot.weight_zero_point.any())
    if owing and to is not None and to.shift and dot.bias_rule.when == "end":
        return "zero points are folded into a bias that is added after the sum was shifted"
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
    per_output = adds_per_output(dot.mac, int(np.prod(dot.weight.shape[1:])))
    return acc, Overflows(
        outputs=hit, of_outputs=acc.size, adds=adds, of_adds=acc.size * per_output, persistent=persistent
    )


def adds_per_output(mac: Mac, items: int) -> int:
    """How many adds a sum of so many products takes: every item of every level, the bias, what is only held."""
    adds = items if mac.product is not None else 0
    for level in mac.levels:
        if level.first_only and level.size is not None:
            adds += min(items, level.size)
            items = 1 + max(items - level.size, 0)
        else:
            adds += items
            items = 1 if level.size is None else -(-items // level.size)
    return adds + 1 + (mac.write_back is not None)


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
    """(accumulator, overflowing adds, exact sum at the scale of the products) of one output."""
    zx = dot.input_zero_point
    zw = int(dot.weight_zero_point[o if len(dot.weight_zero_point) > 1 else 0])
    owed = int(dot.bias[o])
    if dot.mac.zero_point == "in_operand":
        taps = [(x - zx, w - zw) for x, w in taps]
    else:
        owed += sum((x - zx) * (w - zw) - x * w for x, w in taps)
    products = [product(x, w, dot.mac.multiplier) for x, w in taps]
    if dot.bias_rule.when == "init":
        return *accumulated(products, dot.mac, start=owed), sum(products) + owed
    finer = 0 if dot.mac.write_back is None else dot.mac.write_back.shift
    exact = sum(products) + shifted(owed, -finer, Rounding.HALF_AWAY)
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
        place = 0
        for at, size in zip(index[1:-1], acc.shape[1:-1], strict=True):
            place = place * size + at
        out[index] = requantized(int(acc[index]), dot.rescale, index[-1], place)
    return out
