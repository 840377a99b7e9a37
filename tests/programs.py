"""Random Programs of one step, over every rule, size and width that the records can say; for engine and ranges."""

from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.arithmetic import multiplier_bits
from intsim.graph import Graph
from intsim.integers import Affine, IntType, Overflow, Rounding, affine
from intsim.ops import output_shape
from intsim.ops.dot import misfit
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Door,
    Dot,
    Extreme,
    Interpolate,
    Lookup,
    MaxPool,
    Multiply,
    Offset,
    Pad,
    Program,
    Rearrange,
    Rescale,
    Softmax,
    Step,
    Take,
    Tensor,
    Window,
)
from intsim.quantized import QuantizedGraph
from intsim.target import (
    AlignedAdd,
    Bias,
    Cast,
    ClippedAdd,
    DequantizedAdd,
    Divide,
    Factors,
    FixedPoint,
    Float32Add,
    Float32Average,
    Float32Requantize,
    Float32Scale,
    Float32Softmax,
    Float64Scale,
    GemmlowpSoftmax,
    InterpolatedSoftmax,
    Level,
    Mac,
    PowerOfTwo,
    QuotientSoftmax,
    Reciprocal,
    RequantizedSum,
    RescaledSum,
    ShiftedAdd,
    Target,
    ThreeRescales,
    Thresholds,
    TwoMultipliers,
)

Rng = np.random.Generator
MACHINE = Target(name="any", description="")
EMPTY = Graph(name="none", inputs=(), outputs=(), nodes=(), constants={}, shapes={})


def one_of(rng: Rng, *choices: Any) -> Any:
    return choices[rng.integers(len(choices))]


def any_rounding(rng: Rng) -> Rounding:
    return one_of(rng, *Rounding)


def any_overflow(rng: Rng) -> Overflow:
    return one_of(rng, Overflow.WRAP, Overflow.SATURATE, *Overflow)


def any_type(rng: Rng, most: int = 16) -> IntType:
    bits = one_of(rng, 8, 8, 8, 4, int(rng.integers(1, most + 1)))
    return IntType(bits, signed=bool(rng.integers(2)) or bits == 1)


def any_affine(rng: Rng, kind: IntType) -> Affine:
    zero = one_of(rng, 0, int(rng.integers(kind.low, kind.high + 1)))
    return affine(rng.uniform(0.01, 0.1), min(max(zero, kind.low), kind.high), kind)


def integers(rng: Rng, kind: IntType, shape: tuple[int, ...]) -> np.ndarray:
    """Integers of a type: spread evenly, near its ends, or few different from 0."""
    even = rng.integers(kind.low, kind.high + 1, shape)
    ends = rng.choice([kind.low, kind.high], shape)
    sparse = np.where(rng.random(shape) < 0.2, even, min(max(0, kind.low), kind.high))
    return np.asarray(one_of(rng, even, ends, sparse)).astype(kind.dtype)


def any_cast(rng: Rng) -> Cast:
    return Cast(
        bits=int(rng.integers(2, 34)),
        signed=bool(rng.integers(4)),
        shift=int(one_of(rng, 0, 0, rng.integers(0, 9))),
        rounding=any_rounding(rng),
        overflow=any_overflow(rng),
        fraction_bits=one_of(rng, None, None, int(rng.integers(1, 9))),
    )


def any_mac(rng: Rng) -> Mac:
    """One to three levels, from hopelessly narrow to exact; some are the saturating pairs of x86."""
    if not rng.integers(8):
        pairs = Level(size=2, bits=16, overflow=Overflow.SATURATE)
        return Mac(
            levels=(pairs, Level(bits=int(one_of(rng, 32, rng.integers(10, 33))))),
            zero_point=one_of(rng, "folded", "in_operand"),
            order=one_of(rng, "hwc", "chw"),
        )
    levels = []
    for _ in range(one_of(rng, 0, 1, 1, 2)):
        bits = one_of(rng, None, 16, int(rng.integers(2, 40)))
        size = int(one_of(rng, 1, 2, 2, 4, rng.integers(1, 12)))
        levels.append(Level(size=size, bits=bits, overflow=any_overflow(rng), first_only=not rng.integers(6)))
    bits = one_of(rng, None, 32, 64, int(rng.integers(2, 30)), int(rng.integers(8, 24)))
    levels.append(Level(bits=bits, overflow=any_overflow(rng)))
    return Mac(
        levels=tuple(levels),
        product=any_cast(rng) if not rng.integers(5) else None,
        write_back=any_cast(rng) if not rng.integers(8) else None,
        zero_point=one_of(rng, "in_operand", "folded"),
        order=one_of(rng, "hwc", "chw"),
    )


