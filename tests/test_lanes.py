"""Which channels fill a vector of LiteRT's built-in kernels: against what LiteRT gave (tests/golden), and by itself."""

import itertools

import numpy as np
import pytest
from conformance import ours
from conformance.building import KINDS, case, integers
from golden.files import kept
from golden.lanes import older_average
from golden.layers import unpacked
from msgspec.structs import replace

from intsim import TARGETS, engine, oracle
from intsim.check import check
from intsim.errors import IntsimError
from intsim.integers import Overflow, Rounding
from intsim.lower import lower
from intsim.program import Dot, Program, outside
from intsim.quantized import QuantizedGraph, dequantized
from intsim.target import Divide, Extent, FixedPoint, Lanes, Override, Target, ThreeRescales, rules

RUNTIMES = ["litert_ref", "litert_ruy_x86", "litert_xnnpack"]
GOLDEN = kept("lanes")
AVERAGES = [name for name in GOLDEN if name.startswith("average")]
SUMS = [name for name in GOLDEN if name not in AVERAGES]


def source(name: str) -> tuple[QuantizedGraph, np.ndarray]:
    """The network, and the integers of its input in the inside layout."""
    parts = {key: value for key, value in GOLDEN[name].items() if not key.startswith("answer")}
    if name in AVERAGES:
        return older_average(parts, int(name[-1])), parts["x0"]
    layer = unpacked(name, parts)
    return layer.source, layer.x[0]


def expected(name: str, runtime: str, program: Program) -> np.ndarray:
    """The runtime's integers as the machine holds them, in the outside layout."""
    answer, own = GOLDEN[name][f"answer {runtime}"], program.tensors["y"].affine
    return outside(answer).astype(int) + (own.zero - source(name)[0].affines["y"].zero)


def different(name: str, runtime: str, target: Target) -> int:
    """How many integers of the engine are not the runtime's own."""
    network, x = source(name)
    program = lower(network, target)
    y = engine.run(program, {"x0": outside(dequantized(x, network.affines["x0"]))}).integers["y"]
    return int((y != expected(name, runtime, program)).sum())


@pytest.mark.parametrize(("name", "runtime"), list(itertools.product(GOLDEN, RUNTIMES)))
def test_every_integer_is_the_runtime_s_own(name: str, runtime: str) -> None:
    assert different(name, runtime, TARGETS[runtime]) == 0
    network, x = source(name)
    program = lower(network, TARGETS[runtime])
    few = {"x0": outside(dequantized(x[:1], network.affines["x0"]))}
    assert np.array_equal(oracle.run(program, few).integers["y"], expected(name, runtime, program)[:1])


def everywhere(rule: FixedPoint) -> Target:
    """litert_ruy_x86 with this rule for whatever has lanes."""
    target = TARGETS["litert_ruy_x86"]
    own = (*target.overrides, Override(signed_weights=True, requantize=rule))
    return replace(target, overrides=own)


@pytest.mark.parametrize("kind", ["depthwise s8", "upwards"])
@pytest.mark.parametrize("size", [1, 4, 7, 16, 32, None])
def test_the_vectors_are_of_eight_channels(kind: str, size: int | None) -> None:
    """With lanes of any other size, or with none, some of LiteRT's integers are missed."""
    rule = replace(TARGETS["litert_ruy_x86"].requantize, lanes=None if size is None else Lanes(size=size))
    eight = replace(rule, lanes=Lanes(size=8))
    names = [name for name in SUMS if name.startswith(kind)]
    assert sum(different(name, "litert_ruy_x86", everywhere(eight)) for name in names) == 0
    assert sum(different(name, "litert_ruy_x86", everywhere(rule)) for name in names) > 0


@pytest.mark.parametrize("tail", [Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.HALF_TO_ZERO])
def test_the_channels_after_them_round_half_away(tail: Rounding) -> None:
    rule = replace(TARGETS["litert_ruy_x86"].requantize, lanes=Lanes(tail=tail))
    assert sum(different(name, "litert_ruy_x86", everywhere(rule)) for name in SUMS if "u8" not in name) > 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_uint8_averages_round_the_unsigned_integers(runtime: str) -> None:
    signed = replace(TARGETS[runtime], average_pool=Divide(rounding=Rounding.HALF_AWAY))
    assert sum(different(name, runtime, signed) for name in AVERAGES) > 0


# ---- by itself -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 3, 8, 100])
@pytest.mark.parametrize("last", [Rounding.HALF_UP, Rounding.HALF_EVEN, Rounding.FLOOR])
@pytest.mark.parametrize("first", [None, Rounding.HALF_UP])
def test_engine_and_oracle_agree_on_any_lanes(size: int, last: Rounding, first: Rounding | None) -> None:
    rule = FixedPoint(first=first, rounding=last, lanes=Lanes(size=size, tail=Rounding.TO_ZERO))
    network, x = source("depthwise s8 10 times 1, 3x3 by 2, dilated 1")
    program = lower(network, everywhere(rule))
    floats = {"x0": outside(dequantized(x[:1], network.affines["x0"]))}
    assert np.array_equal(engine.run(program, floats).integers["y"], oracle.run(program, floats).integers["y"])


