"""Results with known curves: judges that are right as often as a table says, judged by the real machinery."""

import numpy as np

from intsim.attack.catalogue import ATTACKS
from intsim.evaluate.bracket import brackets
from intsim.evaluate.camera import digest
from intsim.evaluate.judged import judged
from intsim.evaluate.ladder import rungs
from intsim.evaluate.records import FLOAT, NULL, Gate, Images, Judge
from intsim.evaluate.verdict import curves, verdict
from intsim.report import Accumulator, Behind, Counted, Example, Results, Width

CLASSES = 10
FGSM, PGD = (0.0, 2.0, 4.0, 8.0, 16.0), (0.0, 2.0, 8.0)
SLOPES = {  # (right when clean, lost per step of 1/255)
    ("net", FLOAT): (0.92, 0.05),
    ("net w8", NULL): (0.92, 0.0498),
    ("net w4", NULL): (0.90, 0.047),
    ("net w2", NULL): (0.60, 0.03),
    ("net w8", "ideal"): (0.92, 0.05),
    ("net w4", "ideal"): (0.84, 0.025),  # below float before eps = 3.2 steps, above it after
    ("net w4", "float, same input"): (0.915, 0.02),
    ("net w2", "ideal"): (0.20, 0.005),
    ("net w8", "cmsis_nn_s8"): (0.918, 0.0495),
    ("net w8", "nvdla_small"): (0.905, 0.049),
    ("net w8", "machine+acc20_wrap"): (0.92, 0.05),
    ("net w8", "machine+acc16_wrap"): (0.15, 0.0),
    ("net w8", "machine+acc20_saturate"): (0.92, 0.05),
    ("net w8", "machine+acc16_saturate"): (0.70, 0.04),
}

GATES = [
    {
        "name": "black box", "network": "net w4", "target": "ideal", "masking": True, "passed": False, "value": 0.2,
        "limit": 0.02, "spoils": ("fgsm at 8/255, transferred",), "settle": "square with 5,000 queries",
        "said": "A black-box attack leaves less than a white-box one.",
    },
    {
        "name": "monotone", "network": "net w8", "target": "ideal", "masking": False, "passed": True, "value": 0.0,
        "limit": 0.02, "spoils": (), "settle": "nothing", "said": "Accuracy falls with strength.",
    },
]  # fmt: skip


def sample(n: int = 500, seed: int = 0) -> Results:
    """A record with every section filled; `n` images at most 65,536."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, CLASSES, n)
    luck = rng.random(n)
    judges = [
        Judge(network=network, target=target, answer=_answer(y, luck, place, *slope))
        for place, ((network, target), slope) in enumerate(SLOPES.items())
    ]
    attacks = (ATTACKS["fgsm"], ATTACKS["pgd"])
    sets = [_images(None, 0.0, n)]
    sets += [_images(ATTACKS["noise"], eps, n) for eps in FGSM[1:]]
    sets += [_images(ATTACKS["fgsm"], eps, n) for eps in FGSM[1:]]
    sets += [_images(ATTACKS["pgd"], eps, n) for eps in PGD[1:]]
    rows = judged(judges, sets, y, seed=seed)
    lines = curves(rows, seed=seed)
    failed = tuple(Gate(**gate) for gate in GATES)
    return Results(
        rows=tuple(rows),
        curves=tuple(lines),
        attacks=(ATTACKS["noise"], *attacks),
        n=n,
        classes=CLASSES,
        seed=seed,
        grid=255,
        data=digest(y),
        versions={"intsim": "0.1.0"},
        verdict=tuple(verdict(rows, lines)),
        rungs=tuple(rungs(rows, seed=seed)),
        brackets=tuple(brackets(rows)),
        gates=failed,
        of="synthetic judges",
        command="intsim demo",
        class_names=tuple(f"class {i}" for i in range(CLASSES)),
        widths=tuple(Width(bits=b, network=f"net w{b}", target="ideal") for b in (8, 4, 2)),
        doors=(Behind(network="net w4", target="float, same input", levels=16),),
        ladder=tuple(
            Accumulator(bits=bits, overflow=mode, network="net w8", target=f"machine+acc{bits}_{mode}")
            for mode in ("wrap", "saturate")
            for bits in (20, 16)
        ),
        overflows=tuple(_counts()),
        gallery=(_example(rng),),
    )


def _images(attack: object, eps: float, n: int) -> Images:
    """Images that carry their index, the strength and the attack in their first pixels."""
    x = np.zeros((n, 1, 2, 2), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 0, 1] = np.arange(n) % 256, np.arange(n) // 256
    x[:, 0, 1, 0] = int(eps)
    x[:, 0, 1, 1] = 0 if attack is None else list(ATTACKS).index(attack.name)
    return Images(attack=attack, eps_steps=eps, grid=255, x=x, digest=digest(x))


def _answer(y: np.ndarray, luck: np.ndarray, place: int, clean: float, slope: float):
    """Right on the luckiest images; a judge that is right on few says the same class on the others."""
    own = np.random.default_rng(place).normal(0, 0.01, len(y))

    def answer(x: np.ndarray) -> np.ndarray:
        index = x[:, 0, 0, 0].astype(int) + 256 * x[:, 0, 0, 1].astype(int)
        noise = x[:, 0, 1, 1] == list(ATTACKS).index("noise")
        rate = clean - slope * x[:, 0, 1, 0] * np.where(noise, 0.02, 1.0)
        right = luck[index] + own[index] < rate
        said = np.where(right, y[index], (y[index] + 1) % CLASSES if clean > 0.5 else 3)
        return np.eye(CLASSES, dtype=np.int8)[said]

    return answer


def _counts():
    for target, share in (("machine+acc16_wrap", 0.3), ("machine+acc20_wrap", 0.0)):
        for attack, eps, more in (("clean", 0.0, 1.0), ("fgsm", 8.0, 0.9)):
            for layer in ("conv_1", "conv_2", "linear"):
                hit = int(10000 * share * more)
                yield Counted(
                    network="net w8", target=target, attack=attack, eps_steps=eps, images=100, layer=layer,
                    outputs=hit, of_outputs=10000, adds=2 * hit, of_adds=90000, persistent=hit // 2,
                )  # fmt: skip


def _example(rng: np.random.Generator) -> Example:
    clean = rng.integers(0, 256, (1, 8, 8)).astype(np.uint8)
    attacked = np.clip(clean.astype(int) + 8 * rng.choice([-1, 1], clean.shape), 0, 255).astype(np.uint8)
    return Example(
        index=7, label=2, network="net w4", target="ideal", attack="fgsm", eps_steps=8.0, shape=(1, 8, 8),
        clean=clean.tobytes(), attacked=attacked.tobytes(), float_clean=2, float_attacked=4, chip_clean=2,
        chip_attacked=2, kind="fools float, not the chip",
    )  # fmt: skip
