"""How wide accumulators have to be: for any input by proof, for images as observed, and by the weights' L1 norm."""

from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
from msgspec import Struct

from intsim import ranges
from intsim.advice.running import Running, bits, running, weights
from intsim.errors import IntsimError
from intsim.integers import IntType
from intsim.program import Dot, Overflows, Program, Step, inside

__all__ = ["Advice", "Layer", "Observed", "advise", "l1_bits", "l1_limit"]

_BATCH = 16


class Observed(Struct, frozen=True, kw_only=True):
    """What one set of images did to a layer's sums.

    `low`..`high`: what one register meets that adds every product in the machine's order, every partial sum and the
    bias included; `bits` are enough for that. `level_bits`: enough for each of the machine's own levels, inner to
    outer. `overflows`: what really happened in the machine's registers.
    """

    images: int
    low: int
    high: int
    bits: int
    level_bits: tuple[int, ...]
    overflows: Overflows


class Layer(Struct, frozen=True, kw_only=True):
    """One layer's accumulator.

    `bits`: of the machine's outermost level, None where it is exact; `level_bits` of all its levels. `proof`: bits
    enough for any input and any order of the products, in one register. `proven`: no register of the machine can
    overflow. `observed`: by the images' name. `l1`: the largest L1 norm of an output channel's weights; `l1_bits`: what
    it needs; `l1_limit`: the largest that the machine's outermost level allows, None where that is exact.
    """

    name: str
    op: str
    target: str
    products: int
    bits: int | None
    level_bits: tuple[int | None, ...]
    proof: int
    proof_by_channel: tuple[int, ...]
    proven: bool
    observed: dict[str, Observed]
    l1: int
    l1_bits: int
    l1_limit: int | None

    @property
    def verdict(self) -> str:
        """Safe by proof, safe as observed, or how often it overflows; "not proven" where nothing was observed."""
        if self.proven:
            return "safe by proof"
        worst = max(self.observed, key=lambda name: self.observed[name].overflows.outputs, default=None)
        if worst is None:
            return "not proven"
        found = self.observed[worst].overflows
        if found.outputs == 0:
            return "safe as observed"
        return f"overflows in {found.outputs} of {found.of_outputs} outputs ({worst})"

    @property
    def l1_excess(self) -> float | None:
        """The largest L1 norm as a multiple of the largest that is allowed; more than 1 is too much."""
        return None if self.l1_limit is None else self.l1 / self.l1_limit if self.l1_limit else float("inf")


class Advice(Struct, frozen=True, kw_only=True):
    """A whole Program's accumulators.

    The narrowest width of one register at every MAC that is safe in all layers: by `proof`, as `observed` by the
    images' name, and by the weights' `l1` norms. Each layer by itself may need less.
    """

    layers: tuple[Layer, ...]
    proof: int
    observed: dict[str, int]
    l1: int


