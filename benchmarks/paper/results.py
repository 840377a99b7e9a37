"""The store summed up: what docs/paper.md and the figures are made of, as one small JSON a data set."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from paper import analytic, deploy, stats, store
from paper.data import Data
from paper.plan import CLAIM_BITS, EPS, FGSM, LOSSES, PGD, PGD_EPS, SQUARE_EPS, STEPS, Plan, Spec, specs

NUMBERS = (
    "saturated",
    "zero_gradients",
    "zero_margin_gradients",
    "zero_pixels",
    "dead_units",
    "active_units",
    "mean_logit",
    "mu",
    "s",
    "reach",
)
STRONG, TRANSFERRED = 0.20, 0.10
"""The strengths of the primary test and of the second family."""


class Book:
    """The cells of a store, read once."""

    def __init__(self, root: Path, plan: Plan) -> None:
        self.root, self.known = root, {}
        self.groups: dict[str, list[Spec]] = {}
        for spec in specs(plan):
            self.groups.setdefault(spec.group, []).append(spec)

    def cells(self, group: str, attack: str) -> dict[int, store.Cell]:
        """The cells of a group by seed, as far as they have been measured."""
        key = (group, attack)
        if key not in self.known:
            found = {spec.seed: store.read_cell(self.root, spec.name, attack) for spec in self.groups.get(group, ())}
            self.known[key] = {seed: cell for seed, cell in found.items() if cell is not None}
        return self.known[key]

    def bits(self, group: str, attack: str, seeds: Iterable[int]) -> np.ndarray:
        """bool[seeds, strengths, n]."""
        cells = self.cells(group, attack)
        return np.stack([cells[seed].bits for seed in seeds])


def summary(root: Path, data: Data, name: str, plan: Plan) -> dict[str, Any]:
    """All results of a data set, rounded; only what has been measured is there."""
    book = Book(root, plan)
    models = [model for model in plan.models if book.cells(f"{model}-float", f"{FGSM}-self")]
    return {
        "data": name,
        "digest": data.digest,
        "images": plan.images,
        "pgd_images": plan.pgd_images,
        "square_images": plan.square_images,
        "eps": list(EPS),
        "steps": list(STEPS),
        "networks": {group: found for group in book.groups if (found := _group(book, group))},
        "crossings": {group: found for model in models for group, found in _crossings(book, model, plan.draws)},
        "controls": _controls(book, plan.draws),
        "withstood": {group: found for group in book.groups if (found := _withstood(book, group, data))},
        "deployed": {group: found for group in book.groups if (found := _deployed(book, group))},
        "primary": _primary(book),
        "transfer": _transfer(book),
    }


def _group(book: Book, group: str) -> dict[str, Any]:
    """Curves of a group under every single step, and the numbers of its clean cell."""
    found: dict[str, Any] = {"curves": {}}
    clean = book.cells(group, "clean")
    if clean:
        found["seeds"] = len(clean)
        for key in NUMBERS:
            found[key] = round(float(np.mean([cell.numbers[key] for cell in clean.values()])), 4)
        found["first_order"] = [
            round(100 * float(v), 2) for v in np.mean([cell.numbers["first_order"] for cell in clean.values()], axis=0)
        ]
    for attack in [f"{step}-self" for step in LOSSES] + [f"{FGSM}-transfer", f"{FGSM}-null", "noise"]:
        cells = book.cells(group, attack)
        if cells:
            bits = book.bits(group, attack, cells)
            found["curves"][attack] = {"mean": stats.percent(bits), "sd": stats.spread(bits), "seeds": len(cells)}
    for attack, strengths in [*((each.name, PGD_EPS) for each in PGD), ("square", SQUARE_EPS)]:
        cells = book.cells(group, f"{attack}-self")
        if cells:
            bits = book.bits(group, f"{attack}-self", cells)
            found["curves"][f"{attack}-self"] = {
                "eps": list(strengths),
                "mean": stats.percent(bits),
                "sd": stats.spread(bits),
                "seeds": len(cells),
            }
    worst = _worst(book, group)
    return found | ({"worst": worst} if worst else {}) if found["curves"] else {}


def _worst(book: Book, group: str) -> dict[str, Any]:
    """Accuracy where an image counts as right only if it withstood every attack, on the images Square was run on."""
    names = [*(f"{step}-self" for step in LOSSES), *(f"{each.name}-self" for each in PGD), "square-self"]
    seeds = set.intersection(*(set(book.cells(group, name)) for name in names))
    if not seeds:
        return {}
    n = min(book.cells(group, "square-self")[seed].bits.shape[1] for seed in seeds)
    result = {}
    for eps in SQUARE_EPS:
        alive = []
        for seed in sorted(seeds):
            cells = [book.cells(group, name)[seed] for name in names]
            alive.append(np.all([cell.bits[cell.strengths.index(eps), :n] for cell in cells], axis=0).mean())
        result[f"{eps:g}"] = round(100 * float(np.mean(alive)), 2)
    return result


def _withstood(book: Book, group: str, data: Data) -> dict[str, Any]:
    """By strength: the images that withstood every single step and PGD, and which of them have the fallback's label.

    The fallback is the class that a network answers once all its hidden units are 0: that of its largest last bias.
    In % of the images that PGD was run on, means over seeds.
    """
    names = [*(f"{step}-self" for step in LOSSES), *(f"{each.name}-self" for each in PGD)]
    seeds = sorted(set.intersection(*(set(book.cells(group, name)) for name in names)))
    found: dict[str, Any] = {}
    for eps in SQUARE_EPS if seeds else ():
        rows = []
        for seed in seeds:
            cells = [book.cells(group, name)[seed] for name in names]
            n = min(cell.bits.shape[1] for cell in cells)
            alive = np.all([cell.bits[cell.strengths.index(eps), :n] for cell in cells], axis=0)
            network = store.read_network(book.root, f"{group}-s{seed}")
            assert network is not None, f"{group} was measured without a network"
            fallback = data.y_test[:n] == network[0].biases[-1].argmax()
            rows.append([alive.mean(), (alive & fallback).mean(), fallback.mean()])
        means = [round(100 * float(v), 2) for v in np.mean(rows, axis=0)]
        found[f"{eps:g}"] = dict(zip(("right", "of_fallback", "labelled"), means, strict=True)) | {"seeds": len(seeds)}
    return found


def _both(book: Book, group: str, attack: str, other: str, other_attack: str) -> tuple[np.ndarray, np.ndarray]:
    """The bits of two groups on the seeds that both have; empty where they have none."""
    seeds = sorted(set(book.cells(group, attack)) & set(book.cells(other, other_attack)))
    if not seeds:
        return np.empty((0, 0, 0), bool), np.empty((0, 0, 0), bool)
    return book.bits(group, attack, seeds), book.bits(other, other_attack, seeds)


def _crossings(book: Book, model: str, draws: int) -> Iterable[tuple[str, dict[str, Any]]]:
    """Of every quantized group of a model: where it passes float, observed and expected."""
    parent = f"{model}-float"
    for group in book.groups:
        if not group.startswith(f"{model}-") or group == parent or "permuted" in group:
            continue
        found: dict[str, Any] = {}
        for name in (f"{FGSM}-self", "fgsm_margin-self", f"{FGSM}-transfer"):
            a, b = _both(book, group, name, parent, name.replace("transfer", "self"))
            if len(a):
                found[name] = stats.crossed(EPS, a, b, draws if name == f"{FGSM}-self" else min(draws, 300))
        clean, own = book.cells(parent, "clean"), book.cells(group, "clean")
        seeds = sorted(set(clean) & set(own))
        if not found or not seeds:
            continue
        mean = {
            key: [float(np.mean([cells[seed].numbers[key] for seed in seeds])) for cells in (clean, own)]
            for key in ("mu", "s", "reach")
        }
        float_, quantized = (analytic.Fitted(mu=mean["mu"][i], s=mean["s"][i], reach=mean["reach"][i]) for i in (0, 1))
        at = analytic.crossing(float_, quantized)
        found["weights"] = None if at is None else round(at, 4)
        curves = [np.mean([cells[seed].numbers["first_order"] for seed in seeds], axis=0) for cells in (own, clean)]
        at = stats.crossing(EPS, *(curve.tolist() for curve in curves))
        found["first_order"] = None if at is None else round(at, 4)
        yield group, found


def _controls(book: Book, draws: int) -> dict[str, Any]:
    """The claim's cells against float under every attack: the crossing, and the difference at the strong attack."""
    result: dict[str, Any] = {}
    for bits in CLAIM_BITS:
        group = f"mlp-trained-rise-{bits}"
        rows = result.setdefault(group, {})
        names = [(f"{step}-self", EPS) for step in LOSSES]
        names += [(f"{each.name}-self", PGD_EPS) for each in PGD] + [("square-self", SQUARE_EPS)]
        for name, strengths in names:
            a, b = _both(book, group, name, "mlp-float", name)
            if not len(a):
                continue
            i = strengths.index(STRONG)
            delta = max(0.5, stats.spread(b)[i])
            rows[name] = {
                "strong": stats.difference(a[:, i], b[:, i], delta),
                "crossing": stats.crossed(strengths, a, b, min(draws, 300)) if strengths == EPS else None,
            }
    return {group: rows for group, rows in result.items() if rows}


