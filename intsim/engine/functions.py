"""Functions of activations planned: tables of one integer, softmax along an axis."""

from typing import Any

import numpy as np

from intsim.arithmetic import INVERSE
from intsim.engine.codes import rounding_code
from intsim.engine.rescale import LIMIT
from intsim.engine.step import Run, plain
from intsim.graph import Shape
from intsim.program import Lookup, Softmax
from intsim.target import Float32Softmax, GemmlowpSoftmax, InterpolatedSoftmax, QuotientSoftmax


def plan_lookup(lookup: Lookup, dtype: np.dtype) -> tuple[str, str, Run]:
    """table[q - low], or table[q - low, c]."""
    table, low = np.ascontiguousarray(lookup.table.astype(dtype)), lookup.low
    if table.ndim == 1:
        return "table", "", lambda x: table[x.astype(np.intp) - low]
    columns = np.arange(table.shape[1])
    return "table", "", lambda x: table[x.astype(np.intp) - low, columns]


def plan_softmax(softmax: Softmax, shape: Shape, dtype: np.dtype) -> tuple[str, str, Run]:
    """Softmax of rows along its axis."""
    from intsim_kernels import softmax as kernels

    axis, table = softmax.axis + 1, np.array(softmax.table)
    numbers: tuple[Any, ...]
    ends = (softmax.zero_point, softmax.low, softmax.high)
    match softmax.rule:
        case QuotientSoftmax(rounding=rounding):
            assert softmax.multiplier is not None
            inverse = int(softmax.multiplier[0])
            largest = int(table.max())
            if max(largest * shape[softmax.axis] << INVERSE, largest * inverse) >= LIMIT:
                return plain(softmax, dtype, "numbers beyond 64 bits")
            kernel, numbers = "quotients", (table, inverse, INVERSE, rounding_code(rounding), *ends)
        case GemmlowpSoftmax():
            bits = (softmax.high - softmax.low + 1).bit_length() - 1
            kernel, numbers = "fixed_quotients", (table, bits, *ends)
        case Float32Softmax(division=division, rounding=rounding):
            assert softmax.multiplier is not None
            how = (int(division == "inverse"), rounding_code(rounding))
            kernel, numbers = "float_quotients", (table, np.float32(softmax.multiplier[0]), *how, *ends)
        case InterpolatedSoftmax():
            assert softmax.multiplier is not None
            kernel, numbers = "interpolated_quotients", (table, np.array(softmax.multiplier), *ends)
    routine = getattr(kernels, kernel)

    def run(x: np.ndarray) -> np.ndarray:
        rows = np.ascontiguousarray(np.moveaxis(x, axis, -1)).astype(np.int32, copy=False)
        out = np.empty((rows.size // rows.shape[-1], rows.shape[-1]), np.int64)
        routine(rows.reshape(out.shape), out, *numbers)
        return np.moveaxis(out.reshape(rows.shape).astype(dtype), -1, axis)

    return f"softmax, {kernel}", "", run
