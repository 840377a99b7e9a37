"""The matrix products that a work is made of: what a kernel for int32 sums is tried on."""

from collections.abc import Iterator

import numpy as np

from intsim.bench.records import Work
from intsim.bench.shapes import gemm_program
from intsim.engine import run
from intsim.errors import IntsimError
from intsim.program import Dot, inside

MOST = 1 << 28
"""Bytes of one product's x: a batch whose patches take more is cut off."""


def products(work: Work, kernel: str) -> tuple[Work, ...]:
    """A work of x[m, k] @ w[k, n] for every sum of products of one group, with the network's own numbers.

    A row of x is what one place of the layer's output reads; beyond the edges lies the zero point. IntsimError where
    no layer multiplies unsigned by signed bytes.
    """
    found = tuple(_products(work, kernel))
    if not found:
        what = "has no layer of one group with u8 activations and s8 weights"
        raise IntsimError(what, where=f"{work.name}, --kernel", mend="choose another --model or --shape")
    return found


def _products(work: Work, kernel: str) -> Iterator[Work]:
    steps = work.program.steps
    inputs = {step.inputs[0] for step in steps if isinstance(step.compute, Dot)}
    traced = run(work.program, work.x, trace=sorted(inputs), threads=work.threads).traced
    for step in steps:
        if not isinstance(step.compute, Dot) or step.compute.group != 1 or step.compute.weight.dtype != np.int8:
            continue
        x = traced[step.inputs[0]]
        if x.dtype != np.uint8:
            continue
        rows, k = patches(step.compute, inside(x)), int(np.prod(step.compute.weight.shape[1:]))
        rows = rows[: max(1, MOST // k)]
        w = np.ascontiguousarray(step.compute.weight.reshape(-1, k).T)
        same = not step.compute.window.kernel and len(steps) == 1
        yield Work(
            name=work.name if same else f"{work.name}: {step.name} as {len(rows)}x{w.shape[1]}x{k}",
            program=gemm_program(w),
            x=rows,
            threads=work.threads,
            section=work.section,
            goals=work.goals if same else {},
            kernel=kernel,
        )


def patches(dot: Dot, x: np.ndarray) -> np.ndarray:
    """x[n, *spatial, c] as rows `[n * places, *kernel * c]`, in the order of the weights."""
    window = dot.window
    if not window.kernel:
        return np.ascontiguousarray(x)
    axes = tuple(range(1, 1 + len(window.kernel)))
    around = [(0, 0), *zip(window.begin, window.end, strict=True), (0, 0)]
    padded = np.pad(x, around, constant_values=dot.input_zero_point)
    spans = tuple(d * (k - 1) + 1 for d, k in zip(window.dilations, window.kernel, strict=True))
    views = np.lib.stride_tricks.sliding_window_view(padded, spans, axes)  # [n, *places, c, *spans]
    places = tuple(slice(None, None, s) for s in window.strides)
    taps = tuple(slice(None, None, d) for d in window.dilations)
    chosen = np.moveaxis(views[(slice(None), *places, slice(None), *taps)], 1 + len(axes), -1)
    return np.ascontiguousarray(chosen.reshape(-1, int(np.prod(dot.weight.shape[1:]))))
