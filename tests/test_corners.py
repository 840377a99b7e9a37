"""Corners of machines whose runtime nobody can install: one number each, worked out by hand."""

import numpy as np
import pytest
from msgspec.structs import replace

from intsim import TARGETS
from intsim.arithmetic import accumulated, between_floats, cast, encoded, factors, requantized, rounded, shifted
from intsim.integers import Overflow, Rounding
from intsim.ops.resize import interpolate_meaning
from intsim.program import Interpolate
from intsim.target import Cast, Override, Target, rules
from intsim.targets.hls4ml import ap_fixed


def total(products: list[int], machine: Target, *, op: str = "") -> int:
    """What the accumulator holds of the products, with no bias."""
    mac = machine.mac
    for override in machine.overrides:
        if override.op == op and override.mac is not None:
            mac = override.mac
    return accumulated(products, mac)[0]


def settled(acc: int, machine: Target, scale: float, low: int = -128, high: int = 127) -> int:
    """The output's integer of an accumulator whose real scale is `scale` output steps."""
    rescale = encoded(machine.requantize, scale, [1.0], 1.0, zero_point=0, low=low, high=high, overflow=machine.output)
    return requantized(acc, rescale, 0)


# ---- accumulators ----------------------------------------------------------------------------------------------


def test_nvdla_saturates_34_bits_after_each_exact_sum_of_8() -> None:
    """Eight times 2^31 is 2^34: held as 2^33 - 1. Then eight times -1 are taken from that."""
    machine = replace(TARGETS["nvdla_small"], mac=replace(TARGETS["nvdla_small"].mac, write_back=None))
    assert total([1 << 31] * 8 + [-1] * 8, machine) == 8589934591 - 8
    # Within eight the sum is exact: 2^33 + 5 - 2^33 is 5.
    assert total([1 << 33, 5, -(1 << 33), 0, 0, 0, 0, 0], machine) == 5


def test_nvdla_full_does_so_after_each_64() -> None:
    machine = replace(TARGETS["nvdla_full"], mac=replace(TARGETS["nvdla_full"].mac, write_back=None))
    assert total([1 << 31] * 8 + [-1] * 8, machine) == 8589934591
    assert total([1 << 33] + [0] * 62 + [-(1 << 33), 7], machine) == 7


def test_nvdla_saturates_to_32_bits_when_it_writes_back() -> None:
    assert total([1 << 31] * 8, TARGETS["nvdla_small"]) == 2147483647
    assert total([-(1 << 31)] * 8, TARGETS["nvdla_small"]) == -2147483648


def test_nvdla_drops_the_sticky_bits_below_the_16th() -> None:
    """-3.499999046 * 2^20 = -3670015: its lowest four bits are dropped, downwards, and -3.5 is left: -4, not -3."""
    register = replace(TARGETS["nvdla_full"].mac.write_back, shift=20)
    assert cast(-3670015, register) == -4
    assert cast(-3670015, replace(register, fraction_bits=None)) == -3
    assert cast(3670015, register) == 3
    # 16 bits are all seen: -3.49998 * 2^16 = -229375.
    assert cast(-229375, replace(register, shift=16)) == -3


def test_gemmini_wraps_to_20_bits_at_every_product_or_after_sixteen() -> None:
    """32 times 128 * 128 is 2^19, which 20 bits hold as -2^19."""
    assert total([16384] * 32, TARGETS["gemmini_os"]) == -524288
    assert total([16384] * 32, TARGETS["gemmini_ws"]) == 524288


def test_the_s3_saturates_at_every_product() -> None:
    """33 times 127 * 127 are 532257, held as 524287; less 16129 that is 508158, and 516128 where nothing saturates."""
    products = [16129] * 33 + [-16129]
    assert total(products, TARGETS["esp_dl_s3"]) == 508158
    assert total(products, TARGETS["esp_dl_p4"]) == 516128


def test_cmsis_holds_the_first_512_products_in_32_bits_and_the_rest_in_64() -> None:
    """512 * 2^22 is 2^31, which wraps; with only 511 of them before it, the 513th is added in 64 bits and does not."""
    wraps, late = [1 << 22] * 512 + [5], [1 << 22] * 511 + [0, 1 << 22]
    for machine, op, first, second in (
        ("cmsis_nn_s16_mve", "Conv", -2147483643, 2147483648),
        ("cmsis_nn_s16", "Gemm", -2147483643, 2147483648),
        ("cmsis_nn_s16", "Conv", -2147483643, -2147483648),
        ("litert_16x8", "Conv", 2147483653, 2147483648),
    ):
        assert total(wraps, TARGETS[machine], op=op) == first, machine
        assert total(late, TARGETS[machine], op=op) == second, machine


