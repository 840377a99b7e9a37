"""The attacks of the protocol on one network: single steps at all strengths from one gradient, PGD, Square, noise."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from intsim.attack.catalogue import Attack
from intsim.attack.craft import craft
from intsim.attack.losses import raised
from paper.plan import LOSSES

Tensor = Any
Forward = Callable[[Tensor], Tensor]
CHUNK = 2_000


def gradient(forward: Forward, x: np.ndarray, y: np.ndarray, loss: str, temperature: float = 1.0) -> np.ndarray:
    """float32[n, 784]: the gradient of a loss of `intsim.attack.losses`, of the logits over `temperature`."""
    found = []
    for first in range(0, len(x), CHUNK):
        pixels = torch.from_numpy(x[first : first + CHUNK]).requires_grad_()
        labels = torch.from_numpy(y[first : first + CHUNK].astype(np.int64))
        value = raised(loss, forward(pixels) / temperature, labels).sum()
        found.append(torch.autograd.grad(value, pixels)[0].numpy())
    return np.concatenate(found)


def signs(forward: Forward, x: np.ndarray, y: np.ndarray, step: str) -> np.ndarray:
    """int8[n, 784]: the direction of a single step of `plan.LOSSES`."""
    return np.sign(gradient(forward, x, y, *LOSSES[step])).astype(np.int8)


def noise(n: int, seed: int) -> np.ndarray:
    """int8[n, 784]: random signs."""
    return (2 * np.random.default_rng([seed, 3]).integers(0, 2, (n, 784), dtype=np.int8) - 1).astype(np.int8)


def curve(forward: Forward, x: np.ndarray, y: np.ndarray, direction: np.ndarray, eps: Sequence[float]) -> np.ndarray:
    """bool[strengths, n]: right on clip(x + eps * direction, 0, 1), x float32 in 0..1."""
    bits = np.empty((len(eps), len(x)), bool)
    for first in range(0, len(x), CHUNK):
        part = slice(first, first + CHUNK)
        at, way = torch.from_numpy(x[part]), torch.from_numpy(direction[part]).float()
        for i, strength in enumerate(eps):
            bits[i, part] = right(forward, torch.add(at, way, alpha=strength).clamp_(0, 1), y[part])
    return bits


def right(forward: Forward, pixels: Tensor, y: np.ndarray) -> np.ndarray:
    """bool[n]: the first of the largest logits is the label's."""
    with torch.no_grad():
        return forward(pixels).argmax(1).numpy() == y


def searched(
    attack: Attack, forward: Forward, x: np.ndarray, y: np.ndarray, eps: Sequence[float], seed: int
) -> np.ndarray:
    """bool[strengths, n]: right on what `intsim.attack` crafts on real-valued images x float32[n, 784]."""
    bits = []
    for strength in eps:
        images = x.reshape(-1, 1, 28, 28)
        found = craft(attack, forward, images, y, 255 * strength, seed=seed, grid=None, batch=len(x))
        bits.append(right(forward, torch.from_numpy(found), y))
    return np.array(bits)


def square(forward: Forward, x: np.ndarray, y: np.ndarray, eps: Sequence[float], queries: int, seed: int) -> np.ndarray:
    """bool[strengths, n]: right on what Square leaves of x float32[n, 784] after so many questions.

    A random search on the margin: vertical stripes of +-eps first, then squares of one sign, kept where the margin
    grows; the side falls with the schedule of the paper (share .8 of the pixels at first, halved as questions go).
    Source: Andriushchenko, Croce, Flammarion, Hein, ECCV 2020, arXiv 1912.00049, algorithms 1 and 2.
    """
    bits = []
    labels = torch.from_numpy(y.astype(np.int64))
    for strength in eps:
        rng = np.random.default_rng([seed, 4])
        clean = x.reshape(-1, 28, 28)
        stripes = np.where(rng.integers(0, 2, (len(x), 1, 28)), strength, -strength)
        best = np.clip(clean + stripes, 0, 1).astype(np.float32)
        with torch.no_grad():
            reached = raised("margin", forward(torch.from_numpy(best)), labels).numpy()
        for question in range(queries):
            left = np.flatnonzero(reached <= 0)
            if not len(left):
                break
            side = max(1, min(27, round(28 * np.sqrt(_share(question / queries)))))
            tried = best[left]
            corners = rng.integers(0, 28 - side + 1, (len(left), 2))
            ways = np.where(rng.integers(0, 2, len(left)), strength, -strength)
            for i, ((row, column), way) in enumerate(zip(corners, ways, strict=True)):
                window = np.s_[i, row : row + side, column : column + side]
                tried[window] = np.clip(clean[left[i], *window[1:]] + way, 0, 1)
            with torch.no_grad():
                margin = raised("margin", forward(torch.from_numpy(tried)), labels[left]).numpy()
            better = margin > reached[left]
            best[left[better]], reached[left[better]] = tried[better], margin[better]
        bits.append(right(forward, torch.from_numpy(best), y))
    return np.array(bits)


def _share(done: float) -> float:
    """The share of the pixels in a square once that part of the questions is asked."""
    marks = (0.001, 0.005, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8)
    return 0.8 / 2 ** sum(done > mark for mark in marks)
