"""What a quantization does not reach: values that lie beyond the integers of their tensor."""

import numpy as np
from msgspec import Struct

from intsim.calibrate import Calibration, Observed
from intsim.graph import Graph, producers
from intsim.integers import Affine
from intsim.quantized import QuantizedGraph

SLACK = 1 + 2.0**-10
"""Half a step, and what float32 may add to it."""


class Saturated(Struct, frozen=True, kw_only=True):
    """A tensor whose values, `low` to `high`, lie beyond what its integers stand for, `least` to `most`.

    `count` of `of` values do; None where the values were not kept.
    """

    tensor: str
    low: float
    high: float
    least: float
    most: float
    count: int | None
    of: int


def saturated(graph: Graph, quantized: QuantizedGraph, calibration: Calibration | None = None) -> tuple[Saturated, ...]:
    """The tensors of the float network that saturate when they become integers: constants, and activations seen.

    A value counts that is more than half a step beyond the last integer. Activations that are clipped before they are
    read (by a Relu, say) are meant to saturate and are reported too.
    """
    found = []
    made = producers(quantized.graph)
    for before in graph.nodes:
        after = made[before.outputs[0]]
        for old, new in zip(before.inputs, after.inputs, strict=True):
            if old in graph.constants and new in quantized.affines:
                found.append(_constant(new, graph.constants[old].astype(np.float64), quantized.affines[new]))
    for name, seen in (calibration.tensors if calibration else {}).items():
        if name in quantized.affines:
            found.append(_activation(name, seen, quantized.affines[name]))
    return tuple(dict.fromkeys(one for one in found if one is not None))


def _constant(name: str, values: np.ndarray, own: Affine) -> Saturated | None:
    shape = [1] * values.ndim
    if own.axis is not None:
        shape[own.axis] = -1
    step = np.array(own.scale, np.float64).reshape(shape)
    zero = np.array(own.zero_point, np.int64).reshape(shape if len(own.zero_point) > 1 else [1] * values.ndim)
    least, most = (own.type.low - zero) * step, (own.type.high - zero) * step
    beyond = (values < least - SLACK * step / 2) | (values > most + SLACK * step / 2)
    if not beyond.any():
        return None
    return Saturated(
        tensor=name,
        low=float(values.min()),
        high=float(values.max()),
        least=float(least.min()),
        most=float(most.max()),
        count=int(beyond.sum()),
        of=values.size,
    )


def _activation(name: str, seen: Observed, own: Affine) -> Saturated | None:
    step = own.scale[0]
    least, most = (own.type.low - own.zero) * step, (own.type.high - own.zero) * step
    if least - SLACK * step / 2 <= seen.low and seen.high <= most + SLACK * step / 2:
        return None
    count = None
    if seen.histogram is not None:
        edges = np.linspace(seen.low, seen.high, len(seen.histogram) + 1)
        count = int(seen.histogram[(edges[1:] <= least) | (edges[:-1] >= most)].sum())
    return Saturated(tensor=name, low=seen.low, high=seen.high, least=least, most=most, count=count, of=seen.count)
