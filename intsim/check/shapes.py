"""Whether a step's shapes go together: windows, weights, places that are looked up."""

from math import prod

import numpy as np

from intsim.check.require import MOST, require
from intsim.graph import Shape
from intsim.integers import Rounding
from intsim.program import (
    Add,
    AveragePool,
    Compute,
    Convert,
    Dot,
    Extreme,
    Interpolate,
    MatMul,
    MaxPool,
    Multiply,
    Pad,
    Rearrange,
    Rest,
    Take,
)
from intsim.target import Factors


def check_shapes(compute: Compute, shapes: list[Shape], where: str) -> None:
    """The shapes of a step's inputs, window and constants go together."""
    if isinstance(compute, Dot | MaxPool | AveragePool):
        window = compute.window
        lengths = {len(v) for v in (window.kernel, window.strides, window.dilations, window.begin, window.end)}
        require(lengths == {len(shapes[0]) - 1}, "slides over another number of axes than it has", where)
        positive = (*window.kernel, *window.strides, *window.dilations)
        require(all(v > 0 for v in positive), "has a window of no size", where)
        require(min((0, *window.begin, *window.end)) == 0, "has negative padding", where)
        if isinstance(compute, AveragePool) and isinstance(compute.rule, Factors):
            require(len(window.kernel) <= 2, "has factors for windows of up to two axes only", where)
        if not isinstance(compute, Dot):
            reach = [d * (k - 1) for d, k in zip(window.dilations, window.kernel, strict=True)]
            pads = (*zip(window.begin, reach, strict=True), *zip(window.end, reach, strict=True))
            require(all(pad <= most for pad, most in pads), "has a window that sees only padding", where)
    if isinstance(compute, Dot):
        weight, channels = compute.weight, shapes[0][-1]
        require(compute.group > 0 and weight.dtype.kind in "iu", "has no integer weights", where)
        expected = (len(weight), *compute.window.kernel, channels // compute.group)
        require(weight.shape == expected, f"has weights {weight.shape}, not {expected}", where)
        require(channels % compute.group == len(weight) % compute.group == 0, "has uneven groups", where)
        require(compute.bias.shape == (len(weight),), f"has a bias {compute.bias.shape}", where)
        require(compute.weight_zero_point.shape in ((1,), (len(weight),)), "has odd zero points", where)
    if isinstance(compute, Rearrange):
        rank = len(compute.shape)
        require(sorted(compute.before) == list(range(len(shapes[0]))), "is no permutation", where)
        require(sorted(compute.after) == list(range(rank)), "is no permutation", where)
        require(prod(compute.shape) == prod(shapes[0]), "loses or makes integers", where)
    if isinstance(compute, Pad):
        lengths = {len(compute.begin), len(compute.end), len(compute.between or shapes[0])}
        require(lengths == {len(shapes[0])}, "pads another number of axes than it has", where)
        require(min(*compute.begin, *compute.end, *compute.between, 0) == 0, "has negative padding", where)
    if isinstance(compute, Take):
        require(len(compute.indices) == len(shapes[0]), "takes from another number of axes than it has", where)
        for size, index in zip(shapes[0], compute.indices, strict=True):
            if index is not None:
                _check_indices(index, index.shape, size, where)
    if isinstance(compute, Interpolate):
        _check_interpolate(compute, shapes[0], where)
    if isinstance(compute, Convert):
        require(len(compute.rescales) == len(shapes) == len(compute.input_zero_points), "misses an input", where)
        rests = {shape[: compute.axis] + shape[compute.axis + 1 :] for shape in shapes}
        require(len(rests) == 1 and 0 <= compute.axis < len(shapes[0]), "joins unequal shapes", where)
    else:
        pair = isinstance(compute, Add | Multiply | Extreme)
        constant = compute.constant if isinstance(compute, Add | Multiply | Extreme) else None
        two = isinstance(compute, MatMul) or (pair and constant is None)
        require(len(shapes) == 1 + two, "has another number of inputs than it needs", where)
        if constant is not None:
            require(constant.dtype.kind in "iu" and constant.size > 0, "has no integers as its constant", where)
            require(max(-int(constant.min()), int(constant.max())) <= MOST, "has a constant beyond 32 bits", where)


def check_rest(compute: Compute, rest: Rest, output: Shape, where: str) -> None:
    """The rest of a step is of its kind and of its operands, and its runs fill the output."""
    other = rest.compute
    require(type(other) is type(compute) and other.rest is None, "has a rest of another kind", where)
    require(1 <= rest.size <= 1 << 20, f"goes in groups of {rest.size}", where)
    whole = isinstance(compute, Convert)
    require((rest.run is None) == whole, "says how long its runs are, or does not", where)
    require(rest.run is None or (rest.run > 0 and prod(output) % rest.run == 0), "has runs that end outside", where)
    if isinstance(compute, Convert) and isinstance(other, Convert):
        require(compute.axis == other.axis, "joins its rest along another axis", where)
    elif isinstance(compute, Add | Multiply) and isinstance(other, Add | Multiply):
        a, b = compute.constant, other.constant
        same = a is b or (a is not None and b is not None and np.array_equal(a, b))
        order = compute.constant_first == other.constant_first
        require(same and order, "has a rest of other operands", where)


def _check_interpolate(compute: Interpolate, shape: Shape, where: str) -> None:
    axes = {len(compute.lower), len(compute.upper), len(compute.fraction)}
    require(axes == {len(shape) - 1}, "interpolates along another number of axes than it has", where)
    require(1 <= compute.bits <= 15, f"has fractions of {compute.bits} bits", where)
    require(compute.rounding is not Rounding.CARRY_SHIFT, "rounds to what lies not between its neighbours", where)
    for size, *each in zip(shape, compute.lower, compute.upper, compute.fraction, strict=False):
        for index, most in zip(each, (size, size, (1 << compute.bits) + 1), strict=True):
            _check_indices(index, each[0].shape, most, where)
    for weights, lower in zip(compute.weights, compute.lower, strict=False):
        require(weights.dtype == np.float32 and weights.shape == (2, len(lower)), "has weights that are none", where)
        require(bool(np.all((weights >= 0) & (weights <= 1))), "has weights beyond 0 to 1", where)
        require(bool(np.all(weights.sum(0) <= 1)), "has weights beyond 1 together", where)
    require(len(compute.weights) in (0, 2), "mixes floats along another number of axes than two", where)
    require(not compute.weights or len(compute.lower) == 2, "mixes floats along another number of axes than two", where)


def _check_indices(index: np.ndarray, shape: Shape, below: int, where: str) -> None:
    """int64 indices of that shape, along one axis, 0 ... below - 1."""
    require(index.dtype == np.int64 and index.ndim == 1 and index.size > 0, "has indices that are none", where)
    require(index.shape == shape, "has another number of indices than it needs", where)
    require(int(index.min()) >= 0 and int(index.max()) < below, "looks outside its input", where)
