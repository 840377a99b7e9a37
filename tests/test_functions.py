"""Functions of activations, pairs of operands: the runtimes' integers, the engine, files, and what is refused."""

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from golden.functions import Case, cases
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from one_node import network
from onnx_text import difference, normalised, saved
from programs import any_input, lookup_program, one_program, pair_program, softmax_program
from small_networks import same
from test_engine import agree

from intsim import TARGETS, IntsimError, engine, oracle
from intsim.arithmetic import gemmlowp, real, table
from intsim.calibrate import ranges
from intsim.calibrate.forward import forward
from intsim.check import check
from intsim.graph import Graph
from intsim.integers import IntType, Overflow, Rounding, affine
from intsim.lower import lower
from intsim.onnx_io import read_quantized, write_qdq
from intsim.program import Add, Extreme, Lookup, Softmax, outside
from intsim.quantize import quantize, saturated
from intsim.quantized import dequantized
from intsim.target import (
    ExactFunction,
    FixedPoint,
    Float32Scale,
    Float32Softmax,
    FloatFunction,
    Functions,
    Gemmlowp,
    GemmlowpSoftmax,
    Interpolated,
    InterpolatedSoftmax,
    QuotientSoftmax,
    Sampled,
    ShortSlopes,
    Target,
    TwoSlopes,
)
from intsim.targets.functions import EXACT

CASES = cases("functions") | {f"ort_{k}": v for k, v in cases("ort_functions").items()}
WIDE = {
    "litert_ref": "litert_16x8",
    "litert_ruy_x86": "litert_16x8_builtin",
    "litert_xnnpack": "litert_16x8_builtin",
    "tflm": "tflm_16x8",
}
"""The machine of 16 bits."""


def machine(case: Case, runtime: str) -> Target:
    return TARGETS[WIDE[runtime] if case.kind.endswith("16") else runtime]


def wrong(case: Case, target: Target, runtime: str) -> int:
    """How many integers differ from the runtime's."""
    found = engine.run(lower(case.source, target), case.x, threads=1).integers["y"]
    return int((found != outside(case.answers[runtime].reshape(_inside(case)))).sum())


def _inside(case: Case) -> tuple[int, ...]:
    *_, channels = (shape := case.source.graph.shapes["y"])[1:] + shape[:1]
    return (-1, *shape[1:], channels)


# ---- the runtimes' integers ------------------------------------------------------------------------------------


def in_turn(names: Iterable[str], late: Callable[[str], bool]) -> list[Any]:
    """The names, those that are `late` among the slow tests."""
    return [pytest.param(name, marks=pytest.mark.slow if late(name) else ()) for name in names]


@pytest.mark.parametrize("name", in_turn(CASES, lambda name: name.split("_")[0].endswith("16") and int(name[-1]) > 2))
def test_every_integer_is_the_runtime_s_own(name: str) -> None:
    case, compared = CASES[name], 0
    for runtime, answer in case.answers.items():
        target = machine(case, runtime)
        expected = outside(answer.reshape(_inside(case)))
        program = lower(case.source, target)
        assert np.array_equal(engine.run(program, case.x, threads=1).integers["y"], expected), runtime
        few = {key: x[:1] for key, x in case.x.items()}
        assert np.array_equal(oracle.run(program, few).integers["y"], expected[:1]), runtime
        compared += 1
    assert compared in (1, 4)


