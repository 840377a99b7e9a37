"""The norms: a random start, a step, a projection, a rounding, and how long a perturbation is.

Everything here is in steps of the grid, float64. `delta[n, ...]`, `gradient[n, ...]`: torch tensors.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

Tensor = Any  # torch.Tensor, without importing torch


class Norm(Struct, frozen=True, kw_only=True):
    """A norm as functions.

    `radius(eps, on_grid)`: the largest length that perturbations of the grid may have. `inside` and `edge`
    (rng, shape, radius): one random perturbation in the ball, on its edge. `step(gradient, size)`: the
    perturbation of length `size` that a linear loss gains most by. `project(delta, radius)`: the nearest
    in the ball. `round(delta, radius)`: whole steps, still in the ball. `length(delta)`: [n] of an int64 or
    float64 numpy array.
    """

    radius: Callable[[float, bool], float]
    inside: Callable[[np.random.Generator, tuple[int, ...], float], np.ndarray]
    edge: Callable[[np.random.Generator, tuple[int, ...], float], np.ndarray]
    step: Callable[[Tensor, float], Tensor]
    project: Callable[[Tensor, float], Tensor]
    round: Callable[[Tensor, float], Tensor]
    length: Callable[[np.ndarray], np.ndarray]


def _lengths(delta: Tensor) -> Tensor:
    """The L2 length of each delta[n, ...], shaped to broadcast against it."""
    return delta.flatten(1).norm(dim=1).reshape(-1, *(1,) * (delta.ndim - 1))


def _direction(rng: np.random.Generator, shape: tuple[int, ...], radius: float) -> np.ndarray:
    normal = rng.standard_normal(shape)
    return normal * (radius / math.sqrt(float(np.square(normal).sum())))


def _anywhere(rng: np.random.Generator, shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Uniform in the L2 ball: a direction, and a length whose d-th power is uniform."""
    return _direction(rng, shape, radius) * rng.random() ** (1 / math.prod(shape))


def _signs(rng: np.random.Generator, shape: tuple[int, ...], radius: float) -> np.ndarray:
    return radius * (2.0 * rng.integers(0, 2, shape) - 1.0)


def _round_nearest(delta: Tensor, radius: float) -> Tensor:
    """The nearest whole steps, ties away from zero: |delta| <= radius stays so, the radius being whole."""
    return delta.sign() * (delta.abs() + 0.5).floor()


def _round_in_ball(delta: Tensor, radius: float) -> Tensor:
    """The nearest whole steps, as far as the ball allows: towards zero, then the largest fractions first.

    Rounding towards zero never leaves the ball; rounding t up to t + 1 lengthens the square by 2 t + 1, and
    all squares are whole numbers far below 2**53, so the sums are exact.
    """
    size = delta.abs().flatten(1)
    whole = size.floor()
    fraction, order = (size - whole).sort(dim=1, descending=True, stable=True)
    cost = ((2 * whole + 1).gather(1, order) * (fraction >= 0.5)).cumsum(1)
    room = radius**2 - whole.square().sum(1, keepdim=True)
    up = ((cost <= room) & (fraction >= 0.5)).to(size.dtype)
    return delta.sign() * whole.scatter_add(1, order, up).reshape(delta.shape)


NORMS: dict[str, Norm] = {
    "linf": Norm(
        radius=lambda eps, on_grid: float(math.floor(eps + 1e-9)) if on_grid else eps,
        inside=lambda rng, shape, radius: rng.uniform(-radius, radius, shape),
        edge=_signs,
        step=lambda gradient, size: size * gradient.sign(),
        project=lambda delta, radius: delta.clamp(-radius, radius),
        round=_round_nearest,
        length=lambda delta: np.abs(delta).reshape(len(delta), -1).max(axis=1),
    ),
    "l2": Norm(
        radius=lambda eps, on_grid: eps,
        inside=_anywhere,
        edge=_direction,
        step=lambda gradient, size: gradient * (size / _lengths(gradient).clamp(min=1e-300)),
        project=lambda delta, radius: delta * (radius / _lengths(delta).clamp(min=max(radius, 1e-300))),
        round=_round_in_ball,
        length=lambda delta: np.sqrt(np.square(delta).reshape(len(delta), -1).sum(axis=1)),
    ),
}
