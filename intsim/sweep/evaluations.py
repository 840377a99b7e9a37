"""A run's cells as evaluations, one for every network and seed: the records that `intsim.evaluate` keeps."""

import io
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.attack.catalogue import find
from intsim.errors import IntsimError
from intsim.evaluate import Evaluation, Images, Judge, Row
from intsim.evaluate.camera import digest
from intsim.evaluate.judged import judged
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.evaluate.whole import summed
from intsim.sweep import shared, store
from intsim.sweep.cells import Cell
from intsim.sweep.judged import AXES, newest
from intsim.sweep.plan import Plan

Set = tuple[str, float]
"""An attack's name (or CLEAN), and its radius in steps of 1/255."""


class Kept(Struct, frozen=True, kw_only=True):
    """What the store holds of a finished cell: counts of ties, the images' digest, and its output or its answers."""

    cell: Cell
    tied: int
    correct_ties_wrong: int
    correct_ties_right: int
    images: str
    answers: bytes | None
    logits: bytes | None


def evaluations(path: str | Path, run: int | None = None) -> list[Evaluation]:
    """The evaluations that a run (the newest, unless given) amounts to, as `intsim.evaluate` makes them.

    Judges that have not seen all images that float has are left out, and sets that float has not seen; so is a network
    without clean images. Where the plan kept no logits, a row does not say which images were tied, only how many; gates
    that probe the float network, certificates, fake-quant and ideal arithmetic are not in a store. Raises IntsimError
    where the plan's data is not what the cells saw, or the plan kept neither logits nor answers.
    """
    with store.opened(path) as base:
        number = newest(base, run)
        text, environment = base.execute(
            "SELECT plan, environment FROM runs JOIN sessions ON run = runs.id WHERE runs.id = ? "
            "ORDER BY sessions.id DESC LIMIT 1",
            (number,),
        ).fetchone()
        kept = list(_kept(base, number))
    plan, versions = msgspec.json.decode(text, type=Plan), msgspec.json.decode(environment, type=dict[str, str])
    found = []
    for network, seed in dict.fromkeys((one.cell.network, one.cell.seed) for one in kept):
        own = [one for one in kept if (one.cell.network, one.cell.seed) == (network, seed)]
        if any(one.cell.target == FLOAT and one.cell.attack == CLEAN for one in own):
            found.append(_evaluation(plan, network, seed, own, versions))
    return found


def _kept(base: sqlite3.Connection, run: int) -> Iterator[Kept]:
    names = (*AXES, *Kept.__struct_fields__[1:])
    rows = base.execute(
        f"SELECT {', '.join(names)} FROM coordinates JOIN cells USING (digest) WHERE run = ? ORDER BY place", (run,)
    )
    for row in rows:
        fields = dict(zip(names, row, strict=True))
        yield Kept(cell=Cell(**{axis: fields.pop(axis) for axis in AXES}), **fields)


def _evaluation(plan: Plan, network: str, seed: int, own: Sequence[Kept], versions: dict[str, str]) -> Evaluation:
    x, y = shared.examples(plan, network)
    seen = {(_judge(one.cell), (one.cell.attack, one.cell.eps_steps)): one for one in own}
    sets = [images for judge, images in seen if judge[1] == FLOAT]
    panel = [who for who in dict.fromkeys(who for who, _ in seen) if all((who, images) in seen for images in sets)]
    classes = shared.graph(plan, network).shapes[shared.graph(plan, network).outputs[0]][0]
    if seen[panel[0], sets[0]].images != digest(x):
        raise IntsimError("is not the data that the cells saw", where=plan.data, mend="put the file back")

    def answers(who: tuple[str, str]) -> Judge:
        outputs = [_output(seen[who, images], classes) for images in sets]
        return Judge(network=who[0], target=who[1], answer=lambda at: outputs[_place(at)])

    names = dict.fromkeys(name for name, _ in sets if name != CLEAN)
    attacks = [replace(find(name), name=name) for name in names]
    known = {attack.name: attack for attack in attacks}
    places = [  # each set's number stands for its images, which are long gone
        Images(
            attack=known.get(name),
            eps_steps=eps,
            grid=255,
            x=np.broadcast_to(np.array([place % 256, place // 256], np.uint8), (len(y), 1, 1, 2)),
            digest=seen[panel[0], (name, eps)].images,
        )
        for place, (name, eps) in enumerate(sets)
    ]
    rows = judged([answers(who) for who in panel], places, y, seed=seed)
    counted = [_tied(row, seen[(row.network, row.target), (row.attack, row.eps_steps)]) for row in rows]
    how = {"n": len(y), "seed": seed, "grid": 255, "data": digest(x, y), "versions": versions}
    return summed(counted, attacks, **how)  # type: ignore[arg-type]


def _place(images: np.ndarray) -> int:
    """Which set these stand for."""
    low, high = images[0, 0, 0]
    return int(low) + 256 * int(high)


def _judge(cell: Cell) -> tuple[str, str]:
    """(network, target) as an evaluation calls them: a quantization is a network of its own, a register a machine."""
    if cell.target == FLOAT:
        return cell.network, FLOAT
    bits = "".join(f" {kind}{n}" for kind, n in (("w", cell.weight_bits), ("a", cell.activation_bits)) if n)
    register = f"+acc{cell.accumulator}_{cell.overflow}" if cell.accumulator else ""
    rounding = f"+{cell.rounding}" if cell.rounding else ""
    return f"{cell.network}{bits or ' quantized'}", NULL if cell.target == NULL else cell.target + register + rounding


def _output(one: Kept, classes: int) -> np.ndarray:
    """[n, classes]: the output itself, or a 1 at the class that was answered."""
    if one.logits is not None:
        return np.asarray(np.load(io.BytesIO(one.logits), allow_pickle=False))
    if one.answers is None:
        raise IntsimError("kept no answers", where="plan", mend="answers = true, or logits = true, and sweep again")
    answered = np.frombuffer(one.answers, "<u1" if classes <= 256 else "<u2")
    return (answered[:, None] == np.arange(classes)).astype(np.int8)


def _tied(row: Row, one: Kept) -> Row:
    """The row with the counts of ties that the store holds."""
    return replace(
        row, tied=one.tied, correct_ties_wrong=one.correct_ties_wrong, correct_ties_right=one.correct_ties_right
    )