@pytest.mark.parametrize("left", [Overflow.WRAP, Overflow.SATURATE])
@pytest.mark.parametrize("size", [7, 1000])
@pytest.mark.parametrize("of", ["channels", "flat", "blocks"])
def test_engine_and_oracle_agree_on_what_any_place_rounds_to(of: str, size: int, left: Overflow) -> None:
    """Scales far above one, so that the shift to the left leaves its register at most places."""
    rule = FixedPoint(first=Rounding.HALF_UP, lanes=Lanes(size=size, tail=Rounding.FLOOR, of=of, left=left))
    network, x = source("depthwise s8 10 times 1, 3x3 by 2, dilated 1")
    program = lower(network, everywhere(rule))
    (step,) = program.steps
    assert isinstance(step.compute, Dot)
    for exponent in (-7, 22):
        rescale = replace(step.compute.rescale, exponent=np.full(10, exponent))
        changed = replace(step, compute=replace(step.compute, rescale=rescale))
        made = replace(program, steps=(changed,))
        floats = {"x0": outside(dequantized(x[:1], network.affines["x0"]))}
        expected, got = (run(made, floats).integers["y"] for run in (oracle.run, engine.run))
        assert np.array_equal(expected, got)
    plain = replace(rescale, rule=replace(rule, lanes=None), tail=None, tail_place=0)
    other = replace(made, steps=(replace(changed, compute=replace(changed.compute, rescale=plain)),))
    differs = (oracle.run(other, floats).integers["y"] != expected).any((0, 2, 3))
    assert differs.any() == (left is Overflow.SATURATE)
    if of == "blocks" and size < 1000:
        assert not differs[: 10 - 10 % size].any()


def test_a_group_as_large_as_the_channels_is_no_tail() -> None:
    (step,) = lower(source("depthwise s8 16 times 1, 5x5 by 1, dilated 1")[0], TARGETS["litert_ruy_x86"]).steps
    assert isinstance(step.compute, Dot)
    assert step.compute.rescale.tail == 16


@pytest.mark.parametrize("tail", [None, -1, 17])
def test_a_program_whose_tail_is_damaged_ends_in_the_check(tail: int | None) -> None:
    program = lower(source("depthwise s8 16 times 1, 5x5 by 1, dilated 1")[0], TARGETS["litert_ruy_x86"])
    dot = program.steps[0].compute
    assert isinstance(dot, Dot)
    damaged = replace(dot, rescale=replace(dot.rescale, tail=tail))
    broken = replace(program, steps=(replace(program.steps[0], compute=damaged),))
    with pytest.raises(IntsimError, match=r"tail|vector"):
        check(broken)


def test_lanes_are_for_sums_of_products_only() -> None:
    lanes = FixedPoint(lanes=Lanes())
    for other in ({"convert": lanes}, {"multiply": lanes}, {"add": ThreeRescales(requantize=lanes)}):
        with pytest.raises(ValueError, match="lanes"):
            replace(TARGETS["litert_ref"], **other)


@pytest.mark.parametrize("scale", [1.0, 0.3, 0.99 * 2.0**-24, 2.0**-30])
@pytest.mark.parametrize("kind", ["s8", "s16"])
def test_engine_and_oracle_agree_on_operands_that_are_shifted_early(kind: str, scale: float) -> None:
    target = TARGETS["litert_ruy_x86" if kind == "s8" else "litert_16x8_builtin"]
    rng = np.random.RandomState(3)
    own = KINDS[kind]
    x = [integers(rng, own.type, (1, 3, 4, 9)) for _ in range(2)]
    affines = [own.affine(s, z) for s, z in ((1.0, 3), (scale, -5), (2.0, 7))]
    one = case(own, "add", "add", "Add", x, affines[:2], affines[2], (3, 4, 9))
    program = ours.program(one, target)
    assert np.array_equal(ours.run(one, program), ours.run(one, program, oracle.run))


@pytest.mark.parametrize(("places", "products", "outputs"), [(1, 8, 4), (1, 7, 4), (1, 8, 3), (2, 8, 4)])
@pytest.mark.parametrize("signed", [True, False])
@pytest.mark.parametrize("op", ["Conv", "Gemm"])
def test_only_one_place_of_many_products_and_channels_goes_by_the_kernel_of_vectors(
    op: str, signed: bool, places: int, products: int, outputs: int
) -> None:
    extent = Extent(places=places, products=products, outputs=outputs)
    rule = rules(TARGETS["litert_ruy_portable"], op, "dense", True, signed, extent).requantize
    assert isinstance(rule, FixedPoint)
    vector = (places, products, outputs) == (1, 8, 4)
    others = (None, Rounding.HALF_UP) if signed else (Rounding.HALF_UP, Rounding.HALF_AWAY)
    assert (rule.first, rule.rounding) == ((Rounding.HALF_UP, Rounding.HALF_UP) if vector else others)
    assert (rule.lanes is not None) == (not vector and not signed)
    assert rule.float32_product == (op == "Gemm" or not signed)


def test_what_is_shifted_to_the_left_once_does_not_say_what_becomes_of_it() -> None:
    for words in ({"left": Overflow.SATURATE}, {"lanes": Lanes(left=Overflow.SATURATE)}):
        with pytest.raises(ValueError, match="left"):
            FixedPoint(**words)  # type: ignore[arg-type]
