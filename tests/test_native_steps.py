"""Every step has routines, and they keep to their rooms: any type and shift of integers, any border, any tail."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from nets import every_op, images
from programs import any_input, one_program, other_program

from intsim import TARGETS, engine, oracle
from intsim.build import build
from intsim.engine import native
from intsim.engine.calls import SCRATCH, tables
from intsim.engine.planning import plan
from intsim.engine.ready import scheduled
from intsim.engine.rooms import Room, bordered, laid_out, room, view
from intsim.integers import Affine, IntType, affine
from intsim.lower import lower
from intsim.program import AveragePool, Convert, Dot, Interpolate, MaxPool, Program, Rearrange, Rescale, Window, inside
from intsim.ranges import intervals
from intsim.target import Bias, FixedPoint, Float32Scale, Level, Mac

MODELS = Path(__file__).parents[1] / "models" / "intsim_models"
MARK = 99
"""What stands in borders that nobody may write to."""


def by_arrays(program: Program) -> list[str]:
    """The steps that have no routines."""
    schedule = scheduled(program, single=False).schedule
    return [step.step.name for part in schedule.parts if part.tables is None for step in part.steps]


@pytest.mark.parametrize("target", TARGETS)
def test_every_op_has_routines(target: str) -> None:
    """But for maps that are mixed in float32, which onnxruntime alone does."""
    program = lower(every_op(TARGETS[target].scheme), TARGETS[target])
    floats = [s.name for s in program.steps if isinstance(s.compute, Interpolate) and s.compute.weights]
    assert by_arrays(program) == floats
    assert bool(floats) == target.startswith("ort_")


@pytest.mark.parametrize("target", ["litert_ref", "ort_x86_avx2", "tflm"])
@pytest.mark.parametrize("name", ["mlp", "lenet5", "cnn", "dscnn", "resnet8"])
def test_the_embedded_networks_have_routines_for_every_step(name: str, target: str) -> None:
    data = np.load(MODELS / "data" / "fashion.npz")
    program = build(MODELS / f"{name}.onnx", TARGETS[target], calibration=data["x_calibration"][:32])
    assert by_arrays(program) == []
    x = data["x"][:2]
    alone = engine.run(program, x, trace=["*"])
    for output, integers in engine.run(program, x).integers.items():
        np.testing.assert_array_equal(integers, alone.integers[output])


def test_threads_and_many_images_change_nothing() -> None:
    program = lower(every_op(TARGETS["tflm"].scheme), TARGETS["tflm"])
    x = np.concatenate([images(97, seed=seed) for seed in range(6)])
    most = scheduled(program, single=False).schedule.images
    assert len(x) > 2 * most, "one chunk takes them all"
    alone = np.concatenate([engine.run(program, x[i : i + 1], threads=1).integers["gemm_y"] for i in range(0, 582, 29)])
    for threads in (1, 2, 3):
        np.testing.assert_array_equal(engine.run(program, x, threads=threads).integers["gemm_y"][::29], alone)


# ---- one step between rooms of any kind ------------------------------------------------------------------------


KINDS = [("int16", "int16"), ("uint8", "uint8"), ("uint8", "int16"), ("int16", "uint8"), ("int32", "int32")]


def any_rooms(rng: np.random.Generator, program: Program) -> dict[str, Room]:
    """Rooms for a Program of one step: bytes with a shift, int16 or int32 (few pairs: each is compiled), borders."""
    chosen = KINDS[rng.integers(len(KINDS))]
    rooms = {}
    for name, tensor in program.tensors.items():
        kind, dtype = tensor.affine.type, chosen[name == "y"]
        if kind.bits > 8 and dtype == "uint8":
            dtype = "int16"
        if kind.bits > 15 and not kind.signed:
            dtype = "int32"
        one = room(tensor.shape, dtype, -kind.low if dtype == "uint8" else 0)
        border = tuple(int(n) for n in rng.integers(0, 4, 4)) if rng.integers(3) else (0, 0, 0, 0)
        rooms[name] = replace(one, border=border, fill=MARK)
    return rooms


def between(program: Program, x: dict[str, np.ndarray], rooms: dict[str, Room]) -> np.ndarray | None:
    """The one step's output by its routines between these rooms; None where it has none there."""
    count = len(next(iter(x.values())))
    placed, size = laid_out(rooms, SCRATCH, count)
    parts = native.native(program, plan(program).steps[0], placed, intervals(program))
    if parts is None:
        return None
    arena = np.zeros(size + 64, np.uint8)
    arena = arena[-arena.ctypes.data % 64 :][:size]
    before = {}
    for name, at in placed.items():
        view(arena, at, count, border=True)[...] = at.fill
        if name in x:
            view(arena, at, count)[...] = inside(x[name]).reshape(view(arena, at, count).shape).astype(int) + at.shift
        before[name] = view(arena, at, count, border=True).copy()
    from intsim_kernels.native import run

    found = tables(parts)
    run(found.steps, found.calls, arena.ctypes.data, count)
    for name, at in placed.items():
        after = view(arena, at, count, border=True).copy()
        if name not in x:
            hole = np.s_[:, at.border[0] : at.border[0] + at.height, at.border[1] : at.border[1] + at.width]
            after[hole] = before[name][hole]
        np.testing.assert_array_equal(after, before[name], err_msg=f"{name} was written to where it may not be")
    return view(arena, placed["y"], count).astype(np.int64) - placed["y"].shift


