"""Our side: a case lowered for a machine and run by the engine, or by the oracle."""

from collections.abc import Callable

import numpy as np
from msgspec.structs import replace

from conformance.building import Case
from intsim import engine
from intsim.integers import Affine
from intsim.lower import lower
from intsim.program import Door, Program, Result
from intsim.target import Target


def program(case: Case, target: Target) -> Program:
    """The case on the machine, integers in, its output only traced. IntsimError where the machine does not take it."""
    made = lower(case.source, target)
    doors = {n: Door(tensor=d.tensor, shape=d.shape, affine=d.affine) for n, d in made.inputs.items()}
    return replace(made, inputs=doors, outputs={})


def run(case: Case, made: Program, execute: Callable[..., Result] = engine.run) -> np.ndarray:
    """The case's output, in the network's own integers."""
    return output(case, made, execute(made, inputs(case, made), trace=("y",)).traced["y"])


def inputs(case: Case, made: Program) -> dict[str, np.ndarray]:
    """The case's inputs in the machine's own integers."""
    return {name: _moved(q, case.source.affines[name], made.tensors[name].affine) for name, q in case.x.items()}


def output(case: Case, made: Program, y: np.ndarray) -> np.ndarray:
    """The machine's output in the network's own integers."""
    y = y.reshape(len(y), *case.source.graph.shapes["y"])
    return _moved(y, made.tensors["y"].affine, case.source.affines["y"])


def _moved(q: np.ndarray, have: Affine, want: Affine) -> np.ndarray:
    """The same real numbers in integers of the other sign."""
    return q if have == want else (q.astype(np.int64) + (want.zero - have.zero)).astype(want.type.dtype)
