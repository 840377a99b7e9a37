"""RESHAPE and its kin, read: a Reshape in the file's order, with Transposes around it where that order matters."""

import numpy as np

from intsim.graph import Shape
from intsim.tflite_io import layout
from intsim.tflite_io.reading import Site, add, between


def reshaped(site: Site, x: str, shape: Shape, *, own: bool = False) -> str:
    """`x` in the file's `shape`, its values in the file's order; `own`: the last node makes the operator's output."""
    reading = site.reading
    affine, before = reading.affines[x], reading.shapes[x]
    after = layout.graph_shape(shape)
    inner = (*before[1:], *before[:1])
    if _moves(inner) and len(before) > 1:
        turned = between(site, "channels_last", inner, affine)
        x = add(site, "Transpose", [x], turned, perm=(0, *range(2, len(before) + 1), 1))
    flat = (*after[1:], *after[:1])
    last = None if own else between(site, "reshaped", after, affine)
    if not _moves(flat):
        return add(site, "Reshape", [x], last, shape=(-1, *after))
    middle = between(site, "rows", flat, affine)
    add(site, "Reshape", [x], middle, shape=(-1, *flat))
    return add(site, "Transpose", [middle], last, perm=(0, len(flat), *range(1, len(flat))))


def _moves(shape: Shape) -> bool:
    """Whether a sample [*spatial, c] has another order of values with its channels first."""
    return len(shape) > 1 and shape[-1] > 1 and int(np.prod(shape[:-1], dtype=object)) > 1
