"""Narrow accumulators, tables and wide sums as works, each beside the same work on a plain 32-bit accumulator."""

import numpy as np
from msgspec.structs import replace

from intsim.bench.networks import entered, float_network, integers_in, pixels_of
from intsim.bench.records import LOOP, WIDE, Goal, Work
from intsim.bench.shapes import gemm_program
from intsim.calibrate import ranges
from intsim.engine import describe, run
from intsim.integers import IntType, Overflow
from intsim.lower import lower
from intsim.quantize import quantize
from intsim.target import Level, Mac, Table
from intsim.targets import TARGETS, with_accumulator

SIZE = (1024, 256, 576)
"""m, n, k of the matrix products: a row is one output pixel of a 3x3 convolution of 64 channels."""

MACHINE = "litert_ref"
EPS_STEPS = 8.0


def _mac(bits: int | None, overflow: Overflow) -> Mac:
    return Mac(levels=(Level(bits=bits, overflow=overflow),), zero_point="folded")


def wrapping(bits: int, *, size: tuple[int, int, int] = SIZE, threads: int = 1, goal: Goal | None = None) -> Work:
    """A register of `bits` bits that wraps around; its sums leave it often."""
    x, w = _operands(size, 1.0, 0.0)
    return _work(f"wrap, {bits} bits", "wrap", x, w, _mac(bits, Overflow.WRAP), threads, goal)


def saturating(
    bits: int, heavy: float, *, size: tuple[int, int, int] = SIZE, threads: int = 1, goal: Goal | None = None
) -> Work:
    """A register of `bits` bits that saturates at every MAC; a share `heavy` of the rows comes near its ends or leaves.

    Heavy rows lie anywhere among light ones, whose sums stay far inside while the weights alone cannot prove it.
    """
    x, w = _operands(size, heavy, (1 << bits) / (127.0 * size[-1]))
    section = "saturate: no row flagged" if heavy == 0 else "saturate: all recomputed" if heavy == 1 else "saturate"
    name = f"saturate, {bits} bits, {heavy:.0%} of the rows heavy"
    return _work(name, section, x, w, _mac(bits, Overflow.SATURATE), threads, goal)


def _operands(size: tuple[int, int, int], heavy: float, drift: float) -> tuple[np.ndarray, np.ndarray]:
    """x uint8[m, k] with a share of heavy rows, w int8[k, n] with the mean `drift` where all rows are heavy."""
    m, n, k = size
    rng = np.random.default_rng(1)
    x = np.maximum(rng.normal(0, 16, (m, k)), 0)
    loud = rng.permutation(m)[: round(m * heavy)]
    x[loud] = np.maximum(rng.normal(12, 90, (len(loud), k)), 0)
    mean = min(drift, 90.0) * 3 if heavy == 1 else 0.0
    w = np.clip(np.rint(rng.normal(min(mean, 100.0), 30, (k, n))), -127, 127)
    if mean > 40 and heavy == 1:
        x = np.maximum(x, 200)  # a wide register overflows only where nearly all is large
    return np.clip(np.rint(x), 0, 255).astype(np.uint8), w.astype(np.int8)


def _work(name: str, section: str, x: np.ndarray, w: np.ndarray, mac: Mac, threads: int, goal: Goal | None) -> Work:
    kind = IntType(8, signed=False) if x.dtype == np.uint8 else IntType(16)
    out = 64 if mac.levels[-1].bits in (None, 64) else 32
    return Work(
        name=name,
        program=gemm_program(w, mac=mac, x=kind, out_bits=out, name=name),
        wide=gemm_program(w),
        x=x,
        threads=threads,
        section=section,
        goals={} if goal is None else {WIDE: goal},
    )


def sixteen_bits(*, size: tuple[int, int, int] = SIZE, threads: int = 1, goal: Goal | None = None) -> Work:
    """s16 x s8 into 64 bits."""
    m, n, k = size
    rng = np.random.default_rng(2)
    x = rng.integers(-(1 << 15), 1 << 15, (m, k)).astype(np.int16)
    w = rng.integers(-128, 128, (k, n)).astype(np.int8)
    return _work("s16 x s8 into 64 bits", "other operands", x, w, _mac(64, Overflow.WRAP), threads, goal)


def table(
    *,
    size: tuple[int, int, int] = SIZE,
    threads: int = 1,
    goal: Goal | None = None,
    loop_goal: Goal | None = None,
) -> Work:
    """Products by a table: an approximate multiplier that drops the lowest bits of every partial product."""
    m, n, k = size
    rng = np.random.default_rng(3)
    exact = np.arange(256)[:, None] * np.arange(256).astype(np.int8).astype(np.int64)
    entries = ((exact >> 4) << 4).astype(np.int32)
    mac = replace(_mac(32, Overflow.WRAP), multiplier=Table(entries=entries, signed_activations=False))
    x = rng.integers(0, 256, (m, k)).astype(np.uint8)
    w = rng.integers(-128, 128, (k, n)).astype(np.int8)
    work = _work("table multiplier", "other operands", x, w, mac, threads, goal)
    return replace(work, goals={**work.goals, **({} if loop_goal is None else {LOOP: loop_goal})})


# ---- a whole network -------------------------------------------------------------------------------------------


def network(
    name: str, bits: int, *, attack: bool, batch: int = 100, threads: int = 1, goal: Goal | None = None
) -> Work:
    """A network on real images, clean or attacked by FGSM, whose accumulators saturate at every MAC.

    Raises IntsimError where torch, which the attack needs, is missing.
    """
    graph = float_network(name)
    wide = TARGETS[MACHINE]
    quantized = quantize(graph, ranges(graph, pixels_of(graph, 256)), wide.scheme)
    pixels = pixels_of(graph, batch)
    if attack:
        pixels = _attacked(name, pixels)
    programs = [lower(quantized, machine) for machine in (with_accumulator(wide, bits, Overflow.SATURATE), wide)]
    return Work(
        name=f"{name}, {bits} bits saturating, {'FGSM 8/255' if attack else 'clean'} images, batch {batch}",
        program=integers_in(programs[0]),
        wide=integers_in(programs[1]),
        x=np.ascontiguousarray(entered(programs[0], pixels)),
        threads=threads,
        section="saturate: networks",
        goals={} if goal is None else {WIDE: goal},
    )


def _attacked(name: str, pixels: np.ndarray) -> np.ndarray:
    from intsim.attack.catalogue import ATTACKS
    from intsim.attack.craft import craft
    from intsim.attack.twin import twin
    from intsim_models import images

    labels = np.resize(images().y, len(pixels))
    return craft(ATTACKS["fgsm"], twin(float_network(name)), pixels, labels, EPS_STEPS)


def decides(work: Work) -> tuple[str, ...]:
    """What decides the speed of a narrow network: each layer's kernel, and how often its register clamps."""
    counted = run(work.program, work.x[: min(len(work.x), 16)], count=True).overflows
    lines = []
    for step, kernel, why in describe(work.program):
        if step in counted:
            share = counted[step].outputs / max(counted[step].of_outputs, 1)
            lines.append(f"{work.name}: {step}: {kernel}; {why}; {share:.2%} of its sums clamp")
    return tuple(lines)