OTHERS = {
    ("logistic", "litert_ref"): {"sigmoid": [Gemmlowp(), ExactFunction()]},
    ("logistic", "litert_xnnpack"): {"sigmoid": [FloatFunction(), ExactFunction()]},
    ("logistic", "tflm"): {"sigmoid": [FloatFunction()]},
    ("tanh", "litert_ref"): {"tanh": [Gemmlowp(), ExactFunction()]},
    ("tanh", "litert_xnnpack"): {"tanh": [FloatFunction()]},
    ("tanh", "tflm"): {"tanh": [FloatFunction()]},
    ("logistic16", "tflm"): {"sigmoid": [ExactFunction()]},
    ("tanh16", "tflm"): {"tanh": [ExactFunction()]},
    ("logistic16", "litert_ruy_x86"): {"sigmoid": [Interpolated()]},
    ("tanh16", "litert_xnnpack"): {"tanh": [Interpolated()]},
    ("softmax16", "litert_ref"): {
        "softmax": [
            QuotientSoftmax(),
            InterpolatedSoftmax(precision="float32"),
            InterpolatedSoftmax(requantize=FixedPoint(first=Rounding.HALF_UP, rounding=Rounding.HALF_AWAY)),
        ]
    },
    ("hard_swish", "tflm"): {"hard_swish": [ExactFunction(), FloatFunction()]},
    ("leaky_relu", "tflm"): {"leaky_relu": [ExactFunction(), FloatFunction(), ShortSlopes()]},
    ("leaky_relu", "litert_xnnpack"): {"leaky_relu": [ExactFunction(), FloatFunction(), TwoSlopes()]},
    ("prelu", "tflm"): {"prelu": [ExactFunction(), FloatFunction()]},
    ("softmax", "tflm"): {"softmax": [Float32Softmax(), QuotientSoftmax()]},
    ("softmax", "litert_xnnpack"): {"softmax": [GemmlowpSoftmax()]},
}


@pytest.mark.parametrize(("kind", "runtime"), OTHERS)
def test_the_vectors_tell_the_rules_apart(kind: str, runtime: str) -> None:
    """A comparison that every rule would pass proves nothing.

    XNNPACK's tables and gemmlowp's differ so rarely that these vectors hold no such place.
    """
    some = [case for name, case in CASES.items() if case.kind == kind and not name.startswith("ort_")]
    some = some[:4] if kind in ("logistic16", "tanh16") else some
    for field, rules in OTHERS[kind, runtime].items():
        for rule in rules:
            found = 0
            for case in some:
                right = machine(case, runtime)
                found += wrong(case, replace(right, functions=replace(right.functions, **{field: rule})), runtime)
            assert found > 0, rule


def test_the_products_tell_the_machines_apart() -> None:
    some = [case for name, case in CASES.items() if name.startswith("mul_")]
    assert sum(wrong(case, TARGETS["litert_xnnpack"], "tflm") for case in some) > 0
    ort = [case for name, case in CASES.items() if name.startswith("ort_mul")]
    other = replace(TARGETS["ort_x86_avx2"], multiply=Float32Scale())
    assert sum(wrong(case, other, "ort_x86_avx2") for case in ort) > 0


# ---- functions of numbers --------------------------------------------------------------------------------------


FUNCTIONS = {
    "Sigmoid": lambda v: 1 / (1 + math.exp(-v)),
    "Tanh": math.tanh,
    "HardSwish": lambda v: v * min(max(v + 3, 0), 6) / 6,
    "Elu": lambda v: v if v >= 0 else 0.5 * math.expm1(v),
    "Softplus": lambda v: math.log1p(math.exp(v)),
    "LeakyRelu": lambda v: v if v >= 0 else 0.5 * v,
    "HardSigmoid": lambda v: min(max(0.5 * v + 0.5, 0), 1),
    "Gelu": lambda v: v * (1 + math.erf(v / math.sqrt(2))) / 2,
    "GeluTanh": lambda v: v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))) / 2,
    "Mish": lambda v: v * math.tanh(math.log1p(math.exp(v))),
    "Rsqrt": lambda v: 1 / math.sqrt(max(v, 0) + 0.5),
}


@pytest.mark.parametrize("name", [*FUNCTIONS])
def test_exact_tables_hold_the_nearest_integers(name: str) -> None:
    x, y = affine(0.05, 3, "s8"), affine(2**-7, -5, "s16")
    found = table(ExactFunction(), name, x, y, Overflow.SATURATE, 0.5)
    floats = np.array([FUNCTIONS[name](x.scale[0] * (q - 3)) for q in range(-128, 128)]) / 2**-7 - 5
    assert np.abs(found - floats).max() <= 0.5 + 1e-9


@pytest.mark.parametrize("name", ["Gelu", "GeluTanh", "Mish", "Rsqrt", "HardSigmoid"])
def test_float64_gives_the_float32_nearest_to_the_exact_function(name: str) -> None:
    from fractions import Fraction

    for v in [0.0, -0.0, 1e-20, -19.5, 19.5, 21.0, -30.0, *np.random.default_rng(0).normal(size=60) * 6]:
        x = Fraction(float(np.float32(v)))
        assert real.single(name, x, Fraction(1, 2)) == real.nearest32(real.function(name, x, Fraction(1, 2)))


