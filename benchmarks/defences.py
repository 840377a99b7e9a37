"""What training against attacks and training in few bits do: the networks that ship, attacked on float and on chips.

python benchmarks/defences.py [--images N] [--only NAME]     attacks, writes the record (about 15 minutes on 2 cores)
python benchmarks/defences.py --page                         writes docs/defences.md from the record

Every network is attacked by what its own float network tells, by images made on the plain one, straight through each of
its chips, and by asking them (Square). Robust accuracy is what is right under all of that, image by image.
"""

import argparse
import base64
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace

from intsim.attack.catalogue import ATTACKS, Attack
from intsim.attack.craft import craft
from intsim.attack.twin import twin
from intsim.build import load
from intsim.evaluate import Evaluation, evaluate
from intsim.evaluate.records import CLEAN, FAKE, FLOAT, IDEAL
from intsim.statistics import Paired, paired
from intsim_models import images, path

ROOT = Path(__file__).parents[1]
RECORD, PAGE = ROOT / "benchmarks/results/defences/fashion.json", ROOT / "docs/defences.md"
PLAIN, EPS = "cnn", 8
RADII = (2, 4, 8, 16)
CHIPS = {
    "cnn": ("litert_ref", "cmsis_nn_s8"),
    "cnn_adv": ("litert_ref", "cmsis_nn_s8"),
    "cnn_w4": ("litert_ref", "cmsis_nn_s4"),
    "cnn_w3": ("litert_ref", "cmsis_nn_s4"),
    "cnn_w2": ("litert_ref", "cmsis_nn_s4"),
}
WORDS = {
    "cnn": "plain",
    "cnn_adv": "adversarially trained",
    "cnn_w4": "trained with 4-bit weights",
    "cnn_w3": "trained with 3-bit weights",
    "cnn_w2": "trained with 2-bit weights",
}
FROM_PLAIN = f"pgd on {PLAIN}"
SQUARE = replace(ATTACKS["square_chip"], steps=300)
PGD40 = replace(ATTACKS["ste_pgd"], name="pgd40", knows="float")
"""As many steps on float as are made straight through the chips: one budget for all judges."""
KNOWING = (ATTACKS["ste_pgd"], SQUARE)
COLUMNS = (
    *((name, FLOAT) for name in ("fgsm", "pgd", PGD40.name, FROM_PLAIN)),
    *((name, "self") for name in ("ste_pgd", "square_chip")),
)
COMPARED = "litert_ref"
Found = dict[str, Any]


# ---- attacking --------------------------------------------------------------------------------------------------


def attacked(name: str, n: int) -> Evaluation:
    """The evaluation of one network on the first n of the images that ship."""
    shipped = images()
    x, y = shipped.x[:n], shipped.y[:n].astype(np.int64)
    plain = load(path(PLAIN))
    calibration = shipped.x_calibration if name in ("cnn", "cnn_adv") else None
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.npz"
        np.savez(made, x=craft(ATTACKS["pgd"], twin(plain), x, y, EPS))  # type: ignore[arg-type]
        given = Attack(name=FROM_PLAIN, function=str(made))
        near = [f"{radius}/255" for radius in RADII]
        eps = {"fgsm": near, "pgd": near} | dict.fromkeys(
            (PGD40.name, FROM_PLAIN, *(a.name for a in KNOWING)), f"{EPS}/255"
        )
        attacks = [ATTACKS["fgsm"], ATTACKS["pgd"], PGD40, given, *KNOWING]
        return evaluate(
            path(name), CHIPS[name], data=(x, y), attacks=attacks, eps=eps, calibration=calibration, null=False
        )


