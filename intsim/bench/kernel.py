"""A kernel of your own: loaded, held against the oracle where kernels go wrong, then one peer among the others.

It forms int32 sums of products: a Python callable f(x uint8[m, k], w int8[k, n]) -> int32[m, n], or a C function
void f(const uint8_t *x, const int8_t *w, int32_t *out, int64_t m, int64_t n, int64_t k), rows one after the other in
memory, that fills `out`. Sums wrap around at 32 bits, as two's complement does.
"""

import ctypes
import importlib
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from intsim import oracle
from intsim.bench.equality import require_equal
from intsim.bench.records import OWN, Peer, Work
from intsim.bench.shapes import gemm_program
from intsim.errors import IntsimError
from intsim.program import Dot

Kernel = Callable[[np.ndarray, np.ndarray], np.ndarray]
SIGNATURE = "void f(const uint8_t *x, const int8_t *w, int32_t *out, int64_t m, int64_t n, int64_t k)"
GUARD = 64
"""int32 numbers behind the end of `out` that a C function must leave alone."""
_UNTOUCHED = 0x5A5A5A5A


def load(spec: str) -> Kernel:
    """The kernel MODULE:FUNCTION (also from the current folder), or FILE.so:SYMBOL. IntsimError where there is none."""
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise IntsimError("names no kernel", where=f"--kernel {spec}", mend="write MODULE:FUNCTION or FILE.so:SYMBOL")
    if Path(place).suffix in (".so", ".dylib", ".dll"):
        return _from_library(Path(place), name)
    folder = os.getcwd()
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        function = getattr(importlib.import_module(place), name)
    except (ImportError, AttributeError) as reason:
        raise IntsimError(f"cannot be imported: {reason}", where=f"--kernel {spec}") from None
    if not callable(function):
        raise IntsimError(f"is a {type(function).__name__}, not a function", where=f"--kernel {spec}")
    kernel: Kernel = function
    return kernel


def _from_library(path: Path, symbol: str) -> Kernel:
    try:
        function = getattr(ctypes.CDLL(str(path.resolve())), symbol)
    except (OSError, AttributeError) as reason:
        raise IntsimError(
            f"cannot be loaded: {reason}", where=f"--kernel {path}:{symbol}", mend=f"export {SIGNATURE}"
        ) from None
    pointers = [ctypes.POINTER(kind) for kind in (ctypes.c_uint8, ctypes.c_int8, ctypes.c_int32)]
    function.argtypes, function.restype = [*pointers, *[ctypes.c_int64] * 3], None

    def kernel(x: np.ndarray, w: np.ndarray) -> np.ndarray:
        (m, k), n = x.shape, w.shape[1]
        out = np.full(m * n + GUARD, _UNTOUCHED, np.int32)
        addresses = [array.ctypes.data_as(kind) for array, kind in zip((x, w, out), pointers, strict=True)]
        function(*addresses, m, n, k)
        if (out[m * n :] != _UNTOUCHED).any():
            raise IntsimError(f"writes beyond the end of out[{m}, {n}] (k = {k})", where=symbol)
        return out[: m * n].reshape(m, n)

    return kernel


# ---- right before fast -----------------------------------------------------------------------------------------

SIZES = (
    (1, 1, 1), (1, 1, 2), (1, 3, 1), (2, 1, 3), (3, 5, 7), (4, 4, 4), (5, 17, 31), (6, 16, 32), (7, 15, 33),
    (1, 64, 65), (13, 1, 64), (9, 65, 5), (17, 33, 100), (2, 8, 1027),
)  # fmt: skip
"""m, n, k: ones, primes, powers of two and their neighbours, so that every tail is met."""


