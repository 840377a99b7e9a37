"""The attacks as data: what distinguishes one from another, and where attacks of your own are found."""

import importlib
import math
from importlib.metadata import entry_points
from numbers import Real
from typing import Any, Literal

import msgspec
from msgspec import Struct

from intsim.errors import IntsimError, unknown


class Attack(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One attack on the float network or on a chip, as data.

    `steps` gradient steps of `step_size` times the radius, from each of `restarts` starts: the "clean" image,
    a random one "inside" the ball, or a random one on its "edge" (L-inf: random signs). `loss`: see
    `intsim.attack.losses`, of the logits over `temperature`. `schedule`: steps of "constant" size, with `momentum`
    times the sum of the earlier gradients, or "apgd", which halves them. `towards`: "" is untargeted; else each of
    `classes` targets in turn, every one from all starts: the "likely" classes of the clean image, most likely first,
    the "unlikely" ones, least likely first, or the one "given" to `craft`. `success`: a "wrong" answer, or the
    "target" as the answer. `keep`: the "last" image; the "worst" of all that were seen: a success before a failure,
    then the larger loss; or the "first" success, which ends the search of that image (fewer steps for the same count
    of wrong answers, but images that only just succeed). `function`: what is run in place of the loop, see `find`.

    `knows`: the "float" network only, or the "chip" too: answers are then the chip's own integers
    (`intsim.attack.chip`), gradients the float network's at the same image. Only such an attack may raise the losses
    "diva", "evasive" and "overflow", succeed where the chip is wrong and float right ("evasive"), or search without
    gradients: "square" by scores, "rays" by labels alone, `steps` questions from each start.
    """

    name: str
    norm: Literal["linf", "l2"] = "linf"
    knows: Literal["float", "chip"] = "float"
    search: Literal["gradient", "square", "rays"] = "gradient"
    loss: Literal[
        "cross_entropy",
        "cross_entropy_float32",
        "cross_entropy_float64",
        "margin",
        "dlr",
        "squared_error",
        "diva",
        "evasive",
        "overflow",
    ] = "cross_entropy"
    temperature: float = 1.0
    steps: int = 1
    step_size: float = 1.0
    schedule: Literal["constant", "apgd"] = "constant"
    momentum: float = 0.0
    restarts: int = 1
    start: Literal["clean", "inside", "edge"] = "clean"
    towards: Literal["", "likely", "unlikely", "given"] = ""
    classes: int = 1
    success: Literal["wrong", "target", "evasive"] = "wrong"
    keep: Literal["last", "worst", "first"] = "last"
    function: str = ""

    def __post_init__(self) -> None:
        if self.steps < 0 or self.restarts < 1 or not self.step_size >= 0:
            what = f"{self.steps} steps of {self.step_size} from {self.restarts} starts"
            raise IntsimError(what, where=self.name, mend="steps and step_size from 0, restarts from 1")
        if not self.temperature > 0 or not self.momentum >= 0 or (self.momentum and self.schedule == "apgd"):
            what = f"temperature {self.temperature}, momentum {self.momentum} with {self.schedule} steps"
            raise IntsimError(what, where=self.name, mend="temperature above 0, momentum from 0 (apgd has its own)")
        if self.classes < 1 or (self.classes > 1 and self.towards not in ("likely", "unlikely")):
            raise IntsimError(
                f'{self.classes} classes towards "{self.towards}"', where=self.name, mend="likely or unlikely"
            )
        if self.success == "target" and (not self.towards or self.classes > 1):
            raise IntsimError("succeeds at a target", where=self.name, mend="give towards, and one class")
        both = self.loss in BOTH or self.success == "evasive"
        if self.knows == "float" and (both or self.search != "gradient"):
            what = f'{self.search} search on {self.loss}, success "{self.success}"'
            raise IntsimError(what, where=self.name, mend='needs knows="chip"')
        if self.search != "gradient" and (self.norm != "linf" or self.towards or both or self.keep != "first"):
            mend = 'L-inf, untargeted, success "wrong", keep "first"'
            raise IntsimError(f"searches by {self.search}", where=self.name, mend=mend)
        if both and self.towards:
            raise IntsimError(f"{self.loss} towards a class", where=self.name, mend="leave out towards")
        if self.keep == "last" and (self.restarts > 1 or self.classes > 1):
            raise IntsimError("keeps the last of several images", where=self.name, mend='keep "worst" or "first"')

    @property
    def gradients(self) -> int | None:
        """How many gradients an image costs at most; None: what a function of somebody else spends is not known."""
        if self.function:
            return None
        each = {"gradient": 2 if self.loss == "overflow" else 1}.get(self.search, 0)
        return each * self.restarts * self.classes * self.steps

    @property
    def queries(self) -> int | None:
        """How often float is asked about an image at most, those for gradients among them; None: unknown."""
        if self.function:
            return None
        if self.search != "gradient":
            return 0
        runs, ranking = self.restarts * self.classes, self.towards in ("likely", "unlikely")
        return runs * (self.steps + (self.keep != "last")) + ranking

    @property
    def chip_queries(self) -> int:
        """How often the chip is asked about an image at most; for "overflow" its sums are a question of their own."""
        if self.knows == "float":
            return 0
        if self.search != "gradient":
            return self.restarts * self.steps
        looks = self.restarts * self.classes * (self.steps + (self.keep != "last"))
        return looks * (2 if self.loss == "overflow" else 1)

    @property
    def described(self) -> str:
        """What it does, in words."""
        if self.function:
            return self.function
        norm = {"linf": "L-inf", "l2": "L2"}[self.norm]
        if self.steps == 0:
            return f"{norm}, a random direction at the full radius"
        whom = ", on the chip" if self.knows == "chip" else ""
        if self.search != "gradient":
            by = {"square": "random squares, by the chip's scores", "rays": "rays, by the chip's labels alone"}[
                self.search
            ]
            starts = f", {self.restarts} starts" * (self.restarts > 1)
            return f"{norm}, {by}, {self.steps} questions{starts}, the {self.keep} image is kept"
        how = f" with momentum {self.momentum:g}" if self.momentum else ""
        how += ", halved by APGD's rule" if self.schedule == "apgd" else ""
        loss = self.loss.replace("_", " ") + (f" at temperature {self.temperature:g}" * (self.temperature != 1))
        steps = f"{self.steps} step{'s' * (self.steps > 1)} of {self.step_size:g} times the radius{how} on {loss}"
        starts = f"{self.restarts} start{'s' * (self.restarts > 1)} ({self.start})"
        aim = f", towards {_aim(self)}" if self.towards else ""
        evading = ", float to stay right" if self.success == "evasive" else ""
        return f"{norm}{whom}, {steps}{aim}{evading}, {starts}, the {self.keep} image is kept"


BOTH = ("diva", "evasive", "overflow")
"""The losses that weigh the chip's answers against the float network's."""


def _aim(attack: Attack) -> str:
    if attack.towards == "given":
        return "the given class"
    rank = {"likely": "most likely wrong", "unlikely": "least likely"}[attack.towards]
    return f"each of the {attack.classes} {rank} classes" if attack.classes > 1 else f"the {rank} class"


def _all(*attacks: Attack) -> dict[str, Attack]:
    return {attack.name: attack for attack in attacks}


def _apgd(name: str, **fields: Any) -> Attack:
    return Attack(name=name, schedule="apgd", steps=100, step_size=2.0, start="inside", keep="worst", **fields)


def _on_chip(name: str, **fields: Any) -> Attack:
    plain = {"steps": 40, "step_size": 0.1, "start": "inside", "keep": "worst"}
    return Attack(name=name, knows="chip", **{**plain, **fields})


ATTACKS: dict[str, Attack] = _all(
    Attack(name="noise", steps=0, start="edge"),
    Attack(name="noise_l2", norm="l2", steps=0, start="edge"),
    Attack(name="fgsm"),
    Attack(name="fgsm_float32", loss="cross_entropy_float32"),
    Attack(name="fgsm_float64", loss="cross_entropy_float64"),
    Attack(name="fgsm_margin", loss="margin"),
    Attack(name="fgsm_dlr", loss="dlr"),
    Attack(name="fgsm_l2", norm="l2"),
    Attack(name="bim", steps=10, step_size=0.2),
    Attack(name="bim_l2", norm="l2", steps=10, step_size=0.2),
    Attack(name="mifgsm", steps=10, step_size=0.1, momentum=1.0),
    Attack(name="mifgsm_l2", norm="l2", steps=10, step_size=0.2, momentum=1.0),
    Attack(name="pgd", steps=10, step_size=0.25, start="inside", keep="worst"),
    Attack(name="pgd_l2", norm="l2", steps=10, step_size=0.25, start="inside", keep="worst"),
    Attack(name="pgd_margin", loss="margin", steps=40, step_size=0.1, restarts=3, start="inside", keep="worst"),
    Attack(
        name="pgd_least", steps=40, step_size=0.1, start="inside", towards="unlikely", success="target", keep="worst"
    ),
    Attack(name="fgsm_squared", loss="squared_error"),
    Attack(name="pgd_squared", loss="squared_error", steps=40, step_size=0.1, start="inside", keep="worst"),
    _apgd("apgd_ce"),
    _apgd("apgd_ce_l2", norm="l2"),
    _apgd("apgd_dlr", loss="dlr"),
    _apgd("apgd_dlr_l2", norm="l2", loss="dlr"),
    _apgd("apgd_t", loss="dlr", towards="likely", classes=9),
    _apgd("apgd_t_l2", norm="l2", loss="dlr", towards="likely", classes=9),
    _on_chip("ste_pgd"),
    _on_chip("ste_margin", loss="margin"),
    _on_chip("ste_squared", loss="squared_error"),
    _on_chip("square_chip", search="square", loss="margin", steps=1000, keep="first"),
    _on_chip("label_chip", search="rays", loss="margin", steps=1000, keep="first"),
    _on_chip("diva", loss="diva", success="evasive", restarts=4),
    _on_chip("evasive", loss="evasive", success="evasive", restarts=4),
    _on_chip("overflow", loss="overflow", success="evasive", restarts=4, steps=20, step_size=0.2),
)
"""Sources: FGSM, Goodfellow, Shlens, Szegedy, ICLR 2015, arXiv 1412.6572; BIM and the least likely class, Kurakin,
Goodfellow, Bengio, arXiv 1607.02533; PGD, Madry et al., ICLR 2018, arXiv 1706.06083; MI-FGSM, Dong et al., CVPR 2018,
arXiv 1710.06081; APGD, DLR and the nine targets, Croce, Hein, ICML 2020, arXiv 2003.01690; straight through what has
no gradient, Athalye, Carlini, Wagner, ICML 2018; Square, Andriushchenko et al., ECCV 2020, arXiv 1912.00049; RayS,
Chen, Gu, KDD 2020, arXiv 2006.12792; DIVA, Hao et al., MLSys 2022, arXiv 2204.10933. Step sizes of bim, pgd and their
kin are this catalogue's own, and so are evasive and overflow."""

NOISE = {"linf": "noise", "l2": "noise_l2"}
"""The attack without a gradient that stands beside those of each norm."""


RADIUS = "write 8/255, or 0.03"
"""The mend of what is no radius."""

SLACK = 1e-9
"""How far below a whole step a radius may be that means it: what rounding in float64 explains."""


def find(name: str) -> Attack:
    """The attack called `name`: one of the catalogue, of an entry point in "intsim.attacks", or of these forms.

    "module:name": an `Attack`, or a function (network, x, y, eps) -> images in 0..1. "FILE.npz": the images "x" in it.
    "art:NAME": the attack of the Adversarial Robustness Toolbox of that class. The last two may go on with
    ",KEY=VALUE..."; norm=l2 says that the radius is an L2 one (else it is L-inf). Raises IntsimError where there is
    none.
    """
    if name in ATTACKS:
        return ATTACKS[name]
    others = {entry.name: entry.value for entry in entry_points(group="intsim.attacks")}
    if name not in others and ":" not in name and not is_file(name):
        raise unknown("attack", name, [*ATTACKS, *others])
    spec = others.get(name, name)
    if is_file(spec) or spec.startswith(ART):
        norm = options(spec)[1].get("norm", "linf")
        if norm not in NOISE:
            raise unknown("norm", str(norm), NOISE)
        return Attack(name=name, norm=norm, function=spec)
    found = imported(spec)
    if isinstance(found, Attack):
        return found
    return Attack(name=name, function=spec)


ART = "art:"
"""What the name of an attack of ART begins with."""


def is_file(spec: str) -> bool:
    """Whether the name means images in a file."""
    return spec.partition(",")[0].endswith(".npz")


def options(spec: str) -> tuple[str, dict[str, Any]]:
    """What "NAME,KEY=VALUE,..." says: the name, and numbers, truths and words by their keys. Raises IntsimError."""
    name, *pairs = spec.split(",")
    found: dict[str, Any] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise IntsimError(f'"{pair}" is no KEY=VALUE', where=f"attack {spec}")
        try:
            found[key] = msgspec.json.decode(value)
        except msgspec.DecodeError:
            found[key] = value
    return name, found


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
