"""A chunk of images run step by step on whole arrays, where every sum and every overflow can be seen."""

from collections.abc import Mapping, Sequence

import numpy as np

from intsim.engine.planning import Plan, Planned

Counted = dict[str, np.ndarray]  # by step: outputs with events, events, persistent


def run_by_arrays(
    planned: Plan, values: Mapping[str, np.ndarray], kept: Mapping[str, np.ndarray], part: slice
) -> Counted:
    """The images of `part` through every step, from their integers to the arrays over all images.

    Tensors are let go of after their last use.
    """
    live = dict(values)
    for name in kept.keys() & live.keys():
        kept[name][part] = live[name]
    counts: Counted = {}
    for one in planned.steps:
        name, inputs = one.step.outputs[0], [live[name] for name in one.step.inputs]
        if one.sums is not None:
            acc, found = one.sums.run(*inputs)
            counts[one.step.name] = np.array(found, np.int64)
            if f"{name}:accumulator" in kept:
                kept[f"{name}:accumulator"][part] = acc.reshape(-1, *one.shape)
            inputs = [acc]
        live[name] = one.run(*inputs).reshape(-1, *one.shape)
        if name in kept:
            kept[name][part] = live[name]
        for dead in one.last:
            del live[dead]
    return counts


def step_by_arrays(planned: Planned, inputs: Sequence[np.ndarray]) -> np.ndarray:
    """One step on arrays `[n, ..., c]`."""
    if planned.sums is not None:
        inputs = [planned.sums.run(*inputs)[0]]
    return planned.run(*inputs)
