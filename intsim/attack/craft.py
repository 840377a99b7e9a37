"""The one loop that all attacks run in, from images of a camera's grid to images of the same grid."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from msgspec import Struct

from intsim.attack import door
from intsim.attack.catalogue import Attack, imported
from intsim.attack.losses import LOSSES
from intsim.attack.norms import NORMS, Norm
from intsim.attack.twin import Network
from intsim.errors import IntsimError

Tensor = Any  # torch.Tensor, without importing torch

BATCH = 100
"""Images in one pass of the network, unless said otherwise."""

STRETCH = 16
"""How many times longer than the radius noise may be before it is cut at the ends of the pixels' range."""


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


def ball(norm: str, eps_steps: float, grid: int | None = 255) -> Ball:
    """The `Ball` of a radius in steps of 1/255 on a grid of 0..grid, or off any grid (None).

    L-inf: floor(eps_steps * grid / 255) whole steps of the grid. L2: eps_steps / 255 of the whole pixel range.
    """
    if not 0 <= eps_steps < np.inf:
        raise IntsimError(f"{eps_steps} is no strength", where="eps", mend="give a number from 0")
    levels = 1.0 if grid is None else float(grid)
    eps, on_grid = eps_steps * levels / 255, grid is not None
    return Ball(norm=NORMS[norm], levels=levels, on_grid=on_grid, eps=eps, radius=NORMS[norm].radius(eps, on_grid))


