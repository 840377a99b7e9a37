"""A Program's steps as TOSA's operators: CONV2D, pools, RESCALE and what stands between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.errors import IntsimError
from intsim.integers import Rounding
from intsim.program import (
    Add,
    AveragePool,
    Convert,
    Dot,
    Extreme,
    MaxPool,
    Multiply,
    Pad,
    Program,
    Rescale,
    Step,
    Window,
)
from intsim.target import FixedPoint, Reciprocal, RescaledSum, ThreeRescales

Graph = dict[str, Any]


class _Draft(Struct, kw_only=True, eq=False):
    """Operators in turn, and of every tensor its type as TOSA names it; the arrays of inputs and constants."""

    ops: list[Graph] = []
    arrays: dict[str, np.ndarray] = {}
    types: dict[str, str] = {}
    shapes: dict[str, tuple[int, ...]] = {}


def graph(program: Program, x: Mapping[str, np.ndarray]) -> tuple[Graph, dict[str, np.ndarray]]:
    """Operators in turn with their types, and the arrays of inputs and constants; `x` as the Program has it inside.

    IntsimError where TOSA has no such operator, or not with these numbers.
    """
    draft = _Draft()
    held = {name: _constant(draft, values, f"INT{8 * values.itemsize}") for name, values in x.items()}
    given = list(held.values())
    for step in program.steps:
        tensor = program.tensors[step.outputs[0]]
        (zero,) = tensor.affine.zero_point
        shape, type_ = (len(draft.arrays[given[0]]), *tensor.shape), f"INT{tensor.affine.type.bits}"
        held[step.outputs[0]] = _step(draft, step, [held[name] for name in step.inputs], shape, type_, zero)
    made = {"inputs": given, "types": draft.types, "ops": draft.ops, "shape": shape}
    return made, draft.arrays


def _step(draft: _Draft, step: Step, inputs: list[str], shape: tuple[int, ...], type_: str, zero: int) -> str:
    x = inputs[0]
    match step.compute:
        case Dot() as dot:
            return _rescale(draft, _dot(draft, dot, x, shape), dot.rescale, type_, 0)
        case AveragePool(rule=Reciprocal(normalized=True), rescale=None, include_pad=False) as pool:
            zeros = [_constant(draft, [z], type_) for z in (pool.input_zero_point, pool.output_zero_point)]
            x, arguments = _windowed(draft, x, pool.window)
            return _op(draft, "AVG_POOL2D", [x, *zeros], shape, type_, arguments)
        case AveragePool(rule=RescaledSum(), rescale=Rescale() as rescale) as pool:
            return _rescale(draft, _total(draft, x, pool), rescale, type_, 0)
        case MaxPool(window=window):
            x, arguments = _windowed(draft, x, window)
            return _op(draft, "MAX_POOL2D", [x], shape, type_, arguments)
        case Convert() as convert:
            parts = [
                name if rescale is None else _rescale(draft, name, rescale, type_, zx)
                for name, rescale, zx in zip(inputs, convert.rescales, convert.input_zero_points, strict=True)
            ]
            if len(parts) == 1:
                return parts[0]
            return _op(draft, "CONCAT", parts, shape, type_, {"axis": convert.axis + 1})
        case Add(rule=ThreeRescales(inputs=None, powers_of_two=None)) as add:
            return _sum(draft, add, inputs, shape, type_)
        case Multiply() as multiply:
            both = _both(draft, multiply, inputs, multiply.zero_points)
            made = _op(draft, "MUL", [*both, _constant(draft, [0], "INT8")], shape, "INT32")
            return _rescale(draft, made, multiply.rescale, type_, 0)
        case Extreme() as extreme:
            both = _both(draft, extreme, inputs, (0, 0))
            made = _op(draft, "MAXIMUM" if extreme.largest else "MINIMUM", both, shape, "INT32")
            return _scaled(draft, made, [1 << 30], [30], type_, 0, 0)
        case Pad(between=between) as pad if not any(between):
            around = [0, 0, *(side for pair in zip(pad.begin, pad.end, strict=True) for side in pair)]
            names = [_constant(draft, around, "SHAPE"), _constant(draft, [pad.value], type_)]
            return _op(draft, "PAD", [x, *names], shape, type_)
        case _:
            raise IntsimError(f"{step.op} is not written as TOSA here", where=step.name)


def _op(
    draft: _Draft, op: str, inputs: list[str], shape: Sequence[int], type_: str, arguments: Graph | None = None
) -> str:
    name = f"t{len(draft.ops)}"
    draft.ops.append({"op": op, "inputs": inputs, "out": name, "shape": shape, "arguments": arguments or {}})
    draft.types[name], draft.shapes[name] = type_, tuple(shape)
    return name


def _constant(draft: _Draft, values: Any, type_: str) -> str:
    name = f"c{len(draft.arrays)}"
    dtype = np.int64 if type_ in ("INT48", "SHAPE") else np.dtype(type_.lower())
    draft.arrays[name] = np.asarray(values, dtype)
    draft.types[name], draft.shapes[name] = type_, draft.arrays[name].shape
    return name


def _windowed(draft: _Draft, x: str, window: Window) -> tuple[str, Graph]:
    """The pool's input without what no window reaches, which TOSA does not take; and its arguments."""
    if len(window.kernel) != 2 or set(window.dilations) != {1}:
        raise IntsimError("is no window over two axes", where="TOSA")
    n, *size, c = draft.shapes[x]
    around = [window.begin, window.end]
    rest = [
        (m + sum(pads) - k) % s
        for m, pads, k, s in zip(size, zip(*around, strict=True), window.kernel, window.strides, strict=True)
    ]
    ends = [max(end - r, 0) for end, r in zip(window.end, rest, strict=True)]
    kept = [m - (r - (end - new)) for m, r, end, new in zip(size, rest, window.end, ends, strict=True)]
    if kept != size:
        shape = (n, *kept, c)
        names = [_constant(draft, values, "SHAPE") for values in ([0] * len(shape), shape)]
        x = _op(draft, "SLICE", [x, *names], shape, draft.types[x])
    pads = [side for pair in zip(window.begin, ends, strict=True) for side in pair]
    return x, {"kernel": window.kernel, "stride": window.strides, "pad": pads}