def advise(
    program: Program,
    images: Mapping[str, np.ndarray] | None = None,
    *,
    run: Callable[..., Any] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Advice:
    """How wide the accumulators of a Program have to be.

    `images`: sets `x[n, c, ...]` by name ("calibration", "attacked" ...) on which sums are observed: every partial sum
    in the machine's order of the products, not only the last. `run` runs Programs: `intsim.engine.run`, unless another
    is given. `progress(done, of)` counts images. Raises IntsimError where there is no sum of products, or images do
    not fit the Program.
    """
    steps = [step for step in program.steps if isinstance(step.compute, Dot)]
    if not steps:
        raise IntsimError("has no sum of products", where=program.name, mend="there is no accumulator to advise on")
    sets, seen = dict(images or {}), dict[str, dict[str, Observed]]()
    total, done = sum(len(x) for x in sets.values()), 0

    def told(some: int) -> None:
        nonlocal done
        done += some
        if progress is not None:
            progress(done, total)

    for name, x in sets.items():
        seen[name] = _observed(program, steps, x, run or _engine(), told)
    intervals = ranges.intervals(program)
    layers = tuple(_layer(program, step, intervals, seen) for step in steps)
    return Advice(
        layers=layers,
        proof=max(layer.proof for layer in layers),
        observed={name: max(layer.observed[name].bits for layer in layers) for name in sets},
        l1=max(layer.l1_bits for layer in layers),
    )


def _engine() -> Callable[..., Any]:
    from intsim.engine import run

    return run


def _layer(
    program: Program,
    step: Step,
    intervals: Mapping[str, ranges.Interval],
    seen: Mapping[str, Mapping[str, Observed]],
) -> Layer:
    dot = step.compute
    assert isinstance(dot, Dot)
    low, high = intervals[step.inputs[0]]
    needed = ranges.bounds(dot, low, high).bits
    type_ = program.tensors[step.inputs[0]].affine.type
    norm, outer = _l1(dot), dot.mac.levels[-1].bits
    return Layer(
        name=step.name,
        op=step.op,
        target=step.target,
        products=int(np.prod(dot.weight.shape[1:])),
        bits=outer,
        level_bits=tuple(level.bits for level in dot.mac.levels),
        proof=int(needed.max()),
        proof_by_channel=tuple(int(b) for b in needed),
        proven=bool(np.all(ranges.cannot_overflow(dot, low, high))),
        observed={name: found[step.name] for name, found in seen.items()},
        l1=norm,
        l1_bits=l1_bits(norm, *_operand(dot, type_)),
        l1_limit=None if outer is None else l1_limit(outer, *_operand(dot, type_)),
    )


# ---- observed --------------------------------------------------------------------------------------------------


def _observed(
    program: Program, steps: list[Step], x: np.ndarray, run: Callable[..., Any], told: Callable[[int], None]
) -> dict[str, Observed]:
    sums: dict[str, Running] = {}
    counts: dict[str, Overflows] = {}
    names = tuple(dict.fromkeys(step.inputs[0] for step in steps))
    for first in range(0, len(x), _BATCH):
        part = x[first : first + _BATCH]
        result = run(program, part, trace=names, count=True)
        for step in steps:
            assert isinstance(step.compute, Dot)
            found = running(step.compute, inside(result.traced[step.inputs[0]]))
            sums[step.name] = found if step.name not in sums else sums[step.name].joined(found)
            more = result.overflows[step.name]
            counts[step.name] = more if step.name not in counts else _together(counts[step.name], more)
        told(len(part))
    return {
        step.name: Observed(
            images=len(x),
            low=sums[step.name].single[0],
            high=sums[step.name].single[1],
            bits=bits(sums[step.name].single),
            level_bits=tuple(map(bits, sums[step.name].levels)),
            overflows=counts[step.name],
        )
        for step in steps
    }


def _together(a: Overflows, b: Overflows) -> Overflows:
    return Overflows(**{name: getattr(a, name) + getattr(b, name) for name in Overflows.__struct_fields__})


# ---- L1 norms --------------------------------------------------------------------------------------------------


def _l1(dot: Dot) -> int:
    """The largest L1 norm of an output channel's weights, less their zero point where the machine multiplies so."""
    w = weights(dot)
    if dot.mac.zero_point == "in_operand":
        w = w - dot.weight_zero_point[:, None]
    return int(np.abs(w).sum(1).max())


def _operand(dot: Dot, type_: IntType) -> tuple[int, bool]:
    """(bits, signed) of what is multiplied with the weights, so that its magnitude is at most 2^(bits - signed)."""
    if dot.mac.zero_point == "folded" or dot.input_zero_point == 0:
        return type_.bits, type_.signed
    return (type_.bits, False) if dot.input_zero_point == type_.low else (type_.bits + 1, True)


def l1_bits(l1: int, input_bits: int, signed: bool) -> int:
    """The width that weights of that L1 norm need for any input: the smallest P with l1 * 2^(N - s) <= 2^(P-1) - 1.

    N: bits of the inputs, s: 1 where they are signed, else 0. From Colbert, Pappalardo, Petri-Koenig, "A2Q:
    Accumulator-Aware Quantization with Guaranteed Overflow Avoidance", ICCV 2023, arXiv 2308.13504, section 3: it
    takes every input to reach 2^(N - s). `Layer.proof` knows signs and intervals, and so is mostly narrower; but it
    counts the bias and what folded zero points owe, which this does not.
    """
    return 1 + (l1 << (input_bits - signed)).bit_length()


def l1_limit(bits: int, input_bits: int, signed: bool) -> int:
    """The largest L1 norm of a channel's integer weights that a P-bit accumulator allows: (2^(P-1) - 1) * 2^(s - N)."""
    return ((1 << (bits - 1)) - 1) >> (input_bits - signed)


def plain(advice: Advice) -> dict[str, Any]:
    """The advice for JSON, with every layer's verdict."""
    found: dict[str, Any] = msgspec.to_builtins(advice)
    for layer, told in zip(advice.layers, found["layers"], strict=True):
        told["verdict"], told["l1_excess"] = layer.verdict, layer.l1_excess
    return found
