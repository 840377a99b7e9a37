"""The search for a cause: which change of our rules gives all of the reference's integers of a layer."""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from msgspec import Struct

from intsim.arithmetic import requantized
from intsim.compare.records import Cause, Change, Explanation
from intsim.compare.trials import REFUSED, Evidence, Layer, Run, Trial, integers, likely, outcome, pairs, singles
from intsim.compare.vocabulary import Variant
from intsim.program import Clip, Dot, Program

MOST = 16
"""Causes of one kind that are confirmed on all images, at most."""

DIFFERING, EQUAL = 96, 64
"""Elements that sort the trials out, before whole layers are run."""

USEFUL = 40
"""Changes with an effect of their own that are tried in pairs."""


class Shortlist(Struct, frozen=True, kw_only=True, eq=False):
    """The trials that give all of the first images' integers, and, where none does, those that come nearest."""

    complete: tuple[Trial, ...]
    nearest: tuple[Trial, ...]


def shortlist(layer: Layer, evidence: Evidence, run: Run) -> Shortlist:
    """What may explain the layer, judged by a few images in which it differs: single changes, then pairs."""
    sieve = _sieve(layer, evidence, run)
    ones = list(_signed(singles(layer), layer, sieve, run))
    complete = _whole(ones, layer, evidence, sieve, run)
    if not complete and (useful := _useful(ones, sieve)):
        twos = list(_signed(pairs(layer, useful), layer, sieve, run))
        complete = _whole(twos, layer, evidence, sieve, run)
        ones += twos
    complete = sorted(_some(complete), key=lambda trial: not likely(trial, layer))
    return Shortlist(complete=tuple(complete), nearest=() if complete else tuple(_nearest(ones, sieve)))


def _some(trials: Iterable[Trial]) -> list[Trial]:
    """At most so many of each kind: single words, whole rules, pairs; all machines and islands."""
    kept: dict[object, list[Trial]] = {}
    for trial in trials:
        kind = tuple(v.whole for v in trial.variants) or trial
        kept.setdefault(kind, []).append(trial)
    return [trial for kind in kept.values() for trial in kind[:MOST]]


def unequal(trial: Trial, layer: Layer, evidence: Evidence, run: Run) -> int:
    """How many of the reference's integers the trial does not give."""
    try:
        return int(np.count_nonzero(outcome(trial, layer, evidence, run) != evidence.want))
    except REFUSED:
        return evidence.want.size


def explanation(
    layer: Layer, elements: int, differ: int, largest: int, left: Sequence[tuple[Trial, int]]
) -> Explanation:
    """In words, from the integers that each trial leaves unexplained, over all images."""
    causes = tuple(_cause(trial, layer) for trial, count in left if count == 0)
    by = "by 1" if largest == 1 else f"by up to {largest}"
    start = f"{differ} of {elements} elements differ {by}"
    whole = f"all {differ} are" if differ > 1 else "it is"
    if causes:
        return Explanation(differ=differ, causes=causes, says=f'{start}; {whole} explained by "{causes[0].says}"')
    best = min(left, key=lambda one: one[1], default=None)
    if best is None or best[1] >= differ:
        says = f"{start}; nothing that we know explains {'them' if differ > 1 else 'it'}"
        return Explanation(differ=differ, unexplained=differ, says=says)
    nearest = _cause(best[0], layer)
    says = f'{start}; nothing that we know explains all; all but {best[1]} are explained by "{nearest.says}"'
    return Explanation(differ=differ, nearest=nearest, unexplained=best[1], says=says)


def _cause(trial: Trial, layer: Layer) -> Cause:
    says = " and ".join(_said(change, layer) for change in trial.changes)
    return Cause(says=says, changes=trial.changes, machine=trial.machine)


def _said(change: Change, layer: Layer) -> str:
    ours = layer.target.name
    if change.rule == "machine":
        return f"the rules of {change.reference} (reference) / {ours}"
    if change.rule == "float island":
        return f"a float island, {change.reference} (reference) / {change.ours} ({ours})"
    colon = ":" if change.ours in ("yes", "no") else ""
    return f"{change.rule}{colon} {change.reference} (reference) / {change.ours} ({ours})"


# ---- a few elements first ------------------------------------------------------------------------------------------


class _Sieve(Struct, frozen=True, kw_only=True, eq=False):
    """The elements that are looked at first: their places, what the reference has there, what we have.

    `sums`: raw accumulators at those places, by how they were summed.
    """

    evidence: Evidence
    places: np.ndarray
    want: np.ndarray
    base: np.ndarray
    sums: dict[tuple[object, ...], np.ndarray]