def kept(name: str, found: Evaluation) -> Found:
    """What the record keeps of an evaluation: who is right on which image of which set."""
    rows = [
        {
            "target": row.target,
            "attack": row.attack,
            "eps": row.eps_steps,
            "on": "self" if row.crafted_on == row.who != FLOAT else row.crafted_on.rpartition(" on ")[2],
            "correct": row.correct,
            "right": base64.b64encode(row.right).decode(),
        }
        for row in found.rows
        if row.target != FAKE
    ]
    failed = [
        {"target": gate.target, "gate": gate.name, "masking": gate.masking, "said": gate.said}
        for gate in found.gates
        if gate.passed is False and gate.target != FAKE
    ]
    return {"n": found.n, "data": found.data, "versions": found.versions, "rows": rows, "gates": failed}


# ---- reading the record -----------------------------------------------------------------------------------------


def right(one: Found, row: Found) -> np.ndarray:
    """bool[n]."""
    packed = np.frombuffer(base64.b64decode(row["right"]), np.uint8)
    return np.unpackbits(packed, count=one["n"]).astype(bool)


def picked(one: Found, target: str, attack: str, on: str, eps: float = EPS) -> np.ndarray | None:
    """bool[n] of a judge on a set; None where there is none."""
    for row in one["rows"]:
        if (row["target"], row["attack"], row["on"], row["eps"]) == (target, attack, on, eps):
            return right(one, row)
    return None


def worst(one: Found, target: str) -> np.ndarray:
    """bool[n]: right when clean and under everything up to the radius."""
    own = [right(one, row) for row in one["rows"] if row["target"] == target and row["eps"] <= EPS]
    return np.all(own, axis=0)


def targets(name: str) -> tuple[str, ...]:
    """Who runs the network: float, ideal arithmetic, chips."""
    return (FLOAT, IDEAL, *CHIPS[name])


def compared(found: dict[str, Found]) -> Iterator[tuple[str, Paired]]:
    """(in words, the pair) of the family that was declared: what defence, bits and integers each do."""
    plain = found[PLAIN]
    for name in [name for name in CHIPS if name in found and name != PLAIN]:
        one = found[name]
        for what, ours, theirs in (
            ("clean", *(picked(f, COMPARED, CLEAN, FLOAT, 0) for f in (one, plain))),
            (f"all attacks to {EPS}/255", worst(one, COMPARED), worst(plain, COMPARED)),
        ):
            assert ours is not None
            assert theirs is not None
            yield f"{name} against {PLAIN}, both on {COMPARED}: {what}", paired(ours, theirs)
    for name in ("cnn", "cnn_adv"):
        if name in found:
            ours, theirs = (picked(found[name], target, "pgd", FLOAT) for target in (COMPARED, FLOAT))
            assert ours is not None
            assert theirs is not None
            yield f"{name} in 8 bits on {COMPARED} against its float: pgd made on float", paired(ours, theirs)
            pair = worst(found[name], COMPARED), worst(found[name], FLOAT)
            yield f"{name} in 8 bits on {COMPARED} against its float: all attacks to {EPS}/255", paired(*pair)


def main() -> None:
    """Attacks, and writes the record or the page."""
    words = argparse.ArgumentParser()
    words.add_argument("--images", type=int, default=400)
    words.add_argument("--only", choices=CHIPS)
    words.add_argument("--out", type=Path, default=RECORD)
    words.add_argument("--page", action="store_true")
    said = words.parse_args()
    if said.page:
        from defences_page import page

        PAGE.write_text(page(json.loads(RECORD.read_text())), encoding="utf-8")
        return
    torch.set_num_threads(1)
    said.out.parent.mkdir(parents=True, exist_ok=True)
    for name in [said.only] if said.only else list(CHIPS):
        before = json.loads(said.out.read_text()) if said.out.exists() else {}
        before[name] = kept(name, attacked(name, said.images))
        ordered = {key: before[key] for key in CHIPS if key in before}
        said.out.write_text(json.dumps(ordered, separators=(",", ":")).replace('{"target"', '\n{"target"') + "\n")
        print(f"{name}: {100 * float(worst(before[name], COMPARED).mean()):.1f} % robust at most on {COMPARED}")


if __name__ == "__main__":
    main()
