"""The attacks as data: what distinguishes one from another, and where attacks of your own are found."""

import importlib
from fractions import Fraction
from importlib.metadata import entry_points
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


def pixel_steps(text: str) -> float:
    """The strength that "8/255" or "0.03" means, in steps of a pixel: 255 times it. Raises IntsimError."""
    try:
        eps = Fraction(text.strip())
    except (ValueError, ZeroDivisionError):
        raise IntsimError(f'"{text}" is no strength', where="eps", mend="write 8/255, or 0.03") from None
    if eps < 0:
        raise IntsimError(f"{text} is negative", where="eps")
    return float(255 * eps)
