"""What an evaluation is made of, as records that go into JSON as they are."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.attack.catalogue import Attack
from intsim.attack.chip import Chip
from intsim.program import Program
from intsim.statistics import Crossing, Interval, Paired, Rate

CLEAN = "clean"
"""What the images that nobody attacked are called among the attacks."""

FLOAT, NULL = "float", "float null"
"""The targets of the two judges that are no machines: the float network, and its perturbed copy."""

FAKE, IDEAL = "fake-quant", "ideal"
"""The targets of the judges between float and the machines: the quantized network imitated in floats (`fake`), and in
integers that no machine's arithmetic bends."""


class Judge(Struct, frozen=True, kw_only=True, eq=False):
    """Somebody who looks at images: a `network` as it is executed by a `target`.

    `answer`: pixels[n, c, h, w] -> output[n, classes], floats or integers; the pixels are uint8, or float32 in 0..255
    where the camera's grid is another. The judge whose target is FLOAT is the network that was attacked. The one
    whose target is NULL stands beside all others of the same `network`. `chip`: what attacks that know it may ask,
    its images pixels as those of `answer`; None: no such attack is crafted on it. `proven`: pixels[n, c, h, w] in
    uint8 and a radius in their steps -> the class that the whole box around each image is given, or -1; None: nothing
    is proven of it. `program`: what runs; None: floats, or somebody else's answers.
    """

    network: str
    target: str
    answer: Callable[[np.ndarray], np.ndarray]
    chip: Chip | None = None
    proven: Callable[[np.ndarray, int], np.ndarray] | None = None
    program: Program | None = None


class Images(Struct, frozen=True, kw_only=True, eq=False):
    """One set of images on the camera's grid, crafted by `attack` with radius `eps_steps` / 255; None: clean ones.

    `x[n, c, h, w]`: integers 0..grid, or float32 in 0..1 where `grid` is None. `digest`: their SHA-256. `crafted_on`:
    FLOAT, or "NETWORK on TARGET" where the attack knew that chip.
    """

    attack: Attack | None
    eps_steps: float
    grid: int | None
    x: np.ndarray
    digest: str
    crafted_on: str = FLOAT

    @property
    def name(self) -> str:
        """The attack's name, or CLEAN."""
        return CLEAN if self.attack is None else self.attack.name


class Row(Struct, frozen=True, kw_only=True):
    """One judge on one set of images.

    `eps` = `eps_steps` / 255. `correct` of `n`, with the Wilson interval `low..high` of the accuracy. `tied`: outputs
    whose maximum stands at several classes (the first counts); `correct_ties_wrong` and `correct_ties_right`: both
    extremes. `predicted`: how often each class was answered; `top_share`: what the most frequent of them cover.
    `at_floor`: the accuracy is not above that of the most frequent label alone. `collapsed`: the judge is at the floor,
    or gives few answers too often, on clean images: then there are no conditional rates. `transferred`: wrong here, of
    the images that float had right when clean and has wrong here. `fooled`: wrong here, of those that this judge had
    right when clean. `paired`: this judge against "float", and against its "float null", on the same images. `images`:
    their digest. `right`: which of the images, one bit each, the first in the highest bit (numpy.packbits).
    `ties_wrong`, `ties_right`: the same for both extremes of ties, b"" where nothing is tied. `answers`: the class that
    was answered to each image, one byte each (two, little-endian, from 257 classes on); b"" where there are no classes.
    `crafted_on`: see `Images`.
    """

    network: str
    target: str
    attack: str
    norm: str
    eps: float
    eps_steps: float
    n: int
    correct: int
    low: float
    high: float
    tied: int
    correct_ties_wrong: int
    correct_ties_right: int
    predicted: tuple[int, ...]
    top_share: float
    at_floor: bool
    collapsed: bool
    transferred: Rate | None
    fooled: Rate | None
    paired: dict[str, Paired]
    images: str
    answers: bytes = b""
    ties_wrong: bytes = b""
    ties_right: bytes = b""
    seed: int
    right: bytes
    crafted_on: str = FLOAT

    @property
    def accuracy(self) -> float:
        """The share of right answers, correct / n."""
        return self.correct / self.n

    @property
    def who(self) -> str:
        """The judge, as `crafted_on` names it: "NETWORK on TARGET", or FLOAT."""
        return FLOAT if self.target == FLOAT else f"{self.network} on {self.target}"


