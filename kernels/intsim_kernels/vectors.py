"""Vectors in LLVM's language: the few phrases of which the micro-kernels are made."""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def vector(kind: Any, lanes: int) -> Any:
    """The type <lanes x kind>."""
    return ir.VectorType(kind, lanes)


def constant(kind: Any, lanes: int, values: int | Sequence[int]) -> Any:
    """A vector of one number, or of the given ones."""
    return ir.Constant(vector(kind, lanes), [values] * lanes if isinstance(values, int) else list(values))


def intrinsic(b: Any, name: str, result: Any, args: Sequence[Any]) -> Any:
    """A call of LLVM's own function `name`."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return b.call(cgutils.get_or_insert_function(b.module, kind, name), args)


def shuffle(b: Any, x: Any, y: Any, lanes: Sequence[int]) -> Any:
    """The lanes, counted through x and then y, as one vector."""
    return b.shuffle_vector(x, y, constant(I32, len(lanes), lanes))


def splat(b: Any, scalar: Any, lanes: int) -> Any:
    """The scalar in every lane."""
    undefined = ir.Constant(vector(scalar.type, lanes), ir.Undefined)
    return shuffle(b, b.insert_element(undefined, scalar, I32(0)), undefined, [0] * lanes)


def load(b: Any, address: Any, kind: Any) -> Any:
    """What lies at the address, aligned or not."""
    return b.load(b.inttoptr(address, kind.as_pointer()), align=1)


def store(b: Any, value: Any, address: Any) -> None:
    """Writes the value to the address, aligned or not."""
    b.store(value, b.inttoptr(address, value.type.as_pointer()), align=1)


def loop(b: Any, count: Any, state: Sequence[Any], body: Callable[[Any, Sequence[Any]], Sequence[Any]]) -> list[Any]:
    """The state after `count` times state = body(index, state); the state lives in registers."""
    entry = b.block
    head, inside, done = (b.append_basic_block(name) for name in ("head", "inside", "done"))
    b.branch(head)
    b.position_at_end(head)
    index, before = b.phi(I64), [b.phi(value.type) for value in state]
    b.cbranch(b.icmp_signed("<", index, count), inside, done)
    b.position_at_end(inside)
    after = body(index, before)
    index.add_incoming(I64(0), entry)
    index.add_incoming(b.add(index, I64(1)), b.block)
    for phi, first, later in zip(before, state, after, strict=True):
        phi.add_incoming(first, entry)
        phi.add_incoming(later, b.block)
    b.branch(head)
    b.position_at_end(done)
    return before


def dot_pairs(b: Any, acc: Any, x: Any, y: Any) -> Any:
    """acc[i] + x[2i] * y[2i] + x[2i + 1] * y[2i + 1]: int16 operands, int32 sums, which wrap.

    Generic: x86 makes of it vpdpwssd, or vpmaddwd and vpaddd.
    """
    lanes = acc.type.count
    wide = vector(I32, 2 * lanes)
    m = b.mul(b.sext(x, wide), b.sext(y, wide))
    even, odd = (shuffle(b, m, m, range(first, 2 * lanes, 2)) for first in (0, 1))
    return b.add(acc, b.add(even, odd))


def dot_quads(b: Any, acc: Any, x: Any, y: Any, *, native: bool, signed: bool = False) -> Any:
    """acc[i] + the sum of x[4i + j] * y[4i + j], j in 0..3: x unsigned, y signed bytes, int32 sums, which wrap.

    `native`: by vpdpbusd, which the CPU must have; else by the same sums written out, for CPUs that are to check
    what is meant for others; `signed`: x as well, what Arm's sdot does.
    """
    lanes = acc.type.count
    if native:
        words = vector(I32, lanes)
        name = f"llvm.x86.avx512.vpdpbusd.{lanes * 32}"
        return intrinsic(b, name, words, [acc, b.bitcast(x, words), b.bitcast(y, words)])
    wide = vector(I32, 4 * lanes)
    m = b.mul(b.sext(x, wide) if signed else b.zext(x, wide), b.sext(y, wide))
    for first in range(4):
        acc = b.add(acc, shuffle(b, m, m, range(first, 4 * lanes, 4)))
    return acc


def dot_quads_arm(b: Any, acc: Any, x: Any, y: Any) -> Any:
    """As `dot_quads` with x signed: Arm's sdot."""
    return intrinsic(b, "llvm.aarch64.neon.sdot.v4i32.v16i8", acc.type, [acc, x, y])


def clamp(b: Any, x: Any, low: Any, high: Any) -> Any:
    """min(max(x, low), high), signed."""
    kind = f"v{x.type.count}i{x.type.element.width}"
    return intrinsic(b, f"llvm.smin.{kind}", x.type, [intrinsic(b, f"llvm.smax.{kind}", x.type, [x, low]), high])


def at_least(b: Any, x: Any, low: Any) -> Any:
    """max(x, low), signed."""
    return intrinsic(b, f"llvm.smax.v{x.type.count}i{x.type.element.width}", x.type, [x, low])


def saturating_add(b: Any, x: Any, y: Any) -> Any:
    """x + y, saturated to the lanes' own limits. int16 is one instruction of x86, int32 none."""
    return intrinsic(b, f"llvm.sadd.sat.v{x.type.count}i{x.type.element.width}", x.type, [x, y])


def saturating_dot_pairs(b: Any, acc: Any, x: Any, y: Any, *, native: bool) -> Any:
    """As `dot_pairs`, but acc plus both products saturates to int32, once; one of every two products is 0.

    `native`: by vpdpwssds, which the CPU must have.
    """
    words = acc.type
    if native:
        name = f"llvm.x86.avx512.vpdpwssds.{words.count * 32}"
        return intrinsic(b, name, words, [acc, b.bitcast(x, words), b.bitcast(y, words)])
    return saturating_add(b, acc, dot_pairs(b, constant(I32, words.count, 0), x, y))


# Saturated sums of adjacent products of bytes, and sums of adjacent int16: x86's names by the vectors' bits.
_PAIRS_OF_BYTES = {128: "ssse3.pmadd.ub.sw.128", 256: "avx2.pmadd.ub.sw", 512: "avx512.pmaddubs.w.512"}
_PAIRS_OF_WORDS = {128: "sse2.pmadd.wd", 256: "avx2.pmadd.wd", 512: "avx512.pmaddw.d.512"}


def dot_saturating_quads(b: Any, acc: Any, x: Any, y: Any, *, native: bool) -> Any:
    """acc[i] + two pairs of products x[4i + j] * y[4i + j], each pair saturated to int16: x unsigned, y signed bytes.

    The outer sums wrap. `native`: by vpmaddubsw and vpmaddwd, which the CPU must have.
    """
    lanes = acc.type.count
    shorts = vector(I16, 2 * lanes)
    if native:
        pairs = intrinsic(b, f"llvm.x86.{_PAIRS_OF_BYTES[lanes * 32]}", shorts, [x, y])
        ones = constant(I16, 2 * lanes, 1)
        return b.add(acc, intrinsic(b, f"llvm.x86.{_PAIRS_OF_WORDS[lanes * 32]}", acc.type, [pairs, ones]))
    wide = vector(I16, 4 * lanes)
    m = b.mul(b.zext(x, wide), b.sext(y, wide))  # 255 * -128 fits
    pairs = saturating_add(b, *(shuffle(b, m, m, range(first, 4 * lanes, 2)) for first in (0, 1)))
    return dot_pairs(b, acc, pairs, constant(I16, 2 * lanes, 1))