def _pads(window: Window) -> list[int]:
    """[top, bottom, left, right]."""
    return [side for pair in zip(window.begin, window.end, strict=True) for side in pair]


def _dot(draft: _Draft, dot: Dot, x: str, shape: tuple[int, ...]) -> str:
    """The sum with its bias: int32 of int8, int48 of int16."""
    weight, window, depthwise, plain = dot.weight, dot.window, dot.group > 1, dot.weight.ndim == 2
    if weight.ndim not in (2, 4) or (depthwise and (weight.shape[-1] != 1 or len(weight) != dot.group)):
        raise IntsimError("is neither CONV2D nor DEPTHWISE_CONV2D", where="TOSA")
    wide = draft.types[x] == "INT16"
    bits = 48 if wide else 32
    if not -(1 << bits - 1) <= int(dot.bias.min()) <= int(dot.bias.max()) < 1 << bits - 1:
        raise IntsimError(f"has biases of more than {bits} bits", where="TOSA")
    if plain:
        values = draft.arrays[x]
        draft.arrays[x] = values.reshape(len(values), 1, 1, -1)
        weight, shape = weight.reshape(len(weight), 1, 1, -1), (len(values), 1, 1, shape[-1])
    weight = np.moveaxis(weight, 0, -1).reshape(*weight.shape[1:3], -1, 1) if depthwise else weight
    zeros = np.unique(dot.weight_zero_point)
    if len(zeros) != 1:
        raise IntsimError("has a zero point per channel", where="TOSA")
    names = [
        _constant(draft, weight, "INT8"),
        _constant(draft, dot.bias, f"INT{bits}"),
        _constant(draft, [dot.input_zero_point], draft.types[x]),
        _constant(draft, zeros, "INT8"),
    ]
    arguments = {
        "pad": [0] * 4 if plain else _pads(window),
        "stride": (1, 1) if plain else window.strides,
        "dilation": (1, 1) if plain else window.dilations,
        "accumulator": f"INT{bits}",
    }
    return _op(draft, "DEPTHWISE_CONV2D" if depthwise else "CONV2D", [x, *names], shape, f"INT{bits}", arguments)


