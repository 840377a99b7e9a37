"""Requantization in vectors of columns: the rules that fit 32-bit lanes, or 64-bit ones two by two.

Sums int32 `[rows][columns]`, columns a multiple of the lanes that are settled together. A rule's numbers are arrays of
one number a column; the meaning is that of the loops in `requantize`, which are their definition, and of
`rounding.steps` for right, t, below, odd, down. Bound: the multiplications, of which the CPU does one vector of half
as many lanes at a time.
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

# The type of a rule's numbers. The last shift of all but "high" and "float32" is by `right`, and rounds by `t`,
# `below`, `odd` and `down` as `rounding.shifted`, or by what is added before: `half`, and `away` (-1 or 0) to negative
# numbers.
NUMBERS = {"doubled": I32, "shift": I32, "product": I64, "high": I64, "float32": F32}
INT32 = ("right32",)
"""Arrays that are int32 whatever the rule."""


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


def _shifted(b: Any, n: Any, arrays: dict[str, Any]) -> Any:
    """The last shift, in every lane; arrays that are not given are 0, and without `t` the rest is dropped."""
    kind, lanes, right = n.type.element, n.type.count, arrays["right"]
    sign = b.ashr(n, v.constant(kind, lanes, kind.width - 1))
    if "half" in arrays:
        n = b.add(n, arrays["half"])
        n = b.add(n, b.and_(sign, arrays["away"])) if "away" in arrays else n
    q = b.ashr(n, right)
    if "t" not in arrays:
        return q
    t = b.add(arrays["t"], b.and_(arrays["below"], sign)) if "below" in arrays else arrays["t"]
    if "odd" in arrays:
        odd = b.sub(v.constant(kind, lanes, 0), b.and_(q, v.constant(kind, lanes, 1)))
        t = b.add(t, b.and_(arrays["odd"], odd))
    more = b.sext(b.icmp_signed(">", b.sub(n, b.shl(q, right)), t), n.type)  # -1 where one more
    if "down" in arrays:
        down = b.and_(arrays["down"], sign)
        more = b.sub(b.xor(more, down), down)
    return b.sub(q, more)


def _doubled(b: Any, x: Any, arrays: dict[str, Any]) -> Any:
    """The last shift of half_up(x * 2^left * multiplier / 2^31), which int32 holds."""
    lanes = x.type.count // 2
    nudge = v.constant(I64, lanes, 1 << 30)
    x = b.shl(x, arrays["left"]) if "left" in arrays else x
    pairs = zip(_halves(b, x), _halves(b, arrays["multiplier"]), strict=True)
    even, odd = (b.lshr(b.add(b.mul(a, m), nudge), v.constant(I64, lanes, 31)) for a, m in pairs)
    return _shifted(b, _joined(b, even, odd), arrays)


def _products(b: Any, x: Any, arrays: dict[str, Any]) -> list[tuple[Any, dict[str, Any]]]:
    """x * multiplier + add, even and odd lanes, with the other arrays: int64, the even columns before the odd ones."""
    done, places = [], v.constant(I64, x.type.count // 2, 32)
    for half, a in enumerate(_halves(b, x)):
        here = {name: pair[half] for name, pair in arrays.items() if name not in INT32}
        factor = b.ashr(b.shl(here.pop("multiplier"), places), places)  # fits int32: one multiplication
        n = b.mul(a, factor)
        done.append((b.add(n, here.pop("add")) if "add" in here else n, here))
    return done


def _product(b: Any, x: Any, arrays: dict[str, Any]) -> Any:
    """The last shift of x * multiplier, in 64 bits."""
    return _joined(b, *(_shifted(b, n, here) for n, here in _products(b, x, arrays)))


def _high(b: Any, x: Any, arrays: dict[str, Any]) -> Any:
    """floor((x * multiplier + half) / 2^(32 + right32)): the upper half of each product, shifted on in 32 bits."""
    lanes = x.type.count // 2
    even, odd = (b.add(n, here["half"]) for n, here in _products(b, x, arrays))
    upper = b.or_(b.lshr(even, v.constant(I64, lanes, 32)), b.and_(odd, v.constant(I64, lanes, -1 << 32)))
    return b.ashr(b.bitcast(upper, x.type), arrays["right32"])


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
TOGETHER = {"float32": 4, "shift": 4, "doubled": 2, "product": 1, "high": 1}


def lanes_of(rule: str, columns: int) -> int:
    """Columns that a rule settles at once, of so many; 0: it cannot."""
    return next((n * LANES for n in (4, 2, 1) if n <= TOGETHER[rule] and columns % (n * LANES) == 0), 0)


RULES = {"doubled": _doubled, "shift": _shifted, "product": _product, "high": _high}


@cache
def rows(rule: str, to: str, given: tuple[str, ...], lanes: int) -> Any:
    """The intrinsic f(acc, rows, vectors, arrays, after, low, high, out): all addresses but rows, vectors, and ends.

    `arrays`: the address of the addresses of the `given` arrays of the rule. out = clamp(rule(acc) + after).
    """
    kinds = {name: I32 if name in INT32 else NUMBERS[rule] for name in given}

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
                    kind = kinds[name]
                    here = b.add(base, b.mul(at, I64(lanes * (8 if kind is I64 else 4))))
                    if kind is I64:
                        half = v.vector(I64, lanes // 2)
                        found[name] = (v.load(b, here, half), v.load(b, b.add(here, I64(4 * lanes)), half))
                    else:
                        found[name] = v.load(b, here, v.vector(kind, lanes))
                return found

            def one(at: Any, state: Sequence[Any]) -> list[Any]:
                acc, out = state
                after, low, high = ends
                x, found = v.load(b, acc, words), numbers(at)
                if rule == "float32":
                    y = b.add(_float32(b, x, found, b.sub(low, after), b.sub(high, after)), after)
                else:
                    y = b.add(RULES[rule](b, x, found), after)
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
