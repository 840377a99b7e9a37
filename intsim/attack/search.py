"""The one loop that all gradient attacks run in: look, keep what is best, move on."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.attack import door
from intsim.attack.catalogue import Attack
from intsim.attack.losses import labels_of, raised
from intsim.attack.norms import Norm
from intsim.attack.schedule import State, moved
from intsim.attack.twin import Network
from intsim.errors import IntsimError
from intsim.tasks import Right, top1

Tensor = Any  # torch.Tensor, without importing torch

Look = Callable[[Tensor, Tensor, Tensor | None, bool], tuple[Tensor, Tensor, Tensor | None]]
"""(pixels[n, ...] in 0..1, y[n], the targets[n] or None, whether a gradient is wanted) -> (loss[n] in float64, whether
the attack succeeds there[n], the loss's gradient by the pixels in float64 or None). The one place where a network is
asked: an attack that sees more than the float network brings a look of its own."""


class Ball(Struct, frozen=True, kw_only=True):
    """Where images may go, in steps of the grid.

    Pixels are 0..levels (1 for images off any grid), no further than `radius` from the clean image; `eps` is
    the radius before it was made whole.
    """

    norm: Norm
    levels: float
    on_grid: bool
    eps: float
    radius: float

    def inside(self, delta: Tensor, clean: Tensor) -> Tensor:
        """The nearest perturbations of the ball, their pixels cut at the ends of the range."""
        return self.norm.project(delta, self.radius).clamp(-clean, self.levels - clean)

    def seen(self, delta: Tensor, clean: Tensor) -> Tensor:
        """The images that the camera can deliver of these perturbations in the ball."""
        return clean + (self.norm.round(delta, self.radius) if self.on_grid else delta)


def looking(attack: Attack, network: Network, right: Right = top1) -> Look:
    """How an attack on a network in torch looks, `right` being what its wrong answers are not."""
    torch = door.torch()

    def look(pixels: Tensor, y: Tensor, target: Tensor | None, wanted: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        with torch.set_grad_enabled(wanted):
            logits = network(pixels.requires_grad_(wanted))
            loss = raised(attack.loss, logits / attack.temperature, y, target)
            gradient = torch.autograd.grad(loss.sum(), pixels)[0].double() if wanted else None
        return loss.detach(), succeeds(attack, logits.detach(), y, target, right), gradient

    return look


def succeeds(attack: Attack, logits: Tensor, y: Tensor, target: Tensor | None, right: Right) -> Tensor:
    """bool[n]: whether logits[n, ...] are what the attack is after."""
    return logits.argmax(1) == target if attack.success == "target" else ~answered(right, logits, y)


def answered(right: Right, logits: Tensor, y: Tensor) -> Tensor:
    """bool[n]: whether logits[n, ...] answer y[n] right."""
    if right is top1:
        return logits.argmax(1) == y
    return door.torch().from_numpy(np.array(right(logits.numpy(), y.numpy()), bool))


def searched(
    attack: Attack,
    look: Look,
    examples: tuple[np.ndarray, np.ndarray],
    ball: Ball,
    runs: Sequence[tuple[np.ndarray, Tensor | None]],
) -> np.ndarray:
    """What the loop finds for examples (x[n, c, h, w], y[n]), of x's type; a run is a start and the targets.

    The network sees only what the camera can deliver: gradients are those at the rounded image. The perturbation
    itself stays unrounded between the steps, so that moves below one step of the grid add up.
    """
    torch = door.torch()
    x, y = examples
    clean, labels = torch.from_numpy(x.astype(np.float64)), labels_of(y)
    best, succeeded = clean.clone(), torch.zeros(len(x), dtype=torch.bool)
    best_loss = torch.full((len(x),), -float("inf"), dtype=torch.float64)
    left = torch.arange(len(x))
    for start, target in runs:
        at, state = clean[left], {"delta": torch.from_numpy(start)[left]}
        for step in range(attack.steps + 1):
            if not len(left):
                break
            state["delta"] = ball.inside(state["delta"], at)
            seen = ball.seen(state["delta"], at)
            last = step == attack.steps
            if last and attack.keep == "last":
                best[left] = seen
                break
            goal = None if target is None else target[left]
            loss, success, gradient = look((seen / ball.levels).float(), labels[left], goal, not last)
            if attack.keep != "last":
                before, least = succeeded[left], best_loss[left]
                better = (success & ~before) | ((success == before) & (loss > least))
                chosen = left[better]
                best[chosen], succeeded[chosen], best_loss[chosen] = seen[better], success[better], loss[better]
            if not last:
                state = _moved(attack, step, state, loss, gradient, ball, at)
            if attack.keep == "first" and success.any():
                left, at, state = left[~success], at[~success], {k: v[~success] for k, v in state.items()}
    return best.numpy().astype(x.dtype)


def _moved(attack: Attack, step: int, state: State, loss: Tensor, gradient: Tensor, ball: Ball, clean: Tensor) -> State:
    full = attack.step_size * ball.radius
    return moved(attack, step, state, loss, gradient, ball.norm.step, lambda delta: ball.inside(delta, clean), full)


def targets(
    attack: Attack, network: Network, pixels: Tensor, y: Tensor, given: Tensor | None = None
) -> list[Tensor | None]:
    """The targets[n] that the attack goes for, one set after another; [None] where it is untargeted.

    `pixels[n, ...]` in 0..1 are the clean images; of equally likely classes the first comes first. Raises IntsimError
    where targets are needed that were not given, and for a target that is no class or the label.
    """
    torch = door.torch()
    if not attack.towards:
        return [None]
    with torch.no_grad():
        logits = network(pixels).detach().double()
    if attack.towards == "given":
        if given is None:
            raise IntsimError("goes towards given classes", where=f"attack {attack.name}", mend="give craft towards=")
        if not bool(((given >= 0) & (given < logits.shape[1]) & (given != y)).all()):
            what = f"are not all classes 0..{logits.shape[1] - 1} other than the label"
            raise IntsimError(what, where="targets")
        return [given]
    way = -1.0 if attack.towards == "unlikely" else 1.0
    ranked = (way * logits).scatter(1, y[:, None], -float("inf")).sort(dim=1, descending=True, stable=True).indices
    return list(ranked.T[: min(attack.classes, logits.shape[1] - 1)])
