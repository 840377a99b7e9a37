"""A small dense network whose weights are rounded to levels, and the two quantizers."""

from collections.abc import Callable
from typing import Any

import numpy as np
from msgspec import Struct

Tensor = Any  # torch.Tensor


class Network(Struct, frozen=True, kw_only=True, eq=False):
    """Dense layers with ReLU between them: `weights` float32[outputs, inputs] unrounded, `biases` float32[outputs].

    `levels`, of `bits` bits: "ends" (no zero level, -1 and 1 among them), "rise" (no zero level, mid-rise),
    "zero" (mid-tread), or "" (weights as they are).
    """

    weights: tuple[np.ndarray, ...]
    biases: tuple[np.ndarray, ...]
    levels: str = ""
    bits: int = 0


def codes(w: np.ndarray, levels: str, bits: int) -> np.ndarray:
    """The integers of weights in [-1, 1], int32; the weight that a code c means is c / `denominator`."""
    n, wide = denominator(levels, bits), w.astype(np.float64)
    if levels == "zero":
        return np.clip(np.floor(wide * n + 0.5), -n, n - 1).astype(np.int32)
    if levels == "ends":
        return (2 * np.clip(np.floor((wide + 1) / 2 * n + 0.5), 0, n) - n).astype(np.int32)
    return (2 * np.clip(np.floor((wide + 1) / 2 * n), 0, n - 1) + 1 - n).astype(np.int32)


def denominator(levels: str, bits: int) -> int:
    """What codes are divided by: 2^B - 1 of "ends", 2^B of "rise", 2^(B-1) of "zero" levels."""
    return {"ends": 2**bits - 1, "rise": 2**bits, "zero": 2 ** (bits - 1)}[levels]


def storage_bits(levels: str, bits: int) -> int:
    """How many bits the codes take in two's complement: one more where they are odd."""
    return bits + (levels != "zero")


def rounded(network: Network) -> tuple[np.ndarray, ...]:
    """The weights that the forward pass sees, float32."""
    if not network.levels:
        return network.weights
    n = np.float32(denominator(network.levels, network.bits))
    return tuple(codes(w, network.levels, network.bits).astype(np.float32) / n for w in network.weights)


def in_torch(network: Network) -> Callable[[Tensor], Tensor]:
    """Pixels in 0..1, [n, ...] of 784 each, to logits [n, 10] in float32, differentiable."""
    import torch

    weights = [torch.from_numpy(np.ascontiguousarray(w)) for w in rounded(network)]
    biases = [torch.from_numpy(b) for b in network.biases]

    def forward(x: Tensor) -> Tensor:
        x = x.reshape(len(x), -1).float()
        for w, b in zip(weights[:-1], biases[:-1], strict=True):
            x = torch.nn.functional.linear(x, w, b).relu()
        return torch.nn.functional.linear(x, weights[-1], biases[-1])

    return forward


def permuted(network: Network, levels: str, bits: int, seed: int) -> Network:
    """The float network moved as far as rounding moves it, on no grid: its rounding errors, permuted in each layer."""
    rng = np.random.default_rng([seed, bits, len(levels), ord(levels[0])])
    errors = [
        r - w
        for r, w in zip(
            rounded(Network(weights=network.weights, biases=(), levels=levels, bits=bits)), network.weights, strict=True
        )
    ]
    moved = (w + rng.permutation(e.ravel()).reshape(e.shape) for w, e in zip(network.weights, errors, strict=True))
    return Network(weights=tuple(w.astype(np.float32) for w in moved), biases=network.biases)
