"""What an attack raises: one number an image, from the logits and the labels."""

from collections.abc import Callable
from typing import Any

from intsim.attack import door
from intsim.errors import IntsimError

Tensor = Any  # torch.Tensor, without importing torch

TINY = 1e-12
"""The least that a margin is divided by: where the logits are tied, their ratio is the margin over this."""


def _split(logits: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(own[n], the logits with the own one at -inf), both float64."""
    logits = logits.double()
    own = logits.gather(1, y[:, None])
    return own[:, 0], logits.scatter(1, y[:, None], -float("inf"))


def _cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """log((1 - p_y) / p_y) = logsumexp of the other logits, minus the own one, in float64.

    Cross entropy is log(1 + exp(this)): it grows with this, and its gradient is this one's times 1 - p_y, one
    positive number an image, which neither sign steps nor normalised steps see. The gradient of -log p_y
    in float32 is misdirected once p_y rounds to 1, and in float64 zero once 1 - p_y does; this one never is.
    """
    own, others = _split(logits, y)
    return others.logsumexp(1) - own


def _textbook(dtype: str) -> Callable[[Tensor, Tensor], Tensor]:
    """-log softmax(logits)[y], computed and differentiated in `dtype`: what other tools attack, kept as a control."""

    def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
        torch = door.torch()
        return torch.nn.functional.cross_entropy(logits.to(getattr(torch, dtype)), y, reduction="none").double()

    return cross_entropy


def _margin(logits: Tensor, y: Tensor) -> Tensor:
    """The largest of the other logits, minus the own one: positive where the answer is wrong."""
    own, others = _split(logits, y)
    return others.amax(1) - own


def _dlr(logits: Tensor, y: Tensor) -> Tensor:
    """The margin over (the largest logit minus the third largest): unchanged by a shift and by a scale of the logits.

    Two classes have no third logit, and their margin over itself would have no gradient: there it is the margin.
    Source: Croce, Hein, ICML 2020, arXiv 2003.01690, equation 6.
    """
    return _over(_margin(logits, y), logits, (2,))


def _dlr_targeted(logits: Tensor, y: Tensor, target: Tensor) -> Tensor:
    """(z_target - z_y) over (the largest logit minus the mean of the third and the fourth); see `_dlr`.

    Three classes: minus the third; two: the difference alone. Source: ibid., equation 7.
    """
    wide = logits.double()
    gain = wide.gather(1, target[:, None]) - wide.gather(1, y[:, None])
    return _over(gain[:, 0], logits, (2, 3))


def _over(gain: Tensor, logits: Tensor, ranks: tuple[int, ...]) -> Tensor:
    """`gain` over the largest logit minus the mean of those at `ranks`, as far as there are such."""
    ordered = logits.double().sort(dim=1, descending=True, stable=True).values
    lower = [rank for rank in ranks if rank < ordered.shape[1]]
    if not lower:
        return gain
    return gain / (ordered[:, 0] - ordered[:, lower].mean(1)).clamp(min=TINY)


def _squared_error(output: Tensor, y: Tensor) -> Tensor:
    """The sum of (output - y)^2 over all outputs of an image, which should be the label: a number, or values."""
    found, wanted = output.double().flatten(1), y.double().reshape(len(y), -1)
    if found.shape != wanted.shape:
        what = f"the network gives {found.shape[1]} values an image, a label has {wanted.shape[1]}"
        raise IntsimError(what, where="squared_error", mend="give y[n, ...] of the shape of the outputs")
    return ((found - wanted) ** 2).sum(1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "cross_entropy": _cross_entropy,
    "cross_entropy_float32": _textbook("float32"),
    "cross_entropy_float64": _textbook("float64"),
    "margin": _margin,
    "dlr": _dlr,
    "squared_error": _squared_error,
}
"""(logits[n, classes], y[n]) -> float64[n]: what an untargeted attack raises."""


OF_VALUES = frozenset({"squared_error"})
"""The losses whose labels may be values; all others are of classes."""


def labels_of(y: Any) -> Tensor:
    """The labels, an array, as a tensor: classes in int64, values in float32."""
    return door.torch().from_numpy(y.astype("float32" if y.dtype.kind == "f" else "int64"))


def raised(name: str, logits: Tensor, y: Tensor, target: Tensor | None = None) -> Tensor:
    """The loss `name` away from y, or towards `target`: minus the loss away from it (dlr has a targeted form)."""
    if target is None:
        return LOSSES[name](logits, y)
    return _dlr_targeted(logits, y, target) if name == "dlr" else -LOSSES[name](logits, target)
