"""Activations of 16 bits, weights of 8, sums and biases of 64: the same integers by oracle and engine, fast."""

from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from nets import every_op, images
from programs import any_input, dot_program
from test_engine import agree

from intsim import IntsimError, archive, engine, oracle
from intsim.graph import Graph, Node
from intsim.integers import IntType, Rounding, affine
from intsim.lower import lower
from intsim.program import Add, Dot
from intsim.quantized import QuantizedGraph
from intsim.target import (
    Bias,
    Cast,
    FixedPoint,
    Level,
    Mac,
    RescaledSum,
    Scheme,
    ShiftedAdd,
    Target,
    ThreeRescales,
)

KEPT = FixedPoint(bits=31, keep=15)
SIXTEEN = Target(
    name="sixteen",
    description="16-bit activations and 8-bit weights, as TFLite's 16x8",
    scheme=Scheme(activations=(IntType(16),), zero_points=False, bias=IntType(64)),
    mac=Mac(levels=(Level(bits=64),)),
    bias=Bias(type=IntType(64)),
    requantize=KEPT,
    mean=RescaledSum(requantize=KEPT, encoding="tflite"),
    add=ThreeRescales(left_shift=15, powers_of_two=ShiftedAdd()),
    convert=KEPT,
)


def gemm(bias: list[int], depth: int = 1200, *, goal: float = 0.05) -> QuantizedGraph:
    """A matrix product of 16-bit integers whose sums go beyond 2^31; its first weights are positive."""
    rng = np.random.default_rng(0)
    outputs = len(bias)
    weight = rng.integers(-127, 128, (outputs, depth)).astype(np.int8)
    weight[0] = np.abs(weight[0])
    graph = Graph(
        name="gemm",
        inputs=("x",),
        outputs=("y",),
        nodes=(Node(name="gemm", op="Gemm", inputs=("x", "w", "b"), outputs=("y",), attributes={}),),
        constants={"w": weight, "b": np.array(bias, np.int64)},
        shapes={"x": (depth,), "y": (outputs,)},
    )
    affines = {
        "x": affine(2.0**-15, 0, "s16"),
        "w": affine([0.01 * (i + 1) for i in range(outputs)], 0, "s8n", 0),
        "b": affine(1.0, 0, "s64"),
        "y": affine(goal, 0, "s16"),
    }
    return QuantizedGraph(graph=graph, affines=affines)


def spread(n: int, depth: int) -> np.ndarray:
    """What 16-bit integers stand for, over all their range, the ends first."""
    x = np.random.default_rng(1).integers(-32768, 32768, (n, depth)).astype(np.int16)
    x[0], x[1] = 32767, -32768
    return x * np.float32(2.0**-15)


def test_a_whole_network_of_16_bit_activations() -> None:
    program = lower(every_op(SIXTEEN.scheme), SIXTEEN)
    used = agree(program, images(3), threads=2)
    assert not any("python" in kernel for kernel in used)


@pytest.mark.parametrize("target", [SIXTEEN, replace(SIXTEEN, requantize=replace(KEPT, doubled=32))])
def test_sums_beyond_32_bits_and_biases_beyond_40_are_exact_and_fast(target: Target) -> None:
    program = lower(gemm([0, 5, -(1 << 42) + 1, (1 << 45) + 3]), target)
    x = spread(9, 1200)
    used = agree(program, x)
    found = oracle.run(program, x, trace=["y:accumulator"]).traced["y:accumulator"]
    assert np.abs(found[:, :2]).max() > 1 << 31
    assert np.abs(found[:, 3]).min() > 1 << 44
    assert engine.describe(program)[0][1].startswith("tiles of pairs in 64 bits"), used
    program = lower(gemm([7, -(1 << 40)]), target)
    agree(program, x)
    outputs = engine.run(program, x).integers["y"]
    assert len(np.unique(outputs)) > 4, "everything saturates: the test says nothing"


def test_the_requantization_of_sixteen_bits_is_one_shift_of_a_product() -> None:
    """y = (acc * M + 2^(14 - e)) >> (15 - e), saturated."""
    program = lower(gemm([7, -(1 << 20), 1 << 25]), SIXTEEN)
    x = spread(40, 1200)
    result = engine.run(program, x, trace=["y:accumulator"])
    rescale = next(step.compute for step in program.steps if isinstance(step.compute, Dot)).rescale
    m, e = rescale.multiplier, rescale.exponent
    assert m.max() < 1 << 15
    expected = (result.traced["y:accumulator"] * m + (1 << 14 - e)) >> (15 - e)
    np.testing.assert_array_equal(result.integers["y"], np.clip(expected, -32768, 32767))


