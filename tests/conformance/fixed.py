"""Cases in fixed point, where scales are part of the type: for machines whose types are ap_fixed<16,6>."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from conformance.building import Case, Kind, around, case, everything, integers
from intsim.integers import affine

ONE = affine(2.0**-10, 0, "s16")
"""Of every activation and every weight."""


def fully_connected(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Products and sums that overflow, and that do not."""
    for name, reach in (("over the whole range", 1 << 15), ("that fit", 1 << 11)):
        x, weight, bias = (around(rng, kind.type, 0, reach - 1, shape) for shape in ((24, 7), (6, 7), (6,)))
        constants = {"w": (weight, ONE), "b": (bias.astype(np.int32) << 10, affine(2.0**-20, 0, "s32"))}
        yield case(
            kind, "fully connected", f"fully connected, sums {name}", "Gemm", [x], [ONE], ONE, (6,), {}, constants
        )


def pair(op: str, node: str) -> Callable[[Kind, np.random.RandomState], Iterator[Case]]:
    """Two activations: any with any, and small ones."""

    def made(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
        for name, reach in (("any", 1 << 15), ("small", 200)):
            x = [around(rng, kind.type, 0, reach - 1, (1, 2, 8, 16)) for _ in range(2)]
            yield case(kind, op, f"{op}, {name}", node, x, [ONE, ONE], ONE, x[0].shape[1:])

    return made


def curve(op: str, node: str) -> Callable[[Kind, np.random.RandomState], Iterator[Case]]:
    """Ends, powers of two and steps of the whole range; all that is near the table's steps, around zero."""

    def made(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
        x = np.union1d(everything(kind.type), np.arange(-40, 40)).astype(np.int16).reshape(1, -1)
        yield case(kind, op, op, node, [x], [ONE], ONE, x.shape[1:])

    return made


def _pool(kind: Kind, op: str, node: str, x: np.ndarray, k: tuple[int, int], s: tuple[int, int]) -> Case:
    attributes: dict[str, Any] = {}
    shape: tuple[int, ...] = (x.shape[1], 1, 1)
    if node != "GlobalAveragePool":
        attributes = {"kernel_shape": k, "strides": s, "dilations": (1, 1), "pads": (0,) * 4, "count_include_pad": 0}
        shape = (x.shape[1], *((n - k[i]) // s[i] + 1 for i, n in enumerate(x.shape[2:])))
    return case(kind, op, f"{op} {k[0]}x{k[1]}", node, [x], [ONE], ONE, shape, attributes)


def average_pool(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Windows whose count is a power of two, and another."""
    for k, s in (((2, 2), (2, 2)), ((3, 2), (1, 2))):
        yield _pool(kind, "average pool", "AveragePool", integers(rng, kind.type, (1, 4, 8, 8)), k, s)


def mean(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Of small integers too: ends between two of them are then frequent."""
    for size, reach in (((3, 3), 1 << 15), ((2, 4), 5)):
        yield _pool(kind, "mean", "GlobalAveragePool", around(rng, kind.type, 0, reach - 1, (2, 40, *size)), size, size)


def max_pool(kind: Kind, rng: np.random.RandomState) -> Iterator[Case]:
    """Windows that overlap."""
    yield _pool(kind, "max pool", "MaxPool", integers(rng, kind.type, (1, 3, 7, 7)), (3, 3), (2, 2))


OPS: dict[str, Callable[[Kind, np.random.RandomState], Iterator[Case]]] = {
    "fully connected": fully_connected,
    "add": pair("add", "Add"),
    "sub": pair("sub", "Sub"),
    "mul": pair("mul", "Mul"),
    "average pool": average_pool,
    "mean": mean,
    "max pool": max_pool,
    "logistic": curve("logistic", "Sigmoid"),
    "tanh": curve("tanh", "Tanh"),
}
