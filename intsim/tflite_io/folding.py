"""Integers that only shapes decide, computed while a file is read: SHAPE, and what picks and joins its numbers."""

import numpy as np

from intsim.tflite_io.constants import numbers
from intsim.tflite_io.reading import Site


def fold(site: Site) -> bool:
    """Whether the operator computes integers from shapes alone; then the reading knows them."""
    op, folded = site.operator.op, site.reading.folded
    if op == "SHAPE":
        folded[site.result.index] = np.array(site.tensor(0).shape, np.int64)
        return True
    if op not in ("STRIDED_SLICE", "PACK", "CONCATENATION") or site.result.kind not in ("INT32", "INT64"):
        return False
    folded[site.result.index] = _sliced(site) if op == "STRIDED_SLICE" else _joined(site)
    return True


def _sliced(site: Site) -> np.ndarray:
    """One axis, masks as in Python's slices."""
    x, (begin, end, step) = numbers(site, 0), (numbers(site, place) for place in (1, 2, 3))
    masks = site.options
    if x.ndim != 1 or begin.shape != (1,) or masks["EllipsisMask"] or masks["NewAxisMask"] or masks["Offset"]:
        raise site.error("slices a shape in a way that is not read", "convert it with fixed shapes")
    if masks["ShrinkAxisMask"] & 1:
        return x[int(begin[0])]
    return x[
        None if masks["BeginMask"] & 1 else int(begin[0]) : None if masks["EndMask"] & 1 else int(end[0]) : int(step[0])
    ]


def _joined(site: Site) -> np.ndarray:
    parts = [np.atleast_1d(numbers(site, place)) for place in range(len(site.operator.inputs))]
    if site.options["Axis"] not in (0, -1) or any(part.ndim != 1 for part in parts):
        raise site.error("joins shapes in a way that is not read", "convert it with fixed shapes")
    return np.concatenate(parts)
