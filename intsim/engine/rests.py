"""Steps whose integers beyond the last whole vector follow another rule: all by the one, then those by the other."""

import numpy as np

from intsim.engine import elements, tabled
from intsim.engine.calls import Native
from intsim.engine.rooms import Room
from intsim.engine.step import Run
from intsim.ops.vectors import beyond, rest_of
from intsim.program import Add, Convert, Multiply, Tensor
from intsim.ranges import Interval

Plan = tuple[str, str, Run]


def with_rest(whole: Plan, rest: Plan, places: np.ndarray) -> Plan:
    """The plan of a step from those of its two rules; `places`: where the second holds, bool of a sample's shape."""
    (kernel, why, first), (_, other_why, second), chosen = whole, rest, np.flatnonzero(places)

    def run(*inputs: np.ndarray) -> np.ndarray:
        found = np.array(first(*inputs)).reshape(-1, places.size)
        found[:, chosen] = second(*inputs).reshape(-1, places.size)[:, chosen]
        return found

    return kernel, why or other_why, run


def native_rest(
    compute: Add | Multiply | Convert,
    known: list[Interval],
    xs: list[Tensor],
    y: Tensor,
    rooms: list[Room],
    out: Room,
) -> tuple[Native, ...] | None:
    """The routines of the step, then those of its rest on its places only; None where an operand is constant."""
    rest = rest_of(compute)
    assert rest is not None
    found: list[Native] = []
    places = beyond(rest, y.shape, [x.shape for x in xs], compute)
    for one, only in ((compute, None), *([(rest.compute, places)] if places.any() else [])):
        match one:
            case Convert():
                part = elements.convert(one, xs, y, rooms, out, only)
            case _ if one.constant is not None:
                part = None
            case Add():
                part = elements.add(one, xs, y, rooms, out, only)
            case Multiply():
                part = tabled.multiply(one, known, xs, y, rooms, out, only)
        if part is None:
            return None
        found += part
    return tuple(found)
