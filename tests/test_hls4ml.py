"""hls4ml's fixed-point types: their spelling, and their arithmetic against the headers that hls4ml carries."""

import ctypes
import itertools
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from intsim import TARGETS, IntsimError, engine, lower, targets
from intsim.graph import Graph, Node
from intsim.integers import Overflow, Rounding, affine
from intsim.quantized import QuantizedGraph
from intsim.reference import ap_fixed as vendor
from intsim.target import Target
from intsim.targets.hls4ml import ap_fixed, fixed, spelled

QUANTIZATIONS = ("AP_TRN", "AP_TRN_ZERO", "AP_RND", "AP_RND_ZERO", "AP_RND_INF", "AP_RND_MIN_INF", "AP_RND_CONV")
OVERFLOWS = ("AP_WRAP", "AP_SAT", "AP_SAT_ZERO", "AP_SAT_SYM", "AP_WRAP_SM")


# ---- spelling --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "bits", "fraction", "signed", "rounding", "overflow"),
    [
        ("ap_fixed<16,6>", 16, 10, True, Rounding.FLOOR, Overflow.WRAP),
        ("ap_fixed< 8, 3, AP_RND, AP_SAT >", 8, 5, True, Rounding.HALF_UP, Overflow.SATURATE),
        ("ap_fixed<8,3,RND_CONV,SAT_SYM>", 8, 5, True, Rounding.HALF_EVEN, Overflow.SATURATE_SYM),
        ("ap_fixed<8,3,AP_TRN,AP_WRAP_SM,0>", 8, 5, True, Rounding.FLOOR, Overflow.WRAP_SM),
        ("ap_ufixed<8,0,AP_RND_INF,AP_SAT_ZERO>", 8, 8, False, Rounding.HALF_AWAY, Overflow.SATURATE_ZERO),
        ("ac_fixed<8,3,true,AC_RND_MIN_INF,AC_SAT>", 8, 5, True, Rounding.HALF_DOWN, Overflow.SATURATE),
        ("ac_fixed<8,3,false>", 8, 5, False, Rounding.FLOOR, Overflow.WRAP),
        ("ap_fixed<6,9>", 6, -3, True, Rounding.FLOOR, Overflow.WRAP),
        ("ap_int<7>", 7, 0, True, Rounding.FLOOR, Overflow.WRAP),
    ],
)
def test_a_type_is_read_as_the_field_spells_it(
    text: str, bits: int, fraction: int, signed: bool, rounding: Rounding, overflow: Overflow
) -> None:
    found = fixed(text)
    assert (found.bits, found.fraction_bits, found.signed) == (bits, fraction, signed)
    assert (found.rounding, found.overflow) == (rounding, overflow)


@pytest.mark.parametrize(
    "text",
    [
        "float", "ap_fixed<8>", "ap_fixed<8,4", "ap_fixed<a,4>", "ap_fixed<8,4,AP_UP>", "ap_fixed<8,4,AP_RND,AP_CLIP>",
        "ap_fixed<8,4,AP_RND,AP_SAT,3>",
        "ap_fixed<8,4,AP_RND,AP_WRAP_SM>",
        "ac_fixed<8,4,maybe>", "ap_fixed<64,4>", "ap_fixed<8,99>",
        "ap_fixed<8,4>;speed=ap_fixed<8,4>", "ap_fixed<8,4>;result=ap_fixed<9,4>",
        "ap_fixed<8,4>;accumulator=ap_ufixed<9,4>",
    ],
)  # fmt: skip
def test_what_is_no_type_is_refused_in_one_line(text: str) -> None:
    with pytest.raises(IntsimError) as error:
        spelled(text)
    assert "\n" not in str(error.value)


def test_a_machine_is_found_by_its_spelling_and_its_name_is_that() -> None:
    text = "ap_fixed<8,4,AP_RND,AP_SAT>;weight=ap_fixed<6,2>;accumulator=ap_fixed<20,10>"
    machine = targets.target(text)
    assert targets.target(machine.name) == machine
    assert machine.scheme.weight_scale == 2**-4
    assert machine.mac.product.shift == 4 + 4 - 10
    assert targets.target("ap_fixed<16,6>").mac == TARGETS["hls4ml"].mac


# ---- arithmetic ------------------------------------------------------------------------------------------------

X, W, B, A, Y = (4, 2), (5, 1), (5, 3), (7, 3), (4, 2)
MODES = [pair for pair in itertools.product(QUANTIZATIONS, OVERFLOWS) if pair[1] != "AP_WRAP_SM" or pair[0] == "AP_TRN"]
"""(W, I) of activations, weights, biases, the accumulator and the result: two bits are lost twice, all overflow."""


