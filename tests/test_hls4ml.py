"""hls4ml's fixed-point types: their spelling, and their arithmetic against the headers that hls4ml carries."""

import ctypes
import functools
import itertools
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from intsim import TARGETS, IntsimError, engine, lower, targets
from intsim.graph import Graph, Node
from intsim.integers import Overflow, Rounding, affine
from intsim.quantized import QuantizedGraph
from intsim.reference import ap_fixed as vendor
from intsim.target import Target
from intsim.targets.hls4ml import ap_fixed, fixed, spelled

QUANTIZATIONS = ("TRN", "TRN_ZERO", "RND", "RND_ZERO", "RND_INF", "RND_MIN_INF", "RND_CONV")
OVERFLOWS = ("WRAP", "SAT", "SAT_ZERO", "SAT_SYM", "WRAP_SM")


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
        "ap_fixed<8,4,AP_RND,AP_WRAP_SM>", "ap_ufixed<8,4,AP_TRN,AP_WRAP_SM>", "ac_fixed<8,4,true,AC_RND_CONV_ODD>",
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
"""(W, I) of activations, weights, biases, the accumulator and the result: two bits are lost twice, all overflow."""


class Modes(NamedTuple):
    """Of the accumulator and the result; `signed`: whether the activations and the result are."""

    family: str
    rounding: str
    overflow: str
    signed: bool

    def type(self, bits: tuple[int, int], *, signed: bool = True, modes: bool = False) -> str:
        """A type's spelling in C++, which is also ours."""
        words = [str(n) for n in bits]
        if self.family == "ac":
            words.append(str(signed).lower())
        if modes:
            words += [f"{self.family.upper()}_{mode}" for mode in (self.rounding, self.overflow)]
        unsigned = "u" if self.family == "ap" and not signed else ""
        return f"{self.family}_{unsigned}fixed<{','.join(words)}>"


MODES = {
    family: [
        Modes(family, q, o, signed)
        for signed, q, o in itertools.product((True, False), QUANTIZATIONS, OVERFLOWS)
        if (o != "WRAP_SM" or (q == "TRN" and signed and family == "ap")) and (signed or q == "TRN" or o == "SAT")
    ]
    for family in vendor.FOLDERS
}
"""AC has no WRAP_SM, and its RND_CONV_ODD is not in the vocabulary."""
EVERY = [
    pytest.param(which, modes, id="-".join(map(str, modes)))
    for every in MODES.values()
    for which, modes in enumerate(every)
]
BITS = {
    "ap": """#include <ap_fixed.h>
template <int W, class T> static void put(T &t, int bits) { t.range() = bits; }
template <int W, class T> static int got(const T &t) { return (int)ap_uint<W>(t.range()); }
""",
    "ac": """#include <ac_fixed.h>
template <int W, class T> static void put(T &t, int bits) { t.set_slc(0, ac_int<W, true>(bits)); }
template <int W, class T> static int got(const T &t) { return ac_int<W, false>(t.template slc<W>(0)).to_int(); }
""",
}
"""How the bits of a number are written and read: these are no conversions."""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], ctypes.CDLL]:
    return functools.cache(lambda family: compiled(tmp_path_factory.mktemp(family), family))


def compiled(folder: Path, family: str) -> ctypes.CDLL:
    """hls4ml's dense layer with two inputs, for every pair of modes of the accumulator and the result."""
    cases = "\n".join(
        f"    case {i}: return dense<{m.type(X, signed=m.signed)}, {m.type(A, modes=True)}, "
        f"{m.type(Y, signed=m.signed, modes=True)}>(x, w, b, n, m, y);"
        for i, m in enumerate(MODES[family])
    )
    one = MODES[family][0]
    text = f"""{BITS[family]}
template <class input_t, class accum_t, class result_t>
static void dense(const int *x, const int *w, const int *b, int n, int m, int *y) {{
  for (int i = 0; i < n; i++)
    for (int j = 0; j < m; j++) {{
      {one.type(B)} bias;
      put<{B[0]}>(bias, b[j]);
      accum_t mult[2], acc = (accum_t)bias;
      for (int k = 0; k < 2; k++) {{
        input_t u;
        {one.type(W)} v;
        put<{X[0]}>(u, x[2 * i + k]);
        put<{W[0]}>(v, w[2 * j + k]);
        mult[k] = u * v;
      }}
      for (int k = 0; k < 2; k++) acc += mult[k];
      result_t res = acc;
      y[i * m + j] = got<{Y[0]}>(res);
    }}
}}
extern "C" void run(int which, const int *x, const int *w, const int *b, int n, int m, int *y) {{
  switch (which) {{
{cases}
  }}
}}
"""
    (folder / "dense.cpp").write_text(text)
    command = ["g++", "-O1", "-std=c++11", "-w", "-shared", "-fPIC", f"-I{vendor.headers(family)}"]
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
@pytest.mark.parametrize(("which", "modes"), EVERY)
def test_every_product_and_every_sum_is_the_headers_own(
    which: int, modes: Modes, libraries: Callable[[str], ctypes.CDLL]
) -> None:
    ours, theirs = both(which, modes, libraries(modes.family))
    assert len(np.unique(theirs)) >= 15
    np.testing.assert_array_equal(ours, theirs)


def both(which: int, modes: Modes, dense: ctypes.CDLL) -> tuple[np.ndarray, np.ndarray]:
    """All activations, all weights: 262,144 sums of two products and a bias for each pair of modes, ours and theirs."""
    low = 1 << X[0] - 1 if modes.signed else 0
    x = np.array(list(itertools.product(range(-low, (1 << X[0]) - low), repeat=2)), np.int32)
    w = np.array(list(itertools.product(range(-(1 << W[0] - 1), 1 << W[0] - 1), repeat=2)), np.int32)
    biases = np.random.default_rng(0).integers(-16, 16, len(w)).astype(np.int32)
    machine = ap_fixed(
        modes.type(X, signed=modes.signed),
        weight=modes.type(W),
        bias=modes.type(B),
        accumulator=modes.type(A, modes=True),
        result=modes.type(Y, signed=modes.signed, modes=True),
    )
    ours = gemm(x, w, biases, machine)
    theirs = np.empty(ours.shape, np.int32)
    pointers = [a.ctypes.data_as(ctypes.POINTER(ctypes.c_int)) for a in (x, w, biases)]
    out = theirs.ctypes.data_as(ctypes.POINTER(ctypes.c_int))
    dense.run(which, *pointers, len(x), len(w), out)
    return ours, theirs - (theirs >> Y[0] - 1 << Y[0] if modes.signed else 0)
