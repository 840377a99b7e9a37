"""What accuracy under attack is expected to be, from weights and clean images: no attacked image is seen here."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from msgspec import Struct

from paper.attack import CHUNK, gradient
from paper.network import Network, rounded


class Fitted(Struct, frozen=True, kw_only=True):
    """mean and standard deviation of the clean margins, and how much of the margin a step of eps 1 takes."""

    mu: float
    s: float
    reach: float


def margins(forward: Callable[[Any], Any], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64[n]: the label's logit minus the largest other one; x float32[n, 784]."""
    with torch.no_grad():
        parts = [forward(torch.from_numpy(x[i : i + CHUNK])).double().numpy() for i in range(0, len(x), CHUNK)]
    z = np.concatenate(parts)
    own = z[np.arange(len(y)), y].copy()
    z[np.arange(len(y)), y] = -np.inf
    return own - z.max(axis=1)


def reach(network: Network) -> float:
    """The mean over pairs of classes of the L1 norm of w_y - w_j, every hidden unit at one half."""
    whole = None
    for w in rounded(network):
        whole = w.astype(np.float64) if whole is None else w @ (whole / 2)
    classes = len(whole)
    norms = np.abs(whole[:, None, :] - whole[None, :, :]).sum(axis=2)
    return float(norms.sum() / (classes * (classes - 1)))


def fitted(network: Network, clean: np.ndarray) -> Fitted:
    """The model of a network from its weights and its clean margins[n]."""
    return Fitted(mu=float(clean.mean()), s=float(clean.std()), reach=reach(network))


def crossing(a: Fitted, b: Fitted) -> float | None:
    """The strength at which acc(eps) = Phi((mu - eps reach) / s) is one for both; None where that is not positive."""
    fall = a.reach / a.s - b.reach / b.s
    at = (a.mu / a.s - b.mu / b.s) / fall if fall else np.inf
    return float(at) if 0 < at < np.inf else None


def first_order(
    forward: Callable[[Any], Any], x: np.ndarray, y: np.ndarray, clean: np.ndarray, eps: Sequence[float]
) -> list[float]:
    """Expected accuracy at each strength: an image falls once the linear loss at the clean image exceeds its margin.

    A pixel goes no further than 0 or 1, so a strength takes sum |g| min(eps, room) from the margin.
    """
    slope = gradient(forward, x, y, "margin")
    room = np.where(slope > 0, 1 - x, x)
    size = np.abs(slope)
    return [float((clean > (size * np.minimum(room, np.float32(e))).sum(axis=1)).mean()) for e in eps]
