"""Requantization in vectors of columns: the rules that fit 32-bit lanes, or 64-bit ones two by two.

Sums int32 `[rows][columns]`, columns a multiple of the lanes that are settled together. A rule's numbers are arrays of
one number a column; the meaning is that of the loops in `requantize`, which are their definition, and of
`rounding.steps` for right, t, below, odd. Bound: the multiplications, of which the CPU does one vector of half as many
lanes at a time.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from intsim_kernels import vectors as v
from intsim_kernels.cpu import LANES
from intsim_kernels.memory import word
from intsim_kernels.native import routine
from intsim_kernels.vectors import I8, I16, I32, I64

ACC, COLUMNS, OUT, ADVANCE, AFTER, LOW, HIGH = range(7)
FIRST = 7
"""Where the addresses of a rule's arrays begin."""

TYPES = {"uint8": I8, "int8": I8, "int16": I16, "int32": I32}
F32 = ir.FloatType()

# A rule's arrays, in the order in which a routine wants them, and the type of their numbers.
ARRAYS = {
    "doubled": (I32, ("multiplier", "left", "right", "t", "below", "odd")),
    "shift": (I32, ("add", "right", "t", "below", "odd")),
    "product": (I64, ("multiplier", "add", "right", "t", "below", "odd")),
    "float32": (F32, ("multiplier", "before")),
}


def _halves(b: Any, x: Any) -> tuple[Any, Any]:
    """The even and the odd int32 lanes as int64; only their lower halves are looked at by a multiplication."""
    lanes = x.type.count // 2
    q, places = b.bitcast(x, v.vector(I64, lanes)), v.constant(I64, lanes, 32)
    return b.ashr(b.shl(q, places), places), b.ashr(q, places)


def _joined(b: Any, even: Any, odd: Any) -> Any:
    """int32 lanes from the lower halves of int64 ones."""
    lanes = even.type.count
    low = b.and_(even, v.constant(I64, lanes, 0xFFFFFFFF))
    return b.bitcast(b.or_(low, b.shl(odd, v.constant(I64, lanes, 32))), v.vector(I32, 2 * lanes))


def _shifted(b: Any, n: Any, right: Any, t: Any, below: Any, odd: Any) -> Any:
    """`rounding.shifted` in every lane; `below` and `odd` None: 0; `t` None: rounded down."""
    kind, lanes = n.type.element, n.type.count
    q = b.ashr(n, right)
    if t is None:
        return q
    if below is not None:
        t = b.add(t, b.and_(below, b.ashr(n, v.constant(kind, lanes, kind.width - 1))))
    if odd is not None:
        one = v.constant(kind, lanes, 1)
        t = b.add(t, b.and_(odd, b.sub(v.constant(kind, lanes, 0), b.and_(q, one))))
    more = b.icmp_signed(">", b.sub(n, b.shl(q, right)), t)
    return b.sub(q, b.sext(more, n.type))


def _doubled(b: Any, x: Any, arrays: dict[str, Any]) -> Any:
    lanes = x.type.count // 2
    nudge = v.constant(I64, lanes, 1 << 30)
    x = b.shl(x, arrays["left"]) if "left" in arrays else x
    pairs = zip(_halves(b, x), _halves(b, arrays["multiplier"]), strict=True)
    even, odd = (b.lshr(b.add(b.mul(a, m), nudge), v.constant(I64, lanes, 31)) for a, m in pairs)
    return _shifted(b, _joined(b, even, odd), *(arrays.get(name) for name in ("right", "t", "below", "odd")))


def _shift(b: Any, x: Any, arrays: dict[str, Any]) -> Any:
    x = b.add(x, arrays["add"]) if "add" in arrays else x
    return _shifted(b, x, *(arrays.get(name) for name in ("right", "t", "below", "odd")))


