"""Equal bits before any time: a peer against ours, and ours against the oracle at places drawn at random."""

import numpy as np
from msgspec.structs import replace

from intsim import oracle
from intsim.bench.records import Work
from intsim.bench.shapes import one_dot
from intsim.errors import IntsimError
from intsim.program import Dot, Program, Rescale, Window, inside

TAPS = 60_000
"""Products that the oracle forms for one work: about a tenth of a second."""


def require_equal(who: str, theirs: np.ndarray, ours: np.ndarray, whose: str = "ours") -> None:
    """Nothing, where all are equal. IntsimError names the first value that differs."""
    if theirs.shape != ours.shape:
        raise IntsimError(f"gives an array {theirs.shape}, {whose} is {ours.shape}: nothing was timed", where=who)
    wrong = np.argwhere(theirs != ours)
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        what = f"is {theirs[at]} at [{', '.join(map(str, at))}], {whose} is {ours[at]}"
        raise IntsimError(f"{what}; {len(wrong)} of {ours.size} differ: nothing was timed", where=who)


def against_oracle(work: Work, result: np.ndarray, *, seed: int = 0) -> bool:
    """Whether ours was held against the oracle: a program of one sum of products is, at places drawn at random.

    Corners are always among them. Raises IntsimError where `result[n, c, ...]` differs from the oracle's.
    """
    if len(work.program.steps) != 1 or not isinstance(work.program.steps[0].compute, Dot):
        return False
    dot, rng = work.program.steps[0].compute, np.random.default_rng(seed)
    channels = np.arange(len(dot.weight))
    if dot.group == 1 and len(channels) > 8:
        channels = np.unique([0, len(channels) - 1, *rng.integers(0, len(channels), 6)])
    sizes = (len(result), *result.shape[2:])
    places = max(1, TAPS // (len(channels) * int(np.prod(dot.weight.shape[1:]))))
    at = np.stack([rng.integers(0, size, places) for size in sizes], 1)
    at[0] = 0
    at[-1] = np.array(sizes) - 1
    patches = np.concatenate([_patch(work, dot, place) for place in at])
    door = next(iter(work.program.outputs.values()))
    small = one_place(work.program, dot, channels, patches.shape[1:])
    (expected,) = oracle.run(small, patches).integers.values()
    found = np.stack([result[(place[0], channels, *place[1:])] for place in at])
    require_equal(f"{work.name}, ours", found, expected.reshape(found.shape), "the oracle's")
    assert door.affine == small.outputs["y"].affine
    return True


def _patch(work: Work, dot: Dot, place: np.ndarray) -> np.ndarray:
    """What one place of the output reads, `[1, c, *kernel]`; beyond the edges lies the zero point."""
    sample, window = inside(work.x[place[0] : place[0] + 1]), dot.window
    around = [(0, 0), *zip(window.begin, window.end, strict=True), (0, 0)]
    if not window.kernel:
        return sample
    padded = np.pad(sample, around, constant_values=dot.input_zero_point)
    cut = [
        slice(p * s, p * s + d * (k - 1) + 1, d)
        for p, s, d, k in zip(place[1:], window.strides, window.dilations, window.kernel, strict=True)
    ]
    return np.moveaxis(padded[(slice(None), *cut)], -1, 1)


def one_place(program: Program, dot: Dot, channels: np.ndarray, shape: tuple[int, ...]) -> Program:
    """The program of one place of the output and a few channels; `shape` is a patch's, channels first."""
    axes = len(dot.window.kernel)
    still = Window(
        kernel=dot.window.kernel, strides=(1,) * axes, dilations=(1,) * axes, begin=(0,) * axes, end=(0,) * axes
    )
    few = replace(
        dot,
        window=still,
        weight=np.ascontiguousarray(dot.weight[channels]),
        weight_zero_point=_of(dot.weight_zero_point, channels),
        bias=dot.bias[channels],
        rescale=_rescale(dot.rescale, channels),
    )
    (source,), (out,) = program.inputs.values(), program.outputs.values()
    (target,) = program.targets.values()
    return one_dot("place", few, (*shape[1:], shape[0]), source.affine, out.affine, target)


def _rescale(rescale: Rescale, channels: np.ndarray) -> Rescale:
    numbers = {name: getattr(rescale, name) for name in ("multiplier", "exponent", "thresholds")}
    return replace(rescale, **{n: None if v is None else _of(v, channels) for n, v in numbers.items()})


def _of(numbers: np.ndarray, channels: np.ndarray) -> np.ndarray:
    return numbers if len(numbers) == 1 else numbers[channels]