def any_bias(rng: Rng) -> Bias:
    return Bias(
        type=IntType(32),
        when=one_of(rng, "init", "end"),
        bits=one_of(rng, None, None, 32, int(rng.integers(4, 40))),
        overflow=any_overflow(rng),
    )


def any_requantize(rng: Rng) -> Any:
    middle = any_cast(rng) if not rng.integers(3) else None
    zero = one_of(rng, "after", "before")
    match rng.integers(8):
        case 0:
            return FixedPoint(first=Rounding.HALF_UP, rounding=any_rounding(rng))
        case 1 | 7:
            bits = int(one_of(rng, 31, 31, 15, rng.integers(2, 63)))
            first = one_of(rng, None, Rounding.HALF_UP, any_rounding(rng))
            return FixedPoint(
                bits=bits,
                first=first,
                rounding=any_rounding(rng),
                register=int(one_of(rng, 32, 32, rng.integers(8, 65))),
                middle=middle,
                zero_point=zero,
                keep=one_of(rng, None, None, int(rng.integers(1, bits + 1))),
                product=one_of(rng, None, None, 32, int(rng.integers(2, 65))) if first is None else None,
                doubled=one_of(rng, None, None, 32, int(rng.integers(2, 65))) if first is None else None,
                sum=one_of(rng, None, None, 16, int(rng.integers(2, 65))) if zero == "after" else None,
            )
        case 2:
            return PowerOfTwo(rounding=any_rounding(rng), middle=middle, zero_point=zero)
        case 3:
            return Float32Scale(
                rounding=one_of(rng, Rounding.HALF_EVEN, any_rounding(rng)),
                zero_point=zero,
                converted=one_of(rng, None, None, 32, 16),
            )
        case 4:
            return Float64Scale(rounding=any_rounding(rng), zero_point=zero)
        case 5:
            return Float32Requantize()
        case _:
            return Thresholds()


def any_rescale(rng: Rng, rule: Any, out: Affine, channels: int, reach: float) -> Rescale:
    """Numbers that bring accumulators of about `reach` to the output's range, sometimes far off."""
    c = int(one_of(rng, 1, channels))
    target = max(abs(out.type.low), abs(out.type.high)) * rng.uniform(0.2, 4, c)
    scale = target / max(reach, 1.0) * 2.0 ** one_of(rng, 0, 0, 0, int(rng.integers(-20, 6)))
    numbers: dict[str, Any] = {}
    match rule:
        case FixedPoint():
            mantissa, e = np.frexp(scale)
            m = np.floor(mantissa * 2.0 ** multiplier_bits(rule)).astype(np.int64)
            numbers = {"multiplier": m, "exponent": np.maximum(e, -rule.bits).astype(np.int64)}
        case PowerOfTwo():
            numbers = {"exponent": np.frexp(scale)[1].astype(np.int64)}
        case Float32Scale():
            numbers = {"multiplier": scale.astype(np.float32)}
        case Float64Scale():
            numbers = {"multiplier": scale}
        case Float32Requantize():
            numbers = {"multiplier": np.array([scale[0] * 0.05, 0.05], np.float32)}
        case Thresholds():
            levels = min(out.type.high - out.type.low, 20)
            steps = np.sort(rng.integers(-int(reach) - 1, int(reach) + 2, (c, levels)), 1)
            numbers = {"thresholds": steps.astype(np.int64)}
    return Rescale(
        rule=rule,
        zero_point=out.zero,
        low=out.type.low,
        high=out.type.high,
        overflow=one_of(rng, Overflow.SATURATE, Overflow.SATURATE, any_overflow(rng)),
        **numbers,
    )


