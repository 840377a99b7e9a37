"""The images that everybody looks at: put on the camera's grid, then attacked, then handed out as pixels."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from msgspec.structs import replace

from intsim.attack.catalogue import ATTACKS, NOISE, Attack
from intsim.attack.chip import Chip
from intsim.attack.craft import BATCH, craft
from intsim.attack.twin import Network
from intsim.errors import IntsimError
from intsim.evaluate.records import Images
from intsim.graph import Pixels
from intsim.tasks import Right, top1

Strengths = Sequence[float] | Mapping[str, Sequence[float]]
"""Radii in steps of 1/255, for all attacks or by the attack's name."""


def on_grid(x: np.ndarray, pixels: Pixels, grid: int | None = 255) -> np.ndarray:
    """What a camera with levels 0..grid delivers of x[n, c, ...]: integers, or float32 in 0..1 where `grid` is None.

    `x`: uint8 0..255, or float32 in the network's input range, which `pixels` made of pixels.
    """
    if grid is not None and not 1 <= grid <= 65535:
        raise IntsimError(f"has levels 0..{grid}", where="grid", mend="1 to 65535; 255 is a uint8 camera")
    if x.dtype == np.uint8 and grid == 255:
        return x
    if x.dtype == np.uint8:
        share = x / 255.0
    else:
        along = (1, -1) + (1,) * (x.ndim - 2)
        mean, std = (np.asarray(v, np.float64).reshape(along) for v in (pixels.mean, pixels.std))
        share = np.clip((x * std + mean) * (pixels.divisor / 255.0), 0.0, 1.0)
    if grid is None:
        return share.astype(np.float32)
    return np.floor(share * grid + 0.5).astype(np.uint8 if grid <= 255 else np.uint16)


def as_pixels(x: np.ndarray, grid: int | None = 255) -> np.ndarray:
    """Images of the grid as a judge takes them: uint8 as they are on a grid of 255, else float32 in 0..255."""
    if grid == 255:
        return x
    return (x * (255.0 / (1 if grid is None else grid))).astype(np.float32)


def attacked(
    network: Network,
    x: np.ndarray,
    y: np.ndarray,
    attacks: Sequence[Attack],
    strengths: Strengths,
    *,
    seed: int = 0,
    grid: int | None = 255,
    batch: int = BATCH,
    chips: Sequence[Chip] = (),
    right: Right = top1,
    progress: Callable[[str, int], None] | None = None,
) -> Iterator[Images]:
    """The clean images, then for every attack and strength those crafted on `network`, noise of each radius before.

    Attacks that know the chip give one set for each of `chips` (`Judge.chip`). `x[n, c, h, w]` lies on the grid
    (`on_grid`). `right`: see `craft`. A strength of 0 is what the clean images are. `progress` is told which attack,
    and how many images are done, over all sets.
    """
    plan = crafting(planned(attacks, strengths), chips)
    yield Images(attack=None, eps_steps=0.0, grid=grid, x=x, digest=digest(x))
    for index, (attack, eps_steps, chip) in enumerate(plan):
        before, known = index * len(x), None if chip is None else _given_images(chip, grid)

        def tell(done: int, name: str = attack.name, before: int = before) -> None:
            if progress is not None:
                progress(name, before + done)

        how: dict[str, Any] = {"seed": seed, "grid": grid, "batch": batch, "chip": known, "progress": tell}
        found = craft(attack, network, x, y, eps_steps, right=right, **how)
        on: dict[str, Any] = {} if chip is None else {"crafted_on": chip.name}
        yield Images(attack=attack, eps_steps=eps_steps, grid=grid, x=found, digest=digest(found), **on)


def crafting(plan: Sequence[tuple[Attack, float]], chips: Sequence[Chip]) -> list[tuple[Attack, float, Chip | None]]:
    """The plan, with each chip in turn for the attacks that know one."""
    return [(a, eps, chip) for a, eps in plan for chip in (chips if a.knows == "chip" else (None,))]


def _given_images(chip: Chip, grid: int | None) -> Chip:
    """The chip of a judge, which is asked about pixels, asked about images of the grid."""
    answer, sums = chip.answer, chip.sums
    asked = replace(chip, answer=lambda x: answer(as_pixels(x, grid)))
    return asked if sums is None else replace(asked, sums=lambda x: sums(as_pixels(x, grid)))


def planned(attacks: Sequence[Attack], strengths: Strengths) -> list[tuple[Attack, float]]:
    """Which attack with which radius, in order: noise of every radius of a norm stands before its first attack.

    Raises IntsimError for a radius that is negative or not finite.
    """
    plan: dict[tuple[str, float], Attack] = {}
    for attack in attacks:
        given = strengths.get(attack.name, ()) if isinstance(strengths, Mapping) else strengths
        if wrong := [eps for eps in given if not 0 <= eps < np.inf]:
            raise IntsimError(f"{wrong[0]} is no radius", where=attack.name, mend="give steps of 1/255, 0 or more")
        for one in (ATTACKS[NOISE[attack.norm]], attack):
            plan |= {(one.name, float(eps)): one for eps in given if eps > 0 and (one.name, float(eps)) not in plan}
    return [(attack, eps) for (_, eps), attack in plan.items()]


def digest(*arrays: np.ndarray) -> str:
    """SHA-256 over the shapes, types and values of the arrays."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode())
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()