def _primary(book: Book) -> dict[str, Any]:
    """The declared primary endpoint and test; and their second family."""
    name, group = f"{FGSM}-self", "mlp-trained-rise-1"
    seeds = sorted(set(book.cells(group, name)) & set(book.cells("mlp-float", name)))
    i = EPS.index(STRONG)
    return {
        "seeds": len(seeds),
        "tests": stats.family(
            [
                (f"seed {seed}", book.cells(group, name)[seed].bits[i], book.cells("mlp-float", name)[seed].bits[i])
                for seed in seeds
            ]
        ),
    }


def _transfer(book: Book) -> dict[str, Any]:
    """Images of the float network on others: quantized ones, and another float network (the null)."""
    i, pairs = EPS.index(TRANSFERRED), []
    base = book.cells("mlp-float", f"{FGSM}-self")
    for bits in CLAIM_BITS:
        for seed, cell in book.cells(f"mlp-trained-rise-{bits}", f"{FGSM}-transfer").items():
            if seed in base:
                pairs.append((f"{bits} bits, seed {seed}", cell.bits[i], base[seed].bits[i]))
    rows: dict[str, Any] = {}
    for group in book.groups:
        if not group.startswith("mlp-"):
            continue
        attack = f"{FGSM}-null" if group == "mlp-float" else f"{FGSM}-transfer"
        a, b = _both(book, group, attack, "mlp-float", f"{FGSM}-self")
        if len(a):
            delta = max(0.5, stats.spread(b)[i])
            rows[group] = stats.difference(a[:, i], b[:, i], delta) | {"curve": stats.percent(a)}
    return {"family": stats.family(pairs), "at": rows}


def _deployed(book: Book, group: str) -> dict[str, Any]:
    """A group on the machines, beside the fake-quantized float network on the same images; ties in % of images."""
    found: dict[str, Any] = {}
    for direction in ("self", "transfer"):
        grid = book.cells(group, f"grid-{direction}")
        if grid:
            found[f"grid-{direction}"] = stats.percent(book.bits(group, f"grid-{direction}", grid))
        for machine in deploy.MACHINES:
            cells = book.cells(group, f"{machine}-{direction}")
            seeds = sorted(set(cells) & set(grid))
            if not seeds:
                continue
            a, b = book.bits(group, f"{machine}-{direction}", seeds), book.bits(group, f"grid-{direction}", seeds)
            ties = np.mean([cells[seed].numbers["ties"] for seed in seeds], axis=0)
            found[f"{machine}-{direction}"] = {
                "mean": stats.percent(a),
                "differ": [round(100 * float(v), 2) for v in (a != b).mean(axis=(0, 2))],
                "ties": [round(100 * float(v), 2) for v in ties],
                "seeds": len(seeds),
            }
    return found
