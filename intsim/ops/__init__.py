"""The operators: how each becomes a computation on integers, and what every computation means in plain integers."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.graph import Node, Shape
from intsim.ops import dot, elementwise, lookup, matmul, pairs, pool, resize, softmax, wiring
from intsim.ops.site import Site
from intsim.ops.vectors import beyond, rest_of
from intsim.program import (
    Add,
    AveragePool,
    Clip,
    Compute,
    Convert,
    Dot,
    Extreme,
    Interpolate,
    Lookup,
    MatMul,
    MaxPool,
    Multiply,
    Offset,
    Pad,
    Rearrange,
    Softmax,
    Take,
)


class Op(Struct, frozen=True, kw_only=True):
    """An operator: `lower` gives its computation on a machine, or several in turn, each on what the one before gives.

    `keeps_scale`: it moves, picks or clips integers and makes none, so its input and its output share an affine.
    """

    lower: Callable[[Node, Site], Compute | tuple[Compute, ...]]
    keeps_scale: bool = False


OPS: dict[str, Op] = {
    "Add": Op(lower=pairs.lower_add),
    "AveragePool": Op(lower=pool.lower_average_pool),
    "Clip": Op(lower=elementwise.lower_clip, keeps_scale=True),
    "Concat": Op(lower=elementwise.lower_concat),
    "Conv": Op(lower=dot.lower_conv),
    "ConvTranspose": Op(lower=dot.lower_conv_transpose),
    "Elu": Op(lower=lookup.lower_function),
    "Flatten": Op(lower=wiring.lower_reshape, keeps_scale=True),
    "Gelu": Op(lower=lookup.lower_function),
    "Gemm": Op(lower=dot.lower_gemm),
    "GlobalAveragePool": Op(lower=pool.lower_global_average_pool),
    "HardSigmoid": Op(lower=lookup.lower_function),
    "HardSwish": Op(lower=lookup.lower_function),
    "LeakyRelu": Op(lower=lookup.lower_function),
    "MatMul": Op(lower=matmul.lower_matmul),
    "Max": Op(lower=pairs.lower_extreme, keeps_scale=True),
    "MaxPool": Op(lower=pool.lower_max_pool, keeps_scale=True),
    "Min": Op(lower=pairs.lower_extreme, keeps_scale=True),
    "Mish": Op(lower=lookup.lower_function),
    "Mul": Op(lower=pairs.lower_multiply),
    "PRelu": Op(lower=lookup.lower_prelu),
    "Pad": Op(lower=wiring.lower_pad, keeps_scale=True),
    "Relu": Op(lower=elementwise.lower_relu, keeps_scale=True),
    "Requantize": Op(lower=elementwise.lower_requantize),
    "Reshape": Op(lower=wiring.lower_reshape, keeps_scale=True),
    "Resize": Op(lower=resize.lower_resize, keeps_scale=True),
    "Rsqrt": Op(lower=lookup.lower_function),
    "Sigmoid": Op(lower=lookup.lower_function),
    "Slice": Op(lower=wiring.lower_slice, keeps_scale=True),
    "Softmax": Op(lower=softmax.lower_softmax),
    "Softplus": Op(lower=lookup.lower_function),
    "Sub": Op(lower=pairs.lower_add),
    "Tanh": Op(lower=lookup.lower_function),
    "Transpose": Op(lower=wiring.lower_transpose, keeps_scale=True),
}


class Meaning(Struct, frozen=True):
    """A computation in plain integers: its outputs from its inputs, and one sample's output shape from theirs."""

    outputs: Callable[..., np.ndarray]
    shape: Callable[..., Shape]


MEANINGS: dict[type, Meaning] = {
    Add: Meaning(pairs.add_meaning, pairs.shape_of_pair),
    AveragePool: Meaning(pool.average_pool_meaning, pool.shape_of_pool),
    Clip: Meaning(elementwise.clip_meaning, elementwise.same_shape),
    Convert: Meaning(elementwise.convert_meaning, elementwise.shape_of_convert),
    Dot: Meaning(dot.dot_meaning, dot.shape_of_dot),
    Extreme: Meaning(pairs.extreme_meaning, pairs.shape_of_pair),
    Interpolate: Meaning(resize.interpolate_meaning, resize.shape_of_interpolate),
    Lookup: Meaning(lookup.lookup_meaning, lookup.shape_of_lookup),
    MatMul: Meaning(matmul.matmul_meaning, matmul.shape_of_matmul),
    MaxPool: Meaning(pool.max_pool_meaning, pool.shape_of_pool),
    Multiply: Meaning(pairs.multiply_meaning, pairs.shape_of_pair),
    Offset: Meaning(elementwise.offset_meaning, elementwise.same_shape),
    Pad: Meaning(wiring.pad_meaning, wiring.shape_of_pad),
    Rearrange: Meaning(wiring.rearrange_meaning, wiring.shape_of_rearrange),
    Softmax: Meaning(softmax.softmax_meaning, softmax.shape_of_softmax),
    Take: Meaning(wiring.take_meaning, wiring.shape_of_take),
}


def meaning(compute: Compute, *inputs: np.ndarray) -> np.ndarray:
    """The computation's output integers, from its inputs `[n, ...]` in the inside layout."""
    found = MEANINGS[type(compute)].outputs(compute, *inputs)
    rest = rest_of(compute)
    if rest is None:
        return found
    places = beyond(rest, found.shape[1:], [x.shape[1:] for x in inputs], compute)
    return np.where(places, MEANINGS[type(rest.compute)].outputs(rest.compute, *inputs), found)


def output_shape(compute: Compute, *shapes: Shape) -> Shape:
    """One sample's output shape, from its inputs' shapes in the inside layout."""
    return MEANINGS[type(compute)].shape(compute, *shapes)
