"""Trains what is not trained, attacks what is not attacked: every cell of the plan into the store."""

import time
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path

import numpy as np
import torch

from paper import analytic, attack, deploy, store
from paper.data import Data, pixels
from paper.network import Network, in_torch, permuted
from paper.plan import (
    EPS,
    EVERYWHERE,
    FGSM,
    LOSSES,
    PGD,
    PGD_EPS,
    SQUARE_EPS,
    STEPS,
    WIDTHS,
    Plan,
    Spec,
    specs,
)
from paper.train import initial, train

SLOW = (*(f"{each.name}-self" for each in PGD), "square-self")
"""The cells that take most of the time."""

DEPLOYED = 2_000
"""Images of the deployed experiment, the first of the test set."""


Say = Callable[[str], object]


def run(root: Path, data: Data, plan: Plan, say: Say) -> None:
    """Trains and measures what the store lacks: first the networks that the claim stands on, then all others."""
    everything = list(specs(plan))
    claim = [spec for spec in everything if spec.controlled and spec.bits <= 1]
    rest = [spec for spec in everything if spec not in claim]
    for part, light in ((claim, True), (claim, False), (rest, False)):
        trained(root, data, plan, part, say)
        measured(root, data, plan, part, light, say)


def trained(root: Path, data: Data, plan: Plan, part: Sequence[Spec], say: Say) -> None:
    """Trains the networks of the part that the store lacks, all missing seeds of a group at once."""
    wanted = [spec for spec in part if spec.family in ("float", "trained", "tuned")]
    wanted.sort(key=lambda spec: (spec.family != "float", spec.model, spec.family, spec.levels, spec.bits, spec.seed))
    for name, group in groupby(wanted, key=lambda spec: spec.group):
        missing = [spec for spec in group if store.read_network(root, spec.name) is None]
        if not missing:
            continue
        began, one = time.process_time(), missing[0]
        starts = [_start(root, spec) for spec in missing]
        found = train(
            data.x_train,
            data.y_train,
            starts,
            [spec.seed for spec in missing],
            levels=one.levels,
            bits=one.bits,
            epochs=plan.epochs,
        )
        seconds = time.process_time() - began
        for spec, (network, history) in zip(missing, found, strict=True):
            store.write_network(root, spec.name, network, history)
        best = ", ".join(f"{100 * history[-1]:.1f} % ({len(history)})" for _, history in found)
        say(f"trained {name}: {best}; {seconds:.0f} s of one core")


def _start(root: Path, spec: Spec) -> Network:
    if spec.family == "tuned":
        found = store.read_network(root, spec.parent.name)
        assert found is not None, "float networks are trained first"
        return found[0]
    return initial(WIDTHS[spec.model], spec.seed)


def network(root: Path, spec: Spec) -> Network:
    """The network of a spec, from the store or from its parent there."""
    own = spec if spec.family in ("float", "trained", "tuned") else spec.parent
    found = store.read_network(root, own.name)
    assert found is not None, f"{own.name} is not trained"
    if own is spec:
        return found[0]
    if spec.family == "permuted":
        return permuted(found[0], spec.levels, spec.bits, spec.seed)
    return Network(weights=found[0].weights, biases=found[0].biases, levels=spec.levels, bits=spec.bits)


class Source:
    """A network and what is asked of it more than once: its torch form and the directions of its single steps."""

    def __init__(self, found: Network, data: Data) -> None:
        self.network, self.data = found, data
        self.known: dict[str, np.ndarray] = {}

    @cached_property
    def forward(self) -> attack.Forward:
        """Pixels to logits."""
        return in_torch(self.network)

    @cached_property
    def x(self) -> np.ndarray:
        """The test images, float32 in 0..1."""
        return pixels(self.data.x_test)

    def signs(self, step: str) -> np.ndarray:
        """The directions of a single step on all test images."""
        if step not in self.known:
            self.known[step] = attack.signs(self.forward, self.x, self.data.y_test, step)
        return self.known[step]


def measured(root: Path, data: Data, plan: Plan, part: Sequence[Spec], light: bool, say: Say) -> None:
    """Measures every cell of the part that the store lacks, network by network; `light`: what takes seconds alone."""
    parents: dict[str, Source] = {}
    for spec in part:
        began, done = time.process_time(), 0
        own: Source | None = None
        for name, cell in cells(spec, plan):
            if (light and name in SLOW) or store.cell_path(root, spec.name, name).exists():
                continue
            own = own or Source(network(root, spec), data)
            for other in (spec.parent, null_of(spec, plan)):
                if other.name not in parents:
                    parents = {key: parents[key] for key in list(parents)[-2:]}
                    parents[other.name] = Source(network(root, other), data)
            sources = {"self": own, "transfer": parents[spec.parent.name], "null": parents[null_of(spec, plan).name]}
            store.write_cell(root, spec.name, name, cell(sources, data, plan, spec))
            done += 1
        if done:
            say(f"measured {spec.name}: {done} cells, {time.process_time() - began:.1f} s of one core")


def null_of(spec: Spec, plan: Plan) -> Spec:
    """The float network of the seed before: its images are the null's, judged on this seed's float network."""
    seeds = max(plan.seeds, plan.claim_seeds) if spec.model == "mlp" else plan.seeds
    return Spec(model=spec.model, seed=(spec.seed - 1) % seeds)