@pytest.mark.parametrize("name", ["Gelu", "GeluTanh", "Mish", "Rsqrt", "HardSigmoid"])
def test_float_tables_lie_within_half_a_step_and_what_float32_lacks(name: str) -> None:
    x, y = affine(0.05, 3, "s8"), affine(2**-7, -5, "s16")
    found = table(FloatFunction(), name, x, y, Overflow.SATURATE, 0.5)
    floats = np.array([FUNCTIONS[name](x.scale[0] * (q - 3)) for q in range(-128, 128)]) / 2**-7 - 5
    assert np.abs(found - floats).max() <= 0.5 + 1e-3


def test_gemmlowp_s_functions_are_near_the_real_ones() -> None:
    for a in range(-(1 << 31), 0, 77777777):
        assert abs(gemmlowp.exp_of_negative(a, 5) / 2**31 - math.exp(a / 2**26)) < 2e-7
        assert abs(gemmlowp.logistic(a, 4) / 2**31 - 1 / (1 + math.exp(-a / 2**27))) < 2e-7
        assert abs(gemmlowp.tanh(a, 4) / 2**31 - math.tanh(a / 2**27)) < 2e-7
        assert gemmlowp.tanh(-a - 1, 4) == -gemmlowp.tanh(a + 1, 4)


def test_nearest32_rounds_once() -> None:
    from fractions import Fraction

    tie = Fraction(2**24 + 1)
    assert real.nearest32(tie) == 2**24
    assert real.nearest32(tie + Fraction(1, 2**60)) == 2**24 + 2
    assert real.nearest32(Fraction(1, 2**150)) == 0
    assert real.nearest32(Fraction(3, 2**150)) == np.float32(2.0**-148)
    assert np.isinf(real.nearest32(Fraction(2**128)))
    for v in np.random.default_rng(0).normal(size=200) * 10.0 ** np.arange(-40, 40).repeat(3)[:200]:
        assert real.nearest32(Fraction(float(v))) == np.float32(v)


def test_samples_are_found_towards_zero_and_end_at_the_reach() -> None:
    """hls4ml's sigmoid: 1024 samples from -8 on, index int(x * 64) + 512."""
    x, y = affine(2**-7, 0, "s12"), affine(2**-10, 0, "s18")
    found = table(Sampled(), "Sigmoid", x, y, Overflow.SATURATE)
    for q in range(-2048, 2048, 37):
        place = min(max(math.trunc(q / 2) + 512, 0), 1023)
        assert found[q + 2048] == math.floor(1024 / (1 + math.exp(-(place - 512) / 64)))


# ---- engine and oracle -----------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**60))
def test_any_pair_table_and_softmax_runs_as_it_is_defined(seed: int) -> None:
    rng = np.random.default_rng(seed)
    program = (pair_program, pair_program, softmax_program, lookup_program)[seed % 4](rng)
    agree(program, any_input(rng, program, 2))


def test_broadcasting_is_spelling_out() -> None:
    rng, target = np.random.default_rng(1), TARGETS["tflm"]
    a, b, y = affine(0.05, 3, "s8"), affine(0.03, -9, "s8"), affine(0.1, 1, "s8")
    whole, small = (rng.integers(-128, 128, shape).astype(np.int8) for shape in ((2, 4, 5, 6), (2, 4, 1, 1)))
    spread = np.ascontiguousarray(np.broadcast_to(small, whole.shape))
    for op in ("Add", "Sub", "Mul"):
        found = []
        for second in (small, spread):
            source = network(op, [(whole.shape[1:], a), (second.shape[1:], b)], (whole.shape[1:], y))
            x = {"x0": dequantized(whole, a), "x1": dequantized(second, b)}
            found.append(engine.run(lower(source, target), x).integers["y"])
        assert np.array_equal(*found), op