class Curve(Struct, frozen=True, kw_only=True):
    """Accuracy against strength, the clean rate first, for one judge and attack, and where it crosses float's.

    `sure`: on each side of the crossing the judge differs from float by more than chance, in that side's direction
    (exact McNemar, adjusted by Holm over the curve's strengths). A crossing that is not sure is noise.
    """

    network: str
    target: str
    attack: str
    eps: tuple[float, ...]
    accuracy: tuple[float, ...]
    crossing: Crossing | None
    sure: bool


class Rung(Struct, frozen=True, kw_only=True):
    """One step of the ladder of `network` on one set of images: the judge on `after` against the one on `before`.

    `paired`: gained and lost by the step. `changed`: images whose answer the step changes; `first`: those of them whose
    answer no step before had changed; `rescued`: those that get float's answer back (None: there are no classes).
    `null`: the float null against float on the same images, what a harmless change of weights of that size does;
    `beyond`: the step's net effect minus the null's, with a bootstrap interval over the images. `p_holm`: `paired.p`
    adjusted over the family, which is all rungs of one evaluation. All rungs are exploratory (see `Primary`).
    """

    network: str
    before: str
    after: str
    attack: str
    norm: str
    eps_steps: float
    crafted_on: str
    paired: Paired
    changed: int | None
    first: int | None
    rescued: int | None
    null: Paired | None
    beyond: Interval | None
    p_holm: float


class Primary(Struct, frozen=True, kw_only=True):
    """The one comparison that was fixed before anything was judged: `target` against float. Its p is not adjusted."""

    network: str
    target: str
    attack: str
    eps_steps: float
    paired: Paired


class Bracket(Struct, frozen=True, kw_only=True):
    """Robust accuracy of one judge in balls of one norm and radius, between bounds.

    `upper`: the images that are right when clean and under every set of images of that norm and at most that radius
    which was judged (`over`: its attacks), image by image; `ties_wrong` and `ties_right`: the same at both extremes of
    tied maxima. `transfer`: the same over the sets that were crafted on float alone; `loose`: that is all there is, and
    the judge is not float, so `upper` is the looser bound that transfer gives. `lower`: images proven right; None: not
    tried.
    """

    network: str
    target: str
    norm: str
    eps_steps: float
    upper: Rate
    ties_wrong: Rate
    ties_right: Rate
    transfer: Rate
    loose: bool
    lower: Rate | None
    over: tuple[str, ...]


class Gate(Struct, frozen=True, kw_only=True):
    """One check of one judge: `value` against `limit`, and whether it `passed`; None: what it needs was not run.

    `masking`: where it fails the judge's gradients are masked, and its accuracies under attack measure nothing.
    `spoils`: the sets of images whose numbers a failure makes worthless ("ATTACK at EPS/255"). `settle`: what to run
    to know more. `said`: what was found, in a sentence.
    """

    name: str
    network: str
    target: str
    masking: bool
    passed: bool | None
    value: float | None
    limit: float | None
    spoils: tuple[str, ...]
    settle: str
    said: str


class Evaluation(Struct, frozen=True, kw_only=True):
    """Everything an evaluation found, and what is needed to repeat it.

    `data`: SHA-256 of the clean images on the grid and of the labels. `versions`: of the packages that took part.
    `verdict`: what may honestly be said of it, one sentence each. `primary`: the comparison that was fixed beforehand;
    `rungs`: the ladder's steps on every set of images; `brackets`: robust accuracy between its bounds; `gates`: the
    checks that the numbers passed or not.
    """

    rows: tuple[Row, ...]
    curves: tuple[Curve, ...]
    attacks: tuple[Attack, ...]
    n: int
    classes: int
    seed: int
    grid: int | None
    data: str
    versions: dict[str, str]
    verdict: tuple[str, ...]
    primary: Primary | None = None
    rungs: tuple[Rung, ...] = ()
    brackets: tuple[Bracket, ...] = ()
    gates: tuple[Gate, ...] = ()


def bits(row: Row) -> np.ndarray:
    """bool[n]: which of the images the judge had right."""
    return _unpacked(row.right, row.n)


def tie_bits(row: Row) -> tuple[np.ndarray, np.ndarray]:
    """(worst, best), bool[n] each: who is right where ties count as wrong, and where they count as right."""
    worst, best = (_unpacked(packed or row.right, row.n) for packed in (row.ties_wrong, row.ties_right))
    return worst, best


def labels(row: Row) -> np.ndarray | None:
    """int[n]: the class that was answered to each image; None where there are no classes."""
    if not row.answers:
        return None
    return np.frombuffer(row.answers, "<u1" if len(row.answers) == row.n else "<u2").astype(np.int64)


def _unpacked(packed: bytes, n: int) -> np.ndarray:
    return np.unpackbits(np.frombuffer(packed, np.uint8), count=n).astype(bool)