def cases(seed: int = 0) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """(what, x[m, k], w[k, n]): every size with random values, then extremes, then sums beyond 32 bits."""
    rng = np.random.default_rng(seed)
    for m, n, k in SIZES:
        x = rng.integers(0, 256, (m, k)).astype(np.uint8)
        yield "random", x, rng.integers(-128, 128, (k, n)).astype(np.int8)
        yield (
            "ends of the range",
            rng.choice([0, 255], (m, k)).astype(np.uint8),
            rng.choice([-128, 127], (k, n)).astype(np.int8),
        )
    for m, n, k in ((3, 5, 7), (6, 16, 32), (5, 17, 31)):
        full = np.full((m, k), 255, np.uint8)
        yield "255 x -128, pairs beyond 16 bits", full, np.full((k, n), -128, np.int8)
        yield "255 x 127, pairs beyond 16 bits", full, np.full((k, n), 127, np.int8)
        signs = np.where(np.arange(k) % 2, -128, 127).astype(np.int8)
        yield "signs in turn", full, np.ascontiguousarray(np.repeat(signs[:, None], n, 1))
        yield "x above 127", np.full((m, k), 128, np.uint8), np.full((k, n), 1, np.int8)
        yield "zeros", np.zeros((m, k), np.uint8), np.full((k, n), -128, np.int8)
    long = rng.integers(126, 128, (4_099, 3)).astype(np.int8)
    yield "a long sum, beyond what float32 holds", np.full((2, 4_099), 255, np.uint8), long
    k = 66_000  # 255 * 128 * 65,794 is the first sum that leaves 32 bits
    yield "a sum beyond 32 bits", np.full((1, k), 255, np.uint8), np.full((k, 1), -128, np.int8)


def verified(kernel: Kernel, name: str, progress: Callable[[str], object] | None = None) -> int:
    """How many cases the kernel was right in, all of them; IntsimError names the first value that is wrong.

    `progress` is told of each case before it is tried.
    """
    count = 0
    for what, x, w in cases():
        (m, k), n = x.shape, w.shape[1]
        where = f"{name}, m = {m}, n = {n}, k = {k}, {what}"
        if progress is not None:
            progress(where)
        (expected,) = oracle.run(gemm_program(w), x).integers.values()
        require_equal(where, _result(kernel, where, x, w), expected, "the oracle's")
        count += 1
    return count


def tried(spec: str) -> int:
    """As `verified`, in a process of its own, which a kernel that reads or writes where it must not may end."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_try, args=(there, spec), daemon=True)
    process.start()
    there.close()
    where = f"--kernel {spec}"
    try:
        while not isinstance(found := here.recv(), int):
            if isinstance(found, tuple):
                raise IntsimError(*found)
            where = found
    except EOFError:
        process.join()
        raise IntsimError(f"ends the process (status {process.exitcode})", where=where) from None
    finally:
        here.close()
        process.join(5)
    return found


def _try(pipe: Connection, spec: str) -> None:
    """Sends where it is before every case; at the end how many there were, or what was wrong."""
    try:
        pipe.send(verified(load(spec), spec, pipe.send))
    except IntsimError as wrong:
        pipe.send((str(wrong),))


def _result(kernel: Kernel, where: str, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    kept = x.copy(), w.copy()
    try:
        found = np.asarray(kernel(x, w))
    except IntsimError:
        raise
    except Exception as reason:  # whatever a user's function raises
        raise IntsimError(f"raises {type(reason).__name__}: {reason}", where=where) from None
    if found.dtype != np.int32:
        raise IntsimError(f"gives {found.dtype}, not int32", where=where)
    if not (np.array_equal(x, kept[0]) and np.array_equal(w, kept[1])):
        raise IntsimError("changes its inputs", where=where)
    return found


def own(work: Work) -> Peer | None:
    """The work's own kernel, if it names one and is a matrix product."""
    steps = work.program.steps
    if not work.kernel or len(steps) != 1 or not isinstance(steps[0].compute, Dot):
        return None
    kernel = load(work.kernel)
    x, w = np.ascontiguousarray(work.x), np.ascontiguousarray(steps[0].compute.weight.T)
    return Peer(name=OWN, function=lambda: kernel(x, w))
