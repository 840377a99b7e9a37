"""The protocol of docs/paper.md as data: which networks, seeds, strengths, attacks and images."""

import math
from collections.abc import Iterator
from itertools import product

from msgspec import Struct

from intsim.attack.catalogue import Attack

EPS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.10, 0.15, 0.20, 0.25, 0.30, 0.40)
STEPS = tuple(math.floor(255 * eps + 1e-9) for eps in EPS)
"""The strengths in whole steps of the uint8 grid."""

WIDTHS = {"mlp": (784, 100, 10), "single": (784, 10)}
CLAIM_BITS = (1, 2, 3)
TUNED_BITS = (1, 2, 3, 4)

FGSM = "fgsm_float32"
"""The paper's attack, as far as it is known."""

LOSSES: dict[str, tuple[str, float]] = {
    FGSM: ("cross_entropy_float32", 1.0),
    "fgsm_float64": ("cross_entropy_float64", 1.0),
    "fgsm_log_odds": ("cross_entropy", 1.0),
    "fgsm_margin": ("margin", 1.0),
    "fgsm_dlr": ("dlr", 1.0),
    "fgsm_temperature_10": ("cross_entropy_float32", 10.0),
}
"""The single steps: the loss (intsim.attack.losses) and the temperature of each."""

EVERYWHERE = (FGSM, "fgsm_margin")
"""The single steps that every network meets; the others are controls of the cells that carry the claim."""

PGD = (
    Attack(name="pgd_float32", loss="cross_entropy_float32", steps=40, step_size=0.1, start="inside", keep="worst"),
    Attack(name="pgd_margin", loss="margin", steps=40, step_size=0.1, restarts=3, start="inside", keep="first"),
    Attack(name="pgd_log_odds", steps=40, step_size=0.1, restarts=3, start="inside", keep="first"),
    Attack(
        name="apgd_targets",
        loss="dlr",
        schedule="apgd",
        steps=40,
        step_size=2.0,
        start="inside",
        keep="first",
        towards="likely",
        classes=9,
    ),
)
"""The last two were added after the quick run showed that the gradient of the margin is masked itself."""
PGD_EPS = (0.05, 0.10, 0.20, 0.30)
SQUARE_EPS = (0.10, 0.20)


class Spec(Struct, frozen=True, kw_only=True):
    """One network.

    `family`: "float", "trained", "tuned", "rounded" or "permuted"; `levels`: "rise", "zero", "ends" or "".
    """

    model: str = "mlp"
    family: str = "float"
    levels: str = ""
    bits: int = 0
    seed: int = 0

    @property
    def group(self) -> str:
        """Its name without the seed."""
        return f"{self.model}-float" if not self.bits else f"{self.model}-{self.family}-{self.levels}-{self.bits}"

    @property
    def name(self) -> str:
        """Its name in the store."""
        return f"{self.group}-s{self.seed}"

    @property
    def parent(self) -> "Spec":
        """The float network of its seed."""
        return Spec(model=self.model, seed=self.seed)

    @property
    def controlled(self) -> bool:
        """Whether it is one of the cells that carry the claim, which all controls are run on."""
        claimed = self.family == "trained" and self.levels == "rise" and self.bits in CLAIM_BITS
        return self.model == "mlp" and (self.family == "float" or claimed)


class Plan(Struct, frozen=True, kw_only=True):
    """How much of the protocol is run: seeds of the grid and of the claim's cells, widths, and numbers of images."""

    seeds: int = 5
    claim_seeds: int = 10
    bits: tuple[int, ...] = tuple(range(1, 11))
    models: tuple[str, ...] = ("mlp", "single")
    families: tuple[str, ...] = ("trained", "tuned", "rounded", "permuted")
    images: int = 10_000
    pgd_images: int = 1_000
    square_images: int = 200
    square_queries: int = 1_000
    epochs: int = 30
    train_images: int = 60_000
    draws: int = 1_000


FULL = Plan()
QUICK = Plan(
    seeds=3,
    claim_seeds=3,
    bits=(1, 2, 4),
    models=("mlp",),
    families=("trained", "rounded"),
    images=2_000,
    pgd_images=200,
    square_images=50,
    draws=300,
)


def specs(plan: Plan) -> Iterator[Spec]:
    """Every network of the plan; seed by seed, float first, so that what a seed's networks share is made once."""
    for model in plan.models:
        for seed in range(max(plan.seeds, plan.claim_seeds) if model == "mlp" else plan.seeds):
            for spec in (Spec(model=model, seed=seed), *_quantized(plan, model, seed)):
                if seed < plan.seeds or spec.controlled:
                    yield spec


def _quantized(plan: Plan, model: str, seed: int) -> Iterator[Spec]:
    for family in plan.families:
        for levels, bits in product(("rise", "zero", "ends"), plan.bits):
            only_zero, only_mlp = family == "tuned", family in ("tuned", "permuted")
            if (only_zero and (levels != "zero" or bits not in TUNED_BITS)) or (only_mlp and model != "mlp"):
                continue
            if levels == "ends" and (family != "trained" or bits not in CLAIM_BITS or model != "mlp"):
                continue
            yield Spec(model=model, family=family, levels=levels, bits=bits, seed=seed)
