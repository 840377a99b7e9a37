"""Searches without gradients, on the camera's grid: by a chip's scores (Square), by its labels alone (RayS)."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from intsim.attack.catalogue import Attack
from intsim.attack.search import Ball
from intsim.errors import IntsimError
from intsim.tasks import Right, top1

Answer = Callable[[np.ndarray], np.ndarray]
"""Images[n, ...] -> outputs[n, classes], in any unit."""

LARGEST = 0.8
"""Square: the share of an image that the first squares cover; arXiv 1912.00049, section 4.1 (L-inf)."""

HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""After how many questions of 10,000 that share is halved; ibid."""


def queried(
    attack: Attack,
    answer: Answer,
    x: np.ndarray,
    y: np.ndarray,
    ball: Ball,
    indices: Sequence[int],
    seed: int,
    right: Right = top1,
) -> np.ndarray:
    """What the attack finds for x[n, ...]; image i draws from a generator of `seed` and indices[i] alone.

    It ends where an answer is not `right`.
    """
    if not ball.on_grid:
        raise IntsimError("moves by whole steps", where=f"attack {attack.name}", mend="give the camera's grid")
    found, left = x.copy(), np.arange(len(x))
    for run in range(attack.restarts):
        rngs = [np.random.default_rng([seed, run, indices[int(i)]]) for i in left]
        if attack.search == "square":
            images, done = _square(attack.steps, answer, x[left], y[left], ball, rngs, right)
        else:
            ways = np.stack([_ray(rng, x[0].size, run) for rng in rngs])
            images, done = _rays(attack.steps, answer, x[left], y[left], ball, ways, right)
        found[left] = images
        left = left[~done]
        if not len(left):
            break
    return found


def margins(outputs: np.ndarray, y: np.ndarray) -> np.ndarray:
    """float64[n]: the largest of the other outputs minus the own one; where that is a tie, the first class counts."""
    outputs = np.asarray(outputs).astype(np.float64)
    own = outputs[np.arange(len(y)), y]
    others = outputs.copy()
    others[np.arange(len(y)), y] = -np.inf
    return others.max(1) - own


# ---- Square -----------------------------------------------------------------------------------------------------


def side(question: int, of: int, height: int, width: int) -> int:
    """How many pixels wide the square is that is tried with the given question, from 0."""
    at = question / of * 10000
    share = LARGEST / 2 ** sum(at > end for end in HALVED)
    return min(max(round(math.sqrt(share * height * width)), 1), height, width)


def _square(
    steps: int,
    answer: Answer,
    x: np.ndarray,
    y: np.ndarray,
    ball: Ball,
    rngs: Sequence[np.random.Generator],
    right: Right,
) -> tuple[np.ndarray, np.ndarray]:
    """Vertical stripes of +-radius, then squares of one sign a channel, kept where the margin grows.

    Source: Andriushchenko, Croce, Flammarion, Hein, ECCV 2020, arXiv 1912.00049, algorithms 1 and 2.
    """
    shape = (1,) * (4 - x.ndim) + x.shape[1:]  # c, h, w
    _, height, width = shape
    clean = x.reshape(len(x), *shape).astype(np.int64)
    radius = int(ball.radius)

    def signs(rng: np.random.Generator, *of: int) -> np.ndarray:
        return radius * (2 * rng.integers(0, 2, of) - 1)

    def asked(images: np.ndarray, who: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        outputs = answer(images.reshape(-1, *x.shape[1:]).astype(x.dtype))
        return margins(outputs, y[who]), ~np.asarray(right(np.asarray(outputs), y[who]), bool)

    stripes = np.stack([np.broadcast_to(signs(rng, shape[0], 1, width), shape) for rng in rngs])
    best = np.clip(clean + stripes, 0, int(ball.levels))
    left = np.arange(len(x))
    margin, wrong = asked(best, left)
    left = left[~wrong]
    for question in range(1, steps):
        if not len(left):
            break
        size = side(question, steps, height, width)
        tried = best[left]
        for at, i in zip(tried, left, strict=True):
            top, start = rngs[i].integers(0, height - size + 1), rngs[i].integers(0, width - size + 1)
            window = (slice(None), slice(top, top + size), slice(start, start + size))
            at[window] = np.clip(clean[i][window] + signs(rngs[i], shape[0], 1, 1), 0, int(ball.levels))
        found, flipped = asked(tried, left)
        better = (found > margin[left]) | flipped
        best[left[better]], margin[left[better]] = tried[better], found[better]
        wrong[left] = flipped
        left = left[~flipped]
    return best.reshape(x.shape).astype(x.dtype), wrong


# ---- RayS -------------------------------------------------------------------------------------------------------


def _ray(rng: np.random.Generator, pixels: int, run: int) -> np.ndarray:
    """The first ray: all +1, in later runs signs at random."""
    return np.ones(pixels, np.int64) if run == 0 else 2 * rng.integers(0, 2, pixels) - 1


def _rays(
    steps: int, answer: Answer, x: np.ndarray, y: np.ndarray, ball: Ball, way: np.ndarray, right: Right
) -> tuple[np.ndarray, np.ndarray]:
    """The signs along which the label falls first: blocks of them are flipped, ever finer, and kept where that helps.

    `way[n, pixels]`: the first rays. On a grid the distance along a ray is a whole number, and bisection ends.
    Source: Chen, Gu, KDD 2020, arXiv 2006.12792, algorithms 1 to 3.
    """
    flat, levels, radius = x.reshape(len(x), -1).astype(np.int64), int(ball.levels), int(ball.radius)
    pixels = flat.shape[1]
    reach = np.full(len(x), levels + 1)  # further than any image: nothing was found yet
    asked = np.zeros(len(x), np.int64)

    def wrong(who: np.ndarray, ways: np.ndarray, far: np.ndarray) -> np.ndarray:
        images = np.clip(flat[who] + ways * far[:, None], 0, levels).astype(x.dtype).reshape(-1, *x.shape[1:])
        asked[who] += 1
        return ~np.asarray(right(np.asarray(answer(images)), y[who]), bool)

    def shorten(who: np.ndarray, ways: np.ndarray) -> None:
        """Where the label is wrong already a step before `reach` along `ways`, those become the image's own."""
        far = np.minimum(reach[who] - 1, levels)
        hit = wrong(who, ways, far)
        who, ways, high = who[hit], ways[hit], far[hit]
        low = np.zeros_like(high)  # right at low (clean, or the attack is over), wrong at high
        while len(open_ := np.flatnonzero((high - low > 1) & (asked[who] < steps))):
            middle = (low[open_] + high[open_]) // 2
            flipped = wrong(who[open_], ways[open_], middle)
            high[open_[flipped]], low[open_[~flipped]] = middle[flipped], middle[~flipped]
        way[who], reach[who] = ways, high

    level, block = 0, -1
    while len(left := np.flatnonzero((asked < steps) & (reach > radius))):
        ways = way[left].copy()
        if block >= 0:
            size = -(-pixels // 2**level)
            ways[:, block * size : (block + 1) * size] *= -1
        shorten(left, ways)
        block += 1
        if block == 0 and level == 0:
            continue
        if block * -(-pixels // 2**level) >= pixels:
            level, block = (level + 1 if 2**level < pixels else 0), 0
    images = np.clip(flat + way * np.minimum(reach, radius)[:, None], 0, levels)
    return images.astype(x.dtype).reshape(x.shape), reach <= radius
