"""The operators: how each becomes a computation on integers, and what every computation means in plain integers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.graph import Node
from intsim.ops import dot, elementwise, pool, wiring
from intsim.ops.site import Site
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Dot,
    MaxPool,
    Offset,
    Pad,
    Rearrange,
)


class Op(Struct, frozen=True, kw_only=True):
    """An operator: `lower` gives its computation on a machine.

    `keeps_scale`: it moves, picks or clips integers and makes none, so its input and its output share an affine.
    """

    lower: Callable[[Node, Site], Compute]
    keeps_scale: bool = False


OPS: dict[str, Op] = {
    "Add": Op(lower=elementwise.lower_add),
    "AveragePool": Op(lower=pool.lower_average_pool),
    "Clip": Op(lower=elementwise.lower_clip, keeps_scale=True),
    "Concat": Op(lower=elementwise.lower_concat),
    "Conv": Op(lower=dot.lower_conv),
    "Flatten": Op(lower=wiring.lower_reshape, keeps_scale=True),
    "Gemm": Op(lower=dot.lower_gemm),
    "GlobalAveragePool": Op(lower=pool.lower_global_average_pool),
    "MaxPool": Op(lower=pool.lower_max_pool, keeps_scale=True),
    "Pad": Op(lower=wiring.lower_pad, keeps_scale=True),
    "Relu": Op(lower=elementwise.lower_relu, keeps_scale=True),
    "Reshape": Op(lower=wiring.lower_reshape, keeps_scale=True),
}

MEANINGS: dict[type, Callable[..., np.ndarray]] = {
    Add: elementwise.add_meaning,
    AveragePool: pool.average_pool_meaning,
    Clip: elementwise.clip_meaning,
    Convert: elementwise.convert_meaning,
    Dot: dot.dot_meaning,
    MaxPool: pool.max_pool_meaning,
    Offset: elementwise.offset_meaning,
    Pad: wiring.pad_meaning,
    Rearrange: wiring.rearrange_meaning,
}


def meaning(compute: Any, *inputs: np.ndarray) -> np.ndarray:
    """The computation's output integers, from its inputs `[n, ...]` in the inside layout."""
    return MEANINGS[type(compute)](compute, *inputs)
