"""The engine equals the oracle: every integer, every accumulator, every count, on every machine and rule."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from nets import every_op, images
from programs import any_input, any_program, dot_program, other_program

from intsim import TARGETS, IntsimError, engine, oracle
from intsim.build import build
from intsim.engine import planning
from intsim.integers import IntType, Overflow
from intsim.lower import lower
from intsim.program import Dot, Program
from intsim.target import Level, Mac, Target
from intsim.targets import with_accumulator
from intsim_kernels import cpu

MODELS = Path(__file__).parents[1] / "models" / "intsim_models"

unhurried = settings(deadline=None, max_examples=150)


def everything(program: Program) -> list[str]:
    sums = [step.outputs[0] for step in program.steps if isinstance(step.compute, Dot)]
    return ["*", *(f"{name}:accumulator" for name in sums)]


def agree(program: Program, x: object, *, threads: int = 1) -> tuple[str, ...]:
    """Asserts that engine and oracle give the same, counting or not; the kernels that did it."""
    trace = everything(program)
    right = oracle.run(program, x, trace=trace, count=True)
    used = []
    for count in (False, True):
        found = engine.run(program, x, trace=trace, count=count, threads=threads)
        used += [kernel for _, kernel, _ in engine.describe(program, count=count)]
        assert found.traced.keys() == right.traced.keys()
        for name, integers in right.traced.items():
            assert found.traced[name].dtype == integers.dtype, name
            np.testing.assert_array_equal(found.traced[name], integers, err_msg=f"{name} by {used}")
        for name, logits in right.logits.items():
            np.testing.assert_array_equal(found.integers[name], right.integers[name])
            np.testing.assert_array_equal(found.logits[name], logits)
        assert found.overflows == (right.overflows if count else {})
    for some in (["*"], []):  # without accumulators to be seen, other kernels run: step by step, or all at once
        found = engine.run(program, x, trace=some, threads=threads)
        for name, integers in found.traced.items():
            np.testing.assert_array_equal(integers, right.traced[name], err_msg=f"{name} by {used}, {some}")
        for name, integers in right.integers.items():
            np.testing.assert_array_equal(found.integers[name], integers, err_msg=f"{name} by {used}, {some}")
    return tuple(used)


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_every_machine_and_op(target: Target) -> None:
    agree(lower(every_op(target.scheme), target), images(3), threads=2)


@pytest.mark.parametrize("overflow", Overflow)
@pytest.mark.parametrize(("bits", "tile"), [(8, None), (12, 2), (14, 5)])
def test_every_machine_with_another_accumulator(bits: int, tile: int | None, overflow: Overflow) -> None:
    for name in ("litert_ref", "litert_xnnpack", "gemmini_ws"):
        target = with_accumulator(TARGETS[name], bits, overflow, tile)
        program = lower(every_op(target.scheme, seed=bits), target)
        agree(program, images(2))
        counted = engine.run(program, images(2), count=True).overflows
        assert sum(step.adds for step in counted.values()) > 0, "nothing overflowed"


@unhurried
@given(st.integers(0, 2**60))
def test_any_sum_of_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = dot_program(rng)
    agree(program, any_input(rng, program, 2))


@unhurried
@given(st.integers(0, 2**60))
def test_any_other_step(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = other_program(rng)
    agree(program, any_input(rng, program, 2), threads=2)


def embedded(name: str, target: Target) -> Program:
    data = np.load(MODELS / "data" / "fashion.npz")
    return build(MODELS / f"{name}.onnx", target, calibration=data["x_calibration"][:64])


def fashion(images: int) -> np.ndarray:
    return np.load(MODELS / "data" / "fashion.npz")["x"][:images]


@pytest.mark.parametrize("target", ["litert_ref", "ort_x86_avx2"])
def test_a_whole_network(target: str) -> None:
    agree(embedded("mlp", TARGETS[target]), fashion(2))


def test_a_clip_from_signed_integers_to_what_unsigned_bytes_hold() -> None:
    """The steps of DS-CNN one by one: bytes are wanted of a Clip whose own input they do not hold."""
    program = embedded("dscnn", with_accumulator(TARGETS["gemmini_ws"], 18, Overflow.SATURATE, 4))
    sums = f"{next(step.outputs[0] for step in program.steps if isinstance(step.compute, Dot))}:accumulator"
    right = engine.run(program, fashion(2), trace=["*", sums]).traced
    for name, integers in engine.run(program, fashion(2), trace=["*"]).traced.items():
        np.testing.assert_array_equal(integers, right[name], err_msg=name)


def test_a_whole_network_whose_accumulators_saturate() -> None:
    """LeNet-5 with 14 bits: some channels are proven, others saturate in their order."""
    program = embedded("lenet5", with_accumulator(TARGETS["litert_ref"], 14, Overflow.SATURATE))
    used = agree(program, fashion(1))
    assert any("saturate" in kernel or "checked" in kernel for kernel in used)
    assert any("clamped" in step.kernel for step in planning.plan(program).steps)
    assert sum(step.outputs for step in engine.run(program, fashion(1), count=True).overflows.values()) > 0


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", ["mlp", "lenet5", "cnn", "dscnn", "resnet8"])
def test_whole_networks_on_every_machine_that_takes_them(name: str, target: str) -> None:
    try:
        program = embedded(name, TARGETS[target])
    except IntsimError as reason:
        pytest.skip(str(reason))
    agree(program, fashion(1))


PAIRS = Level(size=2, bits=16, overflow=Overflow.SATURATE)


QUADS = "tiles of saturating quads" if cpu.PAIRS_OF_BYTES else "saturating tiles"
REGISTER = ", a register that saturates"


@pytest.mark.parametrize(
    ("arrays", "routine", "mac"),
    [
        ("dense", "tiles of", Mac(levels=(Level(bits=None),))),
        ("dense, wrapped", "tiles of", Mac(levels=(Level(bits=13),))),
        ("dense, wrapped", "tiles of", Mac(levels=(Level(size=3, bits=20), Level(bits=13)))),
        ("clamped", "16-bit lanes that saturate", Mac(levels=(Level(bits=10, overflow=Overflow.SATURATE),))),
        (
            "clamped",
            "checked tiles, flagged rows again in 32-bit lanes",
            Mac(levels=(Level(bits=18, overflow=Overflow.SATURATE),)),
        ),
        ("pairs", QUADS, Mac(levels=(PAIRS, Level()), zero_point="folded")),
        ("pairs", "saturating tiles in", Mac(levels=(PAIRS, Level(bits=21)), order="chw")),
        (
            "clamped",
            f"saturating tiles in blocks{REGISTER}",
            Mac(levels=(replace(PAIRS, bits=14), Level(bits=17, overflow=Overflow.SATURATE))),
        ),
        (
            "clamped",
            f"exact tiles in blocks{REGISTER}",
            Mac(levels=(Level(size=5, bits=None), Level(bits=13, overflow=Overflow.SATURATE_SYM))),
        ),
        (
            "clamped",
            f"exact tiles in steps{REGISTER}",
            Mac(levels=(Level(size=4, bits=None), Level(bits=15, overflow=Overflow.SATURATE))),
        ),
        ("tree", "by arrays: tree", Mac(levels=(Level(size=3, bits=12), Level(bits=20)))),
        (
            "tree",
            "by arrays: tree",
            Mac(levels=(Level(size=4, bits=13, first_only=True), Level(bits=15, overflow=Overflow.SATURATE))),
        ),
    ],
)
def test_each_accumulator_gets_its_kernels_and_keeps_its_bits(arrays: str, routine: str, mac: Mac) -> None:
    """On 8-bit integers at the ends of their range, so that every register overflows that can."""
    found: Counter[str] = Counter()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        program = dot_program(rng, mac=mac, x=IntType(8, signed=False))
        found[agree(program, any_input(rng, program, 2))[0].split(";")[0]] += 1
        found[planning.plan(program).steps[0].kernel.split(";")[0]] += 1
    for kernel in (arrays, routine):
        assert (
            sum(n for name, n in found.items() if kernel in name or kernel.replace("dense", "grouped") in name) >= 2
        ), found


def test_random_programs_reach_every_kernel() -> None:
    """Otherwise the tests above would prove nothing of the ones that are missed."""
    reached: set[str] = set()
    for seed in range(600):
        program = any_program(np.random.default_rng(seed))
        kernels = [step.kernel for count in (False, True) for step in planning.plan(program, count=count).steps]
        kernels += [kernel for _, kernel, _ in engine.describe(program)]
        for kernel in kernels:
            reached.update(kernel.replace(" + ", "; ").split("; "))
    assert reached >= {
        *("dense", "dense, wrapped", "grouped", "grouped, wrapped", "clamped", "pairs", "counted", "tree"),
        *("doubled", "fixed_point", "fixed_point_wide", "float_scale", "thresholds"),
        *("largest", "total", "float32_average", "float32_add", "clipped_add", "fixed_point, three times", "numpy"),
        *("tiles of pairs", "depthwise", "by arrays: tree"),
    }
    assert any(kernel.endswith("lanes that saturate") for kernel in reached)


def test_threads_and_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    target = with_accumulator(TARGETS["cmsis_nn_s8"], 14, Overflow.SATURATE)
    program = lower(every_op(target.scheme), target)
    x = images(23)
    alone = engine.run(program, x, trace=everything(program), count=True, threads=1)
    monkeypatch.setattr(planning, "CHUNK_BYTES", 1)  # one image at a time
    for threads in (1, 2, 3):
        found = engine.run(program, x, trace=everything(program), count=True, threads=threads)
        assert found.overflows == alone.overflows
        for name, integers in alone.traced.items():
            np.testing.assert_array_equal(found.traced[name], integers)


def test_tensors_are_let_go_of_unless_they_are_traced() -> None:
    """After the last step, nothing is left but what an output still needs."""
    program = lower(every_op(TARGETS["tflm"].scheme), TARGETS["tflm"])
    steps = planning.plan(program).steps
    dead = [name for step in steps for name in step.last]
    assert sorted(dead) == sorted(program.tensors)
    result = engine.run(program, images(5), trace=["relu"])
    assert set(result.traced) == {"relu_y"}
    assert set(result.integers) == set(result.logits) == {"gemm_y"}


def test_progress_counts_images() -> None:
    program = lower(every_op(TARGETS["tflm"].scheme), TARGETS["tflm"])
    seen: list[tuple[int, int]] = []
    engine.run(program, images(9), threads=2, progress=lambda done, of: seen.append((done, of)))
    assert seen[-1] == (9, 9)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


def test_float_images_and_pixels_give_the_same_integers() -> None:
    program = lower(every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"])
    pixels = images(4)
    floats = (pixels / np.float32(255)).astype(np.float32)
    np.testing.assert_array_equal(
        engine.run(program, pixels).integers["gemm_y"], engine.run(program, floats).integers["gemm_y"]
    )


def test_no_images_give_no_integers() -> None:
    program = lower(every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"])
    assert engine.run(program, images(1)[:0], count=True).integers["gemm_y"].shape == (0, 5)


def test_bad_input_is_refused_in_one_line() -> None:
    program = lower(every_op(TARGETS["litert_ref"].scheme), TARGETS["litert_ref"])
    nan = np.full((3, 2, 6, 6), np.nan, np.float32)
    for call, reason in (
        (lambda: engine.run(program, images(2)[:, :1]), r"\(2, 1, 6, 6\).*\(n, 2, 6, 6\)"),
        (lambda: engine.run(program, nan), "NaN or infinity, first in sample 0"),
        (lambda: engine.run(program, images(2).astype(np.int64)), "holds int64"),
        (lambda: engine.run(program, images(1), threads=0), "0 threads"),
        (lambda: engine.run(program, images(1), trace=["nothing"]), 'no tensor or step is called "nothing"'),
        (lambda: engine.run(program, images(1), trace=["relu:accumulator"]), "has no accumulator"),
    ):
        with pytest.raises(IntsimError, match=reason) as raised:
            call()
        assert "\n" not in str(raised.value)


# ---- compiled kernels on disk ----------------------------------------------------------------------------------

SCRIPT = """
import sys; sys.path[:0] = {paths}
import numpy as np
from intsim_kernels.compiled import announced
from intsim_kernels.overflow import hold
values = np.array([1000, -1000])
with announced(print):
    hold(values, 8, 1)
print(*values)
"""


def test_kernels_are_kept_on_disk_and_compiled_anew_when_any_source_changes(tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "kernels" / "intsim_kernels"
    copy = tmp_path / "intsim_kernels"
    copy.mkdir()
    for file in source.glob("*.py"):
        (copy / file.name).write_text(file.read_text())

    def run() -> list[str]:
        script = SCRIPT.format(paths=[str(tmp_path)])
        command = [sys.executable, "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\n")[:-1]

    assert run() == ["hold", "clamp", "wrap", "held", "127 -128"]
    assert run() == ["127 -128"]
    other = copy / "window.py"
    other.write_text(other.read_text() + "\n# changed\n")
    assert run() == ["hold", "clamp", "wrap", "held", "127 -128"]


def test_importing_intsim_compiles_and_loads_nothing() -> None:
    script = "import sys, intsim, intsim.engine; assert 'numba' not in sys.modules, 'numba is loaded'"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[1])