@pytest.mark.parametrize("shape", [(1, 4, 1, 1), (4, 5, 6), (1,), (1, 1, 1, 6)])
@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min"])
def test_a_constant_operand_is_an_operand_that_never_varies(op: str, shape: tuple[int, ...]) -> None:
    """Whichever stands first, and whatever the sign of the constant's integers."""
    rng, target = np.random.default_rng(2), TARGETS["litert_xnnpack"]
    x = affine(0.05, 3, "s8")
    a, y = (x, x) if op in ("Max", "Min") else (affine(0.03, -9, "s8"), affine(0.1, 1, "s8"))
    values, held = rng.integers(-128, 128, (2, 4, 5, 6)).astype(np.int8), rng.integers(-128, 128, shape).astype(np.int8)
    both = {"x0": dequantized(values, x), "x1": dequantized(np.broadcast_to(held, values.shape), a)}
    shapes = values.shape[1:]
    unsigned = ((held.astype(int) + 128).astype(np.uint8), a.shifted(IntType(8, signed=False)))
    for first in (False, True):
        given = [(shapes, a), (shapes, x)] if first else [(shapes, x), (shapes, a)]
        feed = {"x0": both["x1"], "x1": both["x0"]} if first else both
        right = engine.run(lower(network(op, given, (shapes, y)), target), feed).integers["y"]
        for constant in ((held, a), unsigned):
            order = ("c", "x0") if first else ("x0", "c")
            source = network(op, [(shapes, x)], (shapes, y), {"c": constant}, order)
            program = lower(source, target)
            assert np.array_equal(engine.run(program, {"x0": both["x0"]}).integers["y"], right)
            assert np.array_equal(oracle.run(program, {"x0": both["x0"]}).integers["y"], right)


def test_what_equals_itself_differs_by_nothing() -> None:
    a = affine(0.05, 3, "s8")
    q = np.arange(-128, 128).astype(np.int8).reshape(1, 256, 1, 1)
    for target in TARGETS.values():
        if not target.scheme.zero_points or target.scheme.activations[0] != IntType(8):
            continue
        source = network("Sub", [((256, 1, 1), a)] * 2, ((256, 1, 1), affine(0.1, 7, "s8")))
        found = engine.run(lower(source, target), dict.fromkeys(("x0", "x1"), dequantized(q, a))).integers["y"]
        assert (found == 7).all(), target.name


# ---- whole networks --------------------------------------------------------------------------------------------

EVERY = """net (float[n,2,4,4] x) => (float[n,5] y)
    <random[3,2,3,3] w, random[3] b, random[3,1,1] slope, random[4,4] place, random[5,3] v> {
    c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  p = PRelu(c, slope)  g = GlobalAveragePool(p)  s = Sigmoid(g)
    m = Mul(p, s)  t = Tanh(m)  q = Add(t, place)  d = Sub(m, q)  l = LeakyRelu<alpha = 0.1>(d)  h = HardSwish(l)
    e = Elu<alpha = 0.8>(h)  k = Softplus(e)  z = Softmax<axis = -3>(k)  a = Max(d, k)  i = Min(a, m)  j = Add(i, z)
    o = GlobalAveragePool(j)  f = Flatten(o)  y = Gemm<transB = 1>(f, v) }"""


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> Graph:
    """The normalised network, which computes what onnxruntime computes with the file."""
    path = saved(tmp_path_factory.mktemp("every"), EVERY)
    graph, notes = normalised(path)
    assert notes == ()
    assert difference(graph, path) < 1e-5
    return graph


def wide(target: Target) -> bool:
    """Tables of 2^16 entries take seconds to make."""
    return target.scheme.activations[0].bits > 12


def pixels(n: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 2, 4, 4)).astype(np.uint8)


@pytest.mark.parametrize("name", in_turn(TARGETS, lambda name: wide(TARGETS[name]) and name != "tflm_16x8"))
def test_every_function_runs_on_every_machine(every: Graph, name: str) -> None:
    target = TARGETS[name]
    program = lower(quantize(every, pixels(16), target.scheme), target)
    right = oracle.run(program, pixels(1), trace=["*"])
    found = engine.run(program, pixels(3), trace=["*"], threads=1)
    for tensor, integers in right.traced.items():
        assert np.array_equal(found.traced[tensor][:1], integers), tensor
    assert np.array_equal(engine.run(program, pixels(3), threads=1).integers["y"], found.integers["y"])


