"""Routines: kernels that are told everything by a table of integers, and the loop that runs a whole network of them.

A routine is `f(p, arena, begin, end)`, four int64: p is the address of its parameters (int64 each), `arena` that of the
memory of this thread, begin..end are the rows to do. A parameter is a number, the address of a constant array, or an
offset into the arena. No routine allocates what grows with its rows.
"""

import re
from collections.abc import Callable
from types import FunctionType
from typing import Any

from numba import types

from intsim_kernels.compiled import kernel
from intsim_kernels.memory import call

SIGNATURE = (types.int64,) * 4


def routine(function: Callable[..., Any], variant: str = "", **parts: Any) -> Callable[..., Any]:
    """The function as a routine; `parts` stand for its globals of that name, and `variant` names what they make it."""
    if not parts:
        return kernel(function)
    assert isinstance(function, FunctionType)
    made = FunctionType(function.__code__, {**function.__globals__, **parts}, function.__name__)
    # numba makes the symbol of the qualified name and a number that starts again in every process: variants that two
    # processes compiled would meet as one symbol in a third, which loads both from disk.
    made.__module__ = function.__module__
    made.__qualname__ = function.__qualname__ + re.sub(r"\W", "_", f"_{variant}")
    return kernel(made, f"-{variant}")


def address(routine: Any) -> int:
    """Where the compiled routine lies; compiles it, or loads it from disk."""
    routine.compile(SIGNATURE)
    compiled = routine.overloads[SIGNATURE]
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_cfunc_wrapper_name))


@kernel
def run(steps, calls, arena, images):
    """Every step in turn: its calls, on blocks of its rows.

    `steps` int64 `[s, 4]`: the first call, the number of calls, rows an image, rows a block. `calls` int64 `[c, 2]`:
    the routine's address, its parameters' address. `arena`: an address.
    """
    for s in range(len(steps)):
        first, count, rows, block = steps[s, 0], steps[s, 1], steps[s, 2] * images, steps[s, 3]
        for begin in range(0, rows, block):
            end = min(begin + block, rows)
            for c in range(first, first + count):
                call(calls[c, 0], calls[c, 1], arena, begin, end)
