"""What every layer's C has: its signature, the loop over its outputs, tables of places."""

import numpy as np

from intsim.vectors.initializers import types
from intsim.vectors.layers import Layer
from intsim.vectors.text import ctype


def signature(layer: Layer, name: str) -> str:
    """void NAME(const int8_t *in_0, ..., int8_t *out)."""
    words = [f"const {ctype(layer.array(f'input_{i}'))} *in_{i}" for i in range(len(layer.step.inputs))]
    words.append(f"{ctype(layer.array('output'))} *out")
    return f"void {name}({', '.join(words)})"


def sums_signature(layer: Layer) -> str:
    """Of a function that gives the raw accumulators."""
    return f"void layer_{layer.index}_accumulators(const {ctype(layer.array('input_0'))} *in_0, int64_t *out)"


def each(layer: Layer, value: str, *, clipped: bool = False) -> str:
    """The function whose output i is that expression of i; of q = in_0[i] as well where it clips."""
    n = layer.index
    return "\n".join(
        [
            f"{signature(layer, f'layer_{n}')} {{",
            f"    for (int i = 0; i < LAYER_{n}_OUTPUT_SIZE; i++) {{",
            *(["        int q = in_0[i];"] if clipped else []),
            f"        out[i] = ({types(layer)[1]})({value});",
            "    }",
            "}",
        ]
    )


def table_of(name: str, places: np.ndarray) -> list[str]:
    """The lines of a table of places."""
    rows = [", ".join(map(str, places[i : i + 16])) + "," for i in range(0, places.size, 16)]
    return [f"static const int32_t {name}[] = {{", *rows, "};"]