def between_rooms_of_every_kind(program: Program, rng: np.random.Generator, images: int = 2) -> int:
    """Asserts that the step equals the oracle between random rooms; how often it had routines."""
    x = any_input(rng, program, images)
    right = inside(oracle.run(program, x).integers["y"]).astype(np.int64)
    compute, done = program.steps[0].compute, 0
    for _ in range(3):
        rooms = any_rooms(rng, program)
        if isinstance(compute, Dot | AveragePool) and any(compute.window.begin + compute.window.end):
            bare = replace(rooms["x0"], border=(0, 0, 0, 0))
            rooms["x0"] = bordered(bare, [compute.window], compute.input_zero_point)
        found = between(program, x, rooms)
        if found is not None:
            done += 1
            np.testing.assert_array_equal(found.reshape(right.shape), right, err_msg=f"{compute} {rooms}")
    return done


@pytest.mark.parametrize("seed", range(8))
def test_any_step_between_any_rooms(seed: int) -> None:
    done = [
        between_rooms_of_every_kind(other_program(rng), rng) for rng in map(np.random.default_rng, range(seed, 160, 8))
    ]
    assert sum(done) > 30, "hardly anything had routines"


WINDOWS = [
    Window(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), begin=(1, 1), end=(1, 1)),
    Window(kernel=(2, 3), strides=(2, 1), dilations=(1, 2), begin=(0, 2), end=(1, 0)),
    Window(kernel=(4,), strides=(3,), dilations=(1,), begin=(2,), end=(1,)),
    Window(kernel=(1, 1), strides=(1, 2), dilations=(1, 1), begin=(0, 0), end=(0, 0)),
]
U8, S8 = IntType(8, signed=False), IntType(8)


def shape_for(window: Window, channels: int) -> tuple[int, ...]:
    return (*((5, 6) if len(window.kernel) == 2 else (9,)), channels)


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: str(window.kernel))
@pytest.mark.parametrize("channels", [1, 5, 8, 16, 31, 33, 65])
def test_the_largest_of_any_window_and_number_of_channels(channels: int, window: Window) -> None:
    rng = np.random.default_rng(channels)
    kind = affine(0.1, 3, S8)
    program = one_program(MaxPool(window=window), [shape_for(window, channels)], [kind], kind)
    assert between_rooms_of_every_kind(program, rng) == 3


