"""Images that others made, by functions of the user's own, by ART, in files: put on the grid, refused off the ball."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from intsim.attack import door
from intsim.attack.catalogue import ART, Attack, imported, options
from intsim.attack.losses import labels_of
from intsim.attack.search import Ball
from intsim.attack.twin import Network
from intsim.errors import IntsimError

Function = Callable[[Network, Any, Any, float], Any]
"""(network, images[n, c, h, w] in 0..1, labels[n], the radius in 0..1) -> images in 0..1."""


def function(attack: Attack) -> Function:
    """The function that the attack names. Raises IntsimError."""
    if attack.function.startswith(ART):
        from intsim.attack import art

        return art.function(attack.function, attack.norm)
    found: Function = imported(attack.function)
    return found


def black_box(answer: Callable[[np.ndarray], np.ndarray], grid: int | None = 255) -> Network:
    """What answers pixels (a chip, a judge of `intsim.evaluate`), as a network that has no gradients.

    `answer`: pixels[n, ...] -> outputs[n, classes]; it is given uint8 where the camera's grid is 255, else float32 in
    0..255, both on the grid: images in between are rounded to it, ties up.
    """
    torch = door.torch()
    levels = 1.0 if grid is None else float(grid)

    def network(x: Any) -> Any:
        image = x.detach().numpy()
        if grid is not None:
            image = np.floor(image.astype(np.float64) * levels + 0.5).clip(0, levels)
        pixels = image.astype(np.uint8) if grid == 255 else (image * (255.0 / levels)).astype(np.float32)
        return torch.from_numpy(np.asarray(answer(pixels)).astype(np.float64))

    return network


def called(attack: Attack, network: Network, x: np.ndarray, y: np.ndarray, ball: Ball) -> np.ndarray:
    """What the attack's function makes of x[n, ...], on the grid in the ball; refused where it was not in the ball."""
    torch = door.torch()
    images = torch.from_numpy((x / ball.levels).astype(np.float32))
    labels = labels_of(y)
    found = function(attack)(network, images, labels, ball.eps / ball.levels)
    found = np.asarray(found.detach() if isinstance(found, torch.Tensor) else found)
    return _fitted(attack, found, x, ball)


def read(attack: Attack, x: np.ndarray, ball: Ball) -> np.ndarray:
    """The images of the attack's file for x[n, ...]: its first n, of x's type on the grid, or floats in 0..1.

    Raises IntsimError for a file that holds none or too few, and where an image is not in the ball around its own.
    """
    path, said = options(attack.function)
    if unknown := [key for key in said if key != "norm"]:
        raise IntsimError(f'takes no "{unknown[0]}"', where=f"attack {attack.name}", mend="only norm=l2 or norm=linf")
    try:
        with np.load(Path(path), allow_pickle=False) as file:
            held = file.get("x")
    except (OSError, ValueError, AttributeError, BadZipFile) as error:
        raise IntsimError(f"cannot be read ({error})", where=path) from None
    if held is None or held.shape[1:] != x.shape[1:] or len(held) < len(x):
        what = "holds no x" if held is None else f"holds {held.dtype} {held.shape} for {x.shape}"
        raise IntsimError(what, where=path, mend="give an image x[i] for every image that is attacked, in their order")
    if held.dtype.kind == "f":
        return _fitted(attack, held[: len(x)], x, ball)
    if held.dtype != x.dtype:
        raise IntsimError(f"holds {held.dtype}", where=path, mend=f"give {x.dtype}, or floats in 0..1")
    return held[: len(x)]  # craft verifies them


def _fitted(attack: Attack, found: np.ndarray, x: np.ndarray, ball: Ball) -> np.ndarray:
    """Floats in 0..1, rounded to the grid as far as the ball allows. Raises IntsimError for any outside of it."""
    torch = door.torch()
    if found.shape != x.shape or found.dtype.kind != "f" or not np.isfinite(found).all():
        what = f"gave {found.dtype} {found.shape}, not finite floats {x.shape} in 0..1"
        raise IntsimError(what, where=f"attack {attack.name}")
    delta = found.astype(np.float64) * ball.levels - x
    furthest = ball.norm.length(delta).max()
    if not furthest <= ball.eps * (1 + 1e-4):  # what images in float32 may be off by
        what = f"moved an image by {furthest / ball.levels:.6g}, not {ball.eps / ball.levels:.6g}"
        raise IntsimError(what, where=f"attack {attack.name}", mend="nothing was scored")
    clean = torch.from_numpy(x.astype(np.float64))
    return ball.seen(ball.inside(torch.from_numpy(delta), clean), clean).numpy().astype(x.dtype)
