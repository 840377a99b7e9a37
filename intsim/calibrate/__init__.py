"""What values the activations of a float network take on given images: smallest, largest, and a histogram."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec.structs import replace

from intsim.calibrate.forward import floats_per_sample, forward
from intsim.errors import IntsimError, unknown
from intsim.graph import Graph, Pixels
from intsim.integers import frozen

Method = Literal["minmax", "percentile", "mse"]
"""How a range is chosen: all values; all but the tails; the least mean-square error."""

BINS = 2048
CHUNK = 1 << 22
"""float32 numbers held at once, about; fixed, because how samples are batched may move a last bit."""


class Observed(Struct, frozen=True, kw_only=True, eq=False):
    """The values of one activation: `low` to `high`, `count` of them.

    `histogram`: how many fell into each of equal bins from low to high, exact zeros left out, int64; None
    where it was not asked for, where all values are equal, and for an input that is known to hold pixels:
    its range is theirs.
    """

    low: float
    high: float
    count: int
    histogram: np.ndarray | None = None


class Calibration(Struct, frozen=True, kw_only=True, eq=False):
    """What was observed of each activation on `samples` samples, for `method`.

    `digest`: the SHA-256 of the samples' data.

    float32 sums may differ in a last bit between CPUs, and so may these numbers: the digest names the data,
    and the QuantizedGraph is what is kept.
    """

    tensors: dict[str, Observed]
    samples: int
    digest: str
    method: Method


def ranges(
    graph: Graph,
    x: np.ndarray | Mapping[str, np.ndarray],
    *,
    method: Method = "minmax",
    progress: Callable[[int, int], object] | None = None,
) -> Calibration:
    """The `Calibration` of a normalised network on `x[n, c, ...]`: uint8 pixels, or float32 input values.

    `method`: what it will be used for; all but "minmax" keep histograms and take a second pass. Several
    inputs are given by name. `progress(done, total)` is called after each chunk. Raises IntsimError for data
    that does not fit or holds NaN, and for a network whose values overflow.
    """
    arrays = _checked(graph, x)
    step = max(1, CHUNK // floats_per_sample(graph))
    starts = range(0, len(next(iter(arrays.values()))), step)
    kept = method != "minmax"
    tick = _ticker(progress, (1 + kept) * len(starts))

    def values() -> Iterator[tuple[str, np.ndarray]]:
        for start in starts:
            yield from forward(graph, _entered(graph, arrays, start, step))
            tick()

    tensors: dict[str, Observed] = {}
    for name, array in values():
        tensors[name] = _widened(name, tensors.get(name), array)
    known = [name for name in graph.inputs if name in graph.pixels or arrays[name].dtype == np.uint8]
    for name in known:
        tensors[name] = _with_pixels(graph.pixels.get(name, Pixels()), tensors[name])
    if kept:
        wanted = [name for name, seen in tensors.items() if seen.low < seen.high and name not in known]
        histograms = {name: np.zeros(BINS, np.int64) for name in wanted}
        for name, array in values():
            if name in histograms:
                histograms[name] += _histogram(array, tensors[name])
        for name, histogram in histograms.items():
            tensors[name] = replace(tensors[name], histogram=frozen(histogram))
    samples = len(next(iter(arrays.values())))
    return Calibration(tensors=tensors, samples=samples, digest=_digest(arrays), method=method)


# ---- the data ----------------------------------------------------------------------------------------------


def _checked(graph: Graph, x: np.ndarray | Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    if not isinstance(x, Mapping):
        if len(graph.inputs) != 1:
            raise IntsimError(
                f"the network has {len(graph.inputs)} inputs",
                mend=f"give each by name: {', '.join(graph.inputs)}",
            )
        x = {graph.inputs[0]: x}
    for name in x:
        if name not in graph.inputs:
            raise unknown("input", name, graph.inputs)
    arrays: dict[str, np.ndarray] = {}
    for name in graph.inputs:
        if name not in x:
            raise IntsimError("has no calibration data", where=f"input {name}", mend="give an array for every input")
        arrays[name] = _one_checked(graph, name, np.asarray(x[name]))
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise IntsimError(f"the calibration data of the inputs have different lengths: {lengths}")
    return arrays


def _one_checked(graph: Graph, name: str, x: np.ndarray) -> np.ndarray:
    where, shape = f"calibration data of input {name}", graph.shapes[name]
    if x.ndim != len(shape) + 1 or x.shape[1:] != shape:
        raise IntsimError(
            f"has shape {x.shape}", where=where, mend=f"the network takes (n, {', '.join(map(str, shape))})"
        )
    if len(x) == 0:
        raise IntsimError("is empty", where=where, mend="give at least one sample; a few hundred are usual")
    if x.dtype == np.uint8:
        return x
    if x.dtype.kind != "f":
        raise IntsimError(f"holds {x.dtype}", where=where, mend="give uint8 pixels, or float32 in the input range")
    finite = np.isfinite(x).reshape(len(x), -1).all(1)
    if not finite.all():
        raise IntsimError(f"holds NaN or infinity, first in sample {int(np.argmin(finite))}", where=where)
    return x.astype(np.float32, copy=False)


def _entered(graph: Graph, arrays: Mapping[str, np.ndarray], start: int, step: int) -> dict[str, np.ndarray]:
    chunk = {name: array[start : start + step] for name, array in arrays.items()}
    pixels = {name: graph.pixels.get(name, Pixels()) for name in chunk}
    return {
        name: pixels[name].enter(pixels[name].to_input(x) if x.dtype == np.uint8 else x) for name, x in chunk.items()
    }


def _digest(arrays: Mapping[str, np.ndarray]) -> str:
    digest = hashlib.sha256()
    for name, array in sorted(arrays.items()):
        digest.update(f"{name} {array.dtype} {array.shape}\n".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def _ticker(progress: Callable[[int, int], object] | None, total: int) -> Callable[[], None]:
    ticks: Iterator[int] = iter(range(1, total + 1))

    def tick() -> None:
        if progress is not None:
            progress(next(ticks), total)

    return tick


# ---- the observations --------------------------------------------------------------------------------------


def _widened(name: str, seen: Observed | None, values: np.ndarray) -> Observed:
    low, high = float(values.min()), float(values.max())
    if not np.isfinite([low, high]).all():
        raise IntsimError(
            "holds NaN or infinity on the calibration data", where=name, mend="check the network and the input range"
        )
    own = Observed(low=low, high=high, count=values.size)
    if seen is None:
        return own
    return Observed(low=min(low, seen.low), high=max(high, seen.high), count=own.count + seen.count)


def _with_pixels(pixels: Pixels, seen: Observed) -> Observed:
    """An input that images enter can hold every pixel, whether or not the calibration data do."""
    ends = pixels.enter(pixels.to_input(np.repeat([[0.0], [255.0]], pixels.channels, axis=1)))
    return replace(seen, low=min(seen.low, float(ends.min())), high=max(seen.high, float(ends.max())))


def _histogram(values: np.ndarray, seen: Observed) -> np.ndarray:
    flat = values.ravel()
    flat = flat[flat != 0].astype(np.float64)
    places = ((flat - seen.low) * (BINS / (seen.high - seen.low))).astype(np.int64)
    return np.bincount(np.clip(places, 0, BINS - 1), minlength=BINS)
