"""The operators: how each becomes a computation on integers, and what every computation means in plain integers."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.graph import Node, Shape
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


class Meaning(Struct, frozen=True):
    """A computation in plain integers: its outputs from its inputs, and one sample's output shape from theirs."""

    outputs: Callable[..., np.ndarray]
    shape: Callable[..., Shape]


MEANINGS: dict[type, Meaning] = {
    Add: Meaning(elementwise.add_meaning, elementwise.same_shape),
    AveragePool: Meaning(pool.average_pool_meaning, pool.shape_of_pool),
    Clip: Meaning(elementwise.clip_meaning, elementwise.same_shape),
    Convert: Meaning(elementwise.convert_meaning, elementwise.shape_of_convert),
    Dot: Meaning(dot.dot_meaning, dot.shape_of_dot),
    MaxPool: Meaning(pool.max_pool_meaning, pool.shape_of_pool),
    Offset: Meaning(elementwise.offset_meaning, elementwise.same_shape),
    Pad: Meaning(wiring.pad_meaning, wiring.shape_of_pad),
    Rearrange: Meaning(wiring.rearrange_meaning, wiring.shape_of_rearrange),
}


def meaning(compute: Compute, *inputs: np.ndarray) -> np.ndarray:
    """The computation's output integers, from its inputs `[n, ...]` in the inside layout."""
    return MEANINGS[type(compute)].outputs(compute, *inputs)


def output_shape(compute: Compute, *shapes: Shape) -> Shape:
    """One sample's output shape, from its inputs' shapes in the inside layout."""
    return MEANINGS[type(compute)].shape(compute, *shapes)
