"""Maps of another size: Resize, by the nearest neighbour or between neighbours."""

import itertools

import numpy as np

from intsim.arithmetic import between, between_floats, mixed, nearest, shifted
from intsim.graph import Node, Shape
from intsim.integers import Rounding
from intsim.ops.site import Site
from intsim.program import Interpolate, Take


def lower_resize(node: Node, site: Site) -> Take | Interpolate:
    """Where each output looks (33), and with what weights (34), by the machine's rule."""
    before, after = site.shape(node.inputs[0]), site.shape(node.outputs[0])
    coordinate, rule = str(node.attributes["coordinate"]), site.target.resize
    if site.inputs[0] != site.output:
        raise site.error("keeps its integers, but its input and output have different affines", "let them share")
    sizes = list(zip(before[:-1], after[:-1], strict=True))
    if before[-1] != after[-1]:
        raise site.error(f"resizes {before[-1]} channels to {after[-1]}")
    if node.attributes["mode"] == "nearest":
        mode = str(node.attributes["nearest"])
        return Take(indices=(*(nearest(n, m, coordinate, mode, rule) for n, m in sizes), None))
    if rule.linear == "quotient":
        if len(sizes) != 2:
            raise site.error(f"interpolates along {len(sizes)} axes in float32", "choose another resize rule")
        lower, upper, weights = zip(*(between_floats(n, m, coordinate) for n, m in sizes), strict=True)
        none = tuple(np.zeros(len(low), np.int64) for low in lower)
        return Interpolate(lower=lower, upper=upper, fraction=none, bits=1, rounding=Rounding.TO_ZERO, weights=weights)
    found = [between(n, m, coordinate, rule) for n, m in sizes]
    lower, upper, fraction = zip(*found, strict=True)
    return Interpolate(lower=lower, upper=upper, fraction=fraction, bits=rule.bits, rounding=rule.rounding)


def shape_of_interpolate(mix: Interpolate, shape: Shape) -> Shape:
    """One sample's shape in the inside layout."""
    return (*map(len, mix.lower), shape[-1])


def interpolate_meaning(mix: Interpolate, x: np.ndarray) -> np.ndarray:
    """The neighbours' weighted sum at every place, rounded once."""
    if mix.weights:
        return floats_mixed(mix, x)
    out = np.empty((len(x), *shape_of_interpolate(mix, x.shape[1:])), object)
    axes, whole = len(mix.lower), 1 << mix.bits
    for n, *place, c in itertools.product(*map(range, out.shape)):
        total = 0
        for side in itertools.product((0, 1), repeat=axes):
            weight, at = 1, []
            for axis, (p, up) in enumerate(zip(place, side, strict=True)):
                f = int(mix.fraction[axis][p])
                weight *= f if up else whole - f
                at.append(int((mix.upper if up else mix.lower)[axis][p]))
            total += weight * int(x[(n, *at, c)])
        out[(n, *place, c)] = shifted(total, mix.bits * axes, mix.rounding)
    return out


def floats_mixed(mix: Interpolate, x: np.ndarray) -> np.ndarray:
    """The four neighbours of every place mixed in float32, int64 `[n, h, w, c]`."""
    rows, columns = ([lower, upper] for lower, upper in zip(mix.lower, mix.upper, strict=True))
    corners = np.array([[x[:, i][:, :, j] for j in columns] for i in rows])
    return mixed(corners, mix.weights[0][:, :, None, None], mix.weights[1][:, None, :, None])