def any_window(rng: Rng, sizes: tuple[int, ...], dilated: bool = True) -> Window:
    kernel, strides, dilations, begin, end = [], [], [], [], []
    for size in sizes:
        d = int(rng.integers(1, 3)) if dilated and not rng.integers(3) else 1
        k = int(rng.integers(1, min(4, (size + 1) // d + 1) + 1)) if size > 1 else 1
        while d * (k - 1) + 1 > size:
            k -= 1
        span = d * (k - 1) + 1
        kernel.append(k)
        dilations.append(d)
        strides.append(int(rng.integers(1, 4)))
        begin.append(int(rng.integers(0, min(span, 3))) if rng.integers(2) else 0)
        end.append(int(rng.integers(0, min(span, 3))) if rng.integers(2) else 0)
    return Window(
        kernel=tuple(kernel), strides=tuple(strides), dilations=tuple(dilations), begin=tuple(begin), end=tuple(end)
    )


def any_spatial(rng: Rng) -> tuple[int, ...]:
    rank = int(one_of(rng, 0, 1, 2, 2, 2))
    return tuple(int(n) for n in rng.integers(1, 6, rank))


# ---- computations ----------------------------------------------------------------------------------------------


def any_dot(rng: Rng, mac: Mac | None = None, x: IntType | None = None) -> tuple[Dot, tuple[int, ...], Affine, Affine]:
    """A Dot, its input's shape, and the affines of its input and output."""
    sizes = any_spatial(rng)
    groups = int(one_of(rng, 1, 1, rng.integers(1, 4))) if sizes else 1
    depth = int(one_of(rng, 1, rng.integers(1, 7))) if sizes else int(one_of(rng, *rng.integers(1, [8, 40, 300])))
    outputs = groups * int(one_of(rng, 1, rng.integers(1, 7), rng.integers(1, 20)))
    kind = any_type(rng) if x is None else x
    source, out = any_affine(rng, kind), any_affine(rng, any_type(rng))
    window = any_window(rng, sizes) if sizes else Window(kernel=(), strides=(), dilations=(), begin=(), end=())
    weight_type = any_type(rng)
    weight = integers(rng, weight_type, (outputs, *window.kernel, depth))
    zeros = rng.integers(weight_type.low, weight_type.high + 1, int(one_of(rng, 1, outputs)))
    bias = rng.integers(-1, 2, outputs) * rng.integers(0, 1 << int(rng.integers(1, 22)), outputs)
    reach = float(np.abs(weight.astype(float)).reshape(outputs, -1).sum(1).mean() * max(abs(kind.low), kind.high) / 3)
    dot = Dot(
        window=window,
        group=groups,
        weight=weight,
        weight_zero_point=(zeros * (not rng.integers(3))).astype(np.int64),
        bias=bias.astype(np.int64),
        input_zero_point=source.zero,
        mac=any_mac(rng) if mac is None else mac,
        bias_rule=any_bias(rng),
        rescale=any_rescale(rng, any_requantize(rng), out, outputs, reach),
    )
    if misfit(dot, kind):
        dot = replace(dot, mac=replace(dot.mac, write_back=None))
    return dot, (*sizes, depth * groups), source, out


def dot_program(rng: Rng, mac: Mac | None = None, x: IntType | None = None) -> Program:
    """A Program of one random sum of products."""
    dot, shape, source, out = any_dot(rng, mac, x)
    return one_program(dot, [shape], [source], out)


def _any_average(rng: Rng) -> Any:
    return one_of(
        rng,
        Divide(rounding=any_rounding(rng), centred=bool(rng.integers(2))),
        Reciprocal(
            bits=int(rng.integers(8, 32)),
            rounding=any_rounding(rng),
            stages=one_of(rng, 1, 2),
            centred=bool(rng.integers(4)),
            normalized=not rng.integers(3),
        ),
        Factors(factors=((1, 2, 5, 3), (2, 2, 1, 2)), reach=int(rng.integers(2, 200)), rounding=any_rounding(rng)),
        Float32Average(),
        RescaledSum(requantize=any_requantize(rng)),
    )


def _pool(rng: Rng, source: Affine, out: Affine, window: Window) -> AveragePool:
    rule = _any_average(rng)
    reach = float(max(abs(source.type.low - source.zero), abs(source.type.high - source.zero)))
    rescale = None
    if isinstance(rule, RescaledSum):
        rescale = any_rescale(rng, rule.requantize, out, 1, reach * float(np.prod(window.kernel)))
    elif not isinstance(rule, Float32Average) and source != out:
        rescale = any_rescale(rng, any_requantize(rng), out, 1, reach)
    return AveragePool(
        window=window,
        include_pad=bool(rng.integers(2)),
        rule=rule,
        input_zero_point=source.zero,
        output_zero_point=out.zero,
        low=out.type.low,
        high=out.type.high,
        scales=np.array([source.scale[0], out.scale[0]], np.float32),
        rescale=rescale,
    )


def any_add(rng: Rng, sources: list[Affine], out: Affine) -> Add:
    """A sum by any rule, its numbers near those of real scales."""
    rule = one_of(
        rng,
        ThreeRescales(left_shift=int(rng.integers(0, 21)), requantize=_any_fixed(rng)),
        TwoMultipliers(
            bits=int(rng.integers(4, 32)),
            rounding=any_rounding(rng),
            middle=one_of(rng, None, None, any_cast(rng)),
        ),
        ShiftedAdd(rounding=any_rounding(rng)),
        Float32Add(fused=bool(rng.integers(2)), first=one_of(rng, "a", "b")),
        AlignedAdd(rounding=any_rounding(rng)),
        ClippedAdd(),
        DequantizedAdd(),
        RequantizedSum(requantize=any_requantize(rng)),
    )
    ratio = rng.uniform(0.1, 4, 3).astype(np.float32)
    multiplier, exponent, rescale = None, None, None
    match rule:
        case ThreeRescales():
            bits = multiplier_bits(rule.requantize)
            multiplier = rng.integers(1 << (bits - 1), 1 << bits, 3)
            exponent = np.array([*rng.integers(-3, 1, 2), rng.integers(-rule.left_shift - 2, 3 - rule.left_shift)])
        case TwoMultipliers():
            multiplier = rng.integers(0, 1 << rule.bits, 2)
            exponent = np.array([rule.bits - rng.integers(0, 3)])
        case ShiftedAdd():
            exponent = rng.integers(-2, 12, 2)
        case AlignedAdd():
            exponent = np.array([*rng.integers(0, 6, 2), rng.integers(-7, 3)])
        case Float32Add():
            multiplier = np.array([ratio[0], ratio[1], np.float32(rng.uniform(-500, 500))], np.float32)
        case ClippedAdd():
            multiplier = ratio[:2]
        case DequantizedAdd():
            multiplier = ratio
        case RequantizedSum():
            reach = float(sum(max(abs(end - s.zero) for end in (s.type.low, s.type.high)) for s in sources))
            rescale = any_rescale(rng, rule.requantize, out, 1, reach)
    return Add(
        rule=rule,
        zero_points=(sources[0].zero, sources[1].zero),
        zero_point=out.zero,
        low=out.type.low,
        high=out.type.high,
        multiplier=multiplier,
        exponent=exponent,
        rescale=rescale,
        subtract=not rng.integers(3),
    )


def _any_fixed(rng: Rng) -> FixedPoint:
    while not isinstance(rule := any_requantize(rng), FixedPoint):
        pass
    return rule


def any_constant(rng: Rng, kind: IntType, shape: tuple[int, ...]) -> np.ndarray:
    """An operand for a tensor of that shape: one integer, one a channel, or one for each integer."""
    some = one_of(rng, (1,) * len(shape), (*(1 for _ in shape[1:]), shape[-1]), shape)
    return integers(rng, kind, some)


def pair_program(rng: Rng) -> Program:
    """A sum, a difference, a product or an extreme of two operands, which broadcast, or of which one is constant."""
    shape = (*(any_spatial(rng) or (3,)), int(rng.integers(1, 6)))
    kinds = [any_type(rng), any_type(rng)]
    sources = [any_affine(rng, kind) for kind in kinds]
    out = one_of(rng, sources[0], any_affine(rng, any_type(rng)))
    other = one_of(rng, shape, tuple(int(one_of(rng, 1, size)) for size in shape))
    what, constant = rng.integers(3), None
    if what == 2:
        sources, kinds, out = [sources[0]] * 2, [kinds[0]] * 2, sources[0]
    if not rng.integers(3):
        constant = any_constant(rng, kinds[1], shape)
    pair: Add | Multiply | Extreme
    first = constant is not None and bool(rng.integers(2))
    order = sources[::-1] if first else sources
    if what == 0:
        pair = any_add(rng, order, out)
    elif what == 1:
        reach = float(max(abs(k.low - s.zero) for k, s in zip(kinds, sources, strict=True))) ** 2
        rule = any_rescale(rng, any_requantize(rng), out, 1, reach)
        pair = Multiply(zero_points=(order[0].zero, order[1].zero), rescale=rule)
    else:
        pair = Extreme(largest=bool(rng.integers(2)))
    pair = replace(pair, constant=constant, constant_first=first)
    if constant is not None:
        return one_program(pair, [shape], sources[:1], out)
    return one_program(pair, [shape, other] if rng.integers(2) else [other, shape], order, out)


def softmax_program(rng: Rng) -> Program:
    """A softmax along any axis, by any rule, of exponentials of any scale."""
    shape = (*any_spatial(rng), int(rng.integers(1, 9)))
    source, out = any_affine(rng, any_type(rng)), any_affine(rng, any_type(rng))
    levels = source.type.high - source.type.low + 1
    step = rng.uniform(0.001, 0.3)
    terms, rule = np.exp(-step * np.arange(levels)), one_of(rng, 0, 1, 2, 3)
    numbers: dict[str, Any]
    if rule == 0:
        bits = int(rng.integers(1, 31))
        table = np.rint(terms * (1 << bits)).astype(np.int64)
        multiplier = np.array([rng.integers(1, 1 << int(rng.integers(1, 50)))])
        numbers = {
            "rule": QuotientSoftmax(bits=bits, rounding=any_rounding(rng)), "table": table, "multiplier": multiplier,
        }  # fmt: skip
    elif rule == 1:
        table = np.minimum(np.rint(terms * (1 << 31)), (1 << 31) - 1).astype(np.int64)
        numbers = {"rule": GemmlowpSoftmax(), "table": np.where(np.arange(levels) > rng.integers(1, 400), -1, table)}
    elif rule == 2:
        numbers = {
            "rule": InterpolatedSoftmax(),
            "table": np.rint(terms * rng.integers(1 << 14, 1 << 15)).astype(np.int64),
            "multiplier": rng.integers(-(1 << 15), 1 << 15, 513),
        }
    else:
        how = one_of(rng, "inverse", "quotient")
        factor = 2.0 ** -rng.integers(4, 12) if how == "inverse" else np.floor(rng.uniform(16, 5000))
        numbers = {
            "rule": Float32Softmax(division=how, rounding=any_rounding(rng)),
            "table": terms.astype(np.float32) * np.float32(1 if how == "inverse" else 1e30),
            "multiplier": np.array([factor], np.float32),
        }
    ends = {"zero_point": out.zero, "low": out.type.low, "high": out.type.high}
    return one_program(Softmax(axis=int(rng.integers(len(shape))), **ends, **numbers), [shape], [source], out)


def lookup_program(rng: Rng) -> Program:
    """A table of random integers, one for all channels or one for each."""
    shape = (*any_spatial(rng), int(rng.integers(1, 9)))
    source, out = any_affine(rng, any_type(rng)), any_affine(rng, any_type(rng))
    entries = (source.type.high - source.type.low + 1, *one_of(rng, (), (shape[-1],)))
    return one_program(Lookup(low=source.type.low, table=integers(rng, out.type, entries)), [shape], [source], out)


def other_program(rng: Rng) -> Program:
    """A Program of one random step that is no sum of products."""
    sizes = any_spatial(rng) or (3,)
    shape = (*sizes, int(rng.integers(1, 6)))
    source = any_affine(rng, any_type(rng))
    out = one_of(rng, source, any_affine(rng, any_type(rng)))
    compute: Compute
    if rng.integers(4) == 0:
        return one_of(rng, pair_program, pair_program, softmax_program, lookup_program)(rng)
    match rng.integers(9):
        case 0:
            return one_program(MaxPool(window=any_window(rng, sizes)), [shape], [source], source)
        case 1 | 2:
            window = any_window(rng, sizes, dilated=False)
            return one_program(_pool(rng, source, out, window), [shape], [source], out)
        case 3 | 4:
            other = any_affine(rng, any_type(rng))
            return one_program(any_add(rng, [source, other], out), [shape, shape], [source, other], out)
        case 5:
            low, high = sorted(rng.integers(source.type.low, source.type.high + 1, 2).tolist())
            return one_program(Clip(low=low, high=high), [shape], [source], source)
        case 6:
            count, axis = int(rng.integers(1, 4)), int(rng.integers(len(shape)))
            shapes = [(*shape[:axis], int(rng.integers(1, 5)), *shape[axis + 1 :]) for _ in range(count)]
            sources = [one_of(rng, out, any_affine(rng, any_type(rng))) for _ in range(count)]
            compute = Convert(
                axis=axis,
                input_zero_points=tuple(s.zero for s in sources),
                rescales=tuple(
                    None if s == out else any_rescale(rng, any_requantize(rng), out, 1, float(s.type.high))
                    for s in sources
                ),
            )
            return one_program(compute, shapes, sources, out)
        case 7:
            kind = IntType(source.type.bits, not source.type.signed)
            offset = kind.low - source.type.low
            moved = affine(source.scale[0], source.zero + offset, kind)
            return one_program(Offset(offset=offset), [shape], [source], moved)
        case _:
            return one_program(any_move(rng, shape, source.zero), [shape], [source], source)


def any_move(rng: Rng, shape: tuple[int, ...], zero: int) -> Compute:
    """Integers put elsewhere, left out, repeated, surrounded by others, or mixed with their neighbours."""
    match rng.integers(4):
        case 0:
            begin, end, gaps = (tuple(int(n) for n in rng.integers(0, 3, len(shape))) for _ in range(3))
            return Pad(begin=begin, end=end, value=zero, between=one_of(rng, (), gaps))
        case 1:
            some = [rng.integers(0, size, int(rng.integers(1, 2 * size + 1))) for size in shape]
            return Take(indices=tuple(one_of(rng, index, None) for index in some))
        case 2:
            bits = int(rng.integers(1, 16))
            counts = [int(rng.integers(1, 8)) for _ in shape[:-1]]
            sides = [[rng.integers(0, n, m) for n, m in zip(shape, counts, strict=False)] for _ in range(2)]
            parts = [rng.uniform(0, 1, m).astype(np.float32) for m in counts]
            floats = len(counts) == 2 and bool(rng.integers(0, 2))
            return Interpolate(
                weights=tuple(np.stack([1 - part, part]) for part in parts) if floats else (),
                lower=tuple(sides[0]),
                upper=tuple(sides[1]),
                fraction=tuple(rng.integers(0, (1 << bits) + 1, m) for m in counts),
                bits=bits,
                rounding=one_of(rng, *(mode for mode in Rounding if mode is not Rounding.CARRY_SHIFT)),
            )
        case _:
            before = tuple(int(n) for n in rng.permutation(len(shape)))
            return Rearrange(before=before, shape=(int(np.prod(shape)),), after=(0,))


def any_program(rng: Rng) -> Program:
    """A Program of one random step."""
    return dot_program(rng) if rng.integers(2) else other_program(rng)


def one_program(compute: Compute, shapes: list[tuple[int, ...]], sources: list[Affine], out: Affine) -> Program:
    """A Program of one step."""
    names = [f"x{i}" for i in range(len(shapes))]
    tensors = {n: Tensor(shape=s, affine=a) for n, s, a in zip(names, shapes, sources, strict=True)}
    tensors["y"] = Tensor(shape=output_shape(compute, *shapes), affine=out)

    def outside(shape: tuple[int, ...]) -> tuple[int, ...]:
        return (shape[-1], *shape[:-1])

    return Program(
        name="any",
        inputs={n: Door(tensor=n, shape=outside(tensors[n].shape), affine=tensors[n].affine) for n in names},
        outputs={"y": Door(tensor="y", shape=outside(tensors["y"].shape), affine=out)},
        tensors=tensors,
        steps=(
            Step(
                name="step",
                op=type(compute).__name__,
                inputs=tuple(names),
                outputs=("y",),
                target=MACHINE.name,
                compute=compute,
            ),
        ),
        targets={MACHINE.name: MACHINE},
        source=QuantizedGraph(graph=EMPTY, affines={}),
    )


def any_input(rng: Rng, program: Program, images: int) -> dict[str, np.ndarray]:
    """Integers for a Program's doors, which take them as they are."""
    return {name: integers(rng, door.affine.type, (images, *door.shape)) for name, door in program.inputs.items()}
