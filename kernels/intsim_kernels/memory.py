"""Memory by address: how kernels that are told a table of numbers get at their operands."""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

INT64 = ir.IntType(64)


@intrinsic
def pointer(typingctx: Any, address: Any) -> Any:
    """The address as what `carray` takes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], cgutils.voidptr_t)

    return types.voidptr(types.int64), codegen


@intrinsic
def word(typingctx: Any, address: Any, index: Any) -> Any:
    """The int64 at address + 8 * index."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = builder.add(args[0], builder.mul(args[1], INT64(8)))
        return builder.load(builder.inttoptr(at, INT64.as_pointer()), align=8)

    return types.int64(types.int64, types.int64), codegen


@intrinsic
def put_word(typingctx: Any, address: Any, index: Any, value: Any) -> Any:
    """Writes the int64 at address + 8 * index."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        at = builder.add(args[0], builder.mul(args[1], INT64(8)))
        builder.store(args[2], builder.inttoptr(at, INT64.as_pointer()), align=8)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def call(typingctx: Any, function: Any, p: Any, arena: Any, begin: Any, end: Any) -> Any:
    """Calls the routine at the address `function`: see `routine`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = ir.FunctionType(ir.VoidType(), [INT64] * 4)
        builder.call(builder.inttoptr(args[0], kind.as_pointer()), args[1:])
        return context.get_dummy_value()

    return types.void(*[types.int64] * 5), codegen
