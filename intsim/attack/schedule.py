"""How a search moves on after it has looked: steps of one size, with momentum or without, and APGD's own."""

from collections.abc import Callable
from typing import Any

from intsim.attack import door
from intsim.attack.catalogue import Attack

Tensor = Any  # torch.Tensor, without importing torch
State = dict[str, Tensor]
"""What a search remembers from step to step, each [n, ...]; "delta" is where it stands."""
Inside = Callable[[Tensor], Tensor]
"""The nearest perturbations that the ball and the pixels' range allow."""
Direct = Callable[[Tensor, Tensor | float], Tensor]
"""The perturbation of a length that a linear loss of this gradient gains most by (`Norm.step`)."""

ALPHA, RHO = 0.75, 0.75
"""APGD: the share of the new direction in a step, and the share of steps that must raise the loss."""


def moved(
    attack: Attack, step: int, state: State, loss: Tensor, gradient: Tensor, direct: Direct, inside: Inside, full: float
) -> State:
    """The state after the step numbered `step` from 0; `loss[n]` and `gradient[n, ...]` are those at its delta.

    `full`: the length of a whole step.
    """
    if attack.schedule == "apgd":
        return _apgd(attack, step, state, loss, gradient, direct, inside, full)
    if attack.momentum:
        state = {**state, "velocity": _velocity(attack.momentum, state, gradient)}
        gradient = state["velocity"]
    return {**state, "delta": state["delta"] + direct(gradient, full)}


def _velocity(momentum: float, state: State, gradient: Tensor) -> Tensor:
    """momentum * velocity + gradient / its L1 norm. Source: Dong et al., CVPR 2018, arXiv 1710.06081, equation 6."""
    unit = gradient / _along(gradient.abs().flatten(1).sum(1), gradient).clamp(min=1e-300)
    return momentum * state["velocity"] + unit if "velocity" in state else unit


def checkpoints(steps: int) -> list[int]:
    """After how many steps APGD looks back: ceil(p_j * steps), p_0 = 0, p_1 = 0.22, then intervals that shrink.

    Source: arXiv 2003.01690, section 3.3.
    """
    hundredths = [0, 22]
    while (following := hundredths[-1] + max(hundredths[-1] - hundredths[-2] - 3, 6)) <= 100:
        hundredths.append(following)
    return sorted({-(-p * steps // 100) for p in hundredths})


def _apgd(
    attack: Attack, step: int, state: State, loss: Tensor, gradient: Tensor, direct: Direct, inside: Inside, full: float
) -> State:
    """One step of APGD: with momentum, and at checkpoints, where little was gained, half as long from the best point.

    Source: Croce, Hein, ICML 2020, arXiv 2003.01690, algorithm 1. The look back at w steps comes before step w + 1.
    """
    torch = door.torch()
    here = state["delta"]
    if step == 0:
        size, none = torch.full_like(loss, full), torch.zeros_like(loss)
        state = {"size": size, "size_then": size, "best_loss": loss, "loss_then": loss, "last_loss": loss}
        state |= {"rises": none, "best": here, "best_gradient": gradient, "previous": here}
    better = loss > state["best_loss"]
    best_loss = torch.where(better, loss, state["best_loss"])
    best = torch.where(_along(better, here), here, state["best"])
    best_gradient = torch.where(_along(better, here), gradient, state["best_gradient"])
    rises = state["rises"] + (loss > state["last_loss"])
    size, size_then, loss_then = state["size"], state["size_then"], state["loss_then"]
    marks = checkpoints(attack.steps)
    if step in marks[1:]:
        since = step - marks[marks.index(step) - 1]
        halve = (rises < RHO * since) | ((size == size_then) & (best_loss == loss_then))
        here = torch.where(_along(halve, here), best, here)
        gradient = torch.where(_along(halve, here), best_gradient, gradient)
        size, size_then, loss_then = torch.where(halve, size / 2, size), size, best_loss
        rises = torch.zeros_like(rises)
    ahead = inside(here + direct(gradient, _along(size, here)))
    if step > 0:
        ahead = here + ALPHA * (ahead - here) + (1 - ALPHA) * (here - state["previous"])
    state = {"delta": ahead, "previous": here, "size": size, "size_then": size_then, "rises": rises}
    state |= {"best": best, "best_gradient": best_gradient, "best_loss": best_loss}
    return {**state, "loss_then": loss_then, "last_loss": loss}


def _along(values: Tensor, shape: Tensor) -> Tensor:
    """values[n], shaped to broadcast against shape[n, ...]."""
    return values.reshape(-1, *(1,) * (shape.ndim - 1))