def test_sigmoid_tanh_and_softmax_have_the_affines_that_tables_give(every: Graph) -> None:
    affines = quantize(every, pixels(8), TARGETS["tflm"].scheme).affines
    assert affines["s"] == affines["z"] == affine(1 / 256, -128, "s8")
    assert affines["t"] == affine(1 / 128, 0, "s8")
    symmetric = quantize(every, pixels(8), TARGETS["litert_16x8"].scheme).affines
    assert symmetric["s"] == symmetric["t"] == affine(2**-15, 0, "s16")


def test_the_networks_are_near_the_floats(every: Graph) -> None:
    x = pixels(16)
    floats = dict(forward(every, {"x": (x / np.float32(255)).astype(np.float32)}))["y"]
    for name in ("ideal", "litert_ref", "tflm", "litert_xnnpack", "ort_x86_avx2"):
        target = TARGETS[name]
        logits = engine.run(lower(quantize(every, x, target.scheme), target), x, threads=1).logits["y"]
        assert np.abs(logits - floats).max() < 0.1 * np.abs(floats).max(), name


def test_the_twin_has_the_same_functions(every: Graph) -> None:
    torch = pytest.importorskip("torch")
    from intsim.attack.twin import twin

    x = (pixels(4) / np.float32(255)).astype(np.float32)
    floats = dict(forward(every, {"x": x}))["y"]
    image = torch.from_numpy(x).requires_grad_()
    logits = twin(every)(image)
    assert np.abs(logits.detach().numpy() - floats).max() < 1e-5 * np.abs(floats).max()
    logits.sum().backward()
    assert float(image.grad.abs().max()) > 0


def test_qdq_brings_the_functions_back(every: Graph, tmp_path: Path) -> None:
    source = quantize(every, pixels(8), TARGETS["ort_x86_avx2"].scheme)
    write_qdq(source, tmp_path / "every.onnx")
    again = read_quantized(tmp_path / "every.onnx")
    same(source, again)
    target = TARGETS["ort_x86_avx2"]
    first, second = (engine.run(lower(one, target), pixels(3)).integers["y"] for one in (source, again))
    assert np.array_equal(first, second)


SHARED = """net (float[n,2,4,4] x) => (float[n,14,4,4] y) <random[3,2,3,3] w, random[3] b> {
    c = Conv<pads = [1, 1, 1, 1]>(x, w, b)  s = Sigmoid(c)  t = Tanh(c)  z = Softmax<axis = 1>(c)  m = Mul(c, s)
    p = MaxPool<kernel_shape = [2, 2], pads = [0, 0, 1, 1]>(s)  y = Concat<axis = 1>(x, p, m, z, t) }"""


@pytest.mark.parametrize("name", ["tflm", "litert_16x8", "ethos_u", "ideal"])
def test_a_function_with_one_output_affine_is_requantized_for_those_that_share_another(name: str, tmp_path) -> None:
    graph, _ = normalised(saved(tmp_path, SHARED))
    target, x = TARGETS[name], pixels(8)
    calibration = ranges(graph, x)
    source = quantize(graph, calibration, target.scheme)
    made = {node.outputs[0]: node for node in source.graph.nodes}
    if name == "ideal":
        assert "Requantize" not in {node.op for node in source.graph.nodes}
    else:
        assert {made[f"{what}.requantized"].op for what in "szt"} == {"Requantize"}
        assert source.affines["s"] == source.affines["z"] != source.affines["y"] == source.affines["s.requantized"]
        assert made["m"].inputs == ("c", "s"), "what needs no shared affine reads the function itself"
        assert made["p"].inputs == ("s.requantized",)
    ends = {one.tensor for one in saturated(graph, source, calibration)}
    assert ends <= {*"szt"}, "1 itself is beyond what steps of 2^-8 and 2^-7 reach"
    program = lower(source, target)
    found = engine.run(program, x, threads=1)
    assert np.array_equal(oracle.run(program, x[:1]).integers["y"], found.integers["y"][:1])
    floats = dict(forward(graph, {"x": (x / np.float32(255)).astype(np.float32)}))["y"]
    assert np.abs(found.logits["y"] - floats).max() < 0.05 * np.abs(floats).max()


