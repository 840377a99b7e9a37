"""The golden vectors: what every runtime answered to the first seed's cases, for where the runtimes are not.

`python -m conformance golden` writes tests/golden/KIND.npz.xz again, where all runtimes are. The cases themselves are
drawn again from their seed, by a generator whose numbers never change (RandomState: NEP 19); a digest of each case
stands beside the answers, and an answer to another case is not taken.
"""

from functools import cache
from pathlib import Path

import msgspec
import numpy as np

from conformance.asking import answers_for
from conformance.building import KINDS, Case
from conformance.cases import cases
from conformance.storing import Answer, answers_packed, answers_unpacked, digest, load, save
from conformance.truths import TRUTHS
from intsim.errors import IntsimError
from intsim.reference import Reference

FOLDER = Path(__file__).parents[1] / "golden"


class Vectors(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A kind's file: each case's digest by name, by target the runtime's answers and what that runtime is."""

    digests: dict[str, str]
    answers: dict[str, dict[str, Answer]]
    about: dict[str, Reference]


@cache
def vectors(kind: str) -> Vectors:
    """What stands in the file of a kind, read-only."""
    groups = load(FOLDER / f"{kind}.npz.xz")
    base: dict[str, Answer] = {}
    answers = {}
    for target, arrays in groups.items():
        if target not in ("digests", "about"):
            answers[target] = answers_unpacked(arrays, base)
            base = base or answers[target]
    digests = msgspec.json.decode(groups["digests"]["text"].tobytes(), type=dict[str, str])
    return Vectors(digests=digests, answers=answers, about=about(kind))


def about(kind: str) -> dict[str, Reference]:
    """Which runtime, of which version, answered for each target."""
    text = load(FOLDER / f"{kind}.npz.xz")["about"]["text"]
    return msgspec.json.decode(text.tobytes(), type=dict[str, Reference])


@cache
def asked(kind: str) -> tuple[dict[str, Case], dict[str, str]]:
    """The cases of a kind by name, and their digests; read-only."""
    made = {case.name: case for case in cases(kind)}
    return made, {name: digest(case) for name, case in made.items()}


def stale(kind: str) -> list[str]:
    """Cases that the file answers, and that are no longer what was asked: `make golden` asks again."""
    digests = asked(kind)[1]
    return [name for name, found in vectors(kind).digests.items() if digests.get(name) != found]


def held(target: str) -> list[tuple[Case, np.ndarray]]:
    """Every case with an answer that the target is held to."""
    found = []
    for kind in TRUTHS[target].kinds:
        if (FOLDER / f"{kind}.npz.xz").exists():
            made, gone = asked(kind)[0], set(stale(kind))
            answers = vectors(kind).answers.get(target, {})
            gone |= {name for name in made if TRUTHS[target].left_out(name)}
            found += [
                (made[n], a) for n, a in answers.items() if isinstance(a, np.ndarray) and n in made and n not in gone
            ]
    return found


def write(kind: str) -> dict[str, str]:
    """Asks every runtime of the kind again; gives the targets whose answers were kept, and why."""
    known = FOLDER / f"{kind}.npz.xz"
    made, digests = asked(kind)
    old = vectors(kind) if known.exists() else Vectors(digests={}, answers={}, about={})
    same = {name for name, found in old.digests.items() if digests.get(name) == found}
    answers, references, kept = {}, dict(old.about), {}
    for target, truth in TRUTHS.items():
        if kind not in truth.kinds:
            continue
        try:
            references[target], found = answers_for(target, list(made.values()))
            answers[target] = {n: found[n] for n in made if isinstance(found[n], np.ndarray) and not truth.left_out(n)}
        except IntsimError as error:
            kept[target] = str(error)
            if target in old.answers:
                answers[target] = {name: a for name, a in old.answers[target].items() if name in same}
    base = next(iter(answers.values()), {})
    used = {name: digests[name] for name in made if any(name in found for found in answers.values())}
    groups = {
        "digests": {"text": _text(used)},
        "about": {"text": _text({t: r for t, r in references.items() if t in answers})},
    }
    for number, (target, found) in enumerate(answers.items()):
        groups[target] = answers_packed(found, base if number else None)
    save(known, groups)
    vectors.cache_clear()
    return kept


def _text(value: object) -> np.ndarray:
    return np.frombuffer(msgspec.json.encode(value), np.uint8)


__all__ = ["KINDS", "Vectors", "about", "asked", "held", "stale", "vectors", "write"]