def depthwise(window: Window, channels: int, multiplier: int, rng: np.random.Generator, mac: Mac, kind: Affine) -> Dot:
    outputs = channels * multiplier
    scale = rng.uniform(0.001, 0.004, outputs)
    rule = [Float32Scale(), FixedPoint(first=None)][rng.integers(2)]
    mantissa, e = np.frexp(scale)
    numbers = {"multiplier": scale.astype(np.float32)}
    if isinstance(rule, FixedPoint):
        numbers = {"multiplier": (mantissa * (1 << rule.bits)).astype(np.int64), "exponent": e.astype(np.int64)}
    return Dot(
        window=window,
        group=channels,
        weight=rng.integers(-128, 128, (outputs, *window.kernel, 1)).astype(np.int8),
        weight_zero_point=rng.integers(-9, 9, outputs),
        bias=rng.integers(-4000, 4000, outputs),
        input_zero_point=kind.zero,
        mac=mac,
        bias_rule=Bias(),
        rescale=Rescale(rule=rule, zero_point=-5, low=-128, high=127, **numbers),
    )


@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: str(window.kernel))
@pytest.mark.parametrize(
    ("channels", "multiplier"), [(2, 1), (8, 1), (16, 1), (17, 1), (40, 1), (3, 2), (9, 3), (5, 8), (2, 16), (2, 37)]
)
def test_depthwise_of_any_window_channels_and_multiplier(channels: int, multiplier: int, window: Window) -> None:
    rng, done = np.random.default_rng(channels * multiplier), 0
    for mac in (Mac(levels=(Level(bits=32),)), Mac(levels=(Level(bits=13),))):
        source = affine(0.1, int(rng.integers(0, 256)), U8)
        dot = depthwise(window, channels, multiplier, rng, mac, source)
        program = one_program(dot, [shape_for(window, channels)], [source], affine(0.1, -5, S8))
        done += between_rooms_of_every_kind(program, rng, images=1)
    assert done >= 2


def test_depthwise_sums_wrap_and_saturate_at_the_end_only() -> None:
    """More rows than a block, more places than a tile, and a last tile that is not full."""
    rng = np.random.default_rng(3)
    window = Window(kernel=(3, 3), strides=(1, 1), dilations=(1, 1), begin=(1, 1), end=(1, 1))
    source = affine(0.1, 7, S8)
    dot = depthwise(window, 20, 1, rng, Mac(levels=(Level(bits=12),)), source)
    program = one_program(dot, [(21, 23, 20)], [source], affine(0.1, -5, S8))
    x = any_input(rng, program, 3)
    trace = ["y:accumulator"]
    right = engine.run(program, x, trace=trace)
    assert np.abs(right.traced["y:accumulator"]).max() > 2000, "nothing wraps"
    np.testing.assert_array_equal(engine.run(program, x).integers["y"], right.integers["y"])


def test_a_transposition_and_a_plain_copy() -> None:
    rng = np.random.default_rng(0)
    kind = affine(0.1, 0, S8)
    for shape, order in (((5, 3, 7), (2, 0, 1)), ((5, 3, 1), (2, 0, 1)), ((1, 1, 40), (2, 0, 1)), ((6, 8), (0, 1))):
        flat = Rearrange(before=order, shape=(int(np.prod(shape)),), after=(0,))
        assert between_rooms_of_every_kind(one_program(flat, [shape], [kind], kind), rng) == 3
    back = Rearrange(before=(0,), shape=(4, 3, 5), after=(1, 2, 0))
    assert between_rooms_of_every_kind(one_program(back, [(60,)], [kind], kind), rng) == 3


def test_steps_on_integers_that_routines_do_not_hold_run_by_arrays() -> None:
    """Tables have 2^16 entries at most; the integers are right all the same."""
    rng = np.random.default_rng(5)
    wide, out = affine(0.001, 0, IntType(20)), affine(0.1, 0, S8)
    rescale = Rescale(rule=Float32Scale(), zero_point=0, low=-128, high=127, multiplier=np.array([1e-4], np.float32))
    convert = Convert(axis=0, input_zero_points=(0,), rescales=(rescale,))
    program = one_program(convert, [(4, 4, 3)], [wide], out)
    assert by_arrays(program) == ["step"]
    x = any_input(rng, program, 2)
    np.testing.assert_array_equal(engine.run(program, x).integers["y"], oracle.run(program, x).integers["y"])
