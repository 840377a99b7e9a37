"""How wide the numbers on the way to a layer's output may become in C."""

import numpy as np

from intsim import ranges
from intsim.arithmetic import factors
from intsim.program import Add, AveragePool, Convert, Dot, Multiply, Program, Rescale
from intsim.target import Factors, FixedPoint, Reciprocal, ThreeRescales
from intsim.vectors.layers import Layer


def wide_bits(program: Program, layer: Layer) -> int:
    """How many bits the numbers on the way to an output may have, sign included."""
    compute, needed = layer.step.compute, 40
    if isinstance(compute, Dot):
        found = ranges.registers(compute, *ranges.intervals(program)[layer.step.inputs[0]])
        ends = [side for pair in (*found.sums, *found.items, found.owed, found.value) for side in pair]
        value = max(abs(int(v)).bit_length() for side in ends for v in side) + 1
        exact = max(
            abs(int(v)).bit_length()
            for v in ranges.exact_sum(compute, *ranges.intervals(program)[layer.step.inputs[0]])[0]
        )
        return max(value, exact + 2, _rescaled_bits(compute.rescale, value))
    if isinstance(compute, AveragePool):
        size = int(np.prod(compute.window.kernel))
        value = 18 + size.bit_length()
        needed = value
        if isinstance(compute.rule, Reciprocal | Factors):
            every = np.ndindex(compute.window.kernel)
            pairs = [f for counts in every for f, _ in factors(compute.rule, tuple(c + 1 for c in counts))]
            needed += max(pairs).bit_length()
        return max(needed, 0 if compute.rescale is None else _rescaled_bits(compute.rescale, value))
    if isinstance(compute, Convert):
        return max([_rescaled_bits(rescale, 18) for rescale in compute.rescales if rescale is not None] or [32])
    if isinstance(compute, Add) and isinstance(compute.rule, ThreeRescales):
        return max(64, 18 + compute.rule.left_shift + compute.rule.requantize.bits)
    if isinstance(compute, Add) and compute.rescale is not None:
        return _rescaled_bits(compute.rescale, 20)
    if isinstance(compute, Multiply):
        return _rescaled_bits(compute.rescale, 36)
    if isinstance(compute, Add) and compute.exponent is not None:
        return 40 + int(np.abs(compute.exponent).max())
    return needed


def _rescaled_bits(rescale: Rescale, value: int) -> int:
    left = 0 if rescale.exponent is None else max(0, int(rescale.exponent.max()))
    right = 0 if rescale.exponent is None else max(0, -int(rescale.exponent.min()))
    rule = rescale.rule
    zero = 12 + right if getattr(rule, "zero_point", "after") == "before" else 0
    if isinstance(rule, FixedPoint):
        if rule.first is not None:
            return max(value + left, rule.register + rule.bits, zero)
        return max(value + rule.bits + max(0, left - rule.bits), zero + rule.bits)
    return max(value + left, zero)
