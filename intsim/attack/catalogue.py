"""The attacks as data: what distinguishes one from another, and where attacks of your own are found."""

import importlib
import math
from importlib.metadata import entry_points
from numbers import Real
from typing import Any, Literal

from msgspec import Struct

from intsim.errors import IntsimError, unknown


class Attack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attack on the float network, as data.

    `steps` gradient steps of `step_size` times the radius, from each of `restarts` starts: the "clean" image,
    a random one "inside" the ball, or a random one on its "edge" (L-inf: random signs). `keep`: the "last"
    image, or the "worst" of all that were seen: a wrong answer before a right one, then the larger loss.
    `function`: "module:name" of a function (network, x, y, eps) -> images in 0..1, run in place of the loop.
    """

    name: str
    norm: Literal["linf", "l2"] = "linf"
    loss: Literal["cross_entropy", "margin"] = "cross_entropy"
    steps: int = 1
    step_size: float = 1.0
    restarts: int = 1
    start: Literal["clean", "inside", "edge"] = "clean"
    keep: Literal["last", "worst"] = "last"
    function: str = ""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1 or not self.step_size >= 0:
            what = f"{self.steps} steps of {self.step_size} from {self.restarts} starts"
            raise IntsimError(what, where=self.name, mend="steps and step_size from 0, restarts from 1")


ATTACKS: dict[str, Attack] = {
    "noise": Attack(name="noise", steps=0, start="edge"),
    "noise_l2": Attack(name="noise_l2", norm="l2", steps=0, start="edge"),
    "fgsm": Attack(name="fgsm"),
    "fgsm_margin": Attack(name="fgsm_margin", loss="margin"),
    "fgsm_l2": Attack(name="fgsm_l2", norm="l2"),
    "bim": Attack(name="bim", steps=10, step_size=0.2),
    "bim_l2": Attack(name="bim_l2", norm="l2", steps=10, step_size=0.2),
    "pgd": Attack(name="pgd", steps=10, step_size=0.25, start="inside", keep="worst"),
    "pgd_l2": Attack(name="pgd_l2", norm="l2", steps=10, step_size=0.25, start="inside", keep="worst"),
    "pgd_margin": Attack(
        name="pgd_margin", loss="margin", steps=40, step_size=0.1, restarts=3, start="inside", keep="worst"
    ),
}
"""Sources: FGSM, Goodfellow, Shlens, Szegedy, ICLR 2015, arXiv 1412.6572; BIM, Kurakin, Goodfellow, Bengio,
arXiv 1607.02533; PGD, Madry et al., ICLR 2018, arXiv 1706.06083. Step sizes are this catalogue's own."""

NOISE = {"linf": "noise", "l2": "noise_l2"}
"""The attack without a gradient that stands beside those of each norm."""


RADIUS = "write 8/255, or 0.03"
"""The mend of what is no radius."""

SLACK = 1e-9
"""How far below a whole step a radius may be that means it: what rounding in float64 explains."""


def find(name: str) -> Attack:
    """The attack called `name`: of the catalogue, of an entry point in "intsim.attacks", or "module:name".

    What an entry point or a module gives is an `Attack`, or a function (network, x, y, eps) -> images in 0..1
    whose radius is L-inf. Raises IntsimError where there is none.
    """
    if name in ATTACKS:
        return ATTACKS[name]
    others = {entry.name: entry.value for entry in entry_points(group="intsim.attacks")}
    if name not in others and ":" not in name:
        raise unknown("attack", name, [*ATTACKS, *others])
    spec = others.get(name, name)
    found = imported(spec)
    if isinstance(found, Attack):
        return found
    return Attack(name=name, function=spec)


def imported(spec: str) -> Any:
    """What "module:name" names: an `Attack` or something that can be called. Raises IntsimError."""
    module, _, attribute = spec.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise IntsimError(f"cannot be imported ({error})", where=f"attack {spec}") from None
    if not isinstance(found, Attack) and not callable(found):
        what = f"is {type(found).__name__}, not an Attack or a function (network, x, y, eps) -> images"
        raise IntsimError(what, where=f"attack {spec}")
    return found


def pixel_steps(eps: str | float, norm: str = "linf", grid: int | None = 255) -> float:
    """The radius that "8/255", "0.03" or 0.03 means, in steps of 1/255: 255 times it.

    Raises IntsimError for what is no number above 0, for an L-inf radius above 1 (the whole range of the pixels; an L2
    radius may be longer), and for one below a step of the camera's `grid`, which would leave every image as it is.
    """
    steps = _number(eps)
    if not math.isfinite(steps):
        raise IntsimError(f"{eps} is not finite", where="eps", mend=RADIUS)
    if steps <= 0:
        what = f"{eps} is negative" if steps < 0 else f"{eps} leaves the images as they are"
        raise IntsimError(what, where="eps", mend=f"{RADIUS}; clean images are judged anyway")
    if norm == "linf" and steps > 255:
        in_steps = "/" not in str(eps) and steps <= 255**2
        near = f"did you mean {steps / 255:g}/255?" if in_steps else "an L-inf radius is at most 1"
        raise IntsimError(f"{eps} means {steps:g}/255, more than all of a pixel's range", where="eps", mend=near)
    if grid is not None and steps * grid / 255 < 1 - SLACK:
        raise IntsimError(f"{eps} is below one step of the camera's grid", where="eps", mend=f"give 1/{grid} or more")
    return steps


def _number(eps: str | float) -> float:
    """255 times it; NaN and infinity are numbers."""
    if isinstance(eps, Real):
        return 255.0 * float(eps)
    try:
        above, _, below = str(eps).partition("/")
        return 255.0 * float(above) / float(below or 1)
    except (ValueError, ZeroDivisionError):
        raise IntsimError(f'"{eps}" is no radius', where="eps", mend=RADIUS) from None
