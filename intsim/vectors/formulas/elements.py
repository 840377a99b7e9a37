"""One input element for each output, in C: tables, clips, conversions, moves."""

import msgspec
import numpy as np

from intsim.ops import meaning
from intsim.program import Clip, Convert, Lookup, Offset, Pad, Program, Rearrange, Take
from intsim.vectors.formulas.frame import each, signature, table_of
from intsim.vectors.initializers import rescale_of, shapes, types
from intsim.vectors.layers import Layer


def write_lookup(program: Program, layer: Layer, lookup: Lookup) -> str:
    """A table's entry for every integer."""
    n, channels = layer.index, lookup.table.shape[1] if lookup.table.ndim == 2 else 0
    place = f"(in_0[i] - ({lookup.low}))" + (f" * {channels} + i % {channels}" if channels else "")
    return each(layer, f"layer_{n}_table[{place}]")


def write_clip(program: Program, layer: Layer, clip: Clip) -> str:
    """Every integer, clipped."""
    ends = program.tensors[layer.step.outputs[0]].affine.type
    low, high = max(clip.low, ends.low), min(clip.high, ends.high)
    return each(layer, f"q < {low} ? {low} : q > {high} ? {high} : q", clipped=True)


def write_offset(program: Program, layer: Layer, offset: Offset) -> str:
    """Every integer plus a constant."""
    return each(layer, f"in_0[i] + {offset.offset}")


def write_convert(program: Program, layer: Layer, convert: Convert) -> str:
    """Every integer in the output's scale, the inputs one after the other."""
    n, y = layer.index, types(layer)[1]
    inputs, output = shapes(program, layer)
    lines, body = [], []
    for i, (source, zero, rescale) in enumerate(zip(inputs, convert.input_zero_points, convert.rescales, strict=True)):
        run = int(np.prod(source[convert.axis :]))
        value = f"in_{i}[outer * {run} + i]"
        if rescale is not None:
            lines.append(f"static const struct rescale rescale_{n}_{i} = {rescale_of(layer, rescale, f'_{i}')};")
            value = f"requantized((wide){value} - ({zero}), &rescale_{n}_{i}, 0)"
        body += [f"        for (int i = 0; i < {run}; i++)", f"            *out++ = ({y}){value};"]
    outer = int(np.prod(output[: convert.axis]))
    return "\n".join(
        [
            *lines,
            f"{signature(layer, f'layer_{n}')} {{",
            f"    for (int outer = 0; outer < {outer}; outer++) {{",
            *body,
            "    }",
            "}",
        ]
    )


def write_moves(program: Program, layer: Layer, move: Rearrange | Pad | Take) -> str:
    """Every output's place in the input, as a table where it is not the same one; -1: what a Pad puts there."""
    n = layer.index
    (source,), _ = shapes(program, layer)
    places = np.arange(int(np.prod(source))).reshape(1, *source)
    marked = msgspec.structs.replace(move, value=-1) if isinstance(move, Pad) else move
    flat = meaning(marked, places).reshape(-1)
    if not isinstance(move, Pad) and np.array_equal(flat, np.arange(flat.size)):
        return each(layer, "in_0[i]")
    value = f"in_0[from_{n}[i]]"
    if isinstance(move, Pad):
        value = f"from_{n}[i] < 0 ? {move.value} : {value}"
    return "\n".join([*table_of(f"from_{n}", flat), "", each(layer, value)])
