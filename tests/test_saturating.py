"""Registers that saturate on the way: what adds in the machine's order gives what the definition gives."""

import os
import platform
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ordered_kernels import INT32, Job, ended, packed, reference, registers, two_levels, walked

from intsim.engine.lanes import lane
from intsim.engine.margins import watch
from intsim.engine.packing import (
    Walk,
    checks,
    pack_columns,
    pack_pairs,
    pack_quads,
    pack_single,
    pack_steps,
    straight,
    tiles,
)
from intsim_kernels import checked_tile as c
from intsim_kernels import ordered_tile as o
from intsim_kernels import wide
from intsim_kernels.checked import checked_routine, sorting_routine
from intsim_kernels.cpu import LANES
from intsim_kernels.ordered import clamped, pairs
from intsim_kernels.saturating import (
    again_routine,
    columns,
    saturating_routine,
    stepped_routine,
    two_level_routine,
)

ROOT = Path(__file__).parents[1]
INT16 = (-(1 << 15), (1 << 15) - 1)


def signed(bits: int, symmetric: bool = False) -> tuple[int, int]:
    high = (1 << (bits - 1)) - 1
    return -high - (not symmetric), high


class Data:
    """Rows of segments with gaps, tails on every side, and weights that make registers overflow."""

    def __init__(self, seed: int, x: tuple[int, int], w: tuple[int, int], extreme: bool = False, rows: int = 0) -> None:
        rng = np.random.default_rng(seed)
        count, self.length, gap = int(rng.integers(1, 4)), int(rng.integers(1, 40)), int(rng.integers(0, 3))
        self.outputs, rows = int(rng.integers(1, 50)), rows or int(rng.integers(1, 30))
        starts = np.arange(count) * (self.length + gap)
        self.offsets = starts * 2
        shape, depth = (rows, count * (self.length + gap)), count * self.length
        self.buffer = rng.choice(x, shape) if extreme else rng.integers(x[0], x[1] + 1, shape)
        self.x = np.concatenate([self.buffer[:, s : s + self.length] for s in starts], 1)
        shape = (self.outputs, depth)
        self.w = rng.choice(w, shape) if extreme else rng.integers(w[0], w[1] + 1, shape)
        if seed % 3 == 1:  # runs of one sign drive a register to its limit and back
            self.w = np.abs(self.w).clip(0, w[1]) * np.where(np.arange(depth) // 5 % 2, 1, -1)
        self.rng = rng

    def job(self, columns: int, walk: Walk, dtype: type = np.int16) -> Job:
        return Job(self.buffer.astype(dtype), self.outputs, columns, walk)


# ---- a register that saturates after every product -----------------------------------------------------------------

KINDS = [  # bits, symmetric, operands, weights, whether the CPU's saturating int32 add is used, the lane
    (18, False, (-255, 255), (-127, 127), False, "limits 32"),
    (31, True, (-32768, 32767), (-16383, 16383), False, "limits 32"),
    (16, True, (-32768, 32767), (-128, 127), False, "limits 32"),
    (19, False, (0, 255), (-128, 127), True, "ceiling 32"),
    (16, False, (-300, 300), (-128, 127), True, "ceiling 32"),
    (24, True, (0, 255), (-127, 127), True, "ceiling 32"),
    (24, False, (-255, 255), (-128, 127), True, "lane 32"),
    (32, False, (-32768, 32767), (-32768, 32767), True, "lane 32"),
    (16, True, (-255, 255), (-128, 128), False, "ceiling 16"),
    (12, False, (0, 255), (-128, 127), False, "ceiling 16"),
    (5, False, (0, 255), (-128, 127), False, "ceiling 16"),
    (16, False, (-255, 255), (-128, 128), False, "lane 16"),
    (10, False, (0, 15), (-8, 7), False, "lane 16"),
    (10, True, (0, 15), (-7, 7), False, "ceiling 16"),
]


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize(("bits", "symmetric", "x", "w", "native", "kind"), KINDS)
def test_a_register_saturates_after_every_product(
    bits: int, symmetric: bool, x: tuple[int, int], w: tuple[int, int], native: bool, kind: str, width: int
) -> None:
    limits, clipped = signed(bits, symmetric), 0
    found = lane(limits, x, w, native=native)
    assert found is not None
    assert found.kind == kind
    for seed in range(6):
        data = Data(100 * bits + seed, x, w, extreme=seed % 2 == 0)
        start = data.rng.integers(limits[0], limits[1] + 1, data.outputs)
        start[0] = limits[seed % 2]
        end = data.rng.integers(limits[0], limits[1] + 1, data.outputs)
        walk, each = straight(data.offsets, data.length), columns(kind, width)
        job = data.job(each, walk)
        job.call(
            saturating_routine(kind, width),
            registers(found, data.w, walk, each, start) | ended(end, limits, each),
        )
        expected, hit = reference(data.x, data.w, start, limits, end, limits)
        np.testing.assert_array_equal(job.run(11), expected)
        clipped += int(hit.sum())
    assert clipped, "nothing saturated"


def test_copies_times_a_power_of_two_make_a_lane_of_any_register() -> None:
    """A tensor of raw bytes, in another order than the machine's, copied as the lanes want it."""
    for bits in range(17, 33):
        zero, limits = 3 * bits, signed(bits)
        x = (-zero, 255 - zero)
        found = lane(limits, x, (-128, 127), scaled=True, native=True)
        assert found is not None
        assert (found.kind, found.shift) == ("lane 32", 32 - bits)
        data = Data(bits, x, (-128, 127), extreme=bits % 2 == 0)
        start = np.zeros(data.outputs, int)
        walk, each = straight(np.zeros(1, int), data.x.shape[1]), columns(found.kind, 1)
        job = Job((data.buffer + zero).astype(np.uint8), data.outputs, each, walk)
        order = data.rng.permutation(data.x.shape[1])  # single integers, in any order
        places = (data.offsets[:, None] // 2 + np.arange(data.length)).ravel()
        if bits % 3:
            order, places = np.arange(len(order)), data.offsets // 2
        job.gather(places[order] if bits % 3 == 0 else places, len(order) // len(places), zero, found.shift_x)
        words = registers(found, data.w, walk, each, start)
        job.call(saturating_routine(found.kind, 1), words | {o.ADDRESSES: job.others})
        expected, _ = reference(data.x[:, order], data.w, start, limits)
        np.testing.assert_array_equal(job.run(8), expected, err_msg=f"{bits}")


def test_there_is_no_lane_for_what_may_leave_it() -> None:
    assert lane(signed(32), (0, 255), (-128, 127)) is None
    assert lane(signed(31), (-32768, 32767), (-32768, 32767)) is None  # 2^30 + 2^30
    assert lane(signed(20), (0, 65535), (-128, 127)) is None
    assert lane(signed(33), (0, 255), (-128, 127), native=True) is None


# ---- two levels ------------------------------------------------------------------------------------------------


def two_level_job(data: Data, walk: Walk, weights: np.ndarray, width: int, start: np.ndarray) -> tuple[Job, dict]:
    each = width * LANES
    return data.job(each, walk), packed(weights, each) | {o.START: pack_columns(start, each, np.int32)}


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 9, 16, 50])
def test_tiles_of_any_size_saturate_and_so_does_their_sum(size: int, width: int) -> None:
    hits = 0
    for seed in range(4):
        data = Data(10 * size + seed, (-255, 255), (-127, 127))
        start = data.rng.integers(-60000, 60001, data.outputs)
        inner, outer = INT16, [INT32, signed(18), signed(17, symmetric=True)][seed % 3]
        walk = tiles(data.offsets, data.length, size)
        single = pack_single(data.w, walk, width * LANES, 32)
        job, words = two_level_job(data, walk, single, width, start)
        limits = {o.LOW: outer[0], o.HIGH: outer[1], o.INNER_LOW: inner[0], o.INNER_HIGH: inner[1]}
        job.call(two_level_routine("limits", width), words | limits)
        expected, hit = two_levels(data.x, data.w, start, size, inner, outer)
        np.testing.assert_array_equal(job.run(7), expected)
        before = np.tile(start.astype(np.int32), (len(data.x), 1))
        taps, base = np.arange(data.x.shape[1]), np.zeros(1, np.int64)
        flat, lanes_of = np.ascontiguousarray(data.x.astype(np.int16)).ravel(), data.w.T[None].astype(np.int16).copy()
        ends = [np.int32(v) for v in (*inner, *outer)]
        clamped(flat, data.x.shape[1], base, taps, 0, 0, lanes_of, size, *ends, before)
        np.testing.assert_array_equal(before, expected)
        hits += hit
    assert hits, "nothing saturated"


@pytest.mark.parametrize("inner", ["exact", "pairs"])
def test_tiles_that_are_exact_inside_may_be_added_pair_by_pair(inner: str) -> None:
    hits = 0
    for seed, size in enumerate([2, 5, 16, 33]):
        data = Data(seed, (-255, 255), (-127, 127))
        start = data.rng.integers(-60000, 60001, data.outputs)
        least, outer = (INT16 if inner == "pairs" else INT32), signed(18)
        walk = tiles(data.offsets, data.length, size)
        job, words = two_level_job(data, walk, pack_pairs(data.w, walk, 2 * LANES), 2, start)
        limits = {o.LOW: outer[0], o.HIGH: outer[1], o.INNER_LOW: least[0], o.INNER_HIGH: least[1]}
        job.call(two_level_routine(inner, 2), words | limits)
        expected, hit = once(data, start, size, least, outer)
        np.testing.assert_array_equal(job.run(9), expected)
        hits += hit
    assert hits, "nothing saturated"


def once(
    data: Data, start: np.ndarray, size: int, inner: tuple[int, int], outer: tuple[int, int]
) -> tuple[np.ndarray, int]:
    """clamp(sum + clamp(tile)), each tile clamped once, when it is complete; how many adds that changed."""
    acc, hits = np.tile(start, (len(data.x), 1)), 0
    for k in range(0, data.x.shape[1], size):
        exact = data.x[:, k : k + size] @ data.w[:, k : k + size].T
        item = np.clip(exact, *inner)
        total = acc + item
        acc = np.clip(total, *outer)
        hits += int((item != exact).sum() + (acc != total).sum())
    return acc, hits


@pytest.mark.parametrize("unit", [1, 2, 4])
@pytest.mark.parametrize(("inner", "outer"), [(True, False), (True, True), (False, True)])
def test_tiles_of_few_pairs_are_one_step(unit: int, inner: bool, outer: bool) -> None:
    hits = 0
    for seed in range(3):
        data = Data(10 * unit + seed, (-255, 255), (-127, 127), extreme=seed == 2)
        data.offsets, data.buffer, data.length = data.offsets[:1], data.x, data.x.shape[1]
        start = data.rng.integers(-60000, 60001, data.outputs)
        least, last = INT16 if inner else INT32, signed(18) if outer else INT32
        walk = straight(data.offsets, data.length, 2 * unit)
        job, words = two_level_job(data, walk, pack_steps(data.w, walk, 2 * LANES), 2, start)
        limits = {o.LOW: last[0], o.HIGH: last[1], o.INNER_LOW: least[0], o.INNER_HIGH: least[1]}
        job.call(stepped_routine(unit, inner, outer, 2), words | limits)
        expected, hit = once(data, start, 2 * unit, least, last)
        np.testing.assert_array_equal(job.run(9), expected)
        hits += hit
    assert hits, "nothing saturated"


# ---- pairs of byte products that saturate to 16 bits -------------------------------------------------------------


def test_pairs_of_byte_products_saturate_to_16_bits() -> None:
    hits = 0
    for seed in range(6):
        data = Data(seed, (0, 255), (-128, 127), extreme=seed % 2 == 0)
        depth, each = data.x.shape[1], 2 * LANES
        walk = straight(np.zeros(1, int), depth, 4, 1)
        job = Job(data.x.astype(np.uint8), data.outputs, each, walk)
        weights, start = pack_quads(data.w, walk, each), data.rng.integers(-9, 9, data.outputs)
        words = (np.zeros(1, np.int64), 1, len(walk.index), weights, len(weights), weights[0].nbytes)
        lanes = pack_columns(start, each, np.int32)
        job.add(wide.dot_routine("saturating quads", 2), (job.addresses, *words, lanes, job.sums, job.out.strides[0]))
        expected, hit = once(data, start, 2, INT16, INT32)
        np.testing.assert_array_equal(job.run(), expected)
        half = np.zeros((data.outputs + data.outputs % 2, -(-depth // 2), 2), np.int16)
        half.reshape(len(half), -1)[: data.outputs, :depth] = data.w
        before = np.tile(start.astype(np.int32), (len(data.x), 1))
        x = np.pad(data.x, ((0, 0), (0, depth % 2))).astype(np.int16)
        base = np.zeros(1, np.int64)
        pairs(x.ravel(), x.shape[1], base, base, x.shape[1], half.transpose(0, 2, 1).copy(), before)
        np.testing.assert_array_equal(before, expected)
        hits += hit
    assert hits, "nothing saturated"


# ---- the check -------------------------------------------------------------------------------------------------


def checked_job(
    data: Data,
    block: int,
    x: tuple[int, int],
    limits: tuple[int, int],
    start: np.ndarray,
    classes: int = 1,
    room: int | None = None,
    zero: int | None = None,
) -> Job:
    """Wide sums, checked, and the flagged rows again; `room`: instead of the true one. `zero`: raw uint8 operands."""
    raw, each = zero is not None, 2 * LANES
    kind, pack, dtype = ("quads written out", pack_quads, np.uint8) if raw else ("pairs", pack_pairs, np.int16)
    walk = checks(data.offsets // 2, data.length, block, 4, 1) if raw else checks(data.offsets, data.length, block)
    again = lane(limits, x, (int(data.w.min()), int(data.w.max())))
    assert again is not None
    held = (data.buffer + (zero or 0)).astype(dtype)
    job = Job(np.pad(held, ((0, 0), (0, 4))), data.outputs, each, walk)
    bounds = (x[0] + (zero or 0), x[1] + (zero or 0))
    found = watch(data.w, walk, each, bounds, start, limits, classes=classes, zero=zero or 0, worth=0)
    words = {
        **packed(pack(data.w, walk, each), each),
        o.START: pack_columns(start - (zero or 0) * data.w.sum(1), each, np.int32),
        **spans(data.offsets // (2 if raw else 1), data.length, raw),
        c.CLASSES: classes,
        c.EXTREMES: found.extremes,
        c.OFF: found.off,
        c.ROOM: found.room if room is None else np.full_like(found.room, room),
    }
    job.call(sorting_routine(kind), words)
    job.call(checked_routine(kind, 2), words)
    walk = straight(data.offsets, data.length)
    if raw:  # the flagged rows again, from copies that are int16 and centred
        job.gather(data.offsets // 2, data.length, zero, listed=True)
        walk = straight(np.zeros(1, int), data.x.shape[1])
    words = registers(again, data.w, walk, each, start) | walked(walk)
    job.call(
        again_routine(again.kind, 1 if again.bits == 16 else 2, 1),
        words | ({o.ADDRESSES: job.others} if raw else {}),
    )
    return job


def spans(offsets: np.ndarray, length: int, raw: bool) -> dict[int, Any]:
    """The parameters of where a row's operands lie."""
    pieces = straight(offsets, length, *((4, 1) if raw else (2, 2))).pieces
    return {c.SPANS: pieces, c.SPAN_COUNT: len(pieces)}


@pytest.mark.parametrize("classes", [1, 3])
@pytest.mark.parametrize("bits", [15, 17, 18, 20])
def test_flagged_rows_are_all_that_saturated(bits: int, classes: int) -> None:
    limits, flagged, seen, clipped = signed(bits, symmetric=bits == 18), 0, 0, 0
    for seed in range(16):
        x = [(0, 255), (-128, 127), (-200, 55)][seed % 3]
        data = Data(1000 * bits + seed, x, (-127, 127), extreme=seed % 5 == 0)
        shrink = data.rng.choice([1, 2, 10, 60], (len(data.x), 1))
        data.buffer, data.x = data.buffer // shrink, data.x // shrink
        if seed % 4 == 2:
            data.w = data.w // 8
        start = np.zeros(data.outputs, int)
        if seed % 2:
            start = np.clip(data.rng.normal(0, limits[1] / 2, data.outputs).astype(int), *limits)
        job = checked_job(data, int(data.rng.choice([4, 8, 16, 32])), x, limits, start, classes)
        expected, hit = reference(data.x, data.w, start, limits)
        np.testing.assert_array_equal(job.run(int(data.rng.choice([9, 100]))), expected)
        flagged, seen, clipped = flagged + job.counts[0], seen + job.counts[1], clipped + int(hit.sum())
    assert clipped
    assert flagged < seen, "every row was done again: the check proves nothing"


def test_raw_bytes_are_checked_through_their_zero_point() -> None:
    flagged, seen, clipped = 0, 0, 0
    for seed in range(12):
        zero, limits = [0, 128, 200][seed % 3], signed(18)
        x = (-zero, 255 - zero)
        data = Data(seed, x, (-127, 127))
        data.buffer, data.x = (a // data.rng.choice([1, 1, 4], (len(data.x), 1)) for a in (data.buffer, data.x))
        data.x = np.concatenate([data.buffer[:, o // 2 : o // 2 + data.length] for o in data.offsets], 1)
        start = data.rng.integers(-9000, 9000, data.outputs)
        job = checked_job(data, 16, x, limits, start, classes=1 + seed % 2, zero=zero)
        expected, hit = reference(data.x, data.w, start, limits)
        np.testing.assert_array_equal(job.run(), expected)
        flagged, seen, clipped = flagged + job.counts[0], seen + job.counts[1], clipped + int(hit.sum())
    assert clipped
    assert flagged < seen


def hidden(start: int) -> tuple[Data, np.ndarray]:
    """Sums that are back at their start at every end of 16 products, and leave 17 bits in between."""
    data = Data(1, (0, 255), (-127, 127))
    data.offsets, data.length, data.outputs = np.zeros(1, int), 64, 3
    data.buffer = data.x = np.full((9, 64), 255)
    data.w = np.zeros((3, 64), int)
    data.w[1] = np.where(np.arange(64) % 16 < 8, 127, -127)
    data.w[2] = -data.w[1]
    return data, np.full(3, start)


@pytest.mark.parametrize("start", [0, 65535, -65536, 30000])
def test_sums_that_saturate_between_two_checks_are_found(start: int) -> None:
    data, begin = hidden(start)
    expected, hit = reference(data.x, data.w, begin, signed(17))
    assert hit.any()
    np.testing.assert_array_equal(checked_job(data, 16, (0, 255), signed(17), begin).run(), expected)
    blind = checked_job(data, 16, (0, 255), signed(17), begin, room=(1 << 32) - 1)
    assert (blind.run() != expected).any(), "these sums need no check"


@pytest.mark.parametrize("zero", [None, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_room_is_as_large_as_it_may_be_and_no_larger(sign: int, zero: int | None) -> None:
    """The worst that the middle one of three blocks can do to the sum of one output, and the same less one."""
    least, most = (0, 255) if zero is None else (-zero, 255 - zero)
    limits, rng = signed(20), np.random.default_rng(3)
    for case in range(20):
        w = np.zeros(48, int)
        w[0] = w[47] = 1  # so that the block in the middle is neither first nor last
        w[16:32] = np.repeat([sign, -sign], [case % 9 + 4, 12 - case % 9]) * 99
        if case % 2:
            w[16:32] = rng.integers(-127, 128, 16)
        up, down = (np.where(w * side > 0, most, least) for side in (sign, -sign))  # the largest product, the smallest
        x, best, before, after = np.zeros(48, int), -1, 0, 0
        for j in range(17):
            away, back = sign * (up * w)[16 : 16 + j].sum(), -sign * (down * w)[16 + j : 32].sum()
            if min(away, back) > best:
                best, before, after = int(min(away, back)), 0, int(away - back)
                x[16:32] = np.where(np.arange(16) < j, up[16:32], down[16:32])
        for too_far in (0, 1):
            data, _ = hidden(0)
            data.length, data.outputs, data.w = 48, 1, w[None]
            data.buffer = data.x = np.tile(x, (2, 1))
            edge = limits[1] if sign > 0 else -limits[0]
            start = np.array([sign * (edge - best + too_far - max(before, after))])
            expected, hit = reference(data.x, data.w, start, limits)
            assert hit.any() == bool(too_far)
            job = checked_job(data, 16, (least, most), limits, start, zero=zero)
            np.testing.assert_array_equal(job.run(), expected, err_msg=f"{case}")
            assert job.counts == (2 * too_far, 2)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_block_asks_for_room_where_it_starts_too(sign: int) -> None:
    """The second block leaves the register from its start, far from its end; the third has the narrowest room."""
    data, _ = hidden(0)
    data.outputs, data.w = 1, np.zeros((1, 64), int)
    data.w[0, 16:48] = np.repeat([99, -99, -99, 99], [4, 12, 8, 8]) * sign
    data.buffer = data.x = np.where(np.arange(64) < 32, 255, 0)[None].repeat(5, 0)
    for too_far in (0, 1):
        start = np.array([sign * (signed(20, symmetric=True)[1] - 4 * 99 * 255 + too_far)])
        expected, hit = reference(data.x, data.w, start, signed(20, symmetric=True))
        assert hit.any() == bool(too_far)
        job = checked_job(data, 16, (0, 255), signed(20, symmetric=True), start)
        np.testing.assert_array_equal(job.run(), expected)


def test_a_start_outside_the_register_is_refused() -> None:
    data, begin = hidden(65536)
    with pytest.raises(ValueError, match="65536"):
        watch(data.w, checks(data.offsets, 64, 16), LANES, (0, 255), begin, signed(17))


# ---- other CPUs --------------------------------------------------------------------------------------------------

X86 = platform.machine().lower() in ("x86_64", "amd64")
CPUS = {
    "haswell": "+avx2,+avx,+fma,+bmi,+bmi2,+sse4.2,+sse4.1,+ssse3,+popcnt,+f16c,+lzcnt,+movbe",
    "x86-64": "+sse2",
}
AVX512 = f"{CPUS['haswell']},+avx512f,+avx512bw,+avx512vl,+avx512dq"
WITH_VNNI = {"icelake-server": f"{AVX512},+avx512vnni", "alderlake": f"{CPUS['haswell']},+avxvnni"}


def compiled_for(cpu: str, features: str, *command: str) -> str:
    path = os.pathsep.join(str(ROOT / room) for room in (".", "kernels", "models", "tests"))
    env = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""}
    done = subprocess.run([sys.executable, *command], env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.skipif(not X86 or "NUMBA_CPU_NAME" in os.environ, reason="x86 runs what is compiled for lesser ones")
@pytest.mark.parametrize("cpu", CPUS)
def test_other_cpus_give_the_same(cpu: str) -> None:
    some = "of_byte or raw or flagged or after_every_product and 16-" if cpu == "x86-64" else "of_byte or copies"
    command = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", f"({some}) and not cpu", __file__)
    assert "passed" in compiled_for(cpu, CPUS[cpu], *command)


ASSEMBLY = """
import sys
from numba.core.caching import NullCache
from intsim_kernels.checked import checked_routine
from intsim_kernels.native import SIGNATURE
from intsim_kernels.saturating import saturating_routine
from intsim_kernels.wide import dot_routine
r = eval(sys.argv[1])
r._cache = NullCache()
r.compile(SIGNATURE)
print(r.inspect_asm(SIGNATURE))
"""


def innermost(assembly: str, needle: str) -> list[str]:
    """The mnemonics and operands of the loop that contains `needle` most often."""
    loops = []
    lines = assembly.splitlines()
    labels = {line[:-1]: i for i, line in enumerate(lines) if re.match(r"\.LBB\w+:", line)}
    for i, line in enumerate(lines):
        jump = re.match(r"\tj\w+\t(\.LBB\w+)", line)
        if jump and jump[1] in labels and labels[jump[1]] < i:
            body = lines[labels[jump[1]] : i + 1]
            if not any(re.match(r"\.LBB\w+:", inner) for inner in body[1:]):
                loops.append([inner for inner in body if inner.startswith("\t") and not inner.startswith("\t.")])
    return max(loops, key=lambda body: sum(needle in inner for inner in body))


@pytest.mark.skipif(not X86, reason="machine code of x86")
@pytest.mark.parametrize(
    ("cpu", "routine", "needles", "never"),
    [
        ("icelake-server", "saturating_routine('lane 32', 2)", {"vpdpwssds": 32}, "vpm"),
        ("icelake-server", "saturating_routine('ceiling 32', 2)", {"vpdpwssds": 32, "vpmaxsd": 32}, "vpmin"),
        ("icelake-server", "saturating_routine('lane 16', 2)", {"vpmullw": 32, "vpaddsw": 32}, "vpmax"),
        ("icelake-server", "dot_routine('saturating quads', 2)", {"vpmaddubsw": 24}, "vpmul"),
        ("icelake-server", "checked_routine('quads', 2)", {"vpdpbusd": 16}, "vpm"),
        ("alderlake", "saturating_routine('ceiling 32', 2)", {"vpdpwssds": 16, "vpmaxsd": 16}, "vpmin"),
    ],
)
def test_a_cpu_with_vnni_gets_its_instructions(cpu: str, routine: str, needles: dict[str, int], never: str) -> None:
    assembly = compiled_for(cpu, WITH_VNNI[cpu], "-c", ASSEMBLY, routine)
    first = next(iter(needles))
    body = innermost(assembly, first)
    for needle, count in needles.items():
        assert sum(needle in line for line in body) % count == 0, f"{needle}: {body}"
        assert any(needle in line for line in body)
    assert not [line for line in body if never in line or "rsp" in line]