def _product(b: Any, x: Any, arrays: dict[str, Any]) -> Any:
    """Its arrays are int64, the even columns of a vector before the odd ones."""
    done = []
    for half, a in enumerate(_halves(b, x)):
        here = {name: pair[half] for name, pair in arrays.items()}
        places = v.constant(I64, x.type.count // 2, 32)
        factor = b.ashr(b.shl(here["multiplier"], places), places)  # fits int32: one multiplication
        n = b.mul(a, factor)
        n = b.add(n, here["add"]) if "add" in here else n
        done.append(_shifted(b, n, *(here.get(name) for name in ("right", "t", "below", "odd"))))
    return _joined(b, *done)


def _float32(b: Any, x: Any, arrays: dict[str, Any], low: Any, high: Any) -> Any:
    """Clamped before the conversion, to integers that the type holds: nothing changes, and nothing is undefined."""
    lanes = x.type.count
    floats = v.vector(F32, lanes)
    y = b.fmul(b.sitofp(x, floats), arrays["multiplier"])
    y = b.fadd(y, arrays["before"]) if "before" in arrays else y
    y = v.intrinsic(b, f"llvm.roundeven.v{lanes}f32", floats, [y])
    least, most = b.sitofp(low, floats), b.sitofp(high, floats)
    y = b.select(b.fcmp_ordered(">", y, least), y, least)  # no sum is NaN: these are one instruction each
    y = b.select(b.fcmp_ordered("<", y, most), y, most)
    return b.fptosi(y, x.type)


# Vectors that are settled together: narrow results fill a vector, and what only divides them by lanes is shared.
TOGETHER = {"float32": 4, "shift": 4, "doubled": 2, "product": 1}


def lanes_of(rule: str, columns: int) -> int:
    """Columns that a rule settles at once, of so many; 0: it cannot."""
    return next((n * LANES for n in (4, 2, 1) if n <= TOGETHER[rule] and columns % (n * LANES) == 0), 0)


@cache
def rows(rule: str, to: str, given: tuple[str, ...], lanes: int) -> Any:
    """The intrinsic f(acc, rows, vectors, arrays, after, low, high, out): all addresses but rows, vectors, and ends.

    `arrays`: the address of the addresses of the `given` arrays of the rule. out = clamp(rule(acc) + after).
    """
    element, _ = ARRAYS[rule]
    bytes_of = element.width // 8 if element is I64 else 4

    @intrinsic
    def settle(typingctx: Any, acc: Any, n: Any, count: Any, arrays: Any, after: Any, low: Any, high: Any, out: Any):
        def codegen(context: Any, b: Any, signature: Any, args: Any) -> Any:
            acc, n, count, arrays, after, low, high, out = args
            words = v.vector(I32, lanes)
            bases = [v.load(b, b.add(arrays, I64(8 * i)), I64) for i in range(len(given))]
            ends = [v.splat(b, b.trunc(end, I32), lanes) for end in (after, low, high)]
            item = TYPES[to].width // 8

            def numbers(at: Any) -> dict[str, Any]:
                found: dict[str, Any] = {}
                for name, base in zip(given, bases, strict=True):
                    here = b.add(base, b.mul(at, I64(lanes * bytes_of)))
                    if element is I64:
                        half = v.vector(I64, lanes // 2)
                        found[name] = (v.load(b, here, half), v.load(b, b.add(here, I64(4 * lanes)), half))
                    else:
                        found[name] = v.load(b, here, v.vector(element, lanes))
                return found

            def one(at: Any, state: Sequence[Any]) -> list[Any]:
                acc, out = state
                after, low, high = ends
                x, found = v.load(b, acc, words), numbers(at)
                if rule == "float32":
                    y = b.add(_float32(b, x, found, b.sub(low, after), b.sub(high, after)), after)
                else:
                    y = b.add({"doubled": _doubled, "shift": _shift, "product": _product}[rule](b, x, found), after)
                    for name, end in (("smax", low), ("smin", high)):
                        y = v.intrinsic(b, f"llvm.{name}.v{lanes}i32", words, [y, end])
                v.store(b, y if to == "int32" else b.trunc(y, v.vector(TYPES[to], lanes)), out)
                return [b.add(acc, I64(4 * lanes)), b.add(out, I64(item * lanes))]

            v.loop(b, n, [acc, out], lambda _, state: v.loop(b, count, state, one))
            return context.get_dummy_value()

        return types.void(*[types.int64] * 8), codegen

    return settle


ROWS: Any = None
WIDTH = 1


def settle(p, arena, begin, end):
    """Rows begin..end: from scratch to scratch, or, `ADVANCE` bytes a row further, right to where the tensor lies."""
    out = arena + word(p, OUT) + begin * word(p, ADVANCE)
    after, low, high = word(p, AFTER), word(p, LOW), word(p, HIGH)
    ROWS(arena + word(p, ACC), end - begin, word(p, COLUMNS) // WIDTH, p + 8 * FIRST, after, low, high, out)


@cache
def settling(rule: str, to: str, given: tuple[str, ...], lanes: int) -> Any:
    """The routine of a rule with the given arrays, for results of a type, by name, and columns `lanes` at a time."""
    variant = "-".join((rule, to, *given, str(lanes)))
    return routine(settle, variant, ROWS=rows(rule, to, given, lanes), WIDTH=lanes)
