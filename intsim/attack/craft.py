"""Attacked images: from images of a camera's grid to images of the same grid, in the ball, whoever made them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from intsim.attack import door, outside
from intsim.attack.catalogue import Attack, is_file
from intsim.attack.chip import Chip, on_chip
from intsim.attack.losses import OF_VALUES, labels_of
from intsim.attack.norms import NORMS
from intsim.attack.queries import queried
from intsim.attack.search import Ball, Look, looking, searched, targets
from intsim.attack.twin import Network
from intsim.errors import IntsimError
from intsim.tasks import Right, are_values, top1

BATCH = 100
"""Images in one pass of the network, unless said otherwise."""

STRETCH = 16
"""How many times longer than the radius noise may be before it is cut at the ends of the pixels' range."""


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
    towards: np.ndarray | None = None,
    look: Look | None = None,
    chip: Chip | None = None,
    right: Right = top1,
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """The attacked images, of the type and on the grid of x[n, c, h, w], none further from x than the radius.

    `x`: integers 0..grid as the camera delivers them, or float32 in 0..1 where `grid` is None. `y`: int[n],
    or float[n, ...] for an attack on values.
    `eps_steps`: the radius in steps of 1/255 whatever the grid, see `ball`. `network` takes float32 pixels in 0..1. An
    image's noise depends on `seed` and its index alone. `towards`: int[n], the classes of an attack towards "given"
    ones. `look`: what the loop asks in place of `network` (which still ranks the classes of a targeted attack).
    `chip`: what an attack asks that knows one. `right`: the predicate of the task, what "wrong" answers are not (the
    loss stays the attack's; a `look` decides itself). `progress` is told how many images are done.

    Raises IntsimError for images, labels or classes that do not fit, and where an attack leaves the ball.
    """
    x, y = np.asarray(x), np.asarray(y)
    allowed = ball(attack.norm, eps_steps, grid)
    _check(attack, x, y, allowed)
    if attack.knows == "chip" and chip is None and look is None:
        raise IntsimError("asks a chip", where=f"attack {attack.name}", mend="give craft chip=")
    if towards is not None:
        towards = np.asarray(towards)
        _check_classes("towards", towards, len(x))
    given = outside.read(attack, x, allowed) if is_file(attack.function) and allowed.radius else None
    crafted = np.empty_like(x)
    for first in range(0, len(x), batch):
        part = slice(first, min(first + batch, len(x)))
        if allowed.radius == 0:
            crafted[part] = x[part]
        elif given is not None:
            crafted[part] = given[part]
        elif attack.function:
            crafted[part] = outside.called(attack, network, x[part], y[part], allowed)
        elif attack.search != "gradient" and chip is not None:
            indices = range(part.start, part.stop)
            crafted[part] = queried(attack, chip.answer, x[part], y[part], allowed, indices, seed, right)
        else:
            aims = _aims(attack, network, x[part], y[part], allowed, None if towards is None else towards[part])
            indices, runs = range(part.start, part.stop), []
            for run in range(attack.restarts * len(aims)):
                start = _start(attack, x[part], allowed, (seed, run), indices)
                runs.append((start, aims[run // attack.restarts]))
            asked = look or looking(attack, network, right)
            if chip is not None and attack.knows == "chip" and look is None:
                asked = on_chip(attack, network, chip, allowed, x.dtype, right)
            crafted[part] = searched(attack, asked, (x[part], y[part]), allowed, runs)
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


def _check(attack: Attack, x: np.ndarray, y: np.ndarray, ball: Ball) -> None:
    if x.dtype.kind not in ("u" if ball.on_grid else "f"):
        mend = f"give unsigned integers 0..{ball.levels:g}" if ball.on_grid else "give float32 in 0..1"
        raise IntsimError(f"is {x.dtype}", where="x", mend=mend)
    if x.size and not (x.min() >= 0 and x.max() <= ball.levels):
        raise IntsimError(f"runs from {x.min()} to {x.max()}, not from 0 to {ball.levels:g}", where="x")
    if not are_values(y):
        _check_classes("y", y, len(x))
    elif len(y) != len(x):
        raise IntsimError(f"{len(y)} labels for {len(x)} images", where="y", mend="give one label an image")
    elif not (attack.function or attack.steps == 0 or attack.search == "rays") and attack.loss not in OF_VALUES:
        what = f"raises {attack.loss}, which is of classes, and labels are values"
        raise IntsimError(what, where=f"attack {attack.name}", mend="take fgsm_squared, pgd_squared or ste_squared")


def _check_classes(name: str, classes: np.ndarray, n: int) -> None:
    if classes.shape != (n,) or classes.dtype.kind not in "iu":
        raise IntsimError(f"{classes.dtype} {classes.shape} for {n} images", where=name, mend="give one class an image")


def _aims(
    attack: Attack, network: Network, x: np.ndarray, y: np.ndarray, ball: Ball, towards: np.ndarray | None
) -> list[Any]:
    """The targets of each of the attack's classes in turn; see `targets`."""
    if not attack.towards:
        return [None]
    torch = door.torch()
    pixels, labels = torch.from_numpy((x / ball.levels).astype(np.float32)), labels_of(y)
    chosen = None if towards is None else torch.from_numpy(towards.astype(np.int64))
    return targets(attack, network, pixels, labels, chosen)


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
