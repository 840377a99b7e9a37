from collections.abc import Callable
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from float_graphs import GRAPHS, Draft, plain, residual
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from intsim import TARGETS, IntsimError, lower, oracle, quantize
from intsim.calibrate import Calibration, Observed, ranges
from intsim.calibrate.forward import FORWARD, forward
from intsim.graph import Graph, Pixels, activations
from intsim.integers import Affine, IntType, Rounding, affine, int_type
from intsim.normalise import normalise
from intsim.onnx_io import read
from intsim.ops import OPS
from intsim.quantize import Options, groups, meet
from intsim.quantize.options import settled
from intsim.quantize.scales import activation_affine, reaching, weight_affine, weight_integers
from intsim.quantized import QuantizedGraph, dequantized, quantized
from intsim.target import FixedPoint, Scheme, Target
from intsim_models import NAMES, images, path

IDEAL = TARGETS["ideal"].scheme
S8 = Scheme(zero_points=False, per_channel=())
SHIFTS = replace(S8, power_of_two=True)


def pixels(graph: Graph, n: int = 16, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (n, *graph.shapes[graph.inputs[0]])).astype(np.uint8)


def real_outputs(graph: Graph, x: np.ndarray) -> np.ndarray:
    entered = {name: Pixels().to_input(x) for name in graph.inputs}
    return dict(forward(graph, entered))[graph.outputs[0]]


def is_power_of_two(scale: float) -> bool:
    return np.frexp(scale)[0] == 0.5


# ---- scales ------------------------------------------------------------------------------------------------

types = st.builds(IntType, st.integers(1, 16), st.booleans())
sizes = st.floats(-8, 8).map(lambda e: 10.0**e)


@given(sizes, sizes, st.sampled_from(["both", "positive", "negative", "nothing"]), types, st.booleans(), st.booleans())
def test_every_real_number_in_the_range_lies_within_half_a_step_of_an_integer(
    left: float, right: float, sides: str, type_: IntType, symmetric: bool, power_of_two: bool
) -> None:
    low, high = {"both": (-left, right), "positive": (0.0, right), "negative": (-left, 0.0), "nothing": (0.0, 0.0)}[
        sides
    ]
    if symmetric and (type_.bits == 1):
        return
    found = reaching(np.array([low]), np.array([high]), type_, symmetric=symmetric, power_of_two=power_of_two)
    (scale,) = found.scale
    x = np.linspace(low, high, 1001)
    error = np.abs(dequantized(quantized(x, found), found) - x) / scale
    assert error.max() <= 0.5 + 2.0**-20 * 2**type_.bits
    assert quantized(np.zeros(1), found)[0] == found.zero
    assert not power_of_two or is_power_of_two(scale)
    if symmetric:
        assert found.zero == (1 << (type_.bits - 1) if low < 0 and not type_.signed else 0)


def test_a_scale_is_no_coarser_than_the_range_wants() -> None:
    def scale(low: float, high: float, type_: str, **how: bool) -> float:
        how = {"symmetric": False, "power_of_two": False, **how}
        return reaching(np.array([low]), np.array([high]), int_type(type_), **how).scale[0]

    assert scale(0, 1, "u8") == float(np.float32(1 / 255))
    assert scale(-1, 1, "u8") == float(np.float32(2 / 255))
    assert scale(-1, 0.5, "s8", symmetric=True) == float(np.float32(1 / 127))
    assert scale(0, 1, "u8", symmetric=True) == float(np.float32(1 / 255))
    assert scale(0, 127.5 / 128, "s8", symmetric=True, power_of_two=True) == 2**-7
    assert scale(0, 127.6 / 128, "s8", symmetric=True, power_of_two=True) == 2**-6
    assert scale(0, 255 / 256, "u8", power_of_two=True) == 2**-8
    assert scale(0, 1, "u8", power_of_two=True) == 2**-7


def test_a_range_beyond_all_sense_is_refused() -> None:
    with pytest.raises(IntsimError, match=r"a range of 1e\+30 is too wide"):
        reaching(np.array([0.0]), np.array([1e30]), int_type("u8"), symmetric=False, power_of_two=False)