Measure = Callable[[dict[str, Source], Data, Plan, Spec], store.Cell]


def cells(spec: Spec, plan: Plan) -> Iterator[tuple[str, Measure]]:
    """(name, how it is measured) of every cell of a network."""
    if spec.family != "permuted":
        yield "clean", _clean
        for step in LOSSES if spec.controlled else EVERYWHERE:
            yield f"{step}-self", _single(step, "self")
    if spec.family == "float":
        yield f"{FGSM}-null", _single(FGSM, "null")
        yield "noise", _noise
    else:
        yield f"{FGSM}-transfer", _single(FGSM, "transfer")
    if spec.controlled:
        for each in PGD:
            yield f"{each.name}-self", _searched(each)
        yield "square-self", _square
    if spec.family not in ("float", "permuted") and spec.model == "mlp":
        for direction in ("self", "transfer"):
            yield f"grid-{direction}", _grid(direction)
            for machine in deploy.MACHINES:
                if deploy.fits(machine, spec.levels, spec.bits):
                    yield f"{machine}-{direction}", _deployed(machine, direction)


def _single(step: str, source: str) -> Measure:
    def measure(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
        own = sources["self"]
        bits = attack.curve(own.forward, own.x, data.y_test, sources[source].signs(step), EPS)
        return store.Cell(strengths=EPS, bits=bits)

    return measure


def _noise(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
    own = sources["self"]
    bits = attack.curve(own.forward, own.x, data.y_test, attack.noise(len(own.x), spec.seed), EPS)
    return store.Cell(strengths=EPS, bits=bits)


def _searched(each: attack.Attack) -> Measure:
    def measure(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
        own, n = sources["self"], plan.pgd_images
        bits = attack.searched(each, own.forward, own.x[:n], data.y_test[:n], PGD_EPS, spec.seed)
        return store.Cell(strengths=PGD_EPS, bits=bits)

    return measure


def _square(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
    own, n = sources["self"], plan.square_images
    bits = attack.square(own.forward, own.x[:n], data.y_test[:n], SQUARE_EPS, plan.square_queries, spec.seed)
    return store.Cell(strengths=SQUARE_EPS, bits=bits, numbers={"queries": plan.square_queries})


def _grid(source: str) -> Measure:
    """The fake-quantized float network on the images of the deployed experiment."""

    def measure(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
        own, y = sources["self"], data.y_test[:DEPLOYED]
        x, direction = data.x_test[:DEPLOYED], sources[source].signs(FGSM)[:DEPLOYED]
        images = (torch.from_numpy(pixels(deploy.moved(x, direction, steps))) for steps in STEPS)
        return store.Cell(strengths=STEPS, bits=np.array([attack.right(own.forward, each, y) for each in images]))

    return measure


def _deployed(machine: str, source: str) -> Measure:
    def measure(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
        program = deploy.program(sources["self"].network, data.x_train[: deploy.CALIBRATION], machine)
        x, y, direction = data.x_test[:DEPLOYED], data.y_test[:DEPLOYED], sources[source].signs(FGSM)[:DEPLOYED]
        found = [deploy.judged(program, deploy.moved(x, direction, steps), y) for steps in STEPS]
        ties = [float(tied.mean()) for _, tied in found]
        return store.Cell(strengths=STEPS, bits=np.array([right for right, _ in found]), numbers={"ties": ties})

    return measure


def _clean(sources: dict[str, Source], data: Data, plan: Plan, spec: Spec) -> store.Cell:
    """Clean answers, what masks a gradient, and the analytic model's numbers; a unit is dead if 0 on every image."""
    own, y = sources["self"], data.y_test
    with torch.no_grad():
        z = own.forward(torch.from_numpy(own.x))
        p = z.softmax(1).numpy()[np.arange(len(y)), y]
    margins = analytic.margins(own.forward, own.x, y)
    model = analytic.fitted(own.network, margins)
    some = slice(0, DEPLOYED)
    numbers = {
        "saturated": float((p == 1).mean()),
        "zero_gradients": float((own.signs(FGSM) == 0).all(axis=1).mean()),
        "zero_margin_gradients": float((own.signs("fgsm_margin") == 0).all(axis=1).mean()),
        "zero_pixels": float((own.signs("fgsm_margin") == 0).mean()),
        **_hidden(own),
        "mean_logit": float(z.abs().mean()),
        "mu": model.mu,
        "s": model.s,
        "reach": model.reach,
        "first_order": analytic.first_order(own.forward, own.x[some], y[some], margins[some], EPS),
    }
    return store.Cell(strengths=(0.0,), bits=(z.argmax(1).numpy() == y)[None], numbers=numbers)


def _hidden(own: Source) -> dict[str, float]:
    """Which part of the hidden units is 0 on every test image, and how many are not 0 on one, in the mean."""
    if len(own.network.weights) == 1:
        return {"dead_units": 0.0, "active_units": 0.0}
    first = Network(
        weights=own.network.weights[:1],
        biases=own.network.biases[:1],
        levels=own.network.levels,
        bits=own.network.bits,
    )
    with torch.no_grad():
        active = in_torch(first)(torch.from_numpy(own.x)) > 0
    return {
        "dead_units": float((~active).all(0).float().mean()),
        "active_units": float(active.sum(1).float().mean()),
    }
