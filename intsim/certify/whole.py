"""The boxes around images carried through a Program, step by step, and what that proves."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.certify.carried import carried
from intsim.certify.linear import tightened
from intsim.certify.steps import Ends
from intsim.doors import enter
from intsim.errors import IntsimError
from intsim.program import Program, outside

METHODS = ("interval", "linear")
CHUNK = 1 << 22
"""Integers of the widest tensor that are held at a time."""


class Certificate(Struct, frozen=True, kw_only=True, eq=False):
    """What is proven of every image within `radius` grid steps of each of n, by `method`.

    `label`: int64 `[n]`, the class that every image of the box is given, of tied ones the first; -1: not proven.
    `overflow_free`: bool `[n]` by step, none of that step's accumulators overflows in any add; False says nothing.
    `low`, `high`: bounds of the output's integers, int64 `[n, ...]` in the outside layout.
    """

    label: np.ndarray
    overflow_free: dict[str, np.ndarray]
    low: np.ndarray
    high: np.ndarray
    method: str
    radius: int


def certify(
    program: Program,
    images: np.ndarray,
    radius: int,
    *,
    method: str = "interval",
    progress: Callable[[int, int], None] | None = None,
) -> Certificate:
    """What holds for every image within `radius` steps of each of `images`, uint8 `[n, c, h, w]`.

    `method`: "interval" carries the ends of every integer from step to step; "linear" also bounds sums and the
    outputs' differences by linear functions of the image, and is never looser. `progress(done, of)` is told of images.
    Raises IntsimError for a Program that does not take pixels through one input or give one output, for other images,
    a negative radius, and unknown methods.
    """
    if method not in METHODS:
        raise IntsimError(f"no method {method!r}", mend=f"use {' or '.join(METHODS)}")
    if images.dtype != np.uint8 or len(images) == 0 or radius < 0:
        raise IntsimError("certificates are of one or more uint8 images and a radius from 0", where=program.name)
    if len(program.inputs) != 1 or len(program.outputs) != 1 or next(iter(program.inputs.values())).table is None:
        raise IntsimError("certificates take one input of pixels and one output", where=program.name)
    size = max(1, CHUNK // max(int(np.prod(tensor.shape)) for tensor in program.tensors.values()) // 16)
    parts = []
    for first in range(0, len(images), size):
        parts.append(_certified(program, images[first : first + size], radius, method))
        if progress is not None:
            progress(min(first + size, len(images)), len(images))
    return Certificate(
        label=np.concatenate([part.label for part in parts]),
        overflow_free={
            name: np.concatenate([part.overflow_free[name] for part in parts]) for name in parts[0].overflow_free
        },
        low=np.concatenate([part.low for part in parts]),
        high=np.concatenate([part.high for part in parts]),
        method=method,
        radius=radius,
    )


def _certified(program: Program, images: np.ndarray, radius: int, method: str) -> Certificate:
    found = carried(program, boxes(program, images, radius))
    low, high = found.known[next(iter(program.outputs.values())).tensor]
    free, label = found.free, label_of(outside(low), outside(high))
    if method == "linear":
        tighter = tightened(program, found, label)
        (low, high), free, label = tighter.ends, tighter.free, tighter.label
    return Certificate(
        label=label, overflow_free=free, low=outside(low), high=outside(high), method=method, radius=radius
    )


def boxes(program: Program, images: np.ndarray, radius: int) -> dict[str, Ends]:
    """The ends of the inputs' integers over every pixel of the box: the door's table need not be monotone."""
    wide, known = images.astype(np.int64), dict[str, Ends]()
    for offset in range(-min(radius, 255), min(radius, 255) + 1):
        moved = enter(program, np.clip(wide + offset, 0, 255).astype(np.uint8))
        for name, entered in moved.items():
            x = entered.astype(np.int64)
            low, high = known.get(name, (x, x))
            known[name] = np.minimum(low, x), np.maximum(high, x)
    return {program.inputs[name].tensor: ends for name, ends in known.items()}


def label_of(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """The class of the largest output for all between low and high `[n, classes]`, the first of those tied; else -1."""
    low, high = low.reshape(len(low), -1), high.reshape(len(high), -1)
    found = np.full(len(low), -1, np.int64)
    for c in range(low.shape[1]):
        own = low[:, [c]]
        found[(own > high[:, :c]).all(1) & (own >= high[:, c + 1 :]).all(1)] = c
    return found