def observed(x: np.ndarray) -> Observed:
    d = Draft(x=(1,))
    graph = d.graph(d.same("Relu", "x"))
    return ranges(graph, x.reshape(-1, 1).astype(np.float32), method="mse").tensors["x"]


def choose(**settings: object) -> Callable[[np.ndarray], Affine]:
    choice = settled(Options(**settings), IDEAL)  # type: ignore[arg-type]
    return lambda x: activation_affine([observed(x)], choice, "x")


@pytest.mark.parametrize("bits", range(1, 17))
@pytest.mark.parametrize("how", [{}, {"symmetric": True}, {"power_of_two": True}], ids=str)
def test_the_least_mean_square_error_is_less_than_that_of_any_other_range(bits: int, how: dict) -> None:
    if how.get("symmetric") and bits == 1:
        return
    x = np.random.default_rng(bits).standard_t(3, 20_000).astype(np.float32)
    found = choose(activation_bits=bits, method="mse", **how)(x)

    def error(affine_: Affine) -> float:
        return float(np.mean((dequantized(quantized(x, affine_), affine_) - x) ** 2))

    # The histogram has 2048 bins, the search a grid of a hundredth of the range.
    plain_ = choose(activation_bits=bits, **how)(x)
    others = [plain_, choose(activation_bits=bits, method="percentile", percentile=99.0, **how)(x)]
    others += [
        reaching(
            np.array([x.min() * a]), np.array([x.max() * b]), found.type,
            symmetric=how.get("symmetric", False), power_of_two=how.get("power_of_two", False),
        )
        for a in np.linspace(0.05, 1, 8)
        for b in np.linspace(0.05, 1, 8)
    ]  # fmt: skip
    assert error(found) <= 1.05 * min(error(other) for other in others)
    if 2 <= bits <= 6 and not how.get("power_of_two"):
        assert error(found) < 0.7 * error(plain_)


def test_a_percentile_leaves_out_the_tails_and_no_more() -> None:
    x = np.concatenate([np.linspace(-1, 3, 99_990), np.full(5, 40.0), np.full(5, -40.0)])
    found = choose(method="percentile", percentile=99.99)(x)
    step = 80 / 2048
    assert 4 <= found.scale[0] * 255 <= 4 + 2 * step
    assert choose(method="percentile", percentile=100)(x) == choose()(x)


def test_all_methods_agree_on_what_has_no_tails() -> None:
    x = np.tile(np.linspace(0, 1, 256), 50)
    assert {choose(method=m)(x).scale[0] for m in ("minmax", "percentile", "mse")} == {float(np.float32(1 / 255))}