def test_machines_whose_functions_give_one_affine_say_so() -> None:
    one = (Gemmlowp, Interpolated, GemmlowpSoftmax, InterpolatedSoftmax)
    for target in TARGETS.values():
        rules = target.functions
        fixed = {"Sigmoid": rules.sigmoid, "Tanh": rules.tanh, "Softmax": rules.softmax}
        assert {op for op, rule in fixed.items() if isinstance(rule, one)} <= {*target.scheme.fixed_outputs}, (
            target.name
        )


def test_machines_that_compute_functions_exactly_say_that_it_is_an_inference() -> None:
    for target in TARGETS.values():
        if target.functions == Functions() and target.fidelity == "source":
            assert EXACT in target.source, target.name


# ---- what is refused -------------------------------------------------------------------------------------------


def test_a_machine_that_gives_one_affine_only_says_so() -> None:
    x, y = affine(0.05, 3, "s8"), affine(0.005, 0, "s8")
    for op, attributes in (("Sigmoid", {}), ("Tanh", {}), ("Softmax", {"axis": 1})):
        source = network(op, [((4,), x)], ((4,), y), **attributes)
        with pytest.raises(IntsimError, match=r"here gives scale 2\^-\d and zero point"):
            lower(source, TARGETS["tflm"])


def test_damaged_steps_are_refused() -> None:
    x = affine(0.05, 3, "s8")
    good = np.zeros(256, np.int8)
    add = {"rule": TARGETS["tflm"].add, "zero_points": (0, 0), "zero_point": 0, "low": -128, "high": 127}
    numbers = {"multiplier": np.ones(3, np.int64), "exponent": np.zeros(3, np.int64)}
    exponentials, samples = np.full(256, 1 << 14), np.full(513, 1 << 14)
    ends = {"zero_point": 0, "low": -128, "high": 127}
    damaged = [
        Lookup(low=-127, table=good),
        Lookup(low=-128, table=good[:255]),
        Lookup(low=-128, table=np.full(256, 300)),
        Lookup(low=-128, table=np.zeros((256, 2), np.int8)),
        Lookup(low=-128, table=np.zeros(256, np.float32)),
        Add(**add, **numbers),
        Add(**add, **numbers, constant=np.zeros((1, 2), np.int8)),
        Add(**add, **numbers, constant=np.zeros((1, 1), np.float32)),
        Extreme(largest=True, constant=np.array([[300]])),
        Softmax(axis=2, rule=QuotientSoftmax(), table=np.ones(256, np.int64), zero_point=0, low=-128, high=127),
        Softmax(axis=0, rule=GemmlowpSoftmax(), table=np.zeros(256, np.int64), zero_point=0, low=-128, high=127),
        Softmax(axis=0, rule=Float32Softmax(), table=np.ones(256, np.float32), zero_point=0, low=-128, high=127),
        Softmax(axis=0, rule=InterpolatedSoftmax(), table=exponentials, zero_point=0, low=-128, high=127),
        Softmax(axis=0, rule=InterpolatedSoftmax(), table=2 * exponentials, multiplier=samples, **ends),
        Softmax(axis=0, rule=InterpolatedSoftmax(), table=exponentials, multiplier=samples[1:], **ends),
    ]
    for compute in damaged:
        program = one_program(Lookup(low=-128, table=good), [(2, 3)], [x], x)
        step = replace(program.steps[0], compute=compute)
        with pytest.raises(IntsimError):
            check(replace(program, steps=(step,)))


def test_shapes_that_do_not_go_together_are_refused() -> None:
    a = affine(0.05, 3, "s8")
    with pytest.raises(IntsimError, match="not equally many axes"):
        lower(network("Mul", [((4, 5, 6), a), ((6,), a)], ((4, 5, 6), a)), TARGETS["tflm"])
    held = {"c": (np.zeros((2, 4, 5, 6), np.int8), a)}
    with pytest.raises(IntsimError, match="for every sample alike"):
        lower(network("Mul", [((4, 5, 6), a)], ((4, 5, 6), a), held), TARGETS["tflm"])
    with pytest.raises(IntsimError, match="different affines"):
        lower(network("Max", [((4,), a), ((4,), affine(0.1, 0, "s8"))], ((4,), a)), TARGETS["tflm"])
