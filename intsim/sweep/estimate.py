"""What a plan would cost, before it runs: what cells share, and a guess of time and disk from a short trial."""

import time
from collections.abc import Mapping, Sequence

import numpy as np
from msgspec import Struct

from intsim.attack.catalogue import find
from intsim.attack.craft import craft
from intsim.attack.twin import twin
from intsim.evaluate.records import CLEAN, FLOAT, NULL
from intsim.sweep import prefixes, shared
from intsim.sweep.cells import Cell, cells, images_digest, knows_chip
from intsim.sweep.plan import Plan
from intsim.sweep.work import chip

TRIAL = 32
"""Images of the trial."""


class Estimate(Struct, frozen=True, kw_only=True):
    """`named` cells are `cells` different ones, `left` of them to do, on `sets` of attacked images of `n` each.

    `networks` are calibrated once each and quantized in `quantizations` ways; `steps` of `of_steps` are run on each set
    of images. `seconds`: of one processor, judging plus `crafting`. `disk`: bytes of the store, and `cache`, of images.
    """

    named: int
    cells: int
    left: int
    n: int
    networks: int
    quantizations: int
    sets: int
    steps: int
    of_steps: int
    seconds: float
    crafting: float
    disk: int
    cache: int


def estimate(plan: Plan, done: frozenset[str] = frozenset()) -> Estimate:
    """The estimate of a plan that was `checked`, where the cells of `done` are there. Runs a few images; keeps none."""
    every = cells(plan)
    left = {digest: several[0] for digest, several in every.items() if digest not in done}
    attacked = {images_digest(plan, cell): cell for cell in left.values() if cell.attack != CLEAN}
    judging, crafting, steps, of_steps, cache, size = 0.0, 0.0, 0, 0, 0, 0
    for network in dict.fromkeys(cell.network for cell in left.values()):
        own = [cell for cell in left.values() if cell.network == network]
        x, y = shared.examples(plan, network)
        each, found = _judging(plan, own, x[:TRIAL])
        judging += each * _rounds(own) * len(x)
        steps, of_steps = steps + found.steps, of_steps + found.of
        sets = [cell for cell in attacked.values() if cell.network == network]
        crafting += _crafting(plan, sets, x[:TRIAL], y[:TRIAL]) * len(x)
        cache += len(sets) * x.nbytes
        classes = shared.graph(plan, network).shapes[shared.graph(plan, network).outputs[0]][0]
        size += len(own) * (700 + len(x) * (4 * plan.logits * classes + plan.answers) + len(x) // 8)
    machines = [cell for cell in left.values() if cell.target not in (FLOAT, NULL)]
    ways = {(c.network, shared.asked(plan, c), shared.machine(c).scheme) for c in machines}
    return Estimate(
        named=sum(map(len, every.values())),
        cells=len(every),
        left=len(left),
        n=len(shared.examples(plan, plan.axes.networks[0])[1]),
        networks=len({cell.network for cell in left.values()}),
        quantizations=len(ways),
        sets=len(attacked),
        steps=steps,
        of_steps=of_steps,
        seconds=judging + crafting,
        crafting=crafting,
        disk=size,
        cache=cache,
    )


def _judging(plan: Plan, own: Sequence[Cell], x: np.ndarray) -> tuple[float, prefixes.Work]:
    """Seconds for one image on all of a network's machines, and the steps of that."""
    from intsim.engine import run

    machines = {c: shared.program(plan, c) for c in _one_set(own).values() if c.target not in (FLOAT, NULL)}
    if not machines:
        return 0.0, prefixes.Work(steps=0, of=0)
    found = prefixes.Work(steps=0, of=0)
    for _ in range(2):  # the first one plans, and perhaps compiles
        began = time.perf_counter()
        _, found = prefixes.outputs(list(machines.values()), x, lambda one, values: run(one, values, threads=1))  # type: ignore[arg-type]
    return (time.perf_counter() - began) / len(x), found


def _rounds(own: Sequence[Cell]) -> float:
    """How often all machines judge all images: for each set once, a machine its own sets alone."""
    alone = [cell for cell in own if knows_chip(cell.attack)]
    shared_sets = {(c.attack, c.eps_steps, c.seed) for c in own if not knows_chip(c.attack)}
    return len(shared_sets) + (len(alone) / len(_one_set(alone)) if alone else 0.0)


def _one_set(own: Sequence[Cell]) -> Mapping[tuple[object, ...], Cell]:
    """A cell for each machine."""
    kind = ("target", "weight_bits", "activation_bits", "accumulator", "overflow", "rounding")
    return {tuple(getattr(cell, name) for name in kind): cell for cell in own}


def _crafting(plan: Plan, sets: Sequence[Cell], x: np.ndarray, y: np.ndarray) -> float:
    """Seconds for one image of all sets, from one trial of each attack."""
    spent: dict[str, float] = {}
    for cell in sets:
        if cell.attack not in spent:
            network, began = twin(shared.graph(plan, cell.network)), time.perf_counter()
            craft(find(cell.attack), network, x, y, cell.eps_steps, chip=chip(plan, cell))
            spent[cell.attack] = (time.perf_counter() - began) / len(x)
    return sum(spent[cell.attack] for cell in sets)
