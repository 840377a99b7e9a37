"""Quantizing for each machine: every one takes a network that was quantized for it, and runs it."""

import numpy as np
import pytest
from float_graphs import plain, residual
from msgspec.structs import replace
from test_quantize import one_gemm, pixels

from intsim import TARGETS, IntsimError, engine, lower, oracle, quantize
from intsim.calibrate import ranges
from intsim.integers import IntType, affine
from intsim.quantize import meet, saturated
from intsim.quantize.biases import bias_integers
from intsim.target import Scheme
from intsim.targets.hls4ml import ap_fixed

NETS = {"plain": plain, "residual": residual}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("name", NETS)
def test_a_machine_takes_what_is_quantized_for_it_and_the_engine_agrees_with_the_oracle(name: str, target: str) -> None:
    graph, machine = NETS[name](), TARGETS[target]
    x = pixels(graph)
    program = lower(quantize(graph, x, machine.scheme), machine)
    right, found = oracle.run(program, x[:2], trace="*"), engine.run(program, x[:2], trace="*")
    for tensor, integers in right.traced.items():
        np.testing.assert_array_equal(found.traced[tensor], integers, err_msg=tensor)
    (out,) = graph.outputs
    assert len(np.unique(right.integers[out])) > 2


def types(target: str) -> tuple[str, str, str]:
    """(activations, weights, biases) of a network quantized for the machine."""
    graph = plain()
    found = quantize(graph, pixels(graph), TARGETS[target].scheme)
    gemm = found.graph.nodes[-1]
    return tuple(str(found.affines[name].type) for name in (gemm.inputs[0], gemm.inputs[1], gemm.inputs[2]))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("litert_ref", ("s8", "s8n", "s32")),
        ("ort_x86_vnni", ("u8", "s8n", "s32")),
        ("ideal", ("u8", "s8n", "s48")),
        ("litert_16x8", ("s16", "s8n", "s64")),
        ("cmsis_nn_s16", ("s16", "s8n", "s64")),
        ("tosa_16bit", ("s16", "s8n", "s48")),
        ("cmsis_nn_s4", ("s8", "s4n", "s32")),
        ("gna", ("s16", "s8n", "s32")),
        ("k210", ("u8", "u8", "s32")),
        ("pulp_nn", ("u8", "s8n", "s32")),
        ("hls4ml", ("s16", "s16", "s26")),
        ("max78000", ("s8", "s8n", "s15")),
    ],
)
def test_what_is_not_asked_is_what_the_machine_prefers(target: str, expected: tuple[str, str, str]) -> None:
    assert types(target) == expected


@pytest.mark.parametrize("bits", range(2, 9))
def test_the_ne16_takes_weights_of_2_to_8_bits(bits: int) -> None:
    graph, machine = plain(), TARGETS["ne16"]
    found = quantize(graph, pixels(graph), machine.scheme, weight_bits=bits)
    assert found.affines[found.graph.nodes[-1].inputs[1]].type == IntType(bits, narrow_range=True)
    lower(found, machine)


def test_weights_of_the_k210_have_a_zero_point_within_their_unsigned_type() -> None:
    graph = plain()
    found = quantize(graph, pixels(graph), TARGETS["k210"].scheme)
    weight = found.graph.nodes[0].inputs[1]
    assert 0 < found.affines[weight].zero < 255
    assert found.graph.constants[weight].dtype == np.uint8


def test_asymmetric_weights_for_tflite_are_unsigned_as_its_older_files_have_them() -> None:
    graph = plain()
    scheme = TARGETS["litert_ref"].scheme
    found = quantize(graph, pixels(graph), scheme, weight_symmetric=False)
    own = found.affines[found.graph.nodes[0].inputs[1]]
    assert (own.type, own.axis) == (IntType(8, signed=False), None)
    lower(found, TARGETS["litert_ref"])
    name = found.graph.nodes[0].inputs[1]
    integers = (found.graph.constants[name].astype(np.int16) - 128).astype(np.int8)
    graph = replace(found.graph, constants=found.graph.constants | {name: integers})
    signed = replace(found, graph=graph, affines=found.affines | {name: own.shifted(IntType(8))})
    with pytest.raises(IntsimError, match="weights are s8: the machine takes s8n, u8"):
        lower(signed, TARGETS["litert_ref"])


# ---- biases ----------------------------------------------------------------------------------------------------


def test_a_shifted_bias_is_an_integer_times_the_least_power_of_two_that_reaches() -> None:
    """1000 needs 2^3 in eight bits (127 * 2^3 = 1016): 125 * 8. 12 lies between 8 and 16 and goes to the even one."""
    scheme = Scheme(bias=IntType(8), bias_shift="any")
    values, type_ = bias_integers(np.array([1000.0, 12.0, 11.9, -20.0, 3.0]), scheme)
    assert values.tolist() == [1000, 16, 8, -16, 0]
    assert type_ == IntType(11)
    assert bias_integers(np.array([100.0, -3.0]), scheme)[0].tolist() == [100, -3]


def test_a_bias_of_a_given_shift_keeps_to_it_and_saturates() -> None:
    scheme = Scheme(bias=IntType(8), bias_shift=7)
    values, type_ = bias_integers(np.array([100.0, 64.0, 192.0, 20000.0, -20000.0]), scheme)
    assert values.tolist() == [128, 0, 256, 127 * 128, -128 * 128]
    assert type_ == IntType(15)


