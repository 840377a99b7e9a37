"""What a bench is made of and what it gives: works, peers, rows, means."""

from collections.abc import Callable

import numpy as np
from msgspec import Struct

from intsim.program import Program

ORT, ORT_FLOAT = "onnxruntime u8s8", "onnxruntime float32"
TORCH, NUMPY = "torch._int_mm", "numpy float32"
XNNPACK, LITERT = "LiteRT XNNPACK", "LiteRT built-in"
WIDE, LOOP, OWN = "our wide kernel", "plain numba loop", "your kernel"
QONNX, AP_FIXED, FAKE = "QONNX execution", "ap_fixed, compiled", "fake-quantized torch"

Goal = tuple[float, float | None]
"""A ratio to be reached, and one to be tried."""

RIVALS = (ORT, TORCH, XNNPACK, LITERT)
"""The peers that do the same integer work; the fastest of them is the best of a work."""


class Work(Struct, frozen=True, kw_only=True, eq=False):
    """Something to compute: `program` on `x[n, c, ...]`, the integers of its only input, with `threads` threads.

    `section`: the works that share a mean. `goals`: by peer, the ratio to be reached and the one to be tried. `wide`:
    the same work on a plain 32-bit accumulator, which a narrow one is measured against. `float_model`: the float
    network as ONNX. `kernel`: the user's own, MODULE:FUNCTION or FILE.so:SYMBOL. `environment`: variables of the
    process that ours runs in, for another instruction set than this CPU's.
    """

    name: str
    program: Program
    x: np.ndarray
    threads: int = 1
    section: str = ""
    goals: dict[str, Goal] = {}
    wide: Program | None = None
    float_model: bytes = b""
    kernel: str = ""
    environment: dict[str, str] = {}


class Peer(Struct, frozen=True, kw_only=True, eq=False):
    """Who does the same work: `function()` gives the output's integers as ours, `[n, c, ...]`.

    `equal`: whether they must be equal to ours; otherwise only the time counts. `samples`: how many of the first it
    does, where all take too long; its time is then as many times longer.
    """

    name: str
    function: Callable[[], np.ndarray]
    equal: bool = True
    samples: int | None = None


Factory = Callable[[Work], Peer | None]
"""A work's peer, or None where it does no such work. Raises IntsimError where its package is missing."""


class Row(Struct, frozen=True, kw_only=True):
    """One contest: `ratio` is the peer's time over ours, the median over the rounds, `low` and `high` their quartiles.

    More than 1: ours is faster. `seconds`: ours, one call, the median. `equal`: the two gave the same integers; None
    where they need not. `best`: the fastest of those who do the same integer work. `goal`, `stretch`: the ratios that
    are wanted; None where none is set.
    """

    section: str
    work: str
    threads: int
    ours: str
    peer: str
    ratio: float
    low: float
    high: float
    rounds: int
    seconds: float
    equal: bool | None = None
    best: bool = False
    goal: float | None = None
    stretch: float | None = None


class Mean(Struct, frozen=True, kw_only=True):
    """The geometric mean of a section's ratios against one peer, or of all against the best of each ("the best")."""

    section: str
    threads: int
    peer: str
    ratio: float
    works: int
    goal: float | None = None
    stretch: float | None = None


class Memory(Struct, frozen=True, kw_only=True):
    """Bytes that a work takes: `peak` of everything allocated in its first run, planning and result included.

    `kept`: what is left of it, the plan's packed weights and arenas, and the result. For scale: `weights`
    as the Program holds them, `arenas`, twice the largest tensor of all samples, and `result`, the output.
    """

    work: str
    threads: int
    peak: int
    kept: int
    weights: int
    arenas: int
    result: int


class Bench(Struct, frozen=True, kw_only=True):
    """The contests, and the machine that they were held on."""

    machine: dict[str, str]
    rows: tuple[Row, ...]
    means: tuple[Mean, ...] = ()
    memory: tuple[Memory, ...] = ()
    notes: tuple[str, ...] = ()


def met(found: Row | Mean) -> str:
    """Whether the goal was met, in a word: "stretch", "met", "not met", or nothing where none is set."""
    if found.goal is None:
        return ""
    if found.stretch is not None and found.ratio >= found.stretch:
        return "stretch"
    return "met" if found.ratio >= found.goal else "not met"
