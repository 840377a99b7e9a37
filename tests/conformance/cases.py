"""Every case of a kind of network: one function an operator, so that a new operator is one function and one line."""

from collections.abc import Callable, Iterator

import numpy as np

from conformance import dots, fixed, others, rescale
from conformance.building import KINDS, Case, Kind

OPS: dict[str, Callable[[Kind, np.random.RandomState], Iterator[Case]]] = {
    "conv": dots.convolutions,
    "depthwise": dots.depthwise,
    "fully connected": dots.fully_connected,
    "transposed conv": dots.transposed,
    "add": others.add,
    "sub": others.subtract,
    "mul": others.multiply,
    "max, min": others.largest,
    "average pool": others.average_pool,
    "mean": others.mean,
    "max pool": others.max_pool,
    "concat": others.concat,
    "pad": others.pad,
    "requantize": others.requantize,
    "logistic": others.logistic,
    "tanh": others.tanh,
    "hard swish": others.hard_swish,
    "elu": others.elu,
    "leaky relu": others.leaky_relu,
    "prelu": others.prelu,
    "softmax": others.softmax,
    "resize": others.resize,
}


SUMS = ("conv", "depthwise", "fully connected", "transposed conv")
"""The operators that have weights."""
TYPED = (*SUMS, "average pool")
"""The operators of which a kind asks more than another one with the same activations."""
ASKED = {"every": OPS, "sums": {op: OPS[op] for op in TYPED}, "fixed": fixed.OPS, "rescale": rescale.OPS}


def cases(kind: str, seed: int = 0) -> list[Case]:
    """All cases of the kind; their numbers depend on the kind, the operator and the seed only."""
    found = []
    for op, make in ASKED[KINDS[kind].asked].items():
        rng = np.random.RandomState([seed, *kind.encode(), *op.encode()])  # its numbers never change: NEP 19
        found += [Case(name=c.name, op=op, kind=c.kind, source=c.source, x=c.x) for c in make(KINDS[kind], rng)]
    names = [c.name for c in found]
    assert len(set(names)) == len(names), [n for n in names if names.count(n) > 1]
    return found