@pytest.fixture(scope="module")
def dense(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    return compiled(tmp_path_factory.mktemp("ap_fixed"))


def compiled(folder: Path) -> ctypes.CDLL:
    """hls4ml's dense layer with two inputs, for every pair of modes of the accumulator and the result."""
    cases = "\n".join(f"    case {i}: return dense<{q}, {o}>(x, w, b, n, m, y);" for i, (q, o) in enumerate(MODES))
    text = f"""#include <ap_fixed.h>
template <ap_q_mode Q, ap_o_mode O> static void dense(const int *x, const int *w, const int *b, int n, int m, int *y) {{
  typedef ap_fixed<{A[0]}, {A[1]}, Q, O> accum_t;
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) {{
      ap_fixed<{B[0]}, {B[1]}> bias;
      bias.range() = b[j];
      accum_t mult[2], acc = (accum_t)bias;
      for (int k = 0; k < 2; k++) {{
        ap_fixed<{X[0]}, {X[1]}> u;
        ap_fixed<{W[0]}, {W[1]}> v;
        u.range() = x[2 * i + k];
        v.range() = w[2 * j + k];
        mult[k] = u * v;
      }}
      for (int k = 0; k < 2; k++) acc += mult[k];
      ap_fixed<{Y[0]}, {Y[1]}, Q, O> res = acc;
      y[i * m + j] = (int)ap_int<{Y[0]}>(res.range());
    }}
}}
extern "C" void run(int which, const int *x, const int *w, const int *b, int n, int m, int *y) {{
  switch (which) {{
{cases}
  }}
}}
"""
    (folder / "dense.cpp").write_text(text)
    command = ["g++", "-O1", "-std=c++11", "-w", "-shared", "-fPIC", f"-I{vendor.headers()}"]
    subprocess.run([*command, "-o", str(folder / "dense.so"), str(folder / "dense.cpp")], check=True)
    return ctypes.CDLL(str(folder / "dense.so"))


def available() -> bool:
    try:
        vendor.headers()
    except IntsimError:
        return False
    return shutil.which("g++") is not None


def gemm(x: np.ndarray, w: np.ndarray, b: np.ndarray, machine: Target) -> np.ndarray:
    """The result's integers `[n, m]` on our machine."""
    scheme = machine.scheme
    graph = Graph(
        name="dense",
        inputs=("x",),
        outputs=("y",),
        nodes=(Node(name="gemm", op="Gemm", inputs=("x", "w", "b"), outputs=("y",), attributes={}),),
        constants={"w": w.astype(np.int8), "b": (b << scheme.bias_shift).astype(np.int32)},
        shapes={"x": (x.shape[1],), "y": (len(w),)},
    )
    affines = {
        "x": affine(scheme.activation_scale, 0, scheme.activations[0]),
        "w": affine(scheme.weight_scale, 0, scheme.weights[0]),
        "b": affine(scheme.activation_scale * scheme.weight_scale, 0, "s16"),
        "y": affine(scheme.activation_scale, 0, scheme.activations[0]),
    }
    program = lower(QuantizedGraph(graph=graph, affines=affines), machine)
    return engine.run(program, (x * scheme.activation_scale).astype(np.float32)).integers["y"]


@pytest.mark.skipif(not available(), reason="needs g++ and the headers of the hls4ml wheel")
@pytest.mark.parametrize(("which", "modes"), list(enumerate(MODES)), ids=str)
def test_every_product_and_every_sum_is_the_headers_own(which: int, modes: tuple[str, str], dense: ctypes.CDLL) -> None:
    ours, theirs = both(which, modes, dense)
    assert len(np.unique(theirs)) >= 15
    np.testing.assert_array_equal(ours, theirs)


def both(which: int, modes: tuple[str, str], dense: ctypes.CDLL) -> tuple[np.ndarray, np.ndarray]:
    """All activations, all weights: 262,144 sums of two products and a bias for each pair of modes, ours and theirs."""
    x, w = (
        np.array(list(itertools.product(range(-reach, reach), repeat=2)), np.int32)
        for reach in (1 << X[0] - 1, 1 << W[0] - 1)
    )
    biases = np.random.default_rng(0).integers(-16, 16, len(w)).astype(np.int32)
    q, o = modes
    machine = ap_fixed(
        "ap_fixed<{},{}>".format(*X),
        weight="ap_fixed<{},{}>".format(*W),
        bias="ap_fixed<{},{}>".format(*B),
        accumulator="ap_fixed<{},{},{},{}>".format(*A, q, o),
        result="ap_fixed<{},{},{},{}>".format(*Y, q, o),
    )
    ours = gemm(x, w, biases, machine)
    theirs = np.empty(ours.shape, np.int32)
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_int)) for a in (x, w, biases)]
    out = theirs.ctypes.data_as(ctypes.POINTER(ctypes.c_int))
    dense.run(which, *pointers, len(x), len(w), out)
    return ours, theirs
