"""A Graph as a file spells it becomes a Graph in canonical spelling, which everything above relies on.

x is an activation, w and b are constants (float32), attributes are all explicit: ints, floats, tuples of ints.

| op | inputs | attributes |
|---|---|---|
| Conv | x[c, (h,) w], w[o, c / group, (kh,) kw], (b[o]) | kernel_shape, strides, dilations, pads, group |
| ConvTranspose | x[c, (h,) w], w[c, o / group, (kh,) kw], (b[o]) | those of Conv, output_padding |
| Gemm | x[k], w[o, k], (b[o]): x w^T + b | |
| MatMul | activations a[..., i, k], b[..., k, j]; axes before these are equal or 1 | alpha: a factor > 0, where not 1 |
| Relu | x | |
| Clip | x | min, max: floats, -inf or inf where there is no bound |
| MaxPool | x[c, (h,) w] | kernel_shape, strides, dilations, pads: cells of -inf |
| AveragePool | x[c, (h,) w] | those of MaxPool, count_include_pad: pads are zeros that count (1) or do not (0) |
| GlobalAveragePool | x[c, (h,) w] to [c, (1,) 1] | |
| Add | two activations, or one and a constant; axes of 1 broadcast | |
| Sub, Mul, Max, Min | two operands as in Add | |
| Sigmoid, Tanh, HardSwish, Softplus, Mish | x | |
| LeakyRelu, Elu, HardSigmoid (alpha x + 1/2 between 0 and 1) | x | alpha |
| Rsqrt (1 / sqrt(max(x, 0) + alpha)) | x | alpha |
| Gelu | x | approximate: none, tanh |
| PRelu | x, slope: a constant of one number, or [c, (1,) 1] | |
| Softmax | x | axis, counted with the batch as axis 0 |
| Concat | activations | axis, counted with the batch as axis 0 |
| Flatten | x[...] to [n] | |
| Reshape | x | shape: of one sample |
| Pad | x | pads of all axes but the batch; value: a float |
| Transpose | x | perm, the batch counted and first |
| Slice | x | starts, ends, axes (never the batch, 0), steps; an end of -(size + 1): down to the first |
| Resize | x[c, ...] | mode (nearest, linear); coordinate (_transformation_mode), nearest (_mode), as in ONNX |

pads are begins, then ends: (top, left, bottom, right). An AveragePool with count_include_pad 0 may have pads at the end
that came from ceil_mode. Everything that multiplies or shifts by channel is folded into a neighbour, or into
`Graph.pixels` at an input, or is a Conv with 1x1 kernels and as many groups as channels. A node that has no such
spelling stays as ONNX spells it, with ONNX's defaults among its attributes, and `unsupported` says why.
"""

import numpy as np
from msgspec.structs import replace

from intsim.errors import IntsimError
from intsim.graph import Graph
from intsim.normalise.attention import (
    added_constants,
    attention,
    class_token,
    factor_after_product,
    factor_into_product,
    spelled_softmax,
    weights_first,
)
from intsim.normalise.axes import argmax, blocks, expand, gather, linear, reduction, square
from intsim.normalise.canonical import unsupported
from intsim.normalise.folding import scale_alone, scale_into_pixels, scale_into_producer, scale_into_reader
from intsim.normalise.functions import function
from intsim.normalise.layout import (
    reshape,
    reshape_chain,
    transpose_at_input,
    transpose_chain,
    transpose_earlier,
    transpose_into_gemm,
    transpose_later,
)
from intsim.normalise.moments import normalization, root
from intsim.normalise.moving import resize, slice_, split
from intsim.normalise.padding import pad, pad_into_window
from intsim.normalise.recurrent import recurrent
from intsim.normalise.rewriting import Rule, pruned, rewritten
from intsim.normalise.scaling import scale, scale_chain
from intsim.normalise.spelling import add, cast, clip, clip_chain, concat, gemm, identity, softmax
from intsim.normalise.windows import convolution, pool, whole_map

__all__ = ["normalise", "unsupported"]

RULES: tuple[Rule, ...] = (
    identity,
    cast,
    function,
    root,
    normalization,
    square,
    expand,
    blocks,
    gather,
    argmax,
    recurrent,
    attention,
    spelled_softmax,
    weights_first,
    factor_after_product,
    factor_into_product,
    linear,
    transpose_earlier,
    transpose_at_input,
    transpose_later,
    transpose_chain,
    reshape,
    reshape_chain,
    softmax,
    clip,
    clip_chain,
    gemm,
    transpose_into_gemm,
    convolution,
    pool,
    whole_map,
    reduction,
    pad,
    pad_into_window,
    slice_,
    split,
    resize,
    add,
    concat,
    class_token,
    added_constants,
    scale,
    scale_chain,
    scale_into_pixels,
    scale_into_producer,
    scale_into_reader,
)


def normalise(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph in canonical spelling, and one line on everything in it that a user should know about.

    Each rule is an equation, which its docstring states; together they are applied until none finds anything. Weights
    are computed in float64 and rounded to float32 once, at the end. Raises IntsimError for weights that are not finite.
    """
    with np.errstate(all="ignore"):  # what is not finite is found at the end, and named
        graph, notes = _settled(pruned(graph))
        graph, alone = rewritten(graph, scale_alone)
        graph, rest = _settled(pruned(graph))
        return _single(graph), (*notes, *alone, *rest)


def _settled(graph: Graph) -> tuple[Graph, tuple[str, ...]]:
    """The graph to which no rule applies any more."""
    notes: tuple[str, ...] = ()
    before = None
    while before != graph.nodes:
        before = graph.nodes
        for rule in RULES:
            graph, more = rewritten(graph, rule)
            notes += more
        graph = pruned(graph)
    return graph, notes


def _single(graph: Graph) -> Graph:
    """The graph with its float64 weights in float32."""
    constants = {}
    for name, array in graph.constants.items():
        constants[name] = array.astype(np.float32) if array.dtype.kind == "f" else array
    for node in graph.nodes:
        for name in node.inputs:
            if name in constants and constants[name].dtype.kind == "f" and not np.isfinite(constants[name]).all():
                raise IntsimError(f'its weight "{name}" holds values that are not finite', where=node.name)
    return replace(graph, constants=constants)