def test_a_program_of_sixteen_bits_comes_back_from_its_file(tmp_path: Path) -> None:
    program = lower(gemm([1 << 45, -3]), SIXTEEN)
    archive.write(program, tmp_path / "sixteen.intsim")
    back = archive.read(tmp_path / "sixteen.intsim")
    x = spread(4, 1200)
    np.testing.assert_array_equal(engine.run(back, x).integers["y"], engine.run(program, x).integers["y"])
    assert engine.run(back, x).integers["y"].dtype == np.int16


def test_any_sum_of_products_of_16_bits() -> None:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        program = dot_program(rng, mac=Mac(levels=(Level(bits=int(rng.choice([40, 48, 64]))),)), x=IntType(16))
        agree(program, any_input(rng, program, 2))


# ---- what lowering does with the rarer words -------------------------------------------------------------------


def test_three_powers_of_two_take_the_rule_made_for_them() -> None:
    def added(sa: float, sb: float, sy: float) -> Add:
        graph = Graph(
            name="add",
            inputs=("a", "b"),
            outputs=("y",),
            nodes=(Node(name="add", op="Add", inputs=("a", "b"), outputs=("y",), attributes={}),),
            constants={},
            shapes={"a": (3, 4), "b": (3, 4), "y": (3, 4)},
        )
        scales = {"a": sa, "b": sb, "y": sy}
        program = lower(
            QuantizedGraph(graph=graph, affines={name: affine(s, 0, "s16") for name, s in scales.items()}), SIXTEEN
        )
        rng = np.random.default_rng(0)
        agree(program, {name: rng.uniform(-70, 70, (5, 3, 4)).astype(np.float32) for name in "ab"})
        return next(step.compute for step in program.steps if isinstance(step.compute, Add))

    assert isinstance(added(2**-9, 2**-8, 2**-8).rule, ShiftedAdd)
    assert isinstance(added(2**-9, 2**-9, 2**-8).rule, ThreeRescales)
    assert isinstance(added(2**-9, 0.003, 2**-9).rule, ThreeRescales)


SHIFTING = replace(
    SIXTEEN,
    name="shifting",
    mac=Mac(
        levels=(Level(bits=48),),
        write_back=Cast(bits=32, shift=6, rounding=Rounding.HALF_AWAY, fraction_bits=4),
    ),
    requantize=FixedPoint(),
)


def test_a_shifted_sum_has_a_coarser_scale_and_a_coarser_bias() -> None:
    """Both are what the network means: outputs stay within one of those without the shift."""
    bias = [6400, -6431, 32, -31]
    graph, x = gemm(bias, goal=0.0005), spread(200, 1200)
    exact = lower(graph, replace(SIXTEEN, requantize=FixedPoint()))
    coarse = lower(graph, SHIFTING)
    agree(coarse, x[:20])
    dots = [next(s.compute for s in p.steps if isinstance(s.compute, Dot)) for p in (exact, coarse)]
    assert dots[1].bias.tolist() == [100, -100, 1, 0]
    assert (dots[1].rescale.exponent - dots[0].rescale.exponent == 6).all()
    found = [engine.run(p, x).integers["y"].astype(int) for p in (exact, coarse)]
    assert np.abs(found[0] - found[1]).max() <= 1
    assert (found[0] != found[1]).any()


def test_a_bias_at_the_start_is_shifted_with_its_sum() -> None:
    early = replace(SHIFTING, bias=Bias(type=IntType(64), when="init"))
    program = lower(gemm([6400, -6431]), early)
    agree(program, spread(5, 1200))
    assert next(s.compute for s in program.steps if isinstance(s.compute, Dot)).bias.tolist() == [6400, -6431]


def test_zero_points_owed_after_a_shift_are_refused() -> None:
    folding = replace(SHIFTING, scheme=replace(SHIFTING.scheme, zero_points=True))
    folding = replace(folding, mac=replace(SHIFTING.mac, zero_point="folded"))
    graph = gemm([1, 2])
    moved = QuantizedGraph(graph=graph.graph, affines={**graph.affines, "x": affine(2.0**-15, 5, "s16")})
    lower(graph, folding)
    with pytest.raises(IntsimError, match="added after the sum was shifted"):
        lower(moved, folding)


def test_biases_that_share_a_power_of_two_are_taken_and_others_refused() -> None:
    sharing = replace(SIXTEEN, bias=Bias(type=IntType(16), shifted=True))
    taken = lower(gemm([32767 << 9, -(32768 << 9), 0, 512]), sharing)
    assert next(s.compute for s in taken.steps if isinstance(s.compute, Dot)).bias.tolist()[3] == 512
    with pytest.raises(IntsimError, match="share a power of two"):
        lower(gemm([32767 << 9, 256]), sharing)
    with pytest.raises(IntsimError, match="the machine takes s16"):
        lower(gemm([32768]), replace(SIXTEEN, bias=Bias(type=IntType(16))))