def _total(draft: _Draft, x: str, pool: AveragePool) -> str:
    """The sum of q - zx over the whole map."""
    n, *size, c = draft.shapes[x]
    if pool.window.kernel != tuple(size):
        raise IntsimError("is no sum over the whole map", where="TOSA")
    total = _widened(draft, x, pool.input_zero_point, 0)
    for axis in range(1, len(size) + 1):
        shape = (n, *(1 if i < axis else m for i, m in enumerate(size)), c)
        total = _op(draft, "REDUCE_SUM", [total], shape, "INT32", {"axis": axis})
    return total


def _sum(draft: _Draft, add: Add, inputs: list[str], shape: tuple[int, ...], type_: str) -> str:
    """Both operands shifted left, RESCALEd, added, RESCALEd."""
    rule = add.rule
    assert isinstance(rule, ThreeRescales)
    if add.multiplier is None or add.exponent is None or add.constant is not None:
        raise IntsimError("adds a constant", where="TOSA")
    m, e = add.multiplier, add.exponent
    rescales = [
        Rescale(rule=rule.requantize, multiplier=m[i : i + 1], exponent=e[i : i + 1], zero_point=z, low=0, high=0)
        for i, z in enumerate((0, 0, add.zero_point))
    ]
    both = [
        _rescale(draft, _widened(draft, x, zero, rule.left_shift), rescale, "INT32", 0)
        for x, zero, rescale in zip(inputs, add.zero_points, rescales[:2], strict=True)
    ]
    made = _op(draft, "SUB" if add.subtract else "ADD", both, shape, "INT32")
    return _rescale(draft, made, rescales[2], type_, 0)


def _both(draft: _Draft, pair: Multiply | Extreme, inputs: list[str], zeros: tuple[int, int]) -> list[str]:
    """The operands in int32, less their zero points; one may be a constant."""
    if pair.constant is None:
        return [_widened(draft, x, zero, 0) for x, zero in zip(inputs, zeros, strict=True)]
    at = 0 if pair.constant_first else 1
    both = [_widened(draft, inputs[0], zeros[1 - at], 0)]
    both.insert(at, _constant(draft, pair.constant[None].astype(np.int32) - zeros[at], "INT32"))
    return both


def _widened(draft: _Draft, x: str, zero: int, left: int) -> str:
    """(q - zero) * 2^left in int32; RESCALE by one, because a RESCALE by 2^left does not take every integer."""
    wide = _scaled(draft, x, [1 << 30], [30], "INT32", zero, 0)
    if left == 0:
        return wide
    shape = draft.shapes[x]
    by = _constant(draft, np.full((1,) * len(shape), left), "INT32")
    return _op(draft, "LOGICAL_LEFT_SHIFT", [wide, by], shape, "INT32")


def _rescale(draft: _Draft, x: str, rescale: Rescale, type_: str, zero: int) -> str:
    rule, multiplier, exponent = rescale.rule, rescale.multiplier, rescale.exponent
    if not isinstance(rule, FixedPoint) or multiplier is None or exponent is None or rule.bits not in (15, 31):
        raise IntsimError("has a requantizer that RESCALE does not have", where="TOSA")
    double = rule.first is Rounding.HALF_UP and rule.rounding is Rounding.HALF_AWAY
    return _scaled(
        draft, x, multiplier, rule.bits - exponent, type_, zero, rescale.zero_point, double=double, bits=rule.bits
    )


def _scaled(
    draft: _Draft,
    x: str,
    multiplier: Any,
    shift: Any,
    type_: str,
    zero: int,
    zero_y: int,
    *,
    double: bool = False,
    bits: int = 31,
) -> str:
    least, most = int(np.min(shift)), int(np.max(shift))
    if least < 2 or most > 62:
        raise IntsimError(f"shifts by {least} to {most}, RESCALE by 2 to 62", where="TOSA")
    arguments = {"double": double, "per_channel": len(multiplier) > 1, "scale32": bits == 31}
    names = [
        _constant(draft, multiplier, f"INT{bits + 1}"),
        _constant(draft, shift, "INT8"),
        _constant(draft, [zero], draft.types[x]),
        _constant(draft, [zero_y], type_),
    ]
    return _op(draft, "RESCALE", [x, *names], draft.shapes[x], type_, arguments)