def _sieve(layer: Layer, evidence: Evidence, run: Run) -> _Sieve:
    ours, want = integers(layer.ours, evidence.fed, run).multiples().ravel(), evidence.want.ravel()
    differing, equal = np.flatnonzero(ours != want), np.flatnonzero(ours == want)
    near = np.argsort(np.abs(want[equal]), kind="stable")[-EQUAL:]  # saturated ones say the least, but say it first
    places = np.concatenate([_spread(differing, DIFFERING), _spread(equal, EQUAL), equal[near[: EQUAL // 4]]])
    return _Sieve(evidence=evidence, places=places, want=want[places], base=ours[places], sums={})


def _spread(places: np.ndarray, most: int) -> np.ndarray:
    return places if len(places) <= most else places[np.linspace(0, len(places) - 1, most).astype(int)]


_Signed = tuple[Trial, np.ndarray]


def _signed(trials: Iterable[Trial], layer: Layer, sieve: _Sieve, run: Run) -> Iterator[_Signed]:
    """Every trial that can be run, with what it gives at the sieve's places."""
    for trial in trials:
        try:
            yield trial, _at_places(trial, layer, sieve, run)
        except REFUSED:
            continue


def _at_places(trial: Trial, layer: Layer, sieve: _Sieve, run: Run) -> np.ndarray:
    program = trial.program
    if program is None or not _clipped_sums(program):
        return outcome(trial, layer, sieve.evidence, run).ravel()[sieve.places]
    sums = _sums(program, layer, sieve, run)
    dot, zero = program.steps[0].compute, program.tensors[program.steps[-1].outputs[0]].affine.zero
    assert isinstance(dot, Dot)
    shape = sieve.evidence.want.shape
    samples, places = np.divmod(sieve.places, math.prod(shape[2:]))
    each = zip(sums.tolist(), (samples % shape[1]).tolist(), places.tolist(), strict=True)
    out = [requantized(acc, dot.rescale, c, place) for acc, c, place in each]
    for step in program.steps[1:]:
        assert isinstance(step.compute, Clip)
        low, high = step.compute.low, step.compute.high
        out = [min(max(y, low), high) for y in out]
    return np.array(out, np.int64) - zero


def _clipped_sums(program: Program) -> bool:
    first, *rest = (step.compute for step in program.steps)
    return isinstance(first, Dot) and all(isinstance(compute, Clip) for compute in rest)


def _sums(program: Program, layer: Layer, sieve: _Sieve, run: Run) -> np.ndarray:
    """The accumulators at the sieve's places; made once for all trials that sum in the same way."""
    step = program.steps[0]
    dot = step.compute
    assert isinstance(dot, Dot)
    affine = program.tensors[step.inputs[0]].affine
    key = (dot.mac, dot.bias_rule, dot.bias.tobytes(), affine.type, affine.zero)
    if key not in sieve.sums:
        name = f"{step.outputs[0]}:accumulator"
        x = {step.inputs[0]: sieve.evidence.fed[step.inputs[0]].with_zero(affine.zero, affine.type.dtype)}
        sieve.sums[key] = run(program, x, trace=(name,)).traced[name].ravel()[sieve.places]
    return sieve.sums[key]


# ---- then whole layers -----------------------------------------------------------------------------------------------


def _whole(ones: Iterable[_Signed], layer: Layer, evidence: Evidence, sieve: _Sieve, run: Run) -> list[Trial]:
    """The trials that give all of these images' integers."""
    fit = (trial for trial, found in ones if np.array_equal(found, sieve.want))
    return [trial for trial in fit if unequal(trial, layer, evidence, run) == 0]


def _useful(ones: Iterable[_Signed], sieve: _Sieve) -> list[Variant]:
    """Changes that have an effect, one for each effect, those that agree most with the reference first."""
    known = {sieve.base.astype(np.int64).tobytes()}
    found: list[tuple[int, Variant]] = []
    for trial, values in ones:
        signature = values.astype(np.int64).tobytes()
        if len(trial.variants) == 1 and signature not in known:
            known.add(signature)
            found.append((int(np.count_nonzero(values != sieve.want)), trial.variants[0]))
    return [variant for _, variant in sorted(found, key=lambda one: one[0])[:USEFUL]]


def _nearest(ones: Iterable[_Signed], sieve: _Sieve) -> list[Trial]:
    """The three trials that agree most, if more than our own rules do."""
    own = np.count_nonzero(sieve.base != sieve.want)
    found = [(int(np.count_nonzero(values != sieve.want)), trial) for trial, values in ones]
    return [trial for count, trial in sorted(found, key=lambda one: one[0])[:3] if count < own]
