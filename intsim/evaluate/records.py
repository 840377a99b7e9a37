"""What an evaluation is made of, as records that go into JSON as they are."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.attack.catalogue import Attack
from intsim.attack.chip import Chip
from intsim.statistics import Crossing, Paired, Rate

CLEAN = "clean"
"""What the images that nobody attacked are called among the attacks."""

FLOAT, NULL = "float", "float null"
"""The targets of the two judges that are no machines: the float network, and its perturbed copy."""


class Judge(Struct, frozen=True, kw_only=True, eq=False):
    """Somebody who looks at images: a `network` as it is executed by a `target`.

    `answer`: pixels[n, c, h, w] -> output[n, classes], floats or integers; the pixels are uint8, or float32 in 0..255
    where the camera's grid is another. The judge whose target is FLOAT is the network that was attacked. The one
    whose target is NULL stands beside all others of the same `network`. `chip`: what attacks that know it may ask,
    its images pixels as those of `answer`; None: no such attack is crafted on it.
    """

    network: str
    target: str
    answer: Callable[[np.ndarray], np.ndarray]
    chip: Chip | None = None


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


class Evaluation(Struct, frozen=True, kw_only=True):
    """Everything an evaluation found, and what is needed to repeat it.

    `data`: SHA-256 of the clean images on the grid and of the labels. `versions`: of the packages that took part.
    `verdict`: what may honestly be said of it, one sentence each.
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


def bits(row: Row) -> np.ndarray:
    """bool[n]: which of the images the judge had right."""
    return np.unpackbits(np.frombuffer(row.right, np.uint8), count=row.n).astype(bool)