def test_gna_saturates_after_each_buffer_and_not_within() -> None:
    """6144 * 2^20 is beyond 32 bits: 2147483647, and the next buffer takes 6144 from that. Within one, 2^31 passes."""
    assert total([1 << 20] * 6144 + [-1] * 6144, TARGETS["gna"]) == 2147483647 - 6144
    assert total([1 << 31, 7 - (1 << 31)], TARGETS["gna"]) == 7


# ---- requantization --------------------------------------------------------------------------------------------


def test_vta_stores_the_low_eight_bits_where_no_clip_was_compiled() -> None:
    """(259 + 1) >> 1 is 130: the store makes -126 of it, TVM's MIN before it 127."""
    assert settled(259, replace(TARGETS["vta"], output=Overflow.WRAP), 0.5) == -126
    assert settled(259, TARGETS["vta"], 0.5) == 127


def test_pulp_wraps_to_16_bits_between_the_shift_and_the_clip() -> None:
    """32773 is -32763 in 16 bits, and 0 after the clip; in 32 bits it is 255."""
    assert settled(32773, TARGETS["pulp_nn_16bit"], 1.0, 0, 255) == 0
    assert settled(32773, TARGETS["pulp_nn"], 1.0, 0, 255) == 255


def test_pulp_wraps_its_product_to_32_bits() -> None:
    """2^24 times the multiplier 128 is 2^31, which wraps; DORY's product has 64 bits."""
    assert settled(1 << 24, TARGETS["pulp_nn"], 1.0, 0, 255) == 0
    assert settled(1 << 24, TARGETS["dory"], 1.0, 0, 255) == 255


@pytest.mark.parametrize(
    ("quarters", "right"),
    [(11, 3), (10, 2), (14, 4), (9, 2), (-8, -2), (-11, -3), (-10, -4), (-9, -4), (-14, -4), (-13, -5)],
)
def test_k210_goes_down_where_it_should_go_up_below_zero(quarters: int, right: int) -> None:
    """carry_shift takes the floor, and adds the sign where the fraction (from the floor) wants it: -2.25 gives -4."""
    assert shifted(quarters, 2, Rounding.CARRY_SHIFT) == right


def test_k210_rounds_down_first_and_carries_then() -> None:
    """d = 3/16 is 24576 * 2^-17: 53 gives floor(39.75) = 39, 39 / 4 = 9.75, 10; -48 gives -36, -9 exactly."""
    k210 = TARGETS["k210"]
    assert settled(53, k210, 3 / 16, 0, 255) == 10
    assert settled(-48, k210, 3 / 16) == -9
    # -49: floor(-36.75) = -37, -37 / 4 = -9.25: floor -10, its fraction 3/4, so -11. Any other machine says -9.
    assert settled(-49, k210, 3 / 16) == -11
    assert settled(-49, TARGETS["ideal"], 3 / 16) == -9


def test_cmsis_wraps_twice_the_result_to_32_bits() -> None:
    """2^31 * 2^14 >> 14 is 2^31, in 32 bits -2^31, and half of that -2^30: -32768. TFLite has 2^30: 32767."""
    assert settled(1 << 31, TARGETS["cmsis_nn_s16"], 0.5, -32768, 32767) == -32768
    assert settled(1 << 31, TARGETS["litert_16x8"], 0.5, -32768, 32767) == 32767
    assert settled(1 << 30, TARGETS["cmsis_nn_s16"], 0.5, -32768, 32767) == 32767


def test_nvdla_holds_17_bits_between_the_shift_and_the_output() -> None:
    """Full scale: 65536 is 65535 in 17 bits. The output's eight bits saturate anyway: seen with an output of 20."""
    assert settled(65536, TARGETS["nvdla_full"], 1.0, -(1 << 19), (1 << 19) - 1) == 65535
    assert settled(-65537, TARGETS["nvdla_full"], 1.0, -(1 << 19), (1 << 19) - 1) == -65536


@pytest.mark.parametrize(
    ("mode", "pairs"),
    [
        ("AP_WRAP_SM", [(7, 7), (8, 7), (9, 6), (-8, -8), (-9, -8), (-10, -7), (-16, -1)]),
        ("AP_SAT_SYM", [(7, 7), (8, 7), (-7, -7), (-8, -7), (-9, -7)]),
        ("AP_SAT_ZERO", [(7, 7), (8, 0), (-8, -8), (-9, 0)]),
        ("AP_WRAP", [(8, -8), (9, -7), (-9, 7)]),
    ],
)
def test_ap_fixed_of_four_bits(mode: str, pairs: list[tuple[int, int]]) -> None:
    machine = ap_fixed(f"ap_fixed<4,4,AP_TRN,{mode}>")
    assert isinstance(machine.requantize.middle, Cast)
    for given, right in pairs:
        assert cast(given, machine.requantize.middle) == right
        assert settled(given, machine, 1.0, -8, 7) == right
        assert total([given], machine) == right