@pytest.mark.parametrize(("target", "shift"), [("max78000", 7), ("vitis_dpu", None), ("nvdla_full", None)])
def test_a_large_bias_is_shifted_where_the_machine_shifts_it(target: str, shift: int | None) -> None:
    machine = TARGETS[target]
    graph = one_gemm(np.array([[0.5, -0.5], [0.25, 0.125]]), np.array([90.0, -3.0]))
    x = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    found = quantize(graph, x, machine.scheme)
    bias = found.graph.constants["constant_0"].astype(np.int64)
    units = min(int(v & -v).bit_length() - 1 for v in bias if v)
    assert units >= (shift or 0)
    assert np.abs(bias >> units).max() <= machine.scheme.bias.high
    got = oracle.run(lower(found, machine), x[:4]).logits[graph.outputs[0]]
    assert np.abs(got[:, 0] - 90).max() < 2


def test_channels_that_share_a_shift_have_scales_within_the_spread() -> None:
    graph = one_gemm(np.array([[1.0, -1.0], [0.01, 0.02], [0.6, 0.1]]), np.zeros(3))
    x = np.random.default_rng(0).random((20, 2)).astype(np.float32)
    scales = [quantize(graph, x, TARGETS[name].scheme).affines["constant_1"].scale for name in ("ne16", "pulp_nn")]
    assert max(scales[0]) / min(scales[0]) > 40
    assert max(scales[1]) / min(scales[1]) == pytest.approx(2, rel=1e-5)
    assert scales[1][0] == scales[0][0]
    assert scales[1][2] == scales[0][2]


# ---- scales that are given -------------------------------------------------------------------------------------


def test_fixed_point_numbers_all_have_one_scale_and_what_they_do_not_reach_saturates() -> None:
    """ap_fixed<8,3> holds -4 to 3.96875: 5 and -4.1 saturate, -4 and 3.98 (within half a step) do not."""
    machine = ap_fixed("ap_fixed<8,3>")
    graph = one_gemm(np.array([[5.0, -4.0], [3.98, -4.1]]), np.array([1.0, 9.0]))
    x = np.linspace(0, 1, 20, dtype=np.float32).reshape(10, 2)
    seen = ranges(graph, x, method="mse")
    found = quantize(graph, seen, machine.scheme)
    assert found.graph.constants["constant_1"].tolist() == [[127, -128], [127, -128]]
    assert found.graph.constants["constant_0"].tolist() == [1 << 10, 127 << 5]
    assert {a.scale[0] for name, a in found.affines.items() if name != "constant_0"} == {2.0**-5}
    by_name = {one.tensor: one for one in saturated(graph, found, seen)}
    assert (by_name["constant_1"].count, by_name["constant_1"].of) == (2, 4)
    assert by_name["constant_0"].count is None or by_name["constant_0"].high == 9.0
    (out,) = graph.outputs
    assert by_name[out].high > by_name[out].most
    assert by_name[out].count > 0
    assert "x" not in by_name
    lower(found, machine)


def test_nothing_saturates_where_the_scales_are_chosen() -> None:
    graph = residual()
    seen = ranges(graph, pixels(graph))
    found = quantize(graph, seen, TARGETS["litert_ref"].scheme)
    constants = [one for one in saturated(graph, found, seen) if one.tensor in found.graph.constants]
    assert constants == []


def test_a_network_of_other_scales_is_refused_by_a_fixed_point_machine() -> None:
    graph = plain()
    found = quantize(graph, pixels(graph), TARGETS["vta"].scheme)
    with pytest.raises(IntsimError, match=r"the machine's numbers all have 0.000976562: quantize for this machine"):
        lower(found, TARGETS["hls4ml"])
    own = quantize(graph, pixels(graph), TARGETS["hls4ml"].scheme)
    weight = own.graph.nodes[0].inputs[1]
    other = affine(2.0**-9, 0, own.affines[weight].type)
    with pytest.raises(IntsimError, match=r"weights have scales other than 0.000976562"):
        lower(replace(own, affines=own.affines | {weight: other}), TARGETS["hls4ml"])


# ---- several machines ------------------------------------------------------------------------------------------


def test_machines_meet_in_the_shift_and_the_scale_that_one_of_them_has() -> None:
    plain_, dpu, maxim = (TARGETS[name].scheme for name in ("vta", "vitis_dpu", "max78000"))
    assert meet([plain_, dpu]).bias_shift == "any"
    assert meet([dpu, maxim]).bias_shift == 7
    assert meet([plain_, maxim]).bias == IntType(8)
    assert meet([plain_, TARGETS["hls4ml"].scheme]).activation_scale == 2.0**-10
    with pytest.raises(IntsimError, match="biases are shifted"):
        meet([maxim, replace(maxim, bias_shift=5)])
    with pytest.raises(IntsimError, match="activations have the scales"):
        meet([TARGETS["hls4ml"].scheme, replace(ap_fixed("ap_fixed<8,3>").scheme, bias_shift=10)])


def test_a_network_quantized_for_two_machines_runs_on_both() -> None:
    graph = plain()
    machines = [TARGETS["vitis_dpu"], TARGETS["max78000"]]
    found = quantize(graph, pixels(graph), meet(machine.scheme for machine in machines))
    for machine in machines:
        lower(found, machine)


def test_a_machine_without_16_bit_activations_says_which_have_them() -> None:
    graph = plain()
    found = quantize(graph, pixels(graph), TARGETS["litert_16x8"].scheme)
    with pytest.raises(IntsimError, match=r"activations are s16: the machine takes s8; .*litert_16x8.* take s16"):
        lower(found, TARGETS["litert_ref"])
