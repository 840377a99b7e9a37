"""Each layer in plain C, from the target's formulas: `layers.c`."""

from collections.abc import Callable
from typing import Any

from intsim.ops.vectors import rest_of
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Convert,
    Dot,
    Extreme,
    Lookup,
    MaxPool,
    Multiply,
    Offset,
    Pad,
    Program,
    Rearrange,
    Take,
)
from intsim.target import Float32Add
from intsim.vectors.formulas import elements, pairs, windows
from intsim.vectors.formulas.widths import wide_bits
from intsim.vectors.initializers import UnwrittenError, check_fields
from intsim.vectors.layers import Layer

__all__ = ["UnwrittenError", "function", "wide_bits"]


def function(program: Program, layer: Layer) -> str:
    """The C of a layer: `layer_N(in_0, ..., out)`, and `layer_N_accumulators` of sums of products.

    Raises UnwrittenError where the formulas do not have its rule.
    """
    compute = layer.step.compute
    write: Callable[[Program, Layer, Any], str] | None = _WRITERS.get(type(compute))
    if write is None:
        raise UnwrittenError(f"{layer.step.op} has no formula in C")
    if rest_of(compute) is not None:
        raise UnwrittenError("integers that fill no vector have no formula in C")
    if (
        isinstance(compute, Add)
        and isinstance(compute.rule, Float32Add)
        and compute.rule.fused != (compute.rule.first == "b")
    ):
        raise UnwrittenError("sums that begin with the other operand have no formula in C")
    check_fields(compute)
    bits = wide_bits(program, layer)
    if bits > 120:
        raise UnwrittenError(f"its numbers need {bits} bits on the way")
    return write(program, layer, compute)


_WRITERS: dict[type, Callable[[Program, Layer, Any], str]] = {
    Dot: windows.write_dot,
    AveragePool: windows.write_average,
    MaxPool: windows.write_max_pool,
    Add: pairs.write_add,
    Clip: elements.write_clip,
    Offset: elements.write_offset,
    Convert: elements.write_convert,
    Rearrange: elements.write_moves,
    Pad: elements.write_moves,
    Take: elements.write_moves,
    Multiply: pairs.write_multiply,
    Extreme: pairs.write_extreme,
    Lookup: elements.write_lookup,
}