# ---- averages --------------------------------------------------------------------------------------------------


def test_the_dpu_averages_with_factors_that_are_a_little_off() -> None:
    """Nine times 100 are 900; 7 / 64 of that is 98.4: 98, where the mean is 100. 2 x 2 is exact."""
    rule = TARGETS["vitis_dpu"].average_pool
    assert factors(rule, (3, 3)) == [(7, 6)]
    assert shifted(900 * 7, 6, rule.rounding) == 98
    assert factors(rule, (2, 2)) == [(1, 2)]
    assert factors(rule, (14, 14)) == [(21, 12)]


@pytest.mark.parametrize("name", ["ethos_u", "tosa_double"])
def test_a_normalized_reciprocal_is_the_exact_mean_of_small_windows(name: str) -> None:
    """Ties go away from zero, though TOSA's rule is half up: its factor is a little more than 1 / n."""
    rule = TARGETS[name].average_pool
    for n in range(1, 65):
        ((factor, shift),) = factors(rule, (n,))
        for value in np.unique(np.linspace(-128 * n, 127 * n, 301).astype(int)):
            right = rounded(int(value), n, Rounding.HALF_AWAY)
            assert shifted(int(value) * factor, shift, rule.rounding) == right, (n, value)


def test_every_override_says_when_it_holds() -> None:
    for machine in TARGETS.values():
        assert all(replace(o, mac=None, bias=None, requantize=None) != Override() for o in machine.overrides)


# ---- LiteRT's own answers --------------------------------------------------------------------------------------

FIRST = (0.020236432552337646, 0.009554172866046429, 890.2542114257812, (29929560, 34534108, 48347751))
SECOND = (0.028972988948225975, 0.0038064830005168915, 573.9300537109375, (28622295, 49438510, 70254725))


@pytest.mark.parametrize(
    ("machine", "op", "signed_weights", "first", "second"),
    [
        ("litert_ref", "Gemm", True, (6, 7, 10), (5, 9, 13)),
        ("litert_ref", "Gemm", False, (6, 7, 10), (5, 9, 13)),
        ("litert_ref", "Conv", False, (7, 8, 11), (5, 9, 13)),
        ("litert_ruy_x86", "Gemm", True, (7, 8, 11), (5, 9, 13)),
        ("litert_ruy_x86", "Gemm", False, (7, 8, 11), (5, 9, 13)),
        ("litert_ruy_x86", "Conv", False, (7, 8, 11), (5, 9, 13)),
        ("litert_xnnpack", "Gemm", False, (6, 8, 10), (6, 10, 14)),
        ("litert_xnnpack", "Conv", False, (6, 8, 10), (6, 10, 14)),
        ("tflm", "Gemm", True, (6, 7, 10), (6, 10, 14)),
    ],
)
def test_the_product_of_two_scales_is_formed_as_each_kernel_does(
    machine: str, op: str, signed_weights: bool, first: tuple[int, ...], second: tuple[int, ...]
) -> None:
    """One weight scale a tensor, sums at ties: so answered ai-edge-litert 2.3.0 and tflite-micro 0.dev20261023."""
    rule = rules(TARGETS[machine], op, "dense", True, signed_weights).requantize
    for (sx, sw, sy, sums), answers in ((FIRST, first), (SECOND, second)):
        rescale = encoded(rule, sx, [sw], sy, zero_point=0, low=-128, high=127)
        assert tuple(requantized(acc, rescale, 0) for acc in sums) == answers


@pytest.mark.parametrize(("value", "seen"), [(127, {126, 127}), (-128, {-128}), (-127, {-127, -126})])
def test_maps_mixed_in_float32_may_come_out_nearer_to_zero_than_every_neighbour(value: int, seen: set[int]) -> None:
    """onnxruntime cuts a float32 sum to an integer: the same everywhere is not the same afterwards."""
    rows, columns = (between_floats(5, m, "half_pixel") for m in (17, 13))
    mix = Interpolate(
        lower=(rows[0], columns[0]),
        upper=(rows[1], columns[1]),
        fraction=(np.zeros(17, np.int64), np.zeros(13, np.int64)),
        bits=1,
        rounding=Rounding.TO_ZERO,
        weights=(rows[2], columns[2]),
    )
    assert set(np.unique(interpolate_meaning(mix, np.full((1, 5, 5, 1), value))).tolist()) == seen
