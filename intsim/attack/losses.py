"""What an attack raises: one number an image, in float64, from the logits and the labels."""

from collections.abc import Callable
from typing import Any

Tensor = Any  # torch.Tensor, without importing torch


def _split(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(own[n], the logits with the own one at -inf), both float64."""
    logits = logits.double()
    own = logits.gather(1, y[:, None])
    return own[:, 0], logits.scatter(1, y[:, None], -float("inf"))


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """log((1 - p_y) / p_y) = logsumexp of the other logits, minus the own one.

    Cross entropy is log(1 + exp(this)): it grows with this, and its gradient is this one's times 1 - p_y, one
    positive number an image, which neither sign steps nor normalised steps see. The gradient of -log p_y
    in float32 is misdirected once p_y rounds to 1, and in float64 zero once 1 - p_y does; this one never is.
    """
    own, others = _split(logits, y)
    return others.logsumexp(1) - own


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """The largest of the other logits, minus the own one: positive where the answer is wrong."""
    own, others = _split(logits, y)
    return others.amax(1) - own


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"cross_entropy": _cross_entropy, "margin": _margin}
