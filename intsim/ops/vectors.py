"""Runs of integers in groups: where the last whole group of each run ends, and what rule holds behind it."""

from collections.abc import Callable, Sequence
from math import prod
from typing import TypeVar

import numpy as np
from msgspec.structs import replace

from intsim.graph import Shape
from intsim.program import Add, Compute, Convert, Multiply, Rest
from intsim.target import AddInVectors, AddRule, InVectors, Requantize

Made = TypeVar("Made", Add, Multiply)


def rest_of(compute: Compute) -> Rest | None:
    """What of a step follows another rule."""
    return compute.rest if isinstance(compute, Add | Multiply | Convert) else None


def without_rest(rule: Requantize | InVectors) -> Requantize:
    """The rule of whole groups."""
    return rule.whole if isinstance(rule, InVectors) else rule


def beyond(rest: Rest, output: Shape, inputs: Sequence[Shape], compute: Compute) -> np.ndarray:
    """Where a sample's integers lie after the last whole group of their run: bool of the output's shape (37)."""
    if isinstance(compute, Convert):
        return np.concatenate([_beyond(rest.size, prod(shape), shape) for shape in inputs], compute.axis)
    return _beyond(rest.size, rest.run or prod(output), output)


def _beyond(size: int, run: int, shape: Shape) -> np.ndarray:
    return (np.arange(prod(shape)) % run >= run - run % size).reshape(shape)


def run_of(a: Shape, b: Shape) -> tuple[int, bool]:
    """The integers of a run of two operands, and whether one of them has the same integer all along it; 0: none (37).

    Shapes are one sample's, channels last, with equally many axes.
    """
    if a == b:
        return prod(a), False
    axes = [*zip(a, b, strict=True)]
    if next(u for u, v in reversed(axes) if u != v) != 1:
        axes = [(v, u) for u, v in axes]  # the first operand is the one that is repeated innermost
    together = _taken(axes, lambda u, v: u == v)
    repeated = _taken(axes, lambda u, v: u == 1)
    for turn in (lambda u, v: u == v, lambda u, v: v == 1, lambda u, v: u == v):
        _taken(axes, turn)
    if axes:
        return 0, False
    return (together, False) if together > 1 else (repeated, True)


def _taken(axes: list[tuple[int, int]], of: Callable[[int, int], bool]) -> int:
    """The integers of the innermost axes that are of this sort, which are taken off the list."""
    found = 1
    while axes and of(*axes[-1]):
        found *= max(axes.pop())
    return found


def sum_in_vectors(rule: AddRule | AddInVectors, shapes: Sequence[Shape], make: Callable[[AddRule], Add]) -> Add:
    """The sum of two operands: what `make` makes of the rule of whole groups, and the rest."""
    if not isinstance(rule, AddInVectors):
        return make(rule)
    a, b = shapes
    run, repeats = run_of(a, b) if a == b or rule.broadcasts else (0, False)
    size, whole = rule.size, rule.whole
    if repeats and rule.repeated is not None:
        size, whole = rule.repeated.size, rule.repeated.whole
    return _in_runs(run, size, whole == rule.rest, make(whole), make(rule.rest))


def product_in_vectors(
    rule: Requantize | InVectors, shapes: Sequence[Shape], make: Callable[[Requantize], Multiply]
) -> Multiply:
    """As `sum_in_vectors`, for products."""
    if not isinstance(rule, InVectors):
        return make(rule)
    run, _ = run_of(*shapes)
    return _in_runs(run, rule.size, rule.whole == rule.rest, make(rule.whole), make(rule.rest))


def _in_runs(run: int, size: int, alike: bool, whole: Made, rest: Made) -> Made:
    if run < size:
        return rest
    if alike or run % size == 0:
        return whole
    return replace(whole, rest=Rest(size=size, run=run, compute=rest))


def conversion_in_vectors(
    rule: Requantize | InVectors, shapes: Sequence[Shape], make: Callable[[Requantize], Convert]
) -> Convert:
    """As `sum_in_vectors`, for moves between affines: each input that is rescaled is a run."""
    if not isinstance(rule, InVectors):
        return make(rule)
    whole = make(rule.whole)
    rescaled = [prod(shape) for shape, one in zip(shapes, whole.rescales, strict=True) if one is not None]
    if all(run % rule.size == 0 for run in rescaled):
        return whole
    rest = make(rule.rest)
    return rest if all(run < rule.size for run in rescaled) else replace(whole, rest=Rest(size=rule.size, compute=rest))
