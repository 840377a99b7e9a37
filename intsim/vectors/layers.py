"""What is written of a layer: its arrays, each with its meaning, its shape, its order and its width in bits."""

from collections.abc import Mapping

import msgspec
import numpy as np
from msgspec import Struct

from intsim import ranges
from intsim.integers import Affine
from intsim.program import AveragePool, Convert, Dot, Program, Rescale, Step
from intsim.vectors.names import file_stem

IMAGE = ("image", "row", "column", "channel")
"""What the axes of images mean, layout NHWC."""


class Array(Struct, frozen=True, kw_only=True, eq=False):
    """One array of a layer: `values` as they are written, `axes` from the outer to the inner one.

    `bits`: the width of a word; floats are written as the bits of their format. `vector`: it is there once an image.
    """

    name: str
    what: str
    values: np.ndarray
    bits: int
    signed: bool
    axes: tuple[str, ...]
    vector: bool = False


class Layer(Struct, frozen=True, kw_only=True, eq=False):
    """One step of the Program and its arrays; `index`: the step's place in the Program."""

    index: int
    step: Step
    arrays: tuple[Array, ...]

    @property
    def stem(self) -> str:
        """What the names of its files begin with."""
        return file_stem(self.index, self.step.name)

    def array(self, name: str) -> Array:
        """The array of that name."""
        return next(one for one in self.arrays if one.name == name)


def traced_names(step: Step) -> list[str]:
    """What a run has to keep for a layer."""
    sums = [f"{step.outputs[0]}:accumulator"] if isinstance(step.compute, Dot) else []
    return [*step.inputs, *step.outputs, *sums]


def layer(program: Program, index: int, seen: Mapping[str, np.ndarray]) -> Layer:
    """The layer of a step; `seen[n, h, w, c]`: what a run gave, by `traced_names`."""
    step = program.steps[index]
    arrays = [
        _tensor(f"input_{i}", name, seen[name], program.tensors[name].affine) for i, name in enumerate(step.inputs)
    ]
    arrays += numbers(program, step)
    if isinstance(step.compute, Dot):
        bits = accumulator_bits(program, step)
        values = seen[f"{step.outputs[0]}:accumulator"]
        what = "raw accumulators, bias and zero points in, before the requantization"
        arrays.append(_vector("accumulator", what, values, bits, True))
    arrays.append(_tensor("output", step.outputs[0], seen[step.outputs[0]], program.tensors[step.outputs[0]].affine))
    return Layer(index=index, step=step, arrays=tuple(arrays))


def numbers(program: Program, step: Step) -> list[Array]:
    """The arrays that do not depend on the images: weights, bias, and the numbers of the rules."""
    compute = step.compute
    if isinstance(compute, Dot):
        return [*_weights(program, step, compute), *_rescale(compute.rescale, "")]
    if isinstance(compute, AveragePool):
        return [] if compute.rescale is None else _rescale(compute.rescale, "")
    if isinstance(compute, Convert):
        pairs = enumerate(compute.rescales)
        return [array for i, rescale in pairs if rescale is not None for array in _rescale(rescale, f"_{i}")]
    plain = msgspec.structs.asdict(compute)
    found = [(name, value) for name, value in plain.items() if isinstance(value, np.ndarray)]
    arrays = [_numbers(name, f"the step's {name}", value, None) for name, value in found]
    rescale = getattr(compute, "rescale", None)
    return arrays if rescale is None else [*arrays, *_rescale(rescale, "")]


def _weights(program: Program, step: Step, dot: Dot) -> list[Array]:
    node = next((node for node in program.source.graph.nodes if node.name == step.name), None)
    affine = program.source.affines.get(node.inputs[1]) if node is not None and len(node.inputs) > 1 else None
    bits = affine.type.bits if affine is not None else 8 * dot.weight.dtype.itemsize
    spatial = ("kernel plane", "kernel row", "kernel column")[3 - len(dot.window.kernel) :] if dot.window.kernel else ()
    arrays = [
        Array(
            name="weight",
            what="weights, in the Program's own order",
            values=dot.weight,
            bits=bits,
            signed=dot.weight.dtype.kind == "i",
            axes=("output channel", *spatial, "input channel of the group"),
        ),
        _numbers("bias", "bias, in units of input scale times weight scale", dot.bias, dot.bias_rule.type.bits),
        _numbers("weight_zero_point", "zero points of the weights", dot.weight_zero_point, None),
    ]
    if dot.mac.multiplier is not None:
        arrays.append(_numbers("products", "what the multiplier gives", dot.mac.multiplier.entries, 32))
    return arrays


def _rescale(rescale: Rescale, suffix: str) -> list[Array]:
    given = (
        ("multiplier", "multiplier of the requantization", rescale.multiplier),
        ("exponent", "exponent of the requantization", rescale.exponent),
        ("thresholds", "thresholds of the requantization, ascending", rescale.thresholds),
    )
    return [_numbers(name + suffix, what, value, None) for name, what, value in given if value is not None]


def _numbers(name: str, what: str, values: np.ndarray, bits: int | None) -> Array:
    axes = ("output channel",) if values.ndim == 1 else tuple(f"axis {i}" for i in range(values.ndim))
    if values.dtype.kind == "f":
        return Array(name=name, what=what, values=values, bits=8 * values.dtype.itemsize, signed=False, axes=axes)
    return Array(name=name, what=what, values=values, bits=max(bits or 0, _width(values)), signed=True, axes=axes)


def _width(values: np.ndarray) -> int:
    """8, 16, 32 or 64 bits, whichever holds all of them."""
    low, high = (int(values.min()), int(values.max())) if values.size else (0, 0)
    return next(bits for bits in (8, 16, 32, 64) if -(1 << bits - 1) <= low and high < 1 << bits - 1)


def _tensor(name: str, tensor: str, values: np.ndarray, affine: Affine) -> Array:
    role = "output" if name == "output" else "input"
    type_ = affine.type
    what = f"{role} {tensor}, real = {affine.scale[0]!r} * (q - {affine.zero})".replace("- -", "+ ")
    return _vector(name, what, values, type_.bits, type_.signed)


def _vector(name: str, what: str, values: np.ndarray, bits: int, signed: bool) -> Array:
    axes = IMAGE if values.ndim == 4 else ("image", *(f"axis {i}" for i in range(1, values.ndim - 1)), "channel")
    return Array(name=name, what=what, values=values, bits=bits, signed=signed, axes=axes, vector=True)


def accumulator_bits(program: Program, step: Step) -> int:
    """The width in which the machine holds the finished sum; where it is exact, the width that is proven enough."""
    dot = step.compute
    assert isinstance(dot, Dot)
    bits = dot.mac.levels[-1].bits
    if dot.bias_rule.when == "end" and dot.bias_rule.bits is not None:
        bits = dot.bias_rule.bits
    if bits is not None:
        return bits
    low, high = ranges.registers(dot, *ranges.intervals(program)[step.inputs[0]]).value
    return max(8, int(ranges.width(low, high).max()))
