"""Training: several seeds of one quantizer as one batched network, in numpy and one compiled update."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numba import njit

from paper.data import VALIDATION, pixels
from paper.network import Network, denominator, rounded

RATE, BETA1, BETA2, EPSILON, BATCH = 1e-3, 0.9, 0.999, 1e-7, 32
KINDS = {"": 0, "ends": 1, "zero": 2, "rise": 3}


@njit(cache=True, fastmath={"contract", "arcp", "nsz", "reassoc"})
def _updated(w, g, m, v, q, rate, kind, n):
    """Adam as Keras writes it, the clip to [-1, 1], and the weights that the next forward pass sees; all flat."""
    b1, b2, one = np.float32(BETA1), np.float32(BETA2), np.float32(1)
    eps, half = np.float32(EPSILON), np.float32(0.5)
    for i in range(w.size):
        m[i] = b1 * m[i] + (one - b1) * g[i]
        v[i] = b2 * v[i] + (one - b2) * g[i] * g[i]
        new = min(max(w[i] - rate * m[i] / (np.sqrt(v[i]) + eps), -one), one)
        w[i] = new
        if kind == 1:
            k = np.floor((new + one) * half * n + half)
            q[i] = (k + k - n) / n
        elif kind == 2:
            q[i] = min(np.floor(new * n + half), n - one) / n
        elif kind == 3:
            k = min(np.floor((new + one) * half * n), n - one)
            q[i] = (k + k + one - n) / n
        else:
            q[i] = new


def initial(widths: Sequence[int], seed: int) -> Network:
    """Glorot-uniform weights and zero biases."""
    rng = np.random.default_rng([seed, 1])
    weights = []
    for inputs, outputs in pairwise(widths):
        reach = np.sqrt(6 / (inputs + outputs))
        weights.append(rng.uniform(-reach, reach, (outputs, inputs)).astype(np.float32))
    return Network(weights=tuple(weights), biases=tuple(np.zeros(o, np.float32) for o in widths[1:]))


def train(
    x: np.ndarray,
    y: np.ndarray,
    starts: Sequence[Network],
    seeds: Sequence[int],
    *,
    levels: str,
    bits: int,
    epochs: int,
    patience: int = 0,
) -> list[tuple[Network, list[float]]]:
    """The trained networks and the validation accuracy after each of their epochs, in the order of `seeds`.

    `x` uint8[n, 784], `y`: the last 6,000 are for validation (a tenth, where there are fewer than 60,000). `starts`:
    unrounded weights to begin with. Training ends when more than `patience` epochs in a row have not beaten the best
    before, or after `epochs`; the last weights are kept. Each seed orders its
    own batches, so a network depends on nothing beside it.
    """
    held = min(VALIDATION, len(y) // 10)
    images, labels = pixels(x), y.astype(np.int64)
    fit, (x_val, y_val) = len(y) - held, (images[-held:], labels[-held:])
    arrays = [
        [np.stack([s.weights[i] for s in starts]) for i in range(len(starts[0].weights))],
        [np.stack([s.biases[i] for s in starts]) for i in range(len(starts[0].weights))],
    ]
    w, b = arrays
    state = {"step": 0, "w": w, "b": b, "q": _seen(w, levels, bits)}
    state |= {key: [np.zeros_like(a) for a in w] + [np.zeros_like(a) for a in b] for key in ("m", "v")}
    orders = [np.random.default_rng([seed, 2]) for seed in seeds]
    alive = list(range(len(seeds)))
    history: list[list[float]] = [[] for _ in seeds]
    done: dict[int, Network] = {}
    for epoch in range(epochs):
        order = np.stack([orders[i].permutation(fit) for i in alive])
        for first in range(0, fit, BATCH):
            chosen = order[:, first : first + BATCH]
            _step(state, images[chosen], labels[chosen], KINDS[levels], denominator(levels, bits) if bits else 1)
        accuracy = (_logits(state, x_val)[-1].argmax(2) == y_val).mean(1)
        for place, i in enumerate(alive):
            history[i].append(float(accuracy[place]))
        stop = [_over(history[i], patience) or epoch == epochs - 1 for i in alive]
        for place, i in enumerate(alive):
            if stop[place]:
                done[i] = Network(
                    weights=tuple(a[place].copy() for a in state["w"]),
                    biases=tuple(a[place].copy() for a in state["b"]),
                    levels=levels,
                    bits=bits,
                )
        left = [place for place, over in enumerate(stop) if not over]
        alive = [alive[place] for place in left]
        if not alive:
            break
        for key in ("w", "b", "q", "m", "v"):
            state[key] = [np.ascontiguousarray(a[left]) for a in state[key]]
    return [(done[i], history[i]) for i in range(len(seeds))]


def _over(history: list[float], patience: int) -> bool:
    """Whether the best epoch (the first of equals) lies more than `patience` epochs back."""
    return len(history) - 1 - history.index(max(history)) > patience


def _seen(weights: list[np.ndarray], levels: str, bits: int) -> list[np.ndarray]:
    parts = [
        rounded(Network(weights=(w.reshape(-1, w.shape[-1]),), biases=(), levels=levels, bits=bits))[0] for w in weights
    ]
    return [np.array(part.reshape(w.shape)) for part, w in zip(parts, weights, strict=True)]


def _logits(state: dict, x: np.ndarray) -> list[np.ndarray]:
    """The activations [seeds, n, width], input first, logits last; `x` is [n, 784] for all seeds or [seeds, n, 784]."""
    values = [x]
    for q, b in zip(state["q"], state["b"], strict=True):
        if len(values) > 1:
            np.maximum(values[-1], 0, out=values[-1])
        values.append(values[-1] @ q.transpose(0, 2, 1) + b[:, None, :])
    return values


def _step(state: dict, x: np.ndarray, y: np.ndarray, kind: int, n: int) -> None:
    """One step of all seeds: x[seeds, batch, 784], y[seeds, batch]. The gradient passes the rounding straight."""
    values = _logits(state, x)
    z = values[-1] - values[-1].max(2, keepdims=True)
    np.exp(z, out=z)
    z /= z.sum(2, keepdims=True)
    np.put_along_axis(z, y[..., None], np.take_along_axis(z, y[..., None], 2) - 1, 2)
    back = z / np.float32(y.shape[1])
    state["step"] += 1
    t, layers = state["step"], len(state["w"])
    rate = np.float32(RATE * np.sqrt(1 - BETA2**t) / (1 - BETA1**t))
    for i in reversed(range(layers)):
        gradient, own = back.transpose(0, 2, 1) @ values[i], back.sum(1)
        if i:
            back = (back @ state["q"][i]) * (values[i] > 0)
        flat = (a.reshape(-1) for a in (state["w"][i], gradient, state["m"][i], state["v"][i], state["q"][i]))
        _updated(*flat, rate, kind, np.float32(n))
        b, m, v = state["b"][i], state["m"][layers + i], state["v"][layers + i]
        _updated(
            b.reshape(-1),
            own.reshape(-1),
            m.reshape(-1),
            v.reshape(-1),
            np.empty(b.size, np.float32),
            rate,
            0,
            np.float32(1),
        )
