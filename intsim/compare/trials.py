"""Tried causes: one layer on the reference's own tensors, run as the reference may have run it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import combinations

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.compare.edits import edits
from intsim.compare.integers import Integers
from intsim.compare.islands import Island, islands
from intsim.compare.records import Change
from intsim.compare.steps import placed, read_from
from intsim.compare.vocabulary import Variant, apart, at, changed, plain, variants
from intsim.compare.wording import called, side
from intsim.errors import IntsimError
from intsim.integers import IntType
from intsim.program import Program, Result, Step
from intsim.quantized import QuantizedGraph
from intsim.reference import FLOAT, TURNED
from intsim.target import Target
from intsim.targets import TARGETS

Run = Callable[..., Result]

REFUSED = (IntsimError, ValueError)
"""How a machine that cannot be is refused: words that do not go together, or a layer that it does not take."""

UNSIGNED = "unsigned activations"


class Layer(Struct, frozen=True, kw_only=True, eq=False):
    """One layer to be explained: its nodes alone, how our Program runs them, and what is known of the reference.

    `runtime`: its name; `computed`: the operator that computes the layer there, "" where that is not told; `known`: the
    reference's rules, where it is a machine of ours.
    """

    alone: QuantizedGraph
    ours: Program
    target: Target
    runtime: str
    computed: str = ""
    known: Target | None = None

    @property
    def step(self) -> Step:
        """The step whose rules are in question: the first, what follows it clips and moves."""
        return self.ours.steps[0]


class Evidence(Struct, frozen=True, kw_only=True, eq=False):
    """The layer's inputs as the reference has them, by the network's names, and the multiples of the scale it gave."""

    fed: Mapping[str, Integers]
    want: np.ndarray


class Trial(Struct, frozen=True, kw_only=True, eq=False):
    """One way in which the reference may have computed the layer: a Program, or a float function of integers."""

    changes: tuple[Change, ...]
    machine: str = ""
    program: Program | None = None
    island: Island | None = None
    variants: tuple[Variant, ...] = ()


def outcome(trial: Trial, layer: Layer, evidence: Evidence, run: Run) -> np.ndarray:
    """What the layer gives in this way, in multiples of the scale, int32, channels first."""
    affines, output = layer.alone.affines, layer.alone.graph.outputs[0]
    if trial.island is not None:
        fed = {n: q.with_zero(affines[n].zero, affines[n].type.dtype) for n, q in evidence.fed.items()}
        return Integers(trial.island(fed), affines[output].zero).multiples()
    assert trial.program is not None
    return integers(trial.program, evidence.fed, run).multiples()


def integers(program: Program, fed: Mapping[str, Integers], run: Run) -> Integers:
    """What a Program without doors makes of these inputs."""
    output = program.steps[-1].outputs[0]
    own = {n: program.tensors[n].affine for n in program.inputs}
    names = read_from(program)
    x = {n: fed[n if n in fed else names[n]].with_zero(a.zero, a.type.dtype) for n, a in own.items()}
    q = run(program, x, trace=(output,)).traced[output]
    return Integers(q, program.tensors[output].affine.zero)


def likely(trial: Trial, layer: Layer) -> bool:
    """Whether the trial is what is known of the reference: among causes that explain all, it comes first."""
    if trial.island is not None:
        return layer.computed.endswith(FLOAT)
    if trial.machine:
        return trial.machine.endswith(f"reading {UNSIGNED}") and layer.computed.endswith(TURNED)
    return bool(trial.variants) and all(
        layer.known is not None and at(layer.known, v.path) == v.theirs for v in trial.variants
    )


# ---- what is tried ------------------------------------------------------------------------------------------------


def singles(layer: Layer) -> Iterator[Trial]:
    """Every single change of our machine, float islands, what was left out, other machines; the simplest first."""
    base, op = _base(layer), layer.step.op
    found = list(variants(base, op))
    seen = {base}
    for variant in (v for v in found if not v.whole):
        yield from _changed(layer, base, (variant,), seen)
    yield from _otherwise(layer)
    for variant in (v for v in found if v.whole):
        yield from _changed(layer, base, (variant,), seen)
    yield from _machines(layer)


def pairs(layer: Layer, useful: Iterable[Variant]) -> Iterator[Trial]:
    """Every two of these changes that can be made together."""
    base = _base(layer)
    seen = {base}
    for two in combinations(useful, 2):
        if apart(*two):
            yield from _changed(layer, base, two, seen)


def _base(layer: Layer) -> Target:
    return plain(layer.step, layer.target)


def _changed(layer: Layer, base: Target, made: tuple[Variant, ...], seen: set[Target]) -> Iterator[Trial]:
    target = base
    try:
        for variant in made:
            target = changed(target, variant)
        if target in seen:
            return
        seen.add(target)
        program = placed(layer.alone, target)
    except REFUSED:
        return
    changes = tuple(
        Change(field=".".join(v.path), rule=called(v, base), reference=side(v, v.theirs), ours=side(v, v.ours))
        for v in made
    )
    yield Trial(changes=changes, program=program, variants=made)


def _otherwise(layer: Layer) -> Iterator[Trial]:
    """Float islands, and what was left out or done otherwise."""
    for name, island in islands(layer.alone, layer.runtime).items():
        change = Change(field="", rule="float island", reference=name, ours="in integers")
        yield Trial(changes=(change,), island=island)
    for change, program in edits(layer.ours, layer.alone):
        yield Trial(changes=(change,), program=program)


def _machines(layer: Layer) -> Iterator[Trial]:
    """The machines of the catalogue."""
    for target, reads in _reading(layer):
        name = target.name + (f", reading {reads}" if reads else "")
        change = Change(field="", rule="machine", reference=name, ours=layer.target.name)
        try:
            program = placed(layer.alone, target)
        except REFUSED:
            continue
        yield Trial(changes=(change,), program=program, machine=name)


def _reading(layer: Layer) -> Iterator[tuple[Target, str]]:
    """The catalogue, and those that take both signs of activations with the sign that the layer does not have."""
    own = next(tensor.affine.type for tensor in layer.ours.tensors.values())
    other, sign = IntType(own.bits, not own.signed), UNSIGNED if own.signed else "signed activations"
    for target in TARGETS.values():
        if target.name != layer.target.name:
            yield target, ""
        if any(t.signed == other.signed for t in target.scheme.activations):
            kinds = tuple(t for t in target.scheme.activations if t.signed == other.signed)
            if len(kinds) < len(target.scheme.activations):
                yield replace(target, scheme=replace(target.scheme, activations=kinds)), sign
