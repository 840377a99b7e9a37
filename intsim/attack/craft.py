"""The one loop that all attacks run in, from images of a camera's grid to images of the same grid."""

from collections.abc import Callable
from typing import Any

import numpy as np

from intsim.attack import door
from intsim.attack.catalogue import Attack, imported
from intsim.attack.losses import LOSSES
from intsim.attack.norms import NORMS, Norm
from intsim.attack.twin import Network
from intsim.errors import IntsimError

Tensor = Any  # torch.Tensor, without importing torch

BATCH = 100
"""Images in one pass of the network, unless said otherwise."""


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

    x: integers 0..`grid` as the camera delivers them (uint8 up to 255, else uint16), or, where `grid` is None,
    float32 in 0..1. `eps_steps`: the radius in steps of 1/255, whatever the grid; in L-inf the perturbation is
    at most floor(eps_steps * grid / 255) whole steps of the grid, in L2 it is at most eps_steps / 255 long in
    units of the whole pixel range. `network` takes pixels in 0..1. The noise of an image depends on `seed`
    and its index alone. `progress` is told the number of images done after each batch.

    Raises IntsimError where an attack of the user's own leaves the ball; nothing is scored then.
    """
    x, y = np.asarray(x), np.asarray(y)
    levels = _checked(x, y, eps_steps, grid)
    norm = NORMS[attack.norm]
    radius = norm.radius(eps_steps * levels / 255, grid is not None)
    crafted = np.empty_like(x)
    for start in range(0, len(x), batch):
        part = slice(start, min(start + batch, len(x)))
        if attack.function:
            found = _of_function(attack, network, x[part], y[part], eps_steps / 255, levels)
            crafted[part] = _on_grid(attack, norm, x[part], found, radius, levels, grid)
        elif radius == 0:
            crafted[part] = x[part]
        else:
            noise = _noise(attack, norm, x.shape[1:], radius, seed, range(part.start, part.stop))
            crafted[part] = _loop(attack, norm, network, x[part], y[part], radius, levels, grid, noise)
        if progress is not None:
            progress(part.stop)
    verify(attack, x, crafted, eps_steps, grid)
    return crafted