@given(
    st.integers(1, 16), st.sampled_from(["zero", "no_zero"]), st.sampled_from(["minmax", "mse"]), st.booleans(),
    st.booleans(), st.booleans(), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_a_weight_is_the_nearest_level_and_reaches_no_further(
    bits: int, levels: str, method: str, channels: bool, shifts: bool, symmetric: bool, seed: int
) -> None:
    if (bits == 1 and levels == "zero" and symmetric) or (bits == 16 and levels == "no_zero"):
        return
    asked = Options(
        weight_bits=bits, levels=levels, weight_method=method, power_of_two=shifts,
        weight_symmetric=symmetric or levels == "no_zero",
    )  # fmt: skip
    choice = settled(asked, IDEAL)
    rng = np.random.default_rng(seed)
    w = (rng.normal(size=(3, 2, 3)) * 10.0 ** rng.uniform(-3, 2, (3, 1, 1))).astype(np.float32)
    found = weight_affine(w, choice, per_channel=channels, finest=np.full(3, 1e-9))
    q = weight_integers(w, found, choice)
    step = np.array(found.scale).reshape(-1, 1, 1) * (2 if levels == "no_zero" else 1)
    if method == "minmax":
        assert (np.abs(dequantized(q, found) - w) <= step * (0.5 + 2.0 ** (bits - 20))).all()
    assert found.axis == (0 if channels else None)
    if levels == "no_zero":
        assert (q % 2 == 1).all()
        assert found.type == IntType(bits + 1, narrow_range=True)
        assert np.abs(q.astype(np.int64)).max() <= 2**bits - 1
    else:
        assert found.type.bits == bits
        assert (np.abs(q.astype(np.int64)).max() <= max(2 ** (bits - 1) - 1, 1)) or not asked.weight_symmetric
    assert not shifts or all(is_power_of_two(s) for s in found.scale)


def test_weights_of_one_bit_are_minus_and_plus_their_mean_size() -> None:
    w = np.float32([[0.5, -1.5, 1.0, -1.0], [3.0, -1.0, -1.0, -1.0]])
    choice = settled(Options(weight_bits=1, levels="no_zero", weight_method="mse"), IDEAL)
    found = weight_affine(w, choice, per_channel=True, finest=np.full(2, 1e-9))
    assert weight_integers(w, found, choice).tolist() == [[1, -1, 1, -1], [1, -1, -1, -1]]
    assert np.allclose(found.scale, [1.0, 1.5], atol=0.02)


def test_weights_with_the_least_error_have_less_of_it() -> None:
    w = np.random.default_rng(0).standard_t(3, (4, 500)).astype(np.float32)
    errors = []
    for method in ("mse", "minmax"):
        choice = settled(Options(weight_bits=3, weight_method=method), IDEAL)
        found = weight_affine(w, choice, per_channel=True, finest=np.full(4, 1e-9))
        errors.append(((dequantized(weight_integers(w, found, choice), found) - w) ** 2).sum(1))
    assert (errors[0] < 0.6 * errors[1]).all()


# ---- sharing -----------------------------------------------------------------------------------------------


@cache
def for_scheme(name: str, scheme: Scheme, method: str, door: Pixels | None = None) -> tuple[QuantizedGraph, ...]:
    """The graph, quantized for all machines of that scheme: by pixels, and, where they have a door, by floats too."""
    graph = GRAPHS[name]() if door is None else replace(GRAPHS[name](), pixels={"image": door})
    weights = "mse" if method == "mse" and door is None else "minmax"
    seen = [pixels(graph)] if door is None else [pixels(graph) // 2, door.to_input(pixels(graph) // 2)]
    return tuple(quantize(graph, x, scheme, method=method, weight_method=weights) for x in seen)


@pytest.mark.parametrize("name", GRAPHS)
@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("method", ["minmax", "mse"])
def test_ops_that_make_no_integers_share_and_every_machine_takes_the_result(
    name: str, target: str, method: str
) -> None:
    graph, scheme = GRAPHS[name](), TARGETS[target].scheme
    (found,) = for_scheme(name, scheme, method)
    shared = 0
    for node in graph.nodes:
        if OPS[node.op].keeps_scale or node.op in scheme.keeps_scale:
            assert len({found.affines[name] for name in (*node.inputs, *node.outputs)}) == 1
            shared += 1
    assert shared >= 2
    program = lower(found, TARGETS[target])
    assert len(program.steps) == len(graph.nodes)


def groups_of(graph: Graph, scheme: Scheme = IDEAL) -> list[tuple[set[str], set[str]]]:
    return [(set(group.tensors), set(group.decisive)) for group in groups(graph, scheme)]


def test_what_a_relu_cuts_off_takes_no_part_of_the_range() -> None:
    d = Draft(image=(1, 6, 6))
    conv = d.conv("image", 2)
    pool = d.pool("MaxPool", conv)
    relu = d.same("Relu", pool)
    flat = d.flatten(relu)
    graph = d.graph(d.gemm(flat, 3))
    assert ({conv, pool, relu, flat}, {relu, flat}) in groups_of(graph)
    found = quantize(graph, pixels(graph))
    assert found.affines[conv].zero == 0
    assert found.affines[conv].scale[0] * 255 == pytest.approx(
        ranges(graph, pixels(graph)).tensors[relu].high, rel=1e-6
    )


def test_what_others_read_too_takes_its_whole_range() -> None:
    d = Draft(image=(1, 6, 6))
    conv = d.conv("image", 2, pad=1)
    relu = d.same("Relu", conv)
    total = d.sum(relu, conv)
    assert ({conv, relu}, {conv, relu}) in groups_of(d.graph(total))
    assert ({conv, relu}, {conv, relu}) in groups_of(d.graph(total, conv))
    assert ({"image"}, {"image"}) in groups_of(d.graph(total))
    d = Draft(image=(1, 6, 6))
    conv = d.conv("image", 2, pad=1)
    relu = d.same("Relu", conv)
    assert ({conv, relu}, {conv, relu}) in groups_of(d.graph(conv, relu))
    assert ({conv, relu}, {relu}) in groups_of(d.graph(relu))


def test_averages_and_joins_share_where_the_machine_says_so() -> None:
    d = Draft(image=(1, 6, 6))
    a, b = d.conv("image", 1), d.conv("image", 2)
    join = d.concat(a, b)
    average = d.pool("AveragePool", join, count_include_pad=0)
    relu = d.same("Relu", average)
    graph = d.graph(relu)
    assert ({a, b, join, average, relu}, {a, b, join, relu}) in groups_of(graph)
    own = groups_of(graph, replace(IDEAL, keeps_scale=()))
    assert [tensors for tensors, _ in own] == [{"image"}, {a}, {b}, {join}, {average, relu}]


def test_a_joint_range_holds_both_parts() -> None:
    d = Draft(image=(1, 6, 6))
    small, large = d.conv("image", 1), d.conv("image", 1)
    d.constants["constant_2"] *= 100
    graph = d.graph(d.concat(small, large))
    found = quantize(graph, pixels(graph))
    seen = ranges(graph, pixels(graph)).tensors[large]
    reach = max(seen.high, 0) - min(seen.low, 0)
    assert found.affines[small].scale[0] == pytest.approx(reach / 255, rel=0.02)


# ---- inputs ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize(
    "door", [Pixels(), Pixels(mean=(0.2860,), std=(0.3530,)), Pixels(divisor=1.0, mean=(127.0,), std=(128.0,))]
)
def test_the_256_pixels_are_256_integers_where_there_are_zero_points(target: str, door: Pixels) -> None:
    for method in ("minmax", "percentile", "mse"):
        for found in for_scheme("plain", TARGETS[target].scheme, method, door):
            table = lower(found, TARGETS[target]).inputs["image"].table
            assert table is not None
            if TARGETS[target].scheme.zero_points:
                assert (np.diff(table[:, 0].astype(int)) == 1).all()
            else:
                assert (np.diff(table[:, 0].astype(int)) >= 0).all()
                assert len(np.unique(table)) >= 64


def test_pixels_are_never_cut_off_whatever_else_shares_their_integers() -> None:
    d = Draft(image=(1, 6, 6))
    graph = d.graph(d.gemm(d.flatten("image"), 3))
    x = np.minimum(pixels(graph), 60)
    x[0, 0, 0, 0] = 200
    for method in ("minmax", "percentile", "mse"):
        found = quantize(graph, x, activation_bits=4, method=method)
        assert found.affines["image"] == found.affines["flatten_0_out"] == affine(1 / 15, 0, "u4")


# ---- constants ---------------------------------------------------------------------------------------------


def test_a_bias_is_the_nearest_integer_of_its_sums_scale() -> None:
    graph = residual()
    found = quantize(graph, pixels(graph))
    checked = 0
    for before, node in zip(graph.nodes, found.graph.nodes, strict=True):
        assert len(before.inputs) == len(node.inputs)
        if len(node.inputs) == 3:
            x, w, b = node.inputs
            exact = np.float64(found.affines[x].scale[0]) * np.float64(found.affines[w].scale)
            want = graph.constants[before.inputs[2]].astype(np.float64)
            assert (np.abs(found.graph.constants[b] * exact - want) <= exact / 2).all()
            assert found.affines[b].scale == tuple(float(np.float32(s)) for s in exact)
            assert found.affines[b].axis == 0
            checked += 1
    assert checked == 4


def one_gemm(w: np.ndarray, b: np.ndarray) -> Graph:
    d = Draft(x=(w.shape[1],))
    y = d.gemm("x", len(w))
    d.constants |= {"constant_0": b.astype(np.float32), "constant_1": w.astype(np.float32)}
    node = d.nodes[0]
    d.nodes[0] = replace(node, inputs=("x", "constant_1", "constant_0"))
    return d.graph(y)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("weight_bits", [2, 8])
def test_channels_that_are_all_but_dead_have_a_bias_that_fits_and_an_output_that_is_right(
    target: str, weight_bits: int
) -> None:
    machine = TARGETS[target]
    w = np.array([[1.0, -1.0], [1e-12, 2e-12], [0.0, 0.0], [1e-30, 0.0], [1e-3, -1e-3]])
    graph = one_gemm(w, np.array([0.1, 0.7, -0.6, 0.5, 0.3]))
    x = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    if machine.scheme.weight_scale is not None:
        pytest.skip("its scales are given")
    if machine.scheme.bias_shift == 7 and weight_bits == 2:
        pytest.skip("a step of its biases is as large as they are")
    found = quantize(graph, x, machine.scheme, weight_bits=min(weight_bits, machine.scheme.weights[0].bits))
    bias = found.graph.constants["constant_0"].astype(np.int64)
    units = min(int(v & -v) for v in bias if v)
    assert np.abs(bias // units).max() <= machine.scheme.bias.high / (1 if machine.scheme.bias.bits < 32 else 2)
    got = oracle.run(lower(found, machine), x[:5]).logits[graph.outputs[0]]
    step = found.affines[graph.outputs[0]].scale[0]
    assert np.abs(got - real_outputs_of(graph, x[:5]))[:, 1:4].max() <= (1.01 if finely(machine) else 3) * step


def finely(machine: Target) -> bool:
    """Whether it rounds to the nearest, with multipliers that are finer than its outputs."""
    rule, bits = machine.requantize, machine.scheme.activations[0].bits
    down = getattr(rule, "rounding", None) in (Rounding.FLOOR, Rounding.TO_ODD, Rounding.CARRY_SHIFT)
    return (
        machine.scheme.bias_shift != 7
        and not down
        and (not isinstance(rule, FixedPoint) or (rule.keep or rule.bits) > bits + 4)
    )


def real_outputs_of(graph: Graph, x: np.ndarray) -> np.ndarray:
    return dict(forward(graph, {graph.inputs[0]: x}))[graph.outputs[0]]


def test_a_bias_too_large_for_its_type_makes_the_weights_coarser() -> None:
    scheme = replace(S8, bias=IntType(16))
    graph = one_gemm(np.array([[0.01, -0.01]]), np.array([50.0]))
    x = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    found = quantize(graph, x, scheme)
    (bias,) = found.graph.constants["constant_0"]
    assert 32700 <= bias <= 32767
    (sw,) = found.affines["constant_1"].scale
    assert bias * sw * found.affines["x"].scale[0] == pytest.approx(50, rel=1e-4)
    assert lower(found, replace(TARGETS["nvdla_small"], scheme=scheme)).steps


def test_a_weight_may_serve_twice_and_a_bias_is_doubled_where_its_integers_differ() -> None:
    d = Draft(image=(2, 6, 6))
    a = d.conv("image", 2, pad=1)
    b = d.conv(a, 2, pad=1)
    d.nodes[1] = replace(d.nodes[1], inputs=(a, *d.nodes[0].inputs[1:]))
    graph = d.graph(b)
    found = quantize(graph, pixels(graph))
    first, second = found.graph.nodes
    assert first.inputs[1] == second.inputs[1]
    assert first.inputs[2] == "constant_1"
    assert second.inputs[2] == "constant_1.conv_1"
    assert set(found.graph.constants) == {"constant_0", "constant_1", "constant_1.conv_1"}
    assert lower(found, TARGETS["ideal"]).steps


def test_a_weight_that_serves_twice_is_as_coarse_as_the_larger_bias_wants() -> None:
    for sizes in ((0.0, 50.0), (50.0, 0.0)):
        d = Draft(x=(1,))
        a, b = d.gemm("x", 1), d.gemm("x", 1)
        names = [node.inputs[2] for node in d.nodes]
        d.constants |= {"w": np.float32([[0.01]])}
        d.constants |= {name: np.float32([size]) for name, size in zip(names, sizes, strict=True)}
        d.nodes = [replace(node, inputs=("x", "w", node.inputs[2])) for node in d.nodes]
        found = quantize(d.graph(a, b), np.ones((1, 1), np.float32), replace(S8, bias=IntType(16)))
        assert sorted(int(found.graph.constants[name][0]) for name in names) == [0, 32766]


def test_a_channel_of_zeros_has_the_scale_of_the_largest_other() -> None:
    graph = one_gemm(np.array([[0.5, -1.0], [0.0, 0.0], [2.0, 0.0]]), np.ones(3))
    found = quantize(graph, np.ones((1, 2), np.float32)).affines["constant_1"]
    assert found.scale[1] == found.scale[2] == 2 * found.scale[0]


def test_a_bias_that_serves_twice_with_the_same_integers_stays_one() -> None:
    d = Draft(image=(2, 6, 6))
    a = d.conv("image", 2, pad=1)
    b = d.conv("image", 2, pad=1)
    d.nodes[1] = replace(d.nodes[1], inputs=d.nodes[0].inputs)
    found = quantize(d.graph(d.sum(a, b)), pixels(d.graph(a)))
    assert set(found.graph.constants) == {"constant_0", "constant_1"}


def test_constants_where_no_machine_has_them_are_refused() -> None:
    d = Draft(x=(3,))
    graph = d.graph(d.add("Flatten", (d.constant(3),), (3,)))
    with pytest.raises(IntsimError, match=r'^flatten_0: reads the constant "constant_0"'):
        quantize(graph, np.zeros((1, 3), np.float32))
    d = Draft(x=(3,), y=(2, 3))
    graph = d.graph(d.add("Gemm", ("x", "y"), (2,)))
    with pytest.raises(IntsimError, match=r'^gemm_0: multiplies by the activation "y"'):
        quantize(graph, {"x": np.zeros((1, 3), np.float32), "y": np.zeros((1, 2, 3), np.float32)})
    graph = one_gemm(np.array([[np.nan, 1]]), np.zeros(1))
    with pytest.raises(IntsimError, match=r'^gemm_0: has NaN or infinity in "constant_1"'):
        quantize(graph, np.zeros((1, 2), np.float32))


def test_a_network_that_says_nothing_is_quantized_all_the_same() -> None:
    graph = plain()
    silent = replace(graph, constants={name: 0 * c for name, c in graph.constants.items()})
    for scheme in (IDEAL, S8, SHIFTS):
        for method in ("minmax", "percentile", "mse"):
            found = quantize(silent, np.zeros((2, 1, 6, 6), np.uint8), scheme, method=method)
            assert all(2**-20 < affine_.scale[0] <= 1 for affine_ in found.affines.values())


# ---- whole networks ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", GRAPHS.values(), ids=GRAPHS)
def test_sixteen_bits_are_nearly_float_and_eight_are_close(make: Callable[..., Graph]) -> None:
    graph = make()
    x = pixels(graph)
    want = real_outputs(graph, x[:4])
    reach = np.abs(real_outputs(graph, x)).max()
    for bits, most in ((16, 1e-3), (8, 0.05)):
        found = quantize(graph, x, IDEAL, weight_bits=bits, activation_bits=bits)
        got = oracle.run(lower(found, TARGETS["ideal"]), x[:4]).logits[graph.outputs[0]]
        assert np.abs(got - want).max() <= most * reach


@pytest.mark.parametrize("bits", range(1, 17))
def test_every_width_is_quantized_and_runs(bits: int) -> None:
    graph = plain()
    x = pixels(graph, 4)
    levels = "no_zero" if bits < 16 else "zero"
    found = quantize(graph, x, weight_bits=bits, activation_bits=bits, levels=levels, method="mse")
    assert {found.affines[name].type for name in activations(graph)} == {IntType(bits, signed=False)}
    result = oracle.run(lower(found, TARGETS["ideal"]), x[:1]).integers[graph.outputs[0]]
    assert 0 <= result.min() <= result.max() < 1 << bits
    if bits > 1:
        zero = quantize(graph, x, weight_bits=bits, activation_bits=bits)
        assert np.abs(zero.graph.constants["constant_0"].astype(int)).max() == 2 ** (bits - 1) - 1


def pretended(network: QuantizedGraph, x: np.ndarray) -> np.ndarray:
    """The network's outputs in float32, every tensor rounded to its integers."""
    graph = network.graph
    values = {name: dequantized(q, network.affines[name]) for name, q in graph.constants.items()}
    values[graph.inputs[0]] = Pixels().to_input(x)
    for node in graph.nodes:
        y = FORWARD[node.op](node, graph, *(values[name] for name in node.inputs))
        of = network.affines[node.outputs[0]]
        values[node.outputs[0]] = dequantized(quantized(y, of), of)
    return values[graph.outputs[0]]


@pytest.mark.parametrize("name", NAMES)
def test_the_networks_that_ship_keep_their_answers_at_eight_bits(name: str) -> None:
    graph, _ = normalise(read(path(name)))
    data = images()
    seen = ranges(graph, data.x_calibration[:64], method="mse")
    x = data.x[:40]
    answers = real_outputs(graph, x).argmax(1)
    for asked in ({}, {"symmetric": True}, {"power_of_two": True}, {"method": "mse", "weight_method": "mse"}):
        assert (pretended(quantize(graph, seen, IDEAL, **asked), x).argmax(1) == answers).mean() >= 0.95, asked
    per_tensor = pretended(quantize(graph, seen, S8), x).argmax(1) == answers
    # Depthwise channels differ so much in size that one scale for all of them is too coarse for most.
    assert per_tensor.mean() >= (0.6 if name == "dscnn" else 0.95)


# ---- what is asked, and what machines take -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("scheme", "settings", "reason"),
    [
        (IDEAL, {"weight_bits": 0}, "^weight_bits: 0 bits: choose 1 to 16"),
        (IDEAL, {"activation_bits": 17}, "^activation_bits: 17 bits: choose 1 to 16"),
        (IDEAL, {"activation_bits": "8"}, "^activation_bits: '8' bits"),
        (IDEAL, {"method": "entropy"}, '^method: there is no "entropy": choose minmax or percentile or mse'),
        (IDEAL, {"granularity": "row"}, '^granularity: there is no "row"'),
        (IDEAL, {"percentile": 20}, "^percentile: 20 %"),
        (IDEAL, {"symetric": True}, "did you mean .*symmetric"),
        (S8, {"activation_bits": 9}, "^activation_bits: 9 bits: the machine takes s8"),
        (S8, {"weight_bits": 9}, "^weight_bits: 9 bits: the machine takes s8"),
        (S8, {"weight_bits": 8, "levels": "no_zero"}, "^weight_bits: 8 bits, stored in 9,: the machine takes s8"),
        (IDEAL, {"weight_bits": 1}, "^weight_bits: one bit .* choose levels no_zero"),
        (S8, {"activation_bits": 1}, "^activation_bits: one bit without a zero point"),
        (S8, {"symmetric": False}, "^symmetric: the machine has no zero points"),
        (SHIFTS, {"power_of_two": False}, "^power_of_two: the machine scales by shifts"),
        (S8, {"granularity": "channel"}, "^granularity: the machine takes one weight scale per tensor"),
        (S8, {"weight_symmetric": False}, "^weight_symmetric: the machine's weights have no zero point"),
        (IDEAL, {"weight_symmetric": False, "levels": "no_zero"}, "^levels: "),
    ],
)
def test_what_cannot_be_done_is_refused_with_its_name_and_a_way_out(
    scheme: Scheme, settings: dict, reason: str
) -> None:
    with pytest.raises(IntsimError, match=reason):
        quantize(plain(), pixels(plain()), scheme, **settings)


def test_what_is_not_asked_is_what_the_machine_takes() -> None:
    def kinds(scheme: Scheme, **settings: object) -> tuple[str, str, int | None, int]:
        found = quantize(plain(), pixels(plain()), scheme, **settings)
        y, w = found.affines["gemm_4_out"], found.affines["constant_0"]
        return str(y.type), str(w.type), w.axis, y.zero_point[0] != (0 if y.type.signed else 128)

    assert kinds(TARGETS["ort_x86_vnni"].scheme) == ("u8", "s8n", 0, True)
    assert kinds(TARGETS["litert_ref"].scheme) == ("s8", "s8n", 0, True)
    assert kinds(TARGETS["nvdla_small"].scheme) == ("s8", "s8n", None, False)
    assert kinds(IDEAL) == ("u8", "s8n", 0, True)
    assert kinds(IDEAL, granularity="tensor", symmetric=True) == ("u8", "s8n", None, False)
    assert kinds(IDEAL, weight_symmetric=False, weight_bits=4) == ("u8", "s4", None, True)
    assert kinds(replace(IDEAL, weights=(IntType(8, signed=False),)), weight_symmetric=False)[1] == "u8"


def test_unsigned_machines_without_zero_points_take_what_is_not_negative() -> None:
    scheme = Scheme(activations=(IntType(8, signed=False),), zero_points=False)
    d = Draft(image=(1, 6, 6))
    graph = d.graph(d.same("Relu", d.conv("image", 2)))
    assert quantize(graph, pixels(graph), scheme).affines["relu_1_out"].zero == 0
    with pytest.raises(IntsimError, match=r"^gemm_4_out: reaches -.*, the machine has neither"):
        quantize(plain(), pixels(plain()), scheme)
    both = replace(scheme, activations=(IntType(8, signed=False), IntType(8)))
    assert quantize(plain(), pixels(plain()), both).affines["gemm_4_out"].type == IntType(8)


def test_a_calibration_must_be_of_this_network_and_for_this_method() -> None:
    graph = plain()
    seen = ranges(graph, pixels(graph))
    with pytest.raises(IntsimError, match=r'^calibration: kept no histograms, which "mse" needs'):
        quantize(graph, seen, method="mse")
    with pytest.raises(IntsimError, match=r"^maxpool_2_out: was not calibrated"):
        quantize(graph, Calibration(
            tensors={n: t for n, t in seen.tensors.items() if n != "maxpool_2_out"},
            samples=1, digest="", method="minmax",
        ))  # fmt: skip
    full = ranges(graph, pixels(graph), method="mse")
    assert quantize(graph, full).affines == quantize(graph, seen).affines


def test_the_same_calibration_gives_the_same_integers_and_leaves_the_network_as_it_was() -> None:
    graph = residual()
    before = {name: c.copy() for name, c in graph.constants.items()}
    a, b = (quantize(graph, pixels(graph), asked) for asked in (IDEAL, IDEAL))
    assert a.affines == b.affines
    assert all(np.array_equal(a.graph.constants[n], b.graph.constants[n]) for n in a.graph.constants)
    assert all(np.array_equal(before[n], graph.constants[n]) for n in before)


def test_machines_meet_in_what_all_of_them_take() -> None:
    apart = {"hls4ml", "k210", "max78000", "max78002"}  # one scale, unsigned weights, biases of a shift of their own
    common = [machine for name, machine in TARGETS.items() if name not in apart]
    everywhere = meet(machine.scheme for machine in common)
    assert everywhere.activations == (IntType(8),)
    assert everywhere.weights[0] == IntType(4, narrow_range=True)
    assert everywhere.bias == IntType(8)
    assert everywhere.bias_shift == "any"
    assert not everywhere.zero_points
    assert everywhere.power_of_two
    graph = residual()
    found = quantize(graph, pixels(graph), everywhere)
    for machine in common:
        assert lower(found, machine).steps
    for one, other in pairwise([*common, common[0]]):
        found = quantize(graph, pixels(graph), meet([one.scheme, other.scheme]))
        assert lower(found, one, nodes={"conv_2": other}).steps
    assert meet([IDEAL]) == IDEAL


def test_machines_that_have_nothing_in_common_do_not_meet() -> None:
    unsigned = Scheme(weights=(IntType(8, signed=False),))
    with pytest.raises(IntsimError, match="no type of weights suits all machines: they take s8 and u8"):
        meet([S8, unsigned])
    unsigned = Scheme(activations=(IntType(8, signed=False),), zero_points=False)
    with pytest.raises(IntsimError, match="no type of activations suits all machines"):
        meet([S8, unsigned])
    assert meet([unsigned, TARGETS["litert_ref"].scheme]).activations == (IntType(8, signed=False),)


def test_a_weights_affine_may_be_handed_on() -> None:
    """A bias of a per-tensor weight has one scale."""
    found = quantize(plain(), pixels(plain()), granularity="tensor")
    assert found.affines["constant_1"].axis is None
    assert (
        found.affines["constant_1"].scale
        == affine(np.float64(found.affines["image"].scale[0]) * found.affines["constant_0"].scale[0], 0, "s48").scale
    )