def craft(
    attack: Attack,
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    eps_steps: float,
    *,
    seed: int = 0,
    grid: int | None = 255,
    batch: int = BATCH,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The attacked images, of the type and on the grid of x[n, c, h, w], none further from x than the radius.

    `x`: integers 0..grid as the camera delivers them, or float32 in 0..1 where `grid` is None. `y`: int[n].
    `eps_steps`: the radius in steps of 1/255 whatever the grid, see `ball`. `network` takes float32 pixels in 0..1. An
    image's noise depends on `seed` and its index alone. `progress` is told how many images are done.

    Raises IntsimError for images or labels that do not fit, and where an attack leaves the ball.
    """
    x, y = np.asarray(x), np.asarray(y)
    allowed = ball(attack.norm, eps_steps, grid)
    _check(x, y, allowed)
    crafted = np.empty_like(x)
    for first in range(0, len(x), batch):
        part = slice(first, min(first + batch, len(x)))
        if allowed.radius == 0:
            crafted[part] = x[part]
        elif attack.function:
            crafted[part] = _called(attack, network, x[part], y[part], allowed)
        else:
            indices = range(part.start, part.stop)
            starts = [_start(attack, x[part], allowed, (seed, r), indices) for r in range(attack.restarts)]
            crafted[part] = _searched(attack, network, (x[part], y[part]), allowed, starts)
        if progress is not None:
            progress(part.stop)
    verify(attack.name, x, crafted, allowed)
    return crafted


def verify(name: str, x: np.ndarray, crafted: np.ndarray, ball: Ball) -> None:
    """Nothing, where every crafted image is on the grid and in the ball around its own. Raises IntsimError."""
    if crafted.dtype != x.dtype or crafted.shape != x.shape:
        raise IntsimError(f"gave {crafted.dtype} {crafted.shape} for {x.dtype} {x.shape}", where=f"attack {name}")
    if not x.size:
        return
    # Whole steps are compared exactly: the slack is that of the radius, itself a float. Floats are float32.
    longest = ball.radius * (1 + 1e-12) if ball.on_grid else ball.radius * (1 + 1e-5) + 1e-6
    length = ball.norm.length(crafted.astype(np.float64) - x)
    worst = int(np.argmax(length))
    if not length[worst] <= longest:
        what = f"moved image {worst} by {length[worst]:.6g} steps of 1/{ball.levels:g}, not {ball.radius:.6g}"
        raise IntsimError(what, where=f"attack {name}", mend="nothing was scored")
    if not (crafted.min() >= 0 and crafted.max() <= ball.levels):
        what = f"left the pixels 0..{ball.levels:g}: {crafted.min()} to {crafted.max()}"
        raise IntsimError(what, where=f"attack {name}", mend="nothing was scored")


def _check(x: np.ndarray, y: np.ndarray, ball: Ball) -> None:
    if x.dtype.kind not in ("u" if ball.on_grid else "f"):
        mend = f"give unsigned integers 0..{ball.levels:g}" if ball.on_grid else "give float32 in 0..1"
        raise IntsimError(f"is {x.dtype}", where="x", mend=mend)
    if x.size and not (x.min() >= 0 and x.max() <= ball.levels):
        raise IntsimError(f"runs from {x.min()} to {x.max()}, not from 0 to {ball.levels:g}", where="x")
    if y.shape != (len(x),) or y.dtype.kind not in "iu":
        raise IntsimError(f"{y.dtype} {y.shape} for {len(x)} images", where="y", mend="give one class an image")


def _start(attack: Attack, x: np.ndarray, ball: Ball, seeds: tuple[int, int], indices: Sequence[int]) -> np.ndarray:
    """The perturbations of x[n, ...] that a restart begins with; each image has a random generator of its own.

    Those on the edge are stretched until they are that long after pixels were cut at the ends of their range, so
    that noise has all of the radius that an attack may use (where the pixels leave room for it).
    """
    if attack.start == "clean":
        return np.zeros(x.shape)
    draw = ball.norm.inside if attack.start == "inside" else ball.norm.edge
    delta = np.stack([draw(np.random.default_rng([*seeds, i]), x.shape[1:], ball.radius) for i in indices])
    if attack.start == "inside":
        return delta
    clean = x.astype(np.float64)
    low, high = np.ones(len(x)), np.full(len(x), float(STRETCH))
    for _ in range(50):
        middle = (low + high) / 2
        stretched = delta * middle.reshape(-1, *(1,) * (x.ndim - 1))
        fits = ball.norm.length(np.clip(clean + stretched, 0, ball.levels) - clean) <= ball.radius
        low, high = np.where(fits, middle, low), np.where(fits, high, middle)
    return np.clip(clean + delta * low.reshape(-1, *(1,) * (x.ndim - 1)), 0, ball.levels) - clean


def _searched(
    attack: Attack,
    network: Network,
    examples: tuple[np.ndarray, np.ndarray],
    ball: Ball,
    starts: Sequence[np.ndarray],
) -> np.ndarray:
    """What the loop finds, x.dtype[n, c, h, w].

    The network sees only what the camera can deliver: gradients are those at the rounded image. The perturbation
    itself stays unrounded between the steps, so that moves below one step of the grid add up.
    """
    torch = door.torch()
    x, y = examples
    clean, labels = torch.from_numpy(x.astype(np.float64)), torch.from_numpy(y.astype(np.int64))
    best, best_wrong = clean.clone(), torch.zeros(len(x), dtype=torch.bool)
    best_loss = torch.full((len(x),), -float("inf"), dtype=torch.float64)
    for start in starts:
        delta = torch.from_numpy(start)
        for step in range(attack.steps + 1):
            delta = ball.norm.project(delta, ball.radius).clamp(-clean, ball.levels - clean)
            seen = clean + (ball.norm.round(delta, ball.radius) if ball.on_grid else delta)
            if step == attack.steps and attack.keep == "last":
                best = seen
                break
            loss, wrong, gradient = _look(attack, network, (seen / ball.levels).float(), labels)
            if attack.keep == "worst":
                better = (wrong & ~best_wrong) | ((wrong == best_wrong) & (loss > best_loss))
                best[better], best_wrong[better], best_loss[better] = seen[better], wrong[better], loss[better]
            delta = delta + ball.norm.step(gradient, attack.step_size * ball.radius)
    return best.numpy().astype(x.dtype)


def _look(attack: Attack, network: Network, pixels: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(loss[n], wrong[n], the loss's gradient by the pixels in float64) at float32 pixels in 0..1."""
    torch = door.torch()
    with torch.enable_grad():
        pixels.requires_grad_()
        logits = network(pixels)
        loss = LOSSES[attack.loss](logits, y)
        (gradient,) = torch.autograd.grad(loss.sum(), pixels)
    return loss.detach(), logits.detach().argmax(1) != y, gradient.double()


def _called(attack: Attack, network: Network, x: np.ndarray, y: np.ndarray, ball: Ball) -> np.ndarray:
    """What the user's own function gives, put on the grid in the ball; refused where it was not in the ball."""
    torch = door.torch()
    images = torch.from_numpy((x / ball.levels).astype(np.float32))
    labels = torch.from_numpy(y.astype(np.int64))
    found = imported(attack.function)(network, images, labels, ball.eps / ball.levels)
    found = np.asarray(found.detach() if isinstance(found, torch.Tensor) else found)
    if found.shape != x.shape or found.dtype.kind != "f" or not np.isfinite(found).all():
        what = f"gave {found.dtype} {found.shape}, not finite floats {x.shape} in 0..1"
        raise IntsimError(what, where=f"attack {attack.name}")
    delta = found.astype(np.float64) * ball.levels - x
    furthest = ball.norm.length(delta).max()
    if not furthest <= ball.eps * (1 + 1e-4):  # what images in float32 may be off by
        what = f"moved an image by {furthest / ball.levels:.6g}, not {ball.eps / ball.levels:.6g}"
        raise IntsimError(what, where=f"attack {attack.name}", mend="nothing was scored")
    clean = torch.from_numpy(x.astype(np.float64))
    inside = ball.norm.project(torch.from_numpy(delta), ball.radius).clamp(-clean, ball.levels - clean)
    rounded = ball.norm.round(inside, ball.radius) if ball.on_grid else inside
    return (clean + rounded).numpy().astype(x.dtype)
